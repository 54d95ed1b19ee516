"""`node` finds every type that is one, for whoever may see it; to others it is as if it did not exist."""

from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from api_driver import Api, Caller
from graphql import GraphQLInterfaceType, build_schema
from operating import TODAY

from partners.scopes import Scope
from schema import graph
from schema.ids import to_global
from schema.queries.nodes import node_types
from settlement.night import settle

NODE = "query($id: ID!) { node(id: $id) { __typename id } }"


def _asked(caller: Caller, given: str) -> Any:
    """The whole answer, less what differs for every request."""
    answer = caller.send(NODE, {"id": given}).json()
    del answer["extensions"]["requestId"]
    return answer


def test_node_finds_every_type_that_implements_it() -> None:
    sdl = build_schema(graph.sdl(graph.build()))
    node = sdl.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    assert node_types() == {one.name for one in sdl.get_possible_types(node)}


@pytest.fixture(scope="module")
def ids(shared: Api, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One object of each kind that is no member's own: the grocer's, or the operator's."""
    grocer = shared.coalition.trading("grocer")
    shared.coalition.trading("baker")
    till = shared.client_of(grocer)
    member = shared.enrolled(grocer)
    till.issue(member, points=100)
    operator = shared.operator()
    plan = operator.do(
        """mutation($input: PublishFundingPlanInput!) {
            publishFundingPlan(input: $input) { fundingPlan { id } userErrors { code } } }""",
        code="spring",
        name="Spring",
        parts=[{"partner": "grocer", "ppm": 1_000_000}],
    )
    settle(
        shared.coalition.database,
        business_date=TODAY,
        now=True,
        directory=tmp_path_factory.mktemp("papers", numbered=True),
    )
    found = operator.ask(
        """query($date: Date!) {
            partner(code: "grocer") { id agreements { id } }
            clients(partner: "grocer") { nodes { id } }
            settlementRun(businessDate: $date) { id }
            settlementWindow(businessDate: $date) { id } }""",
        date=TODAY.isoformat(),
    )
    return {
        "Agreement": found["partner"]["agreements"][0]["id"],
        "Client": found["clients"]["nodes"][0]["id"],
        "FundingPlan": plan["fundingPlan"]["id"],
        "Partner": found["partner"]["id"],
        "SettlementRun": found["settlementRun"]["id"],
        "SettlementWindow": found["settlementWindow"]["id"],
    }


OPERATORS = frozenset({"Agreement", "Client", "FundingPlan", "Partner", "SettlementRun", "SettlementWindow"})


def _sees(caller: Caller, ids: dict[str, str]) -> set[str]:
    """Which of them the caller finds; the rest must be as what does not exist, to the letter."""
    nowhere = {
        "Client": to_global("Client", "grocer-000000000000"),
        "SettlementWindow": to_global("SettlementWindow", date(2001, 1, 1)),
    }
    seen = set()
    for kind, given in ids.items():
        answer = _asked(caller, given)
        if answer["data"]["node"] is not None:
            assert answer["data"]["node"] == {"__typename": kind, "id": given}
            seen.add(kind)
        else:
            assert answer == _asked(caller, nowhere.get(kind, to_global(kind, uuid4())))
            assert answer == _asked(caller, to_global(kind, "\x00 nonsense"))
    return seen


def test_each_sees_what_is_its_own(shared: Api, ids: dict[str, str]) -> None:
    with shared.coalition.database.reading() as session:
        from partners.directory import get_partner_by_code  # noqa: PLC0415

        grocer, baker = (get_partner_by_code(session, code) for code in ("grocer", "baker"))
    member = shared.coalition.member(of=grocer)
    assert _sees(shared.operator(), ids) == OPERATORS
    assert _sees(shared.finance(), ids) == OPERATORS - {"Client", "FundingPlan"}
    # Windows are the programme's calendar, which all who read settlement share.
    assert _sees(shared.client_of(grocer), ids) == {"Agreement", "Partner", "SettlementWindow"}
    assert _sees(shared.client_of(baker), ids) == {"SettlementWindow"}
    assert _sees(shared.client_of(grocer, frozenset({Scope.POINTS_ISSUE})), ids) == {"Agreement", "Partner"}
    assert _sees(shared.member(member), ids) == {"Partner"}


def test_ids_of_nothing_find_nothing_and_say_so_quietly(shared: Api) -> None:
    operator = shared.operator()
    for given in (
        "",
        "nonsense",
        to_global("Query"),
        to_global("Confirmation", uuid4()),
        to_global("Client"),
        "💥",
    ):
        assert operator.ask(NODE, id=given) == {"node": None}
