"""For whom a wish is: the member whose token it is, or the one whom the operator names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coalition.errors import CardReplaced, IdentifierBlocked, InvalidInput, MemberUnknown
from coalition.ids import NETWORK, MemberId
from coalition.members import Named
from schema.context import Context
from schema.inputs import NOBODY, MemberBy
from schema.paths import placed
from schema.web.faults import Forbidden

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@contextmanager
def unknown_to_members(context: Context, *field: str) -> Iterator[None]:
    """To a member somebody else's identifier that is blocked or replaced is one that nobody has."""
    try:
        yield
    except (IdentifierBlocked, CardReplaced):
        if context.viewer.is_operator:
            raise
        raise MemberUnknown(field=("input", *field)) from None


def acting_for(context: Context, session: "Session", named: MemberBy | None, *, field: str) -> MemberId:
    """The member for whom it is done.

    Raises:
        As `acting_as`.
    """
    return acting_as(context, session, named, field=field).member_id


def acting_as(
    context: Context, session: "Session", named: MemberBy | None, *, field: str, in_use: bool = True
) -> Named:
    """The member for whom it is done, and by whose identifier the operator named it.

    Without `in_use` also by one that is blocked, replaced or unlinked.

    Raises:
        InvalidInput: a member named somebody else, or the operator nobody.
        Forbidden: the token is a partner's, or finance's.
    """
    viewer = context.viewer
    found = None
    if named is not None:
        with placed(field):
            if viewer.member_id is not None:
                # Of somebody else's card a member learns nothing, not that it is blocked either.
                found = named.who(session, partner_id=NETWORK, in_use=False)
            else:
                found = (named.who if in_use else named.named)(session, partner_id=NETWORK)
        found = found or Named(member_id=NOBODY)
    if viewer.member_id is not None:
        if found is not None and found.member_id != viewer.member_id:
            raise InvalidInput("With a member's token this is done for oneself.", field=("input", field))
        return Named(member_id=viewer.member_id)
    if not viewer.is_operator:
        raise Forbidden("This is a member's own to do, or the operator's on a member's behalf.")
    if found is None:
        raise InvalidInput("Name the member for whom this is done.", field=("input", field))
    return found
