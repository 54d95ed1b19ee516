-- Undo an issue or a redemption, whole, by a new transaction that names it.
-- An issue: what is left of its lot goes to `reversed`. Points already spent become the issuer's claim
-- where the agreement's return policy is `unlimited`; under `available` they are forgone; under
-- `pending_only` nothing may have matured. Expired points are nobody's claim: the member has not had them.
-- A redemption: the points go back to their own lots; one that expired meanwhile gets the grace period.
CREATE FUNCTION ledger.reverse(p_member uuid, p_wish ledger.wish, p_date date, p_id uuid, p_reason text)
RETURNS ledger.posting LANGUAGE plpgsql AS $$
DECLARE
    head      member_head;
    earlier   ledger.posting;
    target    transaction;
    origin    lot;
    policy    text;
    recovered bigint := 0;
    ordinal   integer := 0;
    returned  uuid[];
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;

    -- Refusals, in the order of coalition.errors. A member whom nobody knows has no transactions:
    -- the caller named a transaction, and gets the one answer for all that are not its own.
    earlier := ledger.replay(p_wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    PERFORM ledger.check_partner(p_wish, 'a returner');
    SELECT * INTO target FROM transaction
    WHERE member_id = p_member AND business_date = p_date AND transaction_id = p_id;
    IF target.transaction_id IS NULL OR target.partner_id <> p_wish.partner_id THEN
        PERFORM ledger.refuse('TRANSACTION_UNKNOWN');
    END IF;
    IF target.kind NOT IN ('issue', 'redeem') THEN
        PERFORM ledger.refuse('NOT_REVERSIBLE', jsonb_build_object('kind', target.kind));
    END IF;
    IF EXISTS (SELECT FROM transaction WHERE member_id = p_member AND reverses_id = p_id) THEN
        PERFORM ledger.refuse('ALREADY_REVERSED');
    END IF;
    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    head := ledger.bring_up_to_date(head, p_wish);
    IF target.kind = 'issue' THEN
        SELECT * INTO origin FROM lot WHERE member_id = p_member AND transaction_id = p_id;
        SELECT return_policy INTO policy FROM partners.agreement WHERE agreement_id = target.agreement_id;
        IF policy = 'pending_only' AND origin.pending < origin.points THEN
            PERFORM ledger.refuse('RETURN_POLICY_FORBIDS', jsonb_build_object('pending', origin.pending, 'points', origin.points));
        END IF;
    END IF;
    -- From here on nothing is refused.

    IF target.kind = 'issue' THEN
        IF origin.pending > 0 THEN
            ordinal := ledger.move_lots(p_member, p_wish.business_date, p_wish.transaction_id, ARRAY[origin.lot_id], 'pending', 'reversed');
            head.pending := head.pending - origin.pending;
            recovered := origin.pending;
        ELSIF origin.available > 0 THEN
            ordinal := ledger.move_lots(p_member, p_wish.business_date, p_wish.transaction_id, ARRAY[origin.lot_id], 'available', 'reversed');
            head.available := head.available - origin.available;
            recovered := origin.available;
        END IF;
        IF policy = 'unlimited' AND origin.burned > 0 THEN
            PERFORM ledger.claim_deficit(head, p_wish, origin, ordinal);
            head.deficit := head.deficit + origin.burned;
        END IF;
        head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, 'reverse_issue', p_wish.partner_id, target.agreement_id,
                                          recovered, p_date, p_id, p_reason => p_reason);
    ELSE
        recovered := target.points;
        returned := ledger.unburn(p_member, p_wish, target);
        head.available := head.available + recovered;
        head.next_due_at := least(head.next_due_at, (
            SELECT min(expires_at) FROM lot WHERE member_id = p_member AND lot_id = ANY (returned)));
        head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, 'reverse_redemption', p_wish.partner_id, target.agreement_id,
                                          recovered, p_date, p_id, p_reason => p_reason);
        head := ledger.pay_deficits(head, p_wish, returned, recovered);
        -- Where there is no grace, what came back to an expired lot lapses at once.
        head := ledger.bring_up_to_date(head, p_wish);
    END IF;
    RETURN ledger.conclude(head, p_wish, recovered);
END $$;

-- What an issue's reversal could not recover because it was spent becomes the issuer's claim.
CREATE FUNCTION ledger.claim_deficit(head ledger.member_head, p_wish ledger.wish, origin ledger.lot, p_after integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    id uuid := gen_random_uuid();
BEGIN
    INSERT INTO deficit (member_id, deficit_id, claimant_id, agreement_id, lot_id, business_date, transaction_id, claimed_at, sequence, points, open_points)
    SELECT head.member_id, id, origin.issuer_id, coalesce(p_wish.agreement_id, origin.agreement_id), origin.lot_id,
           p_wish.business_date, p_wish.transaction_id, p_wish.now, head.last_sequence + 1,
           origin.burned, origin.burned;
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, deficit_id)
    VALUES (head.member_id, p_wish.business_date, p_wish.transaction_id, p_after + 1, 'available', -origin.burned, id),
           (head.member_id, p_wish.business_date, p_wish.transaction_id, p_after + 2, 'reversed', origin.burned, id);
END $$;

-- Give a redemption's points back to the lots they came from. Returns those lots.
CREATE FUNCTION ledger.unburn(p_member uuid, p_wish ledger.wish, target ledger.transaction) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    returned uuid[];
BEGIN
    SELECT array_agg(lot_id ORDER BY ordinal) INTO returned FROM entry
    WHERE member_id = p_member AND business_date = target.business_date AND transaction_id = target.transaction_id
      AND bucket = 'burned';
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
    SELECT p_member, p_wish.business_date, p_wish.transaction_id, 2 * u.ordinality - leg.before, leg.bucket, leg.sign * e.points,
           e.lot_id, e.issuer_id, e.agreement_id, e.funding_plan_id
    FROM unnest(returned) WITH ORDINALITY AS u (lot_id, ordinality)
    JOIN entry e ON e.member_id = p_member AND e.business_date = target.business_date
                AND e.transaction_id = target.transaction_id AND e.bucket = 'burned' AND e.lot_id = u.lot_id
    CROSS JOIN (VALUES ('burned', -1, 1), ('available', 1, 0)) AS leg (bucket, sign, before);
    UPDATE lot SET
        burned = lot.burned - e.points,
        available = lot.available + e.points,
        expires_at = CASE WHEN lot.expires_at <= p_wish.now THEN p_wish.now + make_interval(days => terms.grace_days)
                          ELSE lot.expires_at END
    FROM entry e, partners.agreement terms
    WHERE e.member_id = p_member AND e.business_date = target.business_date
      AND e.transaction_id = target.transaction_id AND e.bucket = 'burned'
      AND lot.member_id = p_member AND lot.lot_id = e.lot_id AND terms.agreement_id = lot.agreement_id;
    RETURN returned;
END $$;

CREATE FUNCTION ledger.post_reverse(
    p_member uuid, p_partner uuid, p_date date, p_id uuid, p_agreement uuid, p_key text, p_fingerprint bytea,
    p_occurred_at timestamptz, p_reason text, p_now timestamptz
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.kind := 'reverse';
    wish.partner_id := p_partner;
    wish.agreement_id := p_agreement;
    wish.key := p_key;
    wish.fingerprint := p_fingerprint;
    wish.occurred_at := p_occurred_at;
    wish.transaction_id := gen_random_uuid();
    wish := ledger.enter_window(wish, p_now);
    RETURN ledger.reverse(p_member, wish, p_date, p_id, p_reason);
END $$;
