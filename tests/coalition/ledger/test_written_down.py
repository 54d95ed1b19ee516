"""A few days in which everything happens once, compared row by row with what was written down and read.

`written_down.txt` lists every row that the days leave, with names in place of ids. Where a change is meant, delete
it and run this: the test writes it anew, and the difference is yours to read.
"""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

from driver import LedgerDriver, receipt

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.ids import MemberId

WRITTEN = Path(__file__).with_name("written_down.txt")

# What of each table says what happened, in an order that no id decides.
LISTED = {
    "transaction": (
        "SELECT t.member_id, sequence, kind, t.partner_id, t.points, amount, undone_points,"
        " CASE WHEN length(reason) = 64 THEN '(words)' ELSE reason END, late, available_after,"
        " pending_after, held_after, deficit_after, occurred_at, recorded_at, agreement_id, reverses_date, hold_date,"
        " t.transaction_id, reverses_id, hold_id, other_member_id, other_id, confirmation_id, idempotency_key, store,"
        " terminal, receipt_number, receipt_line, receipt_revision, card_id"
        " FROM ledger.transaction t JOIN ledger.member USING (member_id) ORDER BY enrolled_at, sequence"
    ),
    "entry": (
        "SELECT e.member_id, t.sequence, t.kind, e.ordinal, e.bucket, e.points, e.issuer_id, e.agreement_id,"
        " e.funding_plan_id, e.lot_id, e.deficit_id"
        " FROM ledger.entry e JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
        " JOIN ledger.member USING (member_id) ORDER BY enrolled_at, t.sequence, e.ordinal"
    ),
    "lot": (
        "SELECT l.member_id, sequence, ordinal, lot_id, issuer_id, agreement_id, funding_plan_id, business_date,"
        " transaction_id, issued_at, matures_at, expires_at, points, pending, available, held, recalled, burned,"
        " expired, reversed, transferred, from_member_id, from_lot_id"
        " FROM ledger.lot l JOIN ledger.member USING (member_id) ORDER BY enrolled_at, sequence, ordinal"
    ),
    "hold": (
        "SELECT h.member_id, h.transaction_id, h.partner_id, h.agreement_id, h.points, authorized_at, lapses_at, state,"
        " captured, closed_date, closed_id, confirmed, redeem_by, pooled"
        " FROM ledger.hold h JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
        " JOIN ledger.member USING (member_id) ORDER BY enrolled_at, t.sequence"
    ),
    "deficit": (
        "SELECT d.member_id, sequence, ordinal, deficit_id, claimant_id, agreement_id, lot_id, business_date,"
        " transaction_id, claimed_at, points, open_points, from_member_id, from_deficit_id"
        " FROM ledger.deficit d JOIN ledger.member USING (member_id) ORDER BY enrolled_at, sequence, ordinal"
    ),
    "member_head": (
        "SELECT member_id, available, pending, held, deficit, last_sequence, last_recorded_at, next_due_at, extends,"
        " blocked, merged_into, pool_id FROM ledger.member_head JOIN ledger.member USING (member_id) ORDER BY enrolled_at"
    ),
    "idempotency": (
        "SELECT i.member_id, i.partner_id, key, i.transaction_id, available, pending, held, deficit"
        " FROM ledger.idempotency i JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
        " JOIN ledger.member USING (member_id) ORDER BY enrolled_at, t.sequence"
    ),
    "receipt": (
        "SELECT partner_id, kind, store, terminal, number, line, revision, member_id, transaction_id"
        " FROM ledger.receipt ORDER BY number, kind, revision"
    ),
    "window_total": (
        "SELECT business_date, kind, bucket, entries, points FROM ledger.window_total"
        " ORDER BY business_date, kind, bucket"
    ),
    "settlement_window": (
        "SELECT business_date, state, opened_at, closed_at, sealed_at, transactions, entries"
        " FROM ledger.settlement_window ORDER BY business_date"
    ),
}


def _days(ledger: LedgerDriver) -> None:
    baker, grocer = ledger.partner(), ledger.partner(redemption_charge="0.001")
    anna, ben, cleo = (_joined(ledger) for _ in range(3))
    plan = ledger.funding_plan(_=[(baker, 500_000), (grocer, 500_000)])
    soon, later = ledger.now + timedelta(days=2), ledger.now + timedelta(days=300)

    # Two lots, of which the one that expires first is spent first; some points pend.
    bread = ledger.issue(anna, 100, by=baker, expires_at=later, receipt=receipt("B-1"), funding_plan_id=plan)
    ledger.issue(anna, 40, by=grocer, expires_at=soon, identifier_id=ledger.card(anna))
    ledger.issue(anna, 30, by=grocer, matures_at=soon)
    spent = ledger.redeem(anna, 60, by=grocer, receipt=receipt("G-1", line=3))
    ledger.reverse(spent.ref, 25, by=grocer, reason="a jar was broken")
    ledger.confirm(anna, 5, at=grocer)

    # Holds: taken in part, voided, and left to lapse; a voucher.
    taken = ledger.authorize(anna, 50, by=grocer)
    ledger.pass_time(minutes=1)
    ledger.reverse(bread.ref, 70, by=baker)  # what is held of it is recalled
    ledger.capture(taken.ref, 20, by=grocer, receipt=receipt("G-2"))
    ledger.issue(ben, 200, by=baker, expires_at=later)
    ledger.void(ledger.authorize(ben, 8, by=grocer).ref, by=grocer)
    ledger.redeem_voucher(ledger.voucher(ben, 9, at=grocer).ref, 6, by=grocer)
    ledger.authorize(ben, 10, by=baker, seconds_to_live=600)

    # Night: what is due is posted.
    ledger.pass_time(days=1)
    ledger.close_window()
    ledger.pass_time(days=1, hours=3)
    for member in (anna, ben, cleo):
        ledger.bring_up_to_date(member)

    # A claim, and points that pay it off; points that change hands; a household.
    gift = ledger.issue(cleo, 50, by=baker)
    ledger.redeem(cleo, 45, by=grocer, confirmation_id=ledger.confirm(cleo, 45, at=grocer))
    ledger.reverse(gift.ref, by=baker)
    ledger.issue(cleo, 20, by=grocer, occurred_at=ledger.now - timedelta(days=2))
    ledger.transfer(ben, 60, to=cleo)
    ledger.pool(ben, anna)
    common = ledger.redeem(anna, 90, by=baker, from_pool=True)
    ledger.reverse(common.ref, 80, by=baker)
    ledger.pass_time(minutes=1)
    ledger.leave_pool(anna)
    ledger.merge(cleo, anna)
    ledger.redeem(cleo, 11, by=grocer)
    ledger.unmerge(cleo, anna)
    ledger.pass_time(days=1)
    ledger.close_window()


def _joined(ledger: LedgerDriver) -> MemberId:
    """A member, at a moment of its own."""
    ledger.pass_time(seconds=1)
    return ledger.member(issuer=ledger.any_partner())


def _listing(ledger: LedgerDriver) -> str:
    names: dict[UUID, str] = {}

    def told(value: object) -> str:
        if isinstance(value, UUID):
            return names.setdefault(value, f"#{len(names)}") if value.int else "network"
        return "-" if value is None else str(value)

    lines = []
    for table, query in LISTED.items():
        lines += [f"== {table}", *(" ".join(map(told, row)) for row in ledger.rows(query)), ""]
    return "\n".join(lines)


def test_days_in_which_everything_happens_leave_the_rows_that_were_written_down(ledger: LedgerDriver) -> None:
    _days(ledger)
    with ledger.database.reading() as session:
        assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []
    listing = _listing(ledger)
    if not WRITTEN.exists():
        WRITTEN.write_text(listing, encoding="utf-8")
    assert listing.splitlines() == WRITTEN.read_text(encoding="utf-8").splitlines()
