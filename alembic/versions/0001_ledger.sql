-- Partners' terms, and the ledger: the tables as migration 0001 makes them.

CREATE SCHEMA partners;

CREATE SCHEMA ledger;

CREATE TABLE partners.partner (
    partner_id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    may_issue BOOLEAN NOT NULL,
    may_redeem BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT partner_pkey PRIMARY KEY (partner_id),
    CONSTRAINT partner_state_check CHECK (state IN ('onboarding', 'active', 'suspended', 'leaving', 'left')),
    CONSTRAINT partner_code_check CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    CONSTRAINT partner_code_key UNIQUE (code)
);

CREATE TABLE partners.agreement (
    agreement_id UUID NOT NULL,
    partner_id UUID NOT NULL,
    version INTEGER NOT NULL,
    valid_from DATE NOT NULL,
    service_fee NUMERIC(12, 6) NOT NULL,
    funding NUMERIC(12, 6) NOT NULL,
    redemption_charge NUMERIC(12, 6) NOT NULL,
    reimbursement NUMERIC(12, 6) NOT NULL,
    own_reimbursement NUMERIC(12, 6) NOT NULL,
    breakage_share NUMERIC(7, 6) NOT NULL,
    earn_points NUMERIC(12, 6),
    earn_amount NUMERIC(12, 4),
    earn_rounding TEXT NOT NULL,
    maturity_days INTEGER NOT NULL,
    expiry_rule TEXT DEFAULT 'term' NOT NULL,
    expiry_months INTEGER,
    expiry_date DATE,
    activity TEXT,
    activity_where TEXT,
    grace_days INTEGER NOT NULL,
    return_policy TEXT NOT NULL,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    published_by TEXT NOT NULL,
    CONSTRAINT agreement_pkey PRIMARY KEY (agreement_id),
    CONSTRAINT agreement_partner_id_version_key UNIQUE (partner_id, version),
    CONSTRAINT agreement_partner_id_fkey FOREIGN KEY(partner_id) REFERENCES partners.partner (partner_id),
    CONSTRAINT agreement_prices_check CHECK (service_fee >= 0 AND funding >= 0 AND redemption_charge >= 0 AND reimbursement >= 0 AND own_reimbursement >= 0),
    CONSTRAINT agreement_breakage_share_check CHECK (breakage_share BETWEEN 0 AND 1),
    CONSTRAINT agreement_earn_check CHECK ((earn_points IS NULL) = (earn_amount IS NULL) AND coalesce(earn_points >= 0 AND earn_amount > 0, true)),
    CONSTRAINT agreement_earn_rounding_check CHECK (earn_rounding IN ('down', 'half_even', 'up')),
    CONSTRAINT agreement_terms_check CHECK (maturity_days >= 0 AND grace_days >= 0 AND coalesce(expiry_months >= 0, true)),
    CONSTRAINT agreement_expiry_rule_check CHECK (expiry_rule IN ('term', 'end_of_month', 'end_of_quarter', 'end_of_year', 'fixed_date', 'inactivity')),
    CONSTRAINT agreement_expiry_parts_check CHECK ((expiry_rule = 'fixed_date') = (expiry_date IS NOT NULL) AND (expiry_rule = 'inactivity') = (activity IS NOT NULL) AND (activity IS NULL) = (activity_where IS NULL)),
    CONSTRAINT agreement_activity_check CHECK (activity IN ('any', 'issue', 'redeem') AND activity_where IN ('anywhere', 'at_issuer')),
    CONSTRAINT agreement_return_policy_check CHECK (return_policy IN ('pending_only', 'available', 'unlimited'))
);

CREATE INDEX agreements_in_force ON partners.agreement (partner_id, valid_from, version);

COMMENT ON COLUMN partners.agreement.version IS '1, 2, 3 … per partner';

COMMENT ON COLUMN partners.agreement.valid_from IS 'in the programme''s zone';

COMMENT ON COLUMN partners.agreement.service_fee IS 's per point issued';

COMMENT ON COLUMN partners.agreement.funding IS 'f per point issued';

COMMENT ON COLUMN partners.agreement.redemption_charge IS 'c2 per point redeemed, of the lot''s funders';

COMMENT ON COLUMN partners.agreement.reimbursement IS 'R per point redeemed here';

COMMENT ON COLUMN partners.agreement.own_reimbursement IS 'R0, where the redeemer issued the lot';

COMMENT ON COLUMN partners.agreement.breakage_share IS 'beta';

COMMENT ON COLUMN partners.agreement.earn_points IS 'points per earn_amount of money spent; NULL: none by amount';

COMMENT ON COLUMN partners.agreement.maturity_days IS 'the return period; 0: available at once';

COMMENT ON COLUMN partners.agreement.expiry_rule IS 'from what the last day is counted';

COMMENT ON COLUMN partners.agreement.expiry_months IS 'after the issue or the last activity; NULL: never, or a date';

COMMENT ON COLUMN partners.agreement.expiry_date IS 'and the same day of each year after it';

COMMENT ON COLUMN partners.agreement.activity IS 'what keeps points alive that lapse by inactivity';

COMMENT ON COLUMN partners.agreement.grace_days IS 'for points that come back to an expired lot';

COMMENT ON COLUMN partners.agreement.published_by IS 'the client or operator who did';

CREATE TABLE partners.funding_plan (
    funding_plan_id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    published_by TEXT NOT NULL,
    CONSTRAINT funding_plan_pkey PRIMARY KEY (funding_plan_id),
    CONSTRAINT funding_plan_code_check CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    CONSTRAINT funding_plan_code_key UNIQUE (code)
);

CREATE TABLE partners.funding_part (
    funding_plan_id UUID NOT NULL,
    party_id UUID NOT NULL,
    ppm INTEGER NOT NULL,
    CONSTRAINT funding_part_pkey PRIMARY KEY (funding_plan_id, party_id),
    CONSTRAINT funding_part_funding_plan_id_fkey FOREIGN KEY(funding_plan_id) REFERENCES partners.funding_plan (funding_plan_id),
    CONSTRAINT funding_part_party_id_fkey FOREIGN KEY(party_id) REFERENCES partners.partner (partner_id),
    CONSTRAINT funding_part_ppm_check CHECK (ppm BETWEEN 1 AND 1000000)
);

COMMENT ON COLUMN partners.funding_part.party_id IS 'a partner or the network';

COMMENT ON COLUMN partners.funding_part.ppm IS 'parts per million';

CREATE TABLE partners.store (
    partner_id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    since DATE,
    closed DATE,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    published_by TEXT NOT NULL,
    CONSTRAINT store_pkey PRIMARY KEY (partner_id, code),
    CONSTRAINT store_partner_id_fkey FOREIGN KEY(partner_id) REFERENCES partners.partner (partner_id),
    CONSTRAINT store_code_check CHECK (length(code) BETWEEN 1 AND 64),
    CONSTRAINT store_days_check CHECK (closed >= since)
);

COMMENT ON COLUMN partners.store.code IS 'as receipts have it';

COMMENT ON COLUMN partners.store.since IS 'its first day, in the programme''s zone; NULL: it has always been there';

COMMENT ON COLUMN partners.store.closed IS 'its last day; NULL: it is open';

CREATE TABLE partners.limit_rule (
    code TEXT NOT NULL,
    version INTEGER NOT NULL,
    scope TEXT NOT NULL,
    posting TEXT NOT NULL,
    measure TEXT NOT NULL,
    period_seconds INTEGER,
    most BIGINT,
    action TEXT NOT NULL,
    partner_id UUID,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    published_by TEXT NOT NULL,
    CONSTRAINT limit_rule_pkey PRIMARY KEY (code, version),
    CONSTRAINT limit_rule_partner_id_fkey FOREIGN KEY(partner_id) REFERENCES partners.partner (partner_id),
    CONSTRAINT limit_rule_code_check CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    CONSTRAINT limit_rule_scope_check CHECK (scope IN ('member', 'card', 'store', 'partner')),
    CONSTRAINT limit_rule_posting_check CHECK (posting IN ('issue', 'redeem', 'both', 'transfer')),
    CONSTRAINT limit_rule_transfers_are_the_members_check CHECK (posting <> 'transfer' OR (scope = 'member' AND partner_id IS NULL)),
    CONSTRAINT limit_rule_measure_check CHECK (measure IN ('count', 'points')),
    CONSTRAINT limit_rule_period_check CHECK (period_seconds BETWEEN 1 AND 31622400),
    CONSTRAINT limit_rule_most_check CHECK (most >= 0),
    CONSTRAINT limit_rule_action_check CHECK (action IN ('refuse', 'review'))
);

COMMENT ON COLUMN partners.limit_rule.version IS '1, 2, 3 … per code; the last one holds';

COMMENT ON COLUMN partners.limit_rule.scope IS 'whose postings are counted together';

COMMENT ON COLUMN partners.limit_rule.posting IS 'which postings; an authorisation is a redemption';

COMMENT ON COLUMN partners.limit_rule.period_seconds IS 'the last so many seconds; NULL: the open window';

COMMENT ON COLUMN partners.limit_rule.most IS 'so many are allowed; NULL: this version ends the rule';

COMMENT ON COLUMN partners.limit_rule.partner_id IS 'counts and judges this partner''s postings only; NULL: all';

CREATE TABLE partners.limit_figure (
    code TEXT NOT NULL,
    version INTEGER NOT NULL,
    partner_id UUID NOT NULL,
    store TEXT NOT NULL,
    used NUMERIC(38, 0) NOT NULL,
    peak NUMERIC(38, 0) NOT NULL,
    peak_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT limit_figure_pkey PRIMARY KEY (code, version, partner_id, store),
    CONSTRAINT limit_figure_code_version_fkey FOREIGN KEY(code, version) REFERENCES partners.limit_rule (code, version)
);

COMMENT ON COLUMN partners.limit_figure.store IS 'empty: the partner as a whole';

COMMENT ON COLUMN partners.limit_figure.peak IS 'the most that was ever used';

COMMENT ON COLUMN partners.limit_figure.peak_at IS 'when, by the programme''s clock';

CREATE TABLE partners.limit_state (
    limit_state_id SMALLINT NOT NULL,
    derived_at TIMESTAMP WITH TIME ZONE NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    business_date DATE NOT NULL,
    rules BIGINT NOT NULL,
    tallied_from TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT limit_state_pkey PRIMARY KEY (limit_state_id),
    CONSTRAINT limit_state_only_one_check CHECK (limit_state_id = 1)
);

COMMENT ON COLUMN partners.limit_state.limit_state_id IS 'always 1';

COMMENT ON COLUMN partners.limit_state.derived_at IS 'when the figures were, by the wall clock';

COMMENT ON COLUMN partners.limit_state.as_of IS 'the same moment by the programme''s clock';

COMMENT ON COLUMN partners.limit_state.business_date IS 'the window that was open';

COMMENT ON COLUMN partners.limit_state.rules IS 'how many versions of rules there were';

COMMENT ON COLUMN partners.limit_state.tallied_from IS 'the tally is whole from here on';

CREATE TABLE partners.tally (
    partner_id UUID NOT NULL,
    store TEXT NOT NULL,
    kind TEXT NOT NULL,
    business_date DATE NOT NULL,
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    postings BIGINT NOT NULL,
    points NUMERIC(38, 0) NOT NULL,
    CONSTRAINT tally_pkey PRIMARY KEY (partner_id, kind, business_date, minute, store)
);

CREATE INDEX tally_by_minute ON partners.tally (minute);

COMMENT ON COLUMN partners.tally.store IS 'empty: the posting named none';

COMMENT ON COLUMN partners.tally.minute IS 'in which they were recorded; its hour, once that is long over';

CREATE TABLE partners.refusal (
    refusal_id BIGINT GENERATED ALWAYS AS IDENTITY,
    refused_at TIMESTAMP WITH TIME ZONE NOT NULL,
    code TEXT NOT NULL,
    facts JSONB NOT NULL,
    posting TEXT NOT NULL,
    partner_id UUID,
    client TEXT,
    member_id UUID,
    points BIGINT,
    store TEXT,
    terminal TEXT,
    receipt_number TEXT,
    request_id TEXT,
    unwritten BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT refusal_pkey PRIMARY KEY (refusal_id)
);

CREATE INDEX refusals_of_member ON partners.refusal (member_id, refusal_id) WHERE member_id IS NOT NULL;

CREATE INDEX refusals_of_partner ON partners.refusal (partner_id, refusal_id);

COMMENT ON COLUMN partners.refusal.refused_at IS 'by the programme''s clock';

COMMENT ON COLUMN partners.refusal.facts IS 'the operator''s to see';

COMMENT ON COLUMN partners.refusal.posting IS 'what was asked';

COMMENT ON COLUMN partners.refusal.partner_id IS 'who asked; NULL: the operator, finance, or a member';

COMMENT ON COLUMN partners.refusal.client IS 'the program that asked, or the command';

COMMENT ON COLUMN partners.refusal.member_id IS 'NULL: none was found';

COMMENT ON COLUMN partners.refusal.unwritten IS 'refusals of the same process just before that were too many to be written';

CREATE TABLE ledger.deficit (
    member_id UUID NOT NULL,
    deficit_id UUID NOT NULL,
    claimant_id UUID NOT NULL,
    agreement_id UUID NOT NULL,
    lot_id UUID NOT NULL,
    from_member_id UUID,
    from_deficit_id UUID,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    claimed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sequence BIGINT NOT NULL,
    ordinal INTEGER DEFAULT 0 NOT NULL,
    points BIGINT NOT NULL,
    open_points BIGINT NOT NULL,
    CONSTRAINT deficit_pkey PRIMARY KEY (member_id, deficit_id),
    CONSTRAINT deficit_open_within_check CHECK (points > 0 AND open_points BETWEEN 0 AND points),
    CONSTRAINT deficit_origin_is_whole_check CHECK ((from_member_id IS NULL) = (from_deficit_id IS NULL))
);

CREATE INDEX open_deficits ON ledger.deficit (member_id, sequence) WHERE open_points > 0;

COMMENT ON COLUMN ledger.deficit.agreement_id IS 'the claimant''s when the claim arose; its R is paid';

COMMENT ON COLUMN ledger.deficit.lot_id IS 'whose reversed issue left it';

COMMENT ON COLUMN ledger.deficit.from_member_id IS 'with from_deficit_id: the claim that it was, before a merge';

COMMENT ON COLUMN ledger.deficit.sequence IS 'of that reversal in the member''s journal: its age';

COMMENT ON COLUMN ledger.deficit.ordinal IS 'among the claims that came at once, in the order of the giver''s';

CREATE TABLE ledger.entry (
    member_id UUID NOT NULL,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    ordinal INTEGER NOT NULL,
    bucket TEXT NOT NULL,
    points BIGINT NOT NULL,
    lot_id UUID,
    deficit_id UUID,
    issuer_id UUID,
    agreement_id UUID,
    funding_plan_id UUID,
    CONSTRAINT entry_pkey PRIMARY KEY (member_id, business_date, transaction_id, ordinal),
    CONSTRAINT entry_bucket_check CHECK (bucket IN ('pending', 'available', 'held', 'issued', 'received', 'burned', 'expired', 'reversed', 'transferred')),
    CONSTRAINT entry_moves_something_check CHECK (points <> 0),
    CONSTRAINT entry_lot_or_deficit_check CHECK (num_nonnulls(lot_id, deficit_id) = 1),
    CONSTRAINT entry_priced_check CHECK ((lot_id IS NULL) = (issuer_id IS NULL) AND (lot_id IS NULL) = (agreement_id IS NULL))
)
 PARTITION BY RANGE (business_date);

CREATE INDEX entries_by_date ON ledger.entry USING brin (business_date);

COMMENT ON COLUMN ledger.entry.points IS 'signed';

COMMENT ON COLUMN ledger.entry.issuer_id IS 'of the lot, as are the two beside it: the night needs no join';

CREATE TABLE ledger.hold (
    member_id UUID NOT NULL,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    partner_id UUID NOT NULL,
    agreement_id UUID NOT NULL,
    points BIGINT NOT NULL,
    authorized_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lapses_at TIMESTAMP WITH TIME ZONE NOT NULL,
    confirmed BOOLEAN NOT NULL,
    pooled BOOLEAN DEFAULT false NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    captured BIGINT DEFAULT 0 NOT NULL,
    closed_date DATE,
    closed_id UUID,
    redeem_by TIMESTAMP WITH TIME ZONE,
    CONSTRAINT hold_pkey PRIMARY KEY (member_id, business_date, transaction_id),
    CONSTRAINT hold_state_check CHECK (state IN ('open', 'captured', 'voided', 'lapsed')),
    CONSTRAINT hold_captured_within_check CHECK (points > 0 AND captured BETWEEN 0 AND points),
    CONSTRAINT hold_captured_when_captured_check CHECK ((state = 'captured') = (captured > 0)),
    CONSTRAINT hold_closed_when_closed_check CHECK ((state = 'open') = (closed_id IS NULL) AND (closed_id IS NULL) = (closed_date IS NULL)),
    CONSTRAINT hold_lapses_later_check CHECK (lapses_at > authorized_at AND isfinite(lapses_at)),
    CONSTRAINT hold_voucher_check CHECK (redeem_by IS NULL OR (redeem_by > authorized_at AND redeem_by <= lapses_at AND confirmed))
);

CREATE INDEX open_holds ON ledger.hold (member_id, lapses_at) WHERE state = 'open';
CREATE INDEX pooled_holds ON ledger.hold (lapses_at) WHERE state = 'open' AND pooled;

COMMENT ON COLUMN ledger.hold.business_date IS 'with transaction_id: the authorisation';

COMMENT ON COLUMN ledger.hold.agreement_id IS 'the redeemer''s when it authorised; its R counts';

COMMENT ON COLUMN ledger.hold.points IS 'held; its entries say of which lots';

COMMENT ON COLUMN ledger.hold.confirmed IS 'the member consented to it';

COMMENT ON COLUMN ledger.hold.pooled IS 'others of the pool gave some of its points, and what is released goes back to them';

COMMENT ON COLUMN ledger.hold.closed_id IS 'with closed_date: the transaction that captured, voided or ended it';

COMMENT ON COLUMN ledger.hold.redeem_by IS 'of a voucher: no purchase after it; NULL: a partner''s own hold';

CREATE TABLE ledger.idempotency (
    member_id UUID NOT NULL,
    partner_id UUID NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    named_id UUID,
    available BIGINT NOT NULL,
    pending BIGINT NOT NULL,
    held BIGINT NOT NULL,
    deficit BIGINT NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (member_id, partner_id, key),
    CONSTRAINT idempotency_named_another_check CHECK (named_id <> member_id)
);

CREATE INDEX keys_of_named ON ledger.idempotency (named_id, partner_id, key) WHERE named_id IS NOT NULL;

COMMENT ON COLUMN ledger.idempotency.fingerprint IS 'SHA-256 of the request';

COMMENT ON COLUMN ledger.idempotency.named_id IS 'whose identifier named the member, where a merged record''s did';

COMMENT ON COLUMN ledger.idempotency.available IS 'the balance that was answered';

CREATE TABLE ledger.identifier (
    kind TEXT NOT NULL,
    partner_id UUID NOT NULL,
    value TEXT NOT NULL,
    identifier_id UUID NOT NULL,
    member_id UUID NOT NULL,
    linked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    linked_by UUID NOT NULL,
    unlinked_at TIMESTAMP WITH TIME ZONE,
    indexed_by INTEGER,
    CONSTRAINT identifier_pkey PRIMARY KEY (kind, partner_id, value, identifier_id),
    CONSTRAINT identifier_kind_check CHECK (kind IN ('card', 'phone', 'email', 'partner_reference')),
    CONSTRAINT identifier_is_blind_check CHECK (kind = 'card' OR value ~ '^[0-9a-f]{64}$'),
    CONSTRAINT identifier_index_is_known_check CHECK ((kind = 'card') = (indexed_by IS NULL)),
    CONSTRAINT identifier_owner_check CHECK (kind = 'partner_reference' OR partner_id = '00000000-0000-0000-0000-000000000000')
);

CREATE INDEX identifier_of_member ON ledger.identifier (member_id);

CREATE UNIQUE INDEX identifier_in_use ON ledger.identifier (kind, partner_id, value) WHERE unlinked_at IS NULL;

COMMENT ON COLUMN ledger.identifier.partner_id IS 'whose reference it is; the network''s id for the other kinds';

COMMENT ON COLUMN ledger.identifier.value IS 'a card''s number; of the other kinds a blind index';

COMMENT ON COLUMN ledger.identifier.identifier_id IS 'what a transaction names it by';

COMMENT ON COLUMN ledger.identifier.unlinked_at IS 'NULL: it is in use, or was blocked or replaced';

COMMENT ON COLUMN ledger.identifier.indexed_by IS 'which key of the blind index; NULL for a card';

CREATE TABLE ledger.identifier_change (
    member_id UUID NOT NULL,
    identifier_id UUID NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    party_id UUID,
    changed_by TEXT,
    reason TEXT,
    replaced_by UUID,
    CONSTRAINT identifier_change_pkey PRIMARY KEY (member_id, identifier_id, number),
    CONSTRAINT identifier_change_state_check CHECK (state IN ('active', 'blocked', 'replaced', 'unlinked')),
    CONSTRAINT identifier_change_number_check CHECK (number > 0),
    CONSTRAINT identifier_change_who_check CHECK (number = 1 OR changed_by IS NOT NULL),
    CONSTRAINT identifier_change_replacement_check CHECK ((state = 'replaced') = (replaced_by IS NOT NULL)),
    CONSTRAINT identifier_change_reason_is_no_words_check CHECK (reason ~ '^[0-9a-f]{64}$')
);

COMMENT ON COLUMN ledger.identifier_change.number IS '1: it was linked; 2, 3 … of what became of it';

COMMENT ON COLUMN ledger.identifier_change.state IS 'how it stands from then on';

COMMENT ON COLUMN ledger.identifier_change.party_id IS 'the network, or a partner; NULL: the member';

COMMENT ON COLUMN ledger.identifier_change.changed_by IS 'who it was; NULL for a link';

COMMENT ON COLUMN ledger.identifier_change.reason IS 'what stands for words, as in transaction';

COMMENT ON COLUMN ledger.identifier_change.replaced_by IS 'the identifier_id of the new card';

CREATE TABLE ledger.member_block (
    member_id UUID NOT NULL,
    number INTEGER NOT NULL,
    blocked BOOLEAN NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    changed_by TEXT NOT NULL,
    reason TEXT,
    CONSTRAINT member_block_pkey PRIMARY KEY (member_id, number),
    CONSTRAINT member_block_turns_check CHECK (number > 0 AND blocked = (number % 2 = 1)),
    CONSTRAINT member_block_reason_is_no_words_check CHECK (reason ~ '^[0-9a-f]{64}$')
);

COMMENT ON COLUMN ledger.member_block.number IS '1, 2, 3 …: the last says how the member stands';

COMMENT ON COLUMN ledger.member_block.blocked IS 'from then on';

COMMENT ON COLUMN ledger.member_block.changed_by IS 'who it was, of the operator''s';

COMMENT ON COLUMN ledger.member_block.reason IS 'what stands for words, as in transaction';

CREATE TABLE ledger.operator_act (
    member_id UUID NOT NULL,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    acted_by TEXT NOT NULL,
    CONSTRAINT operator_act_pkey PRIMARY KEY (member_id, business_date, transaction_id)
);

COMMENT ON COLUMN ledger.operator_act.business_date IS 'with transaction_id: what was done';

COMMENT ON COLUMN ledger.operator_act.acted_by IS 'who it was, of the operator''s';

CREATE TABLE ledger.lot (
    member_id UUID NOT NULL,
    lot_id UUID NOT NULL,
    issuer_id UUID NOT NULL,
    agreement_id UUID NOT NULL,
    funding_plan_id UUID,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    issued_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sequence BIGINT NOT NULL,
    ordinal INTEGER DEFAULT 0 NOT NULL,
    from_member_id UUID,
    from_lot_id UUID,
    matures_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    first_expires_at TIMESTAMP WITH TIME ZONE,
    points BIGINT NOT NULL,
    pending BIGINT NOT NULL,
    available BIGINT NOT NULL,
    held BIGINT DEFAULT 0 NOT NULL,
    recalled BIGINT DEFAULT 0 NOT NULL,
    burned BIGINT DEFAULT 0 NOT NULL,
    expired BIGINT DEFAULT 0 NOT NULL,
    reversed BIGINT DEFAULT 0 NOT NULL,
    transferred BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT lot_pkey PRIMARY KEY (member_id, lot_id),
    CONSTRAINT lot_conserved_check CHECK (pending + available + held + burned + expired + reversed + transferred = points),
    CONSTRAINT lot_never_negative_check CHECK (points > 0 AND pending >= 0 AND available >= 0 AND held >= 0 AND burned >= 0 AND expired >= 0 AND reversed >= 0 AND transferred >= 0),
    CONSTRAINT lot_recalled_are_held_check CHECK (recalled BETWEEN 0 AND held),
    CONSTRAINT lot_origin_is_whole_check CHECK ((from_member_id IS NULL) = (from_lot_id IS NULL)),
    CONSTRAINT lot_pending_matures_check CHECK (pending = 0 OR matures_at IS NOT NULL),
    CONSTRAINT lot_matures_first_check CHECK (matures_at IS NULL OR expires_at IS NULL OR matures_at < expires_at),
    CONSTRAINT lot_finite_check CHECK (isfinite(matures_at) AND isfinite(expires_at)),
    CONSTRAINT lot_never_sooner_check CHECK ((expires_at IS NULL) = (first_expires_at IS NULL) AND expires_at >= first_expires_at)
);

CREATE INDEX lots_from ON ledger.lot (from_member_id, from_lot_id) WHERE from_member_id IS NOT NULL;

CREATE INDEX lots_to_mature ON ledger.lot (member_id, matures_at) WHERE pending > 0;

CREATE INDEX lots_to_spend ON ledger.lot (member_id, expires_at, sequence, ordinal) WHERE available > 0;

COMMENT ON COLUMN ledger.lot.agreement_id IS 'the issuer''s, whose prices are the lot''s for good';

COMMENT ON COLUMN ledger.lot.funding_plan_id IS 'NULL: the issuer alone funds it';

COMMENT ON COLUMN ledger.lot.business_date IS 'with transaction_id: what made it here';

COMMENT ON COLUMN ledger.lot.issued_at IS 'when its points came into being, at whomever';

COMMENT ON COLUMN ledger.lot.sequence IS 'of what made it in the member''s journal: its age';

COMMENT ON COLUMN ledger.lot.ordinal IS 'among the lots that came at once, as the giver would have spent them';

COMMENT ON COLUMN ledger.lot.from_member_id IS 'with from_lot_id: the lot that its points came from';

COMMENT ON COLUMN ledger.lot.from_lot_id IS 'NULL: they were issued to this member';

COMMENT ON COLUMN ledger.lot.matures_at IS 'NULL: matured when issued';

COMMENT ON COLUMN ledger.lot.expires_at IS 'NULL: never';

COMMENT ON COLUMN ledger.lot.first_expires_at IS 'as it came, for good; what the member does and grace periods move expires_at to later';

COMMENT ON COLUMN ledger.lot.points IS 'as issued; the rest of the row says where they are';

COMMENT ON COLUMN ledger.lot.recalled IS 'of those held: their issue was reversed, and they leave when the hold ends';

CREATE TABLE ledger.member (
    member_id UUID NOT NULL,
    enrolled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    enrolled_by UUID NOT NULL,
    CONSTRAINT member_pkey PRIMARY KEY (member_id)
);

COMMENT ON COLUMN ledger.member.enrolled_by IS 'the partner at which the member joined';

CREATE TABLE ledger.programme (
    programme_id SMALLINT NOT NULL,
    name TEXT NOT NULL,
    mode TEXT NOT NULL,
    zone TEXT NOT NULL,
    currency TEXT NOT NULL,
    consent_limit_points BIGINT NOT NULL,
    hold_seconds INTEGER DEFAULT 900 NOT NULL,
    longest_hold_seconds INTEGER DEFAULT 604800 NOT NULL,
    late_days SMALLINT DEFAULT 90 NOT NULL,
    transfer_limit_points BIGINT DEFAULT 10000 NOT NULL,
    adjustment_limit_points BIGINT DEFAULT 1000 NOT NULL,
    voucher_limit_points BIGINT DEFAULT 10000 NOT NULL,
    voucher_seconds INTEGER DEFAULT 900 NOT NULL,
    voucher_grace_seconds INTEGER DEFAULT 86400 NOT NULL,
    clock_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT programme_pkey PRIMARY KEY (programme_id),
    CONSTRAINT programme_only_one_check CHECK (programme_id = 1),
    CONSTRAINT programme_mode_check CHECK (mode IN ('production', 'sandbox', 'demo')),
    CONSTRAINT programme_production_has_the_wall_clock_check CHECK (clock_at IS NULL OR mode <> 'production'),
    CONSTRAINT programme_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT programme_consent_limit_check CHECK (consent_limit_points >= 0),
    CONSTRAINT programme_hold_time_check CHECK (hold_seconds BETWEEN 1 AND longest_hold_seconds),
    CONSTRAINT programme_longest_hold_check CHECK (longest_hold_seconds <= 31536000),
    CONSTRAINT programme_late_days_check CHECK (late_days BETWEEN 0 AND 3660),
    CONSTRAINT programme_transfer_limit_check CHECK (transfer_limit_points >= 0),
    CONSTRAINT programme_adjustment_limit_check CHECK (adjustment_limit_points >= 0),
    CONSTRAINT programme_voucher_limit_check CHECK (voucher_limit_points >= 0),
    CONSTRAINT programme_voucher_time_check CHECK (voucher_seconds BETWEEN 1 AND 3600),
    CONSTRAINT programme_voucher_grace_check CHECK (voucher_grace_seconds BETWEEN 0 AND 2592000)
);

COMMENT ON COLUMN ledger.programme.programme_id IS 'always 1';

COMMENT ON COLUMN ledger.programme.zone IS 'IANA name; business dates are in this zone';

COMMENT ON COLUMN ledger.programme.currency IS 'ISO 4217; the programme settles in it';

COMMENT ON COLUMN ledger.programme.hold_seconds IS 'how long a hold lasts where the partner names no time';

COMMENT ON COLUMN ledger.programme.longest_hold_seconds IS 'how long a partner may ask for';

COMMENT ON COLUMN ledger.programme.late_days IS 'a transaction that occurred longer ago is not taken';

COMMENT ON COLUMN ledger.programme.transfer_limit_points IS 'what a member may give to others in one window';

COMMENT ON COLUMN ledger.programme.adjustment_limit_points IS 'what one operator may adjust without a second person';

COMMENT ON COLUMN ledger.programme.voucher_limit_points IS 'what a member may have in vouchers at a time';

COMMENT ON COLUMN ledger.programme.voucher_seconds IS 'for how long a voucher is good where the member names no time; an hour at most';

COMMENT ON COLUMN ledger.programme.voucher_grace_seconds IS 'how long after that it is taken from a till that was offline';

COMMENT ON COLUMN ledger.programme.clock_at IS 'NULL: the wall clock; else the time at which the clock stands';

CREATE TABLE ledger.receipt (
    partner_id UUID NOT NULL,
    kind TEXT NOT NULL,
    store TEXT NOT NULL,
    terminal TEXT NOT NULL,
    number TEXT NOT NULL,
    line INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    member_id UUID NOT NULL,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    CONSTRAINT receipt_pkey PRIMARY KEY (partner_id, kind, store, terminal, number, line, revision),
    CONSTRAINT receipt_kind_check CHECK (kind IN ('issue', 'redeem')),
    CONSTRAINT receipt_counted_check CHECK (line >= 0 AND revision >= 0)
);

CREATE TABLE ledger.settlement_window (
    business_date DATE NOT NULL,
    state TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    sealed_at TIMESTAMP WITH TIME ZONE,
    transactions BIGINT,
    entries BIGINT,
    merkle_root BYTEA,
    CONSTRAINT settlement_window_pkey PRIMARY KEY (business_date),
    CONSTRAINT settlement_window_state_check CHECK (state IN ('open', 'closed', 'sealed')),
    CONSTRAINT settlement_window_closed_when_closed_check CHECK ((state = 'open') = (closed_at IS NULL)),
    CONSTRAINT settlement_window_sealed_when_sealed_check CHECK ((state = 'sealed') = (sealed_at IS NOT NULL)),
    CONSTRAINT settlement_window_totals_when_sealed_check CHECK ((state = 'sealed') = (transactions IS NOT NULL AND entries IS NOT NULL)),
    CONSTRAINT settlement_window_root_when_sealed_check CHECK ((state = 'sealed') = (merkle_root IS NOT NULL))
);

CREATE UNIQUE INDEX one_open_window ON ledger.settlement_window ((state = 'open')) WHERE state = 'open';

COMMENT ON COLUMN ledger.settlement_window.sealed_at IS 'when its control totals were stored';

COMMENT ON COLUMN ledger.settlement_window.transactions IS 'control total: how many, set when sealed';

COMMENT ON COLUMN ledger.settlement_window.entries IS 'control total: how many, set when sealed';

COMMENT ON COLUMN ledger.settlement_window.merkle_root IS 'of its transactions by member and sequence (RFC 9162, 2.1.1)';

CREATE TABLE ledger.transaction (
    member_id UUID NOT NULL,
    business_date DATE NOT NULL,
    transaction_id UUID NOT NULL,
    sequence BIGINT NOT NULL,
    kind TEXT NOT NULL,
    partner_id UUID NOT NULL,
    agreement_id UUID,
    points BIGINT NOT NULL,
    amount NUMERIC(18, 4),
    store TEXT,
    terminal TEXT,
    receipt_number TEXT,
    receipt_line INTEGER,
    receipt_revision INTEGER,
    card_id UUID,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
    inserted_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    late BOOLEAN NOT NULL,
    reverses_date DATE,
    reverses_id UUID,
    undone_points BIGINT,
    hold_date DATE,
    hold_id UUID,
    other_member_id UUID,
    other_id UUID,
    confirmation_id UUID,
    idempotency_key TEXT,
    reason TEXT,
    digest BYTEA NOT NULL,
    available_after BIGINT NOT NULL,
    pending_after BIGINT NOT NULL,
    held_after BIGINT NOT NULL,
    deficit_after BIGINT NOT NULL,
    CONSTRAINT transaction_pkey PRIMARY KEY (member_id, business_date, transaction_id),
    CONSTRAINT transaction_member_id_business_date_sequence_key UNIQUE (member_id, business_date, sequence),
    CONSTRAINT transaction_kind_check CHECK (kind IN ('issue', 'redeem', 'authorize', 'capture', 'void', 'lapse', 'reverse_issue', 'reverse_redemption', 'mature', 'expire', 'recovery', 'transfer_out', 'transfer_in', 'merge_out', 'merge_in', 'unmerge_out', 'unmerge_in', 'adjust_in', 'adjust_out', 'pool_out', 'pool_in', 'unpool_out', 'unpool_in')),
    CONSTRAINT transaction_unsigned_check CHECK (points >= 0),
    CONSTRAINT transaction_reversal_names_what_check CHECK ((reverses_id IS NULL) = (kind NOT LIKE 'reverse%%')),
    CONSTRAINT transaction_reference_is_whole_check CHECK ((reverses_id IS NULL) = (reverses_date IS NULL)),
    CONSTRAINT transaction_reversal_says_how_much_check CHECK ((undone_points IS NULL) = (reverses_id IS NULL)),
    CONSTRAINT transaction_undone_check CHECK (undone_points >= 0),
    CONSTRAINT transaction_hold_is_named_check CHECK ((hold_id IS NULL) = (kind NOT IN ('capture', 'void', 'lapse'))),
    CONSTRAINT transaction_hold_reference_is_whole_check CHECK ((hold_id IS NULL) = (hold_date IS NULL)),
    CONSTRAINT transaction_other_side_is_named_check CHECK ((other_id IS NULL) = (kind NOT IN ('transfer_out', 'transfer_in', 'merge_out', 'merge_in', 'unmerge_out', 'unmerge_in', 'pool_out', 'pool_in', 'unpool_out', 'unpool_in'))),
    CONSTRAINT transaction_other_side_is_whole_check CHECK ((other_id IS NULL) = (other_member_id IS NULL)),
    CONSTRAINT transaction_digest_check CHECK (octet_length(digest) = 32),
    CONSTRAINT transaction_amount_check CHECK (amount >= 0 AND amount <> 'NaN'),
    CONSTRAINT transaction_finite_check CHECK (isfinite(occurred_at)),
    CONSTRAINT transaction_reason_is_no_words_check CHECK (kind IN ('adjust_in', 'adjust_out') OR reason ~ '^[0-9a-f]{64}$'),
    CONSTRAINT transaction_receipt_is_whole_check CHECK (num_nulls(store, terminal, receipt_number, receipt_line, receipt_revision) IN (0, 5))
)
 PARTITION BY RANGE (business_date);

CREATE INDEX reversals ON ledger.transaction (member_id, reverses_id) WHERE reverses_id IS NOT NULL;

CREATE INDEX transactions_by_date ON ledger.transaction USING brin (business_date);

CREATE INDEX transactions_of_partner ON ledger.transaction (partner_id, recorded_at, transaction_id);

COMMENT ON COLUMN ledger.transaction.business_date IS 'the window in which it was recorded';

COMMENT ON COLUMN ledger.transaction.sequence IS '1, 2, 3 … per member';

COMMENT ON COLUMN ledger.transaction.partner_id IS 'who acted; the network for maturity and expiry';

COMMENT ON COLUMN ledger.transaction.agreement_id IS 'whose R counts, for a redemption and its reversal';

COMMENT ON COLUMN ledger.transaction.reason IS 'an adjustment''s code; else what stands for words that people.sealed has, as reason:';

COMMENT ON COLUMN ledger.transaction.points IS 'how many it moved, unsigned';

COMMENT ON COLUMN ledger.transaction.amount IS 'the money spent, or that the points stand for, or that goes back';

COMMENT ON COLUMN ledger.transaction.card_id IS 'the identifier_id of the card that the member was named by';

COMMENT ON COLUMN ledger.transaction.late IS 'it occurred before its window opened';

COMMENT ON COLUMN ledger.transaction.undone_points IS 'how many points of what it reverses it takes back, still there or not';

COMMENT ON COLUMN ledger.transaction.hold_id IS 'with hold_date: the authorisation that it captures, voids or lets lapse';

COMMENT ON COLUMN ledger.transaction.other_member_id IS 'the other side of a transfer or a merge';

COMMENT ON COLUMN ledger.transaction.other_id IS 'with other_member_id: its transaction there, in the same window';

COMMENT ON COLUMN ledger.transaction.confirmation_id IS 'the member''s own consent to a redemption';

COMMENT ON COLUMN ledger.transaction.digest IS 'chains it to the member''s transaction before it';

CREATE TABLE ledger.pool (
    pool_id UUID NOT NULL,
    name TEXT NOT NULL,
    head_id UUID NOT NULL,
    spenders TEXT NOT NULL,
    spender_limit_points BIGINT,
    own_first BOOLEAN NOT NULL,
    most_members SMALLINT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pool_pkey PRIMARY KEY (pool_id),
    CONSTRAINT pool_name_is_no_words_check CHECK (name ~ '^[0-9a-f]{64}$'),
    CONSTRAINT pool_spenders_check CHECK (spenders IN ('all', 'head')),
    CONSTRAINT pool_spender_limit_check CHECK (spender_limit_points > 0),
    CONSTRAINT pool_most_members_check CHECK (most_members BETWEEN 2 AND 20)
);

COMMENT ON COLUMN ledger.pool.name IS 'what stands for the head''s words, as in transaction';

COMMENT ON COLUMN ledger.pool.head_id IS 'the member who opened it, invites and closes';

COMMENT ON COLUMN ledger.pool.spenders IS 'who may spend what the others have';

COMMENT ON COLUMN ledger.pool.spender_limit_points IS 'what one member may take of the others in one window; NULL: all that they have';

COMMENT ON COLUMN ledger.pool.own_first IS 'what the spender has goes before what others have';

COMMENT ON COLUMN ledger.pool.closed_at IS 'NULL: it is open';

CREATE TABLE ledger.pool_member (
    pool_id UUID NOT NULL,
    membership_id UUID NOT NULL,
    member_id UUID NOT NULL,
    invited_at TIMESTAMP WITH TIME ZONE NOT NULL,
    joined_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pool_member_pkey PRIMARY KEY (pool_id, membership_id),
    CONSTRAINT pool_member_in_time_check CHECK (joined_at >= invited_at AND ended_at >= coalesce(joined_at, invited_at))
);

CREATE UNIQUE INDEX pool_places ON ledger.pool_member (pool_id, member_id) WHERE ended_at IS NULL;
CREATE INDEX pools_of_member ON ledger.pool_member (member_id) WHERE ended_at IS NULL;

COMMENT ON COLUMN ledger.pool_member.joined_at IS 'NULL: the invitation was not accepted';

COMMENT ON COLUMN ledger.pool_member.ended_at IS 'NULL: a member, or invited';

CREATE TABLE ledger.adjustment (
    member_id UUID NOT NULL,
    adjustment_id UUID NOT NULL,
    points BIGINT NOT NULL,
    reason TEXT NOT NULL,
    note TEXT,
    issuer_id UUID,
    funding_plan_id UUID,
    proposed_by TEXT NOT NULL,
    proposed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT NOT NULL,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    business_date DATE,
    transaction_id UUID,
    CONSTRAINT adjustment_pkey PRIMARY KEY (member_id, adjustment_id),
    CONSTRAINT adjustment_points_check CHECK (points <> 0 AND abs(points) <= 1000000000),
    CONSTRAINT adjustment_issuer_of_what_is_given_check CHECK ((issuer_id IS NULL) = (points < 0)),
    CONSTRAINT adjustment_reason_check CHECK (reason IN ('goodwill', 'service_failure', 'correction', 'fraud', 'migration')),
    CONSTRAINT adjustment_note_is_no_words_check CHECK (note ~ '^[0-9a-f]{64}$'),
    CONSTRAINT adjustment_state_check CHECK (state IN ('proposed', 'posted', 'rejected')),
    CONSTRAINT adjustment_posted_when_posted_check CHECK ((state = 'posted') = (transaction_id IS NOT NULL)),
    CONSTRAINT adjustment_reference_is_whole_check CHECK ((transaction_id IS NULL) = (business_date IS NULL)),
    CONSTRAINT adjustment_rejected_by_somebody_check CHECK (state <> 'rejected' OR decided_by IS NOT NULL),
    CONSTRAINT adjustment_two_people_check CHECK (decided_by <> proposed_by OR state = 'rejected'),
    CONSTRAINT adjustment_member_id_fkey FOREIGN KEY(member_id) REFERENCES ledger.member (member_id)
);

CREATE INDEX adjustments_proposed ON ledger.adjustment (proposed_at) WHERE state = 'proposed';
CREATE INDEX adjustments_by_time ON ledger.adjustment (proposed_at, adjustment_id);

COMMENT ON COLUMN ledger.adjustment.points IS 'signed: given to the member, or taken';

COMMENT ON COLUMN ledger.adjustment.note IS 'what stands for the operator''s words, as in transaction';

COMMENT ON COLUMN ledger.adjustment.issuer_id IS 'who issues, and pays, what is given; NULL: points are taken';

COMMENT ON COLUMN ledger.adjustment.decided_by IS 'who approved or rejected it; NULL: it needed no second person';

COMMENT ON COLUMN ledger.adjustment.business_date IS 'with transaction_id: what posted it';

CREATE TABLE ledger.confirmation (
    member_id UUID NOT NULL,
    confirmation_id UUID NOT NULL,
    partner_id UUID NOT NULL,
    points BIGINT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_by UUID,
    CONSTRAINT confirmation_pkey PRIMARY KEY (member_id, confirmation_id),
    CONSTRAINT confirmation_points_check CHECK (points > 0),
    CONSTRAINT confirmation_member_id_fkey FOREIGN KEY(member_id) REFERENCES ledger.member (member_id)
);

COMMENT ON COLUMN ledger.confirmation.points IS 'at most so many';

COMMENT ON COLUMN ledger.confirmation.used_by IS 'the redemption that used it';

CREATE TABLE ledger.member_head (
    member_id UUID NOT NULL,
    available BIGINT DEFAULT 0 NOT NULL,
    pending BIGINT DEFAULT 0 NOT NULL,
    held BIGINT DEFAULT 0 NOT NULL,
    deficit BIGINT DEFAULT 0 NOT NULL,
    blocked BOOLEAN DEFAULT false NOT NULL,
    merged_into UUID,
    pool_id UUID,
    extends BOOLEAN DEFAULT false NOT NULL,
    last_sequence BIGINT DEFAULT 0 NOT NULL,
    last_recorded_at TIMESTAMP WITH TIME ZONE,
    digest BYTEA DEFAULT decode(repeat('00', 32), 'hex') NOT NULL,
    next_due_at TIMESTAMP WITH TIME ZONE,
    erased_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT member_head_pkey PRIMARY KEY (member_id),
    CONSTRAINT member_head_never_negative_check CHECK (available >= 0 AND pending >= 0 AND held >= 0 AND deficit >= 0),
    CONSTRAINT member_head_member_id_fkey FOREIGN KEY(member_id) REFERENCES ledger.member (member_id),
    CONSTRAINT member_head_merged_into_another_check CHECK (merged_into <> member_id),
    CONSTRAINT member_head_merged_are_in_no_pool_check CHECK (merged_into IS NULL OR pool_id IS NULL)
)
 WITH (fillfactor = 70);

CREATE INDEX members_due ON ledger.member_head (next_due_at, member_id) WHERE next_due_at IS NOT NULL;

CREATE INDEX members_merged ON ledger.member_head (merged_into) WHERE merged_into IS NOT NULL;

COMMENT ON COLUMN ledger.member_head.merged_into IS 'the member who has this one''s points now; NULL: nobody';

COMMENT ON COLUMN ledger.member_head.pool_id IS 'the pool that the member is in; NULL: none';

COMMENT ON COLUMN ledger.member_head.extends IS 'has had lots that lapse by inactivity: an activity may extend them';

COMMENT ON COLUMN ledger.member_head.digest IS 'of the member''s last transaction: the end of the chain';

COMMENT ON COLUMN ledger.member_head.next_due_at IS 'no maturity, lapse or expiry falls due before it; may be early, never late';

COMMENT ON COLUMN ledger.member_head.erased_at IS 'when the person was; nothing is posted after it';

CREATE TABLE ledger.review (
    member_id UUID NOT NULL,
    review_id UUID NOT NULL,
    partner_id UUID NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    kind TEXT NOT NULL,
    points BIGINT NOT NULL,
    store TEXT,
    terminal TEXT,
    receipt_number TEXT,
    limit_code TEXT NOT NULL,
    facts JSONB NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state TEXT DEFAULT 'waiting' NOT NULL,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    business_date DATE,
    transaction_id UUID,
    posted_with UUID,
    CONSTRAINT review_pkey PRIMARY KEY (member_id, review_id),
    CONSTRAINT review_member_id_partner_id_key_key UNIQUE (member_id, partner_id, key),
    CONSTRAINT review_state_check CHECK (state IN ('waiting', 'released', 'rejected', 'posted')),
    CONSTRAINT review_decided_by_somebody_check CHECK (state = 'posted' OR (state = 'waiting') = (decided_by IS NULL)),
    CONSTRAINT review_decision_is_whole_check CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CONSTRAINT review_posted_when_posted_check CHECK ((state = 'posted') = (transaction_id IS NOT NULL)),
    CONSTRAINT review_reference_is_whole_check CHECK ((transaction_id IS NULL) = (business_date IS NULL)),
    CONSTRAINT review_posted_with_another_check CHECK (posted_with <> member_id),
    CONSTRAINT review_member_id_fkey FOREIGN KEY(member_id) REFERENCES ledger.member (member_id)
);

CREATE INDEX reviews_by_age ON ledger.review (asked_at, review_id);

COMMENT ON COLUMN ledger.review.key IS 'with fingerprint: the wish that waits';

COMMENT ON COLUMN ledger.review.limit_code IS 'the rule that held it';

COMMENT ON COLUMN ledger.review.facts IS 'what the rule counted';

COMMENT ON COLUMN ledger.review.business_date IS 'with transaction_id: what it became';

COMMENT ON COLUMN ledger.review.posted_with IS 'whose transaction that is, where the member was merged into another';

CREATE TABLE ledger.window_node (
    business_date DATE NOT NULL,
    position BIGINT NOT NULL,
    first_member_id UUID NOT NULL,
    first_sequence BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    CONSTRAINT window_node_pkey PRIMARY KEY (business_date, position),
    CONSTRAINT window_node_business_date_fkey FOREIGN KEY(business_date) REFERENCES ledger.settlement_window (business_date)
);

COMMENT ON COLUMN ledger.window_node.position IS '0, 1, 2 … of the whole subtrees, left to right';

COMMENT ON COLUMN ledger.window_node.first_member_id IS 'with first_sequence: its first transaction';

COMMENT ON COLUMN ledger.window_node.digest IS 'the root of the subtree of 1,024 transactions';

CREATE TABLE ledger.window_total (
    business_date DATE NOT NULL,
    kind TEXT NOT NULL,
    bucket TEXT NOT NULL,
    entries BIGINT NOT NULL,
    points NUMERIC(38, 0) NOT NULL,
    CONSTRAINT window_total_pkey PRIMARY KEY (business_date, kind, bucket),
    CONSTRAINT window_total_business_date_fkey FOREIGN KEY(business_date) REFERENCES ledger.settlement_window (business_date)
);

COMMENT ON COLUMN ledger.window_total.points IS 'sum of the signed points';

-- What no month's partition takes; the audit wants it empty.
CREATE TABLE ledger.transaction_default PARTITION OF ledger.transaction DEFAULT;

CREATE TABLE ledger.entry_default PARTITION OF ledger.entry DEFAULT;

-- The network is a party too: it funds, owes and receives, and is no partner.
INSERT INTO partners.partner (partner_id, code, name, state, may_issue, may_redeem, created_at)
VALUES ('00000000-0000-0000-0000-000000000000', 'network', 'The network', 'active', false, false, now());
