"""A programme in a sandbox whose clock stands."""

import pytest
from operating import START, Coalition

from coalition.amounts import Points
from coalition.db import Database
from coalition.programme import OpenProgramme, open_programme


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
