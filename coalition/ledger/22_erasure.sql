-- A person is erased and the books stay whole. What the member is looked up by is removed; its journal and
-- histories, which name nobody, stay as they are and end there. The caller destroys the member's own key, and with it
-- what was written about the person in free words, in the same transaction.
--
-- Nothing is taken for it: points, and what is owed, are settled first, by postings that say why.
CREATE FUNCTION ledger.erase_member(p_member uuid, p_now timestamptz)
RETURNS TABLE (member_id uuid, erased_at timestamptz, fresh boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wish    ledger.wish;
    head    member_head;
    lent    bigint;
    records uuid[] := p_member || ledger.absorbed(p_member);
BEGIN
    wish := ledger.enter_window(wish, p_now);
    PERFORM ledger.lock_heads(records);
    head := ledger.head_of(p_member);

    -- Refusals, in the order of coalition.errors.
    IF head.member_id IS NULL       THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF head.erased_at IS NOT NULL   THEN
        RETURN QUERY SELECT one, head.erased_at, false FROM unnest(records) AS one;
        RETURN;
    END IF;
    IF head.merged_into IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    IF records IS DISTINCT FROM p_member || ledger.absorbed(p_member) THEN
        -- Somebody was merged into it before it was locked, and is not locked itself: try again.
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'members were merged or un-merged meanwhile';
    END IF;
    IF head.pool_id IS NOT NULL     THEN PERFORM ledger.refuse('ALREADY_IN_POOL'); END IF;
    wish.now := greatest(wish.now, head.last_recorded_at);
    head := ledger.bring_up_to_date(head, wish);
    lent := ledger.lent(records);
    IF head.held + lent > 0         THEN PERFORM ledger.refuse('MEMBER_HAS_HOLDS', jsonb_build_object('held', head.held + lent)); END IF;
    IF head.available + head.pending + head.deficit > 0 THEN
        PERFORM ledger.refuse('MEMBER_HAS_POINTS', jsonb_build_object(
            'available', head.available, 'pending', head.pending, 'deficit', head.deficit));
    END IF;
    -- From here on nothing is refused.

    PERFORM ledger.store_head(head);
    DELETE FROM identifier WHERE member_id = ANY (records);
    -- What stands for a request that named the person could be tried out, as the identifier's blind index could.
    UPDATE partners.operation SET fingerprint = NULL
    WHERE result ->> 'member_id' = ANY (records::text[]) AND blinded_by IS NOT NULL AND fingerprint IS NOT NULL;
    UPDATE pool_member SET ended_at = greatest(wish.now, invited_at) WHERE member_id = ANY (records) AND ended_at IS NULL;
    UPDATE member_head SET erased_at = wish.now WHERE member_id = ANY (records);
    RETURN QUERY SELECT one, wish.now, true FROM unnest(records) AS one;
END $$;
