"""`coalition limit`, `coalition review` and `coalition refusals`: the operator's guard rails."""

from __future__ import annotations

import getpass
import re
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from coalition import reviewing
from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.ids import NETWORK, MemberId, PartnerId
from coalition.paging import LARGEST_SIZE, PageRequest
from coalition.reviewing import ReviewState
from partners import limits, refusals
from partners.directory import get_partner_by_code, get_partners
from partners.limits import LimitAction, LimitMeasure, LimitPosting, LimitScope

if TYPE_CHECKING:
    from collections.abc import Collection

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
_REVIEWS: Final = {
    "review": "Review",
    "askedAt": "Asked",
    "partner": "Partner",
    "kind": "Posting",
    "points": "Points",
    "limit": "Limit",
    "state": "State",
    "decidedBy": "Decided by",
}
_REFUSALS: Final = {
    "refusedAt": "At",
    "code": "Refusal",
    "posting": "Posting",
    "partner": "Partner",
    "member": "Member",
    "points": "Points",
    "store": "Store",
    "receipt": "Receipt",
    "facts": "Facts",
    "unwritten": "Unwritten",
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
    then on. Limits of members and cards are exact. Those of stores and partners act on a figure that is some
    seconds old: `figures` shows what was used, and by how much a limit was overshot meanwhile.
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
                published_by=_operator(),
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
@console.json_option
def end(code: str, as_json: bool) -> None:
    """End the limit CODE: from now on it holds nobody up."""
    with console.open_database() as database, database.unit_of_work() as session:
        ended = limits.end_limit(session, code=code, published_by=_operator())
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
            codes = _codes(session, {figure.partner_id for _, figure in found})
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


@click.group()
def review() -> None:
    """Decide on postings that a limit holds for review.

    Nothing of them has moved. One that is released is posted when its till sends it again under its key,
    which it does by itself, as the refusal (UNDER_REVIEW) is marked retryable; one that is rejected stays
    refused.
    """


@review.command(name="list")
@click.option("--state", type=_one_of(ReviewState), default=ReviewState.WAITING.value, show_default=True)
@console.json_option
def list_reviews(state: str, as_json: bool) -> None:
    """List postings under review, the oldest first, at most 100."""
    with console.open_database() as database, database.reading() as session:
        page = reviewing.list_reviews(session, PageRequest(size=LARGEST_SIZE), state=ReviewState(state))
        codes = _codes(session, {one.partner_id for one in page.items})
    rows = [
        {
            "review": f"{one.member_id}/{one.review_id}",
            "askedAt": one.asked_at.isoformat(),
            "partner": codes.get(one.partner_id),
            "kind": one.kind,
            "points": one.points,
            "limit": one.limit,
            "state": one.state.value,
            "decidedBy": one.decided_by,
            "facts": one.facts,
        }
        for one in page.items
    ]
    console.print_result(rows, columns=_REVIEWS, as_json=as_json)


@review.command()
@click.argument("review_id", metavar="REVIEW")
def release(review_id: str) -> None:
    """Let the posting of REVIEW pass when it is sent again."""
    _decide(review_id, reviewing.release, "released")


@review.command()
@click.argument("review_id", metavar="REVIEW")
def reject(review_id: str) -> None:
    """Do not let the posting of REVIEW pass."""
    _decide(review_id, reviewing.reject, "rejected")


@click.command(name="refusals")
@click.option("--code", help="This refusal only, such as LIMIT_EXCEEDED.")
@click.option("--partner", help="What this partner was refused.")
@click.option("--member", "who", help="What named this member: an id, or KIND:VALUE.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]), help="With its zone."
)
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]), help="With its zone."
)
@click.option(
    "--most", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many."
)
@console.json_option
def list_refusals(
    code: str | None, partner: str | None, who: str | None, since: Any, until: Any, most: int, as_json: bool
) -> None:
    """Show the register of refusals, the newest first: what was asked, and what was in the way.

    It keeps 90 days, and 500,000 at the most. "Unwritten" counts refusals of the same server just before that
    were too many to be written.
    """
    with console.open_database() as database, database.reading() as session:
        wanted = refusals.RefusedFilter(
            code=code,
            partner_id=None if partner is None else get_partner_by_code(session, partner).partner_id,
            member_id=None if who is None else member_named(session, who),
            since=since,
            until=until,
        )
        found = refusals.list_refusals(session, wanted, PageRequest(size=most)).items
        codes = _codes(session, {one.partner_id for one in found if one.partner_id is not None})
    rows = [
        {
            "refusedAt": one.refused_at.isoformat(),
            "code": one.code,
            "posting": one.posting,
            "partner": None if one.partner_id is None else codes.get(one.partner_id),
            "client": one.client,
            "member": None if one.member_id is None else str(one.member_id),
            "points": one.points,
            "store": one.store,
            "terminal": one.terminal,
            "receipt": one.receipt_number,
            "requestId": one.request_id,
            "facts": one.facts
            if as_json
            else " ".join(f"{name}={value}" for name, value in one.facts.items()),
            "unwritten": one.unwritten,
        }
        for one in found
    ]
    console.print_result(rows, columns=_REFUSALS, as_json=as_json)


def _spelled(facts: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in facts.items())


def _operator() -> str:
    return f"operator {getpass.getuser()}"


def _decide(named: str, decide: Any, done: str) -> None:
    member, _, review_id = named.partition("/")
    try:
        key = MemberId(UUID(member)), UUID(review_id)
    except ValueError:
        raise click.BadParameter(f"{named!r} is no review, as `coalition review list` names them") from None
    with console.open_database() as database, database.unit_of_work() as session:
        decide(session, *key, by=_operator())
    click.echo(f"review {named} is {done}")


def _codes(session: Session, ids: Collection[PartnerId]) -> dict[PartnerId, str]:
    found = {PartnerId(key): partner.code for key, partner in get_partners(session, ids).items()}
    return found | {PartnerId(NETWORK): "network"}


def _limits(session: Session, found: list[limits.Limit]) -> list[dict[str, Any]]:
    codes = _codes(session, {one.partner_id for one in found if one.partner_id is not None})
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
