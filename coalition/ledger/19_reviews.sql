-- Postings that wait for an operator, because a rule says so. Nothing of them has moved: the wish was refused
-- as UNDER_REVIEW, and is remembered here by its key. Once it is released the same wish, sent again, passes the
-- rules that hold for review; the guards before them judge it anew.

-- A wish is that of whose identifier named the member: the same over a merge of that record, and when it is apart.
CREATE FUNCTION ledger.asked_of(p_wish ledger.wish, p_member uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(p_wish.named_id, p_member) $$;

-- The member's part: let a wish pass that was released, or that no rule holds any more (no facts), and say how the
-- others stand.
CREATE FUNCTION ledger.check_review(p_wish ledger.wish, p_member uuid, p_facts jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    whose uuid := ledger.asked_of(p_wish, p_member);
    known review;
BEGIN
    IF p_wish.key IS NULL THEN PERFORM ledger.refuse('UNDER_REVIEW', p_facts); END IF;  -- it was only asked
    SELECT * INTO known FROM review
    WHERE member_id = whose AND partner_id = p_wish.partner_id AND key = p_wish.key FOR UPDATE;
    IF known.review_id IS NOT NULL AND known.fingerprint <> p_wish.fingerprint THEN
        PERFORM ledger.refuse('IDEMPOTENCY_CONFLICT');
    END IF;
    IF known.state = 'rejected' THEN PERFORM ledger.refuse('REVIEW_REJECTED'); END IF;
    IF p_facts IS NOT NULL AND known.state IS DISTINCT FROM 'released' THEN
        -- With all that is needed to remember it, since this transaction is undone.
        PERFORM ledger.refuse('UNDER_REVIEW', p_facts || jsonb_build_object('wish', jsonb_build_object(
            'member', whose, 'partner', p_wish.partner_id, 'key', p_wish.key, 'fingerprint', encode(p_wish.fingerprint, 'hex'),
            'kind', p_wish.kind, 'points', p_wish.points, 'store', p_wish.store, 'terminal', p_wish.terminal, 'receipt', p_wish.receipt_number)));
    END IF;
    UPDATE review SET state = 'posted', business_date = p_wish.business_date, transaction_id = p_wish.transaction_id,
                      posted_with = nullif(p_member, whose)
    WHERE member_id = whose AND review_id = known.review_id;
END $$;

-- Remember a wish that was refused as UNDER_REVIEW, from that refusal's facts. Again changes nothing, nor does one
-- whose key was used since, by the same or another wish sent at the same time. Of one member at most 20 wait at a time: a flood ends there, and what comes
-- later is remembered when it is sent again. Returns whether it waits.
CREATE FUNCTION ledger.queue_review(p_member uuid, p_facts jsonb, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish   jsonb := p_facts -> 'wish';
    moment timestamptz := ledger.programme_time(p_now);
BEGIN
    -- One at a time for a member, or many at once would each see room for one more; and not while one of them is posted.
    PERFORM ledger.lock_heads(ledger.line_of(p_member));
    IF (SELECT count(*) FROM review WHERE member_id = p_member AND state = 'waiting') < 20 AND NOT EXISTS (
        SELECT FROM ledger.remembered(p_member, (wish ->> 'partner')::uuid, wish ->> 'key') AS k
        WHERE coalesce(k.named_id, k.member_id) = p_member
    ) THEN
        INSERT INTO review (member_id, review_id, partner_id, key, fingerprint, kind, points, store, terminal, receipt_number,
                            limit_code, facts, asked_at)
        VALUES (p_member, gen_random_uuid(), (wish ->> 'partner')::uuid, wish ->> 'key', decode(wish ->> 'fingerprint', 'hex'),
                wish ->> 'kind', (wish ->> 'points')::bigint, wish ->> 'store', wish ->> 'terminal', wish ->> 'receipt',
                p_facts ->> 'limit', p_facts - 'wish', moment)
        ON CONFLICT (member_id, partner_id, key) DO NOTHING;
    END IF;
    RETURN EXISTS (
        SELECT FROM review WHERE member_id = p_member AND partner_id = (wish ->> 'partner')::uuid AND key = wish ->> 'key' AND state = 'waiting');
END $$;

-- Decide on a wish that waits: 'released' or 'rejected'. The same decision again changes nothing; one that was
-- released and not sent again yet can still be rejected.
CREATE FUNCTION ledger.decide_review(p_member uuid, p_review uuid, p_decision text, p_by text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    stood  text;
BEGIN
    ASSERT p_decision IN ('released', 'rejected'), 'a review ends in one of two ways';
    SELECT state INTO stood FROM review WHERE member_id = p_member AND review_id = p_review FOR UPDATE;
    IF stood IS NULL THEN PERFORM ledger.refuse('REVIEW_UNKNOWN'); END IF;
    IF stood = p_decision OR (stood = 'posted' AND p_decision = 'released') THEN RETURN; END IF;
    IF NOT (stood = 'waiting' OR (stood = 'released' AND p_decision = 'rejected')) THEN
        PERFORM ledger.refuse('REVIEW_DECIDED', jsonb_build_object('state', stood));
    END IF;
    UPDATE review SET state = p_decision, decided_by = p_by, decided_at = moment
    WHERE member_id = p_member AND review_id = p_review;
END $$;
