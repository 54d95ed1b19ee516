"""Who may act: by its state, its role, its store and its terms; and what a partner takes without the member's word."""

from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from driver import LedgerDriver
from sqlalchemy import text

from coalition import errors
from coalition.amounts import Points
from coalition.ids import PartnerId
from coalition.ledger.posting import TermsSuperseded
from coalition.programme import set_consent_limit
from coalition.receipts import Receipt

STATES = ("onboarding", "active", "suspended", "leaving", "left")


@pytest.mark.parametrize("state", STATES)
def test_only_the_active_issue_and_who_leaves_still_redeems_and_takes_back(
    ledger: LedgerDriver, state: str
) -> None:
    shop, other = ledger.partner(), ledger.partner()
    member = ledger.member(available=100, issuer=other)
    issued, redeemed = ledger.issue(member, 10, by=shop), ledger.redeem(member, 10, by=shop)
    hold, voucher = ledger.authorize(member, 5, by=shop), ledger.voucher(member, 5, at=shop)
    ledger.set_state(shop, state)
    attempts: dict[str, Any] = {
        "issue": lambda: ledger.issue(member, 1, by=shop),
        "redeem": lambda: ledger.redeem(member, 1, by=shop),
        "authorize": lambda: ledger.authorize(member, 1, by=shop),
        "voucher": lambda: ledger.voucher(member, 1, at=shop),
        "capture": lambda: ledger.capture(hold.ref, by=shop),
        "redeem voucher": lambda: ledger.redeem_voucher(voucher.ref, by=shop),
        "reverse issue": lambda: ledger.reverse(issued.ref, 1, by=shop),
        "reverse redemption": lambda: ledger.reverse(redeemed.ref, 1, by=shop),
    }
    taken, facts = set(), []
    for name, attempt in attempts.items():
        before = ledger.snapshot()
        try:
            attempt()
            taken.add(name)
        except errors.PartnerNotActive as refusal:
            facts.append(refusal.facts)
            assert ledger.snapshot() == before
    assert taken == {"active": set(attempts), "leaving": set(attempts) - {"issue"}}.get(state, set())
    assert all(told == {"state": state} for told in facts)


@pytest.mark.parametrize(("issuer", "redeemer"), [(True, False), (False, True)])
def test_a_role_is_for_what_it_says_and_who_has_posted_may_take_back(
    ledger: LedgerDriver, issuer: bool, redeemer: bool
) -> None:
    shop = ledger.partner(issuer=issuer, redeemer=redeemer)
    member = ledger.member(available=100, issuer=ledger.partner())
    before = ledger.snapshot()
    refused = (ledger.redeem, ledger.authorize) if issuer else (ledger.issue,)
    for post in refused:
        with pytest.raises(errors.PartnerRoleMissing) as refusal:
            post(member, 1, by=shop)
        assert refusal.value.facts == {"role": "a redeemer" if issuer else "an issuer"}
    assert ledger.snapshot() == before
    posted = ledger.issue(member, 1, by=shop) if issuer else ledger.redeem(member, 1, by=shop)
    assert ledger.reverse(posted.ref, by=shop).points == 1


def _store(ledger: LedgerDriver, partner: PartnerId, code: str, **days: date | None) -> None:
    with ledger.database.unit_of_work() as session:
        session.execute(
            text(
                "INSERT INTO partners.store VALUES (:partner, :code, :code, :since, :closed, now(), 'test')"
            ),
            {"partner": partner, "code": code, "since": None, "closed": None} | days,
        )


def test_a_store_that_is_published_is_open_from_its_first_day_to_its_last(ledger: LedgerDriver) -> None:
    shop, other, member, today = ledger.partner(), ledger.partner(), ledger.member(), ledger.now.date()
    day = timedelta(days=1)
    for code, since, closed in (
        ("always", None, None),
        ("from today", today, None),
        ("until today", None, today),
        ("from tomorrow", today + day, None),
        ("until yesterday", None, today - day),
    ):
        _store(ledger, shop, code, since=since, closed=closed)
    _store(ledger, other, "elsewhere")
    taken, facts = [], []
    for code in (
        "always",
        "from today",
        "until today",
        "from tomorrow",
        "until yesterday",
        "elsewhere",
        "no",
    ):
        before = ledger.snapshot()
        try:
            ledger.issue(member, 1, by=shop, receipt=Receipt(store=code, terminal="T", number=code))
            taken.append(code)
        except errors.StoreUnknown as refusal:
            facts.append(refusal.facts)
            assert ledger.snapshot() == before
    assert taken == ["always", "from today", "until today"]
    assert facts == [
        {"store": code, "date": today.isoformat()}
        for code in ("from tomorrow", "until yesterday", "elsewhere", "no")
    ]
    ledger.issue(member, 1, by=shop)  # without a receipt it comes from no store
    third = ledger.partner()
    ledger.issue(member, 1, by=third, receipt=Receipt(store="any", terminal="T", number="1"))


def test_terms_hold_from_their_day_and_the_last_version_of_a_day_counts(ledger: LedgerDriver) -> None:
    shop, member, today = ledger.partner(), ledger.member(available=50), ledger.now.date()
    first = ledger.agreements[shop]
    ledger.agreement(shop, valid_from=today + timedelta(days=1))
    assert ledger.issue(member, 1, by=shop, agreement_id=first).points == 1
    earlier = ledger.agreement(shop, valid_from=today)
    latest = ledger.agreement(shop, valid_from=today)
    ledger.agreement(shop, valid_from=today - timedelta(days=30))  # later, and of an earlier day
    for superseded in (first, earlier):
        with pytest.raises(TermsSuperseded):
            ledger.redeem(member, 1, by=shop, agreement_id=superseded)
    assert ledger.redeem(member, 1, by=shop, agreement_id=latest).points == 1
    # What occurred before is priced by what held then.
    long_ago = ledger.now - timedelta(days=31)
    assert ledger.issue(member, 1, by=shop, agreement_id=first, occurred_at=long_ago).points == 1


def test_holds_and_what_was_captured_of_them_count_to_what_needs_no_word(ledger: LedgerDriver) -> None:
    shop, other = ledger.partner(), ledger.partner()
    member, somebody = (
        ledger.member(available=1000, issuer=other),
        ledger.member(available=1000, issuer=other),
    )
    with ledger.database.unit_of_work() as session:
        set_consent_limit(session, points=Points(100))

    def room() -> int:
        with pytest.raises(errors.ConsentRequired) as refusal:
            ledger.redeem(member, 101, by=shop)
        allowed: int = refusal.value.facts["allowed"]
        return allowed

    assert room() == 100
    ledger.redeem(somebody, 70, by=shop)
    ledger.redeem(member, 60, by=other)
    assert room() == 100
    hold = ledger.authorize(member, 40, by=shop)
    assert room() == 60
    ledger.capture(hold.ref, 15, by=shop)
    assert room() == 85
    ledger.void(ledger.authorize(member, 20, by=shop).ref, by=shop)
    assert room() == 85
    ledger.redeem(member, 80, by=shop)
    assert room() == 5
    confirmed = ledger.authorize(member, 300, by=shop, confirmation_id=ledger.confirm(member, 300, at=shop))
    assert room() == 5
    ledger.void(confirmed.ref, by=shop)
    ledger.redeem(member, 5, by=shop)
    assert room() == 0
    ledger.pass_time(days=1)
    ledger.close_window()
    assert room() == 100


def test_a_word_is_good_until_its_time_and_for_its_member(ledger: LedgerDriver) -> None:
    shop, member, other = ledger.any_partner(), ledger.member(available=10), ledger.member(available=10)
    first, second, _unused = (ledger.confirm(member, 5, at=shop) for _ in range(3))
    with pytest.raises(errors.ConfirmationInvalid):
        ledger.redeem(other, 5, confirmation_id=first)
    ledger.pass_time(microseconds=599_999_999)
    assert ledger.redeem(member, 5, confirmation_id=first).points == 5
    assert ledger.rows("SELECT count(*) FROM ledger.confirmation WHERE used_by IS NOT NULL") == [(1,)]
    ledger.pass_time(microseconds=1)
    with pytest.raises(errors.ConfirmationInvalid):
        ledger.redeem(member, 5, confirmation_id=second)


def test_each_key_gets_its_own_answer_again(ledger: LedgerDriver) -> None:
    member, other = ledger.member(), ledger.member()

    def post() -> list[Any]:
        return [
            ledger.issue(member, 10, key="a"),
            ledger.issue(other, 20, key="a"),
            ledger.issue(member, 30, key="b"),
            ledger.redeem(member, 5, key="c"),
            ledger.issue(other, 40, key="b"),
        ]

    first = post()
    ledger.pass_time(days=1)
    ledger.close_window()
    ledger.issue(member, 50, key="d")
    before = ledger.snapshot()
    again = post()
    assert ledger.snapshot() == before
    assert all(not posting.replayed for posting in first)
    assert all(posting.replayed for posting in again)
    for one, two in zip(first, again, strict=True):
        assert (one.ref, one.points, one.recorded_at, one.late, one.balance) == (
            two.ref,
            two.points,
            two.recorded_at,
            two.late,
            two.balance,
        )


def test_a_partner_that_does_not_exist_does_nothing(ledger: LedgerDriver) -> None:
    member, nobody = ledger.member(available=10), PartnerId(uuid4())
    before = ledger.snapshot()
    for post in (ledger.issue, ledger.redeem, ledger.authorize):
        with pytest.raises(errors.PartnerUnknown):
            post(member, 1, by=nobody, agreement_id=ledger.agreements[ledger.any_partner()])
    assert ledger.snapshot() == before


def test_keys_of_the_merged_are_its_own_and_a_strangers_are_nobodys(ledger: LedgerDriver) -> None:
    survivor, merged, stranger = ledger.member(), ledger.member(), ledger.member()
    same: dict[str, object] = {"points": 10}
    theirs = ledger.issue(merged, 10, key="both", request=same)
    own = ledger.issue(survivor, 10, key="both", request=same)
    ledger.issue(stranger, 10, key="stranger's", request=same)
    ledger.merge(survivor, merged)
    again = ledger.issue(survivor, 10, key="both", request=same)
    assert (again.replayed, again.ref) == (True, own.ref)
    assert again.ref != theirs.ref
    assert not ledger.issue(survivor, 10, key="stranger's", request=same).replayed
