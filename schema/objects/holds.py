"""Holds: points that a partner set aside for a redemption."""

import datetime as dt
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from coalition import holding
from coalition.amounts import Points
from coalition.ledger import TransactionRef
from coalition.paging import Page
from schema.context import Context, Info
from schema.ids import hold_id
from schema.objects.nodes import Connection, Node, connection
from schema.objects.partners import Partner, partner_of
from schema.objects.transactions import Transaction

if TYPE_CHECKING:
    from schema.objects.members import Member


@strawberry.enum(description="Where a hold stands. It ends once.")
class HoldState(Enum):
    """The ledger's states."""

    OPEN = strawberry.enum_value("open", description="Its points are set aside.")
    CAPTURED = strawberry.enum_value("captured", description="The partner took them, or some of them.")
    VOIDED = strawberry.enum_value("voided", description="The partner let them go.")
    LAPSED = strawberry.enum_value("lapsed", description="Nobody captured it in time.")


@strawberry.type(description="Points that a partner set aside for a redemption, and has yet to take.")
class Hold(Node):
    """An authorisation and what came of it."""

    ref: strawberry.Private[TransactionRef]

    def _record(self, info: Info) -> holding.Hold:
        found = info.context.loaded.holds.get(self.ref)
        assert found is not None, "a hold that was found or made exists"
        return found

    @strawberry.field(description="Where it stands, now.")
    def state(self, info: Info) -> HoldState:
        """Its state."""
        return HoldState(self._record(info).state)

    @strawberry.field(description="How many points were set aside.")
    def points(self, info: Info) -> Points:
        """Its size."""
        return self._record(info).points

    @strawberry.field(description="How many of them were taken.")
    def captured(self, info: Info) -> Points:
        """What came of it."""
        return self._record(info).captured

    @strawberry.field(description="When the points were set aside.")
    def authorized_at(self, info: Info) -> dt.datetime:
        """Its beginning."""
        return self._record(info).authorized_at

    @strawberry.field(description="When it lapses by itself, or would have.")
    def lapses_at(self, info: Info) -> dt.datetime:
        """Its end at the latest."""
        return self._record(info).lapses_at

    @strawberry.field(
        description="Of a member's voucher: until when a purchase may be paid with it. Null: a hold of the"
        " partner's own."
    )
    def redeem_by(self, info: Info) -> dt.datetime | None:
        """Until when it is good."""
        return self._record(info).redeem_by

    @strawberry.field(description="Who set them aside, or for whom a member did.")
    def partner(self, info: Info) -> Partner | None:
        """The redeemer to be."""
        return partner_of(info, self._record(info).partner_id)

    @strawberry.field(description="Whose points they are.")
    def member(self) -> Annotated["Member", strawberry.lazy("schema.objects.members")]:
        """The member."""
        from schema.objects.members import Member  # noqa: PLC0415 - each of the two types has fields of the other

        return Member.of(self.ref.member_id)

    @strawberry.field(description="The authorisation.")
    def authorized_by(self) -> Transaction:
        """What opened it."""
        return Transaction.of_ref(self.ref)

    @strawberry.field(
        description="What captured or voided it, or posted its lapse. To a partner a lapse is null: that is"
        " the network's own."
    )
    def closed_by(self, info: Info) -> Transaction | None:
        """What ended it."""
        record = self._record(info)
        if record.closed_by is None or (
            record.state == "lapsed" and info.context.viewer.partner_id is not None
        ):
            return None
        return Transaction.of_ref(record.closed_by)

    @classmethod
    def of(cls, ref: TransactionRef) -> "Hold":
        """A hold that is known to exist and to be the viewer's."""
        return cls(id=hold_id(ref), ref=ref)


def visible_hold(context: Context, ref: TransactionRef | None) -> Hold | None:
    """The hold, if there is one and it is the viewer's to see."""
    if ref is None:
        return None
    viewer = context.viewer
    found = context.loaded.holds.get(ref)
    mine = found is not None and (
        viewer.is_operator or viewer.partner_id == found.partner_id or viewer.member_id == ref.member_id
    )
    return Hold.of(ref) if mine else None


def holds_page(context: Context, page: Page[holding.Hold]) -> Connection[Hold]:
    """A page of holds that are the viewer's to see, with what may be asked about them."""
    loaded = context.loaded
    for hold in page.items:
        loaded.holds.put(hold.ref, hold)
    loaded.partners.want(hold.partner_id for hold in page.items)
    loaded.balances.want(hold.ref.member_id for hold in page.items)
    loaded.transactions.want(hold.ref for hold in page.items)
    made: Connection[Hold] = connection(
        page, [holding.key_of(hold) for hold in page.items], [Hold.of(hold.ref) for hold in page.items]
    )
    return made
