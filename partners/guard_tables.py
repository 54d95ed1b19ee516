"""Guard rails: partners' stores, the rules that limit postings, what they act on, and what was refused.

Reference tables as those beside them. Postings read stores, rules and figures and lock none of them; the
figures, the tally beneath them and the register are written by the kernel's doors alone.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from coalition.db.metadata import metadata

SCHEMA = "partners"
Timestamp = DateTime(timezone=True)

store = Table(
    "store",
    metadata,
    Column("partner_id", Uuid, nullable=False),
    Column("code", Text, nullable=False, comment="as receipts have it"),
    Column("name", Text, nullable=False),
    Column("since", Date, comment="its first day, in the programme's zone; NULL: it has always been there"),
    Column("closed", Date, comment="its last day; NULL: it is open"),
    Column("published_at", Timestamp, nullable=False),
    Column("published_by", Text, nullable=False),
    PrimaryKeyConstraint("partner_id", "code"),
    ForeignKeyConstraint(["partner_id"], ["partners.partner.partner_id"]),
    CheckConstraint("length(code) BETWEEN 1 AND 64", name="code"),
    CheckConstraint("closed >= since", name="days"),
    schema=SCHEMA,
)

limit_rule = Table(
    "limit_rule",
    metadata,
    Column("code", Text, nullable=False),
    Column("version", Integer, nullable=False, comment="1, 2, 3 … per code; the last one holds"),
    Column("scope", Text, nullable=False, comment="whose postings are counted together"),
    Column("posting", Text, nullable=False, comment="which postings; an authorisation is a redemption"),
    Column("measure", Text, nullable=False),
    Column("period_seconds", Integer, comment="the last so many seconds; NULL: the open window"),
    Column("most", BigInteger, comment="so many are allowed; NULL: this version ends the rule"),
    Column("action", Text, nullable=False),
    Column("partner_id", Uuid, comment="counts and judges this partner's postings only; NULL: all"),
    Column("published_at", Timestamp, nullable=False),
    Column("published_by", Text, nullable=False),
    PrimaryKeyConstraint("code", "version"),
    ForeignKeyConstraint(["partner_id"], ["partners.partner.partner_id"]),
    CheckConstraint("code ~ '^[a-z0-9][a-z0-9-]{0,62}$'", name="code"),
    CheckConstraint("scope IN ('member', 'card', 'store', 'partner')", name="scope"),
    CheckConstraint("posting IN ('issue', 'redeem', 'both', 'transfer')", name="posting"),
    CheckConstraint(
        "posting <> 'transfer' OR (scope = 'member' AND partner_id IS NULL)", name="transfers_are_the_members"
    ),
    CheckConstraint("measure IN ('count', 'points')", name="measure"),
    CheckConstraint("period_seconds BETWEEN 1 AND 31622400", name="period"),
    CheckConstraint("most >= 0", name="most"),
    CheckConstraint("action IN ('refuse', 'review')", name="action"),
    schema=SCHEMA,
)

tally = Table(
    "tally",
    metadata,
    Column("partner_id", Uuid, nullable=False),
    Column("store", Text, nullable=False, comment="empty: the posting named none"),
    Column("kind", Text, nullable=False),
    Column("business_date", Date, nullable=False),
    Column(
        "minute",
        Timestamp,
        nullable=False,
        comment="in which they were recorded; its hour, once that is long over",
    ),
    Column("postings", BigInteger, nullable=False),
    Column("points", Numeric(38, 0), nullable=False),
    PrimaryKeyConstraint("partner_id", "kind", "business_date", "minute", "store"),
    Index("tally_by_minute", "minute"),
    schema=SCHEMA,
)

limit_figure = Table(
    "limit_figure",
    metadata,
    Column("code", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("partner_id", Uuid, nullable=False),
    Column("store", Text, nullable=False, comment="empty: the partner as a whole"),
    Column("used", Numeric(38, 0), nullable=False),
    Column("peak", Numeric(38, 0), nullable=False, comment="the most that was ever used"),
    Column("peak_at", Timestamp, nullable=False, comment="when, by the programme's clock"),
    PrimaryKeyConstraint("code", "version", "partner_id", "store"),
    ForeignKeyConstraint(["code", "version"], ["partners.limit_rule.code", "partners.limit_rule.version"]),
    schema=SCHEMA,
)

limit_state = Table(
    "limit_state",
    metadata,
    Column("limit_state_id", SmallInteger, primary_key=True, autoincrement=False, comment="always 1"),
    Column("derived_at", Timestamp, nullable=False, comment="when the figures were, by the wall clock"),
    Column("as_of", Timestamp, nullable=False, comment="the same moment by the programme's clock"),
    Column("business_date", Date, nullable=False, comment="the window that was open"),
    Column("rules", BigInteger, nullable=False, comment="how many versions of rules there were"),
    Column("tallied_from", Timestamp, nullable=False, comment="the tally is whole from here on"),
    CheckConstraint("limit_state_id = 1", name="only_one"),
    schema=SCHEMA,
)

refusal = Table(
    "refusal",
    metadata,
    Column("refusal_id", BigInteger, Identity(always=True), primary_key=True),
    Column("refused_at", Timestamp, nullable=False, comment="by the programme's clock"),
    Column("code", Text, nullable=False),
    Column("facts", JSONB, nullable=False, comment="the operator's to see"),
    Column("posting", Text, nullable=False, comment="what was asked"),
    Column("partner_id", Uuid, comment="who asked; NULL: the operator, finance, or a member"),
    Column("client", Text, comment="the program that asked, or the command"),
    Column("member_id", Uuid, comment="NULL: none was found"),
    Column("points", BigInteger),
    Column("store", Text),
    Column("terminal", Text),
    Column("receipt_number", Text),
    Column("request_id", Text),
    Column(
        "unwritten",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="refusals of the same process just before that were too many to be written",
    ),
    Index("refusals_of_partner", "partner_id", "refusal_id"),
    Index("refusals_of_member", "member_id", "refusal_id", postgresql_where=text("member_id IS NOT NULL")),
    schema=SCHEMA,
)
