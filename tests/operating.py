"""What an operator and tills do, for the tests of this room."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from sqlalchemy import event, text

from coalition import clock, members
from coalition.db import Database
from coalition.db.metadata import metadata
from coalition.errors import CoalitionError
from coalition.ids import MemberId
from coalition.ledger import Posting
from partners import till
from partners.agreements import PublishAgreement, PublishedAgreement, publish_agreement
from partners.directory import CreatePartner, Partner, create_partner
from partners.earning import EarnRule
from partners.expiry import Expiry

# Noon of a winter's day in Berlin, and a date far enough from the turn of the year.
START = datetime(2026, 3, 2, 11, tzinfo=UTC)
TODAY = date(2026, 3, 2)

PRICES: dict[str, Any] = {
    "service_fee": Decimal("0.0025"),
    "funding": Decimal("0.0095"),
    "redemption_charge": Decimal(0),
    "reimbursement": Decimal("0.0095"),
    "own_reimbursement": Decimal("0.0095"),
    "breakage_share": Decimal("0.5"),
}

# All but what a refusal may write: the register of them, and the figures that limits of stores and partners act on.
TABLES = tuple(
    table.fullname
    for table in metadata.sorted_tables
    if table.schema in {"ledger", "partners", "people"}
    and table.name not in {"refusal", "tally", "limit_figure", "limit_state"}
)


@dataclass
class Coalition:
    """What an operator and tills do, each in a transaction that commits."""

    database: Database
    numbers: Any = field(default_factory=lambda: count(1))

    def partner(self, code: str = "grocer", **parts: Any) -> Partner:
        with self.database.unit_of_work() as session:
            return create_partner(session, CreatePartner(code=code, name=code.title(), **parts))

    def publish(self, partner: Partner, *, valid_from: date = TODAY, **terms: Any) -> PublishedAgreement:
        if "expiry_months" in terms:
            terms["expiry"] = Expiry(expiry_months=terms.pop("expiry_months"))
        wish = PublishAgreement(
            partner_id=partner.partner_id,
            valid_from=valid_from,
            published_by="operator",
            **(PRICES | {"earn_rule": EarnRule(points=Decimal(1), amount=Decimal(1))} | terms),
        )
        with self.database.unit_of_work() as session:
            return publish_agreement(session, wish)

    def trading(self, code: str = "grocer", **terms: Any) -> Partner:
        """A partner that can move points from now on."""
        partner = self.partner(code)
        self.publish(partner, **terms)
        return partner

    def member(self, *, of: Partner) -> MemberId:
        with self.database.unit_of_work() as session:
            return members.enrol_member(
                session, members.EnrolMember(partner_id=of.partner_id, identifiers=[])
            )

    def issue(self, member: MemberId, partner: Partner, **wish: Any) -> Posting:
        with self.database.single_call() as session:
            return till.issue(session, self.wish(till.Issue, member, partner, **wish))

    def redeem(self, member: MemberId, partner: Partner, **wish: Any) -> Posting:
        with self.database.single_call() as session:
            return till.redeem(session, self.wish(till.Redeem, member, partner, **wish))

    def wish(self, kind: Any, member: MemberId, partner: Partner, **parts: Any) -> Any:
        parts.setdefault("idempotency_key", self.key())
        return kind(member_id=member, partner_id=partner.partner_id, **parts)

    def key(self) -> str:
        return f"key-{next(self.numbers)}"

    def set_clock(self, to: datetime) -> None:
        with self.database.unit_of_work() as session:
            clock.set_clock(session, to=to)

    def pass_time(self, **amount: float) -> None:
        with self.database.unit_of_work() as session:
            clock.set_clock(session, to=clock.now(session) + timedelta(**amount))

    def snapshot(self) -> dict[str, list[str]]:
        with self.database.reading() as session:
            return {
                table: sorted(session.execute(text(f"SELECT t::text FROM {table} t")).scalars())
                for table in TABLES
            }

    @contextmanager
    def nothing_moves(self) -> Iterator[None]:
        before = self.snapshot()
        yield
        assert self.snapshot() == before

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with self.database.reading() as session:
            return [tuple(row) for row in session.execute(text(statement), parameters)]

    @contextmanager
    def refused(self, code: str) -> Iterator[list[CoalitionError]]:
        """Expect a refusal by its code, and that it moves nothing."""
        before = self.snapshot()
        told: list[CoalitionError] = []
        with pytest.raises(CoalitionError) as refusal:
            yield told
        told.append(refusal.value)
        assert refusal.value.code == code
        assert self.snapshot() == before


@contextmanager
def statements_of(database: Database) -> Iterator[list[str]]:
    """What SQLAlchemy sends meanwhile; the kernel's calls go past it, straight through psycopg."""
    sent: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
