"""Adjustments: what an operator may propose, who may post it, and what is written of both."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from driver import LedgerDriver

from coalition import adjusting, errors
from coalition.adjusting import AdjustmentReason, ProposeAdjustment
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.blocking import set_blocked
from coalition.erasing import erase_member
from coalition.ids import NETWORK, MemberId, PartnerId
from coalition.ledger import Posting

MOST = 1_000_000_000


def propose(ledger: LedgerDriver, member: MemberId, points: int, **more: Any) -> UUID:
    more.setdefault("issuer_id", ledger.any_partner() if points > 0 else None)
    with ledger.database.unit_of_work() as session:
        return adjusting.propose_adjustment(
            session,
            ProposeAdjustment(
                member_id=member,
                points=Points(points),
                reason=more.pop("reason", AdjustmentReason.GOODWILL),
                by=more.pop("by", "ada"),
                **more,
            ),
        )


def post(ledger: LedgerDriver, member: MemberId, adjustment: UUID, *, by: str = "grace") -> Posting:
    with ledger.database.single_call() as session:
        return adjusting.post_adjustment(
            session, member, adjustment, by=by, agreement_id=ledger.agreements[ledger.any_partner()]
        )


def reject(ledger: LedgerDriver, member: MemberId, adjustment: UUID, *, by: str = "grace") -> None:
    with ledger.database.unit_of_work() as session:
        adjusting.reject_adjustment(session, member, adjustment, by=by)


def refused(ledger: LedgerDriver, kind: type[errors.CoalitionError], act: Any) -> dict[str, Any]:
    """The facts of a refusal that moved nothing."""
    before = ledger.snapshot()
    with pytest.raises(kind) as refusal:
        act()
    assert ledger.snapshot() == before
    return refusal.value.facts


def stands(ledger: LedgerDriver, adjustment: UUID) -> tuple[Any, ...]:
    [row] = ledger.rows(
        "SELECT state, decided_by, decided_at, transaction_id FROM ledger.adjustment WHERE adjustment_id = :id",
        id=adjustment,
    )
    return row


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def test_a_proposal_is_written_down_and_moves_nothing(ledger: LedgerDriver) -> None:
    member, moment = ledger.member(available=5), ledger.pass_time(minutes=3)
    given = propose(ledger, member, MOST, note="sorry")
    taken = propose(ledger, member, -MOST, by="ben", reason=AdjustmentReason.FRAUD)
    rows = "SELECT adjustment_id, member_id, points, reason, note IS NULL, issuer_id, proposed_by, proposed_at, state FROM ledger.adjustment"
    assert set(ledger.rows(rows)) == {
        (given, member, MOST, "goodwill", False, ledger.any_partner(), "ada", moment, "proposed"),
        (taken, member, -MOST, "fraud", True, None, "ben", moment, "proposed"),
    }
    assert ledger.balance(member).available == 5


def test_what_cannot_be_proposed_is_refused_by_name(ledger: LedgerDriver) -> None:
    member, redeemer = ledger.member(), ledger.partner(issuer=False)
    for points in (0, MOST + 1, -MOST - 1):
        facts = refused(ledger, errors.PointsInvalid, lambda points=points: propose(ledger, member, points))
        assert facts == {"points": points}
    refused(ledger, errors.MemberUnknown, lambda: propose(ledger, MemberId(uuid4()), 5))
    for issuer in (PartnerId(uuid4()), redeemer):
        refused(
            ledger,
            errors.PartnerUnknown,
            lambda issuer=issuer: propose(ledger, member, 5, issuer_id=issuer),
        )


def test_who_posts_it_is_remembered_where_that_is_somebody_else(ledger: LedgerDriver) -> None:
    member = ledger.member()
    alone, together, waiting = (propose(ledger, member, points) for points in (1_000, 1_001, 7))
    moment = ledger.pass_time(minutes=3)
    assert refused(ledger, errors.SecondPersonNeeded, lambda: post(ledger, member, together, by="ada")) == {
        "limit": 1_000
    }
    first = post(ledger, member, alone, by="ada")
    second = post(ledger, member, together, by="grace")
    assert stands(ledger, alone) == ("posted", None, moment, first.transaction_id)
    assert stands(ledger, together) == ("posted", "grace", moment, second.transaction_id)
    assert stands(ledger, waiting) == ("proposed", None, None, None)
    ledger.pass_time(minutes=1)
    before = ledger.snapshot()
    assert post(ledger, member, alone, by="ada").replayed
    assert post(ledger, member, together, by="grace").replayed
    for adjustment, by in ((alone, "grace"), (together, "ada"), (together, "mallory")):
        facts = refused(
            ledger,
            errors.AdjustmentDecided,
            lambda adjustment=adjustment, by=by: post(ledger, member, adjustment, by=by),
        )
        assert facts == {"state": "posted"}
    assert ledger.snapshot() == before
    assert clean(ledger)


def test_an_adjustment_is_its_members(ledger: LedgerDriver) -> None:
    member, other = ledger.member(available=5), ledger.member(available=5)
    mine, others = propose(ledger, member, 7), propose(ledger, other, 8)
    for of, adjustment in ((member, others), (other, mine), (member, uuid4())):
        for act in (post, reject):
            refused(
                ledger,
                errors.AdjustmentUnknown,
                lambda act=act, of=of, adjustment=adjustment: act(ledger, of, adjustment),
            )
    assert post(ledger, member, mine).balance.available == 12
    assert stands(ledger, others)[0] == "proposed"
    reject(ledger, other, others)
    assert stands(ledger, mine)[0] == "posted"


def test_a_rejected_one_is_never_posted_and_a_posted_one_never_rejected(ledger: LedgerDriver) -> None:
    member = ledger.member(available=50)
    no, yes, other = propose(ledger, member, 5), propose(ledger, member, 5), propose(ledger, member, 5)
    moment = ledger.pass_time(minutes=3)
    reject(ledger, member, no)
    ledger.pass_time(minutes=1)
    reject(ledger, member, no, by="mallory")  # it is so already
    assert stands(ledger, no) == ("rejected", "grace", moment, None)
    assert stands(ledger, other) == ("proposed", None, None, None)
    post(ledger, member, yes)
    for act, adjustment, state in ((post, no, "rejected"), (reject, yes, "posted")):
        facts = refused(
            ledger,
            errors.AdjustmentDecided,
            lambda act=act, adjustment=adjustment: act(ledger, member, adjustment),
        )
        assert facts == {"state": state}


def test_what_is_taken_leaves_what_expires_soonest_in_the_networks_name(ledger: LedgerDriver) -> None:
    member = ledger.member()
    late = ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=9))
    soon = ledger.issue(member, 10, expires_at=ledger.now + timedelta(days=2))
    ledger.issue(member, 4, matures_at=ledger.now + timedelta(hours=1))
    with ledger.database.unit_of_work() as session:
        set_blocked(session, member, blocked=True, by="test")
    moment = ledger.pass_time(days=1)  # by which the four have matured
    adjustment = propose(ledger, member, -12, reason=AdjustmentReason.FRAUD)
    taken = post(ledger, member, adjustment)
    assert (taken.points, taken.balance.available, taken.balance.pending) == (12, 12, 0)
    left = dict(ledger.rows("SELECT transaction_id, available FROM ledger.lot"))
    assert (left[soon.transaction_id], left[late.transaction_id]) == (0, 8)
    assert ledger.rows(
        "SELECT partner_id, points, reason, occurred_at, recorded_at, late FROM ledger.transaction"
        " WHERE kind = 'adjust_out'"
    ) == [(NETWORK, 12, "fraud", moment, moment, False)]
    too_much = propose(ledger, member, -13)
    facts = refused(ledger, errors.InsufficientPoints, lambda: post(ledger, member, too_much))
    assert facts == {"available": 12, "requested": 13}
    assert post(ledger, member, propose(ledger, member, -12)).balance.available == 0
    assert clean(ledger)


def test_nothing_is_taken_from_who_was_merged_or_erased(ledger: LedgerDriver) -> None:
    survivor, merged, gone = ledger.member(), ledger.member(available=9), ledger.member()
    of_merged, of_gone = propose(ledger, merged, -5), propose(ledger, gone, -5)
    ledger.merge(survivor, merged)
    with ledger.database.unit_of_work() as session:
        erase_member(session, gone)
    told = refused(ledger, errors.MemberMerged, lambda: post(ledger, merged, of_merged))
    assert told == {"survivor": str(survivor)}
    refused(ledger, errors.MemberErased, lambda: post(ledger, gone, of_gone))


def test_nothing_is_proposed_or_noted_of_who_was_erased(ledger: LedgerDriver) -> None:
    gone = ledger.member()
    with ledger.database.unit_of_work() as session:
        erase_member(session, gone)
    for points in (5, -5):
        refused(
            ledger,
            errors.MemberErased,
            lambda points=points: propose(ledger, gone, points, note="she called"),
        )
    assert clean(ledger)


def test_a_single_point_is_given_and_taken(ledger: LedgerDriver) -> None:
    member = ledger.member()
    assert post(ledger, member, propose(ledger, member, 1)).balance.available == 1
    assert post(ledger, member, propose(ledger, member, -1)).balance.available == 0
    assert ledger.kinds(member) == [("adjust_in", 1), ("adjust_out", 1)]
    assert clean(ledger)


def test_limits_are_not_about_adjustments(ledger: LedgerDriver) -> None:
    member = ledger.member(available=5)
    for posting in ("both", "transfer"):
        ledger.limit(posting, posting=posting, most=0)
    for points in (5, -3):
        post(ledger, member, propose(ledger, member, points))
    assert ledger.balance(member).available == 7
    assert clean(ledger)
