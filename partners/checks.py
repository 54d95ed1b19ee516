"""What all inputs of this room are checked for: texts that can be stored, codes, and exact decimals."""

import re
from decimal import Decimal
from typing import Final

from coalition.errors import InvalidInput

MAX_NAME: Final = 200
_CODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_text(value: str, *, field: str, longest: int = MAX_NAME) -> str:
    """The text without blanks around it, if it can be stored and printed.

    Raises:
        InvalidInput: it is empty, too long, or has unprintable characters.
    """
    text = value.strip()
    if not 1 <= len(text) <= longest or not text.isprintable():
        raise InvalidInput(
            f"{field} must be 1 to {longest} printable characters", field=("input", *field.split("."))
        )
    return text


def check_code(value: str, *, field: str = "code") -> str:
    """A code as people type it: small letters, digits and hyphens.

    Raises:
        InvalidInput: it is not one.
    """
    if not _CODE.fullmatch(value):
        raise InvalidInput(
            f"{field} must be 1 to 63 small letters, digits or hyphens, and begin with a letter or digit",
            field=("input", field),
        )
    return value


def check_decimal(value: Decimal, *, field: str, places: int, below: int) -> Decimal:
    """The decimal as its column will hold it: not negative, below a bound, and without rounding.

    Raises:
        InvalidInput: it would not fit exactly.
    """
    fits = value.is_finite() and 0 <= value < below
    if not fits or value != round(value, places):
        raise InvalidInput(
            f"{field} must be a decimal from 0 to below {below:,} with at most {places} places",
            field=("input", field),
        )
    return round(value, places)
