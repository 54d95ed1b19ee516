"""The drill: a copy is restored elsewhere, and the audit proves it."""

import json
import stat
from pathlib import Path

import pytest
from audit_books import everything_happens, opened
from click.testing import CliRunner, Result
from databases import TestCluster, TestDatabase
from sqlalchemy import Engine, create_engine, text

from coalition.audit import run_audit
from coalition.cli import cli
from coalition.cli.console import ExitCode
from coalition.config import get_settings
from coalition.db import Database, roles
from coalition.errors import DatabaseUnavailable

pytestmark = pytest.mark.fresh_database

TABLES = text("""
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('ledger', 'people', 'partners', 'settlement', 'jobs', 'public')
     ORDER BY 1
""")
GRANTS = text("""
    SELECT relname::text, relacl::text FROM pg_class WHERE relnamespace = 'ledger'::regnamespace
    UNION ALL
    SELECT oid::regprocedure::text, proacl::text FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace
     ORDER BY 1, 2
""")


def run(database: TestDatabase, *arguments: str | Path) -> Result:
    """A `coalition` command on the test's database."""
    get_settings.cache_clear()  # each command is a process of its own elsewhere
    return CliRunner(env=database.environment).invoke(cli, [str(argument) for argument in arguments])


def contents(database: TestDatabase) -> dict[str, object]:
    """All rows of all tables, and who may do what."""
    engine = create_engine(database.url(roles.SUPERUSER))
    with engine.connect() as connection:
        found: dict[str, object] = {"grants": connection.execute(GRANTS).all()}
        for table in connection.execute(TABLES).scalars().all():
            rows = connection.execute(text(f"SELECT t::text FROM {table} t ORDER BY 1"))
            found[table] = rows.scalars().all()
    engine.dispose()
    return found


@pytest.fixture
def copy(test_database: TestDatabase, database: Database, tmp_path: Path) -> Path:
    """A backup of busy books."""
    everything_happens(opened(test_database, database))
    file = tmp_path / "copy.dump"
    done = run(test_database, "backup", file, "--json")
    assert (done.exit_code, json.loads(done.output)["bytes"]) == (0, file.stat().st_size), done.output
    return file


def test_a_restored_database_holds_the_same_and_passes_the_audit(
    copy: Path, test_database: TestDatabase, cluster: TestCluster
) -> None:
    before = contents(test_database)
    with cluster.new_database(template="template1") as fresh:
        restored = run(fresh, "restore", copy)
        assert restored.exit_code == 0, restored.output
        assert contents(fresh) == before
        with Database.connect(fresh.settings) as database, database.reading() as session:
            assert session.execute(text("SELECT count(*) FROM ledger.entry")).scalar_one() > 0
            assert run_audit(session) == []


def test_the_audit_sees_what_the_copy_lost(copy: Path, cluster: TestCluster) -> None:
    """Else the drill would prove nothing."""
    with cluster.new_database(template="template1") as fresh:
        assert run(fresh, "restore", copy).exit_code == 0
        engine = create_engine(fresh.url(roles.SUPERUSER))
        with engine.begin() as connection:
            connection.execute(
                text("DELETE FROM ledger.entry WHERE ctid = (SELECT min(ctid) FROM ledger.entry)")
            )
        engine.dispose()
        with Database.connect(fresh.settings) as database, database.reading() as session:
            assert run_audit(session) != []


def test_a_copy_can_be_read_by_its_owner_alone(copy: Path) -> None:
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_copy_is_not_written_over_unless_told(copy: Path, test_database: TestDatabase) -> None:
    before = copy.read_bytes()
    assert run(test_database, "backup", copy).exit_code == ExitCode.USAGE
    assert copy.read_bytes() == before
    assert run(test_database, "backup", copy, "--force").exit_code == 0
    assert list(copy.parent.iterdir()) == [copy]


def test_a_database_that_holds_something_is_left_alone(copy: Path, test_database: TestDatabase) -> None:
    before = contents(test_database)
    refused = run(test_database, "restore", copy, "--json")
    assert refused.exit_code == ExitCode.REFUSED
    assert json.loads(refused.stderr)["error"]["code"] == "DATABASE_NOT_EMPTY"
    assert contents(test_database) == before


def test_replacing_brings_the_copy_back(
    copy: Path, test_database: TestDatabase, superuser_engine: Engine
) -> None:
    before = contents(test_database)
    with superuser_engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger.entry"))
    done = run(test_database, "restore", copy, "--replace")
    assert done.exit_code == 0, done.output
    assert contents(test_database) == before


def test_a_damaged_copy_changes_nothing(copy: Path, test_database: TestDatabase) -> None:
    before = contents(test_database)
    whole = copy.read_bytes()
    # The table of contents is whole and the data is not: the failure comes half-way.
    copy.write_bytes(whole[: len(whole) * 9 // 10])
    refused = run(test_database, "restore", copy, "--replace")
    assert refused.exit_code == ExitCode.REFUSED, refused.output
    assert "BACKUP_UNREADABLE" in refused.stderr
    assert contents(test_database) == before


def test_a_file_that_is_no_copy_changes_nothing(test_database: TestDatabase, tmp_path: Path) -> None:
    before = contents(test_database)
    file = tmp_path / "notes.txt"
    file.write_text("no backup")
    refused = run(test_database, "restore", file, "--replace")
    assert (refused.exit_code, "BACKUP_UNREADABLE" in refused.stderr) == (ExitCode.REFUSED, True)
    assert contents(test_database) == before


def test_a_failure_of_the_server_half_way_changes_nothing(
    copy: Path, test_database: TestDatabase, superuser_engine: Engine
) -> None:
    before = contents(test_database)
    with superuser_engine.begin() as connection:  # not ours, not dropped, and in the way
        connection.execute(text("CREATE VIEW public.report AS SELECT * FROM ledger.entry"))
        connection.execute(text("ALTER SCHEMA jobs OWNER TO postgres"))
    refused = run(test_database, "restore", copy, "--replace")
    assert (refused.exit_code, "must be owner of schema jobs" in refused.stderr) == (ExitCode.REFUSED, True)
    assert contents(test_database) == before


def test_a_server_that_is_down_leaves_no_file(tmp_path: Path) -> None:
    nowhere = CliRunner(env={"COALITION_MIGRATION_URL": "postgresql://owner:secret@127.0.0.1:1/coalition"})
    assert nowhere.invoke(cli, ["backup", str(tmp_path / "copy")]).exit_code == ExitCode.UNREACHABLE
    assert list(tmp_path.iterdir()) == []


def test_a_running_application_reconnects_after_a_replacement(
    copy: Path, test_database: TestDatabase, database: Database
) -> None:
    count = text("SELECT count(*) FROM ledger.entry")
    with database.reading() as session:
        before = session.execute(count).scalar_one()
    assert run(test_database, "restore", copy, "--replace").exit_code == 0
    for _ in range(2):
        try:
            with database.reading() as session:
                assert session.execute(count).scalar_one() == before
        except DatabaseUnavailable:
            continue
