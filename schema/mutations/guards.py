"""Guard rails: the operator publishes limits and stores, decides on reviews, and blocks members."""

import datetime as dt
from collections.abc import Callable
from typing import Annotated, Any

import strawberry
from sqlalchemy.orm import Session

from coalition import blocking, reviewing
from coalition.amounts import Points
from coalition.errors import MemberUnknown, ReviewUnknown
from coalition.ids import NETWORK
from partners import directory, limits, stores
from partners.scopes import Scope
from schema.context import Info
from schema.cost import FEW, WRITES
from schema.enums import LimitAction, LimitMeasure, LimitPosting, LimitScope
from schema.ids import review_in
from schema.inputs import MemberBy
from schema.mutations.members import MemberPayload
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.guards import Limit, Review
from schema.objects.partners import Store
from schema.viewer import Requires


@strawberry.input(description="A rule that holds from now on, in place of the one that has the code.")
class PublishLimitInput:
    """A limit."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is your client."
    )
    code: str = strawberry.field(description="Its name: small letters, digits, hyphens.")
    scope: LimitScope = strawberry.field(description="Whose postings are counted together.")
    posting: LimitPosting = strawberry.field(description="Which postings.")
    measure: LimitMeasure = strawberry.field(description="What is counted.")
    most: Points = strawberry.field(description="So many are allowed in the period; 0: none.")
    period_seconds: int | None = strawberry.field(
        default=None,
        description="Over the last so many seconds, at least 60 for a store or a partner; null: the open"
        " window.",
    )
    action: LimitAction = strawberry.field(
        default=LimitAction.REFUSE, description="What becomes of a posting that there is no room for."
    )
    partner: str | None = strawberry.field(
        default=None, description="Count and limit only the postings of the partner of this code; null: all."
    )


@strawberry.input(description="A rule that is to hold no more.")
class EndLimitInput:
    """The end of a limit."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for publishLimit.")
    code: str = strawberry.field(description="The limit's code.")


@strawberry.input(description="A place where a partner sells.")
class StoreInput:
    """A store."""

    code: str = strawberry.field(description="As receipts have it; at most 64 characters.")
    name: str = strawberry.field(description="What people call it.")
    since: dt.date | None = strawberry.field(
        default=None, description="Its first day; null: it has always been there."
    )
    closed: dt.date | None = strawberry.field(default=None, description="Its last day; null: it is open.")


@strawberry.input(
    description="Stores that a partner has, new or changed; others stay as they are. From the first one on,"
    " its receipts must name one of them."
)
class PublishStoresInput:
    """Stores."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for publishLimit.")
    partner: str = strawberry.field(description="The partner's code.")
    stores: list[StoreInput] = strawberry.field(description="1 to 1,000 stores.")


@strawberry.input(description="A wish under review that may pass.")
class ReleaseReviewInput:
    """A decision."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for publishLimit.")
    review: strawberry.ID = strawberry.field(description="The review's id.")


@strawberry.input(description="A wish under review that may not pass.")
class RejectReviewInput:
    """The other decision: a type of its own, so that one key cannot mean both."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for publishLimit.")
    review: strawberry.ID = strawberry.field(description="The review's id.")


_REASON = "Why; at most 200 characters. It is kept with the change, for the operator and the member."


@strawberry.input(description="A member who is to be blocked.")
class BlockMemberInput:
    """Whom, and why."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for publishLimit.")
    member: MemberBy = strawberry.field(description="Who.")
    reason: str | None = strawberry.field(default=None, description=_REASON)


@strawberry.input(description="A blocked member who is to take part again.")
class UnblockMemberInput:
    """Whom, and why."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for publishLimit.")
    member: MemberBy = strawberry.field(description="Who.")
    reason: str | None = strawberry.field(default=None, description=_REASON)


@strawberry.type(description="What came of publishing or ending a limit.")
class LimitPayload(Payload):
    """The rule."""

    limit: Limit | None = strawberry.field(description="The version that was published.")


@strawberry.type(description="What came of publishing stores.")
class StoresPayload(Payload):
    """The stores."""

    stores: list[Store] = strawberry.field(description="Those that were published.", directives=[FEW])


@strawberry.type(description="What came of a decision.")
class ReviewPayload(Payload):
    """The review."""

    review: Review | None = strawberry.field(description="The wish that was decided on.")


def _publish_limit(session: Session, wish: PublishLimitInput, by: str) -> limits.Limit:
    partner = None if wish.partner is None else directory.get_partner_by_code(session, wish.partner)
    seconds = wish.period_seconds
    return limits.publish_limit(
        session,
        limits.PublishLimit(
            code=wish.code,
            scope=wish.scope,
            posting=wish.posting,
            measure=wish.measure,
            period=None if seconds is None else dt.timedelta(seconds=seconds),
            most=wish.most,
            action=wish.action,
            partner_id=None if partner is None else partner.partner_id,
            published_by=by,
        ),
    )


def _limit_payload(
    info: Info, wish: PublishLimitInput | EndLimitInput, work: Callable[[Session], limits.Limit]
) -> LimitPayload:
    def published(session: Session) -> dict[str, Any]:
        made = work(session)
        return {"code": made.code, "version": made.version}

    outcome = once(info.context, wish, published)
    if outcome.value is None:
        return LimitPayload(replayed=False, user_errors=outcome.user_errors, limit=None)
    result, replayed = outcome.value
    found = limits.find_limit(info.context.session, code=result["code"], version=result["version"])
    return LimitPayload(replayed=replayed, user_errors=[], limit=None if found is None else Limit.of(found))


def _decided(info: Info, wish: Any, kind: str, decide: Callable[..., None]) -> ReviewPayload:
    named = review_in(str(wish.review))
    by = info.context.viewer.name

    def work(session: Session) -> dict[str, Any]:
        if named is None:
            raise ReviewUnknown
        decide(session, *named, by=by)
        return {"decision": kind}

    outcome = once(info.context, wish, work)
    if outcome.value is None or named is None:
        return ReviewPayload(replayed=False, user_errors=outcome.user_errors, review=None)
    found = reviewing.find_review(info.context.session, *named)
    return ReviewPayload(
        replayed=outcome.value[1], user_errors=[], review=None if found is None else Review.of(found)
    )


def _blocked(info: Info, wish: Any, *, blocked: bool) -> MemberPayload:
    def work(session: Session) -> dict[str, Any]:
        member_id = wish.member.find(session, partner_id=NETWORK, in_use=False)
        if member_id is None:
            raise MemberUnknown
        blocking.set_blocked(
            session, member_id, blocked=blocked, by=info.context.viewer.name, reason=wish.reason
        )
        return {"member_id": str(member_id)}

    return MemberPayload.of(once(info.context, wish, work))


@strawberry.type
class GuardMutations:
    """Limits, stores, reviews, blocks."""

    @strawberry.mutation(
        description="Publish a limit; it holds from now on, in place of the one that has its code.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def publish_limit(
        self,
        info: Info,
        input: Annotated[
            PublishLimitInput,
            strawberry.argument(
                description="The limit's code and all that it says: one that has the code already is replaced"
                " as a whole."
            ),
        ],
    ) -> LimitPayload:
        """Publish a limit."""
        by = info.context.viewer.name
        return _limit_payload(info, input, lambda session: _publish_limit(session, input, by))

    @strawberry.mutation(
        description="End a limit. It stays in the list of those that were ended.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def end_limit(
        self,
        info: Info,
        input: Annotated[
            EndLimitInput, strawberry.argument(description="The code of the limit that is to hold no longer.")
        ],
    ) -> LimitPayload:
        """End a limit."""
        by = info.context.viewer.name
        return _limit_payload(
            info, input, lambda session: limits.end_limit(session, code=input.code, published_by=by)
        )

    @strawberry.mutation(
        description="Publish a partner's stores. A receipt that names none of them is refused from then on.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def publish_stores(
        self,
        info: Info,
        input: Annotated[
            PublishStoresInput,
            strawberry.argument(
                description="Whose stores, and from when to when each is one. What is said of a store holds"
                " from now on; stores that are not named here stay as they are."
            ),
        ],
    ) -> StoresPayload:
        """Publish stores."""
        by = info.context.viewer.name
        given = [
            stores.Store(code=one.code, name=one.name, since=one.since, closed=one.closed)
            for one in input.stores
        ]

        def publish(session: Session) -> dict[str, Any]:
            partner = directory.get_partner_by_code(session, input.partner)
            command = stores.PublishStores(partner_id=partner.partner_id, stores=given, published_by=by)
            return {"stores": [one.code for one in stores.publish_stores(session, command)]}

        outcome = once(info.context, input, publish)
        if outcome.value is None:
            return StoresPayload(replayed=False, user_errors=outcome.user_errors, stores=[])
        shown = sorted((Store.of(one) for one in given), key=lambda one: one.code)
        return StoresPayload(replayed=outcome.value[1], user_errors=[], stores=shown)

    @strawberry.mutation(
        description="Let a wish pass that waits for review: it is posted when it is sent again under its"
        " key.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def release_review(
        self,
        info: Info,
        input: Annotated[
            ReleaseReviewInput,
            strawberry.argument(
                description="Which wish may pass. Nothing is posted by it: the till sends its wish again."
            ),
        ],
    ) -> ReviewPayload:
        """Release."""
        return _decided(info, input, "released", reviewing.release)

    @strawberry.mutation(
        description="Do not let a wish pass that waits for review, or that was released and not posted yet.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def reject_review(
        self,
        info: Info,
        input: Annotated[
            RejectReviewInput,
            strawberry.argument(
                description="Which wish may not pass: sent again under its key, it is refused for good."
            ),
        ],
    ) -> ReviewPayload:
        """Reject."""
        return _decided(info, input, "rejected", reviewing.reject)

    @strawberry.mutation(
        description="Block a member at once: nothing is issued to it and nothing redeemed. What is held can"
        " still be captured.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def block_member(
        self,
        info: Info,
        input: Annotated[
            BlockMemberInput,
            strawberry.argument(
                description="Who is blocked and why. To block one card alone there is blockIdentifier."
            ),
        ],
    ) -> MemberPayload:
        """Block."""
        return _blocked(info, input, blocked=True)

    @strawberry.mutation(
        description="Let a blocked member take part again.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def unblock_member(
        self,
        info: Info,
        input: Annotated[
            UnblockMemberInput, strawberry.argument(description="Who may take part again, and why.")
        ],
    ) -> MemberPayload:
        """Unblock."""
        return _blocked(info, input, blocked=False)
