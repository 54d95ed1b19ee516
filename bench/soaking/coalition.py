"""A small coalition to be soaked: three partners of different terms, members, and everybody's tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from coalition import members
from coalition.amounts import Points
from coalition.db import Database, migrating
from coalition.db.owner import as_owner
from coalition.identifiers import Identifier, IdentifierKind
from coalition.programme import OpenProgramme, open_programme, set_transfer_limit
from coalition.windows import open_window
from partners.agreements import PublishAgreement, ReturnPolicy, publish_agreement
from partners.clients import CreateClient, create_client
from partners.directory import CreatePartner, create_partner
from partners.earning import EarnRule
from partners.expiry import Expiry
from partners.keys import LONGEST_TOKEN_LIFE
from partners.limits import (
    LimitAction,
    LimitMeasure,
    LimitPosting,
    LimitScope,
    PublishLimit,
    publish_limit,
)
from partners.scopes import PARTNER_SCOPES, Scope
from partners.tokens import Tokens
from schema.ids import to_global

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coalition.config import Settings
    from coalition.ids import PartnerId

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
MEMBERS = 24
TERMS: dict[str, dict[str, Any]] = {
    # Points that pend, that lapse within a few of the soak's days, and each policy of returns.
    "grocer": {
        "return_policy": ReturnPolicy.UNLIMITED,
        "maturity_days": 0,
        "expiry": Expiry(expiry_months=2),
        "grace_days": 5,
    },
    "baker": {
        "return_policy": ReturnPolicy.AVAILABLE,
        "maturity_days": 3,
        "expiry": Expiry(expiry_months=1),
        "grace_days": 0,
    },
    "florist": {
        "return_policy": ReturnPolicy.PENDING_ONLY,
        "maturity_days": 9,
        "expiry": Expiry(expiry_months=12),
        "grace_days": 14,
    },
}


# What the florist issues to one member in an hour, beyond that an operator looks first.
WATCHED = PublishLimit(
    code="watched",
    scope=LimitScope.MEMBER,
    posting=LimitPosting.ISSUE,
    measure=LimitMeasure.POINTS,
    period=timedelta(hours=1),
    most=60,
    action=LimitAction.REVIEW,
    published_by="soak",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalition:
    """Whom there is, by global ids, and what opens the API to them."""

    clients: Mapping[str, tuple[str, str]]
    """Each partner's client id and secret by its code, and the operator's under `operator`."""
    members: Mapping[str, str]
    """Each member's own token, by the member's id."""
    cards: tuple[str, ...]
    """The number of each member's card."""


def set_up(settings: Settings) -> Coalition:
    """A new database in the settings' folder, with all of them in it."""
    with as_owner(settings) as owner:
        migrating.migrate(owner, to="head")
    with Database.connect(settings) as database:
        with database.unit_of_work() as session:
            open_programme(
                session,
                OpenProgramme(
                    name="Soak", mode="sandbox", consent_limit_points=Points(10**9), starts_at=START
                ),
            )
            set_transfer_limit(session, points=Points(10**9))
        partners = {code: _partner(database, code, terms) for code, terms in TERMS.items()}
        with database.unit_of_work() as session:
            publish_limit(session, replace(WATCHED, partner_id=partners["florist"]))
        clients = {code: _client(database, partner) for code, partner in partners.items()}
        clients["operator"] = _client(database, None)
        tokens = Tokens(database, issuer=settings.issuer_url, audience=settings.audience)
        people = {}
        cards = tuple(f"SOAK{number:04}" for number in range(MEMBERS))
        for card in cards:
            with database.unit_of_work() as session:
                member = members.enrol_member(
                    session,
                    members.EnrolMember(
                        partner_id=partners["grocer"],
                        identifiers=[Identifier(kind=IdentifierKind.CARD, value=card)],
                    ),
                )
            token = tokens.mint_member_token(member, life=LONGEST_TOKEN_LIFE)
            people[str(to_global("Member", member))] = token
    return Coalition(clients=clients, members=people, cards=cards)


def _partner(database: Database, code: str, terms: Mapping[str, Any]) -> PartnerId:
    with database.unit_of_work() as session:
        partner = create_partner(session, CreatePartner(code=code, name=code.title()))
        publish_agreement(
            session,
            PublishAgreement(
                partner_id=partner.partner_id,
                valid_from=open_window(session).business_date,
                service_fee=Decimal("0.0025"),
                funding=Decimal("0.0095"),
                redemption_charge=Decimal("0.0010"),
                reimbursement=Decimal("0.0095"),
                own_reimbursement=Decimal("0.0090"),
                breakage_share=Decimal("0.5"),
                earn_rule=EarnRule(points=Decimal(1), amount=Decimal(1)),
                published_by="soak",
                **terms,
            ),
        )
    return partner.partner_id


def _client(database: Database, partner: PartnerId | None) -> tuple[str, str]:
    scopes = frozenset({Scope.PROGRAMME_ADMIN}) if partner is None else PARTNER_SCOPES
    with database.unit_of_work() as session:
        made = create_client(session, CreateClient(name="soak", partner_id=partner, scopes=scopes))
    return made.client.client_id, made.secret
