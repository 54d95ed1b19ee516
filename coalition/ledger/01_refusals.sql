-- How the kernel says no: one SQLSTATE, the refusal's code as the message, its facts as JSON.
-- `coalition.errors` has a class for each code.
CREATE FUNCTION ledger.refuse(p_code text, p_facts jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'CO001', MESSAGE = p_code, DETAIL = p_facts::text;
END $$;

-- What a posting answers: where it stands in the books, and the balance it left.
CREATE TYPE ledger.posting AS (
    member_id      uuid,
    business_date  date,
    transaction_id uuid,
    replayed       boolean,
    points         bigint,
    recorded_at    timestamptz,
    late           boolean,
    available      bigint,
    pending        bigint,
    held           bigint,
    deficit        bigint
);

-- What a wish brings along into the member's part: who acts, when, under which key and receipt,
-- and what the outer function found out before it.
CREATE TYPE ledger.wish AS (
    kind            text,
    partner_id      uuid,
    agreement_id    uuid,
    points          bigint,
    amount          numeric,
    key             text,
    fingerprint     bytea,
    occurred_at     timestamptz,
    now             timestamptz,     -- the programme's time
    business_date   date,            -- the open window
    window_opened   timestamptz,
    oldest          timestamptz,     -- what occurred before it is not taken
    transaction_id  uuid,
    store           text,
    terminal        text,
    receipt_number  text,
    receipt_line    integer,
    receipt_revision integer,
    pool_id         uuid,            -- the pool that it draws on, locked with its members
    from_pool       boolean,         -- whether it draws on one
    givers          uuid[],          -- members to whom points may go back, locked
    identifier_id   uuid,            -- what the member was named by, where it was an identifier
    named_id        uuid,            -- whose that is, where it is another record's that was merged into the member
    card_id         uuid,            -- that, where it was a card
    limits          partners.limit_rule[],  -- the rules in force
    limits_from     date,            -- no window before it matters to them
    refused         text,            -- a refusal of the outer part, for the member's part to raise in its place
    refused_facts   jsonb
);
