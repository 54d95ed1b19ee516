"""Vouchers: each is a member's word for a hold, redeemed once, for no more than it says, and in its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from coalition.audit.finding import Finding


def vouchers_are_the_members_word(session: Session) -> Iterator[Finding]:
    """A voucher is good for an hour at most, as the confirmation says that the member gave with it."""
    query = """
    SELECT concat_ws('/', h.member_id, h.business_date, h.transaction_id) AS id,
           format('of %s points at %s, good from %s until %s, taken until %s; the member confirmed %s'
                  ' points at %s until %s', h.points, h.partner_id, h.authorized_at, h.redeem_by,
                  h.lapses_at, coalesce(c.points::text, 'no'), coalesce(c.partner_id::text, 'nobody'),
                  c.expires_at) AS message
      FROM ledger.hold h
      LEFT JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
      LEFT JOIN ledger.confirmation c ON c.member_id = t.member_id AND c.confirmation_id = t.confirmation_id
     WHERE h.redeem_by IS NOT NULL
       AND ((c.points, c.partner_id, c.expires_at, c.used_by)
            IS DISTINCT FROM (h.points, h.partner_id, h.redeem_by, h.transaction_id)
            OR h.redeem_by > h.authorized_at + interval '1 hour' OR h.redeem_by <= h.authorized_at
            OR h.lapses_at < h.redeem_by)
     ORDER BY 1
    """
    return findings(vouchers_are_the_members_word, session, subject="hold", query=query)


def vouchers_are_redeemed_once(session: Session) -> Iterator[Finding]:
    """A voucher is captured once at most: by its partner, for no more than it says, in its time."""
    query = """
    WITH taken AS (
        SELECT member_id, hold_date AS business_date, hold_id AS transaction_id, count(*) AS times,
               sum(points) AS points, min(partner_id::text)::uuid AS partner_id,
               max(partner_id::text)::uuid AS other_id,
               min(occurred_at) AS first_at, max(occurred_at) AS last_at, max(recorded_at) AS recorded_at
          FROM ledger.transaction
         WHERE kind = 'capture'
         GROUP BY member_id, hold_date, hold_id
    )
    SELECT concat_ws('/', h.member_id, h.business_date, h.transaction_id) AS id,
           format('of %s points at %s, good from %s until %s, taken until %s; was redeemed %s times, for %s'
                  ' points at %s, bought at %s, presented at %s', h.points, h.partner_id,
                  h.authorized_at, h.redeem_by, h.lapses_at, t.times,
                  t.points, t.partner_id, t.last_at, t.recorded_at) AS message
      FROM ledger.hold h JOIN taken t USING (member_id, business_date, transaction_id)
     WHERE h.redeem_by IS NOT NULL
       AND (t.times > 1 OR t.points > h.points OR t.partner_id <> h.partner_id OR t.other_id <> h.partner_id
            OR t.last_at >= h.redeem_by OR t.first_at < h.authorized_at - interval '5 minutes'
            OR t.recorded_at >= h.lapses_at)
     ORDER BY 1
    """
    return findings(vouchers_are_redeemed_once, session, subject="hold", query=query)
