"""What a member says of itself, and all that is held about it."""

from collections.abc import Mapping
from typing import Any

from .programme import Programme, Refusals


def update(p: Programme, *, member: int, changes: Mapping[str, str | None], valid: bool) -> None:
    """Replace what is named; None takes it away."""
    no = Refusals()
    no("INVALID_INPUT", when=not valid)
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    p.judge_member(no, member)
    no.end()
    kept = {**p.members[member].profile, **changes}
    p.members[member].profile = {field: value for field, value in kept.items() if value is not None}


def export(p: Programme, *, member: int) -> dict[int, dict[str, Any]]:
    """The member's own record, and each that is merged into it or into one of those."""
    no = Refusals()
    no("MEMBER_UNKNOWN", when=not p.knows(member))
    no.end()
    no("MEMBER_MERGED", when=p.members[member].merged_into is not None)
    no.end()
    return {
        books.number: {
            "profile": books.profile,
            "identifiers": {
                one.number: (one.kind, one.state == "unlinked")
                for one in p.identifiers
                if one.member == books.number and not books.erased
            },
            "balance": books.balance,
            "lots": [(lot.issuer, lot.at.total(), lot.plan) for lot in books.lots],
            "transactions": [(line.kind, line.points) for line in books.journal],
        }
        for books in p.records_of(member)
    }
