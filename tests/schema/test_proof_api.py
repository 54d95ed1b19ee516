"""A partner fetches the proof of its own transaction, and the root that it keeps."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from api_driver import Api

from coalition import windows
from coalition.ids import MemberId
from schema.ids import member_in, transaction_id

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "verify_proof.py"
PROOF = "query ($by: TransactionBy!) { transaction(by: $by) { proof { root leafIndex treeSize document } } }"
NODE = "query ($id: ID!) { node(id: $id) { ... on Transaction { proof { root } } } }"
ROOTS = "{ settlementWindows { nodes { businessDate transactions merkleRoot } } }"


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
    check = [sys.executable, "-I", str(SCRIPT), str(file), "--root", window["merkleRoot"]]
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
