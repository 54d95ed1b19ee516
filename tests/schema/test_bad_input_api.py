"""What the contract calls bad input, wherever a till, a member or the operator could send it.

Each gets a named refusal that says which field it is about, and nothing moves: not a row of any table. What
it says of a field, whichever mutation was asked, is a path that leads somewhere in that mutation's input.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import pytest
from api_driver import Api, Caller, named, serving_api
from databases import TestCluster
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    get_named_type,
    get_nullable_type,
    is_required_input_field,
)

from coalition.errors import REFUSALS
from coalition.ids import MemberId
from coalition.paging import cursor_of
from partners.directory import Partner
from schema.graph import build, core_schema
from schema.ids import member_in

STORE = {"store": "s1", "terminal": "t1"}
NO_PHONE = {"identifier": {"kind": "PHONE", "value": "030"}}
NOBODY = {"identifier": {"kind": "CARD", "value": "4000000000000000"}}
CARDS = ("4006381333931", "4006381333948")
"""Of one who has them both."""
ENDLESS = "x" * 10_000

Refusal = tuple[str, list[str] | None]
"""Its code, and the field at fault."""


_ROOT = core_schema(build()).mutation_type
MUTATIONS = _ROOT.fields if _ROOT else {}


def leads_somewhere(name: str, path: list[str] | None) -> bool:
    """Whether the mutation's arguments have that path; none is no wrong one."""
    if path is None:
        return True
    arguments = MUTATIONS[name].args
    if not path or path[0] not in arguments:
        return False
    kind: Any = arguments[path[0]].type
    for step in path[1:]:
        kind = get_nullable_type(kind)
        if isinstance(kind, GraphQLList) and step.isdecimal():
            kind = kind.of_type
        elif isinstance(kind, GraphQLInputObjectType) and step in kind.fields:
            kind = kind.fields[step].type
        else:
            return False
    return True


def told(name: str, errors: list[dict[str, Any]]) -> list[Refusal]:
    for error in errors:
        assert leads_somewhere(name, error["field"]), error
    return [(error["code"], error["field"]) for error in errors]


def mutation(name: str) -> str:
    answer = "userErrors { code field }"
    if name.endswith("Batch"):
        answer += f" lines {{ {answer} }}"
    type_ = f"{name[0].upper()}{name[1:]}Input"
    return f"mutation ($input: {type_}!) {{ {name}(input: $input) {{ {answer} }} }}"


@dataclass
class Scene:
    """A till, its member, and what there must be for each posting to be granted."""

    api: Api
    grocer: Partner = field(init=False)
    till: Caller = field(init=False)
    ada: str = field(init=False)
    at_ada: Caller = field(init=False)
    bea: str = field(init=False)
    pooled: str = field(init=False)
    callers: dict[str, Caller] = field(init=False)
    made: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.grocer = self.api.coalition.trading("grocer")
        self.till = self.api.client_of(self.grocer)
        self.ada = self.api.enrolled(self.grocer)
        self.at_ada = self.member(self.ada)
        stores = [{"code": "s1", "name": "South"}]
        self.do(self.api.operator(), "publishStores", partner="grocer", stores=stores)
        self.made["issue"] = self.till.issue(self.ada, amount="500", receipt=self.receipt("0"))[
            "transaction"
        ]["id"]
        self.made["late voucher"] = self.voucher(secondsToLive=60)
        self.api.coalition.pass_time(seconds=61)
        self.made["voucher"] = self.voucher()
        self.made["used voucher"] = self.voucher()
        assert self.do(self.till, "redeemVoucher", voucher=self.made["used voucher"]) == []
        authorize = mutation("authorizeRedemption").replace("userErrors", "hold { id } userErrors")
        self.made["hold"] = self.till.do(authorize, member=named(self.ada), points=20, secondsToLive=3_600)[
            "hold"
        ]["id"]
        self.bea = self.api.enrolled(self.grocer)
        self.pooled = self.api.enrolled(self.grocer)
        at_pooled = self.member(self.pooled)
        assert self.do(at_pooled, "createPool", name="Home") == []
        cards = [{"kind": "CARD", "value": number} for number in CARDS]
        assert self.do(self.till, "enrollMember", identifiers=cards) == []
        self.callers = {
            "till": self.till,
            "ada": self.at_ada,
            "pooled": at_pooled,
            "operator": self.api.operator(),
        }

    def member(self, id_: str) -> Caller:
        found = member_in(id_)
        assert found is not None
        return self.api.member(MemberId(found))

    def voucher(self, **given: Any) -> str:
        make = mutation("issueVoucher").replace("userErrors", "voucher { token } userErrors")
        made = self.at_ada.do(make, partner="grocer", points=10, **given)
        token: str = made["voucher"]["token"]
        return token

    def receipt(self, number: str, **more: Any) -> dict[str, Any]:
        return {**STORE, "number": number, **more}

    def do(self, caller: Caller, name: str, /, **given: Any) -> list[Refusal]:
        answer = caller.do(mutation(name), **given)
        return told(name, answer["userErrors"])


@pytest.fixture(scope="module")
def scene(cluster: TestCluster) -> Iterator[Scene]:
    with cluster.new_database() as database, serving_api(database) as api:
        yield Scene(api)


def _batch(name: str) -> Callable[[Scene, dict[str, Any]], list[Refusal]]:
    def send(scene: Scene, given: dict[str, Any]) -> list[Refusal]:
        line = {"idempotencyKey": "line", "member": named(scene.ada), "points": 5, **given}
        [answer] = scene.till.ask(mutation(name), input={"lines": [line]}).values()
        assert answer["userErrors"] == []
        return [
            (code, path and [*path[:1], *path[3:]])
            for code, path in told(name, answer["lines"][0]["userErrors"])
        ]

    return send


def _single(name: str, **usual: Any) -> Callable[[Scene, dict[str, Any]], list[Refusal]]:
    def send(scene: Scene, given: dict[str, Any]) -> list[Refusal]:
        known = {key: made(scene) if callable(made) else made for key, made in usual.items()}
        return scene.do(scene.till, name, **{**known, **given})

    return send


def _ada(scene: Scene) -> dict[str, Any]:
    return named(scene.ada)


def _bea(scene: Scene) -> dict[str, Any]:
    return named(scene.bea)


def _pooled(scene: Scene) -> dict[str, Any]:
    return named(scene.pooled)


POSTINGS = {
    "issuePoints": _single("issuePoints", member=_ada, points=5),
    "redeemPoints": _single("redeemPoints", member=_ada, points=5),
    "issuePointsBatch": _batch("issuePointsBatch"),
    "redeemPointsBatch": _batch("redeemPointsBatch"),
    "authorizeRedemption": _single("authorizeRedemption", member=_ada, points=5),
    "captureRedemption": _single("captureRedemption", holdId=lambda scene: scene.made["hold"]),
    "voidRedemption": _single("voidRedemption", holdId=lambda scene: scene.made["hold"]),
    "redeemVoucher": _single("redeemVoucher", voucher=lambda scene: scene.made["voucher"]),
    "reverseTransaction": _single("reverseTransaction", transactionId=lambda scene: scene.made["issue"]),
}
NAMES_A_MEMBER = {
    "issuePoints",
    "redeemPoints",
    "issuePointsBatch",
    "redeemPointsBatch",
    "authorizeRedemption",
}
HAS_A_RECEIPT = {
    "issuePoints",
    "redeemPoints",
    "issuePointsBatch",
    "redeemPointsBatch",
    "captureRedemption",
    "redeemVoucher",
}
_OCCURRED, _KEY = ["input", "occurredAt"], ["input", "idempotencyKey"]
BAD: dict[str, tuple[set[str], dict[str, Any], Refusal]] = {
    "of the future": (
        set(POSTINGS),
        {"occurredAt": "2040-01-01T00:00:00Z"},
        ("OCCURRED_IN_FUTURE", _OCCURRED),
    ),
    "of long ago": (
        set(POSTINGS),
        {"occurredAt": "2019-01-01T00:00:00Z"},
        ("OCCURRED_TOO_LONG_AGO", _OCCURRED),
    ),
    "of before all zones": (
        set(POSTINGS),
        {"occurredAt": "0001-01-01T00:00:00+05:00"},
        ("INVALID_INPUT", _OCCURRED),
    ),
    "of after all zones": (
        set(POSTINGS),
        {"occurredAt": "9999-12-31T23:59:59-05:00"},
        ("OCCURRED_IN_FUTURE", _OCCURRED),
    ),
    "an endless key": (set(POSTINGS), {"idempotencyKey": ENDLESS}, ("INVALID_INPUT", _KEY)),
    "a member by what is no phone": (
        NAMES_A_MEMBER,
        {"member": NO_PHONE},
        ("IDENTIFIER_INVALID", ["input", "member", "identifier", "value"]),
    ),
    "an endless receipt": (
        HAS_A_RECEIPT,
        {"receipt": STORE | {"number": ENDLESS}},
        ("INVALID_INPUT", ["input", "receipt", "number"]),
    ),
    "an endless terminal": (
        HAS_A_RECEIPT,
        {"receipt": STORE | {"terminal": ENDLESS, "number": "1"}},
        ("INVALID_INPUT", ["input", "receipt", "terminal"]),
    ),
    "a store that there is not": (
        HAS_A_RECEIPT,
        {"receipt": STORE | {"store": "nowhere", "number": "1"}},
        ("STORE_UNKNOWN", ["input", "receipt", "store"]),
    ),
}


@pytest.mark.parametrize(
    ("posting", "bad"),
    [(posting, bad) for bad, (postings, _, _) in BAD.items() for posting in POSTINGS if posting in postings],
)
def test_what_no_posting_takes_is_refused_by_each_and_nothing_moves(
    scene: Scene, posting: str, bad: str
) -> None:
    _, given, refusal = BAD[bad]
    with scene.api.nothing_moves():
        assert POSTINGS[posting](scene, given) == [refusal]


def keyed(name: str) -> Any:
    """What has the mutation's key: its input, or each line of a batch."""
    given: Any = get_named_type(MUTATIONS[name].args["input"].type)
    return get_named_type(given.fields["lines"].type) if "lines" in given.fields else given


LEAVES = {"String": "x", "Int": 1, "Points": "1", "Decimal": "1", "Date": "2026-03-02"}


def least(kind: Any, usual: dict[str, Any]) -> Any:
    """As little as the type takes; of some types what is usual."""
    kind = get_nullable_type(kind)
    if isinstance(kind, GraphQLList):
        return [least(kind.of_type, usual)]
    if kind.name in usual:
        return usual[kind.name]
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    wanted = [field for field, one in kind.fields.items() if is_required_input_field(one)]
    return {field: least(kind.fields[field].type, usual) for field in wanted or [*kind.fields][:1]}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_or_each_line_of_a_batch_wants_a_key(name: str) -> None:
    assert is_required_input_field(keyed(name).fields["idempotencyKey"])


def answered(caller: Caller, name: str, wish: dict[str, Any]) -> list[list[Refusal]]:
    """What the mutation, or a batch of this one line, was refused with; nothing where the caller may not ask it."""
    asked = {"input": {"lines": [wish]} if name.endswith("Batch") else wish}
    answer = caller.send(mutation(name), asked).json()
    if "errors" in answer:
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
        return []
    [payload] = answer["data"].values()
    lines = [error for line in payload.get("lines", ()) for error in line["userErrors"]]
    return [told(name, payload["userErrors"] + lines)]


@pytest.mark.parametrize("name", MUTATIONS)
def test_no_mutation_takes_an_endless_key_and_nothing_moves(scene: Scene, name: str) -> None:
    """Whoever asks, and also where who is named is wrong, too: of that is said later."""
    where = ["lines", "0"] if name.endswith("Batch") else []
    said = []
    with scene.api.nothing_moves():
        for who, member in product(("till", "ada", "operator"), (named(scene.ada), NO_PHONE)):
            wish = least(keyed(name), LEAVES | {"ID": scene.ada, "MemberBy": member})
            wish["idempotencyKey"] = ENDLESS
            said += answered(scene.callers[who], name, wish)
    assert said
    assert said == [[("INVALID_INPUT", ["input", *where, "idempotencyKey"])]] * len(said)


BEYOND_64_BITS = str(2**64)


def counted(kind: Any) -> list[str]:
    """Which fields of an input are points."""
    return [name for name, one in kind.fields.items() if get_named_type(one.type).name == "Points"]


@pytest.mark.parametrize("name", [name for name in MUTATIONS if counted(keyed(name))])
def test_no_mutation_takes_more_points_than_can_be_counted_and_nothing_moves(scene: Scene, name: str) -> None:
    said = []
    for who, points in product(scene.callers, counted(keyed(name))):
        wish = least(
            keyed(name), LEAVES | {"ID": scene.ada, "MemberBy": named(scene.ada), "Points": BEYOND_64_BITS}
        )
        wish[points] = BEYOND_64_BITS
        with scene.api.nothing_moves():
            said += answered(scene.callers[who], name, wish)
    assert said
    assert all(said)


def test_the_register_is_read_whatever_was_refused(scene: Scene) -> None:
    for points in (BEYOND_64_BITS, f"-{BEYOND_64_BITS}", "9" * 40):
        assert scene.do(scene.till, "issuePoints", member=named(scene.ada), points=points) == [
            ("POINTS_INVALID", ["input", "points"])
        ]
    told_of = scene.callers["operator"].ask("{ refusals(first: 3) { nodes { code facts } } }")["refusals"][
        "nodes"
    ]
    assert [one["code"] for one in told_of] == ["POINTS_INVALID"] * 3


NO_POINTS: tuple[set[str], dict[str, Any], Refusal] = (
    set(POSTINGS) - {"voidRedemption"},
    {"points": 0},
    ("POINTS_INVALID", ["input", "points"]),
)


@pytest.mark.parametrize("posting", POSTINGS)
def test_where_two_things_are_wrong_the_first_in_the_published_order_is_said(
    scene: Scene, posting: str
) -> None:
    place = {refusal.code: nth for nth, refusal in enumerate(REFUSALS)}
    faults = [
        (given, code) for postings, given, (code, _) in [*BAD.values(), NO_POINTS] if posting in postings
    ]
    otherwise = []
    for (one, first), (other, second) in combinations(faults, 2):
        wish = {"idempotencyKey": f"two of {posting}"} | one | other
        if one.keys() & other.keys():
            continue
        said = [code for code, _ in POSTINGS[posting](scene, wish)]
        if said != [min(first, second, key=place.__getitem__)]:
            otherwise.append((one, other, said))
    assert otherwise == []


@pytest.mark.parametrize(
    ("posting", "given", "refusal"),
    [
        ("captureRedemption", {"points": 21}, ("HOLD_EXCEEDED", ["input", "points"])),
        ("captureRedemption", {"points": 0}, ("POINTS_INVALID", ["input", "points"])),
        ("redeemVoucher", {"points": 11}, ("VOUCHER_EXCEEDED", ["input", "points"])),
        ("redeemVoucher", {"points": -1}, ("POINTS_INVALID", ["input", "points"])),
        ("reverseTransaction", {"points": 501}, ("REVERSAL_EXCEEDED", ["input", "points"])),
        ("reverseTransaction", {"amount": "500.01"}, ("REVERSAL_EXCEEDED", ["input", "amount"])),
        ("reverseTransaction", {"points": 1, "amount": "1"}, ("INVALID_INPUT", ["input", "points"])),
        ("reverseTransaction", {"amount": "0"}, ("INVALID_INPUT", ["input", "amount"])),
        ("issuePoints", {"amount": "5"}, ("INVALID_INPUT", ["input", "points"])),
    ],
)
def test_partial_amounts_that_do_not_add_up_are_refused_and_nothing_moves(
    scene: Scene, posting: str, given: dict[str, Any], refusal: Refusal
) -> None:
    with scene.api.nothing_moves():
        assert POSTINGS[posting](scene, given) == [refusal]


@pytest.mark.parametrize(
    "amount", ["1_0", "\u0661\u0662", "NaN", "sNaN", "Infinity", "1e9999999", "0x10", " 5", "1.2.3", ""]
)
def test_an_amount_that_is_no_plain_number_is_none_of_its_type_and_nothing_moves(
    scene: Scene, amount: str
) -> None:
    given = {"idempotencyKey": "number", "member": named(scene.ada), "amount": amount}
    with scene.api.nothing_moves():
        answer = scene.till.send(mutation("issuePoints"), {"input": given}).json()
        assert answer.get("data") is None
        assert "Decimal must be an exact number" in answer["errors"][0]["message"]


def test_an_amount_may_have_a_sign_a_bare_point_or_an_exponent(scene: Scene) -> None:
    ones = [
        scene.till.issue(scene.bea, amount=amount)["transaction"]["points"]
        for amount in ("+1", "1.", "01.0", "1e0", "0.1E+1", "10e-1")
    ]
    assert ones == ["1"] * 6
    assert scene.till.issue(scene.bea, amount=".5")["transaction"]["points"] == "0"


@pytest.mark.parametrize("last", ["9" * 23, "1", "\u0661", "", "6f9619ff-8b86-4d01-b42d-00c04fc964ff"])
@pytest.mark.parametrize("side", ["after", "before"])
def test_a_cursor_that_no_member_list_gave_is_refused_by_its_argument(
    scene: Scene, last: str, side: str
) -> None:
    query = f"""query ($by: MemberBy!, $at: String!) {{
        transactions(filter: {{member: $by}}, {side}: $at) {{ edges {{ cursor }} }}
    }}"""
    at = cursor_of(("2026-03-02", last))
    [error] = scene.till.send(query, {"by": named(scene.ada), "at": at}).json()["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["message"] == f"{side} is not a cursor of this list"


def test_a_voucher_forged_used_before_or_out_of_date_is_refused_and_nothing_moves(scene: Scene) -> None:
    good = scene.made["voucher"]
    for voucher, code in (
        (good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"), "VOUCHER_INVALID"),
        (scene.made["used voucher"], "VOUCHER_USED"),
        (scene.made["late voucher"], "VOUCHER_EXPIRED"),
    ):
        with scene.api.nothing_moves():
            assert scene.do(scene.till, "redeemVoucher", voucher=voucher) == [(code, ["input", "voucher"])]


def test_of_a_field_that_the_input_has_not_no_path_is_told(scene: Scene) -> None:
    guest = scene.api.enrolled(scene.grocer)
    at_guest = scene.member(guest)
    query = "query($by: MemberBy!) { member(by: $by) { pool { id } } }"
    pool = scene.callers["pooled"].ask(query, by=named(scene.pooled))["member"]["pool"]["id"]
    assert scene.do(scene.callers["pooled"], "inviteToPool", invited=named(guest)) == []
    assert scene.do(at_guest, "acceptPoolInvitation", pool=pool) == []
    with scene.api.nothing_moves():
        assert scene.do(at_guest, "closePool", pool=pool) == [("POOL_HEAD_ONLY", None)]


@pytest.mark.parametrize("name", ["issuePointsBatch", "redeemPointsBatch"])
def test_a_batch_with_one_line_twice_posts_neither_where_it_is_atomic(scene: Scene, name: str) -> None:
    by = {"member": named(scene.ada), "points": 5, "receipt": scene.receipt("twice")}
    twice = [{"idempotencyKey": key, **by} for key in ("first", "second")]
    same_key = [{"idempotencyKey": "same", "member": named(scene.ada), "points": points} for points in (5, 6)]
    for lines in (twice, same_key):
        with scene.api.nothing_moves():
            [answer] = scene.till.ask(mutation(name), input={"lines": lines, "atomic": True}).values()
            assert [error["code"] for error in answer["userErrors"]] == ["BATCH_STOPPED"]
            assert [error["code"] for error in answer["lines"][1]["userErrors"]] == ["DUPLICATE_IN_BATCH"]


def test_a_merge_in_a_ring_a_gift_to_oneself_and_an_empty_pool_are_refused_and_nothing_moves(
    scene: Scene,
) -> None:
    operator = scene.api.operator()
    one, two, three = (scene.api.enrolled(scene.grocer) for _ in range(3))
    for survivor, merged in ((two, one), (three, two)):
        assert scene.do(operator, "mergeMembers", survivor=named(survivor), merged=named(merged)) == []
    assert scene.do(scene.member(three), "createPool", name="Nobody's") == []
    with scene.api.nothing_moves():
        for survivor, merged in ((one, two), (one, three), (two, three)):
            refused = scene.do(operator, "mergeMembers", survivor=named(survivor), merged=named(merged))
            at_fault = "survivor" if survivor != three else "merged"
            assert refused == [("MEMBER_MERGED", ["input", at_fault])]
        for to, refusal in (
            (named(scene.ada), ("TRANSFER_TO_ONESELF", ["input", "to"])),
            (NO_PHONE, ("IDENTIFIER_INVALID", ["input", "to", "identifier", "value"])),
        ):
            assert scene.do(scene.at_ada, "transferPoints", to=to, points=5) == [refusal]
        for name in ("redeemPoints", "authorizeRedemption"):
            spent = scene.do(scene.till, name, member=named(three), points=1, fromPool=True)
            assert spent == [("INSUFFICIENT_POINTS", ["input", "points"])]


def test_whom_nobody_could_be_known_by_so_joins_not_and_is_not_linked(scene: Scene) -> None:
    kinds = {"CARD": "12", "PHONE": "030", "EMAIL": "ada@localhost", "PARTNER_REFERENCE": "a\u0007b"}
    for kind, value in kinds.items():
        for wrong in (value, ENDLESS):
            identifier = {"kind": kind, "value": wrong}
            with scene.api.nothing_moves():
                for name, given, path in (
                    ("enrollMember", {"identifiers": [identifier]}, ["identifiers", "0", "value"]),
                    (
                        "linkIdentifier",
                        {"member": named(scene.ada), "identifier": identifier},
                        ["identifier", "value"],
                    ),
                ):
                    refused = scene.do(scene.till, name, **given)
                    assert refused == [("IDENTIFIER_INVALID", ["input", *path])], (name, identifier)


_VALUE = ["identifier", "value"]
_RECEIPT = {"receipt": STORE | {"number": "unheard of"}}
TERMS = {
    "partner": "grocer",
    "validFrom": "2026-03-02",
    "serviceFee": "0.0025",
    "funding": "0.0095",
    "redemptionCharge": "0",
    "reimbursement": "0.0095",
}
_CHANGES = ("blockIdentifier", "unblockIdentifier", "unlinkIdentifier")
WHO_AND_WHERE: list[tuple[str, str, dict[str, Any], str, list[str]]] = [
    (
        "operator",
        "mergeMembers",
        {"survivor": NO_PHONE, "merged": _ada},
        "IDENTIFIER_INVALID",
        ["survivor", *_VALUE],
    ),
    (
        "operator",
        "mergeMembers",
        {"survivor": _ada, "merged": NO_PHONE},
        "IDENTIFIER_INVALID",
        ["merged", *_VALUE],
    ),
    ("operator", "mergeMembers", {"survivor": NOBODY, "merged": _ada}, "MEMBER_UNKNOWN", ["survivor"]),
    ("operator", "mergeMembers", {"survivor": _ada, "merged": NOBODY}, "MEMBER_UNKNOWN", ["merged"]),
    ("operator", "mergeMembers", {"survivor": _bea, "merged": _ada}, "MEMBER_HAS_HOLDS", ["merged"]),
    ("operator", "mergeMembers", {"survivor": _bea, "merged": _pooled}, "ALREADY_IN_POOL", ["merged"]),
    (
        "operator",
        "unmergeMembers",
        {"survivor": NO_PHONE, "merged": _ada},
        "IDENTIFIER_INVALID",
        ["survivor", *_VALUE],
    ),
    ("operator", "unmergeMembers", {"survivor": NOBODY, "merged": _ada}, "MEMBER_UNKNOWN", ["survivor"]),
    ("operator", "unmergeMembers", {"survivor": _ada, "merged": NOBODY}, "MEMBER_UNKNOWN", ["merged"]),
    ("operator", "eraseMember", {"member": NO_PHONE}, "IDENTIFIER_INVALID", ["member", *_VALUE]),
    ("operator", "eraseMember", {"member": _ada}, "MEMBER_HAS_HOLDS", ["member"]),
    (
        "operator",
        "adjustPoints",
        {"member": NO_PHONE, "points": -1, "reason": "GOODWILL"},
        "IDENTIFIER_INVALID",
        ["member", *_VALUE],
    ),
    (
        "operator",
        "adjustPoints",
        {"member": _ada, "points": 1, "reason": "GOODWILL", "issuer": "nobody"},
        "PARTNER_UNKNOWN",
        ["issuer"],
    ),
    ("operator", "blockMember", {"member": NO_PHONE}, "IDENTIFIER_INVALID", ["member", *_VALUE]),
    (
        "operator",
        "updateProfile",
        {"member": NO_PHONE, "profile": {}},
        "IDENTIFIER_INVALID",
        ["member", *_VALUE],
    ),
    (
        "operator",
        "updateProfile",
        {"member": _ada, "profile": {"birthDate": "2999-01-01"}},
        "INVALID_INPUT",
        ["profile", "birthDate"],
    ),
    ("operator", "createPool", {"member": NO_PHONE, "name": "p"}, "IDENTIFIER_INVALID", ["member", *_VALUE]),
    ("operator", "leavePool", {"member": NO_PHONE}, "IDENTIFIER_INVALID", ["member", *_VALUE]),
    (
        "operator",
        "inviteToPool",
        {"member": NO_PHONE, "invited": _bea},
        "IDENTIFIER_INVALID",
        ["member", *_VALUE],
    ),
    (
        "operator",
        "inviteToPool",
        {"member": _pooled, "invited": NO_PHONE},
        "IDENTIFIER_INVALID",
        ["invited", *_VALUE],
    ),
    ("operator", "inviteToPool", {"member": _pooled, "invited": NOBODY}, "MEMBER_UNKNOWN", ["invited"]),
    (
        "operator",
        "transferPoints",
        {"from": NO_PHONE, "to": _bea, "points": 1},
        "IDENTIFIER_INVALID",
        ["from", *_VALUE],
    ),
    ("operator", "transferPoints", {"from": NOBODY, "to": _bea, "points": 1}, "MEMBER_UNKNOWN", ["from"]),
    ("operator", "transferPoints", {"from": _bea, "to": NOBODY, "points": 1}, "MEMBER_UNKNOWN", ["to"]),
    *[
        ("operator", name, {"identifier": NO_PHONE}, "IDENTIFIER_INVALID", ["identifier", *_VALUE])
        for name in _CHANGES
    ],
    (
        "operator",
        "replaceCard",
        {"identifier": NO_PHONE, "card": "4006381333931"},
        "IDENTIFIER_INVALID",
        ["identifier", *_VALUE],
    ),
    (
        "operator",
        "replaceCard",
        {"identifier": {"identifier": {"kind": "CARD", "value": CARDS[0]}}, "card": "1"},
        "IDENTIFIER_INVALID",
        ["card"],
    ),
    (
        "operator",
        "replaceCard",
        {"identifier": {"identifier": {"kind": "CARD", "value": CARDS[0]}}, "card": CARDS[1]},
        "IDENTIFIER_TAKEN",
        ["card"],
    ),
    (
        "operator",
        "publishLimit",
        {
            "code": "l",
            "scope": "MEMBER",
            "posting": "REDEEM",
            "measure": "POINTS",
            "most": 1,
            "partner": "nobody",
        },
        "PARTNER_UNKNOWN",
        ["partner"],
    ),
    *[
        (
            "operator",
            "publishAgreement",
            {**TERMS, "earnRule": rule},
            "INVALID_INPUT",
            ["earnRule", part],
        )
        for rule, part in (
            ({"points": "-1"}, "points"),
            ({"points": "1e20"}, "points"),
            ({"points": "1", "amount": "0"}, "amount"),
            ({"points": "1", "amount": "999999999999"}, "amount"),
        )
    ],
    (
        "operator",
        "publishAgreement",
        {**TERMS, "expiryRule": "FIXED_DATE", "expiryMonths": None, "expiryDate": "9999-12-31"},
        "INVALID_INPUT",
        ["expiryDate"],
    ),
    (
        "operator",
        "publishStores",
        {"partner": "nobody", "stores": [{"code": "s", "name": "s"}]},
        "PARTNER_UNKNOWN",
        ["partner"],
    ),
    (
        "operator",
        "publishStores",
        {"partner": "grocer", "stores": [{"code": "s", "name": "s"}, {"code": "t", "name": ""}]},
        "INVALID_INPUT",
        ["stores", "1", "name"],
    ),
    (
        "operator",
        "publishStores",
        {
            "partner": "grocer",
            "stores": [{"code": "s", "name": "s", "since": "2026-02-01", "closed": "2026-01-01"}],
        },
        "INVALID_INPUT",
        ["stores", "0", "closed"],
    ),
    (
        "till",
        "enrollMember",
        {"identifiers": [{"kind": "CARD", "value": "4006381333999"}, {"kind": "CARD", "value": CARDS[0]}]},
        "IDENTIFIER_TAKEN",
        ["identifiers"],
    ),
    (
        "till",
        "linkIdentifier",
        {"member": NO_PHONE, "identifier": {"kind": "CARD", "value": CARDS[0]}},
        "IDENTIFIER_INVALID",
        ["member", *_VALUE],
    ),
    (
        "till",
        "linkIdentifier",
        {"member": _ada, "identifier": {"kind": "CARD", "value": CARDS[0]}},
        "IDENTIFIER_TAKEN",
        ["identifier"],
    ),
    ("till", "reverseTransaction", {"receipt": _RECEIPT}, "TRANSACTION_UNKNOWN", ["receipt"]),
    (
        "till",
        "reverseTransaction",
        {"receipt": {"receipt": STORE | {"number": ENDLESS}}},
        "INVALID_INPUT",
        ["receipt", "receipt", "number"],
    ),
    ("till", "reverseTransaction", {"transactionId": "x"}, "TRANSACTION_UNKNOWN", ["transactionId"]),
    ("ada", "issueVoucher", {"partner": "nobody", "points": 1}, "PARTNER_UNKNOWN", ["partner"]),
    ("ada", "confirmRedemption", {"partner": "nobody", "points": 1}, "PARTNER_UNKNOWN", ["partner"]),
    ("pooled", "closePool", {"pool": "x"}, "POOL_UNKNOWN", ["pool"]),
]


@pytest.mark.parametrize(
    ("who", "name", "given", "refusal"),
    [(who, name, given, (code, path)) for who, name, given, code, path in WHO_AND_WHERE],
)
def test_the_path_of_the_field_at_fault_is_one_of_the_mutation_that_was_asked(
    scene: Scene, who: str, name: str, given: dict[str, Any], refusal: tuple[str, list[str]]
) -> None:
    asked = {field: value(scene) if callable(value) else value for field, value in given.items()}
    with scene.api.nothing_moves():
        assert scene.do(scene.callers[who], name, **asked) == [(refusal[0], ["input", *refusal[1]])]
