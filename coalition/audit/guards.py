"""Guard rails: the exact limits held, figures come from the journal, and reviews became what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def limits_of_members_held(session: Session) -> Iterator[Finding]:
    """While a rule held that refuses, no posting of a member or a card went beyond it."""
    # A minute's grace after it was published: what was under way then was judged by what held before. What a
    # void gave back counts no more, nor does a hold that is over by now, whether somebody has posted its end
    # or not: so this sees less than the guard did and never too much.
    query = """
    WITH RECURSIVE rules AS (
        SELECT r.*, coalesce(make_interval(secs => r.period_seconds), '1000 years') AS period,
               r.published_at + interval '1 minute' AS since,
               coalesce((SELECT min(n.published_at) FROM partners.limit_rule n
                          WHERE n.code = r.code AND n.version > r.version), 'infinity') AS until
          FROM partners.limit_rule r
         WHERE r.scope IN ('member', 'card') AND r.action = 'refuse' AND r.most IS NOT NULL
    ), used AS (
        SELECT r.code, r.version, r.period, u.*
          FROM rules r
         CROSS JOIN LATERAL (
            SELECT member_id, business_date, transaction_id, recorded_at, card, day, weight,
                   -- A card's in whatever journals they stand: its member may have been part of others.
                   sum(weight) OVER (PARTITION BY CASE WHEN card IS NULL THEN member_id END, card, day
                                     ORDER BY recorded_at
                                     RANGE BETWEEN r.period - interval '1 microsecond' PRECEDING
                                               AND CURRENT ROW) AS own
              FROM (
                SELECT t.member_id, t.business_date, t.transaction_id, t.recorded_at,
                       CASE r.scope WHEN 'card' THEN t.card_id END AS card,
                       CASE WHEN r.period_seconds IS NULL THEN t.business_date END AS day,
                       CASE WHEN r.measure = 'count' THEN 1
                            WHEN h.state = 'captured' THEN h.captured
                            ELSE t.points END AS weight
                  FROM ledger.transaction t
                  LEFT JOIN ledger.hold h USING (member_id, business_date, transaction_id)
                  LEFT JOIN (SELECT coalesce(clock_at, clock_timestamp()) AS now FROM ledger.programme) p
                    ON true
                 WHERE CASE WHEN t.kind = 'transfer_out' THEN r.posting = 'transfer'
                            WHEN t.kind = 'issue' THEN r.posting IN ('issue', 'both')
                            WHEN t.kind = 'redeem' THEN r.posting IN ('redeem', 'both')
                            WHEN t.kind = 'authorize'
                            THEN r.posting IN ('redeem', 'both')
                                 AND (h.state = 'captured' OR (h.state = 'open' AND h.lapses_at > p.now))
                            ELSE false END
                   AND (r.partner_id IS NULL OR t.partner_id = r.partner_id)
                   AND (r.scope = 'member' OR t.card_id IS NOT NULL)
              ) AS counted
         ) AS u
    ), merged AS (
        SELECT t.member_id AS record, t.other_member_id AS holder, t.recorded_at AS since,
               coalesce((SELECT min(u.recorded_at) FROM ledger.transaction u
                          WHERE u.member_id = t.member_id AND u.kind = 'unmerge_in'
                            AND u.sequence > t.sequence), 'infinity') AS until
          FROM ledger.transaction t
         WHERE t.kind = 'merge_out' AND EXISTS (SELECT FROM rules)
         UNION
        -- And into whom the holder was merged while the record was merged into it.
        SELECT m.record, t.other_member_id, greatest(m.since, t.recorded_at),
               least(m.until, (SELECT min(u.recorded_at) FROM ledger.transaction u
                                WHERE u.member_id = t.member_id AND u.kind = 'unmerge_in'
                                  AND u.sequence > t.sequence))
          FROM merged m
          JOIN ledger.transaction t ON t.member_id = m.holder AND t.kind = 'merge_out'
         WHERE m.since < m.until
    ), brought AS (
        -- What a record did, by whatever card, counts for its holder as long as it is merged into it.
        SELECT p.code, p.version, p.member_id, p.business_date, p.transaction_id, sum(q.weight) AS weight
          FROM merged m
          JOIN used q ON q.member_id = m.record
          JOIN used p ON p.member_id = m.holder AND (p.code, p.version) = (q.code, q.version)
         WHERE p.recorded_at > m.since AND p.recorded_at < m.until
           AND q.recorded_at > p.recorded_at - p.period AND q.recorded_at <= p.recorded_at
           AND q.card IS NULL AND q.day IS NOT DISTINCT FROM p.day
         GROUP BY 1, 2, 3, 4, 5
    )
    SELECT concat_ws('/', u.member_id, u.business_date, u.transaction_id) AS id,
           format('limit %s allows %s %s, and with it %s were used', r.code, r.most,
                  CASE r.measure WHEN 'count' THEN 'postings' ELSE 'points' END,
                  u.own + coalesce(b.weight, 0)) AS message
      FROM used u
      JOIN rules r USING (code, version)
      LEFT JOIN brought b USING (code, version, member_id, business_date, transaction_id)
     WHERE u.own + coalesce(b.weight, 0) > r.most AND u.recorded_at > r.since AND u.recorded_at < r.until
     ORDER BY 1
    """
    return findings(limits_of_members_held, session, subject="transaction", query=query)


def tallies_agree_with_the_journal(session: Session) -> Iterator[Finding]:
    """The tallies on which the limits of stores and partners act are what was posted, by the hour."""
    query = """
    WITH bounds AS (
        SELECT tallied_from AS first, date_trunc('hour', as_of - interval '2 minutes', 'UTC') AS next
          FROM partners.limit_state
    ), posted AS (
        SELECT partner_id, kind, business_date, date_trunc('hour', recorded_at, 'UTC') AS hour,
               coalesce(store, '') AS store, count(*) AS postings, sum(points) AS points
          FROM ledger.transaction, bounds
         WHERE kind IN ('issue', 'redeem', 'authorize', 'capture')
           AND recorded_at >= bounds.first AND recorded_at < bounds.next
         GROUP BY 1, 2, 3, 4, 5
    ), tallied AS (
        SELECT partner_id, kind, business_date, date_trunc('hour', minute, 'UTC') AS hour, store,
               sum(postings) AS postings, sum(points) AS points
          FROM partners.tally, bounds
         WHERE minute >= bounds.first AND minute < bounds.next
         GROUP BY 1, 2, 3, 4, 5
    )
    SELECT concat_ws('/', partner_id, kind, business_date, hour, store) AS id,
           format('%s postings of %s points are counted, and %s of %s were posted',
                  coalesce(t.postings, 0), coalesce(t.points, 0), coalesce(p.postings, 0),
                  coalesce(p.points, 0)) AS message
      FROM posted p
      FULL JOIN tallied t USING (partner_id, kind, business_date, hour, store)
     WHERE p.postings IS DISTINCT FROM t.postings OR p.points IS DISTINCT FROM t.points
     ORDER BY 1
    """
    return findings(tallies_agree_with_the_journal, session, subject="tally", query=query)


def reviews_of_what_was_posted_say_so(session: Session) -> Iterator[Finding]:
    """A wish that was held for review and is posted by now was not rejected, and waits no more."""
    query = """
    SELECT concat_ws('/', r.member_id, r.review_id) AS id,
           format('is %s, and was posted under its key', r.state) AS message
      FROM ledger.review r
      JOIN ledger.idempotency k
        ON (k.member_id = r.member_id OR k.named_id = r.member_id)
           AND coalesce(k.named_id, k.member_id) = r.member_id
           AND k.partner_id = r.partner_id AND k.key = r.key AND k.fingerprint = r.fingerprint
     WHERE r.state <> 'posted'
     ORDER BY 1
    """
    return findings(reviews_of_what_was_posted_say_so, session, subject="review", query=query)


def reviews_became_what_they_say(session: Session) -> Iterator[Finding]:
    """A posted review names the posting of its own wish, and of as many points where it was not of money."""
    # What money earns may be other points by the terms that hold when it is sent again.
    query = """
    SELECT concat_ws('/', r.member_id, r.review_id) AS id,
           format('%s of %s points was posted, and its posting is %s', r.kind, r.points,
                  coalesce(t.kind || ' of ' || t.points, 'not there')) AS message
      FROM ledger.review r
      LEFT JOIN ledger.transaction t
        ON t.member_id = coalesce(r.posted_with, r.member_id) AND t.business_date = r.business_date
           AND t.transaction_id = r.transaction_id
      LEFT JOIN ledger.idempotency k
        ON k.member_id = t.member_id AND k.partner_id = t.partner_id AND k.key = t.idempotency_key
     WHERE r.state = 'posted'
       AND ((t.partner_id, t.idempotency_key, coalesce(k.named_id, k.member_id))
            IS DISTINCT FROM (r.partner_id, r.key, r.member_id)
            OR (t.amount IS NULL AND t.points <> r.points))
     ORDER BY 1
    """
    return findings(reviews_became_what_they_say, session, subject="review", query=query)
