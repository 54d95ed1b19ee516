"""The run of a sealed window: calculate it or find it, check it, and say in which state it stands."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from coalition.db import Database
from settlement import tables
from settlement.checks import check
from settlement.inputs import Inputs, read_inputs
from settlement.runs import (
    Finding,
    Run,
    RunState,
    add_findings,
    add_run,
    get_run,
    move,
    run_in_force,
    run_of,
)

# All questions of one run are asked of one snapshot, while tills go on posting into the next window.
_ONE_SNAPSHOT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
# The planner takes the join of a window's entries with their transactions for a handful of rows, since
# it multiplies the odds of each key column, and would sort half a million instead of hashing them.
_IN_BULK: Final = text("""
    SELECT set_config('statement_timeout', '0', true),
           set_config('idle_in_transaction_session_timeout', '0', true),
           set_config('work_mem', '128MB', true),
           set_config('enable_sort', 'off', true)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A window's run, and what the checks did not like about it."""

    run: Run
    findings: tuple[Finding, ...]


def calculate(db: Database, *, business_date: date) -> Outcome:
    """The run of a sealed window, in one transaction; safe to repeat.

    The same inputs are the same run: it is found, and checked again. Other inputs are another run,
    which supersedes the one before. A run that fails a check is held.
    """
    with db.unit_of_work() as session:
        session.execute(_ONE_SNAPSHOT)
        work_in_bulk(session)
        inputs = read_inputs(session, business_date=business_date)
        run = _run(session, inputs)
        found = check(session, run)
        if found and run.state is RunState.CALCULATED:
            move(session, run, to=RunState.HELD)
            add_findings(session, run, found)
        elif not found and run.state is RunState.HELD:
            move(session, run, to=RunState.CALCULATED)
        return Outcome(run=get_run(session, run.run_id), findings=tuple(found))


def work_in_bulk(session: Session) -> None:
    """Let this transaction take its time and some memory: it reads whole windows, and no till waits."""
    session.execute(_IN_BULK)


def _run(session: Session, inputs: Inputs) -> Run:
    """The run of these inputs, in force."""
    digest = inputs.digest()
    in_force = run_in_force(session, business_date=inputs.window.business_date)
    if in_force is not None and in_force.digest == digest:
        return in_force
    if in_force is not None:
        move(session, in_force, to=RunState.SUPERSEDED)
    earlier = session.execute(
        select(tables.run).where(
            tables.run.c.business_date == inputs.window.business_date, tables.run.c.digest == digest
        )
    ).one_or_none()
    if earlier is None:
        return add_run(session, inputs)
    move(session, run_of(earlier), to=RunState.CALCULATED)
    return get_run(session, earlier.run_id)
