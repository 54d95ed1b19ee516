"""The kernel's guards as questions that move nothing, in its order: what a quote is refused for."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from coalition.amounts import Points
from coalition.clock import wall
from coalition.drawing import pool_to_spend_from
from coalition.errors import (
    AgreementMissing,
    FundingPlanUnknown,
    MemberBlocked,
    MemberErased,
    MemberMerged,
    MemberUnknown,
    OccurredTooLongAgo,
    PartnerNotActive,
    PartnerRoleMissing,
)
from coalition.ids import MemberId, PartnerId
from coalition.ledger.posting import call
from coalition.ledger.tables import member_head
from coalition.programme import get_programme
from partners.agreements import Agreement
from partners.directory import Partner, PartnerState, get_partner
from partners.memory import memory_of
from partners.terms import local_date

_Role = Literal["an issuer", "a redeemer"]

_ACTS_IN: Final[Mapping[_Role, frozenset[PartnerState]]] = {
    "an issuer": frozenset({PartnerState.ACTIVE}),
    # Who leaves still takes points that members hold.
    "a redeemer": frozenset({PartnerState.ACTIVE, PartnerState.LEAVING}),
}


def check_issue(
    session: Session,
    *,
    member_id: MemberId | None,
    partner_id: PartnerId,
    occurred_at: datetime,
    agreement: Agreement | None,
    plan_known: bool,
) -> Agreement:
    """The terms of an issue, which are those in force when it occurred, if there could be one.

    Raises:
        MemberUnknown, MemberErased, MemberMerged, OccurredTooLongAgo, PartnerUnknown, PartnerNotActive,
        PartnerRoleMissing, AgreementMissing, FundingPlanUnknown, MemberBlocked.
    """
    blocked = member_id is not None and _is_blocked(session, member_id)
    terms = _terms(
        session, partner_id=partner_id, occurred_at=occurred_at, agreement=agreement, role="an issuer"
    )
    if not plan_known:
        raise FundingPlanUnknown
    if blocked:
        raise MemberBlocked
    return terms


def check_redemption(
    session: Session,
    *,
    member_id: MemberId,
    partner_id: PartnerId,
    occurred_at: datetime,
    agreement: Agreement | None,
    from_pool: bool = False,
) -> Agreement:
    """The terms of a redemption, which are those in force when it occurred, if there could be one.

    Raises:
        MemberUnknown, MemberErased, MemberMerged, OccurredTooLongAgo, PartnerUnknown, PartnerNotActive,
        PartnerRoleMissing, AgreementMissing, MemberBlocked; and with `from_pool` NotInPool, PoolHeadOnly.
    """
    blocked = _is_blocked(session, member_id)
    terms = _terms(
        session, partner_id=partner_id, occurred_at=occurred_at, agreement=agreement, role="a redeemer"
    )
    if from_pool:
        pool_to_spend_from(session, member_id)
    if blocked:
        raise MemberBlocked
    return terms


def check_identifier(session: Session, *, member_id: MemberId, identifier_id: UUID | None) -> None:
    """Whether a posting may name the member so, where only that is asked; `check_limits` asks it, too.

    Raises:
        IdentifierBlocked, CardReplaced, IdentifierUnlinked: it may not.
        MemberMerged: it is another's by now.
    """
    with session.begin_nested():
        call(session, "SELECT ledger.ask_identifier(%s, %s)", (member_id, identifier_id))


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


def _terms(
    session: Session,
    *,
    partner_id: PartnerId,
    occurred_at: datetime,
    agreement: Agreement | None,
    role: _Role,
) -> Agreement:
    programme = get_programme(session)
    oldest = memory_of(session).moment(session, None) - timedelta(days=programme.late_days)
    if occurred_at < oldest:
        raise OccurredTooLongAgo(occurred_at=occurred_at, oldest=oldest)
    partner = get_partner(session, partner_id)
    if partner.state not in _ACTS_IN[role]:
        raise PartnerNotActive(state=partner.state.value)
    if not _has(partner, role):
        raise PartnerRoleMissing(role=role)
    if agreement is None:
        raise AgreementMissing(date=local_date(occurred_at, programme.tz))
    return agreement


def _is_blocked(session: Session, member_id: MemberId) -> bool:
    columns = member_head.c
    query = select(columns.blocked, columns.erased_at, columns.merged_into).where(
        columns.member_id == member_id
    )
    head = session.execute(query).one_or_none()
    if head is None:
        raise MemberUnknown
    if head.erased_at is not None:
        raise MemberErased
    if head.merged_into is not None:
        raise MemberMerged(survivor=head.merged_into)
    return bool(head.blocked)


def _has(partner: Partner, role: _Role) -> bool:
    return partner.may_issue if role == "an issuer" else partner.may_redeem
