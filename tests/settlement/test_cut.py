"""Windows cut under load: every posting falls in exactly one, and tills hardly notice."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from night_driver import NightDriver
from sqlalchemy import text

from coalition.db import Database
from coalition.ledger import Posting
from settlement.runs import RunState

pytestmark = pytest.mark.fire

TILLS = 8
CUTS = 8


def test_windows_cut_under_load_lose_and_double_nothing(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = NightDriver(database, directory=tmp_path_factory.mktemp("statements"))
    ledger.open(mode="production")
    a, b = ledger.named("a"), ledger.named("b")
    members = [ledger.member(available=1_000, issuer=a) for _ in range(TILLS * 4)]
    over = threading.Event()
    slowest = [0.0] * TILLS

    def till(number: int) -> list[Posting]:
        """Issues and redeems for its own members and for those of its neighbour."""
        done = []
        for turn in range(1_000_000):
            if over.is_set():
                return done
            member = members[(number * 4 + turn % 8) % len(members)]
            began = time.monotonic()
            done.append(ledger.issue(member, 10, by=a) if turn % 3 else ledger.redeem(member, 5, by=b))
            slowest[number] = max(slowest[number], time.monotonic() - began)
        return done

    with ThreadPoolExecutor(TILLS) as pool:
        tills = [pool.submit(till, number) for number in range(TILLS)]
        nights = []
        for _ in range(CUTS):
            time.sleep(0.2)
            nights.append(ledger.settle(now=True))
        over.set()
        acknowledged = [posting for till in tills for posting in till.result()]
    nights.append(ledger.settle(now=True))

    settled = [one for night in nights for one in night.settled]
    assert len(settled) == CUTS + 1
    assert [(one.run.state, one.findings) for one in settled] == [(RunState.CALCULATED, ())] * len(settled)

    stored = ledger.rows("SELECT transaction_id, business_date FROM ledger.transaction")
    assert len({identity for identity, _ in stored}) == len(stored)
    answered = {(posting.transaction_id, posting.business_date) for posting in acknowledged}
    assert len(answered) == len(acknowledged) > CUTS * TILLS
    assert answered <= set(stored)
    # The opening issues are the only ones besides.
    assert len(stored) == len(acknowledged) + len(members)

    # What the runs counted, window by window, is what the journal holds.
    assert sum(one.run.transactions for one in settled) == len(stored)
    per_window = Counter(business_date for _, business_date in stored)
    assert {one.run.business_date: one.run.transactions for one in settled} == dict(per_window)
    [(issued, redeemed, closing)] = ledger.rows("""
        SELECT sum(issued), sum(redeemed), (SELECT sum(available) FROM ledger.lot)
          FROM settlement.roll_forward
    """)
    assert issued - redeemed == closing
    assert (
        ledger.rows(
            "SELECT 1 FROM ledger.transaction t JOIN ledger.settlement_window w USING (business_date)"
            " WHERE recorded_at < opened_at OR recorded_at > closed_at"
        )
        == []
    )
    assert max(one.stall for one in settled) < timedelta(seconds=2.5)


def test_a_closed_window_takes_nothing_and_a_second_closer_finds_it_closed(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = NightDriver(database, directory=tmp_path_factory.mktemp("statements"))
    ledger.open()
    first = ledger.issue(ledger.member(), 100)
    [one] = ledger.settle(now=True).settled
    with database.unit_of_work() as session:
        again = session.execute(
            text("SELECT ledger.close_window(:date, now())"), {"date": one.run.business_date}
        ).scalar_one()
    assert again is False
    later = ledger.issue(ledger.member(), 100)
    assert (first.business_date, later.business_date) == (
        one.run.business_date,
        one.run.business_date + timedelta(days=1),
    )
    assert ledger.rows("SELECT count(*) FROM ledger.settlement_window") == [(2,)]
