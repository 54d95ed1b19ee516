-- Points set aside for a redemption: authorised, then captured, voided or lapsed. Held points keep their
-- lots, and a capture consumes exactly those, even such as have expired meanwhile: the partner has the
-- network's word for them. What is released and has expired lapses at once.

-- Set aside points of the member's available lots, in the order in which a redemption would spend them.
-- The member's part; post_authorize, or post_voucher with the time until which the voucher is good, has entered
-- the window.
CREATE FUNCTION ledger.authorize(
    p_member uuid, p_wish ledger.wish, p_lasting interval, p_confirmation uuid, p_consent_limit bigint,
    p_good_for interval DEFAULT NULL, p_voucher_limit bigint DEFAULT NULL
) RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    head    member_head;
    earlier ledger.posting;
    before  bigint;
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;

    -- Refusals, in the order of coalition.errors.
    IF head.member_id IS NULL          THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    earlier := ledger.replay(p_wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    IF head.erased_at IS NOT NULL      THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL    THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    PERFORM ledger.check_age(p_wish);
    PERFORM ledger.check_partner(p_wish, 'a redeemer');
    IF p_wish.from_pool                THEN PERFORM ledger.check_pool(p_wish, head); END IF;
    IF head.blocked                    THEN PERFORM ledger.refuse('MEMBER_BLOCKED'); END IF;
    p_wish := ledger.check_identifier(p_wish, p_member);
    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    head := ledger.bring_up_to_date(head, p_wish);
    IF p_good_for IS NOT NULL THEN p_confirmation := ledger.own_word(p_member, p_wish, p_good_for); END IF;
    PERFORM ledger.check_consent(p_member, p_wish, p_confirmation, p_consent_limit);
    PERFORM ledger.check_vouchers(p_member, p_wish, p_voucher_limit);
    before := head.last_sequence;
    IF p_wish.from_pool                THEN head := ledger.draw_on_pool(head, p_wish); END IF;
    IF head.available < p_wish.points THEN
        PERFORM ledger.refuse('INSUFFICIENT_POINTS', jsonb_build_object('available', head.available, 'requested', p_wish.points));
    END IF;
    PERFORM ledger.check_limits(p_wish, head);
    -- From here on nothing is refused.

    PERFORM ledger.draw(p_member, p_wish.business_date, p_wish.transaction_id, p_wish.points, 'held', NULL);
    head.available := head.available - p_wish.points;
    head.held := head.held + p_wish.points;
    head.next_due_at := least(head.next_due_at, p_wish.now + p_lasting);
    INSERT INTO hold (member_id, business_date, transaction_id, partner_id, agreement_id, points, authorized_at, lapses_at, confirmed, redeem_by, pooled)
    VALUES (p_member, p_wish.business_date, p_wish.transaction_id, p_wish.partner_id, p_wish.agreement_id, p_wish.points,
            p_wish.now, p_wish.now + p_lasting, p_confirmation IS NOT NULL, p_wish.now + p_good_for, head.last_sequence > before);
    head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, 'authorize', p_wish.partner_id, p_wish.agreement_id,
                                      p_wish.points, p_confirmation => p_confirmation);
    RETURN ledger.conclude(head, p_wish, p_wish.points);
END $$;

CREATE FUNCTION ledger.post_authorize(
    p_member uuid, p_partner uuid, p_agreement uuid, p_points bigint, p_key text, p_fingerprint bytea,
    p_seconds integer, p_occurred_at timestamptz, p_confirmation uuid, p_now timestamptz, p_identifier uuid DEFAULT NULL,
    p_from_pool boolean DEFAULT false
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish   ledger.wish;
    ruling programme;
BEGIN
    wish.kind := 'authorize';
    wish.partner_id := p_partner;
    wish.agreement_id := p_agreement;
    wish.points := p_points;
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.occurred_at := p_occurred_at;
    wish.transaction_id := gen_random_uuid();
    wish.identifier_id := p_identifier;
    wish := ledger.enter_window(wish, p_now);
    SELECT * INTO ruling FROM programme;
    IF p_points IS NULL OR p_points NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    -- What was granted when holds lasted longer still gets its answer.
    IF p_seconds NOT BETWEEN 1 AND ruling.longest_hold_seconds AND NOT EXISTS (
        SELECT FROM ledger.remembered(p_member, p_partner, p_key) WHERE fingerprint = p_fingerprint
    ) THEN
        PERFORM ledger.refuse('HOLD_TIME_INVALID', jsonb_build_object('asked', p_seconds, 'longest', ruling.longest_hold_seconds));
    END IF;
    IF p_from_pool THEN wish := ledger.enter_pool(wish, p_member); END IF;
    RETURN ledger.authorize(p_member, wish, make_interval(secs => coalesce(p_seconds, ruling.hold_seconds)),
                            p_confirmation, ruling.consent_limit_points);
END $$;

-- Capture points of a hold and release the rest, or (p_points = 0) void it.
-- A blocked member's hold can be captured: the partner was promised these points before.
-- The member's part; post_capture and post_void have entered the window, and claimed the receipt.
CREATE FUNCTION ledger.close_hold(
    p_member uuid, p_wish ledger.wish, p_date date, p_id uuid, p_points bigint, p_reason text DEFAULT NULL
) RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    head     member_head;
    earlier  ledger.posting;
    target   hold;
    captured bigint;
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;

    -- Refusals, in the order of coalition.errors. As in a reversal, one answer for what is not the caller's.
    earlier := ledger.replay(p_wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    IF p_wish.refused IS NOT NULL THEN PERFORM ledger.refuse(p_wish.refused, coalesce(p_wish.refused_facts, '{}')); END IF;
    PERFORM ledger.check_age(p_wish);
    PERFORM ledger.check_partner(p_wish, 'a returner');
    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    IF head.member_id IS NOT NULL THEN
        head := ledger.bring_up_to_date(head, p_wish);  -- in which it may lapse
    END IF;
    SELECT * INTO target FROM hold WHERE member_id = p_member AND business_date = p_date AND transaction_id = p_id;
    -- A voucher's points are taken by whoever was shown the voucher, and by no other name of its hold.
    IF target.transaction_id IS NULL OR target.partner_id <> p_wish.partner_id OR (target.redeem_by IS NOT NULL AND p_points IS DISTINCT FROM 0) THEN
        PERFORM ledger.refuse('HOLD_UNKNOWN');
    END IF;
    CASE target.state
        WHEN 'captured' THEN PERFORM ledger.refuse('HOLD_CAPTURED', jsonb_build_object('captured', target.captured));
        WHEN 'voided'   THEN PERFORM ledger.refuse('HOLD_VOIDED');
        WHEN 'lapsed'   THEN PERFORM ledger.refuse('HOLD_LAPSED', jsonb_build_object('lapsed_at', target.lapses_at));
        ELSE
            -- One with points of others lapses where these are locked, too; it is over all the same.
            IF target.lapses_at <= p_wish.now THEN PERFORM ledger.refuse('HOLD_LAPSED', jsonb_build_object('lapsed_at', target.lapses_at)); END IF;
    END CASE;
    captured := coalesce(p_points, target.points);
    IF captured > target.points THEN
        PERFORM ledger.refuse('HOLD_EXCEEDED', jsonb_build_object('held', target.points, 'requested', captured));
    END IF;
    -- From here on nothing is refused.

    head := ledger.end_hold(head, p_wish, p_wish.transaction_id, target, CASE captured WHEN 0 THEN 'void' ELSE 'capture' END, captured, p_reason);
    IF captured > 0 AND head.extends THEN
        PERFORM ledger.extend_lots(p_member, p_wish.now, 'redeem', p_wish.partner_id);
    END IF;
    -- What was released may have expired while it was held.
    head := ledger.bring_up_to_date(head, p_wish);
    RETURN ledger.conclude(head, p_wish, CASE captured WHEN 0 THEN target.points ELSE captured END);
END $$;

CREATE FUNCTION ledger.post_capture(
    p_member uuid, p_partner uuid, p_date date, p_id uuid, p_points bigint, p_key text, p_fingerprint bytea,
    p_store text, p_terminal text, p_receipt_number text, p_receipt_line integer, p_receipt_revision integer,
    p_occurred_at timestamptz, p_now timestamptz, p_amount numeric DEFAULT NULL
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.kind := 'redeem';  -- a receipt that was redeemed at once is not captured again
    wish.partner_id := p_partner;
    wish.amount := p_amount;
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.occurred_at := p_occurred_at;
    wish.transaction_id := gen_random_uuid();
    wish.store := p_store;
    wish.terminal := p_terminal;
    wish.receipt_number := p_receipt_number;
    wish.receipt_line := p_receipt_line;
    wish.receipt_revision := p_receipt_revision;
    wish := ledger.enter_window(wish, p_now);
    IF p_points NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    wish := ledger.claim_receipt(wish, p_member);
    wish := ledger.lock_givers(wish, p_member, p_date, p_id);
    RETURN ledger.close_hold(p_member, wish, p_date, p_id, p_points);
END $$;

CREATE FUNCTION ledger.post_void(
    p_member uuid, p_partner uuid, p_date date, p_id uuid, p_key text, p_fingerprint bytea,
    p_occurred_at timestamptz, p_now timestamptz, p_reason text DEFAULT NULL
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.kind := 'void';
    wish.partner_id := p_partner;
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.occurred_at := p_occurred_at;
    wish.transaction_id := gen_random_uuid();
    wish := ledger.enter_window(wish, p_now);
    wish := ledger.lock_givers(wish, p_member, p_date, p_id);
    RETURN ledger.close_hold(p_member, wish, p_date, p_id, 0, p_reason);
END $$;

-- End an open hold: burn so many of its points, in the order in which they were set aside, and release the
-- rest to their own lots. Of a lot whose issue was reversed meanwhile they leave at once.
CREATE FUNCTION ledger.end_hold(
    INOUT head ledger.member_head, p_wish ledger.wish, p_id uuid, p_hold ledger.hold, p_kind text, p_captured bigint,
    p_reason text DEFAULT NULL
) LANGUAGE plpgsql AS $$
DECLARE
    lots    uuid[];
    burns   bigint[];
    frees   bigint[];
    recalls bigint[];
BEGIN
    SELECT array_agg(lot_id ORDER BY ordinal), array_agg(burn ORDER BY ordinal),
           array_agg(points - burn ORDER BY ordinal), array_agg(recalled ORDER BY ordinal)
    INTO lots, burns, frees, recalls
    FROM (
        SELECT e.lot_id, e.ordinal, e.points, lot.recalled,
               greatest(0, least(e.points, p_captured - (sum(e.points) OVER (ORDER BY e.ordinal) - e.points))) AS burn
        FROM entry e CROSS JOIN LATERAL (
            SELECT recalled FROM lot WHERE lot.member_id = head.member_id AND lot.lot_id = e.lot_id LIMIT 1) lot
        WHERE e.member_id = head.member_id AND e.business_date = p_hold.business_date
          AND e.transaction_id = p_hold.transaction_id AND e.bucket = 'held'
    ) AS set_aside;

    WITH moved AS (
        UPDATE lot SET held = lot.held - u.burn - u.free, burned = lot.burned + u.burn, available = lot.available + u.free,
                       recalled = least(lot.recalled - least(lot.recalled, u.free), lot.held - u.burn - u.free)
        FROM unnest(lots, burns, frees) WITH ORDINALITY AS u (lot_id, burn, free, nth)
        -- The ids once more: so the member's other lots are not looked at.
        WHERE lot.member_id = head.member_id AND lot.lot_id = u.lot_id AND lot.lot_id = ANY (lots)
        RETURNING u.*, lot.issuer_id, lot.agreement_id, lot.funding_plan_id
    )
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
    SELECT head.member_id, p_wish.business_date, p_id, 3 * nth - leg.before, leg.bucket,
           CASE leg.bucket WHEN 'held' THEN -burn - free WHEN 'burned' THEN burn ELSE free END,
           lot_id, issuer_id, agreement_id, funding_plan_id
    FROM moved CROSS JOIN (VALUES ('held', 2), ('burned', 1), ('available', 0)) AS leg (bucket, before)
    WHERE leg.bucket = 'held' OR (leg.bucket = 'burned' AND burn > 0) OR (leg.bucket = 'available' AND free > 0);

    head.held := head.held - p_hold.points;
    head.available := head.available + p_hold.points - p_captured;
    UPDATE hold SET state = CASE p_kind WHEN 'capture' THEN 'captured' WHEN 'void' THEN 'voided' ELSE 'lapsed' END,
                    captured = p_captured, closed_date = p_wish.business_date, closed_id = p_id
    WHERE member_id = head.member_id AND business_date = p_hold.business_date AND transaction_id = p_hold.transaction_id;
    head.next_due_at := least(head.next_due_at, (
        SELECT min(expires_at) FROM lot WHERE member_id = head.member_id AND lot_id = ANY (lots) AND available > 0));
    head := ledger.append_transaction(
        head, p_wish, p_id, p_kind,
        CASE p_kind WHEN 'lapse' THEN '00000000-0000-0000-0000-000000000000' ELSE p_hold.partner_id END,
        CASE p_kind WHEN 'lapse' THEN NULL ELSE p_hold.agreement_id END,
        CASE p_kind WHEN 'capture' THEN p_captured ELSE p_hold.points END,
        p_hold_date => p_hold.business_date, p_hold_id => p_hold.transaction_id, p_reason => p_reason);
    IF p_hold.pooled THEN head := ledger.return_to_givers(head, p_wish, lots); END IF;
    FOR nth IN 1 .. cardinality(lots) LOOP
        IF recalls[nth] > 0 THEN
            head := ledger.recall(head, p_wish, lots[nth], recalls[nth], least(recalls[nth], frees[nth]));
        END IF;
    END LOOP;
END $$;
