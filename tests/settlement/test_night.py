"""The night: which windows it takes, that it can be repeated, and what holds it up."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal

import pytest
from driver import START
from night_driver import NightDriver
from sqlalchemy import Engine, text

from coalition.errors import WindowBusy, WindowNotOver, WindowUnknown
from coalition.ledger.posting import TransactionRef
from coalition.proving import prove_inclusion
from settlement import night as nights
from settlement.runs import NEXT_STATES, RunState

FIRST = START.date()


@pytest.fixture
def busy(ledger: NightDriver) -> NightDriver:
    """Two partners, points issued and redeemed across; the first window is open and not over."""
    a, b = ledger.named("a"), ledger.named("b")
    for points in (1_000, 2_000, 3_000):
        member = ledger.member(available=points, issuer=a)
        ledger.redeem(member, points // 2, by=b)
    return ledger


def state_of(ledger: NightDriver) -> list[tuple[object, ...]]:
    """Windows and runs: what a refused night must not have changed."""
    return [
        *ledger.rows("SELECT business_date, state FROM ledger.settlement_window ORDER BY 1"),
        *ledger.rows("SELECT run_id, state FROM settlement.run ORDER BY 1"),
    ]


def test_a_day_that_is_not_over_is_left_open(busy: NightDriver) -> None:
    before = state_of(busy)
    assert busy.settle().settled == ()
    assert state_of(busy) == before


def test_a_day_that_is_not_over_wants_now(busy: NightDriver) -> None:
    before = state_of(busy)
    with pytest.raises(WindowNotOver) as refusal:
        busy.settle(business_date=FIRST)
    assert refusal.value.facts == {"business_date": FIRST}
    assert state_of(busy) == before

    [settled] = busy.settle(business_date=FIRST, now=True).settled
    assert settled.closed_now
    assert (settled.run.business_date, settled.run.state) == (FIRST, RunState.CALCULATED)


def test_a_window_that_does_not_exist_is_refused(busy: NightDriver) -> None:
    before = state_of(busy)
    for missing in (FIRST - timedelta(days=1), FIRST + timedelta(days=1)):
        with pytest.raises(WindowUnknown):
            busy.settle(business_date=missing)
    assert state_of(busy) == before


def test_missed_nights_make_one_longer_window(busy: NightDriver) -> None:
    busy.pass_time(days=3)
    [settled] = busy.settle().settled
    assert settled.run.business_date == FIRST

    windows = busy.rows("SELECT business_date, state FROM ledger.settlement_window ORDER BY 1")
    assert windows == [(FIRST, "sealed"), (FIRST + timedelta(days=3), "open")]


def test_a_closed_window_is_taken_up_where_it_was(busy: NightDriver) -> None:
    """Closed, or closed and sealed, by a night that went no further; two windows of it."""
    busy.close_window()
    busy.pass_time(days=1)
    busy.issue(busy.member(), 500)
    busy.close_window()
    with busy.database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM settlement.run")).scalar_one() == 0

    [first, second] = busy.settle().settled
    assert (first.run.business_date, second.run.business_date) == (FIRST, FIRST + timedelta(days=1))
    assert not first.closed_now
    assert busy.settle().settled == ()


def test_a_later_window_has_the_earlier_ones_settled_first(busy: NightDriver) -> None:
    busy.close_window()
    busy.pass_time(days=1)
    later = busy.close_window()
    assert [one.run.business_date for one in busy.settle(business_date=later).settled] == [FIRST, later]


def test_the_same_window_is_the_same_run_and_the_same_bytes(busy: NightDriver) -> None:
    busy.pass_time(days=1)
    first = busy.settle()
    files = busy.files(first)
    stored = [busy.rows(f"SELECT * FROM settlement.{table} ORDER BY 1, 2, 3, 4") for table in TABLES]
    assert set(files) >= {"run.json", "positions.csv", "liability-matrix.json", "statement-a.csv"}
    busy.issue(busy.member(), 700)
    (busy.directory / first.settled[0].files[0]).write_bytes(b"spoilt")

    again = busy.settle(business_date=FIRST)
    assert again.run == first.run
    assert not again.settled[0].closed_now
    assert busy.files(again) == files
    assert [busy.rows(f"SELECT * FROM settlement.{table} ORDER BY 1, 2, 3, 4") for table in TABLES] == stored
    assert not list(busy.directory.rglob(".half-written*"))


TABLES = ("run", "position", "line", "liability", "roll_forward", "network_cost", "finding")


def test_two_who_settle_at_once_do_it_once(busy: NightDriver) -> None:
    busy.pass_time(days=1)
    together = threading.Barrier(4)

    def settle(_: int) -> nights.Night:
        together.wait()
        return busy.settle()

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(settle, range(4)))
    assert sorted(len(night.settled) for night in done) == [0, 0, 0, 1]
    assert busy.rows("SELECT count(*) FROM settlement.run") == [(1,)]
    assert len(busy.rows("SELECT * FROM ledger.settlement_window")) == 2


def test_who_does_not_want_to_wait_finds_the_night_taken(busy: NightDriver) -> None:
    busy.pass_time(days=1)
    with nights._alone(busy.database, wait=True):
        assert busy.settle(wait=False).settled == ()
    assert len(busy.settle(wait=False).settled) == 1


def test_a_posting_that_does_not_end_holds_the_closing_up_and_nothing_changes(
    busy: NightDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nights, "_PATIENCE", (timedelta(seconds=0.1), timedelta(seconds=0.2)))
    busy.pass_time(days=1)
    before = state_of(busy)
    with busy.database.engine.begin() as posting:
        posting.execute(text("SELECT pg_advisory_xact_lock_shared(7305137150463214)"))
        with pytest.raises(WindowBusy) as refusal:
            busy.settle()
    assert refusal.value.facts == {"business_date": FIRST}
    assert state_of(busy) == before

    [settled] = busy.settle().settled
    assert settled.closed_now


def test_postings_go_on_after_the_night(busy: NightDriver) -> None:
    busy.pass_time(days=1)
    busy.settle()
    posting = busy.issue(busy.member(), 700)
    assert posting.business_date == FIRST + timedelta(days=1)
    busy.pass_time(days=1)
    night = busy.settle()
    assert night.run is not None
    assert night.run.transactions == 1


DAMAGE: dict[str, Callable[[date], str]] = {
    "entries_sum_to_zero": lambda _: "UPDATE ledger.entry SET points = points + 1 WHERE bucket = 'burned'",
    "sealed_totals_still_hold": lambda _: "UPDATE ledger.window_total SET points = points - 1",
    "lots_balances_and_entries_agree": lambda _: "UPDATE ledger.member_head SET available = available + 1",
    "each_move_is_in_exactly_one_window": lambda _: (
        "UPDATE ledger.lot SET burned = burned + 1, available = available - 1 WHERE available > 0"
    ),
    "lines_follow_from_entries": lambda _: "UPDATE settlement.line SET points = points + 1",
    "lines_sum_to_positions": lambda _: (
        "UPDATE settlement.position SET pays = pays + 1, net = net - 1 WHERE code = 'a'"
    ),
    "positions_sum_to_zero": lambda _: (
        "UPDATE settlement.position SET pays = pays + 1, net = net - 1 WHERE code = 'a'"
    ),
    "liability_rolls_forward": lambda _: (
        "UPDATE settlement.roll_forward SET opening = opening + 1, issued = issued - 1"
    ),
}


@pytest.mark.parametrize("check", DAMAGE)
def test_each_check_sees_its_damage_and_holds_the_run(
    busy: NightDriver, superuser_engine: Engine, check: str
) -> None:
    busy.pass_time(days=1)
    busy.settle()
    with superuser_engine.begin() as connection:
        assert connection.execute(text(DAMAGE[check](FIRST))).rowcount > 0

    [settled] = busy.settle(business_date=FIRST).settled
    assert settled.run.state is RunState.HELD
    assert settled.files == ()
    assert check in {finding.check for finding in settled.findings}
    assert busy.rows("SELECT count(*) > 0 FROM settlement.finding") == [(True,)]


def test_a_held_run_is_released_when_what_was_wrong_is_repaired(
    busy: NightDriver, superuser_engine: Engine
) -> None:
    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE ledger.member_head SET available = available + 1"))
    busy.pass_time(days=1)
    [held] = busy.settle().settled
    assert held.run.state is RunState.HELD
    [still] = busy.settle(business_date=FIRST).settled
    assert (still.run.run_id, still.run.state) == (held.run.run_id, RunState.HELD)

    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE ledger.member_head SET available = available - 1"))
    [released] = busy.settle().settled
    assert (released.run.run_id, released.run.state) == (held.run.run_id, RunState.CALCULATED)
    assert released.files


def test_other_inputs_are_another_run_and_the_first_is_superseded_and_comes_back(
    busy: NightDriver, superuser_engine: Engine
) -> None:
    busy.pass_time(days=1)
    first = busy.settle().run
    assert first is not None
    files = {path: path.read_bytes() for path in busy.directory.rglob("*.*")}
    tampered = "UPDATE partners.agreement SET reimbursement = reimbursement {} 0.001"
    with superuser_engine.begin() as connection:
        connection.execute(text(tampered.format("+")))

    second = busy.settle(business_date=FIRST).run
    assert second is not None
    assert second.run_id != first.run_id
    assert busy.rows("SELECT run_id FROM settlement.run WHERE state = 'superseded'") == [(first.run_id,)]
    assert {path: path.read_bytes() for path in files} == files

    with superuser_engine.begin() as connection:
        connection.execute(text(tampered.format("-")))
    assert busy.settle(business_date=FIRST).run == first
    assert busy.rows("SELECT run_id FROM settlement.run WHERE state = 'superseded'") == [(second.run_id,)]


def test_the_application_cannot_rewrite_what_was_settled(busy: NightDriver) -> None:
    busy.pass_time(days=1)
    busy.settle()
    for statement in (
        "UPDATE settlement.line SET amount = amount + 1",
        "DELETE FROM settlement.line",
        "UPDATE settlement.position SET pays = 0, net = receives",
        "DELETE FROM settlement.run",
        "UPDATE settlement.run SET gross = gross + 1",
        "DELETE FROM settlement.finding",
        "TRUNCATE settlement.roll_forward",
    ):
        with (
            pytest.raises(Exception, match="permission denied"),
            busy.database.engine.begin() as connection,
        ):
            connection.execute(text(statement))


def test_the_nights_papers_tell_the_root_to_which_each_transaction_is_proved(busy: NightDriver) -> None:
    busy.pass_time(days=1)
    files = busy.files(busy.settle())
    told = json.loads(files["window.json"])
    [posted] = busy.rows("SELECT count(*) FROM ledger.transaction WHERE business_date = :day", day=FIRST)
    assert (told["businessDate"], told["transactions"]) == (FIRST.isoformat(), str(posted[0]))
    [ref, *_] = busy.rows(
        "SELECT member_id, business_date, transaction_id FROM ledger.transaction WHERE business_date = :day",
        day=FIRST,
    )
    with busy.database.reading() as session:
        proof = prove_inclusion(
            session, TransactionRef(member_id=ref[0], business_date=ref[1], transaction_id=ref[2])
        )
    assert proof is not None
    assert (proof.root.hex(), proof.tree_size) == (told["merkleRoot"], posted[0])


def test_what_follows_a_state_is_a_table() -> None:
    assert set(NEXT_STATES) == set(RunState)
    assert all(after <= set(RunState) for after in NEXT_STATES.values())


def test_the_digest_is_of_values_and_not_of_ids(
    busy: NightDriver, make_another: Callable[[], NightDriver]
) -> None:
    """The same business in another database, where every id differs, has the same digest and bytes.

    But for the window's root, which is of those ids.
    """
    busy.pass_time(days=1)
    here = busy.settle()
    other = make_another()
    a, b = other.named("a"), other.named("b")
    for points in (3_000, 1_000, 2_000):
        member = other.member(available=points, issuer=a)
        other.redeem(member, points // 2, by=b)
    other.pass_time(days=1)
    there = other.settle()

    assert here.run is not None
    assert there.run is not None
    assert there.run.digest == here.run.digest
    files, others = busy.files(here), other.files(there)
    assert files.pop("window.json") != others.pop("window.json")
    assert others == files
    assert here.run.gross == Decimal("100.50")
