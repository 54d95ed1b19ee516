"""One server for all tests of the folder: they only ask."""

from collections.abc import Iterator

import pytest
from api_driver import Api, serving_api
from databases import TestCluster


@pytest.fixture(scope="session")
def api(cluster: TestCluster) -> Iterator[Api]:
    with cluster.new_database() as database, serving_api(database) as api:
        yield api
