"""The whole server over its HTTP stack, on a real database, in a sandbox whose clock stands."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from api_driver import Api, serving
from databases import TestCluster, TestDatabase
from operating import START, Coalition

from coalition.amounts import Points
from coalition.db import Database
from coalition.programme import OpenProgramme, open_programme
from partners.tokens import Tokens
from schema.app import create_app

CONSENT_LIMIT = 5_000


@contextmanager
def _serving(test_database: TestDatabase) -> Iterator[Api]:
    settings = test_database.settings
    with Database.connect(settings) as database:
        with database.unit_of_work() as session:
            open_programme(
                session,
                OpenProgramme(
                    name="Test", mode="sandbox", consent_limit_points=Points(CONSENT_LIMIT), starts_at=START
                ),
            )
        tokens = Tokens(database, issuer=settings.issuer_url, audience=settings.audience)
        with serving(create_app(settings, database=database)) as http:
            yield Api(http, Coalition(database), tokens)


@pytest.fixture
def api(test_database: TestDatabase) -> Iterator[Api]:
    """A server on a database of the test's own."""
    with _serving(test_database) as api:
        yield api


@pytest.fixture(scope="module")
def shared(cluster: TestCluster) -> Iterator[Api]:
    """One server for all tests of a file that leave nothing behind."""
    with cluster.new_database() as test_database, _serving(test_database) as api:
        yield api
