"""A member with very many lots is served like any other: a posting looks at the lots that it needs."""

from typing import Any

import pytest
from driver import LedgerDriver
from sqlalchemy import text

from coalition.ids import MemberId, PartnerId

MANY = 300


@pytest.fixture
def collector(ledger: LedgerDriver) -> MemberId:
    """Someone with 300 lots of 10 points, whose statistics the planner knows."""
    member = ledger.member()
    partner = ledger.any_partner()
    with ledger.database.single_call() as session:
        session.execute(
            text(
                "SELECT ledger.post_issue(:member, :partner, :agreement, NULL, 10, NULL, 'many' || n, '\\x00',"
                " NULL, NULL, NULL, NULL, NULL, NULL, NULL, now() + n * interval '1 day' + interval '1 year',"
                " now()) FROM generate_series(1, :many) AS n"
            ),
            {
                "member": member,
                "partner": partner,
                "agreement": ledger.agreements[partner],
                "many": MANY,
            },
        )
    return member


def _looked_at(ledger: LedgerDriver, posting: str, **given: Any) -> int:
    """How many lots a posting fetched. It is planned some times before, as in a connection that lives."""
    partner: PartnerId = ledger.any_partner()
    given |= {"partner": partner, "agreement": ledger.agreements[partner]}
    with ledger.database.engine.connect() as connection:
        before = 0
        for nth in range(8):
            connection.execute(text(posting), {**given, "key": f"key-{nth}"})
            fetched = connection.execute(
                text(
                    "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
                    " WHERE schemaname = 'ledger' AND relname = 'lot'"
                )
            ).scalar_one()
            last, before = fetched - before, fetched
        connection.rollback()
    return int(last)


REDEEM = (
    "SELECT * FROM ledger.post_redeem(:member, :partner, :agreement, 25, :key, '\\x00',"
    " NULL, NULL, NULL, NULL, NULL, NULL, NULL, now())"
)
HOLD = (
    "SELECT c.* FROM ledger.post_authorize(:member, :partner, :agreement, 25, :key, '\\x00', NULL, NULL, NULL,"
    " now()) AS h, ledger.post_capture(:member, :partner, h.business_date, h.transaction_id, 12, 'c' || :key,"
    " '\\x00', NULL, NULL, NULL, NULL, NULL, NULL, now()) AS c"
)
RETURN = (
    "SELECT c.* FROM ledger.post_redeem(:member, :partner, :agreement, 25, :key, '\\x00', NULL, NULL, NULL,"
    " NULL, NULL, NULL, NULL, now()) AS h, ledger.post_reverse(:member, :partner, h.business_date,"
    " h.transaction_id, :agreement, NULL, NULL, NULL, 'c' || :key, '\\x00', NULL, NULL, now()) AS c"
)


@pytest.mark.parametrize(
    "posting", [REDEEM, HOLD, RETURN], ids=["redeem", "authorise and capture", "redeem and reverse"]
)
@pytest.mark.fresh_database
def test_a_posting_over_three_lots_does_not_look_at_three_hundred(
    ledger: LedgerDriver, collector: MemberId, posting: str
) -> None:
    assert 3 <= _looked_at(ledger, posting, member=collector) <= 40
