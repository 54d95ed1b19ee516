"""People: what is sealed can be found, read, and is where it was sealed; who was erased is gone."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import text

from coalition.audit.finding import Finding, findings
from coalition.config import SettingsError, get_settings
from coalition.vault.keys import KeyEncryptionKey, existing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row
    from sqlalchemy.orm import Session


def identifiers_can_be_read(session: Session) -> Iterator[Finding]:
    """What the ledger finds a member by blindly is sealed for that member, and the other way round."""
    query = """
    WITH blind AS (
        SELECT member_id, concat('identifier:', identifier_id) AS field
          FROM ledger.identifier WHERE kind <> 'card'
    ), readable AS (
        SELECT member_id, field FROM people.sealed WHERE field LIKE 'identifier:%'
    )
    SELECT concat_ws('/', member_id, field) AS id,
           CASE WHEN s.found IS NULL THEN 'is looked up by, and nothing is sealed'
                ELSE 'is sealed, and nobody is looked up by it' END AS message
      FROM (SELECT *, true AS known FROM blind) b
      FULL JOIN (SELECT *, true AS found FROM readable) s USING (member_id, field)
     WHERE b.known IS NULL OR s.found IS NULL
     ORDER BY 1
    """
    return findings(identifiers_can_be_read, session, subject="identifier", query=query)


def words_are_sealed(session: Session) -> Iterator[Finding]:
    """What stands in the ledger for words leads to words sealed for its member, and the other way round."""
    query = """
    WITH stood AS (
        SELECT member_id, reason AS digest FROM ledger.transaction
         WHERE kind NOT IN ('adjust_in', 'adjust_out')
         UNION ALL SELECT member_id, note FROM ledger.adjustment
         UNION ALL SELECT member_id, reason FROM ledger.identifier_change
         UNION ALL SELECT member_id, reason FROM ledger.member_block
         UNION ALL SELECT head_id, name FROM ledger.pool
    ), named AS (
        SELECT s.member_id, concat('reason:', s.digest) AS field FROM stood s
          LEFT JOIN ledger.member_head h USING (member_id)
         WHERE s.digest IS NOT NULL AND h.erased_at IS NULL
    ), kept AS (
        SELECT member_id, field FROM people.sealed WHERE field LIKE 'reason:%'
    )
    SELECT concat_ws('/', member_id, field) AS id,
           CASE WHEN k.found IS NULL THEN 'stands in the ledger, and nothing is sealed'
                ELSE 'is sealed, and stands in no row of the member' END AS message
      FROM (SELECT *, true AS known FROM named) n
      FULL JOIN (SELECT *, true AS found FROM kept) k USING (member_id, field)
     WHERE n.known IS NULL OR k.found IS NULL
     ORDER BY 1
    """
    return findings(words_are_sealed, session, subject="sealed", query=query)


def sealed_values_are_members(session: Session) -> Iterator[Finding]:
    """Each key is a member's, and each sealed value has the key that it was sealed under."""
    query = """
    SELECT concat('data_key ', k.member_id) AS id, 'no such member' AS message
      FROM people.data_key k
      LEFT JOIN ledger.member m USING (member_id)
     WHERE m.member_id IS NULL
     UNION ALL
    SELECT concat_ws('/', s.member_id, s.field),
           CASE WHEN k.member_id IS NULL THEN 'is sealed under no key'
                ELSE 'is kept, and its key destroyed' END
      FROM people.sealed s
      LEFT JOIN people.data_key k USING (member_id)
     WHERE k.wrapped IS NULL
     ORDER BY 1
    """
    return findings(sealed_values_are_members, session, subject="sealed", query=query)


def sealed_values_open(session: Session) -> Iterator[Finding]:
    """Each value opens under its member's key where it stands, and is found by what it says.

    A ciphertext that was moved to another member or field, or changed, does not.
    """
    rows = session.execute(
        text("""
            SELECT s.member_id, s.field, s.ciphertext, k.kek, k.wrapped,
                   i.kind, i.partner_id, i.value AS blind, i.indexed_by
              FROM people.sealed s
              JOIN people.data_key k USING (member_id)
              LEFT JOIN ledger.identifier i
                ON i.member_id = s.member_id AND s.field = concat('identifier:', i.identifier_id)
               AND i.kind <> 'card'
             WHERE k.wrapped IS NOT NULL
             ORDER BY s.member_id, s.field
        """).execution_options(yield_per=1_000)
    )
    held = {one.key_id: one.key for one in _held()}
    index_keys = {
        one.generation: _opened(held.get(one.kek), one.wrapped, b"index key %d" % one.generation)
        for one in session.execute(text("SELECT generation, kek, wrapped FROM people.index_key"))
    }
    for row in rows:
        wrong = _wrong(row, held, index_keys)
        if wrong is not None:
            yield Finding(
                check=sealed_values_open.__name__,
                subject="sealed",
                id=f"{row.member_id}/{row.field}",
                message=wrong,
            )


def requests_are_forgotten_with_their_key(session: Session) -> Iterator[Finding]:
    """What stands for a request that told of a person is kept as long as its index key, or until erasure."""
    query = """
    SELECT concat_ws('/', caller, key) AS id,
           CASE WHEN fingerprint IS NULL THEN 'is forgotten, and its key is in force'
                ELSE format('was blinded by index key %s, which is gone, and is kept', blinded_by)
           END AS message
      FROM partners.operation
     WHERE (fingerprint IS NULL AND blinded_by >= (SELECT max(generation) FROM people.index_key)
            AND NOT EXISTS (SELECT FROM ledger.member_head h
                             WHERE h.member_id::text = result ->> 'member_id' AND h.erased_at IS NOT NULL))
        OR (fingerprint IS NOT NULL AND blinded_by IS NOT NULL
            AND NOT EXISTS (SELECT FROM people.index_key k WHERE k.generation = blinded_by))
     ORDER BY 1
    """
    return findings(requests_are_forgotten_with_their_key, session, subject="operation", query=query)


def erased_members_are_gone(session: Session) -> Iterator[Finding]:
    """Who was erased has no key, identifier, sealed value, points or pool, and no later transaction."""
    query = """
    SELECT id, message FROM (
    SELECT member_id::text AS id,
           CASE WHEN h.erased_at IS NULL THEN 'its key was destroyed, and its head knows nothing of it'
                WHEN k.erased_at IS DISTINCT FROM h.erased_at THEN 'its key was not destroyed with it'
                WHEN h.available + h.pending + h.held + h.deficit <> 0 THEN 'has points, or owes some'
                WHEN h.pool_id IS NOT NULL THEN 'is in a pool'
                WHEN EXISTS (SELECT FROM ledger.identifier i WHERE i.member_id = h.member_id) THEN
                    'is looked up by an identifier'
                WHEN EXISTS (SELECT FROM people.sealed s WHERE s.member_id = h.member_id) THEN
                    'has sealed values'
                WHEN h.last_recorded_at > h.erased_at THEN 'has a later transaction'
                WHEN EXISTS (SELECT FROM ledger.member_head m
                              WHERE m.merged_into = h.member_id AND m.erased_at IS NULL) THEN
                    'has a merged record that was not erased with it'
           END AS message
      FROM ledger.member_head h
      LEFT JOIN people.data_key k USING (member_id)
     WHERE h.erased_at IS NOT NULL OR k.erased_at IS NOT NULL
    ) AS looked_at
     WHERE message IS NOT NULL
     ORDER BY 1
    """
    return findings(erased_members_are_gone, session, subject="member", query=query)


def _held() -> tuple[KeyEncryptionKey, ...]:
    try:
        ring = existing(get_settings())
    except SettingsError:
        return ()
    return () if ring is None else ring.keys


def _wrong(
    row: Row[tuple[object, ...]], held: dict[str, bytes], index_keys: dict[int, bytes | None]
) -> str | None:
    if row.kek not in held:
        return f"its member's key is wrapped by {row.kek}, which the settings do not hold"
    key = _opened(held[row.kek], row.wrapped, b"data key " + row.member_id.bytes)
    if key is None:
        return "its member's key is not what was wrapped there"
    value = _opened(key, row.ciphertext, b"value " + row.member_id.bytes + row.field.encode())
    if value is None:
        return "is not what was sealed there"
    if row.field.startswith("reason:"):
        stands_for = row.field == f"reason:{hashlib.sha256(value).hexdigest()}"
        return None if stands_for else "is not what stands in the ledger"
    return None if row.kind is None else _wrongly_found(row, value, index_keys.get(row.indexed_by))


def _wrongly_found(row: Row[tuple[object, ...]], value: bytes, index_key: bytes | None) -> str | None:
    if index_key is None:
        return "the key of its blind index is not there, or not what was wrapped"
    spelled = b"\0".join((b"identifier", row.kind.encode(), str(row.partner_id).encode(), value))
    if hmac.new(index_key, spelled, hashlib.sha256).hexdigest() != row.blind:
        return "is looked up by something else than what is sealed"
    return None


def _opened(key: bytes | None, sealed: bytes, bound_to: bytes) -> bytes | None:
    if key is None:
        return None
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], bound_to)
    except (InvalidTag, ValueError):
        return None
