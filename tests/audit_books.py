"""Books in which everything has happened once: what a busy ledger looks like to the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from databases import TestDatabase
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.orm import Session

from coalition import clock, windows
from coalition.amounts import Points
from coalition.db import Database, roles
from coalition.ids import AgreementId, FundingPlanId, MemberId, PartnerId
from coalition.issuing import IssuePoints, issue_points
from coalition.ledger.posting import Posting
from coalition.members import (
    ConfirmRedemption,
    EnrolMember,
    Identifier,
    IdentifierKind,
    confirm_redemption,
    enrol_member,
)
from coalition.programme import OpenProgramme, open_programme
from coalition.receipts import Receipt
from coalition.redeeming import RedeemPoints, redeem_points
from coalition.reversing import ReverseTransaction, reverse_transaction
from coalition.vouchers import IssueVoucher, RedeemVoucher, issue_voucher, redeem_voucher

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FIRST_DAY = date(2026, 3, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    partner_id: PartnerId
    agreement_id: AgreementId


@dataclass
class Books:
    """A programme of three partners, told what to do in the domain's words."""

    database: Database
    baker: Partner
    grocer: Partner
    florist: Partner
    plan_id: FundingPlanId
    now: datetime = START
    keys: int = 0

    def member(self) -> MemberId:
        card = Identifier(kind=IdentifierKind.CARD, value=str(uuid4().int)[:16])
        with self.database.unit_of_work() as session:
            return enrol_member(session, EnrolMember(partner_id=self.baker.partner_id, identifiers=[card]))

    def issue(
        self,
        member: MemberId,
        partner: Partner,
        points: int,
        *,
        receipt: Receipt | None = None,
        matures: timedelta | None = None,
        expires: timedelta | None = None,
        shared: bool = False,
    ) -> Posting:
        with self.database.unit_of_work() as session:
            return issue_points(
                session,
                IssuePoints(
                    member_id=member,
                    partner_id=partner.partner_id,
                    agreement_id=partner.agreement_id,
                    funding_plan_id=self.plan_id if shared else None,
                    points=Points(points),
                    idempotency_key=self._key(),
                    request={"points": points},
                    receipt=receipt,
                    matures_at=self.now + matures if matures else None,
                    expires_at=self.now + expires if expires else None,
                ),
            )

    def redeem(
        self,
        member: MemberId,
        partner: Partner,
        points: int,
        *,
        receipt: Receipt | None = None,
        confirmed: bool = False,
    ) -> Posting:
        with self.database.unit_of_work() as session:
            confirmation = (
                confirm_redemption(
                    session,
                    ConfirmRedemption(member_id=member, partner_id=partner.partner_id, points=Points(points)),
                )
                if confirmed
                else None
            )
            return redeem_points(
                session,
                RedeemPoints(
                    member_id=member,
                    partner_id=partner.partner_id,
                    agreement_id=partner.agreement_id,
                    points=Points(points),
                    idempotency_key=self._key(),
                    request={"points": points},
                    receipt=receipt,
                    confirmation_id=confirmation.confirmation_id if confirmation else None,
                ),
            )

    def reverse(self, posting: Posting, partner: Partner) -> Posting:
        with self.database.unit_of_work() as session:
            return reverse_transaction(
                session,
                ReverseTransaction(
                    ref=posting.ref,
                    partner_id=partner.partner_id,
                    agreement_id=partner.agreement_id,
                    idempotency_key=self._key(),
                    request={"ref": str(posting.transaction_id)},
                ),
            )

    def voucher(self, member: MemberId, partner: Partner, points: int, *, paying: int) -> None:
        """A voucher that is given and redeemed."""
        with self.database.unit_of_work() as session:
            given = issue_voucher(
                session,
                IssueVoucher(
                    member_id=member,
                    partner_id=partner.partner_id,
                    agreement_id=partner.agreement_id,
                    points=Points(points),
                    idempotency_key=self._key(),
                ),
            )
            redeem_voucher(
                session,
                RedeemVoucher(
                    hold=given.ref,
                    partner_id=partner.partner_id,
                    points=Points(paying),
                    idempotency_key=self._key(),
                    request={"points": paying},
                ),
            )

    def next_day(self) -> None:
        """The window closes and is sealed; the clock stands a day later."""
        self.now += timedelta(days=1)
        with self.database.unit_of_work() as session:
            clock.set_clock(session, to=self.now)
            closing = windows.open_window(session)
            windows.prepare_partitions(session, business_date=closing.business_date + timedelta(days=1))
            windows.close_window(session, business_date=closing.business_date, patience=timedelta(seconds=2))
            windows.seal_window(session, business_date=closing.business_date)

    def _key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"


def receipt(number: int, *, revision: int = 0) -> Receipt:
    return Receipt(store="s1", terminal="t1", number=str(number), revision=revision)


def publish(connection: Connection, code: str, *, policy: str) -> Partner:
    """A partner with terms; by SQL, since partners are a room above."""
    partner_id, agreement_id = uuid4(), uuid4()
    connection.execute(
        text(
            "INSERT INTO partners.partner (partner_id, code, name, state, may_issue, may_redeem, created_at)"
            " VALUES (:partner, :code, :code, 'active', true, true, :at)"
        ),
        {"partner": partner_id, "code": code, "at": START},
    )
    connection.execute(
        text(
            "INSERT INTO partners.agreement (agreement_id, partner_id, version, valid_from, service_fee,"
            " funding,"
            " redemption_charge, reimbursement, own_reimbursement, breakage_share, earn_rounding,"
            " maturity_days,"
            " grace_days, return_policy, published_at, published_by)"
            " VALUES (:agreement, :partner, 1, '2026-01-01', 0.0025, 0.0095, 0, 0.0095, 0.0095, 0.5,"
            " 'down', 0, 7,"
            " :policy, :at, 'test')"
        ),
        {"agreement": agreement_id, "partner": partner_id, "policy": policy, "at": START},
    )
    return Partner(partner_id=PartnerId(partner_id), agreement_id=AgreementId(agreement_id))  # type: ignore[arg-type]


def opened(test_database: TestDatabase, database: Database) -> Books:
    with database.unit_of_work() as session:
        open_programme(session, OpenProgramme(name="Test", mode="sandbox", starts_at=START))
    engine = create_engine(test_database.url(roles.OWNER))
    with engine.begin() as connection:
        baker = publish(connection, "baker", policy="unlimited")
        grocer = publish(connection, "grocer", policy="available")
        florist = publish(connection, "florist", policy="pending_only")
        plan_id = uuid4()
        connection.execute(
            text("INSERT INTO partners.funding_plan VALUES (:plan, 'shared', 'Shared', :at, 'test')"),
            {"plan": plan_id, "at": START},
        )
        connection.execute(
            text(
                "INSERT INTO partners.funding_part VALUES (:plan, :baker, 400000), (:plan, :grocer, 600000)"
            ),
            {"plan": plan_id, "baker": baker.partner_id, "grocer": grocer.partner_id},
        )
    engine.dispose()
    return Books(
        database=database, baker=baker, grocer=grocer, florist=florist, plan_id=FundingPlanId(plan_id)
    )


def everything_happens(books: Books) -> None:
    """Each kind of transaction at least once, over three windows, the last of them open."""
    baker, grocer, florist = books.baker, books.grocer, books.florist
    ann, bob, cyd = books.member(), books.member(), books.member()

    books.issue(ann, baker, 100, receipt=receipt(1), expires=timedelta(days=30))
    books.issue(ann, grocer, 50, receipt=receipt(2), matures=timedelta(hours=20), shared=True)
    spent = books.redeem(ann, grocer, 30, receipt=receipt(3))
    books.reverse(spent, grocer)
    books.redeem(ann, grocer, 20, receipt=receipt(3, revision=1))
    books.redeem(ann, florist, 10, confirmed=True)

    returned = books.issue(bob, baker, 40, receipt=receipt(4))
    books.redeem(bob, florist, 35)
    books.reverse(returned, baker)  # 35 are gone: the baker's claim
    books.issue(bob, grocer, 60)  # 35 of them pay it off
    undone = books.issue(bob, florist, 25, matures=timedelta(days=9))
    books.reverse(undone, florist)

    books.issue(cyd, florist, 70, expires=timedelta(hours=30))
    books.next_day()
    books.redeem(ann, baker, 60)  # the grocer's 50 have matured
    books.issue(cyd, grocer, 5)
    again = books.issue(bob, baker, 90, shared=True)
    books.redeem(bob, grocer, 80)
    books.reverse(again, baker)  # a claim that stays open
    books.next_day()
    books.issue(cyd, baker, 8)  # the florist's 70 have expired
    books.redeem(cyd, florist, 3)
    dee = books.member()
    books.issue(dee, grocer, 40)
    books.voucher(dee, grocer, 30, paying=20)


@dataclass(frozen=True)
class Damage:
    """The superuser's hands in the books; nothing of it is committed."""

    connection: Connection

    def do(self, *statements: str) -> None:
        for statement in statements:
            touched = self.connection.execute(text(statement)).rowcount
            assert touched != 0, f"no row was damaged: {statement}"

    def ids(self, query: str) -> set[str]:
        return {str(row[0]) for row in self.connection.execute(text(query))}

    @property
    def session(self) -> Session:
        return Session(self.connection)
