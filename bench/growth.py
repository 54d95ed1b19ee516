"""What growth costs: postings and the audit from ten thousand entries to ten million, and one very large member.

The books grow by copies: what the kernel posted for the first members is copied to further members, row by
row, under their own ids. So ten million entries are there in minutes, and every invariant holds. What grows is
members, heads, lots, transactions, entries and keys; receipts, holds, claims, transfers and pools stay the few that were
posted, so what the audit proves of those costs here what it costs in small books. (Digests are copied too; the chain is
not what is timed here.)
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

from postings import PLAIN_ROW, pgbench
from sqlalchemy import Connection, Engine, event, func, select, text
from sqlalchemy.orm import Session
from stage import Stage, member_id

from coalition import history, members
from coalition.audit import AUDIT, TERMS
from coalition.audit.side_by_side import run_audit_side_by_side
from coalition.db import roles
from coalition.db.metadata import metadata
from coalition.db.owner import as_owner
from coalition.ids import MemberId
from coalition.paging import PageRequest
from coalition.windows import open_window
from partners import till

MEMBERS: Final = 1_000  # whom the stage begins with
_FIRST_MEMBERS: Final = 200
_PER_MEMBER: Final = 4  # issues; with the first one and a redemption some 12 entries each

KINDS: Final = ("issue", "redeem", "authorise and capture")

_A_DAY: Final = 1_000  # transactions of the large member between two cuts

_COPY: Final = """
    INSERT INTO ledger.{table} (member_id, {columns})
    SELECT md5('member ' || (f.number + :had + (copy - 1) * :first))::uuid, {columns}
    FROM generate_series(1, :copies) AS copy CROSS JOIN first_members f JOIN ledger.{table} USING (member_id)
"""
_COPIED: Final = ("member", "member_head", "lot", "transaction", "entry", "idempotency")


def measure(
    stage: Stage, *, sizes: tuple[int, ...], connections: int, seconds: float, rounds: int
) -> list[dict[str, float]]:
    """At each size: entries, members, a second of each kind and of plain rows, and the audit's seconds."""
    _post_first(stage)
    _make_plain_table(stage)
    found = []
    for size in sizes:
        count = _grow(stage, to=size)
        rates: dict[str, list[float]] = {kind: [] for kind in (PLAIN_ROW, *KINDS)}
        for _ in range(1 + rounds):
            for kind, measured in rates.items():
                # Not on the members who are copied: receipts of theirs would be posted twice.
                of = {"first": _FIRST_MEMBERS + 1, "members": count["members"]}
                measured.append(pgbench(stage, kind, connections, seconds, **of))
        # The first round is for the caches, of pages and of plans.
        medians = {kind: median(measured[1:]) for kind, measured in rates.items()}
        found.append({**count, **medians, "audit": _audit(stage)})
        print(f"growth: {found[-1]}", file=sys.stderr)
    return found


def measure_large_member(stage: Stage, *, lots: int, transactions: int, rounds: int) -> dict[str, float]:
    """Milliseconds that the database takes for a member with so many lots and transactions, and for one with few."""
    large, small = MemberId(member_id(1)), MemberId(member_id(2))
    _enlarge(stage, large, lots=lots, transactions=transactions)
    found: dict[str, float] = {}
    for name, member in (("large", large), ("small", small)):
        found[f"{name}_balance"] = _in_database(stage, rounds, lambda s, m=member: members.get_balance(s, m))
        found[f"{name}_history"] = _in_database(
            stage,
            rounds,
            lambda s, m=member: history.list_transactions(
                s, history.Transactions(member_id=m), PageRequest(size=50)
            ),
        )
        found[f"{name}_redeem"] = _redeem(stage, member, rounds)
    return found


# -- growing ---------------------------------------------------------------------------------------


def _post_first(stage: Stage) -> None:
    """Some postings of each kind for the first members, by the kernel."""
    for first in range(1, _FIRST_MEMBERS + 1, 100):
        with stage.database.unit_of_work() as session:
            session.execute(text("SET LOCAL statement_timeout = '120s'"))
            session.execute(
                text("""
                    SELECT ledger.post_issue(md5('member ' || n)::uuid, :partner, :agreement, NULL, 10, NULL, 'g' || k,
                               '\\x00', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                               :expires_at, clock_timestamp()),
                           CASE WHEN k = :each THEN (ledger.post_redeem(
                               md5('member ' || n)::uuid, :partner, :agreement, 15, 's', '\\x00',
                               NULL, NULL, NULL, NULL, NULL, NULL, NULL, clock_timestamp())).points END
                    FROM generate_series(CAST(:first AS int), CAST(:first AS int) + 99) AS n,
                         generate_series(1, CAST(:each AS int)) AS k
                """),
                {
                    "partner": stage.partner_id,
                    "agreement": stage.agreement_id,
                    "expires_at": stage.expires_at,
                    "first": first,
                    "each": _PER_MEMBER,
                },
            )


def _make_plain_table(stage: Stage) -> None:
    """Where the plain rows go, beside which postings are counted: what the machine does of these, drifts."""
    with as_owner(stage.settings) as owner, owner.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA bench"))
        connection.execute(text("CREATE TABLE bench.plain (filling text STORAGE PLAIN)"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA bench TO {roles.APP_GROUP}"))
        connection.execute(text(f"GRANT INSERT ON bench.plain TO {roles.APP_GROUP}"))


def _grow(stage: Stage, *, to: int) -> dict[str, float]:
    """Copy the first members' rows to further members until there are so many entries."""
    with as_owner(stage.settings) as owner, owner.engine.connect() as raw:
        connection = raw.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET work_mem = '256MB'"))
        columns = {table: _columns(connection, table) for table in _COPIED}
        each = int(
            connection.execute(
                text("SELECT count(*) FROM ledger.entry JOIN first_members USING (member_id)")
            ).scalar_one()
        )
        while (missing := to - _count(connection, "entry")) >= each:
            had = _count(connection, "member")
            copies = min(missing // each, 200)
            for table in _COPIED:
                named = ", ".join(columns[table])
                copy = _COPY.format(table=table, columns=named)
                connection.execute(text(copy), {"had": had, "first": _FIRST_MEMBERS, "copies": copies})
            print(f"growing: {_count(connection, 'entry'):,} of {to:,} entries", file=sys.stderr)
        connection.execute(text("VACUUM ANALYZE"))
        return {"entries": _count(connection, "entry"), "members": _count(connection, "member")}


def _columns(connection: Connection, table: str) -> list[str]:
    """All of a table's but the member's id. Makes the list of the first members, once."""
    connection.execute(
        text("""
            CREATE TEMPORARY TABLE IF NOT EXISTS first_members AS
            SELECT md5('member ' || number)::uuid AS member_id, number
            FROM generate_series(1, CAST(:first AS int)) AS number
        """),
        {"first": _FIRST_MEMBERS},
    )
    rows = connection.execute(
        text("""
            SELECT quote_ident(attname) FROM pg_attribute
            WHERE attrelid = to_regclass('ledger.' || :table) AND attnum > 0 AND NOT attisdropped
              AND attname <> 'member_id' ORDER BY attnum
        """),
        {"table": table},
    )
    return list(rows.scalars())


def _count(connection: Connection, table: str) -> int:
    return int(
        connection.execute(select(func.count()).select_from(metadata.tables[f"ledger.{table}"])).scalar_one()
    )


def _audit(stage: Stage) -> float:
    """All that `coalition audit` asks."""
    started = time.perf_counter()
    found = run_audit_side_by_side(stage.database, jobs=2, checks=(*AUDIT, *TERMS))
    assert not found, found
    return time.perf_counter() - started


# -- one large member ------------------------------------------------------------------------------


def _enlarge(stage: Stage, member: MemberId, *, lots: int, transactions: int) -> None:
    """Issue so many lots to a member; fill its journal up with points set aside and let go again."""
    issues = """
        SELECT ledger.post_issue(:member, :partner, :agreement, NULL, 10, NULL, 'l' || n, '\\x00', NULL, NULL, NULL,
                                 NULL, NULL, NULL, NULL, clock_timestamp() + n * interval '1 hour' + interval '1 year',
                                 clock_timestamp())
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n
    """
    holds = """
        SELECT (ledger.post_void(:member, :partner, h.business_date, h.transaction_id, 'v' || n, '\\x00', NULL,
                                 clock_timestamp())).points
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n,
             ledger.post_authorize(:member, :partner, :agreement, 5, 'a' || n, '\\x00', NULL, NULL, NULL,
                                   clock_timestamp()) AS h
    """
    for statement, number in ((issues, lots), (holds, (transactions - lots) // 2)):
        # Few at a time: one transaction's many versions of one row would be walked again for each.
        for first in range(1, number + 1, 100):
            with stage.database.unit_of_work() as session:
                session.execute(
                    text(statement),
                    {
                        "member": member,
                        "partner": stage.partner_id,
                        "agreement": stage.agreement_id,
                        "first": first,
                        "last": min(first + 99, number),
                    },
                )
            if first % _A_DAY == 1:
                _next_window(stage)
    with as_owner(stage.settings) as owner, owner.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def _next_window(stage: Stage) -> None:
    """Cut the window: nobody makes all of that in a day."""
    with stage.database.unit_of_work() as session:
        session.execute(
            text("SELECT ledger.close_window(:date, NULL)"), {"date": open_window(session).business_date}
        )


def _in_database(stage: Stage, rounds: int, read: Callable[[Session], object]) -> float:
    """The median of the milliseconds that a reading's statements take together."""
    taken = []
    with timed_statements(stage.database.engine) as clock:
        for _ in range(rounds):
            with stage.database.reading() as session:
                clock.clear()
                read(session)
            taken.append(sum(clock) * 1000)
    return median(taken)


@contextmanager
def timed_statements(engine: Engine) -> Iterator[list[float]]:
    """The seconds of each statement that is sent meanwhile."""
    began, seconds = [0.0], []

    def before(*_: object) -> None:
        began[0] = time.perf_counter()

    def after(*_: object) -> None:
        seconds.append(time.perf_counter() - began[0])

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        yield seconds
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)


def _redeem(stage: Stage, member: MemberId, rounds: int) -> float:
    """The median of the milliseconds of a redemption over five lots."""
    taken = []
    for _ in range(rounds):
        wish = till.Redeem(
            member_id=member, partner_id=stage.partner_id, points=50, idempotency_key=uuid.uuid4().hex
        )
        started = time.perf_counter()
        with stage.database.single_call() as session:
            till.redeem(session, wish)
        taken.append((time.perf_counter() - started) * 1000)
    return median(taken)
