"""The audit: every invariant of the books, proved again from the stored rows.

It shares no code with what writes them, not even the tables' definitions: a mistake in one place
must not vouch for itself. Each check is a function; `AUDIT` is all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from coalition.audit import (
    expiries,
    guards,
    handovers,
    holds,
    identifiers,
    keys,
    lots,
    members,
    people,
    pools,
    settlements,
    transactions,
    vouchers,
    windows,
)
from coalition.audit.chain import CHAIN
from coalition.audit.finding import Check, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.orm import Session

__all__ = ["AUDIT", "CHAIN", "TERMS", "Check", "Finding", "run_audit"]

FINDINGS_PER_CHECK: Final = 100

AUDIT: Final[tuple[Check, ...]] = (
    transactions.entries_sum_to_zero,
    transactions.all_entries_sum_to_zero,
    transactions.transactions_move_what_they_say,
    transactions.entries_fit_their_transactions_kind,
    transactions.sequences_have_no_gap,
    transactions.reversals_name_what_they_undo,
    transactions.reversals_use_the_lots_they_undo,
    transactions.reversals_keep_to_their_policy,
    lots.lots_conserve_their_points,
    lots.lots_agree_with_entries,
    lots.lots_have_their_issue,
    lots.entries_carry_their_lots_terms,
    lots.points_come_and_go_in_time,
    expiries.lots_keep_the_day_they_came_with,
    lots.terms_held_when_it_occurred,
    lots.agreements_belong_to_who_acts,
    lots.funding_parts_sum_to_a_million,
    members.heads_agree_with_lots,
    members.heads_know_what_is_due,
    members.heads_remember_the_last_recording,
    members.rows_belong_to_members,
    members.deficits_agree_with_entries,
    members.deficits_come_from_reversed_issues,
    members.recoveries_pay_their_claimant,
    members.members_are_blocked_as_their_history_says,
    holds.holds_are_authorized,
    holds.holds_end_as_they_say,
    holds.holds_keep_their_lots,
    holds.recalls_come_from_reversed_issues,
    handovers.both_sides_name_each_other,
    handovers.received_lots_lead_back,
    handovers.given_points_are_received,
    handovers.merged_members_have_nothing,
    handovers.claims_are_handed_over_whole,
    handovers.claims_are_of_who_is_merged,
    handovers.operators_acts_say_whose_they_are,
    handovers.adjustments_are_posted_as_proposed,
    pools.places_agree_with_heads,
    pools.pools_keep_their_rules,
    pools.pools_lend_among_their_members,
    pools.what_a_pool_gave_is_spent_or_went_back,
    keys.keys_have_one_effect,
    keys.keys_remember_the_answer,
    keys.keys_remember_who_was_named,
    keys.receipts_have_one_effect,
    keys.receipts_are_revised_after_reversal,
    keys.confirmations_are_used_once,
    vouchers.vouchers_are_the_members_word,
    vouchers.vouchers_are_redeemed_once,
    identifiers.identifiers_stand_as_their_history_says,
    guards.limits_of_members_held,
    guards.tallies_agree_with_the_journal,
    guards.reviews_became_what_they_say,
    guards.reviews_of_what_was_posted_say_so,
    windows.programme_has_one_open_window,
    windows.windows_follow_each_other,
    windows.postings_are_in_their_window,
    windows.sealed_windows_are_unchanged,
    windows.control_totals_hold,
    windows.default_partitions_are_empty,
    settlements.positions_sum_to_zero,
    settlements.positions_are_sums_of_lines,
    settlements.runs_agree_with_lines,
    settlements.runs_are_of_their_window,
    settlements.lines_are_rounded_once,
    settlements.lines_are_priced_from_entries,
    settlements.liabilities_roll_forward,
    people.identifiers_can_be_read,
    people.words_are_sealed,
    people.sealed_values_are_members,
    people.sealed_values_open,
    people.requests_are_forgotten_with_their_key,
    people.erased_members_are_gone,
)
"""Every check, in the order in which they run and report."""


TERMS: Final[tuple[Check, ...]] = (
    expiries.lots_lapse_by_their_terms,
    lots.issues_earn_what_their_terms_give,
)
"""What holds where issues went through their partners' terms, as all do but the kernel's own tests'."""


def run_audit(
    session: Session,
    *,
    checks: Sequence[Check] = AUDIT,
    per_check: int = FINDINGS_PER_CHECK,
    started: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """What is wrong with the books; nothing, if all is well.

    The session must be a snapshot (`Database.reading`), so that all checks look at the same moment
    while postings go on. Of each check at most `per_check` findings are kept, with one more that
    counts the rest: memory stays bounded however large the damage. `started` hears each check's name.
    """
    isolation = session.scalar(text("SHOW transaction_isolation"))
    assert isolation in {"repeatable read", "serializable"}, "checks that see different moments prove nothing"
    # The bounds of a posting's statements are not for one that reads the whole journal.
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    session.execute(text("SET LOCAL work_mem = '64MB'"))
    # Every check reads whole tables. Where the planner has no statistics yet (partitions are new each month)
    # it may take a journal for a few rows and walk it once for each of them: a year's audit never ended.
    session.execute(text("SET LOCAL enable_nestloop = off"))
    # Nor does it sort well what it takes for few rows: hashing needs no such guess.
    session.execute(text("SET LOCAL enable_mergejoin = off"))
    # The checks side by side have the cores already, and a worker more would have memory of its own.
    session.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))
    session.execute(text("SET LOCAL jit = off"))
    found: list[Finding] = []
    for check in checks:
        started(check.__name__)
        found.extend(_capped(check, session, per_check))
    return found


def _capped(check: Check, session: Session, per_check: int) -> Iterator[Finding]:
    count = 0
    subject = ""
    for finding in check(session):
        count += 1
        subject = finding.subject
        if count <= per_check:
            yield finding
    if count > per_check:
        yield Finding(check=check.__name__, subject=subject, id="", message=f"and {count - per_check:,} more")
