"""What the stateful model found: orders that ids decided, keys of two who became one, and other corners."""

from datetime import timedelta

from driver import LedgerDriver

from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.programme import set_consent_limit


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def test_lots_that_came_at_once_are_spent_oldest_first(ledger: LedgerDriver) -> None:
    partners = [ledger.partner() for _ in range(6)]
    survivor, merged = ledger.member(), ledger.member()
    for partner in partners:
        ledger.issue(merged, 10, by=partner)
    ledger.merge(survivor, merged)
    for partner in partners:
        ledger.redeem(survivor, 10, by=partners[0])
        spent = ledger.rows(
            "SELECT issuer_id FROM ledger.lot WHERE member_id = :member AND burned > 0 ORDER BY sequence, ordinal",
            member=survivor,
        )
        assert spent[-1] == (partner,)
    _clean(ledger)


def test_claims_that_came_at_once_are_paid_oldest_first(ledger: LedgerDriver) -> None:
    partners = [ledger.partner() for _ in range(6)]
    survivor, merged = ledger.member(), ledger.member()
    issued = {partner: ledger.issue(merged, 10, by=partner) for partner in partners}
    ledger.redeem(merged, 60)
    for partner in partners:
        ledger.reverse(issued[partner].ref, by=partner)
    ledger.merge(survivor, merged)
    ledger.issue(survivor, 60)
    assert ledger.rows(
        "SELECT partner_id FROM ledger.transaction WHERE member_id = :member AND kind = 'recovery' ORDER BY sequence",
        member=survivor,
    ) == [(partner,) for partner in partners]
    _clean(ledger)


def test_holds_of_one_instant_lapse_in_the_order_in_which_they_were_set_aside(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    for points in range(1, 9):
        ledger.authorize(member, points, seconds_to_live=60)
    ledger.pass_time(minutes=2)
    ledger.bring_up_to_date(member)
    assert ledger.kinds(member)[-8:] == [("lapse", points) for points in range(1, 9)]


def test_a_hold_whose_time_is_over_takes_nothing_of_what_needs_no_consent(ledger: LedgerDriver) -> None:
    member = ledger.member(available=100)
    with ledger.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(50))
    ledger.authorize(member, 50, seconds_to_live=60)
    ledger.pass_time(minutes=2)
    assert ledger.redeem(member, 50).balance.available == 50
    _clean(ledger)


def test_a_key_that_two_had_used_before_they_were_merged_is_found_for_each(ledger: LedgerDriver) -> None:
    survivor, merged, third = ledger.member(), ledger.member(), ledger.member()
    asked: list[tuple[int, dict[str, object]]] = [(points, {"points": points}) for points in (10, 20, 30)]
    first = [
        ledger.issue(member, points, key="sale", request=request)
        for member, (points, request) in zip((survivor, merged, third), asked, strict=True)
    ]
    ledger.merge(survivor, merged)
    ledger.merge(survivor, third)
    before = ledger.snapshot()
    for posted, (points, request) in zip(first, asked, strict=True):
        again = ledger.issue(survivor, points, key="sale", request=request)
        assert (again.replayed, again.ref) == (True, posted.ref)
    assert ledger.snapshot() == before


def test_a_survivor_is_brought_up_to_date_before_it_gets_what_was_given_back(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member(available=20)
    spent = ledger.redeem(merged, 20)
    ledger.issue(survivor, 10, expires_at=ledger.now + timedelta(days=2))
    ledger.merge(survivor, merged)
    ledger.pass_time(days=3)
    ledger.reverse(spent.ref)
    assert ledger.kinds(survivor)[-2:] == [("expire", 10), ("merge_in", 20)]
    _clean(ledger)


def test_points_that_were_given_are_not_what_a_merge_brought(ledger: LedgerDriver) -> None:
    survivor, merged = ledger.member(), ledger.member()
    issued = ledger.issue(merged, 30)
    ledger.transfer(merged, 10, to=survivor)
    held = ledger.authorize(survivor, 10)
    ledger.merge(survivor, merged)
    assert ledger.unmerge(survivor, merged).points == 20  # the ten that are held were a gift
    ledger.void(held.ref)
    ledger.transfer(merged, 20, to=survivor)
    ledger.merge(survivor, merged)
    ledger.reverse(issued.ref)
    assert "unmerge_out" not in [kind for kind, _ in ledger.kinds(survivor)][-2:]
    _clean(ledger)
