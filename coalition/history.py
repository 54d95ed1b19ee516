"""Reading the journal: transactions by name, by receipt, by key and by page, with their entries.

Whose transactions a caller may see is part of each question and not a filter on the answer: what is not
the caller's is not found, by the same statement that does not find what does not exist.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, cast, func, select, text, true, tuple_

from coalition.amounts import Points
from coalition.errors import InvalidInput
from coalition.ids import AgreementId, FundingPlanId, LotId, MemberId, PartyId, TransactionId
from coalition.ledger import tables
from coalition.ledger.posting import TransactionRef
from coalition.paging import Key, Page, PageRequest, page_of
from coalition.programme import get_programme
from coalition.receipts import Receipt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_t = tables.transaction.c
_e = tables.entry.c
_l = tables.lot.c
_o = tables.operator_act.c

KEY_LENGTH: Final = 2
"""Columns of a cursor's key."""
REVERSIBLE: Final = frozenset({"issue", "redeem", "capture"})
"""The kinds of which a reversal can undo something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction as it stands in the journal."""

    ref: TransactionRef
    sequence: int
    kind: str
    partner_id: PartyId
    """Who acted; the network for maturity and expiry."""
    agreement_id: AgreementId | None
    points: Points
    amount: Decimal | None
    receipt: Receipt | None
    occurred_at: datetime
    recorded_at: datetime
    late: bool
    reverses: TransactionRef | None
    undone_points: Points | None
    """A reversal's: how many of the other's points it takes back, still there or not."""
    hold: TransactionRef | None
    """The authorisation that it captures, voids or lets lapse."""
    other_member_id: MemberId | None
    """The other side of a transfer, a merge or a move within a pool."""
    other_id: TransactionId | None
    """With it and the same window: the other side's transaction."""
    reason: str | None
    """An adjustment's code."""
    words: str | None
    """Stands for a reason in somebody's words, which `coalition.reasons` reads."""
    available_after: Points
    idempotency_key: str | None
    """What the acting partner named its wish by."""
    digest: bytes
    """The member's chain up to it."""

    @property
    def missing_points(self) -> Points | None:
        """A reversal's: how many of the points that it undoes were not there any more; None of any other."""
        if self.undone_points is None:
            return None
        return Points(max(self.undone_points - self.points, 0))

    def reversible_points(self, undone: Iterable[Reversal]) -> Points | None:
        """How many of its points can still be reversed after these; None where nothing of it ever could."""
        if self.kind not in REVERSIBLE:
            return None
        return Points(self.points - sum(one.points for one in undone))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What undid a transaction, or a part of it."""

    ref: TransactionRef
    points: Points
    """How many of its points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One leg of a transaction, with what its lot was issued with."""

    bucket: str
    points: Points
    """Signed."""
    lot_id: LotId | None
    """None: the leg is a deficit's."""
    issuer_id: PartyId | None
    agreement_id: AgreementId | None
    funding_plan_id: FundingPlanId | None
    issued_at: datetime | None
    matures_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """Which transactions are wanted; None leaves a part open."""

    partner_id: PartyId | None = None
    member_id: MemberId | None = None
    since: date | None = None
    """The first day, by when it occurred, in the programme's zone."""
    until: date | None = None
    """The last day."""
    kinds: Collection[str] | None = None
    store: str | None = None
    business_date: date | None = None
    """Its window."""


def find_transaction(
    session: Session,
    ref: TransactionRef,
    *,
    partner_id: PartyId | None = None,
    member_id: MemberId | None = None,
) -> Transaction | None:
    """The transaction, if it is that partner's or that member's (None: anyone's)."""
    conditions = [
        _t.member_id == ref.member_id,
        _t.business_date == ref.business_date,
        _t.transaction_id == ref.transaction_id,
    ]
    if partner_id is not None:
        conditions.append(_t.partner_id == partner_id)
    if member_id is not None:
        conditions.append(_t.member_id == member_id)
    row = session.execute(select(tables.transaction).where(*conditions)).one_or_none()
    return None if row is None else _transaction(row)


def get_transactions(session: Session, refs: Collection[TransactionRef]) -> dict[TransactionRef, Transaction]:
    """Several transactions in one statement; those that do not exist are left out."""
    keys = [(ref.member_id, ref.business_date, ref.transaction_id) for ref in refs]
    rows = session.execute(
        select(tables.transaction).where(tuple_(_t.member_id, _t.business_date, _t.transaction_id).in_(keys))
    )
    return {found.ref: found for found in map(_transaction, rows)}


def find_by_receipt(
    session: Session, *, partner_id: PartyId, kind: str, receipt: Receipt
) -> TransactionRef | None:
    """The issue or redemption that a partner posted for a receipt line."""
    column = tables.receipt.c
    row = session.execute(
        select(column.member_id, column.business_date, column.transaction_id).where(
            column.partner_id == partner_id,
            column.kind == kind,
            column.store == receipt.store,
            column.terminal == receipt.terminal,
            column.number == receipt.number,
            column.line == receipt.line,
            column.revision == receipt.revision,
        )
    ).one_or_none()
    return None if row is None else _ref(row)


def find_by_key(
    session: Session, *, member_id: MemberId, partner_id: PartyId, key: str
) -> TransactionRef | None:
    """The transaction that a partner posted for a member under an idempotency key.

    Also one that was posted for a record which is merged into the member now; or for another member, by an
    identifier of this one's, while this one was merged into it. The member's own comes first.
    """
    row = session.execute(
        text("""
            SELECT member_id, business_date, transaction_id
            FROM ledger.remembered(:member_id, :partner_id, :key)
            ORDER BY member_id = :member_id DESC, business_date DESC, transaction_id LIMIT 1
        """),
        {"member_id": member_id, "partner_id": partner_id, "key": key},
    ).one_or_none()
    return None if row is None else _ref(row)


def list_transactions(session: Session, wanted: Transactions, page: PageRequest) -> Page[Transaction]:
    """A page of transactions, the newest first.

    Raises:
        InvalidInput: a cursor's key is none of this list's.
    """
    # A member's own come in the order of the member's sequence, others' by when they were recorded.
    by_member = wanted.member_id is not None
    order: tuple[Any, Any] = (
        (_t.business_date, _t.sequence) if by_member else (_t.recorded_at, _t.transaction_id)
    )
    conditions = _conditions(session, wanted)
    for name, key, is_after in (("after", page.after, True), ("before", page.before, False)):
        if key is not None:
            values = zip(_bound(session, key, wanted, name), order, strict=True)
            bound = tuple_(*(cast(value, column.type) for value, column in values))
            # Newest first: what comes after a row is smaller.
            conditions.append(tuple_(*order) < bound if is_after else tuple_(*order) > bound)
    directed = [column if page.backwards else column.desc() for column in order]

    def fetch(limit: int) -> Sequence[Transaction]:
        rows = session.execute(select(tables.transaction).where(*conditions).order_by(*directed).limit(limit))
        found = [_transaction(row) for row in rows]
        return found[::-1] if page.backwards else found

    return page_of(page, fetch)


def key_of(transaction: Transaction, wanted: Transactions) -> Key:
    """Where the transaction stands in that list.

    Never by its sequence: a partner would count by it what others posted for the member in between.
    """
    first = transaction.recorded_at if wanted.member_id is None else transaction.ref.business_date
    return first.isoformat(), str(transaction.ref.transaction_id)


def reversals_of(session: Session, refs: Collection[TransactionRef]) -> dict[TransactionRef, list[Reversal]]:
    """Of these transactions, those that were reversed, each with what reversed it; in one statement."""
    rows = session.execute(
        select(
            _t.member_id,
            _t.business_date,
            _t.transaction_id,
            _t.reverses_date,
            _t.reverses_id,
            _t.undone_points,
        )
        .where(
            _t.member_id.in_({ref.member_id for ref in refs}),
            _t.reverses_id.in_({ref.transaction_id for ref in refs}),
        )
        .order_by(_t.member_id, _t.sequence)
    )
    found: dict[TransactionRef, list[Reversal]] = {}
    for row in rows:
        reversed_ = TransactionRef(
            member_id=row.member_id, business_date=row.reverses_date, transaction_id=row.reverses_id
        )
        found.setdefault(reversed_, []).append(Reversal(ref=_ref(row), points=row.undone_points))
    return found


def operators_of(session: Session, transactions: Iterable[Transaction]) -> dict[TransactionRef, str]:
    """Which of the operator's people merged, un-merged or, on the giver's behalf, transferred.

    Either side's transaction tells; of all of them in one statement.
    """
    told_by: dict[tuple[object, ...], list[TransactionRef]] = defaultdict(list)
    for one in transactions:
        if one.other_id is not None:
            ref = one.ref
            told_by[ref.member_id, ref.business_date, ref.transaction_id].append(ref)
            told_by[one.other_member_id, ref.business_date, one.other_id].append(ref)
    if not told_by:
        return {}
    side = (_o.member_id, _o.business_date, _o.transaction_id)
    rows = session.execute(select(_o.acted_by, *side).where(tuple_(*side).in_(told_by)))
    return {ref: acted_by for acted_by, *named in rows for ref in told_by[tuple(named)]}


def amount_returned(session: Session, ref: TransactionRef) -> Decimal:
    """How much of the money of an issue its reversals have taken back."""
    total = select(func.coalesce(func.sum(_t.amount), 0)).where(
        _t.member_id == ref.member_id, _t.reverses_id == ref.transaction_id
    )
    return Decimal(session.execute(total).scalar_one())


def entries_of(session: Session, refs: Collection[TransactionRef]) -> dict[TransactionRef, list[Entry]]:
    """The legs of several transactions, in one statement."""
    keys = [(ref.member_id, ref.business_date, ref.transaction_id) for ref in refs]
    rows = session.execute(
        select(tables.entry, _l.issued_at, _l.matures_at, _l.expires_at)
        .outerjoin(tables.lot, and_(_l.member_id == _e.member_id, _l.lot_id == _e.lot_id))
        .where(tuple_(_e.member_id, _e.business_date, _e.transaction_id).in_(keys))
        .order_by(_e.member_id, _e.business_date, _e.transaction_id, _e.ordinal)
    )
    found: dict[TransactionRef, list[Entry]] = {ref: [] for ref in refs}
    for row in rows:
        found[_ref(row)].append(
            Entry(
                bucket=row.bucket,
                points=row.points,
                lot_id=row.lot_id,
                issuer_id=row.issuer_id,
                agreement_id=row.agreement_id,
                funding_plan_id=row.funding_plan_id,
                issued_at=row.issued_at,
                matures_at=row.matures_at,
                expires_at=row.expires_at,
            )
        )
    return found


def _conditions(session: Session, wanted: Transactions) -> list[ColumnElement[bool]]:
    exact: Mapping[Any, object] = {
        _t.partner_id: wanted.partner_id,
        _t.member_id: wanted.member_id,
        _t.store: wanted.store,
        _t.business_date: wanted.business_date,
    }
    conditions: list[ColumnElement[bool]] = [
        column == value for column, value in exact.items() if value is not None
    ]
    if wanted.kinds is not None:
        conditions.append(_t.kind.in_(wanted.kinds))
    if wanted.since is not None or wanted.until is not None:
        zone = get_programme(session).tz
        if wanted.since is not None:
            conditions.append(_t.occurred_at >= datetime.combine(wanted.since, datetime.min.time(), zone))
        if wanted.until is not None and wanted.until < date.max:
            end = wanted.until + timedelta(days=1)
            conditions.append(_t.occurred_at < datetime.combine(end, datetime.min.time(), zone))
    return conditions


def _bound(session: Session, key: Key, wanted: Transactions, name: str) -> tuple[object, object]:
    """Where the list goes on: a key's values in the list's order."""
    found: tuple[object, object] | None = None
    with contextlib.suppress(ValueError):
        first, transaction_id = key[0], UUID(key[1])
        if wanted.member_id is None:
            found = datetime.fromisoformat(first), transaction_id
        else:
            at = date.fromisoformat(first)
            query = select(_t.sequence).where(
                _t.member_id == wanted.member_id,
                _t.business_date == at,
                _t.transaction_id == transaction_id,
                true() if wanted.partner_id is None else _t.partner_id == wanted.partner_id,
            )
            sequence = session.execute(query).scalar_one_or_none()
            found = None if sequence is None else (at, sequence)
    if found is None:
        raise InvalidInput(f"{name} is not a cursor of this list", field=(name,))
    return found


def _ref(row: Any) -> TransactionRef:
    return TransactionRef(
        member_id=MemberId(row.member_id),
        business_date=row.business_date,
        transaction_id=TransactionId(row.transaction_id),
    )


_ADJUSTMENTS: Final = frozenset({"adjust_in", "adjust_out"})


def _transaction(row: Any) -> Transaction:
    receipt = reverses = hold = None
    if row.receipt_number is not None:
        receipt = Receipt(
            store=row.store,
            terminal=row.terminal,
            number=row.receipt_number,
            line=row.receipt_line,
            revision=row.receipt_revision,
        )
    if row.reverses_id is not None:
        reverses = TransactionRef(
            member_id=row.member_id, business_date=row.reverses_date, transaction_id=row.reverses_id
        )
    if row.hold_id is not None:
        hold = TransactionRef(
            member_id=row.member_id, business_date=row.hold_date, transaction_id=row.hold_id
        )
    return Transaction(
        ref=_ref(row),
        sequence=row.sequence,
        kind=row.kind,
        partner_id=row.partner_id,
        agreement_id=row.agreement_id,
        points=row.points,
        amount=row.amount,
        receipt=receipt,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        late=row.late,
        reverses=reverses,
        undone_points=row.undone_points,
        hold=hold,
        other_member_id=row.other_member_id,
        other_id=row.other_id,
        reason=row.reason if row.kind in _ADJUSTMENTS else None,
        words=None if row.kind in _ADJUSTMENTS else row.reason,
        available_after=row.available_after,
        idempotency_key=row.idempotency_key,
        digest=bytes(row.digest),
    )
