"""The ledger's tables. Only the kernel's functions write them; everyone else reads.

What keeps them fit for a sharded PostgreSQL: every table of a member has `member_id` first in its
keys, nothing has a trigger, and no foreign key leads from the posting path to a row that members
share (its FOR KEY SHARE lock would make every till queue at the partner's row).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from coalition.db.metadata import metadata
from coalition.ids import NETWORK
from coalition.ledger.kernel import FUNCTIONS_FOR_THE_APPLICATION

SCHEMA = "ledger"
# Beside the tables, so that a database that lacks one is told apart (coalition.db.needs).
metadata.info["functions"] = [f"{SCHEMA}.{name}" for name in FUNCTIONS_FOR_THE_APPLICATION]
Timestamp = DateTime(timezone=True)

BUCKETS = (
    "pending",
    "available",
    "held",
    "issued",
    "received",
    "burned",
    "expired",
    "reversed",
    "transferred",
)
REVIEW_STATES = ("waiting", "released", "rejected", "posted")
HOLD_STATES = ("open", "captured", "voided", "lapsed")
KINDS = (
    "issue",
    "redeem",
    "authorize",
    "capture",
    "void",
    "lapse",
    "reverse_issue",
    "reverse_redemption",
    "mature",
    "expire",
    "recovery",
    "transfer_out",
    "transfer_in",
    "merge_out",
    "merge_in",
    "unmerge_out",
    "unmerge_in",
    "adjust_in",
    "adjust_out",
    "pool_out",
    "pool_in",
    "unpool_out",
    "unpool_in",
)
ADJUSTMENT_REASONS = ("goodwill", "service_failure", "correction", "fraud", "migration")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


programme = Table(
    "programme",
    metadata,
    Column("programme_id", SmallInteger, primary_key=True, autoincrement=False, comment="always 1"),
    Column("name", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("zone", Text, nullable=False, comment="IANA name; business dates are in this zone"),
    Column("currency", Text, nullable=False, comment="ISO 4217; the programme settles in it"),
    Column("consent_limit_points", BigInteger, nullable=False),
    Column(
        "hold_seconds",
        Integer,
        nullable=False,
        server_default=text("900"),
        comment="how long a hold lasts where the partner names no time",
    ),
    Column(
        "longest_hold_seconds",
        Integer,
        nullable=False,
        server_default=text("604800"),
        comment="how long a partner may ask for",
    ),
    Column(
        "late_days",
        SmallInteger,
        nullable=False,
        server_default=text("90"),
        comment="a transaction that occurred longer ago is not taken",
    ),
    Column(
        "transfer_limit_points",
        BigInteger,
        nullable=False,
        server_default=text("10000"),
        comment="what a member may give to others in one window",
    ),
    Column(
        "adjustment_limit_points",
        BigInteger,
        nullable=False,
        server_default=text("1000"),
        comment="what one operator may adjust without a second person",
    ),
    Column(
        "voucher_limit_points",
        BigInteger,
        nullable=False,
        server_default=text("10000"),
        comment="what a member may have in vouchers at a time",
    ),
    Column(
        "voucher_seconds",
        Integer,
        nullable=False,
        server_default=text("900"),
        comment="for how long a voucher is good where the member names no time; an hour at most",
    ),
    Column(
        "voucher_grace_seconds",
        Integer,
        nullable=False,
        server_default=text("86400"),
        comment="how long after that it is taken from a till that was offline",
    ),
    Column("clock_at", Timestamp, comment="NULL: the wall clock; else the time at which the clock stands"),
    CheckConstraint("programme_id = 1", name="only_one"),
    CheckConstraint(_one_of("mode", ("production", "sandbox", "demo")), name="mode"),
    CheckConstraint("clock_at IS NULL OR mode <> 'production'", name="production_has_the_wall_clock"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
    CheckConstraint("consent_limit_points >= 0", name="consent_limit"),
    CheckConstraint("hold_seconds BETWEEN 1 AND longest_hold_seconds", name="hold_time"),
    CheckConstraint("longest_hold_seconds <= 31536000", name="longest_hold"),
    CheckConstraint("late_days BETWEEN 0 AND 3660", name="late_days"),
    CheckConstraint("transfer_limit_points >= 0", name="transfer_limit"),
    CheckConstraint("adjustment_limit_points >= 0", name="adjustment_limit"),
    CheckConstraint("voucher_limit_points >= 0", name="voucher_limit"),
    CheckConstraint("voucher_seconds BETWEEN 1 AND 3600", name="voucher_time"),
    CheckConstraint("voucher_grace_seconds BETWEEN 0 AND 2592000", name="voucher_grace"),
    schema=SCHEMA,
)

settlement_window = Table(
    "settlement_window",
    metadata,
    Column("business_date", Date, primary_key=True),
    Column("state", Text, nullable=False),
    Column("opened_at", Timestamp, nullable=False),
    Column("closed_at", Timestamp),
    Column("sealed_at", Timestamp, comment="when its control totals were stored"),
    Column("transactions", BigInteger, comment="control total: how many, set when sealed"),
    Column("entries", BigInteger, comment="control total: how many, set when sealed"),
    Column(
        "merkle_root", LargeBinary, comment="of its transactions by member and sequence (RFC 9162, 2.1.1)"
    ),
    CheckConstraint(_one_of("state", ("open", "closed", "sealed")), name="state"),
    CheckConstraint("(state = 'open') = (closed_at IS NULL)", name="closed_when_closed"),
    CheckConstraint("(state = 'sealed') = (sealed_at IS NOT NULL)", name="sealed_when_sealed"),
    CheckConstraint(
        "(state = 'sealed') = (transactions IS NOT NULL AND entries IS NOT NULL)", name="totals_when_sealed"
    ),
    CheckConstraint("(state = 'sealed') = (merkle_root IS NOT NULL)", name="root_when_sealed"),
    Index("one_open_window", text("(state = 'open')"), unique=True, postgresql_where=text("state = 'open'")),
    schema=SCHEMA,
)

window_total = Table(
    "window_total",
    metadata,
    Column("business_date", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("points", Numeric(38, 0), nullable=False, comment="sum of the signed points"),
    PrimaryKeyConstraint("business_date", "kind", "bucket"),
    ForeignKeyConstraint(["business_date"], ["ledger.settlement_window.business_date"]),
    schema=SCHEMA,
)

window_node = Table(
    "window_node",
    metadata,
    Column("business_date", Date, nullable=False),
    Column("position", BigInteger, nullable=False, comment="0, 1, 2 … of the whole subtrees, left to right"),
    Column("first_member_id", Uuid, nullable=False, comment="with first_sequence: its first transaction"),
    Column("first_sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="the root of the subtree of 1,024 transactions"),
    PrimaryKeyConstraint("business_date", "position"),
    ForeignKeyConstraint(["business_date"], ["ledger.settlement_window.business_date"]),
    schema=SCHEMA,
)

member = Table(
    "member",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("enrolled_at", Timestamp, nullable=False),
    Column("enrolled_by", Uuid, nullable=False, comment="the partner at which the member joined"),
    schema=SCHEMA,
)

identifier = Table(
    "identifier",
    metadata,
    Column("kind", Text, nullable=False),
    Column(
        "partner_id",
        Uuid,
        nullable=False,
        comment="whose reference it is; the network's id for the other kinds",
    ),
    Column("value", Text, nullable=False, comment="a card's number; of the other kinds a blind index"),
    Column(
        "identifier_id",
        Uuid,
        nullable=False,
        comment="what a transaction names it by",
    ),
    Column("member_id", Uuid, nullable=False),
    Column("linked_at", Timestamp, nullable=False),
    Column("linked_by", Uuid, nullable=False),
    Column("unlinked_at", Timestamp, comment="NULL: it is in use, or was blocked or replaced"),
    Column("indexed_by", Integer, comment="which key of the blind index; NULL for a card"),
    PrimaryKeyConstraint("kind", "partner_id", "value", "identifier_id"),
    CheckConstraint(_one_of("kind", ("card", "phone", "email", "partner_reference")), name="kind"),
    CheckConstraint("kind = 'card' OR value ~ '^[0-9a-f]{64}$'", name="is_blind"),
    CheckConstraint("(kind = 'card') = (indexed_by IS NULL)", name="index_is_known"),
    CheckConstraint(f"kind = 'partner_reference' OR partner_id = '{NETWORK}'", name="owner"),
    Index("identifier_of_member", "member_id"),
    Index(
        "identifier_in_use",
        "kind",
        "partner_id",
        "value",
        unique=True,
        postgresql_where=text("unlinked_at IS NULL"),
    ),
    schema=SCHEMA,
)

identifier_change = Table(
    "identifier_change",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("identifier_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False, comment="1: it was linked; 2, 3 … of what became of it"),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, comment="how it stands from then on"),
    Column("changed_at", Timestamp, nullable=False),
    Column("party_id", Uuid, comment="the network, or a partner; NULL: the member"),
    Column("changed_by", Text, comment="who it was; NULL for a link"),
    Column("reason", Text, comment="what stands for words, as in transaction"),
    Column("replaced_by", Uuid, comment="the identifier_id of the new card"),
    PrimaryKeyConstraint("member_id", "identifier_id", "number"),
    CheckConstraint(_one_of("state", ("active", "blocked", "replaced", "unlinked")), name="state"),
    CheckConstraint("number > 0", name="number"),
    CheckConstraint("number = 1 OR changed_by IS NOT NULL", name="who"),
    CheckConstraint("(state = 'replaced') = (replaced_by IS NOT NULL)", name="replacement"),
    CheckConstraint("reason ~ '^[0-9a-f]{64}$'", name="reason_is_no_words"),
    schema=SCHEMA,
)

member_block = Table(
    "member_block",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False, comment="1, 2, 3 …: the last says how the member stands"),
    Column("blocked", Boolean, nullable=False, comment="from then on"),
    Column("changed_at", Timestamp, nullable=False),
    Column("changed_by", Text, nullable=False, comment="who it was, of the operator's"),
    Column("reason", Text, comment="what stands for words, as in transaction"),
    PrimaryKeyConstraint("member_id", "number"),
    # The first is a block, and each undoes the one before.
    CheckConstraint("number > 0 AND blocked = (number % 2 = 1)", name="turns"),
    CheckConstraint("reason ~ '^[0-9a-f]{64}$'", name="reason_is_no_words"),
    schema=SCHEMA,
)

# Beside the journal, which forgets nothing: the name is a person's.
operator_act = Table(
    "operator_act",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("business_date", Date, nullable=False, comment="with transaction_id: what was done"),
    Column("transaction_id", Uuid, nullable=False),
    Column("acted_by", Text, nullable=False, comment="who it was, of the operator's"),
    PrimaryKeyConstraint("member_id", "business_date", "transaction_id"),
    schema=SCHEMA,
)

member_head = Table(
    "member_head",
    metadata,
    Column("member_id", Uuid, primary_key=True),
    Column("available", BigInteger, nullable=False, server_default=text("0")),
    Column("pending", BigInteger, nullable=False, server_default=text("0")),
    Column("held", BigInteger, nullable=False, server_default=text("0")),
    Column("deficit", BigInteger, nullable=False, server_default=text("0")),
    Column("blocked", Boolean, nullable=False, server_default=text("false")),
    Column("merged_into", Uuid, comment="the member who has this one's points now; NULL: nobody"),
    Column("pool_id", Uuid, comment="the pool that the member is in; NULL: none"),
    Column(
        "extends",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="has had lots that lapse by inactivity: an activity may extend them",
    ),
    Column("last_sequence", BigInteger, nullable=False, server_default=text("0")),
    Column("last_recorded_at", Timestamp),
    Column(
        "digest",
        LargeBinary,
        nullable=False,
        server_default=text("decode(repeat('00', 32), 'hex')"),
        comment="of the member's last transaction: the end of the chain",
    ),
    Column(
        "next_due_at",
        Timestamp,
        comment="no maturity, lapse or expiry falls due before it; may be early, never late",
    ),
    Column("erased_at", Timestamp, comment="when the person was; nothing is posted after it"),
    CheckConstraint("available >= 0 AND pending >= 0 AND held >= 0 AND deficit >= 0", name="never_negative"),
    ForeignKeyConstraint(["member_id"], ["ledger.member.member_id"]),
    CheckConstraint("merged_into <> member_id", name="merged_into_another"),
    CheckConstraint("merged_into IS NULL OR pool_id IS NULL", name="merged_are_in_no_pool"),
    Index("members_due", "next_due_at", "member_id", postgresql_where=text("next_due_at IS NOT NULL")),
    Index("members_merged", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    schema=SCHEMA,
    # Heads are updated by every posting: room on the page lets the update stay there (HOT).
    postgresql_with={"fillfactor": "70"},
)

lot = Table(
    "lot",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("lot_id", Uuid, nullable=False),
    Column("issuer_id", Uuid, nullable=False),
    Column("agreement_id", Uuid, nullable=False, comment="the issuer's, whose prices are the lot's for good"),
    Column("funding_plan_id", Uuid, comment="NULL: the issuer alone funds it"),
    Column("business_date", Date, nullable=False, comment="with transaction_id: what made it here"),
    Column("transaction_id", Uuid, nullable=False),
    Column("issued_at", Timestamp, nullable=False, comment="when its points came into being, at whomever"),
    Column(
        "sequence", BigInteger, nullable=False, comment="of what made it in the member's journal: its age"
    ),
    Column(
        "ordinal",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="among the lots that came at once, as the giver would have spent them",
    ),
    Column("from_member_id", Uuid, comment="with from_lot_id: the lot that its points came from"),
    Column("from_lot_id", Uuid, comment="NULL: they were issued to this member"),
    Column("matures_at", Timestamp, comment="NULL: matured when issued"),
    Column("expires_at", Timestamp, comment="NULL: never"),
    Column(
        "first_expires_at",
        Timestamp,
        comment="as it came, for good; what the member does and grace periods move expires_at to later",
    ),
    Column(
        "points", BigInteger, nullable=False, comment="as issued; the rest of the row says where they are"
    ),
    Column("pending", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False, server_default=text("0")),
    Column(
        "recalled",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="of those held: their issue was reversed, and they leave when the hold ends",
    ),
    Column("burned", BigInteger, nullable=False, server_default=text("0")),
    Column("expired", BigInteger, nullable=False, server_default=text("0")),
    Column("reversed", BigInteger, nullable=False, server_default=text("0")),
    Column("transferred", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("member_id", "lot_id"),
    CheckConstraint(
        "pending + available + held + burned + expired + reversed + transferred = points", name="conserved"
    ),
    CheckConstraint(
        "points > 0 AND pending >= 0 AND available >= 0 AND held >= 0"
        " AND burned >= 0 AND expired >= 0 AND reversed >= 0 AND transferred >= 0",
        name="never_negative",
    ),
    CheckConstraint("recalled BETWEEN 0 AND held", name="recalled_are_held"),
    CheckConstraint("(from_member_id IS NULL) = (from_lot_id IS NULL)", name="origin_is_whole"),
    CheckConstraint("pending = 0 OR matures_at IS NOT NULL", name="pending_matures"),
    CheckConstraint(
        "matures_at IS NULL OR expires_at IS NULL OR matures_at < expires_at", name="matures_first"
    ),
    CheckConstraint("isfinite(matures_at) AND isfinite(expires_at)", name="finite"),
    CheckConstraint(
        "(expires_at IS NULL) = (first_expires_at IS NULL) AND expires_at >= first_expires_at",
        name="never_sooner",
    ),
    Index(
        "lots_to_spend",
        "member_id",
        "expires_at",
        "sequence",
        "ordinal",
        postgresql_where=text("available > 0"),
    ),
    Index("lots_from", "from_member_id", "from_lot_id", postgresql_where=text("from_member_id IS NOT NULL")),
    Index("lots_to_mature", "member_id", "matures_at", postgresql_where=text("pending > 0")),
    schema=SCHEMA,
)

transaction = Table(
    "transaction",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("business_date", Date, nullable=False, comment="the window in which it was recorded"),
    Column("transaction_id", Uuid, nullable=False),
    Column("sequence", BigInteger, nullable=False, comment="1, 2, 3 … per member"),
    Column("kind", Text, nullable=False),
    Column("partner_id", Uuid, nullable=False, comment="who acted; the network for maturity and expiry"),
    Column("agreement_id", Uuid, comment="whose R counts, for a redemption and its reversal"),
    Column("points", BigInteger, nullable=False, comment="how many it moved, unsigned"),
    Column(
        "amount", Numeric(18, 4), comment="the money spent, or that the points stand for, or that goes back"
    ),
    Column("store", Text),
    Column("terminal", Text),
    Column("receipt_number", Text),
    Column("receipt_line", Integer),
    Column("receipt_revision", Integer),
    Column("card_id", Uuid, comment="the identifier_id of the card that the member was named by"),
    Column("occurred_at", Timestamp, nullable=False),
    Column("recorded_at", Timestamp, nullable=False),
    Column("inserted_at", Timestamp, nullable=False, server_default=text("clock_timestamp()")),
    Column("late", Boolean, nullable=False, comment="it occurred before its window opened"),
    Column("reverses_date", Date),
    Column("reverses_id", Uuid),
    Column(
        "undone_points",
        BigInteger,
        comment="how many points of what it reverses it takes back, still there or not",
    ),
    Column("hold_date", Date),
    Column(
        "hold_id", Uuid, comment="with hold_date: the authorisation that it captures, voids or lets lapse"
    ),
    Column("other_member_id", Uuid, comment="the other side of a transfer or a merge"),
    Column("other_id", Uuid, comment="with other_member_id: its transaction there, in the same window"),
    Column("confirmation_id", Uuid, comment="the member's own consent to a redemption"),
    Column("idempotency_key", Text),
    Column(
        "reason",
        Text,
        comment="an adjustment's code; else what stands for words that people.sealed has, as reason:",
    ),
    Column("digest", LargeBinary, nullable=False, comment="chains it to the member's transaction before it"),
    Column("available_after", BigInteger, nullable=False),
    Column("pending_after", BigInteger, nullable=False),
    Column("held_after", BigInteger, nullable=False),
    Column("deficit_after", BigInteger, nullable=False),
    PrimaryKeyConstraint("member_id", "business_date", "transaction_id"),
    UniqueConstraint("member_id", "business_date", "sequence"),
    CheckConstraint(_one_of("kind", KINDS), name="kind"),
    CheckConstraint("points >= 0", name="unsigned"),
    CheckConstraint("(reverses_id IS NULL) = (kind NOT LIKE 'reverse%')", name="reversal_names_what"),
    CheckConstraint("(reverses_id IS NULL) = (reverses_date IS NULL)", name="reference_is_whole"),
    CheckConstraint("(undone_points IS NULL) = (reverses_id IS NULL)", name="reversal_says_how_much"),
    CheckConstraint("undone_points >= 0", name="undone"),
    CheckConstraint("(hold_id IS NULL) = (kind NOT IN ('capture', 'void', 'lapse'))", name="hold_is_named"),
    CheckConstraint("(hold_id IS NULL) = (hold_date IS NULL)", name="hold_reference_is_whole"),
    CheckConstraint(
        "(other_id IS NULL) = (kind NOT IN ('transfer_out', 'transfer_in', 'merge_out', 'merge_in',"
        " 'unmerge_out', 'unmerge_in', 'pool_out', 'pool_in', 'unpool_out', 'unpool_in'))",
        name="other_side_is_named",
    ),
    CheckConstraint("(other_id IS NULL) = (other_member_id IS NULL)", name="other_side_is_whole"),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    CheckConstraint("amount >= 0 AND amount <> 'NaN'", name="amount"),
    CheckConstraint("isfinite(occurred_at)", name="finite"),
    # Nothing of the journal is ever taken out, so nothing that tells of a person gets in.
    CheckConstraint(
        "kind IN ('adjust_in', 'adjust_out') OR reason ~ '^[0-9a-f]{64}$'", name="reason_is_no_words"
    ),
    CheckConstraint(
        "num_nulls(store, terminal, receipt_number, receipt_line, receipt_revision) IN (0, 5)",
        name="receipt_is_whole",
    ),
    Index("transactions_of_partner", "partner_id", "recorded_at", "transaction_id"),
    Index("reversals", "member_id", "reverses_id", postgresql_where=text("reverses_id IS NOT NULL")),
    Index("transactions_by_date", "business_date", postgresql_using="brin"),
    schema=SCHEMA,
    postgresql_partition_by="RANGE (business_date)",
)

entry = Table(
    "entry",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("business_date", Date, nullable=False),
    Column("transaction_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("points", BigInteger, nullable=False, comment="signed"),
    Column("lot_id", Uuid),
    Column("deficit_id", Uuid),
    Column("issuer_id", Uuid, comment="of the lot, as are the two beside it: the night needs no join"),
    Column("agreement_id", Uuid),
    Column("funding_plan_id", Uuid),
    PrimaryKeyConstraint("member_id", "business_date", "transaction_id", "ordinal"),
    CheckConstraint(_one_of("bucket", BUCKETS), name="bucket"),
    CheckConstraint("points <> 0", name="moves_something"),
    CheckConstraint("num_nonnulls(lot_id, deficit_id) = 1", name="lot_or_deficit"),
    CheckConstraint(
        "(lot_id IS NULL) = (issuer_id IS NULL) AND (lot_id IS NULL) = (agreement_id IS NULL)", name="priced"
    ),
    Index("entries_by_date", "business_date", postgresql_using="brin"),
    schema=SCHEMA,
    postgresql_partition_by="RANGE (business_date)",
)

hold = Table(
    "hold",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("business_date", Date, nullable=False, comment="with transaction_id: the authorisation"),
    Column("transaction_id", Uuid, nullable=False),
    Column("partner_id", Uuid, nullable=False),
    Column("agreement_id", Uuid, nullable=False, comment="the redeemer's when it authorised; its R counts"),
    Column("points", BigInteger, nullable=False, comment="held; its entries say of which lots"),
    Column("authorized_at", Timestamp, nullable=False),
    Column("lapses_at", Timestamp, nullable=False),
    Column("confirmed", Boolean, nullable=False, comment="the member consented to it"),
    Column(
        "pooled",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="others of the pool gave some of its points, and what is released goes back to them",
    ),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("captured", BigInteger, nullable=False, server_default=text("0")),
    Column("closed_date", Date),
    Column("closed_id", Uuid, comment="with closed_date: the transaction that captured, voided or ended it"),
    Column("redeem_by", Timestamp, comment="of a voucher: no purchase after it; NULL: a partner's own hold"),
    PrimaryKeyConstraint("member_id", "business_date", "transaction_id"),
    CheckConstraint(_one_of("state", HOLD_STATES), name="state"),
    CheckConstraint("points > 0 AND captured BETWEEN 0 AND points", name="captured_within"),
    CheckConstraint("(state = 'captured') = (captured > 0)", name="captured_when_captured"),
    CheckConstraint(
        "(state = 'open') = (closed_id IS NULL) AND (closed_id IS NULL) = (closed_date IS NULL)",
        name="closed_when_closed",
    ),
    CheckConstraint("lapses_at > authorized_at AND isfinite(lapses_at)", name="lapses_later"),
    CheckConstraint(
        "redeem_by IS NULL OR (redeem_by > authorized_at AND redeem_by <= lapses_at AND confirmed)",
        name="voucher",
    ),
    Index("open_holds", "member_id", "lapses_at", postgresql_where=text("state = 'open'")),
    Index("pooled_holds", "lapses_at", postgresql_where=text("state = 'open' AND pooled")),
    schema=SCHEMA,
)

deficit = Table(
    "deficit",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("deficit_id", Uuid, nullable=False),
    Column("claimant_id", Uuid, nullable=False),
    Column(
        "agreement_id", Uuid, nullable=False, comment="the claimant's when the claim arose; its R is paid"
    ),
    Column("lot_id", Uuid, nullable=False, comment="whose reversed issue left it"),
    Column("from_member_id", Uuid, comment="with from_deficit_id: the claim that it was, before a merge"),
    Column("from_deficit_id", Uuid),
    Column("business_date", Date, nullable=False),
    Column("transaction_id", Uuid, nullable=False),
    Column("claimed_at", Timestamp, nullable=False),
    Column(
        "sequence", BigInteger, nullable=False, comment="of that reversal in the member's journal: its age"
    ),
    Column(
        "ordinal",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="among the claims that came at once, in the order of the giver's",
    ),
    Column("points", BigInteger, nullable=False),
    Column("open_points", BigInteger, nullable=False),
    PrimaryKeyConstraint("member_id", "deficit_id"),
    CheckConstraint("points > 0 AND open_points BETWEEN 0 AND points", name="open_within"),
    CheckConstraint("(from_member_id IS NULL) = (from_deficit_id IS NULL)", name="origin_is_whole"),
    Index("open_deficits", "member_id", "sequence", postgresql_where=text("open_points > 0")),
    schema=SCHEMA,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("partner_id", Uuid, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of the request"),
    Column("business_date", Date, nullable=False),
    Column("transaction_id", Uuid, nullable=False),
    Column("named_id", Uuid, comment="whose identifier named the member, where a merged record's did"),
    Column("available", BigInteger, nullable=False, comment="the balance that was answered"),
    Column("pending", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("deficit", BigInteger, nullable=False),
    PrimaryKeyConstraint("member_id", "partner_id", "key"),
    CheckConstraint("named_id <> member_id", name="named_another"),
    Index("keys_of_named", "named_id", "partner_id", "key", postgresql_where=text("named_id IS NOT NULL")),
    schema=SCHEMA,
)

receipt = Table(
    "receipt",
    metadata,
    Column("partner_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("store", Text, nullable=False),
    Column("terminal", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("member_id", Uuid, nullable=False),
    Column("business_date", Date, nullable=False),
    Column("transaction_id", Uuid, nullable=False),
    PrimaryKeyConstraint("partner_id", "kind", "store", "terminal", "number", "line", "revision"),
    CheckConstraint(_one_of("kind", ("issue", "redeem")), name="kind"),
    CheckConstraint("line >= 0 AND revision >= 0", name="counted"),
    schema=SCHEMA,
)

adjustment = Table(
    "adjustment",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("adjustment_id", Uuid, nullable=False),
    Column("points", BigInteger, nullable=False, comment="signed: given to the member, or taken"),
    Column("reason", Text, nullable=False),
    Column("note", Text, comment="what stands for the operator's words, as in transaction"),
    Column("issuer_id", Uuid, comment="who issues, and pays, what is given; NULL: points are taken"),
    Column("funding_plan_id", Uuid),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", Timestamp, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text, comment="who approved or rejected it; NULL: it needed no second person"),
    Column("decided_at", Timestamp),
    Column("business_date", Date, comment="with transaction_id: what posted it"),
    Column("transaction_id", Uuid),
    PrimaryKeyConstraint("member_id", "adjustment_id"),
    CheckConstraint("points <> 0 AND abs(points) <= 1000000000", name="points"),
    CheckConstraint("(issuer_id IS NULL) = (points < 0)", name="issuer_of_what_is_given"),
    CheckConstraint(_one_of("reason", ADJUSTMENT_REASONS), name="reason"),
    CheckConstraint("note ~ '^[0-9a-f]{64}$'", name="note_is_no_words"),
    CheckConstraint(_one_of("state", ("proposed", "posted", "rejected")), name="state"),
    CheckConstraint("(state = 'posted') = (transaction_id IS NOT NULL)", name="posted_when_posted"),
    CheckConstraint("(transaction_id IS NULL) = (business_date IS NULL)", name="reference_is_whole"),
    CheckConstraint("state <> 'rejected' OR decided_by IS NOT NULL", name="rejected_by_somebody"),
    CheckConstraint("decided_by <> proposed_by OR state = 'rejected'", name="two_people"),
    ForeignKeyConstraint(["member_id"], ["ledger.member.member_id"]),
    Index("adjustments_proposed", "proposed_at", postgresql_where=text("state = 'proposed'")),
    Index("adjustments_by_time", "proposed_at", "adjustment_id"),
    schema=SCHEMA,
)

pool = Table(
    "pool",
    metadata,
    Column("pool_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, comment="what stands for the head's words, as in transaction"),
    Column("head_id", Uuid, nullable=False, comment="the member who opened it, invites and closes"),
    Column("spenders", Text, nullable=False, comment="who may spend what the others have"),
    Column(
        "spender_limit_points",
        BigInteger,
        comment="what one member may take of the others in one window; NULL: all that they have",
    ),
    Column("own_first", Boolean, nullable=False, comment="what the spender has goes before what others have"),
    Column("most_members", SmallInteger, nullable=False),
    Column("opened_at", Timestamp, nullable=False),
    Column("closed_at", Timestamp, comment="NULL: it is open"),
    CheckConstraint("name ~ '^[0-9a-f]{64}$'", name="name_is_no_words"),
    CheckConstraint(_one_of("spenders", ("all", "head")), name="spenders"),
    CheckConstraint("spender_limit_points > 0", name="spender_limit"),
    CheckConstraint("most_members BETWEEN 2 AND 20", name="most_members"),
    schema=SCHEMA,
)

pool_member = Table(
    "pool_member",
    metadata,
    Column("pool_id", Uuid, nullable=False),
    Column("membership_id", Uuid, nullable=False),
    Column("member_id", Uuid, nullable=False),
    Column("invited_at", Timestamp, nullable=False),
    Column("joined_at", Timestamp, comment="NULL: the invitation was not accepted"),
    Column("ended_at", Timestamp, comment="NULL: a member, or invited"),
    PrimaryKeyConstraint("pool_id", "membership_id"),
    CheckConstraint(
        "joined_at >= invited_at AND ended_at >= coalesce(joined_at, invited_at)", name="in_time"
    ),
    Index("pool_places", "pool_id", "member_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("pools_of_member", "member_id", postgresql_where=text("ended_at IS NULL")),
    schema=SCHEMA,
)

confirmation = Table(
    "confirmation",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("confirmation_id", Uuid, nullable=False),
    Column("partner_id", Uuid, nullable=False),
    Column("points", BigInteger, nullable=False, comment="at most so many"),
    Column("expires_at", Timestamp, nullable=False),
    Column("used_by", Uuid, comment="the redemption that used it"),
    PrimaryKeyConstraint("member_id", "confirmation_id"),
    CheckConstraint("points > 0", name="points"),
    ForeignKeyConstraint(["member_id"], ["ledger.member.member_id"]),
    schema=SCHEMA,
)

review = Table(
    "review",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("review_id", Uuid, nullable=False),
    Column("partner_id", Uuid, nullable=False),
    Column("key", Text, nullable=False, comment="with fingerprint: the wish that waits"),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("store", Text),
    Column("terminal", Text),
    Column("receipt_number", Text),
    Column("limit_code", Text, nullable=False, comment="the rule that held it"),
    Column("facts", JSONB, nullable=False, comment="what the rule counted"),
    Column("asked_at", Timestamp, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    Column("decided_by", Text),
    Column("decided_at", Timestamp),
    Column("business_date", Date, comment="with transaction_id: what it became"),
    Column("transaction_id", Uuid),
    Column(
        "posted_with", Uuid, comment="whose transaction that is, where the member was merged into another"
    ),
    PrimaryKeyConstraint("member_id", "review_id"),
    UniqueConstraint("member_id", "partner_id", "key"),
    CheckConstraint(_one_of("state", REVIEW_STATES), name="state"),
    CheckConstraint(
        "state = 'posted' OR (state = 'waiting') = (decided_by IS NULL)", name="decided_by_somebody"
    ),
    CheckConstraint("(decided_by IS NULL) = (decided_at IS NULL)", name="decision_is_whole"),
    CheckConstraint("(state = 'posted') = (transaction_id IS NOT NULL)", name="posted_when_posted"),
    CheckConstraint("(transaction_id IS NULL) = (business_date IS NULL)", name="reference_is_whole"),
    CheckConstraint("posted_with <> member_id", name="posted_with_another"),
    ForeignKeyConstraint(["member_id"], ["ledger.member.member_id"]),
    Index("reviews_by_age", "asked_at", "review_id"),
    schema=SCHEMA,
)
