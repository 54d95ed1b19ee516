"""Books in which points were held, changed hands and were adjusted, each in every way that there is."""

from datetime import timedelta
from itertools import count
from uuid import UUID

from audit_books import Books
from driver import LedgerDriver
from sqlalchemy.orm import Session

from coalition import adjusting
from coalition.adjusting import AdjustmentReason, ProposeAdjustment
from coalition.amounts import Points
from coalition.ids import MemberId, PartnerId


def points_change_hands(books: Books) -> None:
    """Over three windows, the last of them open."""
    ledger = LedgerDriver(
        books.database,
        keys=count(10_000),
        agreements={
            each.partner_id: each.agreement_id for each in (books.baker, books.grocer, books.florist)
        },
    )
    baker, grocer, florist = (each.partner_id for each in (books.baker, books.grocer, books.florist))

    # Holds: captured in part over two lots, voided, lapsed, and open with points recalled from it.
    dee = books.member()
    books.issue(dee, books.baker, 50, expires=timedelta(days=9))
    books.issue(dee, books.grocer, 50, shared=True)
    consent = ledger.confirm(dee, 60, at=grocer)
    kept = ledger.authorize(dee, 60, by=grocer, confirmation_id=consent, seconds_to_live=200_000)
    ledger.void(ledger.authorize(dee, 10, by=florist).ref, by=florist)
    ledger.authorize(dee, 7, by=florist, seconds_to_live=60)
    fay = books.member()
    sale = books.issue(fay, books.baker, 50)
    spent = ledger.authorize(fay, 20, by=florist)
    ledger.authorize(fay, 25, by=grocer, seconds_to_live=600_000)
    ledger.reverse(sale.ref, 40, by=baker)  # 5 at once, 35 of the 45 that are held
    ledger.capture(spent.ref, 15, by=florist)

    # Transfers, of which one pays a debt.
    gus, hal = books.member(), books.member()
    books.issue(gus, books.grocer, 80, expires=timedelta(days=30))
    books.issue(gus, books.baker, 20, shared=True)
    _owe(books, hal, 12)
    ledger.transfer(gus, 90, to=hal, by="ada")
    ledger.transfer(hal, 5, to=gus)

    # Merges: two that stay, one of them with a debt; one that is undone; one that a reversal reaches through.
    ivy, joy, kim, lou = (books.member() for _ in range(4))
    for member in (joy, lou):
        books.issue(member, books.grocer, 40, matures=timedelta(days=9))
        _owe(books, member, 20)
        books.issue(member, books.grocer, 8)
    returned = books.issue(joy, books.grocer, 30)
    ledger.merge(ivy, joy)
    ledger.merge(kim, lou)
    mia, ned = books.member(), books.member()
    _owe(books, ned, 12)
    for member in (mia, ned):
        books.issue(member, books.grocer, 7, matures=timedelta(days=9))
    ledger.merge(mia, ned)
    books.next_day()

    ledger.capture(kept.ref, 55, by=grocer)
    ledger.bring_up_to_date(dee)
    _part(ledger, kim, lou, at=grocer)
    books.issue(ivy, books.grocer, 3)
    ledger.reverse(books.issue(kim, books.grocer, 4).ref, by=grocer)
    ledger.reverse(returned.ref, 6, by=grocer)
    books.next_day()

    with books.database.unit_of_work() as session:
        given = _propose(session, books, dee, 70)
        taken = _propose(session, books, gus, -4)
        _propose(session, books, dee, 9)
    with books.database.single_call() as session:
        adjusting.post_adjustment(session, dee, given, by="grace", agreement_id=books.baker.agreement_id)
    with books.database.single_call() as session:
        adjusting.post_adjustment(session, gus, taken, by="ada", agreement_id=None)


def _owe(books: Books, member: MemberId, points: int) -> None:
    """Spend what the issuer then takes back."""
    owed = books.issue(member, books.baker, points)
    books.redeem(member, books.florist, points)
    books.reverse(owed, books.baker)


def _part(ledger: LedgerDriver, survivor: MemberId, merged: MemberId, *, at: PartnerId) -> None:
    """Take two apart; the merged one's card names the survivor before it, and itself after."""
    [(card,)] = ledger.rows("SELECT identifier_id FROM ledger.identifier WHERE member_id = :id", id=merged)
    ledger.issue(survivor, 2, by=at, identifier_id=card)
    ledger.unmerge(survivor, merged)
    ledger.issue(merged, 2, by=at, identifier_id=card)


def _propose(session: Session, books: Books, member: MemberId, points: int) -> UUID:
    return adjusting.propose_adjustment(
        session,
        ProposeAdjustment(
            member_id=member,
            points=Points(points),
            reason=AdjustmentReason.GOODWILL,
            by="ada",
            issuer_id=books.baker.partner_id if points > 0 else None,
            funding_plan_id=books.plan_id if points > 0 else None,
        ),
    )
