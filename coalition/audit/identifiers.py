"""What members are known by: each identifier stands as its own history says, and that has no gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import Finding, findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session


def identifiers_stand_as_their_history_says(session: Session) -> Iterator[Finding]:
    """Each begins with its link, goes on without gap, ends where it is out of use, and names who and what."""
    query = """
    WITH history AS (
        SELECT c.*, lag(state) OVER own AS before, lag(changed_at) OVER own AS since,
               row_number() OVER own AS nth, lead(number) OVER own IS NULL AS is_last
          FROM ledger.identifier_change c
        WINDOW own AS (PARTITION BY member_id, identifier_id ORDER BY number)
    )
    SELECT concat_ws('/', coalesce(i.member_id, h.member_id),
                     coalesce(i.identifier_id, h.identifier_id)) AS id,
           CASE WHEN i.identifier_id IS NULL THEN 'has a history, and is not there'
                WHEN h.identifier_id IS NULL THEN 'has no history'
                ELSE format('change %s of a %s from %s to %s at %s by %s does not fit: the identifier'
                            ' is a %s, linked at %s by %s, unlinked at %s', h.number, h.kind,
                            coalesce(h.before, 'nothing'), h.state, h.changed_at,
                            coalesce(h.party_id::text, 'the member'), i.kind, i.linked_at, i.linked_by,
                            coalesce(i.unlinked_at::text, 'no time'))
           END AS message
      FROM ledger.identifier i
      FULL JOIN history h USING (member_id, identifier_id)
      LEFT JOIN ledger.identifier_change card
             ON card.member_id = h.member_id AND card.identifier_id = h.replaced_by AND card.number = 1
      LEFT JOIN ledger.member_head m ON m.member_id = h.member_id
     -- Of who was erased the history stays, without its identifiers.
     WHERE (i.identifier_id IS NULL AND m.erased_at IS NULL) OR h.identifier_id IS NULL
        OR h.number <> h.nth OR h.kind <> i.kind OR h.changed_at < h.since
        OR (h.nth = 1 AND (h.state <> 'active' OR h.changed_at <> i.linked_at OR h.party_id <> i.linked_by
                           OR h.party_id IS NULL))
        OR (h.nth > 1 AND h.changed_by IS NULL)
        OR h.before IN ('replaced', 'unlinked')
        OR (h.state = 'active' AND h.nth > 1 AND h.before <> 'blocked')
        OR (h.state = 'replaced') <> (card.identifier_id IS NOT NULL)
        OR (h.state = 'replaced' AND (card.kind <> 'card' OR h.kind <> 'card'))
        OR (h.is_last AND i.identifier_id IS NOT NULL
            AND (h.state = 'unlinked') <> (i.unlinked_at IS NOT NULL))
     ORDER BY 1
    """
    return findings(identifiers_stand_as_their_history_says, session, subject="identifier", query=query)
