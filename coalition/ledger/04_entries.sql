-- The pieces that postings are made of: append a transaction, move points out of lots,
-- pay deficits off, bring a member up to date, remember and replay an answer, judge who acts.
-- Each works on the member whose head the caller has locked; the head travels through as a value
-- and is stored once, at the end.

-- Append one transaction, whose entries are written, to the member's journal: number it, chain it to
-- the one before, and count it in the head. What the kernel posts by itself beside a wish (what matures,
-- lapses, expires, is recovered or recalled) has neither key nor receipt.
CREATE FUNCTION ledger.append_transaction(
    INOUT head ledger.member_head, p_wish ledger.wish, p_id uuid, p_kind text, p_partner uuid, p_agreement uuid,
    p_points bigint, p_confirmation uuid DEFAULT NULL, p_reason text DEFAULT NULL,
    p_reverses_date date DEFAULT NULL, p_reverses_id uuid DEFAULT NULL, p_undone bigint DEFAULT NULL,
    p_hold_date date DEFAULT NULL, p_hold_id uuid DEFAULT NULL, p_other_member uuid DEFAULT NULL, p_other_id uuid DEFAULT NULL
) LANGUAGE plpgsql AS $$
DECLARE
    posted transaction;
BEGIN
    head.last_sequence := head.last_sequence + 1;
    head.last_recorded_at := p_wish.now;
    posted.member_id := head.member_id;
    posted.business_date := p_wish.business_date;
    posted.transaction_id := p_id;
    posted.sequence := head.last_sequence;
    posted.kind := p_kind;
    posted.partner_id := p_partner;
    posted.agreement_id := p_agreement;
    posted.points := p_points;
    posted.recorded_at := p_wish.now;
    posted.occurred_at := p_wish.now;
    posted.late := false;
    IF p_id = p_wish.transaction_id THEN
        posted.amount := p_wish.amount;
        posted.store := p_wish.store;
        posted.terminal := p_wish.terminal;
        posted.receipt_number := p_wish.receipt_number;
        posted.receipt_line := p_wish.receipt_line;
        posted.receipt_revision := p_wish.receipt_revision;
        posted.card_id := p_wish.card_id;
        posted.occurred_at := p_wish.occurred_at;
        posted.late := p_wish.occurred_at < p_wish.window_opened;
        posted.idempotency_key := p_wish.key;
    END IF;
    posted.confirmation_id := p_confirmation;
    posted.reason := p_reason;
    posted.reverses_date := p_reverses_date;
    posted.reverses_id := p_reverses_id;
    posted.undone_points := p_undone;
    posted.hold_date := p_hold_date;
    posted.hold_id := p_hold_id;
    posted.other_member_id := p_other_member;
    posted.other_id := p_other_id;
    posted.available_after := head.available;
    posted.pending_after := head.pending;
    posted.held_after := head.held;
    posted.deficit_after := head.deficit;
    posted.inserted_at := clock_timestamp();
    posted.digest := ledger.chained(head.digest, posted);
    head.digest := posted.digest;
    INSERT INTO transaction VALUES (posted.*);
END $$;

-- Draw points from the member's available lots, soonest expiry first, then oldest lot, to be burned, held or
-- reversed; from the named lots only, where some are named, and of each what it has beyond p_keeps. Reads no more
-- lots than it needs. Returns how many entries it made.
CREATE FUNCTION ledger.draw(
    p_member uuid, p_business_date date, p_id uuid, p_points bigint, p_to text, p_only uuid[], p_keeps bigint[] DEFAULT NULL
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    spendable refcursor;
    candidate lot;
    rest      bigint := p_points;
    take      bigint;
    lots      uuid[]   := '{}';
    takes     bigint[] := '{}';
BEGIN
    IF p_only IS NULL THEN
        OPEN spendable NO SCROLL FOR
            SELECT * FROM lot WHERE member_id = p_member AND available > 0
            ORDER BY expires_at, sequence, lot.ordinal;
    ELSE
        OPEN spendable NO SCROLL FOR
            SELECT * FROM lot WHERE member_id = p_member AND available > 0 AND lot_id = ANY (p_only)
            ORDER BY expires_at, sequence, lot.ordinal;
    END IF;
    WHILE rest > 0 LOOP
        FETCH spendable INTO candidate;
        ASSERT FOUND, 'the head promised more points than the lots have';
        take := least(rest, candidate.available - coalesce(p_keeps[array_position(p_only, candidate.lot_id)], 0));
        CONTINUE WHEN take = 0;
        rest := rest - take;
        lots := lots || candidate.lot_id;
        takes := takes || take;
    END LOOP;
    CLOSE spendable;

    -- By their ids and not by a join: a member's many other lots are not so much as looked at.
    WITH moved AS (
        UPDATE lot SET available = available - takes[array_position(lots, lot_id)],
                       burned = burned + CASE p_to WHEN 'burned' THEN takes[array_position(lots, lot_id)] ELSE 0 END,
                       held = held + CASE p_to WHEN 'held' THEN takes[array_position(lots, lot_id)] ELSE 0 END,
                       reversed = reversed + CASE p_to WHEN 'reversed' THEN takes[array_position(lots, lot_id)] ELSE 0 END
        WHERE member_id = p_member AND lot_id = ANY (lots)
        RETURNING lot_id, array_position(lots, lot_id) AS nth, issuer_id, agreement_id, funding_plan_id
    )
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
    SELECT p_member, p_business_date, p_id, 2 * nth - leg.before, leg.bucket, leg.sign * takes[nth],
           lot_id, issuer_id, agreement_id, funding_plan_id
    FROM moved CROSS JOIN (VALUES ('available', -1, 1), (p_to, 1, 0)) AS leg (bucket, sign, before);
    RETURN 2 * cardinality(lots);
END $$;

-- Points that become available pay the member's deficits off first, the oldest claim first: so many
-- fresh points, in these lots. What else a lot has (p_had), the member had before; it is not touched.
-- It is a redemption at the claimant: the paying lots burn, and the claim shrinks by as much.
CREATE FUNCTION ledger.pay_deficits(
    INOUT head ledger.member_head, p_wish ledger.wish, p_lots uuid[], p_fresh bigint, p_had bigint[] DEFAULT NULL
) LANGUAGE plpgsql AS $$
DECLARE
    claim   deficit;
    fresh   bigint := p_fresh;
    paid    bigint;
    id      uuid;
    ordinal integer;
BEGIN
    IF head.deficit = 0 THEN RETURN; END IF;
    FOR claim IN
        SELECT * FROM deficit WHERE member_id = head.member_id AND open_points > 0 ORDER BY sequence, deficit.ordinal
    LOOP
        paid := least(fresh, claim.open_points);
        EXIT WHEN paid = 0;
        id := gen_random_uuid();
        ordinal := ledger.draw(head.member_id, p_wish.business_date, id, paid, 'burned', p_lots, p_had);
        UPDATE deficit SET open_points = open_points - paid
        WHERE member_id = head.member_id AND deficit_id = claim.deficit_id;
        INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, deficit_id)
        VALUES (head.member_id, p_wish.business_date, id, ordinal + 1, 'available', paid, claim.deficit_id),
               (head.member_id, p_wish.business_date, id, ordinal + 2, 'reversed', -paid, claim.deficit_id);
        fresh := fresh - paid;
        head.available := head.available - paid;
        head.deficit := head.deficit - paid;
        head := ledger.append_transaction(head, p_wish, id, 'recovery', claim.claimant_id, claim.agreement_id, paid);
    END LOOP;
END $$;

-- Post what has come due by now: maturities first (and what they pay off), then holds that lapse, then
-- expiries. One transaction for all maturities, one for each hold, one for all expiries.
CREATE FUNCTION ledger.bring_up_to_date(INOUT head ledger.member_head, p_wish ledger.wish)
LANGUAGE plpgsql AS $$
DECLARE
    id    uuid;
    due   uuid[];
    moved bigint;
    dying hold;
BEGIN
    IF head.next_due_at IS NULL OR head.next_due_at > p_wish.now THEN RETURN; END IF;

    SELECT array_agg(lot_id ORDER BY matures_at, lot_id), sum(pending) INTO due, moved
    FROM lot WHERE member_id = head.member_id AND pending > 0 AND matures_at <= p_wish.now;
    IF moved > 0 THEN
        id := gen_random_uuid();
        PERFORM ledger.move_lots(head.member_id, p_wish.business_date, id, due, 'pending', 'available');
        head.pending := head.pending - moved;
        head.available := head.available + moved;
        head := ledger.append_transaction(head, p_wish, id, 'mature', '00000000-0000-0000-0000-000000000000', NULL, moved);
        head := ledger.pay_deficits(head, p_wish, due, moved);
    END IF;

    IF head.held > 0 THEN
        FOR dying IN
            -- One with points of others waits for who has locked these, too, a minute at most: ledger.end_pooled_holds.
            SELECT hold.* FROM hold JOIN transaction t USING (member_id, business_date, transaction_id)
            WHERE member_id = head.member_id AND hold.state = 'open' AND hold.lapses_at <= p_wish.now AND NOT hold.pooled
            ORDER BY hold.lapses_at, t.sequence
        LOOP
            head := ledger.end_hold(head, p_wish, gen_random_uuid(), dying, 'lapse', 0);
        END LOOP;
    END IF;

    SELECT array_agg(lot_id ORDER BY expires_at, lot_id), sum(available) INTO due, moved
    FROM lot WHERE member_id = head.member_id AND available > 0 AND expires_at <= p_wish.now;
    IF moved > 0 THEN
        id := gen_random_uuid();
        PERFORM ledger.move_lots(head.member_id, p_wish.business_date, id, due, 'available', 'expired');
        head.available := head.available - moved;
        head := ledger.append_transaction(head, p_wish, id, 'expire', '00000000-0000-0000-0000-000000000000', NULL, moved);
    END IF;

    head.next_due_at := least(
        (SELECT min(matures_at) FROM lot WHERE member_id = head.member_id AND pending > 0),
        (SELECT min(expires_at) FROM lot WHERE member_id = head.member_id AND available > 0),
        (SELECT min(lapses_at) FROM hold WHERE member_id = head.member_id AND state = 'open')
    );
END $$;

-- The moment at which a day begins in a zone: the first, where the clocks go back over midnight and there are two.
CREATE FUNCTION ledger.day_begins(p_day timestamp, p_zone text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN (last - interval '1 hour') AT TIME ZONE p_zone = p_day THEN last - interval '1 hour' ELSE last END
    FROM (SELECT p_day AT TIME ZONE p_zone AS last) AS found
$$;

-- What a member does keeps points alive that lapse by inactivity: of lots that still have points, and live; but not
-- what others of its pool have. The last day counts whole, so of a day's activities only the first changes anything.
CREATE FUNCTION ledger.extend_lots(p_member uuid, p_now timestamptz, p_activity text, p_partner uuid) RETURNS void
LANGUAGE sql AS $$
    UPDATE lot SET expires_at = extended.until
    FROM (
        SELECT terms.agreement_id, terms.activity_where,
               ledger.day_begins(
                   (p_now AT TIME ZONE zone)::date + make_interval(months => terms.expiry_months) + interval '1 day', zone) AS until
        FROM partners.agreement terms, programme
        WHERE terms.expiry_rule = 'inactivity' AND terms.activity IN ('any', p_activity)
    ) AS extended
    WHERE lot.member_id = p_member AND lot.agreement_id = extended.agreement_id
      AND lot.pending + lot.available + lot.held > 0
      AND lot.expires_at > p_now AND lot.expires_at < extended.until
      AND (extended.activity_where = 'anywhere' OR lot.issuer_id = p_partner)
      AND (lot.from_member_id IS NULL OR NOT EXISTS (
          SELECT FROM transaction came
          WHERE came.member_id = lot.member_id AND came.business_date = lot.business_date
            AND came.transaction_id = lot.transaction_id AND came.kind = 'pool_in'))
$$;

-- Move all that the lots have in one bucket to another, with the entries that say so: what matures becomes
-- available, what is available expires.
CREATE FUNCTION ledger.move_lots(
    p_member uuid, p_business_date date, p_id uuid, p_lots uuid[], p_from text, p_to text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO entry (member_id, business_date, transaction_id, ordinal, bucket, points, lot_id, issuer_id, agreement_id, funding_plan_id)
    SELECT p_member, p_business_date, p_id, 2 * array_position(p_lots, l.lot_id) - leg.before, leg.bucket,
           leg.sign * CASE p_from WHEN 'pending' THEN l.pending ELSE l.available END,
           l.lot_id, l.issuer_id, l.agreement_id, l.funding_plan_id
    FROM lot l CROSS JOIN (VALUES (p_from, -1, 1), (p_to, 1, 0)) AS leg (bucket, sign, before)
    WHERE l.member_id = p_member AND l.lot_id = ANY (p_lots);
    -- The entries above were made from the lots as they stood; only now do these move.
    UPDATE lot SET
        pending   = CASE WHEN p_from = 'pending' THEN 0 ELSE pending END,
        available = CASE WHEN p_from = 'available' THEN 0 ELSE available + pending END,
        expired   = CASE WHEN p_to = 'expired' THEN expired + available ELSE expired END
    WHERE member_id = p_member AND lot_id = ANY (p_lots);
END $$;

-- What is remembered under a key of a member: its own, that of records which are merged into it, and what was asked
-- of one of these by an identifier of its own while it was part of another, from which it has parted since.
CREATE FUNCTION ledger.remembered(p_member uuid, p_partner uuid, p_key text) RETURNS SETOF ledger.idempotency
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    records uuid[] := p_member || ledger.absorbed(p_member);
BEGIN
    RETURN QUERY
    SELECT * FROM idempotency WHERE member_id = ANY (records) AND partner_id = p_partner AND key = p_key
    UNION
    SELECT * FROM idempotency WHERE named_id = ANY (records) AND partner_id = p_partner AND key = p_key;
END $$;

-- The answer that this key got before, or nothing. A different request under the key is refused, and so is one with
-- a receipt that was free until now: the first had claimed its own.
CREATE FUNCTION ledger.replay(p_wish ledger.wish, p_member uuid) RETURNS ledger.posting
LANGUAGE plpgsql AS $$
DECLARE
    known  idempotency;
    answer ledger.posting;
BEGIN
    SELECT * INTO known FROM idempotency
    WHERE member_id = p_member AND partner_id = p_wish.partner_id AND key = p_wish.key;
    IF known.fingerprint IS DISTINCT FROM p_wish.fingerprint AND (
        EXISTS (SELECT FROM member_head WHERE merged_into = p_member)
        OR EXISTS (SELECT FROM idempotency WHERE named_id = p_member AND partner_id = p_wish.partner_id AND key = p_wish.key)
    ) THEN
        -- Several may have used the key, each for a wish of its own.
        SELECT * INTO known FROM ledger.remembered(p_member, p_wish.partner_id, p_wish.key)
        ORDER BY fingerprint = p_wish.fingerprint DESC LIMIT 1;
    END IF;
    IF known.key IS NULL THEN RETURN NULL; END IF;
    IF known.fingerprint IS DISTINCT FROM p_wish.fingerprint
       OR (p_wish.receipt_number IS NOT NULL AND p_wish.refused IS DISTINCT FROM 'RECEIPT_DUPLICATE') THEN
        PERFORM ledger.refuse('IDEMPOTENCY_CONFLICT');
    END IF;
    SELECT member_id, business_date, transaction_id, true, points, recorded_at, late,
           known.available, known.pending, known.held, known.deficit
    INTO answer
    FROM transaction
    WHERE member_id = known.member_id AND business_date = known.business_date AND transaction_id = known.transaction_id;
    ASSERT FOUND, 'a remembered answer has its transaction';
    RETURN answer;
END $$;

-- The head's balance as an answer, stored under the wish's key and in the member's row.
CREATE FUNCTION ledger.conclude(head ledger.member_head, p_wish ledger.wish, p_points bigint) RETURNS ledger.posting
LANGUAGE plpgsql AS $$
DECLARE
    answer ledger.posting;
BEGIN
    ASSERT head.available >= 0 AND head.pending >= 0 AND head.held >= 0 AND head.deficit >= 0, 'a balance below zero';
    INSERT INTO idempotency (member_id, partner_id, key, fingerprint, business_date, transaction_id, named_id, available, pending, held, deficit)
    VALUES (head.member_id, p_wish.partner_id, p_wish.key, p_wish.fingerprint, p_wish.business_date, p_wish.transaction_id, p_wish.named_id,
            head.available, head.pending, head.held, head.deficit);
    PERFORM ledger.store_head(head);
    answer := (head.member_id, p_wish.business_date, p_wish.transaction_id, false, p_points, p_wish.now,
               p_wish.occurred_at < p_wish.window_opened, head.available, head.pending, head.held, head.deficit);
    RETURN answer;
END $$;

CREATE FUNCTION ledger.store_head(head ledger.member_head) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE member_head SET
        available = head.available, pending = head.pending, held = head.held, deficit = head.deficit,
        last_sequence = head.last_sequence, last_recorded_at = head.last_recorded_at, next_due_at = head.next_due_at,
        digest = head.digest, extends = head.extends
    WHERE member_id = head.member_id;
END $$;

-- The acting partner and its agreement, as they hold: the paired check of what the caller decided.
-- Raises the refusals of a partner in their order; SQLSTATE CO002 where the caller priced by terms
-- that have been superseded, so that it may look again.
CREATE FUNCTION ledger.check_partner(p_wish ledger.wish, p_role text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    acting    partners.partner;
    in_force  uuid;
    local_day date;
BEGIN
    SELECT * INTO acting FROM partners.partner WHERE partner_id = p_wish.partner_id;
    IF NOT FOUND THEN PERFORM ledger.refuse('PARTNER_UNKNOWN'); END IF;
    IF NOT (acting.state = 'active' OR (acting.state = 'leaving' AND p_role <> 'an issuer')) THEN
        PERFORM ledger.refuse('PARTNER_NOT_ACTIVE', jsonb_build_object('state', acting.state));
    END IF;
    IF (p_role = 'an issuer' AND NOT acting.may_issue) OR (p_role = 'a redeemer' AND NOT acting.may_redeem) THEN
        PERFORM ledger.refuse('PARTNER_ROLE_MISSING', jsonb_build_object('role', p_role));
    END IF;
    SELECT (p_wish.occurred_at AT TIME ZONE zone)::date INTO local_day FROM programme;
    -- A partner that has published its stores posts from these; one that has published none, from anywhere.
    IF p_wish.store IS NOT NULL AND NOT EXISTS (
        SELECT FROM partners.store WHERE partner_id = p_wish.partner_id AND code = p_wish.store AND local_day BETWEEN coalesce(since, '-infinity') AND coalesce(closed, 'infinity')
    ) AND EXISTS (SELECT FROM partners.store WHERE partner_id = p_wish.partner_id) THEN
        PERFORM ledger.refuse('STORE_UNKNOWN', jsonb_build_object('store', p_wish.store, 'date', local_day));
    END IF;
    IF p_role = 'a returner' THEN
        -- What is reversed has its own terms; these say what the claimant will get for a claim paid off.
        IF p_wish.agreement_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM partners.agreement WHERE agreement_id = p_wish.agreement_id AND partner_id = p_wish.partner_id
        ) THEN
            RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'an agreement of another partner';
        END IF;
        RETURN;
    END IF;

    SELECT agreement_id INTO in_force FROM partners.agreement
    WHERE partner_id = p_wish.partner_id AND valid_from <= local_day
    ORDER BY valid_from DESC, version DESC LIMIT 1;
    IF in_force IS NULL THEN
        PERFORM ledger.refuse('AGREEMENT_MISSING', jsonb_build_object('date', local_day));
    END IF;
    IF in_force IS DISTINCT FROM p_wish.agreement_id THEN
        RAISE EXCEPTION USING ERRCODE = 'CO002', MESSAGE = 'priced by an agreement that is not in force';
    END IF;
END $$;

-- A clock that stood still for months, or a file found in a drawer: not taken. Nor is what has not happened yet, but
-- for a till's clock that is a little ahead.
CREATE FUNCTION ledger.check_age(p_wish ledger.wish) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_wish.occurred_at NOT BETWEEN p_wish.oldest AND p_wish.now + interval '5 minutes' THEN
        IF p_wish.occurred_at > p_wish.now THEN
            PERFORM ledger.refuse('OCCURRED_IN_FUTURE', jsonb_build_object('occurred_at', p_wish.occurred_at, 'now', p_wish.now));
        END IF;
        PERFORM ledger.refuse('OCCURRED_TOO_LONG_AGO', jsonb_build_object('occurred_at', p_wish.occurred_at, 'oldest', p_wish.oldest));
    END IF;
END $$;

-- What one partner took of a member in one window without the member's own word: redemptions, holds that
-- are open, and not over by now, and what was captured of the others; of the member itself, and of records that
-- are merged into it.
CREATE FUNCTION ledger.taken_unasked(p_member uuid, p_partner uuid, p_business_date date, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    records uuid[] := p_member || ledger.absorbed(p_member);
BEGIN
    RETURN (
        SELECT coalesce(sum(points), 0) FROM transaction
        WHERE member_id = ANY (records) AND business_date = p_business_date
          AND kind = 'redeem' AND partner_id = p_partner AND confirmation_id IS NULL
    ) + (
        SELECT coalesce(sum(CASE WHEN state = 'open' AND lapses_at > p_now THEN points ELSE captured END), 0) FROM hold
        WHERE member_id = ANY (records) AND business_date = p_business_date
          AND partner_id = p_partner AND NOT confirmed
    );
END $$;

-- The member's own word for this redemption, used up; or without it, no more than the programme's limit.
CREATE FUNCTION ledger.check_consent(p_member uuid, p_wish ledger.wish, p_confirmation uuid, p_limit bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
BEGIN
    IF p_confirmation IS NOT NULL THEN
        UPDATE confirmation SET used_by = p_wish.transaction_id
        WHERE member_id = p_member AND confirmation_id = p_confirmation AND partner_id = p_wish.partner_id
          AND points >= p_wish.points AND used_by IS NULL AND expires_at > p_wish.now;
        IF NOT FOUND THEN PERFORM ledger.refuse('CONFIRMATION_INVALID'); END IF;
        RETURN;
    END IF;
    taken := ledger.taken_unasked(p_member, p_wish.partner_id, p_wish.business_date, p_wish.now);
    IF taken + p_wish.points > p_limit THEN
        PERFORM ledger.refuse('CONSENT_REQUIRED', jsonb_build_object('allowed', greatest(p_limit - taken, 0)));
    END IF;
END $$;
