"""Partners, their terms and their access: reference tables, rarely written."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from coalition.db.metadata import metadata
from partners.guard_tables import limit_figure, limit_rule, limit_state, refusal, store, tally

__all__ = [
    "agreement",
    "funding_part",
    "funding_plan",
    "limit_figure",
    "limit_rule",
    "limit_state",
    "oauth_client",
    "operation",
    "partner",
    "refusal",
    "signing_key",
    "store",
    "tally",
]

SCHEMA = "partners"
Timestamp = DateTime(timezone=True)
Price = Numeric(12, 6)

partner = Table(
    "partner",
    metadata,
    Column("partner_id", Uuid, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("may_issue", Boolean, nullable=False),
    Column("may_redeem", Boolean, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    CheckConstraint("state IN ('onboarding', 'active', 'suspended', 'leaving', 'left')", name="state"),
    CheckConstraint("code ~ '^[a-z0-9][a-z0-9-]{0,62}$'", name="code"),
    schema=SCHEMA,
)

agreement = Table(
    "agreement",
    metadata,
    Column("agreement_id", Uuid, primary_key=True),
    Column("partner_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False, comment="1, 2, 3 … per partner"),
    Column("valid_from", Date, nullable=False, comment="in the programme's zone"),
    Column("service_fee", Price, nullable=False, comment="s per point issued"),
    Column("funding", Price, nullable=False, comment="f per point issued"),
    Column("redemption_charge", Price, nullable=False, comment="c2 per point redeemed, of the lot's funders"),
    Column("reimbursement", Price, nullable=False, comment="R per point redeemed here"),
    Column("own_reimbursement", Price, nullable=False, comment="R0, where the redeemer issued the lot"),
    Column("breakage_share", Numeric(7, 6), nullable=False, comment="beta"),
    Column(
        "earn_points", Numeric(12, 6), comment="points per earn_amount of money spent; NULL: none by amount"
    ),
    Column("earn_amount", Numeric(12, 4)),
    Column("earn_rounding", Text, nullable=False),
    Column("maturity_days", Integer, nullable=False, comment="the return period; 0: available at once"),
    Column(
        "expiry_rule",
        Text,
        nullable=False,
        server_default=text("'term'"),
        comment="from what the last day is counted",
    ),
    Column("expiry_months", Integer, comment="after the issue or the last activity; NULL: never, or a date"),
    Column("expiry_date", Date, comment="and the same day of each year after it"),
    Column("activity", Text, comment="what keeps points alive that lapse by inactivity"),
    Column("activity_where", Text),
    Column("grace_days", Integer, nullable=False, comment="for points that come back to an expired lot"),
    Column("return_policy", Text, nullable=False),
    Column("published_at", Timestamp, nullable=False),
    Column("published_by", Text, nullable=False, comment="the client or operator who did"),
    UniqueConstraint("partner_id", "version"),
    ForeignKeyConstraint(["partner_id"], ["partners.partner.partner_id"]),
    CheckConstraint(
        "service_fee >= 0 AND funding >= 0 AND redemption_charge >= 0"
        " AND reimbursement >= 0 AND own_reimbursement >= 0",
        name="prices",
    ),
    CheckConstraint("breakage_share BETWEEN 0 AND 1", name="breakage_share"),
    CheckConstraint(
        "(earn_points IS NULL) = (earn_amount IS NULL)"
        " AND coalesce(earn_points >= 0 AND earn_amount > 0, true)",
        name="earn",
    ),
    CheckConstraint("earn_rounding IN ('down', 'half_even', 'up')", name="earn_rounding"),
    CheckConstraint(
        "maturity_days >= 0 AND grace_days >= 0 AND coalesce(expiry_months >= 0, true)", name="terms"
    ),
    CheckConstraint(
        "expiry_rule IN"
        " ('term', 'end_of_month', 'end_of_quarter', 'end_of_year', 'fixed_date', 'inactivity')",
        name="expiry_rule",
    ),
    CheckConstraint(
        "(expiry_rule = 'fixed_date') = (expiry_date IS NOT NULL)"
        " AND (expiry_rule = 'inactivity') = (activity IS NOT NULL)"
        " AND (activity IS NULL) = (activity_where IS NULL)",
        name="expiry_parts",
    ),
    CheckConstraint(
        "activity IN ('any', 'issue', 'redeem') AND activity_where IN ('anywhere', 'at_issuer')",
        name="activity",
    ),
    CheckConstraint("return_policy IN ('pending_only', 'available', 'unlimited')", name="return_policy"),
    Index("agreements_in_force", "partner_id", "valid_from", "version"),
    schema=SCHEMA,
)

funding_plan = Table(
    "funding_plan",
    metadata,
    Column("funding_plan_id", Uuid, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("published_at", Timestamp, nullable=False),
    Column("published_by", Text, nullable=False),
    CheckConstraint("code ~ '^[a-z0-9][a-z0-9-]{0,62}$'", name="code"),
    schema=SCHEMA,
)

funding_part = Table(
    "funding_part",
    metadata,
    Column("funding_plan_id", Uuid, nullable=False),
    Column("party_id", Uuid, nullable=False, comment="a partner or the network"),
    Column("ppm", Integer, nullable=False, comment="parts per million"),
    PrimaryKeyConstraint("funding_plan_id", "party_id"),
    ForeignKeyConstraint(["funding_plan_id"], ["partners.funding_plan.funding_plan_id"]),
    ForeignKeyConstraint(["party_id"], ["partners.partner.partner_id"]),
    CheckConstraint("ppm BETWEEN 1 AND 1000000", name="ppm"),
    schema=SCHEMA,
)

oauth_client = Table(
    "oauth_client",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("partner_id", Uuid, comment="NULL: an operator's or finance's client"),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, comment="SHA-256 of a 256-bit random secret"),
    Column("created_at", Timestamp, nullable=False),
    Column("secret_rotated_at", Timestamp, nullable=False),
    Column(
        "secret_given_to",
        Text,
        comment="the client that made it or rotated its secret over the API; NULL: the command line",
    ),
    Column("revoked_at", Timestamp),
    ForeignKeyConstraint(["partner_id"], ["partners.partner.partner_id"]),
    schema=SCHEMA,
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("private_jwk", JSONB, nullable=False),
    Column("state", Text, nullable=False, comment="next → current → retired"),
    Column("created_at", Timestamp, nullable=False, server_default=text("now()")),
    Column(
        "retired_at", Timestamp, comment="tokens that it signed before then still verify until they expire"
    ),
    CheckConstraint("state IN ('next', 'current', 'retired')", name="state"),
    CheckConstraint("(state = 'retired') = (retired_at IS NOT NULL)", name="retired_when_retired"),
    Index("one_current_key", "state", unique=True, postgresql_where=text("state = 'current'")),
    schema=SCHEMA,
)

operation = Table(
    "operation",
    metadata,
    Column("caller", Text, nullable=False, comment="the client id; the scope of the key"),
    Column("key", Text, nullable=False),
    Column(
        "fingerprint",
        LargeBinary,
        comment="of what was asked; NULL: forgotten, with the index key that blinded it, or with the person",
    ),
    Column("result", JSONB, nullable=False, comment="ids of what was made; never a secret"),
    Column("created_at", Timestamp, nullable=False, server_default=text("now()")),
    Column("blinded_by", Integer, comment="which key of the blind index; NULL: it asked nothing personal"),
    PrimaryKeyConstraint("caller", "key"),
    CheckConstraint("fingerprint IS NOT NULL OR blinded_by IS NOT NULL", name="forgotten_only_if_blind"),
    Index(
        "operation_blind",
        "blinded_by",
        postgresql_where=text("blinded_by IS NOT NULL AND fingerprint IS NOT NULL"),
    ),
    Index(
        "operation_of_member",
        text("(result ->> 'member_id')"),
        postgresql_where=text("blinded_by IS NOT NULL AND fingerprint IS NOT NULL"),
    ),
    schema=SCHEMA,
)
