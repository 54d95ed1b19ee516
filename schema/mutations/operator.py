"""What the operator does: admit and suspend partners, publish their terms and funding plans."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import strawberry
from sqlalchemy.orm import Session

from coalition.errors import FundingPlanInvalid
from coalition.ids import NETWORK, AgreementId, FundingPlanId, PartyId
from partners import agreements, directory, funding
from partners.earning import EarnRule as Rule
from partners.expiry import Expiry
from partners.scopes import Scope
from schema.context import Info
from schema.cost import FEW, WRITES
from schema.enums import Activity, ActivityWhere, EarnRounding, ExpiryRule, PartnerState, ReturnPolicy
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.partners import (
    Agreement,
    FundingPlan,
    Partner,
    partner_of,
)
from schema.paths import placed
from schema.viewer import Requires


@strawberry.input(description="A business that joins the coalition.")
class CreatePartnerInput:
    """A new partner."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is your client."
    )
    code: str = strawberry.field(description="Its short name: small letters, digits, hyphens.")
    name: str = strawberry.field(description="Its name.")
    may_issue: bool = strawberry.field(default=True, description="Whether it is admitted as an issuer.")
    may_redeem: bool = strawberry.field(default=True, description="Whether it is admitted as a redeemer.")
    state: PartnerState = strawberry.field(default=PartnerState.ACTIVE, description="ACTIVE or ONBOARDING.")


@strawberry.input(description="A partner that is to move no points from now on.")
class SuspendPartnerInput:
    """Whom to stop."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPartner.")
    partner: str = strawberry.field(description="The partner's code.")


@strawberry.input(description="A partner that may move points: one that is onboarding, or was suspended.")
class ActivatePartnerInput:
    """Whom to let go on: a type of its own, so that one key cannot mean both."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPartner.")
    partner: str = strawberry.field(description="The partner's code.")


@strawberry.input(description="How many points an amount of money earns.")
class EarnRuleInput:
    """So many points for each such amount."""

    points: Decimal = strawberry.field(description="Points for each `amount` spent.")
    amount: Decimal = strawberry.field(default=Decimal(1), description="Money, in the programme's currency.")
    rounding: EarnRounding = strawberry.field(
        default=EarnRounding.DOWN, description="What happens to a fraction of a point."
    )


@strawberry.input(description="A partner's next terms. Prices are money per point, at most 6 decimal places.")
class PublishAgreementInput:
    """New terms."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPartner.")
    partner: str = strawberry.field(description="The partner's code.")
    valid_from: dt.date = strawberry.field(description="The first day; not before the open window began.")
    service_fee: Decimal = strawberry.field(description="s: the funders pay it at issue.")
    funding: Decimal = strawberry.field(description="f: likewise. Pay at issuance: R; pay at redemption: 0.")
    redemption_charge: Decimal = strawberry.field(
        description="c2: the funders pay it at redemption. R less f."
    )
    reimbursement: Decimal = strawberry.field(
        description="R: this partner receives it for a point redeemed here."
    )
    own_reimbursement: Decimal | None = strawberry.field(
        default=None, description="R0; R where nothing is said."
    )
    breakage_share: Decimal = strawberry.field(default=Decimal(0), description="β, 0 to 1.")
    earn_rule: EarnRuleInput | None = strawberry.field(
        default=None, description="What money earns; null: points are given."
    )
    maturity_days: int = strawberry.field(default=0, description="The return period; 0: none.")
    expiry_rule: ExpiryRule = strawberry.field(
        default=ExpiryRule.TERM, description="From what the last day of points is counted."
    )
    expiry_months: int | None = strawberry.field(
        default=24,
        description="The term; null: points never expire (TERM), or lapse on a date (FIXED_DATE).",
    )
    expiry_date: dt.date | None = strawberry.field(
        default=None, description="With FIXED_DATE: the date, and the same day of each year after it."
    )
    activity: Activity | None = strawberry.field(
        default=None, description="With INACTIVITY: what starts the term anew."
    )
    activity_where: ActivityWhere | None = strawberry.field(
        default=None, description="With INACTIVITY: at whom."
    )
    grace_days: int = strawberry.field(default=30, description="For points that come back to an expired lot.")
    return_policy: ReturnPolicy = strawberry.field(
        default=ReturnPolicy.AVAILABLE, description="How much of an issue can be taken back."
    )


@strawberry.input(description="One funder's share.")
class FundingPartInput:
    """A party and its parts per million."""

    partner: str | None = strawberry.field(
        default=None, description="The partner's code; null: the network itself."
    )
    ppm: int = strawberry.field(description="Parts per million; they sum to 1,000,000.")


@strawberry.input(description="A plan by which issues can be funded.")
class PublishFundingPlanInput:
    """A new plan."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createPartner.")
    code: str = strawberry.field(description="What issues name it by: small letters, digits, hyphens.")
    name: str = strawberry.field(description="Its name.")
    parts: list[FundingPartInput] = strawberry.field(description="Who pays, and how much of it.")


@strawberry.type(description="What came of admitting, suspending or activating a partner.")
class PartnerPayload(Payload):
    """The partner."""

    partner: Partner | None = strawberry.field(description="The partner.")


@strawberry.type(description="Points of one issuer that are redeemed at one partner lose the network money.")
class LossWarning:
    """A pair that makes a loss."""

    issuer: str = strawberry.field(description="The issuer's code.")
    redeemer: str = strawberry.field(description="The redeemer's code.")
    loss_per_point: Decimal = strawberry.field(description="R of the redeemer less f and c2 of the issuer.")


@strawberry.type(description="What came of publishing terms.")
class PublishAgreementPayload(Payload):
    """The agreement, and what to think about."""

    agreement: Agreement | None = strawberry.field(description="The terms.")
    warnings: list[LossWarning] = strawberry.field(
        description="Pairs of partners that would make a loss for the network; the terms hold all the same.",
        directives=[FEW],
    )


@strawberry.type(description="What came of publishing a funding plan.")
class PublishFundingPlanPayload(Payload):
    """The plan."""

    funding_plan: FundingPlan | None = strawberry.field(description="The plan.")


def _partner(
    info: Info,
    wish: CreatePartnerInput | SuspendPartnerInput | ActivatePartnerInput,
    work: Callable[[Session], directory.Partner],
) -> PartnerPayload:
    outcome = once(info.context, wish, lambda session: {"partner_id": str(work(session).partner_id)})
    if outcome.value is None:
        return PartnerPayload(replayed=False, user_errors=outcome.user_errors, partner=None)
    result, replayed = outcome.value
    partner = partner_of(info, PartyId(UUID(result["partner_id"])))
    return PartnerPayload(replayed=replayed, user_errors=[], partner=partner)


def _move(
    info: Info, wish: SuspendPartnerInput | ActivatePartnerInput, state: directory.PartnerState
) -> PartnerPayload:
    def move(session: Session) -> directory.Partner:
        found = directory.get_partner_by_code(session, wish.partner)
        return directory.set_partner_state(session, partner_id=found.partner_id, state=state)

    return _partner(info, wish, move)


@placed("earnRule", "points", instead_of=("earnPoints",))
@placed("earnRule", "amount", instead_of=("earnAmount",))
def _publish(session: Session, wish: PublishAgreementInput, by: str) -> dict[str, Any]:
    rule = wish.earn_rule
    published = agreements.publish_agreement(
        session,
        agreements.PublishAgreement(
            partner_id=directory.get_partner_by_code(session, wish.partner).partner_id,
            valid_from=wish.valid_from,
            published_by=by,
            service_fee=wish.service_fee,
            funding=wish.funding,
            redemption_charge=wish.redemption_charge,
            reimbursement=wish.reimbursement,
            own_reimbursement=wish.reimbursement
            if wish.own_reimbursement is None
            else wish.own_reimbursement,
            breakage_share=wish.breakage_share,
            earn_rule=None
            if rule is None
            else Rule(points=rule.points, amount=rule.amount, rounding=rule.rounding),
            maturity_days=wish.maturity_days,
            expiry=Expiry(
                expiry_rule=wish.expiry_rule,
                expiry_months=wish.expiry_months,
                expiry_date=wish.expiry_date,
                activity=wish.activity,
                activity_where=wish.activity_where,
            ),
            grace_days=wish.grace_days,
            return_policy=wish.return_policy,
        ),
    )
    warnings = [(one.issuer_code, one.redeemer_code, str(one.loss_per_point)) for one in published.warnings]
    return {"agreement_id": str(published.agreement.agreement_id), "warnings": warnings}


def _publish_plan(session: Session, wish: PublishFundingPlanInput, by: str) -> dict[str, Any]:
    parts: dict[PartyId, int] = {}
    for part in wish.parts:
        party = NETWORK
        if part.partner is not None:
            party = directory.get_partner_by_code(session, part.partner).partner_id
        if party in parts:
            raise FundingPlanInvalid("A funder stands in the plan twice.")
        parts[party] = part.ppm
    plan = funding.publish_funding_plan(
        session, funding.PublishFundingPlan(code=wish.code, name=wish.name, parts=parts, published_by=by)
    )
    return {"funding_plan_id": str(plan.funding_plan_id)}


@strawberry.type
class OperatorMutations:
    """Partners, terms, plans."""

    @strawberry.mutation(
        description="Admit a partner.", extensions=[Requires(Scope.PROGRAMME_ADMIN)], directives=[WRITES]
    )
    def create_partner(
        self,
        info: Info,
        input: Annotated[
            CreatePartnerInput,
            strawberry.argument(
                description="The partner's code, which never changes, its name, and whether it may issue and"
                " redeem."
            ),
        ],
    ) -> PartnerPayload:
        """Admit a partner."""

        def create(session: Session) -> directory.Partner:
            return directory.create_partner(
                session,
                directory.CreatePartner(
                    code=input.code,
                    name=input.name,
                    may_issue=input.may_issue,
                    may_redeem=input.may_redeem,
                    state=input.state,
                ),
            )

        return _partner(info, input, create)

    @strawberry.mutation(
        description="Stop a partner from moving points, from now on. Its members keep their points, and what"
        " it issued is redeemed elsewhere.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def suspend_partner(
        self,
        info: Info,
        input: Annotated[
            SuspendPartnerInput,
            strawberry.argument(description="The partner's code; one that is suspended stays so."),
        ],
    ) -> PartnerPayload:
        """Suspend a partner."""
        return _move(info, input, directory.PartnerState.SUSPENDED)

    @strawberry.mutation(
        description="Let a partner move points: one that is onboarding, or was suspended.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def activate_partner(
        self,
        info: Info,
        input: Annotated[
            ActivatePartnerInput,
            strawberry.argument(description="The partner's code; one that is active stays so."),
        ],
    ) -> PartnerPayload:
        """Activate a partner."""
        return _move(info, input, directory.PartnerState.ACTIVE)

    @strawberry.mutation(
        description="Publish a partner's next terms, which hold from a date on.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def publish_agreement(
        self,
        info: Info,
        input: Annotated[
            PublishAgreementInput,
            strawberry.argument(
                description="Whose terms, the first day on which they hold, and all of them: nothing is taken"
                " over from the version before."
            ),
        ],
    ) -> PublishAgreementPayload:
        """Publish terms."""
        by = info.context.viewer.name
        outcome = once(info.context, input, lambda session: _publish(session, input, by))
        if outcome.value is None:
            return PublishAgreementPayload(
                replayed=False, user_errors=outcome.user_errors, agreement=None, warnings=[]
            )
        result, replayed = outcome.value
        terms = info.context.loaded.agreements.get(AgreementId(UUID(result["agreement_id"])))
        return PublishAgreementPayload(
            replayed=replayed,
            user_errors=[],
            agreement=None if terms is None else Agreement.of(terms),
            warnings=[
                LossWarning(issuer=issuer, redeemer=redeemer, loss_per_point=Decimal(loss))
                for issuer, redeemer, loss in result["warnings"]
            ],
        )

    @strawberry.mutation(
        description="Publish a plan by which issues can be funded. It never changes.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def publish_funding_plan(
        self,
        info: Info,
        input: Annotated[
            PublishFundingPlanInput,
            strawberry.argument(
                description="The plan's code, by which issues name it, and its parts, which sum to 1,000,000."
            ),
        ],
    ) -> PublishFundingPlanPayload:
        """Publish a funding plan."""
        by = info.context.viewer.name
        outcome = once(info.context, input, lambda session: _publish_plan(session, input, by))
        if outcome.value is None:
            return PublishFundingPlanPayload(
                replayed=False, user_errors=outcome.user_errors, funding_plan=None
            )
        result, replayed = outcome.value
        plan = info.context.loaded.plans.get(FundingPlanId(UUID(result["funding_plan_id"])))
        return PublishFundingPlanPayload(
            replayed=replayed, user_errors=[], funding_plan=None if plan is None else FundingPlan.of(plan)
        )
