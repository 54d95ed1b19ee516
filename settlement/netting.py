"""From obligations to positions: pure arithmetic, no database.

The network is the central counterparty, so each obligation has it on one side, and the positions
of all parties, the network included, sum to exactly zero.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from coalition.ids import NETWORK, PartyId

ZERO = Decimal(0)


class Kind(StrEnum):
    """What an obligation is for; the table of prices is in the domain's words."""

    ISSUE = "issue"
    ISSUE_REVERSAL = "issue_reversal"
    REDEMPTION_CHARGE = "redemption_charge"
    REDEMPTION_CHARGE_REVERSAL = "redemption_charge_reversal"
    REIMBURSEMENT = "reimbursement"
    REIMBURSEMENT_REVERSAL = "reimbursement_reversal"
    BREAKAGE = "breakage"
    RECOVERY = "recovery"
    """Points that paid a member's deficit off: the funders' charge and the claimant's reimbursement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """Points times price that one party owes another for one window, rounded once."""

    debtor: PartyId
    creditor: PartyId
    kind: Kind
    price: Decimal
    """Per point."""
    points: Decimal
    """With up to six decimals, since a funder may bear a part of a point."""
    amount: Decimal
    """In whole minor units of the currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What a party receives from the network, and pays to it, for one window."""

    receives: Decimal = ZERO
    pays: Decimal = ZERO

    @property
    def net(self) -> Decimal:
        """Positive: the network pays the party; negative: the party pays."""
        return self.receives - self.pays


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What would flow without netting, what flows with it, and the difference."""

    gross: Decimal
    net: Decimal

    @property
    def saved(self) -> Decimal:
        """Gross less net: the lines that end in no payment to a partner."""
        return self.gross - self.net


def net(obligations: Iterable[Obligation]) -> dict[PartyId, Position]:
    """Each party's position. The nets of all sum to zero."""
    receives: dict[PartyId, Decimal] = defaultdict(Decimal)
    pays: dict[PartyId, Decimal] = defaultdict(Decimal)
    for obligation in obligations:
        assert NETWORK in (obligation.debtor, obligation.creditor), "an obligation that bypasses the network"
        receives[obligation.creditor] += obligation.amount
        pays[obligation.debtor] += obligation.amount
    positions = {
        party: Position(receives=receives.get(party, ZERO), pays=pays.get(party, ZERO))
        for party in sorted({*receives, *pays}, key=str)
    }
    assert sum((position.net for position in positions.values()), ZERO) == ZERO, "netting made or lost money"
    return positions


def totals(obligations: Iterable[Obligation], positions: Mapping[PartyId, Position]) -> Totals:
    """Gross is the sum of the lines; net the sum of the partners' positive positions."""
    return Totals(
        gross=sum((obligation.amount for obligation in obligations), ZERO),
        net=sum(
            (max(position.net, ZERO) for party, position in positions.items() if party != NETWORK),
            ZERO,
        ),
    )
