"""The forecast is what a count over every lot says, and what the night then does."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner
from databases import TestDatabase
from operating import START, Coalition

from coalition.amounts import Points
from coalition.cli import cli
from coalition.db import Database
from coalition.ledger import TransactionRef
from coalition.programme import OpenProgramme, open_programme
from partners import holds, till
from partners.expiry import Expiry, ExpiryRule
from settlement.forecast import Forecast, expiry_forecast


@pytest.fixture
def coalition(database: Database) -> Coalition:
    with database.unit_of_work() as session:
        open_programme(
            session,
            OpenProgramme(
                name="Test", mode="sandbox", consent_limit_points=Points(1_000_000), starts_at=START
            ),
        )
    return Coalition(database)


def forecast(coalition: Coalition, **asked: Any) -> list[Forecast]:
    with coalition.database.reading() as session:
        return expiry_forecast(session, **{"months": 12, **asked})


def test_points_are_counted_in_the_month_of_their_last_day(coalition: Coalition) -> None:
    grocer = coalition.trading("grocer", expiry=Expiry(expiry_rule=ExpiryRule.END_OF_MONTH, expiry_months=1))
    baker = coalition.trading("baker", expiry=Expiry(expiry_months=None), maturity_days=40)
    member = coalition.member(of=grocer)
    coalition.issue(member, grocer, points=100)
    coalition.issue(member, baker, points=7)
    coalition.redeem(member, baker, points=25)
    coalition.set_clock(datetime(2026, 3, 31, 21, 59, tzinfo=UTC))
    coalition.issue(member, grocer, points=10)
    coalition.set_clock(datetime(2026, 3, 31, 22, 1, tzinfo=UTC))  # April, in Berlin
    coalition.issue(member, grocer, points=3)

    rows = [(row.month, row.expiring, row.breakage, row.maturing) for row in forecast(coalition)]
    # 0.5 x 0.0095 a point: 0.40375 and 0.01425, each rounded once.
    assert rows == [
        (date(2026, 4, 1), 0, Decimal("0.00"), 7),
        (None, 7, Decimal("0.00"), 0),
        (date(2026, 4, 1), 85, Decimal("0.40"), 0),
        (date(2026, 5, 1), 3, Decimal("0.01"), 0),
    ]
    assert [row.month for row in forecast(coalition, issuer_id=baker.partner_id)] == [date(2026, 4, 1), None]
    assert [row.month for row in forecast(coalition, months=1, issuer_id=grocer.partner_id)] == [
        date(2026, 4, 1)
    ]
    # What has lapsed and is not posted yet is gone.
    coalition.set_clock(datetime(2026, 5, 1, 8, tzinfo=UTC))
    assert [row.month for row in forecast(coalition, issuer_id=grocer.partner_id)] == [date(2026, 5, 1)]


def test_what_is_held_counts_as_long_as_it_can_lapse(coalition: Coalition) -> None:
    grocer = coalition.trading("grocer", expiry=Expiry(expiry_months=1))
    member = coalition.member(of=grocer)
    issued = coalition.issue(member, grocer, points=100)

    def held(points: int) -> TransactionRef:
        with coalition.database.single_call() as session:
            wish = coalition.wish(holds.Authorize, member, grocer, points=points, seconds_to_live=86_400)
            return holds.authorize(session, wish).ref

    def told() -> list[tuple[date | None, int]]:
        return [(row.month, row.expiring) for row in forecast(coalition)]

    held(10)
    assert told() == [(date(2026, 4, 1), 100)]
    # It expires with April's second, and what is held then may come back.
    coalition.set_clock(datetime(2026, 4, 2, 12, tzinfo=UTC))
    hold = held(30)
    coalition.pass_time(hours=20)
    assert told() == [(date(2026, 4, 1), 30)]
    # The issue is undone: what is held leaves with the hold, or is taken.
    with coalition.database.single_call() as session:
        undo = till.Reverse(reference=issued.ref, partner_id=grocer.partner_id, idempotency_key="undo")
        till.reverse(session, undo)
    assert told() == []
    with coalition.database.single_call() as session:
        holds.void(session, holds.Void(hold=hold, partner_id=grocer.partner_id, idempotency_key="void"))
    assert coalition.rows("SELECT held, expired, reversed FROM ledger.lot") == [(0, 70, 30)]


def test_the_command_prints_it(coalition: Coalition, test_database: TestDatabase, monkeypatch: Any) -> None:
    grocer = coalition.trading("grocer", expiry=Expiry(expiry_months=1))
    coalition.issue(coalition.member(of=grocer), grocer, points=100)
    for name, value in test_database.environment.items():
        monkeypatch.setenv(name, value)
    assert (
        CliRunner().invoke(cli, ["report", "expiry-forecast", "--months", "1"]).stdout
        == "Expiry forecast: none\n"
    )
    done = CliRunner().invoke(cli, ["report", "expiry-forecast", "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "issuer,month,expiring,breakage,maturing",
        "grocer,2026-04,100,0.48,0",
    ]


def test_what_was_forecast_is_what_expires(coalition: Coalition) -> None:
    grocer = coalition.trading("grocer", expiry=Expiry(expiry_months=2))
    members = [coalition.member(of=grocer) for _ in range(4)]
    for day, member in enumerate(members):
        coalition.set_clock(START + timedelta(days=9 * day))
        coalition.issue(member, grocer, points=10 + day)
    told = {row.month: row.expiring for row in forecast(coalition)}
    from coalition import members as people  # noqa: PLC0415 - the name is taken above

    coalition.set_clock(datetime(2026, 6, 1, tzinfo=UTC))
    for member in members:
        with coalition.database.single_call() as session:
            people.bring_up_to_date(session, [member])
    [(expired,)] = coalition.rows("SELECT sum(points) FROM ledger.transaction WHERE kind = 'expire'")
    assert told == {date(2026, 5, 1): expired}
