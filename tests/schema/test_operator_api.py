"""What the operator does through the API, and what members and finance see of it."""

import json
import re
from pathlib import Path
from typing import Any

from api_driver import Api, codes, named
from operating import TODAY

from coalition import errors
from partners.directory import PartnerState, set_partner_state
from partners.scopes import Scope
from schema import graph
from schema.refusals import UserErrorCode
from settlement.night import settle

ENROL = """mutation($input: EnrollMemberInput!) { enrollMember(input: $input) {
    member { id identifiers { kind value } balance { available } } replayed userErrors { code field } } }"""
LINK = """mutation($input: LinkIdentifierInput!) { linkIdentifier(input: $input) {
    member { id } replayed userErrors { code field } } }"""
CREATE = """mutation($input: CreatePartnerInput!) { createPartner(input: $input) {
    partner { id code state } replayed userErrors { code field } } }"""
SUSPEND, ACTIVATE = (
    f"""mutation($input: {name}PartnerInput!) {{ {name.lower()}Partner(input: $input) {{
    partner {{ code state }} replayed userErrors {{ code field }} }} }}"""
    for name in ("Suspend", "Activate")
)
PUBLISH = """mutation($input: PublishAgreementInput!) { publishAgreement(input: $input) {
    agreement { version validFrom earnRule { points rounding } ownReimbursement }
    warnings { issuer redeemer lossPerPoint } replayed
    userErrors { code field ... on AgreementBackdated { earliest } } } }"""
PLAN = """mutation($input: PublishFundingPlanInput!) { publishFundingPlan(input: $input) {
    fundingPlan { code parts { ppm partner { code } } } replayed userErrors { code field } } }"""
CLIENT = """mutation($input: CreateClientInput!) { createClient(input: $input) {
    client { clientId scopes partner { code } } clientSecret replayed userErrors { code field } } }"""
ROTATE = """mutation($input: RotateClientSecretInput!) { rotateClientSecret(input: $input) {
    client { clientId } clientSecret replayed userErrors { code } } }"""
REVOKE = """mutation($input: RevokeClientInput!) { revokeClient(input: $input) {
    client { revokedAt } replayed userErrors { code } } }"""

TERMS = {
    "partner": "grocer",
    "validFrom": TODAY.isoformat(),
    "serviceFee": "0.0025",
    "funding": "0.0095",
    "redemptionCharge": 0,
    "reimbursement": "0.0095",
    "earnRule": {"points": 2},
}


def test_a_partner_that_is_suspended_moves_nothing_until_it_is_active_again(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member, till, operator = api.enrolled(grocer), api.client_of(grocer), api.operator()
    suspended = operator.do(SUSPEND, partner="grocer", idempotencyKey="stop")
    assert suspended == {
        "partner": {"code": "grocer", "state": "SUSPENDED"},
        "replayed": False,
        "userErrors": [],
    }
    with api.coalition.nothing_moves():
        assert codes(till.issue(member, amount="10")) == ["PARTNER_NOT_ACTIVE"]
    # The key stands for what was asked, whatever was done since.
    assert operator.do(ACTIVATE, partner="grocer")["partner"]["state"] == "ACTIVE"
    again = operator.do(SUSPEND, partner="grocer", idempotencyKey="stop")
    assert (again["replayed"], again["partner"]["state"]) == (True, "ACTIVE")
    assert codes(operator.do(ACTIVATE, partner="grocer", idempotencyKey="stop")) == ["IDEMPOTENCY_CONFLICT"]
    assert codes(till.issue(member, amount="10")) == []


def test_whoever_left_is_neither_suspended_nor_activated(api: Api) -> None:
    gone, operator = api.coalition.trading("gone"), api.operator()
    for state in (PartnerState.LEAVING, PartnerState.LEFT):
        with api.coalition.database.unit_of_work() as session:
            set_partner_state(session, partner_id=gone.partner_id, state=state)
    for mutation in (SUSPEND, ACTIVATE):
        with api.coalition.nothing_moves():
            assert codes(operator.do(mutation, partner="gone")) == ["PARTNER_NOT_ACTIVE"]
            assert codes(operator.do(mutation, partner="nobody")) == ["PARTNER_UNKNOWN"]


def test_a_coalition_is_made_through_the_api_alone(api: Api) -> None:
    operator = api.operator()
    made = operator.do(CREATE, code="grocer", name="Grocer", idempotencyKey="k")
    assert operator.do(CREATE, code="grocer", name="Grocer", idempotencyKey="k") == made | {"replayed": True}
    terms = operator.do(PUBLISH, **TERMS)
    assert terms["agreement"] == {
        "version": 1,
        "validFrom": TODAY.isoformat(),
        "earnRule": {"points": "2.000000", "rounding": "DOWN"},
        "ownReimbursement": "0.009500",
    }
    plan = operator.do(
        PLAN, code="half", name="Half", parts=[{"partner": "grocer", "ppm": 500_000}, {"ppm": 500_000}]
    )
    assert {part["partner"] and part["partner"]["code"] for part in plan["fundingPlan"]["parts"]} == {
        "grocer",
        None,
    }
    client = operator.do(
        CLIENT, name="tills", partner="grocer", scopes=["points:issue", "members:write"], idempotencyKey="c"
    )
    replay = operator.do(
        CLIENT, name="tills", partner="grocer", scopes=["points:issue", "members:write"], idempotencyKey="c"
    )
    assert (replay["client"], replay["clientSecret"], replay["replayed"]) == (client["client"], None, True)

    answer = api.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(client["client"]["clientId"], client["clientSecret"]),
    )
    till = type(operator)(api.http, answer.json()["access_token"])
    member = till.do(ENROL, identifiers=[{"kind": "CARD", "value": "1234-5678"}])["member"]
    assert till.issue(member["id"], amount="10", fundingPlan="half")["balance"] == {"available": "20"}


def test_what_the_operator_gets_wrong_is_refused_and_nothing_moves(api: Api) -> None:
    operator = api.operator()
    operator.do(CREATE, code="grocer", name="Grocer", idempotencyKey="k")
    with api.nothing_moves():
        refused: list[tuple[str, dict[str, Any], str]] = [
            (CREATE, {"code": "grocer", "name": "Again"}, "PARTNER_CODE_TAKEN"),
            (CREATE, {"code": "grocer", "name": "Other", "idempotencyKey": "k"}, "IDEMPOTENCY_CONFLICT"),
            (CREATE, {"code": "No Code", "name": "x"}, "INVALID_INPUT"),
            (CREATE, {"code": "x", "name": "\u0000"}, "INVALID_INPUT"),
            (PUBLISH, TERMS | {"partner": "nobody"}, "PARTNER_UNKNOWN"),
            (PUBLISH, TERMS | {"validFrom": "2026-03-01"}, "AGREEMENT_BACKDATED"),
            (PUBLISH, TERMS | {"serviceFee": "0.0000001"}, "INVALID_INPUT"),
            (PUBLISH, TERMS | {"breakageShare": 2}, "INVALID_INPUT"),
            (PLAN, {"code": "p", "name": "p", "parts": [{"ppm": 1}]}, "FUNDING_PLAN_INVALID"),
            (PLAN, {"code": "p", "name": "p", "parts": [{"partner": "x", "ppm": 1}]}, "PARTNER_UNKNOWN"),
            (CLIENT, {"name": "x", "partner": "grocer", "scopes": ["programme:admin"]}, "INVALID_INPUT"),
            (CLIENT, {"name": "x", "scopes": ["nothing"]}, "INVALID_INPUT"),
            (CLIENT, {"name": "x", "partner": "\u0000", "scopes": ["points:issue"]}, "INVALID_INPUT"),
            (ROTATE, {"clientId": "nobody"}, "CLIENT_UNKNOWN"),
            (ROTATE, {"clientId": "\u0000"}, "INVALID_INPUT"),
            (REVOKE, {"clientId": "nobody"}, "CLIENT_UNKNOWN"),
        ]
        for mutation, given, code in refused:
            assert codes(operator.do(mutation, **given)) == [code], given


def test_a_revoked_client_and_an_old_secret_are_good_for_nothing(api: Api) -> None:
    operator = api.operator()
    made = operator.do(CLIENT, name="x", scopes=["settlement:read"])
    client_id, old = made["client"]["clientId"], made["clientSecret"]
    new = operator.do(ROTATE, clientId=client_id)["clientSecret"]

    def token(secret: str) -> int:
        form = {"grant_type": "client_credentials"}
        return api.http.post("/oauth/token", data=form, auth=(client_id, secret)).status_code

    assert (token(old), token(new)) == (401, 200)
    assert operator.do(REVOKE, clientId=client_id)["client"]["revokedAt"]
    assert token(new) == 401
    listed = operator.ask("{ clients { nodes { clientId revokedAt } } }")["clients"]["nodes"]
    assert [one["clientId"] for one in listed if one["revokedAt"]] == [client_id]


def test_members_join_and_are_known_by_more(api: Api) -> None:
    grocer, baker = api.coalition.trading("grocer"), api.coalition.trading("baker")
    at_grocer, at_baker = api.client_of(grocer), api.client_of(baker)
    card = {"kind": "CARD", "value": "1234 5678"}
    mine = {"kind": "PARTNER_REFERENCE", "value": "c-1"}
    made = at_grocer.do(ENROL, identifiers=[card, mine], idempotencyKey="k")
    assert made["userErrors"] == []
    assert at_grocer.do(ENROL, identifiers=[card, mine], idempotencyKey="k") == made | {"replayed": True}
    assert made["member"]["identifiers"] == [{"kind": "PARTNER_REFERENCE", "value": "c-1"}]
    find = "query($by: MemberBy!) { member(by: $by) { id } }"
    assert at_baker.ask(find, by={"identifier": card})["member"]["id"] == made["member"]["id"]
    assert at_baker.ask(find, by={"identifier": mine}) == {"member": None}
    with api.nothing_moves():
        assert codes(at_baker.do(ENROL, identifiers=[card])) == ["IDENTIFIER_TAKEN"]
        assert codes(at_baker.do(ENROL, identifiers=[])) == ["INVALID_INPUT"]
        assert codes(at_baker.do(ENROL, identifiers=[{"kind": "PHONE", "value": "030"}])) == [
            "IDENTIFIER_INVALID"
        ]
        assert codes(at_baker.do(LINK, member=named("x"), identifier={"kind": "CARD", "value": "99999"})) == [
            "MEMBER_UNKNOWN"
        ]
    linked = at_baker.do(
        LINK, member=named(made["member"]["id"]), identifier={"kind": "CARD", "value": "99999"}
    )
    assert linked["userErrors"] == []


def test_a_partner_downloads_its_own_statement_and_no_other(api: Api, tmp_path: Path) -> None:
    grocer, baker = api.coalition.trading("grocer"), api.coalition.trading("baker")
    member = api.enrolled(grocer)
    at_grocer, at_baker, finance = api.client_of(grocer), api.client_of(baker), api.finance()
    at_grocer.issue(member, points=1_000)
    at_baker.redeem(member, points=400)
    today = TODAY.isoformat()
    query = """query($d: Date!, $p: String) { statement(businessDate: $d, partner: $p) {
        position { party { code } net { amount currency } } matrix { issuer { code } points } csv } }"""
    assert at_grocer.ask(query, d=today) == {"statement": None}
    settle(api.coalition.database, business_date=TODAY, now=True, directory=tmp_path)

    own = at_baker.ask(query, d=today)["statement"]
    assert own["position"] == {"party": {"code": "baker"}, "net": {"amount": "3.80", "currency": "EUR"}}
    assert at_baker.ask(query, d=today, p="baker")["statement"] == own
    assert (
        at_baker.ask(query, d=today, p="grocer")
        == at_baker.ask(query, d=today, p="nobody")
        == {"statement": None}
    )
    assert finance.ask(query, d=today, p="grocer")["statement"]["position"]["net"]["amount"] == "-12.00"

    bearer = {"Authorization": f"Bearer {at_baker.token}"}
    file = api.http.get(f"/statements/{today}.csv", headers=bearer)
    assert (file.status_code, file.text) == (200, own["csv"])
    assert file.headers["content-disposition"] == f'attachment; filename="statement-baker-{today}.csv"'
    assert api.http.get(f"/statements/{today}.json", headers=bearer).json()["partner"] == "baker"
    theirs = api.http.get(f"/statements/{today}.csv?partner=grocer", headers=bearer)
    nowhere = api.http.get("/statements/2020-01-01.csv", headers=bearer)
    assert theirs.status_code == nowhere.status_code == 404
    assert api.http.get(f"/statements/{today}.csv").status_code == 401
    reader = api.client_of(baker, frozenset({Scope.MEMBERS_READ}))
    forbidden = api.http.get(f"/statements/{today}.csv", headers={"Authorization": f"Bearer {reader.token}"})
    assert forbidden.status_code == 403


def test_finance_sees_the_run_and_a_partner_its_cells(api: Api, tmp_path: Path) -> None:
    partners = [api.coalition.trading(code) for code in ("grocer", "baker", "florist")]
    member = api.enrolled(partners[0])
    tills = [api.client_of(partner) for partner in partners]
    for till in tills:
        till.issue(member, points=100)
    tills[1].redeem(member, points=250)
    settle(api.coalition.database, business_date=TODAY, now=True, directory=tmp_path)
    query = """query($d: Date!) {
        settlementRun(businessDate: $d) { state gross { amount } net { amount } saved { amount }
            positions { party { code isNetwork } net { amount } } lines { kind points price } }
        liabilityMatrix(businessDate: $d) { cells { issuer { code } redeemer { code } points amount { amount } } }
        settlementWindow(businessDate: $d) { state run { digest } }
        settlementWindows(first: 1) { nodes { state } pageInfo { hasNextPage } } }"""
    seen = api.finance().ask(query, d=TODAY.isoformat())
    assert sum(float(one["net"]["amount"]) for one in seen["settlementRun"]["positions"]) == 0
    assert len(seen["liabilityMatrix"]["cells"]) == 3
    assert seen["settlementWindow"]["state"] == "SEALED"
    assert seen["settlementWindows"] == {"nodes": [{"state": "OPEN"}], "pageInfo": {"hasNextPage": True}}
    own = tills[2].ask(query, d=TODAY.isoformat())
    assert own["settlementRun"] is own["settlementWindow"]["run"] is None
    [cell] = own["liabilityMatrix"]["cells"]
    assert (cell["issuer"]["code"], cell["redeemer"]["code"], cell["amount"]) == ("florist", "baker", None)
    # What the baker is paid for a point, the baker and finance see.
    for cells in (seen, tills[1].ask(query, d=TODAY.isoformat())):
        assert all(cell["amount"] for cell in cells["liabilityMatrix"]["cells"])
    papers = "query($d: Date!) { statement(businessDate: $d) { matrix { amount { amount } } json } }"
    [paper, redeemers] = (till.ask(papers, d=TODAY.isoformat())["statement"] for till in (tills[2], tills[1]))
    assert (paper["matrix"], "amount" in json.loads(paper["json"])["liabilityMatrix"][0]) == (
        [{"amount": None}],
        False,
    )
    assert all(cell["amount"] for cell in redeemers["matrix"])
    runs = """query($since: Date, $after: String) { settlementRuns(first: 1, since: $since, after: $after) {
        nodes { businessDate state digest positions { party { code } } } pageInfo { hasNextPage endCursor } } }"""
    found = api.finance().ask(runs)["settlementRuns"]
    assert [one["digest"] for one in found["nodes"]] == [seen["settlementWindow"]["run"]["digest"]]
    assert len(found["nodes"][0]["positions"]) == 4
    nothing = {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
    assert api.finance().ask(runs, after=found["pageInfo"]["endCursor"])["settlementRuns"] == nothing
    assert api.finance().ask(runs, since="2026-03-03")["settlementRuns"] == nothing
    assert tills[2].ask(runs)["settlementRuns"] == nothing
    [error] = api.finance().send(runs, {"after": "WyJ4IiwieSIsInoiXQ"}).json()["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"


def test_the_programme_and_the_viewer_are_told(api: Api) -> None:
    grocer = api.coalition.trading()
    seen = api.client_of(grocer).ask(
        "{ programme { name mode zone currency consentLimitPoints now businessDate }"
        " viewer { partner { code } scopes } }"
    )
    assert seen["programme"] == {
        "name": "Test",
        "mode": "SANDBOX",
        "zone": "Europe/Berlin",
        "currency": "EUR",
        "consentLimitPoints": "5000",
        "now": "2026-03-02T11:00:00Z",
        "businessDate": "2026-03-02",
    }
    assert seen["viewer"]["partner"] == {"code": "grocer"}


def test_the_committed_schema_is_the_codes() -> None:
    committed = Path(graph.__file__).with_name("schema.graphql").read_text()
    assert committed == graph.sdl(graph.build()), (
        "run: coalition serve --print-schema > schema/schema.graphql"
    )


def test_codes_stand_in_the_order_of_precedence() -> None:
    assert [code.name for code in UserErrorCode] == [refusal.code for refusal in errors.REFUSALS]


def test_every_type_and_field_says_what_it_means() -> None:
    schema = graph.core_schema(graph.build())
    silent = []
    for name, kind in schema.type_map.items():
        if name.startswith("__") or name in {"String", "Int", "Boolean", "ID", "Float"}:
            continue
        if not kind.description:
            silent.append(name)
        silent += [
            f"{name}.{field}" for field, it in getattr(kind, "fields", {}).items() if not it.description
        ]
        silent += [
            f"{name}.{value}" for value, it in getattr(kind, "values", {}).items() if not it.description
        ]
    assert silent == []


def test_no_field_is_a_float() -> None:
    assert not re.search(r": \[?Float", graph.sdl(graph.build()))
