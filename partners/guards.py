"""The kernel's guards as questions that move nothing, in its order: what a quote is refused for."""

from collections.abc import Mapping
from datetime import date
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from coalition.amounts import Points
from coalition.clock import wall
from coalition.drawing import pool_to_spend_from
from coalition.errors import (
    AgreementMissing,
    MemberBlocked,
    MemberErased,
    MemberUnknown,
    PartnerNotActive,
    PartnerRoleMissing,
)
from coalition.ids import MemberId, PartnerId
from coalition.ledger.posting import call
from coalition.ledger.tables import member_head
from partners.agreements import Agreement, agreement_in_force
from partners.directory import Partner, PartnerState, get_partner

_Role = Literal["an issuer", "a redeemer"]

_ACTS_IN: Final[Mapping[_Role, frozenset[PartnerState]]] = {
    "an issuer": frozenset({PartnerState.ACTIVE}),
    # Who leaves still takes points that members hold.
    "a redeemer": frozenset({PartnerState.ACTIVE, PartnerState.LEAVING}),
}


def check_issue(
    session: Session, *, member_id: MemberId | None, partner_id: PartnerId, on: date
) -> Agreement:
    """The terms of an issue on a date, if there could be one.

    Raises:
        MemberUnknown, MemberErased, PartnerUnknown, PartnerNotActive, PartnerRoleMissing, AgreementMissing,
        MemberBlocked.
    """
    return _check(session, member_id=member_id, partner_id=partner_id, on=on, role="an issuer")


def check_redemption(
    session: Session, *, member_id: MemberId, partner_id: PartnerId, on: date, from_pool: bool = False
) -> Agreement:
    """The terms of a redemption on a date, if there could be one.

    Raises:
        MemberUnknown, MemberErased, PartnerUnknown, PartnerNotActive, PartnerRoleMissing, AgreementMissing,
        MemberBlocked; and with `from_pool` NotInPool, PoolHeadOnly.
    """
    drawing = member_id if from_pool else None
    return _check(
        session, member_id=member_id, partner_id=partner_id, on=on, role="a redeemer", drawing=drawing
    )


def check_limits(
    session: Session,
    *,
    member_id: MemberId,
    partner_id: PartnerId,
    posting: Literal["issue", "redeem"],
    points: Points,
    identifier_id: UUID | None,
) -> None:
    """Whether the operator's limits would let such a posting pass now; the last of its guards.

    Raises:
        LimitExceeded, UnderReview: it would be refused, or held for review.
    """
    with session.begin_nested():
        call(
            session,
            "SELECT ledger.ask_limits(%s, %s, %s, %s, %s, %s)",
            (member_id, partner_id, posting, points, identifier_id, wall()),
        )


def _check(
    session: Session,
    *,
    member_id: MemberId | None,
    partner_id: PartnerId,
    on: date,
    role: _Role,
    drawing: MemberId | None = None,
) -> Agreement:
    blocked = None if member_id is None else _is_blocked(session, member_id)
    partner = get_partner(session, partner_id)
    if partner.state not in _ACTS_IN[role]:
        raise PartnerNotActive(state=partner.state.value)
    if not _has(partner, role):
        raise PartnerRoleMissing(role=role)
    agreement = agreement_in_force(session, partner_id=partner_id, on=on)
    if agreement is None:
        raise AgreementMissing(date=on)
    if drawing is not None:
        pool_to_spend_from(session, drawing)
    if blocked:
        raise MemberBlocked
    return agreement


def _is_blocked(session: Session, member_id: MemberId) -> bool:
    query = select(member_head.c.blocked, member_head.c.erased_at).where(member_head.c.member_id == member_id)
    head = session.execute(query).one_or_none()
    if head is None:
        raise MemberUnknown
    if head.erased_at is not None:
        raise MemberErased
    return bool(head.blocked)


def _has(partner: Partner, role: _Role) -> bool:
    return partner.may_issue if role == "an issuer" else partner.may_redeem
