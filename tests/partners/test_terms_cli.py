"""Terms, rules and limits at the command line: what an operator types is what holds."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from operating import Coalition
from terminal import Terminal

PUBLISH = ("partner", "agreement", "publish", "grocer", "--reimbursement", "0.0095")


@pytest.fixture
def terminal(test_database: Any) -> Terminal:
    return Terminal(test_database.environment)


def test_all_terms_of_an_agreement_are_as_they_were_typed(coalition: Coalition, terminal: Terminal) -> None:
    coalition.partner("grocer")
    given = {
        "--own-reimbursement": ("0.008", "ownReimbursement", "0.008000"),
        "--service-fee": ("0.0025", "serviceFee", "0.002500"),
        "--funding": ("0.003", "funding", "0.003000"),
        "--redemption-charge": ("0.0065", "redemptionCharge", "0.006500"),
        "--breakage-share": ("0.25", "breakageShare", "0.250000"),
        "--maturity-days": ("14", "maturityDays", 14),
        "--grace-days": ("7", "graceDays", 7),
        "--return-policy": ("unlimited", "returnPolicy", "unlimited"),
    }
    typed = [word for option, (value, _, _) in given.items() for word in (option, value)]
    earns = ("--earn-points", "3", "--earn-amount", "2", "--earn-rounding", "half_even")
    made = terminal.data(*PUBLISH, *typed, *earns, "--from", "2026-04-01")
    assert {name: made[name] for _, name, _ in given.values()} == {
        name: stored for _, name, stored in given.values()
    }
    assert made["earns"] == "3.000000 per 2.0000, rounded half_even"
    assert made["validFrom"] == "2026-04-01"
    assert [made | {"warnings": None}] == [
        listed | {"warnings": None} for listed in terminal.data("partner", "agreement", "list", "grocer")
    ]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ((), ("term", 24, None, None, None)),
        (("--expiry-months", "12"), ("term", 12, None, None, None)),
        (("--expiry-months", "0"), ("term", None, None, None, None)),
        (("--expiry-rule", "end_of_month", "--expiry-months", "1"), ("end_of_month", 1, None, None, None)),
        (("--expiry-rule", "end_of_quarter"), ("end_of_quarter", 24, None, None, None)),
        (("--expiry-rule", "end_of_year", "--expiry-months", "0"), ("end_of_year", 0, None, None, None)),
        (
            ("--expiry-rule", "fixed_date", "--expiry-date", "2027-01-31"),
            ("fixed_date", None, "2027-01-31", None, None),
        ),
        (("--expiry-rule", "inactivity"), ("inactivity", 24, None, "any", "anywhere")),
        (
            ("--expiry-rule", "inactivity", "--activity", "redeem", "--activity-where", "at_issuer"),
            ("inactivity", 24, None, "redeem", "at_issuer"),
        ),
    ],
)
def test_each_rule_of_expiry_is_typed_and_told(
    coalition: Coalition, terminal: Terminal, typed: tuple[str, ...], stored: tuple[Any, ...]
) -> None:
    coalition.partner("grocer")
    made = terminal.data(*PUBLISH, *typed)
    names = ("expiryRule", "expiryMonths", "expiryDate", "activity", "activityWhere")
    assert tuple(made[name] for name in names) == stored


def test_rules_of_expiry_that_contradict_are_refused_and_nothing_is_published(
    coalition: Coalition, terminal: Terminal
) -> None:
    coalition.partner("grocer")
    for typed in (
        ("--expiry-rule", "fixed_date"),
        ("--expiry-date", "2027-01-31"),
        ("--activity", "redeem"),
    ):
        with coalition.nothing_moves():
            assert "INVALID_INPUT" in terminal(*PUBLISH, *typed, exit_code=1).stderr


@pytest.mark.usefixtures("coalition")
def test_a_partner_begins_in_the_roles_that_were_typed(terminal: Terminal) -> None:
    made = terminal.data("partner", "create", "fuel", "--no-issues", "--onboarding")
    assert (made["state"], made["mayIssue"], made["mayRedeem"]) == ("onboarding", False, True)
    assert terminal.data("partner", "create", "bank", "--no-redeems")["mayRedeem"] is False


@pytest.mark.usefixtures("coalition")
def test_each_limit_of_the_programme_is_set_and_what_is_not_named_stays(terminal: Terminal) -> None:
    shown = terminal.data("programme", "show")
    for option, name in (
        ("--consent-limit", "consentLimitPoints"),
        ("--hold-time", "holdSeconds"),
        ("--longest-hold", "longestHoldSeconds"),
        ("--late-days", "lateDays"),
        ("--transfer-limit", "transferLimitPoints"),
        ("--adjustment-limit", "adjustmentLimitPoints"),
        ("--voucher-limit", "voucherLimitPoints"),
        ("--voucher-time", "voucherSeconds"),
        ("--voucher-grace", "voucherGraceSeconds"),
    ):
        shown[name] += 1
        assert terminal.data("programme", "set", option, str(shown[name])) == shown
    assert terminal.data("programme", "show") == shown
    assert "Name at least one" in terminal("programme", "set", exit_code=2).stderr


@pytest.mark.usefixtures("coalition")
def test_a_sandboxs_clock_is_set_forward_and_never_back(terminal: Terminal) -> None:
    moved = terminal.data("programme", "clock", "2026-03-05T10:00:00")
    assert moved["clock"].startswith("2026-03-05T10:00:00")
    assert "CLOCK_REFUSED" in terminal("programme", "clock", "2026-03-04", exit_code=1).stderr
    assert terminal.data("programme", "show") == moved


def test_a_pools_rules_are_as_they_were_typed(coalition: Coalition, terminal: Terminal) -> None:
    member = str(coalition.member(of=coalition.trading()))
    typed = ("--spenders", "head", "--limit", "50", "--soonest-first", "--most", "3")
    made = terminal.data("pool", "open", member, "Home", *typed)
    assert (made["spenders"], made["spenderLimitPoints"], made["ownFirst"], made["mostMembers"]) == (
        "head",
        50,
        False,
        3,
    )
    assert terminal.data("pool", "show", made["pool"]) == made


def test_a_plan_may_pay_for_an_adjustment(coalition: Coalition, terminal: Terminal) -> None:
    member = str(coalition.member(of=coalition.trading()))
    terminal("partner", "plan", "publish", "spring", "grocer=500000", "network=500000")
    given = ("member", "adjust", member, "50", "--reason", "goodwill", "--issuer", "grocer", "--plan")
    with coalition.nothing_moves():
        assert "FUNDING_PLAN_UNKNOWN" in terminal(*given, "autumn", exit_code=1).stderr
    assert terminal.data(*given, "spring")["state"] == "posted"
    assert coalition.rows(
        "SELECT code FROM ledger.lot JOIN partners.funding_plan USING (funding_plan_id)"
    ) == [("spring",)]


def test_a_store_that_was_closed_is_told_so(coalition: Coalition, terminal: Terminal) -> None:
    coalition.partner("grocer")
    terminal(
        "partner", "store", "publish", "grocer", "old=Old", "--since", "2025-01-01", "--closed", "2026-01-31"
    )
    [listed] = terminal.data("partner", "store", "list", "grocer")
    assert (listed["code"], listed["since"], listed["closed"]) == ("old", "2025-01-01", "2026-01-31")


def test_rejects_go_to_the_file_that_was_named(
    coalition: Coalition, terminal: Terminal, tmp_path: Path
) -> None:
    coalition.trading()
    file, rejects = tmp_path / "till.jsonl", tmp_path / "not posted.csv"
    file.write_text(
        f'{{"key": "k", "kind": "issue", "member": "{uuid4()}", "points": 5}}\n', encoding="utf-8"
    )
    terminal("import", str(file), "--partner", "grocer", "--rejects", str(rejects), exit_code=1)
    assert rejects.read_text(encoding="utf-8").count("\n") == 2
    assert not file.with_name("till.jsonl.rejects.csv").exists()


def test_the_forecast_looks_as_far_as_was_asked(coalition: Coalition, terminal: Terminal) -> None:
    grocer = coalition.trading(expiry_months=5)
    coalition.issue(coalition.member(of=grocer), grocer, points=100)
    asked = ("report", "expiry-forecast", "--format", "csv", "--months")
    assert "2026-08,100" in terminal(*asked, "6").stdout
    assert "2026-08" not in terminal(*asked, "5").stdout


@pytest.mark.usefixtures("coalition")
def test_the_audit_runs_so_many_checks_at_once_as_was_asked(terminal: Terminal) -> None:
    for jobs in ("1", "4"):
        told = terminal.data("audit", "--jobs", jobs, "--per-check", "1", "--chain")
        assert told["findings"] == []
