"""The replay: each day's baskets posted by the partners' own tills, each night settled."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from coalition import clock
from coalition.db import Database
from coalition.ids import MemberId
from partners.tokens import Tokens
from schema.demo import documents
from schema.demo.api import Caller, Unexpected, ask, must
from schema.demo.http import Connection
from schema.demo.purchases import ZONE, Basket, Purchase
from schema.demo.rule import Spending, is_mistake, spending
from schema.demo.together import Progress, together
from schema.ids import member_in
from settlement.night import settle

_SETTLES_AT: Final = time(0, 5)
"""Five minutes into the next day, by the programme's clock."""


@dataclass
class Tally:
    """What was posted; it is compared with what the ledger holds."""

    issues: int = 0
    redemptions: int = 0
    confirmed: int = 0
    reversals: int = 0
    issues_of: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By household."""
    redemptions_of: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By household."""

    @property
    def postings(self) -> int:
        """All of them."""
        return self.issues + self.redemptions + self.reversals


@dataclass(frozen=True, kw_only=True)
class Replay:
    """One replay of the data against one running server."""

    database: Database
    tokens: Tokens
    callers: Mapping[str, Caller]
    members: Mapping[int, str]
    connections: list[Connection]
    statements: Path
    seed: int
    tally: Tally = field(default_factory=Tally)

    async def day(self, baskets: list[Basket], progress: Progress) -> None:
        """Post a day's baskets, hour by hour of the programme's clock."""

        async def visit(connection: Connection, baskets: list[Basket]) -> None:
            for basket in baskets:
                await self._basket(connection, basket)
                progress(len(basket.purchases))

        for end_of_hour, households in hours(baskets):
            self._set_clock(end_of_hour)
            await together(self.connections, households, visit)

    async def night(self, day: date) -> None:
        """Settle, once the day is over."""
        self._set_clock(datetime.combine(day + timedelta(days=1), _SETTLES_AT, tzinfo=ZONE))
        night = await asyncio.to_thread(settle, self.database, directory=self.statements)
        if night.run is None or night.run.state != "calculated":
            raise Unexpected(f"the night after {day} was not settled: {night}")

    async def _basket(self, connection: Connection, basket: Basket) -> None:
        """What one household does at one time: one thing after the other."""
        self.tally.issues_of[basket.household] += len(basket.purchases)
        available = 0
        for purchase in basket.purchases:
            available = await self._issue(connection, basket, purchase)
        wish = spending(
            seed=self.seed,
            household=basket.household,
            basket=basket.basket,
            shopped_at=[purchase.partner for purchase in basket.purchases],
            partners=sorted(self.callers),
        )
        if wish is not None and wish.points(available):
            await self._redeem(connection, basket, wish, wish.points(available))

    async def _issue(self, connection: Connection, basket: Basket, purchase: Purchase) -> int:
        """Issue for a purchase; returns the member's available points after it."""
        caller = self.callers[purchase.partner]
        payload = await must(
            connection,
            caller,
            documents.ISSUE,
            {
                "input": {
                    **self._posting("issue", basket),
                    "amount": str(purchase.amount),
                }
            },
        )
        self.tally.issues += 1
        if is_mistake(seed=self.seed, basket=basket.basket, partner=purchase.partner):
            payload = await must(
                connection,
                caller,
                documents.REVERSE,
                {
                    "input": {
                        "idempotencyKey": f"undo-{basket.basket}",
                        "transactionId": payload["transaction"]["id"],
                        "reason": "rung up by mistake",
                    }
                },
            )
            self.tally.reversals += 1
        return int(payload["balance"]["available"])

    async def _redeem(self, connection: Connection, basket: Basket, wish: Spending, points: int) -> None:
        caller = self.callers[wish.partner]
        told = {"input": {**self._posting("redeem", basket), "points": str(points)}}
        payload = (await ask(connection, caller, documents.REDEEM, told))["redeemPoints"]
        if [error["code"] for error in payload["userErrors"]] == ["CONSENT_REQUIRED"]:
            # More than the partner may take by itself: the member confirms it on the phone.
            told["input"]["confirmation"] = await self._confirmation(connection, basket, wish, points)
            payload = await must(connection, caller, documents.REDEEM, told)
            self.tally.confirmed += 1
        if payload["userErrors"]:
            raise Unexpected(str(payload["userErrors"]))
        self.tally.redemptions += 1
        self.tally.redemptions_of[basket.household] += 1

    async def _confirmation(self, connection: Connection, basket: Basket, wish: Spending, points: int) -> Any:
        payload = await must(
            connection,
            self.as_member(basket.household),
            documents.CONFIRM,
            {
                "input": {
                    "idempotencyKey": f"confirm-{basket.basket}",
                    "partner": wish.partner,
                    "points": str(points),
                }
            },
        )
        return payload["confirmation"]["id"]

    def as_member(self, household: int) -> Caller:
        """The household itself, with a token of its own."""
        return Caller(token=self.tokens.mint_member_token(self.member_id(household)))

    def member_id(self, household: int) -> MemberId:
        """The member that the household is."""
        member_id = member_in(self.members[household])
        assert member_id is not None, "enrolment returned a member's id"
        return member_id

    def _posting(self, kind: str, basket: Basket) -> dict[str, Any]:
        return {
            "idempotencyKey": f"{kind}-{basket.basket}",
            "member": {"id": self.members[basket.household]},
            "receipt": {"store": str(basket.store), "terminal": "1", "number": str(basket.basket)},
            "occurredAt": basket.at.isoformat(),
        }

    def _set_clock(self, moment: datetime) -> None:
        with self.database.unit_of_work() as session:
            clock.set_clock(session, to=moment)


def hours(baskets: list[Basket]) -> Iterator[tuple[datetime, list[list[Basket]]]]:
    """A day's baskets as they are posted: when the hour ends, each household's one after the other.

    Households post at the same time and none twice at once, so that chance decides nothing.
    """
    by_hour: dict[datetime, dict[int, list[Basket]]] = defaultdict(lambda: defaultdict(list))
    for basket in baskets:
        end_of_hour = basket.at.astimezone(UTC).replace(minute=59, second=0)
        by_hour[end_of_hour][basket.household].append(basket)
    for end_of_hour in sorted(by_hour):
        yield end_of_hour, list(by_hour[end_of_hour].values())
