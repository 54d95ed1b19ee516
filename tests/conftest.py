"""What all tests stand on: a real PostgreSQL, and for each test a database that commits and is as good as new."""

import base64
import os
import signal
from collections.abc import Iterator
from functools import cache

import pytest
from databases import TestCluster, TestDatabase, running_cluster
from driver import LedgerDriver
from emptied import EmptiedDatabase
from sqlalchemy import Engine, create_engine

from coalition import programme
from coalition.config import get_settings
from coalition.db import Database, roles

# The machine's own settings must not leak into a test.
for name in [name for name in os.environ if name.startswith("COALITION_")]:
    if not name.startswith(("COALITION_TEST_", "COALITION_MODEL_")):
        del os.environ[name]

# The key for personal data, or each test's process would make one in this machine's data directory.
os.environ["COALITION_VAULT_KEYS"] = base64.b64encode(bytes(range(32))).decode()

# A shell starts what runs in the background with SIGINT ignored, and the programs that tests interrupt
# would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Reads a folder of a thousand files for each programme that is opened.
programme.available_timezones = cache(programme.available_timezones)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: of two workers neither is left with it alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def cluster() -> Iterator[TestCluster]:
    """The server that all tests share."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def emptied(cluster: TestCluster) -> Iterator[EmptiedDatabase]:
    """What the tests of this process share, one after the other."""
    with EmptiedDatabase.on(cluster) as database:
        yield database


@pytest.fixture
def test_database(request: pytest.FixtureRequest, cluster: TestCluster) -> Iterator[TestDatabase]:
    """A migrated database in which nothing has happened; one that nobody has had where a test is marked so."""
    if request.node.get_closest_marker("fresh_database"):
        with cluster.new_database() as database:
            yield database
    else:
        yield request.getfixturevalue("emptied").empty()


@pytest.fixture
def database(test_database: TestDatabase) -> Iterator[Database]:
    """The test's database as the application sees it."""
    with test_database.connect() as database:
        yield database


@pytest.fixture
def ledger(database: Database) -> LedgerDriver:
    """An open sandbox programme whose clock stands at driver.START."""
    return LedgerDriver(database).open()


@pytest.fixture
def owner_engine(test_database: TestDatabase) -> Iterator[Engine]:
    """The test's database as its owner sees it."""
    engine = create_engine(test_database.url(roles.OWNER))
    yield engine
    engine.dispose()


@pytest.fixture
def superuser_engine(test_database: TestDatabase) -> Iterator[Engine]:
    """The test's database for one who may damage it."""
    engine = create_engine(test_database.url(roles.SUPERUSER))
    yield engine
    engine.dispose()
