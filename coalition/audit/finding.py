"""What a check reports, and how it reads the rows it reports on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

ROWS_PER_FETCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it must be, and the row in which to look."""

    check: str
    subject: str
    """The table to which the row belongs, without its schema."""
    id: str
    """The row's key, its columns joined by a slash; empty where the finding is about the whole table."""
    message: str


Check = Callable[[Session], Iterator[Finding]]


def findings(check: Check, session: Session, *, subject: str, query: str) -> Iterator[Finding]:
    """A finding for each row of the query, which returns `id` and `message`.

    The messages are made in the database: the audit shares no code with the ledger, and has next
    to none of its own. A server-side cursor reads them, because damage may be large.
    """
    rows = session.execute(
        text(query), execution_options={"stream_results": True, "yield_per": ROWS_PER_FETCH}
    )
    for row in rows:
        yield Finding(check=check.__name__, subject=subject, id=row.id or "", message=row.message)


def scalars(session: Session, query: str) -> list[Any]:
    """The first column of a query with few rows."""
    return list(session.scalars(text(query)))
