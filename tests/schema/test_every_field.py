"""Every field that the SDL promises answers somebody, whatever else a test asks for; and the forecast, whose it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api_driver import Api, Caller, codes, named, serving_api
from databases import TestCluster
from graphql import (
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)
from operating import TODAY, statements_of

from coalition.ids import MemberId
from schema import graph
from schema.ids import member_in
from settlement.night import settle

RECEIPT = {"store": "s1", "terminal": "t1", "number": "1"}
WITHIN = {("Balance", "expiring"): "(within: 3650)"}
"""What a field wants to be told, beneath the query."""
PAGE = "__typename pageInfo { __typename hasNextPage hasPreviousPage startCursor endCursor } edges { __typename cursor }"
ANSWERS = {"Confirmation", "LossWarning", "PointsBatchLine", "Voucher"}
"""What a mutation alone gives: beside its payload and its refusals, which other tests ask for."""


@dataclass
class Scene:
    """A coalition in which there is one of everything, and who may look at it."""

    callers: list[Caller]
    asked: dict[str, str]
    """Each field of the query, with what it wants to be told."""
    nodes: dict[str, str]
    """An id of each kind of node."""


def _do(caller: Caller, name: str, answer: str, /, **given: Any) -> Any:
    type_ = f"{name[0].upper()}{name[1:]}Input"
    made = caller.do(
        f"mutation($input: {type_}!) {{ {name}(input: $input) {{ {answer} userErrors {{ code }} }} }}",
        **given,
    )
    assert codes(made) in ([], ["UNDER_REVIEW"]), made
    return made


@pytest.fixture(scope="module")
def scene(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with cluster.new_database() as database, serving_api(database) as api:
        yield _scene(api, tmp_path_factory.mktemp("papers"))


def _scene(api: Api, papers: Path) -> Scene:
    grocer = api.coalition.trading("grocer", expiry_months=6)
    till, operator, finance = api.client_of(grocer), api.operator(), api.finance()
    card = {"kind": "CARD", "value": "4006381333931"}
    member = _do(till, "enrollMember", "member { id }", identifiers=[card])["member"]["id"]
    found = member_in(member)
    assert found is not None
    at_member = api.member(MemberId(found))
    parts = [{"partner": "grocer", "ppm": 1_000_000}]
    plan = _do(operator, "publishFundingPlan", "fundingPlan { id }", code="all", name="All", parts=parts)
    issued = till.issue(member, points=500, receipt=RECEIPT)["transaction"]["id"]
    till.reverse(issued, points=5)
    till.redeem(member, points=20)
    for change in ("blockMember", "unblockMember"):
        _do(operator, change, "member { id }", member=named(member))
    held = _do(till, "authorizeRedemption", "hold { id }", member=named(member), points=10)["hold"]["id"]
    adjusted = {"member": named(member), "points": 5_000, "reason": "GOODWILL", "issuer": "grocer"}
    _do(operator, "adjustPoints", "adjustment { id }", **adjusted)
    pool = _do(at_member, "createPool", "pool { id }", name="Home")["pool"]["id"]
    _do(operator, "publishStores", "", partner="grocer", stores=[{"code": "s1", "name": "South"}])
    rule = {"code": "few", "posting": "ISSUE", "measure": "COUNT", "most": 1}
    _do(operator, "publishLimit", "limit { code }", **rule, scope="STORE", action="REVIEW")
    _do(till, "issuePoints", "replayed", member=named(member), points=7, receipt=RECEIPT | {"number": "2"})
    settle(api.coalition.database, business_date=TODAY, now=True, directory=papers)
    on = f'businessDate: "{TODAY}"'
    asked = {
        "member": f'(by: {{id: "{member}"}})',
        "partner": '(code: "grocer")',
        "transaction": f'(by: {{id: "{issued}"}})',
        "quoteIssue": f'(input: {{member: {{id: "{member}"}}, points: "5"}})',
        "quoteRedemption": f'(input: {{member: {{id: "{member}"}}, points: "5"}})',
        "settlementWindow": f"({on})",
        "settlementRun": f"({on})",
        "statement": f'({on}, partner: "grocer")',
        "liabilityMatrix": f"({on})",
        "pool": f'(id: "{pool}")',
        "transactions": "(first: 2)",
    }
    partner = operator.ask('{ partner(code: "grocer") { id agreements { id } } clients { nodes { id } } }')
    settled = finance.ask(f"{{ settlementRun({on}) {{ id }} settlementWindow({on}) {{ id }} }}")
    nodes = {
        "Member": member,
        "Transaction": issued,
        "Hold": held,
        "FundingPlan": plan["fundingPlan"]["id"],
        "Partner": partner["partner"]["id"],
        "Agreement": partner["partner"]["agreements"][0]["id"],
        "Client": partner["clients"]["nodes"][0]["id"],
        "SettlementRun": settled["settlementRun"]["id"],
        "SettlementWindow": settled["settlementWindow"]["id"],
    }
    return Scene([operator, finance, till, at_member], asked, nodes)


@pytest.fixture(scope="module")
def sdl() -> GraphQLSchema:
    return build_schema(graph.sdl(graph.build()))


def _fields(type_: Any) -> dict[str, GraphQLField]:
    return dict(getattr(type_, "fields", {}))


def _told(type_: Any, name: str, field: GraphQLField) -> str:
    told = WITHIN.get((type_.name, name), "")
    wanted = [argument for argument, one in field.args.items() if is_required_argument(one)]
    assert told or not wanted, f"{type_.name}.{name} wants {wanted}, which this test does not know"
    return told


def _leaves(type_: Any, *, deeper: bool = True) -> str:
    """All that can be read of it, and of what it leads to; of a page of things, of each of them."""
    asked = ["__typename"]
    for name, field in _fields(type_).items():
        inner = get_named_type(field.type)
        if is_leaf_type(inner):
            asked.append(name + _told(type_, name, field))
        elif deeper and not _is_page(inner):
            asked.append(f"{name}{_told(type_, name, field)} {{ {_leaves(inner, deeper=_is_page(type_))} }}")
    return " ".join(asked)


def _is_page(type_: Any) -> bool:
    return "nodes" in _fields(type_)


def _questions(type_: Any) -> Iterator[tuple[str, str]]:
    """Each field of the type, with all that can be read of it at once."""
    if _is_page(type_):
        inner = get_named_type(_fields(type_)["nodes"].type)
        yield from ((name, f"nodes {{ {one} }} {PAGE}") for name, one in _questions(inner))
        return
    for name, field in _fields(type_).items():
        inner = get_named_type(field.type)
        below = "" if is_leaf_type(inner) else f" {{ {_leaves(inner)} }}"
        yield f"{type_.name}.{name}", f"__typename {name}{_told(type_, name, field)}{below}"


def _note(data: Any, seen: set[tuple[str, str]]) -> None:
    """Which fields of which types there were."""
    if isinstance(data, list):
        for one in data:
            _note(one, seen)
    elif isinstance(data, dict):
        for name, one in data.items():
            if "__typename" in data:
                seen.add((data["__typename"], name))
            _note(one, seen)


def test_every_field_answers_somebody(scene: Scene, sdl: GraphQLSchema) -> None:
    query = sdl.query_type
    assert isinstance(query, GraphQLObjectType)
    questions = {}
    for name, field in query.fields.items():
        if name != "node":
            for path, asked in _questions(get_named_type(field.type)):
                questions[f"{name}: {path}"] = f"{{ it: {name}{scene.asked.get(name, '')} {{ {asked} }} }}"
    for kind, given in scene.nodes.items():
        for path, asked in _questions(sdl.type_map[kind]):
            questions[f"node: {path}"] = f'{{ it: node(id: "{given}") {{ ... on {kind} {{ {asked} }} }} }}'
    unanswered = {}
    seen: set[tuple[str, str]] = set()
    for path, question in questions.items():
        refused = []
        for caller in scene.callers:
            answer = caller.send(question).json()
            if "errors" not in answer and answer["data"]["it"] is not None:
                _note(answer["data"], seen)
                break
            refused.append(answer.get("errors"))
        else:
            unanswered[path] = refused
    assert unanswered == {}
    promised = {
        (type_.name, name)
        for type_ in sdl.type_map.values()
        if isinstance(type_, GraphQLObjectType) and type_.name not in {"Query", "Mutation", *ANSWERS}
        if not type_.name.startswith("__") and "userErrors" not in type_.fields
        if "UserError" not in {one.name for one in type_.interfaces}
        for name, field in type_.fields.items()
        if is_leaf_type(get_named_type(field.type))
    }
    assert promised - seen == set()


def test_the_forecast_is_finances_whole_and_a_partners_own(api: Api) -> None:
    grocer, baker = (
        api.coalition.trading(code, expiry_months=months, maturity_days=40)
        for code, months in (("grocer", 2), ("baker", 3))
    )
    member = api.coalition.member(of=grocer)
    api.coalition.issue(member, grocer, points=100)
    api.coalition.issue(member, baker, points=7)
    query = (
        "query($months: Int!) { expiryForecast(months: $months) {"
        " month expiring maturing breakage { amount currency } issuer { code } } }"
    )

    def row(month: str, code: str, *, expiring: int = 0, maturing: int = 0, breakage: str = "0.00") -> Any:
        return {
            "month": f"2026-{month}-01",
            "expiring": str(expiring),
            "maturing": str(maturing),
            "breakage": {"amount": breakage, "currency": "EUR"},
            "issuer": {"code": code},
        }

    at_grocer, at_baker = api.client_of(grocer), api.client_of(baker)
    whole = api.finance().ask(query, months=6)["expiryForecast"]
    own = [at.ask(query, months=6)["expiryForecast"] for at in (at_baker, at_grocer)]
    assert own == [
        [row("04", "baker", maturing=7), row("06", "baker", expiring=7, breakage="0.03")],
        [row("04", "grocer", maturing=100), row("05", "grocer", expiring=100, breakage="0.48")],
    ]
    assert sorted(whole, key=str) == sorted(own[0] + own[1], key=str)
    assert at_grocer.ask(query, months=1) == {"expiryForecast": []}
    for months in (0, 121):
        [error] = at_grocer.send(query, {"months": months}).json()["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"
    [error] = api.member(member).send(query, {"months": 6}).json()["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"


def test_the_forecast_is_read_once_for_a_request_and_costs_what_it_takes(api: Api) -> None:
    grocer, baker = api.coalition.trading("grocer", expiry_months=2), api.coalition.trading("baker")
    member, finance = api.coalition.member(of=grocer), api.finance()
    for partner in (grocer, baker):
        api.coalition.issue(member, partner, points=5)
    api.coalition.set_clock(datetime(2026, 4, 10, tzinfo=UTC))
    api.coalition.issue(member, grocer, points=5)
    terms = "month issuer { code agreements { version } }"
    with statements_of(api.coalition.database) as sent:
        seen = finance.ask(
            f"{{ one: expiryForecast(months: 2) {{ {terms} }} all: expiryForecast {{ {terms} }} }}"
        )
    assert [len(seen[name]) for name in ("one", "all")] == [1, 2]
    assert seen["one"][0] in seen["all"]
    assert sum("FROM ledger.lot" in one for one in sent) == 1
    assert sum("ORDER BY partners.agreement.version" in one for one in sent) == 1
    with statements_of(api.coalition.database) as sent:
        seen = finance.ask("{ expiryForecast(months: 60) { issuer { stores { nodes { code } } } } }")
    assert len(seen["expiryForecast"]) == 3
    assert sum("FROM partners.store" in one for one in sent) == 2

    many = " ".join(f"a{number}: expiryForecast {{ month }}" for number in range(6))
    [error] = finance.send(f"{{ {many} }}").json()["errors"]
    assert error["extensions"]["code"] == "TOO_COSTLY"
