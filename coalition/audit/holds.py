"""Holds: each is an authorisation, ends once, and its points are those that lots show as held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def holds_are_authorized(session: Session) -> Iterator[Finding]:
    """Each hold is what one authorisation set aside, and each authorisation made one."""
    query = """
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           CASE WHEN t.transaction_id IS NULL THEN 'there is no such authorisation'
                WHEN h.transaction_id IS NULL THEN 'the authorisation made no hold'
                ELSE format('%s points for %s under %s at %s, %s; authorised: %s for %s under %s at %s, %s',
                            h.points, h.partner_id, h.agreement_id, h.authorized_at,
                            CASE WHEN h.confirmed THEN 'confirmed' ELSE 'unconfirmed' END,
                            t.points, t.partner_id, t.agreement_id, t.recorded_at,
                            CASE WHEN t.confirmation_id IS NULL THEN 'unconfirmed' ELSE 'confirmed' END)
           END AS message
      FROM ledger.hold h
      FULL JOIN (SELECT * FROM ledger.transaction WHERE kind = 'authorize') t
     USING (member_id, business_date, transaction_id)
     WHERE (h.points, h.partner_id, h.agreement_id, h.authorized_at, h.confirmed)
           IS DISTINCT FROM
           (t.points, t.partner_id, t.agreement_id, t.recorded_at, t.confirmation_id IS NOT NULL)
     ORDER BY 1
    """
    return findings(holds_are_authorized, session, subject="hold", query=query)


def holds_end_as_they_say(session: Session) -> Iterator[Finding]:
    """A hold ends once, by its own partner before it lapses or by itself after, or it is open."""
    query = """
    WITH ended AS (
        SELECT member_id, hold_date AS business_date, hold_id AS transaction_id, count(*) AS ends,
               min(business_date) AS closed_date, min(transaction_id::text)::uuid AS closed_id,
               min(kind) AS kind, sum(points) AS points, min(partner_id::text)::uuid AS partner_id,
               min(agreement_id::text)::uuid AS agreement_id, min(recorded_at) AS recorded_at
          FROM ledger.transaction
         WHERE hold_id IS NOT NULL
         GROUP BY member_id, hold_date, hold_id
    )
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           CASE WHEN h.transaction_id IS NULL THEN format('a %s ends it and it is not there', e.kind)
                WHEN e.ends > 1 THEN format('it ends %s times', e.ends)
                ELSE format('is %s with %s of %s points captured, by %s; ended by %s, a %s of %s points at %s'
                            ' (it lapses at %s)', h.state, h.captured, h.points,
                            coalesce(h.closed_id::text, 'nothing'), coalesce(e.closed_id::text, 'nothing'),
                            coalesce(e.kind, 'end'), coalesce(e.points, 0), e.recorded_at, h.lapses_at)
           END AS message
      FROM ledger.hold h
      FULL JOIN ended e USING (member_id, business_date, transaction_id)
     WHERE h.transaction_id IS NULL OR e.ends > 1
        OR (h.closed_date, h.closed_id) IS DISTINCT FROM (e.closed_date, e.closed_id)
        OR h.state <> CASE WHEN e.kind IS NULL THEN 'open' WHEN e.kind = 'capture' THEN 'captured'
                           WHEN e.kind = 'void' THEN 'voided' ELSE 'lapsed' END
        OR h.captured <> CASE WHEN e.kind = 'capture' THEN e.points ELSE 0 END
        OR (e.kind <> 'capture' AND e.points <> h.points)
        OR (e.kind <> 'lapse' AND (e.partner_id, e.agreement_id)
                                  IS DISTINCT FROM (h.partner_id, h.agreement_id))
        OR (e.kind = 'lapse') <> (e.recorded_at >= h.lapses_at)
     ORDER BY 1
    """
    return findings(holds_end_as_they_say, session, subject="hold", query=query)


def holds_keep_their_lots(session: Session) -> Iterator[Finding]:
    """Invariant 2: an end takes from each lot what its hold set aside; what is held is of open holds."""
    query = """
    WITH part AS (
        SELECT member_id, business_date, transaction_id, business_date AS leg_date, transaction_id AS leg_id
          FROM ledger.hold
         UNION ALL
        SELECT member_id, hold_date, hold_id, business_date, transaction_id
          FROM ledger.transaction
         WHERE hold_id IS NOT NULL
    ), legs AS (
        SELECT p.member_id, p.business_date, p.transaction_id, e.lot_id, sum(e.points) AS points
          FROM part p
          JOIN ledger.entry e
            ON e.member_id = p.member_id AND e.business_date = p.leg_date AND e.transaction_id = p.leg_id
         WHERE e.bucket = 'held'
         GROUP BY p.member_id, p.business_date, p.transaction_id, e.lot_id
    )
    SELECT concat_ws('/', g.member_id, g.business_date, g.transaction_id) AS id,
           format('is %s and holds %s points of lot %s', h.state, g.points, g.lot_id) AS message
      FROM legs g
      JOIN ledger.hold h USING (member_id, business_date, transaction_id)
     WHERE CASE h.state WHEN 'open' THEN g.points <= 0 ELSE g.points <> 0 END
     UNION ALL
    SELECT concat_ws('/', member_id, lot_id),
           format('%s points are held, open holds make %s', coalesce(l.held, 0), coalesce(o.held, 0))
      FROM (SELECT member_id, lot_id, held FROM ledger.lot WHERE held <> 0) l
      FULL JOIN (SELECT g.member_id, g.lot_id, sum(g.points) AS held
                   FROM legs g
                   JOIN ledger.hold h USING (member_id, business_date, transaction_id)
                  WHERE h.state = 'open'
                  GROUP BY g.member_id, g.lot_id) o
     USING (member_id, lot_id)
     WHERE l.held IS DISTINCT FROM o.held
     ORDER BY 1
    """
    return findings(holds_keep_their_lots, session, subject="hold", query=query)


def recalls_come_from_reversed_issues(session: Session) -> Iterator[Finding]:
    """What reversals of an issue undid came back, became a claim, is recalled from a hold, or is forgone."""
    # Under `unlimited` nothing is forgone but what nobody has had: what expired, or what an operator took, of
    # the lot or of those that merges made of it.
    query = """
    WITH RECURSIVE undone AS (
        SELECT member_id, reverses_date AS business_date, reverses_id AS transaction_id,
               sum(undone_points) AS undone, sum(points) AS moved
          FROM ledger.transaction
         WHERE kind = 'reverse_issue'
         GROUP BY member_id, reverses_date, reverses_id
    ), claimed AS (
        SELECT member_id, lot_id, sum(points) AS points
          FROM ledger.deficit
         WHERE from_deficit_id IS NULL
         GROUP BY member_id, lot_id
    ), accounted AS (
        SELECT l.member_id, l.lot_id, l.recalled, l.expired, l.reversed, l.held, l.agreement_id,
               coalesce(u.undone, 0) AS undone, coalesce(u.moved, 0) AS moved,
               coalesce(c.points, 0) AS claimed,
               coalesce(u.undone - u.moved, 0) - l.recalled - coalesce(c.points, 0) AS forgone
          FROM ledger.lot l
          LEFT JOIN undone u ON u.member_id = l.member_id AND u.business_date = l.business_date
                            AND u.transaction_id = l.transaction_id
          LEFT JOIN claimed c ON c.member_id = l.member_id AND c.lot_id = l.lot_id
         WHERE u.undone IS NOT NULL OR l.recalled <> 0
    ), merged AS (
        SELECT member_id, lot_id, member_id AS here, lot_id AS lot, 0::bigint AS gone
          FROM accounted
         UNION
        SELECT m.member_id, m.lot_id, l.member_id, l.lot_id, l.expired + l.reversed
          FROM merged m
          JOIN ledger.lot l ON l.from_member_id = m.here AND l.from_lot_id = m.lot
          JOIN ledger.transaction t
            ON t.member_id = l.member_id AND t.business_date = l.business_date
               AND t.transaction_id = l.transaction_id
         WHERE t.kind = 'merge_in'
    ), elsewhere AS (
        SELECT member_id, lot_id, sum(gone) AS gone
          FROM merged
         GROUP BY member_id, lot_id
    )
    SELECT concat_ws('/', x.member_id, x.lot_id) AS id,
           format('%s points of it were undone: %s came back, %s became claims, %s of %s held are recalled,'
                  ' so that %s are forgone', x.undone, x.moved, x.claimed, x.recalled, x.held, x.forgone)
               AS message
      FROM accounted x
      JOIN elsewhere USING (member_id, lot_id)
      LEFT JOIN partners.agreement a USING (agreement_id)
     WHERE x.forgone < 0 OR x.recalled NOT BETWEEN 0 AND x.held
        OR (a.return_policy = 'unlimited' AND x.forgone > x.expired + x.reversed - x.moved + elsewhere.gone)
     ORDER BY 1
    """
    return findings(recalls_come_from_reversed_issues, session, subject="lot", query=query)
