-- Points that an operator gives or takes, with a reason from a list; above the programme's limit with a second
-- person. What is given is an issue of the partner that pays for it. What is taken leaves the lots that expire
-- soonest, and their funders get the issue charge back.

CREATE FUNCTION ledger.propose_adjustment(
    p_member uuid, p_adjustment uuid, p_points bigint, p_reason text, p_note text,
    p_issuer uuid, p_funding_plan uuid, p_by text, p_now timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    head   member_head;
BEGIN
    IF p_points IS NULL OR p_points = 0 OR abs(p_points) > 1000000000 THEN
        PERFORM ledger.refuse('POINTS_INVALID', jsonb_build_object('points', p_points));
    END IF;
    -- So that the member is not erased between this look and the note; by the locks that posting it takes, in their
    -- order, since that may follow in the same transaction.
    PERFORM pg_advisory_xact_lock_shared(ledger.window_lock());
    PERFORM ledger.lock_heads(ARRAY[p_member]);
    head := ledger.head_of(p_member);
    IF head.member_id IS NULL     THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF head.erased_at IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF p_issuer IS NOT NULL AND NOT EXISTS (SELECT FROM partners.partner WHERE partner_id = p_issuer AND may_issue) THEN
        PERFORM ledger.refuse('PARTNER_UNKNOWN');
    END IF;
    INSERT INTO adjustment (member_id, adjustment_id, points, reason, note, issuer_id, funding_plan_id, proposed_by, proposed_at, state)
    VALUES (p_member, p_adjustment, p_points, p_reason, p_note, p_issuer, p_funding_plan, p_by, moment, 'proposed');
END $$;

-- A client, whoever got its secret by making it or rotating it over the API, whoever got that one's, and so on: all can be
-- one person. A client from the command line, or a name, stands alone.
CREATE FUNCTION ledger.hands_of(p_name text) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    here  text := p_name;
    hands text[] := '{}';
BEGIN
    WHILE here IS NOT NULL AND here <> ALL (hands) LOOP
        hands := hands || here;
        SELECT secret_given_to INTO here FROM partners.oauth_client WHERE client_id = here;
    END LOOP;
    RETURN hands;
END $$;

-- Post a proposed adjustment; p_by is who says so. Within the limit that may be who proposed it.
CREATE FUNCTION ledger.post_adjustment(
    p_member uuid, p_adjustment uuid, p_agreement uuid, p_expires_at timestamptz, p_by text, p_now timestamptz
) RETURNS ledger.posting
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish   ledger.wish;
    wanted adjustment;
    answer ledger.posting;
    free   bigint;
BEGIN
    wish.kind := 'adjustment';
    wish.key := 'adjustment ' || p_adjustment;
    wish.fingerprint := sha256(convert_to(wish.key, 'UTF8'));
    wish.transaction_id := gen_random_uuid();
    wish := ledger.enter_window(wish, p_now);
    PERFORM ledger.lock_heads(ARRAY[p_member]);
    SELECT * INTO wanted FROM adjustment WHERE member_id = p_member AND adjustment_id = p_adjustment FOR UPDATE;
    IF wanted.adjustment_id IS NULL THEN PERFORM ledger.refuse('ADJUSTMENT_UNKNOWN'); END IF;
    wish.partner_id := coalesce(wanted.issuer_id, '00000000-0000-0000-0000-000000000000');
    wish.agreement_id := p_agreement;
    wish.points := abs(wanted.points);
    IF wanted.state = 'rejected' OR (wanted.state = 'posted' AND wanted.decided_by IS DISTINCT FROM nullif(p_by, wanted.proposed_by)) THEN
        PERFORM ledger.refuse('ADJUSTMENT_DECIDED', jsonb_build_object('state', wanted.state));
    END IF;
    SELECT adjustment_limit_points INTO free FROM programme;
    IF wanted.state = 'proposed' AND wish.points > free AND ledger.hands_of(p_by) && ledger.hands_of(wanted.proposed_by) THEN
        PERFORM ledger.refuse('SECOND_PERSON_NEEDED', jsonb_build_object('limit', free));
    END IF;
    IF wanted.points > 0 THEN
        answer := ledger.issue(p_member, wish, wanted.funding_plan_id, NULL, p_expires_at, 'adjust_in', wanted.reason);
    ELSE
        answer := ledger.take_away(p_member, wish, wanted.reason);
    END IF;
    IF NOT answer.replayed THEN
        UPDATE adjustment
        SET state = 'posted', decided_by = nullif(p_by, wanted.proposed_by), decided_at = answer.recorded_at,
            business_date = wish.business_date, transaction_id = wish.transaction_id
        WHERE member_id = p_member AND adjustment_id = p_adjustment;
    END IF;
    RETURN answer;
END $$;

-- The member's part of an adjustment that takes points. A blocked member's can be taken: often that is why.
CREATE FUNCTION ledger.take_away(p_member uuid, p_wish ledger.wish, p_reason text) RETURNS ledger.posting
LANGUAGE plpgsql AS $$
DECLARE
    head    member_head;
    earlier ledger.posting;
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;
    earlier := ledger.replay(p_wish, p_member);
    IF earlier.transaction_id IS NOT NULL THEN RETURN earlier; END IF;
    IF head.erased_at IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    p_wish.occurred_at := p_wish.now;
    head := ledger.bring_up_to_date(head, p_wish);
    IF head.available < p_wish.points THEN
        PERFORM ledger.refuse('INSUFFICIENT_POINTS', jsonb_build_object('available', head.available, 'requested', p_wish.points));
    END IF;
    -- From here on nothing is refused.

    PERFORM ledger.draw(p_member, p_wish.business_date, p_wish.transaction_id, p_wish.points, 'reversed', NULL);
    head.available := head.available - p_wish.points;
    head := ledger.append_transaction(head, p_wish, p_wish.transaction_id, 'adjust_out', p_wish.partner_id, NULL, p_wish.points,
                                      p_reason => p_reason);
    RETURN ledger.conclude(head, p_wish, p_wish.points);
END $$;

CREATE FUNCTION ledger.reject_adjustment(p_member uuid, p_adjustment uuid, p_by text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    stood  text;
BEGIN
    SELECT state INTO stood FROM adjustment WHERE member_id = p_member AND adjustment_id = p_adjustment FOR UPDATE;
    IF stood IS NULL THEN PERFORM ledger.refuse('ADJUSTMENT_UNKNOWN'); END IF;
    IF stood = 'posted' THEN PERFORM ledger.refuse('ADJUSTMENT_DECIDED', jsonb_build_object('state', stood)); END IF;
    UPDATE adjustment SET state = 'rejected', decided_by = p_by, decided_at = moment
    WHERE member_id = p_member AND adjustment_id = p_adjustment AND state = 'proposed';
END $$;
