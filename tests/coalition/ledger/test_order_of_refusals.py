"""Where several things speak against a wish, the first in the published order is said: in every function's text."""

import re
from itertools import pairwise
from pathlib import Path

import coalition.ledger
from coalition.errors import REFUSALS

FUNCTION = re.compile(r"CREATE FUNCTION ledger\.(\w+)\(.*?\$\$(.*?)\$\$", re.DOTALL)
REFUSAL = re.compile(r"(?:refuse\(|refused := )'([A-Z_]+)'")

OTHERWISE = {
    (
        "reverse",
        "TRANSACTION_UNKNOWN",
        "MEMBER_ERASED",
    ): "of a transaction that is not its own nobody learns whose it is",
    ("changeable", "IDENTIFIER_UNKNOWN", "MEMBER_ERASED"): "nor of an identifier",
    ("link_identifier", "IDENTIFIER_TAKEN", "CARD_REPLACED"): "it is taken by another, or was this one's",
    (
        "post_transfer",
        "MEMBER_ERASED",
        "MEMBER_UNKNOWN",
    ): "one is said of the giver, the other of the receiver",
    (
        "accept_pool_invitation",
        "POOL_CLOSED",
        "POOL_UNKNOWN",
    ): "its closing, which ends invitations, is told to who had one",
    ("check_review", "UNDER_REVIEW", "IDEMPOTENCY_CONFLICT"): "who only asks has no key",
}
"""A code that stands before an earlier one, and why both cannot be said of one wish."""


def test_every_function_refuses_in_the_published_order() -> None:
    place = {refusal.code: nth for nth, refusal in enumerate(REFUSALS)}
    found = [
        (name, first, second)
        for file in sorted(Path(coalition.ledger.__file__).parent.glob("*.sql"))
        for name, body in FUNCTION.findall(file.read_text(encoding="utf-8"))
        for first, second in pairwise(REFUSAL.findall(body))
        if place[first] > place[second]
    ]
    assert sorted(found) == sorted(OTHERWISE)
