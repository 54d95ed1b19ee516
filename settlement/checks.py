"""What must hold before anybody is asked to pay: each check is one question to the stored rows.

They are asked in SQL and share no code with what calculated the run. A run that fails one is held.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from coalition.amounts import minor_units
from settlement.runs import Finding, Run

Check = Callable[[Session, Run], Iterator[str]]

_MOST = 20
"""Of one check's findings, as many as are kept: enough to see what is wrong."""


def check(session: Session, run: Run) -> list[Finding]:
    """Everything that the checks don't like about a stored run and the ledger under it."""
    return [Finding(check=one.__name__, message=message) for one in CHECKS for message in one(session, run)]


def entries_sum_to_zero(session: Session, run: Run) -> Iterator[str]:
    """No points are made or lost within a transaction of the window."""
    for row in _ask(session, _UNBALANCED, run):
        yield f"transaction {row.transaction_id} of member {row.member_id} is out by {row.points} points"


_UNBALANCED: Final = text("""
    WITH sums AS MATERIALIZED (  -- or the limit would have it walk an index
        SELECT member_id, transaction_id, sum(points) AS points
          FROM ledger.entry WHERE business_date = :business_date
         GROUP BY member_id, transaction_id
    )
    SELECT * FROM sums WHERE points <> 0 ORDER BY member_id, transaction_id LIMIT :most
""")


def sealed_totals_still_hold(session: Session, run: Run) -> Iterator[str]:
    """The window is what it was when it was sealed: nothing was added, taken away or left an orphan."""
    for row in _ask(session, _RECOUNT, run):
        yield f"{row.what}: {row.sealed} when sealed, {row.counted} now"


_RECOUNT: Final = text("""
    WITH counted AS (
        SELECT t.kind, e.bucket, count(*) AS entries, sum(e.points) AS points
          FROM ledger.entry e JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
         WHERE e.business_date = :business_date AND t.business_date = :business_date
         GROUP BY t.kind, e.bucket
    ), sealed AS (
        SELECT kind, bucket, entries, points FROM ledger.window_total WHERE business_date = :business_date
    )
    SELECT 'entries of ' || kind || ' in ' || bucket AS what,
           coalesce(s.entries, 0) || ' entries, ' || coalesce(s.points, 0) || ' points' AS sealed,
           coalesce(c.entries, 0) || ' entries, ' || coalesce(c.points, 0) || ' points' AS counted
      FROM sealed s FULL JOIN counted c USING (kind, bucket)
     WHERE (s.entries, s.points) IS DISTINCT FROM (c.entries, c.points)
    UNION ALL
    SELECT 'transactions', w.transactions::text, c.transactions::text
      FROM ledger.settlement_window w,
           (SELECT count(*) AS transactions FROM ledger.transaction WHERE business_date = :business_date) c
     WHERE w.business_date = :business_date AND w.transactions IS DISTINCT FROM c.transactions
    UNION ALL
    SELECT 'entries', w.entries::text, c.entries::text
      FROM ledger.settlement_window w,
           (SELECT count(*) AS entries FROM ledger.entry WHERE business_date = :business_date) c
     WHERE w.business_date = :business_date AND w.entries IS DISTINCT FROM c.entries
     LIMIT :most
""")


def lots_balances_and_entries_agree(session: Session, run: Run) -> Iterator[str]:
    """Of each member who moved: lots are what their entries make them, the balance what the lots sum to."""
    for row in _ask(session, _LOTS, run):
        yield f"lot {row.lot_id} of member {row.member_id} is not what its entries make it"
    for row in _ask(session, _HEADS, run):
        yield f"the balance of member {row.member_id} is not the sum of the lots and deficits"


# Lots and entries both as of now, later windows included: one snapshot, so they must agree.
_LOTS: Final = text("""
    WITH moved AS (
        SELECT DISTINCT member_id FROM ledger.transaction WHERE business_date = :business_date
    ), derived AS (
        SELECT member_id, e.lot_id,
               -coalesce(sum(e.points) FILTER (WHERE e.bucket IN ('issued', 'received')), 0) AS points,
               coalesce(sum(e.points) FILTER (WHERE e.bucket = 'pending'), 0) AS pending,
               coalesce(sum(e.points) FILTER (WHERE e.bucket = 'available'), 0) AS available,
               coalesce(sum(e.points) FILTER (WHERE e.bucket = 'held'), 0) AS held,
               coalesce(sum(e.points) FILTER (WHERE e.bucket = 'burned'), 0) AS burned,
               coalesce(sum(e.points) FILTER (WHERE e.bucket = 'expired'), 0) AS expired,
               coalesce(sum(e.points) FILTER (WHERE e.bucket = 'reversed'), 0) AS reversed
          FROM ledger.entry e JOIN moved USING (member_id)
         WHERE e.lot_id IS NOT NULL
         GROUP BY member_id, e.lot_id
    ), stored AS (
        SELECT member_id, lot_id, points, pending, available, held, burned, expired, reversed
          FROM ledger.lot JOIN moved USING (member_id)
    )
    SELECT member_id, lot_id
      FROM stored s FULL JOIN derived d USING (member_id, lot_id)
     WHERE (s.points, s.pending, s.available, s.held, s.burned, s.expired, s.reversed)
           IS DISTINCT FROM (d.points, d.pending, d.available, d.held, d.burned, d.expired, d.reversed)
     ORDER BY member_id, lot_id LIMIT :most
""")

_HEADS: Final = text("""
    WITH moved AS (
        SELECT DISTINCT member_id FROM ledger.transaction WHERE business_date = :business_date
    ), derived AS (
        SELECT member_id, sum(pending) AS pending, sum(available) AS available, sum(held) AS held
          FROM ledger.lot JOIN moved USING (member_id) GROUP BY member_id
    ), owed AS (
        SELECT member_id, sum(open_points) AS deficit
          FROM ledger.deficit JOIN moved USING (member_id) GROUP BY member_id
    )
    SELECT member_id
      FROM moved
      LEFT JOIN ledger.member_head h USING (member_id)
      LEFT JOIN derived d USING (member_id)
      LEFT JOIN owed o USING (member_id)
     WHERE (h.pending, h.available, h.held, h.deficit) IS DISTINCT FROM
           (coalesce(d.pending, 0), coalesce(d.available, 0), coalesce(d.held, 0), coalesce(o.deficit, 0))
     ORDER BY member_id LIMIT :most
""")


def each_move_is_in_exactly_one_window(session: Session, run: Run) -> Iterator[str]:
    """All windows' moves together are what the lots say: a burn in two windows or in none would show."""
    for row in _ask(session, _WINDOWS_AND_LOTS, run):
        yield (f"{row.what} points of {row.code}: {row.in_windows} by the windows, {row.in_lots} by the lots")


# Runs up to this one, and the entries of the windows after it, against the lots of this snapshot.
_WINDOWS_AND_LOTS: Final = text("""
    WITH settled AS (
        SELECT r.issuer_id, sum(r.issued) AS issued, sum(r.redeemed - r.returned) AS burned,
               sum(r.expired) AS expired, sum(r.reversed) AS reversed
          FROM settlement.roll_forward r JOIN settlement.run USING (run_id)
         WHERE run.business_date <= :business_date AND run.state <> 'superseded'
         GROUP BY r.issuer_id
    ), later AS (
        SELECT issuer_id,
               -coalesce(sum(points) FILTER (WHERE bucket = 'issued'), 0) AS issued,
               coalesce(sum(points) FILTER (WHERE bucket = 'burned'), 0) AS burned,
               coalesce(sum(points) FILTER (WHERE bucket = 'expired'), 0) AS expired,
               coalesce(sum(points) FILTER (WHERE bucket = 'reversed'), 0) AS reversed
          FROM ledger.entry
         WHERE business_date > :business_date AND lot_id IS NOT NULL
         GROUP BY issuer_id
    ), lots AS (
        -- A lot that came from another holds no new points.
        SELECT issuer_id, coalesce(sum(points) FILTER (WHERE from_lot_id IS NULL), 0) AS issued,
               sum(burned) AS burned, sum(expired) AS expired,
               sum(reversed) AS reversed, sum(pending + available + held) AS outstanding
          FROM ledger.lot GROUP BY issuer_id
    ), by_windows AS (
        SELECT issuer_id, sum(issued) AS issued, sum(burned) AS burned, sum(expired) AS expired,
               sum(reversed) AS reversed, sum(issued - burned - expired - reversed) AS outstanding
          FROM (SELECT * FROM settled UNION ALL SELECT * FROM later) AS both_of_them
         GROUP BY issuer_id
    ), compared AS (
        SELECT issuer_id, what, coalesce(in_windows, 0) AS in_windows, coalesce(in_lots, 0) AS in_lots
          FROM by_windows w FULL JOIN lots l USING (issuer_id),
               LATERAL (VALUES ('issued', w.issued, l.issued),
                               ('redeemed', w.burned, l.burned),
                               ('expired', w.expired, l.expired),
                               ('reversed', w.reversed, l.reversed),
                               ('outstanding', w.outstanding, l.outstanding)
               ) AS v (what, in_windows, in_lots)
    )
    SELECT coalesce(p.code, issuer_id::text) AS code, what, in_windows, in_lots
      FROM compared LEFT JOIN partners.partner p ON p.partner_id = issuer_id
     WHERE in_windows <> in_lots ORDER BY code, what LIMIT :most
""")


def liability_rolls_forward(session: Session, run: Run) -> Iterator[str]:
    """Each issuer opens with what the run before closed with, and nobody is forgotten."""
    for row in _ask(session, _ROLLS, run):
        yield f"{row.code} opens with {row.opening} points, the run before closed with {row.closing}"


_ROLLS: Final = text("""
    WITH before AS (
        SELECT issuer_id, closing FROM settlement.roll_forward
         WHERE run_id = (SELECT run_id FROM settlement.run
                          WHERE state <> 'superseded' AND business_date < :business_date
                          ORDER BY business_date DESC LIMIT 1)
    ), now AS (SELECT issuer_id, opening FROM settlement.roll_forward WHERE run_id = :run_id)
    SELECT p.code, coalesce(now.opening, 0) AS opening, coalesce(before.closing, 0) AS closing
      FROM now FULL JOIN before USING (issuer_id) JOIN partners.partner p ON p.partner_id = issuer_id
     WHERE coalesce(now.opening, 0) <> coalesce(before.closing, 0) ORDER BY p.code LIMIT :most
""")


def lines_follow_from_entries(session: Session, run: Run) -> Iterator[str]:
    """Each line's points, recomputed from the entries; its amount is points x price but for the rounding."""
    half = Decimal(1).scaleb(-minor_units(run.currency)) / 2
    for row in _ask(session, _LINES, run, half=half):
        yield (
            f"{row.kind} at {row.price} from {row.debtor} to {row.creditor}: "
            f"{row.points} points for {row.amount}, the entries say {row.derived} points"
        )


_LINES: Final = text("""
    WITH legs AS (
        SELECT CASE t.kind WHEN 'capture' THEN 'redeem' WHEN 'adjust_in' THEN 'issue'
                    WHEN 'adjust_out' THEN 'reverse_issue' ELSE t.kind END AS cause, t.partner_id,
               t.agreement_id AS own_id, e.issuer_id, e.agreement_id,
               e.funding_plan_id, abs(sum(e.points)) AS points
          FROM ledger.transaction t JOIN ledger.entry e USING (member_id, business_date, transaction_id)
         WHERE e.business_date = :business_date AND t.business_date = :business_date
           AND e.issuer_id IS NOT NULL AND e.bucket NOT IN ('pending', 'available', 'held')
         GROUP BY 1, 2, 3, 4, 5, 6
    ), funded AS (
        SELECT legs.*, issuer_id AS party_id, 1000000 AS ppm FROM legs WHERE funding_plan_id IS NULL
         UNION ALL
        SELECT legs.*, f.party_id, f.ppm FROM legs JOIN partners.funding_part f USING (funding_plan_id)
    ), owed AS (
        SELECT r.kind, r.pays, f.party_id, f.points * f.ppm AS parts,
               CASE r.price WHEN 'c1' THEN a.service_fee + a.funding
                            WHEN 'c2' THEN a.redemption_charge
                            ELSE a.breakage_share * a.funding END AS price
          FROM funded f
          JOIN partners.agreement a USING (agreement_id)
          JOIN (VALUES ('issue', 'issue', true, 'c1'),
                       ('reverse_issue', 'issue_reversal', false, 'c1'),
                       ('redeem', 'redemption_charge', true, 'c2'),
                       ('recovery', 'recovery', true, 'c2'),
                       ('reverse_redemption', 'redemption_charge_reversal', false, 'c2'),
                       ('expire', 'breakage', false, 'bf')) AS r (cause, kind, pays, price) USING (cause)
         UNION ALL
        SELECT r.kind, r.pays, l.partner_id, l.points * 1000000,
               CASE WHEN l.partner_id = l.issuer_id THEN a.own_reimbursement ELSE a.reimbursement END
          FROM legs l
          JOIN partners.agreement a ON a.agreement_id = l.own_id
          JOIN (VALUES ('redeem', 'reimbursement', false),
                       ('recovery', 'recovery', false),
                       ('reverse_redemption', 'reimbursement_reversal', true)) AS r (cause, kind, pays)
         USING (cause)
    ), network AS (
        SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id
    ), derived AS (
        SELECT CASE WHEN pays THEN party_id ELSE network.id END AS debtor_id,
               CASE WHEN pays THEN network.id ELSE party_id END AS creditor_id,
               kind, price, sum(parts) / 1000000 AS points
          FROM owed, network WHERE party_id <> network.id AND price > 0
         GROUP BY 1, 2, 3, 4
    ), stored AS (
        SELECT debtor_id, creditor_id, kind, price, points, amount FROM settlement.line WHERE run_id = :run_id
    )
    SELECT kind, trim_scale(price) AS price, debtor.code AS debtor, creditor.code AS creditor,
           trim_scale(s.points) AS points, s.amount, trim_scale(d.points) AS derived
      FROM stored s FULL JOIN derived d USING (debtor_id, creditor_id, kind, price)
      LEFT JOIN partners.partner debtor ON debtor.partner_id = debtor_id
      LEFT JOIN partners.partner creditor ON creditor.partner_id = creditor_id
     WHERE (s.points IS NOT NULL OR d.points * price > :half)
       AND coalesce(s.points, 0) <> coalesce(d.points, 0)
        OR abs(coalesce(s.amount, 0) - coalesce(d.points, 0) * price) > :half
     ORDER BY kind, price LIMIT :most
""")


def lines_sum_to_positions(session: Session, run: Run) -> Iterator[str]:
    """Each party's position is the sum of its lines."""
    for row in _ask(session, _POSITIONS, run):
        yield (
            f"{row.code} receives {row.receives} and pays {row.pays}, the lines say {row.owed} and {row.owes}"
        )


_POSITIONS: Final = text("""
    SELECT p.code, p.receives, p.pays, coalesce(i.amount, 0) AS owed, coalesce(o.amount, 0) AS owes
      FROM settlement.position p
      LEFT JOIN (SELECT creditor_id, sum(amount) AS amount FROM settlement.line WHERE run_id = :run_id
                  GROUP BY creditor_id) i ON i.creditor_id = p.party_id
      LEFT JOIN (SELECT debtor_id, sum(amount) AS amount FROM settlement.line WHERE run_id = :run_id
                  GROUP BY debtor_id) o ON o.debtor_id = p.party_id
     WHERE p.run_id = :run_id AND (p.receives, p.pays) <> (coalesce(i.amount, 0), coalesce(o.amount, 0))
     ORDER BY p.code LIMIT :most
""")


def positions_sum_to_zero(session: Session, run: Run) -> Iterator[str]:
    """What the network pays is what it is paid."""
    for row in _ask(session, _ZERO, run):
        yield f"the positions sum to {row.net}"


_ZERO: Final = text("""
    SELECT sum(net) AS net FROM settlement.position WHERE run_id = :run_id
    HAVING sum(net) <> 0 LIMIT :most
""")


CHECKS: Final[tuple[Check, ...]] = (
    entries_sum_to_zero,
    sealed_totals_still_hold,
    lots_balances_and_entries_agree,
    each_move_is_in_exactly_one_window,
    liability_rolls_forward,
    lines_follow_from_entries,
    lines_sum_to_positions,
    positions_sum_to_zero,
)
"""All that is asked, from the ledger's smallest part to the sum of everything."""


def _ask(session: Session, question: TextClause, run: Run, **more: Any) -> Any:
    known = {"run_id": run.run_id, "business_date": run.business_date, "most": _MOST, **more}
    wanted = {name: known[name] for name in question._bindparams}  # noqa: SLF001 - a text's own parameters
    return session.execute(question, wanted)
