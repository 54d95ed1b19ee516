"""The register of refusals: bounded, and written by the import as by the API."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from operating import START, Coalition
from sqlalchemy import Engine, text

from coalition.errors import InvalidInput, LimitExceeded
from coalition.paging import PageRequest
from partners import refusals
from partners.importing import Counts, post_lines
from partners.refusals import Attempt, Refused, RefusedFilter, list_refusals, register, trim
from partners.till_files import Format, read_lines


def registered(coalition: Coalition, **wanted: Any) -> list[Refused]:
    with coalition.database.reading() as session:
        return list(list_refusals(session, RefusedFilter(**wanted), PageRequest(size=100)).items)


def test_lines_of_a_file_that_were_refused_are_registered(coalition: Coalition, tmp_path: Path) -> None:
    grocer = coalition.trading("grocer")
    file = tmp_path / "tills.csv"
    file.write_text(
        "receipt,kind,member,time,points,store\n17,issue,CARD-0001,2026-03-02T11:00:00+00:00,5,s1\nx,y\n"
    )
    counts = Counts()
    with file.open("rb") as opened:
        lines = read_lines(opened, written=Format.CSV, partner_id=grocer.partner_id, zone=START.tzinfo)  # type: ignore[arg-type]
        rejects = list(post_lines(coalition.database, lines, partner_id=grocer.partner_id, counts=counts))
    assert [one.code for one in rejects] == ["MEMBER_UNKNOWN", "INVALID_INPUT"]
    [entry] = registered(coalition, partner_id=grocer.partner_id)  # what cannot be read was asked of nobody
    assert (entry.code, entry.posting, entry.client, entry.points, entry.store, entry.receipt_number) == (
        "MEMBER_UNKNOWN",
        "issue",
        "import",
        5,
        "s1",
        "17",
    )


def test_the_newest_are_kept_and_none_too_long(coalition: Coalition, owner_engine: Engine) -> None:
    for _ in range(3):
        register(coalition.database, [(Attempt(posting="issue"), InvalidInput("no"))])
    newest = registered(coalition)[0].refusal_id
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO partners.refusal (refusal_id, refused_at, code, facts, posting) OVERRIDING SYSTEM VALUE"
                " VALUES (:id, :at, 'INVALID_INPUT', '{}', 'issue')"
            ),
            {"id": newest + 499_999, "at": START + timedelta(days=80)},
        )
    with coalition.database.unit_of_work() as session:
        trim(session)
    assert [one.refusal_id for one in registered(coalition)] == [newest + 499_999, newest]
    coalition.pass_time(days=91)
    with coalition.database.unit_of_work() as session:
        trim(session)
    assert [one.refusal_id for one in registered(coalition)] == [newest + 499_999]


def test_every_thousandth_refusal_trims(coalition: Coalition, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO partners.refusal (refusal_id, refused_at, code, facts, posting) OVERRIDING SYSTEM VALUE"
                " VALUES (0, '2020-01-01', 'INVALID_INPUT', '{}', 'issue')"
            )
        )
        connection.execute(text("ALTER TABLE partners.refusal ALTER refusal_id RESTART WITH 999"))
    refused = [(Attempt(posting="issue"), InvalidInput("no"))]
    register(coalition.database, refused)
    assert len(registered(coalition)) == 2
    register(coalition.database, refused)
    assert [one.refusal_id for one in registered(coalition)] == [1000, 999]


def test_no_fact_is_too_long_and_the_wish_of_a_review_is_not_told(coalition: Coalition) -> None:
    register(
        coalition.database,
        [
            (Attempt(posting="issue"), LimitExceeded(scope="member", wish={"key": "secret"})),
            (Attempt(posting="issue", points=2**70), LimitExceeded(scope="x" * 5_000)),
        ],
    )
    longest, told = registered(coalition)
    assert told.facts == {"scope": "member"}
    assert (longest.facts, longest.points) == ({}, None)


def test_the_application_cannot_rewrite_the_register(coalition: Coalition) -> None:
    privileges = coalition.rows(
        "SELECT p FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p"
        " WHERE has_table_privilege('partners.refusal', p)"
        "    OR has_table_privilege('partners.tally', p) OR has_table_privilege('partners.limit_figure', p)"
        "    OR has_table_privilege('partners.limit_state', p)"
    )
    assert privileges == []
    assert refusals.A_SECOND < refusals.AT_ONCE
