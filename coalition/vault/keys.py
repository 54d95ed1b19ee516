"""The keys of the vault: key-encryption keys from the settings, and what they wrap.

A setting's secret is never used as it is: HKDF (RFC 5869) derives from it the key that wraps, and the public
id by which a wrapped key names it. The first of the settings' keys wraps what is new and all of them unwrap,
so a key is replaced by adding the next one behind it on every server, putting that first, and rewrapping.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select

from coalition.config import Settings, SettingsError, get_settings
from coalition.errors import ProgrammeNotOpen
from coalition.programme import get_programme
from coalition.vault import tables

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_FILE: Final = "vault.keys"
_NAMES: Final = "COALITION_VAULT_KEYS or COALITION_VAULT_KEYS_FILE"


class SealBroken(Exception):
    """A ciphertext is not what was sealed, or not where it was sealed; says nothing of what it holds."""


def seal(key: bytes, value: bytes, *, bound_to: bytes) -> bytes:
    """A nonce and the AES-256-GCM ciphertext, good only together with what it is bound to."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, value, bound_to)


def unseal(key: bytes, sealed: bytes, *, bound_to: bytes) -> bytes:
    """What was sealed.

    Raises:
        SealBroken: with another key, bound to something else, or changed since.
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise SealBroken from None


@dataclass(frozen=True, slots=True)
class KeyEncryptionKey:
    """One of the settings' keys."""

    key_id: str
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> KeyEncryptionKey:
        """Derived from a setting's 32 bytes."""
        return cls(key_id=_derived(secret, b"id", 8).hex(), key=_derived(secret, b"wrap", KEY_BYTES))


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The settings' keys, the current one first."""

    keys: tuple[KeyEncryptionKey, ...]

    @property
    def current(self) -> KeyEncryptionKey:
        """The one that wraps what is new."""
        return self.keys[0]

    def wrap(self, key: bytes, *, bound_to: bytes) -> tuple[str, bytes]:
        """The id of the current key, and a key wrapped by it."""
        return self.current.key_id, seal(self.current.key, key, bound_to=bound_to)

    def unwrap(self, key_id: str, wrapped: bytes, *, bound_to: bytes) -> bytes:
        """A key that one of these wrapped.

        Raises:
            SettingsError: the key that wrapped it is not among the settings'.
            SealBroken: it was changed, or moved from elsewhere.
        """
        return unseal(self.find(key_id).key, wrapped, bound_to=bound_to)

    def find(self, key_id: str) -> KeyEncryptionKey:
        """The key of an id.

        Raises:
            SettingsError: it is not among the settings'.
        """
        for one in self.keys:
            if one.key_id == key_id:
                return one
        raise SettingsError(f"{_NAMES} must hold the key {key_id}, which the database's keys are wrapped by")


def new_secret() -> str:
    """A new key for the settings: 256 random bits, in base64."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def ring(session: Session) -> KeyRing:
    """The settings' keys. A sandbox or demo without any makes one in the data directory.

    Raises:
        SettingsError: a production programme's settings name no key; or one of them is none.
    """
    settings = get_settings()
    if (named := configured(settings)) is not None:
        return named
    if get_programme(session).mode == "production":
        raise SettingsError(
            f"{_NAMES} must name the keys for personal data: a programme in production has none"
        )
    return _of_file(_made(settings.data_dir / _FILE))


def configured(settings: Settings) -> KeyRing | None:
    """The keys that the settings name, if they name any.

    Raises:
        SettingsError: one of them is not 32 bytes in base64, or the file can't be read.
    """
    if settings.vault_keys is not None:
        return _parsed(settings.vault_keys.get_secret_value(), "COALITION_VAULT_KEYS")
    if settings.vault_keys_file is not None:
        return _of_file(settings.vault_keys_file)
    return None


def check(session: Session) -> None:
    """Refuse to go on without the keys that the programme and its database need.

    Raises:
        SettingsError: a production programme has none, or not the one that its blind index is wrapped by.
    """
    with contextlib.suppress(ProgrammeNotOpen):
        keys = ring(session)
        for key_id in session.execute(select(tables.index_key.c.kek)).scalars():
            keys.find(key_id)


def existing(settings: Settings) -> KeyRing | None:
    """The keys that there are, named or made; nothing is made."""
    made = settings.data_dir / _FILE
    return configured(settings) or (_of_file(made) if made.is_file() else None)


@lru_cache(maxsize=8)
def _of_file(file: Path) -> KeyRing:
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"COALITION_VAULT_KEYS_FILE: {file} can't be read ({type(error).__name__})"
        ) from None
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return _parsed("\n".join(lines), str(file))


@lru_cache(maxsize=8)
def _parsed(text: str, source: str) -> KeyRing:
    keys = tuple(_key(word, source) for word in text.replace(",", " ").split())
    if not keys:
        raise SettingsError(f"{source} holds no key; `coalition vault key` makes one")
    return KeyRing(keys)


def _key(word: str, source: str) -> KeyEncryptionKey:
    try:
        secret = base64.b64decode(word, validate=True)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise SettingsError(f"{source} must hold keys of 32 bytes in base64; `coalition vault key` makes one")
    return KeyEncryptionKey.of(secret)


def _made(file: Path) -> Path:
    """The data directory's own key, made if there is none, for its owner's eyes alone."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        half_made = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(half_made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{new_secret()}\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # Not a rename: of two processes that start at once, both must use the first one's key.
            os.link(half_made, file)
        except FileExistsError:
            pass
        finally:
            half_made.unlink()
    return file


def _derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    info = b"coalition vault 1 " + purpose
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)
