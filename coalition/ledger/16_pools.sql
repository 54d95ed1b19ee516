-- Household pools: members who keep their own wallets and let each other spend from them, by the pool's rules.
-- This file has who is in a pool; 17_pooling.sql how points are spent from one.
--
-- A member is in one pool at a time, and its head says in which. A pool and its members' places are distributed
-- by the pool. Whoever changes who is in a pool locks the pool first, then members in the order of their ids; so
-- while a pool is locked nobody joins or leaves it.

CREATE FUNCTION ledger.lock_pool(p_pool uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM pool WHERE pool_id = p_pool FOR UPDATE;
END $$;

-- The pool that a member is in, locked; and the member's head, read after that. Where the member has joined
-- another while this waited, the caller tries again.
CREATE FUNCTION ledger.head_in_pool(p_member uuid) RETURNS ledger.member_head
LANGUAGE plpgsql AS $$
DECLARE
    seen uuid := (SELECT pool_id FROM member_head WHERE member_id = p_member);
    head member_head;
BEGIN
    PERFORM ledger.lock_pool(seen);
    head := ledger.head_of(p_member);
    IF head.pool_id IS NOT NULL AND head.pool_id IS DISTINCT FROM seen THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'the member joined or left a pool meanwhile';
    END IF;
    RETURN head;
END $$;

CREATE FUNCTION ledger.members_of_pool(p_pool uuid) RETURNS uuid[]
LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(member_id ORDER BY member_id), '{}') FROM pool_member
    WHERE pool_id = p_pool AND joined_at IS NOT NULL AND ended_at IS NULL
$$;

-- An invitation is good for 14 days; members and good invitations together are no more than the pool's places.
CREATE FUNCTION ledger.places_taken(p_pool uuid, p_now timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM pool_member
    WHERE pool_id = p_pool AND ended_at IS NULL AND (joined_at IS NOT NULL OR invited_at > p_now - interval '14 days')
$$;

-- Open a pool with one member, its head. Again under the same id changes nothing.
CREATE FUNCTION ledger.open_pool(
    p_member uuid, p_pool uuid, p_name text, p_spenders text, p_limit bigint, p_own_first boolean, p_most integer, p_now timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    head   member_head;
BEGIN
    PERFORM ledger.lock_heads(ARRAY[p_member]);
    head := ledger.head_of(p_member);
    IF head.member_id IS NULL          THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF head.erased_at IS NOT NULL      THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL    THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    IF head.pool_id IS NOT NULL        THEN PERFORM ledger.refuse('ALREADY_IN_POOL'); END IF;
    IF head.blocked                    THEN PERFORM ledger.refuse('MEMBER_BLOCKED'); END IF;
    INSERT INTO pool (pool_id, name, head_id, spenders, spender_limit_points, own_first, most_members, opened_at)
    VALUES (p_pool, p_name, p_member, p_spenders, p_limit, p_own_first, p_most, moment);
    INSERT INTO pool_member (pool_id, membership_id, member_id, invited_at, joined_at)
    VALUES (p_pool, gen_random_uuid(), p_member, moment, moment);
    UPDATE member_head SET pool_id = p_pool WHERE member_id = p_member;
END $$;

-- The head of a pool invites somebody into it. Who is a member or was invited is not invited twice. Whether the
-- invited is in another pool is not told: it learns that itself when it accepts. Returns the pool.
CREATE FUNCTION ledger.invite_to_pool(p_member uuid, p_invited uuid, p_now timestamptz) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment  timestamptz := ledger.programme_time(p_now);
    head    member_head := ledger.head_in_pool(p_member);
    invited member_head;
    ruling  pool;
BEGIN
    -- So that the invited is not erased between this look and the invitation.
    PERFORM ledger.lock_heads(ARRAY[p_invited]);
    invited := ledger.head_of(p_invited);
    SELECT * INTO ruling FROM pool WHERE pool_id = head.pool_id;
    IF head.member_id IS NULL          THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF invited.member_id IS NULL OR invited.merged_into IS NOT NULL OR invited.erased_at IS NOT NULL THEN
        PERFORM ledger.refuse('MEMBER_UNKNOWN', jsonb_build_object('receiver', true));
    END IF;
    IF head.erased_at IS NOT NULL      THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL    THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    IF head.pool_id IS NULL            THEN PERFORM ledger.refuse('NOT_IN_POOL'); END IF;
    IF ruling.head_id <> p_member      THEN PERFORM ledger.refuse('POOL_HEAD_ONLY'); END IF;
    UPDATE pool_member SET ended_at = moment
    WHERE pool_id = ruling.pool_id AND joined_at IS NULL AND ended_at IS NULL AND invited_at <= moment - interval '14 days';
    IF EXISTS (SELECT FROM pool_member WHERE pool_id = ruling.pool_id AND member_id = p_invited AND ended_at IS NULL) THEN
        RETURN ruling.pool_id;
    END IF;
    IF ledger.places_taken(ruling.pool_id, moment) >= ruling.most_members THEN
        PERFORM ledger.refuse('POOL_FULL', jsonb_build_object('most', ruling.most_members));
    END IF;
    INSERT INTO pool_member (pool_id, membership_id, member_id, invited_at)
    VALUES (ruling.pool_id, gen_random_uuid(), p_invited, moment);
    RETURN ruling.pool_id;
END $$;

-- A member accepts an invitation: from now on the others may spend what it has, and it what they have. A pool
-- that did not invite the member is as one that does not exist. Again changes nothing.
CREATE FUNCTION ledger.accept_pool_invitation(p_member uuid, p_pool uuid, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment  timestamptz := ledger.programme_time(p_now);
    head    member_head;
    ruling  pool;
    invited pool_member;
BEGIN
    PERFORM ledger.lock_pool(p_pool);
    PERFORM ledger.lock_heads(ARRAY[p_member]);
    head := ledger.head_of(p_member);
    SELECT * INTO ruling FROM pool WHERE pool_id = p_pool;
    SELECT * INTO invited FROM pool_member
    WHERE pool_id = p_pool AND member_id = p_member ORDER BY ended_at DESC NULLS FIRST LIMIT 1;

    IF head.member_id IS NULL          THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF head.erased_at IS NOT NULL      THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL    THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    IF invited.pool_id IS NULL         THEN PERFORM ledger.refuse('POOL_UNKNOWN'); END IF;
    IF ruling.closed_at IS NOT NULL    THEN PERFORM ledger.refuse('POOL_CLOSED'); END IF;
    IF head.pool_id = p_pool THEN RETURN; END IF;
    IF invited.ended_at IS NOT NULL OR invited.invited_at <= moment - interval '14 days' THEN
        PERFORM ledger.refuse('POOL_UNKNOWN');
    END IF;
    IF head.pool_id IS NOT NULL        THEN PERFORM ledger.refuse('ALREADY_IN_POOL'); END IF;
    IF head.blocked                    THEN PERFORM ledger.refuse('MEMBER_BLOCKED'); END IF;
    UPDATE pool_member SET joined_at = moment WHERE pool_id = p_pool AND membership_id = invited.membership_id;
    UPDATE member_head SET pool_id = p_pool WHERE member_id = p_member;
END $$;

-- A member leaves its pool, with all that it has. A pool whose head leaves is closed. Returns the pool.
CREATE FUNCTION ledger.leave_pool(p_member uuid, p_now timestamptz) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    head   member_head := ledger.head_in_pool(p_member);
BEGIN
    IF head.member_id IS NULL          THEN PERFORM ledger.refuse('MEMBER_UNKNOWN'); END IF;
    IF head.erased_at IS NOT NULL      THEN PERFORM ledger.refuse('MEMBER_ERASED'); END IF;
    IF head.merged_into IS NOT NULL    THEN PERFORM ledger.refuse('MEMBER_MERGED', jsonb_build_object('survivor', head.merged_into)); END IF;
    IF head.pool_id IS NULL            THEN PERFORM ledger.refuse('NOT_IN_POOL'); END IF;
    IF EXISTS (SELECT FROM pool WHERE pool_id = head.pool_id AND head_id = p_member) THEN
        PERFORM ledger.end_pool(head.pool_id, moment);
    ELSE
        PERFORM ledger.lock_heads(ARRAY[p_member]);
        UPDATE pool_member SET ended_at = moment WHERE pool_id = head.pool_id AND member_id = p_member AND ended_at IS NULL;
        UPDATE member_head SET pool_id = NULL WHERE member_id = p_member;
    END IF;
    RETURN head.pool_id;
END $$;

-- Close a pool: its head does, or (p_by NULL) the operator. All keep what they have.
CREATE FUNCTION ledger.close_pool(p_pool uuid, p_by uuid, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    ruling pool;
BEGIN
    PERFORM ledger.lock_pool(p_pool);
    SELECT * INTO ruling FROM pool WHERE pool_id = p_pool;
    -- To who never was in it, it does not exist.
    IF ruling.pool_id IS NULL OR (p_by IS NOT NULL AND NOT EXISTS (
        SELECT FROM pool_member WHERE pool_id = p_pool AND member_id = p_by AND joined_at IS NOT NULL)) THEN
        PERFORM ledger.refuse('POOL_UNKNOWN');
    END IF;
    IF ruling.closed_at IS NOT NULL    THEN PERFORM ledger.refuse('POOL_CLOSED'); END IF;
    IF p_by <> ruling.head_id          THEN PERFORM ledger.refuse('POOL_HEAD_ONLY'); END IF;
    PERFORM ledger.end_pool(p_pool, moment);
END $$;

CREATE FUNCTION ledger.end_pool(p_pool uuid, p_now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ledger.lock_heads(ledger.members_of_pool(p_pool));
    UPDATE member_head SET pool_id = NULL WHERE member_id = ANY (ledger.members_of_pool(p_pool));
    UPDATE pool_member SET ended_at = p_now WHERE pool_id = p_pool AND ended_at IS NULL;
    UPDATE pool SET closed_at = p_now WHERE pool_id = p_pool;
END $$;
