"""Questions of what a wish would do; the answer is compared, and that nothing moved."""

import copy
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Self

from hypothesis import strategies as st

from partners.quotes import QuoteIssue as AskIssue
from partners.quotes import QuoteRedemption as AskRedemption
from partners.quotes import quote_issue, quote_redemption

from . import quotes, tills
from .ledger import Ledger
from .programme import Programme, Refused
from .till_wishes import from_pool, named_by
from .wishing import (
    NO_PLAN,
    ByPartner,
    Told,
    ago,
    ahead,
    nth_of,
    nths,
    rarely,
    shares,
    some,
    somebody,
    someone,
)


@dataclass(frozen=True, kw_only=True)
class Question(ByPartner):
    enters = False
    weight = 3

    def touches(self, p: Programme) -> list[int]:
        """None; that is compared of all."""
        return list(range(len(p.members)))

    def asking(self, ledger: Ledger, p: Programme) -> dict[str, Any]:
        return {
            "partner_id": ledger.partner(self.partner),
            "occurred_at": self.occurred_at(p) if self.days_ago or self.ahead else None,
            "identifier_id": None if self.identifier is None else ledger.identifiers[self.identifier],
        }

    def asked_of(self, p: Programme) -> dict[str, Any]:
        return {
            "partner": self.partner,
            "points": self.points,
            "occurred_at": self.occurred_at(p),
            "identifier": self.identifier,
        }


@dataclass(frozen=True, kw_only=True)
class QuoteIssue(Question):
    cents: int | None = None
    """Money, in place of points."""
    plan: int | None = None
    nth_plan: int | None = None
    of_nobody: bool = False
    """Asked of no member in particular."""
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            partner=someone,
            points=some,
            days_ago=ago,
            ahead=ahead,
            nth_identifier=named_by,
            cents=st.none() | rarely(st.integers(0, 9_999), st.just(10**12)),
            nth_plan=st.none() | nths,
            plan=rarely(st.none(), st.just(NO_PLAN)),
            of_nobody=rarely(st.just(value=False), st.just(value=True), odds=5),
        )
    )

    def settle(self, p: Programme) -> Self:
        settled = super().settle(p)
        plan = nth_of(self.nth_plan, len(p.plans))
        named = {"nth_plan": None, "plan": self.plan if plan is None else plan}
        if self.of_nobody:
            named["identifier"] = None
        return replace(settled, **named)

    @property
    def amount(self) -> Decimal | None:
        return None if self.cents is None else Decimal(self.cents) / 100

    def expect(self, p: Programme, key: str) -> Told:  # noqa: ARG002
        asked = {**self.asked_of(p), "points": self.points if self.cents is None else None}
        member = None if self.of_nobody else self.member
        return Told(quotes.issue(p, member=member, amount=self.amount, plan=self.plan, **asked))

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Told:  # noqa: ARG002
        question = AskIssue(
            member_id=None if self.of_nobody else ledger.member(self.member),
            points=self.points if self.cents is None else None,
            amount=self.amount,
            funding_plan=None if self.plan is None else ledger.plan_code(self.plan),
            **self.asking(ledger, p),
        )
        with ledger.driver.database.reading() as session:
            quote = quote_issue(session, question)
        assert quote.matures_at is None
        assert quote.occurred_at == self.occurred_at(p)
        assert quote.expires_at
        return Told(
            quotes.IssueQuote(
                points=quote.points,
                expires_at=quote.expires_at,
                terms=ledger.terms(quote.agreement.agreement_id),
                plan=ledger.plan_number(quote.funding_plan_id),
            )
        )


@dataclass(frozen=True, kw_only=True)
class QuoteRedemption(Question):
    from_pool: bool = False
    names = ("QuoteRedemption", "QuoteRedemption from a pool")
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            partner=someone,
            points=some,
            share=shares,
            days_ago=ago,
            ahead=ahead,
            nth_identifier=named_by,
            from_pool=from_pool,
        )
    )

    def name(self, p: Programme) -> str:
        return super().name(p) + (" from a pool" if self.from_pool else "")

    def expect(self, p: Programme, key: str) -> Told:
        try:
            quote = quotes.redemption(p, member=self.member, from_pool=self.from_pool, **self.asked_of(p))
        except Refused:
            self.keeps_its_word(p, key, good=False)
            raise
        self.keeps_its_word(p, key, good=quote.good)
        return Told(quote)

    def keeps_its_word(self, p: Programme, key: str, *, good: bool) -> None:
        """Whoever redeems right after the quote gets what it said."""
        after = copy.deepcopy(p)
        granted = False
        with suppress(Refused):
            tills.redeem(after, **self.expected(after, key), from_pool=self.from_pool)
            granted = True
        # Of these a redemption finds more than is read: they lapse with it.
        over = [one for one in p.members for hold in one.holds if hold.pooled and hold.lapses_at <= p.now]
        assert granted == good or (over and self.from_pool), "a quote is not what the redemption then is"

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Told:  # noqa: ARG002
        question = AskRedemption(
            member_id=ledger.member(self.member),
            points=self.points,
            from_pool=self.from_pool,
            **self.asking(ledger, p),
        )
        with ledger.driver.database.reading() as session:
            quote = quote_redemption(session, question)
        return Told(
            quotes.RedemptionQuote(
                points=quote.points,
                available=quote.available,
                of_pool=quote.of_pool,
                allowed=quote.allowed_without_confirmation,
                terms=ledger.terms(quote.agreement.agreement_id),
            )
        )
