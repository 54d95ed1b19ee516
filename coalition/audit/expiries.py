"""When lots lapse: what their issuer's terms made of the issue, and what activity has made of it since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


# Lots that a grace period may have moved: those that got points back, and those of a pool's others from which
# these had come, and to which they went on.
_MOVED = """
        SELECT e.member_id, e.lot_id
          FROM ledger.transaction t
          JOIN ledger.entry e USING (member_id, business_date, transaction_id)
         WHERE t.kind IN ('reverse_redemption', 'unmerge_in') AND e.lot_id IS NOT NULL
         UNION
        SELECT l.from_member_id, l.from_lot_id
          FROM ledger.transaction t
          JOIN ledger.entry e USING (member_id, business_date, transaction_id)
          JOIN ledger.lot l ON l.member_id = e.member_id AND l.lot_id = e.lot_id
          JOIN ledger.transaction came
            ON (came.member_id, came.business_date, came.transaction_id)
               = (l.member_id, l.business_date, l.transaction_id)
         WHERE t.kind = 'reverse_redemption' AND came.kind = 'pool_in'
"""


def _begins(day: str, zone: str) -> str:
    """The moment at which a day begins in a zone, in SQL; of two midnights the first."""
    midnight = f"(({day}) AT TIME ZONE {zone})"
    return (
        f"(CASE WHEN ({midnight} - interval '1 hour') AT TIME ZONE {zone} = ({day})"
        f" THEN {midnight} - interval '1 hour' ELSE {midnight} END)"
    )


def _kept_until(activity: str, months: str, zone: str) -> str:
    """When points lapse that an activity at a moment kept alive for so many months, in SQL."""
    day = f"({activity} AT TIME ZONE {zone})::date + make_interval(months => {months}) + interval '1 day'"
    return _begins(day, zone)


def lots_lapse_by_their_terms(session: Session) -> Iterator[Finding]:
    """An issued lot matures and lapses when the terms say; by inactivity, counted from the last activity."""
    # Not asked of lots that got points back after a redemption or a merge was undone: a grace period may have
    # moved them. Nor of what was received, which has the date of the lot that it came from.
    query = f"""
    WITH moved AS ({_MOVED}), lent AS (
        SELECT DISTINCT e.member_id, e.lot_id
          FROM ledger.transaction t
          JOIN ledger.entry e USING (member_id, business_date, transaction_id)
         WHERE t.kind = 'unpool_in'
    ), issued AS (
        SELECT l.member_id, l.lot_id, l.issuer_id, l.agreement_id, l.sequence, l.matures_at, l.expires_at,
               CASE WHEN lent.lot_id IS NULL THEN l.pending + l.available + l.held END AS left_points,
               t.occurred_at,
               -- The day from which the terms count: a fixed date is no sooner than the points mature.
               ((t.occurred_at + make_interval(hours => CASE WHEN a.expiry_rule = 'fixed_date'
                                                             THEN 24 * a.maturity_days ELSE 0 END))
                AT TIME ZONE p.zone)::date AS counted_from
          FROM ledger.lot l
          JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
          JOIN partners.agreement a ON a.agreement_id = l.agreement_id
          LEFT JOIN moved m ON m.member_id = l.member_id AND m.lot_id = l.lot_id
          LEFT JOIN lent ON lent.member_id = l.member_id AND lent.lot_id = l.lot_id
         CROSS JOIN ledger.programme p
         WHERE t.kind = 'issue' AND m.lot_id IS NULL
    ), term AS (
        -- Worked out once for all that was issued under an agreement on a day.
        SELECT agreement_id, counted_from, a.expiry_rule, a.expiry_date,
               CASE a.expiry_rule
                   WHEN 'fixed_date' THEN greatest(a.expiry_date, counted_from)
                   ELSE counted_from + make_interval(months => a.expiry_months)
               END AS reached
          FROM (SELECT DISTINCT agreement_id, counted_from FROM issued) AS each
          JOIN partners.agreement a USING (agreement_id)
    ), ended AS (
        SELECT agreement_id, counted_from,
               CASE expiry_rule
                   WHEN 'end_of_month' THEN date_trunc('month', reached) + interval '1 month'
                   WHEN 'end_of_quarter' THEN date_trunc('quarter', reached) + interval '3 months'
                   WHEN 'end_of_year' THEN date_trunc('year', reached) + interval '1 year'
                   WHEN 'fixed_date' THEN
                       -- The date itself, or its first return in a year in which points reach it.
                       expiry_date
                       + (SELECT make_interval(years => min(n)::int) FROM generate_series(
                              greatest(0, extract(year FROM reached)::int
                                          - extract(year FROM expiry_date)::int),
                              extract(year FROM reached)::int - extract(year FROM expiry_date)::int + 1) AS n
                           WHERE (expiry_date + make_interval(years => n::int))::date >= reached)
                       + interval '1 day'
                   ELSE reached + interval '1 day'
               END AS day_after
          FROM term
    ), first AS MATERIALIZED (
        SELECT agreement_id, counted_from, {_begins("day_after", "zone")} AS at_first
          FROM ended
         CROSS JOIN ledger.programme
    ), active AS (
        SELECT i.member_id, i.lot_id,
               max({_kept_until("e.recorded_at", "a.expiry_months", "p.zone")}) AS until
          FROM issued i
          JOIN partners.agreement a USING (agreement_id)
          JOIN ledger.transaction e
            ON e.member_id = i.member_id AND e.sequence > i.sequence AND e.recorded_at < i.expires_at
           AND CASE e.kind WHEN 'issue' THEN a.activity IN ('any', 'issue')
                           WHEN 'adjust_in' THEN a.activity IN ('any', 'issue')
                           WHEN 'redeem' THEN a.activity IN ('any', 'redeem')
                           WHEN 'capture' THEN a.activity IN ('any', 'redeem') ELSE false END
           AND (a.activity_where = 'anywhere' OR e.partner_id = i.issuer_id)
         CROSS JOIN ledger.programme p
         WHERE a.expiry_rule = 'inactivity'
         GROUP BY i.member_id, i.lot_id
    )
    SELECT concat_ws('/', i.member_id, i.lot_id) AS id,
           format('matures %s and lapses %s, its terms and what the member did make it %s and %s',
                  coalesce(i.matures_at::text, 'at once'), coalesce(i.expires_at::text, 'never'),
                  CASE WHEN a.maturity_days = 0 THEN 'at once'
                       ELSE (i.occurred_at + make_interval(days => a.maturity_days))::text END,
                  coalesce(greatest(f.at_first, k.until)::text, 'never')) AS message
      FROM issued i
      JOIN partners.agreement a USING (agreement_id)
      JOIN first f USING (agreement_id, counted_from)
      LEFT JOIN active k USING (member_id, lot_id)
     WHERE i.matures_at IS DISTINCT FROM
           CASE WHEN a.maturity_days > 0 THEN i.occurred_at + make_interval(hours => 24 * a.maturity_days) END
        -- What is spent, or lent to a pool's others, is extended no more: then any day from the first to the
        -- last will do.
        OR (a.expiry_rule <> 'inactivity' AND i.expires_at IS DISTINCT FROM f.at_first)
        OR (a.expiry_rule = 'inactivity'
            AND (i.expires_at < f.at_first OR i.expires_at > greatest(f.at_first, k.until)
                 OR (i.left_points > 0 AND i.expires_at <> greatest(f.at_first, k.until))))
     ORDER BY 1
    """  # noqa: S608 - ours
    return findings(lots_lapse_by_their_terms, session, subject="lot", query=query)


def lots_keep_the_day_they_came_with(session: Session) -> Iterator[Finding]:
    """A lot expires on the day it came with, which the chain seals, but where something moved that."""
    # Activity moves it, to a day counted from the activity; and giving points back may, by a grace period.
    query = f"""
    WITH moved AS ({_MOVED})
    SELECT concat_ws('/', l.member_id, l.lot_id) AS id,
           format('expires %s and came with %s, and nothing moved it there',
                  coalesce(l.expires_at::text, 'never'), coalesce(l.first_expires_at::text, 'never'))
                  AS message
      FROM ledger.lot l
      LEFT JOIN partners.agreement a USING (agreement_id)
     CROSS JOIN ledger.programme p
     WHERE l.expires_at IS DISTINCT FROM l.first_expires_at
       AND NOT EXISTS (SELECT FROM moved m WHERE m.member_id = l.member_id AND m.lot_id = l.lot_id)
       AND NOT EXISTS (
           SELECT FROM ledger.transaction t
            WHERE a.expiry_rule = 'inactivity' AND t.member_id = l.member_id AND t.sequence > l.sequence
              AND t.kind IN ('issue', 'adjust_in', 'redeem', 'capture')
              AND l.expires_at = {_kept_until("t.recorded_at", "a.expiry_months", "p.zone")})
     ORDER BY 1
    """  # noqa: S608 - ours
    return findings(lots_keep_the_day_they_came_with, session, subject="lot", query=query)
