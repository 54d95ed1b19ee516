"""Enums of the rooms below, as the API shows them: with a word on each value.

Types of the API take them from here, so that they are part of the schema before anything names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

import strawberry

from coalition.adjusting import AdjustmentReason, AdjustmentState
from coalition.identifier_changes import IdentifierState
from coalition.identifiers import IdentifierKind
from coalition.pooling import PoolSpenders
from coalition.reviewing import ReviewState
from partners.agreements import ReturnPolicy
from partners.directory import PartnerState
from partners.earning import EarnRounding
from partners.expiry import Activity, ActivityWhere, ExpiryRule
from partners.limits import LimitAction, LimitMeasure, LimitPosting, LimitScope
from settlement.netting import Kind
from settlement.runs import RunState

if TYPE_CHECKING:
    from strawberry.types.enum import StrawberryEnumDefinition

__all__ = [
    "Activity",
    "ActivityWhere",
    "AdjustmentReason",
    "AdjustmentState",
    "EarnRounding",
    "ExpiryRule",
    "IdentifierKind",
    "IdentifierState",
    "Kind",
    "LimitAction",
    "LimitMeasure",
    "LimitPosting",
    "LimitScope",
    "PartnerState",
    "PoolSpenders",
    "ReturnPolicy",
    "ReviewState",
    "RunState",
    "TransactionKind",
]

E = TypeVar("E", bound=type[Enum])


def _show(enum: E, description: str, values: Mapping[str, str], *, name: str | None = None) -> None:
    """Make the enum part of the schema, with a description of it and of each of its values."""
    assert set(values) == {member.name for member in enum}, (
        f"{enum.__name__}: a word on each value, and no other"
    )
    made = strawberry.enum(enum, name=name, description=description)
    definition: StrawberryEnumDefinition = cast("Any", made).__strawberry_definition__
    for value in definition.values:
        value.description = values[value.name]


_show(
    ExpiryRule,
    "From what the last day of points is counted.",
    {
        "TERM": "So many months after the issue; without months: never.",
        "END_OF_MONTH": "The end of the month in which that term ends.",
        "END_OF_QUARTER": "The end of the calendar quarter in which that term ends.",
        "END_OF_YEAR": "The end of the calendar year in which that term ends.",
        "FIXED_DATE": "A date, and that day of each year after it.",
        "INACTIVITY": "So many months after the issue, counted again from each activity of the member's.",
    },
)
_show(
    Activity,
    "What keeps points alive that lapse by inactivity.",
    {
        "ANY": "An issue, a redemption, or a capture.",
        "ISSUE": "An issue.",
        "REDEEM": "A redemption, or a capture.",
    },
)
_show(
    ActivityWhere,
    "Whose business the activity must be at.",
    {"ANYWHERE": "Any partner's.", "AT_ISSUER": "The partner's who issued the points."},
)
_show(
    IdentifierKind,
    "What kind of thing a member is known by; each value is unique in its kind.",
    {
        "CARD": "A card's number: 4 to 32 letters or digits.",
        "PHONE": "A phone's number with the country's code, such as +49 30 901820; or, where the programme"
        " has a region, as it is dialled there.",
        "EMAIL": "An e-mail address.",
        "PARTNER_REFERENCE": "Your own reference; unique within your business and seen by nobody else.",
    },
)

_show(
    IdentifierState,
    "How an identifier stands.",
    {
        "ACTIVE": "The member can be named by it.",
        "BLOCKED": "Nobody can be named by it until it is unblocked.",
        "REPLACED": "A card in place of which the member has another; out of use for good.",
        "UNLINKED": "No member is known by it any more.",
    },
)

_show(
    PartnerState,
    "Where a partner stands between joining and leaving.",
    {
        "ONBOARDING": "Admitted, and not trading yet.",
        "ACTIVE": "Issues and redeems.",
        "SUSPENDED": "Stopped for now.",
        "LEAVING": "On the way out: it issues no more.",
        "LEFT": "Gone for good.",
    },
)

_show(
    EarnRounding,
    "What happens to a fraction of a point that an amount earns.",
    {
        "DOWN": "Dropped.",
        "HALF_EVEN": "The nearest whole point; from the middle, the even one.",
        "UP": "Made a whole point.",
    },
)

_show(
    ReturnPolicy,
    "How much of an issue can be taken back by reversing it.",
    {
        "PENDING_ONLY": "Only what is pending: to undo more is refused with RETURN_POLICY_FORBIDS.",
        "AVAILABLE": "What the member still has. To undo more is not refused: the reversal takes less than"
        " was asked, and the rest is forgone. Read Transaction.points and missingPoints of its answer.",
        "UNLIMITED": "All. The reversal takes what the member still has, and what was spent the member owes"
        " (missingPoints): its next points pay it off.",
    },
)

_show(
    Kind,
    "What an obligation is for.",
    {
        "ISSUE": "The funders pay the issue charge, s + f.",
        "ISSUE_REVERSAL": "The network returns the issue charge of points that were taken back.",
        "REDEMPTION_CHARGE": "The funders pay c2 for points that were redeemed.",
        "REDEMPTION_CHARGE_REVERSAL": "The network returns c2 of points that came back.",
        "REIMBURSEMENT": "The network pays the redeemer R.",
        "REIMBURSEMENT_REVERSAL": "The redeemer returns R of points that it gave back.",
        "BREAKAGE": "The network returns a share of f for points that expired.",
        "RECOVERY": "Points paid a deficit off: the funders pay c2, the claimant is paid R.",
    },
    name="ObligationKind",
)

_show(
    RunState,
    "Where a run stands.",
    {
        "CALCULATED": "It passed its checks.",
        "HELD": "It failed a check, and pays nobody.",
        "SUPERSEDED": "Other inputs gave another run for its window.",
    },
    name="RunState",
)

_show(
    LimitScope,
    "Whose postings a limit counts together.",
    {
        "MEMBER": "A member's, and of the records that are merged into it. Exact.",
        "CARD": "Those that named the member by one card, whomever it was merged into then. Exact, likewise.",
        "STORE": "Those whose receipt names one store of a partner: no authorisation does. Acts on a figure"
        " at most 3 seconds old, and may be overshot by what is posted meanwhile (LimitFigure.overshot).",
        "PARTNER": "A partner's. Acts on a figure, likewise.",
    },
)

_show(
    LimitPosting,
    "Which postings a limit is about.",
    {
        "ISSUE": "Issues.",
        "REDEEM": "Redemptions and authorisations. A capture is never refused: it was promised.",
        "BOTH": "Issues, redemptions and authorisations, counted together.",
        "TRANSFER": "What a member gives to other members.",
    },
)

_show(
    LimitMeasure,
    "What a limit counts.",
    {"COUNT": "How many postings.", "POINTS": "How many points they moved."},
)

_show(
    LimitAction,
    "What becomes of a posting that a limit leaves no room for.",
    {
        "REFUSE": "It is refused: LIMIT_EXCEEDED.",
        "REVIEW": "It waits for the operator: UNDER_REVIEW until released, and sent again under its key.",
    },
)

_show(
    ReviewState,
    "Where a wish stands that was held for review.",
    {
        "WAITING": "The operator has not decided.",
        "RELEASED": "It is posted when it is sent again.",
        "REJECTED": "It is refused when it is sent again: REVIEW_REJECTED.",
        "POSTED": "It was sent again and posted: released, or because there was room for it by then.",
    },
)

_show(
    AdjustmentReason,
    "Why an operator adjusts.",
    {
        "GOODWILL": "To please a member.",
        "SERVICE_FAILURE": "Something went wrong that was nobody's purchase.",
        "CORRECTION": "What was posted was wrong, and cannot be reversed any more.",
        "FRAUD": "Points that were got by fraud are taken.",
        "MIGRATION": "Points that come from another programme.",
    },
)

_show(
    AdjustmentState,
    "Where an adjustment stands.",
    {
        "PROPOSED": "It waits for a second person, and has moved nothing.",
        "POSTED": "Its points have moved.",
        "REJECTED": "Somebody decided against it; nothing has moved.",
    },
)

_show(
    PoolSpenders,
    "Who may spend what the others of a pool have.",
    {"ALL": "Each of its members.", "HEAD": "Its head alone."},
)


@strawberry.enum(description="What a transaction did.")
class TransactionKind(Enum):
    """The ledger's kinds."""

    ISSUE = strawberry.enum_value("issue", description="A partner gave points.")
    REDEEM = strawberry.enum_value("redeem", description="A partner took points in payment.")
    AUTHORIZE = strawberry.enum_value("authorize", description="A partner set points aside.")
    CAPTURE = strawberry.enum_value("capture", description="A partner took points that it had set aside.")
    VOID = strawberry.enum_value("void", description="A partner let points go that it had set aside.")
    LAPSE = strawberry.enum_value("lapse", description="Nobody took points that were set aside in time.")
    REVERSE_ISSUE = strawberry.enum_value(
        "reverse_issue", description="An issue was undone, or a part of it."
    )
    REVERSE_REDEMPTION = strawberry.enum_value(
        "reverse_redemption", description="A redemption or a capture was undone, or a part of it."
    )
    MATURE = strawberry.enum_value("mature", description="Pending points became spendable.")
    EXPIRE = strawberry.enum_value("expire", description="Points expired.")
    RECOVERY = strawberry.enum_value(
        "recovery", description="Points paid off what the member owed a partner."
    )
    TRANSFER_OUT = strawberry.enum_value("transfer_out", description="The member gave points to another.")
    TRANSFER_IN = strawberry.enum_value("transfer_in", description="Another member gave the member points.")
    MERGE_OUT = strawberry.enum_value("merge_out", description="The member was merged into another.")
    MERGE_IN = strawberry.enum_value("merge_in", description="Another member was merged into this one.")
    UNMERGE_OUT = strawberry.enum_value("unmerge_out", description="What a merge had brought went back.")
    UNMERGE_IN = strawberry.enum_value("unmerge_in", description="The member is itself again.")
    ADJUST_IN = strawberry.enum_value("adjust_in", description="The operator gave points.")
    ADJUST_OUT = strawberry.enum_value("adjust_out", description="The operator took points.")
    POOL_OUT = strawberry.enum_value(
        "pool_out", description="Another of the member's pool spent points that the member had."
    )
    POOL_IN = strawberry.enum_value(
        "pool_in", description="Others of the member's pool gave what a redemption lacked."
    )
    UNPOOL_OUT = strawberry.enum_value(
        "unpool_out", description="What others of a pool had given went back to them."
    )
    UNPOOL_IN = strawberry.enum_value(
        "unpool_in", description="What another of a pool did not spend after all came back."
    )
