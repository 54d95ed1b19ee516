"""From points that moved to what is owed for them: pricing, as functions of values.

Who owes what is the table `CHARGES`. Points of one line are summed first and multiplied by the
price once, so a line is rounded once and both sides of it carry the same figure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from enum import StrEnum
from typing import Final

from coalition.amounts import PARTS_PER_MILLION, round_money
from coalition.ids import NETWORK, PartyId
from settlement.netting import Kind, Obligation

EXACT: Final = Context(prec=80)
"""Wide enough that nothing but the one rounding of a line ever rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotTerms:
    """The prices of a lot, fixed for good when it was issued; per point."""

    service_fee: Decimal
    funding: Decimal
    redemption_charge: Decimal
    breakage_share: Decimal

    @property
    def issue_charge(self) -> Decimal:
        """c1 = s + f."""
        return self.service_fee + self.funding

    @property
    def breakage_price(self) -> Decimal:
        """What the network returns for a point that expires."""
        return EXACT.multiply(self.breakage_share, self.funding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Funder:
    """A party and its part, in parts per million, of what a lot costs."""

    party: PartyId
    ppm: int


class Cause(StrEnum):
    """The kinds of transaction that take points from a member's side to the outside, or back."""

    ISSUE = "issue"
    REDEEM = "redeem"
    RECOVERY = "recovery"
    REVERSE_ISSUE = "reverse_issue"
    REVERSE_REDEMPTION = "reverse_redemption"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """All points of a window that moved for one cause, between the same parties, at the same prices."""

    cause: Cause
    acting: PartyId
    """Who issued, redeemed, reversed or recovered; the network where points expired."""
    issuer: PartyId
    terms: LotTerms
    funders: tuple[Funder, ...]
    reimbursement: Decimal
    """What the acting partner is paid per point burned there: R, or R0 for its own lots."""
    points: int
    """More than zero."""


class _Who(StrEnum):
    FUNDERS = "funders"
    ACTING = "acting"


@dataclass(frozen=True, slots=True)
class _Charge:
    kind: Kind
    who: _Who
    pays: bool  # to the network; or else receives from it
    price: str  # the name of a price of LotTerms, or "reimbursement"


CHARGES: Final[Mapping[Cause, tuple[_Charge, ...]]] = {
    Cause.ISSUE: (_Charge(Kind.ISSUE, _Who.FUNDERS, pays=True, price="issue_charge"),),
    Cause.REVERSE_ISSUE: (_Charge(Kind.ISSUE_REVERSAL, _Who.FUNDERS, pays=False, price="issue_charge"),),
    Cause.REDEEM: (
        _Charge(Kind.REDEMPTION_CHARGE, _Who.FUNDERS, pays=True, price="redemption_charge"),
        _Charge(Kind.REIMBURSEMENT, _Who.ACTING, pays=False, price="reimbursement"),
    ),
    Cause.REVERSE_REDEMPTION: (
        _Charge(Kind.REDEMPTION_CHARGE_REVERSAL, _Who.FUNDERS, pays=False, price="redemption_charge"),
        _Charge(Kind.REIMBURSEMENT_REVERSAL, _Who.ACTING, pays=True, price="reimbursement"),
    ),
    Cause.RECOVERY: (
        _Charge(Kind.RECOVERY, _Who.FUNDERS, pays=True, price="redemption_charge"),
        _Charge(Kind.RECOVERY, _Who.ACTING, pays=False, price="reimbursement"),
    ),
    Cause.EXPIRE: (_Charge(Kind.BREAKAGE, _Who.FUNDERS, pays=False, price="breakage_price"),),
}
"""Who pays for a point, and who is paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What the network, as a funder, would owe itself: a cost, and nobody's obligation."""

    kind: Kind
    price: Decimal
    points: Decimal
    amount: Decimal
    """Negative where it would get something back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """What a window's movements come to."""

    obligations: tuple[Obligation, ...]
    costs: tuple[NetworkCost, ...]


_Key = tuple[PartyId, PartyId, Kind, Decimal, bool]


def charge(movements: Iterable[Movement], *, currency: str) -> Charged:
    """Price the movements: one line per debtor, creditor, kind and price; none of zero."""
    parts: dict[_Key, int] = defaultdict(int)
    for movement in movements:
        for key, millionths in _charges(movement):
            parts[key] += millionths
    obligations, costs = [], []
    with localcontext(EXACT):
        for (debtor, creditor, kind, price, pays), millionths in sorted(parts.items(), key=_in_order):
            points = Decimal(millionths) / PARTS_PER_MILLION
            amount = round_money(points * price, currency)
            if not amount:
                continue
            if debtor == creditor:
                signed = amount if pays else -amount
                costs.append(NetworkCost(kind=kind, price=price, points=points, amount=signed))
            else:
                obligations.append(
                    Obligation(
                        debtor=debtor, creditor=creditor, kind=kind, price=price, points=points, amount=amount
                    )
                )
    return Charged(obligations=tuple(obligations), costs=tuple(costs))


def _charges(movement: Movement) -> Iterator[tuple[_Key, int]]:
    assert movement.points > 0, "a movement has a direction, not a sign"
    assert sum(funder.ppm for funder in movement.funders) == PARTS_PER_MILLION, "funders bear all of it"
    for rule in CHARGES[movement.cause]:
        if rule.who is _Who.FUNDERS:
            parties, price = movement.funders, getattr(movement.terms, rule.price)
        else:
            parties = (Funder(party=movement.acting, ppm=PARTS_PER_MILLION),)
            price = movement.reimbursement
        for party in parties:
            debtor, creditor = (party.party, NETWORK) if rule.pays else (NETWORK, party.party)
            yield (debtor, creditor, rule.kind, price, rule.pays), movement.points * party.ppm


def _in_order(item: tuple[_Key, int]) -> tuple[str, str, str, Decimal]:
    debtor, creditor, kind, price, _ = item[0]
    return str(debtor), str(creditor), kind.value, price
