"""Refusals as data: what the network says no with, in a payload's `userErrors`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

import strawberry

from coalition import errors
from coalition.amounts import Points

if TYPE_CHECKING:
    # Not for the annotations, which strawberry reads when the schema is built.
    from coalition.errors import CoalitionError


def _described(refusal: type[CoalitionError]) -> Any:
    return strawberry.enum_value(refusal.code, description=(refusal.__doc__ or "").strip().splitlines()[0])


UserErrorCode: Any = strawberry.enum(
    cast("Any", Enum)("UserErrorCode", [(refusal.code, _described(refusal)) for refusal in errors.REFUSALS]),
    name="UserErrorCode",
    description="Why the network says no. The order is precedence: where several hold, the first is reported."
    " But what is not yours, or is another's already, is said to be so before anything that tells more of it:"
    " TRANSACTION_UNKNOWN before MEMBER_ERASED, IDENTIFIER_UNKNOWN likewise, IDENTIFIER_TAKEN before"
    " CARD_REPLACED. What an amount of money earns depends on when: there OCCURRED_IN_FUTURE is said before"
    " POINTS_INVALID."
    " DATABASE_UNAVAILABLE never stands in a payload: it is the top-level error of an answer 503.",
)


@strawberry.interface(description="A refusal. Nothing has moved.")
class UserError:
    """What every refusal tells."""

    code: UserErrorCode = strawberry.field(description="Which refusal, for programs.")
    message: str = strawberry.field(description="What is wrong, for people; the wording may change.")
    field: list[str] | None = strawberry.field(
        description='The path of the field at fault, such as ["input", "points"]; null where no one field is.'
    )
    retryable: bool = strawberry.field(
        description="Whether to send the same request again, a little later, with nothing else done by you:"
        " what is in the way passes soon, or an operator is about to decide. False also where it could be"
        " granted another time, as once the clock has caught up (OCCURRED_IN_FUTURE), a limit has room again"
        " (LIMIT_EXCEEDED) or a hold is over (MEMBER_HAS_HOLDS): the code says what is to happen before."
    )


@strawberry.type(description="A refusal that has no more to tell.")
class Refusal(UserError):
    """Any refusal without a type of its own."""


@strawberry.type(description="The member has fewer spendable points than the redemption asks for.")
class InsufficientPoints(UserError):
    """With what is there and what was asked."""

    available: Points = strawberry.field(description="What the member can spend now.")
    requested: Points = strawberry.field(description="What was asked for.")


@strawberry.type(description="Beyond the programme's limit the member must confirm the redemption.")
class ConsentRequired(UserError):
    """With what the partner may still take without asking."""

    allowed: Points = strawberry.field(
        description="How many points this partner can still take from this member in the open window"
        " without the member's confirmation."
    )


@strawberry.type(description="A member gives away at most so many points in one window.")
class TransferLimitExceeded(UserError):
    """With what may still be given."""

    allowed: Points = strawberry.field(description="How many points may still be given in the open window.")
    requested: Points = strawberry.field(description="How many were to be given.")


@strawberry.type(description="One member takes at most so many points of the others of a pool in one window.")
class PoolLimitExceeded(UserError):
    """With what may still be taken."""

    allowed: Points = strawberry.field(description="How many of the others' points may still be taken.")
    requested: Points = strawberry.field(description="How many were needed.")


@strawberry.type(description="A member has at most so many points in vouchers at a time.")
class VoucherLimitExceeded(UserError):
    """With what may still be put into one."""

    allowed: Points = strawberry.field(description="How many points may still be put into vouchers now.")
    requested: Points = strawberry.field(description="How many were to be.")


@strawberry.type(description="The partner has no agreement for the date of the transaction.")
class AgreementMissing(UserError):
    """With the date."""

    date: dt.date | None = strawberry.field(
        description="The date, in the programme's zone, for which there is none."
    )


@strawberry.type(description="An agreement may not start before the open window began.")
class AgreementBackdated(UserError):
    """With the first date that is possible."""

    earliest: dt.date | None = strawberry.field(
        description="The earliest date from which an agreement can hold."
    )


@strawberry.type(description="The partner is not in a state in which it may do this.")
class PartnerNotActive(UserError):
    """With the state."""

    state: str | None = strawberry.field(description="The partner's state.")


@strawberry.type(
    description="A limit leaves no room for it now. Of a limit that counts other partners' postings too, no"
    " more is told than whose it is."
)
class LimitExceeded(UserError):
    """With what the caller may know of it."""

    scope: str | None = strawberry.field(description="Whose: member, card, store or partner.")
    left: Points | None = strawberry.field(
        description="What is left of it, in points or postings, whichever it counts."
    )
    again_at: dt.datetime | None = strawberry.field(
        description="When there is room for this again, if nothing else is posted; null: not known, or never."
    )


REFUSAL_TYPES: Final[tuple[type[UserError], ...]] = (
    Refusal,
    InsufficientPoints,
    ConsentRequired,
    TransferLimitExceeded,
    PoolLimitExceeded,
    VoucherLimitExceeded,
    AgreementMissing,
    AgreementBackdated,
    PartnerNotActive,
    LimitExceeded,
)


def _whole(value: Any) -> Points:
    return Points(int(value))


def _date(value: Any) -> dt.date | None:
    return dt.date.fromisoformat(value) if isinstance(value, str) else value


def _moment(value: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value


def _perhaps(value: Any) -> Points | None:
    return None if value is None else Points(int(value))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


# Which type a refusal has, and how its facts (the kernel's arrive as JSON) become fields.
_RICHER: Final[Mapping[str, tuple[type[UserError], Mapping[str, Callable[[Any], Any]]]]] = {
    errors.InsufficientPoints.code: (InsufficientPoints, {"available": _whole, "requested": _whole}),
    errors.ConsentRequired.code: (ConsentRequired, {"allowed": _whole}),
    errors.TransferLimitExceeded.code: (TransferLimitExceeded, {"allowed": _whole, "requested": _whole}),
    errors.PoolLimitExceeded.code: (PoolLimitExceeded, {"allowed": _whole, "requested": _whole}),
    errors.VoucherLimitExceeded.code: (VoucherLimitExceeded, {"allowed": _whole, "requested": _whole}),
    errors.AgreementMissing.code: (AgreementMissing, {"date": _date}),
    errors.AgreementBackdated.code: (AgreementBackdated, {"earliest": _date}),
    errors.PartnerNotActive.code: (PartnerNotActive, {"state": _text}),
    errors.LimitExceeded.code: (LimitExceeded, {"scope": _text, "left": _perhaps, "again_at": _moment}),
}


def as_user_error(refusal: CoalitionError) -> UserError:
    """The refusal as data, with its facts."""
    kind, conversions = _RICHER.get(refusal.code, (Refusal, {}))
    told = refusal.told
    facts = {name: convert(told.get(name)) for name, convert in conversions.items()}
    return kind(
        code=UserErrorCode[refusal.code],
        message=refusal.message,
        field=list(refusal.path) or None,
        retryable=refusal.retryable,
        **facts,
    )
