"""A person is erased; the books are not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from concurrency.interleaving import one_after_another
from databases import TestDatabase
from driver import LedgerDriver
from sqlalchemy import Engine, text

from coalition import identifier_changes, members, vault
from coalition.adjusting import AdjustmentReason, ProposeAdjustment, propose_adjustment
from coalition.amounts import Points
from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.blocking import set_blocked
from coalition.clock import wall
from coalition.erasing import Erasure, erase_member
from coalition.errors import (
    AlreadyInPool,
    CoalitionError,
    MemberErased,
    MemberHasHolds,
    MemberHasPoints,
    MemberMerged,
    MemberUnknown,
)
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.ids import NETWORK, MemberId
from coalition.ledger.posting import call
from coalition.members import EnrolMember, Identifier, IdentifierKind, LinkIdentifier
from coalition.profiles import update_profile
from partners.operations import once

MAIL = "ada@example.org"


def known(ledger: LedgerDriver, mail: str = MAIL, **more: Any) -> MemberId:
    partner = ledger.any_partner()
    identifier = Identifier.of(IdentifierKind.EMAIL, mail, partner_id=partner)
    with ledger.database.unit_of_work() as session:
        member_id = members.enrol_member(
            session, EnrolMember(partner_id=partner, identifiers=[identifier], **more)
        )
        vault.put(session, member_id, {"name": f"Owner of {mail}"})
    return member_id


def erase(ledger: LedgerDriver, member_id: MemberId) -> Erasure:
    with ledger.database.unit_of_work() as session:
        return erase_member(session, member_id)


def found(ledger: LedgerDriver, mail: str = MAIL) -> MemberId | None:
    identifier = Identifier.of(IdentifierKind.EMAIL, mail, partner_id=ledger.any_partner())
    with ledger.database.reading() as session:
        return members.find_member(session, identifier)


def people(ledger: LedgerDriver) -> list[Any]:
    return [
        ledger.rows("SELECT * FROM people.data_key ORDER BY 1"),
        ledger.rows("SELECT * FROM people.sealed ORDER BY 1, 2"),
        ledger.rows("SELECT * FROM ledger.identifier ORDER BY 1, 2, 3"),
    ]


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session, checks=(*AUDIT, *CHAIN)) == []


def spent(ledger: LedgerDriver, member_id: MemberId) -> None:
    ledger.issue(member_id, 100)
    ledger.redeem(member_id, 100)


def test_who_is_erased_is_found_no_more_and_the_journal_stays(ledger: LedgerDriver) -> None:
    member_id = known(ledger)
    spent(ledger, member_id)
    journal = ledger.rows("SELECT * FROM ledger.transaction ORDER BY 1, sequence")
    entries = ledger.rows("SELECT * FROM ledger.entry ORDER BY 1, 2, 3, 4")

    erasure = erase(ledger, member_id)

    assert erasure.records == (member_id,)
    assert not erasure.replayed
    assert found(ledger) is None
    assert ledger.rows("SELECT kek, wrapped, erased_at FROM people.data_key") == [
        (None, None, erasure.erased_at)
    ]
    assert ledger.rows("SELECT * FROM people.sealed") == []
    assert ledger.rows("SELECT * FROM ledger.identifier") == []
    assert ledger.rows("SELECT * FROM ledger.transaction ORDER BY 1, sequence") == journal
    assert ledger.rows("SELECT * FROM ledger.entry ORDER BY 1, 2, 3, 4") == entries
    with ledger.database.reading() as session:
        assert vault.read(session, member_id) == {}
        assert members.identifiers(session, member_id) == []
    assert clean(ledger)


def test_who_is_merged_into_the_member_while_it_waits_is_erased_with_it(ledger: LedgerDriver) -> None:
    member_id, twin = known(ledger), known(ledger, "twin@example.org")
    erasure = one_after_another(ledger, lambda at: at.merge(member_id, twin), lambda at: erase(at, member_id))
    assert erasure.records == (member_id, twin)
    assert ledger.rows("SELECT * FROM people.sealed") == []
    assert clean(ledger)


def test_erasing_again_changes_nothing(ledger: LedgerDriver) -> None:
    member_id = known(ledger)
    first = erase(ledger, member_id)
    before = ledger.snapshot(), people(ledger)
    ledger.pass_time(hours=1)
    again = erase(ledger, member_id)
    assert (again.erased_at, again.replayed) == (first.erased_at, True)
    assert (ledger.snapshot(), people(ledger)) == before


def test_the_same_address_can_join_again_as_somebody_new(ledger: LedgerDriver) -> None:
    erased = known(ledger)
    erase(ledger, erased)
    assert known(ledger) != erased
    assert clean(ledger)


def has_points(ledger: LedgerDriver) -> MemberId:
    member_id = known(ledger)
    ledger.issue(member_id, 1)
    return member_id


def has_pending(ledger: LedgerDriver) -> MemberId:
    member_id = known(ledger)
    ledger.issue(member_id, 5, matures_at=ledger.now + timedelta(days=3))
    return member_id


def owes(ledger: LedgerDriver) -> MemberId:
    member_id = known(ledger)
    issued = ledger.issue(member_id, 10)
    ledger.redeem(member_id, 10)
    ledger.reverse(issued.ref)
    return member_id


def has_holds(ledger: LedgerDriver) -> MemberId:
    member_id = known(ledger)
    ledger.issue(member_id, 1)
    ledger.authorize(member_id, 1)
    return member_id


def is_merged(ledger: LedgerDriver) -> MemberId:
    member_id = known(ledger)
    ledger.merge(ledger.member(), member_id)
    return member_id


def is_pooled(ledger: LedgerDriver) -> MemberId:
    member_id = known(ledger)
    ledger.pool(member_id)
    return member_id


def is_nobody(ledger: LedgerDriver) -> MemberId:
    known(ledger)
    return MemberId(uuid4())


@pytest.mark.parametrize(
    ("setting", "refusal"),
    [
        (is_nobody, MemberUnknown),
        (is_merged, MemberMerged),
        (is_pooled, AlreadyInPool),
        (has_holds, MemberHasHolds),
        (has_points, MemberHasPoints),
        (has_pending, MemberHasPoints),
        (owes, MemberHasPoints),
    ],
)
def test_what_is_in_the_way_is_named_and_nothing_is_erased(
    ledger: LedgerDriver, setting: Callable[[LedgerDriver], MemberId], refusal: type[CoalitionError]
) -> None:
    member_id = setting(ledger)
    before = ledger.snapshot(), people(ledger)
    with pytest.raises(refusal):
        erase(ledger, member_id)
    assert (ledger.snapshot(), people(ledger)) == before


def test_points_that_lapsed_unnoticed_are_in_nobodys_way(ledger: LedgerDriver) -> None:
    member_id = known(ledger)
    ledger.issue(member_id, 5, expires_at=ledger.now + timedelta(days=1))
    ledger.pass_time(days=2)
    erase(ledger, member_id)
    assert ledger.rows("SELECT available FROM ledger.member_head") == [(0,)]
    assert clean(ledger)


def test_all_records_of_one_person_are_erased_together(ledger: LedgerDriver) -> None:
    first, second, third = (known(ledger, f"{n}@example.org") for n in range(3))
    ledger.merge(second, third)
    ledger.merge(first, second)
    assert set(erase(ledger, first).records) == {first, second, third}
    assert [found(ledger, f"{n}@example.org") for n in range(3)] == [None] * 3
    assert clean(ledger)


def test_words_written_about_the_member_are_removed(ledger: LedgerDriver) -> None:
    member_id = known(ledger)
    with ledger.database.unit_of_work() as session:
        propose_adjustment(
            session,
            ProposeAdjustment(
                member_id=member_id,
                points=Points(-1),
                reason=AdjustmentReason.FRAUD,
                note="Ada rang",
                by="op",
            ),
        )
    ledger.pool(member_id, name="The Lovelaces")
    ledger.leave_pool(member_id)
    erase(ledger, member_id)
    assert ledger.rows("SELECT count(*) FROM people.sealed") == [(0,)]
    assert clean(ledger)


def test_nothing_is_posted_to_the_erased_any_more(ledger: LedgerDriver) -> None:
    member_id, other = known(ledger), ledger.member(available=50)
    issued = ledger.issue(member_id, 100)
    redeemed = ledger.redeem(member_id, 100, key="the till's")
    erase(ledger, member_id)
    before = ledger.snapshot(), people(ledger)
    partner = ledger.any_partner()

    def link() -> None:
        identifier = Identifier.of(IdentifierKind.EMAIL, MAIL, partner_id=partner)
        with ledger.database.unit_of_work() as session:
            members.link_identifier(
                session, LinkIdentifier(member_id=member_id, partner_id=partner, identifier=identifier)
            )

    def profile() -> None:
        with ledger.database.unit_of_work() as session:
            vault.put(session, member_id, {"name": "Ada"})

    def confirm() -> None:
        with ledger.database.unit_of_work() as session:
            members.confirm_redemption(
                session, members.ConfirmRedemption(member_id=member_id, partner_id=partner, points=Points(1))
            )

    for wish in (
        lambda: ledger.issue(member_id, 1),
        lambda: ledger.redeem(member_id, 1),
        lambda: ledger.authorize(member_id, 1),
        lambda: ledger.reverse(issued.ref),
        lambda: ledger.reverse(redeemed.ref),
        lambda: ledger.transfer(member_id, 1, to=other),
        lambda: ledger.merge(other, member_id),
        lambda: ledger.merge(member_id, other),
        lambda: ledger.pool(member_id),
        confirm,
        link,
        profile,
    ):
        with pytest.raises(MemberErased):
            wish()
    # A giver learns nothing of the other.
    with pytest.raises(MemberUnknown):
        ledger.transfer(other, 1, to=member_id)
    assert (ledger.snapshot(), people(ledger)) == before


def test_an_answer_that_was_lost_is_still_found(ledger: LedgerDriver) -> None:
    member_id = known(ledger)
    ledger.issue(member_id, 100)
    first = ledger.redeem(member_id, 100, key="lost")
    erase(ledger, member_id)
    assert ledger.redeem(member_id, 100, key="lost").transaction_id == first.transaction_id


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger.member_head SET erased_at = NULL",
        "UPDATE people.data_key SET erased_at = erased_at + interval '1 second'",
        "DELETE FROM people.data_key",
        "UPDATE ledger.member_head SET available = 1",
        "UPDATE ledger.member_head SET last_recorded_at = erased_at + interval '1 second'",
        "INSERT INTO ledger.identifier SELECT 'card', NETWORK, '1', gen_random_uuid(), member_id, now(), member_id FROM ledger.member",
        "INSERT INTO people.sealed SELECT member_id, 'name', '\\x00' FROM ledger.member",
    ],
)
def test_the_audit_sees_an_erasure_that_was_half_done(
    ledger: LedgerDriver, superuser_engine: Engine, damage: str
) -> None:
    spent(ledger, member_id := known(ledger))
    erase(ledger, member_id)
    damage = damage.replace("NETWORK", "'00000000-0000-0000-0000-000000000000'")
    with superuser_engine.begin() as connection:
        connection.execute(text(damage))
    with ledger.database.reading() as session:
        assert "erased_members_are_gone" in {one.check for one in run_audit(session)}


def test_whoever_seals_while_the_member_is_erased_is_refused(ledger: LedgerDriver) -> None:
    """The writer waits for the key's row and then finds the key destroyed; or comes first and is erased too."""
    member_id = known(ledger)
    with ledger.database.unit_of_work() as writer:
        vault.put(writer, member_id, {"address": "somewhere"})
        with pytest.raises(CoalitionError, match="busy"):
            erase(ledger, member_id)
    erase(ledger, member_id)
    assert ledger.rows("SELECT * FROM people.sealed") == []


KILLED = """
import os, sys
from uuid import UUID
from coalition.config import get_settings
from coalition.db import Database
from coalition.erasing import erase_member

with Database.connect(get_settings()) as database, database.unit_of_work() as session:
    erase_member(session, UUID(sys.argv[1]))
    print("erased, not committed", flush=True)
    sys.stdin.read()
"""


def test_killed_in_the_middle_nothing_is_half_erased(
    ledger: LedgerDriver, test_database: TestDatabase
) -> None:
    member_id = known(ledger)
    before = ledger.snapshot(), people(ledger)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(member_id)],
        env={**os.environ, **test_database.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "erased, not committed\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for _ in range(100):
        if not ledger.rows("SELECT FROM pg_stat_activity WHERE state = 'idle in transaction'"):
            break
        time.sleep(0.05)
    assert (ledger.snapshot(), people(ledger)) == before
    assert found(ledger) == member_id
    assert not erase(ledger, member_id).replayed
    assert clean(ledger)


def test_the_kernel_alone_is_no_erasure_that_the_audit_would_pass(ledger: LedgerDriver) -> None:
    """Who called the kernel and not the vault left the key: seen."""
    member_id = known(ledger)
    with ledger.database.unit_of_work() as session:
        call(session, "SELECT * FROM ledger.erase_member(%s, %s)", (member_id, wall()))
    assert not clean(ledger)


def test_what_is_in_the_way_is_told_in_points(ledger: LedgerDriver) -> None:
    holder, pending = has_holds(ledger), ledger.member()
    ledger.issue(pending, 5, matures_at=ledger.now + timedelta(days=3))
    ledger.issue(pending, 2)
    merged = ledger.member()
    ledger.merge(pending, merged)
    for member_id, refusal, facts in (
        (holder, MemberHasHolds, {"held": 1}),
        (pending, MemberHasPoints, {"available": 2, "pending": 5, "deficit": 0}),
        (merged, MemberMerged, {"survivor": str(pending)}),
    ):
        with pytest.raises(refusal) as told:
            erase(ledger, member_id)
        assert told.value.facts == facts


def test_pending_points_are_in_the_way_until_their_issue_is_reversed(ledger: LedgerDriver) -> None:
    member_id = ledger.member()
    issued = ledger.issue(member_id, 5, matures_at=ledger.now + timedelta(days=3))
    before = ledger.snapshot()
    with pytest.raises(MemberHasPoints) as told:
        erase(ledger, member_id)
    assert ledger.snapshot() == before
    assert "pending ones mature first, or are taken back by reversing their issue" in told.value.message
    ledger.reverse(issued.ref)
    assert erase(ledger, member_id)


def test_nothing_of_anybody_else_is_touched(ledger: LedgerDriver) -> None:
    """Reasons, notes, names of pools and places in them: the erased one's go, the others' stay."""

    def living(number: int) -> MemberId:
        member_id = known(ledger, f"{number}@example.org")
        with ledger.database.unit_of_work() as session:
            propose_adjustment(
                session,
                ProposeAdjustment(
                    member_id=member_id,
                    points=Points(-1),
                    reason=AdjustmentReason.FRAUD,
                    note="rang",
                    by="op",
                ),
            )
            set_blocked(session, member_id, blocked=True, by="op", reason="stolen")
        with ledger.database.unit_of_work() as session:
            set_blocked(session, member_id, blocked=False, by="op")
        [(identifier,)] = ledger.rows(
            "SELECT identifier_id FROM ledger.identifier WHERE member_id = :id", id=member_id
        )
        with ledger.database.unit_of_work() as session:
            identifier_changes.block(
                session,
                ChangeIdentifier(
                    member_id=member_id,
                    identifier_id=identifier,
                    by=Actor(name="op", party_id=NETWORK),
                    reason="lost",
                ),
            )
        return member_id

    def of(member_id: MemberId) -> list[list[Any]]:
        return [
            ledger.rows(f"SELECT t::text FROM ledger.{table} t WHERE {column} = :id ORDER BY 1", id=member_id)
            for table, column in (
                ("identifier", "member_id"),
                ("identifier_change", "member_id"),
                ("member_block", "member_id"),
                ("adjustment", "member_id"),
                ("pool", "head_id"),
                ("pool_member", "member_id"),
                ("member_head", "member_id"),
            )
        ]

    gone, other = living(1), living(2)
    ledger.pool(gone, name="The Gones")
    ledger.pass_time(minutes=1)
    left_at = ledger.now
    ledger.leave_pool(gone)
    ledger.pool(other, name="The Others")
    ledger.pass_time(minutes=1)
    ledger.invite(other, gone)
    others = of(other)
    moment = ledger.pass_time(minutes=1)
    assert erase(ledger, gone).erased_at == moment
    assert of(other) == others
    assert ledger.rows("SELECT DISTINCT member_id FROM people.sealed") == [(other,)]
    assert ledger.rows(
        "SELECT ended_at, erased_at FROM ledger.pool_member JOIN ledger.member_head h USING (member_id)"
        " WHERE member_id = :id ORDER BY 1",
        id=gone,
    ) == [(left_at, moment), (moment, moment)]
    assert clean(ledger)


@pytest.mark.parametrize("value", ["Ada", None])
def test_nothing_more_is_said_of_who_was_erased_whichever_record_is_named(
    ledger: LedgerDriver, value: str | None
) -> None:
    member_id, twin = known(ledger), known(ledger, "twin@example.org")
    ledger.merge(member_id, twin)
    erase(ledger, member_id)
    before = people(ledger)
    for record in (member_id, twin):
        with ledger.database.unit_of_work() as session, pytest.raises(MemberErased):
            update_profile(session, record, {"name": value}, today=date(2026, 3, 2))
    assert people(ledger) == before


def test_of_the_requests_of_who_is_erased_those_are_forgotten_that_told_of_a_person(
    ledger: LedgerDriver,
) -> None:
    ada, ben = known(ledger), known(ledger, "ben@example.org")
    [(generation,)] = ledger.rows("SELECT max(generation) FROM people.index_key")
    with ledger.database.unit_of_work() as session:
        for member, name in ((ada, "ada"), (ben, "ben")):
            for blinded_by in (generation, None):
                once(
                    session,
                    caller=name,
                    key=f"by {blinded_by}",
                    name="enrol",
                    request={"of": name},
                    blinded_by=blinded_by,
                    work=lambda member=member: {"member_id": str(member)},  # type: ignore[misc]
                )
    erase(ledger, ada)
    assert ledger.rows("SELECT caller, key FROM partners.operation WHERE fingerprint IS NULL") == [
        ("ada", f"by {generation}")
    ]
    with ledger.database.reading() as session:
        assert run_audit(session) == []
