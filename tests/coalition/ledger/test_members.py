"""Members join, are known by more, and are brought up to date: what is written, and what is refused by name."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from driver import LedgerDriver

from coalition import errors, identifier_changes, members
from coalition.erasing import erase_member
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId, PartnerId
from coalition.ledger.posting import call

OPERATOR = Actor(name="test", party_id=NETWORK)


def card(number: str) -> Identifier:
    return Identifier.of(IdentifierKind.CARD, number, partner_id=NETWORK)


def reference(value: str, partner: PartnerId) -> Identifier:
    return Identifier.of(IdentifierKind.PARTNER_REFERENCE, value, partner_id=partner)


def join(ledger: LedgerDriver, *identifiers: Identifier, at: PartnerId | None = None) -> MemberId:
    wish = members.EnrolMember(partner_id=at or ledger.any_partner(), identifiers=identifiers)
    with ledger.database.unit_of_work() as session:
        return members.enrol_member(session, wish)


def link(
    ledger: LedgerDriver, member: MemberId, identifier: Identifier, *, at: PartnerId | None = None
) -> None:
    wish = members.LinkIdentifier(
        member_id=member, partner_id=at or ledger.any_partner(), identifier=identifier
    )
    with ledger.database.unit_of_work() as session:
        members.link_identifier(session, wish)


def named(ledger: LedgerDriver, identifier: Identifier) -> tuple[MemberId, UUID]:
    with ledger.database.reading() as session:
        found = members.find_named(session, identifier)
    assert found is not None
    assert found.identifier_id is not None
    return found.member_id, found.identifier_id


def written(ledger: LedgerDriver) -> list[Any]:
    return [
        ledger.rows(f"SELECT t::text FROM ledger.{table} t ORDER BY 1")
        for table in ("member", "member_head", "identifier", "identifier_change")
    ]


def refused(ledger: LedgerDriver, kind: type[errors.CoalitionError], act: Any) -> dict[str, Any]:
    """The facts of a refusal that wrote nothing."""
    before = written(ledger)
    with pytest.raises(kind) as refusal:
        act()
    assert written(ledger) == before
    return refusal.value.facts


def test_who_joins_is_written_down_with_when_and_where_and_how_it_is_known(ledger: LedgerDriver) -> None:
    shop = ledger.partner()
    moment = ledger.pass_time(minutes=5)
    member = join(ledger, card("CARD1"), at=shop)
    assert ledger.rows("SELECT * FROM ledger.member") == [(member, moment, shop)]
    assert ledger.rows("SELECT member_id, available, blocked, last_sequence FROM ledger.member_head") == [
        (member, 0, False, 0)
    ]
    assert ledger.rows(
        "SELECT kind, partner_id, value, member_id, linked_at, linked_by, unlinked_at FROM ledger.identifier"
    ) == [("card", NETWORK, "CARD1", member, moment, shop, None)]
    assert ledger.rows(
        "SELECT c.member_id, number, c.kind, state, changed_at, party_id, changed_by"
        " FROM ledger.identifier_change c JOIN ledger.identifier USING (identifier_id)"
    ) == [(member, 1, "card", "active", moment, shop, None)]


def test_identifiers_are_written_in_one_order_whatever_the_order_they_came_in(ledger: LedgerDriver) -> None:
    """Two who enrol with the same ones wait for each other, and do not deadlock."""
    kinds, owners, values = [], [], []
    for kind, owner, value in (
        ("partner_reference", 2, "a" * 64),
        ("card", 0, "B"),
        ("partner_reference", 1, "c" * 64),
        ("card", 0, "A"),
        ("partner_reference", 1, "b" * 64),
        ("phone", 0, "d" * 64),
        ("email", 0, "e" * 64),
    ):
        kinds.append(kind)
        owners.append(UUID(int=owner))
        values.append(value)
    with ledger.database.unit_of_work() as session:
        call(
            session,
            "SELECT ledger.enrol(%s, %s, %s, %s::uuid[], %s, now(), NULL, 1)",
            (uuid4(), ledger.any_partner(), kinds, owners, values),
        )
    assert ledger.rows("SELECT kind, partner_id, left(value, 1) FROM ledger.identifier ORDER BY ctid") == [
        ("card", UUID(int=0), "A"),
        ("card", UUID(int=0), "B"),
        ("email", UUID(int=0), "e"),
        ("partner_reference", UUID(int=1), "b"),
        ("partner_reference", UUID(int=1), "c"),
        ("partner_reference", UUID(int=2), "a"),
        ("phone", UUID(int=0), "d"),
    ]


def test_an_identifier_is_taken_only_by_one_of_its_kind_its_owner_and_its_value(ledger: LedgerDriver) -> None:
    one, other = ledger.partner(), ledger.partner()
    ada, ben = join(ledger, at=one), join(ledger, at=one)
    link(ledger, ada, reference("C-1", one))
    link(ledger, ben, reference("C-1", other))
    link(ledger, ben, reference("C-2", one))
    link(ledger, ben, card("1111"))
    before = written(ledger)
    for member, known_by in (
        (ada, reference("C-1", one)),
        (ben, reference("C-1", other)),
        (ben, reference("C-2", one)),
        (ben, card("1111")),
    ):
        link(ledger, member, known_by)
    assert written(ledger) == before
    for member, known_by in (
        (ben, reference("C-1", one)),
        (ada, reference("C-1", other)),
        (ada, reference("C-2", one)),
        (ada, card("1111")),
    ):
        facts = refused(
            ledger,
            errors.IdentifierTaken,
            lambda member=member, known_by=known_by: link(ledger, member, known_by),
        )
        assert facts == {"kind": known_by.kind}


def test_one_that_was_unlinked_and_linked_again_belongs_to_who_has_it_now(ledger: LedgerDriver) -> None:
    ada, ben = join(ledger, card("1111")), join(ledger)
    _, before = named(ledger, card("1111"))
    with ledger.database.unit_of_work() as session:
        identifier_changes.unlink(session, ChangeIdentifier(member_id=ada, identifier_id=before, by=OPERATOR))
    link(ledger, ben, card("1111"))
    rows = written(ledger)
    link(ledger, ben, card("1111"))
    assert written(ledger) == rows
    refused(ledger, errors.IdentifierTaken, lambda: link(ledger, ada, card("1111")))
    assert named(ledger, card("1111"))[0] == ben


def test_what_a_record_is_known_by_is_linked_to_its_survivor_already(ledger: LedgerDriver) -> None:
    ada, ben, cleo = (ledger.member() for _ in range(3))
    link(ledger, ben, card("1111"))
    ledger.merge(cleo, ben)
    ledger.merge(ada, cleo)
    before = ledger.snapshot()
    link(ledger, ada, card("1111"))
    assert ledger.snapshot() == before
    ledger.unmerge(ada, cleo)
    refused(ledger, errors.IdentifierTaken, lambda: link(ledger, ada, card("1111")))
    link(ledger, cleo, card("1111"))
    assert ledger.snapshot() != before  # of the un-merge alone


def test_a_card_that_was_replaced_is_not_linked_again(ledger: LedgerDriver) -> None:
    ada, ben = join(ledger, card("1111")), join(ledger)
    _, old = named(ledger, card("1111"))
    with ledger.database.unit_of_work() as session:
        identifier_changes.replace_card(
            session, ChangeIdentifier(member_id=ada, identifier_id=old, by=OPERATOR), card("2222")
        )
    refused(ledger, errors.CardReplaced, lambda: link(ledger, ada, card("1111")))
    refused(ledger, errors.IdentifierTaken, lambda: link(ledger, ben, card("1111")))
    link(ledger, ada, card("2222"))


def test_nobody_who_is_not_there_or_was_erased_becomes_known_by_anything(ledger: LedgerDriver) -> None:
    gone = join(ledger)
    with ledger.database.unit_of_work() as session:
        erase_member(session, gone)
    refused(ledger, errors.MemberErased, lambda: link(ledger, gone, card("1111")))
    refused(ledger, errors.MemberUnknown, lambda: link(ledger, MemberId(uuid4()), card("1111")))


def test_nobody_joins_or_is_linked_at_a_partner_that_is_unknown_or_not_active(ledger: LedgerDriver) -> None:
    member, suspended = join(ledger), ledger.partner(state="suspended")
    for at, refusal in (
        (PartnerId(uuid4()), errors.PartnerUnknown),
        (suspended, errors.PartnerNotActive),
    ):
        for act in (
            lambda at=at: join(ledger, at=at),
            lambda at=at: join(ledger, card("1111"), at=at),
            lambda at=at: link(ledger, member, card("1111"), at=at),
        ):
            facts = refused(ledger, refusal, act)
            assert facts == ({"state": "suspended"} if at == suspended else {})


def test_bringing_up_to_date_says_how_many_transactions_it_made(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    assert ledger.bring_up_to_date(member) == 0
    ledger.issue(member, 5, expires_at=ledger.now + timedelta(hours=1))
    ledger.issue(member, 6, matures_at=ledger.now + timedelta(hours=1))
    ledger.pass_time(hours=2)
    assert ledger.bring_up_to_date(member) == 2
    assert ledger.bring_up_to_date(member) == 0
    assert ledger.kinds(member)[-2:] in (
        [("mature", 6), ("expire", 5)],
        [("expire", 5), ("mature", 6)],
    )
    other = ledger.member(available=7)
    for each in (member, other):
        ledger.issue(each, 5, expires_at=ledger.now + timedelta(hours=1))
    ledger.pass_time(hours=2)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberUnknown):
        ledger.bring_up_to_date(member, MemberId(uuid4()))
    assert ledger.snapshot() == before
    assert ledger.bring_up_to_date(member, other) == 2


def test_who_is_due_is_told_in_pages_whom_it_is_due_for_longest_first(ledger: LedgerDriver) -> None:
    due = []
    for hours in (3, 1, 2, 2):
        member = ledger.member()
        ledger.issue(member, 5, expires_at=ledger.now + timedelta(hours=hours))
        due.append(members.Due(ledger.now + timedelta(hours=hours), member))
    pages, last = [], None
    with ledger.database.reading() as session:
        at = ledger.now + timedelta(hours=2)
        while page := members.members_due(session, at=at, limit=2, after=last):
            pages.append(page)
            last = page[-1]
    wanted = sorted(one for one in due if one.due_at <= at)
    assert pages == [wanted[:2], wanted[2:]]


def test_a_hold_on_the_pool_that_lapsed_gives_back_to_whom_it_took_from(ledger: LedgerDriver) -> None:
    spender, giver = ledger.member(available=10), ledger.member(available=50)
    ledger.pool(spender, giver)
    ledger.authorize(spender, 40, from_pool=True, seconds_to_live=60)
    assert [ledger.balance(one).held for one in (spender, giver)] != [0, 0]
    ledger.pass_time(minutes=5)
    assert ledger.bring_up_to_date(spender) > 0
    assert ledger.rows(
        "SELECT available, held FROM ledger.member_head WHERE member_id IN (:spender, :giver) ORDER BY 1",
        spender=spender,
        giver=giver,
    ) == [(10, 0), (50, 0)]
