"""Runs: one calculation of settlement over a sealed window; superseded, never edited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from coalition.ids import PartyId
from coalition.windows import Window, find_window
from settlement import tables
from settlement.inputs import Inputs, Party
from settlement.liability import Cell, RollForward, margin, matrix, roll_forward
from settlement.netting import Kind, Obligation, Position, net, totals
from settlement.obligations import NetworkCost, charge

_RUNS: Final = UUID("5f3f4a0e-6d0c-4b53-9c6e-6b8a3e0f7c21")
"""The namespace of run ids (RFC 9562, version 5)."""


class RunState(StrEnum):
    """Where a run stands."""

    CALCULATED = "calculated"
    HELD = "held"
    """It failed a check, and pays nobody."""
    SUPERSEDED = "superseded"
    """Other inputs gave another run for its window."""


NEXT_STATES: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.CALCULATED: frozenset({RunState.HELD, RunState.SUPERSEDED}),
    RunState.HELD: frozenset({RunState.CALCULATED, RunState.SUPERSEDED}),
    # What was repaired gives the inputs of before, and the same inputs are the same run.
    RunState.SUPERSEDED: frozenset({RunState.CALCULATED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's head: which window, from which inputs, and what it came to."""

    run_id: UUID
    business_date: date
    digest: str
    state: RunState
    currency: str
    opened_at: datetime
    closed_at: datetime
    transactions: int
    entries: int
    gross: Decimal
    net: Decimal
    margin: Decimal
    calculated_at: datetime

    @property
    def saved(self) -> Decimal:
        """Gross less net: the lines that end in no payment to a partner."""
        return self.gross - self.net


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check did not like."""

    check: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A run with all its rows, as statements are printed from it."""

    run: Run
    window: Window
    """As it was sealed."""
    parties: Mapping[PartyId, Party]
    positions: Mapping[PartyId, Position]
    lines: tuple[Obligation, ...]
    costs: tuple[NetworkCost, ...]
    matrix: tuple[Cell, ...]
    roll_forward: tuple[RollForward, ...]

    def code(self, party: PartyId) -> str:
        """What the party is called in files and tables."""
        return self.parties[party].code


def run_in_force(session: Session, *, business_date: date) -> Run | None:
    """The window's run that was not superseded, if there is one."""
    table = tables.run
    row = session.execute(
        select(table).where(table.c.business_date == business_date, table.c.state != RunState.SUPERSEDED)
    ).one_or_none()
    return None if row is None else run_of(row)


def get_run(session: Session, run_id: UUID) -> Run:
    """A run that is known to exist."""
    return run_of(session.execute(select(tables.run).where(tables.run.c.run_id == run_id)).one())


def find_run(session: Session, run_id: UUID) -> Run | None:
    """The run of that id, superseded or not, if there is one."""
    row = session.execute(select(tables.run).where(tables.run.c.run_id == run_id)).one_or_none()
    return None if row is None else run_of(row)


def findings(session: Session, run_id: UUID) -> list[Finding]:
    """Why a run is, or was, held."""
    table = tables.finding
    rows = session.execute(select(table).where(table.c.run_id == run_id).order_by(table.c.ordinal))
    return [Finding(check=row.check_name, message=row.message) for row in rows]


def move(session: Session, run: Run, *, to: RunState) -> None:
    """Change a run's state, along `NEXT_STATES`."""
    assert to in NEXT_STATES[run.state], f"a {run.state} run does not become {to}"
    changed = session.execute(
        update(tables.run)
        .where(tables.run.c.run_id == run.run_id, tables.run.c.state == run.state)
        .values(state=to)
        .returning(tables.run.c.run_id)
    ).all()
    assert len(changed) == 1, "someone else moved the run"


def add_findings(session: Session, run: Run, found: Sequence[Finding]) -> None:
    """Keep what the checks did not like, after what they found before."""
    known = len(findings(session, run.run_id))
    rows = [
        {"run_id": run.run_id, "ordinal": known + place, "check_name": one.check, "message": one.message}
        for place, one in enumerate(found, start=1)
    ]
    if rows:
        session.execute(insert(tables.finding), rows)


def add_run(session: Session, inputs: Inputs) -> Run:
    """Calculate a run and store it with all its rows. The caller has superseded the one before."""
    charged = charge(inputs.movements, currency=inputs.currency)
    positions = net(charged.obligations)
    sums = totals(charged.obligations, positions)
    digest = inputs.digest()
    run_id = uuid5(_RUNS, f"{inputs.window.business_date}:{digest}")
    session.execute(
        insert(tables.run).values(
            run_id=run_id,
            business_date=inputs.window.business_date,
            digest=digest,
            state=RunState.CALCULATED,
            currency=inputs.currency,
            opened_at=inputs.window.opened_at,
            closed_at=inputs.closed_at,
            transactions=inputs.window.transactions,
            entries=inputs.window.entries,
            gross=sums.gross,
            net=sums.net,
            margin=margin(inputs.movements),
        )
    )
    rows: dict[Any, list[dict[str, Any]]] = {
        tables.position: [
            {"party_id": party.party_id, "code": party.code, "name": party.name}
            | _columns(positions.get(party.party_id, Position()), "receives", "pays", "net")
            for party in inputs.parties.values()
        ],
        tables.line: [
            {"debtor_id": one.debtor, "creditor_id": one.creditor}
            | _columns(one, "kind", "price", "points", "amount")
            for one in charged.obligations
        ],
        tables.network_cost: [_columns(one, "kind", "price", "points", "amount") for one in charged.costs],
        tables.liability: [
            {"issuer_id": cell.issuer, "redeemer_id": cell.redeemer}
            | _columns(cell, "redeemed_points", "returned_points", "amount")
            for cell in matrix(inputs.movements)
        ],
        tables.roll_forward: [
            {"issuer_id": row.issuer} | _columns(row, *_ROLL_FORWARD, "closing")
            for row in roll_forward(inputs.movements, opening=inputs.opening)
        ],
    }
    for table, values in rows.items():
        if values:
            session.execute(insert(table), [{"run_id": run_id} | row for row in values])
    return get_run(session, run_id)


def read_books(session: Session, run: Run) -> Books:
    """A run's stored rows, in the order in which they are printed: by code, not by id."""
    parties, positions = {}, {}
    for row in _rows(session, tables.position, run):
        parties[row.party_id] = Party(party_id=row.party_id, code=row.code, name=row.name)
        positions[row.party_id] = Position(receives=row.receives, pays=row.pays)

    def code(party: PartyId) -> str:
        return parties[party].code

    lines = [
        Obligation(
            debtor=row.debtor_id,
            creditor=row.creditor_id,
            kind=Kind(row.kind),
            price=row.price,
            points=row.points,
            amount=row.amount,
        )
        for row in _rows(session, tables.line, run)
    ]
    costs = [
        NetworkCost(kind=Kind(row.kind), price=row.price, points=row.points, amount=row.amount)
        for row in _rows(session, tables.network_cost, run)
    ]
    cells = [
        Cell(
            issuer=row.issuer_id,
            redeemer=row.redeemer_id,
            redeemed_points=row.redeemed_points,
            returned_points=row.returned_points,
            amount=row.amount,
        )
        for row in _rows(session, tables.liability, run)
    ]
    rolled = [
        RollForward(issuer=row.issuer_id, **_columns(row, *_ROLL_FORWARD))
        for row in _rows(session, tables.roll_forward, run)
    ]
    order = list(Kind)
    by_code = sorted(parties, key=code)
    return Books(
        run=run,
        window=find_window(session, run.business_date),
        parties={party: parties[party] for party in by_code},
        positions={party: positions[party] for party in by_code},
        lines=tuple(
            sorted(
                lines,
                key=lambda one: (code(one.debtor), code(one.creditor), order.index(one.kind), one.price),
            )
        ),
        costs=tuple(sorted(costs, key=lambda one: (order.index(one.kind), one.price))),
        matrix=tuple(sorted(cells, key=lambda cell: (code(cell.issuer), code(cell.redeemer)))),
        roll_forward=tuple(sorted(rolled, key=lambda row: code(row.issuer))),
    )


def run_of(row: Any) -> Run:
    """A row of `settlement.run`."""
    values = {name: value for name, value in row._mapping.items() if name != "state"}  # noqa: SLF001 - SQLAlchemy's public name
    return Run(state=RunState(row.state), **values)


_ROLL_FORWARD: Final = ("opening", "issued", "redeemed", "returned", "expired", "reversed")


def _columns(source: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def _rows(session: Session, table: Any, run: Run) -> Sequence[Any]:
    return session.execute(select(table).where(table.c.run_id == run.run_id)).all()
