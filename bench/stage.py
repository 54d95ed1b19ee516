"""What is measured on: a fresh embedded database with a programme, a partner and members who have points."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from sqlalchemy import URL, text

from coalition import members
from coalition.amounts import Points
from coalition.config import Settings
from coalition.db import Database, migrating, roles
from coalition.db.embedded import EmbeddedServer
from coalition.db.owner import as_owner
from coalition.db.programs import server_programs
from coalition.ids import AgreementId, PartnerId
from coalition.programme import OpenProgramme, get_programme, open_programme
from coalition.windows import open_window
from partners.agreements import PublishAgreement, ReturnPolicy, publish_agreement
from partners.directory import CreatePartner, create_partner
from partners.earning import EarnRule
from partners.expiry import Expiry
from partners.terms import evaluate

MEMBERS = 20_000
RICH = 1_000_000_000  # what each has to spend: no redemption is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where everything that is compared runs: one server, one database, one partner."""

    settings: Settings
    database: Database
    url: URL
    """The application's role, for pgbench."""
    partner_id: PartnerId
    agreement_id: AgreementId
    expires_at: datetime
    """When points lapse by the agreement that are issued today."""


def member_id(number: int) -> UUID:
    """The id of a member by its number, as PostgreSQL's md5() makes it too."""
    return UUID(hashlib.md5(f"member {number}".encode(), usedforsecurity=False).hexdigest())


@contextmanager
def stage(*, connections: int, members: int = MEMBERS) -> Iterator[Stage]:
    """Set the stage in a temporary directory and clear it away again."""
    with tempfile.TemporaryDirectory(prefix="coalition-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user where this runs as root
        settings = Settings(data_dir=Path(folder) / "data", pool_size=connections + 2)
        server = EmbeddedServer.start(settings)
        try:
            with as_owner(settings) as owner:
                migrating.migrate(owner, to="head")
            with Database.connect(settings) as database:
                yield _set(settings, database, server.url(roles.APP_LOGIN), enrolled=members)
        finally:
            server.close()


def _set(settings: Settings, database: Database, url: URL, *, enrolled: int) -> Stage:
    with database.unit_of_work() as session:
        open_programme(
            session,
            OpenProgramme(name="Bench", mode="production", consent_limit_points=Points(1_000_000_000_000)),
        )
        partner = create_partner(
            session, CreatePartner(code="bench", name="Bench", may_issue=True, may_redeem=True)
        )
        published = publish_agreement(
            session,
            PublishAgreement(
                partner_id=partner.partner_id,
                valid_from=open_window(session).business_date,
                service_fee=Decimal("0.0025"),
                funding=Decimal("0.0095"),
                redemption_charge=Decimal(0),
                reimbursement=Decimal("0.0095"),
                own_reimbursement=Decimal("0.0095"),
                breakage_share=Decimal("0.5"),
                earn_rule=EarnRule(points=Decimal(1), amount=Decimal(1)),
                maturity_days=0,
                expiry=Expiry(expiry_months=12),
                grace_days=14,
                return_policy=ReturnPolicy.UNLIMITED,
                published_by="bench",
            ),
        )
        terms = published.agreement
        expires_at = evaluate(
            terms, points=1, amount=None, occurred_at=datetime.now(UTC), zone=get_programme(session).tz
        ).expires_at
    assert expires_at is not None, "these terms have an end"
    for first in range(1, enrolled + 1, 2_000):
        with database.unit_of_work() as session:
            session.execute(text("SET LOCAL statement_timeout = '60s'"))
            session.execute(
                text("""
                    SELECT ledger.enrol(md5('member ' || n)::uuid, :partner, '{}', '{}', '{}', clock_timestamp()),
                           ledger.post_issue(md5('member ' || n)::uuid, :partner, :agreement, NULL, :points, NULL,
                                             'first', '\\x00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, :expires_at,
                                             clock_timestamp())
                    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n
                """),
                {
                    "partner": partner.partner_id,
                    "agreement": terms.agreement_id,
                    "expires_at": expires_at,
                    "points": RICH,
                    "first": first,
                    "last": min(first + 1_999, enrolled),
                },
            )
    with as_owner(settings) as owner, owner.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
    with database.reading() as session:
        assert members.get_balance(session, members.MemberId(member_id(1))).available == RICH
    return Stage(
        settings=settings,
        database=database,
        url=url,
        partner_id=partner.partner_id,
        agreement_id=terms.agreement_id,
        expires_at=expires_at,
    )


def machine() -> str:
    """The machine and the versions, as a line of prose."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    postgres = server_programs(wanted=None, user=None).version("postgres")
    return (
        f"{os.cpu_count()} cores of {processor}, {memory} GiB, {platform.system()}; PostgreSQL {postgres} (embedded, "
        f"fsync and synchronous_commit on), Python {sys.version.split()[0]}"
    )
