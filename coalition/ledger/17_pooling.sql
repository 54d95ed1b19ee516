-- Spending from a pool. What the spender lacks comes from the others' lots, those that expire soonest first, by
-- transactions that name each other (pool_out, pool_in), and is burned or held in the same transaction: points
-- that a pool gave are never a member's to keep. What of them is released or given back goes back, by
-- unpool_out and unpool_in, to the very lots they came from; so nobody draws on a pool and has it undone to
-- gain points.
--
-- Order of locks: the window, the receipt, the pool, then all its members by their ids. A hold's or a
-- redemption's givers are locked with its member, before anything is read.

-- Lock the pool that the member is in, if it is in one, and all its members; let what is over lapse.
CREATE FUNCTION ledger.enter_pool(INOUT p_wish ledger.wish, p_member uuid)
LANGUAGE plpgsql AS $$
DECLARE
    head    member_head := ledger.head_in_pool(p_member);
    pooling uuid[];
    one     uuid;
BEGIN
    p_wish.from_pool := true;
    p_wish.pool_id := head.pool_id;
    pooling := ledger.members_of_pool(head.pool_id) || p_member;
    p_wish := ledger.lock_pooled(p_wish, pooling);
    FOR one IN SELECT DISTINCT u FROM unnest(pooling) AS u ORDER BY u LOOP
        PERFORM ledger.store_head(ledger.end_pooled_holds(ledger.head_of(one), p_wish));
    END LOOP;
END $$;

-- Whether the member may draw on the pool at all.
CREATE FUNCTION ledger.check_pool(p_wish ledger.wish, head ledger.member_head) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF head.pool_id IS DISTINCT FROM p_wish.pool_id THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'the member joined or left a pool meanwhile';
    END IF;
    IF head.pool_id IS NULL THEN PERFORM ledger.refuse('NOT_IN_POOL'); END IF;
    IF EXISTS (SELECT FROM pool WHERE pool_id = head.pool_id AND spenders = 'head' AND head_id <> head.member_id) THEN
        PERFORM ledger.refuse('POOL_HEAD_ONLY');
    END IF;
END $$;

-- What a member had of others by way of a pool in one window, given back or not; it, and records that are merged into it.
CREATE FUNCTION ledger.taken_of_others(p_member uuid, p_business_date date) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    records uuid[] := p_member || ledger.absorbed(p_member);
BEGIN
    RETURN (
        SELECT coalesce(sum(points), 0) FROM transaction
        WHERE member_id = ANY (records) AND business_date = p_business_date AND kind = 'pool_in'
    );
END $$;

-- Bring what the spender lacks, or what expires before its own, from the others of the pool. Blocked members
-- give nothing. Refuses what the pool does not have, and what is beyond the spender's limit: that counts what
-- the others gave in this window, given back or not.
CREATE FUNCTION ledger.draw_on_pool(INOUT head ledger.member_head, p_wish ledger.wish)
LANGUAGE plpgsql AS $$
DECLARE
    ruling   pool;
    others   uuid[];
    one      uuid;
    giver    member_head;
    sides    record;
    total    bigint := head.available;
    givers   uuid[];
    shares   bigint[];
    of_own   bigint;
    allowed  bigint;
BEGIN
    SELECT * INTO ruling FROM pool WHERE pool_id = head.pool_id;
    others := ARRAY(SELECT member_id FROM member_head
                    WHERE member_id = ANY (ledger.members_of_pool(head.pool_id)) AND member_id <> head.member_id AND NOT blocked);
    FOREACH one IN ARRAY others LOOP
        giver := ledger.bring_up_to_date(ledger.head_of(one), p_wish);
        PERFORM ledger.store_head(giver);
        total := total + giver.available;
    END LOOP;

    SELECT array_agg(member_id ORDER BY member_id) FILTER (WHERE member_id <> head.member_id),
           array_agg(share ORDER BY member_id) FILTER (WHERE member_id <> head.member_id),
           coalesce(sum(share) FILTER (WHERE member_id = head.member_id), 0)
    INTO givers, shares, of_own
    FROM (
        SELECT member_id, sum(least(available, p_wish.points - before)) AS share
        FROM (
            SELECT member_id, available, sum(available) OVER (
                       ORDER BY ruling.own_first AND member_id <> head.member_id, expires_at,
                                member_id <> head.member_id, member_id
                       ROWS UNBOUNDED PRECEDING) - available AS before
            FROM lot WHERE member_id = ANY (others || head.member_id) AND available > 0
        ) AS queue
        WHERE before < p_wish.points
        GROUP BY member_id
    ) AS shared;
    allowed := ruling.spender_limit_points - ledger.taken_of_others(head.member_id, p_wish.business_date);
    IF p_wish.points - of_own > allowed THEN
        PERFORM ledger.refuse('POOL_LIMIT_EXCEEDED', jsonb_build_object('allowed', greatest(allowed, 0), 'requested', p_wish.points - of_own));
    END IF;
    IF total < p_wish.points THEN
        PERFORM ledger.refuse('INSUFFICIENT_POINTS', jsonb_build_object('available', total, 'requested', p_wish.points));
    END IF;

    FOR nth IN 1 .. coalesce(cardinality(givers), 0) LOOP
        SELECT * INTO sides FROM ledger.hand_over(
            ledger.head_of(givers[nth]), head, p_wish, 'pool', gen_random_uuid(), gen_random_uuid(), shares[nth], p_pays => false);
        PERFORM ledger.store_head(sides.giver);
        head := sides.taker;
    END LOOP;
END $$;

-- Who gave, by way of a pool, points of a redemption or a hold; with those into whom they were merged since.
CREATE FUNCTION ledger.givers_of(p_member uuid, p_date date, p_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    -- By their ids and not by a join: a member's many other lots are not so much as looked at.
    drawn uuid[] := ARRAY(SELECT lot_id FROM entry WHERE member_id = p_member AND business_date = p_date AND transaction_id = p_id);
    lots  lot[]  := ARRAY(SELECT l FROM lot l WHERE l.member_id = p_member AND l.lot_id = ANY (drawn) AND l.from_lot_id IS NOT NULL);
BEGIN
    IF lots = '{}' THEN RETURN '{}'; END IF;
    RETURN ARRAY(
        SELECT DISTINCT line.one
        FROM unnest(lots) AS l JOIN transaction t USING (member_id, business_date, transaction_id)
        CROSS JOIN LATERAL unnest(ledger.line_of(l.from_member_id)) AS line (one)
        WHERE t.kind = 'pool_in' ORDER BY line.one);
END $$;

-- How many points of these members, or of these lots of theirs, others of a pool hold. They come back to them: nobody
-- ends those holds without their locks.
CREATE FUNCTION ledger.lent(p_members uuid[], p_lots uuid[] DEFAULT NULL) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(l.held), 0)::bigint
    FROM lot l JOIN transaction came USING (member_id, business_date, transaction_id)
    WHERE l.from_member_id = ANY (p_members) AND (p_lots IS NULL OR l.from_lot_id = ANY (p_lots)) AND came.kind = 'pool_in'
      AND member_id IN (SELECT gave.other_member_id FROM transaction gave WHERE gave.member_id = ANY (p_members) AND gave.kind = 'pool_out')
$$;

-- Lock a member with all who may get points of this transaction back; with nobody else, as a rule.
CREATE FUNCTION ledger.lock_givers(INOUT p_wish ledger.wish, p_member uuid, p_date date, p_id uuid)
LANGUAGE plpgsql AS $$
DECLARE
    givers uuid[] := ledger.givers_of(p_member, p_date, p_id);
    line   uuid[] := ledger.line_of(p_member);
BEGIN
    IF givers = '{}' THEN RETURN; END IF;
    PERFORM ledger.lock_heads(givers || line);
    IF givers IS DISTINCT FROM ledger.givers_of(p_member, p_date, p_id) OR line IS DISTINCT FROM ledger.line_of(p_member) THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'members were merged or un-merged meanwhile';
    END IF;
    p_wish.givers := givers;
    p_wish.now := greatest(p_wish.now, (SELECT max(last_recorded_at) FROM member_head WHERE member_id = ANY (givers)));
END $$;

-- Lock members, with all who get points back from those of their holds that are over.
CREATE FUNCTION ledger.lock_pooled(INOUT p_wish ledger.wish, p_members uuid[])
LANGUAGE plpgsql AS $$
BEGIN
    p_wish.givers := ARRAY(
        SELECT DISTINCT one FROM hold h CROSS JOIN LATERAL unnest(ledger.givers_of(h.member_id, h.business_date, h.transaction_id)) AS one
        WHERE h.member_id = ANY (p_members) AND h.state = 'open' AND h.pooled AND h.lapses_at <= p_wish.now);
    PERFORM ledger.lock_heads(p_members || p_wish.givers);
    p_wish.now := greatest(p_wish.now, (SELECT max(last_recorded_at) FROM member_head WHERE member_id = ANY (p_members || p_wish.givers)));
END $$;

-- Let the member's holds lapse that are over and have points of others. Where somebody is not locked who gets
-- some back, since this became so only while it waited, the next one does it.
CREATE FUNCTION ledger.end_pooled_holds(INOUT head ledger.member_head, p_wish ledger.wish)
LANGUAGE plpgsql AS $$
DECLARE
    dying hold;
BEGIN
    IF head.held = 0 OR p_wish.givers = '{}' THEN RETURN; END IF;
    FOR dying IN
        SELECT h.* FROM hold h JOIN transaction t USING (member_id, business_date, transaction_id)
        WHERE h.member_id = head.member_id AND h.state = 'open' AND h.pooled AND h.lapses_at <= p_wish.now
          AND ledger.givers_of(h.member_id, h.business_date, h.transaction_id) <@ p_wish.givers
        ORDER BY h.lapses_at, t.sequence
    LOOP
        head := ledger.end_hold(head, p_wish, gen_random_uuid(), dying, 'lapse', 0);
    END LOOP;
    -- The rest of what was released was the member's own, and may have expired meanwhile.
    IF FOUND THEN head := ledger.bring_up_to_date(head, p_wish); END IF;
END $$;

-- What is available again in lots that a pool gave goes back to the lots they came from, and where their owner
-- was merged into another since, on to that one. What the owner owes is paid from it, and what expired lapses. Where
-- that other is the member itself it stays there: of a merged member ledger.reverse_merged passes all on.
CREATE FUNCTION ledger.return_to_givers(INOUT head ledger.member_head, p_wish ledger.wish, p_lots uuid[])
LANGUAGE plpgsql AS $$
DECLARE
    one    uuid;
    source lot;
    giver  member_head;
    line   uuid[];
    back   uuid[];
    had    bigint[];
    moved  bigint;
    until  timestamptz;
    out_id uuid;
    in_id  uuid;
BEGIN
    FOR one IN
        SELECT DISTINCT l.from_member_id
        FROM lot l JOIN transaction t USING (member_id, business_date, transaction_id)
        WHERE l.member_id = head.member_id AND l.lot_id = ANY (p_lots) AND l.available > 0 AND t.kind = 'pool_in'
        ORDER BY l.from_member_id
    LOOP
        line := ledger.line_of(one);
        ASSERT line <@ p_wish.givers, 'who gets points back is locked';
        giver := ledger.bring_up_to_date(ledger.head_of(one), p_wish);
        out_id := gen_random_uuid();
        in_id := gen_random_uuid();
        moved := 0;
        back := '{}';
        had := '{}';
        FOR source IN
            SELECT l.* FROM lot l JOIN transaction t USING (member_id, business_date, transaction_id)
            WHERE l.member_id = head.member_id AND l.lot_id = ANY (p_lots) AND l.available > 0 AND t.kind = 'pool_in'
              AND l.from_member_id = one
            ORDER BY l.ordinal  -- They came at once.
        LOOP
            had := had || (SELECT available FROM lot WHERE lot.member_id = one AND lot.lot_id = source.from_lot_id);
            UPDATE lot SET available = 0, transferred = lot.transferred + source.available
            WHERE lot.member_id = source.member_id AND lot.lot_id = source.lot_id;
            -- A grace period that it got meanwhile goes back with it, where the giver's has expired.
            UPDATE lot SET available = lot.available + source.available, transferred = lot.transferred - source.available,
                           expires_at = CASE WHEN lot.expires_at <= p_wish.now THEN greatest(lot.expires_at, source.expires_at)
                                             ELSE lot.expires_at END
            WHERE lot.member_id = one AND lot.lot_id = source.from_lot_id
            RETURNING lot.expires_at INTO until;
            INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
            SELECT leg.member_id, p_wish.business_date, leg.transaction_id, 2 * cardinality(back) + leg.nth, leg.bucket, leg.points, leg.lot_id,
                   source.issuer_id, source.agreement_id, source.funding_plan_id
            FROM (VALUES (head.member_id, out_id, 1, 'available', -source.available, source.lot_id),
                         (head.member_id, out_id, 2, 'transferred', source.available, source.lot_id),
                         (one, in_id, 1, 'transferred', -source.available, source.from_lot_id),
                         (one, in_id, 2, 'available', source.available, source.from_lot_id))
                 AS leg (member_id, transaction_id, nth, bucket, points, lot_id);
            moved := moved + source.available;
            back := back || source.from_lot_id;
            giver.next_due_at := least(giver.next_due_at, until);
        END LOOP;
        head.available := head.available - moved;
        giver.available := giver.available + moved;
        head := ledger.append_transaction(head, p_wish, out_id, 'unpool_out', '00000000-0000-0000-0000-000000000000', NULL, moved,
                                          p_other_member => one, p_other_id => in_id);
        giver := ledger.append_transaction(giver, p_wish, in_id, 'unpool_in', '00000000-0000-0000-0000-000000000000', NULL, moved,
                                           p_other_member => head.member_id, p_other_id => out_id);
        giver := ledger.pay_deficits(giver, p_wish, back, moved, had);
        giver := ledger.bring_up_to_date(giver, p_wish);
        PERFORM ledger.store_head(giver);
        IF cardinality(line) > 1 THEN
            -- It may have been merged into the very member who had its points.
            PERFORM ledger.store_head(head);
            PERFORM ledger.pass_on(line[1:coalesce(array_position(line, head.member_id), cardinality(line))], p_wish);
            head := ledger.head_of(head.member_id);
        END IF;
    END LOOP;
END $$;
