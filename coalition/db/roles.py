"""Who may do what in the database: the names of the roles, and how they come to be.

The owner's role owns everything and runs migrations. What the application may do is granted to
a group without login; the role that the application logs in as is a member of it. So a password
or a login's name can change without a migration.
"""

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from sqlalchemy import URL

SUPERUSER = "postgres"
OWNER = "coalition_owner"
APP_GROUP = "coalition_app"
APP_LOGIN = "coalition"


def conninfo(url: URL) -> str:
    """The URL as libpq and its programs read it."""
    parameters = {"dbname" if key == "database" else key: value for key, value in url.query.items()}
    parameters |= url.translate_connect_args(username="user", database="dbname")
    return make_conninfo("", **{key: str(value) for key, value in parameters.items()})


def ensure_embedded(url: URL, *, database: str, password: SecretStr | None) -> None:
    """Make the embedded server's roles and database, as its superuser; safe to repeat."""
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        _ensure_role(connection, OWNER, "LOGIN")
        _ensure_role(connection, APP_GROUP, "NOLOGIN")
        _ensure_role(connection, APP_LOGIN, "LOGIN")
        connection.execute(
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(APP_GROUP), sql.Identifier(APP_LOGIN))
        )
        if password is not None:
            for role in (OWNER, APP_LOGIN):
                set_password(connection, role, password.get_secret_value())
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone()
        if known is None:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER))
            )


def set_password(connection: psycopg.Connection, role: str, password: str) -> None:
    """Give a role a password, of which the server and its log see only the SCRAM verifier."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    connection.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
    )


def _ensure_role(connection: psycopg.Connection, role: str, login: str) -> None:
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} ").format(sql.Identifier(role)) + sql.SQL(login))
