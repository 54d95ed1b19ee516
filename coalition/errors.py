"""Why the network says no.

CoalitionError
├── DatabaseUnavailable
├── ProgrammeRefusal     ProgrammeNotOpen, ProgrammeAlreadyOpen, ClockRefused, ClockSkew
├── InputRefusal         InvalidInput, IdentifierInvalid, PointsInvalid, OccurredInFuture, HoldTimeInvalid,
│                        OccurredTooLongAgo
├── BatchRefusal         BatchTooLarge, DuplicateInBatch, BatchStopped
├── MemberRefusal        MemberUnknown, MemberErased, MemberMerged, MemberBlocked, TransferToOneself,
│                        MergeWithOneself, NotMerged, MemberHasHolds, MemberHasPoints
├── IdentifierRefusal    IdentifierUnknown, IdentifierBlocked, CardReplaced, IdentifierUnlinked,
│                        IdentifierTaken
├── PoolRefusal          PoolUnknown, PoolClosed, NotInPool, PoolHeadOnly, AlreadyInPool, PoolFull
├── AdjustmentRefusal    AdjustmentUnknown, AdjustmentDecided, SecondPersonNeeded
├── IdempotencyConflict
├── ReceiptRefusal       ReceiptDuplicate, ReceiptRevision
├── PartnerRefusal       PartnerUnknown, PartnerNotActive, PartnerRoleMissing, StoreUnknown, PartnerCodeTaken,
│                        ClientUnknown
├── AgreementRefusal     AgreementMissing, AgreementBackdated, FundingPlanUnknown, FundingPlanInvalid
├── ReversalRefusal      TransactionUnknown, NotReversible, AlreadyReversed, ReversalExceeded,
│                        ReturnPolicyForbids
├── HoldRefusal          HoldUnknown, HoldCaptured, HoldVoided, HoldLapsed, HoldExceeded
├── VoucherRefusal       VoucherInvalid, VoucherUsed, VoucherExpired, VoucherExceeded
├── PointsRefusal        ConfirmationInvalid, ConsentRequired, TransferLimitExceeded, VoucherLimitExceeded,
│                        PoolLimitExceeded, InsufficientPoints
├── LimitRefusal         LimitExceeded, ReviewRejected, UnderReview, LimitUnknown, ReviewUnknown,
│                        ReviewDecided
└── SettlementRefusal    WindowUnknown, WindowNotOver, WindowBusy, RunHeld

Order is precedence: where several hold, the first in `REFUSALS` is reported. The kernel's codes,
GraphQL's UserErrorCode and the tests stand in this order.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final


class CoalitionError(Exception):
    """A named refusal that carries its facts. Whatever raised it has moved nothing."""

    code: ClassVar[str] = "COALITION_ERROR"
    summary: ClassVar[str] = "The network refused."
    retryable: bool = False
    """Whether to send the same again soon: what is in the way passes by itself, or is being decided."""
    field: ClassVar[tuple[str, ...]] = ()
    """The path of the input field at fault, in the API's spelling; empty where no one field is."""

    def __init__(
        self, message: str | None = None, /, *, field: tuple[str, ...] | None = None, **facts: Any
    ) -> None:
        self.message = message or self.summary.format_map(_Facts(facts))
        self.path = self.field if field is None else field
        self.facts = facts
        super().__init__(self.message)

    @property
    def told(self) -> dict[str, Any]:
        """What of the facts whoever was refused may know; the operator may know them all."""
        return self.facts


class _Facts(dict[str, Any]):
    """Facts for a summary's placeholders; one that is absent shows as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


class DatabaseUnavailable(CoalitionError):
    """The database does not answer; the same call may be repeated later."""

    code = "DATABASE_UNAVAILABLE"
    summary = "The database does not answer. Nothing has moved that you were not told of; try again shortly."
    retryable = True
    reason: str | None = None
    """What the server or libpq said, for who operates the network; it is never answered to who asks."""


class ProgrammeRefusal(CoalitionError):
    """The programme as a whole is not in a state for this."""


class ProgrammeNotOpen(ProgrammeRefusal):
    """No programme has been opened in this database."""

    code = "PROGRAMME_NOT_OPEN"
    summary = "No programme is open in this database. Open one with `coalition programme open`."


class ProgrammeAlreadyOpen(ProgrammeRefusal):
    """One database holds one programme."""

    code = "PROGRAMME_ALREADY_OPEN"
    summary = "A programme is open in this database already; one database holds one programme."


class ClockRefused(ProgrammeRefusal):
    """The programme's clock is never set in production, and never back."""

    code = "CLOCK_REFUSED"
    summary = "The clock can be set forward only, to before the year 9000, and never in production."


class ClockSkew(ProgrammeRefusal):
    """The caller's clock and the database's differ by more than five seconds."""

    code = "CLOCK_SKEW"
    summary = "This server's clock and the database's differ by more than 5 seconds."
    retryable = True


class InputRefusal(CoalitionError):
    """A field's value is not acceptable, whatever the state of the books."""


class InvalidInput(InputRefusal):
    """A field is malformed, too long, or contradicts another."""

    code = "INVALID_INPUT"
    summary = "The input is not valid."


class IdentifierInvalid(InputRefusal):
    """The identifier has no normal form of its kind; the message says what is expected."""

    code = "IDENTIFIER_INVALID"
    summary = "This {kind} is not valid: {expected}."
    field = ("input", "member", "identifier", "value")


class PointsInvalid(InputRefusal):
    """Points are a whole number from 1 to 1,000,000,000 per transaction."""

    code = "POINTS_INVALID"
    summary = (
        "{points} is not a number of points that can be moved: it must be whole, and from 1 to 1,000,000,000."
    )
    field = ("input", "points")


class OccurredInFuture(InputRefusal):
    """A transaction cannot have happened after now."""

    code = "OCCURRED_IN_FUTURE"
    summary = "occurredAt {occurred_at} lies in the future: the programme's time is {now}."
    field = ("input", "occurredAt")


class HoldTimeInvalid(InputRefusal):
    """A hold lasts for at least a second, and at most as long as the programme allows; a voucher, an hour."""

    code = "HOLD_TIME_INVALID"
    summary = "secondsToLive must be from 1 to {longest}; {asked} was asked for."
    field = ("input", "secondsToLive")


class OccurredTooLongAgo(InputRefusal):
    """A transaction is taken for so many days after it occurred, and then no more."""

    code = "OCCURRED_TOO_LONG_AGO"
    summary = "occurredAt {occurred_at} is too long ago: the programme takes what occurred since {oldest}."
    field = ("input", "occurredAt")


class BatchRefusal(CoalitionError):
    """What is asked in one go does not go together."""


class BatchTooLarge(BatchRefusal):
    """A batch has at most so many lines; none of them was looked at."""

    code = "BATCH_TOO_LARGE"
    summary = "A batch has at most {most} lines, and this one has {lines}; send it in parts."
    field = ("input", "lines")


class DuplicateInBatch(BatchRefusal):
    """An earlier line of the same batch has the same receipt line, or the same key for the same member."""

    code = "DUPLICATE_IN_BATCH"
    summary = "Line {line} of this batch has the same {what} already; a batch posts it once."


class BatchStopped(BatchRefusal):
    """Another line of an atomic batch was refused, so nothing of the batch was posted now."""

    code = "BATCH_STOPPED"
    summary = "Line {line} was refused ({code}), and the batch is atomic: nothing of it was posted now."

    def __init__(
        self,
        message: str | None = None,
        /,
        *,
        line: int,
        code: str,
        facts: dict[str, Any] | None = None,
        refusal: CoalitionError | None = None,
    ) -> None:
        super().__init__(message, line=line, code=code)
        self.line = line
        """Counted from 0."""
        self.refusal = refusal or from_kernel(code, facts or {})
        """Why that line was refused."""
        # What the line waits for, the batch waits for.
        self.retryable = self.refusal.retryable


class MemberRefusal(CoalitionError):
    """The member cannot take part."""


class MemberUnknown(MemberRefusal):
    """No such member, or not one that the caller may know."""

    code = "MEMBER_UNKNOWN"
    summary = "No member is known by that id or identifier."
    field = ("input", "member")


class MemberErased(MemberRefusal):
    """The person behind the member was erased: its journal stays, and nothing is added to it."""

    code = "MEMBER_ERASED"
    summary = "The member was erased; nothing is posted to it any more."


class MemberMerged(MemberRefusal):
    """The member was merged into another, who has the points now."""

    code = "MEMBER_MERGED"
    summary = "The member was merged into another, who has the points now; name that one."
    field = ("input", "member")


class TransferToOneself(MemberRefusal):
    """A transfer goes to somebody else."""

    code = "TRANSFER_TO_ONESELF"
    summary = "Points are transferred to another member; these are yours already."
    field = ("input", "to")


class MergeWithOneself(MemberRefusal):
    """Two different members are merged."""

    code = "MERGE_WITH_ONESELF"
    summary = "Both are the same member; there is nothing to merge."
    field = ("input", "merged")


class NotMerged(MemberRefusal):
    """Only what was merged can be un-merged, and only from whom it was merged into."""

    code = "NOT_MERGED"
    summary = "That member is not merged into this one."
    field = ("input", "merged")


class MemberHasHolds(MemberRefusal):
    """Held points are promised to a partner: merges, erasures and returns that ask for them wait.

    Of returns those to a record that was merged since; of one's own points what is held leaves with the hold.
    """

    code = "MEMBER_HAS_HOLDS"
    summary = "{held} points are held for a redemption; capture or void the hold, or wait until it lapses."
    field = ("input", "member")


class MemberHasPoints(MemberRefusal):
    """A member is erased only once nothing is left: its points, and what it owes, are settled first."""

    code = "MEMBER_HAS_POINTS"
    summary = (
        "The member has {available} points available and {pending} pending, and owes {deficit}: these are"
        " settled first. Available points are spent, transferred or adjusted away; pending ones mature first,"
        " or are taken back by reversing their issue."
    )


class PoolRefusal(CoalitionError):
    """The household pool does not allow it."""


class PoolUnknown(PoolRefusal):
    """No such pool, or not one that the member was invited to: the same answer by the same path."""

    code = "POOL_UNKNOWN"
    summary = "No pool of yours, and no invitation that is still good, is known by that id."
    field = ("input", "pool")


class PoolClosed(PoolRefusal):
    """The pool was closed."""

    code = "POOL_CLOSED"
    summary = "This pool was closed."
    field = ("input", "pool")


class NotInPool(PoolRefusal):
    """The member is in no pool."""

    code = "NOT_IN_POOL"
    summary = "The member is in no pool."
    field = ("input", "member")


class PoolHeadOnly(PoolRefusal):
    """By the pool's rules its head alone does this."""

    code = "POOL_HEAD_ONLY"
    summary = "Only the head of the pool may do this."
    field = ("input", "member")


class AlreadyInPool(PoolRefusal):
    """A member is in one pool at a time."""

    code = "ALREADY_IN_POOL"
    summary = "The member is in a pool, and leaves that first."
    field = ("input", "member")


class PoolFull(PoolRefusal):
    """Members and invitations have taken all of the pool's places."""

    code = "POOL_FULL"
    summary = "The pool has places for {most} members, and all of them are taken."
    field = ("input", "invited")


class IdempotencyConflict(CoalitionError):
    """The idempotency key was used for a different request."""

    code = "IDEMPOTENCY_CONFLICT"
    summary = "This idempotency key was used for a different request; use a new key for a new wish."
    field = ("input", "idempotencyKey")


class ReceiptRefusal(CoalitionError):
    """The receipt line cannot be posted (again)."""


class ReceiptDuplicate(ReceiptRefusal):
    """The receipt line was posted already, under another key or for another member."""

    code = "RECEIPT_DUPLICATE"
    summary = "This receipt line was posted already; look it up with transaction(by:)."
    field = ("input", "receipt")


class ReceiptRevision(ReceiptRefusal):
    """A revision may be posted once the one before it was wholly reversed."""

    code = "RECEIPT_REVISION"
    summary = (
        "Revision {revision} may be posted only after the revision before it was posted and wholly reversed."
    )
    field = ("input", "receipt", "revision")


class PartnerRefusal(CoalitionError):
    """The partner cannot do this."""


class PartnerUnknown(PartnerRefusal):
    """No such partner."""

    code = "PARTNER_UNKNOWN"
    summary = "No partner is known by that id or code."
    field = ("input", "partner")


class PartnerNotActive(PartnerRefusal):
    """The partner is not in a state in which it may move points this way."""

    code = "PARTNER_NOT_ACTIVE"
    summary = "The partner is {state} and may not do this now."


class PartnerRoleMissing(PartnerRefusal):
    """The partner was not admitted as an issuer, or as a redeemer."""

    code = "PARTNER_ROLE_MISSING"
    summary = "The partner was not admitted as {role}."


class StoreUnknown(PartnerRefusal):
    """The partner has published its stores, and the receipt's was none of them on that day."""

    code = "STORE_UNKNOWN"
    summary = "The partner has published its stores, and {store} was none of them on {date}."
    field = ("input", "receipt", "store")


class PartnerCodeTaken(PartnerRefusal):
    """Another partner has that code."""

    code = "PARTNER_CODE_TAKEN"
    summary = "The code {partner_code} belongs to another partner."
    field = ("input", "code")


class ClientUnknown(PartnerRefusal):
    """No such OAuth client, or it was revoked."""

    code = "CLIENT_UNKNOWN"
    summary = "No client that could still be used is known by that id."
    field = ("input", "clientId")


class AgreementRefusal(CoalitionError):
    """The commercial terms do not allow it."""


class AgreementMissing(AgreementRefusal):
    """The partner has no agreement that held when the transaction occurred."""

    code = "AGREEMENT_MISSING"
    summary = "The partner has no agreement for {date}; the operator publishes one with publishAgreement."


class AgreementBackdated(AgreementRefusal):
    """An agreement may not start before the open window began."""

    code = "AGREEMENT_BACKDATED"
    summary = "An agreement may not start before the open window began ({earliest})."
    field = ("input", "validFrom")


class FundingPlanUnknown(AgreementRefusal):
    """No such funding plan."""

    code = "FUNDING_PLAN_UNKNOWN"
    summary = "No funding plan is known by that code."
    field = ("input", "fundingPlan")


class FundingPlanInvalid(AgreementRefusal):
    """A funding plan's parts are positive and sum to 1,000,000; its code is new."""

    code = "FUNDING_PLAN_INVALID"
    summary = "A funding plan's parts must be positive and sum to 1,000,000 parts per million."
    field = ("input", "parts")


class MemberBlocked(MemberRefusal):
    """The member is blocked."""

    code = "MEMBER_BLOCKED"
    summary = "The member is blocked."
    field = ("input", "member")


class IdentifierRefusal(CoalitionError):
    """A member cannot be known, or named, by this."""


class IdentifierUnknown(IdentifierRefusal):
    """No member is known by it, or it is not the caller's to change: the same answer by the same path."""

    code = "IDENTIFIER_UNKNOWN"
    summary = "No identifier that you may change is known by that id or value."
    field = ("input", "identifier")


class IdentifierBlocked(IdentifierRefusal):
    """The identifier is blocked, until whoever blocked it, or the operator, unblocks it."""

    code = "IDENTIFIER_BLOCKED"
    summary = "This {kind} is blocked; whoever blocked it, or the operator, can unblock it."
    field = ("input", "member", "identifier")


class CardReplaced(IdentifierRefusal):
    """The member has another card in place of this one, which stays out of use for good."""

    code = "CARD_REPLACED"
    summary = "This card was replaced by another; the member names the new one."
    field = ("input", "member", "identifier")


class IdentifierUnlinked(IdentifierRefusal):
    """No member is known by it any more; told to the partners that knew it, and to nobody else."""

    code = "IDENTIFIER_UNLINKED"
    summary = "This {kind} was unlinked from its member; name the member by something else, or link it again."
    field = ("input", "member", "identifier")


class IdentifierTaken(IdentifierRefusal):
    """The identifier is linked to a member already."""

    code = "IDENTIFIER_TAKEN"
    summary = "This {kind} is enrolled already."
    field = ("input", "identifier")


class ReversalRefusal(CoalitionError):
    """The transaction cannot be reversed."""


class TransactionUnknown(ReversalRefusal):
    """No such transaction, or not one of the caller's: the same answer by the same path."""

    code = "TRANSACTION_UNKNOWN"
    summary = "No transaction of yours is known by that id or receipt line."
    field = ("input", "transactionId")


class NotReversible(ReversalRefusal):
    """Only issues, redemptions and captures can be reversed."""

    code = "NOT_REVERSIBLE"
    summary = "Only an issue, a redemption or a capture can be reversed; this is: {kind}."
    field = ("input", "transactionId")


class AlreadyReversed(ReversalRefusal):
    """The whole of the transaction was reversed before."""

    code = "ALREADY_REVERSED"
    summary = "This transaction was reversed already."
    field = ("input", "transactionId")


class ReversalExceeded(ReversalRefusal):
    """More was to be undone than is left of the transaction: points, or money where that was asked for."""

    code = "REVERSAL_EXCEEDED"
    summary = "{requested} points were to be undone, and {left} of the transaction are left."
    field = ("input", "points")

    def __init__(
        self, message: str | None = None, /, *, field: tuple[str, ...] | None = None, **facts: Any
    ) -> None:
        if "amount" in facts:
            message = message or self._of_money.format_map(facts)
            field = field or ("input", "amount")
        super().__init__(message, field=field, **facts)

    _of_money: ClassVar[str] = (
        "{amount} of the money was to go back, and {amount_left} of it, and {left} points, are left."
    )


class ReturnPolicyForbids(ReversalRefusal):
    """The agreement lets only pending points be taken back, and some are not pending."""

    code = "RETURN_POLICY_FORBIDS"
    summary = "The agreement lets only pending points be taken back; {pending} of {points} are pending."
    field = ("input", "transactionId")


class HoldRefusal(CoalitionError):
    """The hold cannot be captured or voided."""


class HoldUnknown(HoldRefusal):
    """No such authorisation, or not one of the caller's: the same answer by the same path."""

    code = "HOLD_UNKNOWN"
    summary = "No authorisation of yours is known by that id."
    field = ("input", "holdId")


class HoldCaptured(HoldRefusal):
    """A hold is captured once."""

    code = "HOLD_CAPTURED"
    summary = "This hold was captured already, {captured} points of it; authorise again for more."
    field = ("input", "holdId")


class HoldVoided(HoldRefusal):
    """The hold was given up."""

    code = "HOLD_VOIDED"
    summary = "This hold was voided; authorise again."
    field = ("input", "holdId")


class HoldLapsed(HoldRefusal):
    """Nobody captured the hold in time."""

    code = "HOLD_LAPSED"
    summary = "This hold lapsed at {lapsed_at}; authorise again."
    field = ("input", "holdId")


class HoldExceeded(HoldRefusal):
    """More was to be captured than is held."""

    code = "HOLD_EXCEEDED"
    summary = "{requested} points were to be captured and {held} are held."
    field = ("input", "points")


class VoucherRefusal(CoalitionError):
    """The voucher is not taken. The points that it holds stay held until it lapses."""


class VoucherInvalid(VoucherRefusal):
    """Forged, damaged, or another partner's: the same answer by the same path."""

    code = "VOUCHER_INVALID"
    summary = "This is no voucher for your business."
    field = ("input", "voucher")


class VoucherUsed(VoucherRefusal):
    """A voucher is redeemed once."""

    code = "VOUCHER_USED"
    summary = "This voucher was redeemed already, or its hold was voided."
    field = ("input", "voucher")


class VoucherExpired(VoucherRefusal):
    """The purchase was not made while the voucher was good, or it is presented too late."""

    code = "VOUCHER_EXPIRED"
    summary = "This voucher was good for purchases from {since} to {redeem_by}, presented by {present_by}."
    field = ("input", "voucher")


class VoucherExceeded(VoucherRefusal):
    """More was to be taken than the voucher is good for."""

    code = "VOUCHER_EXCEEDED"
    summary = "{requested} points were to be taken and the voucher is good for {good_for}."
    field = ("input", "points")


class PointsRefusal(CoalitionError):
    """The points cannot be spent."""


class ConfirmationInvalid(PointsRefusal):
    """The member's confirmation is unknown, used, out of date, or for less than is asked."""

    code = "CONFIRMATION_INVALID"
    summary = "The member's confirmation does not cover this redemption."
    field = ("input", "confirmation")


class ConsentRequired(PointsRefusal):
    """Beyond the programme's limit the member must confirm a redemption."""

    code = "CONSENT_REQUIRED"
    summary = (
        "Without the member's confirmation this partner can take {allowed} more points from the member in the"
        " open settlement window."
    )
    field = ("input", "confirmation")


class InsufficientPoints(PointsRefusal):
    """The member has fewer spendable points than the redemption asks for.

    Pending and expired points cannot be spent and are not counted. Which of the two are missing is
    not said: a partner learns a member's available total and nothing more.
    """

    code = "INSUFFICIENT_POINTS"
    summary = "{requested} points were asked for and {available} are available."
    field = ("input", "points")


class TransferLimitExceeded(PointsRefusal):
    """A member gives away at most so many points in one window."""

    code = "TRANSFER_LIMIT_EXCEEDED"
    summary = (
        "{requested} points were to be transferred, and {allowed} more may be in the open settlement window."
    )
    field = ("input", "points")


class VoucherLimitExceeded(PointsRefusal):
    """A member has at most so many points in vouchers at a time."""

    code = "VOUCHER_LIMIT_EXCEEDED"
    summary = "{requested} points were to be put into a voucher, and {allowed} more may be now."
    field = ("input", "points")


class LimitRefusal(CoalitionError):
    """A guard rail is in the way, or cannot be changed so."""


class LimitExceeded(LimitRefusal):
    """The operator's limit of a member, a card, a store or a partner leaves no room for it now.

    Its facts are the operator's to see. A partner is told whose limit it is, and more only where the rule
    counts (`own`) that partner's postings and no others.
    """

    code = "LIMIT_EXCEEDED"
    summary = "A limit of this {scope} leaves no room for it now."

    @property
    def told(self) -> dict[str, Any]:
        """Whose limit it is; what is left of it, and when there is room again, of one's own postings."""
        facts = self.facts
        if not facts.get("own"):
            return {"scope": facts.get("scope")}
        left = max(int(facts["most"]) - int(facts["used"]), 0)
        return {"scope": facts["scope"], "left": left, "again_at": facts.get("again_at")}


class ReviewRejected(LimitRefusal):
    """The operator has looked at this wish and does not let it pass."""

    code = "REVIEW_REJECTED"
    summary = "The operator has looked at this wish and does not let it pass."


class UnderReview(LimitRefusal):
    """An operator looks at this wish first. Sent again under its key once it is released, it is posted."""

    code = "UNDER_REVIEW"
    summary = "An operator looks at this first; nothing has moved. Send the same request again later."
    retryable = True


class LimitUnknown(LimitRefusal):
    """No such limit, or it was ended before."""

    code = "LIMIT_UNKNOWN"
    summary = "No limit that holds is known by the code {limit}."
    field = ("input", "code")


class ReviewUnknown(LimitRefusal):
    """Nothing of that id waits for a decision or did."""

    code = "REVIEW_UNKNOWN"
    summary = "No posting under review is known by that id."
    field = ("input", "review")


class ReviewDecided(LimitRefusal):
    """It was decided otherwise before."""

    code = "REVIEW_DECIDED"
    summary = "This was decided already: it is {state}."
    field = ("input", "review")


class PoolLimitExceeded(PointsRefusal):
    """One member takes at most so many points of the others of a pool in one window."""

    code = "POOL_LIMIT_EXCEEDED"
    summary = (
        "{requested} points of others in the pool are needed, and {allowed} more may be taken in the open"
        " settlement window."
    )
    field = ("input", "points")


class AdjustmentRefusal(CoalitionError):
    """The operator's adjustment cannot be decided."""


class AdjustmentUnknown(AdjustmentRefusal):
    """No such adjustment."""

    code = "ADJUSTMENT_UNKNOWN"
    summary = "No adjustment is known by that id."
    field = ("input", "adjustment")


class AdjustmentDecided(AdjustmentRefusal):
    """Somebody has decided it before."""

    code = "ADJUSTMENT_DECIDED"
    summary = "This adjustment was decided already: it is {state}."
    field = ("input", "adjustment")


class SecondPersonNeeded(AdjustmentRefusal):
    """Above the programme's limit an adjustment is approved by somebody else than who proposed it."""

    code = "SECOND_PERSON_NEEDED"
    summary = "An adjustment of more than {limit} points is approved by a second person."
    field = ("input", "adjustment")


class SettlementRefusal(CoalitionError):
    """The night cannot go on."""


class WindowUnknown(SettlementRefusal):
    """No window has that business date."""

    code = "WINDOW_UNKNOWN"
    summary = "No settlement window has the business date {business_date}."


class WindowNotOver(SettlementRefusal):
    """The window's day is not over; closing it early must be asked for."""

    code = "WINDOW_NOT_OVER"
    summary = "The window {business_date} is not over; close it now with --now."


class WindowBusy(SettlementRefusal):
    """Postings held the window for too long; closing can be tried again."""

    code = "WINDOW_BUSY"
    summary = "The window could not be closed: postings in flight did not end in time."
    retryable = True


class RunHeld(SettlementRefusal):
    """The run failed a check and pays nobody."""

    code = "RUN_HELD"
    summary = "The settlement run of {business_date} is held: {findings} findings."


REFUSALS: Final[tuple[type[CoalitionError], ...]] = (
    DatabaseUnavailable,
    ProgrammeNotOpen,
    ProgrammeAlreadyOpen,
    ClockRefused,
    ClockSkew,
    InvalidInput,
    IdentifierInvalid,
    PointsInvalid,
    OccurredInFuture,
    HoldTimeInvalid,
    BatchTooLarge,
    DuplicateInBatch,
    BatchStopped,
    MemberUnknown,
    IdempotencyConflict,
    MemberErased,
    MemberMerged,
    ReceiptDuplicate,
    ReceiptRevision,
    OccurredTooLongAgo,
    PartnerUnknown,
    PartnerNotActive,
    PartnerRoleMissing,
    StoreUnknown,
    PartnerCodeTaken,
    ClientUnknown,
    AgreementMissing,
    AgreementBackdated,
    FundingPlanUnknown,
    FundingPlanInvalid,
    TransferToOneself,
    MergeWithOneself,
    NotMerged,
    PoolUnknown,
    PoolClosed,
    NotInPool,
    PoolHeadOnly,
    AlreadyInPool,
    PoolFull,
    AdjustmentUnknown,
    AdjustmentDecided,
    SecondPersonNeeded,
    IdentifierUnknown,
    MemberBlocked,
    IdentifierBlocked,
    CardReplaced,
    IdentifierUnlinked,
    IdentifierTaken,
    TransactionUnknown,
    NotReversible,
    AlreadyReversed,
    ReversalExceeded,
    ReturnPolicyForbids,
    MemberHasHolds,
    MemberHasPoints,
    HoldUnknown,
    HoldCaptured,
    HoldVoided,
    HoldLapsed,
    HoldExceeded,
    VoucherInvalid,
    VoucherUsed,
    VoucherExpired,
    VoucherExceeded,
    ConfirmationInvalid,
    ConsentRequired,
    TransferLimitExceeded,
    VoucherLimitExceeded,
    PoolLimitExceeded,
    InsufficientPoints,
    LimitExceeded,
    ReviewRejected,
    UnderReview,
    LimitUnknown,
    ReviewUnknown,
    ReviewDecided,
    WindowUnknown,
    WindowNotOver,
    WindowBusy,
    RunHeld,
)
"""Every refusal, in order of precedence."""

BY_CODE: Final = {refusal.code: refusal for refusal in REFUSALS}


def from_kernel(code: str, facts: dict[str, Any]) -> CoalitionError:
    """The refusal that the kernel raised: its code names the class, its facts are the error's."""
    return BY_CODE[code](None, **facts)
