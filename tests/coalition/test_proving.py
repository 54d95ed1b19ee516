"""A transaction of a sealed window is proved to be in it, by what we ship and to whoever distrusts us."""

import json
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
from driver import LedgerDriver, receipt
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from coalition import merkle
from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.errors import TransactionUnknown
from coalition.ledger import Posting, TransactionRef
from coalition.proving import VERIFIER, InclusionProof, prove_inclusion

verify_proof: Any = SimpleNamespace(**run_path(str(VERIFIER)))


def verify(folder: Path, document: str, root: str) -> tuple[int, str]:
    file = folder / "proof.json"
    file.write_text(document, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", VERIFIER, file, "--root", root], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def proved(ledger: LedgerDriver, posting: Posting) -> InclusionProof:
    with ledger.database.reading() as session:
        proof = prove_inclusion(session, posting.ref)
    assert proof is not None
    return proof


def published(ledger: LedgerDriver, posting: Posting) -> str:
    [(root,)] = ledger.rows(
        "SELECT encode(merkle_root, 'hex') FROM ledger.settlement_window WHERE business_date = :date",
        date=posting.ref.business_date,
    )
    return str(root)


@given(size=st.integers(1, 70), chosen=st.data())
def test_every_leafs_path_leads_to_the_root_of_the_rfc(size: int, chosen: Any) -> None:
    """Against the definitions of RFC 9162, 2.1.1, written down once more."""
    entries = [bytes([n]) for n in range(size)]

    def mth(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return sha256(b"\x00" + part[0]).digest()
        k = max(2**i for i in range(8) if 2**i < len(part))
        return sha256(b"\x01" + mth(part[:k]) + mth(part[k:])).digest()

    leaves = [merkle.leaf_hash(entry) for entry in entries]
    assert merkle.root_of(leaves) == mth(entries)
    index = chosen.draw(st.integers(0, size - 1))
    here, place, last = leaves[index], index, size - 1
    for beside in merkle.path_of(index, leaves):
        if place % 2 or place == last:
            here = merkle.node_hash(beside, here)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            here = merkle.node_hash(here, beside)
        place, last = place // 2, last // 2
    assert (here, last) == (mth(entries), 0)


def test_a_partner_checks_the_proof_with_the_script_alone(ledger: LedgerDriver, tmp_path: Path) -> None:
    members = [ledger.member(available=100) for _ in range(3)]
    spent = ledger.redeem(members[1], 30, receipt=receipt("R-7"))
    ledger.close_window()
    proof = proved(ledger, spent)

    code, told = verify(tmp_path, proof.document(), published(ledger, spent))
    assert (code, "Proved" in told, '"receipt":"R-7"' in told.replace(" ", "")) == (0, True, True)
    # It says nothing of whose points were spent.
    assert str(ledger.rows("SELECT lot_id FROM ledger.lot LIMIT 1")[0][0]) not in proof.document()
    # Not against another root.
    assert verify(tmp_path, proof.document(), "00" * 32)[0] == 1


def test_a_proof_with_anything_changed_proves_nothing(ledger: LedgerDriver, tmp_path: Path) -> None:
    for _ in range(4):
        spent = ledger.redeem(ledger.member(available=100), 30)
    ledger.close_window()
    proof, root = json.loads(proved(ledger, spent).document()), published(ledger, spent)
    assert verify_proof.root_from(proof) == root

    def leads_elsewhere(changed: dict[str, Any]) -> bool:
        try:
            return str(verify_proof.root_from(changed)) != root
        except (verify_proof.FailsError, verify_proof.NoProofError, ValueError):
            return True

    for name in ("public", "privateDigest", "digestBefore"):
        for place in range(len(proof[name])):
            instead = "0" if proof[name][place] != "0" else "1"
            changed = proof[name][:place] + instead + proof[name][place + 1 :]
            assert leads_elsewhere({**proof, name: changed}), (name, place)
    for nth, beside in enumerate(proof["path"]):
        flipped = f"{int(beside, 16) ^ 1:064x}"
        assert leads_elsewhere({**proof, "path": [*proof["path"][:nth], flipped, *proof["path"][nth + 1 :]]})
    assert leads_elsewhere({**proof, "path": proof["path"][:-1]})
    assert leads_elsewhere({**proof, "path": [*proof["path"], "00" * 32]})
    assert leads_elsewhere({**proof, "leafIndex": proof["leafIndex"] + 1})
    assert leads_elsewhere({**proof, "leafIndex": -1})
    # What the proof says of itself, and what was not hashed, does not change what is told to be proved.
    code, told = verify(tmp_path, json.dumps({**proof, "window": "2026-03-09"}), root)
    assert (code, "Proved" in told) == (1, False)
    for broken in ("", "[]", "{}", "[" * 200_000, '{"format": "coalition-proof-1"}'):
        assert verify(tmp_path, broken, root)[0] == 2


def test_a_console_that_cannot_show_the_store_makes_no_proof_fail(
    ledger: LedgerDriver, tmp_path: Path
) -> None:
    posting = ledger.issue(ledger.member(), 30, receipt=receipt("1", store="Łódź"))
    ledger.close_window()
    file = tmp_path / "proof.json"
    file.write_text(proved(ledger, posting).document(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, VERIFIER, file, "--root", published(ledger, posting)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, "\\u0141" in done.stdout) == (0, True), done.stderr


def test_what_is_told_to_be_proved_is_no_more_than_that(ledger: LedgerDriver, tmp_path: Path) -> None:
    for _ in range(3):
        posting = ledger.issue(ledger.member(), 30)
    ledger.close_window()
    last = max(ledger.rows("SELECT member_id, business_date, transaction_id FROM ledger.transaction"))
    with ledger.database.reading() as session:
        proof = prove_inclusion(
            session, TransactionRef(member_id=last[0], business_date=last[1], transaction_id=last[2])
        )
    assert proof is not None
    assert (proof.leaf_index, proof.tree_size) == (2, 3)
    # The path of the third of three is that of the second of two: RFC 9162 takes the size from elsewhere.
    claimed = {**json.loads(proof.document()), "leafIndex": 1, "treeSize": 2}
    code, told = verify(tmp_path, json.dumps(claimed), published(ledger, posting))
    assert code == 0
    assert told.splitlines() == [
        f"Proved: in the window of {posting.business_date} is this transaction.",
        proof.public_text,
    ]


def test_an_open_window_has_no_proofs_and_an_unknown_transaction_none_at_all(ledger: LedgerDriver) -> None:
    posting = ledger.issue(ledger.member(), 5)
    with ledger.database.reading() as session:
        assert prove_inclusion(session, posting.ref) is None
        elsewhere = type(posting.ref)(
            member_id=posting.ref.member_id,
            business_date=posting.ref.business_date,
            transaction_id=ledger.issue(ledger.member(), 5).ref.transaction_id,
        )
        with pytest.raises(TransactionUnknown):
            prove_inclusion(session, elsewhere)


@pytest.mark.parametrize("transactions", [1_024, 1_025, 2_047, 2_048, 2_500])
def test_proofs_of_a_window_of_several_blocks(ledger: LedgerDriver, transactions: int) -> None:
    partner = ledger.any_partner()
    crowd = [ledger.member() for _ in range(5)]
    with ledger.database.unit_of_work() as session:
        session.execute(text("SET LOCAL statement_timeout = '60s'"))
        session.execute(
            text(
                "SELECT ledger.post_issue((CAST(:members AS uuid[]))[1 + n % 5], :partner, :agreement, NULL, 1,"
                " NULL, 'n' || n, '\\x00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, now())"
                " FROM generate_series(1, :count) AS n"
            ),
            {
                "members": crowd,
                "partner": partner,
                "agreement": ledger.agreements[partner],
                "count": transactions,
            },
        )
    ledger.close_window()
    posted = ledger.rows(
        "SELECT member_id, business_date, transaction_id FROM ledger.transaction ORDER BY member_id, sequence"
    )
    [(root,)] = ledger.rows(
        "SELECT encode(merkle_root, 'hex') FROM ledger.settlement_window WHERE state = 'sealed'"
    )
    for index in sorted({0, 1, 1_022, 1_023, 1_024, 2_046, 2_047, 2_048, transactions - 1}):
        if index < transactions:
            member, date, one = posted[index]
            with ledger.database.reading() as session:
                proof = prove_inclusion(
                    session, TransactionRef(member_id=member, business_date=date, transaction_id=one)
                )
            assert proof is not None
            assert (proof.leaf_index, proof.tree_size) == (index, transactions)
            assert verify_proof.root_from(json.loads(proof.document())) == root
    with ledger.database.reading() as session:
        assert run_audit(session, checks=CHAIN) == []


DAMAGE = {
    "a receipt that was renumbered": "UPDATE ledger.transaction SET receipt_number = 'R-8' WHERE receipt_number = 'R-7'",
    "another amount": "UPDATE ledger.transaction SET amount = 7 WHERE kind = 'issue' AND sequence = 1",
    "another reason": "UPDATE ledger.transaction SET reason = repeat('0', 64) WHERE kind = 'redeem'",
    "another time": "UPDATE ledger.transaction SET occurred_at = occurred_at - interval '1 second' WHERE kind = 'redeem'",
    "an entry of another plan": "UPDATE ledger.entry SET funding_plan_id = gen_random_uuid() WHERE bucket = 'burned'",
    "another digest": "UPDATE ledger.transaction SET digest = sha256('') WHERE kind = 'redeem'",
    "a digest before": "UPDATE ledger.transaction SET digest = sha256('') WHERE kind = 'issue'",
    "the head's digest": "UPDATE ledger.member_head SET digest = sha256('') WHERE last_sequence > 1",
    "the last transaction": "DELETE FROM ledger.transaction WHERE kind = 'redeem'",
    "the root": "UPDATE ledger.settlement_window SET merkle_root = sha256('') WHERE state = 'sealed'",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_chain_shows_what_was_rewritten(
    ledger: LedgerDriver, superuser_engine: Engine, damage: str
) -> None:
    member = ledger.member(available=100)
    ledger.redeem(member, 30, receipt=receipt("R-7"))
    ledger.close_window()
    with ledger.database.reading() as session:
        assert run_audit(session, checks=CHAIN) == []
    with superuser_engine.begin() as connection:
        assert connection.execute(text(DAMAGE[damage])).rowcount > 0
    with ledger.database.reading() as session:
        found = run_audit(session, checks=CHAIN)
    assert found
    assert all(re.fullmatch(r"[0-9a-f-]{36}(/.*)?|\d{4}-\d\d-\d\d(/\d+)?", finding.id) for finding in found)


@pytest.mark.fresh_database
def test_a_root_that_was_taken_away_is_a_finding(ledger: LedgerDriver, superuser_engine: Engine) -> None:
    day = ledger.issue(ledger.member(), 30).ref.business_date
    ledger.close_window()
    with superuser_engine.begin() as connection:
        connection.execute(
            text(
                "ALTER TABLE ledger.settlement_window DROP CONSTRAINT settlement_window_root_when_sealed_check"
            )
        )
        connection.execute(
            text("UPDATE ledger.settlement_window SET merkle_root = NULL WHERE state = 'sealed'")
        )
    with ledger.database.reading() as session:
        [found] = run_audit(session, checks=CHAIN)
    assert (found.check, found.id, "its root is gone" in found.message) == (
        "roots_are_of_their_windows",
        str(day),
        True,
    )


def test_a_forged_row_with_a_forged_digest_still_misses_the_published_root(
    ledger: LedgerDriver, superuser_engine: Engine
) -> None:
    """Someone who can write everything rewrites the row, its digest and the head: only the root is left to tell."""
    member = ledger.member(available=100)
    ledger.redeem(member, 30, receipt=receipt("R-7"))
    ledger.close_window()
    with superuser_engine.begin() as connection:
        connection.execute(text("SET LOCAL search_path = ledger"))
        connection.execute(
            text(
                "UPDATE transaction SET occurred_at = occurred_at + interval '1 second' WHERE kind = 'redeem'"
            )
        )
        connection.execute(
            text(
                "UPDATE transaction t SET digest = ledger.chained((SELECT b.digest FROM transaction b"
                " WHERE b.member_id = t.member_id AND b.sequence = t.sequence - 1), t) WHERE kind = 'redeem'"
            )
        )
        connection.execute(
            text(
                "UPDATE member_head h SET digest = (SELECT digest FROM transaction t"
                " WHERE t.member_id = h.member_id ORDER BY sequence DESC LIMIT 1) WHERE last_sequence > 1"
            )
        )
    with ledger.database.reading() as session:
        assert run_audit(session, checks=AUDIT) == []
        [finding] = run_audit(session, checks=CHAIN)
    assert (finding.subject, finding.check) == ("settlement_window", "roots_are_of_their_windows")
