"""The ledger and the model do the same, whatever is asked of them in whatever order.

COALITION_MODEL_STEPS and COALITION_MODEL_EXAMPLES take the search further on demand.
"""

import os
from datetime import timedelta
from typing import Any

import pytest
from driver import LedgerDriver
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from ledger_model import ModelMember, ModelTransaction, Refused

from coalition import members
from coalition.audit import run_audit
from coalition.db import Database
from coalition.errors import CoalitionError
from coalition.ids import MemberId, PartnerId
from coalition.ledger import Posting

STEPS = int(os.environ.get("COALITION_MODEL_STEPS", "40"))
EXAMPLES = int(os.environ.get("COALITION_MODEL_EXAMPLES", "12"))
POLICIES = {"strict": "pending_only", "lenient": "available", "hard": "unlimited", "harder": "unlimited"}
GRACE = {"strict": 0, "lenient": 3, "hard": 10, "harder": 1}

names = st.sampled_from(sorted(POLICIES))
amounts = st.integers(1, 200)
days = st.one_of(st.none(), st.integers(1, 12))


def machine(  # noqa: C901 - the rules of one machine
    ledger: LedgerDriver, partners: dict[str, PartnerId]
) -> type[RuleBasedStateMachine]:
    """A machine on this database. Each example has new members, so examples don't meet."""

    class LedgerMachine(RuleBasedStateMachine):
        done = Bundle("done")

        def __init__(self) -> None:
            super().__init__()
            self.members: list[MemberId] = [ledger.member(issuer=partners["hard"]) for _ in range(2)]
            grace = {name: timedelta(days=GRACE[name]) for name in partners}
            self.models = [ModelMember(policies=POLICIES, grace=grace) for _ in self.members]

        @rule(target=done, who=st.integers(0, 1), by=names, points=amounts, matures=days, expires=days)
        def issue(self, who: int, by: str, points: int, matures: int | None, expires: int | None) -> Any:
            now = ledger.now
            matures_at = now + timedelta(days=matures) if matures else None
            expires_at = now + timedelta(days=(matures or 0) + expires) if expires else None
            key = ledger.key()

            def post() -> Posting:
                return ledger.issue(
                    self.members[who],
                    points,
                    by=partners[by],
                    key=key,
                    matures_at=matures_at,
                    expires_at=expires_at,
                )

            posting = post()
            modelled = self.models[who].issue(by, points, now, matures_at, expires_at)
            self.same(who, posting)
            assert post().balance == posting.balance
            return (who, posting, modelled)

        @rule(target=done, who=st.integers(0, 1), by=names, points=amounts)
        def redeem(self, who: int, by: str, points: int) -> Any:
            return self.both(
                who,
                lambda: ledger.redeem(self.members[who], points, by=partners[by]),
                lambda: self.models[who].redeem(by, points, ledger.now),
            )

        @rule(target=done, what=done)
        def reverse(self, what: tuple[int, Posting, ModelTransaction]) -> Any:
            who, posting, modelled = what
            if modelled.kind not in {"issue", "redeem"}:
                return multiple()
            return self.both(
                who,
                lambda: ledger.reverse(posting.ref, by=partners[modelled.partner]),
                lambda: self.models[who].reverse(modelled, ledger.now),
            )

        @rule(hours=st.integers(1, 100))
        def pass_time(self, hours: int) -> None:
            ledger.pass_time(hours=hours)

        @rule()
        def close_the_window(self) -> None:
            ledger.close_window()

        @rule(who=st.integers(0, 1))
        def night(self, who: int) -> None:
            ledger.bring_up_to_date(self.members[who])
            self.models[who].bring_up_to_date(ledger.now)

        def both(self, who: int, real: Any, modelled: Any) -> Any:
            """Do it in both; refused by one is refused by the other, and changes nothing in either."""
            before = [tuple(vars(lot).values()) for lot in self.models[who].lots]
            try:
                expected = modelled()
            except Refused as refused:
                code = refused.code
            else:
                code = None
            if code is not None:
                assert before == [tuple(vars(lot).values()) for lot in self.models[who].lots]
                with pytest.raises(CoalitionError) as refusal:
                    real()
                assert refusal.value.code == code
                return multiple()
            posting = real()
            assert posting.points == expected.points
            self.same(who, posting)
            return (who, posting, expected)

        def same(self, who: int, posting: Posting) -> None:
            balance = posting.balance
            assert (balance.available, balance.pending, balance.deficit) == self.models[who].balance

        @invariant()
        def lots_claims_and_journals_agree(self) -> None:
            for member, model in zip(self.members, self.models, strict=True):
                lots = ledger.rows(
                    "SELECT pending, available, burned, expired, reversed FROM ledger.lot"
                    " JOIN ledger.transaction t USING (member_id, business_date, transaction_id)"
                    " WHERE member_id = :m ORDER BY t.sequence",
                    m=member,
                )
                assert lots == [
                    (lot.pending, lot.available, lot.burned, lot.expired, lot.reversed) for lot in model.lots
                ]
                assert ledger.kinds(member) == [(entry.kind, entry.points) for entry in model.journal]

        @invariant()
        def a_balance_that_is_read_is_the_one_that_the_next_posting_will_find(self) -> None:
            with ledger.database.reading() as session:
                for member, model in zip(self.members, self.models, strict=True):
                    balance = members.get_balance(session, member)
                    assert balance.available == model._as_of(ledger.now)
                    lots = members.lots(session, member)
                    assert sum(lot.available for lot in lots) == balance.available
                    assert sum(lot.pending for lot in lots) == balance.pending
                    by_issuer = members.balance_by_issuer(session, member)
                    assert sum(issuer.available for issuer in by_issuer) == balance.available

        def teardown(self) -> None:
            with ledger.database.reading() as session:
                assert list(run_audit(session)) == []

    return LedgerMachine


def test_ledger_and_model_agree(database: Database) -> None:
    ledger = LedgerDriver(database).open()
    partners = {
        name: ledger.partner(return_policy=POLICIES[name], grace_days=GRACE[name]) for name in POLICIES
    }
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine(ledger, partners),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
