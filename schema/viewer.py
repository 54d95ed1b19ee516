"""Who asks, and what that one may see: the only place that decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from strawberry.extensions import FieldExtension

from partners.scopes import Scope
from schema.web.faults import Forbidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from coalition.ids import MemberId, PartnerId, PartyId
    from partners.tokens import Principal


READS_HISTORY: Final = (Scope.MEMBERS_READ, Scope.PROGRAMME_ADMIN, Scope.MEMBER_SELF)
"""With one of these a token reads what was posted for a member."""
READS_IDENTIFIERS: Final = (*READS_HISTORY, Scope.MEMBERS_WRITE)
"""With one of these what a member is known by: who links or blocks that sees what it did, and by which id."""


class Viewer:
    """The holder of the request's token."""

    def __init__(self, principal: Principal) -> None:
        self.client_id = principal.client_id
        self.partner_id: PartnerId | None = principal.partner_id
        self.member_id: MemberId | None = principal.member_id
        self.scopes = frozenset(principal.scopes)
        of_the_network = self.partner_id is None and self.member_id is None
        self.is_operator = of_the_network and Scope.PROGRAMME_ADMIN in self.scopes
        self.is_finance = of_the_network and bool(
            self.scopes & {Scope.SETTLEMENT_READ, Scope.SETTLEMENT_OPERATE, Scope.SETTLEMENT_APPROVE}
        )

    @property
    def name(self) -> str:
        """What its wishes are filed under: the scope of its idempotency keys."""
        return self.client_id or f"member:{self.member_id}"

    def has(self, *scopes: Scope) -> bool:
        """Whether the token carries one of the scopes."""
        return not self.scopes.isdisjoint(scopes)

    def acting_partner(self) -> PartnerId:
        """The partner in whose name the token acts.

        Raises:
            Forbidden: it is not a partner's.
        """
        if self.partner_id is None:
            raise Forbidden("This is done in a partner's own name, with a partner's token.")
        return self.partner_id

    def acting_member(self) -> MemberId:
        """The member whose token it is.

        Raises:
            Forbidden: it is no member's.
        """
        if self.member_id is None:
            raise Forbidden("This is a member's own to do, with the member's token.")
        return self.member_id

    def may_know_member(self, member_id: MemberId) -> bool:
        """Partners may know that a member is one; a member knows itself."""
        return self.member_id is None or self.member_id == member_id

    def owns(self, issuer_id: PartyId | None) -> bool:
        """Whether what this issuer issued is the viewer's to see in detail."""
        return self.is_operator or self.member_id is not None or self.partner_id == issuer_id

    def sees_whole_members(self) -> bool:
        """Whether a member's points may be seen by more than their available total."""
        return self.is_operator or self.member_id is not None

    def sees_pooled(self) -> bool:
        """Whether it may be seen what a member can spend with its pool: a till that redeems asks for that."""
        return self.sees_whole_members() or self.has(Scope.POINTS_REDEEM)

    def sees_terms_of(self, partner_id: PartyId) -> bool:
        """Whether a partner's agreements may be seen."""
        return self.is_operator or self.is_finance or self.partner_id == partner_id

    def may_know_partner(self, partner_id: PartyId) -> bool:
        """A partner knows itself; the operator, finance and members know all by name."""
        return self.partner_id is None or self.partner_id == partner_id


class Requires(FieldExtension):
    """The token must carry one of these scopes, or the field is forbidden."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    def resolve(self, next_: Callable[..., Any], source: Any, info: Any, **kwargs: Any) -> Any:
        """Check, then resolve."""
        if not info.context.viewer.has(*self.scopes):
            raise Forbidden(f"The token lacks the scope {' or '.join(self.scopes)}.")
        return next_(source, info, **kwargs)
