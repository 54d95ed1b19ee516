"""The chain covers what was written once: of each row of the journal, and of what began with it, every field."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from audit_books import Books, Damage, everything_happens, opened
from audit_hands import points_change_hands
from databases import TestCluster, TestDatabase
from sqlalchemy import text

from coalition.amounts import Points
from coalition.audit import CHAIN, run_audit
from coalition.issuing import IssuePoints, issue_points

MAY_CHANGE = {
    "transaction": set[str](),
    "entry": set[str](),
    "lot": {
        # Where its points are: the entries say it. When they expire: lots_keep_the_day_they_came_with.
        "pending", "available", "held", "recalled", "burned", "expired", "reversed", "transferred", "expires_at",
        # What its entries say too, and so does entries_carry_their_lots_terms.
        "points", "issuer_id", "agreement_id", "funding_plan_id", "business_date", "transaction_id",
    },
    "hold": {"state", "captured", "closed_date", "closed_id"},
    "deficit": {"open_points", "business_date", "transaction_id"},
}  # fmt: skip
"""What the chain leaves to other checks, with the columns of the row by which it is found."""

ANOTHER = {
    "uuid": "gen_random_uuid()",
    "bigint": "{0} + 1000",
    "integer": "{0} + 1000",
    "numeric": "{0} + 1000",
    "text": "{0} || 'x'",
    "date": "{0} + 1000",
    "timestamp with time zone": "{0} + interval '1 microsecond'",
    "boolean": "NOT {0}",
    "bytea": "sha256({0})",
}


@pytest.fixture(scope="module")
def busy(cluster: TestCluster) -> Iterator[tuple[TestDatabase, Books]]:
    """Books in which all happened that leaves a field filled."""
    with cluster.new_database() as test_database, test_database.connect() as database:
        books = opened(test_database, database)
        everything_happens(books)
        points_change_hands(books)
        money_by_a_card(books)
        yield test_database, books


def money_by_a_card(books: Books) -> None:
    member = books.member()
    with books.database.unit_of_work() as session:
        [card] = session.scalars(
            text("SELECT identifier_id FROM ledger.identifier WHERE member_id = :member"), {"member": member}
        )
        wish = IssuePoints(
            member_id=member, partner_id=books.baker.partner_id, agreement_id=books.baker.agreement_id,
            points=Points(3), amount=Decimal("3.50"), identifier_id=card, idempotency_key="by card", request={},
        )  # fmt: skip
        issue_points(session, wish)


@pytest.mark.parametrize("table", MAY_CHANGE)
def test_another_value_in_any_field_shows_in_the_chain(damage: Damage, table: str) -> None:
    columns = damage.connection.execute(
        text(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'ledger' AND table_name = :table"
        ),
        {"table": table},
    ).all()
    unseen = []
    for name, kind in columns:
        if name in MAY_CHANGE[table]:
            continue
        damage.connection.execute(text("SAVEPOINT untouched"))
        changed = damage.connection.execute(
            text(
                f"UPDATE ledger.{table} SET {name} = {ANOTHER[kind].format(name)} WHERE ctid ="
                f" (SELECT ctid FROM ledger.{table} WHERE {name} IS NOT NULL LIMIT 1)"
                f" AND tableoid = (SELECT tableoid FROM ledger.{table} WHERE {name} IS NOT NULL LIMIT 1)"
            )
        ).rowcount
        assert changed == 1, f"the books have no {name}"
        if not run_audit(damage.session, checks=CHAIN):
            unseen.append(name)
        damage.connection.execute(text("ROLLBACK TO untouched"))
    assert unseen == []


@pytest.mark.parametrize(
    "change",
    ["expires_at = expires_at + interval '1 day'", "expires_at = NULL", "expires_at = '2050-01-01'"],
)
def test_a_day_of_expiry_that_nothing_moved_is_found(damage: Damage, change: str) -> None:
    damage.connection.execute(
        text(
            f"UPDATE ledger.lot SET {change} WHERE ctid ="
            " (SELECT ctid FROM ledger.lot WHERE expires_at = first_expires_at AND burned = 0 LIMIT 1)"
        )
    )
    found = run_audit(damage.session)
    assert "lots_keep_the_day_they_came_with" in {finding.check for finding in found}


def test_what_a_partner_is_told_names_no_other_member(damage: Damage) -> None:
    told = damage.connection.execute(
        text(
            "SELECT count(*), count(*) FILTER (WHERE strpos(w.public_text, t.other_member_id::text) > 0"
            " OR strpos(w.public_text, t.other_id::text) > 0) FROM ledger.transaction t,"
            " ledger.witness(t.member_id, t.business_date, t.transaction_id) w WHERE t.other_id IS NOT NULL"
        )
    ).one()
    assert told[0] > 5
    assert told[1] == 0
