-- Guard rails: how much a member, a card, a store or a partner may move in a period. Rules are published in
-- partners.limit_rule, a version each, the last of which holds.
--
-- What a member or a card did is counted from the member's own journal, and from those of the records that are
-- merged into it, under the member's lock: exact. What a card did while its member was part of another stands in that
-- one's journal, where nothing is added to it once the two are apart. What a store or a partner did is a figure that was
-- derived some seconds ago, read without a lock: so members never wait for each other, and a limit is overshot by what
-- was posted since. Nobody counts while posting.

CREATE FUNCTION ledger.rules_in_force() RETURNS SETOF partners.limit_rule
LANGUAGE sql STABLE AS $$
    SELECT r.* FROM partners.limit_rule r
    WHERE r.most IS NOT NULL AND NOT EXISTS (
        SELECT FROM partners.limit_rule later WHERE later.code = r.code AND later.version > r.version)
$$;

-- A wish with the rules in force, read once for all that is posted in the transaction. Where nobody has derived
-- the figures for half a minute (as a rule the caller does, every other second), this posting does it.
CREATE FUNCTION ledger.with_limits(INOUT p_wish ledger.wish) LANGUAGE plpgsql AS $$
DECLARE
    longest interval;
BEGIN
    p_wish.limits := ARRAY(SELECT r FROM ledger.rules_in_force() r ORDER BY r.code);
    IF cardinality(p_wish.limits) = 0 THEN RETURN; END IF;
    SELECT make_interval(secs => max(period_seconds)) INTO longest FROM unnest(p_wish.limits);
    SELECT business_date INTO p_wish.limits_from FROM settlement_window
    WHERE opened_at <= p_wish.now - longest ORDER BY business_date DESC LIMIT 1;
    p_wish.limits_from := coalesce(p_wish.limits_from, '-infinity');
    IF EXISTS (SELECT FROM unnest(p_wish.limits) WHERE scope IN ('store', 'partner'))
       AND current_setting('transaction_read_only') = 'off'  -- a question takes the figures that there are
       AND NOT ledger.figures_are_fresh(interval '30 seconds', p_wish.now, p_wish.business_date) THEN
        PERFORM ledger.derive_figures(p_wish.now, p_wish.business_date);
    END IF;
END $$;

-- The last guard of a posting, with the member's head locked: whether the rules in force let it pass. One that
-- refuses does so at once; one that holds for review only where none refuses. A wish that the operator rejected has no
-- way back, however much room there is by now; one that waits has that room, and is posted with its review.
CREATE FUNCTION ledger.check_limits(p_wish ledger.wish, head ledger.member_head) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    rule    partners.limit_rule;
    used    numeric;
    asked   bigint;
    facts   jsonb;
    holding jsonb;
    records uuid[];
    counted uuid[];
BEGIN
    ASSERT p_wish.limits IS NOT NULL, 'the rules are read when the window is entered';
    IF cardinality(p_wish.limits) > 0 THEN
        records := head.member_id || ledger.absorbed(head.member_id);
    END IF;
    p_wish.now := greatest(p_wish.now, head.last_recorded_at);
    FOREACH rule IN ARRAY p_wish.limits LOOP
        CONTINUE WHEN NOT ledger.concerns(rule, p_wish);
        counted := ledger.journals_of(rule, records);
        used := ledger.used_under(rule, p_wish, counted);
        asked := CASE rule.measure WHEN 'count' THEN 1 ELSE p_wish.points END;
        CONTINUE WHEN used + asked <= rule.most;
        -- `own`: it counted the acting partner's postings only, so that the partner may be told the rest.
        facts := jsonb_build_object(
            'limit', rule.code, 'scope', rule.scope, 'measure', rule.measure, 'most', rule.most, 'used', used, 'asked', asked,
            'own', rule.scope IN ('store', 'partner') OR rule.partner_id IS NOT NULL,
            'over', greatest(used - rule.most, 0), 'again_at', ledger.again_at(rule, p_wish, counted, used + asked - rule.most));
        IF rule.action = 'refuse' THEN PERFORM ledger.refuse('LIMIT_EXCEEDED', facts); END IF;
        holding := coalesce(holding, facts);
    END LOOP;
    IF holding IS NOT NULL OR EXISTS (
        SELECT FROM review
        WHERE member_id = ledger.asked_of(p_wish, head.member_id) AND partner_id = p_wish.partner_id AND key = p_wish.key
          AND fingerprint = p_wish.fingerprint
    ) THEN
        PERFORM ledger.check_review(p_wish, head.member_id, holding);
    END IF;
END $$;

-- The journals in which a rule counts: those of the member's records; and for a card those of whom one of these was
-- part when its card was used, and is no more.
CREATE FUNCTION ledger.journals_of(p_rule partners.limit_rule, p_records uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE AS $$
    SELECT p_records || CASE p_rule.scope
        WHEN 'card' THEN ARRAY(SELECT DISTINCT member_id FROM idempotency WHERE named_id = ANY (p_records)) END
$$;

-- What counts under a rule already, of the member with its merged records or the card, or of the partner or its store.
CREATE FUNCTION ledger.used_under(p_rule partners.limit_rule, p_wish ledger.wish, p_journals uuid[]) RETURNS numeric
LANGUAGE plpgsql STABLE AS $$
DECLARE
    used numeric;
BEGIN
    IF p_rule.scope IN ('member', 'card') THEN
        SELECT CASE p_rule.measure WHEN 'count' THEN count(*) ELSE sum(u.points) END INTO used
        FROM ledger.uses(p_rule, p_wish, p_journals) u;
    ELSE
        SELECT f.used INTO used FROM partners.limit_figure f
        WHERE f.code = p_rule.code AND f.version = p_rule.version AND f.partner_id = p_wish.partner_id
          AND f.store = CASE p_rule.scope WHEN 'store' THEN p_wish.store ELSE '' END;
    END IF;
    RETURN coalesce(used, 0);
END $$;

-- Whether some rule might not let all of so many postings pass, of so many points together, of which the wish is one.
-- Where none does, each of them passes in whatever order. Of a member that has no record but itself, and no card that
-- was used while it was part of another. By the wish's own
-- time: the posting's may be later, and then no more counts.
CREATE FUNCTION ledger.may_exceed(p_wish ledger.wish, head ledger.member_head, p_postings bigint, p_points numeric) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    rule  partners.limit_rule;
    asked numeric;
BEGIN
    FOREACH rule IN ARRAY p_wish.limits LOOP
        CONTINUE WHEN NOT ledger.concerns(rule, p_wish);
        asked := CASE rule.measure WHEN 'count' THEN p_postings ELSE p_points END;
        IF ledger.used_under(rule, p_wish, ARRAY[head.member_id]) + asked > rule.most THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;

-- Ask whether the rules in force would let a posting pass, and move nothing. Raises what the posting would be
-- refused with.
CREATE FUNCTION ledger.ask_limits(
    p_member uuid, p_partner uuid, p_kind text, p_points bigint, p_identifier uuid, p_now timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    wish ledger.wish;
BEGIN
    wish.kind := p_kind;
    wish.partner_id := p_partner;
    wish.points := p_points;
    wish.identifier_id := p_identifier;
    SELECT business_date, greatest(ledger.programme_time(p_now), opened_at) INTO wish.business_date, wish.now
    FROM settlement_window WHERE state = 'open';
    wish := ledger.check_identifier(wish, p_member);
    PERFORM ledger.check_limits(ledger.with_limits(wish), ledger.head_of(p_member));
END $$;

-- Whether a rule is about such a posting. One that names no card, or no store, is none of theirs.
CREATE FUNCTION ledger.concerns(p_rule partners.limit_rule, p_wish ledger.wish) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_wish.kind
               WHEN 'issue' THEN p_rule.posting IN ('issue', 'both')
               WHEN 'redeem' THEN p_rule.posting IN ('redeem', 'both')
               WHEN 'authorize' THEN p_rule.posting IN ('redeem', 'both')
               WHEN 'transfer' THEN p_rule.posting = 'transfer'
               ELSE false END
       AND (p_rule.partner_id IS NULL OR p_rule.partner_id = p_wish.partner_id)
       AND (p_rule.scope <> 'card' OR p_wish.card_id IS NOT NULL)
       AND (p_rule.scope <> 'store' OR p_wish.store IS NOT NULL)
$$;

-- What a rule of a member or a card counts: of a hold what it took or still may, whenever it is captured;
-- what was reversed all the same.
CREATE FUNCTION ledger.uses(p_rule partners.limit_rule, p_wish ledger.wish, p_journals uuid[])
RETURNS TABLE (recorded_at timestamptz, points bigint) LANGUAGE sql STABLE AS $$
    SELECT t.recorded_at, CASE WHEN h.state = 'open' THEN h.points WHEN h.state = 'captured' THEN h.captured ELSE t.points END
    FROM transaction t LEFT JOIN hold h
      ON t.kind = 'authorize' AND h.member_id = t.member_id AND h.business_date = t.business_date AND h.transaction_id = t.transaction_id
    WHERE t.member_id = ANY (p_journals)
      AND t.business_date >= CASE WHEN p_rule.period_seconds IS NULL THEN p_wish.business_date ELSE p_wish.limits_from END
      AND (p_rule.period_seconds IS NULL OR t.recorded_at > p_wish.now - make_interval(secs => p_rule.period_seconds))
      AND CASE t.kind WHEN 'issue' THEN p_rule.posting IN ('issue', 'both')
                      WHEN 'redeem' THEN p_rule.posting IN ('redeem', 'both')
                      WHEN 'authorize' THEN p_rule.posting IN ('redeem', 'both') AND (h.state = 'captured' OR (h.state = 'open' AND h.lapses_at > p_wish.now))
                      WHEN 'transfer_out' THEN p_rule.posting = 'transfer'
                      ELSE false END
      AND (p_rule.partner_id IS NULL OR t.partner_id = p_rule.partner_id)
      AND (p_rule.scope <> 'card' OR t.card_id = p_wish.card_id)
$$;

-- When so much of what a rule counted will be out of its period. Not known of a figure; never, where more is
-- asked than is ever allowed.
CREATE FUNCTION ledger.again_at(p_rule partners.limit_rule, p_wish ledger.wish, p_journals uuid[], p_excess numeric) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(u.recorded_at) + make_interval(secs => p_rule.period_seconds)
    FROM (
        SELECT recorded_at, sum(CASE p_rule.measure WHEN 'count' THEN 1 ELSE points END) OVER (ORDER BY recorded_at) AS freed
        FROM ledger.uses(p_rule, p_wish, p_journals)
    ) AS u
    WHERE p_rule.scope IN ('member', 'card') AND u.freed >= p_excess
$$;

-- Which postings a rule of a store or a partner counts. An authorisation has no store, so a store's redemptions
-- are counted when they are captured; a partner's when they are authorised, and a void gives nothing back.
CREATE FUNCTION ledger.tallied_kinds(p_scope text, p_posting text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_posting IN ('issue', 'both') THEN ARRAY['issue'] ELSE '{}' END
        || CASE WHEN p_posting = 'issue' THEN '{}' WHEN p_scope = 'store' THEN ARRAY['redeem', 'capture'] ELSE ARRAY['redeem', 'authorize'] END
$$;

CREATE FUNCTION ledger.figures_are_fresh(p_age interval, p_now timestamptz, p_open date) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM partners.limit_state
        WHERE derived_at > clock_timestamp() - p_age AND as_of >= p_now - p_age AND business_date = p_open
          AND rules = (SELECT count(*) FROM partners.limit_rule))
$$;

-- Derive the figures of stores and partners from the journal: each minute's postings are counted once, and
-- again while they may still arrive; figures are sums over minutes, and over hours where these are long past. One
-- at a time, and who finds another at it goes on with what is there: nobody waits. Returns whether it did.
CREATE FUNCTION ledger.derive_figures(p_now timestamptz, p_open date) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    stood      partners.limit_state;
    began      timestamptz := clock_timestamp();
    whole_from timestamptz;
    count_from timestamptz;
    from_date  date;
BEGIN
    IF NOT pg_try_advisory_xact_lock(ledger.window_lock() + 2) THEN RETURN false; END IF;
    SELECT * INTO stood FROM partners.limit_state;
    SELECT date_trunc('hour', least(
               p_now - make_interval(secs => max(period_seconds)),
               (SELECT opened_at FROM settlement_window WHERE business_date = p_open AND bool_or(period_seconds IS NULL))), 'UTC')
    INTO whole_from FROM ledger.rules_in_force() WHERE scope IN ('store', 'partner');
    IF whole_from IS NULL THEN RETURN false; END IF;
    IF stood.tallied_from <= whole_from THEN
        -- What is being posted may be of a while ago: within a minute the last ten seconds are counted again, and
        -- once it is over two more minutes. No posting takes longer from its time to its commit.
        count_from := greatest(whole_from, date_trunc('minute', least(
            p_now - interval '10 seconds',
            CASE WHEN date_trunc('minute', p_now) > stood.as_of THEN stood.as_of - interval '2 minutes' END)));
    ELSE
        DELETE FROM partners.tally;
        count_from := whole_from;
    END IF;
    SELECT business_date INTO from_date FROM settlement_window WHERE opened_at < count_from ORDER BY business_date DESC LIMIT 1;

    INSERT INTO partners.tally AS known (partner_id, store, kind, business_date, minute, postings, points)
    SELECT t.partner_id, coalesce(t.store, ''), t.kind, t.business_date, date_trunc('minute', t.recorded_at), count(*), sum(t.points)
    FROM partners.partner p JOIN transaction t ON t.partner_id = p.partner_id
    WHERE p.partner_id <> '00000000-0000-0000-0000-000000000000' AND t.recorded_at >= count_from
      AND t.business_date >= coalesce(from_date, '-infinity') AND t.kind IN ('issue', 'redeem', 'authorize', 'capture')
    GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (partner_id, kind, business_date, minute, store) DO UPDATE SET postings = excluded.postings, points = excluded.points
    WHERE known.postings <> excluded.postings;
    DELETE FROM partners.tally WHERE minute < whole_from;
    WITH minutes AS (
        DELETE FROM partners.tally
        WHERE minute < date_trunc('hour', p_now - interval '3 hours', 'UTC') AND minute <> date_trunc('hour', minute, 'UTC')
        RETURNING *
    )
    INSERT INTO partners.tally AS known (partner_id, store, kind, business_date, minute, postings, points)
    SELECT partner_id, store, kind, business_date, date_trunc('hour', minute, 'UTC'), sum(postings), sum(points) FROM minutes
    GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (partner_id, kind, business_date, minute, store) DO UPDATE SET
        postings = known.postings + excluded.postings, points = known.points + excluded.points;

    WITH rules AS MATERIALIZED (
        SELECT *, ledger.tallied_kinds(scope, posting) AS kinds,
               date_trunc(CASE WHEN period_seconds > 7200 THEN 'hour' ELSE 'minute' END,
                          p_now - make_interval(secs => period_seconds), 'UTC') AS since
        FROM ledger.rules_in_force() WHERE scope IN ('store', 'partner')
    ), sums AS MATERIALIZED (
        SELECT r.code, r.version, t.partner_id, CASE r.scope WHEN 'store' THEN t.store ELSE '' END AS store,
               sum(CASE r.measure WHEN 'count' THEN t.postings ELSE t.points END) AS used
        FROM rules r JOIN partners.tally t
          ON t.kind = ANY (r.kinds)
         AND (r.partner_id IS NULL OR t.partner_id = r.partner_id) AND (r.scope = 'partner' OR t.store <> '')
         AND CASE WHEN r.since IS NULL THEN t.business_date = p_open ELSE t.minute >= r.since END
        GROUP BY 1, 2, 3, 4
    ), emptied AS (
        UPDATE partners.limit_figure f SET used = 0
        WHERE f.used <> 0 AND NOT EXISTS (
            SELECT FROM sums s WHERE (s.code, s.version, s.partner_id, s.store) = (f.code, f.version, f.partner_id, f.store))
    )
    INSERT INTO partners.limit_figure AS known (code, version, partner_id, store, used, peak, peak_at)
    SELECT code, version, partner_id, store, used, used, p_now FROM sums
    ON CONFLICT (code, version, partner_id, store) DO UPDATE SET
        used = excluded.used, peak = greatest(known.peak, excluded.used),
        peak_at = CASE WHEN excluded.used > known.peak THEN excluded.peak_at ELSE known.peak_at END
    WHERE known.used <> excluded.used;

    INSERT INTO partners.limit_state (limit_state_id, derived_at, as_of, business_date, rules, tallied_from)
    VALUES (1, began, p_now, p_open, (SELECT count(*) FROM partners.limit_rule), whole_from)
    ON CONFLICT (limit_state_id) DO UPDATE SET
        derived_at = excluded.derived_at, as_of = excluded.as_of, business_date = excluded.business_date,
        rules = excluded.rules, tallied_from = excluded.tallied_from;
    RETURN true;
END $$;

-- Derive the figures unless somebody did within such a time; called every other second by who posts, in a
-- transaction of its own. Returns whether this call did.
CREATE FUNCTION ledger.refresh_figures(p_age interval, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz;
    opened date;
BEGIN
    IF NOT EXISTS (SELECT FROM ledger.rules_in_force() WHERE scope IN ('store', 'partner')) THEN RETURN false; END IF;
    moment := ledger.programme_time(p_now);
    SELECT business_date INTO opened FROM settlement_window WHERE state = 'open';
    IF ledger.figures_are_fresh(p_age, moment, opened) THEN RETURN false; END IF;
    RETURN ledger.derive_figures(moment, opened);
END $$;
