"""Points that changed hands, and those that an operator gave or took: each side agrees with the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def both_sides_name_each_other(session: Session) -> Iterator[Finding]:
    """What one member gave another received: the same points, in the same moment and window."""
    query = """
    SELECT concat_ws('/', t.member_id, t.business_date, t.transaction_id) AS id,
           CASE WHEN o.transaction_id IS NULL THEN
                    format('its other side %s/%s is not there', t.other_member_id, t.other_id)
                ELSE format('%s of %s points at %s; its other side is a %s of %s at %s, which names %s/%s',
                            t.kind, t.points, t.recorded_at, o.kind, o.points, o.recorded_at,
                            o.other_member_id, o.other_id)
           END AS message
      FROM ledger.transaction t
      LEFT JOIN ledger.transaction o
        ON o.member_id = t.other_member_id AND o.business_date = t.business_date
           AND o.transaction_id = t.other_id
     WHERE t.other_id IS NOT NULL
       AND ((o.other_member_id, o.other_id, o.points, o.recorded_at)
            IS DISTINCT FROM (t.member_id, t.transaction_id, t.points, t.recorded_at)
            OR t.member_id = t.other_member_id
            OR split_part(o.kind, '_', 1) <> split_part(t.kind, '_', 1) OR o.kind = t.kind)
     ORDER BY 1
    """
    return findings(both_sides_name_each_other, session, subject="transaction", query=query)


def received_lots_lead_back(session: Session) -> Iterator[Finding]:
    """Invariant 4: a received lot has the issuer, terms, maturity and expiry of the one that it came from."""
    # That one's expiry may have moved since, and only to later.
    query = """
    SELECT concat_ws('/', l.member_id, l.lot_id) AS id,
           CASE WHEN t.transaction_id IS NULL THEN
                    format('names the transaction %s/%s, which is not there', l.business_date,
                           l.transaction_id)
                WHEN s.lot_id IS NULL THEN
                    format('came from lot %s/%s, which is not there', l.from_member_id, l.from_lot_id)
                WHEN t.kind NOT IN ('transfer_in', 'merge_in', 'pool_in') THEN format('came in a %s', t.kind)
                WHEN t.other_member_id <> l.from_member_id THEN
                    format('came from %s in a %s from %s', l.from_member_id, t.kind, t.other_member_id)
                WHEN t.sequence <> l.sequence THEN
                    format('age %s, it came with number %s', l.sequence, t.sequence)
                ELSE format('issuer %s, agreement %s, plan %s, issued at %s, matures at %s, came with expiry'
                            ' %s; came from %s, %s, %s, %s, %s, and expiry %s to %s', l.issuer_id,
                            l.agreement_id, l.funding_plan_id, l.issued_at, l.matures_at, l.first_expires_at,
                            s.issuer_id, s.agreement_id, s.funding_plan_id, s.issued_at, s.matures_at,
                            s.first_expires_at, s.expires_at)
           END AS message
      FROM (SELECT * FROM ledger.lot WHERE from_lot_id IS NOT NULL) l
      LEFT JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
      LEFT JOIN ledger.lot s ON s.member_id = l.from_member_id AND s.lot_id = l.from_lot_id
     WHERE t.transaction_id IS NULL OR s.lot_id IS NULL
        OR t.kind NOT IN ('transfer_in', 'merge_in', 'pool_in')
        OR t.other_member_id <> l.from_member_id OR t.sequence <> l.sequence
        OR (l.issuer_id, l.agreement_id, l.funding_plan_id, l.issued_at, l.matures_at)
           IS DISTINCT FROM (s.issuer_id, s.agreement_id, s.funding_plan_id, s.issued_at, s.matures_at)
        OR coalesce(l.first_expires_at, 'infinity') NOT BETWEEN coalesce(s.first_expires_at, 'infinity')
                                                            AND coalesce(s.expires_at, 'infinity')
     ORDER BY 1
    """
    return findings(received_lots_lead_back, session, subject="lot", query=query)


def given_points_are_received(session: Session) -> Iterator[Finding]:
    """Invariant 2: what left a lot is in the lots that came from it, or came back from them."""
    query = """
    WITH returned AS (
        SELECT e.member_id, e.lot_id, sum(e.points) AS points
          FROM ledger.transaction t
          JOIN ledger.entry e USING (member_id, business_date, transaction_id)
         WHERE t.kind IN ('unmerge_out', 'unpool_out') AND e.bucket = 'transferred'
         GROUP BY e.member_id, e.lot_id
    ), received AS (
        SELECT l.from_member_id AS member_id, l.from_lot_id AS lot_id,
               sum(l.points - coalesce(r.points, 0)) AS points
          FROM ledger.lot l
          LEFT JOIN returned r USING (member_id, lot_id)
         WHERE l.from_lot_id IS NOT NULL
         GROUP BY l.from_member_id, l.from_lot_id
    ), given AS (
        -- What a lot that was itself received gave back is no gift.
        SELECT l.member_id, l.lot_id, l.transferred - coalesce(r.points, 0) AS points
          FROM ledger.lot l
          LEFT JOIN returned r USING (member_id, lot_id)
         WHERE l.transferred <> 0
    )
    SELECT concat_ws('/', member_id, lot_id) AS id,
           format('%s points were given away, %s of them received', coalesce(g.points, 0),
                  coalesce(r.points, 0)) AS message
      FROM given g
      FULL JOIN received r USING (member_id, lot_id)
     WHERE coalesce(g.points, 0) <> coalesce(r.points, 0)
     ORDER BY 1
    """
    return findings(given_points_are_received, session, subject="lot", query=query)


def merged_members_have_nothing(session: Session) -> Iterator[Finding]:
    """Who was merged, and not un-merged since, says into whom and has neither points nor debts."""
    # The key tells the merge itself from the hand-overs of a reversal that reaches through it.
    query = """
    WITH acts AS (
        SELECT c.member_id, k.kind, k.member_id AS survivor,
               row_number() OVER (PARTITION BY c.member_id ORDER BY c.sequence DESC) AS nth
          FROM ledger.transaction k
          JOIN ledger.transaction c
            ON c.member_id = k.other_member_id AND c.business_date = k.business_date
               AND c.transaction_id = k.other_id
         WHERE k.idempotency_key IS NOT NULL AND k.kind IN ('merge_in', 'unmerge_out')
    )
    SELECT h.member_id::text AS id,
           format('merged into %s, its journal says %s; available %s, pending %s, held %s, deficit %s',
                  coalesce(h.merged_into::text, 'nobody'),
                  coalesce(CASE a.kind WHEN 'merge_in' THEN a.survivor::text END, 'nobody'),
                  h.available, h.pending, h.held, h.deficit) AS message
      FROM ledger.member_head h
      LEFT JOIN acts a ON a.member_id = h.member_id AND a.nth = 1
     WHERE h.merged_into IS DISTINCT FROM CASE a.kind WHEN 'merge_in' THEN a.survivor END
        OR (h.merged_into IS NOT NULL
            AND (h.available <> 0 OR h.pending <> 0 OR h.held <> 0 OR h.deficit <> 0))
     ORDER BY 1
    """
    return findings(merged_members_have_nothing, session, subject="member_head", query=query)


def operators_acts_say_whose_they_are(session: Session) -> Iterator[Finding]:
    """Of each merge and un-merge it is known who did it, and of nothing else but some transfers."""
    # The key again: it is the survivor's, and of a transfer the giver's.
    query = """
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           CASE WHEN t.kind IS NULL THEN
                    format('%s did it, and it is no merge, un-merge or transfer under a key', a.acted_by)
                ELSE format('a %s that nobody did', t.kind)
           END AS message
      FROM ledger.operator_act a
      FULL JOIN (SELECT * FROM ledger.transaction
                  WHERE idempotency_key IS NOT NULL
                    AND kind IN ('merge_in', 'unmerge_out', 'transfer_out')) t
     USING (member_id, business_date, transaction_id)
     WHERE t.kind IS NULL OR (a.acted_by IS NULL AND t.kind <> 'transfer_out')
     ORDER BY 1
    """
    return findings(operators_acts_say_whose_they_are, session, subject="transaction", query=query)


def claims_are_handed_over_whole(session: Session) -> Iterator[Finding]:
    """A claim that came along in a merge is the one that it was, and that one ended by as much."""
    query = """
    WITH ended AS (
        SELECT e.member_id, e.deficit_id, sum(e.points) AS points
          FROM ledger.transaction t
          JOIN ledger.entry e USING (member_id, business_date, transaction_id)
         WHERE t.kind IN ('merge_out', 'unmerge_out') AND e.deficit_id IS NOT NULL
           AND e.bucket = 'available'
         GROUP BY e.member_id, e.deficit_id
    ), begun AS (
        SELECT from_member_id AS member_id, from_deficit_id AS deficit_id, sum(points) AS points
          FROM ledger.deficit
         WHERE from_deficit_id IS NOT NULL
         GROUP BY from_member_id, from_deficit_id
    )
    SELECT concat_ws('/', member_id, deficit_id) AS id,
           format('%s points of it were handed over, %s arrived', coalesce(e.points, 0),
                  coalesce(b.points, 0)) AS message
      FROM ended e
      FULL JOIN begun b USING (member_id, deficit_id)
     WHERE e.points IS DISTINCT FROM b.points
     UNION ALL
    SELECT concat_ws('/', d.member_id, d.deficit_id),
           CASE WHEN s.deficit_id IS NULL THEN
                    format('was claim %s/%s, which is not there', d.from_member_id, d.from_deficit_id)
                WHEN t.transaction_id IS NULL THEN 'came in a transaction that is not there'
                ELSE format('claimed by %s under %s for lot %s at %s, in a %s from %s; it was claimed by %s'
                            ' under %s for lot %s at %s', d.claimant_id, d.agreement_id, d.lot_id,
                            d.claimed_at, t.kind, t.other_member_id, s.claimant_id, s.agreement_id, s.lot_id,
                            s.claimed_at)
           END
      FROM (SELECT * FROM ledger.deficit WHERE from_deficit_id IS NOT NULL) d
      LEFT JOIN ledger.deficit s ON s.member_id = d.from_member_id AND s.deficit_id = d.from_deficit_id
      LEFT JOIN ledger.transaction t
        ON t.member_id = d.member_id AND t.business_date = d.business_date
           AND t.transaction_id = d.transaction_id
     WHERE (d.claimant_id, d.agreement_id, d.lot_id, d.claimed_at, d.sequence, d.from_member_id)
           IS DISTINCT FROM
           (s.claimant_id, s.agreement_id, s.lot_id, s.claimed_at, t.sequence, t.other_member_id)
        OR t.kind NOT IN ('merge_in', 'unmerge_in')
     ORDER BY 1
    """
    return findings(claims_are_handed_over_whole, session, subject="deficit", query=query)


def claims_are_of_who_is_merged(session: Session) -> Iterator[Finding]:
    """An open claim arose where it is, or came from one who is merged; what was given back had come along."""
    # Each claim is followed back to the one that it is the same as: where an un-merge gave it back, to the
    # one before that merge, of the same member.
    query = """
    WITH RECURSIVE moved AS (
        SELECT d.*, t.kind
          FROM ledger.deficit d
          JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
    ), back AS (
        SELECT member_id, deficit_id, member_id AS here, deficit_id AS claim, 0 AS undone
          FROM ledger.deficit
         WHERE from_deficit_id IS NOT NULL
         UNION ALL
        SELECT b.member_id, b.deficit_id, m.from_member_id, m.from_deficit_id,
               b.undone + CASE m.kind WHEN 'unmerge_in' THEN 1 ELSE -1 END
          FROM back b
          JOIN moved m ON m.member_id = b.here AND m.deficit_id = b.claim
         WHERE m.from_deficit_id IS NOT NULL AND (m.kind = 'unmerge_in' OR b.undone > 0)
    ) CYCLE here, claim SET again USING path, same AS (
        SELECT b.member_id, b.deficit_id, b.here, m.from_member_id AS brought_by
          FROM back b
          JOIN moved m ON m.member_id = b.here AND m.deficit_id = b.claim
         WHERE b.undone = 0 AND m.kind <> 'unmerge_in' AND NOT b.again
    )
    SELECT concat_ws('/', d.member_id, d.deficit_id) AS id,
           CASE WHEN s.here IS NULL THEN 'was given back, and no merge had taken it'
                WHEN s.here <> d.member_id THEN format('was given back, and is of %s', s.here)
                ELSE format('%s points are open; it came from %s, who is merged into %s', d.open_points,
                            s.brought_by, coalesce(h.merged_into::text, 'nobody'))
           END AS message
      FROM (SELECT * FROM ledger.deficit WHERE from_deficit_id IS NOT NULL) d
      LEFT JOIN same s ON s.member_id = d.member_id AND s.deficit_id = d.deficit_id
      LEFT JOIN ledger.member_head h ON h.member_id = s.brought_by
     WHERE s.here IS NULL OR s.here <> d.member_id
        OR (d.open_points > 0 AND s.brought_by IS NOT NULL AND h.merged_into IS DISTINCT FROM d.member_id)
     ORDER BY 1
    """
    return findings(claims_are_of_who_is_merged, session, subject="deficit", query=query)


def adjustments_are_posted_as_proposed(session: Session) -> Iterator[Finding]:
    """Each adjustment was posted as it was proposed, and none was posted that nobody proposed."""
    query = """
    SELECT concat_ws('/', coalesce(a.member_id, t.member_id),
                     coalesce(a.adjustment_id::text, t.transaction_id::text)) AS id,
           CASE WHEN t.transaction_id IS NULL THEN 'it was posted, and there is no such transaction'
                WHEN a.adjustment_id IS NULL THEN format('a %s that nobody proposed', t.kind)
                ELSE format('%s points, %s, paid by %s (plan %s), decided at %s; posted was %s of %s,'
                            ' %s, of %s (plan %s), at %s', a.points, a.reason,
                            coalesce(a.issuer_id::text, 'none'), coalesce(a.funding_plan_id::text, 'none'),
                            a.decided_at, t.kind, t.points, t.reason, t.partner_id,
                            coalesce(l.funding_plan_id::text, 'none'), t.recorded_at)
           END AS message
      FROM (SELECT * FROM ledger.adjustment WHERE transaction_id IS NOT NULL OR state = 'posted') a
      FULL JOIN (SELECT * FROM ledger.transaction WHERE kind IN ('adjust_in', 'adjust_out')) t
     USING (member_id, business_date, transaction_id)
      LEFT JOIN (SELECT * FROM ledger.lot WHERE from_lot_id IS NULL) l
     USING (member_id, business_date, transaction_id)
     WHERE (a.state, a.points, a.reason, a.decided_at, 'adjustment ' || a.adjustment_id,
            coalesce(a.issuer_id, '00000000-0000-0000-0000-000000000000'))
           IS DISTINCT FROM
           ('posted', CASE t.kind WHEN 'adjust_in' THEN t.points ELSE -t.points END, t.reason, t.recorded_at,
            t.idempotency_key, t.partner_id)
        OR a.funding_plan_id IS DISTINCT FROM l.funding_plan_id
        OR a.decided_by = a.proposed_by
     ORDER BY 1
    """
    return findings(adjustments_are_posted_as_proposed, session, subject="adjustment", query=query)
