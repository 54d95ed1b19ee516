from __future__ import annotations

import json

import pytest
from audit_books import opened
from click.testing import CliRunner
from databases import TestDatabase
from sqlalchemy import Engine, text

from coalition.cli import cli
from coalition.db import Database


@pytest.fixture
def told(test_database: TestDatabase, database: Database, monkeypatch: pytest.MonkeyPatch) -> TestDatabase:
    # By their terms, which the command proves as well.
    books = opened(test_database, database)
    member = books.member()
    books.issue(member, books.baker, 100)
    books.redeem(member, books.grocer, 30)
    books.next_day()
    for name, value in test_database.environment.items():
        monkeypatch.setenv(name, value)
    return test_database


@pytest.mark.usefixtures("told")
def test_clean_books_end_with_0() -> None:
    ended = CliRunner().invoke(cli, ["audit"])

    assert ended.exit_code == 0
    assert "Audit: clean." in ended.stdout


@pytest.mark.usefixtures("told")
def test_findings_end_with_1_and_name_the_row(superuser_engine: Engine) -> None:
    with superuser_engine.begin() as connection:
        member = connection.execute(
            text(
                "UPDATE ledger.member_head SET available = available + 1"
                " WHERE member_id = (SELECT min(member_id::text)::uuid FROM ledger.member_head)"
                " RETURNING member_id"
            )
        ).scalar_one()

    ended = CliRunner().invoke(cli, ["audit", "--json"])

    assert ended.exit_code == 1
    [finding] = json.loads(ended.stdout)["findings"]
    assert (finding["check"], finding["id"]) == ("heads_agree_with_lots", str(member))

    assert str(member) in CliRunner().invoke(cli, ["audit"]).stdout
