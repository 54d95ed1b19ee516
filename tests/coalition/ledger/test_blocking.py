"""Members who are blocked: who did it and why is a history without gap, and the audit knows it."""

import pytest
from databases import TestDatabase
from driver import LedgerDriver
from sqlalchemy import create_engine, text

from coalition.audit import run_audit
from coalition.blocking import blocks_of, set_blocked
from coalition.db import roles
from coalition.erasing import erase_member
from coalition.errors import CoalitionError, InvalidInput, MemberErased, MemberMerged, MemberUnknown
from coalition.ids import MemberId


def block(ledger: LedgerDriver, member: MemberId, *, blocked: bool = True, reason: str | None = None) -> None:
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=blocked, by="ada", reason=reason)


def history(ledger: LedgerDriver, member: MemberId) -> list[tuple[bool, str, str | None]]:
    with ledger.database.reading() as session:
        return [(one.blocked, one.by, one.reason) for one in blocks_of(session, member)]


def findings(ledger: LedgerDriver) -> set[str]:
    with ledger.database.reading() as session:
        return {finding.check for finding in run_audit(session)}


def test_each_change_is_a_line_and_what_is_so_already_is_none(ledger: LedgerDriver) -> None:
    member = ledger.member()
    block(ledger, member, blocked=False)
    assert history(ledger, member) == []
    block(ledger, member, reason="reported stolen")
    block(ledger, member, reason="again")
    block(ledger, member, blocked=False)
    block(ledger, member, reason="stolen again")
    assert history(ledger, member) == [
        (True, "ada", "reported stolen"),
        (False, "ada", None),
        (True, "ada", "stolen again"),
    ]
    assert findings(ledger) == set()


def test_who_is_not_there_was_merged_or_erased_is_refused_by_name(ledger: LedgerDriver) -> None:
    survivor, merged, gone = ledger.member(), ledger.member(), ledger.member()
    ledger.merge(survivor, merged)
    block(ledger, gone, reason="a name, perhaps")
    with ledger.database.unit_of_work() as session:
        erase_member(session, gone)
    assert history(ledger, gone) == [(True, "ada", None)]
    nobody = MemberId(type(survivor)(int=15))
    before = ledger.snapshot()
    wishes: list[tuple[MemberId, str | None, type[CoalitionError]]] = [
        (nobody, None, MemberUnknown),
        (merged, None, MemberMerged),
        (gone, None, MemberErased),
        (survivor, "", InvalidInput),
        (survivor, "x" * 201, InvalidInput),
    ]
    for member, reason, refusal in wishes:
        with pytest.raises(refusal):
            block(ledger, member, reason=reason)
    assert ledger.snapshot() == before
    assert findings(ledger) == set()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger.member_head SET blocked = NOT blocked",
        "DELETE FROM ledger.member_block",
        "DELETE FROM ledger.member_block WHERE number = 1",
        "DELETE FROM ledger.member_block WHERE number = 3",
        "UPDATE ledger.member_block SET blocked = NOT blocked",
        "UPDATE ledger.member_block SET number = number + 20",
        "UPDATE ledger.member_block SET changed_at = changed_at - interval '1 day' WHERE number = 2",
    ],
)
@pytest.mark.fresh_database
def test_the_audit_sees_damage_of_the_history(
    ledger: LedgerDriver, test_database: TestDatabase, damage: str
) -> None:
    member = ledger.member()
    for blocked in (True, False, True):
        block(ledger, member, blocked=blocked)
    assert findings(ledger) == set()
    engine = create_engine(test_database.url(roles.SUPERUSER))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE ledger.member_block DROP CONSTRAINT member_block_turns_check"))
        connection.execute(text(damage))
    engine.dispose()
    assert findings(ledger) == {"members_are_blocked_as_their_history_says"}
