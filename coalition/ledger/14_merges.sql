-- Two records of one person become one, and can become two again. A merge hands all that the one has to the
-- other and says that it is merged into it; its identifiers, keys and journal stay where they are and are found
-- through it. An un-merge gives back what is left of the lots that came along, to the point, to the very lots
-- they came from. Nothing is rewritten: both are transactions.

-- All who were merged into a member, and into those.
CREATE FUNCTION ledger.absorbed(p_member uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found uuid[] := '{}';
    next  uuid[] := ARRAY[p_member];
BEGIN
    LOOP
        next := ARRAY(SELECT member_id FROM member_head WHERE merged_into = ANY (next));
        EXIT WHEN cardinality(next) = 0;
        found := found || next;
    END LOOP;
    RETURN found;
END $$;

-- The member, and those it was merged into, one after the other; the last is who has the points.
CREATE FUNCTION ledger.line_of(p_member uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    line uuid[] := '{}';
    next uuid   := p_member;
BEGIN
    WHILE next IS NOT NULL LOOP
        line := line || next;
        next := (SELECT merged_into FROM member_head WHERE member_id = next);
    END LOOP;
    RETURN line;
END $$;

-- The lots that a merged record brought along, into the merge as it stands: what came in one that was undone since,
-- and is there again, by a return, is the survivor's own. Of those, which came from the named lots (p_from).
CREATE FUNCTION ledger.brought_along(p_member uuid, p_merged uuid, p_from uuid[] DEFAULT NULL) RETURNS SETOF ledger.lot
LANGUAGE sql STABLE AS $$
    SELECT lot.* FROM lot JOIN transaction came USING (member_id, business_date, transaction_id)
    WHERE member_id = p_member AND lot.from_member_id = p_merged AND came.kind = 'merge_in' AND (p_from IS NULL OR lot.from_lot_id = ANY (p_from))
      AND came.sequence > coalesce((
          SELECT max(parted.sequence) FROM transaction parted
          WHERE parted.member_id = p_member AND parted.other_member_id = p_merged AND parted.kind = 'unmerge_out' AND parted.idempotency_key IS NOT NULL), 0)
$$;

CREATE FUNCTION ledger.post_merge(
    p_member uuid, p_merged uuid, p_key text, p_fingerprint bytea, p_by text, p_reason text, p_now timestamptz
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish     ledger.wish;
    survivor member_head;
    merged   member_head;
    earlier  ledger.posting;
    sides     record;
BEGIN
    wish.kind := 'merge';
    wish.partner_id := '00000000-0000-0000-0000-000000000000';
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.transaction_id := gen_random_uuid();
    wish := ledger.enter_window(wish, p_now);
    PERFORM ledger.lock_heads(ARRAY[p_member, p_merged]);
    survivor := ledger.head_of(p_member);
    merged := ledger.head_of(p_merged);

    -- Refusals, in the order of coalition.errors.
    -- Which of the two it is, here and below, for the caller to know which one was named wrongly.
    IF survivor.member_id IS NULL OR merged.member_id IS NULL THEN
        PERFORM ledger.refuse('MEMBER_UNKNOWN', jsonb_build_object('merged', survivor.member_id IS NOT NULL));
    END IF;
    earlier := ledger.replay(wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    IF survivor.erased_at IS NOT NULL OR merged.erased_at IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    -- A merged member can be merged nowhere else, and nobody into it: so there are no rings.
    IF survivor.merged_into IS NOT NULL OR merged.merged_into IS NOT NULL THEN
        PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object(
            'survivor', coalesce(survivor.merged_into, merged.merged_into), 'merged', survivor.merged_into IS NULL));
    END IF;
    IF p_member = p_merged THEN PERFORM ledger.refuse('MERGE_WITH_ONESELF'); END IF;
    wish.now := greatest(wish.now, survivor.last_recorded_at, merged.last_recorded_at);
    wish.occurred_at := wish.now;
    survivor := ledger.bring_up_to_date(survivor, wish);
    merged := ledger.bring_up_to_date(merged, wish);
    IF merged.pool_id IS NOT NULL THEN PERFORM ledger.refuse('ALREADY_IN_POOL', jsonb_build_object('merged', true)); END IF;
    -- Or its cards, which name the survivor from now on, would spend again.
    IF merged.blocked AND NOT survivor.blocked THEN PERFORM ledger.refuse('MEMBER_BLOCKED'); END IF;
    IF merged.held > 0 THEN PERFORM ledger.refuse('MEMBER_HAS_HOLDS', jsonb_build_object('held', merged.held, 'merged', true)); END IF;
    -- From here on nothing is refused.

    -- Nothing that comes along pays a debt: the two had it all before, and are to have it again when they part.
    SELECT * INTO sides FROM ledger.hand_over(merged, survivor, wish, 'merge', gen_random_uuid(), wish.transaction_id, NULL, p_reason,
                                              p_pays => false);
    PERFORM ledger.store_head(sides.giver);
    UPDATE member_head SET merged_into = p_member WHERE member_id = p_merged;
    INSERT INTO operator_act VALUES (p_member, wish.business_date, wish.transaction_id, p_by);
    RETURN ledger.conclude(sides.taker, wish, (SELECT points FROM transaction
        WHERE member_id = p_member AND business_date = wish.business_date AND transaction_id = wish.transaction_id));
END $$;

CREATE FUNCTION ledger.post_unmerge(
    p_member uuid, p_merged uuid, p_key text, p_fingerprint bytea, p_by text, p_reason text, p_now timestamptz
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish     ledger.wish;
    survivor member_head;
    merged   member_head;
    earlier  ledger.posting;
    sides     record;
    along    uuid[];
    held     bigint;
BEGIN
    wish.kind := 'unmerge';
    wish.partner_id := '00000000-0000-0000-0000-000000000000';
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.transaction_id := gen_random_uuid();
    wish := ledger.enter_window(wish, p_now);
    PERFORM ledger.lock_heads(ARRAY[p_member, p_merged]);
    survivor := ledger.head_of(p_member);
    merged := ledger.head_of(p_merged);

    -- Refusals, in the order of coalition.errors.
    IF survivor.member_id IS NULL OR merged.member_id IS NULL THEN
        PERFORM ledger.refuse('MEMBER_UNKNOWN', jsonb_build_object('merged', survivor.member_id IS NOT NULL));
    END IF;
    earlier := ledger.replay(wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    IF survivor.erased_at IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF survivor.merged_into IS NOT NULL THEN
        -- Its points went on with the survivor's: the later merge is undone first.
        PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', survivor.merged_into));
    END IF;
    IF merged.merged_into IS DISTINCT FROM p_member THEN PERFORM ledger.refuse('NOT_MERGED'); END IF;
    wish.now := greatest(wish.now, survivor.last_recorded_at, merged.last_recorded_at);
    wish.occurred_at := wish.now;
    survivor := ledger.bring_up_to_date(survivor, wish);
    -- Of what came along, by the survivor or, from a pool, by others; what else the survivor has set aside is its own.
    SELECT coalesce(array_agg(lot.lot_id), '{}'), coalesce(sum(lot.held), 0) INTO along, held FROM ledger.brought_along(p_member, p_merged) AS lot;
    held := held + ledger.lent(ARRAY[p_member], along);
    IF held > 0 THEN PERFORM ledger.refuse('MEMBER_HAS_HOLDS', jsonb_build_object('held', held, 'merged', true)); END IF;
    -- From here on nothing is refused.

    SELECT * INTO sides FROM ledger.hand_back(survivor, merged, wish, wish.transaction_id, gen_random_uuid(), NULL, p_reason);
    PERFORM ledger.store_head(sides.taker);
    UPDATE member_head SET merged_into = NULL WHERE member_id = p_merged;
    INSERT INTO operator_act VALUES (p_member, wish.business_date, wish.transaction_id, p_by);
    RETURN ledger.conclude(sides.giver, wish, (SELECT points FROM transaction
        WHERE member_id = p_member AND business_date = wish.business_date AND transaction_id = wish.transaction_id));
END $$;

-- Give back what is left of the lots that came along in a merge, to the lots they came from; of all, with what
-- was owed, or (p_lots) of those that came from the named ones.
CREATE FUNCTION ledger.hand_back(
    INOUT giver ledger.member_head, INOUT taker ledger.member_head, p_wish ledger.wish,
    p_out uuid, p_in uuid, p_lots uuid[], p_reason text DEFAULT NULL
) LANGUAGE plpgsql AS $$
DECLARE
    source    lot;
    pending   bigint  := 0;
    available bigint  := 0;
    ordinal   integer := 0;
BEGIN
    FOR source IN
        SELECT * FROM ledger.brought_along(giver.member_id, taker.member_id, p_lots) AS along
        WHERE along.pending > 0 OR along.available > 0
        ORDER BY along.expires_at, along.sequence, along.ordinal
    LOOP
        UPDATE lot SET pending = 0, available = 0, transferred = lot.transferred + source.pending + source.available
        WHERE lot.member_id = source.member_id AND lot.lot_id = source.lot_id;
        -- A grace period or an extension that it got meanwhile goes back with it.
        UPDATE lot SET pending = lot.pending + source.pending, available = lot.available + source.available,
                       transferred = lot.transferred - source.pending - source.available, expires_at = source.expires_at
        WHERE lot.member_id = taker.member_id AND lot.lot_id = source.from_lot_id;
        INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
        SELECT leg.member_id, p_wish.business_date, leg.transaction_id, ordinal + leg.nth, leg.bucket, leg.points, leg.lot_id,
               source.issuer_id, source.agreement_id, source.funding_plan_id
        FROM (VALUES (giver.member_id, p_out, 1, 'pending', -source.pending, source.lot_id),
                     (giver.member_id, p_out, 2, 'available', -source.available, source.lot_id),
                     (giver.member_id, p_out, 3, 'transferred', source.pending + source.available, source.lot_id),
                     (taker.member_id, p_in, 1, 'transferred', -source.pending - source.available, source.from_lot_id),
                     (taker.member_id, p_in, 2, 'pending', source.pending, source.from_lot_id),
                     (taker.member_id, p_in, 3, 'available', source.available, source.from_lot_id))
             AS leg (member_id, transaction_id, nth, bucket, points, lot_id)
        WHERE leg.points <> 0;
        ordinal := ordinal + 3;
        pending := pending + source.pending;
        available := available + source.available;
        taker.next_due_at := least(taker.next_due_at, CASE WHEN source.pending > 0 THEN source.matures_at END, source.expires_at);
    END LOOP;
    giver.pending := giver.pending - pending;
    taker.extends := taker.extends OR giver.extends;
    giver.available := giver.available - available;
    taker.pending := taker.pending + pending;
    taker.available := taker.available + available;
    IF p_lots IS NULL THEN
        SELECT * INTO giver.deficit, taker.deficit
        FROM ledger.hand_over_deficits(giver, taker, p_wish, p_out, p_in, ordinal, p_only_from => taker.member_id);
    END IF;
    giver := ledger.append_transaction(giver, p_wish, p_out, 'unmerge_out', '00000000-0000-0000-0000-000000000000', NULL,
                                       pending + available, p_reason => p_reason, p_other_member => taker.member_id, p_other_id => p_in);
    taker := ledger.append_transaction(taker, p_wish, p_in, 'unmerge_in', '00000000-0000-0000-0000-000000000000', NULL,
                                       pending + available, p_reason => p_reason, p_other_member => giver.member_id, p_other_id => p_out);
END $$;

-- What the first of a line of merges has, and each of the next, goes on to the last of it. It pays what is owed there
-- (p_pays), unless the last had it before.
CREATE FUNCTION ledger.pass_on(p_line uuid[], p_wish ledger.wish, p_pays boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    sides record;
BEGIN
    FOR step IN 1 .. cardinality(p_line) - 1 LOOP
        IF (SELECT available + pending + deficit > 0 FROM member_head WHERE member_id = p_line[step]) THEN
            SELECT * INTO sides FROM ledger.hand_over(
                ledger.head_of(p_line[step]), ledger.head_of(p_line[step + 1]), p_wish, 'merge', gen_random_uuid(), gen_random_uuid(), NULL,
                p_pays => p_pays);
            PERFORM ledger.store_head(sides.giver);
            PERFORM ledger.store_head(sides.taker);
        END IF;
    END LOOP;
END $$;

-- Reverse what was posted to a member before its merge. What is left of an issue's points comes back along the
-- line of merges first; then it is reversed as ever; and what the member has then goes to the survivor again.
CREATE FUNCTION ledger.reverse_merged(
    p_member uuid, p_wish ledger.wish, p_date date, p_id uuid, p_points bigint, p_amount_before numeric, p_reason text
) RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    line    uuid[] := ledger.line_of(p_member);
    last    uuid   := line[cardinality(line)];
    wanted  uuid[];
    lots    uuid[];
    sides    record;
    held    bigint := 0;
    answer  ledger.posting;
BEGIN
    PERFORM ledger.lock_heads(line);
    IF line IS DISTINCT FROM ledger.line_of(p_member) THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'members were merged or un-merged meanwhile';
    END IF;
    answer := ledger.replay(p_wish, p_member);
    IF answer.transaction_id IS NOT NULL THEN RETURN answer; END IF;
    -- The key may be the survivor's by now, or that of another record of it.
    IF EXISTS (SELECT FROM ledger.remembered(last, p_wish.partner_id, p_wish.key)) THEN PERFORM ledger.refuse('IDEMPOTENCY_CONFLICT'); END IF;
    p_wish.now := (SELECT greatest(p_wish.now, max(last_recorded_at)) FROM member_head WHERE member_id = ANY (line));

    PERFORM ledger.store_head(ledger.bring_up_to_date(ledger.head_of(last), p_wish));

    -- The lots, at each step of the line, in which an issue's points are.
    wanted := ARRAY(SELECT lot_id FROM lot WHERE member_id = p_member AND business_date = p_date AND transaction_id = p_id);
    FOR step IN REVERSE cardinality(line) - 1 .. 1 LOOP
        lots := wanted;
        FOR deeper IN 2 .. step LOOP
            lots := ARRAY(SELECT lot_id FROM ledger.brought_along(line[deeper], line[deeper - 1], lots));
        END LOOP;
        held := held + (SELECT coalesce(sum(along.held), 0) FROM ledger.brought_along(line[step + 1], line[step], lots) AS along);
        IF EXISTS (SELECT FROM ledger.brought_along(line[step + 1], line[step], lots) WHERE pending > 0 OR available > 0) THEN
            SELECT * INTO sides FROM ledger.hand_back(
                ledger.head_of(line[step + 1]), ledger.head_of(line[step]), p_wish, gen_random_uuid(), gen_random_uuid(), lots);
            PERFORM ledger.store_head(sides.giver);
            PERFORM ledger.store_head(sides.taker);
        END IF;
    END LOOP;

    answer := ledger.reverse(p_member, p_wish, p_date, p_id, p_points, p_amount_before, p_reason, p_held => held);

    -- Of an issue the survivor had before what it gets; of a redemption it has it again, which pays what it owes.
    PERFORM ledger.pass_on(line, p_wish, p_pays => wanted = '{}');
    RETURN answer;
END $$;
