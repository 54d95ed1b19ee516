"""The three kinds of session, and a database that goes away and comes back."""

from datetime import timedelta

import pytest
from databases import TestDatabase
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from coalition.config import Settings
from coalition.db import Database
from coalition.db.engine import driver_of
from coalition.errors import DatabaseUnavailable

pytestmark = pytest.mark.fresh_database


@pytest.fixture
def notes(superuser_engine: Engine) -> None:
    """A table that the application may write, so that these tests need no domain."""
    with superuser_engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.note (words text)"))
        connection.execute(text("GRANT SELECT, INSERT ON public.note TO coalition_app"))


def _write(session: Session, words: str) -> None:
    session.execute(text("INSERT INTO public.note VALUES (:words)"), {"words": words})


def _notes(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.execute(text("SELECT words FROM public.note ORDER BY words")).scalars())


@pytest.mark.usefixtures("notes")
def test_a_unit_of_work_commits_all_of_it_at_the_end(database: Database) -> None:
    with database.unit_of_work() as session:
        _write(session, "one")
        _write(session, "two")
        assert _notes(database) == []
    assert _notes(database) == ["one", "two"]


@pytest.mark.usefixtures("notes")
def test_an_exception_rolls_a_unit_of_work_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.unit_of_work() as session:
        _write(session, "one")
        raise ZeroDivisionError
    assert _notes(database) == []


@pytest.mark.usefixtures("notes")
def test_a_single_call_is_committed_by_the_database(database: Database) -> None:
    with database.single_call() as session:
        _write(session, "one")
        assert _notes(database) == ["one"]
    with database.unit_of_work() as session:
        _write(session, "two")  # the connection went back to the pool as it came
        assert _notes(database) == ["one"]


@pytest.mark.usefixtures("notes")
def test_reading_sees_one_moment_and_writes_nothing(database: Database) -> None:
    with database.reading() as session:
        assert session.execute(text("SELECT count(*) FROM public.note")).scalar_one() == 0
        with database.single_call() as other:
            _write(other, "late")
        assert session.execute(text("SELECT count(*) FROM public.note")).scalar_one() == 0
    with pytest.raises(DBAPIError, match="read-only transaction"), database.reading() as session:
        _write(session, "never")
    assert _notes(database) == ["late"]


def test_the_application_is_neither_owner_nor_superuser(database: Database) -> None:
    with database.reading() as session:
        who = session.execute(
            text(
                "SELECT current_user AS name, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles"
                " WHERE rolname = current_user"
            )
        ).one()
    assert tuple(who) == ("coalition", False, False, False)


def test_a_posting_is_bounded_and_other_work_may_ask_for_more(database: Database) -> None:
    bound = text("SELECT current_setting('statement_timeout')")
    with database.unit_of_work() as session:
        assert session.execute(bound).scalar_one() == "5s"
    with database.unit_of_work(patience=timedelta(minutes=2)) as session:
        assert session.execute(bound).scalar_one() == "2min"
    with database.reading(patience=timedelta(minutes=2)) as session:
        assert session.execute(bound).scalar_one() == "2min"
    with database.unit_of_work() as session:
        assert session.execute(bound).scalar_one() == "5s"


@pytest.mark.usefixtures("notes")
def test_who_waits_too_long_for_a_lock_is_told_to_try_again(
    database: Database, superuser_engine: Engine
) -> None:
    with superuser_engine.begin() as holder:
        holder.execute(text("LOCK public.note IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseUnavailable, match="busy"), database.unit_of_work() as session:
            session.execute(text("SET LOCAL lock_timeout = '50ms'"))
            _write(session, "never")
    assert _notes(database) == []


@pytest.mark.parametrize("kind", ["unit_of_work", "single_call", "reading"])
def test_a_lost_connection_is_a_refusal_and_the_next_caller_gets_a_fresh_one(
    database: Database, superuser_engine: Engine, kind: str
) -> None:
    with database.reading() as session:
        session.execute(text("SELECT 1"))
    _cut_connections(superuser_engine)
    with pytest.raises(DatabaseUnavailable), getattr(database, kind)() as session:
        session.execute(text("SELECT 1"))
    with getattr(database, kind)() as session:
        assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_a_connection_lost_under_the_driver_itself_heals_too(
    database: Database, superuser_engine: Engine
) -> None:
    with database.single_call() as session:
        session.execute(text("SELECT 1"))
    _cut_connections(superuser_engine)
    with pytest.raises(DatabaseUnavailable), database.single_call() as session:
        session.connection().connection.driver_connection.execute("SELECT 1")
    with database.single_call() as session:
        assert session.connection().connection.driver_connection.execute("SELECT 1").fetchone() == (1,)


def test_a_database_that_is_down_is_a_refusal_and_no_crash() -> None:
    settings = Settings(database_url="postgresql://coalition:x@127.0.0.1:1/coalition")
    with (
        Database.connect(settings) as database,
        pytest.raises(DatabaseUnavailable),
        database.reading() as session,
    ):
        session.execute(text("SELECT 1"))


def test_more_callers_than_connections_are_told_to_try_again(
    test_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coalition.db.engine.POOL_TIMEOUT", 0.1)
    settings = test_database.settings.model_copy(update={"pool_size": 1})
    with Database.connect(settings) as database, database.reading() as first:
        first.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable, match="in use"), database.reading() as second:
            second.execute(text("SELECT 1"))
    with Database.connect(settings) as database, database.reading() as session:
        assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_an_error_in_the_statement_is_not_taken_for_an_absent_database(database: Database) -> None:
    with pytest.raises(DBAPIError, match="nowhere"), database.reading() as session:
        session.execute(text("SELECT * FROM nowhere"))


def _cut_connections(superuser_engine: Engine) -> None:
    with superuser_engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'coalition'"
                " AND datname = current_database()"
            )
        )


def test_a_single_call_holds_one_connection_whatever_else_it_asks(test_database: TestDatabase) -> None:
    """Two at once for each caller, and a full pool of callers would wait for each other."""
    settings = test_database.settings.model_copy(update={"pool_size": 1})
    with Database.connect(settings) as database:
        with database.single_call() as session:
            assert driver_of(session).execute("SELECT 1").fetchall() == [(1,)]
            assert session.execute(text("SELECT 2")).scalar_one() == 2
            assert driver_of(session).execute("SELECT 3").fetchall() == [(3,)]
        with database.single_call() as session:
            assert session.execute(text("SELECT 4")).scalar_one() == 4
            assert driver_of(session).execute("SELECT 5").fetchall() == [(5,)]
        with database.unit_of_work() as session:
            assert not driver_of(session).autocommit


def test_why_the_database_is_away_is_logged_once_for_each_loss(
    test_database: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    def ask() -> None:
        with database.reading() as session:
            session.execute(text("SELECT 1"))

    def allow(*, allowed: bool) -> None:
        with test_database.cluster.administrator() as connection:
            connection.execute(f'ALTER DATABASE "{test_database.name}" ALLOW_CONNECTIONS {allowed}')
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [test_database.name],
            )

    with test_database.connect() as database:
        for _ in range(2):
            caplog.clear()
            allow(allowed=False)
            try:
                for _ in range(4):
                    with pytest.raises(DatabaseUnavailable):
                        ask()
            finally:
                allow(allowed=True)
            told = [record.getMessage() for record in caplog.records if record.name == "coalition.db.engine"]
            assert told[-1].startswith("the database does not answer: connection failed: ")
            assert "is not currently accepting connections" in told[-1]
            assert len(told) == len(set(told))
            ask()
