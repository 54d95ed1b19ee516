"""What becomes of an identifier after it was linked: blocked, unblocked, replaced by another card, unlinked.

Each change says who made it, when and why, and none is rewritten. It takes the lock that the member's
postings take: one by that identifier was posted before, or is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import select

from coalition import clock
from coalition.errors import (
    CardReplaced,
    IdentifierBlocked,
    IdentifierUnknown,
    IdentifierUnlinked,
    InvalidInput,
)
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import MemberId, PartyId
from coalition.ledger import tables
from coalition.ledger.posting import call
from coalition.members import Named, find_named, identifiers_by_id, survivor_of

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.orm import Session

_MAX_REASON: Final = 200


class IdentifierState(StrEnum):
    """How an identifier stands."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    REPLACED = "replaced"
    UNLINKED = "unlinked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes an identifier."""

    name: str
    """Which client or person it was."""
    party_id: PartyId | None
    """The network for the operator, or a partner; None: the member itself."""
    member_id: MemberId | None = None
    """The member, where it is the member itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeIdentifier:
    """A wish to block, unblock, replace or unlink an identifier."""

    member_id: MemberId
    """Whose it is: the very record, also one that was merged."""
    identifier_id: UUID
    by: Actor
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedIdentifier:
    """An identifier that a member has, and how it stands."""

    identifier_id: UUID
    identifier: Identifier
    state: IdentifierState
    linked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What of a line of an identifier's history decides; the first line is its link."""

    kind: IdentifierKind
    state: IdentifierState
    changed_at: datetime


def block(session: Session, command: ChangeIdentifier) -> None:
    """Let nobody be named by it any more; again changes nothing.

    Of several blocks the operator's counts, then the partner's, then the member's.

    Raises:
        IdentifierUnknown: there is no such identifier, or it is not the actor's to change.
        CardReplaced, IdentifierUnlinked: it is out of use already.
    """
    _change(session, command, IdentifierState.BLOCKED)


def unblock(session: Session, command: ChangeIdentifier) -> None:
    """Lift a block; where there is none, nothing changes.

    Raises:
        IdentifierUnknown, CardReplaced, IdentifierUnlinked: as for `block`.
        IdentifierBlocked: somebody else has blocked it.
    """
    _change(session, command, IdentifierState.ACTIVE)


def unlink(session: Session, command: ChangeIdentifier) -> None:
    """Let the member be known by it no more; it can be linked anew, to anybody.

    Raises:
        As for `unblock`.
    """
    _change(session, command, IdentifierState.UNLINKED)


def replace_card(session: Session, command: ChangeIdentifier, card: Identifier) -> None:
    """Give the member another card in place of one, which is out of use for good.

    Raises:
        InvalidInput: it, or what is to replace it, is no card.
        IdentifierUnknown, CardReplaced, IdentifierUnlinked: as for `block`.
        PartnerNotActive: the partner may link nothing now.
        IdentifierTaken: the new card is linked already.
    """
    if card.kind is not IdentifierKind.CARD:
        raise InvalidInput("a card is replaced by a card", field=("input", "card"))
    _check_reason(command.reason)
    last = _last_change(session, command.member_id, command.identifier_id)
    if last is not None and last.kind is not IdentifierKind.CARD:
        raise InvalidInput(
            "only a card is replaced; unlink this, and link another", field=("input", "identifier")
        )
    call(
        session,
        "SELECT ledger.replace_card(%s, %s, %s, %s, %s, %s, %s)",
        (
            command.member_id,
            command.identifier_id,
            card.value,
            command.by.party_id,
            command.by.name,
            command.reason,
            clock.wall(),
        ),
    )


def _change(session: Session, command: ChangeIdentifier, state: IdentifierState) -> None:
    _check_reason(command.reason)
    call(
        session,
        "SELECT ledger.change_identifier(%s, %s, %s, %s, %s, %s, %s)",
        (
            command.member_id,
            command.identifier_id,
            state.value,
            command.by.party_id,
            command.by.name,
            command.reason,
            clock.wall(),
        ),
    )


def _check_reason(reason: str | None) -> None:
    if reason is not None and not (1 <= len(reason) <= _MAX_REASON and reason.isprintable()):
        raise InvalidInput(
            f"reason must be 1 to {_MAX_REASON} printable characters", field=("input", "reason")
        )


def named_for_change(session: Session, identifier: Identifier, *, by: Actor) -> tuple[MemberId, UUID]:
    """The very record whose identifier it is, and the identifier's own id, for whoever wants to change it.

    Raises:
        IdentifierUnknown: nobody is known by it, or it is another member's.
    """
    named = find_named(session, identifier, merged=True)
    if named is None or named.identifier_id is None:
        raise IdentifierUnknown
    check_is_own(session, named.member_id, by=by)
    return named.member_id, named.identifier_id


def check_is_own(session: Session, member_id: MemberId, *, by: Actor) -> None:
    """See that a member changes its own, or what is of a record that was merged into it.

    Raises:
        IdentifierUnknown: it is another member's.
    """
    if by.party_id is None and by.member_id not in {member_id, survivor_of(session, member_id)}:
        raise IdentifierUnknown


def check_in_use(session: Session, named: Named) -> None:
    """See that a member is named by nothing that is blocked or out of use.

    The ledger does so for every posting, under the member's lock; this is for all else that names a member.

    Raises:
        IdentifierBlocked, CardReplaced, IdentifierUnlinked.
    """
    if named.identifier_id is None or named.holder_id is None:
        return
    change = _last_change(session, named.holder_id, named.identifier_id)
    assert change is not None, "what is linked has its link in its history"
    match change.state:
        case IdentifierState.BLOCKED:
            raise IdentifierBlocked(kind=change.kind.value)
        case IdentifierState.REPLACED:
            raise CardReplaced
        case IdentifierState.UNLINKED:
            raise IdentifierUnlinked(kind=change.kind.value)
        case IdentifierState.ACTIVE:
            return


def linked_identifiers(session: Session, member_id: MemberId) -> list[LinkedIdentifier]:
    """What a member is known by, blocked identifiers and replaced cards among them, and how each stands."""
    histories = _histories(session, member_id)
    return [
        LinkedIdentifier(
            identifier_id=identifier_id,
            identifier=identifier,
            state=history[-1].state,
            linked_at=history[0].changed_at,
        )
        for identifier_id, identifier in identifiers_by_id(session, member_id).items()
        if (history := histories.get(identifier_id))
    ]


def _histories(session: Session, member_id: MemberId) -> dict[UUID, list[_Change]]:
    """The history of each of a member's identifiers, also of unlinked ones, the oldest line first."""
    column = tables.identifier_change.c
    rows = session.execute(
        select(tables.identifier_change).where(column.member_id == member_id).order_by(column.number)
    )
    found: dict[UUID, list[_Change]] = {}
    for row in rows:
        found.setdefault(row.identifier_id, []).append(_change_of(row))
    return found


def _last_change(session: Session, member_id: MemberId, identifier_id: UUID) -> _Change | None:
    column = tables.identifier_change.c
    row = session.execute(
        select(tables.identifier_change)
        .where(column.member_id == member_id, column.identifier_id == identifier_id)
        .order_by(column.number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _change_of(row)


def _change_of(row: Row[Any]) -> _Change:
    return _Change(kind=IdentifierKind(row.kind), state=IdentifierState(row.state), changed_at=row.changed_at)
