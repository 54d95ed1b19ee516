"""Funding plans: who pays for a lot's points, in parts per million. Published, never edited."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy import insert as plain_insert
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from coalition import clock
from coalition.amounts import PARTS_PER_MILLION
from coalition.errors import FundingPlanInvalid, FundingPlanUnknown, PartnerUnknown
from coalition.ids import FundingPlanId, PartyId
from partners import tables
from partners.checks import check_code, check_text

_plan = tables.funding_plan
_part = tables.funding_part

_MOST_PARTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPlan:
    """How the cost of a lot is shared among funders."""

    funding_plan_id: FundingPlanId
    code: str
    name: str
    published_at: datetime
    published_by: str
    parts: Mapping[PartyId, int]
    """Parts per million by funder; they sum to 1,000,000. The network may be one: a cost line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFundingPlan:
    """The operator's wish that issues can name a plan."""

    code: str
    name: str
    parts: Mapping[PartyId, int]
    published_by: str


def publish_funding_plan(session: Session, command: PublishFundingPlan) -> FundingPlan:
    """Publish a plan. Issues name it by its code from now on, and it never changes.

    Raises:
        InvalidInput: the code or the name is malformed.
        PartnerUnknown: a funder is no party of this programme.
        FundingPlanInvalid: the parts don't sum to 1,000,000, or the code is taken.
    """
    code = check_code(command.code)
    name = check_text(command.name, field="name")
    published_by = check_text(command.published_by, field="publishedBy")
    party = tables.partner.c.partner_id
    known = set(session.execute(select(party).where(party.in_(command.parts))).scalars())
    if known != set(command.parts):
        raise PartnerUnknown("A funder of the plan is not known.", field=("input", "parts"))
    shares = command.parts.values()
    if not 1 <= len(shares) <= _MOST_PARTS or min(shares) < 1 or sum(shares) != PARTS_PER_MILLION:
        raise FundingPlanInvalid(sum=sum(shares))
    plan_id = FundingPlanId(uuid4())
    adding = insert(_plan).values(
        funding_plan_id=plan_id,
        code=code,
        name=name,
        published_at=clock.now(session),
        published_by=published_by,
    )
    row = session.execute(adding.on_conflict_do_nothing().returning(_plan.c.published_at)).one_or_none()
    if row is None:
        raise FundingPlanInvalid(f"A funding plan has the code {code} already.", field=("input", "code"))
    session.execute(
        plain_insert(_part),
        [{"funding_plan_id": plan_id, "party_id": party, "ppm": ppm} for party, ppm in command.parts.items()],
    )
    return FundingPlan(
        funding_plan_id=plan_id,
        code=code,
        name=name,
        published_at=row.published_at,
        published_by=published_by,
        parts=dict(command.parts),
    )


def find_funding_plan(session: Session, code: str) -> FundingPlan:
    """The plan of that code.

    Raises:
        FundingPlanUnknown: there is none.
    """
    plan_id = session.execute(
        select(_plan.c.funding_plan_id).where(_plan.c.code == code)
    ).scalar_one_or_none()
    if plan_id is None:
        raise FundingPlanUnknown
    return get_funding_plans(session, [plan_id])[plan_id]


def get_funding_plans(session: Session, ids: Collection[FundingPlanId]) -> dict[FundingPlanId, FundingPlan]:
    """The plans of these ids with their parts, in one statement."""
    return {plan.funding_plan_id: plan for plan in _plans(session, ids)}


def list_funding_plans(session: Session) -> list[FundingPlan]:
    """All plans by code."""
    return _plans(session)


def _plans(session: Session, ids: Collection[FundingPlanId] | None = None) -> list[FundingPlan]:
    query = select(*_plan.c, _part.c.party_id, _part.c.ppm).join_from(
        _plan, _part, _plan.c.funding_plan_id == _part.c.funding_plan_id
    )
    if ids is not None:
        query = query.where(_plan.c.funding_plan_id.in_(ids))
    plans: dict[FundingPlanId, FundingPlan] = {}
    parts: dict[FundingPlanId, dict[PartyId, int]] = {}
    for row in session.execute(query.order_by(_plan.c.code, _part.c.ppm.desc(), _part.c.party_id)):
        shares = parts.setdefault(row.funding_plan_id, {})
        shares[row.party_id] = row.ppm
        plans.setdefault(
            row.funding_plan_id,
            FundingPlan(
                funding_plan_id=row.funding_plan_id,
                code=row.code,
                name=row.name,
                published_at=row.published_at,
                published_by=row.published_by,
                parts=shares,
            ),
        )
    return list(plans.values())
