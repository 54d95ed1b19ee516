"""Identifiers through the API: who blocks, replaces and unlinks what, and what a till is told then."""

import pytest
from api_driver import Api, Caller, codes, named

from schema.ids import member_in

ENROLL = """mutation($input: EnrollMemberInput!) { enrollMember(input: $input) { member { id }
    userErrors { code } } }"""
LINK = """mutation($input: LinkIdentifierInput!) { linkIdentifier(input: $input) { member { id }
    userErrors { code } } }"""
BLOCK = """mutation($input: BlockIdentifierInput!) { blockIdentifier(input: $input) { member { id } replayed
    userErrors { code } } }"""
UNBLOCK = """mutation($input: UnblockIdentifierInput!) { unblockIdentifier(input: $input) { member { id }
    userErrors { code } } }"""
UNLINK = """mutation($input: UnlinkIdentifierInput!) { unlinkIdentifier(input: $input) { member { id }
    userErrors { code } } }"""
REPLACE = """mutation($input: ReplaceCardInput!) { replaceCard(input: $input) { member { id }
    userErrors { code } } }"""
ISSUE = """mutation($input: IssuePointsInput!) { issuePoints(input: $input) { transaction { points } replayed
    userErrors { code } } }"""

BLOCK_MEMBER = """mutation($input: BlockMemberInput!) { blockMember(input: $input) { member { id }
    userErrors { code } } }"""

CARD = {"kind": "CARD", "value": "CARD-0001"}
OLD = {"identifier": CARD}


@pytest.fixture
def till(api: Api) -> Caller:
    return api.client_of(api.coalition.trading("grocer"))


@pytest.fixture
def member(till: Caller) -> str:
    return str(till.do(ENROLL, identifiers=[CARD])["member"]["id"])


def test_a_blocked_card_posts_nothing_until_it_is_unblocked(api: Api, till: Caller, member: str) -> None:
    before = till.do(ISSUE, member=OLD, points=5, idempotencyKey="before")
    assert before["transaction"] == {"points": "5"}
    blocked = till.do(BLOCK, identifier=OLD, reason="lost", idempotencyKey="block")
    assert blocked["member"] == {"id": member}
    assert till.do(BLOCK, identifier=OLD, reason="lost", idempotencyKey="block") == blocked | {
        "replayed": True
    }
    with api.nothing_moves():
        assert codes(till.do(ISSUE, member=OLD, points=5)) == ["IDENTIFIER_BLOCKED"]
    # The till that lost its answer before the block still finds it; the member can be named by anything else.
    assert till.do(ISSUE, member=OLD, points=5, idempotencyKey="before") == before | {"replayed": True}
    assert codes(till.do(ISSUE, member=named(member), points=5)) == []
    assert codes(till.do(UNBLOCK, identifier=OLD)) == []
    assert codes(till.do(ISSUE, member=OLD, points=5)) == []


@pytest.mark.usefixtures("member")
def test_another_partner_changes_nothing_and_learns_nothing(api: Api, till: Caller) -> None:
    stranger = api.client_of(api.coalition.trading("florist"))
    with api.nothing_moves():
        for wish in (BLOCK, UNLINK):
            assert codes(stranger.do(wish, identifier=OLD)) == ["IDENTIFIER_UNKNOWN"]
            assert codes(
                stranger.do(wish, identifier={"identifier": {"kind": "CARD", "value": "NOBODY-1"}})
            ) == ["IDENTIFIER_UNKNOWN"]
        assert codes(stranger.do(REPLACE, identifier=OLD, card="CARD-0002")) == ["IDENTIFIER_UNKNOWN"]
    assert codes(till.do(ISSUE, member=OLD, points=5)) == []


def test_a_replaced_card_is_refused_and_the_new_one_names_the_member(till: Caller, member: str) -> None:
    assert till.do(REPLACE, identifier=OLD, card="CARD-0002")["member"] == {"id": member}
    assert codes(till.do(ISSUE, member=OLD, points=5)) == ["CARD_REPLACED"]
    new = {"identifier": {"kind": "CARD", "value": "CARD-0002"}}
    assert codes(till.do(ISSUE, member=new, points=5)) == []


def test_a_member_of_a_bare_card_is_completed_later_and_unlinked_again(till: Caller, member: str) -> None:
    phone = {"kind": "PHONE", "value": "+49 30 901820"}
    assert till.do(LINK, member=named(member), identifier=phone)["member"] == {"id": member}
    as_written_elsewhere = {"identifier": {"kind": "PHONE", "value": "+4930901820"}}
    assert codes(till.do(ISSUE, member=as_written_elsewhere, points=5)) == []
    assert codes(till.do(UNLINK, identifier=as_written_elsewhere)) == []
    assert codes(till.do(ISSUE, member=as_written_elsewhere, points=5)) == ["IDENTIFIER_UNLINKED"]


def test_a_member_blocks_its_own_card_and_the_operator_any(api: Api, till: Caller, member: str) -> None:
    own_id = member_in(member)
    assert own_id is not None
    assert codes(api.member(own_id).do(BLOCK, identifier=OLD)) == []
    assert codes(till.do(ISSUE, member=OLD, points=5)) == ["IDENTIFIER_BLOCKED"]
    assert codes(till.do(UNBLOCK, identifier=OLD)) == ["IDENTIFIER_BLOCKED"]
    assert codes(api.operator().do(UNBLOCK, identifier=OLD)) == []
    assert codes(till.do(ISSUE, member=OLD, points=5)) == []


def test_what_became_of_it_the_operator_sees_with_who_and_the_member_without(
    api: Api, till: Caller, member: str
) -> None:
    till.do(BLOCK, identifier=OLD, reason="lost")
    api.operator().do(UNBLOCK, identifier=OLD, reason="found")
    seen = """query($m: MemberBy!) { member(by: $m) { identifiers { state
        history { state partner { code } by reason } } } }"""
    [shown] = api.operator().ask(seen, m=named(member))["member"]["identifiers"]
    assert shown["state"] == "ACTIVE"
    assert [(one["state"], one["partner"], one["reason"]) for one in shown["history"]] == [
        ("ACTIVE", {"code": "grocer"}, None),
        ("BLOCKED", {"code": "grocer"}, "lost"),
        ("ACTIVE", None, "found"),
    ]
    assert [one["by"] is None for one in shown["history"]] == [True, False, False]
    own_id = member_in(member)
    assert own_id is not None
    [itself] = api.member(own_id).ask(seen, m=named(member))["member"]["identifiers"]
    assert itself["history"] == [one | {"by": None} for one in shown["history"]]
    till.do(LINK, member=named(member), identifier={"kind": "PARTNER_REFERENCE", "value": "7"})
    [reference] = till.ask(seen, m=named(member))["member"]["identifiers"]
    assert reference["history"] == []


PHONE = {"kind": "PHONE", "value": "+49 30 901820"}
BY_PHONE = {"identifier": PHONE}


def test_that_a_phone_was_once_known_is_told_to_who_knew_it_and_to_nobody_else(
    api: Api, till: Caller, member: str
) -> None:
    """To a stranger it is as one that never was, whatever else is wrong with its wish."""
    stranger = api.client_of(api.coalition.trading("florist"))
    client = api.client_of(api.coalition.trading("baker"))
    till.do(LINK, member=named(member), identifier=PHONE)
    posted = client.do(ISSUE, member=BY_PHONE, points=5, idempotencyKey="k")
    api.coalition.pass_time(seconds=1)
    till.do(UNLINK, identifier=BY_PHONE)
    api.coalition.pass_time(seconds=1)

    receipt = {"store": "S", "terminal": "T", "number": "1"}
    assert codes(stranger.do(ISSUE, member=OLD, points=1, receipt=receipt, idempotencyKey="mine")) == []
    never = {"identifier": {"kind": "PHONE", "value": "+49 30 901821"}}
    with api.nothing_moves():
        for caller in (till, client):
            assert codes(caller.do(ISSUE, member=BY_PHONE, points=5)) == ["IDENTIFIER_UNLINKED"]
        # The till that lost its answer before still finds it.
        assert client.do(ISSUE, member=BY_PHONE, points=5, idempotencyKey="k") == posted | {"replayed": True}
    with api.nothing_moves():
        for wish in (
            {"points": 5},
            {"points": 5, "receipt": receipt},
            {"points": 1, "receipt": receipt, "idempotencyKey": "mine2"},
        ):
            told = [stranger.do(ISSUE, member=one, **wish) for one in (BY_PHONE, never)]
            assert told[0] == told[1]
            assert codes(told[0]) == ["MEMBER_UNKNOWN"]
    api.operator().do(BLOCK_MEMBER, member=named(member))
    assert codes(stranger.do(ISSUE, member=BY_PHONE, points=5)) == ["MEMBER_UNKNOWN"]
