"""Merkle trees as RFC 9162 has them: roots, and the proof that one leaf is in a tree (section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

EMPTY: Final = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry as a leaf (2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees (2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaves, or over whole subtrees of one size of which the last may be smaller (2.1.1)."""
    if not hashes:
        return EMPTY
    if len(hashes) == 1:
        return hashes[0]
    split = _split(len(hashes))
    return node_hash(root_of(hashes[:split]), root_of(hashes[split:]))


def path_of(index: int, hashes: Sequence[bytes]) -> list[bytes]:
    """The audit path of one of them: the hashes beside its way to the root, from the leaf up (2.1.3.1)."""
    assert 0 <= index < len(hashes), "no such leaf"
    if len(hashes) == 1:
        return []
    split = _split(len(hashes))
    if index < split:
        return [*path_of(index, hashes[:split]), root_of(hashes[split:])]
    return [*path_of(index - split, hashes[split:]), root_of(hashes[:split])]


def _split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << ((size - 1).bit_length() - 1)
