-- Members join, are linked to identifiers, blocked, and brought up to date when nobody touches them.

-- Only who can issue may have people join or be known by more: who is suspended, leaves or has left may not.
CREATE FUNCTION ledger.check_partner_is_active(p_partner uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    stands text;
BEGIN
    SELECT state INTO stands FROM partners.partner WHERE partner_id = p_partner;
    IF NOT FOUND THEN PERFORM ledger.refuse('PARTNER_UNKNOWN'); END IF;
    IF stands <> 'active' THEN PERFORM ledger.refuse('PARTNER_NOT_ACTIVE', jsonb_build_object('state', stands)); END IF;
END $$;

-- Enrol a member under at least no identifier; each identifier is new or the whole is refused. How an identifier
-- may still be spelt, and which key of the blind index spells it, is as for link_identifier.
CREATE FUNCTION ledger.enrol(
    p_member uuid, p_partner uuid, p_kinds text[], p_owners uuid[], p_values text[], p_now timestamptz,
    p_formers text[] DEFAULT NULL, p_indexed_by integer DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
BEGIN
    PERFORM ledger.check_partner_is_active(p_partner);
    INSERT INTO member (member_id, enrolled_at, enrolled_by) VALUES (p_member, moment, p_partner);
    INSERT INTO member_head (member_id) VALUES (p_member);
    PERFORM ledger.link_identifier(p_member, p_partner, kind, owner, value, p_now, former, p_indexed_by)
    -- In one order for all, so that two enrolments with the same identifiers wait and do not deadlock.
    FROM (SELECT * FROM unnest(p_kinds, p_owners, p_values, p_formers) AS u (kind, owner, value, former)
          ORDER BY kind, owner, value) AS sorted;
END $$;

-- Link an identifier to a member. Linking it to the same member again changes nothing and is no error, but for
-- a card that was replaced: it stays out of use for good. One that was unlinked is anybody's again.
-- While the key of the blind index is being replaced, `p_former` is how one that is not reached yet is spelt.
CREATE FUNCTION ledger.link_identifier(
    p_member uuid, p_partner uuid, p_kind text, p_owner uuid, p_value text, p_now timestamptz,
    p_former text DEFAULT NULL, p_indexed_by integer DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    known  identifier;
    own    uuid := gen_random_uuid();
    erased timestamptz;
BEGIN
    -- Shared, so that the member is not erased between this look and the link.
    SELECT erased_at INTO erased FROM member_head WHERE member_id = p_member FOR SHARE;
    IF NOT FOUND              THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF erased IS NOT NULL     THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    PERFORM ledger.check_partner_is_active(p_partner);
    -- The former spelling first: whoever is respelt between the two is met at the unique index.
    SELECT * INTO known FROM identifier
    WHERE kind = p_kind AND partner_id = p_owner AND value = p_former AND unlinked_at IS NULL;
    IF known.member_id IS NULL THEN
        INSERT INTO identifier (kind, partner_id, value, identifier_id, member_id, linked_at, linked_by, indexed_by)
        VALUES (p_kind, p_owner, p_value, own, p_member, moment, p_partner, CASE WHEN p_kind <> 'card' THEN p_indexed_by END)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            INSERT INTO identifier_change (member_id, identifier_id, number, kind, state, changed_at, party_id)
            VALUES (p_member, own, 1, p_kind, 'active', moment, p_partner);
            RETURN;
        END IF;
        SELECT * INTO known FROM identifier
        WHERE kind = p_kind AND partner_id = p_owner AND value = p_value AND unlinked_at IS NULL;
    END IF;
    -- What a record is known by that is merged into the member, the member is known by.
    IF known.member_id IS DISTINCT FROM p_member AND (known.member_id = ANY (ledger.absorbed(p_member))) IS NOT TRUE THEN
        PERFORM ledger.refuse('IDENTIFIER_TAKEN', jsonb_build_object('kind', p_kind));
    END IF;
    IF (ledger.last_change(known.member_id, known.identifier_id)).state = 'replaced' THEN PERFORM ledger.refuse('CARD_REPLACED'); END IF;
END $$;

-- Spell identifiers by another key of the blind index, one that there is; nothing else of them changes. Returns how
-- many were.
CREATE FUNCTION ledger.respell_identifiers(p_members uuid[], p_identifiers uuid[], p_values text[], p_indexed_by integer)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    respelt bigint;
BEGIN
    UPDATE identifier SET value = u.value, indexed_by = p_indexed_by
    FROM unnest(p_members, p_identifiers, p_values) AS u (member_id, identifier_id, value)
    WHERE identifier.member_id = u.member_id AND identifier.identifier_id = u.identifier_id
      AND identifier.indexed_by < p_indexed_by
      AND EXISTS (SELECT FROM people.index_key WHERE generation = p_indexed_by);
    GET DIAGNOSTICS respelt = ROW_COUNT;
    RETURN respelt;
END $$;

-- Block a member, or let it take part again; what is so already stays so. Takes the lock that the member's postings
-- take: one was before it, or is refused. Each change is a row of its own history, with who and why.
CREATE FUNCTION ledger.set_member_blocked(p_member uuid, p_blocked boolean, p_by text, p_reason text, p_now timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    head   member_head;
    last   member_block;
BEGIN
    SELECT * INTO head FROM member_head WHERE member_id = p_member FOR UPDATE;

    -- Refusals, in the order of coalition.errors.
    IF NOT FOUND                    THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF head.erased_at IS NOT NULL   THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    -- From here on nothing is refused.

    IF head.blocked = p_blocked THEN RETURN; END IF;
    SELECT * INTO last FROM member_block WHERE member_id = p_member ORDER BY number DESC LIMIT 1;
    INSERT INTO member_block (member_id, number, blocked, changed_at, changed_by, reason)
    VALUES (p_member, coalesce(last.number, 0) + 1, p_blocked, greatest(moment, last.changed_at), p_by, p_reason);
    UPDATE member_head SET blocked = p_blocked WHERE member_id = p_member;
END $$;

-- Post what has come due for each of these members. Returns how many transactions that made.
CREATE FUNCTION ledger.bring_members_up_to_date(p_members uuid[], p_now timestamptz)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish   ledger.wish;
    head   member_head;
    one    uuid;
    before bigint;
    made   bigint := 0;
BEGIN
    wish := ledger.enter_window(wish, p_now);
    -- Where a hold has lapsed that has points of others, these members are locked with them.
    wish := ledger.lock_pooled(wish, p_members);
    FOREACH one IN ARRAY p_members LOOP
        head := ledger.head_of(one);
        IF head.member_id IS NULL THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
        before := head.last_sequence;
        head := ledger.end_pooled_holds(ledger.bring_up_to_date(head, wish), wish);
        PERFORM ledger.store_head(head);
        made := made + head.last_sequence - before;
    END LOOP;
    RETURN made;
END $$;
