-- The register of refusals. A refusal undoes its transaction, so this is written afterwards, in one of its own,
-- by who got it. It says what was asked and what was in the way, and no secret; facts that are long are left out.
-- It is bounded: the newest 500,000 are kept, and none for longer than 90 days.
CREATE FUNCTION ledger.record_refusals(p_refusals jsonb, p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
    first  bigint;
    last   bigint;
BEGIN
    WITH written AS (
        INSERT INTO partners.refusal (refused_at, code, facts, posting, partner_id, client, member_id, points, store, terminal,
                                      receipt_number, request_id, unwritten)
        SELECT moment, left(r.code, 63), CASE WHEN length(r.facts::text) <= 1000 THEN r.facts ELSE '{}' END, left(r.posting, 63),
               r.partner_id, left(r.client, 200), r.member_id, r.points, left(r.store, 64), left(r.terminal, 64),
               left(r.receipt_number, 64), left(r.request_id, 64), coalesce(r.unwritten, 0)
        FROM jsonb_to_recordset(p_refusals) AS r (
            code text, facts jsonb, posting text, partner_id uuid, client text, member_id uuid, points bigint, store text,
            terminal text, receipt_number text, request_id text, unwritten bigint)
        RETURNING refusal_id
    )
    SELECT min(refusal_id), max(refusal_id) INTO first, last FROM written;
    -- Every so often, so that no call pays for many: at most so much more than the bound is there meanwhile.
    IF first / 1000 <> last / 1000 OR last % 1000 = 0 THEN PERFORM ledger.trim_refusals(p_now); END IF;
END $$;

-- Forget the oldest refusals; the night does it too. The age is asked of a few thousand of them at a time, which
-- is more than come meanwhile.
CREATE FUNCTION ledger.trim_refusals(p_now timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    moment timestamptz := ledger.programme_time(p_now);
BEGIN
    DELETE FROM partners.refusal WHERE refusal_id <= (SELECT max(refusal_id) FROM partners.refusal) - 500000;
    DELETE FROM partners.refusal
    WHERE refusal_id IN (SELECT refusal_id FROM partners.refusal ORDER BY refusal_id LIMIT 5000)
      AND refused_at < moment - interval '90 days';
END $$;
