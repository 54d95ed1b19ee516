"""Many wishes of one partner in one call, each with an outcome of its own."""

import copy
from dataclasses import dataclass, replace
from typing import Any, Self

from hypothesis import strategies as st

from coalition.amounts import Points
from coalition.batching import post_batch
from coalition.errors import CoalitionError
from coalition.issuing import IssuePoints
from coalition.ledger import Posting
from coalition.redeeming import RedeemPoints

from .ledger import Ledger
from .programme import Answer, Programme, Refused
from .till_wishes import Issue, Redeem
from .wishing import Wish, rarely, someone, whom


@dataclass(frozen=True, kw_only=True)
class Batch(Wish):
    enters = True
    partner: str
    atomic: bool
    lines: tuple[Issue | Redeem, ...]
    pooled: bool = False
    """Whether it draws on pools; else what can be is posted together."""
    of_one: int | None = None
    """All lines are of this member, so that they meet."""
    weight = 12
    names = ("Batch", "Batch atomic")
    strategy = staticmethod(
        lambda cls: st.builds(
            cls,
            partner=someone,
            atomic=st.booleans(),
            lines=st.lists(
                rarely(Issue.strategy(Issue), Redeem.strategy(Redeem), odds=4), min_size=1, max_size=6
            ).map(tuple),
            pooled=rarely(st.just(value=False), st.booleans(), odds=4),
            of_one=st.none() | whom,
        )
    )

    def name(self, p: Programme) -> str:
        return super().name(p) + (" atomic" if self.atomic else "")

    def settle(self, p: Programme) -> Self:
        """No receipt twice: what is in front of the ledger refuses that."""
        lines: list[Issue | Redeem] = []
        for line in self.lines:
            taken = {(type(earlier), earlier.receipt) for earlier in lines}
            receipt = None if (type(line), line.receipt) in taken else line.receipt
            if isinstance(line, Redeem) and not self.pooled:
                line = replace(line, from_pool=False)  # noqa: PLW2901
            if self.of_one is not None:
                line = replace(line, member=self.of_one, nth_identifier=None)  # noqa: PLW2901
            lines.append(replace(line, partner=self.partner, receipt=receipt).settle(p))
        return replace(self, lines=tuple(lines))

    def touches(self, p: Programme) -> list[int]:
        return [member for line in self.lines for member in line.touches(p)]

    def expect(self, p: Programme, key: str) -> list[Answer | Refused]:
        outcomes: list[Answer | Refused] = []
        for nth, line in enumerate(self.lines):
            before = copy.deepcopy(vars(p))
            try:
                outcomes.append(line.expect(p, f"{key}-{nth}"))
            except Refused as refused:
                vars(p).update(before)
                outcomes.append(Refused(refused.code, refused.facts))
                if self.atomic:
                    raise Refused("BATCH_STOPPED", {"line": nth, "code": refused.code}) from refused
        return outcomes

    def ask(self, ledger: Ledger, p: Programme, key: str) -> list[Posting | CoalitionError]:
        commands = [command(line, ledger, p, f"{key}-{nth}") for nth, line in enumerate(self.lines)]
        partner = ledger.partner(self.partner)
        with ledger.driver.database.unit_of_work() as session:
            return post_batch(session, partner, commands, atomic=self.atomic)


def command(line: Issue | Redeem, ledger: Ledger, p: Programme, key: str) -> IssuePoints | RedeemPoints:
    asked = line.asked(ledger, p, key)
    told: dict[str, Any] = {
        "member_id": ledger.member(line.member),
        "partner_id": asked.pop("by"),
        "points": Points(line.points),
        "idempotency_key": asked.pop("key"),
        "receipt": ledger.receipt(line.receipt),
        **asked,
    }
    if isinstance(line, Redeem):
        confirmation = ledger.confirmation(line.confirmation)
        return RedeemPoints(
            **told, amount=line.amount, confirmation_id=confirmation, from_pool=line.from_pool
        )
    matures_at, expires_at = line.moments(p)
    return IssuePoints(
        **told,
        matures_at=matures_at,
        expires_at=expires_at,
        amount=line.amount,
        funding_plan_id=ledger.plan(line.plan),
    )
