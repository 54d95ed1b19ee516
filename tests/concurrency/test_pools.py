"""Members of one pool at many tills at once: nothing is spent twice, and nobody waits in a circle."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from driver import LedgerDriver
from sqlalchemy import text
from waiting import until_somebody_waits

from coalition.audit import run_audit
from coalition.errors import AlreadyInPool, CoalitionError, HoldLapsed, InsufficientPoints, NotInPool
from coalition.ledger import Posting


def _clean(ledger: LedgerDriver) -> None:
    with ledger.database.reading() as session:
        assert run_audit(session) == []


def test_two_members_spend_the_same_points_and_one_of_them_is_first(ledger: LedgerDriver) -> None:
    """Forced order: one till holds the pool, the other waits for it, and decides on what the first left."""
    ada, ben = ledger.member(available=50), ledger.member(available=50)
    ledger.pool(ada, ben)
    partner = ledger.any_partner()
    for first, second in ((ada, ben), (ben, ada)):
        with ledger.database.engine.connect() as holder, ThreadPoolExecutor(1) as other:
            holder.execute(
                text(
                    "SELECT * FROM ledger.post_redeem(:member, :partner, :agreement, 80, 'first', '\\x00',"
                    " NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(), NULL, true)"
                ),
                {"member": first, "partner": partner, "agreement": ledger.agreements[partner]},
            )
            waiting = other.submit(ledger.redeem, second, 80, from_pool=True)
            until_somebody_waits(ledger.database)
            assert not waiting.done()
            holder.rollback() if first == ada else holder.commit()
            if first == ada:
                assert waiting.result(timeout=10).points == 80
                ledger.issue(ada, 80)
            else:
                with pytest.raises(InsufficientPoints):
                    waiting.result(timeout=10)
    _clean(ledger)


def test_an_own_redemption_and_one_from_the_pool_meet_at_the_member(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=50), ledger.member(available=50)
    ledger.pool(ada, ben)
    partner = ledger.any_partner()
    with ledger.database.engine.connect() as holder, ThreadPoolExecutor(1) as other:
        holder.execute(
            text(
                "SELECT * FROM ledger.post_redeem(:member, :partner, :agreement, 30, 'own', '\\x00',"
                " NULL, NULL, NULL, NULL, NULL, NULL, NULL, now())"
            ),
            {"member": ben, "partner": partner, "agreement": ledger.agreements[partner]},
        )
        waiting = other.submit(ledger.redeem, ada, 71, from_pool=True)
        until_somebody_waits(ledger.database)
        holder.commit()
        with pytest.raises(InsufficientPoints) as refusal:
            waiting.result(timeout=10)
    assert refusal.value.facts == {"available": 70, "requested": 71}
    _clean(ledger)


def test_who_leaves_while_the_pool_is_used_takes_along_what_is_left(ledger: LedgerDriver) -> None:
    ada, ben = ledger.member(available=50), ledger.member(available=50)
    pool = ledger.pool(ada, ben)
    with ledger.database.engine.connect() as holder, ThreadPoolExecutor(2) as others:
        holder.execute(text("SELECT ledger.leave_pool(:member, now())"), {"member": ben})
        of_ada = others.submit(ledger.redeem, ada, 80, from_pool=True)
        of_ben = others.submit(ledger.redeem, ben, 80, from_pool=True)
        until_somebody_waits(ledger.database)
        holder.commit()
        with pytest.raises(InsufficientPoints):
            of_ada.result(timeout=10)
        with pytest.raises(NotInPool):
            of_ben.result(timeout=10)
    assert ledger.rows(
        "SELECT count(*) FROM ledger.pool_member WHERE ended_at IS NULL AND pool_id = :p", p=pool
    )
    _clean(ledger)


def test_many_tills_never_overspend_a_pool_and_never_wait_in_a_circle(ledger: LedgerDriver) -> None:
    household = [ledger.member(available=100) for _ in range(4)]
    pool = ledger.pool(*household, spender_limit_points=None)
    outsider = ledger.member(available=100)
    start = threading.Barrier(16)

    def work(index: int) -> list[Any]:
        start.wait()
        done: list[Any] = []
        mine = household[index % 4]
        for turn in range(6):
            try:
                match (index + turn) % 6:
                    case 0 | 1:
                        done.append(ledger.redeem(mine, 15, from_pool=True, key=f"{index}-{turn}"))
                    case 2:
                        done.append(ledger.redeem(mine, 5, key=f"{index}-{turn}"))
                    case 3:
                        spent = ledger.redeem(mine, 40, from_pool=True, key=f"{index}-{turn}")
                        ledger.reverse(spent.ref, key=f"v{index}-{turn}")
                    case 4:
                        held = ledger.authorize(mine, 30, from_pool=True, key=f"{index}-{turn}")
                        done.append(ledger.capture(held.ref, 10, key=f"c{index}-{turn}"))
                    case _:
                        ledger.transfer(mine, 1, to=outsider, key=f"{index}-{turn}")
            except (InsufficientPoints, AlreadyInPool, HoldLapsed):
                pass
        return done

    with ThreadPoolExecutor(16) as threads:
        answers = [one for done in threads.map(work, range(16)) for one in done]
    assert not [one for one in answers if isinstance(one, CoalitionError)]
    taken = sum(one.points for one in answers if isinstance(one, Posting))
    given = ledger.balance(outsider).available - 100
    left = sum(ledger.balance(one).available for one in household)
    assert (taken + given + left, left >= 0) == (400, True)
    assert ledger.pooled(household[0]) == left
    ledger.close_pool(pool)
    _clean(ledger)
