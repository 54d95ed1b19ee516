"""What members wish of what is known of them: to say something of themselves, and to get all that is held."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from coalition.exporting import export_member
from coalition.profiles import update_profile

from . import profiles
from .ledger import Ledger
from .programme import ZONE, Programme
from .wishing import Told, Wish, rarely, somebody

# As somebody might write it, and as it is kept; None: it is not taken.
SAID: Mapping[str, tuple[tuple[str, str | None], ...]] = MappingProxyType(
    {
        "name": (("  Ada Lovelace ", "Ada Lovelace"), ("Ada King", "Ada King"), (" ", None)),
        "email": (
            ("Ada@Example.ORG", "ada@example.org"),
            ("ada@king.example", "ada@king.example"),
            ("ada", None),
        ),
        "phone": (("+49 (30) 1234567", "+49301234567"), ("+43 1 5234567", "+4315234567"), ("12", None)),
        "birth_date": (("1990-12-31", "1990-12-31"), ("1985-02-28", "1985-02-28"), ("2999-01-01", None)),
        "address": (("Lane 1 \n Town", "Lane 1\nTown"), ("Way 2", "Way 2"), ("", None)),
        "locale": (("de-AT", "de-AT"), ("en", "en"), ("German", None)),
    }
)


@dataclass(frozen=True, kw_only=True)
class Profile(Wish):
    member: int
    said: tuple[tuple[str, int | None], ...]
    """By field which of what might be written there; None takes it away."""
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            member=somebody,
            said=st.lists(
                st.tuples(
                    st.sampled_from(sorted(SAID)), rarely(st.none() | st.integers(0, 1), st.just(2), odds=10)
                ),
                min_size=1,
                max_size=3,
                unique_by=lambda one: one[0],
            ).map(tuple),
        )
    )
    weight = 3

    def touches(self, p: Programme) -> list[int]:
        return [self.member] if p.knows(self.member) else []

    def expect(self, p: Programme, key: str) -> None:  # noqa: ARG002
        valid = all(which is None or SAID[field][which][1] is not None for field, which in self.said)
        changes = {field: None if which is None else SAID[field][which][1] for field, which in self.said}
        profiles.update(p, member=self.member, changes=changes, valid=valid)

    def ask(self, ledger: Ledger, p: Programme, key: str) -> None:  # noqa: ARG002
        changes = {field: None if which is None else SAID[field][which][0] for field, which in self.said}
        member, today = ledger.member(self.member), p.now.astimezone(ZONE).date()
        ledger.unit(lambda session: update_profile(session, member, changes, today=today))


@dataclass(frozen=True, kw_only=True)
class Export(Wish):
    """All that is held about a member."""

    member: int
    strategy = staticmethod(lambda cls: st.builds(cls, member=somebody))

    def touches(self, p: Programme) -> list[int]:  # noqa: ARG002
        return []

    def expect(self, p: Programme, key: str) -> Told:  # noqa: ARG002
        return Told(profiles.export(p, member=self.member))

    def ask(self, ledger: Ledger, p: Programme, key: str) -> Told:  # noqa: ARG002
        with ledger.driver.database.reading() as session:
            told = json.loads("".join(export_member(session, ledger.member(self.member))))
        return Told({number_of(ledger, one): in_words(ledger, one) for one in told["records"]})


def number_of(ledger: Ledger, record: Any) -> int:
    return ledger.members.index(UUID(record["member_id"]))  # type: ignore[arg-type]


def in_words(ledger: Ledger, record: Any) -> dict[str, Any]:
    """One record in the model's words; the transactions that were answered are those that stand there."""
    number = number_of(ledger, record)
    for (member, line), ref in ledger.refs.items():
        if member == number:
            assert record["transactions"][line]["transaction_id"] == str(ref.transaction_id)
    [balance] = record["balance"]
    return {
        "profile": record["profile"],
        "identifiers": {
            ledger.identifiers.index(UUID(one["identifier_id"])): (
                one["kind"],
                one["unlinked_at"] is not None,
            )
            for one in record["identifiers"]
        },
        "balance": tuple(balance[bucket] for bucket in ("available", "pending", "held", "deficit")),
        "lots": [
            (ledger.name(one["issuer_id"]), one["points"], ledger.plan_number(one["funding_plan_id"]))
            for one in record["lots"]
        ],
        "transactions": [(one["kind"], one["points"]) for one in record["transactions"]],
    }
