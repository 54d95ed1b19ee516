"""`coalition import`: post a partner's till export."""

import csv
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from coalition.cli import console
from coalition.cli.console import ExitCode
from coalition.errors import DatabaseUnavailable
from coalition.programme import get_programme
from partners.directory import get_partner_by_code
from partners.importing import Counts, post_lines
from partners.till_files import Format, Reject, format_of, read_lines

_REJECT_COLUMNS = ("line", "field", "code", "reason")
_HEADER = ",".join(_REJECT_COLUMNS).encode()
_TELL_EVERY = 500  # lines


class RejectsFile:
    """The lines that were not posted; the file exists only if there are any.

    Raises:
        click.UsageError: there is a file of that name that no import wrote, or none can be written there.
    """

    def __init__(self, path: Path) -> None:
        # What is no file, such as /dev/null, may be written to.
        if path.is_file() and not _is_ours(path):
            raise click.UsageError(f"{path} exists and is no file of rejects; --rejects names another")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise click.UsageError(f"{path} cannot be written; --rejects names another file")
        self._path = path
        self._file: Any = None

    def add(self, reject: Reject) -> None:
        """Write one."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            csv.writer(self._file).writerow(_REJECT_COLUMNS)
        csv.writer(self._file).writerow((reject.number, reject.field, reject.code, reject.reason))

    def close(self) -> None:
        """Finish; a file of an earlier import that had rejects does not outlive one that has none."""
        if self._file is not None:
            self._file.close()
        elif self._path.is_file():
            self._path.unlink()


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--partner", "code", required=True, help="The code of the partner whose tills wrote FILE.")
@click.option(
    "--format",
    "written",
    type=click.Choice(Format, case_sensitive=False),
    help="How FILE is written, where its name does not say it (.csv, .jsonl, .ndjson).",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the lines go that were not posted; FILE.rejects.csv if not given. What an earlier import"
    " wrote there is written over, or removed if all lines are posted; any other file is refused.",
)
@console.json_option
def import_file(file: Path, code: str, written: Format | None, rejects: Path | None, as_json: bool) -> None:
    """Post a till export of a partner: FILE, as CSV with a first line of names, or as JSONL.

    \b
    receipt      the receipt's number at that terminal
    kind         issue, redeem, reverse_issue or reverse_redemption
    member       the card, or another identifier of the member
    time         ISO 8601; without a zone it is in the programme's
    amount       money spent (issues), or given back (reversals), or
    points       points (issues; redemptions, with the amount that they stand for, if you like; reversals)
    store        of the receipt; a partner that has published its stores must give it
    terminal, line, revision               of the receipt, if there are several
    member_kind  card (if not given), phone, email, partner_reference

    Other columns are ignored. A line of the file is a line to be posted: no column holds a line break. The
    same file again changes nothing: each receipt line has one effect. What is refused goes to the rejects
    file (line, field, reason) and stops nothing else; correct those lines and import them again, with the
    rest or without.

    A reversal names the receipt line that it undoes: so many of its points, what an amount of its money
    stands for, or with neither all that is left of it. Parts of one receipt line are told apart by their
    value and their time, in one file or in several: where both are the same it is the same part, sent again,
    and moves nothing. Two parts of one value must differ in their time, or be given as one.

    \b
    Exit codes: 0 all lines are posted, 1 some were rejected.

    \b
    Example:
      coalition import tills-2026-03-01.csv --partner hearth
    """  # noqa: D301 - click's mark of lines to keep
    written = written or format_of(file)
    if written is None:
        raise click.UsageError(f"{file.name} says not how it is written: give --format")
    rejects = rejects or file.with_name(f"{file.name}.rejects.csv")
    if rejects.exists() and rejects.samefile(file):
        raise click.UsageError("--rejects names FILE itself")
    counts = Counts()
    with (
        _seldom_collecting(),
        console.open_database() as database,
        file.open("rb") as opened,
        _rejects(rejects) as kept,
        console.progress(f"Importing {file.name}", total=file.stat().st_size, quiet=as_json) as advance,
    ):
        with database.reading() as session:
            partner_id = get_partner_by_code(session, code).partner_id
            zone = get_programme(session).tz
        lines = read_lines(opened, written=written, partner_id=partner_id, zone=zone)
        with _saying_what_stays(counts):
            for reject in post_lines(
                database, _watched(lines, opened, advance), partner_id=partner_id, counts=counts
            ):
                kept.add(reject)
    _tell(counts, rejects, as_json=as_json)
    if counts.rejected:
        raise SystemExit(ExitCode.REFUSED)


@contextmanager
def _saying_what_stays(counts: Counts) -> Iterator[None]:
    """An import that stops half-way says so: what was posted stays."""
    try:
        yield
    except (DatabaseUnavailable, KeyboardInterrupt) as error:
        stays = (
            f"Stopped after {counts.lines:,} lines; some more may be posted. All of it stays: import the same"
            " file again, and the rest is posted, and nothing twice."
        )
        if isinstance(error, KeyboardInterrupt):
            click.echo(stays, err=True)
            raise
        stopped = DatabaseUnavailable(f"The database was busy or away for too long. {stays}")
        stopped.reason = error.reason
        raise stopped from error


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Lines are values without a circle among them, some thousands at a time.

    To look through these for one, again and again, would take the collector a fifth of an import's time.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def _is_ours(path: Path) -> bool:
    """Whether an import wrote it; an empty one may be what a killed import left."""
    with path.open("rb") as opened:
        first = opened.readline(len(_HEADER) + 2)
    return first.rstrip(b"\r\n") == _HEADER or not first


@contextmanager
def _rejects(path: Path) -> Iterator[RejectsFile]:
    made = RejectsFile(path)
    try:
        yield made
    finally:
        made.close()


def _watched(lines: Iterator[Any], file: BinaryIO, advance: Any) -> Iterator[Any]:
    """The same lines, moving the bar on by the bytes that were read for them."""
    seen = 0
    for number, line in enumerate(lines, start=1):
        yield line
        if number % _TELL_EVERY == 0:
            at = file.tell()
            advance(at - seen)
            seen = at
    advance(file.tell() - seen)


def _tell(counts: Counts, rejects: Path, *, as_json: bool) -> None:
    told = {
        "lines": counts.lines,
        "posted": {kind.value: counts.posted[kind] for kind in counts.posted},
        "points": {kind.value: counts.points[kind] for kind in counts.points},
        "replayed": counts.replayed,
        "rejected": counts.rejected,
        "rejects": str(rejects) if counts.rejected else None,
    }
    if as_json:
        console.print_json(told)
        return
    console.print_table(
        [
            {
                "what": kind.value.replace("_", " "),
                "lines": counts.posted[kind],
                "points": counts.points[kind],
            }
            for kind in counts.posted
        ]
        + [
            {"what": "posted before", "lines": counts.replayed, "points": None},
            {"what": "rejected", "lines": counts.rejected, "points": None},
            {"what": "all", "lines": counts.lines, "points": None},
        ],
        columns={"what": "Lines", "lines": "Number", "points": "Points"},
    )
    if counts.rejected:
        click.echo(f"{rejects} has the {counts.rejected:,} lines that were not posted.")
