"""The database as its owner sees it: for migrations, backup and restore."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import OperationalError

from coalition.config import Settings, SettingsError, postgres_url
from coalition.db import roles
from coalition.db.embedded import EmbeddedServer
from coalition.db.engine import is_away, make_engine, unavailable, why
from coalition.db.programs import OLDEST_MAJOR
from coalition.errors import CoalitionError

# A migration that would wait longer for a table would hold up every posting behind it.
_BOUNDS = {"lock_timeout": "10s"}


class NeedsAdministrator(CoalitionError):
    """Only an administrator of the database can do what is missing; `sql` is what to run."""

    code = "NEEDS_ADMINISTRATOR"

    def __init__(self, statements: Sequence[str]) -> None:
        sql = "".join(f"{statement};\n" for statement in statements)
        super().__init__(f"an administrator of the database must run this first:\n\n{sql}", sql=sql)


class ServerTooOld(CoalitionError):
    """The server is older than what the schema needs."""

    code = "SERVER_TOO_OLD"
    summary = "This is PostgreSQL {version}; {oldest} or newer is needed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner's way to the database, and the login that the application has."""

    url: URL
    engine: Engine
    app_login: str | None


@contextlib.contextmanager
def as_owner(settings: Settings) -> Iterator[Owner]:
    """The database that the settings name, or the embedded one, as its owner.

    Raises:
        DatabaseUnavailable: it does not answer.
        SettingsError: only the application's login is named.
    """
    with contextlib.ExitStack() as stack:
        if settings.migration_url is not None:
            url = postgres_url(settings.migration_url)
            app = settings.database_url
            app_login = postgres_url(app).username if app is not None else None
        elif settings.database_url is not None:
            raise SettingsError("COALITION_MIGRATION_URL must name the same database for its owner's login")
        else:
            server = EmbeddedServer.start(settings)
            stack.callback(server.close)
            url, app_login = server.url(roles.OWNER), roles.APP_LOGIN
        engine = make_engine(url, pool_size=1, bounds=_BOUNDS, prepares=False)
        stack.callback(engine.dispose)
        try:
            yield Owner(url=url, engine=engine, app_login=app_login)
        except OperationalError as error:
            refusal = unavailable(error)
            if refusal is None:
                raise
            if is_away(error):
                refusal.reason = why(error, url)
            raise refusal from error


def check_server(connection: Connection) -> int:
    """The server's major version.

    Raises:
        ServerTooOld: it is one that the schema can't live in.
    """
    version: str = connection.execute(text("SHOW server_version")).scalar_one()
    major = int(version.split(".", maxsplit=1)[0])
    if major < OLDEST_MAJOR:
        raise ServerTooOld(version=version, oldest=OLDEST_MAJOR)
    return major


def ensure_roles(connection: Connection, *, app_login: str | None) -> None:
    """Have what migrations need: the application's group, its login in it, the right to make schemas.

    Raises:
        NeedsAdministrator: the owner may not make them itself; nothing has changed.
    """
    found = connection.execute(_FOUND, {"group": roles.APP_GROUP, "login": app_login}).one()
    quote = connection.dialect.identifier_preparer.quote_identifier
    group, login = roles.APP_GROUP, quote(app_login) if app_login else None

    rights = []
    if not found.may_make_schemas:
        rights.append(f"GRANT CREATE ON DATABASE {quote(found.database)} TO {quote(found.owner)}")
    if not found.may_use_public:
        # Alembic's own table, which says where the schema stands, is made there.
        rights.append(f"GRANT USAGE, CREATE ON SCHEMA public TO {quote(found.owner)}")
    if login and not found.login_exists:
        rights.append(f"CREATE ROLE {login} LOGIN PASSWORD '<password>'")
    made = []
    if not found.group_exists:
        made.append(f"CREATE ROLE {group} NOLOGIN")
    if login and not found.login_is_member:
        made.append(f"GRANT {group} TO {login}")

    owner_may = found.may_make_roles and (found.administers_group or not found.group_exists)
    if rights or (made and not owner_may):
        raise NeedsAdministrator([*rights, *made])
    for statement in made:
        connection.execute(text(statement))


_FOUND = text("""
    WITH me AS (SELECT * FROM pg_roles WHERE rolname = current_user),
         app AS (SELECT oid FROM pg_roles WHERE rolname = :group),
         login AS (SELECT oid FROM pg_roles WHERE rolname = CAST(:login AS text))
    SELECT current_database() AS database,
           current_user AS owner,
           has_database_privilege(current_database(), 'CREATE') AS may_make_schemas,
           has_schema_privilege('public', 'USAGE')
               AND has_schema_privilege('public', 'CREATE') AS may_use_public,
           EXISTS (SELECT FROM app) AS group_exists,
           EXISTS (SELECT FROM login) AS login_exists,
           COALESCE((SELECT pg_has_role(login.oid, app.oid, 'USAGE') FROM login, app), false)
               AS login_is_member,
           me.rolsuper OR me.rolcreaterole AS may_make_roles,
           me.rolsuper OR COALESCE((SELECT pg_has_role(app.oid, 'USAGE WITH ADMIN OPTION') FROM app), false)
               AS administers_group
      FROM me
""")
