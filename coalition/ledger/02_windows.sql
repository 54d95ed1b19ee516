-- The settlement window and the programme's clock: the only things that all postings share,
-- and postings share them without waiting for each other.

-- The key of the advisory lock that postings hold shared and the closer holds alone.
CREATE FUNCTION ledger.window_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 7305137150463214 $$;

-- The programme's time. The wall clock's (which the caller tells, and which may not differ from the
-- database's by more than 5 seconds, nor run ahead of it), or the one at which a sandbox's clock stands.
CREATE FUNCTION ledger.programme_time(p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
    programme_mode text;
    standing_at    timestamptz;
    wall           timestamptz := clock_timestamp();
BEGIN
    SELECT mode, clock_at INTO programme_mode, standing_at FROM programme;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
    IF standing_at IS NOT NULL THEN RETURN standing_at; END IF;
    IF abs(extract(epoch FROM p_now - wall)) > 5 THEN
        PERFORM ledger.refuse('CLOCK_SKEW', jsonb_build_object('caller', p_now, 'database', wall));
    END IF;
    RETURN least(coalesce(p_now, wall), wall);
END $$;

-- Enter the open window: hold it shared until the transaction ends, then read which it is.
-- The lock is taken in a statement of its own, before the read: under READ COMMITTED a statement
-- that waited would still see the window as it was before the wait.
CREATE FUNCTION ledger.enter_window(p_wish ledger.wish, p_now timestamptz) RETURNS ledger.wish
LANGUAGE plpgsql AS $$
DECLARE
    late_limit interval;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'postings run in READ COMMITTED: an older snapshot could miss the cut of the window';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(ledger.window_lock());
    p_wish.now := ledger.programme_time(p_now);
    SELECT business_date, opened_at, make_interval(days => late_days)
    INTO p_wish.business_date, p_wish.window_opened, late_limit
    FROM settlement_window, programme WHERE state = 'open';
    ASSERT FOUND, 'a programme always has an open window';
    p_wish.now := greatest(p_wish.now, p_wish.window_opened);
    p_wish.oldest := p_wish.now - late_limit;
    p_wish.occurred_at := coalesce(p_wish.occurred_at, p_wish.now);
    RETURN ledger.with_limits(p_wish);
END $$;

-- Make sure that the journal has a partition for the month of the date and for the next.
-- Attached rather than created in place: that blocks no posting into the other partitions.
CREATE FUNCTION ledger.prepare_partitions(p_from date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    first_day date;
    journal   text;
    part      text;
BEGIN
    IF NOT coalesce(p_from BETWEEN '1990-01-01' AND '8999-12-31', false) THEN
        PERFORM ledger.refuse('INVALID_INPUT', jsonb_build_object('business_date', p_from));
    END IF;
    -- One maker at a time; postings don't take this lock.
    PERFORM pg_advisory_xact_lock(ledger.window_lock() + 1);
    FOREACH journal IN ARRAY ARRAY['transaction', 'entry'] LOOP
        FOR first_day IN
            SELECT generate_series(date_trunc('month', p_from), date_trunc('month', p_from) + interval '1 month', interval '1 month')::date
        LOOP
            part := format('%s_%s', journal, to_char(first_day, 'YYYY_MM'));
            IF to_regclass(format('ledger.%I', part)) IS NULL THEN
                EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, journal);
                EXECUTE format('ALTER TABLE ledger.%I ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)',
                               journal, part, first_day, (first_day + interval '1 month')::date);
                EXECUTE format('GRANT SELECT ON ledger.%I TO coalition_app', part);
            END IF;
        END LOOP;
    END LOOP;
END $$;

-- Open the programme: its one row, its first window, its first partitions.
CREATE FUNCTION ledger.open_programme(
    p_name text, p_mode text, p_zone text, p_currency text, p_consent_limit bigint, p_clock_at timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    opened timestamptz := coalesce(p_clock_at, clock_timestamp());
BEGIN
    PERFORM pg_advisory_xact_lock(ledger.window_lock());
    IF EXISTS (SELECT FROM programme) THEN PERFORM ledger.refuse('PROGRAMME_ALREADY_OPEN'); END IF;
    IF p_mode = 'production' AND p_clock_at IS NOT NULL THEN PERFORM ledger.refuse('CLOCK_REFUSED'); END IF;
    INSERT INTO programme (programme_id, name, mode, zone, currency, consent_limit_points, clock_at)
    VALUES (1, p_name, p_mode, p_zone, p_currency, p_consent_limit, p_clock_at);
    INSERT INTO settlement_window (business_date, state, opened_at)
    VALUES ((opened AT TIME ZONE p_zone)::date, 'open', opened);
    PERFORM ledger.prepare_partitions((opened AT TIME ZONE p_zone)::date);
END $$;

-- Set the programme's clock forward. Never in production, never back.
CREATE FUNCTION ledger.set_clock(p_to timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    ruling programme;
BEGIN
    SELECT * INTO ruling FROM programme FOR UPDATE;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
    -- Not where an expiry that is counted from it would leave the calendar.
    IF ruling.mode = 'production' OR p_to IS NULL OR p_to < coalesce(ruling.clock_at, clock_timestamp()) OR p_to >= '9000-01-01' THEN
        PERFORM ledger.refuse('CLOCK_REFUSED');
    END IF;
    UPDATE programme SET clock_at = p_to;
END $$;

-- What a partner may take from a member in one window without the member's confirmation.
CREATE FUNCTION ledger.set_consent_limit(p_points bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
    UPDATE programme SET consent_limit_points = p_points;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
END $$;

-- How long a hold lasts, where a partner names no time and at the longest.
CREATE FUNCTION ledger.set_hold_limits(p_seconds integer, p_longest_seconds integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
    UPDATE programme SET hold_seconds = p_seconds, longest_hold_seconds = p_longest_seconds;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
END $$;

-- How many days after it occurred a transaction is still taken.
CREATE FUNCTION ledger.set_late_days(p_days integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
    UPDATE programme SET late_days = p_days;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
END $$;

-- What a member may give to others in one window.
CREATE FUNCTION ledger.set_transfer_limit(p_points bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
    UPDATE programme SET transfer_limit_points = p_points;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
END $$;

-- What one operator may adjust without a second person.
CREATE FUNCTION ledger.set_adjustment_limit(p_points bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
    UPDATE programme SET adjustment_limit_points = p_points;
    IF NOT FOUND THEN PERFORM ledger.refuse('PROGRAMME_NOT_OPEN'); END IF;
END $$;

-- Close the window and open the next in the same moment. Returns whether this call closed it;
-- false: it was closed before. The caller sets lock_timeout: postings queue behind a waiting closer.
CREATE FUNCTION ledger.close_window(p_business_date date, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    closing settlement_window;
    moment  timestamptz;
    next    date;
BEGIN
    PERFORM pg_advisory_xact_lock(ledger.window_lock());
    SELECT * INTO closing FROM settlement_window WHERE business_date = p_business_date FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM ledger.refuse('WINDOW_UNKNOWN', jsonb_build_object('business_date', p_business_date));
    END IF;
    IF closing.state <> 'open' THEN RETURN false; END IF;
    -- After the lock, by the database's clock: no posting of this window was recorded later.
    moment := greatest(ledger.programme_time(NULL), closing.opened_at);
    UPDATE settlement_window SET state = 'closed', closed_at = moment WHERE business_date = p_business_date;
    SELECT greatest((moment AT TIME ZONE zone)::date, p_business_date + 1) INTO next FROM programme;
    INSERT INTO settlement_window (business_date, state, opened_at) VALUES (next, 'open', moment);
    -- Made long ahead as a rule. Never after the first posting: the default partition would have taken it.
    PERFORM ledger.prepare_partitions(next);
    RETURN true;
END $$;

-- Store a closed window's control totals and Merkle root. It is frozen, so this needs no lock that postings take.
CREATE FUNCTION ledger.seal_window(p_business_date date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    sealing settlement_window;
BEGIN
    SELECT * INTO sealing FROM settlement_window WHERE business_date = p_business_date FOR UPDATE;
    IF NOT FOUND OR sealing.state = 'open' THEN
        PERFORM ledger.refuse('WINDOW_UNKNOWN', jsonb_build_object('business_date', p_business_date));
    END IF;
    IF sealing.state = 'sealed' THEN RETURN false; END IF;
    INSERT INTO window_total (business_date, kind, bucket, entries, points)
    SELECT p_business_date, t.kind, e.bucket, count(*), sum(e.points)
    FROM entry e JOIN transaction t USING (member_id, business_date, transaction_id)
    WHERE e.business_date = p_business_date AND t.business_date = p_business_date
    GROUP BY t.kind, e.bucket;
    UPDATE settlement_window
    SET state = 'sealed',
        sealed_at = greatest(ledger.programme_time(NULL), sealing.closed_at),
        transactions = (SELECT count(*) FROM transaction WHERE business_date = p_business_date),
        entries = (SELECT coalesce(sum(t.entries), 0) FROM window_total t WHERE business_date = p_business_date),
        merkle_root = ledger.plant_tree(p_business_date)
    WHERE business_date = p_business_date;
    RETURN true;
END $$;
