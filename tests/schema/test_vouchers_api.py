"""Vouchers through the API: a member makes one, a till checks it offline and presents it later."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from api_driver import Api, Caller, codes
from click.testing import CliRunner
from joserfc import jwt
from joserfc.jwk import ECKey

from coalition.cli import cli
from coalition.ids import MemberId
from partners.directory import Partner
from partners.keys import rotate_keys
from partners.vouchers import VoucherRejected, check
from schema.ids import member_in

ISSUE = """
mutation ($input: IssueVoucherInput!) {
  issueVoucher(input: $input) {
    replayed
    voucher { token redeemBy presentBy hold { id state points redeemBy } }
    balance { available held }
    userErrors { code message field ... on VoucherLimitExceeded { allowed requested } }
  }
}
"""
REDEEM = """
mutation ($input: RedeemVoucherInput!) {
  redeemVoucher(input: $input) {
    replayed
    hold { state captured }
    transaction { id kind points }
    balance { available }
    userErrors { code message field }
  }
}
"""
CAPTURE = """
mutation ($input: CaptureRedemptionInput!) { captureRedemption(input: $input) { userErrors { code } } }
"""
RECEIPT = {"store": "s1", "terminal": "t1", "number": "1"}


class Shop:
    """A member with 500 points, and the till of the grocer that gave them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.grocer: Partner = api.coalition.trading("grocer")
        self.id = api.enrolled(self.grocer)
        self.till: Caller = api.client_of(self.grocer)
        self.till.issue(self.id, points=500)
        found = member_in(self.id)
        assert found is not None
        self.member: Caller = api.member(MemberId(found))

    def make(self, **given: Any) -> Any:
        return self.member.do(ISSUE, **{"partner": self.grocer.code, "points": 200, **given})

    def published(self) -> Any:
        return self.api.http.get("/oauth/jwks.json").json()


@pytest.fixture
def shop(api: Api) -> Shop:
    return Shop(api)


def _now(voucher: Any) -> datetime:
    return datetime.fromisoformat(voucher["redeemBy"]) - timedelta(seconds=30)


def test_a_voucher_is_made_checked_offline_and_presented_later(api: Api, shop: Shop) -> None:
    made = shop.make(secondsToLive=600)
    voucher = made["voucher"]
    assert made["balance"] == {"available": "300", "held": "200"}
    assert (voucher["hold"]["state"], voucher["hold"]["points"]) == ("OPEN", "200")
    assert len(voucher["token"]) < 600
    seen = check(voucher["token"], keys=shop.published(), partner_code=shop.grocer.code, at=_now(voucher))
    assert seen.points == 200
    bought_at = _now(voucher).isoformat()
    api.coalition.pass_time(hours=20)
    # The keys have changed twice since: ours are remembered longer than they are published.
    with api.coalition.database.unit_of_work() as session:
        rotate_keys(session)
        rotate_keys(session)
    taken = shop.till.do(
        REDEEM,
        voucher=voucher["token"],
        points=120,
        receipt=RECEIPT,
        occurredAt=bought_at,
        idempotencyKey="v",
    )
    assert (taken["hold"], taken["transaction"]["kind"]) == (
        {"state": "CAPTURED", "captured": "120"},
        "CAPTURE",
    )
    assert taken["balance"] == {"available": "380"}
    with api.nothing_moves():
        again = shop.till.do(
            REDEEM,
            voucher=voucher["token"],
            points=120,
            receipt=RECEIPT,
            occurredAt=bought_at,
            idempotencyKey="v",
        )
        assert again == {**taken, "replayed": True}
        used = shop.till.do(REDEEM, voucher=voucher["token"], occurredAt=bought_at)
        assert codes(used) == ["VOUCHER_USED"]


def test_a_lost_answer_gives_the_same_voucher_again(api: Api, shop: Shop) -> None:
    first = shop.make(idempotencyKey="app-1")
    with api.nothing_moves():
        again = shop.make(idempotencyKey="app-1")
    assert (again["replayed"], again["voucher"]["hold"]["id"]) == (True, first["voucher"]["hold"]["id"])
    # Signed anew it is the same voucher: either is redeemed, and then both are used.
    assert shop.till.do(REDEEM, voucher=again["voucher"]["token"])["transaction"]["points"] == "200"
    assert codes(shop.till.do(REDEEM, voucher=first["voucher"]["token"])) == ["VOUCHER_USED"]


def _forgeries(token: str) -> dict[str, str]:
    header, payload, signature = token.split(".")

    def part(text: str) -> Any:
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))

    def spelled(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = part(payload)
    own = ECKey.generate_key("P-256", private=True)
    return {
        "more points": ".".join([header, spelled({**claims, "points": 400}), signature]),
        "no signature": ".".join([spelled({**part(header), "alg": "none"}), payload, ""]),
        "own key": jwt.encode({**part(header)}, claims, own, algorithms=["ES256"]),
        "unknown key": jwt.encode({**part(header), "kid": "x"}, claims, own, algorithms=["ES256"]),
        "unknown key like ours": jwt.encode(
            {**part(header), "kid": "A" * 43}, claims, own, algorithms=["ES256"]
        ),
        "half a character": ".".join([spelled({**part(header), "kid": "\ud800"}), payload, signature]),
        "no text": ".".join([spelled({**part(header), "kid": "\u0000"}), payload, signature]),
        "cut": token[:-1],
        "nonsense": "nonsense",
        "nothing": "",
        "no ascii": "é.é.é",
        "endless": "e" * 10_000,
    }


def test_a_forged_one_and_another_partners_are_the_same_answer(api: Api, shop: Shop) -> None:
    token = shop.make()["voucher"]["token"]
    stranger = api.client_of(api.coalition.trading("stranger"))
    with api.nothing_moves():
        answers = [
            shop.till.do(REDEEM, voucher=forged, idempotencyKey="k") for forged in _forgeries(token).values()
        ]
        # A token that lets a client in is no voucher, though the same key signed it.
        answers.append(shop.till.do(REDEEM, voucher=shop.member.token, idempotencyKey="k"))
        answers.append(stranger.do(REDEEM, voucher=token, idempotencyKey="k"))
        assert codes(answers[0]) == ["VOUCHER_INVALID"]
        assert all(answer == answers[0] for answer in answers)
    assert shop.till.do(REDEEM, voucher=token)["transaction"]["points"] == "200"


def test_no_voucher_lets_anyone_in(shop: Shop) -> None:
    token = shop.make()["voucher"]["token"]
    assert Caller(shop.api.http, token).send("{ viewer { scopes } }").status_code == 401


def test_a_partner_takes_a_vouchers_points_by_the_voucher_only(api: Api, shop: Shop) -> None:
    hold = shop.make()["voucher"]["hold"]["id"]
    with api.nothing_moves():
        assert codes(shop.till.do(CAPTURE, holdId=hold)) == ["HOLD_UNKNOWN"]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"points": 0}, "POINTS_INVALID", ["input", "points"]),
        ({"points": 501}, "INSUFFICIENT_POINTS", ["input", "points"]),
        ({"points": 10_001}, "VOUCHER_LIMIT_EXCEEDED", ["input", "points"]),
        ({"secondsToLive": 3_601}, "HOLD_TIME_INVALID", ["input", "secondsToLive"]),
        ({"partner": "nobody"}, "PARTNER_UNKNOWN", ["input", "partner"]),
    ],
)
def test_a_refused_voucher_names_the_field_and_moves_nothing(
    api: Api, shop: Shop, given: dict[str, Any], code: str, field: list[str] | None
) -> None:
    with api.nothing_moves():
        [error] = shop.make(**given)["userErrors"]
    assert (error["code"], error["field"]) == (code, field)
    assert "hold" not in error["message"]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"points": 0}, "POINTS_INVALID", ["input", "points"]),
        ({"points": 201}, "VOUCHER_EXCEEDED", ["input", "points"]),
        ({"occurredAt": "2040-01-01T00:00:00Z"}, "OCCURRED_IN_FUTURE", ["input", "occurredAt"]),
        ({"occurredAt": "2026-02-28T00:00:00Z"}, "VOUCHER_EXPIRED", ["input", "voucher"]),
    ],
)
def test_a_refused_presentation_names_the_field_and_moves_nothing(
    api: Api, shop: Shop, given: dict[str, Any], code: str, field: list[str]
) -> None:
    token = shop.make()["voucher"]["token"]
    with api.nothing_moves():
        [error] = shop.till.do(REDEEM, voucher=token, **given)["userErrors"]
    assert (error["code"], error["field"]) == (code, field)


def test_one_out_of_date_is_refused(api: Api, shop: Shop) -> None:
    token = shop.make(secondsToLive=60)["voucher"]["token"]
    api.coalition.pass_time(seconds=61)
    with api.nothing_moves():
        assert codes(shop.till.do(REDEEM, voucher=token)) == ["VOUCHER_EXPIRED"]


def test_only_a_member_makes_one_and_only_a_partner_takes_one(shop: Shop) -> None:
    wish = {"idempotencyKey": "k", "partner": shop.grocer.code, "points": 1}
    for caller, mutation, given in (
        (shop.till, ISSUE, wish),
        (shop.member, REDEEM, {"idempotencyKey": "k", "voucher": "x"}),
    ):
        body = caller.send(mutation, {"input": given}).json()
        assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_offline_a_till_is_told_what_not_to_take(shop: Shop) -> None:
    voucher = shop.make()["voucher"]
    keys, code, at = shop.published(), shop.grocer.code, _now(voucher)
    for token, whose, when in (
        *((forged, code, at) for forged in _forgeries(voucher["token"]).values()),
        (shop.member.token, code, at),
        (voucher["token"], "stranger", at),
        (voucher["token"], code, at + timedelta(seconds=30)),
        (voucher["token"], code, at - timedelta(hours=1)),
    ):
        with pytest.raises(VoucherRejected):
            check(token, keys=keys, partner_code=whose, at=when)


def test_the_command_checks_a_voucher_without_network_or_database(shop: Shop, tmp_path: Path) -> None:
    voucher = shop.make()["voucher"]
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(shop.published()))
    at = _now(voucher).astimezone(UTC)

    def verify(*more: str, token: str = voucher["token"], code: str = shop.grocer.code) -> Any:
        options = ["--partner", code, "--keys", str(keys), "--at", f"{at:%Y-%m-%dT%H:%M:%S}", *more]
        return CliRunner().invoke(
            cli,
            ["voucher", "verify", token, *options],
            env={"COALITION_DATABASE_URL": "postgresql://nowhere"},
        )

    good = verify("--json")
    assert (good.exit_code, json.loads(good.output)["points"]) == (0, 200)
    assert "take it for up to 200 points" in verify().output
    refused = verify(code="stranger")
    assert (refused.exit_code, "Do not take it: the voucher is for another partner" in refused.output) == (
        1,
        True,
    )
    for no_keys in ("[]", '{"keys": []}', '{"keys": [{"kty": "EC"}]}', '{"keys": [{}]}'):
        keys.write_text(no_keys)
        assert verify().exit_code == 2, no_keys


def test_a_suspended_partner_presents_when_it_is_active_again_if_the_hold_is_still_open(
    api: Api, shop: Shop
) -> None:
    def set_state(mutation: str) -> None:
        query = (
            f"mutation ($input: {mutation[0].upper()}{mutation[1:]}Input!) {{ {mutation}(input: $input) {{"
        )
        assert codes(api.operator().do(query + " userErrors { code } } }", partner=shop.grocer.code)) == []

    first, second = (shop.make(points=100)["voucher"] for _ in range(2))
    authorize = """mutation ($input: AuthorizeRedemptionInput!) {
        authorizeRedemption(input: $input) { hold { id } userErrors { code } }
    }"""
    hold = shop.till.do(authorize, member={"id": shop.id}, points=50)["hold"]["id"]
    bought = _now(first).isoformat()
    api.coalition.set_clock(_now(first))
    set_state("suspendPartner")
    with api.nothing_moves():
        assert codes(shop.till.do(REDEEM, voucher=first["token"], occurredAt=bought)) == [
            "PARTNER_NOT_ACTIVE"
        ]
        assert codes(shop.till.do(CAPTURE, holdId=hold)) == ["PARTNER_NOT_ACTIVE"]
    set_state("activatePartner")
    assert codes(shop.till.do(CAPTURE, holdId=hold)) == []
    assert shop.till.do(REDEEM, voucher=first["token"], occurredAt=bought)["hold"]["state"] == "CAPTURED"
    set_state("suspendPartner")
    api.coalition.set_clock(datetime.fromisoformat(second["presentBy"]))
    set_state("activatePartner")
    with api.nothing_moves():
        late = shop.till.do(REDEEM, voucher=second["token"], occurredAt=bought)
        assert codes(late) == ["VOUCHER_EXPIRED"]
