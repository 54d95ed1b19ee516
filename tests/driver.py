"""A driver that speaks the domain: partners, members, points and days, on a real database.

Every call is a transaction of its own that commits, as a till's would be.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from coalition import clock, members, pooling, windows
from coalition.amounts import Points
from coalition.batching import post_batch
from coalition.db import Database
from coalition.db.metadata import metadata
from coalition.errors import CoalitionError
from coalition.holding import (
    AuthorizeRedemption,
    CaptureRedemption,
    VoidRedemption,
    authorize_redemption,
    capture_redemption,
    void_redemption,
)
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import AgreementId, FundingPlanId, MemberId, PartnerId
from coalition.issuing import IssuePoints, issue_points
from coalition.ledger import Balance, Posting, TransactionRef
from coalition.merging import MergeMembers, merge_members, unmerge_members
from coalition.programme import Mode, OpenProgramme, open_programme, set_late_days
from coalition.receipts import Receipt
from coalition.redeeming import RedeemPoints, redeem_points
from coalition.reversing import ReverseTransaction, reverse_transaction
from coalition.transferring import TransferPoints, transfer_points
from coalition.vouchers import IssueVoucher, RedeemVoucher, issue_voucher, redeem_voucher
from partners.limits import (
    Limit,
    LimitAction,
    LimitMeasure,
    LimitPosting,
    LimitScope,
    PublishLimit,
    publish_limit,
)

START = datetime(2026, 3, 2, 9, tzinfo=UTC)

DEFAULT_TERMS: Mapping[str, Any] = {
    "service_fee": Decimal("0.0025"),
    "funding": Decimal("0.0095"),
    "redemption_charge": Decimal(0),
    "reimbursement": Decimal("0.0095"),
    "own_reimbursement": Decimal("0.0095"),
    "breakage_share": Decimal("0.5"),
    "earn_points": Decimal(1),
    "earn_amount": Decimal(1),
    "earn_rounding": "down",
    "maturity_days": 0,
    "expiry_months": 12,
    "grace_days": 14,
    "return_policy": "unlimited",
}

# Every table that a posting, or anything else that is wished of members, may write: what "nothing moved" is compared by.
LEDGER_TABLES = tuple(
    table.name
    for table in metadata.sorted_tables
    if table.schema == "ledger"
    and table.name not in {"programme", "settlement_window", "window_total", "window_node"}
)


@dataclass
class LedgerDriver:
    """The ledger, as partners' tills use it."""

    database: Database
    keys: Any = field(default_factory=lambda: count(1))
    agreements: dict[PartnerId, AgreementId] = field(default_factory=dict)

    def open(self, *, mode: Mode = "sandbox", consent_limit: int = 1_000_000_000) -> "LedgerDriver":
        with self.database.unit_of_work() as session:
            open_programme(
                session,
                OpenProgramme(
                    name="Test",
                    mode=mode,
                    consent_limit_points=Points(consent_limit),
                    starts_at=None if mode == "production" else START,
                ),
            )
        return self

    # -- parties ------------------------------------------------------------------------------

    def partner(
        self, *, state: str = "active", issuer: bool = True, redeemer: bool = True, **terms: Any
    ) -> PartnerId:
        partner_id = PartnerId(uuid4())
        with self.database.unit_of_work() as session:
            session.execute(
                text(
                    "INSERT INTO partners.partner VALUES (:id, :code, :code, :state, :issuer, :redeemer, now())"
                ),
                {
                    "id": partner_id,
                    "code": f"p{partner_id.hex[:12]}",
                    "state": state,
                    "issuer": issuer,
                    "redeemer": redeemer,
                },
            )
        self.agreement(partner_id, **terms)
        return partner_id

    def agreement(
        self, partner_id: PartnerId, *, valid_from: date = date(2020, 1, 1), **terms: Any
    ) -> AgreementId:
        agreement_id = AgreementId(uuid4())
        columns = {**DEFAULT_TERMS, **terms}
        names = ", ".join(columns)
        with self.database.unit_of_work() as session:
            session.execute(
                text(
                    f"INSERT INTO partners.agreement (agreement_id, partner_id, version, valid_from, {names},"
                    " published_at, published_by)"
                    " SELECT :agreement_id, :partner_id, count(*) + 1, :valid_from,"
                    f" {', '.join(':' + name for name in columns)}, now(), 'test'"
                    " FROM partners.agreement WHERE partner_id = :partner_id"
                ),
                {"agreement_id": agreement_id, "partner_id": partner_id, "valid_from": valid_from, **columns},
            )
        self.agreements[partner_id] = agreement_id
        return agreement_id

    def funding_plan(self, **parts: Any) -> FundingPlanId:
        """`parts` come as `_=[(party, ppm), …]`: UUIDs are no keyword names."""
        plan_id = FundingPlanId(uuid4())
        with self.database.unit_of_work() as session:
            session.execute(
                text("INSERT INTO partners.funding_plan VALUES (:id, :code, 'plan', now(), 'test')"),
                {"id": plan_id, "code": f"f{plan_id.hex[:12]}"},
            )
            for party, ppm in parts["_"]:
                session.execute(
                    text("INSERT INTO partners.funding_part VALUES (:id, :party, :ppm)"),
                    {"id": plan_id, "party": party, "ppm": ppm},
                )
        return plan_id

    def set_state(self, partner_id: PartnerId, state: str) -> None:
        with self.database.unit_of_work() as session:
            session.execute(
                text("UPDATE partners.partner SET state = :state WHERE partner_id = :id"),
                {"state": state, "id": partner_id},
            )

    def member(self, *, available: int = 0, issuer: PartnerId | None = None) -> MemberId:
        partner_id = issuer or self.any_partner()
        with self.database.unit_of_work() as session:
            member_id = members.enrol_member(
                session, members.EnrolMember(partner_id=partner_id, identifiers=[])
            )
        if available:
            self.issue(member_id, available, by=partner_id)
        return member_id

    def card(self, member_id: MemberId) -> UUID:
        """The id of a new card of the member's."""
        card = Identifier(kind=IdentifierKind.CARD, value=uuid4().hex[:16].upper())
        with self.database.unit_of_work() as session:
            members.link_identifier(
                session,
                members.LinkIdentifier(member_id=member_id, partner_id=self.any_partner(), identifier=card),
            )
            found = members.find_named(session, card)
        assert found is not None
        assert found.identifier_id is not None
        return found.identifier_id

    def any_partner(self) -> PartnerId:
        return next(iter(self.agreements), None) or self.partner()

    # -- postings -----------------------------------------------------------------------------

    def key(self) -> str:
        return f"key-{next(self.keys)}"

    def issue(
        self,
        member_id: MemberId,
        points: int,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Posting:
        wish = self.to_issue(member_id, points, by=by, key=key, **more)
        with self.database.single_call() as session:
            return issue_points(session, wish)

    def to_issue(
        self,
        member_id: MemberId,
        points: int,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> IssuePoints:
        """The wish alone: a line of a batch."""
        partner_id = by or self.any_partner()
        more.setdefault("agreement_id", self.agreements.get(partner_id))
        more.setdefault("request", _request(member_id, points, more))
        return IssuePoints(
            member_id=member_id,
            partner_id=partner_id,
            points=Points(points),
            idempotency_key=key or self.key(),
            **more,
        )

    def redeem(
        self,
        member_id: MemberId,
        points: int,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Posting:
        wish = self.to_redeem(member_id, points, by=by, key=key, **more)
        with self.database.single_call() as session:
            return redeem_points(session, wish)

    def to_redeem(
        self,
        member_id: MemberId,
        points: int,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> RedeemPoints:
        """The wish alone: a line of a batch."""
        partner_id = by or self.any_partner()
        more.setdefault("agreement_id", self.agreements.get(partner_id))
        more.setdefault("request", _request(member_id, points, more))
        return RedeemPoints(
            member_id=member_id,
            partner_id=partner_id,
            points=Points(points),
            idempotency_key=key or self.key(),
            **more,
        )

    def batch(
        self, *lines: IssuePoints | RedeemPoints, by: PartnerId | None = None, atomic: bool = False
    ) -> list[Posting | CoalitionError]:
        with self.database.single_call() as session:
            return post_batch(session, by or self.any_partner(), lines, atomic=atomic)

    def reverse(
        self,
        ref: TransactionRef,
        points: int | None = None,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Posting:
        partner_id = by or self.any_partner()
        more.setdefault("agreement_id", self.agreements.get(partner_id))
        more.setdefault("request", {"transaction": ref.transaction_id, "points": points})
        with self._posting(more.get("reason")) as session:
            return reverse_transaction(
                session,
                ReverseTransaction(
                    ref=ref,
                    partner_id=partner_id,
                    idempotency_key=key or self.key(),
                    points=None if points is None else Points(points),
                    **more,
                ),
            )

    def authorize(
        self,
        member_id: MemberId,
        points: int,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Posting:
        partner_id = by or self.any_partner()
        more.setdefault("agreement_id", self.agreements.get(partner_id))
        more.setdefault("request", _request(member_id, points, more))
        with self.database.single_call() as session:
            return authorize_redemption(
                session,
                AuthorizeRedemption(
                    member_id=member_id,
                    partner_id=partner_id,
                    points=Points(points),
                    idempotency_key=key or self.key(),
                    **more,
                ),
            )

    def capture(
        self,
        hold: TransactionRef,
        points: int | None = None,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Posting:
        more.setdefault("request", {"hold": hold.transaction_id, "points": points})
        with self.database.single_call() as session:
            return capture_redemption(
                session,
                CaptureRedemption(
                    hold=hold,
                    partner_id=by or self.any_partner(),
                    points=None if points is None else Points(points),
                    idempotency_key=key or self.key(),
                    **more,
                ),
            )

    def void(
        self, hold: TransactionRef, *, by: PartnerId | None = None, key: str | None = None, **more: Any
    ) -> Posting:
        more.setdefault("request", {"hold": hold.transaction_id})
        with self.database.single_call() as session:
            return void_redemption(
                session,
                VoidRedemption(
                    hold=hold,
                    partner_id=by or self.any_partner(),
                    idempotency_key=key or self.key(),
                    **more,
                ),
            )

    def voucher(
        self,
        member_id: MemberId,
        points: int,
        *,
        at: PartnerId | None = None,
        key: str | None = None,
        seconds: int | None = None,
    ) -> Posting:
        partner_id = at or self.any_partner()
        with self.database.single_call() as session:
            return issue_voucher(
                session,
                IssueVoucher(
                    member_id=member_id,
                    partner_id=partner_id,
                    agreement_id=self.agreements.get(partner_id),
                    points=Points(points),
                    idempotency_key=key or self.key(),
                    seconds_to_live=seconds,
                ),
            )

    def redeem_voucher(
        self,
        voucher: TransactionRef,
        points: int | None = None,
        *,
        by: PartnerId | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Posting:
        with self.database.single_call() as session:
            return redeem_voucher(
                session,
                RedeemVoucher(
                    hold=voucher,
                    partner_id=by or self.any_partner(),
                    points=None if points is None else Points(points),
                    idempotency_key=key or self.key(),
                    request={"voucher": voucher.transaction_id, "points": points},
                    **more,
                ),
            )

    def transfer(
        self,
        member_id: MemberId,
        points: int,
        *,
        to: MemberId,
        key: str | None = None,
        reason: str | None = None,
        holder: MemberId | None = None,
        by: str | None = None,
    ) -> Posting:
        with self._posting(reason) as session:
            return transfer_points(
                session,
                TransferPoints(
                    member_id=member_id,
                    to=to,
                    points=Points(points),
                    idempotency_key=key or self.key(),
                    reason=reason,
                    holder=holder,
                    by=by,
                ),
            )

    def _posting(self, reason: str | None) -> AbstractContextManager[Session]:
        """Words are sealed beside the posting: more than one call."""
        return self.database.single_call() if reason is None else self.database.unit_of_work()

    def pool(self, head: MemberId, *others: MemberId, **rules: Any) -> UUID:
        """A pool whose head is the first, which the others have joined."""
        pool_id = uuid4()
        with self.database.unit_of_work() as session:
            rules.setdefault("name", "Home")
            pooling.open_pool(session, pooling.OpenPool(member_id=head, pool_id=pool_id, **rules))
        for other in others:
            self.invite(head, other)
            self.join_pool(other, pool_id)
        return pool_id

    def invite(self, head: MemberId, invited: MemberId) -> UUID:
        with self.database.unit_of_work() as session:
            return pooling.invite_to_pool(session, head, invited=invited)

    def join_pool(self, member_id: MemberId, pool_id: UUID) -> None:
        with self.database.unit_of_work() as session:
            pooling.accept_invitation(session, member_id, pool_id)

    def leave_pool(self, member_id: MemberId) -> UUID:
        with self.database.unit_of_work() as session:
            return pooling.leave_pool(session, member_id)

    def close_pool(self, pool_id: UUID, *, by: MemberId | None = None) -> None:
        with self.database.unit_of_work() as session:
            pooling.close_pool(session, pool_id, by=by)

    def pooled(self, member_id: MemberId) -> int | None:
        """What the member can spend from its pool; None: nothing, or it is in none."""
        with self.database.reading() as session:
            pool_id = pooling.pools_of(session, [member_id]).get(member_id)
            found = None if pool_id is None else pooling.find_pool(session, pool_id)
            return None if found is None else pooling.spendable(session, member_id, found)

    def merge(
        self,
        survivor: MemberId,
        merged: MemberId,
        *,
        key: str | None = None,
        reason: str | None = None,
        by: str = "test",
    ) -> Posting:
        with self._posting(reason) as session:
            return merge_members(
                session,
                MergeMembers(
                    survivor=survivor,
                    merged=merged,
                    idempotency_key=key or self.key(),
                    by=by,
                    reason=reason,
                ),
            )

    def unmerge(
        self,
        survivor: MemberId,
        merged: MemberId,
        *,
        key: str | None = None,
        reason: str | None = None,
        by: str = "test",
    ) -> Posting:
        with self._posting(reason) as session:
            return unmerge_members(
                session,
                MergeMembers(
                    survivor=survivor,
                    merged=merged,
                    idempotency_key=key or self.key(),
                    by=by,
                    reason=reason,
                ),
            )

    def accept_late(self, *, days: int) -> None:
        with self.database.unit_of_work() as session:
            set_late_days(session, days=days)

    def confirm(self, member_id: MemberId, points: int, *, at: PartnerId) -> UUID:
        with self.database.unit_of_work() as session:
            return members.confirm_redemption(
                session, members.ConfirmRedemption(member_id=member_id, partner_id=at, points=Points(points))
            ).confirmation_id

    def bring_up_to_date(self, *member_ids: MemberId) -> int:
        with self.database.single_call() as session:
            return members.bring_up_to_date(session, member_ids)

    def limit(self, code: str, **rule: Any) -> Limit:
        """A rule that holds from now on; a member's redemptions in the window where nothing is said."""
        given = {
            "scope": "member",
            "posting": "redeem",
            "measure": "count",
            "period": None,
            "action": "refuse",
            "published_by": "test",
        } | rule
        with self.database.unit_of_work() as session:
            return publish_limit(
                session,
                PublishLimit(
                    code=code,
                    scope=LimitScope(given.pop("scope")),
                    posting=LimitPosting(given.pop("posting")),
                    measure=LimitMeasure(given.pop("measure")),
                    action=LimitAction(given.pop("action")),
                    **given,
                ),
            )

    # -- time ---------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        with self.database.reading() as session:
            return clock.now(session)

    def pass_time(self, **amount: float) -> datetime:
        to = self.now + timedelta(**amount)
        with self.database.unit_of_work() as session:
            clock.set_clock(session, to=to)
        return to

    def close_window(self) -> date:
        """Close and seal the open window; returns its business date."""
        with self.database.unit_of_work() as session:
            business_date = windows.open_window(session).business_date
            windows.prepare_partitions(session, business_date=business_date + timedelta(days=1))
        with self.database.unit_of_work() as session:
            windows.close_window(session, business_date=business_date, patience=timedelta(seconds=5))
        with self.database.unit_of_work() as session:
            windows.seal_window(session, business_date=business_date)
        return business_date

    # -- looking ------------------------------------------------------------------------------

    def balance(self, member_id: MemberId) -> Balance:
        with self.database.reading() as session:
            return members.get_balance(session, member_id)

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with self.database.reading() as session:
            return [tuple(row) for row in session.execute(text(statement), parameters)]

    def kinds(self, member_id: MemberId) -> list[tuple[str, int]]:
        """The member's journal: kind and points, in order."""
        return [
            (kind, points)
            for kind, points in self.rows(
                "SELECT kind, points FROM ledger.transaction WHERE member_id = :member ORDER BY sequence",
                member=member_id,
            )
        ]

    def snapshot(self) -> dict[str, list[str]]:
        """All that postings can change, to compare before and after."""
        with self.database.reading() as session:
            return {
                table: sorted(session.execute(text(f"SELECT t::text FROM ledger.{table} t")).scalars())
                for table in LEDGER_TABLES
            }


def receipt(number: str = "R-1", **parts: Any) -> Receipt:
    return Receipt(
        store=parts.pop("store", "S-1"), terminal=parts.pop("terminal", "T-1"), number=number, **parts
    )


def _request(member_id: MemberId, points: int, more: Mapping[str, Any]) -> dict[str, object]:
    asked = {name: value for name, value in more.items() if name not in {"agreement_id", "receipt"}}
    line: Receipt | None = more.get("receipt")
    return {"member": member_id, "points": points, "receipt": line and line.as_request(), **asked}
