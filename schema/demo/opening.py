"""The programme's opening: by the operator, through the API, as it would be anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

from coalition.amounts import Points
from coalition.db import Database
from coalition.programme import OpenProgramme, open_programme
from partners.clients import CreateClient, create_client
from partners.scopes import PARTNER_SCOPES, Scope
from schema.demo import documents
from schema.demo.api import Caller, must
from schema.demo.cast import (
    CURRENCY,
    PARTNERS,
    WELCOME_ISSUER,
    WELCOME_PLAN,
    WELCOME_POINTS,
    Terms,
)
from schema.demo.http import Connection
from schema.demo.purchases import ZONE
from schema.demo.together import Progress, together

OPENED: Final = datetime(2016, 12, 15, 9, 0, tzinfo=ZONE).astimezone(UTC)
OPENING_DAY: Final = date(2016, 12, 15)
"""Two weeks before the first basket: agreements are published, households enrol."""
CONSENT_LIMIT: Final = 400
_ENROLLED_BY: Final = "hearth"


def open_demo(database: Database) -> Caller:
    """Open the programme, and let the operator in; returns the operator."""
    with database.unit_of_work() as session:
        open_programme(
            session,
            OpenProgramme(
                name="Complete Journey",
                mode="demo",
                zone=ZONE.key,
                currency=CURRENCY,
                consent_limit_points=Points(CONSENT_LIMIT),
                starts_at=OPENED,
            ),
        )
        made = create_client(session, CreateClient(name="Operator", scopes=[Scope.PROGRAMME_ADMIN]))
    return Caller(client_id=made.client.client_id, secret=made.secret)


async def admit_partners(connection: Connection, operator: Caller) -> dict[str, Caller]:
    """Create the partners with their terms and the welcome plan; returns each partner's own client."""
    callers = {}
    for terms in PARTNERS:
        await must(
            connection,
            operator,
            documents.CREATE_PARTNER,
            {"input": {"idempotencyKey": f"partner-{terms.code}", "code": terms.code, "name": terms.name}},
        )
        await must(connection, operator, documents.PUBLISH_AGREEMENT, {"input": _agreement(terms)})
        payload = await must(
            connection,
            operator,
            documents.CREATE_CLIENT,
            {
                "input": {
                    "idempotencyKey": f"client-{terms.code}",
                    "name": f"{terms.name}, tills",
                    "partner": terms.code,
                    "scopes": sorted(PARTNER_SCOPES),
                }
            },
        )
        callers[terms.code] = Caller(client_id=payload["client"]["clientId"], secret=payload["clientSecret"])
    await must(
        connection,
        operator,
        documents.PUBLISH_FUNDING_PLAN,
        {
            "input": {
                "idempotencyKey": f"plan-{WELCOME_PLAN}",
                "code": WELCOME_PLAN,
                "name": "Welcome points, half at the network's cost",
                "parts": [{"partner": WELCOME_ISSUER, "ppm": 500_000}, {"partner": None, "ppm": 500_000}],
            }
        },
    )
    return callers


async def enrol(
    connections: list[Connection], callers: dict[str, Caller], households: Iterable[int], progress: Progress
) -> dict[int, str]:
    """Enrol each household by its card and give it the welcome points; returns the members' global ids."""
    members: dict[int, str] = {}

    async def one(connection: Connection, household: int) -> None:
        payload = await must(
            connection,
            callers[_ENROLLED_BY],
            documents.ENROLL,
            {
                "input": {
                    "idempotencyKey": f"enrol-{household}",
                    "identifiers": [{"kind": "CARD", "value": card(household)}],
                }
            },
        )
        members[household] = payload["member"]["id"]
        await must(
            connection,
            callers[WELCOME_ISSUER],
            documents.ISSUE,
            {
                "input": {
                    "idempotencyKey": "welcome",
                    "member": {"id": members[household]},
                    "points": str(WELCOME_POINTS),
                    "fundingPlan": WELCOME_PLAN,
                }
            },
        )
        progress(1)

    await together(connections, households, one)
    return members


def card(household: int) -> str:
    """The number on a household's card."""
    return f"6280{household:012d}"


def _agreement(terms: Terms) -> dict[str, object]:
    return {
        "idempotencyKey": f"agreement-{terms.code}",
        "partner": terms.code,
        "validFrom": OPENING_DAY.isoformat(),
        "serviceFee": str(terms.service_fee),
        "funding": str(terms.funding),
        "redemptionCharge": str(terms.redemption_charge),
        "reimbursement": str(terms.reimbursement),
        "ownReimbursement": str(terms.own_reimbursement),
        "breakageShare": str(terms.breakage_share),
        "earnRule": {"points": str(terms.earns), "amount": "1", "rounding": "DOWN"},
        "maturityDays": terms.maturity_days,
        "expiryMonths": terms.expiry_months,
        "returnPolicy": terms.return_policy.upper(),
    }
