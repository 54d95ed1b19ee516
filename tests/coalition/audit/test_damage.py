"""Each check sees the damage that it is for, and names the row."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from audit_books import Damage

from coalition.audit import AUDIT, run_audit

REF = "concat_ws('/', member_id, business_date, transaction_id)"
FLORIST = "(SELECT partner_id FROM partners.partner WHERE code = 'florist')"
BAKER = "(SELECT partner_id FROM partners.partner WHERE code = 'baker')"
REDEEM = "kind = 'redeem'"
EXPIRE = "kind = 'expire'"
FIRST_DAY = "business_date = '2026-03-02'"


def one(table: str, where: str, columns: str = REF) -> str:
    """Which row of several: always the same one."""
    return f"SELECT {columns} AS id FROM ledger.{table} WHERE {where} ORDER BY 1 LIMIT 1"


def that(table: str, where: str) -> str:
    """The same row, as a condition for the statement that damages it."""
    return f"ctid = (SELECT ctid FROM ledger.{table} WHERE {where} ORDER BY {KEYS[table]} LIMIT 1)"


KEYS = {
    "lot": "concat_ws('/', member_id, lot_id)",
    "deficit": "concat_ws('/', member_id, deficit_id)",
    "member_head": "member_id::text",
    "idempotency": "concat_ws('/', member_id, partner_id, key)",
    "receipt": "concat_ws('/', partner_id, kind, store, terminal, number, line, revision)",
    "confirmation": "concat_ws('/', member_id, confirmation_id)",
}


@dataclass(frozen=True)
class Case:
    """What is done to the books, which check must see it, and the row that it must name."""

    check: str
    done: tuple[str, ...]
    row: str

    def __str__(self) -> str:
        return f"{self.check}: {self.done[0][:50]}"


def journal(check: str, change: str, where: str) -> Case:
    """One transaction changed in place."""
    chosen = f"{REF} = ({one('transaction', where)})"
    return Case(check, (f"UPDATE ledger.transaction SET {change} WHERE {chosen}",), one("transaction", where))


def entry(check: str, verb: str, where: str) -> Case:
    """One entry damaged; the finding names it, or the transaction of which it is a leg."""
    key = "concat_ws('/', member_id, business_date, transaction_id, ordinal)"
    chosen = f"{key} = (SELECT {key} FROM ledger.entry WHERE {where} ORDER BY 1 LIMIT 1)"
    return Case(check, (f"{verb} WHERE {chosen}",), one("entry", where, REF if "sum" in check else key))


def row(check: str, table: str, verb: str, where: str) -> Case:
    """One row of a table of member rows changed or deleted."""
    return Case(check, (f"{verb} WHERE {that(table, where)}",), one(table, where, KEYS[table]))


VOUCHER = "redeem_by IS NOT NULL"
PAID = f"kind = 'capture' AND hold_id IN (SELECT transaction_id FROM ledger.hold WHERE {VOUCHER})"


def voucher(check: str, verb: str, where: str = VOUCHER) -> Case:
    """The books' one voucher damaged."""
    return Case(check, (f"{verb} WHERE {where}",), one("hold", VOUCHER))


def paid(change: str) -> Case:
    """What the books' one voucher paid, changed in place."""
    return Case(
        "vouchers_are_redeemed_once",
        (f"UPDATE ledger.transaction SET {change} WHERE {PAID}",),
        one("hold", VOUCHER),
    )


DUE = "member_id IN (SELECT member_id FROM ledger.lot WHERE available > 0 AND expires_at IS NOT NULL)"
BURN = "bucket = 'burned' AND points > 0"

CASES = (
    entry("entries_sum_to_zero", "UPDATE ledger.entry SET points = points + 1", BURN),
    entry("entries_sum_to_zero", "DELETE FROM ledger.entry", BURN),
    Case(
        "all_entries_sum_to_zero", (f"UPDATE ledger.entry SET points = points + 1 WHERE {BURN}",), "SELECT ''"
    ),
    Case(
        "entries_fit_their_transactions_kind",
        (f"DELETE FROM ledger.transaction WHERE {REF} = ({one('transaction', REDEEM)})",),
        one("transaction", REDEEM),
    ),
    journal("transactions_move_what_they_say", "points = points + 1", "kind = 'redeem'"),
    journal("transactions_move_what_they_say", "points = points + 1", "kind = 'mature'"),
    Case(
        "transactions_move_what_they_say",
        (f"DELETE FROM ledger.entry WHERE {REF} = ({one('transaction', EXPIRE)})",),
        one("transaction", EXPIRE),
    ),
    entry("entries_fit_their_transactions_kind", "UPDATE ledger.entry SET bucket = 'expired'", BURN),
    entry("entries_fit_their_transactions_kind", "UPDATE ledger.entry SET points = -points", BURN),
    Case(
        "sequences_have_no_gap",
        (f"DELETE FROM ledger.transaction WHERE {REF} = ({one('transaction', 'sequence = 2')})",),
        one("transaction", "sequence = 2", "member_id"),
    ),
    row(
        "sequences_have_no_gap",
        "member_head",
        "UPDATE ledger.member_head SET last_sequence = last_sequence + 1",
        "true",
    ),
    Case(
        "sequences_have_no_gap",
        (
            (
                "UPDATE ledger.transaction SET business_date = '2020-01-01'"
                f" WHERE {REF} = ({one('transaction', 'sequence = 4')})"
            ),
        ),
        one("transaction", "sequence = 4", "member_id::text"),
    ),
    journal(
        "sequences_have_no_gap",
        "recorded_at = recorded_at - interval '1 day'",
        "kind = 'redeem' AND sequence > 3",
    ),
    journal("transactions_move_what_they_say", "available_after = available_after + 1", "kind = 'issue'"),
    journal("transactions_move_what_they_say", "pending_after = pending_after + 1", "kind = 'reverse_issue'"),
    journal("transactions_move_what_they_say", "held_after = held_after + 1", "kind = 'authorize'"),
    Case(
        "transactions_move_what_they_say",
        (
            # All fits, but that a redemption is of something.
            (
                "UPDATE ledger.transaction t SET points = 0, available_after = b.available_after,"
                " pending_after = b.pending_after, held_after = b.held_after, deficit_after = b.deficit_after"
                " FROM ledger.transaction b WHERE b.member_id = t.member_id AND b.sequence = t.sequence - 1"
                " AND concat_ws('/', t.member_id, t.business_date, t.transaction_id)"
                f" = ({one('transaction', REDEEM)})"
            ),
            f"DELETE FROM ledger.entry WHERE {REF} = ({one('transaction', REDEEM)})",
        ),
        one("transaction", REDEEM),
    ),
    journal(
        "transactions_move_what_they_say", "deficit_after = 0", "kind = 'reverse_issue' AND deficit_after > 0"
    ),
    journal(
        "reversals_name_what_they_undo", "reverses_id = gen_random_uuid()", "kind = 'reverse_redemption'"
    ),
    journal("reversals_name_what_they_undo", "amount = 5", "kind = 'reverse_redemption'"),
    journal(
        "reversals_name_what_they_undo",
        f"partner_id = {FLORIST}",
        "kind = 'reverse_redemption'",
    ),
    Case(
        "reversals_name_what_they_undo",
        (
            (
                "INSERT INTO ledger.transaction SELECT (r).* FROM (SELECT jsonb_populate_record(t,"
                " jsonb_build_object('transaction_id', gen_random_uuid(), 'sequence', 99)) AS r"
                " FROM ledger.transaction t WHERE kind = 'reverse_redemption') AS copied"
            ),
        ),
        one(
            "transaction",
            "kind = 'reverse_redemption'",
            "concat_ws('/', member_id, reverses_date, reverses_id)",
        ),
    ),
    Case(
        "reversals_name_what_they_undo",
        (
            # What moved nothing is undone once.
            (
                "UPDATE ledger.transaction SET points = 0, undone_points = 0 * undone_points WHERE transaction_id IN"
                " (SELECT unnest(ARRAY[transaction_id, reverses_id]) FROM ledger.transaction"
                " WHERE kind = 'reverse_redemption')"
            ),
            (
                "INSERT INTO ledger.transaction SELECT (r).* FROM (SELECT jsonb_populate_record(t,"
                " jsonb_build_object('transaction_id', gen_random_uuid(), 'sequence', 99)) AS r"
                " FROM ledger.transaction t WHERE kind = 'reverse_redemption') AS copied"
            ),
        ),
        one(
            "transaction",
            "kind = 'reverse_redemption'",
            "concat_ws('/', member_id, reverses_date, reverses_id)",
        ),
    ),
    Case(
        "reversals_use_the_lots_they_undo",
        (
            (
                "UPDATE ledger.entry e SET lot_id = (SELECT lot_id FROM ledger.lot l WHERE l.member_id ="
                " e.member_id"
                " AND l.lot_id <> e.lot_id ORDER BY 1 LIMIT 1)"
                " FROM ledger.transaction t WHERE t.transaction_id = e.transaction_id AND t.kind ="
                " 'reverse_redemption'"
            ),
        ),
        one(
            "transaction",
            "transaction_id IN (SELECT reverses_id FROM ledger.transaction WHERE kind = 'reverse_redemption')",
        ),
    ),
    row("lots_conserve_their_points", "lot", "UPDATE ledger.lot SET burned = burned + 1", "burned > 0"),
    row(
        "lots_conserve_their_points",
        "lot",
        "UPDATE ledger.lot SET available = -1, expired = expired + available + 1",
        "true",
    ),
    row(
        "lots_agree_with_entries",
        "lot",
        "UPDATE ledger.lot SET burned = burned - 1, available = available + 1",
        "burned > 0",
    ),
    row(
        "lots_agree_with_entries",
        "lot",
        "UPDATE ledger.lot SET points = points + 1, available = available + 1",
        "true",
    ),
    row("lots_agree_with_entries", "lot", "UPDATE ledger.lot SET available = available + 1", "true"),
    row("lots_agree_with_entries", "lot", "DELETE FROM ledger.lot", "true"),
    row("lots_have_their_issue", "lot", "UPDATE ledger.lot SET transaction_id = gen_random_uuid()", "true"),
    row("lots_have_their_issue", "lot", "UPDATE ledger.lot SET sequence = sequence + 1", "true"),
    row("lots_have_their_issue", "lot", "UPDATE ledger.lot SET points = points + 1", "true"),
    row(
        "lots_have_their_issue",
        "lot",
        f"UPDATE ledger.lot SET issuer_id = {FLORIST}",
        f"issuer_id <> {FLORIST}",
    ),
    row(
        "lots_have_their_issue",
        "lot",
        "UPDATE ledger.lot SET issued_at = issued_at - interval '1 hour'",
        "true",
    ),
    Case(
        "lots_have_their_issue",
        (f"DELETE FROM ledger.lot WHERE {that('lot', 'true')}",),
        one("lot", "true", "concat(member_id, '/none')"),
    ),
    entry(
        "entries_carry_their_lots_terms",
        f"UPDATE ledger.entry SET issuer_id = {FLORIST}",
        f"{BURN} AND issuer_id <> {FLORIST}",
    ),
    entry(
        "entries_carry_their_lots_terms",
        "UPDATE ledger.entry SET funding_plan_id = NULL",
        "funding_plan_id IS NOT NULL",
    ),
    Case(
        "points_come_and_go_in_time",
        ("UPDATE ledger.lot SET expires_at = issued_at WHERE burned > 0",),
        "SELECT e.transaction_id FROM ledger.entry e JOIN ledger.transaction t USING (transaction_id)"
        " WHERE t.kind = 'redeem' AND e.bucket = 'burned' LIMIT 1",
    ),
    Case(
        "agreements_belong_to_who_acts",
        (
            (
                "UPDATE partners.agreement SET partner_id = '00000000-0000-0000-0000-000000000000'"
                f" WHERE partner_id = {BAKER}"
            ),
        ),
        "SELECT transaction_id FROM ledger.transaction WHERE kind = 'issue'"
        f" AND partner_id = {BAKER} LIMIT 1",
    ),
    journal("agreements_belong_to_who_acts", "agreement_id = NULL", "kind = 'recovery'"),
    journal("agreements_belong_to_who_acts", f"partner_id = {FLORIST}", "kind = 'mature'"),
    Case(
        "points_come_and_go_in_time",
        ("UPDATE ledger.lot SET matures_at = matures_at + interval '30 days' WHERE available + burned > 0",),
        one("transaction", "kind = 'mature'"),
    ),
    Case(
        "points_come_and_go_in_time",
        ("UPDATE ledger.lot SET matures_at = issued_at + interval '9 days' WHERE matures_at IS NULL",),
        one("transaction", "kind = 'issue' AND pending_after = 0"),
    ),
    Case(
        "points_come_and_go_in_time",
        ("UPDATE ledger.lot SET expires_at = NULL WHERE expired > 0",),
        one("transaction", EXPIRE),
    ),
    Case(
        "lots_keep_the_day_they_came_with",
        ("UPDATE ledger.lot SET expires_at = expires_at + interval '1 day' WHERE expired > 0",),
        "SELECT lot_id FROM ledger.lot WHERE expired > 0",
    ),
    Case(
        "terms_held_when_it_occurred",
        ("UPDATE partners.agreement SET valid_from = '2026-03-03'",),
        one("transaction", f"kind = 'redeem' AND {FIRST_DAY}"),
    ),
    Case(
        "terms_held_when_it_occurred",
        (
            "CREATE TEMPORARY TABLE later AS SELECT * FROM partners.agreement",
            (
                "UPDATE later SET agreement_id = gen_random_uuid(), version = version + 1, valid_from = '2026-03-02',"
                " published_at = '2026-03-01'"
            ),
            "INSERT INTO partners.agreement SELECT * FROM later",
        ),
        one("transaction", f"kind = 'redeem' AND {FIRST_DAY}"),
    ),
    Case(
        "reversals_keep_to_their_policy",
        ("UPDATE partners.agreement SET return_policy = 'available'",),
        one("transaction", "kind = 'reverse_issue' AND deficit_after > 0"),
    ),
    Case(
        "reversals_keep_to_their_policy",
        ("UPDATE partners.agreement SET return_policy = 'pending_only'",),
        one("transaction", "kind = 'reverse_issue' AND deficit_after > 0"),
    ),
    Case(
        "funding_parts_sum_to_a_million",
        ("UPDATE partners.funding_part SET ppm = ppm - 1",),
        "SELECT funding_plan_id FROM partners.funding_plan",
    ),
    Case(
        "funding_parts_sum_to_a_million",
        ("DELETE FROM partners.funding_plan",),
        "SELECT funding_plan_id FROM partners.funding_plan",
    ),
    row(
        "heads_agree_with_lots",
        "member_head",
        "UPDATE ledger.member_head SET available = available + 1",
        "true",
    ),
    row("heads_agree_with_lots", "member_head", "UPDATE ledger.member_head SET deficit = 0", "deficit > 0"),
    row(
        "heads_know_what_is_due",
        "member_head",
        "UPDATE ledger.member_head SET next_due_at = NULL",
        DUE,
    ),
    row(
        "heads_know_what_is_due",
        "member_head",
        "UPDATE ledger.member_head SET next_due_at = next_due_at + interval '1 year'",
        DUE,
    ),
    row(
        "heads_remember_the_last_recording",
        "member_head",
        "UPDATE ledger.member_head SET last_recorded_at = NULL",
        "true",
    ),
    Case(
        "rows_belong_to_members",
        (f"DELETE FROM ledger.member_head WHERE {that('member_head', 'true')}",),
        one("member_head", "true", "concat('member ', member_id)"),
    ),
    Case(
        "rows_belong_to_members",
        ("DELETE FROM ledger.member",),
        one("member_head", "true", "concat('transaction ', member_id)"),
    ),
    row(
        "deficits_agree_with_entries",
        "deficit",
        "UPDATE ledger.deficit SET open_points = 0",
        "open_points > 0",
    ),
    row("deficits_agree_with_entries", "deficit", "DELETE FROM ledger.deficit", "true"),
    row("deficits_come_from_reversed_issues", "deficit", "UPDATE ledger.deficit SET sequence = 0", "true"),
    row(
        "deficits_come_from_reversed_issues",
        "deficit",
        f"UPDATE ledger.deficit SET claimant_id = {FLORIST}",
        "true",
    ),
    row(
        "deficits_come_from_reversed_issues",
        "deficit",
        "UPDATE ledger.deficit SET transaction_id = gen_random_uuid()",
        "true",
    ),
    journal("recoveries_pay_their_claimant", f"partner_id = {FLORIST}", "kind = 'recovery'"),
    Case(
        "recoveries_pay_their_claimant",
        ("DELETE FROM ledger.entry WHERE deficit_id IS NOT NULL AND bucket = 'available' AND points > 0",),
        one("transaction", "kind = 'recovery'"),
    ),
    row("keys_have_one_effect", "idempotency", "DELETE FROM ledger.idempotency", "true"),
    row(
        "keys_have_one_effect",
        "idempotency",
        "UPDATE ledger.idempotency SET transaction_id = gen_random_uuid()",
        "true",
    ),
    Case(
        "keys_have_one_effect",
        (
            (
                "UPDATE ledger.transaction SET idempotency_key = 'twice' WHERE kind = 'issue'"
                f" AND partner_id = {BAKER}"
            ),
        ),
        "SELECT concat_ws('/', member_id, partner_id, 'twice') FROM ledger.transaction WHERE kind ="
        f" 'issue' AND partner_id = {BAKER} GROUP BY member_id, partner_id HAVING count(*) > 1",
    ),
    row(
        "keys_remember_the_answer",
        "idempotency",
        "UPDATE ledger.idempotency SET available = available + 1",
        "true",
    ),
    row("receipts_have_one_effect", "receipt", "DELETE FROM ledger.receipt", "true"),
    row(
        "receipts_have_one_effect",
        "receipt",
        "UPDATE ledger.receipt SET transaction_id = gen_random_uuid()",
        "true",
    ),
    Case(
        "receipts_are_revised_after_reversal",
        ("DELETE FROM ledger.receipt WHERE revision = 0",),
        one("receipt", "revision = 1", KEYS["receipt"]),
    ),
    row(
        "confirmations_are_used_once", "confirmation", "UPDATE ledger.confirmation SET used_by = NULL", "true"
    ),
    row("confirmations_are_used_once", "confirmation", "UPDATE ledger.confirmation SET points = 1", "true"),
    row("confirmations_are_used_once", "confirmation", "DELETE FROM ledger.confirmation", "true"),
    Case("programme_has_one_open_window", ("DELETE FROM ledger.programme",), "SELECT ''"),
    Case(
        "programme_has_one_open_window",
        ("UPDATE ledger.settlement_window SET state = 'closed', closed_at = opened_at WHERE state = 'open'",),
        "SELECT ''",
    ),
    Case(
        "windows_follow_each_other",
        (
            (
                "UPDATE ledger.settlement_window SET opened_at = opened_at + interval '1 second'"
                " WHERE state = 'open'"
            ),
        ),
        "SELECT '2026-03-04'",
    ),
    Case(
        "windows_follow_each_other",
        (
            (
                "UPDATE ledger.settlement_window SET opened_at = closed_at + interval '1 second'"
                " WHERE business_date = '2026-03-02'"
            ),
        ),
        "SELECT '2026-03-02'",
    ),
    Case(
        "windows_follow_each_other",
        (
            (
                "UPDATE ledger.settlement_window SET sealed_at = closed_at - interval '1 second'"
                " WHERE state = 'sealed'"
            ),
        ),
        "SELECT '2026-03-02'",
    ),
    Case(
        "windows_follow_each_other",
        ("DELETE FROM ledger.settlement_window WHERE business_date = '2026-03-03'",),
        "SELECT '2026-03-04'",
    ),
    journal(
        "postings_are_in_their_window",
        "recorded_at = recorded_at - interval '2 days'",
        "kind = 'redeem' AND business_date = '2026-03-03'",
    ),
    journal(
        "postings_are_in_their_window",
        "recorded_at = recorded_at + interval '2 days'",
        "kind = 'redeem' AND business_date = '2026-03-02'",
    ),
    journal("postings_are_in_their_window", "late = true", "kind = 'redeem'"),
    journal(
        "postings_are_in_their_window", "occurred_at = recorded_at + interval '6 minutes'", "kind = 'redeem'"
    ),
    Case(
        "postings_are_in_their_window",
        ("UPDATE ledger.programme SET clock_at = '2026-03-03T12:00Z'",),
        one("transaction", "kind = 'redeem' AND business_date = '2026-03-04'"),
    ),
    Case(
        "postings_are_in_their_window",
        ("DELETE FROM ledger.settlement_window WHERE business_date = '2026-03-02'",),
        one("transaction", FIRST_DAY),
    ),
    Case(
        "sealed_windows_are_unchanged",
        (f"DELETE FROM ledger.transaction WHERE {REF} = ({one('transaction', FIRST_DAY)})",),
        "SELECT '2026-03-02'",
    ),
    Case(
        "sealed_windows_are_unchanged",
        ("UPDATE ledger.settlement_window SET entries = entries + 1 WHERE business_date = '2026-03-03'",),
        "SELECT '2026-03-03'",
    ),
    Case(
        "control_totals_hold",
        (
            (
                "UPDATE ledger.window_total SET points = points + 1 WHERE business_date = '2026-03-02'"
                " AND kind = 'redeem' AND bucket = 'burned'"
            ),
        ),
        "SELECT '2026-03-02/redeem/burned'",
    ),
    Case(
        "limits_of_members_held",
        (
            (
                "INSERT INTO partners.limit_rule VALUES ('none', 1, 'member', 'redeem', 'count', NULL, 0, 'refuse', NULL,"
                " '2026-03-01', 'test')"
            ),
        ),
        one("transaction", REDEEM),
    ),
    Case(
        "limits_of_members_held",
        (
            (
                "INSERT INTO partners.limit_rule VALUES ('some', 1, 'member', 'both', 'points', 3600, 149, 'refuse', NULL,"
                " '2026-03-01', 'test')"
            ),
        ),
        # Of 100 and 50 issued points within an hour the second issue is too much, and what follows.
        one("transaction", f"kind = 'issue' AND points = 50 AND {FIRST_DAY}"),
    ),
    Case(
        "tallies_agree_with_the_journal",
        (
            (
                "INSERT INTO partners.limit_state VALUES (1, '2026-03-09', '2026-03-09', '2026-03-09', 1, '2026-03-01')"
            ),
        ),
        "SELECT partner_id FROM ledger.transaction WHERE kind = 'redeem' LIMIT 1",
    ),
    Case(
        "tallies_agree_with_the_journal",
        (
            "INSERT INTO partners.limit_state VALUES (1, '2026-03-01', '2026-03-01', '2026-03-01', 1, '2026-02-01')",
            "INSERT INTO partners.tally VALUES (gen_random_uuid(), 'nowhere', 'issue', '2026-02-20', '2026-02-20', 1, 1)",
        ),
        "SELECT 'nowhere'",
    ),
    Case(
        "reviews_became_what_they_say",
        (
            (
                "INSERT INTO ledger.review (member_id, review_id, partner_id, key, fingerprint, kind, points, limit_code,"
                " facts, asked_at, state, business_date, transaction_id) SELECT member_id, transaction_id, partner_id,"
                " idempotency_key, '', kind, points + 1, 'x', '{}', now(), 'posted', business_date, transaction_id"
                f" FROM ledger.transaction WHERE {REDEEM}"
            ),
        ),
        one("transaction", REDEEM, "concat_ws('/', member_id, transaction_id)"),
    ),
    Case(
        "reviews_became_what_they_say",
        (
            (
                "INSERT INTO ledger.review (member_id, review_id, partner_id, key, fingerprint, kind, points, limit_code,"
                " facts, asked_at, state, business_date, transaction_id) SELECT member_id, transaction_id, partner_id,"
                " idempotency_key || '?', '', kind, points, 'x', '{}', now(), 'posted', business_date, transaction_id"
                f" FROM ledger.transaction WHERE {REDEEM}"
            ),
        ),
        one("transaction", REDEEM, "concat_ws('/', member_id, transaction_id)"),
    ),
    *(
        Case(
            "reviews_of_what_was_posted_say_so",
            (
                (
                    "INSERT INTO ledger.review (member_id, review_id, partner_id, key, fingerprint, kind, points, limit_code,"
                    " facts, asked_at, state, decided_by, decided_at) SELECT t.member_id, t.transaction_id, t.partner_id,"
                    f" k.key, k.fingerprint, t.kind, t.points, 'x', '{{}}', now(), {state}"
                    " FROM ledger.transaction t JOIN ledger.idempotency k USING (member_id, business_date, transaction_id)"
                    f" WHERE t.{REDEEM}"
                ),
            ),
            one("transaction", REDEEM, "concat_ws('/', member_id, transaction_id)"),
        )
        for state in ("'waiting', NULL, NULL", "'rejected', 'ada', now()")
    ),
    voucher("vouchers_are_the_members_word", "UPDATE ledger.hold SET points = points + 1"),
    voucher("vouchers_are_the_members_word", f"UPDATE ledger.hold SET partner_id = {FLORIST}"),
    voucher(
        "vouchers_are_the_members_word", "UPDATE ledger.hold SET redeem_by = redeem_by + interval '1 minute'"
    ),
    voucher("vouchers_are_the_members_word", "UPDATE ledger.hold SET lapses_at = authorized_at"),
    voucher(
        "vouchers_are_the_members_word",
        "UPDATE ledger.confirmation c SET used_by = NULL FROM ledger.hold h",
        "h.member_id = c.member_id AND h.transaction_id = c.used_by AND h.redeem_by IS NOT NULL",
    ),
    voucher(
        "vouchers_are_the_members_word",
        "WITH c AS (UPDATE ledger.confirmation c SET expires_at = c.expires_at + interval '2 hours' FROM ledger.hold h"
        " WHERE h.member_id = c.member_id AND h.transaction_id = c.used_by)"
        " UPDATE ledger.hold SET redeem_by = redeem_by + interval '2 hours'",
    ),
    paid("points = points + 1000"),
    paid(f"partner_id = {FLORIST}"),
    paid("occurred_at = occurred_at + interval '1 hour'"),
    paid("occurred_at = occurred_at - interval '6 minutes'"),
    paid("recorded_at = recorded_at + interval '2 days'"),
    Case(
        "vouchers_are_redeemed_once",
        (
            (
                "INSERT INTO ledger.transaction SELECT (r).* FROM (SELECT jsonb_populate_record(t,"
                " jsonb_build_object('transaction_id', gen_random_uuid(), 'sequence', 99)) AS r"
                f" FROM ledger.transaction t WHERE {PAID}) AS copied"
            ),
        ),
        one("hold", VOUCHER),
    ),
    Case(
        "default_partitions_are_empty",
        (
            (
                "INSERT INTO ledger.transaction SELECT (r).* FROM (SELECT jsonb_populate_record(t,"
                ' \'{"business_date": "2019-01-01"}\') AS r FROM ledger.transaction t LIMIT 1) AS copied'
            ),
        ),
        "SELECT ''",
    ),
)


CHECKS = {check.__name__: check for check in AUDIT}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_damage_is_seen_and_the_row_is_named(damage: Damage, case: Case) -> None:
    expected = damage.ids(case.row)
    assert expected, "there is a row to damage"

    damage.do(*case.done)

    named = {finding.id for finding in CHECKS[case.check](damage.session)}
    assert any(part in found for part in expected for found in named), (
        f"{case.check} named {named}, not {expected}"
    )


def test_findings_of_one_check_are_capped_and_the_rest_is_counted(damage: Damage) -> None:
    damage.do("UPDATE ledger.transaction SET available_after = available_after + sequence")

    found = [
        finding
        for finding in run_audit(damage.session, per_check=3)
        if finding.check == "transactions_move_what_they_say"
    ]

    total = len(damage.ids(f"SELECT {REF} FROM ledger.transaction"))
    assert len(found) == 4
    assert found[-1].message == f"and {total - 3} more"


def test_every_check_has_a_damage_that_it_sees() -> None:
    # These have files of their own: test_hands.py what changes hands, test_damage_pools.py that of the pools, tests/coalition/vault that of people,
    # tests/coalition/ledger/test_identifiers.py that of identifiers, test_blocking.py that of blocks.
    elsewhere = {
        check.__name__
        for check in AUDIT
        if check.__name__
        in {
            "identifiers_stand_as_their_history_says",
            "keys_remember_who_was_named",
            "members_are_blocked_as_their_history_says",
        }
        or check.__module__.endswith(("settlements", "holds", "handovers", "pools", "people"))
    }
    assert {check.__name__ for check in AUDIT} - elsewhere == {case.check for case in CASES}
