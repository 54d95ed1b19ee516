"""Checks side by side see one moment, report in their order, and stop together."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from audit_books import Books
from databases import TestDatabase
from driver import LedgerDriver
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from coalition.audit import AUDIT, Finding, run_audit
from coalition.audit.side_by_side import run_audit_side_by_side
from coalition.db import Database

Busy = tuple[TestDatabase, Books]


def test_all_sessions_see_the_moment_in_which_the_audit_began(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)

    def posting_meanwhile(session: Session) -> Iterator[Finding]:
        yield _count(session)
        ledger.issue(member, 10)

    def after_it(session: Session) -> Iterator[Finding]:
        deadline = time.monotonic() + 30
        while _entries(ledger) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        yield _count(session)

    before = _entries(ledger)
    found = run_audit_side_by_side(ledger.database, jobs=2, checks=[posting_meanwhile, after_it])

    assert [one.message for one in found] == [str(before)] * 2
    assert _entries(ledger) > before


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_findings_come_in_the_order_of_the_checks(busy: Busy, jobs: int) -> None:
    def late(_: Session) -> Iterator[Finding]:
        time.sleep(0.2)
        yield Finding(check="late", subject="", id="", message="first")

    def early(_: Session) -> Iterator[Finding]:
        yield Finding(check="early", subject="", id="", message="second")

    heard: list[str] = []
    found = run_audit_side_by_side(
        busy[1].database, jobs=jobs, checks=[late, early, *AUDIT], started=heard.append
    )

    assert [one.message for one in found] == ["first", "second"]
    assert sorted(heard) == sorted(["late", "early", *(check.__name__ for check in AUDIT)])


def test_it_finds_what_one_session_finds(damaged: Database) -> None:
    with damaged.reading() as session:
        alone = run_audit(session, per_check=3)

    assert alone
    assert run_audit_side_by_side(damaged, jobs=3, per_check=3) == alone


def test_a_check_that_fails_stops_the_others(ledger: LedgerDriver) -> None:
    def failing(session: Session) -> Iterator[Finding]:
        session.execute(text("SELECT nothing_of_the_kind"))
        yield from ()

    def endless(session: Session) -> Iterator[Finding]:
        session.execute(text("SELECT pg_sleep(60)"))
        yield from ()

    began = time.monotonic()
    # Whichever of the sessions it is that fails.
    for checks in ([failing, endless, endless], [endless, failing, endless], [endless, endless, failing]):
        with pytest.raises(ProgrammingError, match="nothing_of_the_kind"):
            run_audit_side_by_side(ledger.database, jobs=3, checks=checks)
    assert time.monotonic() - began < 50, "the sleeping checks were cancelled"


@pytest.fixture
def damaged(ledger: LedgerDriver, superuser_engine: Engine) -> Database:
    member = ledger.member(available=100)
    ledger.issue(member, 10)
    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE ledger.transaction SET available_after = available_after + 1"))
        connection.execute(text("UPDATE ledger.member_head SET last_sequence = last_sequence + 1"))
    return ledger.database


def _count(session: Session) -> Finding:
    count = session.scalar(text("SELECT count(*) FROM ledger.entry"))
    return Finding(check="counting", subject="entry", id="", message=str(count))


def _entries(ledger: LedgerDriver) -> int:
    return int(ledger.rows("SELECT count(*) FROM ledger.entry")[0][0])
