"""Keys, receipts and confirmations: each had one effect, and each effect is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def keys_have_one_effect(session: Session) -> Iterator[Finding]:
    """Invariant 5: each idempotency key leads to one transaction, and each posted transaction to one key."""
    query = """
    SELECT concat_ws('/', coalesce(k.member_id, t.member_id), coalesce(k.partner_id, t.partner_id),
                     coalesce(k.key, t.idempotency_key)) AS id,
           CASE WHEN t.transaction_id IS NULL THEN
                    format('remembers %s/%s, which is not there', k.business_date, k.transaction_id)
                WHEN k.key IS NULL THEN format('%s %s/%s is not remembered under its key',
                                               t.kind, t.business_date, t.transaction_id)
                ELSE format('%s/%s was posted by %s under key %s', t.business_date, t.transaction_id,
                            t.partner_id, coalesce(t.idempotency_key, 'none'))
           END AS message
      FROM ledger.idempotency k
      FULL JOIN (SELECT * FROM ledger.transaction
                  WHERE idempotency_key IS NOT NULL
                     OR kind IN ('issue', 'redeem', 'authorize', 'capture', 'void', 'reverse_redemption',
                                 'transfer_out', 'adjust_in', 'adjust_out')) t
        ON t.member_id = k.member_id AND t.business_date = k.business_date
                AND t.transaction_id = k.transaction_id
     WHERE (t.transaction_id IS NULL OR k.key IS NULL
            OR t.idempotency_key IS DISTINCT FROM k.key OR t.partner_id <> k.partner_id)
     UNION ALL
    SELECT concat_ws('/', member_id, partner_id, idempotency_key), format('the key had %s effects', count(*))
      FROM ledger.transaction
     WHERE idempotency_key IS NOT NULL
     GROUP BY member_id, partner_id, idempotency_key
    HAVING count(*) > 1
     ORDER BY 1
    """
    return findings(keys_have_one_effect, session, subject="idempotency", query=query)


def keys_remember_the_answer(session: Session) -> Iterator[Finding]:
    """The balance answered under a key is that after its transaction, what it paid off and what lapsed."""
    query = """
    WITH RECURSIVE passed_on AS (
        -- What a member gave back to others of a pool, and where it went on at once, along a line of merges.
        SELECT went.member_id AS returned_by, came.member_id, came.business_date, came.sequence
          FROM ledger.transaction went
          JOIN ledger.transaction came
            ON (came.member_id, came.transaction_id) = (went.other_member_id, went.other_id)
         WHERE went.kind = 'unpool_out'
         UNION
        SELECT here.returned_by, came.member_id, came.business_date, came.sequence
          FROM passed_on here
         CROSS JOIN LATERAL (
               SELECT * FROM ledger.transaction t
                WHERE t.member_id = here.member_id AND t.business_date = here.business_date
                  AND t.sequence > here.sequence AND t.kind <> 'expire'
                ORDER BY t.sequence LIMIT 1) AS went
          JOIN ledger.transaction came
            ON (came.member_id, came.transaction_id) = (went.other_member_id, went.other_id)
         WHERE went.kind = 'merge_out'
    ), follower AS (
        -- What a posting recovers or recalls, what of its points lapses, and what goes back to others of a
        -- pool, and from there to the member again, follows it in the same moment: a group.
        SELECT member_id, sequence, recorded_at
          FROM ledger.transaction
         WHERE idempotency_key IS NULL
           AND (kind IN ('recovery', 'expire', 'reverse_issue', 'unpool_out')
                OR (member_id, sequence) IN (SELECT member_id, sequence FROM passed_on
                                              WHERE member_id = returned_by))
    ), grouped AS (
        -- Of the few moments in which there is any: elsewhere each is a group of its own.
        SELECT t.*, count(*) FILTER (WHERE f.sequence IS NULL)
                        OVER (PARTITION BY t.member_id, t.recorded_at ORDER BY t.sequence) AS number
          FROM ledger.transaction t
          LEFT JOIN follower f USING (member_id, sequence)
         WHERE (t.member_id, t.recorded_at) IN (SELECT member_id, recorded_at FROM follower)
    ), last AS (
        SELECT member_id, business_date, transaction_id,
               last_value(available_after) OVER whole AS available_after,
               last_value(pending_after) OVER whole AS pending_after,
               last_value(held_after) OVER whole AS held_after,
               last_value(deficit_after) OVER whole AS deficit_after
          FROM grouped
        WINDOW whole AS (PARTITION BY member_id, recorded_at, number ORDER BY sequence
                         ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ), answered AS (
        SELECT k.*, coalesce(l.available_after, t.available_after) AS available_after,
               coalesce(l.pending_after, t.pending_after) AS pending_after,
               coalesce(l.held_after, t.held_after) AS held_after,
               coalesce(l.deficit_after, t.deficit_after) AS deficit_after
          FROM ledger.idempotency k
          JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
          LEFT JOIN last l USING (member_id, business_date, transaction_id)
    )
    SELECT concat_ws('/', member_id, partner_id, key) AS id,
           format('available, pending, held, deficit were answered as %s, after the posting they were %s',
                  concat_ws(', ', available, pending, held, deficit),
                  concat_ws(', ', available_after, pending_after, held_after, deficit_after)) AS message
      FROM answered
     WHERE (available, pending, held, deficit)
           <> (available_after, pending_after, held_after, deficit_after)
     ORDER BY 1
    """
    return findings(keys_remember_the_answer, session, subject="idempotency", query=query)


def keys_remember_who_was_named(session: Session) -> Iterator[Finding]:
    """A key is remembered for whose identifier named the member: its own, or that of one merged into it."""
    query = """
    SELECT concat_ws('/', k.member_id, k.partner_id, k.key) AS id,
           CASE WHEN t.card_id IS NOT NULL AND c.member_id IS DISTINCT FROM coalesce(k.named_id, k.member_id)
                THEN format('is remembered for %s, and the card was that of %s',
                            coalesce(k.named_id, k.member_id), coalesce(c.member_id::text, 'nobody'))
                ELSE format('is remembered for %s, which had not been merged into anybody', k.named_id)
           END AS message
      FROM ledger.idempotency k
      JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
      LEFT JOIN ledger.identifier_change c ON c.identifier_id = t.card_id AND c.number = 1
     WHERE (t.card_id IS NOT NULL AND c.member_id IS DISTINCT FROM coalesce(k.named_id, k.member_id))
        OR (k.named_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM ledger.transaction parted
                             WHERE parted.member_id = k.named_id AND parted.kind = 'merge_out'
                               AND parted.recorded_at <= t.recorded_at))
     ORDER BY 1
    """
    return findings(keys_remember_who_was_named, session, subject="idempotency", query=query)


def receipts_have_one_effect(session: Session) -> Iterator[Finding]:
    """Invariant 5: each receipt line of a partner leads to one transaction, over all members, and back."""
    query = """
    SELECT concat_ws('/', partner_id, kind, store, terminal, number, line, revision) AS id,
           CASE WHEN t.transaction_id IS NULL THEN
                    format('names %s/%s/%s, which has no such receipt', r.member_id, r.business_date,
                            r.transaction_id)
                WHEN r.transaction_id IS NULL THEN
                    format('%s/%s/%s was posted with it and it is not claimed',
                           t.member_id, t.business_date, t.transaction_id)
                ELSE format('is claimed by %s/%s/%s, and was posted by %s/%s/%s', r.member_id,
                        r.business_date,
                            r.transaction_id, t.member_id, t.business_date, t.transaction_id)
           END AS message
      FROM ledger.receipt r
      -- A capture is the redemption of its receipt: what was redeemed at once is not captured again.
      FULL JOIN (SELECT partner_id, CASE kind WHEN 'capture' THEN 'redeem' ELSE kind END AS kind,
                        store, terminal, receipt_number AS number, receipt_line AS line,
                        receipt_revision AS revision, member_id, business_date, transaction_id
                   FROM ledger.transaction
                  WHERE receipt_number IS NOT NULL) t
     USING (partner_id, kind, store, terminal, number, line, revision)
     WHERE (r.member_id, r.business_date, r.transaction_id)
           IS DISTINCT FROM (t.member_id, t.business_date, t.transaction_id)
     ORDER BY 1
    """
    return findings(receipts_have_one_effect, session, subject="receipt", query=query)


def receipts_are_revised_after_reversal(session: Session) -> Iterator[Finding]:
    """A receipt line's next revision follows one that was posted and reversed."""
    query = """
    SELECT concat_ws('/', r.partner_id, r.kind, r.store, r.terminal, r.number, r.line, r.revision) AS id,
           CASE WHEN e.transaction_id IS NULL THEN format('revision %s was never posted', r.revision - 1)
                ELSE format('revision %s was never wholly reversed', e.revision) END AS message
      FROM ledger.receipt r
      LEFT JOIN ledger.receipt e
        ON (e.partner_id, e.kind, e.store, e.terminal, e.number, e.line, e.revision)
           = (r.partner_id, r.kind, r.store, r.terminal, r.number, r.line, r.revision - 1)
     WHERE r.revision <> 0
       AND (e.transaction_id IS NULL
            OR (SELECT t.points FROM ledger.transaction t
                 WHERE t.member_id = e.member_id AND t.business_date = e.business_date
                   AND t.transaction_id = e.transaction_id)
               IS DISTINCT FROM (SELECT sum(t.undone_points) FROM ledger.transaction t
                                  WHERE t.member_id = e.member_id AND t.reverses_id = e.transaction_id))
     ORDER BY 1
    """
    return findings(receipts_are_revised_after_reversal, session, subject="receipt", query=query)


def confirmations_are_used_once(session: Session) -> Iterator[Finding]:
    """A member's confirmation covers the one redemption that used it, at that partner and in time."""
    query = """
    SELECT concat_ws('/', coalesce(c.member_id, t.member_id), coalesce(c.confirmation_id,
            t.confirmation_id)) AS id,
           CASE WHEN c.confirmation_id IS NULL THEN
                    format('redemption %s/%s names it and it is not there', t.business_date, t.transaction_id)
                WHEN t.transaction_id IS NULL THEN format('was used by %s, which does not name it', c.used_by)
                WHEN c.used_by IS DISTINCT FROM t.transaction_id THEN
                    format('redemption %s names it, it was used by %s', t.transaction_id,
                            coalesce(c.used_by::text, 'none'))
                WHEN c.partner_id <> t.partner_id THEN format('is for %s and was used by %s', c.partner_id,
                        t.partner_id)
                WHEN c.points < t.points THEN format('is for %s points and covers %s', c.points, t.points)
                ELSE format('held until %s and was used at %s', c.expires_at, t.recorded_at)
           END AS message
      FROM (SELECT * FROM ledger.transaction WHERE confirmation_id IS NOT NULL) t
      FULL JOIN ledger.confirmation c USING (member_id, confirmation_id)
     WHERE c.confirmation_id IS NULL
        OR c.used_by IS DISTINCT FROM t.transaction_id
        OR c.partner_id <> t.partner_id OR c.points < t.points OR t.recorded_at >= c.expires_at
     ORDER BY 1
    """
    return findings(confirmations_are_used_once, session, subject="confirmation", query=query)
