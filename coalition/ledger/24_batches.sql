-- Many wishes of one partner in one call, each with an outcome of its own. Issues that need nothing but themselves are
-- posted together, a statement for all of them; every other line goes through the member's part, like a single one,
-- under a savepoint. Which way a line goes shows nowhere: the rows are the same.
--
-- Order of locks: the window, all receipts by their keys, the pools by their ids, all members by theirs. So batches
-- don't deadlock with each other or with a till, whatever they have in common.

-- A line of a batch as the kernel works on it.
CREATE TYPE ledger.batch_line AS (
    nth              integer,   -- its place in the batch, from 1
    kind             text,      -- 'issue' or 'redeem'
    member_id        uuid,
    agreement_id     uuid,
    funding_plan_id  uuid,
    points           bigint,
    amount           numeric,
    key              text,
    fingerprint      bytea,
    store            text,
    terminal         text,
    receipt_number   text,
    receipt_line     integer,
    receipt_revision integer,
    identifier_id    uuid,
    occurred_at      timestamptz,
    matures_at       timestamptz,
    expires_at       timestamptz,
    confirmation_id  uuid,
    from_pool        boolean,
    transaction_id   uuid,      -- of what it will post
    lot_id           uuid       -- and of its lot
);

-- What became of a line: a posting, or a refusal's code and facts.
CREATE TYPE ledger.batch_outcome AS (
    nth            integer,
    refused        text,
    facts          jsonb,
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

-- Post a batch. One line's refusal stops no other, unless it is atomic: then the refusal of the first line that has
-- one is raised as BATCH_STOPPED, and nothing has moved. Nothing is read but by index: a plan that was made while a
-- table was small outlives that.
CREATE FUNCTION ledger.post_batch(p_partner uuid, p_lines json, p_atomic boolean, p_now timestamptz)
RETURNS SETOF ledger.batch_outcome
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp SET enable_seqscan = off AS $$
DECLARE
    wish    ledger.wish;
    lines   ledger.batch_line[];
    claimed boolean[];
    in_use  boolean[];
    cards   uuid[];
    plain   boolean[];
    line    ledger.batch_line;
    outcome ledger.batch_outcome;
BEGIN
    wish.partner_id := p_partner;
    wish := ledger.enter_window(wish, p_now);
    lines := ARRAY(SELECT l FROM ledger.read_batch(p_lines, wish.now) AS l ORDER BY l.nth);
    claimed := ledger.claim_receipts(lines, wish);
    wish := ledger.lock_batch(lines, wish);
    SELECT * INTO in_use, cards FROM ledger.identifiers_in_use(lines);
    plain := ledger.plain_lines(lines, claimed, in_use, cards, wish);

    FOR line IN SELECT l.* FROM unnest(lines) AS l WHERE NOT plain[l.nth] ORDER BY l.nth LOOP
        outcome := ledger.post_line(line, ledger.judge_claim(ledger.wish_of(line, wish), claimed[line.nth]));
        IF outcome.refused IS NOT NULL AND p_atomic THEN
            PERFORM ledger.refuse('BATCH_STOPPED', jsonb_build_object('line', line.nth - 1, 'code', outcome.refused, 'facts', outcome.facts));
        END IF;
        RETURN NEXT outcome;
    END LOOP;
    RETURN QUERY SELECT * FROM ledger.issue_plainly(lines, plain, cards, wish);
END $$;

-- An id out of a random one and a number, as UUID version 8 (RFC 9562, section 5.8): a batch needs two thousand, and a
-- server that was built without OpenSSL opens the system's source of randomness for each that it draws.
CREATE FUNCTION ledger.id_from(p_seed uuid, p_number integer) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(set_byte(set_byte(substr(sha256(uuid_send(p_seed) || int4send(p_number)), 1, 16), 6, 128), 8, 128), 'hex')::uuid
$$;

CREATE FUNCTION ledger.read_batch(p_lines json, p_now timestamptz) RETURNS SETOF ledger.batch_line
LANGUAGE sql VOLATILE AS $$
    SELECT l.nth, l.kind, l.member_id, l.agreement_id, l.funding_plan_id, l.points, l.amount, l.key, l.fingerprint,
           l.store, l.terminal, l.receipt_number, l.receipt_line, l.receipt_revision, l.identifier_id, coalesce(l.occurred_at, p_now),
           l.matures_at, l.expires_at, l.confirmation_id, coalesce(l.from_pool, false),
           ledger.id_from(transactions, l.nth), ledger.id_from(lots, l.nth)
    FROM json_populate_recordset(NULL::ledger.batch_line, p_lines) AS l
    CROSS JOIN gen_random_uuid() AS transactions CROSS JOIN gen_random_uuid() AS lots
$$;

-- Claim the lines' receipts, in the order of the receipts' keys. Returns for each line whether it has its own.
CREATE FUNCTION ledger.claim_receipts(p_lines ledger.batch_line[], p_wish ledger.wish) RETURNS boolean[]
LANGUAGE plpgsql AS $$
DECLARE
    claimed boolean[];
BEGIN
    WITH mine AS (
        INSERT INTO receipt (partner_id, kind, store, terminal, number, line, revision, member_id, business_date, transaction_id)
        SELECT p_wish.partner_id, l.kind, l.store, l.terminal, l.receipt_number, l.receipt_line, l.receipt_revision, l.member_id,
               p_wish.business_date, l.transaction_id
        FROM unnest(p_lines) AS l WHERE l.receipt_number IS NOT NULL
        ORDER BY l.kind, l.store, l.terminal, l.receipt_number, l.receipt_line, l.receipt_revision, l.nth
        ON CONFLICT DO NOTHING
        RETURNING transaction_id
    )
    SELECT array_agg(told.claimed ORDER BY told.nth) INTO claimed FROM (
        SELECT min(nth) AS nth, count(*) = 2 AS claimed
        FROM (SELECT l.nth, l.transaction_id FROM unnest(p_lines) AS l UNION ALL SELECT NULL, transaction_id FROM mine) AS each
        GROUP BY transaction_id
    ) AS told;
    RETURN claimed;
END $$;

-- Lock all members whom the lines name, in the order of their ids; before them the pools that are to be drawn on,
-- with all who are in these. What a member is by then, merged or in a pool or neither, is read after this.
CREATE FUNCTION ledger.lock_batch(p_lines ledger.batch_line[], INOUT p_wish ledger.wish)
LANGUAGE plpgsql AS $$
DECLARE
    members uuid[] := ARRAY(SELECT DISTINCT member_id FROM unnest(p_lines));
    drawn   uuid[] := ARRAY(SELECT DISTINCT member_id FROM unnest(p_lines) WHERE from_pool);
    pools   uuid[] := ledger.pools_of(drawn);
    one     uuid;
BEGIN
    IF drawn = '{}' THEN
        PERFORM FROM member_head WHERE member_id = ANY (members) ORDER BY member_id FOR UPDATE;
        RETURN;
    END IF;
    FOREACH one IN ARRAY pools LOOP
        PERFORM ledger.lock_pool(one);
        members := members || ledger.members_of_pool(one);
    END LOOP;
    p_wish := ledger.lock_pooled(p_wish, members);
    IF ledger.pools_of(drawn) <> pools THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'a member joined or left a pool meanwhile';
    END IF;
END $$;

CREATE FUNCTION ledger.pools_of(p_members uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(SELECT DISTINCT pool_id FROM member_head WHERE member_id = ANY (p_members) AND pool_id IS NOT NULL ORDER BY pool_id)
$$;

-- Whether the lines name their members by what may be used, as ledger.check_identifier judges it of one; and which
-- of it are cards. One that is not the member's own, but of somebody who was merged into it, is left to that.
CREATE FUNCTION ledger.identifiers_in_use(p_lines ledger.batch_line[], OUT in_use boolean[], OUT cards uuid[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT array_agg(l.identifier_id IS NULL OR coalesce(c.state = 'active', false) ORDER BY l.nth),
           array_agg(CASE WHEN c.kind = 'card' THEN l.identifier_id END ORDER BY l.nth)
    INTO in_use, cards
    FROM unnest(p_lines) AS l LEFT JOIN LATERAL (
        SELECT kind, state FROM identifier_change
        WHERE member_id = l.member_id AND identifier_id = l.identifier_id ORDER BY number DESC LIMIT 1
    ) AS c ON true;
END $$;

-- Which lines are issues that need nothing but themselves, and are of members whose other lines are such, too: the
-- receipt is its own, the key is new, nothing has come due, nothing is owed or extended, and no guard may have
-- anything to say. A line that is none of these is not refused yet; the member's part decides.
CREATE FUNCTION ledger.plain_lines(
    p_lines ledger.batch_line[], p_claimed boolean[], p_in_use boolean[], p_cards uuid[], p_wish ledger.wish
) RETURNS boolean[]
LANGUAGE plpgsql AS $$
DECLARE
    fit     boolean[] := ledger.fit_by_terms(p_lines, p_wish);
    members uuid[]    := ARRAY(SELECT DISTINCT member_id FROM unnest(p_lines));
    special uuid[]; -- members who took in others, or were part of one, or of whom this partner asked what was held for review
    plain   boolean[];
BEGIN
    -- A pool's member may spend what another line's member has.
    IF EXISTS (SELECT FROM unnest(p_lines) WHERE from_pool) THEN RETURN array_fill(false, ARRAY[cardinality(p_lines)]); END IF;

    special := ARRAY(
        SELECT merged_into FROM member_head WHERE merged_into = ANY (members)
        UNION SELECT named_id FROM idempotency WHERE named_id = ANY (members)
        UNION SELECT member_id FROM review WHERE member_id = ANY (members) AND partner_id = p_wish.partner_id);
    SELECT array_agg(judged.plain ORDER BY judged.nth) INTO plain FROM (
        SELECT l.nth, bool_and(
            fit[l.nth] AND p_in_use[l.nth] AND l.once AND coalesce(l.points BETWEEN (l.amount IS NULL)::int AND 1000000000, false)
            AND (l.receipt_number IS NULL OR (p_claimed[l.nth] AND l.receipt_revision = 0))
            AND l.occurred_at BETWEEN p_wish.oldest AND p_wish.now + interval '5 minutes'
            -- LIMIT, so that each is looked up; without it the whole table may be hashed for a batch.
            AND (SELECT true FROM idempotency i WHERE i.member_id = l.member_id AND i.partner_id = p_wish.partner_id AND i.key = l.key LIMIT 1) IS NULL
            AND h.member_id IS NOT NULL AND h.erased_at IS NULL AND h.merged_into IS NULL AND NOT h.blocked
            AND l.member_id <> ALL (special)
            AND h.deficit = 0 AND NOT h.extends
            AND coalesce(least(h.next_due_at, l.expires_at) > greatest(p_wish.now, h.last_recorded_at), true)
        ) OVER (PARTITION BY l.member_id) AS plain
        FROM (SELECT *, count(*) OVER (PARTITION BY member_id, key) = 1 AS once FROM unnest(p_lines)) AS l
        LEFT JOIN member_head h USING (member_id)
    ) AS judged;
    IF cardinality(p_wish.limits) > 0 THEN
        SELECT array_agg(judged.plain ORDER BY judged.nth) INTO plain FROM (
            SELECT l.nth, bool_and(
                plain[l.nth] AND NOT ledger.may_exceed(ledger.wish_of(l.line, p_wish, p_cards[l.nth]), h, l.postings, l.points_together)
            ) OVER (PARTITION BY l.member_id) AS plain
            FROM (
                SELECT u.nth, u.member_id, u AS line, count(*) OVER mine AS postings, sum(u.points) OVER mine AS points_together
                FROM unnest(p_lines) AS u WINDOW mine AS (PARTITION BY u.member_id)
            ) AS l LEFT JOIN member_head h USING (member_id)
        ) AS judged;
    END IF;
    RETURN plain;
END $$;

-- Which lines are issues that the partner may make where and when it says, by the terms that it named, and of points
-- that no activity will extend.
CREATE FUNCTION ledger.fit_by_terms(p_lines ledger.batch_line[], p_wish ledger.wish) RETURNS boolean[]
LANGUAGE plpgsql AS $$
DECLARE
    fit   boolean[] := array_fill(false, ARRAY[cardinality(p_lines)]);
    alike record;
    one   integer;
BEGIN
    FOR alike IN
        SELECT l.store, l.agreement_id, l.funding_plan_id, min(l.occurred_at) AS occurred_at, array_agg(l.nth) AS places
        FROM unnest(p_lines) AS l CROSS JOIN programme WHERE l.kind = 'issue'
        GROUP BY l.store, l.agreement_id, l.funding_plan_id, (l.occurred_at AT TIME ZONE programme.zone)::date
    LOOP
        CONTINUE WHEN alike.funding_plan_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM partners.funding_plan f WHERE f.funding_plan_id = alike.funding_plan_id);
        CONTINUE WHEN EXISTS (SELECT FROM partners.agreement a WHERE a.agreement_id = alike.agreement_id AND a.expiry_rule = 'inactivity');
        p_wish.store := alike.store;
        p_wish.agreement_id := alike.agreement_id;
        p_wish.occurred_at := alike.occurred_at;
        BEGIN
            PERFORM ledger.check_partner(p_wish, 'an issuer');
        EXCEPTION WHEN SQLSTATE 'CO001' THEN CONTINUE;
        END;
        FOREACH one IN ARRAY alike.places LOOP
            fit[one] := true;
        END LOOP;
    END LOOP;
    RETURN fit;
END $$;

-- The batch's wish with what one line asks; p_card, where it is known already.
CREATE FUNCTION ledger.wish_of(p_line ledger.batch_line, p_wish ledger.wish, p_card uuid DEFAULT NULL) RETURNS ledger.wish
LANGUAGE plpgsql AS $$
BEGIN
    p_wish.kind := p_line.kind;
    p_wish.agreement_id := p_line.agreement_id;
    p_wish.points := p_line.points;
    p_wish.amount := p_line.amount;
    p_wish.key := p_line.key;
    p_wish.fingerprint := p_line.fingerprint;
    p_wish.occurred_at := p_line.occurred_at;
    p_wish.transaction_id := p_line.transaction_id;
    p_wish.store := p_line.store;
    p_wish.terminal := p_line.terminal;
    p_wish.receipt_number := p_line.receipt_number;
    p_wish.receipt_line := p_line.receipt_line;
    p_wish.receipt_revision := p_line.receipt_revision;
    p_wish.identifier_id := p_line.identifier_id;
    p_wish.card_id := p_card;
    RETURN p_wish;
END $$;

-- Post one line as it would be posted alone. A refusal undoes what the line did, and its claim of a receipt.
CREATE FUNCTION ledger.post_line(p_line ledger.batch_line, p_wish ledger.wish) RETURNS ledger.batch_outcome
LANGUAGE plpgsql AS $$
DECLARE
    posted  ledger.posting;
    outcome ledger.batch_outcome;
    code    text;
    facts   jsonb;
BEGIN
    IF p_line.points IS NULL OR p_line.points > 1000000000 OR p_line.points < (p_line.kind = 'redeem' OR p_line.amount IS NULL)::int THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_line.points));
    END IF;
    IF p_line.kind = 'issue' THEN
        posted := ledger.issue(p_line.member_id, p_wish, p_line.funding_plan_id, p_line.matures_at, p_line.expires_at);
    ELSE
        IF p_line.from_pool THEN p_wish := ledger.enter_pool(p_wish, p_line.member_id); END IF;
        posted := ledger.redeem(p_line.member_id, p_wish, p_line.confirmation_id, (SELECT consent_limit_points FROM programme));
    END IF;
    outcome := (p_line.nth, NULL, NULL, posted.member_id, posted.business_date, posted.transaction_id, posted.replayed, posted.points,
                posted.recorded_at, posted.late, posted.available, posted.pending, posted.held, posted.deficit);
    RETURN outcome;
EXCEPTION WHEN SQLSTATE 'CO001' THEN
    GET STACKED DIAGNOSTICS code = MESSAGE_TEXT, facts = PG_EXCEPTION_DETAIL;
    -- Not by its transaction alone: the receipts' key finds the row.
    DELETE FROM receipt
    WHERE partner_id = p_wish.partner_id AND kind = p_line.kind AND store = p_line.store AND terminal = p_line.terminal
      AND number = p_line.receipt_number AND line = p_line.receipt_line AND revision = p_line.receipt_revision
      AND transaction_id = p_line.transaction_id;
    outcome.nth := p_line.nth;
    outcome.refused := code;
    outcome.facts := facts;
    RETURN outcome;
END $$;

-- Post the plain lines, all in one statement: what ledger.issue, ledger.append_transaction and ledger.conclude write
-- for one. Members are locked, and what follows a line of the same member is numbered and chained after it.
CREATE FUNCTION ledger.issue_plainly(p_lines ledger.batch_line[], p_plain boolean[], p_cards uuid[], p_wish ledger.wish)
RETURNS SETOF ledger.batch_outcome
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH placed AS (
        -- What a line of the same member's adds is there for the next.
        SELECT l.*, p_cards[l.nth] AS card_id, h.last_sequence + row_number() OVER mine AS sequence, m.recorded_at, m.matured,
               l.occurred_at < p_wish.window_opened AS late, CASE WHEN m.matured THEN 'available' ELSE 'pending' END AS bucket,
               (h.available + coalesce(sum(l.points) FILTER (WHERE m.matured) OVER mine, 0))::bigint AS available,
               (h.pending + coalesce(sum(l.points) FILTER (WHERE NOT m.matured) OVER mine, 0))::bigint AS pending,
               h.held, h.deficit, h.digest AS digest_before, clock_timestamp() AS inserted_at,
               min(CASE WHEN l.points = 0 THEN NULL WHEN m.matured THEN l.expires_at ELSE l.matures_at END) OVER mine AS due_at,
               lead(l.nth) OVER mine IS NULL AS last
        FROM unnest(p_lines) AS l JOIN member_head h USING (member_id)
        CROSS JOIN LATERAL (SELECT greatest(p_wish.now, h.last_recorded_at) AS recorded_at,
                                   coalesce(l.matures_at <= greatest(p_wish.now, h.last_recorded_at), true) AS matured) AS m
        WHERE p_plain[l.nth]
        WINDOW mine AS (PARTITION BY l.member_id ORDER BY l.nth)
    ), chained AS (
        SELECT p.*, ledger.chained_on(p.digest_before, ledger.content_digest(
                   ledger.public_text(ROW(
                       p.member_id, p_wish.business_date, p.transaction_id, p.sequence, 'issue', p_wish.partner_id, p.agreement_id, p.points,
                       p.amount, p.store, p.terminal, p.receipt_number, p.receipt_line, p.receipt_revision, p.card_id, p.occurred_at,
                       p.recorded_at, p.inserted_at, p.late, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, p.key, NULL, NULL,
                       p.available, p.pending, p.held, p.deficit)::transaction),
                   ledger.legs_and_balances(
                       CASE WHEN p.points > 0 THEN concat_ws(E'\n',
                           ledger.leg_text(1, 'issued', -p.points, p.lot_id, NULL, p_wish.partner_id, p.agreement_id, p.funding_plan_id),
                           ledger.lot_text(p.recorded_at, p.sequence, 0, p.matures_at, p.expires_at, NULL, NULL),
                           ledger.leg_text(2, p.bucket, p.points, p.lot_id, NULL, p_wish.partner_id, p.agreement_id, p.funding_plan_id)) END,
                       p.inserted_at, p.available, p.pending, p.held, p.deficit)
               )) OVER (PARTITION BY p.member_id ORDER BY p.nth) AS digest
        FROM placed p
    ), journal AS (
        INSERT INTO transaction (
            member_id, business_date, transaction_id, sequence, kind, partner_id, agreement_id, points, amount, store, terminal, receipt_number,
            receipt_line, receipt_revision, card_id, occurred_at, recorded_at, inserted_at, late, idempotency_key, digest,
            available_after, pending_after, held_after, deficit_after)
        SELECT c.member_id, p_wish.business_date, c.transaction_id, c.sequence, 'issue', p_wish.partner_id, c.agreement_id, c.points, c.amount,
               c.store, c.terminal, c.receipt_number, c.receipt_line, c.receipt_revision, c.card_id, c.occurred_at, c.recorded_at,
               c.inserted_at, c.late, c.key, c.digest, c.available, c.pending, c.held, c.deficit
        FROM chained c
    ), lots AS (
        INSERT INTO lot (member_id, lot_id, issuer_id, agreement_id, funding_plan_id, business_date, transaction_id, issued_at, sequence,
                         matures_at, expires_at, first_expires_at, points, pending, available)
        SELECT c.member_id, c.lot_id, p_wish.partner_id, c.agreement_id, c.funding_plan_id, p_wish.business_date, c.transaction_id,
               c.recorded_at, c.sequence, c.matures_at, c.expires_at, c.expires_at, c.points,
               CASE WHEN c.matured THEN 0 ELSE c.points END, CASE WHEN c.matured THEN c.points ELSE 0 END
        FROM chained c WHERE c.points > 0
    ), legs AS (
        INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
        SELECT c.member_id, p_wish.business_date, c.transaction_id, leg.ordinal, CASE leg.ordinal WHEN 1 THEN 'issued' ELSE c.bucket END,
               leg.sign * c.points, c.lot_id, p_wish.partner_id, c.agreement_id, c.funding_plan_id
        FROM chained c CROSS JOIN (VALUES (1, -1), (2, 1)) AS leg (ordinal, sign) WHERE c.points > 0
    ), keys AS (
        INSERT INTO idempotency (member_id, partner_id, key, fingerprint, business_date, transaction_id, available, pending, held, deficit)
        SELECT c.member_id, p_wish.partner_id, c.key, c.fingerprint, p_wish.business_date, c.transaction_id,
               c.available, c.pending, c.held, c.deficit
        FROM chained c
    ), heads AS (
        UPDATE member_head h SET
            available = c.available, pending = c.pending, last_sequence = c.sequence, last_recorded_at = c.recorded_at,
            next_due_at = least(h.next_due_at, c.due_at), digest = c.digest
        FROM chained c WHERE h.member_id = c.member_id AND c.last
    )
    SELECT c.nth, NULL::text, NULL::jsonb, c.member_id, p_wish.business_date, c.transaction_id, false, c.points, c.recorded_at, c.late,
           c.available, c.pending, c.held, c.deficit
    FROM chained c;
END $$;
