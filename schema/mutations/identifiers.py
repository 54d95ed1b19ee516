"""What becomes of an identifier: blocked, unblocked, replaced by another card, unlinked."""

from collections.abc import Callable
from typing import Annotated, Any

import strawberry
from sqlalchemy.orm import Session

from coalition import identifier_changes, members
from coalition.errors import IdentifierTaken, IdentifierUnknown
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK
from partners.scopes import Scope
from schema.context import Info
from schema.cost import WRITES
from schema.ids import identifier_in
from schema.inputs import IdentifierInput
from schema.mutations.members import MemberPayload
from schema.mutations.once import once
from schema.paths import placed
from schema.viewer import Requires, Viewer
from schema.web.faults import Forbidden

_KEY = "Yours, for this wish; its scope is your client."
_WHICH = "Which: the operator's to change are all, a partner's those that it linked, a member's its own."
_REASON = "Why; at most 200 characters. The operator reads it, and the member."


@strawberry.input(one_of=True, description="Names an identifier: by its id, or by what it is.")
class IdentifierBy:
    """One of the two."""

    id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="The id that Member.identifiers gives it."
    )
    identifier: IdentifierInput | None = strawberry.field(
        default=strawberry.UNSET, description="A card, a phone, an e-mail address, or your own reference."
    )


@strawberry.input
class _WhichAndWhy:
    """Which, and why."""

    idempotency_key: strawberry.ID = strawberry.field(description=_KEY)
    identifier: IdentifierBy = strawberry.field(description=_WHICH)
    reason: str | None = strawberry.field(default=None, description=_REASON)


@strawberry.input(description="An identifier by which nobody is to be named, from now on.")
class BlockIdentifierInput(_WhichAndWhy):
    """Which, and why."""


@strawberry.input(description="A blocked identifier that is to be used again.")
class UnblockIdentifierInput(_WhichAndWhy):
    """Which, and why."""


@strawberry.input(description="An identifier that the member is to be known by no more.")
class UnlinkIdentifierInput(_WhichAndWhy):
    """Which, and why."""


@strawberry.input(description="A card that a member gets in place of one that was lost or is worn.")
class ReplaceCardInput:
    """Which, by which, and why."""

    idempotency_key: strawberry.ID = strawberry.field(description=_KEY)
    identifier: IdentifierBy = strawberry.field(description="The old card; as for blockIdentifier.")
    card: str = strawberry.field(description="The number of the new one, which is linked to nobody.")
    reason: str | None = strawberry.field(default=None, description=_REASON)


def _actor(viewer: Viewer) -> Actor:
    """Who changes it: the operator, a partner, or the member itself.

    Raises:
        Forbidden: the token is finance's.
    """
    if viewer.member_id is not None:
        return Actor(name=viewer.name, party_id=None, member_id=viewer.member_id)
    if viewer.partner_id is not None:
        return Actor(name=viewer.name, party_id=viewer.partner_id)
    if viewer.is_operator:
        return Actor(name=viewer.name, party_id=NETWORK)
    raise Forbidden("This is done by the operator, the partner that linked it, or the member itself.")


def _changed(info: Info, wish: Any, change: Callable[[Session, ChangeIdentifier], None]) -> MemberPayload:
    by = _actor(info.context.viewer)

    def work(session: Session) -> dict[str, Any]:
        member_id, identifier_id = _find(session, wish.identifier, by)
        command = ChangeIdentifier(
            member_id=member_id, identifier_id=identifier_id, by=by, reason=wish.reason
        )
        with placed("identifier", instead_of=("member", "identifier")):
            change(session, command)
        return {"member_id": str(by.member_id or members.survivor_of(session, member_id))}

    return MemberPayload.of(once(info.context, wish, work))


def _find(session: Session, named: IdentifierBy, by: Actor) -> tuple[Any, Any]:
    if isinstance(named.identifier, IdentifierInput):
        with placed("identifier", "identifier", instead_of=("member", "identifier")):
            identifier = named.identifier.identifier(partner_id=by.party_id or NETWORK)
        return identifier_changes.named_for_change(session, identifier, by=by)
    found = identifier_in(str(named.id))
    if found is None:
        raise IdentifierUnknown
    identifier_changes.check_is_own(session, found[0], by=by)
    return found


_MAY = Requires(Scope.MEMBERS_WRITE, Scope.MEMBER_SELF, Scope.PROGRAMME_ADMIN)


@strawberry.type
class IdentifierMutations:
    """Block, unblock, unlink, replace."""

    @strawberry.mutation(
        description="Block a card, or whatever else a member is known by, at once: a posting by it is refused"
        " with IDENTIFIER_BLOCKED, and the member can be named by anything else. Of several blocks the"
        " operator's counts, then the partner's, then the member's.",
        extensions=[_MAY],
        directives=[WRITES],
    )
    def block_identifier(
        self,
        info: Info,
        input: Annotated[
            BlockIdentifierInput,
            strawberry.argument(
                description="What nobody is to be named by, and why. The member takes part by all else that"
                " it is known by."
            ),
        ],
    ) -> MemberPayload:
        """Block."""
        return _changed(info, input, identifier_changes.block)

    @strawberry.mutation(
        description="Lift a block. Whoever set it may, and the operator.",
        extensions=[_MAY],
        directives=[WRITES],
    )
    def unblock_identifier(
        self,
        info: Info,
        input: Annotated[
            UnblockIdentifierInput, strawberry.argument(description="What may be used again, and why.")
        ],
    ) -> MemberPayload:
        """Unblock."""
        return _changed(info, input, identifier_changes.unblock)

    @strawberry.mutation(
        description="Have a member known by one thing less; it can be linked anew, to whomever. Until then a"
        " posting by it is refused with IDENTIFIER_UNLINKED to the partner that linked it, and to one that"
        " posted for the member meanwhile; to all others it is as if nobody had ever been known by it.",
        extensions=[_MAY],
        directives=[WRITES],
    )
    def unlink_identifier(
        self,
        info: Info,
        input: Annotated[
            UnlinkIdentifierInput,
            strawberry.argument(description="What the member is to be known by no more, and why."),
        ],
    ) -> MemberPayload:
        """Unlink."""
        return _changed(info, input, identifier_changes.unlink)

    @strawberry.mutation(
        description="Give a member another card in place of one, which is refused with CARD_REPLACED from"
        " now on and can be linked to nobody.",
        extensions=[Requires(Scope.MEMBERS_WRITE, Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def replace_card(
        self,
        info: Info,
        input: Annotated[
            ReplaceCardInput,
            strawberry.argument(
                description="The card that goes and the one that comes: it belongs to the same member, with"
                " all of its points."
            ),
        ],
    ) -> MemberPayload:
        """Replace."""

        def replace(session: Session, command: ChangeIdentifier) -> None:
            card = Identifier.of(IdentifierKind.CARD, input.card, partner_id=NETWORK, field=("input", "card"))
            try:
                identifier_changes.replace_card(session, command, card)
            except IdentifierTaken:
                raise IdentifierTaken(kind=card.kind.value, field=("input", "card")) from None

        return _changed(info, input, replace)
