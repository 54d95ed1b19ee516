"""Prove that a transaction is in its window: what a partner needs to check it against the published root.

The window's rows are not read again: the roots of its whole subtrees of 1,024 transactions are stored, so a
proof reads one such block, the rest behind the last whole one, and those roots.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from coalition import merkle
from coalition.ledger.posting import TransactionRef, call

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

VERIFIER: Final = Path(__file__).with_name("verify_proof.py")
"""A script that checks proofs, and imports nothing of ours: partners take it away."""
FORMAT: Final = "coalition-proof-1"
_BLOCK: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """That a transaction is one of a sealed window's, by RFC 9162, section 2.1.3."""

    business_date: date
    root: bytes
    """The window's Merkle root, as it is published."""
    tree_size: int
    """How many transactions the window has."""
    leaf_index: int
    """Which of them this is, from 0, in the order of members and of each one's transactions."""
    path: tuple[bytes, ...]
    """The hashes beside the leaf's way to the root."""
    public_text: str
    """What the acting partner knows of the transaction, as it was hashed."""
    private_digest: bytes
    """Stands for its legs and balances, of which the text says nothing."""
    digest_before: bytes
    """Of the member's transaction before it."""

    def document(self) -> str:
        """The proof as JSON, as `verify_proof.py` reads it."""
        return json.dumps(
            {
                "format": FORMAT,
                "window": self.business_date.isoformat(),
                "root": self.root.hex(),
                "treeSize": self.tree_size,
                "leafIndex": self.leaf_index,
                "path": [one.hex() for one in self.path],
                "public": self.public_text,
                "privateDigest": self.private_digest.hex(),
                "digestBefore": self.digest_before.hex(),
            },
            ensure_ascii=False,
            indent=1,
        )


def prove_inclusion(session: Session, ref: TransactionRef) -> InclusionProof | None:
    """The proof of a transaction; None while its window is not sealed.

    Raises:
        TransactionUnknown: there is no such transaction.
    """
    [witness] = call(
        session,
        "SELECT public_text, private_digest, digest_before, sequence, digest FROM ledger.witness(%s, %s, %s)",
        (ref.member_id, ref.business_date, ref.transaction_id),
    )
    public_text, private_digest, digest_before, sequence, digest = witness
    window = session.execute(_WINDOW, {"date": ref.business_date}).one()
    if window.merkle_root is None:
        return None
    nodes = session.execute(_NODES, {"date": ref.business_date}).all()
    where = {"date": ref.business_date, "member": ref.member_id, "sequence": sequence}
    blocks = [bytes(node.digest) for node in nodes]

    # The block that begins last before the transaction; what lies behind the last whole one is a block too.
    block = session.execute(_BLOCK_OF, where).scalar_one_or_none() or 0
    leaves = _leaves(session, ref.business_date, nodes[block] if nodes else None, 2 * _BLOCK)
    found = next(
        i for i, leaf in enumerate(leaves) if (leaf.member_id, leaf.sequence) == (ref.member_id, sequence)
    )
    if found >= _BLOCK or not nodes:
        block, found = len(blocks), found - (_BLOCK if nodes else 0)
        leaves = leaves[_BLOCK:] if nodes else leaves
    rest = window.transactions - _BLOCK * len(blocks)
    if rest:
        tail = (
            leaves
            if block == len(blocks)
            else _leaves(session, ref.business_date, nodes[-1], 2 * _BLOCK)[_BLOCK:]
        )
        blocks.append(merkle.root_of([merkle.leaf_hash(leaf.digest) for leaf in tail]))
    hashes = [merkle.leaf_hash(leaf.digest) for leaf in leaves[:_BLOCK]]
    assert bytes(leaves[found].digest) == bytes(digest), "the leaf is the transaction's"
    return InclusionProof(
        business_date=ref.business_date,
        root=bytes(window.merkle_root),
        tree_size=window.transactions,
        leaf_index=block * _BLOCK + found,
        path=(*merkle.path_of(found, hashes), *merkle.path_of(block, blocks)),
        public_text=public_text,
        private_digest=bytes(private_digest),
        digest_before=bytes(digest_before),
    )


_WINDOW: Final = text(
    "SELECT transactions, merkle_root FROM ledger.settlement_window WHERE business_date = :date"
)
_NODES: Final = text(
    "SELECT first_member_id, first_sequence, digest FROM ledger.window_node"
    " WHERE business_date = :date ORDER BY position"
)
_BLOCK_OF: Final = text(
    "SELECT max(position) FROM ledger.window_node WHERE business_date = :date"
    " AND (first_member_id, first_sequence) <= (:member, :sequence)"
)
_LEAVES: Final = text(
    "SELECT member_id, sequence, digest FROM ledger.transaction WHERE business_date = :date"
    " AND (CAST(:member AS uuid) IS NULL OR (member_id, sequence) >= (:member, :sequence))"
    " ORDER BY member_id, sequence LIMIT :limit"
)


def _leaves(session: Session, business_date: date, start: Any, limit: int) -> list[Any]:
    given = {
        "date": business_date,
        "member": None if start is None else start.first_member_id,
        "sequence": None if start is None else start.first_sequence,
        "limit": limit,
    }
    return list(session.execute(_LEAVES, given))
