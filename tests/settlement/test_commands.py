"""`coalition settle` and `coalition report`, as a shell calls them."""

import csv
import io
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import TestDatabase
from night_driver import NightDriver
from operating import Coalition
from rich.console import Console
from sqlalchemy import Engine, text

from coalition.cli import cli, console
from settlement import tables


@pytest.fixture
def coalition(test_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs a command on the test's database."""
    for name, value in test_database.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COALITION_STATEMENTS_DIR", str(tmp_path / "papers"))

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(cli, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return run


@pytest.fixture
def due(ledger: NightDriver) -> NightDriver:
    """A day of business that is over."""
    a, b = ledger.named("a"), ledger.named("b")
    ledger.redeem(ledger.member(available=100_000, issuer=a), 60_000, by=b)
    ledger.pass_time(days=1)
    return ledger


@pytest.mark.usefixtures("due")
def test_settle_prints_the_night_and_writes_its_papers(coalition: Any, tmp_path: Path) -> None:
    result = coalition("settle")
    assert result.exit_code == 0, result.output
    for shown in (
        "-1200.00",
        "570.00",
        "gross 1770.00  net 570.00  saved by netting 1200.00  EUR",
        "12 files",
    ):
        assert shown in result.output
    assert len(list((tmp_path / "papers").glob("2026-03-02/*/*"))) == 12

    again = coalition("settle")
    assert again.exit_code == 0
    assert "nothing to settle" in again.output


@pytest.mark.usefixtures("due")
def test_settle_prints_json_for_scripts(coalition: Any) -> None:
    [settled] = json.loads(coalition("settle", "--date", "2026-03-02", "--json").stdout)["settled"]
    assert (settled["state"], settled["gross"], settled["net"]) == ("calculated", "1770.00", "570.00")
    assert settled["positions"][0] == {
        "partner": "a",
        "name": "Partner A",
        "receives": "0.00",
        "pays": "1200.00",
        "net": "-1200.00",
    }
    assert all(Path(file).is_file() for file in settled["files"])


@pytest.mark.parametrize(
    ("arguments", "code", "refusal"),
    [
        (["--date", "2031-01-01"], 1, "WINDOW_UNKNOWN"),
        (["--date", "2026-03-03"], 1, "WINDOW_UNKNOWN"),
        (["--date", "yesterday"], 2, "does not match the format"),
    ],
)
def test_settle_refuses(
    due: NightDriver, coalition: Any, arguments: list[str], code: int, refusal: str
) -> None:
    with Coalition(due.database).nothing_moves():
        result = coalition("settle", *arguments)
    assert result.exit_code == code
    assert refusal in result.stderr
    assert due.rows("SELECT count(*) FROM settlement.run") == [(0,)]


@pytest.mark.usefixtures("ledger")
def test_todays_window_wants_now(coalition: Any) -> None:
    refused = coalition("settle", "--date", "2026-03-02")
    assert (refused.exit_code, "WINDOW_NOT_OVER" in refused.stderr) == (1, True)
    assert "--now" in refused.stderr
    assert coalition("settle", "--now").exit_code == 0


def test_a_held_run_is_told_exits_with_one_and_moves_no_points(
    due: NightDriver, coalition: Any, superuser_engine: Engine, tmp_path: Path
) -> None:
    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE ledger.member_head SET available = available + 1"))
    before = due.snapshot()
    result = coalition("settle")
    assert due.snapshot() == before
    assert not (tmp_path / "papers").exists()
    assert result.exit_code == 1
    assert "lots_balances_and_entries_agree" in result.stderr
    assert "RUN_HELD" in result.stderr


def test_a_database_that_is_down_is_told_as_such(coalition: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COALITION_DATABASE_URL", "postgresql://coalition:x@127.0.0.1:1/nowhere")
    for command in (["settle"], ["report", "runs"]):
        result = coalition(*command)
        assert (result.exit_code, "DATABASE_UNAVAILABLE" in result.stderr) == (3, True)


@pytest.mark.usefixtures("due")
def test_reports_print_what_was_settled(coalition: Any) -> None:
    assert "NOT_SETTLED" in coalition("report", "matrix").stderr
    coalition("settle")

    [line] = [
        row
        for row in read(coalition("report", "statement", "--partner", "b", "--format", "csv"))
        if row["kind"] != "net"
    ]
    assert (line["kind"], line["counterparty"], line["points"], line["price"], line["amount"]) == (
        "reimbursement",
        "network",
        "60000",
        "0.0095",
        "570.00",
    )
    [cell] = read(coalition("report", "matrix", "--format", "csv", "--date", "2026-03-02"))
    assert (cell["issuer"], cell["redeemer"], cell["points"], cell["amount"]) == ("a", "b", "60000", "570.00")
    nets = {row["partner"]: row["net"] for row in read(coalition("report", "positions", "--format", "csv"))}
    assert nets == {"a": "-1200.00", "b": "570.00", "network": "630.00"}
    [rolled] = read(coalition("report", "liability", "--format", "csv"))
    assert (rolled["issued"], rolled["redeemed"], rolled["closing"]) == ("100000", "60000", "40000")
    windows = json.loads(coalition("report", "windows", "--format", "json").stdout)
    assert [(window["state"], window["run"]) for window in windows] == [
        ("open", None),
        ("sealed", "calculated"),
    ]
    [run] = json.loads(coalition("report", "runs", "--format", "json").stdout)
    assert (run["gross"], run["net"], run["saved"]) == ("1770.00", "570.00", "1200.00")
    assert "1200.0000" not in coalition("report", "runs").stdout


@pytest.mark.parametrize(
    "paper", ["matrix", "positions", "statement --partner a", "liability", "windows", "runs"]
)
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_every_report_has_every_form(due: NightDriver, coalition: Any, paper: str, form: str) -> None:
    due.settle()
    result = coalition("report", *paper.split(), "--format", form)
    assert result.exit_code == 0, result.output
    if form == "json":
        json.loads(result.stdout)
    assert "2026-03-02" in result.stdout


@pytest.mark.parametrize("width", [None, 80, 20])
def test_roots_are_printed_whole_however_narrow_it_is(
    due: NightDriver, coalition: Any, monkeypatch: pytest.MonkeyPatch, width: int | None
) -> None:
    due.settle()
    if width is not None:
        monkeypatch.setattr(console, "screen", lambda: Console(width=width, highlight=False))

    shown = coalition("report", "windows").stdout

    [root] = [
        window["merkleRoot"]
        for window in json.loads(coalition("report", "windows", "--format", "json").stdout)
        if window["merkleRoot"]
    ]
    assert len(root) == 64
    assert f"2026-03-02  {root}\n" in shown
    assert width is None or max(map(len, shown.splitlines())) <= max(width, 80)


def test_a_report_is_the_file_byte_for_byte(due: NightDriver, coalition: Any) -> None:
    files = due.files(due.settle())
    assert (
        coalition("report", "statement", "--partner", "a", "--format", "csv").stdout_bytes
        == files["statement-a.csv"]
    )
    assert coalition("report", "matrix", "--format", "json").stdout_bytes == files["liability-matrix.json"]


def test_a_partner_that_took_no_part_is_told_so(due: NightDriver, coalition: Any) -> None:
    due.settle()
    for stranger in ("nobody", "network"):
        result = coalition("report", "statement", "--partner", stranger)
        assert (result.exit_code, "PARTNER_UNKNOWN" in result.stderr) == (1, True)


def test_a_name_is_no_formula_in_a_spreadsheet(
    ledger: NightDriver, coalition: Any, superuser_engine: Engine
) -> None:
    a = ledger.named("a")
    with superuser_engine.begin() as connection:
        connection.execute(text("UPDATE partners.partner SET name = '=1+1' WHERE code = 'a'"))
    ledger.issue(ledger.member(issuer=a), 1_000, by=a)
    ledger.settle(now=True)
    assert read(coalition("report", "positions", "--format", "csv"))[0]["name"] == "'=1+1"


def read(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_windows_and_runs_come_in_pages_each_window_with_its_own_run(
    due: NightDriver, coalition: Any, monkeypatch: pytest.MonkeyPatch, superuser_engine: Engine
) -> None:
    """However many runs of newer windows were superseded."""
    due.settle()
    for _ in range(3):
        due.settle(now=True)
    columns = [column.name for column in tables.run.columns]
    copied = ", ".join(name for name in columns if name not in {"run_id", "state", "digest"})
    with superuser_engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO settlement.run (run_id, state, digest, {copied})"
                f" SELECT gen_random_uuid(), 'superseded', encode(sha256(n::text::bytea), 'hex'), {copied}"
                " FROM settlement.run, generate_series(1, 3) AS n WHERE business_date = '2026-03-05'"
            )
        )
    # The package has the command by the module's name.
    monkeypatch.setattr(import_module("settlement.cli.report"), "_PAGE", 2)

    def page(report: str, *words: str) -> list[tuple[str, str | None]]:
        told = json.loads(coalition("report", report, "--format", "json", *words).stdout)
        return [(one["businessDate"], one["run" if report == "windows" else "state"]) for one in told]

    assert page("windows") == [("2026-03-06", None), ("2026-03-05", "calculated")]
    assert page("windows", "--before", "2026-03-05") == [
        ("2026-03-04", "calculated"),
        ("2026-03-03", "calculated"),
    ]
    assert page("windows", "--before", "2026-03-03") == [("2026-03-02", "calculated")]
    newest = page("runs")
    assert [date for date, _ in newest] == ["2026-03-05"] * 4  # of two windows, one of which has none yet
    assert sorted(str(state) for _, state in newest) == ["calculated"] + ["superseded"] * 3
    assert page("runs", "--before", "2026-03-05") == [
        ("2026-03-04", "calculated"),
        ("2026-03-03", "calculated"),
    ]
    for report in ("windows", "runs"):
        assert "There are more: --before 2026-03-05" in coalition("report", report).stderr
        assert "more" not in coalition("report", report, "--before", "2026-03-03").stderr
