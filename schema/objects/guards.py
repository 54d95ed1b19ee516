"""Guard rails: limits and what was used of them, wishes under review, the register of refusals."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import orjson
import strawberry

from coalition import reviewing
from coalition.amounts import Points
from coalition.ids import MemberId, PartnerId
from coalition.ledger import TransactionRef
from partners import limits, refusals
from schema.context import Info
from schema.cost import FEW
from schema.enums import LimitAction, LimitMeasure, LimitPosting, LimitScope, ReviewState
from schema.ids import review_id, to_global
from schema.objects.partners import Partner, partner_of
from schema.refusals import UserErrorCode

if TYPE_CHECKING:
    from schema.objects.members import Member
    from schema.objects.transactions import Transaction


@strawberry.type(description="What a store or a partner has used of a limit, as it was derived last.")
class LimitFigure:
    """A figure."""

    partner_id: strawberry.Private[PartnerId]
    store: str | None = strawberry.field(description="The store; null: the partner as a whole.")
    used: Points = strawberry.field(description="Postings or points, whichever the limit counts.")
    peak: Points = strawberry.field(description="The most that was used since this version was published.")
    peak_at: dt.datetime = strawberry.field(description="When that was.")
    overshot: Points = strawberry.field(
        description="By how much the limit was overshot then: what was posted until the figure told of it."
    )

    @strawberry.field(description="Whose it is.")
    def partner(self, info: Info) -> Partner | None:
        """The partner."""
        return partner_of(info, self.partner_id)


@strawberry.type(
    description="A rule on how much a member, a card, a store or a partner may move. Published a version at a"
    " time and never edited; the last version of a code holds."
)
class Limit:
    """One version of a rule."""

    record: strawberry.Private[limits.Limit]

    @strawberry.field(description="Its name.")
    def code(self) -> str:
        """The code."""
        return self.record.code

    @strawberry.field(description="1, 2, 3 … per code.")
    def version(self) -> int:
        """Which version."""
        return self.record.version

    @strawberry.field(description="Whose postings it counts together.")
    def scope(self) -> LimitScope:
        """Whose."""
        return self.record.scope

    @strawberry.field(description="Which postings it is about.")
    def posting(self) -> LimitPosting:
        """Which postings."""
        return self.record.posting

    @strawberry.field(description="What it counts.")
    def measure(self) -> LimitMeasure:
        """What."""
        return self.record.measure

    @strawberry.field(description="Over the last so many seconds; null: over the open window.")
    def period_seconds(self) -> int | None:
        """How long."""
        return None if self.record.period is None else int(self.record.period.total_seconds())

    @strawberry.field(description="So many are allowed; null: this version ended the rule.")
    def most(self) -> Points | None:
        """How many."""
        return None if self.record.most is None else Points(self.record.most)

    @strawberry.field(description="What becomes of a posting that it leaves no room for.")
    def action(self) -> LimitAction:
        """What happens."""
        return self.record.action

    @strawberry.field(description="It counts and limits this partner's postings only; null: all partners'.")
    def partner(self, info: Info) -> Partner | None:
        """The partner."""
        return partner_of(info, self.record.partner_id)

    @strawberry.field(description="When it was published; it holds from then on.")
    def published_at(self) -> dt.datetime:
        """When."""
        return self.record.published_at

    @strawberry.field(description="Who published it.")
    def published_by(self) -> str:
        """Who."""
        return self.record.published_by

    @strawberry.field(
        description="What stores or partners used of it, those that used most first, at most 100; empty for"
        " the exact limits of members and cards.",
        directives=[FEW],
    )
    def figures(self, info: Info) -> list[LimitFigure]:
        """The figures."""
        found = limits.figures_of(info.context.session, self.record)
        info.context.loaded.partners.want(figure.partner_id for figure in found)
        return [
            LimitFigure(
                partner_id=figure.partner_id,
                store=figure.store,
                used=Points(figure.used),
                peak=Points(figure.peak),
                peak_at=figure.peak_at,
                overshot=Points(figure.overshot),
            )
            for figure in found
        ]

    @strawberry.field(description="When the figures were derived last; null: never.")
    def figures_as_of(self, info: Info) -> dt.datetime | None:
        """Their age."""
        return limits.figures_as_of(info.context.session)

    @classmethod
    def of(cls, record: limits.Limit) -> "Limit":
        """As the API shows it."""
        return cls(record=record)


@strawberry.type(
    description="A wish that a limit holds for review. Nothing of it has moved before it is posted."
)
class Review:
    """A wish that waits, or did."""

    member_id: strawberry.Private[MemberId]
    partner_id: strawberry.Private[PartnerId]
    posted: strawberry.Private[TransactionRef | None]
    id: strawberry.ID = strawberry.field(description="What releaseReview and rejectReview name it by.")
    state: ReviewState = strawberry.field(description="Where it stands.")
    kind: str = strawberry.field(description="What it would post: issue, redeem, authorize or transfer.")
    points: Points = strawberry.field(description="How many points.")
    store: str | None = strawberry.field(description="The receipt's store.")
    terminal: str | None = strawberry.field(description="The receipt's terminal.")
    receipt_number: str | None = strawberry.field(description="The receipt's number.")
    limit: str = strawberry.field(description="The code of the limit that holds it.")
    facts: str = strawberry.field(description="What that limit had counted, as JSON.")
    asked_at: dt.datetime = strawberry.field(description="When it was first asked.")
    decided_by: str | None = strawberry.field(description="Who decided; null: nobody did.")
    decided_at: dt.datetime | None = strawberry.field(description="When.")

    @strawberry.field(description="Whose points.")
    def member(self) -> Annotated["Member", strawberry.lazy("schema.objects.members")]:
        """The member."""
        from schema.objects.members import Member  # noqa: PLC0415 - not needed to build the other types

        return Member.of(self.member_id)

    @strawberry.field(description="Who asked; null: a member or the operator.")
    def partner(self, info: Info) -> Partner | None:
        """The partner."""
        return partner_of(info, self.partner_id)

    @strawberry.field(description="What it became.")
    def transaction(self) -> Annotated["Transaction", strawberry.lazy("schema.objects.transactions")] | None:
        """The posting."""
        from schema.objects.transactions import Transaction  # noqa: PLC0415 - as above

        return None if self.posted is None else Transaction.of_ref(self.posted)

    @classmethod
    def of(cls, record: reviewing.Review) -> "Review":
        """As the API shows it."""
        return cls(
            member_id=record.member_id,
            partner_id=record.partner_id,
            posted=record.posted,
            id=review_id(record.member_id, record.review_id),
            state=record.state,
            kind=record.kind,
            points=record.points,
            store=record.store,
            terminal=record.terminal,
            receipt_number=record.receipt_number,
            limit=record.limit,
            facts=orjson.dumps(record.facts).decode(),
            asked_at=record.asked_at,
            decided_by=record.decided_by,
            decided_at=record.decided_at,
        )


@strawberry.type(description="An entry of the register of refusals: what was asked, and what was in the way.")
class RegisteredRefusal:
    """A refusal that somebody got."""

    partner_id: strawberry.Private[PartnerId | None]
    refused_at: dt.datetime = strawberry.field(description="When, by the programme's clock.")
    code: UserErrorCode = strawberry.field(description="Which refusal.")
    posting: str = strawberry.field(description="What was asked: issue, redeem …, or a mutation's name.")
    member_id: strawberry.ID | None = strawberry.field(
        description="The member's global id, where the wish named one that it could know."
    )
    points: Points | None = strawberry.field(description="How many points were asked for, if points were.")
    store: str | None = strawberry.field(description="The receipt's store.")
    terminal: str | None = strawberry.field(description="The receipt's terminal.")
    receipt_number: str | None = strawberry.field(description="The receipt's number.")
    client: str | None = strawberry.field(description="The client id of who asked; `import` for a file.")
    request_id: str | None = strawberry.field(description="The request's id, as in the log.")
    facts: str | None = strawberry.field(
        description="What the refusal rests on, as JSON. Null to a partner: it may tell of others' business."
    )
    unwritten: int | None = strawberry.field(
        description="How many refusals of that server just before this were too many to be written. Null to a"
        " partner: they are of all callers."
    )

    @strawberry.field(description="Who asked; null: the operator, finance, or a member.")
    def partner(self, info: Info) -> Partner | None:
        """The partner."""
        return partner_of(info, self.partner_id)

    @classmethod
    def of(cls, record: refusals.Refused, *, whole: bool) -> "RegisteredRefusal":
        """As the API shows it."""
        return cls(
            partner_id=record.partner_id,
            refused_at=record.refused_at,
            code=UserErrorCode[record.code],
            posting=record.posting,
            member_id=None if record.member_id is None else to_global("Member", record.member_id),
            points=None if record.points is None else Points(record.points),
            store=record.store,
            terminal=record.terminal,
            receipt_number=record.receipt_number,
            client=record.client,
            request_id=record.request_id,
            facts=orjson.dumps(record.facts).decode() if whole else None,
            unwritten=min(record.unwritten, 2**31 - 1) if whole else None,
        )
