"""What becomes of an identifier after it was linked: blocked, unblocked, replaced by another card, unlinked.

Each change says who made it, when and why, and none is rewritten. It takes the lock that the member's
postings take: one by that identifier was posted before, or is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
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
from coalition.ledger.posting import call_again
from coalition.members import Named, find_named, identifiers_by_id, survivor_of
from coalition.reasons import seal_if_written, stand_in, words_of

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.orm import Session


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
class IdentifierChange:
    """A line of an identifier's history; the first is its link."""

    kind: IdentifierKind
    state: IdentifierState
    """How it stands from then on."""
    changed_at: datetime
    party_id: PartyId | None
    """The network for the operator, or a partner; None: the member itself."""
    by: str | None
    """Which client or person it was; None for a link."""
    reason: str | None
    """None: there is none, or the person was erased."""
    replaced_by: UUID | None
    """The new card's own id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierHistory:
    """An identifier that a member has or had, and what became of it."""

    member_id: MemberId
    identifier_id: UUID
    identifier: Identifier | None
    """None: the person was erased, and nobody knows it any more."""
    changes: tuple[IdentifierChange, ...]
    """The oldest first."""

    @property
    def kind(self) -> IdentifierKind:
        """What it is, or was."""
        return self.changes[0].kind

    @property
    def state(self) -> IdentifierState:
        """How it stands."""
        return self.changes[-1].state

    @property
    def linked_at(self) -> datetime:
        """Since when the member is known by it, or was."""
        return self.changes[0].changed_at


def block(session: Session, command: ChangeIdentifier) -> None:
    """Let nobody be named by it any more; again changes nothing.

    Of several blocks the operator's counts, then the partner's, then the member's.

    Raises:
        IdentifierUnknown: there is no such identifier, or it is not the actor's to change.
        MemberErased: nothing is written about that person any more.
        CardReplaced, IdentifierUnlinked: it is out of use already.
    """
    _change(session, command, IdentifierState.BLOCKED)


def unblock(session: Session, command: ChangeIdentifier) -> None:
    """Lift a block; where there is none, nothing changes.

    Raises:
        IdentifierUnknown, MemberErased, CardReplaced, IdentifierUnlinked: as for `block`.
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
        IdentifierUnknown, MemberErased, CardReplaced, IdentifierUnlinked: as for `block`.
        PartnerNotActive: the partner may link nothing now.
        IdentifierTaken: the new card is linked already.
    """
    if card.kind is not IdentifierKind.CARD:
        raise InvalidInput("a card is replaced by a card", field=("input", "card"))
    words = stand_in(session, command.reason)
    last = _last_change(session, command.member_id, command.identifier_id)
    if last is not None and last.kind != IdentifierKind.CARD.value:
        raise InvalidInput(
            "only a card is replaced; unlink this, and link another", field=("input", "identifier")
        )
    call_again(
        session,
        "SELECT ledger.replace_card(%s, %s, %s, %s, %s, %s, %s)",
        (
            command.member_id,
            command.identifier_id,
            card.value,
            command.by.party_id,
            command.by.name,
            None if words is None else words.digest,
            clock.wall(),
        ),
    )
    seal_if_written(session, command.member_id, words, row_in=tables.identifier_change)


def _change(session: Session, command: ChangeIdentifier, state: IdentifierState) -> None:
    words = stand_in(session, command.reason)
    call_again(
        session,
        "SELECT ledger.change_identifier(%s, %s, %s, %s, %s, %s, %s)",
        (
            command.member_id,
            command.identifier_id,
            state.value,
            command.by.party_id,
            command.by.name,
            None if words is None else words.digest,
            clock.wall(),
        ),
    )
    seal_if_written(session, command.member_id, words, row_in=tables.identifier_change)


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
    match IdentifierState(change.state):
        case IdentifierState.BLOCKED:
            raise IdentifierBlocked(kind=change.kind)
        case IdentifierState.REPLACED:
            raise CardReplaced
        case IdentifierState.UNLINKED:
            raise IdentifierUnlinked(kind=change.kind)
        case IdentifierState.ACTIVE:
            return


def linked_identifiers(session: Session, member_id: MemberId) -> list[IdentifierHistory]:
    """What a member is known by, blocked identifiers and replaced cards among them, and how each stands."""
    return [
        one
        for one in identifier_histories(session, member_id)
        if one.identifier is not None and one.state is not IdentifierState.UNLINKED
    ]


def identifier_histories(session: Session, member_id: MemberId) -> list[IdentifierHistory]:
    """All that a member is or was known by; of the very record, not of those that were merged into it."""
    column = tables.identifier_change.c
    rows = session.execute(
        select(tables.identifier_change).where(column.member_id == member_id).order_by(column.number)
    ).all()
    words = words_of(session, [(member_id, row.reason) for row in rows if row.reason is not None])
    changes: dict[UUID, list[IdentifierChange]] = {}
    for row in rows:
        changes.setdefault(row.identifier_id, []).append(_change_of(row, words.get((member_id, row.reason))))
    known = identifiers_by_id(session, member_id, former=True)
    found = [
        IdentifierHistory(
            member_id=member_id,
            identifier_id=identifier_id,
            identifier=known.get(identifier_id),
            changes=tuple(lines),
        )
        for identifier_id, lines in changes.items()
    ]
    return sorted(found, key=lambda one: (one.kind, one.linked_at, one.identifier_id))


def _last_change(session: Session, member_id: MemberId, identifier_id: UUID) -> Row[Any] | None:
    column = tables.identifier_change.c
    return session.execute(
        select(tables.identifier_change)
        .where(column.member_id == member_id, column.identifier_id == identifier_id)
        .order_by(column.number.desc())
        .limit(1)
    ).one_or_none()


def _change_of(row: Row[Any], reason: str | None) -> IdentifierChange:
    return IdentifierChange(
        kind=IdentifierKind(row.kind),
        state=IdentifierState(row.state),
        changed_at=row.changed_at,
        party_id=row.party_id,
        by=row.changed_by,
        reason=reason,
        replaced_by=row.replaced_by,
    )
