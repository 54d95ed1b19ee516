-- Points that change hands: given by one member to another, or brought along in a merge.
-- A received lot is a new lot of the receiver with the issuer, prices, funders, maturity and expiry of the one
-- that its points came from, to which it leads back. No issue charge arises: nothing was issued.

-- The heads of several members, locked in the order of their ids, one statement each.
CREATE FUNCTION ledger.lock_heads(p_members uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    one uuid;
BEGIN
    FOR one IN SELECT DISTINCT u FROM unnest(p_members) AS u ORDER BY u LOOP
        PERFORM FROM member_head WHERE member_id = one FOR UPDATE;
    END LOOP;
END $$;

CREATE FUNCTION ledger.head_of(p_member uuid) RETURNS ledger.member_head
LANGUAGE sql STABLE AS $$ SELECT * FROM member_head WHERE member_id = p_member $$;

-- Hand points over: so many that are available, those that expire soonest first; or (NULL) all, what is
-- pending and what is owed included. The giver's transaction and the taker's name each other.
CREATE FUNCTION ledger.hand_over(
    INOUT giver ledger.member_head, INOUT taker ledger.member_head, p_wish ledger.wish,
    p_kind text, p_out uuid, p_in uuid, p_points bigint, p_reason text DEFAULT NULL, p_pays boolean DEFAULT true
) LANGUAGE plpgsql AS $$
DECLARE
    source       lot;
    fresh        lot;
    rest         bigint  := p_points;
    of_pending   bigint;
    of_available bigint;
    pending      bigint  := 0;
    available    bigint  := 0;
    arrived      uuid[]  := '{}';
    ordinal      integer := 0;
BEGIN
    FOR source IN
        SELECT * FROM lot WHERE lot.member_id = giver.member_id AND (lot.available > 0 OR (p_points IS NULL AND lot.pending > 0))
        ORDER BY lot.expires_at, lot.sequence, lot.ordinal
    LOOP
        EXIT WHEN rest = 0;
        of_pending := CASE WHEN p_points IS NULL THEN source.pending ELSE 0 END;
        of_available := least(source.available, coalesce(rest, source.available));
        rest := rest - of_available;
        UPDATE lot SET pending = lot.pending - of_pending, available = lot.available - of_available,
                       transferred = lot.transferred + of_pending + of_available
        WHERE lot.member_id = source.member_id AND lot.lot_id = source.lot_id;

        fresh := source;
        fresh.member_id := taker.member_id;
        fresh.lot_id := gen_random_uuid();
        fresh.business_date := p_wish.business_date;
        fresh.transaction_id := p_in;
        fresh.sequence := taker.last_sequence + 1;
        fresh.ordinal := ordinal;
        fresh.from_member_id := source.member_id;
        fresh.from_lot_id := source.lot_id;
        fresh.first_expires_at := source.expires_at;
        fresh.points := of_pending + of_available;
        fresh.pending := of_pending;
        fresh.available := of_available;
        fresh.held := 0;
        fresh.recalled := 0;
        fresh.burned := 0;
        fresh.expired := 0;
        fresh.reversed := 0;
        fresh.transferred := 0;
        INSERT INTO lot VALUES (fresh.*);
        arrived := arrived || fresh.lot_id;

        INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
        SELECT leg.member_id, p_wish.business_date, leg.transaction_id, ordinal + leg.nth, leg.bucket, leg.points, leg.lot_id,
               source.issuer_id, source.agreement_id, source.funding_plan_id
        FROM (VALUES (giver.member_id, p_out, 1, 'pending', -of_pending, source.lot_id),
                     (giver.member_id, p_out, 2, 'available', -of_available, source.lot_id),
                     (giver.member_id, p_out, 3, 'transferred', fresh.points, source.lot_id),
                     (taker.member_id, p_in, 1, 'received', -fresh.points, fresh.lot_id),
                     (taker.member_id, p_in, 2, 'pending', of_pending, fresh.lot_id),
                     (taker.member_id, p_in, 3, 'available', of_available, fresh.lot_id))
             AS leg (member_id, transaction_id, nth, bucket, points, lot_id)
        WHERE leg.points <> 0;
        ordinal := ordinal + 3;
        pending := pending + of_pending;
        available := available + of_available;
        taker.next_due_at := least(taker.next_due_at, CASE WHEN of_pending > 0 THEN fresh.matures_at END, fresh.expires_at);
    END LOOP;
    ASSERT coalesce(rest, 0) = 0, 'the head promised more points than the lots have';
    giver.pending := giver.pending - pending;
    taker.extends := taker.extends OR giver.extends;
    giver.available := giver.available - available;
    taker.pending := taker.pending + pending;
    taker.available := taker.available + available;
    IF p_points IS NULL THEN
        SELECT * INTO giver.deficit, taker.deficit FROM ledger.hand_over_deficits(giver, taker, p_wish, p_out, p_in, ordinal);
    END IF;
    giver := ledger.append_transaction(giver, p_wish, p_out, p_kind || '_out', '00000000-0000-0000-0000-000000000000', NULL,
                                       pending + available, p_reason => p_reason, p_other_member => taker.member_id, p_other_id => p_in);
    taker := ledger.append_transaction(taker, p_wish, p_in, p_kind || '_in', '00000000-0000-0000-0000-000000000000', NULL,
                                       pending + available, p_reason => p_reason, p_other_member => giver.member_id, p_other_id => p_out);
    -- What becomes available to a member pays what that member owes, unless it came for a purchase or was its person's.
    IF p_pays THEN taker := ledger.pay_deficits(taker, p_wish, arrived, available); END IF;
END $$;

-- Who brought a claim along in a merge; NULL: nobody, it arose here. One that an un-merge gave back is again what it
-- was before that merge.
CREATE FUNCTION ledger.brought_by(p_member uuid, p_deficit uuid) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    claim  record;
    undone integer := 0;  -- un-merges whose merges are still to come, on the way back
BEGIN
    LOOP
        SELECT d.from_member_id, d.from_deficit_id, came.kind INTO claim
        FROM deficit d JOIN transaction came USING (member_id, business_date, transaction_id)
        WHERE d.member_id = p_member AND d.deficit_id = p_deficit;
        IF claim.kind = 'unmerge_in' THEN
            undone := undone + 1;
        ELSE
            EXIT WHEN undone = 0;
            undone := undone - 1;
        END IF;
        p_member := claim.from_member_id;
        p_deficit := claim.from_deficit_id;
    END LOOP;
    RETURN claim.from_member_id;
END $$;

-- What the giver owes the taker owes from now on: each open claim ends there and begins here; of all, or of those
-- that this one brought along.
CREATE FUNCTION ledger.hand_over_deficits(
    giver ledger.member_head, taker ledger.member_head, p_wish ledger.wish, p_out uuid, p_in uuid, p_after integer,
    OUT left_with_giver bigint, OUT now_with_taker bigint, p_only_from uuid DEFAULT NULL
) LANGUAGE plpgsql AS $$
DECLARE
    claim   deficit;
    fresh   deficit;
    ordinal integer := p_after;
BEGIN
    left_with_giver := giver.deficit;
    now_with_taker := taker.deficit;
    FOR claim IN
        SELECT * FROM deficit
        WHERE member_id = giver.member_id AND open_points > 0
          AND (p_only_from IS NULL OR ledger.brought_by(member_id, deficit_id) = p_only_from)
        ORDER BY sequence, deficit.ordinal
    LOOP
        fresh := claim;
        fresh.member_id := taker.member_id;
        fresh.deficit_id := gen_random_uuid();
        fresh.from_member_id := claim.member_id;
        fresh.from_deficit_id := claim.deficit_id;
        fresh.business_date := p_wish.business_date;
        fresh.transaction_id := p_in;
        fresh.sequence := taker.last_sequence + 1;
        fresh.ordinal := ordinal;
        fresh.points := claim.open_points;
        UPDATE deficit SET open_points = 0 WHERE member_id = claim.member_id AND deficit_id = claim.deficit_id;
        INSERT INTO deficit VALUES (fresh.*);
        INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, deficit_id) VALUES
            (giver.member_id, p_wish.business_date, p_out, ordinal + 1, 'available', claim.open_points, claim.deficit_id),
            (giver.member_id, p_wish.business_date, p_out, ordinal + 2, 'reversed', -claim.open_points, claim.deficit_id),
            (taker.member_id, p_wish.business_date, p_in, ordinal + 1, 'available', -claim.open_points, fresh.deficit_id),
            (taker.member_id, p_wish.business_date, p_in, ordinal + 2, 'reversed', claim.open_points, fresh.deficit_id);
        ordinal := ordinal + 2;
        left_with_giver := left_with_giver - claim.open_points;
        now_with_taker := now_with_taker + claim.open_points;
    END LOOP;
END $$;

-- One member gives points to another. p_named is whose identifier named the giver: its own, or (as with
-- ledger.check_identifier) that of a record which is merged into it, for whom the key is remembered when they are apart.
-- p_by is who of the operator's did it on the giver's behalf; NULL: the giver did.
CREATE FUNCTION ledger.post_transfer(
    p_member uuid, p_to uuid, p_points bigint, p_key text, p_fingerprint bytea, p_reason text, p_now timestamptz,
    p_named uuid DEFAULT NULL, p_by text DEFAULT NULL
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish    ledger.wish;
    giver   member_head;
    taker   member_head;
    earlier ledger.posting;
    sides    record;
    allowed bigint;
BEGIN
    wish.kind := 'transfer';
    wish.partner_id := '00000000-0000-0000-0000-000000000000';
    wish.points := p_points;
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.transaction_id := gen_random_uuid();
    wish.named_id := nullif(p_named, p_member);
    wish := ledger.enter_window(wish, p_now);
    PERFORM ledger.lock_heads(ARRAY[p_member, p_to]);
    giver := ledger.head_of(p_member);
    taker := ledger.head_of(p_to);

    -- Refusals, in the order of coalition.errors.
    IF p_points IS NULL OR p_points NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    IF giver.member_id IS NULL         THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    -- Which of the two it is, here and below, for the caller to know whom to tell what.
    IF taker.member_id IS NULL         THEN PERFORM ledger.refuse('MEMBER_UNKNOWN', jsonb_build_object('receiver', true)); END IF;
    earlier := ledger.replay(wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    IF giver.erased_at IS NOT NULL     THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF taker.erased_at IS NOT NULL     THEN PERFORM ledger.refuse('MEMBER_UNKNOWN', jsonb_build_object('receiver', true)); END IF;
    IF giver.merged_into IS NOT NULL OR taker.merged_into IS NOT NULL THEN
        PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', coalesce(giver.merged_into, taker.merged_into)));
    END IF;
    IF wish.named_id IS NOT NULL AND wish.named_id <> ALL (ledger.absorbed(p_member)) THEN
        PERFORM ledger.refuse('MEMBER_MERGED');
    END IF;
    IF p_member = p_to THEN PERFORM ledger.refuse('TRANSFER_TO_ONESELF'); END IF;
    IF giver.blocked                   THEN PERFORM ledger.refuse('MEMBER_BLOCKED'); END IF;
    IF taker.blocked                   THEN PERFORM ledger.refuse('MEMBER_BLOCKED', jsonb_build_object('receiver', true)); END IF;
    SELECT transfer_limit_points - (
        SELECT coalesce(sum(points), 0) FROM transaction
        WHERE member_id = ANY (p_member || ledger.absorbed(p_member)) AND business_date = wish.business_date AND kind = 'transfer_out'
    ) INTO allowed FROM programme;
    IF p_points > allowed THEN
        PERFORM ledger.refuse('TRANSFER_LIMIT_EXCEEDED', jsonb_build_object('allowed', greatest(allowed, 0), 'requested', p_points));
    END IF;
    wish.now := greatest(wish.now, giver.last_recorded_at, taker.last_recorded_at);
    wish.occurred_at := wish.now;
    giver := ledger.bring_up_to_date(giver, wish);
    taker := ledger.bring_up_to_date(taker, wish);
    IF giver.available < p_points THEN
        PERFORM ledger.refuse('INSUFFICIENT_POINTS', jsonb_build_object('available', giver.available, 'requested', p_points));
    END IF;
    PERFORM ledger.check_limits(wish, giver);
    -- From here on nothing is refused.

    SELECT * INTO sides FROM ledger.hand_over(giver, taker, wish, 'transfer', wish.transaction_id, gen_random_uuid(), p_points, p_reason);
    PERFORM ledger.store_head(sides.taker);
    IF p_by IS NOT NULL THEN
        INSERT INTO operator_act VALUES (p_member, wish.business_date, wish.transaction_id, p_by);
    END IF;
    RETURN ledger.conclude(sides.giver, wish, p_points);
END $$;
