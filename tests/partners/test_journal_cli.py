"""The journal, as the operator reads it."""

import base64
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from operating import Coalition
from terminal import Terminal

from coalition.amounts import Points
from coalition.db import Database
from coalition.ids import MemberId
from coalition.programme import OpenProgramme, open_programme
from coalition.receipts import Receipt
from partners.cli import journal
from partners.directory import Partner
from partners.funding import PublishFundingPlan, publish_funding_plan

RECEIPT = Receipt(store="berlin-1", terminal="t4", number="815")


@pytest.fixture
def terminal(test_database: Any) -> Terminal:
    return Terminal(test_database.environment)


@pytest.fixture
def grocer(coalition: Coalition) -> Partner:
    return coalition.trading("grocer")


@pytest.fixture
def member(coalition: Coalition, grocer: Partner) -> MemberId:
    """Three issues and two redemptions, the last at another partner and on another day."""
    fuel = coalition.trading("fuel")
    member = coalition.member(of=grocer)
    for points in (100, 200, 300):
        coalition.issue(member, grocer, points=points, idempotency_key=f"i{points}")
    coalition.redeem(member, grocer, points=50, receipt=RECEIPT)
    coalition.pass_time(days=1)
    coalition.redeem(member, fuel, points=120)
    return member


def test_a_members_history_is_listed_newest_first_and_in_pages(member: MemberId, terminal: Terminal) -> None:
    listed = terminal.data("member", "history", str(member))
    assert [(one["kind"], one["points"], one["availableAfter"]) for one in listed] == [
        ("redeem", 120, 430),
        ("redeem", 50, 550),
        ("issue", 300, 600),
        ("issue", 200, 300),
        ("issue", 100, 100),
    ]
    assert [one["sequence"] for one in listed] == [5, 4, 3, 2, 1]
    first = terminal.data("member", "history", str(member), "--most", "2")
    rest = terminal.data("member", "history", str(member), "--after", first[-1]["transaction"])
    assert first + rest == listed
    cut = terminal("member", "history", str(member), "--most", "2")
    assert f"--after {listed[1]['transaction']}" in cut.stderr
    assert "berlin-1/t4/815/1" in cut.stdout
    assert "There are more" not in terminal("member", "history", str(member)).stderr


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("--partner", "fuel"), [120]),
        (("--kind", "redeem"), [120, 50]),
        (("--kind", "redeem", "--kind", "issue", "--most", "3"), [120, 50, 300]),
        (("--store", "berlin-1"), [50]),
        (("--until", "2026-03-02"), [50, 300, 200, 100]),
        (("--since", "2026-03-03"), [120]),
        (("--window", "2026-03-03"), []),
        (("--partner", "network"), []),
    ],
)
def test_the_lists_are_narrowed_as_the_apis_is(
    filters: tuple[str, ...], found: list[int], member: MemberId, terminal: Terminal
) -> None:
    for listing in (("member", "history", str(member)), ("transaction", "list", "--member", str(member))):
        assert [one["points"] for one in terminal.data(*listing, *filters)] == found


def test_all_members_transactions_are_listed_together(
    coalition: Coalition, member: MemberId, grocer: Partner, terminal: Terminal
) -> None:
    other = coalition.member(of=grocer)
    coalition.pass_time(hours=1)
    coalition.issue(other, grocer, points=7)
    listed = terminal.data("transaction", "list", "--most", "3")
    assert [one["member"] for one in listed] == [str(other), str(member), str(member)]
    rest = terminal.data("transaction", "list", "--after", listed[-1]["transaction"])
    assert [one["points"] for one in listed[:2]] == [7, 120]
    # Those of one moment stand in the order of their ids.
    assert sorted(one["points"] for one in listed[2:] + rest) == [50, 100, 200, 300]


def test_one_transaction_is_shown_with_all_that_it_moved(
    coalition: Coalition, grocer: Partner, terminal: Terminal, tmp_path: Path
) -> None:
    fuel = coalition.trading("fuel")
    with coalition.database.unit_of_work() as session:
        parts = {grocer.partner_id: 750_000, fuel.partner_id: 250_000}
        publish_funding_plan(
            session, PublishFundingPlan(code="shared", name="Shared", parts=parts, published_by="test")
        )
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=100, funding_plan="shared")
    coalition.issue(member, grocer, points=100)
    posting = coalition.redeem(member, fuel, points=150, receipt=RECEIPT)
    which = f"{member}/{posting.business_date}/{posting.transaction_id}"
    shown = terminal.data("transaction", "show", which)
    assert (shown["transaction"], shown["kind"], shown["points"], shown["partner"]) == (
        which,
        "redeem",
        150,
        "fuel",
    )
    assert shown["receipt"] == RECEIPT.as_request()
    assert sum(leg["points"] for leg in shown["entries"]) == 0
    burned = [leg for leg in shown["entries"] if leg["bucket"] == "burned"]
    assert [(leg["points"], leg["funders"]) for leg in burned] == [
        (100, {"fuel": 250_000, "grocer": 750_000}),
        (50, {"grocer": 1_000_000}),
    ]
    assert {leg["issuer"] for leg in burned} == {"grocer"}
    assert (burned[0]["serviceFee"], burned[0]["funding"], burned[0]["redemptionCharge"]) == (
        "0.0025",
        "0.0095",
        "0",
    )
    assert burned[0]["expires"].startswith("2028-03")
    assert shown["reimbursement"] == {"ofOthers": "0.0095", "ofItsOwn": "0.0095"}
    assert (shown["reversiblePoints"], shown["reversedBy"]) == (150, [])
    assert shown["chain"]["sequence"] == 3
    assert (len(shown["chain"]["digest"]), shown["chain"]["root"]) == (64, None)

    by_receipt = (
        "transaction",
        "show",
        "--partner",
        "fuel",
        "--receipt",
        "berlin-1",
        "t4",
        "815",
        "--redeemed",
    )
    assert terminal.data(*by_receipt) == shown
    of_api = base64.urlsafe_b64encode(f"Transaction:{which.replace('/', ':')}".encode()).decode().rstrip("=")
    assert terminal.data("transaction", "show", of_api) == shown
    told = terminal("transaction", "show", which).stdout
    for words in (
        "redeem of 150 points by fuel",
        "berlin-1/t4/815/1",
        "grocer 75%",
        "fuel 25%",
        "not sealed yet",
    ):
        assert words in told

    coalition.pass_time(days=1)
    terminal("settle", "--directory", str(tmp_path))
    sealed = terminal.data("transaction", "show", which)["chain"]
    assert sealed["leaves"] == 3
    assert sealed["leaf"] == 2
    assert sealed["root"] in terminal("transaction", "show", which).stdout


@pytest.mark.parametrize(
    ("zone", "issued", "last"),
    # 03:30 UTC of the third of March: still the second in New York.
    [("America/New_York", "2026-03-02", "2026-05-02"), ("Europe/Berlin", "2026-03-03", "2026-05-03")],
)
def test_days_are_the_programmes_and_that_of_expiry_is_the_last(
    database: Database, terminal: Terminal, zone: str, issued: str, last: str
) -> None:
    with database.unit_of_work() as session:
        opened = OpenProgramme(
            name="Test",
            mode="sandbox",
            consent_limit_points=Points(1_000),
            zone=zone,
            starts_at=datetime(2026, 3, 3, 3, 30, tzinfo=UTC),
        )
        open_programme(session, opened)
    coalition = Coalition(database)
    grocer = coalition.trading("grocer", valid_from=date.fromisoformat(issued), expiry_months=2)
    member = coalition.member(of=grocer)
    posting = coalition.issue(member, grocer, points=7)
    [lot] = terminal.data("member", "show", str(member))["lots"]
    assert (lot["issued"], lot["expires"]) == (issued, last)
    which = f"{member}/{posting.business_date}/{posting.transaction_id}"
    legs = journal.entry_lines(terminal.data("transaction", "show", which)["entries"], ZoneInfo(zone))
    assert {(leg["issued"], leg["expires"]) for leg in legs} == {(issued, last)}
    assert last[-5:] in terminal("transaction", "show", which).stdout


def test_what_is_not_there_is_said_to_be_unknown(member: MemberId, terminal: Terminal) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    nowhere = f"{member}/2026-03-02/{unknown}"
    assert "TRANSACTION_UNKNOWN" in terminal("transaction", "show", nowhere, exit_code=1).stderr
    lost = terminal("member", "history", str(member), "--after", nowhere, exit_code=1)
    assert "TRANSACTION_UNKNOWN" in lost.stderr
    of_grocer = ("transaction", "show", "--partner", "grocer", "--receipt", "berlin-1", "t4", "815")
    assert "TRANSACTION_UNKNOWN" in terminal(*of_grocer, exit_code=1).stderr  # the line was redeemed
    assert terminal.data(*of_grocer, "--redeemed")["points"] == 50
    assert "TRANSACTION_UNKNOWN" in terminal(*of_grocer, "--redeemed", "--line", "2", exit_code=1).stderr
    assert "PARTNER_UNKNOWN" in terminal("transaction", "list", "--partner", "nobody", exit_code=1).stderr
    assert "MEMBER_UNKNOWN" in terminal("member", "history", unknown, exit_code=1).stderr
    assert "is no transaction" in terminal("transaction", "show", "x", exit_code=2).stderr
    assert "--partner and --receipt" in terminal("transaction", "show", exit_code=2).stderr
    both = ("transaction", "show", nowhere, "--receipt", "a", "b", "c", "--partner", "grocer")
    assert "--partner and --receipt" in terminal(*both, exit_code=2).stderr
