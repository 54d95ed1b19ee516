"""The real ledger, asked in the model's words: members by number, partners by name, transactions by their place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

from driver import LedgerDriver, receipt
from sqlalchemy import text

from coalition import members
from coalition.amounts import Points
from coalition.ids import NETWORK, AgreementId, FundingPlanId, MemberId, PartnerId, TransactionId
from coalition.ledger import Posting, TransactionRef
from coalition.programme import set_consent_limit, set_hold_limits, set_late_days, set_voucher_limits
from coalition.windows import open_window

from .books import Member, Terms
from .programme import Answer, Limits, Partner, Programme, store_of

PARTNERS: dict[str, dict[str, Any]] = {
    "strict": {"return_policy": "pending_only", "grace_days": 0},
    "lenient": {
        "return_policy": "available",
        "grace_days": 3,
        "expiry_rule": "inactivity",
        "expiry_months": 1,
        "activity": "redeem",
        "activity_where": "anywhere",
    },
    "hard": {"return_policy": "unlimited", "grace_days": 10},
    "harder": {"return_policy": "unlimited", "grace_days": 1},
}
LIMITS = Limits(
    consent=400,
    transfer=300,
    adjustment=100,
    vouchers=150,
    voucher=timedelta(minutes=30),
    voucher_grace=timedelta(hours=20),
    late_days=5,
    hold=timedelta(hours=2),
    longest_hold=timedelta(days=1),
)


@dataclass
class Ledger:
    """One set of members and partners of its own in the database that the driver drives."""

    driver: LedgerDriver
    members: list[MemberId]
    partners: dict[str, PartnerId]
    agreements: dict[int, AgreementId]
    """By the number that the model knows them by."""
    own: str = field(default_factory=lambda: uuid4().hex[:8])
    """What tells its stores, cards and so on from those of others."""
    refs: dict[tuple[int, int], TransactionRef] = field(default_factory=dict)
    adjustments: list[tuple[MemberId, UUID]] = field(default_factory=list)
    confirmations: list[UUID] = field(default_factory=list)
    identifiers: list[UUID] = field(default_factory=list)
    pools: list[UUID] = field(default_factory=list)
    plans: list[FundingPlanId] = field(default_factory=list)

    def member(self, number: int) -> MemberId:
        return self.members[number] if number < len(self.members) else MemberId(uuid4())

    def partner(self, name: str) -> PartnerId:
        return self.partners.get(name) or PartnerId(uuid4())

    def party(self, name: str) -> PartnerId:
        return PartnerId(NETWORK) if name == "network" else self.partner(name)

    def name(self, party: object) -> str:
        """Whose id it is, also as text."""
        return next((name for name, known in self.partners.items() if str(known) == str(party)), "network")

    def ref(self, target: tuple[int, int] | None) -> TransactionRef:
        if target is not None:
            return self.refs[target]
        return TransactionRef(
            member_id=self.members[0],
            business_date=date(2026, 3, 2),
            transaction_id=TransactionId(uuid4()),
        )

    def agreement(self, terms: Terms | None) -> AgreementId | None:
        return None if terms is None else self.agreements[terms.number]

    def terms(self, agreement: AgreementId) -> int:
        return next(number for number, known in self.agreements.items() if known == agreement)

    def receipt(self, line: tuple[int, int] | None) -> Any:
        if line is None:
            return None
        return receipt(f"R-{line[0]}", revision=line[1], store=self.store(store_of(line)))

    def store(self, number: int | None) -> str | None:
        return None if number is None else f"S-{self.own}-{number}"

    def limit(self, number: int) -> str:
        return f"s-{self.own}-{number}"

    def plan(self, number: int | None) -> FundingPlanId | None:
        if number is None:
            return None
        return self.plans[number] if number < len(self.plans) else FundingPlanId(uuid4())

    def plan_number(self, plan: object) -> int | None:
        known = [str(one) for one in self.plans]
        return None if plan is None else known.index(str(plan))

    def plan_code(self, number: int) -> str:
        return f"f-{self.own}-{number}"

    def confirmation(self, number: int | None) -> UUID | None:
        if number is None:
            return None
        return self.confirmations[number] if number < len(self.confirmations) else uuid4()

    def answer(self, posting: Posting) -> Answer:
        """A posting in the model's words. Where it stands is not known from it but by looking."""
        balance = posting.balance
        return Answer(
            member=self.members.index(posting.member_id),
            line=-1,
            points=posting.points,
            balance=(balance.available, balance.pending, balance.held, balance.deficit),
            late=posting.late,
            window=posting.business_date,
            recorded_at=posting.recorded_at,
            replayed=posting.replayed,
        )

    def publish(self, name: str, terms: Terms) -> None:
        self.agreements[terms.number] = self.driver.agreement(
            self.partners[name],
            valid_from=terms.valid_from,
            return_policy=terms.policy,
            grace_days=terms.grace.days,
            **asleep(terms),
        )

    def unit(self, work: Callable[[Any], Any]) -> Any:
        with self.driver.database.unit_of_work() as session:
            return work(session)


def asleep(terms: Terms) -> dict[str, Any]:
    """The rule by which points lapse, where it is not a term."""
    if terms.activity is None:
        return {}
    return {
        "expiry_rule": "inactivity",
        "expiry_months": terms.months,
        "activity": terms.activity,
        "activity_where": "at_issuer" if terms.at_issuer else "anywhere",
    }


def set_limits(driver: LedgerDriver, limits: Limits) -> None:
    """What holds in the whole programme; the model is told the same."""
    with driver.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(limits.consent))
        set_hold_limits(session, hold_time=limits.hold, longest=limits.longest_hold)
        set_voucher_limits(
            session, points=Points(limits.vouchers), good_for=limits.voucher, grace=limits.voucher_grace
        )
        set_late_days(session, days=limits.late_days)
        session.execute(text("SELECT ledger.set_transfer_limit(:points)"), {"points": limits.transfer})
        session.execute(text("SELECT ledger.set_adjustment_limit(:points)"), {"points": limits.adjustment})


def both(driver: LedgerDriver, *, members_: int = 5) -> tuple[Programme, Ledger]:
    """New members and partners, and the model of them."""
    set_limits(driver, LIMITS)
    now = driver.now
    with driver.database.reading() as session:
        window = open_window(session)
    partners = {}
    ids = {}
    agreements = {}
    for name, terms in PARTNERS.items():
        ids[name] = driver.partner(**terms)
        number = len(agreements)
        agreements[number] = driver.agreements[ids[name]]
        begun = date(2020, 1, 1)
        partners[name] = Partner(
            name,
            agreements=[
                Terms(
                    number,
                    begun,
                    terms["return_policy"],
                    timedelta(days=terms["grace_days"]),
                    terms.get("activity"),
                )
            ],
        )
    programme = Programme(
        now=now,
        window=window.business_date,
        window_opened=window.opened_at,
        limits=LIMITS,
        members=[Member(number, window.business_date) for number in range(members_)],
        partners=partners,
    )
    people = []
    with driver.database.unit_of_work() as session:
        for _ in range(members_):
            wish = members.EnrolMember(partner_id=ids["hard"], identifiers=[])
            people.append(members.enrol_member(session, wish))
    people.sort()  # what is done in the order of ids is done in the order of the model's numbers
    return programme, Ledger(driver, people, ids, agreements)
