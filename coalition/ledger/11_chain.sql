-- Tamper evidence: each member's transactions form a hash chain, and each closed window's a Merkle tree.
--
-- A transaction's digest is SHA-256(digest before || SHA-256(public) || SHA-256(private)), where `public` is
-- what the acting partner knows of it and `private` all else that is written with it and stays: its legs, as they came
-- the lots, claims and hold that began with it, the other side of what changed hands, and the balances after it. So a
-- partner can be handed `public` and two digests, and check that its transaction is in the window whose root was
-- published, and learns nothing of other issuers' lots, nor of other members.

-- A moment, as the digest has it.
CREATE FUNCTION ledger.moment_text(p timestamptz) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT to_char(p AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- What the acting partner knows of its transaction: JSON, with the keys in this order and without nulls. Written by
-- hand, since json_build_object and json_strip_nulls take a fifth of the time of an issue in a batch: a part
-- whose value is null is null, and concat leaves it out.
CREATE FUNCTION ledger.public_text(p transaction) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT concat(
        '{"member":"', p.member_id, '","window":"', p.business_date, '","transaction":"', p.transaction_id, '","sequence":', p.sequence,
        ',"kind":"', p.kind, '","partner":"', p.partner_id, '"', ',"agreement":"' || p.agreement_id || '"', ',"points":', p.points,
        ',"amount":"' || p.amount || '"', ',"store":' || to_json(p.store), ',"terminal":' || to_json(p.terminal),
        ',"receipt":' || to_json(p.receipt_number), ',"line":' || p.receipt_line, ',"revision":' || p.receipt_revision,
        ',"card":"' || p.card_id || '"',
        ',"occurred_at":"', ledger.moment_text(p.occurred_at), '"', ',"recorded_at":"', ledger.moment_text(p.recorded_at), '"',
        ',"late":', p.late::text, ',"reverses":"' || p.reverses_id || '"', ',"reverses_window":"' || p.reverses_date || '"',
        ',"undone":' || p.undone_points, ',"hold":"' || p.hold_id || '"', ',"hold_window":"' || p.hold_date || '"',
        ',"confirmation":"' || p.confirmation_id || '"', ',"key":' || to_json(p.idempotency_key),
        ',"reason":' || to_json(p.reason), '}')
$$;

-- A leg, as the digest has it.
CREATE FUNCTION ledger.leg_text(
    p_ordinal bigint, p_bucket text, p_points bigint, p_lot uuid, p_deficit uuid, p_issuer uuid, p_agreement uuid, p_plan uuid
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws('|', p_ordinal, p_bucket, p_points, p_lot, p_deficit, p_issuer, p_agreement, p_plan)
$$;

-- What a lot came with, and keeps, on a line after the leg that brought it. Its day of expiry may move later, by what
-- the member does or by a grace period: that is counted again from the journal, so the first one is what is sealed.
CREATE FUNCTION ledger.lot_text(
    p_issued_at timestamptz, p_sequence bigint, p_ordinal integer, p_matures_at timestamptz, p_first_expires_at timestamptz,
    p_from_member uuid, p_from_lot uuid
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat('lot|', ledger.moment_text(p_issued_at), '|', p_sequence, '|', p_ordinal, '|', ledger.moment_text(p_matures_at), '|',
                  ledger.moment_text(p_first_expires_at), '|', p_from_member, '|', p_from_lot)
$$;

-- A transaction's legs, one a line in their order, and what else is private; then when the database wrote it, and the
-- balances after it. Not these where there is nothing else: what can be guessed would tell them to who has the digest,
-- and they are those before it. (The legs stand here once, so that the planner puts the body in the place of a call.)
CREATE FUNCTION ledger.legs_and_balances(
    p_legs text, p_inserted_at timestamptz, p_available bigint, p_pending bigint, p_held bigint, p_deficit bigint
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(p_legs || concat(E'\ninserted|', ledger.moment_text(p_inserted_at), E'\nafter|', p_available, '|', p_pending, '|',
                                     p_held, '|', p_deficit),
                    'inserted|' || ledger.moment_text(p_inserted_at))
$$;

CREATE FUNCTION ledger.private_text(p transaction) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    legs  text;
    began text;
    other text := 'other|' || p.other_member_id || '|' || p.other_id;
BEGIN
    -- What begins here is looked up by its id, one by one, and only for the legs that bring something.
    SELECT string_agg(
               ledger.leg_text(e.ordinal, e.bucket, e.points, e.lot_id, e.deficit_id, e.issuer_id, e.agreement_id, e.funding_plan_id)
               || CASE WHEN e.bucket IN ('issued', 'received') THEN (
                      SELECT E'\n' || ledger.lot_text(l.issued_at, l.sequence, l.ordinal, l.matures_at, l.first_expires_at,
                                                      l.from_member_id, l.from_lot_id)
                      FROM lot l WHERE l.member_id = p.member_id AND l.lot_id = e.lot_id)
                  WHEN e.deficit_id IS NOT NULL AND e.bucket = 'reversed' AND e.points > 0 THEN (
                      SELECT concat(E'\nclaim|', ledger.moment_text(d.claimed_at), '|', d.sequence, '|', d.ordinal, '|', d.points, '|',
                                    d.claimant_id, '|', d.agreement_id, '|', d.lot_id, '|', d.from_member_id, '|', d.from_deficit_id)
                      FROM deficit d WHERE d.member_id = p.member_id AND d.deficit_id = e.deficit_id)
                  ELSE '' END,
               E'\n' ORDER BY e.ordinal) INTO legs
    FROM entry e
    WHERE e.member_id = p.member_id AND e.business_date = p.business_date AND e.transaction_id = p.transaction_id;
    IF p.kind = 'authorize' THEN
        SELECT concat('hold|', ledger.moment_text(h.authorized_at), '|', ledger.moment_text(h.lapses_at), '|', ledger.moment_text(h.redeem_by),
                      '|', h.points, '|', h.partner_id, '|', h.agreement_id, '|', h.confirmed, '|', h.pooled) INTO began
        FROM hold h WHERE h.member_id = p.member_id AND h.business_date = p.business_date AND h.transaction_id = p.transaction_id;
    END IF;
    RETURN ledger.legs_and_balances(nullif(concat_ws(E'\n', legs, began, other), ''), p.inserted_at,
                                    p.available_after, p.pending_after, p.held_after, p.deficit_after);
END $$;

-- What of a transaction's digest is its own, without the one before.
CREATE FUNCTION ledger.content_digest(p_public text, p_private text) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(p_public, 'UTF8')) || sha256(convert_to(p_private, 'UTF8'))
$$;

-- The digest of a transaction that follows one with the given digest.
CREATE FUNCTION ledger.chained(p_before bytea, p transaction) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(p_before || ledger.content_digest(ledger.public_text(p), ledger.private_text(p)))
$$;

-- The same over several of a member's transactions in their order, the first of which follows p_before.
CREATE FUNCTION ledger.chain_on(p_last bytea, p_before bytea, p_content bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN sha256(coalesce(p_last, p_before) || p_content);
END $$;

CREATE AGGREGATE ledger.chained_on(p_before bytea, p_content bytea) (SFUNC = ledger.chain_on, STYPE = bytea);

-- What one needs to recompute a transaction's digest and is not told its legs.
CREATE FUNCTION ledger.witness(p_member uuid, p_date date, p_id uuid)
RETURNS TABLE (public_text text, private_digest bytea, digest_before bytea, sequence bigint, digest bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    posted transaction;
BEGIN
    SELECT * INTO posted FROM transaction WHERE member_id = p_member AND business_date = p_date AND transaction_id = p_id;
    IF posted.transaction_id IS NULL THEN PERFORM ledger.refuse('TRANSACTION_UNKNOWN'); END IF;
    public_text := ledger.public_text(posted);
    private_digest := sha256(convert_to(ledger.private_text(posted), 'UTF8'));
    digest_before := coalesce(
        (SELECT t.digest FROM transaction t
         WHERE t.member_id = p_member AND t.business_date <= p_date AND t.sequence = posted.sequence - 1),
        decode(repeat('00', 32), 'hex'));
    sequence := posted.sequence;
    digest := posted.digest;
    RETURN NEXT;
END $$;

-- The Merkle root of a window, by RFC 9162, section 2.1.1, over its transactions' digests in the order of
-- member and sequence. Keeps the root of each whole subtree of 1,024, from which proofs are made without
-- reading the window again. The stack holds one digest per level: memory stays small whatever the window.
CREATE FUNCTION ledger.plant_tree(p_business_date date) RETURNS bytea
LANGUAGE plpgsql AS $$
DECLARE
    leaf    record;
    levels  integer[] := '{}';
    digests bytea[]   := '{}';
    node    bytea;
    level   integer;
    top     integer   := 0;
    planted bigint    := 0;
    opening record;
BEGIN
    FOR leaf IN
        SELECT member_id, sequence, digest FROM transaction
        WHERE business_date = p_business_date ORDER BY member_id, sequence
    LOOP
        IF planted % 1024 = 0 THEN opening := leaf; END IF;
        planted := planted + 1;
        node := sha256('\x00'::bytea || leaf.digest);
        level := 0;
        WHILE top > 0 AND levels[top] = level LOOP
            node := sha256('\x01'::bytea || digests[top] || node);
            top := top - 1;
            level := level + 1;
            IF level = 10 THEN
                INSERT INTO window_node (business_date, position, first_member_id, first_sequence, digest)
                VALUES (p_business_date, planted / 1024 - 1, opening.member_id, opening.sequence, node);
            END IF;
        END LOOP;
        top := top + 1;
        levels[top] := level;
        digests[top] := node;
    END LOOP;
    IF top = 0 THEN RETURN sha256(''::bytea); END IF;
    node := digests[top];
    WHILE top > 1 LOOP
        top := top - 1;
        node := sha256('\x01'::bytea || digests[top] || node);
    END LOOP;
    RETURN node;
END $$;
