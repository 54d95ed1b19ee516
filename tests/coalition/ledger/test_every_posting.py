"""What holds of every posting alike: its age, its moment, its limits, and whom it may not touch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from driver import LedgerDriver, receipt
from waiting import SlowClock, until_somebody_waits

from coalition import clock, errors
from coalition.adjusting import AdjustmentReason, ProposeAdjustment, post_adjustment, propose_adjustment
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.db import Database
from coalition.ids import MemberId, PartnerId
from coalition.issuing import IssuePoints, issue_points
from coalition.ledger import Posting
from coalition.ledger.posting import call
from coalition.members import ConfirmRedemption, confirm_redemption
from coalition.receipts import Receipt

MOST = 1_000_000_000

Prepared = Callable[..., Posting]


def _issue(ledger: LedgerDriver, member: MemberId) -> Prepared:
    return lambda **more: ledger.issue(member, 7, **more)


def _redeem(ledger: LedgerDriver, member: MemberId) -> Prepared:
    return lambda **more: ledger.redeem(member, 7, **more)


def _authorize(ledger: LedgerDriver, member: MemberId) -> Prepared:
    return lambda **more: ledger.authorize(member, 7, **more)


def _capture(ledger: LedgerDriver, member: MemberId) -> Prepared:
    hold = ledger.authorize(member, 7)
    return lambda **more: ledger.capture(hold.ref, 7, **more)


def _void(ledger: LedgerDriver, member: MemberId) -> Prepared:
    hold = ledger.authorize(member, 7)
    return lambda **more: ledger.void(hold.ref, **more)


def _reverse_issue(ledger: LedgerDriver, member: MemberId) -> Prepared:
    issued = ledger.issue(member, 7)
    return lambda **more: ledger.reverse(issued.ref, **more)


def _reverse_redemption(ledger: LedgerDriver, member: MemberId) -> Prepared:
    redeemed = ledger.redeem(member, 7)
    return lambda **more: ledger.reverse(redeemed.ref, **more)


def _redeem_voucher(ledger: LedgerDriver, member: MemberId) -> Prepared:
    voucher = ledger.voucher(member, 7)
    return lambda **more: ledger.redeem_voucher(voucher.ref, 7, **more)


def _voucher(ledger: LedgerDriver, member: MemberId) -> Prepared:
    return lambda: ledger.voucher(member, 7)


def _transfer(ledger: LedgerDriver, member: MemberId) -> Prepared:
    other = ledger.member()
    return lambda: ledger.transfer(member, 7, to=other)


def _adjust(ledger: LedgerDriver, member: MemberId) -> Prepared:
    wish = ProposeAdjustment(member_id=member, points=Points(-7), reason=AdjustmentReason.FRAUD, by="ada")
    with ledger.database.unit_of_work() as session:
        adjustment = propose_adjustment(session, wish)

    def post() -> Posting:
        with ledger.database.single_call() as session:
            return post_adjustment(session, member, adjustment, by="ada")

    return post


BY_A_TILL = (
    _issue,
    _redeem,
    _authorize,
    _capture,
    _void,
    _reverse_issue,
    _reverse_redemption,
    _redeem_voucher,
)
ALL = (*BY_A_TILL, _voucher, _transfer, _adjust)
named = pytest.mark.parametrize


def _name(prepare: Callable[..., Prepared]) -> str:
    return prepare.__name__.removeprefix("_")


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


@named("prepare", BY_A_TILL, ids=_name)
def test_what_occurred_too_long_ago_is_refused_and_moves_nothing(
    ledger: LedgerDriver, prepare: Callable[..., Prepared]
) -> None:
    post = prepare(ledger, ledger.member(available=100))
    ledger.accept_late(days=3)
    before = ledger.snapshot()
    too_late = ledger.now - timedelta(days=3, microseconds=1)
    with pytest.raises(errors.OccurredTooLongAgo) as refusal:
        post(occurred_at=too_late)
    assert refusal.value.facts.keys() == {"occurred_at", "oldest"}
    assert ledger.snapshot() == before
    if prepare is not _redeem_voucher:  # which was not good before it was given
        assert post(occurred_at=ledger.now - timedelta(days=3)).late


@named("prepare", BY_A_TILL, ids=_name)
def test_what_is_yet_to_occur_by_more_than_a_tills_clock_may_be_ahead_is_refused_and_moves_nothing(
    ledger: LedgerDriver, prepare: Callable[..., Prepared]
) -> None:
    post = prepare(ledger, ledger.member(available=100))
    before = ledger.snapshot()
    ahead = ledger.now + timedelta(minutes=5)
    with pytest.raises(errors.OccurredInFuture) as refusal:
        post(occurred_at=ahead + timedelta(microseconds=1))
    assert refusal.value.facts.keys() == {"occurred_at", "now"}
    assert ledger.snapshot() == before
    assert post(occurred_at=ahead).points == 7
    _clean(ledger)


@named("prepare", BY_A_TILL, ids=_name)
def test_when_it_occurred_and_whether_that_is_late_are_written_down(
    ledger: LedgerDriver, prepare: Callable[..., Prepared]
) -> None:
    ledger.pass_time(hours=1)
    post = prepare(ledger, ledger.member(available=100))
    ledger.pass_time(minutes=3)
    occurred = ledger.now - timedelta(minutes=2)
    posting = post(occurred_at=occurred)
    assert ledger.rows(
        "SELECT occurred_at, recorded_at, late FROM ledger.transaction WHERE transaction_id = :id",
        id=posting.ref.transaction_id,
    ) == [(occurred, ledger.now, False)]
    assert not posting.late


def test_what_occurred_before_the_window_opened_is_late_and_what_occurred_with_it_is_not(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member(available=100)
    ledger.pass_time(days=1)
    ledger.close_window()
    opened = ledger.now
    late = ledger.redeem(member, 1, occurred_at=opened - timedelta(microseconds=1))
    in_time = ledger.redeem(member, 1, occurred_at=opened)
    assert (late.late, in_time.late) == (True, False)
    assert ledger.rows("SELECT late FROM ledger.transaction WHERE kind = 'redeem' ORDER BY sequence") == [
        (True,),
        (False,),
    ]


@named("prepare", ALL, ids=_name)
def test_a_callers_slow_clock_records_nothing_before_what_the_member_has(
    database: Database, monkeypatch: pytest.MonkeyPatch, prepare: Callable[..., Prepared]
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    post = prepare(ledger, ledger.member(available=100))
    monkeypatch.setattr(clock, "datetime", SlowClock)
    post()
    recorded = ledger.rows(
        "SELECT recorded_at, sequence FROM ledger.transaction ORDER BY member_id, sequence"
    )
    assert len(recorded) >= 2
    assert [when for when, _ in sorted(recorded, key=lambda row: row[1])] == sorted(
        when for when, _ in recorded
    )
    _clean(ledger)


@named("prepare", (_transfer, _adjust), ids=_name)
def test_what_no_till_posts_occurs_when_it_is_recorded(
    database: Database, monkeypatch: pytest.MonkeyPatch, prepare: Callable[..., Prepared]
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    post = prepare(ledger, ledger.member(available=100))
    monkeypatch.setattr(clock, "datetime", SlowClock)
    posted = post()
    assert ledger.rows(
        "SELECT occurred_at = recorded_at FROM ledger.transaction WHERE transaction_id = :id",
        id=posted.transaction_id,
    ) == [(True,)]


@named("prepare", ALL, ids=_name)
def test_a_posting_that_waited_for_another_goes_on_from_what_that_one_left(
    ledger: LedgerDriver, prepare: Callable[..., Prepared]
) -> None:
    shop, member = ledger.any_partner(), ledger.member(available=100)
    post = prepare(ledger, member)
    before = ledger.balance(member).available
    with ThreadPoolExecutor(1) as pool:
        with ledger.database.unit_of_work() as session:
            issue_points(
                session,
                IssuePoints(
                    member_id=member,
                    partner_id=shop,
                    points=Points(1000),
                    agreement_id=ledger.agreements[shop],
                    idempotency_key="first",
                    request={},
                ),
            )
            later = pool.submit(post)
            until_somebody_waits(ledger.database)
        later.result()
    assert ledger.balance(member).available - before in range(993, 1008)
    _clean(ledger)


@named("prepare", (_issue, _redeem, _authorize, _voucher, _transfer), ids=_name)
def test_one_who_was_merged_gets_and_gives_nothing_more(
    ledger: LedgerDriver, prepare: Callable[..., Prepared]
) -> None:
    survivor, merged = ledger.member(available=100), ledger.member(available=100)
    post = prepare(ledger, merged)
    ledger.merge(survivor, merged)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberMerged) as refusal:
        post()
    assert refusal.value.facts == {"survivor": str(survivor)}
    assert ledger.snapshot() == before


@named("post", ("issue", "redeem", "authorize", "voucher"))
def test_one_whom_nobody_knows_gets_and_gives_nothing(ledger: LedgerDriver, post: str) -> None:
    ledger.member(available=10)
    before = ledger.snapshot()
    with pytest.raises(errors.MemberUnknown):
        getattr(ledger, post)(MemberId(uuid4()), 5)
    assert ledger.snapshot() == before


def test_the_most_points_that_one_posting_moves(ledger: LedgerDriver) -> None:
    member, other = ledger.member(available=MOST), ledger.member()
    for points in (MOST + 1, 0, -1):
        before = ledger.snapshot()
        for post in (ledger.issue, ledger.redeem, ledger.authorize, ledger.voucher):
            with pytest.raises(errors.PointsInvalid) as refusal:
                post(member, points)
            assert refusal.value.facts == {"points": points}
        with pytest.raises(errors.PointsInvalid):
            ledger.transfer(member, points, to=other)
        assert ledger.snapshot() == before
    hold = ledger.authorize(member, MOST)
    before = ledger.snapshot()
    for points in (MOST + 1, 0, -1):
        with pytest.raises(errors.PointsInvalid):
            ledger.capture(hold.ref, points)
    assert ledger.snapshot() == before
    assert ledger.capture(hold.ref, MOST).points == MOST
    assert ledger.issue(member, MOST).points == MOST
    assert ledger.redeem(member, 1, by=ledger.partner()).points == 1
    _clean(ledger)


def test_a_whole_redemption_of_the_most_points(ledger: LedgerDriver) -> None:
    member = ledger.member(available=MOST)
    redeemed = ledger.redeem(member, MOST)
    before = ledger.snapshot()
    for points in (MOST + 1, 0, -1):
        with pytest.raises(errors.PointsInvalid):
            ledger.reverse(redeemed.ref, points)
    assert ledger.snapshot() == before
    assert ledger.reverse(redeemed.ref, MOST).points == MOST


def test_a_confirmation_is_for_points_a_member_and_a_partner_that_there_are(ledger: LedgerDriver) -> None:
    member, shop = ledger.member(), ledger.partner()
    before = ledger.snapshot()
    refused: tuple[tuple[type[errors.CoalitionError], MemberId, PartnerId, Any], ...] = (
        (errors.PointsInvalid, member, shop, 0),
        (errors.PointsInvalid, member, shop, MOST + 1),
        (errors.PointsInvalid, member, shop, None),
        (errors.MemberUnknown, MemberId(uuid4()), shop, 1),
        (errors.PartnerUnknown, member, PartnerId(uuid4()), 1),
    )
    for refusal, who, where, points in refused:
        with pytest.raises(refusal), ledger.database.unit_of_work() as session:
            call(
                session,
                "SELECT ledger.confirm_redemption(%s, %s, %s, interval '10 minutes', now())",
                (who, where, points),
            )
    assert ledger.snapshot() == before
    for points in (1, MOST):
        with ledger.database.unit_of_work() as session:
            given = confirm_redemption(
                session, ConfirmRedemption(member_id=member, partner_id=shop, points=Points(points))
            )
        assert given.expires_at == ledger.now + timedelta(minutes=10)


@named("parts", [{"line": 2}, {"revision": 0}, {"terminal": "T-9"}, {"store": "S-9"}], ids=str)
def test_the_receipt_and_the_card_are_written_down_with_all_that_they_say(
    ledger: LedgerDriver, parts: dict[str, Any]
) -> None:
    member = ledger.member(available=100)
    line: Receipt = receipt("R-7", **parts)
    hold, voucher = ledger.authorize(member, 5), ledger.voucher(member, 5)
    posted = [
        ledger.issue(member, 5, receipt=line),
        ledger.redeem(member, 5, receipt=line),
        ledger.capture(hold.ref, 5, receipt=receipt("R-8", **parts)),
        ledger.redeem_voucher(voucher.ref, 5, receipt=receipt("R-9", **parts)),
    ]
    for posting, number in zip(posted, ("R-7", "R-7", "R-8", "R-9"), strict=True):
        assert ledger.rows(
            "SELECT store, terminal, receipt_number, receipt_line, receipt_revision FROM ledger.transaction"
            " WHERE transaction_id = :id",
            id=posting.ref.transaction_id,
        ) == [(line.store, line.terminal, number, line.line, line.revision)]
        assert (
            len(
                ledger.rows(
                    "SELECT FROM ledger.receipt WHERE transaction_id = :id AND member_id = :member",
                    id=posting.ref.transaction_id,
                    member=member,
                )
            )
            == 1
        )


@named("post", ("issue", "redeem", "authorize"))
def test_the_card_that_named_the_member_is_written_down(ledger: LedgerDriver, post: str) -> None:
    member = ledger.member(available=10)
    card = ledger.card(member)
    posting = getattr(ledger, post)(member, 5, identifier_id=card)
    assert ledger.rows(
        "SELECT card_id FROM ledger.transaction WHERE transaction_id = :id", id=posting.ref.transaction_id
    ) == [(card,)]
