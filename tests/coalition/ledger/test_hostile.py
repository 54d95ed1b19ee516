"""The doors under arguments that no honest caller sends: each fails, and nothing has moved."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from driver import LedgerDriver
from operating import Coalition

from coalition import errors, members, windows
from coalition.amounts import Points
from coalition.audit import run_audit
from coalition.clock import wall
from coalition.db import Database
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import NETWORK, FundingPlanId, MemberId, PartnerId
from coalition.ledger import TransactionRef
from coalition.ledger.posting import TermsSuperseded, call
from coalition.programme import set_consent_limit

ISSUE = (
    *("member", "partner", "agreement", "plan", "points", "amount", "key", "fingerprint"),
    *("store", "terminal", "number", "line", "revision"),
    *("occurred_at", "matures_at", "expires_at", "now"),
)


def post_issue(ledger: LedgerDriver, **arguments: Any) -> Any:
    """The kernel's function as a session of the application's role could call it."""
    partner = ledger.any_partner()
    given = {
        "partner": partner,
        "agreement": ledger.agreements[partner],
        "points": 10,
        "key": ledger.key(),
        "fingerprint": b"f",
        "now": wall(),
        **arguments,
    }
    placeholders = ", ".join(["%s"] * len(ISSUE))
    with ledger.database.single_call() as session:
        [row] = call(
            session,
            f"SELECT * FROM ledger.post_issue({placeholders})",
            [given.get(name) for name in ISSUE],
        )
    return row


def findings(ledger: LedgerDriver) -> list[Any]:
    with ledger.database.reading() as session:
        return list(run_audit(session))


@pytest.mark.parametrize(
    "hostile",
    [
        {"amount": Decimal(-5), "points": 0},
        {"amount": Decimal("NaN"), "points": 0},
        {"occurred_at": "infinity"},
        {"occurred_at": "-infinity"},
        {"matures_at": "infinity"},
        {"expires_at": "infinity"},
        {"expires_at": "-infinity"},
        {"key": None},
        {"fingerprint": None},
        {"points": None},
        {"points": -1},
        {"points": 0},
        {"points": 1_000_000_001},
        {"partner": None},
        {"agreement": None},
        {"plan": UUID(int=4711)},
        {"number": "R-1"},
        {"number": "R-1", "store": "s", "terminal": "t", "line": 1},
        {"number": "R-1", "store": "s", "terminal": "t", "line": 1, "revision": -1},
        {"number": "R-1", "store": "s", "terminal": "t", "line": -1, "revision": 0},
        {"store": "s"},
        {"now": "infinity", "member": None},
    ],
    ids=str,
)
def test_an_issue_of_nonsense_moves_nothing(ledger: LedgerDriver, hostile: dict[str, Any]) -> None:
    member = ledger.member(available=5)
    before = ledger.snapshot()
    with pytest.raises((errors.CoalitionError, psycopg.Error, TermsSuperseded)):
        post_issue(ledger, **{"member": member} | hostile)
    assert ledger.snapshot() == before


DOORS: dict[str, tuple[str, ...]] = {
    "post_redeem": (
        *("member", "partner", "agreement", "points", "key", "fingerprint"),
        *("store", "terminal", "number", "line", "revision", "occurred_at", "confirmation", "now"),
    ),
    "post_reverse": (
        *("member", "partner", "date", "transaction", "agreement", "key", "fingerprint"),
        *("occurred_at", "reason", "now"),
    ),
    "confirm_redemption": ("member", "partner", "points", "lifetime", "now"),
    "enrol": ("new", "partner", "kinds", "owners", "values", "now"),
    "link_identifier": ("member", "partner", "kind", "owner", "value", "now"),
    "set_member_blocked": ("member", "blocked", "by", "reason", "now"),
    "post_merge": ("member", "other", "key", "fingerprint", "by", "reason", "now"),
    "bring_members_up_to_date": ("members", "now"),
    "close_window": ("date", "now"),
    "seal_window": ("date",),
    "set_clock": ("to",),
    "set_consent_limit": ("limit",),
    "prepare_partitions": ("date",),
}
MAY_BE_NULL = {"occurred_at", "confirmation", "now", "reason", "kinds", "owners", "values"}


@pytest.mark.parametrize(
    ("door", "missing"),
    [
        (door, name)
        for door, names in DOORS.items()
        for name in names
        # Without a claim the terms of who reverses are not needed; and the receipt is whole or none.
        if name not in MAY_BE_NULL and (door, name) != ("post_reverse", "agreement")
    ],
)
def test_no_door_takes_null_for_what_it_needs(ledger: LedgerDriver, door: str, missing: str) -> None:
    member = ledger.member()
    issued = ledger.issue(member, 50)
    partner = ledger.any_partner()
    values: dict[str, Any] = {
        "member": member,
        "members": [member],
        "other": ledger.member(),
        "new": uuid4(),
        "partner": partner,
        "agreement": ledger.agreements[partner],
        "points": 10,
        "limit": 10,
        "key": "k",
        "fingerprint": b"f",
        "store": "s",
        "terminal": "t",
        "number": "1",
        "line": 1,
        "revision": 0,
        "date": issued.business_date,
        "transaction": issued.transaction_id,
        "lifetime": timedelta(minutes=1),
        "kind": "card",
        "owner": NETWORK,
        "value": "1234",
        "blocked": True,
        "by": "test",
        "to": ledger.now,
        "now": wall(),
    }
    values[missing] = None
    before = ledger.snapshot(), ledger.rows("SELECT count(*) FROM ledger.identifier")
    with (
        pytest.raises((errors.CoalitionError, psycopg.Error, TermsSuperseded)),
        ledger.database.single_call() as session,
    ):
        call(
            session,
            f"SELECT * FROM ledger.{door}({', '.join(['%s'] * len(DOORS[door]))})",
            [values.get(name) for name in DOORS[door]],
        )
    assert (ledger.snapshot(), ledger.rows("SELECT count(*) FROM ledger.identifier")) == before


def test_a_funding_plan_that_does_not_exist_is_refused_in_its_place(ledger: LedgerDriver) -> None:
    member = ledger.member()
    nowhere = FundingPlanId(uuid4())
    with pytest.raises(errors.FundingPlanUnknown):
        ledger.issue(member, 5, funding_plan_id=nowhere)
    ledger.issue(member, 5, key="used")
    with pytest.raises(errors.IdempotencyConflict):
        ledger.issue(member, 5, key="used", funding_plan_id=nowhere)


def test_a_claim_is_priced_by_the_claimants_own_agreement(ledger: LedgerDriver) -> None:
    mine, other = ledger.partner(), ledger.partner()
    member = ledger.member()
    issued = ledger.issue(member, 10, by=mine)
    ledger.redeem(member, 10, by=mine)
    ledger.agreements[mine] = ledger.agreements[other]
    before = ledger.snapshot()
    with pytest.raises(TermsSuperseded):
        ledger.reverse(issued.ref, by=mine)
    assert ledger.snapshot() == before


def test_a_replay_without_a_fingerprint_is_no_replay(ledger: LedgerDriver) -> None:
    member = ledger.member()
    post_issue(ledger, member=member, key="k")
    with pytest.raises(errors.IdempotencyConflict):
        post_issue(ledger, member=member, key="k", fingerprint=None)


def test_a_replay_claims_no_other_receipt(ledger: LedgerDriver) -> None:
    """Whatever the fingerprint says: a receipt that the first posting did not claim is another wish."""
    member = ledger.member()
    line = {"store": "s", "terminal": "t", "line": 1, "revision": 0}
    post_issue(ledger, member=member, key="k", number="1", **line)
    before = ledger.snapshot()
    with pytest.raises(errors.IdempotencyConflict):
        post_issue(ledger, member=member, key="k", number="2", **line)
    assert ledger.snapshot() == before


def test_a_suspended_partner_cannot_find_out_who_is_a_member(ledger: LedgerDriver) -> None:
    partner = ledger.partner()
    issued = ledger.issue(ledger.member(), 10, by=partner)
    ledger.set_state(partner, "suspended")
    nobody = TransactionRef(
        member_id=MemberId(uuid4()),
        business_date=issued.business_date,
        transaction_id=issued.transaction_id,
    )
    for ref in (issued.ref, nobody):
        with pytest.raises(errors.PartnerNotActive):
            ledger.reverse(ref, by=partner)


def test_refusals_of_a_confirmation_come_in_their_order(database: Database) -> None:
    ledger = LedgerDriver(database)
    nobody = MemberId(uuid4())
    refused = Coalition(database).refused
    ledger.any_partner()
    with refused("PROGRAMME_NOT_OPEN"):
        ledger.confirm(nobody, 0, at=PartnerId(uuid4()))
    with refused("PROGRAMME_NOT_OPEN"), database.unit_of_work() as session:
        members.link_identifier(
            session,
            members.LinkIdentifier(
                member_id=nobody,
                partner_id=PartnerId(uuid4()),
                identifier=Identifier(kind=IdentifierKind.CARD, value="1234"),
            ),
        )
    with refused("PROGRAMME_NOT_OPEN"):
        ledger.issue(nobody, 0)
    ledger.open()
    with pytest.raises(errors.PointsInvalid):
        ledger.confirm(nobody, 0, at=PartnerId(uuid4()))
    with pytest.raises(errors.MemberUnknown):
        ledger.confirm(nobody, 1, at=PartnerId(uuid4()))


@pytest.mark.parametrize("points", [-(10**30), -1, 0, 1_000_000_001, 2**63, 10**30])
def test_a_number_that_no_column_holds_is_refused_by_name(ledger: LedgerDriver, points: int) -> None:
    member = ledger.member()
    with pytest.raises(errors.PointsInvalid):
        ledger.confirm(member, points, at=ledger.any_partner())
    if points < 0 or points >= 2**63:
        with pytest.raises(errors.InvalidInput), ledger.database.unit_of_work() as session:
            set_consent_limit(session, points=Points(points))


def enrol(ledger: LedgerDriver, *identifiers: Identifier, partner_id: PartnerId | None = None) -> MemberId:
    with ledger.database.unit_of_work() as session:
        return members.enrol_member(
            session,
            members.EnrolMember(
                partner_id=ledger.any_partner() if partner_id is None else partner_id,
                identifiers=identifiers,
            ),
        )


def link(ledger: LedgerDriver, member: MemberId, identifier: Identifier, *, partner_id: PartnerId) -> None:
    with ledger.database.unit_of_work() as session:
        members.link_identifier(
            session,
            members.LinkIdentifier(member_id=member, partner_id=partner_id, identifier=identifier),
        )


def test_nobody_joins_at_a_partner_that_does_not_exist(ledger: LedgerDriver) -> None:
    with pytest.raises(errors.PartnerUnknown):
        enrol(ledger, partner_id=PartnerId(uuid4()))
    assert ledger.rows("SELECT count(*) FROM ledger.member") == [(0,)]


@pytest.mark.parametrize("state", ["onboarding", "suspended", "leaving", "left"])
def test_nobody_joins_or_becomes_known_by_more_at_a_partner_that_is_not_active(
    ledger: LedgerDriver, state: str
) -> None:
    member = ledger.member()
    partner = ledger.partner(state=state)
    card = Identifier(kind=IdentifierKind.CARD, value="1234")

    def people() -> list[tuple[object, ...]]:
        return ledger.rows(
            "SELECT (SELECT count(*) FROM ledger.member), (SELECT count(*) FROM ledger.identifier)"
        )

    before = people()
    for attempt in (
        lambda: enrol(ledger, card, partner_id=partner),
        lambda: enrol(ledger, partner_id=partner),
        lambda: link(ledger, member, card, partner_id=partner),
    ):
        with pytest.raises(errors.PartnerNotActive) as refusal:
            attempt()
        assert refusal.value.facts == {"state": state}
    with pytest.raises(errors.MemberUnknown):
        link(ledger, MemberId(uuid4()), card, partner_id=partner)
    assert people() == before

    ledger.set_state(partner, "active")
    link(ledger, member, card, partner_id=partner)


def test_a_card_belongs_to_the_network_or_two_members_could_have_it(ledger: LedgerDriver) -> None:
    mine = ledger.any_partner()
    enrol(ledger, Identifier(kind=IdentifierKind.CARD, value="1234"))
    with pytest.raises(psycopg.errors.CheckViolation):
        enrol(ledger, Identifier(kind=IdentifierKind.CARD, value="1234", partner_id=mine))
    enrol(ledger, Identifier(kind=IdentifierKind.PARTNER_REFERENCE, value="1234", partner_id=mine))


@pytest.mark.parametrize("value", ["a\x00b@example.org", "a\x07@example.org", "\ud800@example.org"])
def test_an_address_that_cannot_be_stored_is_no_address(value: str) -> None:
    with pytest.raises(errors.IdentifierInvalid):
        Identifier.of(IdentifierKind.EMAIL, value, partner_id=NETWORK)


def test_a_window_is_never_opened_without_its_partitions(ledger: LedgerDriver) -> None:
    """However far the clock was set, and however often a day was closed early."""
    ledger.pass_time(days=200)
    with ledger.database.unit_of_work() as session:
        day = windows.open_window(session).business_date
        windows.close_window(session, business_date=day, patience=timedelta(seconds=5))
    ledger.member(available=5)
    assert findings(ledger) == []


@pytest.mark.parametrize("when", ["infinity", "-infinity", "9999-12-31", "0001-01-01 BC"])
def test_partitions_of_no_month_are_not_made(ledger: LedgerDriver, when: str) -> None:
    count = "SELECT count(*) FROM pg_class WHERE relispartition"
    before = ledger.rows(count)
    with pytest.raises(errors.InvalidInput), ledger.database.single_call() as session:
        call(session, "SELECT ledger.prepare_partitions(%s::date)", (when,))
    assert ledger.rows(count) == before


@pytest.mark.parametrize("to", ["infinity", "9999-12-31", None])
def test_a_clock_does_not_stand_where_no_calendar_reaches(ledger: LedgerDriver, to: str | None) -> None:
    with Coalition(ledger.database).refused("CLOCK_REFUSED"), ledger.database.single_call() as session:
        call(session, "SELECT ledger.set_clock(%s::timestamptz)", (to,))


def test_a_reversal_pays_claims_with_what_it_gave_back_and_no_more(ledger: LedgerDriver) -> None:
    """The rest of a lot that the member had all along is not touched."""
    member = ledger.member()
    first = ledger.issue(member, 50, expires_at=ledger.now + timedelta(days=5))
    ledger.redeem(member, 50)
    ledger.issue(member, 100)
    spent = ledger.redeem(member, 30)
    owing = ledger.reverse(first.ref)
    assert (owing.balance.available, owing.balance.deficit) == (70, 50)

    returned = ledger.reverse(spent.ref)

    assert (returned.balance.available, returned.balance.deficit) == (70, 20)
    assert findings(ledger) == []


def test_points_that_come_too_late_to_be_spent_are_not_told_as_available(ledger: LedgerDriver) -> None:
    """A purchase posted after its points lapsed; points given back without any grace."""
    partner = ledger.partner(grace_days=0)
    late = ledger.member()
    posted = ledger.issue(late, 10, by=partner, expires_at=ledger.now - timedelta(days=1))
    assert posted.balance.available == ledger.balance(late).available == 0

    member = ledger.member()
    ledger.issue(member, 10, by=partner, expires_at=ledger.now + timedelta(days=5))
    spent = ledger.redeem(member, 6)
    ledger.pass_time(days=6)
    returned = ledger.reverse(spent.ref)
    assert returned.balance.available == ledger.balance(member).available == 0
    assert ledger.kinds(member)[-2:] == [("reverse_redemption", 6), ("expire", 6)]
    assert findings(ledger) == []


def test_lots_and_what_expires_leave_out_what_a_claim_will_take(ledger: LedgerDriver) -> None:
    member = ledger.member()
    first = ledger.issue(member, 50)
    ledger.redeem(member, 50)
    soon, later = ledger.now + timedelta(days=10), ledger.now + timedelta(days=20)
    matures = ledger.now + timedelta(days=1)
    ledger.issue(member, 40, matures_at=matures, expires_at=later)
    ledger.issue(member, 30, matures_at=matures, expires_at=soon)
    ledger.reverse(first.ref)
    ledger.pass_time(days=2)

    def seen() -> tuple[Any, ...]:
        with ledger.database.reading() as session:
            return (
                members.get_balance(session, member).available,
                [(lot.available, lot.expires_at) for lot in members.lots(session, member)],
                [found.available for found in members.balance_by_issuer(session, member)],
                [
                    (found.points, found.on)
                    for found in members.expiring(session, member, within=timedelta(days=30))
                ],
            )

    read = seen()
    ledger.bring_up_to_date(member)
    assert read == seen() == (20, [(20, later)], [20], [(20, later.date())])


def test_no_type_or_table_of_a_sessions_own_stands_in_for_the_kernels(ledger: LedgerDriver) -> None:
    member = ledger.member(available=50)
    with ledger.database.unit_of_work() as session:
        driver = session.connection().connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        driver.execute("CREATE TEMP TABLE member_head AS SELECT * FROM ledger.member_head")
        driver.execute("UPDATE pg_temp.member_head SET available = 1000000")
        driver.execute("CREATE TEMP TABLE lot AS SELECT * FROM ledger.lot")
        driver.execute("CREATE TEMP TABLE programme AS SELECT * FROM ledger.programme")
        driver.execute("CREATE TEMP TABLE settlement_window AS SELECT * FROM ledger.settlement_window")
        driver.execute("SET LOCAL search_path = pg_temp, ledger")
        driver.execute("SET LOCAL plpgsql.check_asserts = off")
        with pytest.raises(errors.InsufficientPoints):
            call(
                session,
                "SELECT * FROM ledger.post_redeem(%s,%s,%s,60,'k','f',null,null,null,null,null,null,null,%s)",
                (member, ledger.any_partner(), ledger.agreements[ledger.any_partner()], wall()),
            )
        session.rollback()
