"""Every row of the ledger, with names in place of ids: what two databases can be compared by."""

from uuid import UUID

from driver import LedgerDriver

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
    "operator_act": (
        "SELECT a.member_id, a.transaction_id, acted_by"
        " FROM ledger.operator_act a JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
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


def listing(ledger: LedgerDriver) -> str:
    """Ids are numbered as they come, so that the same days give the same text."""
    names: dict[UUID, str] = {}

    def told(value: object) -> str:
        if isinstance(value, UUID):
            return names.setdefault(value, f"#{len(names)}") if value.int else "network"
        return "-" if value is None else str(value)

    lines = []
    for table, query in LISTED.items():
        lines += [f"== {table}", *(" ".join(map(told, row)) for row in ledger.rows(query)), ""]
    return "\n".join(lines)
