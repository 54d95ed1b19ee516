-- A receipt line has one effect over all members: the first posting claims it, in its own transaction.
-- Two at once: the second waits at the unique key for the first to commit or roll back.
-- A refusal is not raised here but noted in the wish: a replay of the first posting must get its answer.
CREATE FUNCTION ledger.claim_receipt(p_wish ledger.wish, p_member uuid) RETURNS ledger.wish
LANGUAGE plpgsql AS $$
BEGIN
    IF p_wish.receipt_number IS NULL THEN RETURN p_wish; END IF;

    INSERT INTO receipt (partner_id, kind, store, terminal, number, line, revision, member_id, business_date, transaction_id)
    VALUES (p_wish.partner_id, p_wish.kind, p_wish.store, p_wish.terminal, p_wish.receipt_number, p_wish.receipt_line,
            p_wish.receipt_revision, p_member, p_wish.business_date, p_wish.transaction_id)
    ON CONFLICT DO NOTHING;
    RETURN ledger.judge_claim(p_wish, FOUND);
END $$;

-- Note what speaks against a receipt: somebody has it, or it is a later revision of one that was not taken back.
CREATE FUNCTION ledger.judge_claim(p_wish ledger.wish, p_claimed boolean) RETURNS ledger.wish
LANGUAGE plpgsql AS $$
DECLARE
    earlier receipt;
BEGIN
    IF p_wish.receipt_number IS NULL THEN RETURN p_wish; END IF;
    IF NOT p_claimed THEN
        p_wish.refused := 'RECEIPT_DUPLICATE';
    ELSIF p_wish.receipt_revision > 0 THEN
        SELECT * INTO earlier FROM receipt
        WHERE partner_id = p_wish.partner_id AND kind = p_wish.kind AND store = p_wish.store
          AND terminal = p_wish.terminal AND number = p_wish.receipt_number AND line = p_wish.receipt_line
          AND revision = p_wish.receipt_revision - 1;
        IF NOT FOUND OR NOT ledger.is_wholly_reversed(earlier) THEN
            p_wish.refused := 'RECEIPT_REVISION';
            p_wish.refused_facts := jsonb_build_object('revision', p_wish.receipt_revision);
        END IF;
    END IF;
    RETURN p_wish;
END $$;

-- Whether all that a receipt line's posting moved was taken back.
CREATE FUNCTION ledger.is_wholly_reversed(p_line receipt) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT count(*) > 0 AND coalesce(sum(undone_points), 0) = (
        SELECT points FROM transaction
        WHERE member_id = p_line.member_id AND business_date = p_line.business_date AND transaction_id = p_line.transaction_id)
    FROM transaction WHERE member_id = p_line.member_id AND reverses_id = p_line.transaction_id
$$;
