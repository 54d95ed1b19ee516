"""What a member is known by, and what became of it."""

import datetime as dt

import strawberry

from coalition import identifier_changes, identifiers
from coalition.ids import NETWORK, PartyId
from schema.context import Info
from schema.cost import FEW
from schema.enums import IdentifierKind, IdentifierState
from schema.ids import identifier_id
from schema.objects.partners import Partner, partner_of


@strawberry.type(description="What became of an identifier, at a moment; the first is its link.")
class IdentifierChange:
    """A line of its history."""

    party_id: strawberry.Private[PartyId | None]
    state: IdentifierState = strawberry.field(description="How it stands from then on.")
    at: dt.datetime = strawberry.field(description="When, by the programme's clock.")
    by: str | None = strawberry.field(
        description="Which client or person it was; null for a link, and to a member."
    )
    reason: str | None = strawberry.field(description="Why, in their words.")

    @strawberry.field(description="The partner who did it; null where it was the operator or the member.")
    def partner(self, info: Info) -> Partner | None:
        """The partner."""
        return None if self.party_id in {None, NETWORK} else partner_of(info, self.party_id)


@strawberry.type(description="Something that a member is known by.")
class Identifier:
    """A normalised identifier."""

    id: strawberry.ID = strawberry.field(description="What blockIdentifier and its like name it by.")
    kind: IdentifierKind = strawberry.field(description="Its kind.")
    value: str = strawberry.field(description="Its normal form.")
    state: IdentifierState = strawberry.field(description="How it stands.")
    linked_at: dt.datetime = strawberry.field(description="Since when the member is known by it.")
    changes: strawberry.Private[tuple[identifier_changes.IdentifierChange, ...]]

    @strawberry.field(
        description="All that became of it, the oldest first; to the member and the operator. To a partner"
        " empty.",
        directives=[FEW],
    )
    def history(self, info: Info) -> list[IdentifierChange]:
        """Its history."""
        viewer = info.context.viewer
        if not viewer.sees_whole_members():
            return []
        info.context.loaded.partners.want(one.party_id for one in self.changes if one.party_id is not None)
        return [
            IdentifierChange(
                party_id=one.party_id,
                state=one.state,
                at=one.changed_at,
                by=one.by if viewer.is_operator else None,
                reason=one.reason,
            )
            for one in self.changes
        ]

    @classmethod
    def of(
        cls, history: identifier_changes.IdentifierHistory, identifier: identifiers.Identifier
    ) -> "Identifier":
        """As the API shows it."""
        return cls(
            id=identifier_id(history.member_id, history.identifier_id),
            kind=history.kind,
            value=identifier.value,
            state=history.state,
            linked_at=history.linked_at,
            changes=history.changes,
        )
