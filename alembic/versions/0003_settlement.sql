-- Settlement: runs, and all that statements are printed from. Names are explained in settlement/tables.py.

CREATE SCHEMA settlement;

CREATE TABLE settlement.run (
    run_id UUID NOT NULL,
    business_date DATE NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    currency TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    transactions BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    gross NUMERIC(20, 4) NOT NULL,
    net NUMERIC(20, 4) NOT NULL,
    margin NUMERIC(38, 12) NOT NULL,
    calculated_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT run_pkey PRIMARY KEY (run_id),
    CONSTRAINT run_business_date_digest_key UNIQUE (business_date, digest),
    CONSTRAINT run_business_date_fkey FOREIGN KEY(business_date) REFERENCES ledger.settlement_window (business_date),
    CONSTRAINT run_state_check CHECK (state IN ('calculated', 'held', 'superseded')),
    CONSTRAINT run_digest_check CHECK (digest ~ '^[0-9a-f]{64}$'),
    CONSTRAINT run_netting_saves_check CHECK (gross >= 0 AND net >= 0 AND net <= gross)
);

CREATE UNIQUE INDEX one_run_in_force ON settlement.run (business_date) WHERE state <> 'superseded';

COMMENT ON COLUMN settlement.run.run_id IS 'made from business date and digest: the same inputs are the same run';

COMMENT ON COLUMN settlement.run.digest IS 'SHA-256 of the inputs, hexadecimal';

COMMENT ON COLUMN settlement.run.opened_at IS 'the window''s, as are the next three';

COMMENT ON COLUMN settlement.run.gross IS 'sum of the lines';

COMMENT ON COLUMN settlement.run.net IS 'sum of the partners'' positive positions';

COMMENT ON COLUMN settlement.run.margin IS 'funders'' f + c2 less R, of the points redeemed';

CREATE TABLE settlement.position (
    run_id UUID NOT NULL,
    party_id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    receives NUMERIC(20, 4) NOT NULL,
    pays NUMERIC(20, 4) NOT NULL,
    net NUMERIC(20, 4) NOT NULL,
    CONSTRAINT position_pkey PRIMARY KEY (run_id, party_id),
    CONSTRAINT position_run_id_code_key UNIQUE (run_id, code),
    CONSTRAINT position_run_id_fkey FOREIGN KEY(run_id) REFERENCES settlement.run (run_id),
    CONSTRAINT position_party_id_fkey FOREIGN KEY(party_id) REFERENCES partners.partner (partner_id),
    CONSTRAINT position_net_check CHECK (receives >= 0 AND pays >= 0 AND net = receives - pays)
);

COMMENT ON COLUMN settlement.position.party_id IS 'each party that the run mentions, and the network';

COMMENT ON COLUMN settlement.position.net IS 'what the network pays it; negative: what it pays';

CREATE TABLE settlement.line (
    run_id UUID NOT NULL,
    debtor_id UUID NOT NULL,
    creditor_id UUID NOT NULL,
    kind TEXT NOT NULL,
    price NUMERIC(24, 12) NOT NULL,
    points NUMERIC(38, 6) NOT NULL,
    amount NUMERIC(20, 4) NOT NULL,
    CONSTRAINT line_pkey PRIMARY KEY (run_id, debtor_id, creditor_id, kind, price),
    CONSTRAINT line_run_id_debtor_id_fkey FOREIGN KEY(run_id, debtor_id) REFERENCES settlement.position (run_id, party_id),
    CONSTRAINT line_run_id_creditor_id_fkey FOREIGN KEY(run_id, creditor_id) REFERENCES settlement.position (run_id, party_id),
    CONSTRAINT line_kind_check CHECK (kind IN ('issue', 'issue_reversal', 'redemption_charge', 'redemption_charge_reversal', 'reimbursement', 'reimbursement_reversal', 'breakage', 'recovery')),
    CONSTRAINT line_positive_check CHECK (points > 0 AND price > 0 AND amount > 0),
    CONSTRAINT line_through_the_network_check CHECK ((debtor_id = '00000000-0000-0000-0000-000000000000'::uuid) <> (creditor_id = '00000000-0000-0000-0000-000000000000'::uuid))
);

COMMENT ON COLUMN settlement.line.price IS 'per point';

COMMENT ON COLUMN settlement.line.points IS 'the debtor''s or creditor''s part of them';

COMMENT ON COLUMN settlement.line.amount IS 'points times price, rounded once';

CREATE TABLE settlement.network_cost (
    run_id UUID NOT NULL,
    kind TEXT NOT NULL,
    price NUMERIC(24, 12) NOT NULL,
    points NUMERIC(38, 6) NOT NULL,
    amount NUMERIC(20, 4) NOT NULL,
    CONSTRAINT network_cost_pkey PRIMARY KEY (run_id, kind, price),
    CONSTRAINT network_cost_run_id_fkey FOREIGN KEY(run_id) REFERENCES settlement.run (run_id),
    CONSTRAINT network_cost_kind_check CHECK (kind IN ('issue', 'issue_reversal', 'redemption_charge', 'redemption_charge_reversal', 'reimbursement', 'reimbursement_reversal', 'breakage', 'recovery')),
    CONSTRAINT network_cost_something_check CHECK (points > 0 AND price > 0 AND amount <> 0)
);

COMMENT ON COLUMN settlement.network_cost.amount IS 'charged to itself as a funder; a return is negative';

CREATE TABLE settlement.liability (
    run_id UUID NOT NULL,
    issuer_id UUID NOT NULL,
    redeemer_id UUID NOT NULL,
    redeemed_points BIGINT NOT NULL,
    returned_points BIGINT NOT NULL,
    amount NUMERIC(38, 12) NOT NULL,
    CONSTRAINT liability_pkey PRIMARY KEY (run_id, issuer_id, redeemer_id),
    CONSTRAINT liability_run_id_issuer_id_fkey FOREIGN KEY(run_id, issuer_id) REFERENCES settlement.position (run_id, party_id),
    CONSTRAINT liability_run_id_redeemer_id_fkey FOREIGN KEY(run_id, redeemer_id) REFERENCES settlement.position (run_id, party_id),
    CONSTRAINT liability_points_check CHECK (redeemed_points >= 0 AND returned_points >= 0)
);

COMMENT ON COLUMN settlement.liability.issuer_id IS 'of the lots';

COMMENT ON COLUMN settlement.liability.redeemer_id IS 'where they were redeemed';

COMMENT ON COLUMN settlement.liability.returned_points IS 'by reversed redemptions';

COMMENT ON COLUMN settlement.liability.amount IS 'the redeemer''s R x points, not rounded';

CREATE TABLE settlement.roll_forward (
    run_id UUID NOT NULL,
    issuer_id UUID NOT NULL,
    opening BIGINT NOT NULL,
    issued BIGINT NOT NULL,
    redeemed BIGINT NOT NULL,
    returned BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    reversed BIGINT NOT NULL,
    closing BIGINT NOT NULL,
    CONSTRAINT roll_forward_pkey PRIMARY KEY (run_id, issuer_id),
    CONSTRAINT roll_forward_run_id_issuer_id_fkey FOREIGN KEY(run_id, issuer_id) REFERENCES settlement.position (run_id, party_id),
    CONSTRAINT roll_forward_rolls_forward_check CHECK (closing = opening + issued - redeemed + returned - expired - reversed)
);

COMMENT ON COLUMN settlement.roll_forward.opening IS 'points outstanding, as the last run left them';

COMMENT ON COLUMN settlement.roll_forward.returned IS 'by reversed redemptions';

COMMENT ON COLUMN settlement.roll_forward.reversed IS 'by reversed issues';

CREATE TABLE settlement.finding (
    run_id UUID NOT NULL,
    ordinal INTEGER NOT NULL,
    check_name TEXT NOT NULL,
    message TEXT NOT NULL,
    found_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT finding_pkey PRIMARY KEY (run_id, ordinal),
    CONSTRAINT finding_run_id_fkey FOREIGN KEY(run_id) REFERENCES settlement.run (run_id)
);
