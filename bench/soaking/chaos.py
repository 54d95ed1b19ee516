"""Who kills: the server, the database and the night, while the load goes on; and what must hold at the end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx

from coalition import clock
from coalition.db import Database
from coalition.errors import DatabaseUnavailable
from soaking.checking import findings_of
from soaking.load import Desk, Log, desks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coalition.config import Settings
    from soaking.coalition import Coalition

_AGAIN: Final = 200
"""So many of the acknowledged are asked again at the end."""
_RECOVERY: Final = 90  # seconds until the load must go on after a kill
_EVENTS: Final = ("night", "server", "database", "killed night")
_CALM: Final = 6  # seconds between two nights where nothing is killed
_BAR: Final = 20  # columns
_PROGRESS: Final = 5  # seconds between two lines, where nobody watches


@dataclass
class Chaos:
    """One soak, from the first wish to the last check."""

    settings: Settings
    coalition: Coalition
    log: Log
    chance: random.Random
    families: frozenset[str]
    every: float | None
    """Seconds between two events, about; None: nights only, and nothing is killed."""
    started: float
    done: Counter[str] = field(default_factory=Counter)
    coming: list[str] = field(default_factory=list)
    """What is left of this round."""
    rounds: int = 0
    seconds: float = 1
    """How long the load is to last."""

    def __post_init__(self) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.stop = threading.Event()
        self.environment = {**os.environ, "COALITION_DATA_DIR": str(self.settings.data_dir)}
        self.desks: list[Desk] = []
        self._told = 0.0

    def run(self, *, seconds: float) -> list[str]:
        """Load, kill and settle for so long; then what is wrong."""
        self.seconds = seconds
        self.desks = desks(
            self.coalition, self.url, self.chance, families=self.families, log=self.log, stop=self.stop
        )
        threads = [threading.Thread(target=desk.work, daemon=True) for desk in self.desks]
        with self.serving():
            for thread in threads:
                thread.start()
            until = time.monotonic() + seconds
            # One round of them in any case: a short soak has seen each.
            while (time.monotonic() < until or not self.rounds) and not self.log.faults:
                self.wait(self.chance.uniform(0.3, 1.7) * (self.every or _CALM))
                self.happen()
            self.stop.set()
            for thread in threads:
                thread.join(timeout=_RECOVERY)
                if thread.is_alive():
                    self.log.faults.append("a seat did not get the answer to its last wish")
            again = list(self.asked_again())
        self.settle()
        self.tell(last=True)
        return [*self.log.faults, *again, *self.proved()]

    def happen(self) -> None:
        """The next thing: each of them once in a round, in an order that the seed decides."""
        if not self.coming:
            self.coming = list(_EVENTS if self.every is not None else _EVENTS[:1])
            self.chance.shuffle(self.coming)
        what = self.coming.pop()
        match what:
            case "server":
                self.server.kill()
                self.server.wait()
                self.server = self.serve()
            case "database":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.postmaster(), signal.SIGKILL)
            case "night":
                self.next_day()
                self.settle()
            case "killed night":
                self.next_day()
                for _ in range(2):
                    self.settle(kill_after=self.chance.uniform(0.3, 2.0))
                self.settle()
        self.done[f"{what}s" if "night" in what else f"{what} killed"] += 1
        self.until_going_on(what)
        self.rounds += not self.coming

    # -- the server -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Have a server, whichever it is by the end."""
        self.server = self.serve()
        try:
            yield
        finally:
            self.stop.set()
            self.server.terminate()
            try:
                self.server.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
                self.log.faults.append("the server did not stop within a minute of SIGTERM")

    def serve(self) -> subprocess.Popen[bytes]:
        """Start one, and wait until it is ready."""
        with (self.settings.data_dir / "serve.log").open("ab") as log:
            server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "coalition",
                    "serve",
                    "--port",
                    str(self.port),
                    "--no-nightly",
                    "--quiet",
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + _RECOVERY
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == HTTPStatus.OK:
                    return server
            time.sleep(0.1)
        server.kill()
        raise SystemExit(f"the server did not become ready; see {log.name}")

    def postmaster(self) -> int:
        """The database's first process."""
        files = list(self.settings.data_dir.rglob("postmaster.pid"))
        if not files:
            raise ProcessLookupError
        return int(files[0].read_text(encoding="utf-8").splitlines()[0])

    def until_going_on(self, after: str) -> None:
        """Until every second seat has got an answer that it had not before."""
        before = self.answered()
        until = time.monotonic() + _RECOVERY
        while self.answered() < before + len(self.desks) // 2:
            if self.log.faults:
                return
            if time.monotonic() > until:
                self.log.faults.append(f"the load did not go on within {_RECOVERY} s after: {after}")
                return
            self.wait(0.1)

    # -- time -----------------------------------------------------------------------------------

    def next_day(self) -> None:
        """The clock moves on by some days: points mature, holds lapse, points expire."""
        days = self.chance.randint(1, 9)

        def move() -> None:
            with Database.connect(self.settings) as database, database.unit_of_work() as session:
                clock.set_clock(session, to=clock.now(session) + timedelta(days=days))

        until = time.monotonic() + _RECOVERY
        while True:
            try:
                return move()
            except DatabaseUnavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def settle(self, *, kill_after: float | None = None) -> None:
        """`coalition settle`; killed after so many seconds, or else tried again until it has done it."""
        until = time.monotonic() + _RECOVERY
        while True:
            process = subprocess.Popen(
                [sys.executable, "-m", "coalition", "settle"],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            try:
                said, _ = process.communicate(timeout=kill_after)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return
            if process.returncode == 0 or kill_after is not None:
                return
            self.done["nights tried again"] += 1
            if b"held" in said or time.monotonic() > until:
                self.log.faults.append(f"the night ended with {process.returncode}: {said.decode()[-2000:]}")
                return
            time.sleep(0.3)

    # -- the end --------------------------------------------------------------------------------

    def asked_again(self) -> Iterator[str]:
        """Some of what was acknowledged, asked once more: the same answer, as a replay."""
        granted = list(self.log.acknowledged.values())
        desk = self.desks[0]
        with httpx.Client(base_url=self.url, timeout=30) as http:
            for one in self.chance.sample(granted, min(_AGAIN, len(granted))):
                answer = desk.until_answered(http, one.wish, one.asked, one.who)
                told = {name: one.answer.get(name) for name in ("transaction", "userErrors")}
                if not answer["replayed"] or told != {name: answer.get(name) for name in told}:
                    yield f"{one.key} was told {one.answer}, and asked again {answer}"

    def proved(self) -> Iterator[str]:
        """What the acknowledgements and the audit find."""
        with Database.connect(self.settings) as database, database.reading() as session:
            yield from findings_of(session, self.log)
        audit = subprocess.run(
            [sys.executable, "-m", "coalition", "audit", "--chain", "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if audit.returncode not in {0, 1}:
            yield f"the audit ended with {audit.returncode}: {audit.stdout.decode()[-2000:]}"
            return
        for finding in json.loads(audit.stdout)["findings"]:
            yield f"audit: {finding}"

    # -- what a person sees ---------------------------------------------------------------------

    def answered(self) -> int:
        """How many wishes have their answer."""
        return len(self.log.acknowledged) + len(self.log.refused)

    def wait(self, seconds: float) -> None:
        """Let time pass, and say how it goes."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            time.sleep(min(rest, 1))
            self.tell()

    def tell(self, *, last: bool = False) -> None:
        """The progress line: written over where a person watches, else one now and then."""
        watched = sys.stdout.isatty()
        now = time.monotonic()
        done = min(1.0, (now - self.started) / self.seconds)
        bar = f"[{'#' * int(done * _BAR):<{_BAR}}]"
        if not last and not watched and now - self._told < _PROGRESS:
            return
        self._told = now
        seconds = int(now - self.started)
        line = (
            f"{seconds // 60:02}:{seconds % 60:02}  {len(self.log.acknowledged):,} acknowledged,"
            f" {len(self.log.refused):,} refused, {self.log.asked_again:,} asked again; "
            + ", ".join(f"{what} {count}" for what, count in sorted(self.done.items()))
        )
        print(
            f"\r{bar} {line:<110}" if watched else line, end="\n" if last or not watched else "", flush=True
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
