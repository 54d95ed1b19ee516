"""Settlement: windows, runs, who owes what, and each partner's statement."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum

import strawberry

from coalition import windows
from coalition.amounts import Points, round_money
from coalition.ids import NETWORK, PartyId
from schema.context import Info
from schema.cost import FEW, Cost
from schema.enums import Kind, RunState
from schema.ids import to_global
from schema.objects.money import Money
from schema.objects.nodes import Node
from schema.viewer import Viewer
from settlement import reads


@strawberry.enum(description="Where a window stands.")
class WindowState(Enum):
    """Its states."""

    OPEN = strawberry.enum_value("open", description="Postings fall into it now.")
    CLOSED = strawberry.enum_value("closed", description="It never changes again.")
    SEALED = strawberry.enum_value("sealed", description="Closed, and its control totals are stored.")


@strawberry.type(
    description="A party of a settlement as it was called on the night: a partner, or the network."
)
class Party:
    """Who owes or is owed."""

    code: str = strawberry.field(description="Its code.")
    name: str = strawberry.field(description="Its name.")
    is_network: bool = strawberry.field(description="Whether it is the network, the counterparty of all.")


@strawberry.type(description="A settlement period. Its business date is its name.")
class SettlementWindow(Node):
    """A window."""

    business_date: dt.date = strawberry.field(description="In the programme's zone.")
    state: WindowState = strawberry.field(description="Where it stands.")
    opened_at: dt.datetime = strawberry.field(description="When it opened.")
    closed_at: dt.datetime | None = strawberry.field(
        description="When it closed and the next opened; null: it is open."
    )

    transactions: int | None = strawberry.field(description="How many it has; null: it is not sealed yet.")
    merkle_root: str | None = strawberry.field(
        description="The Merkle root over its transactions (RFC 9162, 2.1.1), in hex; null: it is not sealed"
        " yet. Keep it in your own books: `Transaction.proof` is checked against it."
    )

    @strawberry.field(description="Its run of settlement that counts; null: none yet, or not yours to see.")
    def run(self, info: Info) -> "SettlementRun | None":
        """The run."""
        return visible_run(info, self.business_date)

    @classmethod
    def of(cls, window: windows.Window) -> "SettlementWindow":
        """As the API shows it."""
        return cls(
            id=to_global("SettlementWindow", window.business_date),
            business_date=window.business_date,
            state=WindowState(window.state),
            opened_at=window.opened_at,
            closed_at=window.closed_at,
            transactions=window.transactions,
            merkle_root=None if window.merkle_root is None else window.merkle_root.hex(),
        )


@strawberry.type(description="What a party receives from the network and pays to it.")
class Position:
    """A party's net."""

    party: Party = strawberry.field(description="Whose.")
    receives: Money = strawberry.field(description="The sum of what it is owed.")
    pays: Money = strawberry.field(description="The sum of what it owes.")
    net: Money = strawberry.field(description="What it receives less what it pays. All nets sum to zero.")


@strawberry.type(description="Points times a price that one party owes another, rounded once.")
class ObligationLine:
    """A line."""

    kind: Kind = strawberry.field(description="What for.")
    debtor: Party = strawberry.field(description="Who owes.")
    creditor: Party = strawberry.field(description="Who is owed.")
    points: Decimal = strawberry.field(description="Points, by the funder's share: so it may be a fraction.")
    price: Decimal = strawberry.field(description="Money per point.")
    amount: Money = strawberry.field(description="What is owed.")


@strawberry.type(description="Points of one issuer that were redeemed at one partner.")
class LiabilityCell:
    """A cell of the matrix."""

    issuer: Party = strawberry.field(description="Who issued them.")
    redeemer: Party = strawberry.field(description="Where they were redeemed.")
    points: Points = strawberry.field(description="How many, less those that reversals gave back.")
    amount: Money | None = strawberry.field(
        description="The redeemer's R times the points; informative: what is owed are the obligations. To a"
        " partner, and in its statement, null where another redeemed them: R is that one's own, and the"
        " network pays it."
    )


@strawberry.type(description="Who redeemed whose points in one window.")
class LiabilityMatrix:
    """The matrix, or a partner's row and column of it."""

    business_date: dt.date = strawberry.field(description="The window.")
    digest: str = strawberry.field(description="Of the run's inputs: the same digest, the same figures.")
    cells: list[LiabilityCell] = strawberry.field(
        description="The cells that are not empty. A partner sees its own row and column.", directives=[FEW]
    )


@strawberry.type(description="What one partner is told of one window.")
class Statement:
    """A statement."""

    business_date: dt.date = strawberry.field(description="The window.")
    closed_at: dt.datetime = strawberry.field(description="When the window closed.")
    digest: str = strawberry.field(description="Of the run's inputs: the same digest, the same bytes.")
    position: Position = strawberry.field(description="The partner's net.")
    lines: list[ObligationLine] = strawberry.field(description="What it is made of.", directives=[FEW])
    matrix: list[LiabilityCell] = strawberry.field(
        description="Its row and column of the matrix.", directives=[FEW]
    )
    csv: str = strawberry.field(
        description="The statement's file as CSV, byte for byte. `GET /statements/{businessDate}.csv` is the"
        " same, as a download."
    )
    json: str = strawberry.field(
        description="The statement's file as JSON, byte for byte. `GET /statements/{businessDate}.json` is"
        " the same."
    )


@strawberry.type(description="One calculation of settlement over a window. Superseded, never edited.")
class SettlementRun(Node):
    """A run; its parts are read when they are asked for."""

    run: strawberry.Private[reads.Run]
    business_date: dt.date = strawberry.field(description="Its window.")
    state: RunState = strawberry.field(description="Where it stands; a held run pays nobody.")
    digest: str = strawberry.field(description="Of its inputs, SHA-256: the same digest is the same run.")
    closed_at: dt.datetime = strawberry.field(description="When its window closed.")
    gross: Money = strawberry.field(description="The sum of all lines.")
    net: Money = strawberry.field(description="The sum of what partners receive in the end.")
    saved: Money = strawberry.field(
        description="Gross less net: the lines that end in no payment to a partner."
    )

    @strawberry.field(
        description="Each party's position; they sum to zero.", directives=[FEW, Cost(weight=5)]
    )
    def positions(self, info: Info) -> list[Position]:
        """Nets."""
        books = info.context.books(self.run)
        return [
            position_of(books.parties[party], position, self.run.currency)
            for party, position in books.positions.items()
        ]

    @strawberry.field(description="All obligations.", directives=[FEW, Cost(weight=5)])
    def lines(self, info: Info) -> list[ObligationLine]:
        """Lines."""
        books = info.context.books(self.run)
        return [line_of(line, books.parties, self.run.currency) for line in books.lines]

    @classmethod
    def of(cls, run: reads.Run) -> "SettlementRun":
        """As the API shows it."""
        return cls(
            id=to_global("SettlementRun", run.run_id),
            run=run,
            business_date=run.business_date,
            state=run.state,
            digest=run.digest,
            closed_at=run.closed_at,
            gross=money(run.gross, run.currency),
            net=money(run.net, run.currency),
            saved=money(run.saved, run.currency),
        )


def sees_runs(viewer: Viewer) -> bool:
    """Whether runs may be seen: they hold every partner's lines."""
    return viewer.is_operator or viewer.is_finance


def visible_run(info: Info, business_date: dt.date) -> SettlementRun | None:
    """The window's run, to the operator and finance."""
    if not sees_runs(info.context.viewer):
        return None
    run = reads.run_in_force(info.context.session, business_date=business_date)
    return None if run is None else SettlementRun.of(run)


def money(amount: Decimal, currency: str) -> Money:
    """The amount with the decimals of its currency's minor unit."""
    return Money(amount=round_money(amount, currency), currency=currency)


def party_of(party: reads.Party) -> Party:
    """As the API shows it."""
    return Party(code=party.code, name=party.name, is_network=party.party_id == NETWORK)


def position_of(party: reads.Party, position: reads.Position, currency: str) -> Position:
    """As the API shows it."""
    return Position(
        party=party_of(party),
        receives=money(position.receives, currency),
        pays=money(position.pays, currency),
        net=money(position.net, currency),
    )


def line_of(line: reads.Obligation, parties: Mapping[PartyId, reads.Party], currency: str) -> ObligationLine:
    """As the API shows it."""
    return ObligationLine(
        kind=line.kind,
        debtor=party_of(parties[line.debtor]),
        creditor=party_of(parties[line.creditor]),
        points=line.points.normalize() + Decimal(0),
        price=line.price.normalize() + Decimal(0),
        amount=money(line.amount, currency),
    )


def cell_of(
    cell: reads.Cell, parties: Mapping[PartyId, reads.Party], currency: str, *, to: PartyId | None
) -> LiabilityCell:
    """As the API shows it to a partner, or, without one, to finance."""
    return LiabilityCell(
        issuer=party_of(parties[cell.issuer]),
        redeemer=party_of(parties[cell.redeemer]),
        points=Points(cell.points),
        amount=money(cell.amount, currency) if cell.tells_amount(to) else None,
    )


def statement_of(statement: reads.Statement) -> Statement:
    """As the API shows it."""
    run = statement.run
    return Statement(
        business_date=run.business_date,
        closed_at=run.closed_at,
        digest=run.digest,
        position=position_of(statement.party, statement.position, run.currency),
        lines=[line_of(line, statement.counterparties, run.currency) for line in statement.lines],
        matrix=[
            cell_of(cell, statement.counterparties, run.currency, to=statement.party.party_id)
            for cell in statement.matrix
        ],
        csv=statement.as_csv,
        json=statement.as_json,
    )
