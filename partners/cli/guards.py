"""`coalition limit`: how much a member, a card, a store or a partner may move."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import click

from coalition.cli import console
from partners import limits
from partners.cli.parameters import codes_of, operator
from partners.directory import get_partner_by_code
from partners.limits import LimitAction, LimitMeasure, LimitPosting, LimitScope

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_LIMITS: Final = {
    "code": "Code",
    "version": "Version",
    "scope": "Of each",
    "posting": "Postings",
    "most": "Most",
    "measure": "Counted in",
    "period": "Per",
    "action": "Beyond",
    "partner": "Only at",
    "publishedBy": "By",
}
_FIGURES: Final = {
    "limit": "Limit",
    "partner": "Partner",
    "store": "Store",
    "used": "Used",
    "most": "Most",
    "peak": "Peak",
    "overshot": "Overshot by",
    "peakAt": "At",
}
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _one_of(enum: type[StrEnum]) -> click.Choice[str]:
    return click.Choice([one.value for one in enum])


class Period(click.ParamType[timedelta | None]):
    """A length of time such as 90s, 15m, 24h or 7d; or `window`, which is None."""

    name = "period"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta | None:
        """Read it, or say what is wrong."""
        if value is None or isinstance(value, timedelta) or value == "window":
            return value if isinstance(value, timedelta) else None
        found = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        if found is None:
            self.fail(f"{value!r} is no period, such as 90s, 15m, 24h, 7d or window", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


@click.group()
def limit() -> None:
    """Limit how much a member, a card, a store or a partner may move.

    A limit is published, a version at a time, and never edited; the last version of its code holds from
    then on. Limits of members and cards are exact. Those of stores and partners act on a figure at most
    3 seconds old, and may be overshot by what is posted meanwhile: `figures` shows what was used, and by how
    much a limit was overshot.
    """


@limit.command()
@click.argument("code")
@click.option("--scope", type=_one_of(LimitScope), required=True, help="Whose postings are counted together.")
@click.option("--posting", type=_one_of(LimitPosting), required=True, help="Which postings.")
@click.option("--measure", type=_one_of(LimitMeasure), required=True, help="What is counted.")
@click.option("--most", type=click.IntRange(min=0), required=True, help="So many are allowed.")
@click.option(
    "--per", "period", type=Period(), default="window", show_default=True, help="90s, 15m, 24h, 7d or window."
)
@click.option(
    "--action",
    type=_one_of(LimitAction),
    default=LimitAction.REFUSE.value,
    show_default=True,
    help="What becomes of a posting beyond it.",
)
@click.option("--partner", help="Count and limit this partner's postings only.")
@console.by_option
@console.json_option
def publish(
    code: str,
    scope: str,
    posting: str,
    measure: str,
    most: int,
    period: timedelta | None,
    action: str,
    partner: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Publish the limit CODE, in place of the one that has the code.

    \b
    Examples:
      coalition limit publish card-hourly --scope card --posting redeem --measure count --most 5 --per 1h
      coalition limit publish large-issue --scope member --posting issue --measure points \\
          --most 50000 --per 24h --action review
      coalition limit publish grocer-day --scope partner --posting issue --measure points \\
          --most 2000000 --partner grocer
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database, database.unit_of_work() as session:
        made = limits.publish_limit(
            session,
            limits.PublishLimit(
                code=code,
                scope=LimitScope(scope),
                posting=LimitPosting(posting),
                measure=LimitMeasure(measure),
                most=most,
                period=period,
                action=LimitAction(action),
                partner_id=None if partner is None else get_partner_by_code(session, partner).partner_id,
                published_by=operator(by),
            ),
        )
        rows = _limits(session, [made])
    console.print_result(rows, columns=_LIMITS, as_json=as_json)


@limit.command(name="list")
@click.option("--all", "ended", is_flag=True, help="Those that were ended too.")
@console.json_option
def list_limits(ended: bool, as_json: bool) -> None:
    """List the limits that hold, by code."""
    with console.open_database() as database, database.reading() as session:
        rows = _limits(session, limits.list_limits(session, ended=ended))
    console.print_result(rows, columns=_LIMITS, as_json=as_json)


@limit.command()
@click.argument("code")
@console.by_option
@console.json_option
def end(code: str, by: str, as_json: bool) -> None:
    """End the limit CODE: from now on it holds nobody up."""
    with console.open_database() as database, database.unit_of_work() as session:
        ended = limits.end_limit(session, code=code, published_by=operator(by))
        rows = _limits(session, [ended])
    console.print_result(rows, columns=_LIMITS, as_json=as_json)


@limit.command()
@console.json_option
def figures(as_json: bool) -> None:
    """Show what stores and partners have used of their limits, and by how much these were overshot.

    A server derives the figures every other second while it posts; this command derives them too.
    """
    with console.open_database() as database:
        with database.unit_of_work() as session:
            limits.refresh_figures(session, older_than=timedelta(0))
        with database.reading() as session:
            found = [
                (rule.code, figure)
                for rule in limits.list_limits(session)
                for figure in limits.figures_of(session, rule)
            ]
            codes = codes_of(session, {figure.partner_id for _, figure in found})
    rows = [
        {
            "limit": rule,
            "partner": codes.get(figure.partner_id),
            "store": figure.store,
            "used": figure.used,
            "most": figure.most,
            "peak": figure.peak,
            "overshot": figure.overshot,
            "peakAt": figure.peak_at.isoformat(),
        }
        for rule, figure in found
    ]
    console.print_result(rows, columns=_FIGURES, as_json=as_json)


def _limits(session: Session, found: list[limits.Limit]) -> list[dict[str, Any]]:
    codes = codes_of(session, {one.partner_id for one in found if one.partner_id is not None})
    return [
        {
            "code": one.code,
            "version": one.version,
            "scope": one.scope.value,
            "posting": one.posting.value,
            "measure": one.measure.value,
            "most": one.most,
            "period": "window" if one.period is None else str(one.period),
            "action": "ended" if one.most is None else one.action.value,
            "partner": None if one.partner_id is None else codes.get(one.partner_id),
            "publishedAt": one.published_at.isoformat(),
            "publishedBy": one.published_by,
        }
        for one in found
    ]
