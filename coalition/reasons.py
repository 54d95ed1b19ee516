"""What somebody wrote in words of their own, which may tell of a person.

The journal is chained and nothing of it can be taken out; nor can anything be taken out of a backup. So the
words of a transaction, or about a member, stand sealed in the vault, under the key of each member whom they
concern, and go with that key; the ledger has a digest in their place. The digest is of a random salt too, or
whoever has it could try words out.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import exists, select

from coalition import vault
from coalition.db.engine import driver_of
from coalition.errors import InvalidInput
from coalition.ids import MemberId
from coalition.ledger import tables

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Table
    from sqlalchemy.orm import Session

    from coalition.ledger.posting import Posting

LONGEST: Final = 200
_SALT_BYTES: Final = 16


def check_reason(reason: str | None) -> None:
    """See that a reason, where one is given, can be stored and shown.

    Raises:
        InvalidInput: it is empty or blank, longer than 200 characters, or has some that do not print.
    """
    if reason is not None and not (reason.strip() and len(reason) <= LONGEST and reason.isprintable()):
        raise InvalidInput(f"reason must be 1 to {LONGEST} printable characters", field=("input", "reason"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Words, and what stands for them in the ledger."""

    digest: str
    """SHA-256 of salt and words, in hexadecimal."""
    salted: str = field(repr=False)


def stand_in(session: Session, reason: str | None) -> Words | None:
    """What the journal gets in place of a reason; `keep` them once it is posted.

    Raises:
        InvalidInput: the reason can't be stored.
    """
    check_reason(reason)
    return None if reason is None else stand_for(session, reason)


def stand_for(session: Session, words: str) -> Words:
    """What the ledger gets in place of words, which the caller has checked; `seal` them once it has it."""
    assert not driver_of(session).autocommit, "words are sealed in the transaction that writes their digest"
    salted = secrets.token_hex(_SALT_BYTES) + words
    return Words(digest=hashlib.sha256(salted.encode()).hexdigest(), salted=salted)


def keep(session: Session, words: Words | None, posting: Posting) -> None:
    """Seal the words of a posting for its member, and for the other side of it; a replay's are kept.

    After the posting, whose members are locked: these locks come before those of the vault.
    """
    if words is None or posting.replayed:
        return
    table = tables.transaction.c
    row = session.execute(
        select(table.member_id, table.other_member_id).where(
            table.member_id == posting.ref.member_id,
            table.business_date == posting.ref.business_date,
            table.transaction_id == posting.ref.transaction_id,
        )
    ).one()
    for member_id in sorted({row.member_id, row.other_member_id} - {None}):
        seal(session, MemberId(member_id), words)


def seal(session: Session, member_id: MemberId, words: Words) -> None:
    """Seal words for a member, whose head is locked: this lock comes before those of the vault."""
    vault.put(session, member_id, {f"{vault.REASON_FIELD}{words.digest}": words.salted})


def seal_if_written(session: Session, member_id: MemberId, words: Words | None, *, row_in: Table) -> None:
    """As `seal`, where a row of the member has what stands for them: what changed nothing wrote none."""
    if words is None:
        return
    row = row_in.c
    written = exists().where(row.member_id == member_id, row.reason == words.digest)
    if session.scalar(select(written)):
        seal(session, member_id, words)


def words_of(session: Session, named: Collection[tuple[MemberId, str]]) -> dict[tuple[MemberId, str], str]:
    """The words behind digests, each with the member whose they are; of who was erased there are none."""
    found = vault.read_some(
        session, [(member_id, f"{vault.REASON_FIELD}{digest}") for member_id, digest in named]
    )
    return {
        (member_id, name.removeprefix(vault.REASON_FIELD)): unsalted(salted)
        for (member_id, name), salted in found.items()
    }


def unsalted(salted: str) -> str:
    """The words alone."""
    return salted[2 * _SALT_BYTES :]
