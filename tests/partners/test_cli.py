"""The operator's commands, as they are typed."""

from typing import Any

import pytest
from operating import TODAY, Coalition
from terminal import Terminal

from partners.tokens import Tokens


@pytest.fixture
def terminal(test_database: Any) -> Terminal:
    return Terminal(test_database.environment)


@pytest.mark.usefixtures("coalition")
def test_a_partner_is_admitted_suspended_and_let_go(terminal: Terminal) -> None:
    made = terminal.data("partner", "create", "grocer", "--name", "Green Grocer")
    assert (made["code"], made["state"], made["mayIssue"]) == ("grocer", "active", True)

    assert terminal.data("partner", "suspend", "grocer")["state"] == "suspended"
    assert terminal.data("partner", "activate", "grocer")["state"] == "active"
    assert terminal.data("partner", "leave", "grocer")["state"] == "leaving"
    assert "PARTNER_NOT_ACTIVE" in terminal("partner", "activate", "grocer", exit_code=1).stderr
    assert terminal.data("partner", "leave", "grocer", "--finally")["state"] == "left"
    assert [partner["code"] for partner in terminal.data("partner", "list")] == ["grocer"]
    assert "Green Grocer" in terminal("partner", "show", "grocer").stdout


def test_terms_are_published_with_a_warning_where_they_lose(coalition: Coalition, terminal: Terminal) -> None:
    coalition.partner("grocer")
    coalition.partner("fuel")
    terminal("partner", "agreement", "publish", "grocer", "--reimbursement", "0.0095", "--earn-points", "2")

    told = terminal.data(
        "partner", "agreement", "publish", "fuel", "--reimbursement", "0.0100", "--paid-up-front", "0.6"
    )

    assert (told["funding"], told["redemptionCharge"]) == ("0.006000", "0.004000")
    assert told["validFrom"] == TODAY.isoformat()
    assert told["warnings"] == ["points of grocer redeemed at fuel lose the network 0.000500 each"]
    [listed] = terminal.data("partner", "agreement", "list", "grocer")
    assert listed["earns"] == "2.000000 per 1.0000, rounded down"
    assert "0.009500" in terminal("partner", "agreement", "list", "grocer").stdout


def test_wrong_terms_are_told_apart(coalition: Coalition, terminal: Terminal) -> None:
    coalition.partner("grocer")
    publish = ("partner", "agreement", "publish", "grocer", "--reimbursement")

    assert "AGREEMENT_BACKDATED" in terminal(*publish, "0.01", "--from", "2026-03-01", exit_code=1).stderr
    assert "INVALID_INPUT" in terminal(*publish, "0.0000001", exit_code=1).stderr
    assert "no decimal" in terminal(*publish, "0,01", exit_code=2).stderr
    assert "Give" in terminal(*publish, "1", "--paid-up-front", "1", "--funding", "1", exit_code=2).stderr
    assert coalition.rows("SELECT count(*) FROM partners.agreement") == [(0,)]


def test_a_plan_names_parties_by_code(coalition: Coalition, terminal: Terminal) -> None:
    coalition.partner("grocer")

    terminal("partner", "plan", "publish", "spring", "grocer=500000", "network=500000")

    [listed] = terminal.data("partner", "plan", "list")
    assert listed["parts"] == {"grocer": 500_000, "network": 500_000}
    publish = ("partner", "plan", "publish", "other")
    assert "FUNDING_PLAN_INVALID" in terminal(*publish, "grocer=1", exit_code=1).stderr
    assert "PARTNER_UNKNOWN" in terminal(*publish, "nobody=1000000", exit_code=1).stderr
    assert "twice" in terminal(*publish, "grocer=1", "grocer=2", exit_code=2).stderr
    assert "PARTY=PPM" in terminal(*publish, "grocer", exit_code=2).stderr


def test_a_client_fetches_a_token_that_the_server_believes(coalition: Coalition, terminal: Terminal) -> None:
    partner = coalition.partner("grocer")
    made = terminal.data("client", "create", "Tills", "--partner", "grocer")
    secret = {"COALITION_CLIENT_SECRET": made["secret"]}
    server = Tokens(coalition.database, issuer="http://127.0.0.1:8000", audience="coalition")

    token = terminal("client", "token", made["clientId"], "--scope", "points:issue", **secret).stdout.strip()

    assert server.verify(token).partner_id == partner.partner_id
    assert server.verify(token).scopes == {"points:issue"}
    refused = terminal("client", "token", made["clientId"], exit_code=1, COALITION_CLIENT_SECRET="x")
    assert "CLIENT_REJECTED" in refused.stderr
    terminal("client", "token", made["clientId"], "--scope", "programme:admin", exit_code=1, **secret)


@pytest.mark.usefixtures("coalition")
def test_a_secret_is_shown_once_and_a_client_revoked_for_good(terminal: Terminal) -> None:
    made = terminal.data("client", "create", "Operations", "--scope", "programme:admin")
    client_id = made["clientId"]
    rotated = terminal.data("client", "rotate", client_id)

    assert rotated["secret"] != made["secret"]
    listing = terminal("client", "list", "--json").stdout
    assert made["secret"] not in listing
    assert rotated["secret"] not in listing
    terminal("client", "revoke", client_id)
    assert "CLIENT_UNKNOWN" in terminal("client", "rotate", client_id, exit_code=1).stderr
    assert terminal.data("client", "list")[0]["state"] == "revoked"
    old = terminal("client", "token", client_id, exit_code=1, COALITION_CLIENT_SECRET=rotated["secret"])
    assert "CLIENT_REJECTED" in old.stderr


def test_whose_client_it_is_is_told_each_time(coalition: Coalition, terminal: Terminal) -> None:
    coalition.partner("grocer")
    for partner in (("--partner", "grocer"), ("--scope", "programme:admin")):
        made = terminal.data("client", "create", "Tills", *partner)
        code = partner[1] if partner[0] == "--partner" else None
        for command in ("rotate", "revoke"):
            assert terminal.data("client", command, made["clientId"])["partner"] == made["partner"] == code


def test_scopes_go_to_those_who_may_hold_them(coalition: Coalition, terminal: Terminal) -> None:
    coalition.partner("grocer")

    terminal("client", "create", "x", "--partner", "grocer", "--scope", "programme:admin", exit_code=1)
    terminal("client", "create", "x", "--scope", "points:issue", exit_code=1)
    terminal("client", "create", "x", "--scope", "member:self", exit_code=1)
    terminal("client", "create", "x", "--scope", "everything", exit_code=1)
    assert "programme:admin" in terminal("client", "create", "x", exit_code=2).stderr
    assert coalition.rows("SELECT count(*) FROM partners.oauth_client") == [(0,)]


def test_a_members_token_is_minted_by_id_or_identifier(coalition: Coalition, terminal: Terminal) -> None:
    enrolled = terminal.data("member", "enrol", "card:4006381333931")
    server = Tokens(coalition.database, issuer="http://127.0.0.1:8000", audience="coalition")

    for who in (enrolled["member"], "card:4006 3813 33931"):
        token = terminal("client", "member-token", who).stdout.strip()
        assert str(server.verify(token).member_id) == enrolled["member"]
    assert "MEMBER_UNKNOWN" in terminal("client", "member-token", "card:0000", exit_code=1).stderr
    unknown = "00000000-0000-4000-8000-000000000000"
    assert "MEMBER_UNKNOWN" in terminal("client", "member-token", unknown, exit_code=1).stderr
    terminal("client", "member-token", "somebody", exit_code=2)
    terminal("client", "member-token", enrolled["member"], "--minutes", "61", exit_code=2)


def test_keys_are_rotated(coalition: Coalition, terminal: Terminal) -> None:
    first = terminal.data("client", "rotate-keys")["currentKey"]

    assert terminal.data("client", "rotate-keys")["currentKey"] != first
    assert coalition.rows("SELECT state, count(*) FROM partners.signing_key GROUP BY 1 ORDER BY 1") == [
        ("current", 1),
        ("next", 1),
        ("retired", 2),
    ]
