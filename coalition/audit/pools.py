"""Household pools: who is in one, and that what one gave was spent or went back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def places_agree_with_heads(session: Session) -> Iterator[Finding]:
    """A member's head names the pool in which the member has a place, and no other."""
    query = """
    SELECT coalesce(h.member_id, p.member_id)::text AS id,
           format('the head names pool %s, a place is in pool %s', coalesce(h.pool_id::text, 'none'),
                  coalesce(p.pool_id::text, 'none')) AS message
      FROM (SELECT member_id, pool_id FROM ledger.member_head WHERE pool_id IS NOT NULL) h
      FULL JOIN (SELECT member_id, pool_id FROM ledger.pool_member
                  WHERE joined_at IS NOT NULL AND ended_at IS NULL) p USING (member_id, pool_id)
     WHERE h.member_id IS NULL OR p.member_id IS NULL
     ORDER BY 1
    """
    return findings(places_agree_with_heads, session, subject="member_head", query=query)


def pools_keep_their_rules(session: Session) -> Iterator[Finding]:
    """An open pool has its head in it and no more members than places; a closed one has nobody."""
    query = """
    WITH places AS (
        SELECT pool_id, count(*) FILTER (WHERE joined_at IS NOT NULL) AS members, count(*) AS open,
               array_agg(member_id) FILTER (WHERE joined_at IS NOT NULL) AS who
          FROM ledger.pool_member
         WHERE ended_at IS NULL
         GROUP BY pool_id
    )
    SELECT coalesce(p.pool_id, q.pool_id)::text AS id,
           CASE WHEN p.pool_id IS NULL THEN 'has places and is not there'
                WHEN p.closed_at IS NOT NULL THEN
                    format('closed at %s, %s places are open', p.closed_at, q.open)
                WHEN q.who IS NULL OR p.head_id <> ALL (q.who) THEN
                    format('its head %s is not in it', p.head_id)
                ELSE format('%s members in %s places', q.members, p.most_members)
           END AS message
      FROM ledger.pool p
      FULL JOIN places q USING (pool_id)
     WHERE p.pool_id IS NULL
        OR (p.closed_at IS NOT NULL AND q.open > 0)
        OR (p.closed_at IS NULL AND (q.who IS NULL OR p.head_id <> ALL (q.who) OR q.members > p.most_members))
     ORDER BY 1
    """
    return findings(pools_keep_their_rules, session, subject="pool", query=query)


def pools_lend_among_their_members(session: Session) -> Iterator[Finding]:
    """Points come by way of a pool that both were in, to who might spend there, within its limit a day."""
    # A minute's grace before and after: who comes and goes may have waited for the pool, or stood before it.
    query = """
    WITH lent AS (
        SELECT member_id, business_date, transaction_id, other_member_id, points, recorded_at,
               sum(points) OVER (PARTITION BY member_id, business_date ORDER BY sequence) AS so_far
          FROM ledger.transaction
         WHERE kind = 'pool_in'
    ), allowed AS (
        SELECT l.member_id, l.business_date, l.transaction_id
          FROM lent l
          JOIN ledger.pool_member own ON own.member_id = l.member_id
          JOIN ledger.pool_member other
            ON other.pool_id = own.pool_id AND other.member_id = l.other_member_id
          JOIN ledger.pool p ON p.pool_id = own.pool_id
         WHERE l.recorded_at BETWEEN greatest(own.joined_at, other.joined_at) - interval '1 minute'
                                 AND coalesce(least(own.ended_at, other.ended_at), 'infinity')
                                     + interval '1 minute'
           AND own.joined_at IS NOT NULL AND other.joined_at IS NOT NULL
           AND (p.spenders <> 'head' OR p.head_id = l.member_id)
           AND (p.spender_limit_points IS NULL OR l.so_far <= p.spender_limit_points)
    )
    SELECT concat_ws('/', l.member_id, l.business_date, l.transaction_id) AS id,
           format('%s points of %s, with which it is %s that day, and no pool that both were in allows it',
                  l.points, l.other_member_id, l.so_far) AS message
      FROM lent l
      LEFT JOIN allowed a USING (member_id, business_date, transaction_id)
     WHERE a.member_id IS NULL
     ORDER BY 1
    """
    return findings(pools_lend_among_their_members, session, subject="transaction", query=query)


def what_a_pool_gave_is_spent_or_went_back(session: Session) -> Iterator[Finding]:
    """Points that others of a pool gave are burned, held, or back with who gave them: never the spender's."""
    query = """
    SELECT concat_ws('/', l.member_id, l.lot_id) AS id,
           format('a pool gave %s points, and %s are available, %s pending, %s expired', l.points,
                  l.available, l.pending, l.expired) AS message
      FROM ledger.lot l
      JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
     WHERE t.kind = 'pool_in'
       AND (l.available > 0 OR l.pending > 0 OR l.expired > 0)
     UNION ALL
    SELECT concat_ws('/', h.member_id, h.business_date, h.transaction_id),
           CASE WHEN h.pooled THEN 'a hold with points of others has none'
                ELSE 'a hold has points of others' END
      FROM ledger.hold h
      LEFT JOIN (SELECT e.member_id, e.business_date, e.transaction_id
                   FROM ledger.entry e
                   JOIN ledger.lot l USING (member_id, lot_id)
                   JOIN ledger.transaction t
                     ON t.member_id = l.member_id AND t.business_date = l.business_date
                        AND t.transaction_id = l.transaction_id
                  WHERE e.bucket = 'held' AND e.points > 0 AND t.kind = 'pool_in'
                  GROUP BY e.member_id, e.business_date, e.transaction_id) AS given
     USING (member_id, business_date, transaction_id)
     WHERE h.pooled <> (given.member_id IS NOT NULL)
     ORDER BY 1
    """
    return findings(what_a_pool_gave_is_spent_or_went_back, session, subject="lot", query=query)
