"""Settlement: what was worked out sums to zero, and is what the lines say.

The tables belong to a room above; where it has not been built, there is nothing to check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings, scalars

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def _nothing_settled(session: Session) -> bool:
    return bool(scalars(session, "SELECT to_regclass('settlement.run') IS NULL")[0])


def positions_sum_to_zero(session: Session) -> Iterator[Finding]:
    """Invariant 7: in each run what some receive others pay, the network included."""
    if _nothing_settled(session):
        return
    query = """
    SELECT r.run_id::text AS id,
           format('the positions of %s sum to %s %s', r.business_date, coalesce(sum(p.net), 0), r.currency)
                   AS message
      FROM settlement.run r
      LEFT JOIN settlement.position p USING (run_id)
     GROUP BY r.run_id, r.business_date, r.currency
    HAVING coalesce(sum(p.net), 0) <> 0 OR count(p.party_id) = 0
     ORDER BY 1
    """
    yield from findings(positions_sum_to_zero, session, subject="run", query=query)


def positions_are_sums_of_lines(session: Session) -> Iterator[Finding]:
    """Invariant 7: a party receives and pays what its lines say, and nets the two."""
    if _nothing_settled(session):
        return
    query = """
    WITH sides AS (
        SELECT run_id, creditor_id AS party_id, amount AS receives, 0 AS pays FROM settlement.line
         UNION ALL
        SELECT run_id, debtor_id, 0, amount FROM settlement.line
    ), summed AS (
        SELECT run_id, party_id, sum(receives) AS receives, sum(pays) AS pays FROM sides GROUP BY run_id,
                party_id
    )
    SELECT concat_ws('/', run_id, party_id) AS id,
           format('receives %s, pays %s, net %s; its lines make %s and %s', p.receives, p.pays, p.net,
                  coalesce(s.receives, 0), coalesce(s.pays, 0)) AS message
      FROM settlement.position p
      FULL JOIN summed s USING (run_id, party_id)
     WHERE (p.receives, p.pays) IS DISTINCT FROM (coalesce(s.receives, 0), coalesce(s.pays, 0))
        OR p.net <> p.receives - p.pays
     ORDER BY 1
    """
    yield from findings(positions_are_sums_of_lines, session, subject="position", query=query)


def runs_agree_with_lines(session: Session) -> Iterator[Finding]:
    """A run's gross is the sum of its lines, its net the sum of what partners receive."""
    if _nothing_settled(session):
        return
    query = """
    WITH summed AS (
        SELECT r.run_id,
               (SELECT coalesce(sum(amount), 0) FROM settlement.line l WHERE l.run_id = r.run_id) AS gross,
               (SELECT coalesce(sum(net), 0) FROM settlement.position p
                 WHERE p.run_id = r.run_id AND p.net > 0
                   AND p.party_id <> '00000000-0000-0000-0000-000000000000') AS net
          FROM settlement.run r
    )
    SELECT r.run_id::text AS id,
           format('gross %s, net %s; its lines and positions make %s and %s', r.gross, r.net, s.gross,
                   s.net) AS message
      FROM settlement.run r
      JOIN summed s USING (run_id)
     WHERE (r.gross, r.net) <> (s.gross, s.net)
     ORDER BY 1
    """
    yield from findings(runs_agree_with_lines, session, subject="run", query=query)


def runs_are_of_their_window(session: Session) -> Iterator[Finding]:
    """A run is over a sealed window, as that was sealed; each window has at most one run in force."""
    if _nothing_settled(session):
        return
    query = """
    SELECT r.run_id::text AS id,
           format('over %s transactions and %s entries of %s; the window is %s with %s and %s',
                  r.transactions, r.entries, r.business_date, coalesce(w.state, 'not there'),
                  coalesce(w.transactions, 0), coalesce(w.entries, 0)) AS message
      FROM settlement.run r
      LEFT JOIN ledger.settlement_window w USING (business_date)
     WHERE w.state IS DISTINCT FROM 'sealed'
        OR (r.opened_at, r.closed_at, r.transactions, r.entries)
           IS DISTINCT FROM (w.opened_at, w.closed_at, w.transactions, w.entries)
     UNION ALL
    SELECT business_date::text, format('%s runs are in force', count(*))
      FROM settlement.run
     WHERE state <> 'superseded'
     GROUP BY business_date
    HAVING count(*) > 1
     ORDER BY 1
    """
    yield from findings(runs_are_of_their_window, session, subject="run", query=query)


def lines_are_rounded_once(session: Session) -> Iterator[Finding]:
    """A line's amount is its points times its price, half-even, to the currency's minor unit."""
    if _nothing_settled(session):
        return
    query = """
    WITH unit (currency, size) AS (VALUES
        ('BHD', 0.001), ('CLP', 1.0), ('ISK', 1.0), ('JOD', 0.001), ('JPY', 1.0), ('KRW', 1.0), ('KWD',
                0.001),
        ('OMR', 0.001), ('TND', 0.001)
    ), counted AS (
        SELECT l.*, l.points * l.price / coalesce(u.size, 0.01) AS exact, l.amount / coalesce(u.size,
                0.01) AS whole
          FROM settlement.line l
          JOIN settlement.run r USING (run_id)
          LEFT JOIN unit u USING (currency)
    )
    SELECT concat_ws('/', run_id, debtor_id, creditor_id, kind, price) AS id,
           format('%s points at %s are not %s', points, price, amount) AS message
      FROM counted
     WHERE whole <> trunc(whole) OR abs(exact - whole) > 0.5 OR (abs(exact - whole) = 0.5 AND mod(whole,
             2) <> 0)
     ORDER BY 1
    """
    yield from findings(lines_are_rounded_once, session, subject="line", query=query)


def liabilities_roll_forward(session: Session) -> Iterator[Finding]:
    """What an issuer's points came to at a window's close is what all entries up to it leave outstanding."""
    if _nothing_settled(session):
        return
    query = """
    WITH daily AS (
        SELECT issuer_id, business_date, sum(points) AS moved
          FROM ledger.entry
         WHERE bucket IN ('pending', 'available', 'held') AND lot_id IS NOT NULL
         GROUP BY issuer_id, business_date
    ), stored AS (
        SELECT f.run_id, f.issuer_id, r.business_date, f.closing
          FROM settlement.roll_forward f
          JOIN settlement.run r USING (run_id)
         WHERE r.state <> 'superseded'
    )
    SELECT concat_ws('/', s.run_id, s.issuer_id) AS id,
           format('%s points outstanding after %s, the entries leave %s', s.closing, s.business_date,
                  coalesce(sum(d.moved), 0)) AS message
      FROM stored s
      LEFT JOIN daily d ON d.issuer_id = s.issuer_id AND d.business_date <= s.business_date
     GROUP BY s.run_id, s.issuer_id, s.business_date, s.closing
    HAVING s.closing <> coalesce(sum(d.moved), 0)
     ORDER BY 1
    """
    yield from findings(liabilities_roll_forward, session, subject="roll_forward", query=query)
