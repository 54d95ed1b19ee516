"""Transactions and their entries: nothing is made or lost, and history is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def entries_sum_to_zero(session: Session) -> Iterator[Finding]:
    """Invariant 1: what a transaction takes from one bucket of a lot or claim it puts into another."""
    query = """
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           format('its %s entries of %s sum to %s', count(*), coalesce(lot_id, deficit_id), sum(points))
               AS message
      FROM ledger.entry
     GROUP BY member_id, business_date, transaction_id, lot_id, deficit_id
    HAVING sum(points) <> 0
     ORDER BY 1
    """
    return findings(entries_sum_to_zero, session, subject="transaction", query=query)


def all_entries_sum_to_zero(session: Session) -> Iterator[Finding]:
    """Invariant 1: over the whole programme no points were made or lost outside issue and expiry."""
    query = """
    SELECT NULL::text AS id, format('all entries together sum to %s', sum(points)) AS message
      FROM ledger.entry
    HAVING sum(points) <> 0
    """
    return findings(all_entries_sum_to_zero, session, subject="entry", query=query)


def transactions_move_what_they_say(session: Session) -> Iterator[Finding]:
    """A transaction's points are what its entries move, and the balance after it is the sum of all up to it.

    It moves none only in an issue, its reversal, or a merge.
    """
    # Each kind is measured in the bucket that only it fills, or, undone, empties. Of the balance each step is
    # asked: it is that after the transaction before, the first of which is nothing, and what the entries add.
    query = """
    WITH measured (kind, bucket, direction) AS (VALUES
        ('issue', 'issued', -1), ('adjust_in', 'issued', -1),
        ('redeem', 'burned', 1), ('capture', 'burned', 1), ('recovery', 'burned', 1),
        ('reverse_redemption', 'burned', -1),
        ('authorize', 'held', 1), ('void', 'held', -1), ('lapse', 'held', -1),
        ('transfer_out', 'transferred', 1), ('transfer_in', 'received', -1),
        ('merge_out', 'transferred', 1), ('merge_in', 'received', -1),
        ('unmerge_out', 'transferred', 1), ('unmerge_in', 'transferred', -1),
        ('pool_out', 'transferred', 1), ('pool_in', 'received', -1),
        ('unpool_out', 'transferred', 1), ('unpool_in', 'transferred', -1),
        ('adjust_out', 'reversed', 1), ('reverse_issue', 'reversed', 1),
        ('expire', 'expired', 1), ('mature', 'pending', -1)
    ), moved AS (
        SELECT member_id, business_date, transaction_id,
               sum(points) FILTER (WHERE bucket = 'issued')::bigint AS issued,
               sum(points) FILTER (WHERE bucket = 'burned')::bigint AS burned,
               sum(points) FILTER (WHERE bucket = 'expired')::bigint AS expired,
               sum(points) FILTER (WHERE bucket = 'reversed' AND lot_id IS NOT NULL)::bigint AS reversed,
               sum(points) FILTER (WHERE bucket = 'transferred')::bigint AS transferred,
               sum(points) FILTER (WHERE bucket = 'received')::bigint AS received,
               sum(points) FILTER (WHERE bucket = 'pending')::bigint AS pending,
               sum(points) FILTER (WHERE bucket = 'held')::bigint AS held,
               sum(points) FILTER (WHERE bucket = 'available' AND lot_id IS NOT NULL)::bigint AS available,
               -sum(points) FILTER (WHERE bucket = 'available' AND deficit_id IS NOT NULL)::bigint AS deficit
          FROM ledger.entry
         GROUP BY member_id, business_date, transaction_id
    ), ordered AS (
        SELECT member_id, business_date, transaction_id, kind, points, amount,
               available_after, pending_after, held_after, deficit_after,
               lag(available_after, 1, 0::bigint) OVER earlier AS available_before,
               lag(pending_after, 1, 0::bigint) OVER earlier AS pending_before,
               lag(held_after, 1, 0::bigint) OVER earlier AS held_before,
               lag(deficit_after, 1, 0::bigint) OVER earlier AS deficit_before
          FROM ledger.transaction
        WINDOW earlier AS (PARTITION BY member_id ORDER BY sequence)
    ), compared AS (
        SELECT t.*,
               coalesce(k.direction * CASE k.bucket
                   WHEN 'issued' THEN m.issued
                   WHEN 'burned' THEN m.burned
                   WHEN 'expired' THEN m.expired
                   WHEN 'reversed' THEN m.reversed
                   WHEN 'transferred' THEN m.transferred
                   WHEN 'received' THEN m.received
                   WHEN 'held' THEN m.held
                   WHEN 'pending' THEN m.pending
               END, 0) AS by_entries,
               t.available_before + coalesce(m.available, 0) AS available_summed,
               t.pending_before + coalesce(m.pending, 0) AS pending_summed,
               t.held_before + coalesce(m.held, 0) AS held_summed,
               t.deficit_before + coalesce(m.deficit, 0) AS deficit_summed
          FROM ordered t
          LEFT JOIN measured k USING (kind)
          LEFT JOIN moved m USING (member_id, business_date, transaction_id)
    )
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           format('%s of %s points, its entries move %s; available, pending, held, deficit after it are'
                  ' stored as %s, the balance before it and its entries make %s', kind, points, by_entries,
                  concat_ws(', ', available_after, pending_after, held_after, deficit_after),
                  concat_ws(', ', available_summed, pending_summed, held_summed, deficit_summed)) AS message
      FROM compared
     WHERE points <> by_entries
        OR (points = 0 AND kind NOT IN ('issue', 'reverse_issue', 'merge_out', 'merge_in', 'unmerge_out',
                                        'unmerge_in')
            -- Of money that is given back bit by bit, a bit can be less than a point.
            AND NOT (kind = 'reverse_redemption' AND amount IS NOT NULL))
        OR available_after <> available_summed OR pending_after <> pending_summed
        OR held_after <> held_summed OR deficit_after <> deficit_summed
     ORDER BY 1
    """
    return findings(transactions_move_what_they_say, session, subject="transaction", query=query)


def entries_fit_their_transactions_kind(session: Session) -> Iterator[Finding]:
    """An entry is a leg of a transaction of its member in its window, and moves points as that kind does.

    Each kind moves them between its own buckets, in its own direction, and no others.
    """
    query = """
    WITH allowed (kind, bucket, direction, holder) AS (VALUES
        ('issue', 'issued', -1, 'lot'), ('issue', 'pending', 1, 'lot'), ('issue', 'available', 1, 'lot'),
        ('redeem', 'available', -1, 'lot'), ('redeem', 'burned', 1, 'lot'),
        ('authorize', 'available', -1, 'lot'), ('authorize', 'held', 1, 'lot'),
        ('capture', 'held', -1, 'lot'), ('capture', 'burned', 1, 'lot'), ('capture', 'available', 1, 'lot'),
        ('void', 'held', -1, 'lot'), ('void', 'available', 1, 'lot'),
        ('lapse', 'held', -1, 'lot'), ('lapse', 'available', 1, 'lot'),
        ('transfer_out', 'available', -1, 'lot'), ('transfer_out', 'transferred', 1, 'lot'),
        ('transfer_in', 'received', -1, 'lot'), ('transfer_in', 'available', 1, 'lot'),
        ('merge_out', 'pending', -1, 'lot'), ('merge_out', 'available', -1, 'lot'),
        ('merge_out', 'transferred', 1, 'lot'),
        ('merge_out', 'available', 1, 'deficit'), ('merge_out', 'reversed', -1, 'deficit'),
        ('merge_in', 'received', -1, 'lot'), ('merge_in', 'pending', 1, 'lot'),
        ('merge_in', 'available', 1, 'lot'),
        ('merge_in', 'available', -1, 'deficit'), ('merge_in', 'reversed', 1, 'deficit'),
        ('unmerge_out', 'pending', -1, 'lot'), ('unmerge_out', 'available', -1, 'lot'),
        ('unmerge_out', 'transferred', 1, 'lot'),
        ('unmerge_out', 'available', 1, 'deficit'), ('unmerge_out', 'reversed', -1, 'deficit'),
        ('unmerge_in', 'transferred', -1, 'lot'), ('unmerge_in', 'pending', 1, 'lot'),
        ('unmerge_in', 'available', 1, 'lot'),
        ('unmerge_in', 'available', -1, 'deficit'), ('unmerge_in', 'reversed', 1, 'deficit'),
        ('pool_out', 'available', -1, 'lot'), ('pool_out', 'transferred', 1, 'lot'),
        ('pool_in', 'received', -1, 'lot'), ('pool_in', 'available', 1, 'lot'),
        ('unpool_out', 'available', -1, 'lot'), ('unpool_out', 'transferred', 1, 'lot'),
        ('unpool_in', 'transferred', -1, 'lot'), ('unpool_in', 'available', 1, 'lot'),
        ('adjust_in', 'issued', -1, 'lot'), ('adjust_in', 'available', 1, 'lot'),
        ('adjust_out', 'available', -1, 'lot'), ('adjust_out', 'reversed', 1, 'lot'),
        ('recovery', 'available', -1, 'lot'), ('recovery', 'burned', 1, 'lot'),
        ('recovery', 'available', 1, 'deficit'), ('recovery', 'reversed', -1, 'deficit'),
        ('mature', 'pending', -1, 'lot'), ('mature', 'available', 1, 'lot'),
        ('expire', 'available', -1, 'lot'), ('expire', 'expired', 1, 'lot'),
        ('reverse_issue', 'pending', -1, 'lot'), ('reverse_issue', 'available', -1, 'lot'),
        ('reverse_issue', 'reversed', 1, 'lot'),
        ('reverse_issue', 'available', -1, 'deficit'), ('reverse_issue', 'reversed', 1, 'deficit'),
        ('reverse_redemption', 'burned', -1, 'lot'), ('reverse_redemption', 'available', 1, 'lot')
    )
    SELECT concat_ws('/', e.member_id, e.business_date, e.transaction_id, e.ordinal) AS id,
           CASE WHEN t.kind IS NULL THEN
                    format('%s points in %s, and no such transaction', e.points, e.bucket)
                ELSE format('%s of %s points in %s is no leg of kind %s',
                            CASE WHEN e.lot_id IS NULL THEN 'deficit' ELSE 'lot' END, e.points, e.bucket,
                            t.kind)
           END AS message
      FROM ledger.entry e
      LEFT JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
      LEFT JOIN allowed a
        ON a.kind = t.kind AND a.bucket = e.bucket AND a.direction = sign(e.points)
           AND a.holder = CASE WHEN e.lot_id IS NULL THEN 'deficit' ELSE 'lot' END
     WHERE a.kind IS NULL
     ORDER BY 1
    """
    return findings(entries_fit_their_transactions_kind, session, subject="entry", query=query)


def sequences_have_no_gap(session: Session) -> Iterator[Finding]:
    """A member's transactions are numbered 1, 2, 3 …, in time, up to the number that the head remembers.

    In that order neither the time of recording nor the window goes back.
    """
    query = """
    WITH ordered AS (
        SELECT member_id, business_date, transaction_id, sequence, recorded_at,
               lag(sequence, 1, 0::bigint) OVER earlier AS before,
               lag(recorded_at) OVER earlier AS recorded_before,
               lag(business_date) OVER earlier AS dated_before
          FROM ledger.transaction
        WINDOW earlier AS (PARTITION BY member_id ORDER BY sequence)
    ), last AS (
        SELECT member_id, max(sequence) AS sequence FROM ledger.transaction GROUP BY member_id
    )
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           CASE WHEN sequence = before THEN format('number %s was given twice', sequence)
                WHEN sequence <> before + 1 THEN format('number %s follows number %s', sequence, before)
                ELSE format('number %s was recorded at %s in window %s, the one before it at %s in %s',
                            sequence, recorded_at, business_date, recorded_before, dated_before)
           END AS message
      FROM ordered
     WHERE sequence <> before + 1 OR recorded_at < recorded_before OR business_date < dated_before
     UNION ALL
    SELECT h.member_id::text,
           format('the head remembers number %s, the last transaction has %s',
                  h.last_sequence, coalesce(l.sequence, 0))
      FROM ledger.member_head h
      LEFT JOIN last l USING (member_id)
     WHERE h.last_sequence <> coalesce(l.sequence, 0)
     ORDER BY 1
    """
    return findings(sequences_have_no_gap, session, subject="transaction", query=query)


def reversals_name_what_they_undo(session: Session) -> Iterator[Finding]:
    """A reversal follows what it undoes, of the right kind, the same partner's; all together no more."""
    query = """
    SELECT concat_ws('/', r.member_id, r.business_date, r.transaction_id) AS id,
           CASE WHEN t.transaction_id IS NULL THEN
                    format('reverses %s/%s, which is not there', r.reverses_date, r.reverses_id)
                WHEN (r.kind = 'reverse_issue') <> (t.kind = 'issue')
                  OR t.kind NOT IN ('issue', 'redeem', 'capture') THEN
                    format('is a %s of a %s', r.kind, t.kind)
                WHEN t.sequence >= r.sequence THEN format('reverses number %s before it', t.sequence)
                WHEN t.partner_id <> r.partner_id THEN format('reverses what partner %s did', t.partner_id)
                WHEN t.agreement_id IS DISTINCT FROM r.agreement_id THEN
                    format('carries agreement %s, what it reverses carries %s', r.agreement_id,
                            t.agreement_id)
                WHEN r.amount IS NOT NULL AND t.amount IS NULL THEN
                    format('gives %s of money back of what was not posted as money', r.amount)
                ELSE format('undoes %s points and moves %s, what it reverses moved %s', r.undone_points,
                            r.points, t.points)
           END AS message
      FROM ledger.transaction r
      LEFT JOIN ledger.transaction t
        ON t.member_id = r.member_id AND t.business_date = r.reverses_date
                AND t.transaction_id = r.reverses_id
     WHERE r.reverses_id IS NOT NULL
       AND (t.transaction_id IS NULL
            OR (r.kind = 'reverse_issue') <> (t.kind = 'issue')
            OR t.kind NOT IN ('issue', 'redeem', 'capture')
            OR t.sequence >= r.sequence
            OR t.partner_id <> r.partner_id
            OR t.agreement_id IS DISTINCT FROM r.agreement_id
            OR (r.amount IS NOT NULL AND t.amount IS NULL)
            -- Without a key it takes what a hold released, which the reversal before it had counted.
            OR (r.idempotency_key IS NOT NULL AND r.points > r.undone_points)
            OR (r.idempotency_key IS NULL AND r.undone_points <> 0)
            OR (r.kind = 'reverse_redemption' AND r.points <> r.undone_points))
     UNION ALL
    SELECT concat_ws('/', r.member_id, r.reverses_date, r.reverses_id),
           format('of its %s points %s were undone and %s moved back, and of its money %s of %s', t.points,
                  sum(r.undone_points), sum(r.points), coalesce(sum(r.amount), 0), coalesce(t.amount, 0))
      FROM ledger.transaction r
      JOIN ledger.transaction t
        ON t.member_id = r.member_id AND t.business_date = r.reverses_date
                AND t.transaction_id = r.reverses_id
     GROUP BY r.member_id, r.reverses_date, r.reverses_id, t.points, t.amount
    HAVING sum(r.undone_points) > t.points OR sum(r.points) > t.points OR sum(r.amount) > t.amount
        -- What earned nothing is taken back once, but for its money, which goes back bit by bit.
        OR (t.points = 0 AND count(*) FILTER (WHERE r.amount IS NULL) > 1)
     ORDER BY 1
    """
    return findings(reversals_name_what_they_undo, session, subject="transaction", query=query)


def reversals_use_the_lots_they_undo(session: Session) -> Iterator[Finding]:
    """Reversed redemptions give each lot no more than it gave; a reversed issue touches its own lot only."""
    query = """
    WITH reversal AS (
        SELECT member_id, business_date, transaction_id, kind, reverses_date, reverses_id,
               CASE kind WHEN 'reverse_issue' THEN 'reversed' ELSE 'burned' END AS undoes,
               CASE kind WHEN 'reverse_issue' THEN 'issued' ELSE 'burned' END AS of_what
          FROM ledger.transaction
         WHERE reverses_id IS NOT NULL
    ), leg AS (
        SELECT r.member_id, r.reverses_date, r.reverses_id, r.kind, e.lot_id, e.points AS undone, 0 AS done
          FROM reversal r
          JOIN ledger.entry e USING (member_id, business_date, transaction_id)
         WHERE e.lot_id IS NOT NULL AND e.bucket = r.undoes
         UNION ALL
        SELECT r.member_id, r.reverses_date, r.reverses_id, r.kind, e.lot_id, 0, e.points
          FROM (SELECT DISTINCT member_id, reverses_date, reverses_id, kind, of_what FROM reversal) r
          JOIN ledger.entry e
            ON e.member_id = r.member_id AND e.business_date = r.reverses_date
               AND e.transaction_id = r.reverses_id
         WHERE e.lot_id IS NOT NULL AND e.bucket = r.of_what
    ), legs AS (
        SELECT member_id, reverses_date, reverses_id, kind, lot_id, sum(undone) AS undone, sum(done) AS done
          FROM leg
         GROUP BY member_id, reverses_date, reverses_id, kind, lot_id
    )
    SELECT concat_ws('/', member_id, reverses_date, reverses_id) AS id,
           format('its reversals move %s points of lot %s, itself it moved %s', undone, lot_id, done)
               AS message
      FROM legs
     WHERE CASE kind WHEN 'reverse_redemption' THEN -undone > done ELSE undone > -done END
     ORDER BY 1
    """
    return findings(reversals_use_the_lots_they_undo, session, subject="transaction", query=query)


def reversals_keep_to_their_policy(session: Session) -> Iterator[Finding]:
    """What came back, and what became a claim, is what the agreement's return policy allows."""
    query = """
    SELECT concat_ws('/', r.member_id, r.business_date, r.transaction_id) AS id,
           format('of %s points %s came back under %s, %s of them spendable, and %s became a claim',
                  r.undone_points, r.points, a.return_policy,
                  coalesce(-sum(e.points) FILTER (WHERE e.lot_id IS NOT NULL AND e.bucket = 'available'), 0),
                  coalesce(-sum(e.points) FILTER (WHERE e.deficit_id IS NOT NULL AND e.bucket = 'available'),
                           0)) AS message
      FROM ledger.transaction r
      JOIN ledger.transaction t
        ON t.member_id = r.member_id AND t.business_date = r.reverses_date
           AND t.transaction_id = r.reverses_id
      JOIN partners.agreement a ON a.agreement_id = t.agreement_id
      LEFT JOIN ledger.entry e
        ON e.member_id = r.member_id AND e.business_date = r.business_date
           AND e.transaction_id = r.transaction_id
     WHERE r.kind = 'reverse_issue' AND a.return_policy <> 'unlimited'
     GROUP BY r.member_id, r.business_date, r.transaction_id, r.points, r.undone_points, a.return_policy
    HAVING bool_or(e.deficit_id IS NOT NULL)
        OR (a.return_policy = 'pending_only'
            AND (r.points <> r.undone_points OR bool_or(e.bucket = 'available')))
     ORDER BY 1
    """
    return findings(reversals_keep_to_their_policy, session, subject="transaction", query=query)
