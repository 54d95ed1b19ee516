"""Partners, their terms, and the plans by which points are funded."""

import datetime as dt
from decimal import Decimal

import strawberry

from coalition.ids import NETWORK, PartnerId, PartyId
from partners import agreements, directory, funding, stores
from schema.context import Info
from schema.cost import FEW, PAGE
from schema.enums import Activity, ActivityWhere, EarnRounding, ExpiryRule, PartnerState, ReturnPolicy
from schema.ids import to_global
from schema.objects.nodes import After, Before, Connection, First, Last, Node, asked_page, connection


@strawberry.type(description="How many points an amount of money earns.")
class EarnRule:
    """So many points for each such amount."""

    points: Decimal = strawberry.field(description="Points for each `amount` spent.")
    amount: Decimal = strawberry.field(description="Money, in the programme's currency.")
    rounding: EarnRounding = strawberry.field(description="What happens to a fraction of a point.")


@strawberry.type(
    description="One version of a partner's commercial terms. Never edited, only superseded by a later one."
    " Prices are money per point in the programme's currency."
)
class Agreement(Node):
    """A partner's terms from a date on."""

    version: int = strawberry.field(description="1, 2, 3 … per partner.")
    valid_from: dt.date = strawberry.field(description="The first day it holds, in the programme's zone.")
    service_fee: Decimal = strawberry.field(description="s: the lot's funders pay it when points are issued.")
    funding: Decimal = strawberry.field(description="f: likewise; s + f is the issue charge.")
    redemption_charge: Decimal = strawberry.field(
        description="c2: the lot's funders pay it when a point of it is redeemed."
    )
    reimbursement: Decimal = strawberry.field(
        description="R: this partner receives it for a point redeemed here."
    )
    own_reimbursement: Decimal = strawberry.field(
        description="R0: as R, for points this partner issued itself."
    )
    breakage_share: Decimal = strawberry.field(
        description="β, 0 to 1: so much of f returns to the funders when a point expires."
    )
    earn_rule: EarnRule | None = strawberry.field(
        description="What an amount of money earns; null: points are given as points."
    )
    maturity_days: int = strawberry.field(
        description="The return period during which points are pending; 0: none."
    )
    expiry_rule: ExpiryRule = strawberry.field(
        description="From what the last day of points is counted, in the programme's zone."
    )
    expiry_months: int | None = strawberry.field(
        description="The term in calendar months; null: points never expire (TERM), or lapse on a date."
    )
    expiry_date: dt.date | None = strawberry.field(
        description="Of FIXED_DATE: the date, and the same day of each year after it."
    )
    activity: Activity | None = strawberry.field(description="Of INACTIVITY: what starts the term anew.")
    activity_where: ActivityWhere | None = strawberry.field(description="Of INACTIVITY: at whom.")
    grace_days: int = strawberry.field(
        description="How long points live that the return of a redemption brings back to an expired lot. What"
        " a hold releases has no grace: it expires at once where its lot did meanwhile."
    )
    return_policy: ReturnPolicy = strawberry.field(description="How much of an issue can be taken back.")
    published_at: dt.datetime = strawberry.field(description="When it was published.")

    @classmethod
    def of(cls, terms: agreements.Agreement) -> "Agreement":
        """As the API shows it."""
        rule = terms.earn_rule
        return cls(
            id=to_global("Agreement", terms.agreement_id),
            version=terms.version,
            valid_from=terms.valid_from,
            service_fee=terms.service_fee,
            funding=terms.funding,
            redemption_charge=terms.redemption_charge,
            reimbursement=terms.reimbursement,
            own_reimbursement=terms.own_reimbursement,
            breakage_share=terms.breakage_share,
            earn_rule=None
            if rule is None
            else EarnRule(points=rule.points, amount=rule.amount, rounding=rule.rounding),
            maturity_days=terms.maturity_days,
            expiry_rule=terms.expiry.expiry_rule,
            expiry_months=terms.expiry.expiry_months,
            expiry_date=terms.expiry.expiry_date,
            activity=terms.expiry.activity,
            activity_where=terms.expiry.activity_where,
            grace_days=terms.grace_days,
            return_policy=terms.return_policy,
            published_at=terms.published_at,
        )


@strawberry.type(description="A place where a partner sells; its receipts name it by its code.")
class Store:
    """A store."""

    code: str = strawberry.field(description="As receipts have it.")
    name: str = strawberry.field(description="What people call it.")
    since: dt.date | None = strawberry.field(description="Its first day; null: it has always been there.")
    closed: dt.date | None = strawberry.field(description="Its last day; null: it is open.")

    @classmethod
    def of(cls, store: stores.Store) -> "Store":
        """As the API shows it."""
        return cls(code=store.code, name=store.name, since=store.since, closed=store.closed)


@strawberry.type(description="A business in the coalition. It issues points, redeems them, or both.")
class Partner(Node):
    """A partner, as far as the viewer may see it."""

    partner_id: strawberry.Private[PartyId]
    code: str = strawberry.field(description="Its short name in files and tables.")
    name: str = strawberry.field(description="Its name.")
    state: PartnerState = strawberry.field(description="Only an active partner can issue.")
    may_issue: bool = strawberry.field(description="Whether it was admitted as an issuer.")
    may_redeem: bool = strawberry.field(description="Whether it was admitted as a redeemer.")

    @strawberry.field(
        description="All versions of its terms, the latest first; null for other partners and for members.",
        directives=[FEW],
    )
    def agreements(self, info: Info) -> list[Agreement] | None:
        """Its terms."""
        if not info.context.viewer.sees_terms_of(self.partner_id):
            return None
        found = info.context.loaded.terms.get(PartnerId(self.partner_id)) or []
        return [Agreement.of(terms) for terms in found]

    @strawberry.field(
        description="Its stores by code, those that are closed included; null for other partners and for"
        " members. None at all: its receipts may name any.",
        directives=[PAGE],
    )
    def stores(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Store] | None:
        """Its stores."""
        if not info.context.viewer.sees_terms_of(self.partner_id):
            return None
        asked = asked_page(first=first, after=after, last=last, before=before)
        page = info.context.loaded.stores.get((PartnerId(self.partner_id), asked))
        assert page is not None, "a page may be empty, and is one"
        made: Connection[Store] = connection(
            page, [(one.code,) for one in page.items], [Store.of(one) for one in page.items]
        )
        return made

    @classmethod
    def of(cls, partner: directory.Partner) -> "Partner":
        """As the API shows it."""
        return cls(
            id=to_global("Partner", partner.partner_id),
            partner_id=partner.partner_id,
            code=partner.code,
            name=partner.name,
            state=partner.state,
            may_issue=partner.may_issue,
            may_redeem=partner.may_redeem,
        )


def partner_of(info: Info, partner_id: PartyId | None) -> Partner | None:
    """The partner, where there is one and the viewer may know it. The network is no partner."""
    if partner_id is None or partner_id == NETWORK or not info.context.viewer.may_know_partner(partner_id):
        return None
    found = info.context.loaded.partners.get(partner_id)
    return None if found is None else Partner.of(found)


@strawberry.type(description="One funder's share of a lot.")
class FundingPart:
    """A party and its parts per million."""

    party_id: strawberry.Private[PartyId]
    ppm: int = strawberry.field(description="Parts per million; a plan's sum to 1,000,000.")

    @strawberry.field(
        description="The funding partner; null: the network itself, which pays as a cost of its own."
    )
    def partner(self, info: Info) -> Partner | None:
        """Who pays."""
        return partner_of(info, self.party_id)


@strawberry.type(
    description="Who pays for a lot's points. An issue names it by its code. Published, never edited."
)
class FundingPlan(Node):
    """A plan with its parts."""

    code: str = strawberry.field(description="What `issuePoints` names it by.")
    name: str = strawberry.field(description="Its name.")
    parts: list[FundingPart] = strawberry.field(
        description="The funders, the largest first.", directives=[FEW]
    )

    @classmethod
    def of(cls, plan: funding.FundingPlan) -> "FundingPlan":
        """As the API shows it."""
        return cls(
            id=to_global("FundingPlan", plan.funding_plan_id),
            code=plan.code,
            name=plan.name,
            parts=[FundingPart(party_id=party, ppm=ppm) for party, ppm in plan.parts.items()],
        )
