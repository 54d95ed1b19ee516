"""What the demo tells at its end, in tables, from what the nights stored."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text
from sqlalchemy import text
from sqlalchemy.orm import Session

from coalition.cli.console import print_table, screen
from schema.demo.cast import PARTNERS, Terms

_ISSUED: Final = text("""
    SELECT p.code, sum(t.points) FILTER (WHERE t.kind = 'issue')::bigint AS issued,
           sum(t.points) FILTER (WHERE t.kind = 'reverse_issue')::bigint AS reversed,
           sum(t.points) FILTER (WHERE t.kind = 'redeem')::bigint AS redeemed,
           count(*) AS postings
      FROM ledger.transaction t
      JOIN partners.partner p USING (partner_id)
     WHERE t.kind NOT IN ('mature', 'expire')
     GROUP BY p.code
""")

_BY_ITSELF: Final = text("""
    SELECT kind, count(*) AS times, sum(points)::bigint AS points
      FROM ledger.transaction
     WHERE kind IN ('mature', 'expire')
     GROUP BY kind
""")

_MATRIX: Final = text("""
    SELECT issuer.code AS issuer, redeemer.code AS redeemer,
           sum(l.redeemed_points - l.returned_points)::bigint AS points
      FROM settlement.liability l
      JOIN settlement.run r USING (run_id)
      JOIN settlement.position issuer ON issuer.run_id = l.run_id AND issuer.party_id = l.issuer_id
      JOIN settlement.position redeemer ON redeemer.run_id = l.run_id AND redeemer.party_id = l.redeemer_id
     WHERE r.state = 'calculated'
     GROUP BY issuer.code, redeemer.code
""")

_POSITIONS: Final = text("""
    WITH last AS (SELECT max(business_date) AS business_date FROM settlement.run WHERE state = 'calculated')
    SELECT p.code, p.name,
           coalesce(sum(p.net) FILTER (WHERE r.business_date = last.business_date), 0) AS last_night,
           sum(p.receives) AS receives, sum(p.pays) AS pays, sum(p.net) AS net
      FROM settlement.position p
      JOIN settlement.run r USING (run_id)
     CROSS JOIN last
     WHERE r.state = 'calculated'
     GROUP BY p.code, p.name
     ORDER BY p.code = 'network', sum(p.net) DESC, p.code
""")

_RUNS: Final = text("""
    SELECT count(*) AS nights, sum(gross) AS gross, sum(net) AS net, max(currency) AS currency,
           max(business_date) AS last_date, (array_agg(digest ORDER BY business_date DESC))[1] AS digest
      FROM settlement.run
     WHERE state = 'calculated'
""")


def tell_partners(session: Session) -> None:
    """Who takes part, on which terms, and how many points each issued and redeemed."""
    moved = {row.code: row for row in session.execute(_ISSUED)}
    rows = []
    for terms in PARTNERS:
        row = moved.get(terms.code)
        rows.append(
            {
                "name": terms.name,
                "code": terms.code,
                "pays": _model(terms),
                "earns": terms.earns,
                "matures": f"{terms.maturity_days} days" if terms.maturity_days else "at once",
                "expires": f"{terms.expiry_months} months" if terms.expiry_months else "never",
                "issued": (row and row.issued) or 0,
                "reversed": (row and row.reversed) or 0,
                "redeemed": (row and row.redeemed) or 0,
            }
        )
    print_table(
        rows,
        title="Partners, their terms, and the points that they issued and redeemed",
        columns={
            "name": "Partner",
            "code": "Code",
            "pays": "Pays for its points",
            "earns": "Points/USD",
            "matures": "Mature",
            "expires": "Expire after",
            "issued": "Issued",
            "reversed": "Reversed",
            "redeemed": "Redeemed here",
        },
    )
    for row in session.execute(_BY_ITSELF):
        what = "matured" if row.kind == "mature" else "expired"
        click.echo(f"By themselves {row.points:,} points {what}, at {row.times:,} times.")


def tell_matrix(session: Session) -> None:
    """Who redeemed whose points."""
    cells = {(row.issuer, row.redeemer): row.points for row in session.execute(_MATRIX)}
    codes = [terms.code for terms in PARTNERS]
    table = Table(
        title="Liability matrix: points of each issuer (down), by where they were redeemed (across)",
        title_justify="left",
        header_style="bold",
    )
    table.add_column("Issuer")
    for code in [*codes, "all"]:
        table.add_column(code, justify="right")
    for issuer in codes:
        row = [cells.get((issuer, redeemer), 0) for redeemer in codes]
        table.add_row(issuer, *(Text(f"{points:,}" if points else "-") for points in [*row, sum(row)]))
    across = [sum(cells.get((issuer, redeemer), 0) for issuer in codes) for redeemer in codes]
    table.add_row("all", *(f"{points:,}" for points in [*across, sum(across)]), style="bold")
    screen().print(table)


def tell_settlement(session: Session) -> None:
    """What each partner pays and receives, and what netting spared."""
    run = session.execute(_RUNS).one()
    print_table(
        [
            {
                "name": "The network" if row.code == "network" else row.name,
                "last_night": _cents(row.last_night),
                "receives": _cents(row.receives),
                "pays": _cents(row.pays),
                "net": _cents(row.net),
            }
            for row in session.execute(_POSITIONS)
        ],
        title=f"Net positions in {run.currency}: + receives, - pays; each column sums to zero",
        columns={
            "name": "Partner",
            "last_night": f"Night of {run.last_date}",
            "receives": "Receives, all nights",
            "pays": "Pays, all nights",
            "net": "Net, all nights",
        },
    )
    saved = run.gross - run.net
    click.echo(
        f"{run.nights} nights. Bilaterally {run.gross:,.2f} {run.currency} would have changed hands; "
        f"netted each night through the network, {run.net:,.2f} did. "
        f"Saved: {saved:,.2f} ({saved / run.gross:.0%})."
        if run.gross
        else f"{run.nights} nights, and nothing to pay."
    )
    click.echo(f"Digest of the last run: {run.digest}")


def tell_member(member: Mapping[str, Any], *, card: str) -> None:
    """One member's balance as that member sees it, with where each point came from."""
    balance = member["balance"]
    click.echo(
        f"Member with card {card}, as seen with the member's own token: {int(balance['available']):,} points "
        f"available, {int(balance['pending']):,} not matured."
    )
    print_table(
        [
            {
                "issuer": part["issuer"]["name"],
                "available": int(part["available"]),
                "pending": int(part["pending"]),
                "first": _first_expiry(balance["expiring"], part["issuer"]["name"]),
            }
            for part in balance["byIssuer"]
        ],
        title="Where each point came from",
        columns={
            "issuer": "Issued by",
            "available": "Available",
            "pending": "Pending",
            "first": "Expire first",
        },
    )
    print_table(
        [
            {
                "at": one["occurredAt"][:10],
                "kind": one["kind"].replace("_", " ").lower(),
                "points": int(one["points"]),
                "partner": one["partner"]["name"] if one["partner"] else "the network",
                "why": one["explanation"],
            }
            for one in member["transactions"]["nodes"]
        ],
        title="The member's latest transactions",
        columns={"at": "Occurred", "kind": "Kind", "points": "Points", "partner": "At", "why": "Why"},
    )


def _model(terms: Terms) -> str:
    share = terms.paid_up_front
    if share == 1:
        return "when issued"
    return "when redeemed" if share == 0 else f"{share:.0%} when issued"


def _cents(amount: Decimal) -> Decimal:
    # Amounts are whole cents, stored with room for currencies that have smaller units.
    return amount.quantize(Decimal("0.01"))


def _first_expiry(expiring: list[Mapping[str, Any]], issuer: str) -> str:
    of_issuer = [part for part in expiring if part["issuer"]["name"] == issuer]
    return f"{int(of_issuer[0]['points']):,} on {of_issuer[0]['on']}" if of_issuer else "later"
