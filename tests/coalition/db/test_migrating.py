"""Migrations as an owner runs them who is no superuser and may create no roles."""

import json

import pytest
from click.testing import CliRunner, Result
from databases import TestCluster, TestDatabase
from psycopg import sql
from sqlalchemy import Engine, create_engine, text

from coalition.cli import cli
from coalition.cli.console import ExitCode
from coalition.db import migrating, roles
from coalition.db.owner import NeedsAdministrator, ServerTooOld, as_owner, check_server

pytestmark = pytest.mark.fresh_database

SCHEMAS = text(
    "SELECT nspname FROM pg_namespace WHERE nspname IN ('ledger', 'people', 'partners', 'settlement', 'jobs')"
)


def run(database: TestDatabase, *arguments: str) -> Result:
    """A `coalition` command on the test's database."""
    return CliRunner(env=database.environment).invoke(cli, arguments)


def test_the_owner_of_these_tests_has_no_more_rights_than_documented(owner_engine: Engine) -> None:
    with owner_engine.connect() as connection:
        rights = connection.execute(
            text(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles"
                " WHERE rolname = current_user"
            )
        ).one()
    assert tuple(rights) == (False, False, False, False)


def test_migrating_again_does_nothing(test_database: TestDatabase) -> None:
    done = run(test_database, "migrate", "--json")
    newest = migrating.newest()
    assert (done.exit_code, json.loads(done.output)) == (0, {"before": newest, "after": newest})


def test_down_to_nothing_and_up_again(test_database: TestDatabase, owner_engine: Engine) -> None:
    down = run(test_database, "migrate", "--down", "--to", "base")
    assert (down.exit_code, down.output) == (0, f"Migrated from {migrating.newest()} to an empty database.\n")
    with owner_engine.connect() as connection:
        assert connection.execute(SCHEMAS).all() == []
    up = run(test_database, "migrate")
    assert (up.exit_code, up.output) == (0, f"Migrated from an empty database to {migrating.newest()}.\n")


def test_one_step_back_and_forth(test_database: TestDatabase) -> None:
    assert run(test_database, "migrate", "--down").exit_code == 0
    with as_owner(test_database.settings) as owner, owner.engine.connect() as connection:
        assert migrating.current(connection) not in {None, migrating.newest()}
    assert run(test_database, "migrate").exit_code == 0


def test_an_empty_database_made_by_hand_can_be_migrated(cluster: TestCluster) -> None:
    with cluster.new_database(template="template1") as fresh:
        assert run(fresh, "migrate").exit_code == 0


def test_without_the_right_to_make_roles_the_sql_for_an_administrator_is_printed(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server is shared, so it is the name that is missing and not the role.
    monkeypatch.setattr(roles, "APP_GROUP", "coalition_absent")
    with cluster.new_database(template="template1") as fresh:
        refused = run(fresh, "migrate")
        assert refused.exit_code == ExitCode.NEEDS_ADMINISTRATOR
        assert (
            'CREATE ROLE coalition_absent NOLOGIN;\nGRANT coalition_absent TO "coalition";\n'
            in refused.stderr
        )
        with as_owner(fresh.settings) as owner, owner.engine.connect() as connection:
            assert connection.execute(SCHEMAS).all() == []
            assert migrating.current(connection) is None


def test_the_sql_for_an_administrator_is_enough(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "APP_GROUP", "coalition_printed")
    with cluster.new_database(template="template1") as fresh, as_owner(fresh.settings) as owner:
        with pytest.raises(NeedsAdministrator) as refusal, owner.engine.begin() as connection:
            migrating.ensure_roles(connection, app_login=owner.app_login)
        with cluster.administrator() as administrator:
            administrator.execute(refusal.value.facts["sql"])
        try:
            with owner.engine.begin() as connection:
                migrating.ensure_roles(connection, app_login=owner.app_login)
        finally:
            with cluster.administrator() as administrator:
                administrator.execute("DROP ROLE coalition_printed")


def test_an_owner_who_may_make_roles_makes_them(
    cluster: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "APP_GROUP", "coalition_made")
    with cluster.new_database(template="template1") as fresh, cluster.administrator() as administrator:
        administrator.execute("CREATE ROLE coalition_maker LOGIN CREATEROLE PASSWORD 'made'")
        administrator.execute("GRANT coalition TO coalition_maker WITH ADMIN TRUE, INHERIT FALSE")
        administrator.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO coalition_maker").format(sql.Identifier(fresh.name))
        )
        maker = fresh.url(roles.OWNER).set(username="coalition_maker", password="made")
        engine = create_engine(maker)
        try:
            with engine.begin() as connection:
                migrating.ensure_roles(connection, app_login=roles.APP_LOGIN)
            member = administrator.execute("SELECT pg_has_role('coalition', 'coalition_made', 'USAGE')")
            assert member.fetchone() == (True,)
        finally:
            engine.dispose()
            administrator.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO coalition_owner").format(sql.Identifier(fresh.name))
            )
            administrator.execute("DROP ROLE IF EXISTS coalition_made")
            administrator.execute("DROP OWNED BY coalition_maker")
            administrator.execute("DROP ROLE coalition_maker")


def test_a_login_that_is_missing_is_part_of_what_the_administrator_is_told(
    test_database: TestDatabase,
) -> None:
    with (
        as_owner(test_database.settings) as owner,
        owner.engine.begin() as connection,
        pytest.raises(NeedsAdministrator) as refusal,
    ):
        migrating.ensure_roles(connection, app_login='odd "login"')
    assert refusal.value.facts["sql"] == (
        'CREATE ROLE "odd ""login""" LOGIN PASSWORD \'<password>\';\n'
        'GRANT coalition_app TO "odd ""login""";\n'
    )


def test_the_sql_can_be_printed_without_a_database() -> None:
    printed = CliRunner(env={"COALITION_DATA_DIR": "/nowhere"}).invoke(cli, ["migrate", "--sql"])
    assert printed.exit_code == 0
    assert "CREATE FUNCTION ledger." in printed.output
    down = CliRunner(env={"COALITION_DATA_DIR": "/nowhere"}).invoke(cli, ["migrate", "--sql", "--down"])
    assert down.exit_code == 0
    assert "DROP SCHEMA" in down.output


def test_a_server_that_is_too_old_is_refused() -> None:
    class Old:
        def execute(self, _: object) -> "Old":
            return self

        def scalar_one(self) -> str:
            return "15.18 (Debian 15.18-0+deb12u1)"

    with pytest.raises(ServerTooOld, match=r"PostgreSQL 15\.18 .*; 16 or newer is needed"):
        check_server(Old())


def test_a_server_that_is_down_has_its_own_exit_code() -> None:
    nowhere = {"COALITION_MIGRATION_URL": "postgresql://owner:secret@127.0.0.1:1/coalition"}
    done = CliRunner(env=nowhere).invoke(cli, ["migrate", "--json"])
    assert done.exit_code == ExitCode.UNREACHABLE
    assert json.loads(done.stderr)["error"]["code"] == "DATABASE_UNAVAILABLE"
    assert "secret" not in done.output


def test_a_setting_that_is_wrong_is_named_and_its_value_is_not() -> None:
    done = CliRunner(env={"COALITION_DATABASE_URL": "mysql://me:secret@host/db"}).invoke(cli, ["migrate"])
    assert done.exit_code == ExitCode.USAGE
    assert "COALITION_DATABASE_URL: must be a postgresql:// URL" in done.stderr
    assert "secret" not in done.output


def test_the_owners_url_is_asked_for_where_only_the_applications_is_named(
    test_database: TestDatabase,
) -> None:
    only_app = {"COALITION_DATABASE_URL": test_database.environment["COALITION_DATABASE_URL"]}
    done = CliRunner(env=only_app).invoke(cli, ["migrate"])
    assert (done.exit_code, "COALITION_MIGRATION_URL" in done.stderr) == (ExitCode.USAGE, True)
