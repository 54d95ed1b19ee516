"""A database that is not at this version is told as such, and no program dies of it."""

import json

import pytest
from click.testing import CliRunner, Result
from databases import TestCluster, TestDatabase
from sqlalchemy import Engine, text

from coalition.cli import cli
from coalition.cli.console import ExitCode
from coalition.config import Settings
from coalition.db import Database, needs
from coalition.db.engine import why

pytestmark = pytest.mark.fresh_database

NOT_MIGRATED = (
    "refused NOT_MIGRATED: This database has not the tables of this version; run `coalition migrate`.\n"
)


def run(database: TestDatabase, *words: str) -> Result:
    return CliRunner().invoke(cli, words, env=database.environment)


@pytest.mark.parametrize(
    "command",
    [
        "programme show",
        "programme open Rivers",
        "member show card:1234567",
        "client list",
        "refusals",
        "audit",
        "settle",
        "report runs",
        "vault status",
    ],
)
def test_a_command_without_tables_says_what_to_run(cluster: TestCluster, command: str) -> None:
    with cluster.new_database(template="template1") as empty:
        refused = run(empty, *command.split())
    assert (refused.exit_code, refused.stdout) == (ExitCode.NEEDS_ADMINISTRATOR, "")
    assert refused.stderr.endswith(NOT_MIGRATED)  # after a bar of what was done, where there is one
    assert isinstance(refused.exception, SystemExit)


def test_so_does_one_that_is_a_migration_behind(test_database: TestDatabase) -> None:
    assert run(test_database, "programme", "open", "Rivers", "--mode", "sandbox").exit_code == 0
    assert run(test_database, "migrate", "--down").exit_code == 0
    assert run(test_database, "programme", "show").exit_code == 0  # all that it needs is there
    refused = run(test_database, "vault", "status", "--json")
    assert refused.exit_code == ExitCode.NEEDS_ADMINISTRATOR
    assert json.loads(refused.stderr)["error"]["code"] == "NOT_MIGRATED"
    assert run(test_database, "migrate").exit_code == 0
    assert run(test_database, "vault", "status", "--json").exit_code == 0


def test_what_a_database_lacks_is_known_by_name(
    test_database: TestDatabase, database: Database, owner_engine: Engine
) -> None:
    def lacking() -> list[str]:
        with database.reading() as session:
            return needs.lacking(session)

    assert lacking() == []
    with owner_engine.begin() as owner:
        owner.execute(text("DROP FUNCTION ledger.trim_refusals"))
        owner.execute(text("ALTER TABLE partners.store DROP COLUMN closed"))
    assert sorted(lacking()) == ["ledger.trim_refusals()", "partners.store.closed"]
    assert run(test_database, "programme", "open", "Rivers", "--mode", "sandbox").exit_code == 0
    assert run(test_database, "partner", "create", "grocer").exit_code == 0
    assert "NOT_MIGRATED" in run(test_database, "partner", "store", "list", "grocer").stderr


@pytest.mark.parametrize("as_owner", [False, True])
def test_why_the_database_cannot_be_reached_is_told_without_the_password(
    test_database: TestDatabase, as_owner: bool
) -> None:
    url = test_database.url("coalition").set(drivername="postgresql", password="open-sesame")
    named = {
        "COALITION_DATABASE_URL": url.render_as_string(hide_password=False),
        "COALITION_MIGRATION_URL": url.render_as_string(hide_password=False),
    }
    words = ["migrate"] if as_owner else ["programme", "show"]
    told = CliRunner().invoke(cli, words, env=named)
    assert told.exit_code == ExitCode.UNREACHABLE
    first, second = told.stderr.splitlines()
    assert "DATABASE_UNAVAILABLE" in first
    assert 'password authentication failed for user "coalition"' in second
    assert "open-sesame" not in told.output
    data = json.loads(CliRunner().invoke(cli, [*words, "--json"], env=named).stderr)["error"]
    assert (data["code"], data["reason"]) == ("DATABASE_UNAVAILABLE", second)


def test_a_password_is_not_repeated_wherever_it_stands() -> None:
    settings = Settings(database_url="postgresql://coalition:open-sesame@127.0.0.1:1/open-sesame")
    with Database.connect(settings) as database:
        error = RuntimeError('database "open-sesame" does not exist\nmore of open-sesame')
        assert why(error, database.engine.url) == 'database "***" does not exist'
