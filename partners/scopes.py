"""What a token may be good for, and who may hold which scope."""

from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """The scopes of the API."""

    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    POINTS_ISSUE = "points:issue"
    POINTS_REDEEM = "points:redeem"
    POINTS_REVERSE = "points:reverse"
    SETTLEMENT_READ = "settlement:read"
    SETTLEMENT_OPERATE = "settlement:operate"
    """Reads as `settlement:read` does, and no more: kept for operating the settlement over the API, which is
    done at the command line as yet."""
    SETTLEMENT_APPROVE = "settlement:approve"
    """Likewise, for approving it."""
    PROGRAMME_ADMIN = "programme:admin"
    MEMBER_SELF = "member:self"


PARTNER_SCOPES: Final = frozenset(
    {
        Scope.MEMBERS_READ,
        Scope.MEMBERS_WRITE,
        Scope.POINTS_ISSUE,
        Scope.POINTS_REDEEM,
        Scope.POINTS_REVERSE,
        Scope.SETTLEMENT_READ,
    }
)
"""What a partner's client may be given: all of it in the partner's own name."""

NETWORK_SCOPES: Final = frozenset(
    {
        Scope.SETTLEMENT_READ,
        Scope.SETTLEMENT_OPERATE,
        Scope.SETTLEMENT_APPROVE,
        Scope.PROGRAMME_ADMIN,
    }
)
"""What a client of the operator or of finance may be given; it moves no points."""
