"""Holds with a pool's points lapse by themselves: their givers have them again, whoever else is busy."""

from datetime import timedelta
from typing import NamedTuple

import pytest
from conftest import TestDatabase
from driver import LedgerDriver
from sqlalchemy import Engine, text
from terminal import Terminal

from coalition import lapsing
from coalition.audit import run_audit
from coalition.config import get_settings
from coalition.db import Database
from coalition.ids import MemberId


class Household(NamedTuple):
    ledger: LedgerDriver
    spender: MemberId
    giver: MemberId

    def points(self) -> tuple[int, int]:
        """What the giver can spend, and what the spender has set aside."""
        return self.ledger.balance(self.giver).available, self.ledger.balance(self.spender).held


@pytest.fixture
def household(ledger: LedgerDriver) -> Household:
    """The spender has set 30 aside for a minute, 10 of its own."""
    return lent(ledger)


def lent(ledger: LedgerDriver, *, seconds: int = 60) -> Household:
    spender, giver = ledger.member(available=10), ledger.member(available=50)
    ledger.pool(spender, giver)
    ledger.authorize(spender, 30, from_pool=True, seconds_to_live=seconds)
    return Household(ledger, spender, giver)


def test_points_that_a_pool_lent_are_back_once_their_hold_is_over(household: Household) -> None:
    household.ledger.pass_time(seconds=59)
    assert lapsing.lapse_pooled_holds(household.ledger.database) == 0
    assert household.points() == (30, 30)

    household.ledger.pass_time(seconds=1)
    # It lapses, and its two sides give back.
    assert lapsing.lapse_pooled_holds(household.ledger.database) == 2
    assert household.points() == (50, 0)
    assert household.ledger.kinds(household.spender)[-2:] == [("lapse", 30), ("unpool_out", 20)]
    assert lapsing.lapse_pooled_holds(household.ledger.database) == 0
    with household.ledger.database.reading() as session:
        assert run_audit(session) == []


def test_before_the_programme_opens_there_is_nothing_to_end(database: Database) -> None:
    assert lapsing.lapse_pooled_holds(database) == 0


def test_a_sandboxs_clock_that_is_set_past_the_end_lets_them_lapse(
    household: Household, test_database: TestDatabase
) -> None:
    later = household.ledger.now + timedelta(minutes=1)
    get_settings.cache_clear()  # a command is a process of its own elsewhere
    Terminal(test_database.environment)("programme", "clock", later.strftime("%Y-%m-%dT%H:%M:%S"))
    assert household.points() == (50, 0)


def test_a_hold_of_a_members_own_points_is_left_to_its_next_operation(ledger: LedgerDriver) -> None:
    member = ledger.member(available=10)
    ledger.authorize(member, 10, seconds_to_live=60)
    ledger.pass_time(minutes=2)
    assert lapsing.lapse_pooled_holds(ledger.database) == 0
    assert ledger.kinds(member)[-1] == ("authorize", 10)
    assert ledger.balance(member).available == 10


def test_whoever_is_busy_keeps_nobody_else_waiting(ledger: LedgerDriver, superuser_engine: Engine) -> None:
    busy, idle = lent(ledger), lent(ledger, seconds=61)
    ledger.pass_time(minutes=2)
    with superuser_engine.begin() as other:
        other.execute(
            text("SELECT FROM ledger.member_head WHERE member_id = :giver FOR UPDATE"), {"giver": busy.giver}
        )
        lapsing.lapse_pooled_holds(ledger.database)
        assert busy.points() == (30, 30)
        assert idle.points() == (50, 0)
    lapsing.lapse_pooled_holds(ledger.database)
    assert busy.points() == (50, 0)


def test_of_more_than_are_done_in_one_go_those_that_wait_longest_go_first(
    ledger: LedgerDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lapsing, "_AT_ONCE", 1)
    later, sooner = lent(ledger, seconds=61), lent(ledger, seconds=60)
    ledger.pass_time(minutes=2)
    lapsing.lapse_pooled_holds(ledger.database)
    assert (sooner.points(), later.points()) == ((50, 0), (30, 30))
    lapsing.lapse_pooled_holds(ledger.database)
    assert later.points() == (50, 0)
