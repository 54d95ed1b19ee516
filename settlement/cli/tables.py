"""How settlement's papers look in a terminal."""

from collections.abc import Mapping, Sequence
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from coalition.cli import console

Rows = Sequence[Mapping[str, object]]

DATE: Final = click.DateTime(["%Y-%m-%d"])

POSITIONS: Final = {
    "partner": "partner",
    "name": "name",
    "receives": "receives",
    "pays": "pays",
    "net": "net",
}
MATRIX: Final = {
    "issuer": "issued by",
    "redeemer": "redeemed at",
    "redeemed_points": "redeemed",
    "returned_points": "returned",
    "points": "points",
    "amount": "amount",
}
STATEMENT: Final = {
    "kind": "kind",
    "counterparty": "with",
    "points": "points",
    "price": "price",
    "amount": "amount",
}
ROLL_FORWARD: Final = {
    "issuer": "issuer",
    "opening": "opening",
    "issued": "issued",
    "redeemed": "redeemed",
    "returned": "returned",
    "expired": "expired",
    "reversed": "reversed",
    "closing": "closing",
}

_WORDS: Final = frozenset(
    {"partner", "name", "issuer", "redeemer", "kind", "counterparty", "state", "digest"}
)


def print_papers(title: str, papers: Sequence[tuple[str, Mapping[str, str], Rows]]) -> None:
    """Print some tables under one heading; figures come as text, exact, and stand to the right."""
    screen = console.screen()
    screen.print(Text(title, style="bold"))
    for name, columns, rows in papers:
        table = Table(title=name, title_justify="left", header_style="bold")
        for key, heading in columns.items():
            table.add_column(heading, justify="left" if key in _WORDS else "right")
        for row in rows:
            table.add_row(*(Text("-" if row[key] is None else str(row[key])) for key in columns))
        screen.print(table)
