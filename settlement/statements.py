"""Statements and the other papers of a run: rendered from its stored rows and from nothing else.

The same rows give the same bytes. Each paper carries the run's digest and the window's closing
time, and never the time at which it was printed. Money and points are exact: in JSON as strings.
The window's own paper is no part of that: its root is of this database's transactions, and their ids
are no other's.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from coalition.amounts import minor_units, round_money
from coalition.ids import NETWORK, PartyId
from settlement.netting import Obligation
from settlement.obligations import NetworkCost
from settlement.runs import Books

Row = Mapping[str, str]
Paper = Callable[[Books], str]


def statement_rows(books: Books, party: PartyId) -> list[dict[str, str]]:
    """What a party owes and is owed, line by line; what it receives is positive."""
    rows = []
    for line in books.lines:
        if party in (line.debtor, line.creditor):
            owed = line.creditor == party
            rows.append(
                {
                    "kind": line.kind.value,
                    "counterparty": books.code(line.debtor if owed else line.creditor),
                    "points": plain(line.points),
                    "price": plain(line.price),
                    "amount": money(line.amount if owed else -line.amount, books),
                }
            )
    return rows


def matrix_rows(books: Books, party: PartyId | None = None) -> list[dict[str, str]]:
    """The liability matrix, whole or a partner's own row and column; money rounded for display only.

    In a partner's own, no money where another redeemed its points: it would tell that one's price.
    """
    return [
        {
            "issuer": books.code(cell.issuer),
            "redeemer": books.code(cell.redeemer),
            "redeemed_points": str(cell.redeemed_points),
            "returned_points": str(cell.returned_points),
            "points": str(cell.points),
        }
        | (
            {"amount": money(round_money(cell.amount, books.run.currency), books)}
            if cell.tells_amount(party)
            else {}
        )
        for cell in books.matrix
        if party is None or party in (cell.issuer, cell.redeemer)
    ]


def position_rows(books: Books) -> list[dict[str, str]]:
    """Who receives what from the network, and who pays it; the network last."""
    order = sorted(books.positions, key=lambda party: (party == NETWORK, books.code(party)))
    return [
        {
            "partner": books.code(party),
            "name": books.parties[party].name,
            "receives": money(books.positions[party].receives, books),
            "pays": money(books.positions[party].pays, books),
            "net": money(books.positions[party].net, books),
        }
        for party in order
    ]


def roll_forward_rows(books: Books, party: PartyId | None = None) -> list[dict[str, str]]:
    """Points outstanding by issuer, from the last closing to this one."""
    columns = ("opening", "issued", "redeemed", "returned", "expired", "reversed", "closing")
    return [
        {"issuer": books.code(row.issuer)} | {name: str(getattr(row, name)) for name in columns}
        for row in books.roll_forward
        if party is None or party == row.issuer
    ]


def statement_csv(books: Books, party: PartyId) -> str:
    """A partner's statement: its lines, then the net, which is their sum."""
    rows = statement_rows(books, party)
    net = {
        "kind": "net",
        "counterparty": books.code(NETWORK),
        "points": "",
        "price": "",
        "amount": money(books.positions[party].net, books),
    }
    own = {"partner": books.code(party)}
    return _csv(books, (own | row for row in [*rows, net]), _STATEMENT)


def statement_json(books: Books, party: PartyId) -> str:
    """A partner's statement, with its own cells of the liability matrix and its own roll-forward."""
    position = books.positions[party]
    return _json(
        books,
        {
            "partner": books.code(party),
            "name": books.parties[party].name,
            "lines": statement_rows(books, party),
            "receives": money(position.receives, books),
            "pays": money(position.pays, books),
            "net": money(position.net, books),
            "liabilityMatrix": matrix_rows(books, party),
            "rollForward": roll_forward_rows(books, party),
        },
    )


def papers(books: Books) -> dict[str, str]:
    """Every paper of a run by the name of its file, the summary last."""
    made = {}
    for party in books.parties:
        if party != NETWORK:
            made[f"statement-{books.code(party)}.csv"] = statement_csv(books, party)
            made[f"statement-{books.code(party)}.json"] = statement_json(books, party)
    return made | {name: paper(books) for name, paper in _PAPERS.items()}


def _summary(books: Books) -> str:
    run = books.run
    return _json(
        books,
        {
            "run": str(run.run_id),
            "openedAt": _time(run.opened_at),
            "transactions": str(run.transactions),
            "entries": str(run.entries),
            "gross": money(run.gross, books),
            "net": money(run.net, books),
            "saved": money(run.saved, books),
            "margin": money(round_money(run.margin, run.currency), books),
            "networkCosts": [_cost(cost, books) for cost in books.costs],
            "positions": position_rows(books),
            "lines": [_line(line, books) for line in books.lines],
            "rollForward": roll_forward_rows(books),
        },
    )


def _window(books: Books) -> str:
    window = books.window
    assert window.closed_at is not None
    assert window.merkle_root is not None, "a run is of a sealed window"
    told = {
        "businessDate": window.business_date.isoformat(),
        "openedAt": _time(window.opened_at),
        "closedAt": _time(window.closed_at),
        "transactions": str(window.transactions),
        "entries": str(window.entries),
        "merkleRoot": window.merkle_root.hex(),
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n"


def _line(line: Obligation, books: Books) -> dict[str, str]:
    return {
        "debtor": books.code(line.debtor),
        "creditor": books.code(line.creditor),
        "kind": line.kind.value,
        "points": plain(line.points),
        "price": plain(line.price),
        "amount": money(line.amount, books),
    }


def _cost(cost: NetworkCost, books: Books) -> dict[str, str]:
    return {
        "kind": cost.kind.value,
        "points": plain(cost.points),
        "price": plain(cost.price),
        "amount": money(cost.amount, books),
    }


_STATEMENT: Final = ("partner", "kind", "counterparty", "points", "price", "amount")
_MATRIX: Final = ("issuer", "redeemer", "redeemed_points", "returned_points", "points", "amount")
_POSITION: Final = ("partner", "name", "receives", "pays", "net")
_ROLL_FORWARD: Final = (
    "issuer",
    "opening",
    "issued",
    "redeemed",
    "returned",
    "expired",
    "reversed",
    "closing",
)

_PAPERS: Final[Mapping[str, Paper]] = {
    "liability-matrix.csv": lambda books: _csv(books, matrix_rows(books), _MATRIX),
    "liability-matrix.json": lambda books: _json(books, {"cells": matrix_rows(books)}),
    "positions.csv": lambda books: _csv(books, position_rows(books), _POSITION),
    "positions.json": lambda books: _json(books, {"positions": position_rows(books)}),
    "roll-forward.csv": lambda books: _csv(books, roll_forward_rows(books), _ROLL_FORWARD),
    "roll-forward.json": lambda books: _json(books, {"issuers": roll_forward_rows(books)}),
    "window.json": _window,
    "run.json": _summary,
}


def plain(number: Decimal) -> str:
    """A number without trailing zeros and without an exponent."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def money(amount: Decimal, books: Books) -> str:
    """An amount with the decimals of its currency's minor unit."""
    return f"{amount:.{minor_units(books.run.currency)}f}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _csv(books: Books, rows: Iterable[Row], columns: tuple[str, ...]) -> str:
    run = books.run
    about = {"business_date": run.business_date.isoformat()}
    seal = {"currency": run.currency, "closed_at": _time(run.closed_at), "digest": run.digest}
    written = io.StringIO()
    writer = csv.DictWriter(written, [*about, *columns, *seal], lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(about | {name: _cell(name, value) for name, value in row.items()} | seal)
    return written.getvalue()


def _cell(column: str, value: str) -> str:
    # A spreadsheet would run a name that begins like a formula. Numbers may be negative.
    return f"'{value}" if column == "name" and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _json(books: Books, content: Mapping[str, Any]) -> str:
    run = books.run
    head = {
        "businessDate": run.business_date.isoformat(),
        "closedAt": _time(run.closed_at),
        "currency": run.currency,
        "digest": run.digest,
    }
    return orjson.dumps(head | dict(content), option=orjson.OPT_INDENT_2).decode() + "\n"
