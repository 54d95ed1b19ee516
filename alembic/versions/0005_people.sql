-- What is known of people, unreadable without keys that are not in the database.

CREATE SCHEMA people;

CREATE TABLE people.index_key (
    generation INTEGER NOT NULL,
    kek TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    CONSTRAINT index_key_pkey PRIMARY KEY (generation),
    CONSTRAINT index_key_generation_check CHECK (generation > 0)
);

COMMENT ON COLUMN people.index_key.generation IS 'the highest is in force; another is being replaced';

COMMENT ON COLUMN people.index_key.kek IS 'the id of the key-encryption key that wraps it';

COMMENT ON COLUMN people.index_key.wrapped IS 'the key of the blind index';

CREATE TABLE people.data_key (
    member_id UUID NOT NULL,
    kek TEXT,
    wrapped BYTEA,
    made_at TIMESTAMP WITH TIME ZONE NOT NULL,
    erased_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT data_key_pkey PRIMARY KEY (member_id),
    CONSTRAINT data_key_destroyed_when_erased_check CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL)),
    CONSTRAINT data_key_wrapped_by_somebody_check CHECK ((wrapped IS NULL) = (kek IS NULL))
);

COMMENT ON COLUMN people.data_key.kek IS 'the id of the key-encryption key that wraps it';

COMMENT ON COLUMN people.data_key.wrapped IS 'the member''s own key; NULL: destroyed';

COMMENT ON COLUMN people.data_key.erased_at IS 'when it was destroyed; the row stays, so that none is made again';

CREATE TABLE people.sealed (
    member_id UUID NOT NULL,
    field TEXT NOT NULL,
    ciphertext BYTEA NOT NULL,
    CONSTRAINT sealed_pkey PRIMARY KEY (member_id, field),
    CONSTRAINT sealed_member_id_fkey FOREIGN KEY(member_id) REFERENCES people.data_key (member_id),
    CONSTRAINT sealed_field_check CHECK (field IN ('name', 'email', 'phone', 'birth_date', 'address', 'locale') OR field ~ '^identifier:[0-9a-f-]{36}$' OR field ~ '^reason:[0-9a-f]{64}$')
);

COMMENT ON COLUMN people.sealed.field IS 'of the profile; or identifier: and its id; or reason: and what stands for it';

COMMENT ON COLUMN people.sealed.ciphertext IS 'nonce, AES-256-GCM; bound to member and field';
