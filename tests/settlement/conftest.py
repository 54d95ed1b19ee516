"""Nights are driven through one driver."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import TestCluster
from night_driver import NightDriver

from coalition.db import Database


@pytest.fixture
def ledger(database: Database, tmp_path: Path) -> NightDriver:
    """An open sandbox programme whose clock stands at driver.START."""
    driver = NightDriver(database, directory=tmp_path / "statements")
    driver.open()
    return driver


@pytest.fixture
def make_another(cluster: TestCluster, tmp_path: Path) -> Iterator[Callable[[], NightDriver]]:
    """Makes a second programme, in a database of its own."""
    with ExitStack() as stack:

        def make() -> NightDriver:
            fresh = stack.enter_context(cluster.new_database())
            database = stack.enter_context(fresh.connect())
            driver = NightDriver(database, directory=tmp_path / fresh.name)
            driver.open()
            return driver

        yield make
