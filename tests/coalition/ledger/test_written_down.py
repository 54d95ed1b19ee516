"""A few days in which everything happens once, compared row by row with what was written down and read.

`written_down.txt` lists every row that the days leave, with names in place of ids. Where a change is meant, delete
it and run this: the test writes it anew, and the difference is yours to read.
"""

from datetime import timedelta
from pathlib import Path

from driver import LedgerDriver, receipt
from listing import listing

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.ids import MemberId

WRITTEN = Path(__file__).with_name("written_down.txt")


def _days(ledger: LedgerDriver) -> None:
    baker, grocer = ledger.partner(), ledger.partner(redemption_charge="0.001")
    anna, ben, cleo = (_joined(ledger) for _ in range(3))
    plan = ledger.funding_plan(_=[(baker, 500_000), (grocer, 500_000)])
    soon, later = ledger.now + timedelta(days=2), ledger.now + timedelta(days=300)

    # Two lots, of which the one that expires first is spent first; some points pend.
    bread = ledger.issue(anna, 100, by=baker, expires_at=later, receipt=receipt("B-1"), funding_plan_id=plan)
    ledger.issue(anna, 40, by=grocer, expires_at=soon, identifier_id=ledger.card(anna))
    ledger.issue(anna, 30, by=grocer, matures_at=soon)
    spent = ledger.redeem(anna, 60, by=grocer, receipt=receipt("G-1", line=3))
    ledger.reverse(spent.ref, 25, by=grocer, reason="a jar was broken")
    ledger.confirm(anna, 5, at=grocer)

    # Holds: taken in part, voided, and left to lapse; a voucher.
    taken = ledger.authorize(anna, 50, by=grocer)
    ledger.pass_time(minutes=1)
    ledger.reverse(bread.ref, 70, by=baker)  # what is held of it is recalled
    ledger.capture(taken.ref, 20, by=grocer, receipt=receipt("G-2"))
    ledger.issue(ben, 200, by=baker, expires_at=later)
    ledger.void(ledger.authorize(ben, 8, by=grocer).ref, by=grocer)
    ledger.redeem_voucher(ledger.voucher(ben, 9, at=grocer).ref, 6, by=grocer)
    ledger.authorize(ben, 10, by=baker, seconds_to_live=600)

    # Night: what is due is posted.
    ledger.pass_time(days=1)
    ledger.close_window()
    ledger.pass_time(days=1, hours=3)
    for member in (anna, ben, cleo):
        ledger.bring_up_to_date(member)

    # A claim, and points that pay it off; points that change hands; a household.
    gift = ledger.issue(cleo, 50, by=baker)
    ledger.redeem(cleo, 45, by=grocer, confirmation_id=ledger.confirm(cleo, 45, at=grocer))
    ledger.reverse(gift.ref, by=baker)
    ledger.issue(cleo, 20, by=grocer, occurred_at=ledger.now - timedelta(days=2))
    ledger.transfer(ben, 60, to=cleo)
    ledger.pool(ben, anna)
    common = ledger.redeem(anna, 90, by=baker, from_pool=True)
    ledger.reverse(common.ref, 80, by=baker)
    ledger.pass_time(minutes=1)
    ledger.leave_pool(anna)
    ledger.merge(cleo, anna)
    ledger.redeem(cleo, 11, by=grocer)
    ledger.unmerge(cleo, anna)
    ledger.pass_time(days=1)
    ledger.close_window()


def _joined(ledger: LedgerDriver) -> MemberId:
    """A member, at a moment of its own."""
    ledger.pass_time(seconds=1)
    return ledger.member(issuer=ledger.any_partner())


def test_days_in_which_everything_happens_leave_the_rows_that_were_written_down(ledger: LedgerDriver) -> None:
    _days(ledger)
    with ledger.database.reading() as session:
        assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []
    found = listing(ledger)
    if not WRITTEN.exists():
        WRITTEN.write_text(found, encoding="utf-8")
    assert found.splitlines() == WRITTEN.read_text(encoding="utf-8").splitlines()
