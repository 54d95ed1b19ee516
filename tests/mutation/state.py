"""What is remembered from run to run: what became of each mutant, and what the tests call."""

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

from mutation.mutants import Mutant
from mutation.worker import Ground, Outcome

CHECKOUT = Path(__file__).resolve().parents[2]
FILE = CHECKOUT / ".coalition" / "mutants.json"
GROUND = FILE.with_name("mutants-ground.json")


class State:
    """Outcomes by mutant, kept in a file; one whose function has changed since counts as not judged."""

    def __init__(self, file: Path = FILE) -> None:
        self._file = file
        self._stored = self._read()
        self._fresh: dict[str, dict[str, object]] = {}

    def _read(self) -> dict[str, dict[str, object]]:
        return json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}

    def outcome(self, mutant: Mutant) -> Outcome | None:
        stored = self._stored.get(mutant.id)
        if stored is None or stored["of"] != _digest(mutant.original):
            return None
        return Outcome(**{name: value for name, value in stored.items() if name != "of"})

    def remember(self, mutant: Mutant, outcome: Outcome) -> None:
        self._fresh[mutant.id] = {"of": _digest(mutant.original), **asdict(outcome)}
        self._stored[mutant.id] = self._fresh[mutant.id]

    def save(self) -> None:
        """Write down what is new, beside what another run has written meanwhile."""
        self._file.parent.mkdir(exist_ok=True)
        self._stored = {**self._read(), **self._fresh}
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(self._stored, indent=0, sort_keys=True), encoding="utf-8")
        fresh.replace(self._file)


def known_ground(paths: list[str]) -> tuple[Ground, list[str]]:
    """What is known of the tests of these paths, and the paths of which nothing is or that changed since."""
    if not GROUND.exists():
        return Ground(), paths
    stored = json.loads(GROUND.read_text(encoding="utf-8"))
    stale = [path for path in paths if stored["keys"].get(path) != _key(path)]
    ground = Ground(**stored["ground"])
    fresh = tuple(set(paths) - set(stale))
    for part in (ground.seconds, ground.calls, ground.failing):
        for name in [name for name in part if not name.startswith(fresh)]:
            del part[name]
    return ground, stale


def remember_ground(paths: list[str], ground: Ground) -> None:
    """Write down what was found out about the tests of these paths, beside what is known of others."""
    stored = json.loads(GROUND.read_text(encoding="utf-8")) if GROUND.exists() else {"keys": {}, "ground": {}}
    told = {
        part: {
            name: known
            for name, known in stored["ground"].get(part, {}).items()
            if not name.startswith(tuple(paths))
        }
        | new
        for part, new in asdict(ground).items()
    }
    keys = stored["keys"] | {path: _key(path) for path in paths}
    GROUND.parent.mkdir(exist_ok=True)
    GROUND.write_text(json.dumps({"keys": keys, "ground": told}), encoding="utf-8")


def _key(path: str) -> str:
    """Of all that decides what the tests of a file call."""
    digest = hashlib.sha256((CHECKOUT / path).read_bytes())
    for pattern in ("coalition/ledger/*.sql", "tests/*.py"):
        for file in sorted(CHECKOUT.glob(pattern)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
