"""A partner's till export, read line by line: CSV or JSONL, of any length, in bounded memory."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final
from zoneinfo import ZoneInfo

import orjson

from coalition.amounts import decimal_in
from coalition.errors import CoalitionError, InvalidInput
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import PartnerId
from coalition.receipts import Receipt

REQUIRED: Final = ("receipt", "kind", "member", "time")
VALUES: Final = ("amount", "points")
OPTIONAL: Final = ("store", "terminal", "line", "revision", "member_kind")
NOWHERE: Final = "-"
"""Store or terminal of a file that names none."""

_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 9998
_LONGEST_LINE: Final = 65_536  # bytes; a line of the largest fields has about two thousand
_ENDS: Final = ("\n", "\r")
_QUOTES: Final = "a quote must be closed in its own line, and one within quotes is written twice"


class LineKind(StrEnum):
    """What a line of a till export asks for."""

    ISSUE = "issue"
    REDEEM = "redeem"
    REVERSE_ISSUE = "reverse_issue"
    REVERSE_REDEMPTION = "reverse_redemption"


REVERSALS: Final = frozenset({LineKind.REVERSE_ISSUE, LineKind.REVERSE_REDEMPTION})


class Format(StrEnum):
    """How a till export is written."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class TillLine:
    """A line that can be posted."""

    number: int
    """In the file, from 1."""
    kind: LineKind
    member: Identifier
    receipt: Receipt
    occurred_at: datetime
    points: int | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A line that was not posted, and why."""

    number: int
    field: str
    code: str
    reason: str


def format_of(path: Path) -> Format | None:
    """What the file's name says about how it is written."""
    return {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}.get(path.suffix.lower())


def read_lines(
    file: BinaryIO, *, written: Format, partner_id: PartnerId, zone: ZoneInfo
) -> Iterator[TillLine | Reject]:
    """Each line of the file, or why it is none. A time that names no zone is in `zone`.

    Raises:
        InvalidInput: the file as a whole cannot be read, since a column is missing.
    """
    rows = _csv_rows(file) if written is Format.CSV else _jsonl_rows(file)
    for number, row in rows:
        if isinstance(row, str):
            yield Reject(number=number, field="", code=InvalidInput.code, reason=row)
            continue
        try:
            yield _line(number, row, partner_id=partner_id, zone=zone)
        except CoalitionError as error:
            yield rejected(number, error)


def rejected(number: int, error: CoalitionError) -> Reject:
    """A refusal as a line of the rejects file: its field is the column's name."""
    field = error.path[-1] if error.path else ""
    return Reject(number=number, field=_COLUMNS.get(field, field), code=error.code, reason=error.message)


_COLUMNS: Final = {
    "number": "receipt",
    "occurredAt": "time",
    "value": "member",
    "idempotencyKey": "receipt",
    "transactionId": "receipt",
    "confirmation": "points",
}


def _csv_rows(file: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    # Bytes that are no UTF-8 become characters that no field accepts, so that they cost one line.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    header = [name.strip().lower() for name in _header(text)]
    missing = [name for name in REQUIRED if name not in header]
    if missing or not set(VALUES) & set(header):
        raise InvalidInput(
            f"the first line must name the columns; missing: {', '.join(missing) or 'amount or points'}",
            field=("header",),
        )
    number = 1
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith(_ENDS):
            while (rest := text.readline(_LONGEST_LINE)) and not rest.endswith(_ENDS):
                continue
            yield number, f"is longer than {_LONGEST_LINE:,} characters"
            continue
        try:
            values = _columns(line)
        except csv.Error as error:
            yield number, f"is no CSV: {error}; {_QUOTES}"
            continue
        if len(values) == len(header):
            yield number, dict(zip(header, values, strict=True))
        elif values:
            yield number, f"has {len(values)} fields, and the first line names {len(header)}"
    text.detach()


def _header(text: io.TextIOWrapper) -> list[str]:
    try:
        return _columns(text.readline(_LONGEST_LINE))
    except csv.Error as error:
        raise InvalidInput(
            f"the first line must name the columns and is no CSV: {error}; {_QUOTES}", field=("header",)
        ) from None


def _columns(line: str) -> list[str]:
    """A line by itself, since a quote that is not closed would take the lines after it for its column."""
    return next(csv.reader((line,), strict=True))


def _jsonl_rows(file: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if not line.endswith(b"\n") and len(line) == _LONGEST_LINE:
            while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                continue
            yield number, f"is longer than {_LONGEST_LINE:,} bytes"
            continue
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield number, f"is no JSON: {error}"
            continue
        if isinstance(row, dict):
            yield number, {str(key).lower(): value for key, value in row.items()}
        else:
            yield number, "is no JSON object"


def _line(number: int, row: Mapping[str, Any], *, partner_id: PartnerId, zone: ZoneInfo) -> TillLine:
    kind = _one_of(LineKind, row, "kind")
    points, amount = _whole(row, "points", None), _decimal(row, "amount")
    if kind is LineKind.ISSUE and (points is None) == (amount is None):
        raise InvalidInput("one of points and amount must be given", field=("points",))
    if kind is LineKind.REDEEM and points is None:
        raise InvalidInput("a redemption is given in points", field=("points",))
    if kind in REVERSALS and points is not None and amount is not None:
        raise InvalidInput(
            "of a reversal give points, amount, or neither for all that is left", field=("points",)
        )
    return TillLine(
        number=number,
        kind=kind,
        member=Identifier.of(
            _one_of(IdentifierKind, row, "member_kind", IdentifierKind.CARD),
            _text(row, "member"),
            partner_id=partner_id,
        ),
        receipt=Receipt(
            store=_text(row, "store", NOWHERE),
            terminal=_text(row, "terminal", NOWHERE),
            number=_text(row, "receipt"),
            line=_whole(row, "line", 1),
            revision=_whole(row, "revision", 0),
        ),
        occurred_at=_moment(row, zone),
        points=points,
        amount=amount,
    )


def _text(row: Mapping[str, Any], column: str, otherwise: str | None = None) -> str:
    value = row.get(column)
    if value is None or value == "":
        if otherwise is None:
            raise InvalidInput(f"{column} is empty", field=(column,))
        return otherwise
    if isinstance(value, str):
        return value.strip()
    # A number in JSON is what a till wrote without quotes; anything else is no text.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidInput(f"{column} is no text", field=(column,))


def _whole(row: Mapping[str, Any], column: str, otherwise: Any) -> Any:
    if row.get(column) is None:
        return otherwise
    value = _text(row, column, "")
    if value == "":
        return otherwise
    # int() would take 1_000 and other digits than ours.
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:  # noqa: PLR2004 - fits 64 bits
        raise InvalidInput(f"{column} must be a whole number and is {value[:40]!r}", field=(column,))
    return int(value)


def _decimal(row: Mapping[str, Any], column: str) -> Decimal | None:
    value = row.get(column)
    if isinstance(value, float):
        # What JSON wrote as 12.34 is read as the shortest decimal that means the same.
        value = repr(value)
    text = _text({column: value}, column, "")
    if text == "":
        return None
    number = decimal_in(text)
    if number is None:
        raise InvalidInput(f"{column} must be a decimal such as 12.34 and is {text[:40]!r}", field=(column,))
    return number


def _moment(row: Mapping[str, Any], zone: ZoneInfo) -> datetime:
    text = _text(row, "time")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"time must be as in ISO 8601, such as 2026-03-01T14:05:00+01:00, and is {text[:40]!r}",
            field=("time",),
        ) from None
    # Beyond these a zone's offset may lead out of the calendar.
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise InvalidInput(
            f"time must be of the years {_FIRST_YEAR} to {_LAST_YEAR} and is {text[:40]!r}", field=("time",)
        )
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _one_of(choices: Any, row: Mapping[str, Any], column: str, otherwise: Any = None) -> Any:
    text = _text(row, column, otherwise)
    chosen = _CHOICES[choices].get(text.lower())
    if chosen is None:
        raise InvalidInput(
            f"{column} must be one of {', '.join(choices)} and is {text[:40]!r}", field=(column,)
        )
    return chosen


# Not asked of the class, which takes as long as the rest of a field.
_CHOICES: Final[dict[Any, dict[str, Any]]] = {
    choices: {one.value: one for one in choices} for choices in (LineKind, IdentifierKind)
}
