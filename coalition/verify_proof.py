"""Check that a transaction is in a settlement window, without trusting whoever runs the network.

    python3 verify_proof.py PROOF.json --root HEX

PROOF.json is what the API gives as `Transaction.proof.document`; HEX is the window's Merkle root as you had
it from elsewhere: from `settlementWindows` on the morning after, say, kept in your own books. The standard
library is all that this needs. Exit codes: 0 it is in the window, 1 it is not, 2 the file is no proof.

What is checked (hashes are SHA-256, || joins bytes):

    digest = H(digestBefore || H(public, in UTF-8) || privateDigest)    chained to the member's one before
    leaf   = H(00 || digest)                                            RFC 9162, section 2.1.1
    root   = leaf and path, as RFC 9162 has it in section 2.1.3.2

`public` is what you know of the transaction: compare it with what you posted. `privateDigest` stands for all
else that was written with it: its legs, the lots, claims and hold that began with it, the other member where
points changed hands, and the balances after it. These tell of other partners' points and of other members,
and so are not shown.
"""

import argparse
import json
import sys
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import Any

FORMAT = "coalition-proof-1"
DIGEST_LENGTH = 32


class NoProofError(Exception):
    """The file does not hold a proof."""


class FailsError(Exception):
    """The proof does not lead to the root."""


def root_from(proof: dict[str, Any]) -> str:
    """The root to which the proof leads."""
    if json.loads(proof["public"]).get("window") != proof["window"]:
        raise FailsError("the transaction is of another window than the proof says")
    public = sha256(proof["public"].encode()).digest()
    digest = sha256(_hash(proof["digestBefore"]) + public + _hash(proof["privateDigest"])).digest()
    here = sha256(b"\x00" + digest).digest()
    index, last = proof["leafIndex"], proof["treeSize"] - 1
    if not 0 <= index <= last:
        raise FailsError("the window has no such place")
    for beside in map(_hash, proof["path"]):
        if last == 0:
            raise FailsError("the path is too long")
        if index % 2 == 1 or index == last:
            here = sha256(b"\x01" + beside + here).digest()
            while index % 2 == 0 and index != 0:
                index, last = index // 2, last // 2
        else:
            here = sha256(b"\x01" + here + beside).digest()
        index, last = index // 2, last // 2
    if last != 0:
        raise FailsError("the path is too short")
    return here.hex()


def _hash(given: str) -> bytes:
    found = bytes.fromhex(given)
    if len(found) != DIGEST_LENGTH:
        raise NoProofError("a hash is not of 32 bytes")
    return found


def _proof_in(file: Path) -> dict[str, Any]:
    proof = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(proof, dict) or proof.get("format") != FORMAT:
        raise NoProofError(f"this is no {FORMAT}")
    return proof


def main() -> int:
    """Read, check, and say so."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("proof", type=Path, help="the proof, as the API gave it")
    parser.add_argument("--root", required=True, help="the window's Merkle root, from elsewhere, in hex")
    asked = parser.parse_args()
    try:
        proof = _proof_in(asked.proof)
        found = root_from(proof)
    except FailsError as fault:
        print(f"NOT PROVED: {fault}.")
        return 1
    except (NoProofError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        print(f"{asked.proof} holds no proof: {fault!r}", file=sys.stderr)
        return 2
    if found != asked.root.strip().lower():
        print(f"NOT PROVED: it leads to the root {found}, and not to yours.")
        return 1
    # What a console cannot show, such as a store's name in another script, makes no proof fail.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Which of how many it is, is not proved: a path can lead to the root by other numbers, too.
    print(f"Proved: in the window of {proof['window']} is this transaction.\n{proof['public']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
