"""What would come of an issue or a redemption: the very evaluation that the mutation makes; nothing moves."""

import datetime as dt
from typing import Annotated

import strawberry
from sqlalchemy.orm import Session

from coalition.amounts import Points
from partners import quotes
from partners.scopes import Scope
from schema.context import Info
from schema.cost import FEW
from schema.inputs import QuoteIssueInput, QuoteRedemptionInput
from schema.objects.partners import Agreement
from schema.refusals import UserError
from schema.viewer import Requires


@strawberry.type(description="What an issue would give.")
class IssueQuote:
    """The answer to quoteIssue."""

    points: Points = strawberry.field(description="How many points.")
    occurred_at: dt.datetime = strawberry.field(description="The moment that was reckoned with.")
    matures_at: dt.datetime | None = strawberry.field(
        description="When they become spendable; null: at once."
    )
    expires_at: dt.datetime | None = strawberry.field(description="When they lapse; null: never.")
    agreement: Agreement = strawberry.field(description="Your terms that say so.")


@strawberry.type(description="What a redemption would meet.")
class RedemptionQuote:
    """The answer to quoteRedemption."""

    points: Points = strawberry.field(description="How many were asked for.")
    available: Points = strawberry.field(
        description="How many the member can spend; with fromPool how many it and its pool have."
    )
    of_pool: Points = strawberry.field(
        description="How many of the points would come from others of the member's household pool; 0 without"
        " fromPool."
    )
    sufficient: bool = strawberry.field(description="Whether these are enough.")
    allowed_without_confirmation: Points = strawberry.field(
        description="What you may still take from this member in this window without asking."
    )
    needs_confirmation: bool = strawberry.field(description="Whether the member must confirm it.")


@strawberry.type(description="An answer, or why the wish would be refused.")
class QuoteIssuePayload:
    """The quote."""

    quote: IssueQuote | None = strawberry.field(description="What it would give.")
    user_errors: list[UserError] = strawberry.field(description="Why it would be refused.", directives=[FEW])


@strawberry.type(description="An answer, or why the wish would be refused.")
class QuoteRedemptionPayload:
    """The quote."""

    quote: RedemptionQuote | None = strawberry.field(description="What it would meet.")
    user_errors: list[UserError] = strawberry.field(description="Why it would be refused.", directives=[FEW])


@strawberry.type
class QuoteQueries:
    """Questions that move nothing."""

    @strawberry.field(
        description="What would a member get? Nothing moves.", extensions=[Requires(Scope.POINTS_ISSUE)]
    )
    def quote_issue(
        self,
        info: Info,
        input: Annotated[
            QuoteIssueInput,
            strawberry.argument(
                description="The wish as issuePoints would take it, without key and receipt."
            ),
        ],
    ) -> QuoteIssuePayload:
        """Preview an issue."""
        partner_id = info.context.viewer.acting_partner()

        def ask(session: Session) -> quotes.IssueQuote:
            named = input.member and input.member.named(session, partner_id=partner_id)
            return quotes.quote_issue(
                session,
                quotes.QuoteIssue(
                    partner_id=partner_id,
                    member_id=named.member_id if named else None,
                    identifier_id=named.identifier_id if named else None,
                    points=input.points,
                    amount=input.amount,
                    funding_plan=input.funding_plan,
                    occurred_at=input.occurred_at,
                ),
            )

        outcome = info.context.quote(ask)
        found = outcome.value
        if found is None:
            return QuoteIssuePayload(quote=None, user_errors=outcome.user_errors)
        quote = IssueQuote(
            points=found.points,
            occurred_at=found.occurred_at,
            matures_at=found.matures_at,
            expires_at=found.expires_at,
            agreement=Agreement.of(found.agreement),
        )
        return QuoteIssuePayload(quote=quote, user_errors=[])

    @strawberry.field(
        description="Could a member spend so many points here? Nothing moves.",
        extensions=[Requires(Scope.POINTS_REDEEM)],
    )
    def quote_redemption(
        self,
        info: Info,
        input: Annotated[
            QuoteRedemptionInput,
            strawberry.argument(
                description="The wish as redeemPoints would take it, without key, receipt and confirmation."
            ),
        ],
    ) -> QuoteRedemptionPayload:
        """Preview a redemption."""
        partner_id = info.context.viewer.acting_partner()

        def ask(session: Session) -> quotes.RedemptionQuote:
            named = input.member.named(session, partner_id=partner_id)
            return quotes.quote_redemption(
                session,
                quotes.QuoteRedemption(
                    partner_id=partner_id,
                    member_id=named.member_id,
                    identifier_id=named.identifier_id,
                    points=input.points,
                    occurred_at=input.occurred_at,
                    from_pool=input.from_pool,
                ),
            )

        outcome = info.context.quote(ask)
        found = outcome.value
        if found is None:
            return QuoteRedemptionPayload(quote=None, user_errors=outcome.user_errors)
        quote = RedemptionQuote(
            points=found.points,
            available=found.available,
            of_pool=found.of_pool,
            sufficient=found.sufficient,
            allowed_without_confirmation=found.allowed_without_confirmation,
            needs_confirmation=found.needs_confirmation,
        )
        return QuoteRedemptionPayload(quote=quote, user_errors=[])
