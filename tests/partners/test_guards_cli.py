"""Limits, stores, reviews and the register, as the operator uses them at the command line."""

import json
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from operating import Coalition

from coalition.cli import cli
from coalition.config import get_settings
from coalition.errors import MemberUnknown, UnderReview
from coalition.reviewing import queue_review
from partners.refusals import Attempt, register


@pytest.fixture
def run(test_database: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in test_database.environment.items():
        monkeypatch.setenv(name, value)

    def command(*words: str, code: int = 0) -> Any:
        get_settings.cache_clear()
        done = CliRunner().invoke(cli, [*words], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout or done.stderr) if "--json" in words else done.output

    return command


def test_a_limit_is_published_listed_superseded_and_ended(coalition: Coalition, run: Any) -> None:
    coalition.partner("grocer")
    words = ["limit", "publish", "day", "--scope", "partner", "--posting", "issue", "--measure", "points"]
    [made] = run(*words, "--most", "100", "--per", "24h", "--partner", "grocer", "--json")
    assert (made["version"], made["period"], made["partner"], made["action"]) == (
        1,
        "1 day, 0:00:00",
        "grocer",
        "refuse",
    )
    [again] = run(*words, "--most", "200", "--action", "review", "--json")
    assert (again["version"], again["period"], again["partner"], again["action"]) == (
        2,
        "window",
        None,
        "review",
    )
    assert [one["most"] for one in run("limit", "list", "--json")] == [200]
    assert run("limit", "end", "day", "--json")[0]["action"] == "ended"
    assert run("limit", "list", "--json") == []
    assert [one["version"] for one in run("limit", "list", "--all", "--json")] == [3]
    with coalition.nothing_moves():
        assert run("limit", "end", "day", "--json", code=1)["error"]["code"] == "LIMIT_UNKNOWN"
    run(*words, "--most", "1", "--per", "fortnight", code=2)
    refused = run(*words, "--most", "1", "--per", "30s", "--json", code=1)
    assert refused["error"]["code"] == "INVALID_INPUT"


def test_figures_show_by_how_much_a_limit_was_overshot(coalition: Coalition, run: Any) -> None:
    grocer = coalition.trading("grocer")
    member = coalition.member(of=grocer)
    run(
        "limit",
        "publish",
        "day",
        "--scope",
        "partner",
        "--posting",
        "issue",
        "--measure",
        "points",
        "--most",
        "100",
    )
    for _ in range(2):
        coalition.issue(member, grocer, points=80)
    [figure] = run("limit", "figures", "--json")
    assert (figure["used"], figure["overshot"], figure["partner"]) == (160, 60, "grocer")


def test_stores_come_from_a_file_or_from_the_command(coalition: Coalition, run: Any, tmp_path: Path) -> None:
    coalition.partner("grocer")
    file = tmp_path / "stores.csv"
    file.write_text("code,name,since,closed\n0001,North,2026-01-01,\n0002,Harbour,,2026-03-31\n")
    run("partner", "store", "publish", "grocer", "--file", str(file))
    run("partner", "store", "publish", "grocer", "0002=Old harbour")
    run("partner", "store", "publish", "grocer", "0003=Quay", "--by", "grace", "--closed", "2026-03-31")
    assert run("partner", "store", "list", "grocer", "--json") == [
        {"code": "0001", "name": "North", "since": "2026-01-01", "closed": None},
        {"code": "0002", "name": "Old harbour", "since": None, "closed": None},
        {"code": "0003", "name": "Quay", "since": None, "closed": "2026-03-31"},
    ]
    told = dict(coalition.rows("SELECT code, published_by FROM partners.store"))
    assert (told["0001"], told["0003"]) == (f"operator {getuser()}", "operator grace")
    run("partner", "store", "publish", "grocer", code=2)
    file.write_text("code,name,since\n0001,North,yesterday\n")
    run("partner", "store", "publish", "grocer", "--file", str(file), code=2)
    file.write_bytes("code,name\n0004,Müller\n".encode("latin-1"))
    run("partner", "store", "publish", "grocer", "--file", str(file), code=2)


def test_a_review_is_listed_released_and_posted(coalition: Coalition, run: Any) -> None:
    grocer = coalition.trading("grocer")
    member = coalition.member(of=grocer)
    run(
        "limit",
        "publish",
        "large",
        "--scope",
        "member",
        "--posting",
        "issue",
        "--measure",
        "points",
        "--most",
        "50",
        "--action",
        "review",
    )
    with pytest.raises(UnderReview) as refusal:
        coalition.issue(member, grocer, points=60, idempotency_key="k")
    with coalition.database.unit_of_work() as session:
        queue_review(session, refusal.value)
    [waiting] = run("review", "list", "--json")
    assert (waiting["points"], waiting["partner"], waiting["limit"]) == (60, "grocer", "large")
    release = ("review", "release", waiting["review"], "--by")
    decided = run(*release, "ada", "--json")
    assert (decided["state"], decided["decidedBy"]) == ("released", "operator ada")
    assert run(*release, "grace", "--json") == decided
    assert run(*release, "grace") == run(*release, "ada")
    assert coalition.issue(member, grocer, points=60, idempotency_key="k").points == 60
    [posted] = run("review", "list", "--state", "posted", "--json")
    assert posted["review"] == waiting["review"]
    run("review", "reject", waiting["review"], "--by", "ada", code=1)
    run("review", "reject", "nonsense", code=2)


def test_reviews_come_a_page_at_a_time_and_of_whom_is_asked(coalition: Coalition, run: Any) -> None:
    grocer, fuel = coalition.trading("grocer"), coalition.trading("fuel")
    members = [coalition.member(of=grocer) for _ in range(2)]
    words = ["limit", "publish", "all", "--scope", "member", "--posting", "issue", "--measure", "points"]
    run(*words, "--most", "1", "--action", "review")
    for nth, partner, member in ((0, grocer, 0), (1, fuel, 0), (2, grocer, 1)):
        with pytest.raises(UnderReview) as refusal:
            coalition.issue(members[member], partner, points=10 + nth, idempotency_key="k")
        with coalition.database.unit_of_work() as session:
            queue_review(session, refusal.value)
        coalition.pass_time(seconds=1)

    def points(*more: str) -> list[int]:
        return [one["points"] for one in run("review", "list", *more, "--json")]

    assert points() == [10, 11, 12]
    assert points("--partner", "grocer") == [10, 12]
    assert points("--member", str(members[0])) == [10, 11]
    [_, last] = run("review", "list", "--most", "2", "--json")
    assert f"--after {last['review']}" in run("review", "list", "--most", "2")
    assert points("--after", last["review"]) == [12]
    run("review", "list", "--after", "nonsense", code=2)
    unknown = run("review", "list", "--after", f"{members[0]}/{members[0]}", "--json", code=1)
    assert unknown["error"]["code"] == "REVIEW_UNKNOWN"


def test_the_register_is_shown_by_code_partner_and_member(coalition: Coalition, run: Any) -> None:
    grocer = coalition.trading("grocer")
    member = coalition.member(of=grocer)
    with coalition.refused("INSUFFICIENT_POINTS") as told:
        coalition.redeem(member, grocer, points=5)
    attempt = Attempt(posting="redeem", partner_id=grocer.partner_id, member_id=member, points=5)
    register(coalition.database, [(attempt, told[0])])
    [entry] = run("refusals", "--json")
    assert (entry["code"], entry["partner"], entry["member"], entry["points"]) == (
        "INSUFFICIENT_POINTS",
        "grocer",
        str(member),
        5,
    )
    assert entry["facts"]["available"] == 0
    assert run(
        "refusals", "--partner", "grocer", "--member", str(member), "--code", "INSUFFICIENT_POINTS", "--json"
    )
    assert run("refusals", "--code", "MEMBER_BLOCKED", "--json") == []
    assert run("refusals", "--since", "2040-01-01T00:00Z", "--json") == []
    assert "INSUFFICIENT_POINTS" in run("refusals")


def test_the_register_comes_in_pages(coalition: Coalition, run: Any) -> None:
    for number in range(1, 4):
        register(coalition.database, [(Attempt(posting="redeem", points=number), MemberUnknown())])
    first, second, last = run("refusals", "--json")
    told = run("refusals", "--most", "2")
    assert f"There are more: --after {second['refusal']}" in told
    assert run("refusals", "--most", "2", "--json") == [first, second]
    assert run("refusals", "--after", second["refusal"], "--json") == [last]
    assert "more" not in run("refusals", "--after", second["refusal"])
    run("refusals", "--after", "nonsense", code=2)
