"""Of two who change who is in a pool in one moment, the second waits and decides by what the first has left."""

from uuid import UUID

from concurrency.interleaving import Act, one_after_another
from driver import LedgerDriver

from coalition import errors
from coalition.audit import run_audit
from coalition.clock import wall
from coalition.ids import MemberId
from coalition.ledger.posting import TermsSuperseded, call


def clean(ledger: LedgerDriver) -> bool:
    with ledger.database.reading() as session:
        return run_audit(session) == []


def opens(member: MemberId) -> Act:
    return lambda ledger: ledger.pool(member)


def joins(member: MemberId, pool: UUID) -> Act:
    return lambda ledger: ledger.join_pool(member, pool)


def leaves(member: MemberId) -> Act:
    return lambda ledger: ledger.leave_pool(member)


def closes(pool: UUID) -> Act:
    return lambda ledger: ledger.close_pool(pool)


def invites(head: MemberId, invited: MemberId) -> Act:
    return lambda ledger: ledger.invite(head, invited)


def test_one_member_opens_one_pool(ledger: LedgerDriver) -> None:
    member = ledger.member()
    assert isinstance(one_after_another(ledger, opens(member), opens(member)), errors.AlreadyInPool)
    assert ledger.rows("SELECT count(*) FROM ledger.pool") == [(1,)]
    assert clean(ledger)


def test_of_two_invitations_one_is_accepted(ledger: LedgerDriver) -> None:
    ada, ben, member = ledger.member(), ledger.member(), ledger.member()
    pools = [ledger.pool(ada), ledger.pool(ben)]
    ledger.invite(ada, member)
    ledger.invite(ben, member)
    refusal = one_after_another(ledger, *(joins(member, pool) for pool in pools))
    assert isinstance(refusal, errors.AlreadyInPool)
    assert clean(ledger)


def test_nobody_joins_a_pool_that_was_just_closed(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    pool = ledger.pool(ada)
    ledger.invite(ada, ben)
    assert isinstance(one_after_another(ledger, closes(pool), joins(ben, pool)), errors.PoolClosed)
    assert ledger.rows("SELECT count(*) FROM ledger.member_head WHERE pool_id IS NOT NULL") == [(0,)]
    assert clean(ledger)


def test_a_pool_is_closed_once(ledger: LedgerDriver) -> None:
    pool = ledger.pool(ledger.member(), ledger.member())
    assert isinstance(one_after_another(ledger, closes(pool), closes(pool)), errors.PoolClosed)
    assert clean(ledger)


def test_the_last_place_is_for_one(ledger: LedgerDriver) -> None:
    ada = ledger.member()
    ledger.pool(ada, most_members=2)
    refusal = one_after_another(ledger, invites(ada, ledger.member()), invites(ada, ledger.member()))
    assert isinstance(refusal, errors.PoolFull)
    assert clean(ledger)


def test_who_is_in_no_pool_any_more_leaves_none(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(), ledger.member()
    pool = ledger.pool(ada, ben)
    assert isinstance(one_after_another(ledger, closes(pool), leaves(ben)), errors.NotInPool)
    assert clean(ledger)


def test_who_is_in_another_pool_by_then_is_asked_again(ledger: LedgerDriver) -> None:
    ada, ben, cleo = ledger.member(), ledger.member(), ledger.member()
    ledger.pool(ada, ben)
    other = ledger.pool(cleo)
    ledger.invite(cleo, ben)

    def moves(held: LedgerDriver) -> None:
        held.leave_pool(ben)
        held.join_pool(ben, other)

    def leaves_once(late: LedgerDriver) -> None:
        with late.database.unit_of_work() as session:
            call(session, "SELECT ledger.leave_pool(%s, %s)", (ben, wall()))

    assert isinstance(one_after_another(ledger, moves, leaves_once), TermsSuperseded)
    assert ledger.rows("SELECT pool_id FROM ledger.member_head WHERE member_id = :ben", ben=ben) == [(other,)]
    assert clean(ledger)


def test_a_batch_that_was_to_draw_on_a_pool_is_asked_again_when_the_member_has_left(
    ledger: LedgerDriver,
) -> None:
    ada, ben = ledger.member(available=50), ledger.member()
    ledger.pool(ada, ben)
    wish = ledger.to_redeem(ben, 5, from_pool=True)
    assert isinstance(
        one_after_another(ledger, leaves(ben), lambda after: after.batch(wish)), TermsSuperseded
    )
    assert ledger.balance(ada).available == 50
    assert clean(ledger)
