"""The explorer is there in a sandbox, whole and of its own, and not in production."""

import re

import pytest
from api_driver import Api, serving
from databases import TestDatabase

from coalition.programme import OpenProgramme, open_programme
from schema.app import create_app
from schema.web import explorer


def test_a_sandbox_serves_the_page_and_all_that_it_names_from_itself(shared: Api) -> None:
    page = shared.http.get("/explorer")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 8
    for address in set(named) - {"data:,"}:
        found = shared.http.get(address)
        assert (found.status_code, address.startswith("/explorer/")) == (200, True), address
        assert found.headers["x-content-type-options"] == "nosniff"
    # The policy forbids all that is inline or from elsewhere; the page must not want any.
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*", policy)
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", page.text)
    assert "url(http" not in shared.http.get("/explorer/graphiql.css").text


def test_licences_of_all_that_is_served_come_along(shared: Api) -> None:
    told = shared.http.get("/explorer/LICENSES.txt").text
    for name in ("graphiql 3.9.0", "react 18.", "codemirror 5.", "graphql 16.", "markdown-it 14."):
        assert name in told


@pytest.mark.parametrize("path", ["/explorer/nothing.js", "/explorer/..%2fexplorer.py", "/explorer/"])
def test_no_other_file_is_served(shared: Api, path: str) -> None:
    assert shared.http.get(path).status_code in {307, 404}


def test_in_production_and_before_the_opening_there_is_none(test_database: TestDatabase) -> None:
    with test_database.connect() as database:
        with serving(create_app(test_database.settings, database=database)) as http:
            assert http.get("/explorer").status_code == 404
            with database.unit_of_work() as session:
                open_programme(session, OpenProgramme(name="Test"))
            for path in ("/explorer", "/explorer/graphiql.js"):
                answer = http.get(path)
                assert (answer.status_code, answer.json()["errors"][0]["extensions"]) == (
                    404,
                    {"code": "NOT_FOUND"},
                )
        assert not explorer.offered(database)
