"""All that is held about a member, as JSON, piece by piece: however long its journal is, little is in memory.

Other people's ids are left out, and what tells of partners' or operators' business rather than of the member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import text

from coalition import clock, members, reasons, vault
from coalition.errors import MemberMerged, MemberUnknown
from coalition.ledger import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.ids import MemberId

FORMAT: Final = 1
_ROWS_PER_FETCH: Final = 500

SECTIONS: Final = {
    "enrolment": ("ledger.member", "member_id = :id", "member_id", ()),
    "balance": ("ledger.member_head", "member_id = :id", "member_id", ()),
    "lots": ("ledger.lot", "member_id = :id", "sequence, ordinal, lot_id", ("from_member_id", "from_lot_id")),
    "transactions": ("ledger.transaction", "member_id = :id", "sequence", ("other_member_id", "other_id")),
    "entries": ("ledger.entry", "member_id = :id", "business_date, transaction_id, ordinal", ()),
    "holds": ("ledger.hold", "member_id = :id", "authorized_at, transaction_id", ()),
    "deficits": ("ledger.deficit", "member_id = :id", "sequence, deficit_id", ("from_member_id",)),
    "confirmations": ("ledger.confirmation", "member_id = :id", "expires_at, confirmation_id", ()),
    "adjustments": (
        "ledger.adjustment",
        "member_id = :id",
        "proposed_at, adjustment_id",
        ("proposed_by", "decided_by"),
    ),
    "reviews": (
        "ledger.review",
        "member_id = :id",
        "asked_at, review_id",
        ("fingerprint", "facts", "decided_by", "posted_with"),
    ),
    "keys": (
        "ledger.idempotency",
        "member_id = :id",
        "business_date, partner_id, key",
        # Whose identifier named the member is another's once the two are apart.
        ("fingerprint", "named_id"),
    ),
    "identifier_changes": (
        "ledger.identifier_change",
        "member_id = :id",
        "changed_at, identifier_id, number",
        ("changed_by",),
    ),
    "blocks": ("ledger.member_block", "member_id = :id", "number", ("changed_by",)),
    "operator_acts": (
        "ledger.operator_act",
        "member_id = :id",
        "business_date, transaction_id",
        ("acted_by",),
    ),
    "pools": (
        "ledger.pool",
        "pool_id IN (SELECT pool_id FROM ledger.pool_member WHERE member_id = :id AND joined_at IS NOT NULL)",
        "opened_at, pool_id",
        ("head_id",),
    ),
    "pool_places": ("ledger.pool_member", "member_id = :id", "invited_at, membership_id", ()),
    "refusals": ("partners.refusal", "member_id = :id", "refusal_id", ("facts", "client")),
}
"""What is exported as it stands: the table, which of its rows, in which order, and what is left out."""


def export_member(session: Session, member_id: MemberId) -> Iterator[str]:
    """All that is held about a member and the records merged into it, as pieces of one JSON document.

    The session is a snapshot. Refusals come before the first piece.

    Raises:
        MemberUnknown: there is no such member.
        MemberMerged: it is one of another's records, and exported with that one.
        SettingsError: this server has not the key of what is sealed.
    """
    if not members.member_exists(session, member_id):
        raise MemberUnknown
    survivor = members.survivor_of(session, member_id)
    if survivor != member_id:
        raise MemberMerged(survivor=survivor)
    records = records_of(session, member_id)
    vault.check_keys(session, records)
    return _pieces(session, member_id, records)


def records_of(session: Session, member_id: MemberId) -> list[MemberId]:
    """The member, and all who were merged into it, and into those."""
    found = [member_id]
    for one in found:
        found.extend(members.merged_from(session, one))
    return found


def _pieces(session: Session, member_id: MemberId, records: list[MemberId]) -> Iterator[str]:
    about = {"format": FORMAT, "member_id": member_id, "exported_at": clock.now(session)}
    yield _json(about).removesuffix("}") + ',"records":['
    for number, record in enumerate(records):
        yield "," if number else ""
        yield from _record(session, record)
    yield "]}\n"


def _record(session: Session, member_id: MemberId) -> Iterator[str]:
    sealed = vault.read(session, member_id, reasons=True)
    about = {
        "member_id": member_id,
        "profile": {field: value for field, value in sealed.items() if ":" not in field},
        "identifiers": _identifiers(session, member_id, sealed),
        # What stands in rows for somebody's words, and the words.
        "words": {
            field.removeprefix(vault.REASON_FIELD): reasons.unsalted(value)
            for field, value in sealed.items()
            if field.startswith(vault.REASON_FIELD)
        }
        | _names_of_pools(session, member_id),
    }
    yield _json(about).removesuffix("}")
    for section, (table, condition, order, hidden) in SECTIONS.items():
        yield f',\n"{section}":['
        rows = session.execute(
            text(
                f"SELECT (to_jsonb(t) - CAST(:hidden AS text[]))::text FROM {table} t"  # noqa: S608 - ours
                f" WHERE {condition} ORDER BY {order}"
            ),
            {"id": member_id, "hidden": list(hidden)},
            execution_options={"stream_results": True, "yield_per": _ROWS_PER_FETCH},
        ).scalars()
        between = "\n"
        for row in rows:
            yield between + row
            between = ",\n"
        yield "]"
    yield "}"


def _names_of_pools(session: Session, member_id: MemberId) -> dict[str, str]:
    """What stands for the names of the pools that are exported, which are sealed for their heads."""
    table, condition, _, _ = SECTIONS["pools"]
    rows = session.execute(
        text(f"SELECT head_id, name FROM {table} WHERE {condition}"),  # noqa: S608 - ours
        {"id": member_id},
    ).all()
    found = reasons.words_of(session, [(row.head_id, row.name) for row in rows])
    return {digest: words for (_, digest), words in found.items()}


def _identifiers(session: Session, member_id: MemberId, sealed: dict[str, str]) -> list[dict[str, object]]:
    column = tables.identifier.c
    rows = session.execute(
        tables.identifier.select()
        .where(column.member_id == member_id)
        .order_by(column.linked_at, column.value)
    ).mappings()
    return [
        {
            **row,
            "value": vault.readable(row["kind"], row["value"], row["identifier_id"], sealed),
        }
        for row in rows
    ]


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
