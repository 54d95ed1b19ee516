"""The soak, for a short time with each kind of wish; and that its check of the acknowledgements can fail."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_driver import Api, Caller, serving_api
from databases import TestDatabase
from soaking.checking import findings_of
from soaking.coalition import WATCHED
from soaking.load import Acknowledged, Log
from soaking.wishes import AT_TILLS, BY_THE_OPERATOR, IN_THE_APP

from partners.limits import publish_limit
from schema.ids import to_global

pytestmark = pytest.mark.long

SOAK = Path(__file__).resolve().parents[2] / "bench" / "soak.py"
WISHES = {wish.mutation: wish for wish in (*AT_TILLS, *IN_THE_APP, *BY_THE_OPERATOR)}
PHONE = {"kind": "PHONE", "value": "+4930901820"}


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SOAK, *arguments], capture_output=True, text=True, timeout=400, check=False
    )


def test_whoever_is_killed_what_was_acknowledged_is_there_once() -> None:
    done = soak("--seed", "4", "--minutes", "0.5", "--every", "3")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    for said in ("server killed", "database killed", "killed nights", "the audit is clean"):
        assert said in done.stdout


def test_its_help_teaches_and_bad_usage_is_told() -> None:
    told = soak("--help")
    assert told.returncode == 0
    for word in ("exit codes", "--seed", "--only", "--minutes", "audit --chain"):
        assert word in told.stdout
    for wrong in (["--only", "miracles"], ["--minutes", "0"], ["--every", "-1"]):
        refused = soak(*wrong)
        assert refused.returncode == 2
        assert "usage" in refused.stderr


# -- that the check of the acknowledgements can fail ------------------------------------------------


@pytest.fixture
def api(test_database: TestDatabase) -> Iterator[Api]:
    with serving_api(test_database) as api:
        yield api


def granted(caller: Caller, mutation: str, who: str, **asked: Any) -> Acknowledged:
    wish = WISHES[mutation]
    answer = caller.do(wish.document, **asked)
    assert answer["userErrors"] == []
    return Acknowledged(wish=wish, asked=asked, who=who, answer=answer)


@pytest.fixture
def log(api: Api) -> Log:
    """One of each way in which a wish is found again, and one that was refused."""
    grocer = api.coalition.trading("grocer")
    ids = [api.coalition.member(of=grocer) for _ in range(2)]
    ann, bob = (str(to_global("Member", one)) for one in ids)
    till, at_ann, operator = api.client_of(grocer), api.member(ids[0]), api.operator()
    log = Log()
    pool = granted(at_ann, "createPool", ann, idempotencyKey="pool", name="Home")
    for one in (
        granted(till, "issuePoints", "grocer", idempotencyKey="issue", member={"id": ann}, points="90"),
        granted(till, "redeemPoints", "grocer", idempotencyKey="redeem", member={"id": ann}, points="5"),
        granted(at_ann, "transferPoints", ann, idempotencyKey="give", to={"id": bob}, points="5"),
        granted(at_ann, "issueVoucher", ann, idempotencyKey="voucher", partner="grocer", points="5"),
        granted(
            operator,
            "adjustPoints",
            "operator",
            idempotencyKey="adjust",
            member={"id": ann},
            points="-5",
            reason="CORRECTION",
        ),
        pool,
        granted(at_ann, "leavePool", ann, idempotencyKey="leave"),
    ):
        log.acknowledged[one.key] = one
    refusal = till.do(
        WISHES["redeemPoints"].document, idempotencyKey="dear", member={"id": bob}, points="4000"
    )
    log.refused["dear"] = refusal["userErrors"][0]["code"]
    for one in (
        granted(at_ann, "createPool", ann, idempotencyKey="second pool", name="Cabin"),
        granted(
            till,
            "enrollMember",
            "grocer",
            idempotencyKey="enrol",
            identifiers=[{"kind": "CARD", "value": "NEW1"}],
        ),
    ):
        log.acknowledged[one.key] = one
    pool, newcomer = (log.acknowledged[key].answer for key in ("second pool", "enrol"))
    for one in (
        granted(at_ann, "closePool", ann, idempotencyKey="close", pool=pool["pool"]["id"]),
        granted(
            operator,
            "eraseMember",
            "operator",
            idempotencyKey="erase",
            member={"id": newcomer["member"]["id"]},
        ),
        *in_review(api, till, operator, bob),
        granted(
            till, "linkIdentifier", "grocer", idempotencyKey="link", member={"id": bob}, identifier=PHONE
        ),
        granted(
            till, "unlinkIdentifier", "grocer", idempotencyKey="unlink", identifier={"identifier": PHONE}
        ),
        granted(at_ann, "confirmRedemption", ann, idempotencyKey="confirm", partner="grocer", points="5"),
    ):
        log.acknowledged[one.key] = one
    return log


def in_review(api: Api, till: Caller, operator: Caller, member: str) -> Iterator[Acknowledged]:
    """Two wishes that an operator looked at, of which one may pass."""
    with api.coalition.database.unit_of_work() as session:
        publish_limit(session, replace(WATCHED, most=100))
    for key, decision in (("to pass", "releaseReview"), ("not to pass", "rejectReview")):
        till.do(WISHES["issuePoints"].document, idempotencyKey=key, member={"id": member}, points="200")
        [edge] = operator.ask("{ reviews { edges { node { id } } } }")["reviews"]["edges"]
        yield granted(
            operator, decision, "operator", idempotencyKey=f"decide {key}", review=edge["node"]["id"]
        )


def found(api: Api, log: Log) -> list[str]:
    with api.coalition.database.reading() as session:
        return list(findings_of(session, log))


def test_where_all_is_as_it_was_told_nothing_is_found(api: Api, log: Log) -> None:
    assert found(api, log) == []


def _lost(log: Log) -> None:
    lost = replace(log.acknowledged["redeem"], asked={"idempotencyKey": "lost"})
    log.acknowledged["lost"] = lost


def _untold(log: Log) -> None:
    del log.acknowledged["give"]


def _untold_voucher(log: Log) -> None:
    del log.acknowledged["voucher"]


def _refused(log: Log) -> None:
    del log.acknowledged["redeem"]
    log.refused["redeem"] = "INSUFFICIENT_POINTS"


def _told(key: str, *path: str, otherwise: object) -> Callable[[Log], None]:
    def damage(log: Log) -> None:
        answer = deepcopy(log.acknowledged[key].answer)
        inner = answer
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = otherwise
        log.acknowledged[key] = replace(log.acknowledged[key], answer=answer)

    return damage


def _untold_adjustment(log: Log) -> None:
    del log.acknowledged["adjust"]


def _lost_pool(log: Log) -> None:
    log.acknowledged["another"] = log.acknowledged["pool"]


def _left_where_it_never_was(log: Log) -> None:
    log.acknowledged["leave"] = replace(log.acknowledged["leave"], who="somebody")


def _untold_of(key: str) -> Callable[[Log], None]:
    def damage(log: Log) -> None:
        del log.acknowledged[key]

    return damage


def _lost_of(key: str, *path: str) -> Callable[[Log], None]:
    """Another of its kind was acknowledged, of which there is nothing."""

    def damage(log: Log) -> None:
        one = log.acknowledged[key]
        _told(key, *path, otherwise="another")(log)
        log.acknowledged[f"another {key}"], log.acknowledged[key] = log.acknowledged[key], one

    return damage


def _rejected_what_was_released(log: Log) -> None:
    released = log.acknowledged["decide to pass"]
    log.acknowledged["then not"] = replace(released, wish=WISHES["rejectReview"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_untold_of("close"), "is closed, and nobody was told so"),
        (_lost_of("close", "pool", "id"), "another was acknowledged as closed, and is not"),
        (_untold_of("erase"), "is erased, and nobody was told so"),
        (_lost_of("erase", "member", "id"), "another was acknowledged as erased, and is not"),
        (_untold_of("decide to pass"), "is decided, and nobody was told so"),
        (_lost_of("decide to pass", "review", "id"), "another was acknowledged as decided, and is not"),
        (_untold_of("link"), "0 phones were acknowledged as linked, and 1 are"),
        (_untold_of("unlink"), "0 phones were acknowledged as unlinked, and 1 are"),
        (_untold_of("confirm"), "is confirmed, and nobody was told so"),
        (_lost_of("confirm", "confirmation", "id"), "another was acknowledged as confirmed, and is not"),
        (_rejected_what_was_released, "was rejected, and is released"),
        (_lost, "lost was acknowledged and is not there"),
        (_untold, "give is stored, and nobody was told so"),
        (_untold_voucher, "voucher is stored, and nobody was told so"),
        (_refused, "redeem was refused (INSUFFICIENT_POINTS) and is stored"),
        (_told("redeem", "transaction", "points", otherwise="6"), "redeem was told as"),
        (_told("redeem", "transaction", "id", otherwise="another"), "redeem was told as"),
        (_told("redeem", "balance", "available", otherwise="1"), "a replay would be told 85"),
        (_told("adjust", "transaction", "id", otherwise="another"), "its transaction is not there"),
        (_untold_adjustment, "0 adjustments were acknowledged and 1 are there"),
        (_lost_pool, "3 pools were acknowledged and 2 are there"),
        (_left_where_it_never_was, "told 1 times that it left, and did 0 times"),
    ],
)
def test_each_untruth_is_found(api: Api, log: Log, damage: Callable[[Log], None], said: str) -> None:
    damage(log)
    assert [one for one in found(api, log) if said in one], found(api, log)
