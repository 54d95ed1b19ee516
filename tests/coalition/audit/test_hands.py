"""Holds, hand-overs and adjustments: each check sees the damage that it is for, and names the row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from audit_books import Books, Damage, opened
from audit_hands import points_change_hands
from databases import TestCluster, TestDatabase
from sqlalchemy import text

from coalition.audit import AUDIT, CHAIN, handovers, holds, run_audit

CHECKS = {check.__name__: check for check in AUDIT}
TRANSACTION = "concat_ws('/', member_id, business_date, transaction_id)"
LOT = "concat_ws('/', member_id, lot_id)"
DEFICIT = "concat_ws('/', member_id, deficit_id)"
ADJUSTMENT = "concat_ws('/', member_id, adjustment_id)"
KEY = "concat_ws('/', member_id, partner_id, key)"
NAMED, UNNAMED = "named_id IS NOT NULL", "named_id IS NULL"
STRANGER = (
    "partner_id = (SELECT partner_id FROM partners.partner p WHERE p.partner_id <> t.partner_id LIMIT 1)"
)


@pytest.fixture(scope="module")
def busy(cluster: TestCluster) -> Iterator[tuple[TestDatabase, Books]]:
    """In place of the conftest's: books in which points changed hands."""
    with cluster.new_database() as test_database, test_database.connect() as database:
        books = opened(test_database, database)
        points_change_hands(books)
        yield test_database, books


def test_books_in_which_points_changed_hands_are_clean(busy: tuple[TestDatabase, Books]) -> None:
    with busy[1].database.reading() as session:
        kinds = set(session.scalars(text("SELECT kind FROM ledger.transaction")))
        assert kinds >= {
            "authorize", "capture", "void", "lapse", "transfer_out", "transfer_in", "merge_out", "merge_in",
            "unmerge_out", "unmerge_in", "adjust_in", "adjust_out",
        }  # fmt: skip
        assert session.scalar(text("SELECT sum(recalled) FROM ledger.lot")) == 25
        assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []


@dataclass(frozen=True)
class Case:
    """One row of a table, chosen by a condition, and what is done to it; the check must name it."""

    check: str
    table: str
    change: str
    """What is SET in it; empty: it is deleted."""
    where: str
    names: str
    """Of the row before the damage: what the finding says of it."""

    def __str__(self) -> str:
        return f"{self.check}: {self.change or 'deleted'}"


def hold(check: str, change: str, where: str = "true") -> Case:
    return Case(check, "hold", change, where, TRANSACTION)


def posted(check: str, change: str, where: str, names: str = TRANSACTION) -> Case:
    return Case(check, "transaction", change, where, names)


def lot(check: str, change: str, where: str) -> Case:
    return Case(check, "lot", change, where, LOT)


RECEIVED = "from_lot_id IS NOT NULL"
FROM_LOT = "concat_ws('/', from_member_id, from_lot_id)"
HOLD_OF = "concat_ws('/', member_id, hold_date, hold_id)"
OTHER = "concat_ws('/', other_member_id, business_date, other_id)"
GIVER = (
    "lot_id IN (SELECT e.lot_id FROM ledger.entry e JOIN ledger.transaction t USING (transaction_id)"
    " WHERE t.kind = 'transfer_out')"
)
CLAIM = "from_deficit_id IS NOT NULL"
GIVEN = "points > 0 AND state = 'posted'"
AN_ISSUE = (
    "transaction_id = (SELECT transaction_id FROM ledger.transaction o"
    " WHERE o.member_id = t.member_id AND o.kind = 'issue' LIMIT 1)"
)
DONE = "transaction_id IN (SELECT transaction_id FROM ledger.transaction WHERE kind IN ({}))"
CASES = (
    *(
        hold("holds_are_authorized", change)
        for change in (
            "points = points + 1",
            "authorized_at = authorized_at - interval '1 s'",
            "confirmed = NOT confirmed",
            STRANGER,
            "agreement_id = gen_random_uuid()",
            "",
        )
    ),
    posted("holds_are_authorized", "", "kind = 'authorize'"),
    hold("holds_end_as_they_say", "state = 'voided'", "state = 'lapsed'"),
    hold("holds_end_as_they_say", "state = 'open', closed_id = NULL, closed_date = NULL", "state = 'voided'"),
    hold("holds_end_as_they_say", "captured = captured + 1", "state = 'captured'"),
    hold("holds_end_as_they_say", "captured = 1", "state = 'open'"),
    hold("holds_end_as_they_say", "closed_id = gen_random_uuid()", "state = 'captured'"),
    hold("holds_end_as_they_say", "closed_date = closed_date - 1", "state = 'lapsed'"),
    hold("holds_end_as_they_say", "lapses_at = lapses_at + interval '9 days'", "state = 'lapsed'"),
    hold("holds_end_as_they_say", "lapses_at = authorized_at", "state = 'captured'"),
    hold("holds_end_as_they_say", "", "state <> 'open'"),
    posted("holds_end_as_they_say", STRANGER, "kind = 'capture'", HOLD_OF),
    posted("holds_end_as_they_say", "points = points - 1", "kind = 'void'", HOLD_OF),
    posted("holds_end_as_they_say", "", "kind = 'lapse'", HOLD_OF),
    posted(
        "holds_end_as_they_say",
        "kind = 'void', hold_id = (SELECT transaction_id FROM ledger.hold h WHERE h.member_id = t.member_id"
        " AND h.state = 'captured'), hold_date = (SELECT business_date FROM ledger.hold h"
        " WHERE h.member_id = t.member_id AND h.state = 'captured')",
        "kind = 'lapse'",
        HOLD_OF,
    ),
    hold("holds_keep_their_lots", "state = 'lapsed'", "state = 'open'"),
    hold("holds_keep_their_lots", "state = 'open'", "state = 'captured'"),
    lot("holds_keep_their_lots", "held = held + 1", "held > 0"),
    lot("holds_keep_their_lots", "held = 1", "held = 0"),
    lot("holds_keep_their_lots", "held = 0", "held > 0"),
    lot("recalls_come_from_reversed_issues", "recalled = recalled + 1", "recalled > 0"),
    lot("recalls_come_from_reversed_issues", "recalled = recalled - 1", "recalled > 0"),
    lot("recalls_come_from_reversed_issues", "recalled = 1, held = 1", "recalled = 0"),
    lot("recalls_come_from_reversed_issues", "recalled = -1", "recalled = 0"),
    *(
        posted("both_sides_name_each_other", change, "other_id IS NOT NULL")
        for change in (
            "points = points + 1",
            "recorded_at = recorded_at - interval '1 s'",
            "other_id = gen_random_uuid()",
            "other_member_id = member_id",
            "kind = 'transfer_' || CASE split_part(kind, '_', 2) WHEN 'in' THEN 'out' ELSE 'in' END",
        )
    ),
    posted("both_sides_name_each_other", "", "other_id IS NOT NULL", OTHER),
    posted("both_sides_name_each_other", "kind = 'transfer_out'", "kind = 'merge_out'"),
    *(
        lot("received_lots_lead_back", change, RECEIVED)
        for change in (
            "issuer_id = gen_random_uuid()",
            "agreement_id = gen_random_uuid()",
            "funding_plan_id = gen_random_uuid()",
            "issued_at = issued_at - interval '1 s'",
            "matures_at = issued_at",
            "sequence = sequence + 1",
            "from_lot_id = gen_random_uuid()",
            "from_member_id = gen_random_uuid()",
            "transaction_id = gen_random_uuid()",
        )
    ),
    posted("received_lots_lead_back", "kind = 'issue'", "kind = 'transfer_in'", "member_id::text"),
    posted("received_lots_lead_back", "other_member_id = member_id", "kind = 'merge_in'", "member_id::text"),
    lot("given_points_are_received", "transferred = transferred + 1", "transferred > 0"),
    lot("given_points_are_received", "transferred = 1", "transferred = 0"),
    lot("given_points_are_received", "transferred = 0", "transferred > 0 AND from_lot_id IS NULL"),
    Case("given_points_are_received", "lot", "points = points - 1", RECEIVED, FROM_LOT),
    Case("given_points_are_received", "lot", "", f"{RECEIVED} AND transferred = 0", FROM_LOT),
    *(
        Case("merged_members_have_nothing", "member_head", change, where, "member_id::text")
        for change, where in (
            ("merged_into = NULL", "merged_into IS NOT NULL"),
            ("merged_into = member_id", "merged_into IS NULL"),
            ("merged_into = member_id", "merged_into IS NOT NULL"),
            ("available = 1", "merged_into IS NOT NULL"),
            ("pending = 1", "merged_into IS NOT NULL"),
            ("held = 1", "merged_into IS NOT NULL"),
            ("deficit = 1", "merged_into IS NOT NULL"),
        )
    ),
    *(
        Case("claims_are_handed_over_whole", "deficit", change, CLAIM, DEFICIT)
        for change in (
            "claimant_id = gen_random_uuid()",
            "agreement_id = gen_random_uuid()",
            "lot_id = gen_random_uuid()",
            "claimed_at = claimed_at - interval '1 s'",
            "sequence = sequence + 1",
            "from_deficit_id = gen_random_uuid()",
            "from_member_id = gen_random_uuid()",
            "transaction_id = gen_random_uuid()",
        )
    ),
    *(
        Case(
            "claims_are_handed_over_whole",
            "deficit",
            change,
            CLAIM,
            "concat_ws('/', from_member_id, from_deficit_id)",
        )
        for change in ("points = points + 1", "")
    ),
    *(
        Case(
            "claims_are_of_who_is_merged",
            "deficit",
            "(from_member_id, from_deficit_id) = (SELECT member_id, deficit_id FROM ledger.deficit o"
            f" WHERE {other})",
            DONE.format("'unmerge_in'"),
            DEFICIT,
        )
        for other in (
            "o.deficit_id = t.deficit_id",  # its own ring
            "o.member_id = t.member_id AND from_deficit_id IS NULL",
            "o.member_id <> t.member_id AND from_deficit_id IS NOT NULL AND open_points > 0",
        )
    ),
    Case(
        "claims_are_of_who_is_merged",
        "member_head",
        "merged_into = NULL",
        "member_id IN (SELECT from_member_id FROM ledger.deficit WHERE open_points > 0)",
        "merged_into::text",
    ),
    *(
        Case("operators_acts_say_whose_they_are", "operator_act", change, DONE.format(kinds), names)
        for change, left in (
            ("transaction_id = gen_random_uuid()", "member_id::text"),
            (AN_ISSUE, "member_id::text"),
            ("business_date = business_date - 1", "transaction_id::text"),
            ("member_id = gen_random_uuid()", "transaction_id::text"),
        )
        # A transfer may do without a row; the row without its transaction is found all the same.
        for kinds, names in (("'merge_in', 'unmerge_out'", TRANSACTION), ("'transfer_out'", left))
    ),
    Case("operators_acts_say_whose_they_are", "operator_act", "", DONE.format("'merge_in'"), TRANSACTION),
    Case("operators_acts_say_whose_they_are", "operator_act", "", DONE.format("'unmerge_out'"), TRANSACTION),
    *(
        posted("operators_acts_say_whose_they_are", change, where)
        for change, where in (
            ("idempotency_key = NULL", "kind = 'merge_in' AND idempotency_key IS NOT NULL"),
            ("idempotency_key = 'k'", "kind = 'merge_in' AND idempotency_key IS NULL"),
            ("idempotency_key = 'k'", "kind = 'unmerge_out' AND idempotency_key IS NULL"),
            ("kind = 'merge_in'", "kind = 'issue'"),
        )
    ),
    *(
        Case("adjustments_are_posted_as_proposed", "adjustment", change, GIVEN, ADJUSTMENT)
        for change in (
            "points = points + 1",
            "points = -points",
            "reason = 'fraud'",
            "issuer_id = gen_random_uuid()",
            "funding_plan_id = NULL",
            "decided_at = decided_at + interval '1 s'",
            "decided_by = proposed_by",
            "state = 'rejected'",
            "transaction_id = gen_random_uuid()",
            "transaction_id = NULL",
            "adjustment_id = gen_random_uuid()",
        )
    ),
    posted(
        "adjustments_are_posted_as_proposed", "kind = 'adjust_in'", "kind = 'issue'", "transaction_id::text"
    ),
    Case("adjustments_are_posted_as_proposed", "adjustment", "", "state = 'posted'", "transaction_id::text"),
    Case("keys_remember_who_was_named", "idempotency", "named_id = NULL", NAMED, KEY),
    Case("keys_remember_who_was_named", "idempotency", "named_id = gen_random_uuid()", NAMED, KEY),
    Case("keys_remember_who_was_named", "idempotency", "named_id = gen_random_uuid()", UNNAMED, KEY),
    posted(
        "keys_remember_who_was_named",
        "recorded_at = '2020-01-01'",
        f"transaction_id IN (SELECT transaction_id FROM ledger.idempotency WHERE {NAMED})",
        "member_id::text",
    ),
    Case(
        "entries_sum_to_zero",
        "entry",
        "lot_id = gen_random_uuid()",
        "bucket = 'burned'",
        TRANSACTION,
    ),
    Case("points_come_and_go_in_time", "lot", "expires_at = issued_at", GIVER, "member_id::text"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_damage_is_seen_and_the_row_is_named(damage: Damage, case: Case) -> None:
    chosen = f"FROM ledger.{case.table} WHERE {case.where}"
    [(row, partition, names)] = damage.connection.execute(
        text(f"SELECT ctid::text, tableoid::regclass::text, {case.names} {chosen} ORDER BY 3 LIMIT 1")
    ).all()
    if case.change:
        damage.do(f"UPDATE {partition} AS t SET {case.change} WHERE ctid = '{row}'")
    else:
        damage.do(f"DELETE FROM {partition} WHERE ctid = '{row}'")

    named = {finding.id for finding in CHECKS[case.check](damage.session)}

    if case.change.startswith("adjustment_id"):
        names = names.partition("/")[0]  # it has another name now
    assert any(names in found for found in named), f"{case.check} named {named}, not {names}"


def test_every_check_of_these_has_a_damage_that_it_sees() -> None:
    ours = {check.__name__ for check in AUDIT if check.__module__ in {holds.__name__, handovers.__name__}}
    assert ours | {"keys_remember_who_was_named"} <= {case.check for case in CASES}
