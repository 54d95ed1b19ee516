"""Who waits for a member's lock decides by what the other has left; who has a slow clock writes nothing before it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from concurrency.interleaving import HeldDatabase, one_after_another
from driver import START, LedgerDriver
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from waiting import SlowClock, until_somebody_waits

from coalition import adjusting, clock, errors, identifier_changes, windows
from coalition.adjusting import AdjustmentReason, ProposeAdjustment
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.db import Database
from coalition.erasing import erase_member
from coalition.errors import CoalitionError
from coalition.identifier_changes import Actor, ChangeIdentifier
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, MemberId
from coalition.ledger.posting import TermsSuperseded, call
from coalition.members import EnrolMember, enrol_member
from coalition.redeeming import redeem_points
from coalition.reviewing import queue_review, reject, release

Act = Callable[[LedgerDriver], Any]


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def block(member: MemberId, *, blocked: bool = True) -> Act:
    def act(ledger: LedgerDriver) -> None:
        with ledger.database.unit_of_work() as session:
            set_blocked(session, member, blocked=blocked, by="ada")

    return act


def erase(member: MemberId) -> Act:
    def act(ledger: LedgerDriver) -> Any:
        with ledger.database.unit_of_work() as session:
            return erase_member(session, member)

    return act


def decide(how: Callable[..., None], member: MemberId, review: Any) -> Act:
    def act(ledger: LedgerDriver) -> None:
        with ledger.database.unit_of_work() as session:
            how(session, member, review, by="ada")

    return act


def queue(refusal: errors.UnderReview) -> Act:
    def act(ledger: LedgerDriver) -> bool:
        with ledger.database.unit_of_work() as session:
            return queue_review(session, refusal)

    return act


def held(ledger: LedgerDriver, member: MemberId, key: str) -> errors.UnderReview:
    with pytest.raises(errors.UnderReview) as refusal:
        ledger.issue(member, 60, key=key)
    return refusal.value


def test_of_two_who_block_at_once_one_writes_a_line(ledger: LedgerDriver) -> None:
    member = ledger.member()
    assert one_after_another(ledger, block(member), block(member)) is None
    assert ledger.rows("SELECT number, blocked FROM ledger.member_block") == [(1, True)]
    assert clean(ledger)


def test_of_two_who_post_what_is_due_one_finds_nothing_due(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.issue(member, 5, matures_at=ledger.now + timedelta(hours=1))
    ledger.pass_time(hours=2)

    def due(ledger: LedgerDriver) -> int:
        return ledger.bring_up_to_date(member)

    assert one_after_another(ledger, due, due) == 0
    assert ledger.kinds(member) == [("issue", 5), ("mature", 5)]
    assert clean(ledger)


def test_who_gets_points_meanwhile_is_not_erased(ledger: LedgerDriver) -> None:
    member = ledger.member()
    refusal = one_after_another(ledger, lambda held: held.issue(member, 5), erase(member))
    assert isinstance(refusal, errors.MemberHasPoints)
    assert ledger.rows("SELECT available, erased_at FROM ledger.member_head") == [(5, None)]
    assert clean(ledger)


def test_who_is_merged_meanwhile_is_erased_as_one_person_or_not_at_all(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member()
    ledger.card(merged)
    answer = one_after_another(ledger, lambda held: held.merge(survivor, merged), erase(survivor))
    erased = {at is not None for (at,) in ledger.rows("SELECT erased_at FROM ledger.member_head")}
    assert erased == {not isinstance(answer, CoalitionError)}
    erase(survivor)(ledger)
    assert ledger.rows("SELECT FROM ledger.identifier") == []
    assert ledger.rows("SELECT count(*) FROM ledger.member_head WHERE erased_at IS NULL") == [(0,)]


def test_a_wish_that_is_rejected_while_it_is_sent_again_is_refused(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("large", posting="issue", measure="points", most=50, action="review")
    queue(held(ledger, member, "k"))(ledger)
    [(review,)] = ledger.rows("SELECT review_id FROM ledger.review")
    decide(release, member, review)(ledger)
    refusal = one_after_another(
        ledger, decide(reject, member, review), lambda ledger: ledger.issue(member, 60, key="k")
    )
    assert isinstance(refusal, errors.ReviewRejected)
    assert ledger.balance(member).available == 0


def test_of_two_who_decide_the_second_finds_it_decided(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("large", posting="issue", measure="points", most=50, action="review")
    queue(held(ledger, member, "k"))(ledger)
    [(review,)] = ledger.rows("SELECT review_id FROM ledger.review")
    answer = one_after_another(ledger, decide(reject, member, review), decide(release, member, review))
    assert isinstance(answer, errors.ReviewDecided)
    assert ledger.rows("SELECT state FROM ledger.review") == [("rejected",)]


def test_of_two_who_want_the_last_place_one_waits_for_an_operator(ledger: LedgerDriver) -> None:
    member = ledger.member()
    ledger.limit("large", posting="issue", measure="points", most=50, action="review")
    for number in range(19):
        queue(held(ledger, member, f"k{number}"))(ledger)
    first, second = held(ledger, member, "first"), held(ledger, member, "second")
    assert one_after_another(ledger, queue(first), queue(second)) is False
    assert ledger.rows("SELECT count(*) FROM ledger.review") == [(20,)]


def test_of_two_who_decide_on_an_adjustment_the_second_finds_it_decided(ledger: LedgerDriver) -> None:
    member = ledger.member(available=50)
    wish = ProposeAdjustment(member_id=member, points=Points(-5), reason=AdjustmentReason.FRAUD, by="ada")
    with ledger.database.unit_of_work() as session:
        first, second = (adjusting.propose_adjustment(session, wish) for _ in range(2))

    def post(ledger: LedgerDriver, adjustment: UUID) -> Any:
        with ledger.database.single_call() as session:
            return adjusting.post_adjustment(session, member, adjustment, by="grace")

    def no(ledger: LedgerDriver, adjustment: UUID) -> None:
        with ledger.database.unit_of_work() as session:
            adjusting.reject_adjustment(session, member, adjustment, by="grace")

    assert one_after_another(
        ledger, partial(post, adjustment=first), partial(post, adjustment=first)
    ).replayed
    for early, late in ((no, post), (post, no)):
        refusal = one_after_another(
            ledger, partial(early, adjustment=second), partial(late, adjustment=second)
        )
        assert isinstance(refusal, errors.AdjustmentDecided)
        second = _proposed(ledger, wish)
    assert ledger.balance(member).available == 40
    assert clean(ledger)


def _proposed(ledger: LedgerDriver, wish: ProposeAdjustment) -> UUID:
    with ledger.database.unit_of_work() as session:
        return adjusting.propose_adjustment(session, wish)


def test_who_is_erased_while_an_adjustment_waits_gets_nothing(ledger: LedgerDriver) -> None:
    member = ledger.member(available=5)
    wish = ProposeAdjustment(
        member_id=member, points=Points(-5), reason=AdjustmentReason.FRAUD, by="ada", note="as agreed"
    )
    adjustment = _proposed(ledger, wish)

    def post(ledger: LedgerDriver) -> Any:
        with ledger.database.single_call() as session:
            return adjusting.post_adjustment(session, member, adjustment, by="grace")

    with ThreadPoolExecutor(1) as pool:
        with ledger.database.unit_of_work() as session:
            held = replace(ledger, database=HeldDatabase(session))  # type: ignore[arg-type]
            held.redeem(member, 5)
            later = pool.submit(post, ledger)
            until_somebody_waits(ledger.database)
            erase(member)(held)  # which takes the words of the adjustment, too
        with pytest.raises(errors.MemberErased):
            later.result()
    assert ledger.rows("SELECT state FROM ledger.adjustment") == [("proposed",)]
    assert ledger.rows("SELECT count(*) FROM people.sealed") == [(0,)]
    assert clean(ledger)


def test_nothing_is_proposed_of_who_is_erased_meanwhile(ledger: LedgerDriver) -> None:
    member = ledger.member()
    wish = ProposeAdjustment(
        member_id=member, points=Points(5), reason=AdjustmentReason.GOODWILL, by="ada", note="a birthday"
    )
    outcome = one_after_another(ledger, erase(member), lambda late: _proposed(late, wish))
    assert isinstance(outcome, errors.MemberErased)
    assert ledger.rows("SELECT * FROM ledger.adjustment") == []
    assert clean(ledger)


def test_nobody_is_invited_who_is_erased_meanwhile(ledger: LedgerDriver) -> None:
    head, invited = ledger.member(), ledger.member()
    ledger.pool(head)
    outcome = one_after_another(ledger, erase(invited), lambda late: late.invite(head, invited))
    assert isinstance(outcome, errors.MemberUnknown)
    assert ledger.rows("SELECT member_id FROM ledger.pool_member") == [(head,)]
    assert clean(ledger)


def test_who_proposes_waits_for_the_window_as_who_posts(ledger: LedgerDriver, owner_engine: Engine) -> None:
    wish = ProposeAdjustment(
        member_id=ledger.member(), points=Points(-5), reason=AdjustmentReason.FRAUD, by="ada"
    )
    with ThreadPoolExecutor(1) as pool:
        with owner_engine.begin() as cutting:
            cutting.execute(text("SELECT pg_advisory_xact_lock(ledger.window_lock())"))
            later = pool.submit(_proposed, ledger, wish)
            until_somebody_waits(ledger.database)
        assert isinstance(later.result(), UUID)
    assert clean(ledger)


def test_points_that_come_meanwhile_are_there_to_be_taken(ledger: LedgerDriver) -> None:
    member = ledger.member()
    adjustment = _proposed(
        ledger,
        ProposeAdjustment(member_id=member, points=Points(-5), reason=AdjustmentReason.FRAUD, by="ada"),
    )

    def post(ledger: LedgerDriver) -> Any:
        with ledger.database.single_call() as session:
            return adjusting.post_adjustment(session, member, adjustment, by="grace")

    assert one_after_another(ledger, lambda held: held.issue(member, 7), post).balance.available == 2
    assert clean(ledger)


def test_what_is_reversed_while_its_member_is_merged_is_not_reversed_on_the_merged_record(
    ledger: LedgerDriver,
) -> None:
    survivor, merged = ledger.member(), ledger.member()
    issued = ledger.issue(merged, 7)
    outcome = one_after_another(
        ledger, lambda held: held.merge(survivor, merged), lambda late: late.reverse(issued.ref, 2)
    )
    assert isinstance(outcome, TermsSuperseded)  # the caller tries again
    assert ledger.balance(survivor).available == 7
    ledger.reverse(issued.ref, 2)
    assert ledger.balance(survivor).available == 5
    assert clean(ledger)


def test_of_two_who_join_with_the_same_cards_one_waits_and_nobody_is_cut_off(ledger: LedgerDriver) -> None:
    at = ledger.any_partner()

    def join(session: Session, *cards: str) -> MemberId:
        named = [Identifier(kind=IdentifierKind.CARD, value=card) for card in cards]
        return enrol_member(session, EnrolMember(partner_id=at, identifiers=named))

    def join_alone(*cards: str) -> MemberId:
        with ledger.database.unit_of_work() as session:
            return join(session, *cards)

    with ThreadPoolExecutor(2) as pool:
        with ledger.database.unit_of_work() as session:
            join(session, "CARD2")
            one = pool.submit(join_alone, "CARD1", "CARD2", "CARD3")
            until_somebody_waits(ledger.database)
            other = pool.submit(join_alone, "CARD3", "CARD1")
            until_somebody_waits(ledger.database, many=2)
            session.rollback()
        with pytest.raises(errors.IdentifierTaken):
            other.result()
    assert ledger.rows("SELECT value, member_id FROM ledger.identifier ORDER BY value") == [
        (card, one.result()) for card in ("CARD1", "CARD2", "CARD3")
    ]


def test_a_card_that_is_blocked_meanwhile_posts_nothing_and_a_second_block_is_none(
    ledger: LedgerDriver,
) -> None:
    member = ledger.member(available=10)
    card = ledger.card(member)

    def block_card(ledger: LedgerDriver) -> None:
        with ledger.database.unit_of_work() as session:
            identifier_changes.block(
                session,
                ChangeIdentifier(
                    member_id=member, identifier_id=card, by=Actor(name="test", party_id=NETWORK)
                ),
            )

    assert one_after_another(ledger, block_card, block_card) is None
    assert ledger.rows("SELECT state FROM ledger.identifier_change ORDER BY number") == [
        ("active",),
        ("blocked",),
    ]


def test_whose_member_is_merged_meanwhile_is_looked_up_again_before_its_card_is_blocked(
    ledger: LedgerDriver,
) -> None:
    survivor, merged = ledger.member(), ledger.member()
    one = ledger.card(merged)

    def block_card(ledger: LedgerDriver) -> None:
        with ledger.database.unit_of_work() as session:
            call(
                session,
                "SELECT ledger.change_identifier(%s, %s, 'blocked', %s, 'ada', NULL, now())",
                (merged, one, NETWORK),
            )

    outcome = one_after_another(ledger, lambda held: held.merge(survivor, merged), block_card)
    assert isinstance(outcome, TermsSuperseded)  # the survivor, who posts by the card, is not locked
    assert ledger.rows("SELECT state FROM ledger.identifier_change") == [("active",)]
    block_card(ledger)
    assert clean(ledger)


class _LessSlow(SlowClock):
    """One that is a second behind."""

    behind = timedelta(seconds=1)


def test_a_callers_slow_clock_writes_no_change_before_the_one_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    member = ledger.member()
    card = ledger.card(member)
    block(member)(ledger)
    monkeypatch.setattr(clock, "datetime", SlowClock)
    block(member, blocked=False)(ledger)
    with ledger.database.unit_of_work() as session:
        identifier_changes.block(
            session,
            ChangeIdentifier(member_id=member, identifier_id=card, by=Actor(name="test", party_id=NETWORK)),
        )
    for table in ("member_block", "identifier_change"):
        [(first,), (second,)] = ledger.rows(f"SELECT changed_at FROM ledger.{table} ORDER BY number")
        assert first == second
    assert clean(ledger)


def test_nobody_is_erased_before_the_last_posting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    member = ledger.member(available=5)
    ledger.redeem(member, 5)
    monkeypatch.setattr(clock, "datetime", SlowClock)
    erase(member)(ledger)
    assert ledger.rows("SELECT erased_at = last_recorded_at FROM ledger.member_head") == [(True,)]


def test_a_pool_is_not_left_before_it_was_joined_though_the_clock_is_slow(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    head, invited = ledger.member(), ledger.member()
    ledger.pool(head)
    ledger.invite(head, invited)
    monkeypatch.setattr(clock, "datetime", SlowClock)
    erase(invited)(ledger)
    assert ledger.rows(
        "SELECT ended_at = invited_at FROM ledger.pool_member WHERE member_id = :id", id=invited
    ) == [(True,)]


def test_who_sets_the_clock_after_another_sets_it_from_there(ledger: LedgerDriver) -> None:
    def set_clock(*, days: int) -> Act:
        def act(ledger: LedgerDriver) -> None:
            with ledger.database.unit_of_work() as session:
                clock.set_clock(session, to=START + timedelta(days=days))

        return act

    refused = one_after_another(ledger, set_clock(days=2), set_clock(days=1))
    assert isinstance(refused, errors.ClockRefused)
    assert ledger.now == START + timedelta(days=2)


def test_who_seals_while_another_does_finds_it_sealed(ledger: LedgerDriver) -> None:
    member = ledger.member(available=5)
    day = START.date()
    with ledger.database.unit_of_work() as session:
        windows.close_window(session, business_date=day, patience=timedelta(seconds=1))

    def seal(by: LedgerDriver) -> bool:
        with by.database.unit_of_work() as session:
            return windows.seal_window(session, business_date=day)

    assert one_after_another(ledger, seal, seal) is False
    assert ledger.rows(
        "SELECT sum(entries) FROM ledger.window_total WHERE business_date = :day", day=day
    ) == [(2,)]
    assert ledger.balance(member).available == 5


def test_a_batch_that_waited_for_a_posting_goes_on_from_what_that_one_left(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    spend, earn = ledger.to_redeem(member, 60), ledger.to_issue(member, 7)

    def redeem(by: LedgerDriver) -> None:
        with by.database.single_call() as session:
            redeem_points(session, spend)

    [answer] = one_after_another(ledger, redeem, lambda after: after.batch(earn))
    assert answer.balance.available == 47
    assert clean(ledger)


def test_the_night_holds_no_member_while_it_waits_for_one_before(database: Database) -> None:
    """Of members it brings up to date together, and who gets points back from them, it locks the first id first."""
    ledger = LedgerDriver(database).open()
    giver, other, spender = sorted(ledger.member(available=10) for _ in range(3))
    ledger.pool(spender, giver)
    ledger.authorize(spender, 15, from_pool=True)
    ledger.pass_time(hours=1)
    with ThreadPoolExecutor(1) as pool:
        with ledger.database.unit_of_work() as session:
            till = replace(ledger, database=HeldDatabase(session))  # type: ignore[arg-type]
            till.redeem(giver, 1)
            night = pool.submit(ledger.bring_up_to_date, other, spender)
            until_somebody_waits(ledger.database)
            till.redeem(other, 1)
        # The hold lapsed and the giver has its points back.
        assert night.result() == 2
    assert [ledger.balance(one).available for one in (giver, other, spender)] == [9, 9, 10]


def test_a_hold_of_others_points_lapses_no_earlier_than_what_was_posted_since(
    database: Database, owner_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = LedgerDriver(database).open(mode="production")
    with owner_engine.begin() as connection:  # or nothing is recorded before now
        connection.execute(
            text("UPDATE ledger.settlement_window SET opened_at = opened_at - interval '1 minute'")
        )
    member, giver = ledger.member(), ledger.member()
    with monkeypatch.context() as earlier:
        earlier.setattr(clock, "datetime", SlowClock)
        ledger.pool(member, giver)
        ledger.issue(giver, 10)
        ledger.authorize(member, 10, from_pool=True, seconds_to_live=1)
    ledger.issue(member, 1)  # which leaves the hold to who locks the giver, too
    monkeypatch.setattr(clock, "datetime", _LessSlow)
    assert ledger.bring_up_to_date(member) > 0
    (*_, (issued, _), (lapsed, kind)) = ledger.rows(
        "SELECT recorded_at, kind FROM ledger.transaction WHERE member_id = :member AND kind IN ('issue', 'lapse')"
        " ORDER BY sequence",
        member=member,
    )
    assert (kind, lapsed) == ("lapse", issued)
    assert clean(ledger)
