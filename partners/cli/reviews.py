"""`coalition review` and `coalition refusals`: what limits hold, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from coalition import reviewing
from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.errors import REFUSALS, ReviewUnknown
from coalition.ids import MemberId
from coalition.paging import PageRequest
from coalition.reviewing import Review, ReviewState
from partners import refusals
from partners.cli.parameters import codes_of, operator
from partners.directory import get_partner_by_code

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

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
    "refusal": "No.",
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


@click.group()
def review() -> None:
    """Decide on postings that a limit holds for review.

    Nothing of them has moved. One that is released is posted when its till sends it again under its key,
    which it does by itself, as the refusal (UNDER_REVIEW) is marked retryable; one that is rejected stays
    refused.
    """


@review.command(name="list")
@click.option(
    "--state",
    type=click.Choice([one.value for one in ReviewState]),
    default=ReviewState.WAITING.value,
    show_default=True,
    help="How they stand.",
)
@click.option("--partner", help="Only this partner's: its code.")
@click.option("--member", "who", help="Only this member's: an id or KIND:VALUE.")
@console.most_option()
@click.option("--after", metavar="REVIEW", help="Those that come after it.")
@console.json_option
def list_reviews(
    state: str, partner: str | None, who: str | None, most: int, after: str | None, as_json: bool
) -> None:
    """List postings under review, the oldest first: who waits longest is looked at first.

    \b
    Examples:
      coalition review list
      coalition review list --state rejected --member card:4006381333931 --json
    """  # noqa: D301 - click's mark of lines to keep
    with console.open_database() as database, database.reading() as session:
        page = reviewing.list_reviews(
            session,
            PageRequest(size=most, after=None if after is None else reviewing.key_of(_found(session, after))),
            state=ReviewState(state),
            partner_id=None if partner is None else get_partner_by_code(session, partner).partner_id,
            member_id=None if who is None else member_named(session, who),
        )
        rows = _rows(session, page.items)
    console.print_page(rows, key="review", more=page.has_next, columns=_REVIEWS, as_json=as_json)


@review.command()
@click.argument("review_id", metavar="REVIEW")
@console.by_option
@console.json_option
def release(review_id: str, by: str, as_json: bool) -> None:
    """Let the posting of REVIEW pass when it is sent again. Again changes nothing."""
    _decide(review_id, reviewing.release, "released", by=by, as_json=as_json)


@review.command()
@click.argument("review_id", metavar="REVIEW")
@console.by_option
@console.json_option
def reject(review_id: str, by: str, as_json: bool) -> None:
    """Do not let the posting of REVIEW pass. Again changes nothing."""
    _decide(review_id, reviewing.reject, "rejected", by=by, as_json=as_json)


@click.command(name="refusals")
@click.option(
    "--code",
    metavar="CODE",
    type=click.Choice([refusal.code for refusal in REFUSALS]),
    help="This refusal only, such as LIMIT_EXCEEDED.",
)
@click.option("--partner", help="What this partner was refused.")
@click.option("--member", "who", help="What named this member: an id, or KIND:VALUE.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]), help="With its zone."
)
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]), help="With its zone."
)
@console.most_option()
@click.option("--after", type=click.IntRange(min=1), metavar="NO.", help="Those that come after that one.")
@console.json_option
def list_refusals(
    code: str | None,
    partner: str | None,
    who: str | None,
    since: Any,
    until: Any,
    most: int,
    after: int | None,
    as_json: bool,
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
        page = refusals.list_refusals(
            session, wanted, PageRequest(size=most, after=None if after is None else (str(after),))
        )
        codes = codes_of(session, {one.partner_id for one in page.items if one.partner_id is not None})
    rows = [
        {
            "refusal": str(one.refusal_id),
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
            "facts": one.facts if as_json else _spelled(one.facts),
            "unwritten": one.unwritten,
        }
        for one in page.items
    ]
    console.print_page(rows, key="refusal", more=page.has_next, columns=_REFUSALS, as_json=as_json)


def _spelled(facts: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in facts.items())


def _decide(named: str, decide: Any, done: str, *, by: str, as_json: bool) -> None:
    key = _key_in(named)
    with console.open_database() as database, database.unit_of_work() as session:
        decide(session, *key, by=operator(by))
        found = reviewing.find_review(session, *key)
        assert found is not None, "it was just decided"
        [row] = _rows(session, [found])
    if as_json:
        console.print_json(row)
    else:
        click.echo(f"review {named} is {done}")


def _key_in(named: str) -> tuple[MemberId, UUID]:
    member, _, review_id = named.partition("/")
    try:
        return MemberId(UUID(member)), UUID(review_id)
    except ValueError:
        raise click.BadParameter(f"{named!r} is no review, as `coalition review list` names them") from None


def _found(session: Session, named: str) -> Review:
    found = reviewing.find_review(session, *_key_in(named))
    if found is None:
        raise ReviewUnknown
    return found


def _rows(session: Session, found: Sequence[Review]) -> list[dict[str, Any]]:
    codes = codes_of(session, {one.partner_id for one in found})
    return [
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
        for one in found
    ]
