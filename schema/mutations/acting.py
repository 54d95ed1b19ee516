"""For whom a wish is: the member whose token it is, or the one whom the operator names."""

from typing import TYPE_CHECKING

from coalition.errors import InvalidInput
from coalition.ids import NETWORK, MemberId
from schema.context import Context
from schema.inputs import MemberBy
from schema.web.faults import Forbidden

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def acting_for(context: Context, session: "Session", named: MemberBy | None, *, field: str) -> MemberId:
    """The member for whom it is done.

    Raises:
        InvalidInput: a member named somebody else, or the operator nobody.
        Forbidden: the token is a partner's, or finance's.
    """
    viewer = context.viewer
    found = None if named is None else named.resolve(session, partner_id=NETWORK)
    if viewer.member_id is not None:
        if found not in (None, viewer.member_id):
            raise InvalidInput("With a member's token this is done for oneself.", field=("input", field))
        return viewer.member_id
    if not viewer.is_operator:
        raise Forbidden("This is a member's own to do, or the operator's on a member's behalf.")
    if found is None:
        raise InvalidInput("Name the member for whom this is done.", field=("input", field))
    return found
