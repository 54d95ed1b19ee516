"""What a pool spends is settled as if each member had spent its own: by who issued it, and who redeemed it."""

from driver import START
from night_driver import NightDriver


def test_points_of_a_pool_are_settled_by_who_issued_them(ledger: NightDriver) -> None:
    a, b, c = ledger.named("a"), ledger.named("b"), ledger.named("c")
    ada, ben = ledger.member(available=1_000, issuer=a), ledger.member(available=2_000, issuer=b)
    ledger.pool(ada, ben)
    spent = ledger.redeem(ada, 2_500, by=c, from_pool=True)  # 1,000 of a's, 1,500 of b's
    ledger.reverse(spent.ref, 700, by=c)  # the last drawn first: of b's
    held = ledger.authorize(ada, 900, by=c, from_pool=True)
    ledger.capture(held.ref, 300, by=c)
    [settled] = ledger.settle(business_date=START.date(), now=True).settled
    assert settled.run.state == "calculated", "the night's checks found nothing"
    assert ledger.rows(
        "SELECT i.code, r.code, redeemed_points, returned_points FROM settlement.liability l"
        " JOIN partners.partner i ON i.partner_id = issuer_id"
        " JOIN partners.partner r ON r.partner_id = redeemer_id WHERE run_id = :run ORDER BY 1, 2",
        run=settled.run.run_id,
    ) == [("a", "c", 1_000, 0), ("b", "c", 1_800, 700)]
    assert ledger.rows(
        "SELECT code, opening, issued, redeemed, returned, closing FROM settlement.roll_forward"
        " JOIN partners.partner ON partner_id = issuer_id WHERE run_id = :run ORDER BY 1",
        run=settled.run.run_id,
    ) == [("a", 0, 1_000, 1_000, 0, 0), ("b", 0, 2_000, 1_800, 700, 900)]
    assert ledger.balance(ben).available + ledger.balance(ada).available == 900
