"""All operations, and how a key may be used again."""

from dataclasses import fields, replace

from .batch_wishes import Batch
from .hold_wishes import Authorize, Capture, RedeemVoucher, Void, Voucher
from .identifier_wishes import Change, Enrol, Link, Replace
from .limit_wishes import EndLimit, Limit, Refresh, Review
from .member_wishes import Decide, Erase, Merge, Propose, Reject, Transfer, Unmerge
from .partner_wishes import Plan, Publish, SetState, Stores
from .pool_wishes import Accept, Close, Invite, Leave, Open
from .profile_wishes import Export, Profile
from .programme import Programme
from .programme_wishes import Block, CloseWindow, Confirm, Lapse, Night, PassTime, SetProgramme
from .quote_wishes import QuoteIssue, QuoteRedemption
from .till_wishes import Issue, Redeem, Reverse
from .wishing import Wish

OPERATIONS: tuple[type[Wish], ...] = (
    Issue,
    Redeem,
    Authorize,
    Capture,
    Void,
    Reverse,
    Voucher,
    RedeemVoucher,
    Transfer,
    Merge,
    Unmerge,
    Propose,
    Decide,
    Reject,
    Enrol,
    Link,
    Change,
    Replace,
    Batch,
    Limit,
    EndLimit,
    Refresh,
    Review,
    Erase,
    Open,
    Invite,
    Accept,
    Leave,
    Close,
    Block,
    Night,
    Lapse,
    Confirm,
    SetState,
    Publish,
    Stores,
    Plan,
    QuoteIssue,
    QuoteRedemption,
    Profile,
    Export,
    PassTime,
    CloseWindow,
    SetProgramme,
)


def changed(wish: Wish, p: Programme, *, more: int, member: int | None) -> Wish:
    """The same wish with other points, or of another member: what a key must not be used for twice.

    Also with the member's last word, for which no key stands. Where it names its member by an identifier, that is looked up again: it may have been merged or taken apart.
    """
    have = {field.name for field in fields(wish)}
    if more and "points" in have and isinstance(getattr(wish, "points", None), int):
        wish = replace(wish, points=wish.points + more)  # type: ignore[attr-defined]
    if "confirmation" in have and p.confirmations:
        wish = replace(wish, confirmation=len(p.confirmations) - 1)  # type: ignore[call-arg]
    if member is None and (known := getattr(wish, "identifier", None)) is not None and "member" in have:
        member = p.line_of(p.identifiers[known].member)[-1]
    if member is not None and "member" in have:
        wish = replace(wish, member=member)  # type: ignore[call-arg]
    return wish
