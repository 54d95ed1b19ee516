"""Keys, exports and erasure, as the operator types them."""

import json
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from operating import Coalition
from terminal import Terminal

from coalition.config import get_settings
from coalition.vault.blinding import add_index_key

ADA = "email:ada@example.org"


@pytest.fixture
def terminal(test_database: Any, coalition: Coalition) -> Terminal:
    coalition.trading("grocer")
    return Terminal(test_database.environment)


def test_a_member_is_exported_and_then_erased(terminal: Terminal, tmp_path: Path) -> None:
    member = terminal.data("member", "enrol", ADA)["member"]
    file = tmp_path / "ada.json"
    terminal("member", "export", ADA, "--output", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["records"][0]["identifiers"][0]["value"] == "ada@example.org"
    assert json.loads(terminal("member", "export", ADA).stdout)["member_id"] == member
    terminal("member", "export", ADA, "--output", str(file), exit_code=2)
    nowhere = str(file.parent / "nowhere" / "ada.json")
    assert (
        "No such file or directory"
        in terminal("member", "export", ADA, "--output", nowhere, exit_code=1).stderr
    )

    assert "for good" in terminal("member", "erase", ADA, exit_code=1).output
    assert terminal.data("member", "show", ADA)["identifiers"] == [ADA]
    erased = terminal.data("member", "erase", ADA, "--yes")
    assert (erased["member"], erased["replayed"]) == (member, False)
    assert "MEMBER_UNKNOWN" in terminal("member", "show", ADA, exit_code=1).stderr
    assert "was erased before" in terminal("member", "erase", member, "--yes").stdout
    refused = terminal("member", "link", member, ADA, exit_code=1)
    assert "MEMBER_ERASED" in refused.stderr
    assert terminal.data("audit")["findings"] == []


def test_a_profile_is_shown_and_changed_on_the_members_behalf(
    terminal: Terminal, coalition: Coalition
) -> None:
    terminal("member", "enrol", ADA)
    assert set(terminal.data("member", "profile", ADA).values()) == {None}
    change = (
        "member",
        "profile",
        ADA,
        "--name",
        "Ada Lovelace",
        "--birth-date",
        "1990-12-10",
        "--locale",
        "en-GB",
    )
    assert terminal.data(*change)["name"] == "Ada Lovelace"
    changed = terminal.data("member", "profile", ADA, "--remove", "locale", "--phone", "+49 30 901820")
    assert changed == {
        "name": "Ada Lovelace",
        "email": None,
        "phone": "+4930901820",
        "birthDate": "1990-12-10",
        "address": None,
        "locale": None,
    }
    assert "birth date: 1990-12-10" in terminal("member", "profile", ADA).stdout
    sealed = coalition.rows("SELECT * FROM people.sealed")
    for words in (("--birth-date", "2990-01-01"), ("--email", "nonsense"), ("--name", "x" * 201)):
        refused = terminal("member", "profile", ADA, "--locale", "de-AT", *words, exit_code=1)
        assert "INVALID_INPUT" in refused.stderr
    both = terminal("member", "profile", ADA, "--name", "Ada", "--remove", "name", exit_code=2)
    assert "given and removed" in both.stderr
    assert "MEMBER_UNKNOWN" in terminal("member", "profile", "card:9999", "--name", "Ada", exit_code=1).stderr
    assert coalition.rows("SELECT * FROM people.sealed") == sealed


def kept(coalition: Coalition) -> list[tuple[Any, ...]]:
    """What is on record of the operator's doings: the key, what was done, to whom, and by whom."""
    return coalition.rows(
        "SELECT key, result ->> 'operation', result ->> 'member_id', result ->> 'by' FROM partners.operation"
        " WHERE caller = 'command line' ORDER BY key"
    )


def test_who_had_a_person_erased_is_on_record_and_a_key_is_for_one_erasure(
    terminal: Terminal, coalition: Coalition
) -> None:
    member = terminal.data("member", "enrol", ADA)["member"]
    wish = ("member", "erase", ADA, "--yes", "--key", "k")
    erased = terminal.data(*wish, "--by", "grace")
    assert (erased["member"], erased["records"], erased["replayed"]) == (member, [member], False)
    assert kept(coalition) == [("k", "erase", member, "grace")]
    assert coalition.rows("SELECT fingerprint FROM partners.operation") == [(None,)]
    # Nobody is known by the address any more, and the key still has its answer.
    assert terminal.data(*wish, "--by", "hedy") == erased | {"replayed": True}
    assert terminal.data("member", "show", member)["erasedAt"][:19] == erased["erasedAt"][:19]
    before = coalition.snapshot()
    adjust = ("member", "adjust", "--key", "k", "--reason", "fraud", member, "--", "-5")
    for other in (adjust, ("member", "profile", member, "--name", "Ada", "--key", "k")):
        assert "IDEMPOTENCY_CONFLICT" in terminal(*other, exit_code=1).stderr
    assert (coalition.snapshot(), len(kept(coalition))) == (before, 1)
    assert terminal.data("audit")["findings"] == []


def test_who_changed_a_profile_is_on_record_and_the_same_key_changes_it_once(
    terminal: Terminal, coalition: Coalition
) -> None:
    member = terminal.data("member", "enrol", ADA)["member"]
    wish = ("member", "profile", ADA, "--name", "Ada", "--key", "k")
    terminal(*wish, "--by", "grace")
    terminal("member", "profile", ADA, "--name", "Ada Lovelace", "--key", "l")
    assert terminal.data(*wish, "--by", "hedy")["name"] == "Ada Lovelace"
    assert kept(coalition) == [("k", "profile", member, "grace"), ("l", "profile", member, getuser())]
    other = ("member", "profile", ADA, "--name", "Eve", "--key", "k")
    assert "IDEMPOTENCY_CONFLICT" in terminal(*other, exit_code=1).stderr
    assert terminal.data("member", "profile", ADA)["name"] == "Ada Lovelace"
    terminal("member", "erase", ADA, "--yes")
    assert coalition.rows("SELECT fingerprint FROM partners.operation WHERE fingerprint IS NOT NULL") == []
    assert terminal.data("audit")["findings"] == []


def test_how_a_member_stands_is_shown_with_it(terminal: Terminal) -> None:
    ada = terminal.data("member", "enrol", ADA)["member"]
    ben = terminal.data("member", "enrol", "card:40063813")["member"]
    cleo = terminal.data("member", "enrol", "card:40063814")["member"]
    pool = terminal.data("pool", "open", ADA, "Home")["pool"]
    terminal("pool", "invite", ADA, cleo)
    terminal("member", "merge", ADA, ben)
    shown = terminal.data("member", "show", ADA)
    standing = ("mergedInto", "mergedFrom", "pool", "poolInvitations", "erasedAt")
    assert [shown[name] for name in standing] == [None, [ben], pool, [], None]
    assert terminal.data("member", "show", ben)["mergedInto"] == ada
    assert terminal.data("member", "show", cleo)["poolInvitations"] == [pool]
    assert f"in the pool {pool}" in terminal("member", "show", ADA).stdout
    terminal("member", "erase", cleo, "--yes")
    assert terminal.data("member", "show", cleo)["erasedAt"] is not None


def test_a_member_with_points_is_not_erased(terminal: Terminal) -> None:
    terminal("member", "enrol", ADA)
    terminal("member", "adjust", ADA, "900", "--reason", "migration", "--issuer", "grocer")
    assert "MEMBER_HAS_POINTS" in terminal("member", "erase", ADA, "--yes", exit_code=1).stderr
    assert "coalition transaction reverse" in terminal("member", "erase", "--help").stdout


def test_a_key_is_made_shown_by_its_id_and_replaced(terminal: Terminal) -> None:
    terminal("member", "enrol", ADA)
    settings = get_settings().vault_keys
    assert settings is not None
    old, new = settings.get_secret_value(), terminal("vault", "key").stdout.strip()
    status = terminal.data("vault", "status")
    [before] = status["keys"]
    assert (before["wraps"], before["current"], before["inSettings"]) == (2, True, True)
    assert status["indexRotation"] is None

    both = {"COALITION_VAULT_KEYS": f"{new},{old}"}
    for environment, done in ((both, 2), (both, 0)):
        get_settings.cache_clear()
        assert terminal.data("vault", "rotate", **environment)["rewrapped"] == done
    get_settings.cache_clear()
    assert [row["wraps"] for row in terminal.data("vault", "status", **both)["keys"]] == [2, 0]
    get_settings.cache_clear()
    shown = terminal("member", "show", ADA, COALITION_VAULT_KEYS=new)
    assert ADA in shown.stdout
    get_settings.cache_clear()
    wrong = terminal("member", "show", ADA, exit_code=2)
    assert "COALITION_VAULT_KEYS" in wrong.stderr
    assert old not in wrong.output


def test_the_key_of_the_index_is_replaced(terminal: Terminal, coalition: Coalition) -> None:
    assert terminal.data("vault", "rotate-index") == {"respelt": 0}
    terminal("member", "enrol", ADA, "phone:+4930901820", "card:1234")
    assert terminal.data("vault", "rotate-index") == {"respelt": 2}
    assert "being replaced" not in terminal("vault", "status").stdout
    with coalition.database.unit_of_work() as session:
        add_index_key(session, generation=3)  # as a run that was killed at once leaves it
    assert "2 identifiers are left" in terminal("vault", "status").stdout
    assert terminal.data("vault", "status")["indexRotation"] == {"left": 2}
    assert "2 identifiers are spelt by a new key" in terminal("vault", "rotate-index").stdout
    assert "being replaced" not in terminal("vault", "status").stdout
    assert ADA in terminal("member", "show", "phone:+4930901820").stdout
    assert terminal.data("audit")["findings"] == []


def test_a_production_programme_without_a_key_is_not_served(test_database: Any, tmp_path: Path) -> None:
    """What may not be found out with the first phone number."""
    terminal = Terminal(test_database.environment)
    terminal("programme", "open", "Rivers", "--mode", "production")
    without = {"COALITION_VAULT_KEYS": "", "COALITION_DATA_DIR": str(tmp_path)}
    get_settings.cache_clear()
    assert "COALITION_VAULT_KEYS" in terminal("serve", "--port", "0", exit_code=2, **without).stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_typed_wrongly_is_not_repeated(terminal: Terminal) -> None:
    for words in (("member", "show", "ada@example.org"), ("member", "enrol", "mail:ada@example.org")):
        assert "ada@example.org" not in terminal(*words, exit_code=2).output


def test_whose_points_a_member_has_is_shown_by_the_partners_code(terminal: Terminal) -> None:
    terminal("member", "enrol", ADA)
    terminal("member", "adjust", ADA, "7", "--reason", "goodwill", "--issuer", "grocer")
    assert [lot["issuer"] for lot in terminal.data("member", "show", ADA)["lots"]] == ["grocer"]
    assert "grocer" in terminal("member", "show", ADA).stdout
