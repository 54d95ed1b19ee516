"""A partner fetches the proof of its own transaction, and the root that it keeps."""

import base64
import json
import subprocess
import sys
from datetime import UTC, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from api_driver import Api
from click.testing import CliRunner

import coalition
from coalition import windows
from coalition.cli import cli
from coalition.ids import MemberId
from coalition.proving import VERIFIER
from schema import graph
from schema.ids import member_in, transaction_id

PROOF = "query ($by: TransactionBy!) { transaction(by: $by) { proof { root leafIndex treeSize document } } }"
NODE = "query ($id: ID!) { node(id: $id) { ... on Transaction { proof { root } } } }"
ROOTS = "{ settlementWindows { nodes { businessDate transactions merkleRoot } } }"


LEGS = "query ($id: ID!) { node(id: $id) { ... on Transaction { entries { lot bucket points } proof { document } } } }"


def _seal(api: Api) -> None:
    with api.coalition.database.unit_of_work() as session:
        date = windows.open_window(session).business_date
        windows.close_window(session, business_date=date, patience=timedelta(seconds=5))
        windows.seal_window(session, business_date=date)


def test_a_transaction_is_proved_to_its_partner_and_member_and_to_nobody_else(
    api: Api, tmp_path: Path
) -> None:
    grocer, fuel = api.coalition.trading("grocer"), api.coalition.trading("fuel")
    member = api.enrolled(grocer)
    till, pump = api.client_of(grocer), api.client_of(fuel)
    issued = till.issue(member, points=50)["transaction"]["id"]
    pump.redeem(member, points=20)
    assert till.ask(PROOF, by={"id": issued}) == {"transaction": {"proof": None}}
    assert [one["merkleRoot"] for one in till.ask(ROOTS)["settlementWindows"]["nodes"]] == [None]

    _seal(api)
    [_, window] = till.ask(ROOTS)["settlementWindows"]["nodes"]
    proof = till.ask(PROOF, by={"id": issued})["transaction"]["proof"]
    assert (proof["root"], proof["treeSize"], window["transactions"]) == (window["merkleRoot"], 2, 2)
    file = tmp_path / "proof.json"
    file.write_text(proof["document"], encoding="utf-8")
    # As anyone has it from the server, without a token.
    script = tmp_path / "verify_proof.py"
    script.write_bytes(api.http.get("/verify_proof.py").raise_for_status().content)
    check = [sys.executable, "-I", str(script), str(file), "--root", window["merkleRoot"]]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0

    owner = member_in(member)
    assert owner is not None
    assert api.member(owner).ask(NODE, id=issued)["node"]["proof"]["root"] == window["merkleRoot"]
    # Another's transaction and one that does not exist are the same answer.
    nowhere = transaction_id(api.coalition.issue(api.coalition.member(of=grocer), grocer, points=1).ref)
    unknown = str(nowhere)[:-4] + "AAAA"
    assert pump.ask(NODE, id=issued) == pump.ask(NODE, id=unknown) == {"node": None}
    stranger: MemberId = api.coalition.member(of=grocer)
    assert api.member(stranger).ask(NODE, id=issued) == {"node": None}


@pytest.mark.parametrize("amount", ["50", "0.01"], ids=["points", "too little for a point"])
def test_from_its_proof_a_partner_cannot_guess_what_the_member_has_elsewhere(api: Api, amount: str) -> None:
    """The partner tries all balances, with all that it was told, and the moment of writing for nothing."""
    grocer = api.coalition.trading("grocer", expiry_months=None)
    fuel = api.coalition.trading("fuel", maturity_days=30)
    member = api.enrolled(grocer)
    api.client_of(fuel).issue(member, points=7)
    till = api.client_of(grocer)
    issued = till.issue(member, amount=amount)["transaction"]["id"]
    _seal(api)
    told = till.ask(LEGS, id=issued)["node"]
    proof = json.loads(told["proof"]["document"])
    knows = json.loads(proof["public"])
    [(inserted_at,)] = api.coalition.rows(
        "SELECT inserted_at FROM ledger.transaction WHERE amount IS NOT NULL"
    )
    written = inserted_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lines = []
    for nth, leg in enumerate(told["entries"], start=1):
        kind, _, lot = base64.urlsafe_b64decode(leg["lot"] + "==").decode().partition(":")
        assert kind == "Lot"
        lot = str(UUID(lot))
        parts = (nth, leg["bucket"].lower(), leg["points"], lot, knows["partner"], knows["agreement"])
        lines.append("|".join(map(str, parts)))
        if leg["bucket"] == "ISSUED":
            lines.append(f"lot|{knows['recorded_at']}|{knows['sequence']}|0||||")
    lines.append(f"inserted|{written}")
    tried = ["\n".join([*lines, f"after|{knows['points']}|{pending}|0|0"]) for pending in range(10)]
    assert proof["privateDigest"] not in {sha256(one.encode()).hexdigest() for one in tried}


def test_the_script_that_checks_proofs_is_one_wherever_it_is_had(api: Api) -> None:
    served = api.http.get("/verify_proof.py")
    printed = CliRunner().invoke(cli, ["proof", "--script"])

    assert (served.status_code, served.headers["content-type"]) == (200, "text/x-python; charset=utf-8")
    assert served.content == printed.stdout_bytes == VERIFIER.read_bytes()
    # It travels with the package.
    assert VERIFIER.parent.samefile(Path(coalition.__file__).parent)
    assert "/verify_proof.py" in (graph.build().as_str())
