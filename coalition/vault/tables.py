"""What is known of people, apart from the ledger and unreadable without the keys."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
)

from coalition.db.metadata import metadata

SCHEMA = "people"
Timestamp = DateTime(timezone=True)

index_key = Table(
    "index_key",
    metadata,
    Column(
        "generation", Integer, nullable=False, comment="the highest is in force; another is being replaced"
    ),
    Column("kek", Text, nullable=False, comment="the id of the key-encryption key that wraps it"),
    Column("wrapped", LargeBinary, nullable=False, comment="the key of the blind index"),
    PrimaryKeyConstraint("generation"),
    CheckConstraint("generation > 0", name="generation"),
    schema=SCHEMA,
)

data_key = Table(
    "data_key",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column("kek", Text, comment="the id of the key-encryption key that wraps it"),
    Column("wrapped", LargeBinary, comment="the member's own key; NULL: destroyed"),
    Column("made_at", Timestamp, nullable=False),
    Column(
        "erased_at", Timestamp, comment="when it was destroyed; the row stays, so that none is made again"
    ),
    PrimaryKeyConstraint("member_id"),
    CheckConstraint("(wrapped IS NULL) = (erased_at IS NOT NULL)", name="destroyed_when_erased"),
    CheckConstraint("(wrapped IS NULL) = (kek IS NULL)", name="wrapped_by_somebody"),
    schema=SCHEMA,
)

sealed = Table(
    "sealed",
    metadata,
    Column("member_id", Uuid, nullable=False),
    Column(
        "field",
        Text,
        nullable=False,
        comment="of the profile; or identifier: and its id; or reason: and what stands for it",
    ),
    Column(
        "ciphertext", LargeBinary, nullable=False, comment="nonce, AES-256-GCM; bound to member and field"
    ),
    PrimaryKeyConstraint("member_id", "field"),
    ForeignKeyConstraint(["member_id"], ["people.data_key.member_id"]),
    CheckConstraint(
        "field IN ('name', 'email', 'phone', 'birth_date', 'address', 'locale')"
        " OR field ~ '^identifier:[0-9a-f-]{36}$' OR field ~ '^reason:[0-9a-f]{64}$'",
        name="field",
    ),
    schema=SCHEMA,
)
