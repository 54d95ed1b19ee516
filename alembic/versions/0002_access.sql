-- Who may call the API: clients, the keys that sign their tokens, and what callers asked for once.

CREATE TABLE partners.oauth_client (
    client_id TEXT NOT NULL,
    partner_id UUID,
    name TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    secret_hash BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    secret_rotated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    secret_given_to TEXT,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT oauth_client_pkey PRIMARY KEY (client_id),
    CONSTRAINT oauth_client_partner_id_fkey FOREIGN KEY(partner_id) REFERENCES partners.partner (partner_id)
);

COMMENT ON COLUMN partners.oauth_client.partner_id IS 'NULL: an operator''s or finance''s client';

COMMENT ON COLUMN partners.oauth_client.secret_hash IS 'SHA-256 of a 256-bit random secret';

COMMENT ON COLUMN partners.oauth_client.secret_given_to IS 'the client that made it or rotated its secret over the API; NULL: the command line';

CREATE TABLE partners.signing_key (
    kid TEXT NOT NULL,
    private_jwk JSONB NOT NULL,
    state TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    retired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT signing_key_pkey PRIMARY KEY (kid),
    CONSTRAINT signing_key_state_check CHECK (state IN ('next', 'current', 'retired')),
    CONSTRAINT signing_key_retired_when_retired_check CHECK ((state = 'retired') = (retired_at IS NOT NULL))
);

CREATE UNIQUE INDEX one_current_key ON partners.signing_key (state) WHERE state = 'current';

COMMENT ON COLUMN partners.signing_key.state IS 'next → current → retired';

COMMENT ON COLUMN partners.signing_key.retired_at IS 'tokens that it signed before then still verify until they expire';

CREATE TABLE partners.operation (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA,
    result JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    blinded_by INTEGER,
    CONSTRAINT operation_pkey PRIMARY KEY (caller, key),
    CONSTRAINT operation_forgotten_only_if_blind_check CHECK (fingerprint IS NOT NULL OR blinded_by IS NOT NULL)
);

CREATE INDEX operation_blind ON partners.operation (blinded_by) WHERE blinded_by IS NOT NULL AND fingerprint IS NOT NULL;

CREATE INDEX operation_of_member ON partners.operation ((result ->> 'member_id')) WHERE blinded_by IS NOT NULL AND fingerprint IS NOT NULL;

COMMENT ON COLUMN partners.operation.fingerprint IS 'of what was asked; NULL: forgotten, with the index key that blinded it, or with the person';

COMMENT ON COLUMN partners.operation.blinded_by IS 'which key of the blind index; NULL: it asked nothing personal';

COMMENT ON COLUMN partners.operation.caller IS 'the client id; the scope of the key';

COMMENT ON COLUMN partners.operation.result IS 'ids of what was made; never a secret';
