"""The programme, and who asks."""

import datetime as dt
from enum import Enum

import strawberry

from coalition import clock
from coalition.amounts import Points
from coalition.programme import Programme as Programme_
from coalition.windows import open_window
from schema.context import Info
from schema.cost import FEW
from schema.objects.members import Member
from schema.objects.partners import Partner, partner_of


@strawberry.enum(description="How the programme runs.")
class ProgrammeMode(Enum):
    """Its modes."""

    PRODUCTION = strawberry.enum_value("production", description="For real, by the wall clock.")
    SANDBOX = strawberry.enum_value("sandbox", description="To try things; its clock can be set forward.")
    DEMO = strawberry.enum_value("demo", description="Shows a past year; its clock can be set forward.")


@strawberry.type(description="One deployment: one currency of points for many partners.")
class Programme:
    """What holds for all."""

    name: str = strawberry.field(description="Its name.")
    mode: ProgrammeMode = strawberry.field(description="How it runs.")
    zone: str = strawberry.field(description="The IANA time zone of all its dates.")
    currency: str = strawberry.field(description="What it settles in; ISO 4217.")
    consent_limit_points: Points = strawberry.field(
        description="What a partner may take from a member in one window without the member's confirmation."
    )
    hold_seconds: int = strawberry.field(description="How long a hold lasts where the partner names no time.")
    longest_hold_seconds: int = strawberry.field(description="How long a partner may ask for at the most.")
    late_days: int = strawberry.field(
        description="For how many days after it occurred a transaction is still taken."
    )
    transfer_limit_points: Points = strawberry.field(
        description="What a member may give to other members in one window."
    )
    voucher_limit_points: Points = strawberry.field(
        description="What a member may have in vouchers at a time."
    )
    voucher_seconds: int = strawberry.field(
        description="For how long a voucher is good where the member names no time; an hour at most."
    )
    voucher_grace_seconds: int = strawberry.field(
        description="How long after that a till that was offline can still present it."
    )
    adjustment_limit: strawberry.Private[Points]

    @strawberry.field(
        description="What one operator may adjust without a second person; null to all but the operator."
    )
    def adjustment_limit_points(self, info: Info) -> Points | None:
        """The operator's own rule."""
        return self.adjustment_limit if info.context.viewer.is_operator else None

    @strawberry.field(description="The programme's time; in production the wall clock's.")
    def now(self, info: Info) -> dt.datetime:
        """Its clock."""
        return clock.now(info.context.session)

    @strawberry.field(description="The business date of the window that is open.")
    def business_date(self, info: Info) -> dt.date:
        """The open window."""
        return open_window(info.context.session).business_date

    @classmethod
    def of(cls, programme: Programme_) -> "Programme":
        """As the API shows it."""
        return cls(
            name=programme.name,
            mode=ProgrammeMode(programme.mode),
            zone=programme.zone,
            currency=programme.currency,
            consent_limit_points=programme.consent_limit_points,
            hold_seconds=int(programme.hold_time.total_seconds()),
            longest_hold_seconds=int(programme.longest_hold.total_seconds()),
            late_days=programme.late_days,
            transfer_limit_points=programme.transfer_limit_points,
            voucher_limit_points=programme.voucher_limit_points,
            voucher_seconds=int(programme.voucher_time.total_seconds()),
            voucher_grace_seconds=int(programme.voucher_grace.total_seconds()),
            adjustment_limit=programme.adjustment_limit_points,
        )


@strawberry.type(description="The holder of the token.")
class Viewer:
    """Who asks, and with which rights."""

    client_id: str | None = strawberry.field(description="The OAuth client; null for a member.")
    scopes: list[str] = strawberry.field(description="What the token is good for.", directives=[FEW])

    @strawberry.field(
        description="The partner in whose name the token acts; null for the operator, finance and members."
    )
    def partner(self, info: Info) -> Partner | None:
        """The partner."""
        return partner_of(info, info.context.viewer.partner_id)

    @strawberry.field(description="The member whose token it is; null for all others.")
    def member(self, info: Info) -> Member | None:
        """The member."""
        member_id = info.context.viewer.member_id
        return None if member_id is None else Member.of(member_id)
