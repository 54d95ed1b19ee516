"""What will expire and mature, by issuer and month: what finance asks before it happens.

Of now: it knows no redemption of tomorrow. What is held may come back and lapse, and counts: where its lot
has expired meanwhile, in this month. Not so what a reversal of its issue waits for: that leaves, or is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from coalition import clock
from coalition.amounts import Points, round_money
from coalition.ids import PartnerId
from coalition.programme import get_programme

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


MOST_MONTHS: Final = 120
"""So far ahead can be looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Of one issuer's points, what falls due in one month."""

    issuer_id: PartnerId
    month: date | None
    """Its first day, in the programme's zone; None: points that never expire."""
    expiring: Points
    """That lapse in it if nobody spends them."""
    breakage: Decimal
    """What the network then returns to their funders: beta x f of each lot, rounded here once, half-even."""
    maturing: Points
    """That become spendable in it."""


def expiry_forecast(session: Session, *, months: int, issuer_id: PartnerId | None = None) -> list[Forecast]:
    """The months from this one on, and what never expires, by issuer in the order of their codes.

    What is due and not posted yet counts as gone, as it does in a member's balance.
    """
    programme = get_programme(session)
    rows = session.execute(
        _FORECAST,
        {"now": clock.now(session), "zone": programme.zone, "months": months, "issuer": issuer_id},
    )
    return [_of(row, programme.currency) for row in rows]


def up_to(found: Iterable[Forecast], *, months: int, today: date) -> list[Forecast]:
    """Of a forecast of more months those from this one on, and what never expires."""
    year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
    end = date(year, month + 1, 1)
    return [row for row in found if row.month is None or row.month < end]


def _of(row: Any, currency: str) -> Forecast:
    return Forecast(
        issuer_id=row.issuer_id,
        month=row.month,
        expiring=Points(int(row.expiring)),
        breakage=round_money(Decimal(row.breakage), currency),
        maturing=Points(int(row.maturing)),
    )


_FORECAST: Final = text("""
    WITH living AS (
        SELECT issuer_id, agreement_id, matures_at, pending,
               CASE WHEN expires_at <= :now THEN 0 ELSE pending + available END + held - recalled AS points,
               -- The whole of the last day counts: a lot that ends as a month begins is the month before's.
               CASE WHEN expires_at <= :now THEN :now ELSE expires_at - interval '1 microsecond' END
                   AS last_moment
        FROM ledger.lot
        WHERE pending + available + held > 0 AND (expires_at IS NULL OR expires_at > :now OR held > recalled)
          AND (CAST(:issuer AS uuid) IS NULL OR issuer_id = :issuer)
    ), due AS (
        SELECT issuer_id, agreement_id, points AS expiring, 0 AS maturing,
               date_trunc('month', last_moment AT TIME ZONE :zone)::date AS month
        FROM living WHERE points > 0
        UNION ALL
        SELECT issuer_id, agreement_id, 0, pending, date_trunc('month', matures_at AT TIME ZONE :zone)::date
        FROM living WHERE pending > 0 AND matures_at > :now
    )
    SELECT d.issuer_id, d.month, sum(d.expiring) AS expiring, sum(d.maturing) AS maturing,
           coalesce(sum(d.expiring * a.breakage_share * a.funding) FILTER (WHERE d.month IS NOT NULL), 0)
               AS breakage
    FROM due d
    JOIN partners.agreement a USING (agreement_id)
    JOIN partners.partner p ON p.partner_id = d.issuer_id
    WHERE d.month IS NULL
       OR d.month < date_trunc('month', CAST(:now AS timestamptz) AT TIME ZONE :zone)
                    + make_interval(months => :months)
    GROUP BY p.code, d.issuer_id, d.month
    ORDER BY p.code, d.month NULLS LAST
""")
