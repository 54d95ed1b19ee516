-- What was asked of a person under a key of an operation is kept blindly, and forgotten with the key of the blind index
-- that blinded it. By this alone: what else stands for a request is nobody's to change.

-- Forget some of what keys before a generation blinded, one that there is; returns how much.
CREATE FUNCTION ledger.forget_requests(p_generation integer, p_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    forgotten bigint;
BEGIN
    UPDATE partners.operation SET fingerprint = NULL
    WHERE (caller, key) IN (
        SELECT caller, key FROM partners.operation
        WHERE blinded_by < p_generation AND fingerprint IS NOT NULL
          AND EXISTS (SELECT FROM people.index_key WHERE generation = p_generation)
        LIMIT p_most
    );
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;
