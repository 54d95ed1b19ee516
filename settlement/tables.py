"""What a night leaves behind: the run and everything that its statements are printed from.

The application may add rows and change nothing but a run's state, so what a partner was told stays
as it was told. Names of partners are kept as they were on the night.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from coalition.db.metadata import metadata

SCHEMA = "settlement"
Timestamp = DateTime(timezone=True)
Money = Numeric(20, 4)
Price = Numeric(24, 12)
"""Twelve places, since a breakage price is a share of a price, each with six."""
FundedPoints = Numeric(38, 6)
"""Points times parts per million, exactly."""

NIL = "'00000000-0000-0000-0000-000000000000'::uuid"
KINDS = (
    "issue",
    "issue_reversal",
    "redemption_charge",
    "redemption_charge_reversal",
    "reimbursement",
    "reimbursement_reversal",
    "breakage",
    "recovery",
)
_KIND = f"kind IN ({', '.join(repr(kind) for kind in KINDS)})"

run = Table(
    "run",
    metadata,
    Column("run_id", Uuid, comment="made from business date and digest: the same inputs are the same run"),
    Column("business_date", Date, nullable=False),
    Column("digest", Text, nullable=False, comment="SHA-256 of the inputs, hexadecimal"),
    Column("state", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("opened_at", Timestamp, nullable=False, comment="the window's, as are the next three"),
    Column("closed_at", Timestamp, nullable=False),
    Column("transactions", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("gross", Money, nullable=False, comment="sum of the lines"),
    Column("net", Money, nullable=False, comment="sum of the partners' positive positions"),
    Column(
        "margin", Numeric(38, 12), nullable=False, comment="funders' f + c2 less R, of the points redeemed"
    ),
    Column("calculated_at", Timestamp, nullable=False, server_default=text("clock_timestamp()")),
    PrimaryKeyConstraint("run_id"),
    UniqueConstraint("business_date", "digest"),
    ForeignKeyConstraint(["business_date"], ["ledger.settlement_window.business_date"]),
    CheckConstraint("state IN ('calculated', 'held', 'superseded')", name="state"),
    CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
    CheckConstraint("gross >= 0 AND net >= 0 AND net <= gross", name="netting_saves"),
    Index("one_run_in_force", "business_date", unique=True, postgresql_where=text("state <> 'superseded'")),
    schema=SCHEMA,
)

position = Table(
    "position",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("party_id", Uuid, nullable=False, comment="each party that the run mentions, and the network"),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("receives", Money, nullable=False),
    Column("pays", Money, nullable=False),
    Column("net", Money, nullable=False, comment="what the network pays it; negative: what it pays"),
    PrimaryKeyConstraint("run_id", "party_id"),
    UniqueConstraint("run_id", "code"),
    ForeignKeyConstraint(["run_id"], ["settlement.run.run_id"]),
    ForeignKeyConstraint(["party_id"], ["partners.partner.partner_id"]),
    CheckConstraint("receives >= 0 AND pays >= 0 AND net = receives - pays", name="net"),
    schema=SCHEMA,
)

line = Table(
    "line",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("debtor_id", Uuid, nullable=False),
    Column("creditor_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("price", Price, nullable=False, comment="per point"),
    Column("points", FundedPoints, nullable=False, comment="the debtor's or creditor's part of them"),
    Column("amount", Money, nullable=False, comment="points times price, rounded once"),
    PrimaryKeyConstraint("run_id", "debtor_id", "creditor_id", "kind", "price"),
    ForeignKeyConstraint(
        ["run_id", "debtor_id"], ["settlement.position.run_id", "settlement.position.party_id"]
    ),
    ForeignKeyConstraint(
        ["run_id", "creditor_id"], ["settlement.position.run_id", "settlement.position.party_id"]
    ),
    CheckConstraint(_KIND, name="kind"),
    CheckConstraint("points > 0 AND price > 0 AND amount > 0", name="positive"),
    CheckConstraint(f"(debtor_id = {NIL}) <> (creditor_id = {NIL})", name="through_the_network"),
    schema=SCHEMA,
)

network_cost = Table(
    "network_cost",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("price", Price, nullable=False),
    Column("points", FundedPoints, nullable=False),
    Column("amount", Money, nullable=False, comment="charged to itself as a funder; a return is negative"),
    PrimaryKeyConstraint("run_id", "kind", "price"),
    ForeignKeyConstraint(["run_id"], ["settlement.run.run_id"]),
    CheckConstraint(_KIND, name="kind"),
    CheckConstraint("points > 0 AND price > 0 AND amount <> 0", name="something"),
    schema=SCHEMA,
)

liability = Table(
    "liability",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("issuer_id", Uuid, nullable=False, comment="of the lots"),
    Column("redeemer_id", Uuid, nullable=False, comment="where they were redeemed"),
    Column("redeemed_points", BigInteger, nullable=False),
    Column("returned_points", BigInteger, nullable=False, comment="by reversed redemptions"),
    Column("amount", Numeric(38, 12), nullable=False, comment="the redeemer's R x points, not rounded"),
    PrimaryKeyConstraint("run_id", "issuer_id", "redeemer_id"),
    ForeignKeyConstraint(
        ["run_id", "issuer_id"], ["settlement.position.run_id", "settlement.position.party_id"]
    ),
    ForeignKeyConstraint(
        ["run_id", "redeemer_id"], ["settlement.position.run_id", "settlement.position.party_id"]
    ),
    CheckConstraint("redeemed_points >= 0 AND returned_points >= 0", name="points"),
    schema=SCHEMA,
)

roll_forward = Table(
    "roll_forward",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("issuer_id", Uuid, nullable=False),
    Column("opening", BigInteger, nullable=False, comment="points outstanding, as the last run left them"),
    Column("issued", BigInteger, nullable=False),
    Column("redeemed", BigInteger, nullable=False),
    Column("returned", BigInteger, nullable=False, comment="by reversed redemptions"),
    Column("expired", BigInteger, nullable=False),
    Column("reversed", BigInteger, nullable=False, comment="by reversed issues"),
    Column("closing", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_id", "issuer_id"),
    ForeignKeyConstraint(
        ["run_id", "issuer_id"], ["settlement.position.run_id", "settlement.position.party_id"]
    ),
    CheckConstraint(
        "closing = opening + issued - redeemed + returned - expired - reversed", name="rolls_forward"
    ),
    schema=SCHEMA,
)

finding = Table(
    "finding",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("check_name", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("found_at", Timestamp, nullable=False, server_default=text("clock_timestamp()")),
    PrimaryKeyConstraint("run_id", "ordinal"),
    ForeignKeyConstraint(["run_id"], ["settlement.run.run_id"]),
    schema=SCHEMA,
)
