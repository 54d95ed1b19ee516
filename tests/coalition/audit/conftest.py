"""Busy books for the audit, and the superuser who damages them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from audit_books import Books, Damage, everything_happens, opened
from databases import TestCluster, TestDatabase
from sqlalchemy import create_engine, text

from coalition.db import roles


@pytest.fixture(scope="module")
def busy(cluster: TestCluster) -> Iterator[tuple[TestDatabase, Books]]:
    """One busy ledger for all tests of a module: whoever damages it rolls that back."""
    with cluster.new_database() as test_database, test_database.connect() as database:
        books = opened(test_database, database)
        everything_happens(books)
        yield test_database, books


@pytest.fixture
def damage(busy: tuple[TestDatabase, Books]) -> Iterator[Damage]:
    engine = create_engine(busy[0].url(roles.SUPERUSER), isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        # Constraints that refuse the damage are the second proof of each invariant; this is the third's test.
        for table, name in connection.execute(
            text(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint"
                " WHERE connamespace IN ('ledger'::regnamespace, 'partners'::regnamespace,"
                " 'settlement'::regnamespace) AND contype IN ('c', 'f') AND coninhcount = 0 AND conparentid ="
                " 0"
            )
        ).all():
            connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
        yield Damage(connection)
        connection.rollback()
    engine.dispose()
