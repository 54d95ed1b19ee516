"""Points that changed hands: what one gave another got, and each received lot leads back to its issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def two_sides_agree(session: Session) -> Iterator[Finding]:
    """Each transfer, merge or move in a pool is two transactions that name each other and move as much."""
    query = """
    WITH side AS (
        SELECT member_id, business_date, transaction_id, kind, points, other_member_id, other_id,
               regexp_replace(kind, '_(in|out)$', '') AS move, kind LIKE '%\\_in' AS arrives
          FROM ledger.transaction
         WHERE other_id IS NOT NULL
    )
    SELECT concat_ws('/', a.member_id, a.business_date, a.transaction_id) AS id,
           CASE WHEN b.transaction_id IS NULL THEN
                    format('%s names %s of member %s, which does not name it back', a.kind, a.other_id,
                           a.other_member_id)
                ELSE format('%s of %s points, its other side is a %s of %s', a.kind, a.points, b.kind,
                            b.points)
           END AS message
      FROM side a
      LEFT JOIN side b
        ON b.member_id = a.other_member_id AND b.business_date = a.business_date
           AND b.transaction_id = a.other_id AND b.other_member_id = a.member_id
           AND b.other_id = a.transaction_id
     WHERE b.transaction_id IS NULL OR b.points <> a.points OR b.move <> a.move OR b.arrives = a.arrives
     ORDER BY 1
    """
    return findings(two_sides_agree, session, subject="transaction", query=query)


def received_lots_lead_back(session: Session) -> Iterator[Finding]:
    """A received lot is the other side's, with the issuer, terms, funders and age of the one it came from."""
    query = """
    SELECT concat_ws('/', l.member_id, l.lot_id) AS id,
           CASE WHEN o.lot_id IS NULL THEN
                    format('came from lot %s of member %s, which is not there', l.from_lot_id,
                           l.from_member_id)
                WHEN t.other_member_id IS DISTINCT FROM l.from_member_id THEN
                    format('came from member %s, its %s is with member %s', l.from_member_id,
                           coalesce(t.kind, 'transaction'), coalesce(t.other_member_id::text, 'none'))
                ELSE format('issued by %s at %s under %s, plan %s; the lot it came from by %s at %s under %s,'
                            ' plan %s', l.issuer_id, l.issued_at, l.agreement_id,
                            coalesce(l.funding_plan_id::text, 'none'), o.issuer_id, o.issued_at,
                            o.agreement_id, coalesce(o.funding_plan_id::text, 'none'))
           END AS message
      FROM ledger.lot l
      LEFT JOIN ledger.lot o ON o.member_id = l.from_member_id AND o.lot_id = l.from_lot_id
      LEFT JOIN ledger.transaction t
        ON t.member_id = l.member_id AND t.business_date = l.business_date
           AND t.transaction_id = l.transaction_id
     WHERE l.from_lot_id IS NOT NULL
       AND (o.lot_id IS NULL
            OR t.kind IS NULL OR t.kind NOT IN ('transfer_in', 'merge_in', 'pool_in')
            OR t.other_member_id IS DISTINCT FROM l.from_member_id
            OR (l.issuer_id, l.agreement_id, l.funding_plan_id, l.issued_at)
               IS DISTINCT FROM (o.issuer_id, o.agreement_id, o.funding_plan_id, o.issued_at))
     ORDER BY 1
    """
    return findings(received_lots_lead_back, session, subject="lot", query=query)


def points_that_came_are_those_that_left(session: Session) -> Iterator[Finding]:
    """What left a lot for others arrived in lots that lead back to it, and what came back left these."""
    query = """
    WITH gave AS (
        SELECT member_id, lot_id,
               sum(points) FILTER (WHERE points > 0) AS gone, -sum(points) FILTER (WHERE points < 0) AS back
          FROM ledger.entry
         WHERE bucket = 'transferred'
         GROUP BY member_id, lot_id
    ), returned AS (
        SELECT e.member_id, e.lot_id, sum(e.points) AS points
          FROM ledger.entry e
          JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
         WHERE e.bucket = 'transferred' AND e.points > 0 AND t.kind IN ('unmerge_out', 'unpool_out')
         GROUP BY e.member_id, e.lot_id
    ), got AS (
        SELECT l.from_member_id AS member_id, l.from_lot_id AS lot_id, sum(l.points) AS came,
               coalesce(sum(r.points), 0) AS left_again
          FROM ledger.lot l
          LEFT JOIN returned r ON r.member_id = l.member_id AND r.lot_id = l.lot_id
         WHERE l.from_lot_id IS NOT NULL
         GROUP BY l.from_member_id, l.from_lot_id
    ), sums AS (
        SELECT member_id, lot_id, coalesce(gone, 0) AS gone, coalesce(back, 0) AS back,
               coalesce(came, 0) AS came, coalesce(left_again, 0) AS left_again, r.points AS own_return
          FROM gave
          FULL JOIN got USING (member_id, lot_id)
          LEFT JOIN returned r USING (member_id, lot_id)
    )
    SELECT concat_ws('/', member_id, lot_id) AS id,
           format('%s points left it for other members and %s arrived; %s came back and %s were sent back',
                  gone - coalesce(own_return, 0), came, back, left_again) AS message
      FROM sums
     WHERE gone - coalesce(own_return, 0) <> came OR back <> left_again
     ORDER BY 1
    """
    return findings(points_that_came_are_those_that_left, session, subject="lot", query=query)
