"""All that is held about a member leaves as JSON, and the catalogue says what "all" is."""

import json
import resource
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from audit_books import everything_happens, opened
from databases import TestDatabase
from driver import LedgerDriver
from sqlalchemy import Engine, text

from coalition import members, vault
from coalition.db import Database
from coalition.errors import MemberMerged, MemberUnknown
from coalition.exporting import SECTIONS, export_member
from coalition.ids import MemberId
from coalition.members import EnrolMember, Identifier, IdentifierKind

ELSEWHERE = {
    "ledger.identifier": "read out under `identifiers`, with the sealed values in the clear",
    "people.sealed": "read out under `profile` and `identifiers`",
    "people.data_key": "the member's wrapped key: opens what is exported, and says nothing itself",
    "ledger.receipt": "each part of a receipt stands in its transaction",
    "ledger.window_node": "which transaction a subtree of the Merkle tree begins with: its ids alone",
    "partners.operation": "answers to enrolments and other mutations, for retries: ids, no data",
}
"""Tables that name a member and are not exported as they stand, each with the reason."""

NAMES_A_MEMBER = """
    SELECT DISTINCT c.oid::regclass::text
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('ledger', 'people', 'partners', 'settlement') AND c.relkind IN ('r', 'p')
       AND NOT c.relispartition AND a.attnum > 0
       AND (a.attname ~ 'member' OR a.attname IN ('head_id', 'merged_into'))
       AND a.attname NOT IN ('members', 'most_members')
"""


def exported(database: Database, member_id: MemberId) -> Any:
    with database.reading() as session:
        return json.loads("".join(export_member(session, member_id)))


def test_every_table_that_names_a_member_is_exported_or_its_absence_has_a_reason(
    owner_engine: Engine,
) -> None:
    with owner_engine.connect() as connection:
        named = set(connection.execute(text(NAMES_A_MEMBER)).scalars())
    sections = {table for table, *_ in SECTIONS.values()}
    assert {"ledger.transaction", "people.sealed"} <= named
    assert named - sections == ELSEWHERE.keys() - {"partners.operation"}
    assert not sections & ELSEWHERE.keys()


def test_every_table_in_which_a_members_id_is_found_is_exported_or_has_its_reason(
    test_database: TestDatabase, database: Database, owner_engine: Engine
) -> None:
    """Whatever the column is called: the rows of busy books are searched for the ids themselves."""
    books = opened(test_database, database)
    everything_happens(books)
    sections = {table for table, *_ in SECTIONS.values()}
    with owner_engine.connect() as connection:
        everybody = connection.execute(text("SELECT member_id::text FROM ledger.member")).scalars().all()
        tables = connection.execute(
            text(
                "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname IN ('ledger', 'people', 'partners', 'settlement', 'jobs')"
                " AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            )
        ).scalars()
        holding = {
            table
            for table in tables.all()
            if connection.execute(
                text(f"SELECT EXISTS (SELECT FROM {table} t WHERE t::text ~ :ids)"),
                {"ids": "|".join(everybody)},
            ).scalar_one()
        }
    assert "ledger.transaction" in holding
    assert holding <= sections | ELSEWHERE.keys()


def test_a_member_gets_all_that_is_its_own_and_nothing_of_others(ledger: LedgerDriver) -> None:
    partner = ledger.any_partner()
    known_by = [
        Identifier.of(IdentifierKind.CARD, "4006381333931", partner_id=partner),
        Identifier.of(IdentifierKind.EMAIL, "ada@example.org", partner_id=partner),
    ]
    with ledger.database.unit_of_work() as session:
        member_id = members.enrol_member(session, EnrolMember(partner_id=partner, identifiers=known_by))
        vault.put(session, member_id, {"name": "Ada", "birth_date": "1815-12-10"})
    other, twin = ledger.member(available=30), ledger.member(available=7)
    ledger.issue(member_id, 100)
    ledger.redeem(member_id, 40)
    ledger.authorize(member_id, 10)
    ledger.transfer(member_id, 5, to=other)
    ledger.transfer(other, 3, to=member_id)
    ledger.merge(member_id, twin, by="an operator")
    pool = ledger.pool(member_id, other)

    document = exported(ledger.database, member_id)

    assert (document["format"], document["member_id"]) == (1, str(member_id))
    own, merged = document["records"]
    assert merged["member_id"] == str(twin)
    assert own["profile"] == {"name": "Ada", "birth_date": "1815-12-10"}
    assert [(one["kind"], one["value"]) for one in own["identifiers"]] == [
        (one.kind.value, one.value) for one in known_by
    ] or {one["value"] for one in own["identifiers"]} == {one.value for one in known_by}
    assert own["balance"][0]["available"] == 55
    assert [one["kind"] for one in own["transactions"]] == [
        "issue",
        "redeem",
        "authorize",
        "transfer_out",
        "transfer_in",
        "merge_in",
    ]
    assert own["holds"][0]["points"] == 10
    assert own["pools"][0]["pool_id"] == str(pool)
    assert own["keys"]
    assert str(other) not in json.dumps(document)
    assert len(own["operator_acts"]) == 1
    assert "an operator" not in json.dumps(document)
    for section, (table, condition, _, _) in SECTIONS.items():
        counted = ledger.rows(f"SELECT count(*) FROM {table} WHERE {condition}", id=member_id)
        assert [(len(own[section]),)] == counted, section


def test_of_a_record_that_was_merged_for_a_while_its_survivor_is_told_nothing(ledger: LedgerDriver) -> None:
    ada, twin = ledger.member(), ledger.member()
    card = ledger.card(twin)
    ledger.merge(ada, twin)
    ledger.issue(ada, 5, identifier_id=card)
    ledger.unmerge(ada, twin)
    assert str(twin) not in json.dumps(exported(ledger.database, ada))


def test_the_erased_have_nothing_of_a_person(ledger: LedgerDriver) -> None:
    from coalition.erasing import erase_member  # noqa: PLC0415 - this test alone

    member_id = ledger.member()
    with ledger.database.unit_of_work() as session:
        vault.put(session, member_id, {"name": "Ada"})
        erase_member(session, member_id)
    [record] = exported(ledger.database, member_id)["records"]
    assert (record["profile"], record["identifiers"]) == ({}, [])


def test_who_is_nobody_or_merged_is_refused_before_a_byte_is_written(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member()
    ledger.merge(survivor, merged)
    with ledger.database.reading() as session:
        with pytest.raises(MemberUnknown):
            export_member(session, MemberId(uuid4()))
        with pytest.raises(MemberMerged):
            export_member(session, merged)


@pytest.fixture
def busy_member(ledger: LedgerDriver, superuser_engine: Engine) -> MemberId:
    """One with 100,000 transactions; copies of one row, since only their number counts here."""
    member_id = ledger.member(available=1)
    with superuser_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO ledger.transaction
                SELECT copy.*
                  FROM ledger.transaction t, generate_series(1, 99999) AS n,
                       jsonb_populate_record(t, jsonb_build_object(
                           'transaction_id', gen_random_uuid(), 'sequence', n + 1)) AS copy
            """)
        )
    return member_id


def test_a_hundred_thousand_transactions_do_not_fill_the_memory(
    ledger: LedgerDriver, busy_member: MemberId
) -> None:
    """By what the process occupies: rows that wait in the driver are in no count of Python's own."""
    size = most = 0
    with ledger.database.reading() as session:
        before = occupied()
        for number, piece in enumerate(export_member(session, busy_member)):
            size += len(piece)
            if number % 1_000 == 0:
                most = max(most, occupied())
    assert size > 50_000_000
    assert most - before < 25_000_000


def occupied() -> int:
    """Bytes of memory that this process has at the moment."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
