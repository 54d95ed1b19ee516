"""Look for a difference in what is read: balances, lots, profiles, pools, figures, whom an identifier names."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from coalition import identifier_changes, members, pooling, profiles
from partners.limits import figures_of, list_limits

from . import identifiers, pools
from .books import NEVER
from .identifier_wishes import written
from .ledger import Ledger
from .programme import ZONE, Programme

ASKING = "hard"
SOON = timedelta(days=4)


class Reading:
    """Compares what anybody may ask for, as of now."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, session: Any, p: Programme, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._lots(session, p, number)
            self._profile(session, p, number)
        self._names(session, p)
        self._balances(session, p)
        self._pools(session, p)

    def always(self, session: Any, p: Programme, numbers: Iterable[int]) -> None:
        """What is compared after a refusal, too."""
        for number in numbers:
            self._identifiers(session, p, number)
        self._figures(session, p)

    def _figures(self, session: Any, p: Programme) -> None:
        """What stores and partners have used of the limits, and the most that they ever had.

        Those of this example: in the same database there are earlier ones', and the network is of them all.
        """
        held = [rule for rule in p.rules.values() if rule.of_figures]
        published = {limit.code: limit for limit in list_limits(session)} if held else {}
        for rule in held:
            same(
                f"figures of limit {rule.number}",
                {
                    (self.ledger.name(one.partner_id), one.store): (one.used, one.peak)
                    for one in figures_of(session, published[self.ledger.limit(rule.number)], most=10_000)
                    if one.partner_id in self.ledger.partners.values()
                },
                {
                    (figure[1], self.ledger.store(figure[2])): (p.figures.used.get(figure, 0), peak)
                    for figure, peak in p.peaks.items()
                    if figure[0] == rule.number and figure[1] in self.ledger.partners
                },
            )

    def _identifiers(self, session: Any, p: Programme, number: int) -> None:
        own = [one for one in p.identifiers if one.member == number]
        if own:
            read = identifier_changes.identifier_histories(session, self.ledger.members[number])
            same(
                f"identifiers of {number}",
                {self.ledger.identifiers.index(one.identifier_id): one.state for one in read},
                {one.number: one.state for one in own},
            )

    def _names(self, session: Any, p: Programme) -> None:
        """Whom each identifier names to a partner that looks for it."""
        values = {(one.kind, one.print, one.owner) for one in p.identifiers}
        spelt = {value: written(self.ledger, *value) for value in values}
        asking = self.ledger.partner(ASKING)
        found = members.find_all_named(session, spelt.values(), asking=asking) if spelt else {}
        for value, identifier in spelt.items():
            named = found.get(identifier)
            real = {
                (self.ledger.identifiers.index(one.identifier_id), self.ledger.members.index(one.member_id))
                for one in ([] if named is None else [named])
                if one.identifier_id
            }
            allowed = identifiers.named_to(p, ASKING, *value)
            same(f"whom {value} names", real, real & allowed or allowed)

    def _balances(self, session: Any, p: Programme) -> None:
        """A balance that is read is the one that the next posting will find."""
        balances = members.get_balances(session, self.ledger.members)
        for books, member_id in zip(p.members, self.ledger.members, strict=True):
            read = balances[member_id]
            same(
                f"balance of {books.number} as of now",
                (read.available, read.pending, read.held, read.deficit),
                p.as_of_now(books.number).balance,
            )

    def _pools(self, session: Any, p: Programme) -> None:
        """Who is in the pools, and what each can spend from its own."""
        found = pooling.get_pools(session, self.ledger.pools)
        for pool, pool_id in zip(p.pools, self.ledger.pools, strict=True):
            read = found[pool_id]
            same(
                f"pool {pool.number}",
                (
                    self.ledger.members.index(read.head_id),
                    sorted(self.ledger.members.index(one.member_id) for one in read.members),
                    read.invited,
                    read.closed_at is not None,
                ),
                (
                    pool.head,
                    pool.members,
                    sum(place.good(p.now) and not place.joined_at for place in pool.places),
                    pool.closed,
                ),
            )
            for one in pool.members:
                same(
                    f"what {one} can spend of its pool",
                    pooling.spendable(session, self.ledger.members[one], read),
                    pools.spendable(p, one),
                )

    def _profile(self, session: Any, p: Programme, number: int) -> None:
        read = asdict(profiles.get_profile(session, self.ledger.members[number]))
        said = {field: str(value) for field, value in read.items() if value is not None}
        same(f"profile of {number}", said, p.members[number].profile)

    def _lots(self, session: Any, p: Programme, number: int) -> None:
        books = p.as_of_now(number)
        lots = members.lots(session, self.ledger.members[number])
        same(
            f"lots of {number} as of now",
            [
                (self.ledger.name(lot.issuer_id), lot.available, lot.pending, lot.held, lot.funding_plan_id)
                for lot in lots
            ],
            [
                (
                    lot.issuer,
                    lot.at["available"],
                    lot.at["pending"],
                    lot.at["held"],
                    self.ledger.plan(lot.plan),
                )
                for lot in sorted(books.lots, key=lambda one: (one.expires_at or NEVER, one.number))
                if lot.at["available"] or lot.at["pending"] or lot.at["held"]
            ],
        )
        until = p.now + SOON
        soon: Counter[Any] = Counter()
        for lot in books.lots:
            points = lot.at["available"] + lot.at["pending"]
            if points and lot.expires_at is not None and lot.expires_at <= until:
                soon[lot.expires_at.astimezone(ZONE).date(), lot.issuer] += points
        expiring = members.expiring(session, self.ledger.members[number], within=SOON)
        same(
            f"what expires soon of {number}",
            {(one.on, self.ledger.name(one.issuer_id)): one.points for one in expiring},
            dict(soon),
        )


def same(what: str, real: Any, modelled: Any) -> None:
    assert real == modelled, f"{what}:\n  ledger {real}\n  model  {modelled}"
