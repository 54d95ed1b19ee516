"""What is remembered from run to run: what became of each mutant, and what the tests call."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from mutation.mutants import Mutant
from mutation.worker import Ground, Outcome

CHECKOUT = Path(__file__).resolve().parents[2]
FILE = CHECKOUT / ".coalition" / "mutants.json"


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


def ground_of(key: str) -> Ground | None:
    """What the tests call, as it was found for the same tests and the same kernel."""
    file = FILE.with_name("mutants-ground.json")
    if not file.exists():
        return None
    stored = json.loads(file.read_text(encoding="utf-8"))
    return Ground(**stored["ground"]) if stored["key"] == key else None


def remember_ground(key: str, ground: Ground) -> None:
    file = FILE.with_name("mutants-ground.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"key": key, "ground": asdict(ground)}), encoding="utf-8")


def ground_key(paths: list[str]) -> str:
    """Of all that decides what the tests call."""
    digest = hashlib.sha256(repr(paths).encode())
    for pattern in ("coalition/ledger/*.sql", "tests/**/*.py"):
        for file in sorted(CHECKOUT.glob(pattern)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
