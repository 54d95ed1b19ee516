"""The key of the blind index is replaced: members are found all the while, and nobody is linked twice."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from driver import LedgerDriver
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from coalition import members, vault
from coalition.audit import run_audit
from coalition.audit.people import requests_are_forgotten_with_their_key
from coalition.erasing import erase_member
from coalition.errors import IdempotencyConflict, IdentifierTaken
from coalition.ids import NETWORK, MemberId
from coalition.ledger.posting import call
from coalition.members import EnrolMember, Identifier, IdentifierKind, LinkIdentifier
from coalition.vault.blinding import add_index_key
from coalition.vault.keys import SealBroken
from coalition.vault.respelling import replace_index_key, waiting
from partners.operations import forget_requests, once

MANY = 12


class Killed(Exception):
    """As good as SIGKILL between two batches: each is a transaction of its own."""


def mail(number: int) -> Identifier:
    return Identifier.of(IdentifierKind.EMAIL, f"m{number}@example.org", partner_id=NETWORK)


def enrol(ledger: LedgerDriver, *identifiers: Identifier) -> MemberId:
    with ledger.database.unit_of_work() as session:
        return members.enrol_member(
            session, EnrolMember(partner_id=ledger.any_partner(), identifiers=identifiers)
        )


def link(ledger: LedgerDriver, member: MemberId, identifier: Identifier) -> None:
    with ledger.database.unit_of_work() as session:
        members.link_identifier(
            session, LinkIdentifier(member_id=member, partner_id=ledger.any_partner(), identifier=identifier)
        )


@pytest.fixture
def everybody(ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch) -> list[MemberId]:
    """Members known by an address each, and batches of a few."""
    monkeypatch.setattr("coalition.vault.respelling._BATCH", 3)
    return [enrol(ledger, mail(number)) for number in range(MANY)]


def replace(ledger: LedgerDriver, advance: Callable[[int], None] = lambda _: None) -> int:
    return replace_index_key(ledger.database, forget=forget_requests, advance=advance)


def respell(ledger: LedgerDriver, value: str, *, indexed_by: int) -> int:
    """Spell the one identifier that there is. Returns how many were."""
    with ledger.database.unit_of_work() as session:
        [(respelt,)] = call(
            session,
            "SELECT ledger.respell_identifiers(array_agg(member_id), array_agg(identifier_id), %s::text[], %s)"
            " FROM ledger.identifier",
            ([value], indexed_by),
        )
    assert isinstance(respelt, int)
    return respelt


def test_what_is_spelt_by_a_key_is_not_spelt_by_it_again_nor_by_one_that_is_not_there(
    ledger: LedgerDriver,
) -> None:
    enrol(ledger, mail(1))
    stands = "SELECT value, indexed_by FROM ledger.identifier"
    [(value, key)] = ledger.rows(stands)
    for generation in (key, key + 1):
        assert respell(ledger, value[::-1], indexed_by=generation) == 0
        assert ledger.rows(stands) == [(value, key)]
    with ledger.database.unit_of_work() as session:
        add_index_key(session, generation=key + 1)
    assert respell(ledger, value[::-1], indexed_by=key + 1) == 1
    assert ledger.rows(stands) == [(value[::-1], key + 1)]


def replace_half(ledger: LedgerDriver) -> None:
    """Killed when some of them are spelt anew, and others not."""
    done: list[int] = []

    def killed(count: int) -> None:
        done.append(count)
        if sum(done) >= MANY // 2:
            raise Killed

    with pytest.raises(Killed):
        replace(ledger, killed)


def found(ledger: LedgerDriver) -> list[MemberId | None]:
    with ledger.database.reading() as session:
        return [members.find_member(session, mail(number)) for number in range(MANY)]


def spelt(ledger: LedgerDriver) -> dict[int, set[str]]:
    made: dict[int, set[str]] = {}
    for indexed_by, value in ledger.rows(
        "SELECT indexed_by, value FROM ledger.identifier WHERE kind = 'email'"
    ):
        made.setdefault(indexed_by, set()).add(value)
    return made


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def test_everybody_is_spelt_by_the_next_key_and_found_as_before(
    ledger: LedgerDriver, everybody: list[MemberId]
) -> None:
    before = spelt(ledger)
    assert replace(ledger) == MANY
    after = spelt(ledger)
    assert set(before) == {1}
    assert set(after) == {2}
    assert not before[1] & after[2]
    assert ledger.rows("SELECT generation FROM people.index_key") == [(2,)]
    assert found(ledger) == everybody
    assert clean(ledger)
    with ledger.database.reading() as session:
        assert members.identifiers(session, everybody[0]) == [mail(0)]
    assert replace(ledger) == MANY  # and by the one after it
    assert found(ledger) == everybody


def test_one_that_was_killed_goes_on_where_it_was_and_meanwhile_all_are_found(
    ledger: LedgerDriver, everybody: list[MemberId]
) -> None:
    replace_half(ledger)
    assert {key: len(values) for key, values in spelt(ledger).items()} == {1: MANY // 2, 2: MANY // 2}
    assert found(ledger) == everybody
    assert clean(ledger)
    with ledger.database.reading() as session:
        assert waiting(session) == MANY // 2
    assert replace(ledger) == MANY // 2
    assert ledger.rows("SELECT generation FROM people.index_key") == [(2,)]
    assert found(ledger) == everybody
    assert clean(ledger)


def test_none_is_linked_twice_while_it_runs(ledger: LedgerDriver, everybody: list[MemberId]) -> None:
    replace_half(ledger)
    other = ledger.member()
    before = ledger.rows("SELECT i::text FROM ledger.identifier i ORDER BY 1")
    for number in range(MANY):
        with pytest.raises(IdentifierTaken):
            link(ledger, other, mail(number))
        with pytest.raises(IdentifierTaken):
            enrol(ledger, mail(number))
        link(ledger, everybody[number], mail(number))  # its own already
    assert ledger.rows("SELECT i::text FROM ledger.identifier i ORDER BY 1") == before
    link(ledger, other, mail(MANY))
    replace(ledger)
    assert found(ledger) == everybody
    assert set(spelt(ledger)) == {2}
    assert clean(ledger)


def test_tills_find_everybody_and_enrol_while_it_runs(
    ledger: LedgerDriver, everybody: list[MemberId]
) -> None:
    over = threading.Event()
    enrolled: list[MemberId] = []

    def look() -> int:
        looked = 0
        while not over.is_set():
            with ledger.database.single_call() as session:
                for number, member in enumerate(everybody):
                    assert members.find_member(session, mail(number)) == member
                    looked += 1
        return looked

    def join() -> int:
        while not over.is_set():
            enrolled.append(enrol(ledger, mail(MANY + len(enrolled))))
        return len(enrolled)

    with ThreadPoolExecutor(3) as pool:
        tills = [pool.submit(look), pool.submit(look), pool.submit(join)]
        try:
            for _ in range(4):
                replace(ledger)
        finally:
            over.set()
        assert all(till.result() > 0 for till in tills)
    assert ledger.rows("SELECT generation FROM people.index_key") == [(5,)]
    with ledger.database.reading() as session:
        assert [members.find_member(session, mail(MANY + n)) for n in range(len(enrolled))] == enrolled
    replace(ledger)
    assert set(spelt(ledger)) == {6}
    assert clean(ledger)


def test_a_look_up_by_the_keys_of_before_looks_again(
    ledger: LedgerDriver, everybody: list[MemberId], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of the keys and the look-up the whole replacement passes."""
    really = vault.spellings
    passed: list[bool] = []

    def spellings(session: Any, identifiers: Any, *, make: bool) -> Any:
        read = really(session, identifiers, make=make)
        if not passed:
            passed.append(True)
            replace(ledger)
        return read

    monkeypatch.setattr(vault, "spellings", spellings)
    with ledger.database.single_call() as session:
        assert members.find_member(session, mail(3)) == everybody[3]


def test_who_links_by_the_key_that_it_knew_is_waited_for(
    ledger: LedgerDriver, everybody: list[MemberId]
) -> None:
    """Or its identifier would be spelt by a key that is gone, and linked once more by the other."""
    with ThreadPoolExecutor(1) as pool:
        with ledger.database.unit_of_work() as session:
            members.link_identifier(
                session,
                LinkIdentifier(
                    member_id=everybody[0], partner_id=ledger.any_partner(), identifier=mail(MANY)
                ),
            )
            running = pool.submit(replace, ledger)
            with pytest.raises(TimeoutError):
                running.result(timeout=0.5)
        assert running.result(timeout=20) == MANY + 1
    assert clean(ledger)


def test_who_is_erased_while_it_runs_holds_nothing_up(
    ledger: LedgerDriver, everybody: list[MemberId]
) -> None:
    replace_half(ledger)
    for member in everybody[:6]:
        with ledger.database.unit_of_work() as session:
            erase_member(session, member)
    replace(ledger)
    assert found(ledger) == [None] * 6 + everybody[6:]
    assert clean(ledger)


def test_one_that_others_overtook_twice_ends_without_harm(
    ledger: LedgerDriver, everybody: list[MemberId]
) -> None:
    overtaken: list[int] = []

    def overtake(count: int) -> None:
        if not overtaken:
            overtaken.append(count)
            replace(ledger)  # goes on with the same key, and ends
            replace(ledger)  # and another

    replace(ledger, overtake)
    assert found(ledger) == everybody
    assert clean(ledger)


def test_one_that_cannot_be_read_keeps_the_old_key(
    ledger: LedgerDriver, everybody: list[MemberId], superuser_engine: Engine
) -> None:
    with superuser_engine.begin() as connection:
        connection.execute(text("DELETE FROM people.sealed WHERE member_id = :m"), {"m": everybody[4]})
    with pytest.raises(SealBroken, match="audit"):
        replace(ledger)
    assert ledger.rows("SELECT generation FROM people.index_key ORDER BY 1") == [(1,), (2,)]
    assert found(ledger) == everybody


def test_what_was_asked_is_forgotten_with_the_key_and_what_was_answered_is_not(
    ledger: LedgerDriver, everybody: list[MemberId], superuser_engine: Engine
) -> None:
    def ask(what: str, *, key: str = "k") -> tuple[str, bool]:
        with ledger.database.unit_of_work() as session:
            blind = vault.blind_request(session, {"identifier": what})
            first, *former = blind.requests
            result, replayed = once(
                session,
                caller="c",
                key=key,
                name="enrol",
                request=first,
                former=former,
                blinded_by=blind.blinded_by,
                work=lambda: {"asked": what},
            )
        return result["asked"], replayed

    assert ask("+4930901820") == ("+4930901820", False)
    assert clean(ledger)
    replace_half(ledger)
    assert ask("+4930901820") == ("+4930901820", True)
    with pytest.raises(IdempotencyConflict):
        ask("+4930901821")
    ask("+4930901822", key="during")
    replace(ledger)
    assert ledger.rows("SELECT key, fingerprint IS NULL FROM partners.operation ORDER BY 1") == [
        ("during", False),
        ("k", True),
    ]
    assert ask("+4930901820") == ("+4930901820", True)
    with pytest.raises(IdempotencyConflict):
        ask("+4930901823", key="during")
    assert everybody == found(ledger)
    assert clean(ledger)
    for damage in (
        "UPDATE partners.operation SET blinded_by = 1 WHERE key = 'during'",
        "UPDATE partners.operation SET fingerprint = NULL WHERE key = 'during'",
    ):
        with superuser_engine.connect() as connection:
            connection.execute(text(damage))
            [finding] = requests_are_forgotten_with_their_key(Session(bind=connection))
            assert finding.id == "c/during"
            connection.rollback()


def test_without_an_index_there_is_nothing_to_replace(ledger: LedgerDriver) -> None:
    ledger.member()
    assert replace(ledger) == 0
    assert ledger.rows("SELECT count(*) FROM people.index_key") == [(0,)]


def test_what_was_asked_is_not_forgotten_for_a_key_that_is_not_there(ledger: LedgerDriver) -> None:
    with ledger.database.unit_of_work() as session:
        once(session, caller="till", key="k", name="enrol", request={"blind": "x"}, blinded_by=1, work=dict)
        add_index_key(session, generation=1)
    with ledger.database.unit_of_work() as session:
        assert forget_requests(session, 2) == 0
        add_index_key(session, generation=2)
        assert forget_requests(session, 2) == 1


def test_the_application_rewrites_nothing_that_stands_for_a_request(ledger: LedgerDriver) -> None:
    for change in (
        "UPDATE partners.operation SET fingerprint = sha256('')",
        "DELETE FROM partners.operation",
    ):
        with pytest.raises(ProgrammingError), ledger.database.unit_of_work() as session:
            session.execute(text(change))
