from __future__ import annotations

from sqlalchemy import text

from coalition.audit import run_audit
from coalition.db import Database


def test_empty_books_are_clean(database: Database) -> None:
    with database.reading() as session:
        assert run_audit(session) == []


def test_books_in_which_everything_happened_are_clean(busy: tuple[object, object]) -> None:
    _, books = busy
    with books.database.reading() as session:  # type: ignore[attr-defined]
        kinds = set(session.scalars(text("SELECT kind FROM ledger.transaction")))
        assert kinds == {
            "issue",
            "redeem",
            "reverse_issue",
            "reverse_redemption",
            "mature",
            "expire",
            "recovery",
            "authorize",
            "capture",
        }
        assert run_audit(session) == []
