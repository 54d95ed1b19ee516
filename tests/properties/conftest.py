"""The ledger's tests drive it through one driver."""

import pytest
from driver import LedgerDriver

from coalition.db import Database


@pytest.fixture
def ledger(database: Database) -> LedgerDriver:
    """An open sandbox programme whose clock stands at driver.START."""
    return LedgerDriver(database).open()
