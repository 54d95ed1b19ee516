"""The programme's time, its windows and the journal's partitions: what all postings share."""

from datetime import timedelta
from typing import Any

import pytest
from driver import START, LedgerDriver
from operating import Coalition
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from waiting import SlowClock

from coalition import clock, errors, windows
from coalition.clock import wall
from coalition.db import Database
from coalition.ledger.posting import call
from coalition.programme import OpenProgramme, get_programme, open_programme


def in_vain(engine: Engine) -> Connection:
    """A connection whose transaction nobody commits: what it makes, partitions above all, is gone with it."""
    connection = engine.connect()
    connection.begin()
    connection.execute(text("SET search_path = ledger, pg_temp"))
    return connection


def value(connection: Connection, statement: str, **given: Any) -> Any:
    return connection.execute(text(statement), given).scalar_one()


def locks_of(connection: Connection) -> list[tuple[str, int]]:
    """The advisory locks that the transaction holds, by mode and key."""
    return [
        (mode, key)
        for mode, key in connection.execute(
            text(
                """
                SELECT mode, (classid::bigint << 32) | objid::bigint FROM pg_locks
                WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 2, 1
                """
            )
        )
    ]


def partitions(connection: Connection, *months: str) -> list[tuple[str, str, bool]]:
    """The journal's partitions of these months: their bounds, and whether the application may read them."""
    return [
        (name, bounds, readable)
        for name, bounds, readable in connection.execute(
            text(
                """
                SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), has_table_privilege('coalition_app', c.oid, 'SELECT')
                FROM pg_class c
                WHERE c.relname = ANY (SELECT journal || month FROM unnest('{transaction_,entry_}'::text[]) journal, unnest(CAST(:months AS text[])) month)
                ORDER BY c.relname
                """
            ),
            {"months": list(months)},
        )
    ]


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        "set_clock(now())",
        "set_consent_limit(1)",
        "set_hold_limits(1, 1)",
        "set_late_days(1)",
        "set_transfer_limit(1)",
        "set_adjustment_limit(1)",
    ],
)
def test_before_a_programme_is_open_there_is_nothing_to_set(database: Database, setting: str) -> None:
    with Coalition(database).refused("PROGRAMME_NOT_OPEN"), database.single_call() as session:
        call(session, f"SELECT ledger.{setting}", ())


@pytest.mark.parametrize(
    ("setting", "stored"),
    [
        ("set_consent_limit(17)", {"consent_limit_points": 17}),
        ("set_hold_limits(17, 18)", {"hold_seconds": 17, "longest_hold_seconds": 18}),
        ("set_late_days(17)", {"late_days": 17}),
        ("set_transfer_limit(17)", {"transfer_limit_points": 17}),
        ("set_adjustment_limit(17)", {"adjustment_limit_points": 17}),
    ],
)
def test_what_is_set_is_stored_and_nothing_else(
    ledger: LedgerDriver, setting: str, stored: dict[str, int]
) -> None:
    def programme() -> dict[str, Any]:
        [(row,)] = ledger.rows("SELECT to_jsonb(p) FROM ledger.programme p")
        return dict(row)

    before = programme()
    with ledger.database.single_call() as session:
        call(session, f"SELECT ledger.{setting}", ())
    assert programme() == before | stored


def test_in_production_a_callers_clock_may_be_five_seconds_off_and_is_never_ahead(
    database: Database, owner_engine: Engine
) -> None:
    LedgerDriver(database).open(mode="production")
    with in_vain(owner_engine) as connection:
        told = "SELECT ledger.programme_time(clock_timestamp() {})"
        behind = value(connection, told.format("- interval '4 seconds'"))
        assert timedelta(seconds=3) < wall() - behind < timedelta(seconds=5)
        ahead = value(connection, told.format("+ interval '4 seconds'") + " <= clock_timestamp()")
        assert ahead is True
        nobody = value(connection, "SELECT ledger.programme_time(NULL)")
        assert abs(wall() - nobody) < timedelta(seconds=2)
    for far in ("- interval '5.5 seconds'", "+ interval '5.9 seconds'"):
        with in_vain(owner_engine) as connection, pytest.raises(DBAPIError, match="CLOCK_SKEW"):
            value(connection, told.format(far))


@pytest.mark.parametrize("behind", [6, -6])
def test_whoever_is_six_seconds_off_posts_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    member = ledger.member(available=5)
    monkeypatch.setattr(clock, "datetime", SlowClock)
    monkeypatch.setattr(SlowClock, "behind", timedelta(seconds=behind))
    for post in (ledger.issue, ledger.redeem):
        with Coalition(database).refused("CLOCK_SKEW"):
            post(member, 5)


def test_nothing_is_recorded_before_its_window_was_opened(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    member = ledger.member()
    ledger.any_partner()
    ledger.close_window()
    monkeypatch.setattr(clock, "datetime", SlowClock)
    ledger.issue(member, 5)
    [(first,)] = ledger.rows(
        """
        SELECT t.recorded_at = w.opened_at FROM ledger.transaction t JOIN ledger.settlement_window w USING (business_date)
        WHERE w.state = 'open'
        """
    )
    assert first


def test_a_posting_does_not_look_at_an_older_moment_than_it_locked(ledger: LedgerDriver) -> None:
    wish = ledger.to_issue(ledger.member(), 5)
    snapshots = ledger.database.engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshots.connect() as connection, pytest.raises(DBAPIError, match="READ COMMITTED"):
        connection.execute(
            text(
                "SELECT ledger.post_issue(:member, :partner, NULL, NULL, 5, NULL, 'k', 'f', 's', 't', '1', 1, 0, NULL, NULL, NULL, now())"
            ),
            {"member": wish.member_id, "partner": wish.partner_id},
        )


def test_a_clock_may_be_set_to_where_it_stands_and_not_back(ledger: LedgerDriver) -> None:
    assert ledger.pass_time(seconds=0) == START
    for to in (START - timedelta(microseconds=1), "9000-01-01"):
        with Coalition(ledger.database).refused("CLOCK_REFUSED"), ledger.database.single_call() as session:
            call(session, "SELECT ledger.set_clock(%s::timestamptz)", (to,))
    assert ledger.now == START


def test_a_clock_that_did_not_stand_is_not_set_to_before_now(database: Database) -> None:
    ledger = LedgerDriver(database)
    with database.unit_of_work() as session:
        open_programme(session, OpenProgramme(name="Test", mode="sandbox"))
    with Coalition(database).refused("CLOCK_REFUSED"), database.unit_of_work() as session:
        clock.set_clock(session, to=wall() - timedelta(minutes=1))
    there = ledger.pass_time(days=1)
    assert ledger.now == there


# -- opening ---------------------------------------------------------------------------------------


def test_a_programme_is_opened_once_and_in_production_by_the_wall_clock(database: Database) -> None:
    with Coalition(database).refused("CLOCK_REFUSED"), database.unit_of_work() as session:
        open_programme(session, OpenProgramme(name="Test", mode="production", starts_at=START))
    before = wall()
    with database.unit_of_work() as session:
        open_programme(session, OpenProgramme(name="Test", mode="production"))
        opened = windows.open_window(session).opened_at
    assert before <= opened <= wall()
    with Coalition(database).refused("PROGRAMME_ALREADY_OPEN"), database.unit_of_work() as session:
        open_programme(session, OpenProgramme(name="Again", mode="sandbox", starts_at=START))


@pytest.mark.parametrize("name", ["", "  ", "n" * 201, "a\nb"])
def test_a_programme_has_a_name_that_can_be_read(database: Database, name: str) -> None:
    with pytest.raises(errors.InvalidInput), database.unit_of_work() as session:
        open_programme(session, OpenProgramme(name=name, mode="sandbox"))
    with pytest.raises(errors.ProgrammeNotOpen), database.reading() as session:
        get_programme(session)


@pytest.mark.usefixtures("database")
@pytest.mark.fresh_database
def test_a_programme_is_opened_by_one_at_a_time_and_has_its_first_partitions(owner_engine: Engine) -> None:
    with in_vain(owner_engine) as connection:
        value(
            connection,
            "SELECT ledger.open_programme('Test', 'sandbox', 'UTC', 'EUR', 1, '2047-12-31 23:59Z')::text",
        )
        key = value(connection, "SELECT ledger.window_lock()")
        assert locks_of(connection) == [("ExclusiveLock", key), ("ExclusiveLock", key + 1)]
        assert len(partitions(connection, "2047_12", "2048_01")) == 4


# -- partitions ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ledger")
@pytest.mark.fresh_database
def test_partitions_are_made_for_a_month_and_the_next_by_one_at_a_time(owner_engine: Engine) -> None:
    december, january = "2047-12-01", "2048-01-01"
    with in_vain(owner_engine) as connection:
        value(connection, "SELECT ledger.prepare_partitions('2047-12-15')::text")
        made = partitions(connection, "2047_11", "2047_12", "2048_01", "2048_02")
        assert made == [
            ("entry_2047_12", f"FOR VALUES FROM ('{december}') TO ('{january}')", True),
            ("entry_2048_01", f"FOR VALUES FROM ('{january}') TO ('2048-02-01')", True),
            ("transaction_2047_12", f"FOR VALUES FROM ('{december}') TO ('{january}')", True),
            ("transaction_2048_01", f"FOR VALUES FROM ('{january}') TO ('2048-02-01')", True),
        ]
        # Not the lock of the window: postings would wait for it.
        assert locks_of(connection) == [
            ("ExclusiveLock", value(connection, "SELECT ledger.window_lock()") + 1)
        ]
        value(connection, "SELECT ledger.prepare_partitions('2048-01-15')::text")
        assert len(partitions(connection, "2047_12", "2048_01", "2048_02")) == 6


def test_partitions_of_no_date_are_not_made(ledger: LedgerDriver) -> None:
    for none in (None, "1989-12-31", "9000-01-01"):
        with pytest.raises(errors.InvalidInput), ledger.database.single_call() as session:
            call(session, "SELECT ledger.prepare_partitions(%s::date)", (none,))


# -- windows ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ledger")
@pytest.mark.fresh_database
def test_the_closer_holds_the_window_alone_and_leaves_the_next_with_its_partitions(
    owner_engine: Engine,
) -> None:
    with in_vain(owner_engine) as connection:
        value(connection, "SELECT ledger.set_clock('2047-12-31 12:00Z')::text")
        assert value(connection, "SELECT ledger.close_window(:date, now())", date=START.date()) is True
        key = value(connection, "SELECT ledger.window_lock()")
        assert locks_of(connection) == [("ExclusiveLock", key), ("ExclusiveLock", key + 1)]
        assert len(partitions(connection, "2047_12", "2048_01")) == 4


@pytest.mark.usefixtures("ledger")
def test_a_posting_holds_the_window_with_others(owner_engine: Engine) -> None:
    with in_vain(owner_engine) as connection:
        value(connection, "SELECT ledger.enter_window(NULL, now())::text")
        assert locks_of(connection) == [("ShareLock", value(connection, "SELECT ledger.window_lock()"))]


def test_closing_and_sealing_say_whether_this_call_did_it(ledger: LedgerDriver) -> None:
    day = START.date()
    patience = timedelta(seconds=1)

    def close() -> bool:
        with ledger.database.unit_of_work() as session:
            return windows.close_window(session, business_date=day, patience=patience)

    def seal() -> bool:
        with ledger.database.unit_of_work() as session:
            return windows.seal_window(session, business_date=day)

    with Coalition(ledger.database).refused("WINDOW_UNKNOWN"):
        seal()
    assert [close(), close()] == [True, False]
    sealed_from = ledger.pass_time(hours=1)
    assert [seal(), seal(), close()] == [True, False, False]
    with ledger.database.reading() as session:
        window = windows.find_window(session, day)
        # Nothing was posted in it.
        assert (window.sealed_at, window.transactions, window.entries) == (sealed_from, 0, 0)
    assert ledger.rows("SELECT count(*) FROM ledger.settlement_window") == [(2,)]
    with Coalition(ledger.database).refused("WINDOW_UNKNOWN"), ledger.database.unit_of_work() as session:
        windows.close_window(session, business_date=day - timedelta(days=1), patience=patience)
