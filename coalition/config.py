"""What a deployment decides: read once from the environment, and from a file if one is named.

Every setting is an environment variable `COALITION_<NAME>`. The same names, in lower case and
without the prefix, may stand in a TOML file that `COALITION_CONFIG` names; the environment wins.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time
from functools import lru_cache
from pathlib import Path

import phonenumbers
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

CONFIG_FILE_VARIABLE = "COALITION_CONFIG"
_POSTGRES_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


class SettingsError(Exception):
    """A setting is missing or makes no sense; says which and why, never its value."""


def default_data_dir() -> Path:
    """Where the embedded database lives unless told otherwise: found again at the next start."""
    if os.geteuid() == 0:
        # Not under /root: PostgreSQL refuses root, and the user it runs as could not get in.
        return Path("/var/lib/coalition")
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "coalition"


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="COALITION_",
        extra="ignore",
        frozen=True,
        # A rejected value may hold a password.
        hide_input_in_errors=True,
    )

    # -- Database -------------------------------------------------------------------------------
    database_url: SecretStr | None = None
    """PostgreSQL for the application's role. None: the embedded one."""
    migration_url: SecretStr | None = None
    """The same database for its owner: migrations, backup, restore."""
    pool_size: int = Field(default=16, ge=1, le=500)
    """The most connections that one process holds."""

    # -- Embedded PostgreSQL --------------------------------------------------------------------
    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the embedded PostgreSQL keeps its data."""
    postgres_bin: Path | None = None
    """A folder with other PostgreSQL 16+ programs (initdb, pg_ctl) to serve in the wheel's place."""
    postgres_user: str | None = None
    """As root: the ordinary user to run PostgreSQL as. None: `postgres` if there is one, else `nobody`."""
    embedded_port: int | None = Field(default=None, ge=1024, le=65535)
    """Let the embedded PostgreSQL listen on 127.0.0.1 too, for psql and reporting tools."""
    embedded_password: SecretStr | None = None
    """The password of the login roles over that port; without one nobody logs in there."""

    # -- Personal data --------------------------------------------------------------------------
    vault_keys: SecretStr | None = None
    """Key-encryption keys for personal data: 32 bytes in base64 each, the current one first."""
    vault_keys_file: Path | None = None
    """A file with them, a line each, in the variable's place."""

    # -- The night ------------------------------------------------------------------------------
    settle_at: time = time(2, 0)
    """When the server settles the day before, as local time of the programme's zone (HH:MM)."""
    statements_dir: Path | None = None
    """Where settlement writes statements. None: `statements` in the data directory."""

    # -- Access ---------------------------------------------------------------------------------
    issuer_url: str = Field(default="http://127.0.0.1:8000", pattern=r"^https?://[^/?#\s]+$")
    """Who signs the access tokens: where clients reach this server, without a path."""
    audience: str = Field(default="coalition", min_length=1)
    """Whom the access tokens are meant for: this programme's API."""

    requests_per_second: float = Field(default=1_000, gt=0)
    """How often one client or member may ask, for long, at each server process."""
    requests_at_once: int = Field(default=2_000, ge=1)
    """How many requests it may send in a burst before that rate holds."""
    tokens_per_second: float = Field(default=20, gt=0)
    """How often one address may ask for tokens: a guess at a secret costs a request."""
    tokens_at_once: int = Field(default=200, ge=1)
    """How many of those in a burst."""

    # -- Members --------------------------------------------------------------------------------
    phone_region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    """Where a phone number without a country's code belongs (ISO 3166: DE, FR). None: it is refused. Numbers
    are stored in their international form, so a change counts for what is typed from then on."""

    @field_validator("phone_region")
    @classmethod
    def _has_phones(cls, value: str | None) -> str | None:
        if value is not None and value not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError("is no region that has phone numbers, such as DE")
        return value

    @field_validator("database_url", "migration_url")
    @classmethod
    def _names_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            postgres_url(value)
        return value

    @field_validator("data_dir", "statements_dir", "vault_keys_file")
    @classmethod
    def _from_here(cls, value: Path | None) -> Path | None:
        # PostgreSQL runs in another working directory.
        return None if value is None else value.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        file = os.environ.get(CONFIG_FILE_VARIABLE)
        if not file:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(file))


def postgres_url(value: SecretStr) -> URL:
    """The URL for psycopg 3, whichever of the usual spellings of its scheme was given.

    Raises:
        ValueError: it is no URL, or not PostgreSQL's.
    """
    try:
        url = make_url(value.get_secret_value())
    except ArgumentError:
        raise ValueError("is no database URL: postgresql://user:password@host:5432/database") from None
    if url.drivername not in _POSTGRES_SCHEMES:
        raise ValueError("must be a postgresql:// URL: no other database serves")
    return url.set(drivername="postgresql+psycopg")


_in_place: list[Settings] = []


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """This process's settings.

    Raises:
        SettingsError: a variable or the file makes no sense.
    """
    if _in_place:
        return _in_place[-1]
    file = os.environ.get(CONFIG_FILE_VARIABLE)
    if file and not Path(file).is_file():
        raise SettingsError(f"{CONFIG_FILE_VARIABLE} names {file}, which is no file")
    try:
        return Settings()
    except ValidationError as refusal:
        raise SettingsError(
            "; ".join(_told(error["loc"], error["msg"]) for error in refusal.errors())
        ) from None


@contextmanager
def settings_in_place(settings: Settings) -> Iterator[None]:
    """Have the process act by these settings: for a command with a database of its own, as the demo has."""
    _in_place.append(settings)
    get_settings.cache_clear()
    try:
        yield
    finally:
        _in_place.pop()
        get_settings.cache_clear()


def _told(where: tuple[int | str, ...], message: str) -> str:
    name = "_".join(str(part) for part in where).upper()
    return f"COALITION_{name}: {message.removeprefix('Value error, ')}"
