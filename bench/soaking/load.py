"""The load: each seat asks for one thing after the other, and keeps a log of what it was answered.

Who gets no answer asks again under the same key, as a real till would, and goes on with the next when it has
its answer.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx

from soaking.wishes import ALONE, AT_TILLS, BY_THE_OPERATOR, IN_THE_APP, Input, Seat, Wish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from soaking.coalition import Coalition

_UNSURE: Final = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
)
_PAUSE: Final = 0.05  # seconds until it asks again
_PATIENCE: Final = 20  # seconds for an answer: longer than a statement may take


class NeverToBeAnswered(Exception):
    """The API answered as it must not, whatever happens behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A wish that was granted, as its seat was told."""

    wish: Wish
    asked: Input
    """With its key."""
    who: str
    """The client, or the member whose token it was."""
    answer: dict[str, Any]

    @property
    def key(self) -> str:
        """Under which it was asked."""
        return str(self.asked["idempotencyKey"])

    @property
    def transaction(self) -> dict[str, Any] | None:
        """The transaction that it made, if it is one that makes one and has."""
        found: dict[str, Any] | None = self.answer.get("transaction")
        return found


@dataclass(slots=True)
class Log:
    """What all seats were answered."""

    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """The code by the key."""
    asked_again: int = 0
    faults: list[str] = field(default_factory=list)
    """Answers that the API must never give."""

    def granted(self) -> Counter[str]:
        """How many of each mutation."""
        return Counter(one.wish.mutation for one in list(self.acknowledged.values()))


@dataclass(slots=True)
class Desk:
    """One seat at work in its thread."""

    url: str
    coalition: Coalition
    seat: Seat
    client: str
    """Whose token: a partner's code, `operator`; or empty, and it is the member's own."""
    wishes: Sequence[Wish]
    log: Log
    stop: threading.Event
    tokens: dict[str, str] = field(default_factory=dict)

    def work(self) -> None:
        """Ask until told to stop; the last wish is seen through to its answer."""
        weights = [wish.weight for wish in self.wishes]
        with httpx.Client(base_url=self.url, timeout=_PATIENCE) as http:
            for number in range(10_000_000):
                if self.stop.is_set():
                    return
                [wish] = self.seat.chance.choices(self.wishes, weights)
                self.seat.me = self.seat.chance.choice(self.seat.members)
                if wish.looks_up:
                    self.look_up(http, wish.looks_up)
                given = wish.make(self.seat)
                if given is None:
                    continue
                asked = wish.with_key(given, f"{self.seat.name}-{number}")
                who = self.client or self.seat.me
                try:
                    answer = self.until_answered(http, wish, asked, who)
                except NeverToBeAnswered as fault:
                    self.log.faults.append(str(fault))
                    return
                self.note(wish, asked, who, answer)

    def until_answered(self, http: httpx.Client, wish: Wish, asked: Input, who: str) -> dict[str, Any]:
        """The payload, however often it takes to ask."""
        while True:
            try:
                answer = self.ask(http, wish, asked, who)
            except httpx.HTTPError:
                answer = None
            if answer is not None:
                return answer
            self.log.asked_again += 1
            time.sleep(_PAUSE)

    def ask(self, http: httpx.Client, wish: Wish, asked: Input, who: str) -> dict[str, Any] | None:
        """The payload; None: nobody knows whether it was done."""
        token = self.token(http, who)
        if token is None:
            return None
        response = http.post(
            "/graphql",
            json={"query": wish.document, "variables": {"input": asked}},
            headers={"Authorization": f"Bearer {token}"},
        )
        if response.status_code in _UNSURE:
            if response.status_code == HTTPStatus.UNAUTHORIZED:
                self.tokens.pop(who, None)
            return None
        body = response.json()
        if response.status_code != HTTPStatus.OK or "errors" in body:
            raise NeverToBeAnswered(f"{wish.mutation} {asked} was answered {response.status_code}: {body}")
        payload: dict[str, Any] = body["data"][wish.mutation]
        return payload

    def look_up(self, http: httpx.Client, connection: str) -> None:
        """Know the ids of what there is now; of what there was, where nobody answers."""
        try:
            token = self.token(http, self.client or self.seat.me)
            response = http.post(
                "/graphql",
                json={"query": f"{{ {connection} {{ edges {{ node {{ id }} }} }} }}"},
                headers={"Authorization": f"Bearer {token}"},
            )
        except httpx.HTTPError:
            return
        if response.status_code == HTTPStatus.OK:
            edges = response.json()["data"][connection]["edges"]
            self.seat.known[connection] = [edge["node"]["id"] for edge in edges]

    def token(self, http: httpx.Client, who: str) -> str | None:
        """A member's own, or one that is fetched with the client's secret and renewed when it is over."""
        if who in self.coalition.members:
            return self.coalition.members[who]
        if who not in self.tokens:
            answer = http.post(
                "/oauth/token",
                data={"grant_type": "client_credentials"},
                auth=self.coalition.clients[who],
            )
            if answer.status_code != HTTPStatus.OK:
                return None
            self.tokens[who] = answer.json()["access_token"]
        return self.tokens[who]

    def note(self, wish: Wish, asked: Input, who: str, answer: dict[str, Any]) -> None:
        """Write the answer down; of a batch that of each line, as if it had been sent alone."""
        if wish.lines_are:
            if len(answer["lines"]) != len(asked["lines"]):
                self.log.faults.append(f"{wish.mutation} {asked} was answered {answer}")
                return
            granted = {not told["userErrors"] for told in answer["lines"]}
            if asked["atomic"] and len(granted) > 1:
                self.log.faults.append(f"{wish.mutation} {asked} was granted in part: {answer}")
            for line, told in zip(asked["lines"], answer["lines"], strict=True):
                self.note(ALONE[wish.lines_are], line, who, told)
            return
        key = asked["idempotencyKey"]
        if answer["userErrors"]:
            self.log.refused[key] = answer["userErrors"][0]["code"]
            if self.log.refused[key] == "UNDER_REVIEW" and wish.mutation == "issuePoints":
                self.seat.learn("held", json.dumps(asked))
            return
        self.log.refused.pop(key, None)  # it was held for review, and is granted now
        self.log.acknowledged[key] = Acknowledged(wish=wish, asked=asked, who=who, answer=answer)
        self.learn(wish, asked, who, answer)

    def learn(self, wish: Wish, asked: Input, who: str, answer: dict[str, Any]) -> None:
        """What can be wished next, now that this was granted."""
        match wish.teaches:
            case "hold":
                self.seat.learn("hold", answer["hold"]["id"])
            case "head":
                self.seat.learn("head", who)
                self.seat.learn("pool", f"{answer['pool']['id']} {who}")
            case "newcomer":
                self.seat.learn("newcomer", answer["member"]["id"])
            case "invitation":
                self.seat.learn("invitation", f"{answer['pool']['id']} {asked['invited']['id']}")
            case "voucher":
                self.seat.learn("voucher", answer["voucher"]["token"])
            case "merge":
                self.seat.learn("merge", f"{asked['survivor']['id']} {asked['merged']['id']}")
            case "confirmation":
                self.seat.learn("confirmation", f"{answer['confirmation']['id']} {who}")
            case "card" | "phone":
                self.seat.learn(wish.teaches, asked.get("card") or asked["identifier"]["value"])
            case "issue" | "redemption":
                self.seat.learn(wish.teaches, answer["transaction"]["id"])


def desks(
    coalition: Coalition,
    url: str,
    chance: Random,
    *,
    families: frozenset[str],
    log: Log,
    stop: threading.Event,
) -> list[Desk]:
    """Two tills of each partner, the members' app twice, and the operator; those who have something to wish."""
    members = list(coalition.members)
    places = [
        (f"{code}-{nth}", code, AT_TILLS)
        for code in coalition.clients
        if code != "operator"
        for nth in (1, 2)
    ]
    places += [(f"app-{nth}", "", IN_THE_APP) for nth in (1, 2)]
    places += [("operator-1", "operator", BY_THE_OPERATOR)]
    vouchers: list[str] = []
    confirmations: list[str] = []
    cards = list(coalition.cards)
    newcomers: list[str] = []
    found = []
    for name, client, all_wishes in places:
        wishes = [wish for wish in all_wishes if wish.family in families]
        seat = type(chance)(chance.random())
        if wishes:
            known = {"card": cards, "newcomer": newcomers}
            # Who gives them makes them out to one partner.
            if client in {"", "grocer"}:
                known["voucher"] = vouchers
            if client in {"", "baker"}:
                known["confirmation"] = confirmations
            found.append(Desk(url, coalition, Seat(name, seat, members, known), client, wishes, log, stop))
    return found
