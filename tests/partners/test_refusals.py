"""The register of refusals: bounded, and written by the import as by the API."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from operating import START, Coalition
from sqlalchemy import Engine, text

from coalition import clock
from coalition.errors import InvalidInput, LimitExceeded
from coalition.ledger.posting import call
from coalition.paging import PageRequest
from partners import refusals
from partners.importing import Counts, post_lines
from partners.refusals import Attempt, Refused, RefusedFilter, list_refusals, register, trim
from partners.till_files import Format, read_lines

AN_OLD_ONE = (
    "INSERT INTO partners.refusal (refusal_id, refused_at, code, facts, posting) OVERRIDING SYSTEM VALUE"
    " VALUES (0, '2020-01-01', 'INVALID_INPUT', '{}', 'issue')"
)


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
        connection.execute(text(AN_OLD_ONE))
        connection.execute(text("SELECT setval('partners.refusal_refusal_id_seq', 999, false)"))
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


def recorded(coalition: Coalition, *lines: dict[str, Any]) -> None:
    with coalition.database.unit_of_work() as session:
        call(session, "SELECT ledger.record_refusals(%s::jsonb, %s)", (json.dumps(lines), clock.wall()))


LINE = {"code": "INVALID_INPUT", "facts": {}, "posting": "issue"}


def test_each_word_of_a_refusal_has_a_length_and_its_facts_another(coalition: Coalition) -> None:
    """One that is longer is cut, so that a refusal is never refused for its words; facts go as a whole."""
    words = {"code": 63, "posting": 63, "client": 200} | dict.fromkeys(
        ("store", "terminal", "receipt_number", "request_id"), 64
    )
    longest = {word: "x" * length for word, length in words.items()}
    facts = {"a": "y" * 991}  # a thousand characters, as they are written
    recorded(
        coalition,
        longest | {"facts": facts, "unwritten": 3},
        {word: text + "x" for word, text in longest.items()} | {"facts": {"a": "y" * 992}},
    )
    columns = ", ".join(words)
    with coalition.database.reading() as session:
        moment = clock.now(session)
    assert coalition.rows(
        f"SELECT facts, unwritten, refused_at, {columns} FROM partners.refusal ORDER BY refusal_id"
    ) == [
        (facts, 3, moment, *longest.values()),
        ({}, 0, moment, *longest.values()),
    ]


@pytest.mark.parametrize(
    ("first", "count", "trims"),
    [(999, 1, False), (999, 3, True), (1000, 1, True), (1000, 2, False), (1001, 1, False), (2001, 1, False)],
)
def test_whoever_passes_a_thousand_trims_and_nobody_else(
    coalition: Coalition, owner_engine: Engine, first: int, count: int, trims: bool
) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text(AN_OLD_ONE))
        connection.execute(
            text("SELECT setval('partners.refusal_refusal_id_seq', :first, false)"), {"first": first}
        )
    recorded(coalition, *[LINE] * count)
    assert len(registered(coalition)) == count + (not trims)


def test_the_oldest_five_thousand_are_asked_for_their_age_at_a_time(
    coalition: Coalition, owner_engine: Engine
) -> None:
    with coalition.database.reading() as session:
        now = clock.now(session)
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO partners.refusal (refusal_id, refused_at, code, facts, posting) OVERRIDING SYSTEM VALUE"
                " SELECT n, :at, 'INVALID_INPUT', '{}', 'issue' FROM generate_series(5001, 1, -1) AS n"
            ),
            {"at": now - timedelta(days=90, microseconds=1)},
        )
    with coalition.database.unit_of_work() as session:
        trim(session)
    assert [one.refusal_id for one in registered(coalition)] == [5001]
    with coalition.database.unit_of_work() as session:
        trim(session)
    assert registered(coalition) == []


def test_one_of_ninety_days_is_kept(coalition: Coalition) -> None:
    recorded(coalition, LINE)
    coalition.pass_time(days=90)
    with coalition.database.unit_of_work() as session:
        trim(session)
    assert len(registered(coalition)) == 1


def test_the_application_cannot_rewrite_the_register(coalition: Coalition) -> None:
    privileges = coalition.rows(
        "SELECT p FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p"
        " WHERE has_table_privilege('partners.refusal', p)"
        "    OR has_table_privilege('partners.tally', p) OR has_table_privilege('partners.limit_figure', p)"
        "    OR has_table_privilege('partners.limit_state', p)"
    )
    assert privileges == []
    assert refusals.A_SECOND < refusals.AT_ONCE
