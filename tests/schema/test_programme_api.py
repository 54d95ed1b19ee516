"""The programme's limits over the API: each is set, what is not named stays, and none is set if one is refused."""

from typing import Any

import pytest
from api_driver import Api

PROGRAMME = """programme { consentLimitPoints holdSeconds longestHoldSeconds lateDays transferLimitPoints
    adjustmentLimitPoints voucherLimitPoints voucherSeconds voucherGraceSeconds }"""
SET = f"""mutation($input: SetProgrammeLimitsInput!) {{ setProgrammeLimits(input: $input) {{
    replayed userErrors {{ code field }} {PROGRAMME} }} }}"""
LIMITS: dict[str, Any] = {
    "consentLimitPoints": "1",
    "holdSeconds": 2,
    "longestHoldSeconds": 3,
    "lateDays": 4,
    "transferLimitPoints": "5",
    "adjustmentLimitPoints": "6",
    "voucherLimitPoints": "7",
    "voucherSeconds": 8,
    "voucherGraceSeconds": 9,
}


def test_each_limit_is_set_and_what_is_not_named_stays(api: Api) -> None:
    operator = api.operator()
    before = operator.ask(f"{{ {PROGRAMME} }}")["programme"]
    for name, value in LIMITS.items():
        after = operator.do(SET, **{name: value})
        assert after == {"replayed": False, "userErrors": [], "programme": before | {name: value}}
        before = after["programme"]
    assert before == LIMITS
    changed = {"holdSeconds": 20, "longestHoldSeconds": 30}
    assert operator.do(SET, **changed)["programme"] == LIMITS | changed


def test_a_wish_that_is_sent_again_changes_nothing_more(api: Api) -> None:
    operator = api.operator()
    operator.do(SET, lateDays=4, idempotencyKey="k")
    operator.do(SET, lateDays=5)
    with api.nothing_moves():
        again = operator.do(SET, lateDays=4, idempotencyKey="k")
        assert (again["replayed"], again["programme"]["lateDays"]) == (True, 5)
        [error] = operator.do(SET, lateDays=6, idempotencyKey="k")["userErrors"]
        assert error["code"] == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({}, None),
        ({"consentLimitPoints": -1}, ["consentLimitPoints"]),
        ({"holdSeconds": 0}, ["holdSeconds"]),
        ({"holdSeconds": 604_801}, ["holdSeconds"]),
        ({"longestHoldSeconds": 899}, ["holdSeconds"]),
        ({"longestHoldSeconds": 31_536_001}, ["longestHoldSeconds"]),
        ({"lateDays": 3_661}, ["lateDays"]),
        ({"transferLimitPoints": "1000000000001"}, ["transferLimitPoints"]),
        ({"adjustmentLimitPoints": -1}, ["adjustmentLimitPoints"]),
        ({"voucherLimitPoints": -1}, ["voucherLimitPoints"]),
        ({"voucherSeconds": 3_601}, ["voucherSeconds"]),
        ({"voucherGraceSeconds": 30 * 86_400 + 1}, ["voucherGraceSeconds"]),
    ],
)
def test_of_limits_that_cannot_be_none_is_set(
    api: Api, limits: dict[str, Any], field: list[str] | None
) -> None:
    operator = api.operator()
    good = {"lateDays": 1} if limits and "lateDays" not in limits else {}
    before = operator.ask(f"{{ {PROGRAMME} }}")
    with api.nothing_moves():
        answer = operator.do(SET, **good, **limits)
        assert answer == {
            "replayed": False,
            "userErrors": [{"code": "INVALID_INPUT", "field": field and ["input", *field]}],
            "programme": None,
        }
    assert operator.ask(f"{{ {PROGRAMME} }}") == before


def test_limits_are_the_operators_alone(api: Api) -> None:
    grocer = api.coalition.trading("grocer")
    given = {"input": {"idempotencyKey": "k", "lateDays": 1}}
    for caller in (api.client_of(grocer), api.finance(), api.member(api.coalition.member(of=grocer))):
        with api.nothing_moves():
            [error] = caller.send(SET, given).json()["errors"]
            assert error["extensions"]["code"] == "FORBIDDEN"
