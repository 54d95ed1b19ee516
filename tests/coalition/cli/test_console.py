"""What all commands share: help, refusals, exit codes, and how they end."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from coalition.cli import CommandGroup, cli, console
from coalition.cli.console import ExitCode
from coalition.config import CONFIG_FILE_VARIABLE, Settings
from coalition.db.owner import NeedsAdministrator
from coalition.errors import DatabaseUnavailable, InsufficientPoints

COMMANDS = (
    "audit",
    "backup",
    "client",
    "demo",
    "import",
    "limit",
    "member",
    "migrate",
    "partner",
    "programme",
    "refusals",
    "report",
    "restore",
    "review",
    "serve",
    "settle",
)

# A command that holds the database until it is told to end.
WAITS = """
import time
from coalition.cli import cli, console, main

@cli.command()
def wait():
    with console.open_database() as database, database.reading() as session:
        session.connection()
        print("ready", flush=True)
        time.sleep(60)

main(["wait"])
"""


@click.group(cls=CommandGroup)
def group() -> None:
    """Stands for the whole program."""


@group.command()
@console.json_option
@click.argument("kind")
def refuse(kind: str, as_json: bool) -> None:
    """Fail in one way or another."""
    assert isinstance(as_json, bool)
    raise {
        "points": InsufficientPoints(available=100, requested=101),
        "down": DatabaseUnavailable(),
        "roles": NeedsAdministrator(["CREATE ROLE x"]),
        "interrupt": KeyboardInterrupt(),
    }[kind]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_installed_and_teaches(name: str) -> None:
    told = CliRunner().invoke(cli, [name, "--help"])
    assert told.exit_code == 0
    assert "needs a package" not in told.output
    assert len(told.output.splitlines()) > 5


def test_help_lists_every_command_and_exit_code_and_the_settings() -> None:
    told = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"  {name} " in told for name in COMMANDS)
    assert "not installed" not in told
    assert all(f"  {code} " in told for code in range(5))
    settings = {f"COALITION_{name.upper()}" for name in Settings.model_fields} | {CONFIG_FILE_VARIABLE}
    assert {name for name in settings if not re.search(rf"\b{name}\b", told)} == set()


def test_a_command_whose_packages_are_missing_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = type("Entry", (), {"name": "broken", "load": lambda _: __import__("no_such_package")})()
    monkeypatch.setattr("coalition.cli._installed", lambda _: {"broken": entry})
    assert "(not installed: No module named 'no_such_package')" in CliRunner().invoke(cli, ["--help"]).output
    refused = CliRunner().invoke(cli, ["broken", "--any", "thing"])
    assert (refused.exit_code, "no_such_package" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("points", ExitCode.REFUSED),
        ("down", ExitCode.UNREACHABLE),
        ("roles", ExitCode.NEEDS_ADMINISTRATOR),
        ("interrupt", ExitCode.INTERRUPTED),
    ],
)
def test_scripts_can_tell_how_it_ended(kind: str, code: ExitCode) -> None:
    assert CliRunner().invoke(group, ["refuse", kind]).exit_code == code


def test_a_refusal_is_told_in_words_or_in_json_and_never_on_standard_output() -> None:
    words = CliRunner().invoke(group, ["refuse", "points"])
    assert words.stderr == "refused INSUFFICIENT_POINTS: 101 points were asked for and 100 are available.\n"
    data = CliRunner().invoke(group, ["refuse", "points", "--json"])
    assert json.loads(data.stderr)["error"] == {
        "code": "INSUFFICIENT_POINTS",
        "message": "101 points were asked for and 100 are available.",
        "retryable": False,
        "facts": {"available": 100, "requested": 101},
    }
    assert words.stdout == data.stdout == ""


def test_a_table_shows_what_is_there_and_reads_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "[red]Bakery[/red]", "points": 1234567, "net": Decimal("-860.00"), "paid": None}]
    console.print_table(rows, columns={"name": "Partner", "points": "Points", "net": "Net", "paid": "Paid"})
    shown = capsys.readouterr().out
    assert "[red]Bakery[/red]" in shown
    assert "1,234,567" in shown
    assert "-860.00" in shown


def test_json_keeps_money_exact() -> None:
    assert json.loads(console.dump_json({"net": Decimal("0.10")})) == {"net": "0.10"}


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="coalition-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)],
)
def test_a_command_that_is_stopped_stops_the_database_that_it_started(
    home: Path, number: signal.Signals, code: ExitCode
) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", WAITS],
        env={"PATH": os.environ["PATH"], "COALITION_DATA_DIR": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        assert (home / "postgres/data/postmaster.pid").exists()
        program.send_signal(number)
    assert program.returncode == code
    assert not (home / "postgres/data/postmaster.pid").exists()
