"""Post many wishes of one partner in one call, each with an outcome of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from coalition.clock import wall
from coalition.errors import from_kernel
from coalition.issuing import IssuePoints
from coalition.keys import check_key
from coalition.ledger.posting import Posting, call, fingerprint, posting_of
from coalition.redeeming import RedeemPoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from coalition.errors import CoalitionError
    from coalition.ids import PartnerId

_POST: Final = "SELECT * FROM ledger.post_batch(%s, %s::json, %s, %s)"


def post_batch(
    session: Session, partner_id: PartnerId, commands: Sequence[IssuePoints | RedeemPoints], *, atomic: bool
) -> list[Posting | CoalitionError]:
    """Issue and redeem in the partner's name: what became of each, in the order of the commands.

    What one member's commands do, they do in that order. A refusal undoes its own command alone.

    Raises:
        BatchStopped: one was refused and the batch is atomic; nothing has moved.
        InvalidInput: a key cannot be stored; nothing has moved.
        TermsSuperseded: another agreement is in force than the one that a command names; nothing has moved.
    """
    lines = [_line(nth, command) for nth, command in enumerate(commands, start=1)]
    rows = call(session, _POST, (partner_id, orjson.dumps(lines).decode(), atomic, wall()))
    outcomes: list[Any] = [None] * len(commands)
    for nth, refused, facts, *posted in rows:
        outcomes[nth - 1] = posting_of(tuple(posted)) if refused is None else from_kernel(refused, facts)
    return outcomes


def _line(nth: int, command: IssuePoints | RedeemPoints) -> dict[str, object]:
    check_key(command.idempotency_key)
    kind = "issue" if isinstance(command, IssuePoints) else "redeem"
    line: dict[str, object] = {
        "nth": nth,
        "kind": kind,
        "member_id": command.member_id,
        "agreement_id": command.agreement_id,
        "points": command.points,
        "key": command.idempotency_key,
        "fingerprint": "\\x" + fingerprint(kind, command.request).hex(),
        "occurred_at": command.occurred_at,
    }
    if command.identifier_id is not None:
        line["identifier_id"] = command.identifier_id
    if command.receipt is not None:
        names = ("store", "terminal", "receipt_number", "receipt_line", "receipt_revision")
        line.update(zip(names, command.receipt.as_arguments(), strict=True))
    if command.amount is not None:
        line["amount"] = str(command.amount)
    if isinstance(command, RedeemPoints):
        line["confirmation_id"] = command.confirmation_id
        line["from_pool"] = command.from_pool
        return line
    if command.funding_plan_id is not None:
        line["funding_plan_id"] = command.funding_plan_id
    if command.matures_at is not None:
        line["matures_at"] = command.matures_at
    if command.expires_at is not None:
        line["expires_at"] = command.expires_at
    return line
