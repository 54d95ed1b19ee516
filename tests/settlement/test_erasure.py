"""Who is erased leaves every settled window, and every file of it, as it was."""

from driver import START
from night_driver import NightDriver

from coalition.audit import AUDIT, CHAIN, run_audit
from coalition.erasing import erase_member


def test_statements_of_settled_windows_stay_to_the_byte(ledger: NightDriver) -> None:
    a, b = ledger.named("a"), ledger.named("b")
    gone, stays = ledger.member(available=1_000, issuer=a), ledger.member(available=500, issuer=a)
    ledger.redeem(gone, 1_000, by=b)
    ledger.redeem(stays, 100, by=b)
    ledger.pass_time(days=1)
    first = ledger.settle()
    files = ledger.files(first)
    assert "statement-a.csv" in files

    with ledger.database.unit_of_work() as session:
        erase_member(session, gone)
    for written in first.settled[0].files:
        written.unlink()

    again = ledger.settle(business_date=START.date())
    assert again.run == first.run
    assert ledger.files(again) == files
    ledger.pass_time(days=1)
    assert len(ledger.settle().settled) == 1
    with ledger.database.reading() as session:
        assert run_audit(session, checks=(*AUDIT, *CHAIN)) == []
