-- Spend points at a partner: soonest expiry first, then oldest lot.
-- Locks the member and nothing that members share. A replay returns the first answer.
-- The member's part; post_redeem has entered the window and claimed the receipt.
CREATE FUNCTION ledger.redeem(p_member uuid, p_wish ledger.wish, p_confirmation uuid, p_consent_limit bigint)
RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    head    member_head;
    earlier ledger.posting;
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;

    -- Refusals, in the order of coalition.errors.
    IF head.member_id IS NULL          THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    earlier := ledger.replay(p_wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    IF head.erased_at IS NOT NULL      THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL    THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    IF p_wish.refused IS NOT NULL      THEN PERFORM ledger.refuse(p_wish.refused, coalesce(p_wish.refused_facts, '{}')); END IF;
    PERFORM ledger.check_age(p_wish);
    PERFORM ledger.check_partner(p_wish, 'a redeemer');
    IF p_wish.from_pool                THEN PERFORM ledger.check_pool(p_wish, head); END IF;
    IF head.blocked                    THEN PERFORM ledger.refuse('MEMBER_BLOCKED'); END IF;
    p_wish := ledger.check_identifier(p_wish, p_member);
    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    head := ledger.bring_up_to_date(head, p_wish);
    PERFORM ledger.check_consent(p_member, p_wish, p_confirmation, p_consent_limit);
    IF p_wish.from_pool                THEN head := ledger.draw_on_pool(head, p_wish); END IF;
    IF head.available < p_wish.points THEN
        PERFORM ledger.refuse('INSUFFICIENT_POINTS', jsonb_build_object('available', head.available, 'requested', p_wish.points));
    END IF;
    PERFORM ledger.check_limits(p_wish, head);
    -- From here on nothing is refused.

    PERFORM ledger.draw(p_member, p_wish.business_date, p_wish.transaction_id, p_wish.points, 'burned', NULL);
    IF head.extends THEN
        PERFORM ledger.extend_lots(p_member, p_wish.now, 'redeem', p_wish.partner_id);
    END IF;
    head.available := head.available - p_wish.points;
    head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, 'redeem', p_wish.partner_id, p_wish.agreement_id,
                                      p_wish.points, p_confirmation => p_confirmation);
    RETURN ledger.conclude(head, p_wish, p_wish.points);
END $$;

CREATE FUNCTION ledger.post_redeem(
    p_member uuid, p_partner uuid, p_agreement uuid, p_points bigint,
    p_key text, p_fingerprint bytea,
    p_store text, p_terminal text, p_receipt_number text, p_receipt_line integer, p_receipt_revision integer,
    p_occurred_at timestamptz, p_confirmation uuid, p_now timestamptz, p_identifier uuid DEFAULT NULL, p_from_pool boolean DEFAULT false,
    p_amount numeric DEFAULT NULL
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish          ledger.wish;
    consent_limit bigint;
BEGIN
    wish.kind := 'redeem';
    wish.partner_id := p_partner;
    wish.agreement_id := p_agreement;
    wish.points := p_points;
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
    wish.identifier_id := p_identifier;
    wish := ledger.enter_window(wish, p_now);
    IF p_points IS NULL OR p_points NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    wish := ledger.claim_receipt(wish, p_member);
    IF p_from_pool THEN wish := ledger.enter_pool(wish, p_member); END IF;
    SELECT consent_limit_points INTO consent_limit FROM programme;
    RETURN ledger.redeem(p_member, wish, p_confirmation, consent_limit);
END $$;

-- The member's own consent to a redemption at a partner, of at most so many points, for a short while.
CREATE FUNCTION ledger.confirm_redemption(p_member uuid, p_partner uuid, p_points bigint, p_lifetime interval, p_now timestamptz)
RETURNS TABLE (confirmation_id uuid, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    head   member_head;
BEGIN
    IF p_points IS NULL OR p_points NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    SELECT * INTO head FROM member_head WHERE member_id = p_member;
    IF NOT FOUND                    THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF head.erased_at IS NOT NULL   THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    IF NOT EXISTS (SELECT FROM partners.partner WHERE partner_id = p_partner) THEN PERFORM ledger.refuse('PARTNER_UNKNOWN'); END IF;
    confirmation_id := gen_random_uuid();
    expires_at := moment + p_lifetime;
    INSERT INTO confirmation AS c (member_id, confirmation_id, partner_id, points, expires_at)
    VALUES (p_member, confirm_redemption.confirmation_id, p_partner, p_points, confirm_redemption.expires_at);
    RETURN NEXT;
END $$;
