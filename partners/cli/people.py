"""`coalition member profile` and `erase`: the person behind a member.

They stand in this room because who had it done is kept here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from coalition import clock
from coalition.cli import console
from coalition.cli.naming import member_named
from coalition.erasing import erase_member
from coalition.profiles import FIELDS, get_profile, update_profile
from coalition.programme import get_programme
from partners.cli.once import once_blindly

if TYPE_CHECKING:
    from collections.abc import Callable

_AnyFunction = TypeVar("_AnyFunction", bound="Callable[..., Any]")
_FIELDS: Final = {
    "name": "At most 200 characters.",
    "email": "An e-mail address.",
    "phone": "With its country, or as the programme's region has it.",
    "birth_date": "A day such as 1990-12-31.",
    "address": "Lines; at most 500 characters.",
    "locale": "A language tag such as de-AT.",
}
_JSON: Final = {"birth_date": "birthDate"}


def _fields(function: _AnyFunction) -> _AnyFunction:
    for name, help_ in reversed(_FIELDS.items()):
        function = click.option(f"--{name.replace('_', '-')}", help=help_)(function)
    return function


@click.command()
@click.argument("who", metavar="MEMBER")
@_fields
@click.option(
    "--remove", multiple=True, type=click.Choice(FIELDS), help="Take this away; give it as often as needed."
)
@click.option("--key", help="The same key again is the same change; made up if not given.")
@console.by_option
@console.json_option
def profile(
    who: str, remove: tuple[str, ...], key: str | None, by: str, as_json: bool, **given: str | None
) -> None:
    """Show what a member says of itself; or change it on the member's behalf.

    It is stored only sealed, and partners never see it. These are for writing to the person, and find nobody:
    what a member is found by is linked with `coalition member link`. What is not named stays as it is.

    \b
    Examples:
      coalition member profile card:4006381333931
      coalition member profile card:4006381333931 --name "Ada Lovelace" --birth-date 1815-12-10 --remove phone
    """  # noqa: D301 - click's mark of lines to keep
    named = {field: value for field, value in given.items() if value is not None}
    if set(named) & set(remove):
        raise click.UsageError("The same field can't be given and removed.")
    changes = named | dict.fromkeys(remove)
    with console.open_database() as database:
        if changes:
            with database.unit_of_work() as session:

                def update() -> dict[str, Any]:
                    member_id = member_named(session, who)
                    today = clock.now(session).astimezone(get_programme(session).tz).date()
                    update_profile(session, member_id, changes, today=today)
                    return {"member_id": str(member_id)}

                asked = {"member": who, "changes": changes}
                once_blindly(session, "profile", asked, key=key, by=by, work=update)
        with database.reading() as session:
            found = get_profile(session, member_named(session, who))
    shown = {field: getattr(found, field) for field in FIELDS}
    if as_json:
        console.print_json({_JSON.get(field, field): value for field, value in shown.items()})
        return
    for field, value in shown.items():
        click.echo(f"{field.replace('_', ' ')}: {'-' if value is None else value}")


@click.command()
@click.argument("who", metavar="MEMBER")
@click.option("--key", help="The same key again is the same erasure; made up if not given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@console.by_option
@console.json_option
def erase(who: str, key: str | None, yes: bool, by: str, as_json: bool) -> None:
    """Erase the person behind a member, for good: nobody can undo it.

    The key to its personal data is destroyed, and the data and identifiers with it, of all records that
    were merged into it. Its transactions stay, with every statement made from them, and name nobody; nothing
    is posted to it any more. Again for the same id changes nothing.

    What is in the way is named: a pool to leave, holds that are open, points that are left or owed. Settle
    these first. Available points are spent, or go by `coalition member transfer` or `coalition member
    adjust`; pending ones mature first, or are taken back by `coalition transaction reverse` of their issue.
    What earlier backups still hold, the guide to operating tells.

    Example: coalition member erase email:ada@example.org
    """
    with console.open_database() as database:
        if not yes:
            with database.reading() as session:
                member_id = member_named(session, who)
            click.confirm(f"Erase the person behind member {member_id} for good?", abort=True, err=True)
        with database.unit_of_work() as session:

            def work() -> dict[str, Any]:
                erasure = erase_member(session, member_named(session, who))
                return {
                    "member_id": str(erasure.member_id),
                    "records": [str(one) for one in erasure.records],
                    "erased_at": erasure.erased_at.isoformat(),
                    "before": erasure.replayed,
                }

            done, replayed = once_blindly(
                session, "erase", {"member": who}, key=key, by=by, work=work, forget=True
            )
    replayed = replayed or done["before"]
    if as_json:
        console.print_json(
            {
                "member": done["member_id"],
                "records": done["records"],
                "erasedAt": done["erased_at"],
                "replayed": replayed,
            }
        )
    else:
        was = "was erased before, at" if replayed else "is erased since"
        click.echo(f"member {done['member_id']} {was} {done['erased_at']}")
