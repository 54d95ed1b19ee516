"""`kill -9` of an import whose lanes are not equally far: the same file again makes it whole."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import TestDatabase
from driver import START, LedgerDriver
from operating import Coalition
from sqlalchemy import Engine, text

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.cli import cli
from coalition.identifiers import Identifier, IdentifierKind
from coalition.members import EnrolMember, enrol_member
from partners.importing import LANES

pytestmark = pytest.mark.fire

CARDS = [f"10{number:04d}" for number in range(24)]
ROUNDS = 40
JOURNALS = """
    SELECT i.value, array_agg(t.kind || ' ' || t.receipt_number || ' ' || t.points ORDER BY t.sequence)
    FROM ledger.transaction t JOIN ledger.identifier i USING (member_id) GROUP BY 1"""


@pytest.fixture
def coalition(ledger: LedgerDriver) -> Coalition:
    return Coalition(ledger.database)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to that")


def file_of(path: Path) -> dict[str, list[str]]:
    """Write the file; returns each card's journal, as the file has it: what is issued is spent by the next line.

    So a member's lines have one order only in which none is refused. Longer than two chunks, with what is wrong
    among it.
    """
    journals: dict[str, list[str]] = {card: [] for card in CARDS}
    lines = ["receipt,kind,member,time,points"]
    for round_ in range(2 * ROUNDS):
        for place, card in enumerate(CARDS):
            kind = ("issue", "redeem")[round_ % 2]
            number, points = f"{round_}-{place}", 5 + round_ // 2
            lines.append(f"{number},{kind},{card},{START.isoformat()},{points}")
            journals[card].append(f"{kind} {number} {points}")
            if round_ % 8 == 7 and place % 5 == 0:
                lines.append(f"x{number},redeem,999999,{START.isoformat()},1")
                lines.append(f"y{number},issue,{card},{START.isoformat()},nothing")
    path.write_text("\n".join(lines) + "\n")
    return journals


def test_an_import_that_was_killed_between_its_lanes_goes_on_where_it_was(
    test_database: TestDatabase,
    coalition: Coalition,
    owner_engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in test_database.environment.items():
        monkeypatch.setenv(name, value)
    grocer = coalition.trading("grocer")
    lanes: dict[int, list[str]] = {lane: [] for lane in range(LANES)}
    for card in CARDS:
        identifier = Identifier.of(IdentifierKind.CARD, card, partner_id=grocer.partner_id)
        with coalition.database.unit_of_work() as session:
            member = enrol_member(
                session, EnrolMember(partner_id=grocer.partner_id, identifiers=[identifier])
            )
        lanes[member.int % LANES].append(card)
    assert all(lanes.values())
    file = tmp_path / "till.csv"
    journals = file_of(file)

    # One member is busy, so that its lane waits, and the others are done with their part.
    held = lanes[1][0]
    others = {card for lane, cards in lanes.items() if lane != 1 for card in cards}
    with owner_engine.begin() as holder:
        holder.execute(
            text(
                "SELECT FROM ledger.member_head JOIN ledger.identifier i USING (member_id)"
                " WHERE i.value = :card FOR UPDATE OF member_head"
            ),
            {"card": held},
        )
        running = subprocess.Popen(
            [sys.executable, "-m", "coalition", "import", str(file), "--partner", "grocer", "--json"],
            env=dict(os.environ),
        )
        try:
            until(lambda: len(coalition.rows(JOURNALS)) >= len(others))
        finally:
            running.kill()
            running.wait()
        assert {card for card, _ in coalition.rows(JOURNALS)} == others

    ended = CliRunner().invoke(cli, ["import", str(file), "--partner", "grocer", "--json"])

    told: Any = json.loads(ended.stdout)
    posted = sum(len(journal) for journal in journals.values())
    assert dict(coalition.rows(JOURNALS)) == journals
    assert told["replayed"] >= ROUNDS
    assert sum(told["posted"].values()) + told["replayed"] == posted
    assert told["lines"] == posted + told["rejected"]
    with coalition.database.reading() as session:
        assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []
