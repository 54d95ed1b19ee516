"""The domain as a plain Python program: what the ledger must agree with, step for step.

Slow, simple, and written from the rules, not from the SQL.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


class Refused(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(eq=False)
class ModelLot:
    number: int
    issuer: str
    issued_at: datetime
    matures_at: datetime | None
    expires_at: datetime | None
    pending: int
    available: int
    burned: int = 0
    expired: int = 0
    reversed: int = 0


@dataclass
class ModelClaim:
    claimant: str
    open: int


@dataclass
class ModelTransaction:
    kind: str
    partner: str
    points: int
    lot: ModelLot | None = None
    drawn: list[tuple[ModelLot, int]] = field(default_factory=list)
    undone: bool = False


@dataclass
class ModelMember:
    """One member's books. `policies` and `grace` are by issuer."""

    policies: dict[str, str]
    grace: dict[str, timedelta]
    lots: list[ModelLot] = field(default_factory=list)
    claims: list[ModelClaim] = field(default_factory=list)
    journal: list[ModelTransaction] = field(default_factory=list)

    @property
    def balance(self) -> tuple[int, int, int]:
        return (
            sum(lot.available for lot in self.lots),
            sum(lot.pending for lot in self.lots),
            sum(claim.open for claim in self.claims),
        )

    def spendable(self) -> list[ModelLot]:
        never = datetime.max.replace(tzinfo=UTC)
        return sorted(
            (lot for lot in self.lots if lot.available),
            key=lambda lot: (lot.expires_at or never, lot.issued_at, lot.number),
        )

    def issue(
        self,
        issuer: str,
        points: int,
        now: datetime,
        matures_at: datetime | None,
        expires_at: datetime | None,
    ) -> ModelTransaction:
        self.bring_up_to_date(now)
        matured = matures_at is None or matures_at <= now
        lot = ModelLot(
            number=len(self.lots),
            issuer=issuer,
            issued_at=now,
            matures_at=matures_at,
            expires_at=expires_at,
            pending=0 if matured else points,
            available=points if matured else 0,
        )
        self.lots.append(lot)
        done = self._record(ModelTransaction("issue", issuer, points, lot=lot))
        if matured:
            self._pay_claims([lot], points)
        self.bring_up_to_date(now)
        return done

    def redeem(self, partner: str, points: int, now: datetime) -> ModelTransaction:
        if self._as_of(now) < points:
            raise Refused("INSUFFICIENT_POINTS")
        self.bring_up_to_date(now)
        drawn = self._burn(points, self.spendable())
        return self._record(ModelTransaction("redeem", partner, points, drawn=drawn))

    def reverse(self, done: ModelTransaction, now: datetime) -> ModelTransaction:
        if done.undone:
            raise Refused("ALREADY_REVERSED")
        if done.kind == "issue":
            assert done.lot is not None
            lot = done.lot
            fresh_pending = lot.pending if lot.matures_at is None or lot.matures_at > now else 0
            policy = self.policies[done.partner]
            if policy == "pending_only" and fresh_pending < done.points:
                raise Refused("RETURN_POLICY_FORBIDS")
            self.bring_up_to_date(now)
            recovered = lot.pending + lot.available
            lot.reversed += recovered
            lot.pending = lot.available = 0
            if policy == "unlimited" and lot.burned:
                self.claims.append(ModelClaim(done.partner, lot.burned))
            done.undone = True
            return self._record(ModelTransaction("reverse_issue", done.partner, recovered))
        self.bring_up_to_date(now)
        for lot, points in done.drawn:
            lot.burned -= points
            lot.available += points
            if lot.expires_at is not None and lot.expires_at <= now:
                lot.expires_at = now + self.grace[lot.issuer]
        done.undone = True
        undone = self._record(ModelTransaction("reverse_redemption", done.partner, done.points))
        self._pay_claims([lot for lot, _ in done.drawn], done.points)
        self.bring_up_to_date(now)
        return undone

    def bring_up_to_date(self, now: datetime) -> None:
        due = [lot for lot in self.lots if lot.pending and lot.matures_at and lot.matures_at <= now]
        if due:
            moved = 0
            for lot in due:
                moved += lot.pending
                lot.available += lot.pending
                lot.pending = 0
            self._record(ModelTransaction("mature", "network", moved))
            self._pay_claims(due, moved)
        gone = [lot for lot in self.lots if lot.available and lot.expires_at and lot.expires_at <= now]
        if gone:
            moved = 0
            for lot in gone:
                moved += lot.available
                lot.expired += lot.available
                lot.available = 0
            self._record(ModelTransaction("expire", "network", moved))

    def _as_of(self, now: datetime) -> int:
        """What would be available, were it brought up to date; a refusal changes nothing."""
        copy = ModelMember(
            policies=self.policies,
            grace=self.grace,
            lots=[ModelLot(**vars(lot)) for lot in self.lots],
            claims=[ModelClaim(**vars(claim)) for claim in self.claims],
        )
        copy.bring_up_to_date(now)
        return copy.balance[0]

    def _burn(self, points: int, lots: list[ModelLot]) -> list[tuple[ModelLot, int]]:
        drawn = []
        for lot in lots:
            take = min(points, lot.available)
            if take:
                lot.available -= take
                lot.burned += take
                points -= take
                drawn.append((lot, take))
        assert points == 0
        return drawn

    def _pay_claims(self, lots: list[ModelLot], fresh: int) -> None:
        for claim in self.claims:
            paid = min(claim.open, fresh)
            if paid:
                claim.open -= paid
                fresh -= paid
                self._burn(paid, [lot for lot in self.spendable() if lot in lots])
                self._record(ModelTransaction("recovery", claim.claimant, paid))

    def _record(self, done: ModelTransaction) -> ModelTransaction:
        self.journal.append(done)
        return done
