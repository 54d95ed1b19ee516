"""Lots: each accounts for its points, and every point leads back to who issued it and who pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def lots_conserve_their_points(session: Session) -> Iterator[Finding]:
    """Invariant 2: a lot's buckets are never negative, and together they are what was issued."""
    query = """
    SELECT concat_ws('/', member_id, lot_id) AS id,
           format('of %s points: pending %s, available %s, held %s,'
                  ' burned %s, expired %s, reversed %s, transferred %s',
                  points, pending, available, held, burned, expired, reversed, transferred) AS message
      FROM ledger.lot
     WHERE pending + available + held + burned + expired + reversed + transferred <> points
        OR least(pending, available, held, burned, expired, reversed, transferred) < 0
     ORDER BY 1
    """
    return findings(lots_conserve_their_points, session, subject="lot", query=query)


def lots_agree_with_entries(session: Session) -> Iterator[Finding]:
    """Invariant 2: a lot's buckets are what its entries make them."""
    query = """
    WITH derived AS (
        SELECT member_id, lot_id,
               coalesce(-sum(points) FILTER (WHERE bucket IN ('issued', 'received'))::bigint, 0) AS points,
               coalesce(sum(points) FILTER (WHERE bucket = 'pending')::bigint, 0) AS pending,
               coalesce(sum(points) FILTER (WHERE bucket = 'available')::bigint, 0) AS available,
               coalesce(sum(points) FILTER (WHERE bucket = 'held')::bigint, 0) AS held,
               coalesce(sum(points) FILTER (WHERE bucket = 'burned')::bigint, 0) AS burned,
               coalesce(sum(points) FILTER (WHERE bucket = 'expired')::bigint, 0) AS expired,
               coalesce(sum(points) FILTER (WHERE bucket = 'reversed')::bigint, 0) AS reversed,
               coalesce(sum(points) FILTER (WHERE bucket = 'transferred')::bigint, 0) AS transferred
          FROM ledger.entry
         WHERE lot_id IS NOT NULL
         GROUP BY member_id, lot_id
    )
    SELECT concat_ws('/', member_id, lot_id) AS id,
           CASE WHEN d.points IS NULL THEN 'it has no entries'
                WHEN s.points IS NULL THEN 'it has entries and is not there'
                ELSE format('issued, pending, available, held, burned, expired, reversed, transferred'
                            ' are stored as %s, its entries make %s',
                            concat_ws(', ', s.points, s.pending, s.available, s.held, s.burned, s.expired,
                                      s.reversed, s.transferred),
                            concat_ws(', ', d.points, d.pending, d.available, d.held, d.burned, d.expired,
                                      d.reversed, d.transferred))
           END AS message
      FROM ledger.lot s
      FULL JOIN derived d USING (member_id, lot_id)
     WHERE (s.points, s.pending, s.available, s.held, s.burned, s.expired, s.reversed, s.transferred)
           IS DISTINCT FROM
           (d.points, d.pending, d.available, d.held, d.burned, d.expired, d.reversed, d.transferred)
     ORDER BY 1
    """
    return findings(lots_agree_with_entries, session, subject="lot", query=query)


def lots_have_their_issue(session: Session) -> Iterator[Finding]:
    """A lot is what one issue made, at that issue's partner and terms; each issue of points made one."""
    query = """
    SELECT concat_ws('/', coalesce(l.member_id, t.member_id), coalesce(l.lot_id::text, 'none')) AS id,
           CASE WHEN t.transaction_id IS NULL THEN
                    format('names the issue %s/%s, which is not there', l.business_date, l.transaction_id)
                WHEN l.lot_id IS NULL THEN
                    format('the issue %s/%s of %s points made no lot', t.business_date, t.transaction_id,
                            t.points)
                WHEN l.points <> t.points THEN format('%s points, its issue says %s', l.points, t.points)
                WHEN l.issuer_id <> t.partner_id THEN
                    format('issuer %s, its issue was posted by %s', l.issuer_id, t.partner_id)
                WHEN l.agreement_id IS DISTINCT FROM t.agreement_id THEN
                    format('agreement %s, its issue was made under %s', l.agreement_id, t.agreement_id)
                WHEN l.sequence <> t.sequence THEN
                    format('age %s, its issue is number %s', l.sequence, t.sequence)
                ELSE format('issued at %s, its issue was recorded at %s', l.issued_at, t.recorded_at)
           END AS message
      FROM (SELECT * FROM ledger.lot WHERE from_lot_id IS NULL) l
      FULL JOIN (SELECT * FROM ledger.transaction WHERE kind IN ('issue', 'adjust_in')) t
     USING (member_id, business_date, transaction_id)
     WHERE (t.transaction_id IS NULL OR l.lot_id IS NULL
            OR l.points <> t.points OR l.issuer_id <> t.partner_id
            OR l.agreement_id IS DISTINCT FROM t.agreement_id OR l.issued_at <> t.recorded_at
            OR l.sequence <> t.sequence)
       AND NOT (l.lot_id IS NULL AND t.points = 0)
     UNION ALL
    SELECT concat_ws('/', member_id, 'several'),
           format('the issue %s/%s made %s lots', business_date, transaction_id, count(*))
      FROM ledger.lot
     WHERE from_lot_id IS NULL
     GROUP BY member_id, business_date, transaction_id
    HAVING count(*) > 1
     ORDER BY 1
    """
    return findings(lots_have_their_issue, session, subject="lot", query=query)


def entries_carry_their_lots_terms(session: Session) -> Iterator[Finding]:
    """Invariant 4: a burn's issuer is its lot's issuer, as are the terms by which the night prices it."""
    query = """
    SELECT concat_ws('/', e.member_id, e.business_date, e.transaction_id, e.ordinal) AS id,
           format('%s of lot %s: issuer %s, agreement %s, plan %s; the lot has %s, %s, %s', e.bucket,
                   e.lot_id,
                  e.issuer_id, e.agreement_id, coalesce(e.funding_plan_id::text, 'none'),
                  l.issuer_id, l.agreement_id, coalesce(l.funding_plan_id::text, 'none')) AS message
      FROM ledger.entry e
      JOIN ledger.lot l USING (member_id, lot_id)
     WHERE (e.issuer_id, e.agreement_id, e.funding_plan_id)
           IS DISTINCT FROM (l.issuer_id, l.agreement_id, l.funding_plan_id)
     ORDER BY 1
    """
    return findings(entries_carry_their_lots_terms, session, subject="entry", query=query)


def points_come_and_go_in_time(session: Session) -> Iterator[Finding]:
    """What matured or expired was due by then, and what was issued pends for as long as it is to pend.

    What was redeemed, held, given away or taken had matured and had not expired when that was recorded.
    """
    # A lot that got points back after it had expired lives on; what lapsed before that is no witness.
    query = """
    SELECT concat_ws('/', e.member_id, e.business_date, e.transaction_id, e.ordinal) AS id,
           format('%s to %s recorded at %s, lot %s was issued at %s, matures at %s and expires at %s', t.kind,
                  e.bucket, t.recorded_at, e.lot_id, l.issued_at, coalesce(l.matures_at::text, 'once'),
                  coalesce(l.expires_at::text, 'no time')) AS message
      FROM ledger.transaction t
      JOIN ledger.entry e USING (member_id, business_date, transaction_id)
      JOIN ledger.lot l USING (member_id, lot_id)
     WHERE (t.kind = 'mature' AND e.bucket = 'available'
            AND (l.matures_at IS NULL OR t.recorded_at < l.matures_at))
        OR (t.kind = 'issue' AND e.bucket = 'available' AND t.recorded_at < l.matures_at)
        OR (t.kind = 'issue' AND e.bucket = 'pending'
            AND (l.matures_at IS NULL OR t.recorded_at >= l.matures_at))
        OR ((t.kind, e.bucket) IN (('redeem', 'burned'), ('authorize', 'held'),
                                   ('transfer_out', 'transferred'), ('adjust_out', 'reversed'))
            AND (t.recorded_at < l.issued_at OR t.recorded_at < l.matures_at
                 OR t.recorded_at >= l.expires_at))
        OR (t.kind = 'expire' AND e.bucket = 'expired'
            AND (l.expires_at IS NULL OR t.recorded_at < l.expires_at)
            AND NOT EXISTS (SELECT FROM ledger.entry back
                              JOIN ledger.transaction r USING (member_id, business_date, transaction_id)
                             WHERE back.member_id = e.member_id AND back.lot_id = e.lot_id
                               AND r.kind IN ('reverse_redemption', 'unpool_in', 'unmerge_in')
                               AND r.sequence > t.sequence))
     ORDER BY 1
    """
    return findings(points_come_and_go_in_time, session, subject="entry", query=query)


def terms_held_when_it_occurred(session: Session) -> Iterator[Finding]:
    """An issue or redemption is priced by the terms that held on the day on which it occurred."""
    # A minute's grace after later terms were published: what was under way then had been priced already.
    query = """
    WITH terms AS (
        SELECT agreement_id, partner_id, valid_from, version,
               lead(valid_from, 1, 'infinity'::date)
                   OVER (PARTITION BY partner_id ORDER BY valid_from, version) AS next_from
          FROM partners.agreement
    )
    SELECT concat_ws('/', t.member_id, t.business_date, t.transaction_id) AS id,
           format('occurred at %s, agreement %s holds from %s%s', t.occurred_at, t.agreement_id, a.valid_from,
                  CASE WHEN a.valid_from <= t.day THEN ', and later terms had superseded it' END) AS message
      FROM (SELECT member_id, business_date, transaction_id, agreement_id, occurred_at, recorded_at,
                   (occurred_at AT TIME ZONE zone)::date AS day
              FROM ledger.transaction
             CROSS JOIN ledger.programme
             WHERE kind IN ('issue', 'redeem', 'authorize')
            -- Keeps the planner from working the day out anew wherever it is asked for.
            OFFSET 0) t
      JOIN terms a USING (agreement_id)
     WHERE a.valid_from > t.day
        OR (a.next_from <= t.day
            AND EXISTS (SELECT FROM partners.agreement later
                         WHERE later.partner_id = a.partner_id
                           AND (later.valid_from, later.version) > (a.valid_from, a.version)
                           AND later.valid_from <= t.day
                           AND later.published_at < t.recorded_at - interval '1 minute'))
     ORDER BY 1
    """
    return findings(terms_held_when_it_occurred, session, subject="transaction", query=query)


def issues_earn_what_their_terms_give(session: Session) -> Iterator[Finding]:
    """An issue that was posted as money is of the points that its terms give for it, rounded once."""
    # In whole multiples of the rule's amount, and a rest: a quotient would be rounded before it is to be.
    query = """
    WITH earned AS (
        SELECT t.member_id, t.business_date, t.transaction_id, t.points, t.amount, a.agreement_id,
               a.earn_points, a.earn_amount, a.earn_rounding,
               div(t.amount * a.earn_points, a.earn_amount) AS whole,
               mod(t.amount * a.earn_points, a.earn_amount) AS rest
          FROM ledger.transaction t
          JOIN partners.agreement a USING (agreement_id)
         WHERE t.kind = 'issue' AND t.amount IS NOT NULL
    )
    SELECT concat_ws('/', member_id, business_date, transaction_id) AS id,
           format('%s points for %s of money, and agreement %s gives %s for each %s, rounded %s', points,
                  trim_scale(amount), agreement_id, coalesce(trim_scale(earn_points)::text, 'none'),
                  coalesce(trim_scale(earn_amount)::text, 'amount'), earn_rounding) AS message
      FROM earned
     WHERE points IS DISTINCT FROM
           whole + CASE WHEN earn_rounding = 'up' AND rest > 0 THEN 1
                        WHEN earn_rounding = 'half_even'
                             AND (2 * rest > earn_amount OR (2 * rest = earn_amount AND mod(whole, 2) = 1))
                        THEN 1 ELSE 0 END
     ORDER BY 1
    """
    return findings(issues_earn_what_their_terms_give, session, subject="transaction", query=query)


def agreements_belong_to_who_acts(session: Session) -> Iterator[Finding]:
    """A lot names its issuer's agreement, a transaction that of who acts, a claim its claimant's."""
    query = """
    WITH named (subject, member_id, business_date, row_id, agreement_id, partner_id) AS (
        SELECT 'lot', member_id, NULL::date, lot_id, agreement_id, issuer_id FROM ledger.lot
         UNION ALL
        SELECT 'transaction', member_id, business_date, transaction_id, agreement_id, partner_id
          FROM ledger.transaction
         WHERE kind IN ('issue', 'redeem', 'authorize', 'capture', 'void', 'reverse_issue',
                        'reverse_redemption', 'recovery', 'adjust_in')
         UNION ALL
        SELECT 'deficit', member_id, NULL, deficit_id, agreement_id, claimant_id FROM ledger.deficit
    )
    SELECT concat_ws('/', n.subject || ' ' || n.member_id, n.business_date, n.row_id) AS id,
           CASE WHEN n.agreement_id IS NULL THEN 'names no agreement'
                WHEN a.agreement_id IS NULL THEN format('agreement %s is not there', n.agreement_id)
                ELSE format('agreement %s is that of %s, not of %s', n.agreement_id, a.partner_id,
                        n.partner_id)
           END AS message
      FROM named n
      LEFT JOIN partners.agreement a USING (agreement_id)
     WHERE a.partner_id IS DISTINCT FROM n.partner_id
     UNION ALL
    SELECT concat_ws('/', 'transaction ' || member_id, business_date, transaction_id),
           format('%s is by %s under agreement %s, and nobody''s but the network''s', kind, partner_id,
                   coalesce(agreement_id::text, 'none'))
      FROM ledger.transaction
     WHERE kind NOT IN ('issue', 'redeem', 'authorize', 'capture', 'void', 'reverse_issue',
                        'reverse_redemption', 'recovery', 'adjust_in')
       AND (partner_id <> '00000000-0000-0000-0000-000000000000' OR agreement_id IS NOT NULL)
     ORDER BY 1
    """
    return findings(agreements_belong_to_who_acts, session, subject="agreement", query=query)


def funding_parts_sum_to_a_million(session: Session) -> Iterator[Finding]:
    """Invariant 4: the funders of a plan pay all of it; a lot's plan is there."""
    query = """
    SELECT p.funding_plan_id::text AS id,
           format('the parts of plan %s sum to %s parts per million', p.code, coalesce(sum(f.ppm), 0))
                   AS message
      FROM partners.funding_plan p
      LEFT JOIN partners.funding_part f USING (funding_plan_id)
     GROUP BY p.funding_plan_id, p.code
    HAVING coalesce(sum(f.ppm), 0) <> 1000000 OR bool_or(f.ppm <= 0)
     UNION ALL
    SELECT f.funding_plan_id::text, 'it has parts and is not there'
      FROM partners.funding_part f
      LEFT JOIN partners.funding_plan p USING (funding_plan_id)
     WHERE p.funding_plan_id IS NULL
     UNION ALL
    SELECT l.funding_plan_id::text, format('%s lots name it and it is not there', count(*))
      FROM ledger.lot l
      LEFT JOIN partners.funding_plan p USING (funding_plan_id)
     WHERE l.funding_plan_id IS NOT NULL AND p.funding_plan_id IS NULL
     GROUP BY l.funding_plan_id
     ORDER BY 1
    """
    return findings(funding_parts_sum_to_a_million, session, subject="funding_plan", query=query)
