"""Members: the balance that they see is what their lots and deficits make it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def heads_agree_with_lots(session: Session) -> Iterator[Finding]:
    """Invariant 3: a balance is the sum of the member's lots, a deficit that of the open claims."""
    query = """
    WITH lots AS (
        SELECT member_id, sum(available)::bigint AS available, sum(pending)::bigint AS pending,
                sum(held)::bigint AS held
          FROM ledger.lot
         GROUP BY member_id
    ), claims AS (
        SELECT member_id, sum(open_points)::bigint AS deficit FROM ledger.deficit GROUP BY member_id
    ), compared AS (
        SELECT h.member_id,
               ARRAY[h.available, h.pending, h.held, h.deficit] AS stored,
               ARRAY[coalesce(l.available, 0), coalesce(l.pending, 0), coalesce(l.held, 0),
                       coalesce(c.deficit, 0)]
                   AS summed
          FROM ledger.member_head h
          LEFT JOIN lots l USING (member_id)
          LEFT JOIN claims c USING (member_id)
    )
    SELECT member_id::text AS id,
           format('available, pending, held, deficit are stored as %s, lots and claims make %s',
                  array_to_string(stored, ', '), array_to_string(summed, ', ')) AS message
      FROM compared
     WHERE stored <> summed OR 0 > ANY (stored)
     ORDER BY 1
    """
    return findings(heads_agree_with_lots, session, subject="member_head", query=query)


def heads_know_what_is_due(session: Session) -> Iterator[Finding]:
    """Nothing falls due before the moment that the head remembers, or points would lapse unseen."""
    query = """
    WITH due AS (
        SELECT member_id, min(due_at) AS due_at
          FROM (SELECT member_id, least(CASE WHEN pending > 0 THEN matures_at END,
                                        CASE WHEN available > 0 THEN expires_at END) AS due_at
                  FROM ledger.lot
                 UNION ALL
                SELECT member_id, lapses_at FROM ledger.hold WHERE state = 'open') AS each
         GROUP BY member_id
    )
    SELECT h.member_id::text AS id,
           format('something falls due at %s, the head looks again at %s', d.due_at,
                  coalesce(h.next_due_at::text, 'no time')) AS message
      FROM due d
      JOIN ledger.member_head h USING (member_id)
     WHERE d.due_at IS NOT NULL AND (h.next_due_at IS NULL OR h.next_due_at > d.due_at)
     ORDER BY 1
    """
    return findings(heads_know_what_is_due, session, subject="member_head", query=query)


def heads_remember_the_last_recording(session: Session) -> Iterator[Finding]:
    """The head's last recording is that of the member's last transaction."""
    query = """
    WITH last AS (
        SELECT member_id, max(recorded_at) AS recorded_at FROM ledger.transaction GROUP BY member_id
    )
    SELECT h.member_id::text AS id,
           format('remembers a recording at %s, the last transaction has %s',
                  coalesce(h.last_recorded_at::text, 'no time'), coalesce(l.recorded_at::text, 'none'))
                          AS message
      FROM ledger.member_head h
      LEFT JOIN last l USING (member_id)
     WHERE h.last_recorded_at IS DISTINCT FROM l.recorded_at
     ORDER BY 1
    """
    return findings(heads_remember_the_last_recording, session, subject="member_head", query=query)


def rows_belong_to_members(session: Session) -> Iterator[Finding]:
    """Every member has one head; and whatever names a member names one that is enrolled."""
    query = """
    SELECT concat('member ', m.member_id) AS id, 'has no head' AS message
      FROM ledger.member m
      LEFT JOIN ledger.member_head h USING (member_id)
     WHERE h.member_id IS NULL
     UNION ALL
    SELECT concat(named.what, ' ', named.member_id), format('%s rows, and no such member', count(*))
      FROM (SELECT 'member_head' AS what, member_id FROM ledger.member_head
             UNION ALL SELECT 'identifier', member_id FROM ledger.identifier
             UNION ALL SELECT 'identifier_change', member_id FROM ledger.identifier_change
             UNION ALL SELECT 'member_block', member_id FROM ledger.member_block
             UNION ALL SELECT 'operator_act', member_id FROM ledger.operator_act
             UNION ALL SELECT 'lot', member_id FROM ledger.lot
             UNION ALL SELECT 'transaction', member_id FROM ledger.transaction
             UNION ALL SELECT 'hold', member_id FROM ledger.hold
             UNION ALL SELECT 'deficit', member_id FROM ledger.deficit
             UNION ALL SELECT 'idempotency', member_id FROM ledger.idempotency
             UNION ALL SELECT 'receipt', member_id FROM ledger.receipt
             UNION ALL SELECT 'review', member_id FROM ledger.review
             UNION ALL SELECT 'adjustment', member_id FROM ledger.adjustment
             UNION ALL SELECT 'pool', head_id FROM ledger.pool
             UNION ALL SELECT 'pool_member', member_id FROM ledger.pool_member
             UNION ALL SELECT 'confirmation', member_id FROM ledger.confirmation) AS named
      LEFT JOIN ledger.member m USING (member_id)
     WHERE m.member_id IS NULL
     GROUP BY named.what, named.member_id
     ORDER BY 1
    """
    return findings(rows_belong_to_members, session, subject="member", query=query)


def deficits_agree_with_entries(session: Session) -> Iterator[Finding]:
    """Invariant 3: a claim is what a reversal could not recover, less what recoveries have paid since."""
    query = """
    WITH derived AS (
        SELECT member_id, deficit_id,
               coalesce(-sum(points) FILTER (WHERE bucket = 'available' AND points < 0), 0)::bigint AS points,
               coalesce(-sum(points) FILTER (WHERE bucket = 'available'), 0)::bigint AS open_points
          FROM ledger.entry
         WHERE deficit_id IS NOT NULL
         GROUP BY member_id, deficit_id
    )
    SELECT concat_ws('/', member_id, deficit_id) AS id,
           CASE WHEN s.points IS NULL THEN 'it has entries and is not there'
                WHEN d.points IS NULL THEN 'it has no entries'
                ELSE format('%s points, %s of them open; its entries make %s and %s',
                            s.points, s.open_points, d.points, d.open_points)
           END AS message
      FROM ledger.deficit s
      FULL JOIN derived d USING (member_id, deficit_id)
     WHERE (s.points, s.open_points) IS DISTINCT FROM (d.points, d.open_points)
        OR s.open_points NOT BETWEEN 0 AND s.points
     ORDER BY 1
    """
    return findings(deficits_agree_with_entries, session, subject="deficit", query=query)


def deficits_come_from_reversed_issues(session: Session) -> Iterator[Finding]:
    """A claim is its lot's issuer's, and arose when that issuer reversed the issue of that lot."""
    query = """
    SELECT concat_ws('/', d.member_id, d.deficit_id) AS id,
           CASE WHEN t.transaction_id IS NULL THEN
                    format('names the reversal %s/%s, which is not there', d.business_date, d.transaction_id)
                WHEN t.kind <> 'reverse_issue' THEN format('arose in a %s', t.kind)
                WHEN l.lot_id IS NULL THEN format('names lot %s, which is not there', d.lot_id)
                WHEN t.reverses_id <> l.transaction_id THEN
                    format('its reversal is not one of the issue of lot %s', d.lot_id)
                WHEN d.sequence <> t.sequence THEN
                    format('age %s, its reversal is number %s', d.sequence, t.sequence)
                ELSE format('claimed by %s, reversed by %s, issued by %s', d.claimant_id, t.partner_id,
                        l.issuer_id)
           END AS message
      FROM (SELECT * FROM ledger.deficit WHERE from_deficit_id IS NULL) d
      LEFT JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
      LEFT JOIN ledger.lot l ON l.member_id = d.member_id AND l.lot_id = d.lot_id
     WHERE t.transaction_id IS NULL OR l.lot_id IS NULL OR t.kind <> 'reverse_issue'
        OR t.reverses_id <> l.transaction_id
        OR d.claimant_id <> t.partner_id OR d.claimant_id <> l.issuer_id OR d.sequence <> t.sequence
     ORDER BY 1
    """
    return findings(deficits_come_from_reversed_issues, session, subject="deficit", query=query)


def recoveries_pay_their_claimant(session: Session) -> Iterator[Finding]:
    """A recovery names the partner and the terms of the claim that it pays, and burns as much as it pays."""
    query = """
    WITH paid AS (
        SELECT t.member_id, t.business_date, t.transaction_id, t.partner_id, t.agreement_id,
               coalesce(sum(e.points) FILTER (WHERE e.bucket = 'burned'), 0) AS burned,
               coalesce(sum(e.points) FILTER (WHERE e.deficit_id IS NOT NULL AND e.bucket = 'available'),
                       0) AS paid,
               count(DISTINCT e.deficit_id) AS claims,
               (array_agg(e.deficit_id) FILTER (WHERE e.deficit_id IS NOT NULL))[1] AS deficit_id
          FROM ledger.transaction t
          LEFT JOIN ledger.entry e USING (member_id, business_date, transaction_id)
         WHERE t.kind = 'recovery'
         GROUP BY t.member_id, t.business_date, t.transaction_id, t.partner_id, t.agreement_id
    )
    SELECT concat_ws('/', p.member_id, p.business_date, p.transaction_id) AS id,
           CASE WHEN p.claims <> 1 THEN format('pays %s claims', p.claims)
                WHEN p.burned <> p.paid THEN format('burns %s points and pays %s', p.burned, p.paid)
                ELSE format('for partner %s under %s, the claim is that of %s under %s',
                            p.partner_id, p.agreement_id, d.claimant_id, d.agreement_id)
           END AS message
      FROM paid p
      LEFT JOIN ledger.deficit d USING (member_id, deficit_id)
     WHERE p.claims <> 1 OR p.burned <> p.paid
        OR (p.partner_id, p.agreement_id) IS DISTINCT FROM (d.claimant_id, d.agreement_id)
     ORDER BY 1
    """
    return findings(recoveries_pay_their_claimant, session, subject="transaction", query=query)


def members_are_blocked_as_their_history_says(session: Session) -> Iterator[Finding]:
    """Blocks and their lifting take turns without gap, in time, and the last is how the member stands."""
    query = """
    WITH history AS (
        SELECT member_id, number, blocked, changed_at,
               row_number() OVER own AS nth, lag(changed_at) OVER own AS since,
               lead(number) OVER own IS NULL AS is_last
          FROM ledger.member_block
        WINDOW own AS (PARTITION BY member_id ORDER BY number)
    )
    SELECT h.member_id::text AS id,
           format('is %s, and line %s of the history says %s at %s',
                  CASE WHEN h.blocked THEN 'blocked' ELSE 'not blocked' END,
                  coalesce(b.number::text, 'no'), coalesce(b.blocked::text, 'nothing'),
                  coalesce(b.changed_at::text, 'no time')) AS message
      FROM ledger.member_head h
      LEFT JOIN history b USING (member_id)
     WHERE b.number <> b.nth OR b.blocked <> (b.nth % 2 = 1) OR b.changed_at < b.since
        OR (b.is_last AND b.blocked <> h.blocked)
        OR (b.member_id IS NULL AND h.blocked)
     ORDER BY 1
    """
    return findings(members_are_blocked_as_their_history_says, session, subject="member_head", query=query)
