"""Reasons in somebody's own words: read by whom they concern, erased with the person, and never in the journal."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from driver import LedgerDriver
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from coalition import adjusting, identifier_changes, pooling, vault
from coalition.adjusting import AdjustmentReason, ProposeAdjustment
from coalition.amounts import Points
from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.blocking import blocks_of, set_blocked
from coalition.erasing import erase_member
from coalition.errors import InsufficientPoints, InvalidInput
from coalition.exporting import export_member
from coalition.history import find_transaction
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId
from coalition.ledger import Posting
from coalition.paging import PageRequest
from coalition.reasons import words_of

WORDS = "for Ada Lovelace, with love"


def told(ledger: LedgerDriver, member: MemberId) -> list[str | None]:
    """The words of the member's transactions that have some, as who may see them reads them."""
    rows = ledger.rows(
        "SELECT member_id, reason FROM ledger.transaction WHERE member_id = :m AND reason IS NOT NULL"
        " ORDER BY sequence",
        m=member,
    )
    with ledger.database.reading() as session:
        found = words_of(session, [(row[0], row[1]) for row in rows])
    return [found.get((row[0], row[1])) for row in rows]


def erase(ledger: LedgerDriver, member: MemberId) -> None:
    with ledger.database.unit_of_work() as session:
        erase_member(session, member)


def findings(ledger: LedgerDriver) -> set[str]:
    with ledger.database.reading() as session:
        return {one.check for one in run_audit(session, checks=[*AUDIT, *CHAIN])}


def everything(ledger: LedgerDriver, engine: Engine) -> str:
    """All rows of all tables, as text."""
    tables = ledger.rows(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('ledger', 'people', 'partners') AND c.relkind = 'r'"
    )
    with engine.connect() as connection:
        return "\n".join(
            row
            for (table,) in tables
            for row in connection.execute(text(f"SELECT t::text FROM {table} t")).scalars()
        )


def test_both_sides_read_them_and_no_row_has_them(ledger: LedgerDriver, owner_engine: Engine) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    spent = ledger.redeem(giver, 10)
    given = ledger.transfer(giver, 100 - 10, to=taker, key="k", reason=WORDS)
    ledger.reverse(spent.ref, reason="a jar was broken")
    ledger.merge(taker, giver, reason="they married")
    ledger.unmerge(taker, giver, reason="they did not")
    assert told(ledger, giver) == [WORDS, "a jar was broken", "they married", "they did not"]
    assert told(ledger, taker) == [WORDS, "they married", "they did not"]
    stored = everything(ledger, owner_engine)
    assert not [words for words in ("Ada", "jar", "married", "did not") if words in stored]
    # A key stands for what moves. Who words it otherwise means the same, and changes nothing.
    again = ledger.transfer(giver, 90, to=taker, key="k", reason="otherwise")
    assert (again.replayed, again.transaction_id) == (True, given.transaction_id)
    assert told(ledger, giver)[0] == WORDS
    assert findings(ledger) == set()


def adjust(ledger: LedgerDriver, member: MemberId, words: str) -> None:
    wish = ProposeAdjustment(
        member_id=member, points=Points(-1), reason=AdjustmentReason.FRAUD, note=words, by="ada"
    )
    with ledger.database.unit_of_work() as session:
        adjusting.propose_adjustment(session, wish)


def noted(ledger: LedgerDriver, member: MemberId) -> list[str | None]:
    with ledger.database.reading() as session:
        page = adjusting.list_adjustments(session, PageRequest(size=10), member_id=member)
        found = [adjusting.find_adjustment(session, one.member_id, one.adjustment_id) for one in page.items]
        assert found == list(page.items)
        return [one.note for one in page.items]


def block(ledger: LedgerDriver, member: MemberId, words: str) -> None:
    for again in ("", ", again"):  # which changes nothing, and nothing is kept of it
        with ledger.database.unit_of_work() as session:
            set_blocked(session, member, blocked=True, by="ada", reason=f"{words}{again}")


def blocked_for(ledger: LedgerDriver, member: MemberId) -> list[str | None]:
    with ledger.database.reading() as session:
        return [one.reason for one in blocks_of(session, member)]


def block_card(ledger: LedgerDriver, member: MemberId, words: str) -> None:
    card = ledger.card(member)
    for again in ("", ", again"):  # as above
        wish = ChangeIdentifier(
            member_id=member, identifier_id=card, by=Actor(name="ada", party_id=NETWORK), reason=words + again
        )
        with ledger.database.unit_of_work() as session:
            identifier_changes.block(session, wish)


def replace_card(ledger: LedgerDriver, member: MemberId, words: str) -> None:
    wish = ChangeIdentifier(
        member_id=member,
        identifier_id=ledger.card(member),
        by=Actor(name="ada", party_id=NETWORK),
        reason=words,
    )
    new = Identifier.of(IdentifierKind.CARD, f"N{str(member)[:8]}", partner_id=ledger.any_partner())
    with ledger.database.unit_of_work() as session:
        identifier_changes.replace_card(session, wish, new)


def changed_for(ledger: LedgerDriver, member: MemberId) -> list[str | None]:
    """Of what became of them; their links have no reason."""
    with ledger.database.reading() as session:
        found = identifier_changes.identifier_histories(session, member)
        return [line.reason for one in found for line in one.changes[1:]]


def open_pool(ledger: LedgerDriver, member: MemberId, words: str) -> None:
    ledger.pool(member, ledger.member(), name=words)
    ledger.leave_pool(member)


def called(ledger: LedgerDriver, member: MemberId) -> list[str | None]:
    pools = [row[0] for row in ledger.rows("SELECT pool_id FROM ledger.pool WHERE head_id = :m", m=member)]
    with ledger.database.reading() as session:
        found = pooling.get_pools(session, pools).values()
        names = pooling.names_of(session, found)
        return [names[one.pool_id] or None for one in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Something that takes words about a member."""

    act: Callable[[LedgerDriver, MemberId, str], None]
    read: Callable[[LedgerDriver, MemberId], list[str | None]]
    """The words, as who may see them reads them."""
    table: str
    column: str
    """Where a digest stands for them."""


TELLING = [
    Telling(act=adjust, read=noted, table="ledger.adjustment", column="note"),
    Telling(act=block, read=blocked_for, table="ledger.member_block", column="reason"),
    Telling(act=block_card, read=changed_for, table="ledger.identifier_change", column="reason"),
    Telling(act=open_pool, read=called, table="ledger.pool", column="name"),
    Telling(act=replace_card, read=changed_for, table="ledger.identifier_change", column="reason"),
]
each_telling = pytest.mark.parametrize("one", TELLING, ids=lambda one: one.act.__name__)


@each_telling
def test_words_about_a_member_are_sealed_and_go_with_it(
    ledger: LedgerDriver, owner_engine: Engine, one: Telling
) -> None:
    member, other = ledger.member(), ledger.member()
    for about in (member, other):
        one.act(ledger, about, WORDS)
    assert one.read(ledger, member) == [WORDS]
    stored = everything(ledger, owner_engine)
    assert WORDS not in stored
    assert WORDS.encode().hex() not in stored
    digests = f"SELECT {one.column} FROM {one.table} WHERE {one.column} IS NOT NULL ORDER BY 1"
    rows = ledger.rows(digests)
    assert len(set(rows)) == 2
    assert findings(ledger) == set()
    erase(ledger, member)
    assert one.read(ledger, member) == [None]
    assert one.read(ledger, other) == [WORDS]
    # History is not edited: what stood for the words stands for nothing now.
    assert ledger.rows(digests) == rows
    assert findings(ledger) == set()


@each_telling
def test_the_ledger_takes_no_words_about_a_member(
    ledger: LedgerDriver, superuser_engine: Engine, one: Telling
) -> None:
    member = ledger.member()
    one.act(ledger, member, WORDS)
    with (
        pytest.raises(IntegrityError, match=f"{one.column}_is_no_words"),
        superuser_engine.begin() as connection,
    ):
        connection.execute(
            text(f"UPDATE {one.table} SET {one.column} = 'for Ada' WHERE {one.column} IS NOT NULL")
        )
    assert one.read(ledger, member) == [WORDS]


@each_telling
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM people.sealed",
        "UPDATE {one.table} SET {one.column} = repeat('0', 64) WHERE {one.column} IS NOT NULL",
    ],
)
def test_the_audit_sees_words_about_a_member_that_are_lost(
    ledger: LedgerDriver, superuser_engine: Engine, one: Telling, damage: str
) -> None:
    member = ledger.member()
    one.act(ledger, member, WORDS)
    with superuser_engine.begin() as connection:
        connection.execute(text(damage.format(one=one)))
    assert one.read(ledger, member) == [None]
    assert findings(ledger) == {"words_are_sealed"}


def test_the_same_words_twice_are_two_digests(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    for _ in range(2):
        ledger.transfer(giver, 10, to=taker, reason="yes")
    [one, other] = ledger.rows(
        "SELECT reason FROM ledger.transaction WHERE member_id = :m AND reason IS NOT NULL", m=giver
    )
    assert one != other


def test_they_go_with_the_person_and_the_other_sides_stay(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    ledger.transfer(giver, 100, to=taker, reason=WORDS)
    erase(ledger, giver)
    assert told(ledger, giver) == [None]
    assert told(ledger, taker) == [WORDS]
    ledger.redeem(taker, 100)
    erase(ledger, taker)
    assert told(ledger, taker) == [None]
    assert ledger.rows("SELECT count(*) FROM people.sealed") == [(0,)]
    assert findings(ledger) == set()


def test_an_export_has_them_and_a_profile_does_not(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    ledger.transfer(giver, 100, to=taker, reason=WORDS)
    with ledger.database.reading() as session:
        [record] = json.loads("".join(export_member(session, giver)))["records"]
        assert vault.read(session, giver) == {}
    [sent] = [one for one in record["transactions"] if one["reason"] is not None]
    assert record["words"] == {sent["reason"]: WORDS}
    assert record["profile"] == {}


def test_the_others_of_a_pool_are_told_its_name_while_its_head_is_there(ledger: LedgerDriver) -> None:
    head, other, stranger = (ledger.member() for _ in range(3))
    ledger.pool(head, other, name=WORDS)
    ledger.invite(head, stranger)

    def told_to(member: MemberId) -> list[str]:
        with ledger.database.reading() as session:
            [record] = json.loads("".join(export_member(session, member)))["records"]
        assert WORDS not in json.dumps(record["pools"])
        return list(record["words"].values())

    assert (told_to(head), told_to(other), told_to(stranger)) == ([WORDS], [WORDS], [])
    ledger.leave_pool(head)
    assert told_to(other) == [WORDS]
    erase(ledger, head)
    assert told_to(other) == []


def test_a_refusal_keeps_none(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    before = ledger.snapshot()
    with pytest.raises(InsufficientPoints):
        ledger.transfer(giver, 101, to=taker, reason=WORDS)
    for wrong in ("", "x" * 201, "a\x07b"):
        with pytest.raises(InvalidInput):
            ledger.transfer(giver, 1, to=taker, reason=wrong)
    assert ledger.snapshot() == before
    assert ledger.rows("SELECT count(*) FROM people.sealed") == [(0,)]


def test_the_journal_takes_no_words_whoever_writes_it(ledger: LedgerDriver, superuser_engine: Engine) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    ledger.transfer(giver, 10, to=taker)
    with pytest.raises(IntegrityError, match="reason_is_no_words"), superuser_engine.begin() as connection:
        connection.execute(
            text("UPDATE ledger.transaction SET reason = 'for Ada' WHERE kind = 'transfer_in'")
        )


def test_the_history_tells_a_code_from_words(ledger: LedgerDriver) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    posting: Posting = ledger.transfer(giver, 10, to=taker, reason=WORDS)
    with ledger.database.reading() as session:
        found = find_transaction(session, posting.ref, partner_id=None)
    assert found is not None
    assert found.reason is None
    assert found.words is not None
    assert len(found.words) == 64


@pytest.mark.parametrize(
    ("damage", "checks"),
    [
        ("DELETE FROM people.sealed", {"words_are_sealed"}),
        (
            "UPDATE ledger.transaction SET reason = repeat('0', 64) WHERE kind = 'transfer_in'",
            {"words_are_sealed", "digests_are_of_their_rows"},
        ),
        (
            "UPDATE people.sealed SET field = concat('reason:', repeat('0', 64)) WHERE member_id = :giver",
            {"words_are_sealed", "sealed_values_open"},
        ),
        (
            "UPDATE people.sealed SET ciphertext = ciphertext || '\\x00' WHERE member_id = :giver",
            {"sealed_values_open"},
        ),
        (
            (
                "UPDATE people.sealed s SET ciphertext = o.ciphertext FROM people.sealed o"
                " WHERE s.member_id = :giver AND o.member_id <> :giver"
            ),
            {"sealed_values_open"},
        ),
    ],
)
def test_the_audit_sees_damage(
    ledger: LedgerDriver, superuser_engine: Engine, damage: str, checks: set[str]
) -> None:
    giver, taker = ledger.member(available=100), ledger.member()
    ledger.transfer(giver, 10, to=taker, reason=WORDS)
    with superuser_engine.begin() as connection:
        connection.execute(text(damage), {"giver": giver} if ":giver" in damage else {})
    assert findings(ledger) == checks


def test_other_words_in_their_place_are_seen(ledger: LedgerDriver) -> None:
    """Sealed rightly, under the right key and field: what the journal has in their place tells."""
    giver, taker = ledger.member(available=100), ledger.member()
    ledger.transfer(giver, 10, to=taker, reason=WORDS)
    with ledger.database.unit_of_work() as session:
        [(field,)] = session.execute(
            text("SELECT field FROM people.sealed WHERE member_id = :m"), {"m": giver}
        )
        vault.put(session, giver, {field: "0" * 32 + "for nobody"})
    assert findings(ledger) == {"sealed_values_open"}
