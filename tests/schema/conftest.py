"""The whole server over its HTTP stack, on a real database, in a sandbox whose clock stands."""

from collections.abc import Iterator

import pytest
from api_driver import Api, serving_api
from databases import TestCluster, TestDatabase


@pytest.fixture
def api(test_database: TestDatabase) -> Iterator[Api]:
    """A server on a database of the test's own."""
    with serving_api(test_database) as api:
        yield api


@pytest.fixture(scope="module")
def shared(cluster: TestCluster) -> Iterator[Api]:
    """One server for all tests of a file that leave nothing behind."""
    with cluster.new_database() as test_database, serving_api(test_database) as api:
        yield api
