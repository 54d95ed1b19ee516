-- Vouchers: a member's own word, good for a short while and one partner, that a till takes without asking.
-- Its points are held from the moment it is given until some time after it was good, so that whoever takes it in
-- time and presents it in time is paid: a voucher is a hold that the member asked for. Nobody but the partner can
-- end it sooner, since a till that is offline may have taken it already.

-- The member's word for a voucher, as a confirmation that the authorisation uses at once.
CREATE FUNCTION ledger.own_word(p_member uuid, p_wish ledger.wish, p_good_for interval) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    id uuid := gen_random_uuid();
BEGIN
    INSERT INTO confirmation (member_id, confirmation_id, partner_id, points, expires_at)
    VALUES (p_member, id, p_wish.partner_id, p_wish.points, p_wish.now + p_good_for);
    RETURN id;
END $$;

-- A member has at most so many points in vouchers at a time.
CREATE FUNCTION ledger.check_vouchers(p_member uuid, p_wish ledger.wish, p_limit bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    room bigint;
BEGIN
    IF p_limit IS NULL THEN RETURN; END IF;
    SELECT p_limit - coalesce(sum(points), 0) INTO room FROM hold
    WHERE member_id = p_member AND state = 'open' AND redeem_by IS NOT NULL;
    IF p_wish.points > room THEN
        PERFORM ledger.refuse('VOUCHER_LIMIT_EXCEEDED', jsonb_build_object('allowed', greatest(room, 0), 'requested', p_wish.points));
    END IF;
END $$;

-- Give a voucher. The wish occurs when it is recorded; the answer's transaction is the hold's authorisation.
CREATE FUNCTION ledger.post_voucher(
    p_member uuid, p_partner uuid, p_agreement uuid, p_points bigint, p_key text, p_fingerprint bytea,
    p_seconds integer, p_now timestamptz
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish   ledger.wish;
    ruling programme;
    good   interval;
BEGIN
    wish.kind := 'authorize';
    wish.partner_id := p_partner;
    wish.agreement_id := p_agreement;
    wish.points := p_points;
    -- The member's, whose app knows nothing of the keys that the partner's tills use; and none of these has such a space.
    wish.key := E'voucher:\u00a0' || p_key;
    wish.fingerprint := p_fingerprint;
    wish.transaction_id := gen_random_uuid();
    wish := ledger.enter_window(wish, p_now);
    SELECT * INTO ruling FROM programme;
    IF p_points IS NULL OR p_points NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    IF p_seconds NOT BETWEEN 1 AND 3600 THEN
        PERFORM ledger.refuse('HOLD_TIME_INVALID', jsonb_build_object('asked', p_seconds, 'longest', 3600));
    END IF;
    good := make_interval(secs => coalesce(p_seconds, ruling.voucher_seconds));
    RETURN ledger.authorize(p_member, wish, good + make_interval(secs => ruling.voucher_grace_seconds), NULL,
                            ruling.consent_limit_points, good, ruling.voucher_limit_points);
END $$;

-- Take points for a voucher, once: the rest is released.
-- The member's part; post_redeem_voucher has entered the window and claimed the receipt.
CREATE FUNCTION ledger.take_voucher(p_member uuid, p_wish ledger.wish, p_date date, p_id uuid, p_points bigint)
RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    head    member_head;
    earlier ledger.posting;
    target  hold;
    taken   bigint;
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;

    -- Refusals, in the order of coalition.errors. One answer for what is forged and what is not the caller's.
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
    IF target.redeem_by IS NULL OR target.partner_id <> p_wish.partner_id THEN
        PERFORM ledger.refuse('VOUCHER_INVALID');
    END IF;
    IF target.state IN ('captured', 'voided') THEN
        PERFORM ledger.refuse('VOUCHER_USED');
    END IF;
    -- A till's clock may be a little behind the one by which the voucher was given.
    IF target.state = 'lapsed' OR p_wish.occurred_at >= target.redeem_by
       OR p_wish.occurred_at < target.authorized_at - interval '5 minutes' THEN
        PERFORM ledger.refuse('VOUCHER_EXPIRED', jsonb_build_object(
            'since', target.authorized_at, 'redeem_by', target.redeem_by, 'present_by', target.lapses_at));
    END IF;
    taken := coalesce(p_points, target.points);
    IF taken > target.points THEN
        PERFORM ledger.refuse('VOUCHER_EXCEEDED', jsonb_build_object('good_for', target.points, 'requested', taken));
    END IF;
    -- From here on nothing is refused.

    head := ledger.end_hold(head, p_wish, p_wish.transaction_id, target, 'capture', taken);
    IF head.extends THEN
        PERFORM ledger.extend_lots(p_member, p_wish.now, 'redeem', p_wish.partner_id);
    END IF;
    -- What was released may have expired while it was held.
    head := ledger.bring_up_to_date(head, p_wish);
    RETURN ledger.conclude(head, p_wish, taken);
END $$;

CREATE FUNCTION ledger.post_redeem_voucher(
    p_member uuid, p_partner uuid, p_date date, p_id uuid, p_points bigint, p_key text, p_fingerprint bytea,
    p_store text, p_terminal text, p_receipt_number text, p_receipt_line integer, p_receipt_revision integer,
    p_occurred_at timestamptz, p_now timestamptz, p_amount numeric DEFAULT NULL
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.kind := 'redeem';  -- a receipt that was redeemed otherwise is not paid by a voucher too
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
    RETURN ledger.take_voucher(p_member, wish, p_date, p_id, p_points);
END $$;

-- What a member may have in vouchers, for how long they are good, and how long after that they are taken.
CREATE FUNCTION ledger.set_voucher_limits(p_points bigint, p_seconds integer, p_grace_seconds integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
    UPDATE programme SET voucher_limit_points = p_points, voucher_seconds = p_seconds, voucher_grace_seconds = p_grace_seconds;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
END $$;
