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
        SELECT l.member_id, l.lot_id, l.issuer_id, l.sequence, l.matures_at, l.expires_at,
               CASE WHEN lent.lot_id IS NULL THEN l.pending + l.available + l.held END AS left_points,
               p.zone, a.expiry_rule, a.expiry_months,
               a.activity, a.activity_where, t.occurred_at, t.recorded_at, a.maturity_days,
               CASE a.expiry_rule
                   WHEN 'fixed_date' THEN
                       greatest(a.expiry_date, ((t.occurred_at + make_interval(hours => 24 * a.maturity_days))
                                                AT TIME ZONE p.zone)::date)
                   ELSE (t.occurred_at AT TIME ZONE p.zone)::date + make_interval(months => a.expiry_months)
               END AS term,
               a.expiry_date
          FROM ledger.lot l
          JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
          JOIN partners.agreement a ON a.agreement_id = l.agreement_id
          LEFT JOIN moved m ON m.member_id = l.member_id AND m.lot_id = l.lot_id
          LEFT JOIN lent ON lent.member_id = l.member_id AND lent.lot_id = l.lot_id
         CROSS JOIN ledger.programme p
         WHERE t.kind = 'issue' AND m.lot_id IS NULL
    ), ended AS (
        SELECT *,
               CASE expiry_rule
                   WHEN 'end_of_month' THEN date_trunc('month', term) + interval '1 month'
                   WHEN 'end_of_quarter' THEN date_trunc('quarter', term) + interval '3 months'
                   WHEN 'end_of_year' THEN date_trunc('year', term) + interval '1 year'
                   WHEN 'fixed_date' THEN
                       -- The date itself, or its first return in a year in which points reach it.
                       expiry_date
                       + (SELECT make_interval(years => min(n)::int) FROM generate_series(
                              greatest(0, extract(year FROM term)::int - extract(year FROM expiry_date)::int),
                              extract(year FROM term)::int - extract(year FROM expiry_date)::int + 1) AS n
                           WHERE (expiry_date + make_interval(years => n::int))::date >= term)
                       + interval '1 day'
                   ELSE term + interval '1 day'
               END AS day_after
          FROM issued
    ), counted AS (
        SELECT *, {_begins("day_after", "zone")} AS at_first FROM ended
    ), active AS (
        SELECT c.member_id, c.lot_id,
               max({_kept_until("e.recorded_at", "c.expiry_months", "c.zone")}) AS until
          FROM counted c
          JOIN ledger.transaction e
            ON e.member_id = c.member_id AND e.sequence > c.sequence AND e.recorded_at < c.expires_at
           AND CASE e.kind WHEN 'issue' THEN c.activity IN ('any', 'issue')
                           WHEN 'adjust_in' THEN c.activity IN ('any', 'issue')
                           WHEN 'redeem' THEN c.activity IN ('any', 'redeem')
                           WHEN 'capture' THEN c.activity IN ('any', 'redeem') ELSE false END
           AND (c.activity_where = 'anywhere' OR e.partner_id = c.issuer_id)
         WHERE c.expiry_rule = 'inactivity'
         GROUP BY c.member_id, c.lot_id
    )
    SELECT concat_ws('/', c.member_id, c.lot_id) AS id,
           format('matures %s and lapses %s, its terms and what the member did make it %s and %s',
                  coalesce(c.matures_at::text, 'at once'), coalesce(c.expires_at::text, 'never'),
                  CASE WHEN c.maturity_days = 0 THEN 'at once'
                       ELSE (c.occurred_at + make_interval(days => c.maturity_days))::text END,
                  coalesce(greatest(c.at_first, a.until)::text, 'never')) AS message
      FROM counted c
      LEFT JOIN active a USING (member_id, lot_id)
     WHERE c.matures_at IS DISTINCT FROM
           CASE WHEN c.maturity_days > 0 THEN c.occurred_at + make_interval(hours => 24 * c.maturity_days) END
        -- What is spent, or lent to a pool's others, is extended no more: then any day from the first to the
        -- last will do.
        OR (c.expiry_rule <> 'inactivity' AND c.expires_at IS DISTINCT FROM c.at_first)
        OR (c.expiry_rule = 'inactivity'
            AND (c.expires_at < c.at_first OR c.expires_at > greatest(c.at_first, a.until)
                 OR (c.left_points > 0 AND c.expires_at <> greatest(c.at_first, a.until))))
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
