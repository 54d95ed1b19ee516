"""What others are told of a settlement: pages of windows, a partner's own statement."""

import json
from datetime import date, timedelta

import pytest
from night_driver import NightDriver
from sqlalchemy import Engine, text

from coalition.errors import InvalidInput, WindowUnknown
from coalition.ids import PartyId
from coalition.paging import PageRequest
from settlement import reads

FIRST = date(2026, 3, 2)


@pytest.fixture
def settled(ledger: NightDriver) -> NightDriver:
    """Three partners; a's points were spent at b, c did nothing but issue; one window of it."""
    a, b, c = (ledger.named(code) for code in "abc")
    ledger.redeem(ledger.member(available=1_000, issuer=a), 600, by=b)
    ledger.issue(ledger.member(issuer=c), 500, by=c)
    ledger.settle(now=True)
    return ledger


def party(ledger: NightDriver, wanted: str) -> PartyId:
    return next(PartyId(partner) for partner, code in ledger.codes.items() if code == wanted)


def test_a_partner_sees_its_own_lines_and_cells_only(settled: NightDriver) -> None:
    with settled.database.reading() as session:
        of = {
            code: reads.get_statement(session, business_date=FIRST, party=party(settled, code))
            for code in "abc"
        }
    a, b, c = of["a"], of["b"], of["c"]
    assert a is not None
    assert b is not None
    assert c is not None
    assert {line.kind.value for line in a.lines} == {"issue"}
    assert {line.kind.value for line in b.lines} == {"reimbursement"}
    assert len(a.matrix) == len(b.matrix) == 1
    assert c.matrix == ()
    # What b is paid for a point is between it and the network.
    assert a.matrix[0].redeemer == party(settled, "b")
    for statement, told in ((a, False), (b, True)):
        [cell] = json.loads(statement.as_json)["liabilityMatrix"]
        assert (cell["points"], "amount" in cell) == ("600", told)
    assert {found.code for found in c.counterparties.values()} == {"c", "network"}
    for statement, others in ((a, ["c"]), (b, ["c"]), (c, ["a", "b"])):
        for other in others:
            assert f'"{other}"' not in statement.as_json
    assert b.roll_forward is None


def test_who_took_no_part_and_what_was_held_have_no_statement(
    settled: NightDriver, superuser_engine: Engine
) -> None:
    stranger = settled.named("d")
    with settled.database.reading() as session:
        assert reads.get_statement(session, business_date=FIRST, party=stranger) is None
        open_window = FIRST + timedelta(days=1)
        assert reads.get_statement(session, business_date=open_window, party=party(settled, "a")) is None
        with pytest.raises(WindowUnknown):
            reads.get_statement(session, business_date=FIRST - timedelta(days=1), party=stranger)

    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE settlement.run SET state = 'held'"))
    with settled.database.reading() as session:
        assert reads.get_statement(session, business_date=FIRST, party=party(settled, "a")) is None


def test_windows_come_in_pages_newest_first(settled: NightDriver) -> None:
    for _ in range(3):
        settled.settle(now=True)
    days = [FIRST + timedelta(days=offset) for offset in range(4, -1, -1)]

    def page(**wanted: object) -> tuple[list[date], bool, bool]:
        with settled.database.reading() as session:
            found = reads.windows_page(session, PageRequest(**wanted))  # type: ignore[arg-type]
        return [window.business_date for window in found.items], found.has_previous, found.has_next

    assert page(size=2) == (days[:2], False, True)
    assert page(size=2, after=(days[1].isoformat(),)) == (days[2:4], True, True)
    assert page(size=2, after=(days[3].isoformat(),)) == (days[4:], True, False)
    assert page(size=2, backwards=True) == (days[3:], True, False)
    assert page(size=2, before=(days[3].isoformat(),), backwards=True) == (days[1:3], True, True)


def test_runs_come_in_pages_newest_first_and_of_a_range_of_dates(settled: NightDriver) -> None:
    for _ in range(3):
        settled.settle(now=True)
    days = [FIRST + timedelta(days=offset) for offset in range(3, -1, -1)]

    def page(wanted: PageRequest, **between: date) -> list[reads.Run]:
        with settled.database.reading() as session:
            return list(reads.runs_page(session, wanted, **between).items)

    every = page(PageRequest())
    assert [run.business_date for run in every] == days
    behind = reads.run_key(every[1])
    assert page(PageRequest(after=behind)) == every[2:]
    assert page(PageRequest(before=behind, backwards=True)) == every[:1]
    assert page(PageRequest(), since=days[2], until=days[1]) == every[1:3]
    for wrong in (("x", "y", "z"), (*behind[:2], "z")):
        with pytest.raises(InvalidInput):
            page(PageRequest(after=wrong))
