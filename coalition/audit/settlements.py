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


def lines_are_priced_from_entries(session: Session) -> Iterator[Finding]:
    """Priced again from the window's entries and the agreements, each line is there, with its points."""
    if _nothing_settled(session):
        return
    query = """
    WITH run AS (
        SELECT run_id, business_date,
               CASE WHEN currency IN ('CLP', 'ISK', 'JPY', 'KRW') THEN 1
                    WHEN currency IN ('BHD', 'JOD', 'KWD', 'OMR', 'TND') THEN 0.001
                    ELSE 0.01 END AS unit
          FROM settlement.run
         WHERE state = 'calculated'
    ), moved AS (
        SELECT e.business_date, CASE t.kind WHEN 'capture' THEN 'redeem' WHEN 'adjust_in' THEN 'issue'
                    WHEN 'adjust_out' THEN 'reverse_issue' ELSE t.kind END AS kind,
               t.partner_id, t.agreement_id, e.issuer_id,
               e.agreement_id AS lot_agreement_id, e.funding_plan_id, abs(sum(e.points)) AS points
          FROM ledger.entry e
          JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
          JOIN run USING (business_date)
         WHERE e.lot_id IS NOT NULL
           AND (t.kind, e.bucket) IN (('issue', 'issued'), ('reverse_issue', 'reversed'),
                                      ('adjust_in', 'issued'), ('adjust_out', 'reversed'),
                                      ('redeem', 'burned'), ('capture', 'burned'),
                                      ('reverse_redemption', 'burned'), ('recovery', 'burned'),
                                      ('expire', 'expired'))
         GROUP BY e.business_date, 2, t.partner_id, t.agreement_id, e.issuer_id, e.agreement_id,
                  e.funding_plan_id
    ), owed (business_date, party_id, kind, price, pays, points) AS (
        SELECT m.business_date, coalesce(f.party_id, m.issuer_id), rule.line, rule.price, rule.pays,
               m.points * coalesce(f.ppm, 1000000) / 1000000.0
          FROM moved m
          JOIN partners.agreement a ON a.agreement_id = m.lot_agreement_id
          LEFT JOIN partners.funding_part f ON f.funding_plan_id = m.funding_plan_id
         CROSS JOIN LATERAL (VALUES
               ('issue', 'issue', a.service_fee + a.funding, true),
               ('reverse_issue', 'issue_reversal', a.service_fee + a.funding, false),
               ('redeem', 'redemption_charge', a.redemption_charge, true),
               ('reverse_redemption', 'redemption_charge_reversal', a.redemption_charge, false),
               ('recovery', 'recovery', a.redemption_charge, true),
               ('expire', 'breakage', a.breakage_share * a.funding, false))
               AS rule (cause, line, price, pays)
         WHERE rule.cause = m.kind
         UNION ALL
        SELECT m.business_date, m.partner_id, rule.line,
               CASE WHEN m.partner_id = m.issuer_id THEN a.own_reimbursement ELSE a.reimbursement END,
               rule.pays, m.points
          FROM moved m
          JOIN partners.agreement a ON a.agreement_id = m.agreement_id
          JOIN (VALUES
               ('redeem', 'reimbursement', false),
               ('reverse_redemption', 'reimbursement_reversal', true),
               ('recovery', 'recovery', false)) AS rule (cause, line, pays) ON rule.cause = m.kind
    ), expected AS (
        SELECT run_id,
               CASE WHEN pays THEN party_id ELSE '00000000-0000-0000-0000-000000000000' END AS debtor_id,
               CASE WHEN pays THEN '00000000-0000-0000-0000-000000000000' ELSE party_id END AS creditor_id,
               kind, price::numeric(24, 12) AS price, sum(points) AS points
          FROM owed
          JOIN run USING (business_date)
         WHERE party_id <> '00000000-0000-0000-0000-000000000000'
         GROUP BY run_id, party_id, pays, kind, price, unit
        -- A line that comes to nothing is not made.
        HAVING sum(points) * price > unit / 2
    ), stored AS (
        SELECT l.* FROM settlement.line l JOIN run USING (run_id)
    )
    SELECT concat_ws('/', run_id, debtor_id, creditor_id, kind, price) AS id,
           format('is over %s points, the entries make %s', coalesce(s.points, 0), coalesce(e.points, 0))
               AS message
      FROM stored s
      FULL JOIN expected e USING (run_id, debtor_id, creditor_id, kind, price)
     WHERE s.points IS DISTINCT FROM e.points
     ORDER BY 1
    """
    yield from findings(lines_are_priced_from_entries, session, subject="line", query=query)


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
