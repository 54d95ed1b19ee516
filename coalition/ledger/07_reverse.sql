-- Undo an issue or a redemption, the whole of it or a part, by a new transaction that names it; as often as
-- there is something left to undo.
-- A part of an issue takes from its lot what is pending, then what is available, then what is held (which
-- leaves when the hold ends: it is recalled), and then what is gone. What was spent becomes the issuer's
-- claim where the agreement's return policy is `unlimited`; under `available` it is forgone; under
-- `pending_only` only what is pending can be undone. Expired points are nobody's claim: the member has not
-- had them.
-- A part of a redemption goes back to the lots that it came from, the last drawn first; to a lot that
-- expired meanwhile with the agreement's grace period. From lots that a pool had given they go on to who gave them;
-- what somebody gave who was erased since stays redeemed.
-- p_points says how much; NULL: all that is left. Where the caller worked it out of money, p_amount is that
-- money and p_amount_before what earlier reversals took, as it knew it.
CREATE FUNCTION ledger.reverse(
    p_member uuid, p_wish ledger.wish, p_date date, p_id uuid, p_points bigint, p_amount_before numeric, p_reason text,
    p_held bigint DEFAULT 0
) RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    head    member_head;
    earlier ledger.posting;
    target  transaction;
    origin  lot;
    before  record;
    taken   record;
    gone    uuid[];
    rest    bigint;
    undone  bigint;
    moved   bigint;
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;

    -- Refusals, in the order of coalition.errors. A member whom nobody knows has no transactions:
    -- the caller named a transaction, and gets the one answer for all that are not its own.
    earlier := ledger.replay(p_wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    PERFORM ledger.check_age(p_wish);
    PERFORM ledger.check_partner(p_wish, 'a returner');
    SELECT * INTO target FROM transaction
    WHERE member_id = p_member AND business_date = p_date AND transaction_id = p_id;
    IF target.transaction_id IS NULL OR target.partner_id <> p_wish.partner_id THEN
        PERFORM ledger.refuse('TRANSACTION_UNKNOWN');
    END IF;
    IF head.erased_at IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF target.kind NOT IN ('issue', 'redeem', 'capture') THEN
        PERFORM ledger.refuse('NOT_REVERSIBLE', jsonb_build_object('kind', target.kind));
    END IF;
    SELECT count(*) AS times, coalesce(sum(undone_points), 0) AS points, coalesce(sum(amount), 0) AS amount INTO before
    FROM transaction WHERE member_id = p_member AND reverses_id = p_id;
    -- Before all that looks at the points, which the caller worked out of the money that was left.
    IF p_wish.amount IS NOT NULL AND before.amount <> p_amount_before THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'another reversal took money meanwhile';
    END IF;
    -- Money that is worth no point goes back also when no points are left, as long as there is money.
    IF before.times > 0 AND before.points >= target.points
       AND (coalesce(p_points, 1) > 0 OR before.amount >= coalesce(target.amount, 0)) THEN
        PERFORM ledger.refuse('ALREADY_REVERSED');
    END IF;
    gone := ledger.given_by_erased(p_wish, p_member, p_date, p_id);
    rest := target.points - before.points - (SELECT coalesce(sum(burned), 0) FROM lot WHERE member_id = p_member AND lot_id = ANY (gone));
    undone := coalesce(p_points, rest);
    -- What says nothing of money has none to give back.
    IF undone > rest OR p_wish.amount > coalesce(target.amount, 0) - before.amount OR (p_points IS NULL AND rest = 0 AND gone <> '{}') THEN
        -- As text: a number of JSON would be read as a float.
        PERFORM ledger.refuse('REVERSAL_EXCEEDED', jsonb_strip_nulls(jsonb_build_object(
            'left', rest, 'requested', coalesce(p_points, target.points - before.points),
            'amount', trim_scale(p_wish.amount)::text,
            'amount_left', CASE WHEN p_wish.amount IS NOT NULL THEN trim_scale(coalesce(target.amount, 0) - before.amount)::text END)));
    END IF;
    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    head := ledger.bring_up_to_date(head, p_wish);
    IF target.kind = 'issue' THEN
        SELECT * INTO origin FROM lot WHERE member_id = p_member AND transaction_id = p_id;
        IF undone > origin.pending AND ledger.return_policy(target.agreement_id) = 'pending_only' THEN
            PERFORM ledger.refuse('RETURN_POLICY_FORBIDS', jsonb_build_object('pending', origin.pending, 'points', undone));
        END IF;
        -- Of one's own they are marked, and leave when the hold ends; that cannot be done in somebody else's lot.
        IF undone > origin.pending + origin.available AND p_held > 0 THEN
            PERFORM ledger.refuse('MEMBER_HAS_HOLDS', jsonb_build_object('held', p_held));
        END IF;
    END IF;
    -- From here on nothing is refused.

    IF target.kind = 'issue' THEN
        SELECT * INTO taken FROM ledger.take_back(head, p_wish, origin, undone);
        head := taken.head;
        moved := taken.moved;
        head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, 'reverse_issue', p_wish.partner_id, target.agreement_id,
                                          moved, p_reason => p_reason, p_reverses_date => p_date, p_reverses_id => p_id, p_undone => undone);
    ELSE
        moved := undone;
        head := ledger.undo_redemption(head, p_wish, target, undone, gone, p_reason);
    END IF;
    RETURN ledger.conclude(head, p_wish, moved);
END $$;

-- Give points of a redemption back, on to those of a pool who had given them, and let what stays pay what is owed.
CREATE FUNCTION ledger.undo_redemption(
    INOUT head ledger.member_head, p_wish ledger.wish, p_target ledger.transaction, p_points bigint, p_but_to uuid[], p_reason text
) LANGUAGE plpgsql AS $$
DECLARE
    back uuid[] := ledger.give_back(head.member_id, p_wish, p_target, p_points, p_but_to);
    had  bigint[];
    kept bigint := p_points;
BEGIN
    IF head.deficit > 0 THEN
        had := ARRAY(
            SELECT lot.available - e.points
            FROM unnest(back) WITH ORDINALITY AS u (lot_id, nth)
            JOIN lot ON lot.member_id = head.member_id AND lot.lot_id = u.lot_id AND lot.lot_id = ANY (back)
            JOIN entry e ON e.member_id = head.member_id AND e.business_date = p_wish.business_date
                        AND e.transaction_id = p_wish.transaction_id AND e.lot_id = u.lot_id AND e.bucket = 'available'
            ORDER BY u.nth);
    END IF;
    head.available := head.available + p_points;
    head.next_due_at := least(head.next_due_at, (
        SELECT min(expires_at) FROM lot WHERE member_id = head.member_id AND lot_id = ANY (back)));
    head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, 'reverse_redemption', p_wish.partner_id, p_target.agreement_id, p_points,
                                      p_reason => p_reason, p_reverses_date => p_target.business_date, p_reverses_id => p_target.transaction_id,
                                      p_undone => p_points);
    IF p_wish.givers IS NOT NULL AND p_points > 0 THEN
        kept := p_points - (SELECT sum(available) FROM lot WHERE member_id = head.member_id AND lot_id = ANY (back));
        head := ledger.return_to_givers(head, p_wish, back);
        kept := kept + (SELECT sum(available) FROM lot WHERE member_id = head.member_id AND lot_id = ANY (back));
    END IF;
    head := ledger.pay_deficits(head, p_wish, back, kept, had);
    -- Where there is no grace, what came back to an expired lot lapses at once.
    head := ledger.bring_up_to_date(head, p_wish);
END $$;

CREATE FUNCTION ledger.return_policy(p_agreement uuid) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT return_policy FROM partners.agreement WHERE agreement_id = p_agreement $$;

-- Take points of an issue back out of its lot. Returns the head and how many came back: none of one
-- that earned nothing, and has no lot.
CREATE FUNCTION ledger.take_back(
    INOUT head ledger.member_head, p_wish ledger.wish, p_lot ledger.lot, p_points bigint, OUT moved bigint
) LANGUAGE plpgsql AS $$
DECLARE
    of_pending   bigint := least(p_points, p_lot.pending);
    of_available bigint := least(p_points - of_pending, p_lot.available);
    of_held      bigint := least(p_points - of_pending - of_available, p_lot.held - p_lot.recalled);
BEGIN
    moved := of_pending + of_available;
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
    SELECT p_lot.member_id, p_wish.business_date, p_wish.transaction_id, leg.ordinal, leg.bucket, leg.points,
           p_lot.lot_id, p_lot.issuer_id, p_lot.agreement_id, p_lot.funding_plan_id
    FROM (VALUES (1, 'pending', -of_pending), (2, 'available', -of_available), (3, 'reversed', moved)) AS leg (ordinal, bucket, points)
    WHERE leg.points <> 0;
    UPDATE lot SET pending = pending - of_pending, available = available - of_available,
                   reversed = reversed + moved, recalled = recalled + of_held
    WHERE member_id = p_lot.member_id AND lot_id = p_lot.lot_id;
    head.pending := head.pending - of_pending;
    head.available := head.available - of_available;
    head := ledger.claim_deficit(head, p_wish, p_wish.transaction_id, p_lot, p_wish.agreement_id, p_points - moved - of_held, 3);
END $$;

-- What a reversal could not take back because it was spent or given away becomes the issuer's claim, under
-- `unlimited`. Of a lot no more is claimed than was spent of it, by whoever had it after a merge.
CREATE FUNCTION ledger.claim_deficit(
    INOUT head ledger.member_head, p_wish ledger.wish, p_id uuid, p_lot ledger.lot, p_agreement uuid, p_missing bigint, p_after integer
) LANGUAGE plpgsql AS $$
DECLARE
    id      uuid := gen_random_uuid();
    claimed bigint;
BEGIN
    IF p_missing <= 0 OR ledger.return_policy(p_lot.agreement_id) <> 'unlimited' THEN RETURN; END IF;
    SELECT least(p_missing, p_lot.burned + p_lot.transferred - coalesce(sum(points), 0)
                            - CASE WHEN p_lot.transferred > 0 THEN ledger.gone_since_merged(p_lot.member_id, p_lot.lot_id) ELSE 0 END)
    INTO claimed
    FROM deficit WHERE member_id = p_lot.member_id AND lot_id = p_lot.lot_id AND from_deficit_id IS NULL;
    IF claimed <= 0 THEN RETURN; END IF;
    INSERT INTO deficit (member_id, deficit_id, claimant_id, agreement_id, lot_id, business_date, transaction_id, claimed_at, sequence, points, open_points)
    VALUES (p_lot.member_id, id, p_lot.issuer_id, coalesce(p_agreement, p_lot.agreement_id), p_lot.lot_id,
            p_wish.business_date, p_id, p_wish.now, head.last_sequence + 1, claimed, claimed);
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, deficit_id)
    VALUES (p_lot.member_id, p_wish.business_date, p_id, p_after + 1, 'available', -claimed, id),
           (p_lot.member_id, p_wish.business_date, p_id, p_after + 2, 'reversed', claimed, id);
    head.deficit := head.deficit + claimed;
END $$;

-- How many of a lot's points expired, or an operator took, where a merge had brought them.
CREATE FUNCTION ledger.gone_since_merged(p_member uuid, p_lot uuid) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    members uuid[] := ARRAY[p_member];
    lots    uuid[] := ARRAY[p_lot];
    found   bigint;
    gone    bigint := 0;
BEGIN
    LOOP
        SELECT array_agg(l.member_id), array_agg(l.lot_id), sum(l.expired + l.reversed) INTO members, lots, found
        FROM lot l JOIN transaction came USING (member_id, business_date, transaction_id)
        WHERE l.from_member_id = ANY (members) AND l.from_lot_id = ANY (lots) AND came.kind = 'merge_in';
        EXIT WHEN lots IS NULL;
        gone := gone + found;
    END LOOP;
    RETURN gone;
END $$;

-- A hold has ended, and of one of its lots so many points had been recalled by a reversal of their issue.
-- Those that it released leave now; those that it captured, and no other hold has, are as good as spent.
CREATE FUNCTION ledger.recall(INOUT head ledger.member_head, p_wish ledger.wish, p_lot uuid, p_recalled bigint, p_released bigint)
LANGUAGE plpgsql AS $$
DECLARE
    origin lot;
    id     uuid := gen_random_uuid();
    missed bigint;
BEGIN
    SELECT * INTO origin FROM lot WHERE member_id = head.member_id AND lot_id = p_lot;
    missed := p_recalled - p_released - origin.recalled;
    IF p_released > 0 THEN
        INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
        SELECT origin.member_id, p_wish.business_date, id, leg.ordinal, leg.bucket, leg.points,
               origin.lot_id, origin.issuer_id, origin.agreement_id, origin.funding_plan_id
        FROM (VALUES (1, 'available', -p_released), (2, 'reversed', p_released)) AS leg (ordinal, bucket, points);
        UPDATE lot SET available = available - p_released, reversed = reversed + p_released
        WHERE member_id = origin.member_id AND lot_id = p_lot;
        head.available := head.available - p_released;
    END IF;
    head := ledger.claim_deficit(head, p_wish, id, origin, NULL, missed, 2);
    IF p_released > 0 OR missed > 0 THEN
        head := ledger.append_transaction(head, p_wish, id, 'reverse_issue', origin.issuer_id, origin.agreement_id, p_released,
                                          p_reverses_date => origin.business_date, p_reverses_id => origin.transaction_id, p_undone => 0);
    END IF;
END $$;

-- Of the lots that a redemption or a capture drew on, those that came by a pool from somebody who was erased since. (It
-- alone drew on them: they came for it.)
CREATE FUNCTION ledger.given_by_erased(p_wish ledger.wish, p_member uuid, p_date date, p_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    erased uuid[] := ARRAY(SELECT member_id FROM member_head WHERE member_id = ANY (p_wish.givers) AND erased_at IS NOT NULL);
BEGIN
    IF erased = '{}' THEN RETURN '{}'; END IF;
    RETURN ARRAY(
        SELECT l.lot_id FROM lot l JOIN transaction came USING (member_id, business_date, transaction_id)
        WHERE l.member_id = p_member AND came.kind = 'pool_in' AND ledger.line_of(l.from_member_id) && erased AND l.lot_id IN (
            SELECT lot_id FROM entry WHERE member_id = p_member AND business_date = p_date AND transaction_id = p_id));
END $$;

-- Give points of a redemption or a capture back to the lots they came from, the last drawn first; to some lots nothing.
-- Returns those that got some.
CREATE FUNCTION ledger.give_back(
    p_member uuid, p_wish ledger.wish, p_target ledger.transaction, p_points bigint, p_but_to uuid[]
) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    lots  uuid[];
    backs bigint[];
BEGIN
    SELECT array_agg(lot_id ORDER BY ordinal), array_agg(back ORDER BY ordinal) INTO lots, backs
    FROM (
        SELECT lot_id, ordinal, least(rest, p_points - (sum(rest) OVER (ORDER BY ordinal DESC) - rest)) AS back
        FROM (
            SELECT drawn.lot_id, drawn.ordinal, drawn.points - coalesce((
                       SELECT -sum(e.points) FROM transaction r JOIN entry e USING (member_id, business_date, transaction_id)
                       WHERE r.member_id = p_member AND r.reverses_id = p_target.transaction_id
                         AND e.bucket = 'burned' AND e.lot_id = drawn.lot_id), 0) AS rest
            FROM entry drawn
            WHERE drawn.member_id = p_member AND drawn.business_date = p_target.business_date
              AND drawn.transaction_id = p_target.transaction_id AND drawn.bucket = 'burned' AND drawn.lot_id <> ALL (p_but_to)
        ) AS open
    ) AS shared
    WHERE back > 0;
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
    SELECT p_member, p_wish.business_date, p_wish.transaction_id, 2 * u.nth - leg.before, leg.bucket, leg.sign * u.back,
           l.lot_id, l.issuer_id, l.agreement_id, l.funding_plan_id
    FROM unnest(lots, backs) WITH ORDINALITY AS u (lot_id, back, nth)
    -- The ids once more, here and below: so the member's other lots are not looked at.
    JOIN lot l ON l.member_id = p_member AND l.lot_id = u.lot_id AND l.lot_id = ANY (lots)
    CROSS JOIN (VALUES ('burned', -1, 1), ('available', 1, 0)) AS leg (bucket, sign, before);
    UPDATE lot SET
        burned = lot.burned - u.back,
        available = lot.available + u.back,
        expires_at = CASE WHEN lot.expires_at <= p_wish.now THEN p_wish.now + make_interval(days => terms.grace_days)
                          ELSE lot.expires_at END
    FROM unnest(lots, backs) AS u (lot_id, back), partners.agreement terms
    WHERE lot.member_id = p_member AND lot.lot_id = u.lot_id AND lot.lot_id = ANY (lots)
      AND terms.agreement_id = lot.agreement_id;
    RETURN lots;
END $$;

CREATE FUNCTION ledger.post_reverse(
    p_member uuid, p_partner uuid, p_date date, p_id uuid, p_agreement uuid,
    p_points bigint, p_amount numeric, p_amount_before numeric, p_key text, p_fingerprint bytea,
    p_occurred_at timestamptz, p_reason text, p_now timestamptz
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.kind := 'reverse';
    wish.partner_id := p_partner;
    wish.agreement_id := p_agreement;
    wish.amount := p_amount;
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.occurred_at := p_occurred_at;
    wish.transaction_id := gen_random_uuid();
    wish := ledger.enter_window(wish, p_now);
    -- Money that is too little to have earned a point takes none back.
    IF p_points > 1000000000 OR p_points < (p_amount IS NULL)::int THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    wish := ledger.lock_givers(wish, p_member, p_date, p_id);
    IF EXISTS (SELECT FROM member_head WHERE member_id = p_member AND merged_into IS NOT NULL) THEN
        RETURN ledger.reverse_merged(p_member, wish, p_date, p_id, p_points, p_amount_before, p_reason);
    END IF;
    -- Locked, and asked again in a statement after that: a merge may have been ahead, and what is reversed
    -- on a merged record alone would stay there.
    PERFORM ledger.lock_heads(ARRAY[p_member]);
    IF EXISTS (SELECT FROM member_head WHERE member_id = p_member AND merged_into IS NOT NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'the member was merged meanwhile';
    END IF;
    RETURN ledger.reverse(p_member, wish, p_date, p_id, p_points, p_amount_before, p_reason);
END $$;
