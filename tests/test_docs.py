"""What the pages name is there: a proof that was renamed is no proof to who looks for it."""

import re
from pathlib import Path

import pytest

from coalition.audit import AUDIT, CHAIN

CHECKOUT = Path(__file__).resolve().parents[1]
LEDGER = (CHECKOUT / "docs" / "ledger.md").read_text(encoding="utf-8")
INVARIANTS = re.findall(
    r"^\d\. \*\*.*?(?=^\d\. |^$)", LEDGER.partition("## The invariants")[2], re.MULTILINE | re.DOTALL
)


def words() -> dict[str, set[str]]:
    """All that may be named: constraints and unique indices, tests, checks of the audit."""
    migrations = "".join(
        file.read_text(encoding="utf-8") for file in (CHECKOUT / "alembic" / "versions").glob("*.sql")
    )
    tests = "".join(file.read_text(encoding="utf-8") for file in (CHECKOUT / "tests").rglob("test_*.py"))
    return {
        "constraint": set(re.findall(r"CONSTRAINT (\w+?)(?:_check)? ", migrations))
        | set(re.findall(r"UNIQUE INDEX (\w+)", migrations)),
        "test": set(re.findall(r"def (test_\w+)", tests)),
        "check": {check.__name__ for check in (*AUDIT, *CHAIN)},
    }


def test_the_ledger_has_seven_invariants_in_two_pages() -> None:
    assert len(INVARIANTS) == 7
    assert len(LEDGER.split()) <= 1_160


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda text: text[:40])
def test_each_invariant_names_proofs_that_there_are(invariant: str) -> None:
    known = words()
    named = set(re.findall(r"`(\w+)`", invariant.rpartition("[")[2]))
    there = set().union(*known.values()) | {"idempotency", "receipt", "net"}
    assert named - there == set()
    assert named & known["check"]
    assert "the stateful model" in LEDGER
    assert named & known["test"] or "model" in invariant


@pytest.mark.parametrize("page", sorted(CHECKOUT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
