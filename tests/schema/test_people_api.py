"""Profiles, exports and erasure over the API; and what partners see of them: nothing."""

import base64
from contextlib import ExitStack
from typing import Any

import pytest
from api_driver import Api, codes, named
from sqlalchemy import text

from coalition.audit import run_audit
from coalition.config import get_settings
from schema.web import exports

PROFILE = "profile { name email phone birthDate address locale }"
UPDATE = (
    "mutation($input: UpdateProfileInput!) { updateProfile(input: $input)"
    " { replayed member { id " + PROFILE + " } userErrors { code field message } } }"
)
ERASE = (
    "mutation($input: EraseMemberInput!) { eraseMember(input: $input)"
    " { replayed erasedAt member { id erasedAt identifiers { value } } userErrors { code } } }"
)
MEMBER = (
    "query($by: MemberBy!) { member(by: $by) { id erasedAt identifiers { kind value } " + PROFILE + " } }"
)
ENROL = (
    "mutation($input: EnrollMemberInput!) { enrollMember(input: $input)"
    " { replayed member { id } userErrors { code } } }"
)
ADA: dict[str, Any] = {
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "phone": "+4930901820",
    "birthDate": "1915-12-10",
    "address": "St James's Square 12\nLondon",
    "locale": "en-GB",
}
MAIL = {"kind": "EMAIL", "value": "Ada@Example.org"}


def own(api: Api, member: str) -> Any:
    from schema.ids import member_in  # noqa: PLC0415 - here alone

    member_id = member_in(member)
    assert member_id is not None
    return api.member(member_id)


def test_a_member_says_who_it_is_and_takes_it_back(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member = api.enrolled(grocer)
    ada = own(api, member)
    made = ada.do(UPDATE, profile=ADA, idempotencyKey="one")
    assert made["userErrors"] == []
    assert made["member"]["profile"] == ADA
    assert ada.do(UPDATE, profile=ADA, idempotencyKey="one")["replayed"]
    assert codes(ada.do(UPDATE, profile=ADA | {"name": "Eve"}, idempotencyKey="one")) == [
        "IDEMPOTENCY_CONFLICT"
    ]
    changed = ada.do(UPDATE, profile={"phone": None, "locale": "de-AT"})
    assert changed["member"]["profile"] == ADA | {"phone": None, "locale": "de-AT"}
    by_operator = api.operator().do(UPDATE, member=named(member), profile={"name": "A. L."})
    assert by_operator["member"]["profile"]["name"] == "A. L."


def test_what_is_no_profile_is_refused_without_repeating_it(api: Api) -> None:
    ada = own(api, api.enrolled(api.coalition.trading("grocer")))
    for field, value in [
        ("email", "secretly nothing"),
        ("phone", "0309018200000"),
        ("locale", "de_AT.UTF-8"),
        ("birthDate", "2999-01-01"),
        ("name", "x" * 201),
        ("address", "\x07bell"),
    ]:
        refused = ada.do(UPDATE, profile={field: value})
        assert codes(refused) == ["INVALID_INPUT"], field
        assert value not in refused["userErrors"][0]["message"]
    assert set(ada.do(UPDATE, profile={})["member"]["profile"].values()) == {None}


def test_partners_see_nothing_and_may_nothing(api: Api) -> None:
    grocer, florist = api.coalition.trading("grocer"), api.coalition.trading("florist")
    till, other = api.client_of(grocer), api.client_of(florist)
    member = till.do(ENROL, identifiers=[MAIL, {"kind": "PARTNER_REFERENCE", "value": "K 1"}])["member"]["id"]
    own(api, member).do(UPDATE, profile=ADA)
    for caller, known in ((till, [{"kind": "PARTNER_REFERENCE", "value": "K 1"}]), (other, [])):
        found = caller.ask(MEMBER, by=named(member))["member"]
        assert found == {"id": member, "erasedAt": None, "identifiers": known, "profile": None}
        for mutation, given in ((UPDATE, {"profile": {}}), (ERASE, {"member": named(member)})):
            answer = caller.send(mutation, {"input": given | {"idempotencyKey": "k"}}).json()
            assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert export(api, caller, member).status_code == 403
    assert api.operator().ask(MEMBER, by=named(member))["member"]["profile"] == ADA


def test_a_member_does_not_change_or_read_another(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    ada, eve = api.enrolled(grocer), own(api, api.enrolled(grocer))
    assert codes(eve.do(UPDATE, member=named(ada), profile=ADA)) == ["INVALID_INPUT"]
    assert export(api, eve, ada).status_code == 404
    answer = eve.send(ERASE, {"input": {"member": named(ada), "idempotencyKey": "k"}}).json()
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


MERGE = "mutation($input: MergeMembersInput!) { mergeMembers(input: $input) { userErrors { code } } }"
EXPORT_PATH = "query($m: MemberBy!) { member(by: $m) { exportPath mergedFrom { exportPath } } }"


def export(api: Api, caller: Any, member: str) -> Any:
    return fetched(api, caller, f"/members/{member}/export")


def fetched(api: Api, caller: Any, path: str) -> Any:
    return api.http.get(path, headers={"Authorization": f"Bearer {caller.token}"})


def test_the_way_to_the_export_is_in_the_graph(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member, twin = api.enrolled(grocer), api.enrolled(grocer)
    operator = api.operator()
    operator.do(MERGE, survivor=named(member), merged=named(twin))
    for caller in (own(api, member), operator):
        told = caller.ask(EXPORT_PATH, m=named(member))["member"]
        assert told["mergedFrom"] == [{"exportPath": None}]
        answer = fetched(api, caller, told["exportPath"])
        assert answer.status_code == 200
        assert len(answer.json()["records"]) == 2
    assert api.client_of(grocer).ask(EXPORT_PATH, m=named(member))["member"]["exportPath"] is None


def test_a_member_and_the_operator_download_all_that_is_held(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member = api.enrolled(grocer)
    api.client_of(grocer).issue(member, points=5)
    own(api, member).do(UPDATE, profile=ADA)
    for caller in (own(api, member), api.operator()):
        answer = export(api, caller, member)
        assert answer.status_code == 200
        assert "attachment" in answer.headers["Content-Disposition"]
        [record] = answer.json()["records"]
        assert record["profile"]["name"] == ADA["name"]
        assert [one["kind"] for one in record["transactions"]] == ["issue"]
    assert export(api, api.operator(), "nobody").status_code == 404
    assert export(api, api.finance(), member).status_code == 403


def test_exports_that_nobody_takes_leave_the_tills_their_connections(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    member = api.enrolled(grocer)
    operator = api.operator()
    with ExitStack() as slow:
        for _ in range(exports.AT_ONCE):
            slow.enter_context(exports.MemberExport.place())
        answer = export(api, operator, member)
        assert answer.status_code == 429
        assert answer.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
        assert int(answer.headers["Retry-After"]) >= 1
    # Each gives its place back, also one that was refused.
    for _ in range(exports.AT_ONCE + 1):
        assert export(api, operator, "nobody").status_code == 404
        assert export(api, operator, member).status_code == 200


def test_the_operator_erases_once_points_are_settled(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    till, operator = api.client_of(grocer), api.operator()
    member = till.do(ENROL, identifiers=[MAIL])["member"]["id"]
    by_mail = {"identifier": MAIL}
    till.issue(member, points=5)
    with api.nothing_moves():
        assert codes(operator.do(ERASE, member=named(member))) == ["MEMBER_HAS_POINTS"]
    till.redeem(member, points=5)
    erased = operator.do(ERASE, member=by_mail, idempotencyKey="e")
    assert erased["userErrors"] == []
    assert erased["member"] == {"id": member, "erasedAt": erased["erasedAt"], "identifiers": []}
    assert operator.do(ERASE, member=by_mail, idempotencyKey="e")["replayed"]
    assert operator.do(ERASE, member=named(member))["erasedAt"] == erased["erasedAt"]
    assert codes(operator.do(ERASE, member=by_mail)) == ["MEMBER_UNKNOWN"]
    with api.nothing_moves():
        assert codes(till.issue(member, points=1)) == ["MEMBER_ERASED"]
        assert codes(till.redeem(member, points=1)) == ["MEMBER_ERASED"]
        assert codes(operator.do(UPDATE, member=named(member), profile=ADA)) == ["MEMBER_ERASED"]
    # The partner's own history of it is as it was.
    history = (
        "query($by: MemberBy!) { member(by: $by) { transactions(first: 5) { edges { node { kind } } } } }"
    )
    edges = till.ask(history, by=named(member))["member"]["transactions"]["edges"]
    assert [edge["node"]["kind"] for edge in edges] == ["REDEEM", "ISSUE"]


def test_the_key_of_an_enrolment_tells_nobody_the_address(api: Api) -> None:
    """The fingerprint that is kept of a request could be tried out, were it a plain digest."""
    from coalition.ledger import fingerprint  # noqa: PLC0415 - here alone

    till = api.client_of(api.coalition.trading("grocer"))
    assert till.do(ENROL, identifiers=[MAIL], idempotencyKey="e")["userErrors"] == []
    assert till.do(ENROL, identifiers=[MAIL], idempotencyKey="e")["replayed"]
    with api.coalition.database.reading() as session:
        [kept] = session.scalars(text("SELECT fingerprint FROM partners.operation WHERE key = 'e'"))
    from coalition.identifiers import IdentifierKind  # noqa: PLC0415 - here alone

    guess = {
        "operation": "EnrollMemberInput",
        "input": {"identifiers": [{"kind": IdentifierKind.EMAIL, "value": MAIL["value"]}]},
    }
    assert kept != fingerprint("operation", guess)


def test_a_key_whose_request_was_forgotten_is_no_other_mutations(api: Api) -> None:
    from coalition.vault.respelling import replace_index_key  # noqa: PLC0415 - here alone
    from partners.operations import forget_requests  # noqa: PLC0415 - here alone

    till = api.client_of(api.coalition.trading("grocer"))
    first = till.do(ENROL, identifiers=[MAIL], idempotencyKey="e")
    replace_index_key(api.coalition.database, forget=forget_requests)
    again = till.do(ENROL, identifiers=[MAIL], idempotencyKey="e")
    assert again == first | {"replayed": True}
    link = "mutation($input: LinkIdentifierInput!) { linkIdentifier(input: $input) { userErrors { code } } }"
    card = {"kind": "CARD", "value": "4006381333931"}
    with api.nothing_moves():
        refused = till.do(link, member=named(first["member"]["id"]), identifier=card, idempotencyKey="e")
    assert codes(refused) == ["IDEMPOTENCY_CONFLICT"]


def test_of_whom_was_erased_no_request_is_kept_that_could_be_tried_out(api: Api) -> None:
    """Who has the index key could try addresses against what stands for a request, and would find the member's id."""
    grocer = api.coalition.trading("grocer")
    till, operator = api.client_of(grocer), api.operator()
    first, twin = (
        till.do(ENROL, identifiers=[{"kind": "EMAIL", "value": f"{name}@example.org"}], idempotencyKey=name)
        for name in ("ada", "a.l")
    )
    kept = till.do(ENROL, identifiers=[MAIL | {"value": "eve@example.org"}], idempotencyKey="eve")
    member = first["member"]["id"]
    own(api, member).do(UPDATE, profile=ADA)
    merge = "mutation($input: MergeMembersInput!) { mergeMembers(input: $input) { userErrors { code } } }"
    assert codes(operator.do(merge, survivor=named(member), merged=named(twin["member"]["id"]))) == []
    erased = operator.do(ERASE, member={"identifier": MAIL}, idempotencyKey="erase")
    assert erased["userErrors"] == []
    with api.coalition.database.reading() as session:
        remembered = session.scalars(
            text(
                "SELECT key FROM partners.operation WHERE blinded_by IS NOT NULL AND fingerprint IS NOT NULL"
            )
        ).all()
        assert run_audit(session) == []
    assert remembered == ["eve"]
    # The answers are there for retries, as ever.
    assert operator.do(ERASE, member={"identifier": MAIL}, idempotencyKey="erase") == erased | {
        "replayed": True
    }
    assert till.do(ENROL, identifiers=[MAIL], idempotencyKey="ada")["replayed"]
    again = [{"kind": "EMAIL", "value": "eve@example.org"}]
    assert till.do(ENROL, identifiers=again, idempotencyKey="eve") == kept | {"replayed": True}
    assert codes(till.do(ENROL, identifiers=[MAIL], idempotencyKey="eve")) == ["IDEMPOTENCY_CONFLICT"]


def test_a_server_without_the_key_of_what_is_asked_says_so_and_the_log_which(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    member = api.enrolled(api.coalition.trading("grocer"))
    ada = own(api, member)
    assert ada.do(UPDATE, profile=ADA)["userErrors"] == []
    monkeypatch.setenv("COALITION_VAULT_KEYS", base64.b64encode(bytes(32)).decode())
    get_settings.cache_clear()
    change = {"input": {"idempotencyKey": "again", "profile": {"name": "Eve"}}}
    answers = [
        api.operator().send(MEMBER, {"by": named(member)}),
        ada.send(UPDATE, change),
        export(api, ada, member),  # and not the beginning of a file
    ]
    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        [error] = answer.json()["errors"]
        assert error["extensions"]["code"] == "SETTING_MISSING"
        assert "COALITION_VAULT_KEYS" not in answer.text
        assert "data" not in answer.json()
    told = [record.getMessage() for record in caplog.records if record.name == "schema.web.view"]
    assert len(told) == len(answers)
    assert all("COALITION_VAULT_KEYS_FILE must hold the key " in one for one in told)
    monkeypatch.undo()
    get_settings.cache_clear()
    assert ada.do(UPDATE, profile={})["member"]["profile"] == ADA
