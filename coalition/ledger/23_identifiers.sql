-- What becomes of an identifier after it was linked: blocked and unblocked, replaced (a card) and unlinked. Each is
-- a row of the identifier's own history beside its member, under the lock that the member's postings take: one by
-- that identifier was posted before, or is refused. The last row says how it stands.

CREATE FUNCTION ledger.last_change(p_member uuid, p_identifier uuid) RETURNS ledger.identifier_change
LANGUAGE sql STABLE AS $$
    SELECT * FROM identifier_change WHERE member_id = p_member AND identifier_id = p_identifier ORDER BY number DESC LIMIT 1
$$;

-- Whether a posting may name its member so, and by which card it does. A guard of the member's part, with the
-- head locked. The new card is not told: whoever holds the old one need not know it.
CREATE FUNCTION ledger.check_identifier(INOUT p_wish ledger.wish, p_member uuid) LANGUAGE plpgsql AS $$
DECLARE
    last identifier_change;
BEGIN
    IF p_wish.identifier_id IS NULL THEN RETURN; END IF;
    last := ledger.last_change(p_member, p_wish.identifier_id);
    IF last.identifier_id IS NULL THEN
        SELECT c.* INTO last FROM identifier_change c
        WHERE member_id = ANY (ledger.absorbed(p_member)) AND identifier_id = p_wish.identifier_id
        ORDER BY number DESC LIMIT 1;
    END IF;
    -- It was looked up before the lock was held: by now its member may have been merged, or taken apart again.
    IF last.identifier_id IS NULL      THEN PERFORM ledger.refuse('MEMBER_MERGED'); END IF;
    IF last.state = 'blocked'          THEN PERFORM ledger.refuse('IDENTIFIER_BLOCKED', jsonb_build_object('kind', last.kind)); END IF;
    IF last.state = 'replaced'         THEN PERFORM ledger.refuse('CARD_REPLACED'); END IF;
    IF last.state = 'unlinked'         THEN PERFORM ledger.refuse('IDENTIFIER_UNLINKED', jsonb_build_object('kind', last.kind)); END IF;
    IF last.kind = 'card'              THEN p_wish.card_id := last.identifier_id; END IF;
    IF last.member_id <> p_member      THEN p_wish.named_id := last.member_id; END IF;
END $$;

-- Ask whether a posting may name a member so, and move nothing. Raises what it would be refused with.
CREATE FUNCTION ledger.ask_identifier(p_member uuid, p_identifier uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.identifier_id := p_identifier;
    PERFORM ledger.check_identifier(wish, p_member);
END $$;

-- Lock all who post by a member's identifiers, the member and whom it was merged into, and see that a party may
-- change one of them. The party is the network (the operator), the partner that linked it, or NULL: the member
-- itself; to anybody else it does not exist. Returns how it stands.
CREATE FUNCTION ledger.changeable(p_member uuid, p_identifier uuid, p_state text, p_party uuid)
RETURNS ledger.identifier_change LANGUAGE plpgsql AS $$
DECLARE
    line uuid[] := ledger.line_of(p_member);
    last identifier_change;
BEGIN
    PERFORM ledger.lock_heads(line);
    IF ledger.line_of(p_member) <> line THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'the member was merged or un-merged meanwhile';
    END IF;
    -- Refusals, in the order of coalition.errors.
    last := ledger.last_change(p_member, p_identifier);
    IF last.identifier_id IS NULL OR NOT (
        p_party IS NULL OR p_party = '00000000-0000-0000-0000-000000000000' OR p_party = (
            SELECT party_id FROM identifier_change
            WHERE member_id = p_member AND identifier_id = p_identifier AND number = 1)
    ) THEN
        PERFORM ledger.refuse('IDENTIFIER_UNKNOWN');
    END IF;
    IF (ledger.head_of(p_member)).erased_at IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    -- A block is lifted by whoever set it, or by the operator; nor is it got round by linking anew.
    IF last.state = 'blocked' AND p_state IN ('active', 'unlinked') AND last.party_id IS DISTINCT FROM p_party
       AND p_party IS DISTINCT FROM '00000000-0000-0000-0000-000000000000' THEN
        PERFORM ledger.refuse('IDENTIFIER_BLOCKED', jsonb_build_object('kind', last.kind));
    END IF;
    IF last.state = 'replaced'         THEN PERFORM ledger.refuse('CARD_REPLACED'); END IF;
    IF last.state = 'unlinked'         THEN PERFORM ledger.refuse('IDENTIFIER_UNLINKED', jsonb_build_object('kind', last.kind)); END IF;
    RETURN last;
END $$;

-- Write down how an identifier stands from now on.
CREATE FUNCTION ledger.append_change(
    p_last ledger.identifier_change, p_state text, p_party uuid, p_by text, p_reason text, p_replaced_by uuid, p_now timestamptz
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO identifier_change (member_id, identifier_id, number, kind, state, changed_at, party_id, changed_by, reason, replaced_by)
    VALUES (p_last.member_id, p_last.identifier_id, p_last.number + 1, p_last.kind, p_state,
            greatest(p_now, p_last.changed_at), p_party, p_by, p_reason, p_replaced_by)
$$;

-- Whose block counts where several want one: the operator's, then the partner's, then the member's.
CREATE FUNCTION ledger.weight(p_party uuid) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_party IS NULL THEN 0 WHEN p_party <> '00000000-0000-0000-0000-000000000000' THEN 1 ELSE 2 END
$$;

-- Block an identifier, unblock it ('active') or unlink it. What is so already stays so.
CREATE FUNCTION ledger.change_identifier(
    p_member uuid, p_identifier uuid, p_state text, p_party uuid, p_by text, p_reason text, p_now timestamptz
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    last   identifier_change;
BEGIN
    ASSERT p_state IN ('active', 'blocked', 'unlinked'), 'a card is replaced by another';
    last := ledger.changeable(p_member, p_identifier, p_state, p_party);
    -- From here on nothing is refused.

    IF last.state = p_state AND (p_state <> 'blocked' OR ledger.weight(p_party) <= ledger.weight(last.party_id)) THEN RETURN; END IF;
    PERFORM ledger.append_change(last, p_state, p_party, p_by, p_reason, NULL, moment);
    IF p_state = 'unlinked' THEN
        UPDATE identifier SET unlinked_at = moment WHERE member_id = p_member AND identifier_id = p_identifier;
    END IF;
END $$;

-- Give a member another card in place of one, which is refused from now on.
CREATE FUNCTION ledger.replace_card(
    p_member uuid, p_identifier uuid, p_value text, p_party uuid, p_by text, p_reason text, p_now timestamptz
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    last identifier_change;
    card identifier;
BEGIN
    last := ledger.changeable(p_member, p_identifier, 'replaced', p_party);
    ASSERT last.kind = 'card', 'only cards are replaced';
    IF EXISTS (SELECT FROM identifier WHERE kind = 'card' AND value = p_value AND unlinked_at IS NULL) THEN
        PERFORM ledger.refuse('IDENTIFIER_TAKEN', jsonb_build_object('kind', 'card'));
    END IF;
    PERFORM ledger.link_identifier(p_member, p_party, 'card', '00000000-0000-0000-0000-000000000000', p_value, p_now);
    SELECT * INTO card FROM identifier WHERE kind = 'card' AND value = p_value AND unlinked_at IS NULL;
    PERFORM ledger.append_change(last, 'replaced', p_party, p_by, p_reason, card.identifier_id, ledger.programme_time(p_now));
END $$;
