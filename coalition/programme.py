"""The programme: one deployment, one currency of points, one clock."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import select

from coalition.amounts import Points
from coalition.errors import InvalidInput, ProgrammeNotOpen
from coalition.ledger import tables
from coalition.ledger.posting import call

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MAX_LIMIT: Final = 1_000_000_000_000
"""As good as none: a thousand times what one transaction may move."""

_MOST_LATE_DAYS: Final = 3_660
_LONGEST_NAME: Final = 200

LONGEST_VOUCHER: Final = timedelta(hours=1)
"""No longer than the keys that sign vouchers are published after they were retired."""

Mode = Literal["production", "sandbox", "demo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What holds for all partners and members."""

    name: str
    mode: Mode
    zone: str
    """IANA time zone; business dates and agreements' dates are in it."""
    currency: str
    """ISO 4217; the programme settles in it."""
    consent_limit_points: Points
    """What one partner may take from one member in one window without the member's confirmation."""
    hold_time: timedelta
    """How long a hold lasts where the partner names no time."""
    longest_hold: timedelta
    """How long a hold a partner may ask for."""
    late_days: int
    """What occurred longer ago is not taken."""
    transfer_limit_points: Points
    """What a member may give to others in one window."""
    adjustment_limit_points: Points
    """What one operator may adjust without a second person."""
    voucher_limit_points: Points
    """What a member may have in vouchers at a time."""
    voucher_time: timedelta
    """For how long a voucher is good where the member names no time."""
    voucher_grace: timedelta
    """How long after that it is taken from a till that was offline."""
    clock_at: datetime | None
    """Where a sandbox's clock stands; None is the wall clock."""

    @property
    def tz(self) -> ZoneInfo:
        """The zone, ready for arithmetic."""
        return ZoneInfo(self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenProgramme:
    """The operator's wish to begin."""

    name: str
    mode: Mode = "production"
    zone: str = "Europe/Berlin"
    currency: str = "EUR"
    consent_limit_points: Points = Points(5_000)
    starts_at: datetime | None = None
    """Where a sandbox's clock stands at first; in production always None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLimits:
    """The operator's wish to change limits; None leaves one as it is. `Programme` says what each means."""

    consent_limit_points: Points | None = None
    hold_seconds: int | None = None
    longest_hold_seconds: int | None = None
    late_days: int | None = None
    transfer_limit_points: Points | None = None
    adjustment_limit_points: Points | None = None
    voucher_limit_points: Points | None = None
    voucher_seconds: int | None = None
    voucher_grace_seconds: int | None = None


def open_programme(session: Session, command: OpenProgramme) -> Programme:
    """Open the programme in an empty database, with its first window.

    Raises:
        InvalidInput: the zone or currency does not exist, or the name says nothing.
        ProgrammeAlreadyOpen: this database holds one.
        ClockRefused: a start was given in production.
    """
    if not command.name.strip() or len(command.name) > _LONGEST_NAME or not command.name.isprintable():
        raise InvalidInput(
            f"a programme's name has 1 to {_LONGEST_NAME} printable characters", field=("input", "name")
        )
    if command.zone not in available_timezones():
        raise InvalidInput(
            f"{command.zone!r} is no IANA time zone, such as Europe/Berlin", field=("input", "zone")
        )
    if len(command.currency) != 3 or not command.currency.isascii() or not command.currency.isupper():  # noqa: PLR2004 - ISO 4217 codes are three letters
        raise InvalidInput(
            f"{command.currency!r} is no ISO 4217 currency, such as EUR", field=("input", "currency")
        )
    _check_limit(command.consent_limit_points, "consent limit", "consentLimitPoints")
    call(
        session,
        "SELECT ledger.open_programme(%s, %s, %s, %s, %s, %s)",
        (
            command.name,
            command.mode,
            command.zone,
            command.currency,
            command.consent_limit_points,
            command.starts_at,
        ),
    )
    return get_programme(session)


def get_programme(session: Session) -> Programme:
    """The programme of this database.

    Raises:
        ProgrammeNotOpen: none has been opened.
    """
    row = session.execute(select(tables.programme)).one_or_none()
    if row is None:
        raise ProgrammeNotOpen
    return Programme(
        name=row.name,
        mode=row.mode,
        zone=row.zone,
        currency=row.currency,
        consent_limit_points=row.consent_limit_points,
        hold_time=timedelta(seconds=row.hold_seconds),
        longest_hold=timedelta(seconds=row.longest_hold_seconds),
        late_days=row.late_days,
        transfer_limit_points=row.transfer_limit_points,
        adjustment_limit_points=row.adjustment_limit_points,
        voucher_limit_points=row.voucher_limit_points,
        voucher_time=timedelta(seconds=row.voucher_seconds),
        voucher_grace=timedelta(seconds=row.voucher_grace_seconds),
        clock_at=row.clock_at,
    )


def set_limits(session: Session, command: SetLimits) -> Programme:
    """Change those limits that are named, all or none; returns the programme as it is then.

    Open holds and vouchers that were given keep their times, and what was posted stays posted.

    Raises:
        InvalidInput: no limit is named, or one is out of the bounds that its own function below says.
    """
    named = {name: value for name, value in asdict(command).items() if value is not None}
    if not named:
        raise InvalidInput("name at least one limit")
    stands = get_programme(session)
    if command.consent_limit_points is not None:
        set_consent_limit(session, points=command.consent_limit_points)
    if named.keys() & {"hold_seconds", "longest_hold_seconds"}:
        set_hold_limits(
            session,
            hold_time=_seconds(command.hold_seconds, stands.hold_time),
            longest=_seconds(command.longest_hold_seconds, stands.longest_hold),
        )
    if command.late_days is not None:
        set_late_days(session, days=command.late_days)
    if command.transfer_limit_points is not None:
        set_transfer_limit(session, points=command.transfer_limit_points)
    if command.adjustment_limit_points is not None:
        set_adjustment_limit(session, points=command.adjustment_limit_points)
    if named.keys() & {"voucher_limit_points", "voucher_seconds", "voucher_grace_seconds"}:
        set_voucher_limits(
            session,
            points=Points(named.get("voucher_limit_points", stands.voucher_limit_points)),
            good_for=_seconds(command.voucher_seconds, stands.voucher_time),
            grace=_seconds(command.voucher_grace_seconds, stands.voucher_grace),
        )
    return get_programme(session)


def set_consent_limit(session: Session, *, points: Points) -> None:
    """Change what a partner may take in a window without the member's confirmation.

    Raises:
        InvalidInput: less than none, or more than anybody has.
    """
    _check_limit(points, "consent limit", "consentLimitPoints")
    call(session, "SELECT ledger.set_consent_limit(%s)", (points,))


def set_hold_limits(session: Session, *, hold_time: timedelta, longest: timedelta) -> None:
    """Change how long holds last: where a partner names no time, and at the longest. Open holds keep theirs.

    Raises:
        InvalidInput: less than a second, more than a year, or the first is longer than the second.
    """
    if not timedelta(seconds=1) <= longest <= timedelta(days=365):
        raise InvalidInput(
            "the longest time of a hold is from a second to 365 days", field=("input", "longestHoldSeconds")
        )
    if not timedelta(seconds=1) <= hold_time <= longest:
        raise InvalidInput(
            "a hold lasts from a second to the longest time, which is"
            f" {int(longest.total_seconds()):,} seconds",
            field=("input", "holdSeconds"),
        )
    seconds = (int(hold_time.total_seconds()), int(longest.total_seconds()))
    call(session, "SELECT ledger.set_hold_limits(%s, %s)", seconds)


def set_late_days(session: Session, *, days: int) -> None:
    """Change for how many days after it occurred a transaction is taken.

    Raises:
        InvalidInput: fewer than none, or more than ten years.
    """
    if not 0 <= days <= _MOST_LATE_DAYS:
        raise InvalidInput(f"late days must be from 0 to {_MOST_LATE_DAYS:,}", field=("input", "lateDays"))
    call(session, "SELECT ledger.set_late_days(%s)", (days,))


def set_transfer_limit(session: Session, *, points: Points) -> None:
    """Change what a member may give to others in one window.

    Raises:
        InvalidInput: less than none, or more than anybody has.
    """
    _check_limit(points, "transfer limit", "transferLimitPoints")
    call(session, "SELECT ledger.set_transfer_limit(%s)", (points,))


def set_adjustment_limit(session: Session, *, points: Points) -> None:
    """Change what one operator may adjust without a second person.

    Raises:
        InvalidInput: less than none, or more than anybody has.
    """
    _check_limit(points, "adjustment limit", "adjustmentLimitPoints")
    call(session, "SELECT ledger.set_adjustment_limit(%s)", (points,))


def set_voucher_limits(session: Session, *, points: Points, good_for: timedelta, grace: timedelta) -> None:
    """Change what a member may have in vouchers, how long these are good, and how long they are taken after.

    Vouchers that were given keep their times.

    Raises:
        InvalidInput: less than none or more than anybody has, good for more than an hour, or taken for more
            than 30 days after.
    """
    _check_limit(points, "voucher limit", "voucherLimitPoints")
    if not timedelta(seconds=1) <= good_for <= LONGEST_VOUCHER:
        raise InvalidInput("a voucher is good from a second to an hour", field=("input", "voucherSeconds"))
    if not timedelta(0) <= grace <= timedelta(days=30):
        raise InvalidInput(
            "a voucher is taken for 30 days at most after it was good", field=("input", "voucherGraceSeconds")
        )
    seconds = (int(good_for.total_seconds()), int(grace.total_seconds()))
    call(session, "SELECT ledger.set_voucher_limits(%s, %s, %s)", (points, *seconds))


def _seconds(wished: int | None, stands: timedelta) -> timedelta:
    return stands if wished is None else timedelta(seconds=wished)


def _check_limit(points: Points, what: str, field: str) -> None:
    if not 0 <= points <= _MAX_LIMIT:
        raise InvalidInput(f"the {what} must be from 0 to {_MAX_LIMIT:,}", field=("input", field))
