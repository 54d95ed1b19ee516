-- Points come into being: one lot for the member, at the issuer's prices, pending or at once available.
-- The member's part; post_issue has entered the window and claimed the receipt.
CREATE FUNCTION ledger.issue(
    p_member uuid, p_wish ledger.wish, p_funding_plan uuid, p_matures_at timestamptz, p_expires_at timestamptz,
    p_kind text DEFAULT 'issue', p_reason text DEFAULT NULL
) RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    head    member_head;
    earlier ledger.posting;
    matured boolean;
    lot_id  uuid;
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
    PERFORM ledger.check_partner(p_wish, 'an issuer');
    IF p_funding_plan IS NOT NULL AND NOT EXISTS (SELECT FROM partners.funding_plan WHERE funding_plan_id = p_funding_plan) THEN
        PERFORM ledger.refuse('FUNDING_PLAN_UNKNOWN');
    END IF;
    IF head.blocked                    THEN PERFORM ledger.refuse('MEMBER_BLOCKED'); END IF;
    p_wish := ledger.check_identifier(p_wish, p_member);
    PERFORM ledger.check_limits(p_wish, head);
    -- From here on nothing is refused.

    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    head := ledger.bring_up_to_date(head, p_wish);
    IF head.extends THEN
        PERFORM ledger.extend_lots(p_member, p_wish.now, 'issue', p_wish.partner_id);
    END IF;

    -- An amount of money too small to earn a point is a receipt like any other, without a lot.
    IF p_wish.points > 0 THEN
        matured := p_matures_at IS NULL OR p_matures_at <= p_wish.now;
        lot_id := gen_random_uuid();
        INSERT INTO lot (member_id, lot_id, issuer_id, agreement_id, funding_plan_id, business_date, transaction_id,
                         issued_at, sequence, matures_at, expires_at, first_expires_at, points, pending, available)
        VALUES (p_member, lot_id, p_wish.partner_id, p_wish.agreement_id, p_funding_plan, p_wish.business_date,
                p_wish.transaction_id, p_wish.now, head.last_sequence + 1, p_matures_at, p_expires_at, p_expires_at, p_wish.points,
                CASE WHEN matured THEN 0 ELSE p_wish.points END, CASE WHEN matured THEN p_wish.points ELSE 0 END);
        INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
        VALUES (p_member, p_wish.business_date, p_wish.transaction_id, 1, 'issued', -p_wish.points, lot_id,
                p_wish.partner_id, p_wish.agreement_id, p_funding_plan),
               (p_member, p_wish.business_date, p_wish.transaction_id, 2,
                CASE WHEN matured THEN 'available' ELSE 'pending' END, p_wish.points, lot_id,
                p_wish.partner_id, p_wish.agreement_id, p_funding_plan);
        IF NOT head.extends AND p_expires_at IS NOT NULL THEN
            head.extends := (SELECT expiry_rule = 'inactivity' FROM partners.agreement WHERE agreement_id = p_wish.agreement_id);
        END IF;
        IF matured THEN
            head.available := head.available + p_wish.points;
            head.next_due_at := least(head.next_due_at, p_expires_at);
        ELSE
            head.pending := head.pending + p_wish.points;
            head.next_due_at := least(head.next_due_at, p_matures_at);
        END IF;
    END IF;
    head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, p_kind, p_wish.partner_id, p_wish.agreement_id, p_wish.points,
                                      p_reason => p_reason);
    IF matured AND head.deficit > 0 THEN
        head := ledger.pay_deficits(head, p_wish, ARRAY[lot_id], p_wish.points);
    END IF;
    -- A purchase may be posted so late that its points have lapsed: the answer says so.
    IF head.next_due_at <= p_wish.now THEN
        head := ledger.bring_up_to_date(head, p_wish);
    END IF;
    RETURN ledger.conclude(head, p_wish, p_wish.points);
END $$;

CREATE FUNCTION ledger.post_issue(
    p_member uuid, p_partner uuid, p_agreement uuid, p_funding_plan uuid, p_points bigint, p_amount numeric,
    p_key text, p_fingerprint bytea,
    p_store text, p_terminal text, p_receipt_number text, p_receipt_line integer, p_receipt_revision integer,
    p_occurred_at timestamptz, p_matures_at timestamptz, p_expires_at timestamptz, p_now timestamptz, p_identifier uuid DEFAULT NULL
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.kind := 'issue';
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
    IF p_points IS NULL OR p_points > 1000000000 OR p_points < (p_amount IS NULL)::int THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    wish := ledger.claim_receipt(wish, p_member);
    RETURN ledger.issue(p_member, wish, p_funding_plan, p_matures_at, p_expires_at);
END $$;
