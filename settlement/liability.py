"""What each issuer's points came to: the matrix issuer by redeemer, and the liability's roll-forward."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

from coalition.ids import PartyId
from settlement.obligations import EXACT, Cause, Movement

_BURNS = {Cause.REDEEM: 1, Cause.RECOVERY: 1, Cause.REVERSE_REDEMPTION: -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One issuer's points at one redeemer. For information: what is owed are the obligations."""

    issuer: PartyId
    redeemer: PartyId
    redeemed_points: int = 0
    returned_points: int = 0
    """By reversed redemptions."""
    amount: Decimal = Decimal(0)
    """The redeemer's price times points, less what was returned; not rounded."""

    @property
    def points(self) -> int:
        """Redeemed less returned."""
        return self.redeemed_points - self.returned_points

    def tells_amount(self, party: PartyId | None) -> bool:
        """Whether it may be told what the redeemer is paid, which is between that one and the network.

        Without a party: to the operator and finance.
        """
        return party in (None, self.redeemer)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollForward:
    """An issuer's points outstanding, from one window's end to the next."""

    issuer: PartyId
    opening: int = 0
    issued: int = 0
    redeemed: int = 0
    returned: int = 0
    expired: int = 0
    reversed: int = 0

    @property
    def closing(self) -> int:
        """Outstanding when the window closed."""
        return self.opening + self.issued - self.redeemed + self.returned - self.expired - self.reversed


_COLUMN = {
    Cause.ISSUE: "issued",
    Cause.REDEEM: "redeemed",
    Cause.RECOVERY: "redeemed",
    Cause.REVERSE_REDEMPTION: "returned",
    Cause.EXPIRE: "expired",
    Cause.REVERSE_ISSUE: "reversed",
}


def matrix(movements: Iterable[Movement]) -> tuple[Cell, ...]:
    """The liability matrix: whose points were redeemed where."""
    cells: dict[tuple[PartyId, PartyId], Cell] = {}
    with localcontext(EXACT):
        for movement in movements:
            direction = _BURNS.get(movement.cause)
            if direction is None:
                continue
            key = (movement.issuer, movement.acting)
            cell = cells.get(key, Cell(issuer=movement.issuer, redeemer=movement.acting))
            amount = cell.amount + direction * movement.points * movement.reimbursement
            if direction > 0:
                cells[key] = replace(
                    cell, redeemed_points=cell.redeemed_points + movement.points, amount=amount
                )
            else:
                cells[key] = replace(
                    cell, returned_points=cell.returned_points + movement.points, amount=amount
                )
    return tuple(cells[key] for key in sorted(cells, key=str))


def roll_forward(movements: Iterable[Movement], *, opening: Mapping[PartyId, int]) -> tuple[RollForward, ...]:
    """Each issuer's liability from the last run's closing to this one's."""
    rows = {issuer: RollForward(issuer=issuer, opening=points) for issuer, points in opening.items()}
    for movement in movements:
        row = rows.get(movement.issuer, RollForward(issuer=movement.issuer))
        column = _COLUMN[movement.cause]
        rows[movement.issuer] = replace(row, **{column: getattr(row, column) + movement.points})
    return tuple(rows[issuer] for issuer in sorted(rows, key=str))


def margin(movements: Iterable[Movement]) -> Decimal:
    """What funders pay for the points redeemed (f and c2) less what redeemers get; not rounded."""
    with localcontext(EXACT):
        return sum(
            (
                _BURNS[movement.cause]
                * movement.points
                * (movement.terms.funding + movement.terms.redemption_charge - movement.reimbursement)
                for movement in movements
                if movement.cause in _BURNS
            ),
            Decimal(0),
        )
