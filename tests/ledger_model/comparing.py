"""Look for a difference between the model and the ledger at what is stored; `reading` does at what is read."""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from .books import Member
from .ledger import Ledger
from .programme import Programme
from .reading import Reading, same

BUCKETS = ("pending", "available", "held", "burned", "expired", "reversed", "transferred")

# All that a member's books say, in one question: the journal from some place on.
BOOKS = text("""
    SELECT h.member_id, h.available, h.pending, h.held, h.deficit, h.blocked, h.merged_into,
      (SELECT json_agg(json_build_array(l.lot_id, l.issuer_id, l.agreement_id, l.matures_at, l.expires_at, l.recalled,
                         l.from_member_id, l.from_lot_id, l.pending, l.available, l.held, l.burned, l.expired, l.reversed,
                         l.transferred, l.funding_plan_id) ORDER BY l.sequence, l.ordinal)
       FROM ledger.lot l WHERE l.member_id = h.member_id) AS lots,
      (SELECT json_agg(json_build_array(d.deficit_id, d.claimant_id, d.agreement_id, d.points, d.open_points,
                         d.from_member_id, d.from_deficit_id) ORDER BY d.sequence, d.ordinal)
       FROM ledger.deficit d WHERE d.member_id = h.member_id) AS claims,
      (SELECT json_agg(json_build_array(t.sequence, o.partner_id, o.points, o.lapses_at, o.state, o.captured) ORDER BY t.sequence)
       FROM ledger.hold o JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
       WHERE o.member_id = h.member_id) AS holds,
      (SELECT json_agg(json_build_object(
                'sequence', t.sequence, 'kind', t.kind, 'partner', t.partner_id, 'points', t.points, 'window', t.business_date,
                'recorded_at', t.recorded_at, 'occurred_at', t.occurred_at, 'late', t.late, 'amount', t.amount,
                'undone', t.undone_points, 'other', t.other_member_id, 'confirmed', t.confirmation_id IS NOT NULL, 'card', t.card_id, 'store', t.store,
                'by', (SELECT acted_by FROM ledger.operator_act a WHERE a.member_id = t.member_id
                       AND a.business_date = t.business_date AND a.transaction_id = t.transaction_id),
                'balance', json_build_array(t.available_after, t.pending_after, t.held_after, t.deficit_after),
                'reverses', (SELECT r.sequence FROM ledger.transaction r WHERE r.member_id = t.member_id
                             AND r.business_date = t.reverses_date AND r.transaction_id = t.reverses_id),
                'hold', (SELECT r.sequence FROM ledger.transaction r WHERE r.member_id = t.member_id
                         AND r.business_date = t.hold_date AND r.transaction_id = t.hold_id),
                'legs', (SELECT json_agg(json_build_array(coalesce(e.lot_id, e.deficit_id), e.bucket, e.points,
                                                                    e.issuer_id, e.agreement_id, e.funding_plan_id))
                         FROM ledger.entry e WHERE e.member_id = t.member_id AND e.business_date = t.business_date
                         AND e.transaction_id = t.transaction_id)) ORDER BY t.sequence)
       FROM ledger.transaction t WHERE t.member_id = h.member_id AND t.sequence > (CAST(:seen AS json) ->> CAST(h.member_id AS text))::bigint) AS lines
    FROM ledger.member_head h WHERE h.member_id = ANY (:members)
""")


REVIEWS = text("SELECT member_id, key, state FROM ledger.review WHERE member_id = ANY (:members)")


class Comparison:
    """Compares what it is told to; remembers how far each journal was compared."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.seen = [0] * len(ledger.members)
        self.reading = Reading(ledger)

    def behind(self, p: Programme) -> list[int]:
        """Whose journal has grown since it was compared."""
        self.seen += [0] * (len(p.members) - len(self.seen))
        return [books.number for books in p.members if len(books.journal) > self.seen[books.number]]

    def all(self, p: Programme) -> None:
        self.seen = [0] * len(p.members)
        self(p, range(len(p.members)))

    def __call__(self, p: Programme, numbers: Iterable[int], *, as_read: bool = True) -> None:
        """The books of these members, as they are stored and as they are read."""
        chosen = sorted(set(numbers))
        ids = [self.ledger.members[number] for number in chosen]
        with self.ledger.driver.database.reading() as session:
            stored = {
                row.member_id: row
                for row in session.execute(
                    BOOKS,
                    {
                        "members": ids,
                        "seen": json.dumps({str(m): self.seen[n] for n, m in zip(chosen, ids, strict=True)}),
                    },
                )
            }
            for number, member_id in zip(chosen, ids, strict=True):
                self._stored(p.members[number], stored[member_id])
            self._reviews(session, p)
            self.reading.always(session, p, chosen)
            if as_read:
                self.reading(session, p, chosen)

    def _stored(self, books: Member, row: Any) -> None:
        numbers = {str(member): number for number, member in enumerate(self.ledger.members)}
        agreements = {str(party): number for number, party in self.ledger.agreements.items()}
        owners: dict[str, tuple[str, int]] = {}
        lots = []
        for number, (lot_id, *rest) in enumerate(row.lots or []):
            owners[lot_id] = ("lot", number)
            lots.append(rest)
        for number, (claim_id, *_) in enumerate(row.claims or []):
            owners[claim_id] = ("claim", number)
        merged_into = None if books.merged_into is None else self.ledger.members[books.merged_into]
        same("head", (row.available, row.pending, row.held, row.deficit), books.balance)
        same("blocked, merged", (row.blocked, row.merged_into), (books.blocked, merged_into))
        same(
            "lots",
            [
                (
                    self.ledger.name(lot[0]),
                    agreements[lot[1]],
                    _moment(lot[2]),
                    _moment(lot[3]),
                    lot[4],
                    numbers.get(lot[5]),
                    tuple(lot[7:-1]),
                    self.ledger.plan_number(lot[-1]),
                )
                for lot in lots
            ],
            [
                (
                    lot.issuer,
                    lot.terms.number,
                    lot.matures_at,
                    lot.expires_at,
                    lot.recalled,
                    lot.origin and lot.origin[0],
                    tuple(lot.at[bucket] for bucket in BUCKETS),
                    lot.plan,
                )
                for lot in books.lots
            ],
        )
        same(
            "claims",
            [
                (self.ledger.name(c[1]), agreements[c[2]], c[3], c[4], numbers.get(c[5]))
                for c in row.claims or []
            ],
            [(c.claimant, c.terms.number, c.points, c.open, c.origin and c.origin[0]) for c in books.claims],
        )
        same(
            "holds",
            [
                (s - 1, self.ledger.name(who), points, _moment(at), state, got)
                for s, who, points, at, state, got in row.holds or []
            ],
            [(h.line, h.partner, h.points, h.lapses_at, h.state, h.captured) for h in books.holds],
        )
        new = books.journal[self.seen[books.number] :]
        for real, line in zip(row.lines or [], new, strict=False):
            legs: dict[Any, int] = defaultdict(int)
            for owner, bucket, points, *terms in real["legs"] or []:
                legs[owners[owner], bucket] += points
                if owners[owner][0] == "lot":
                    lot = books.lots[owners[owner][1]]
                    same(
                        f"terms of a leg of transaction {real['sequence']}",
                        (self.ledger.name(terms[0]), agreements[terms[1]], self.ledger.plan_number(terms[2])),
                        (lot.issuer, lot.terms.number, lot.plan),
                    )
            same(
                f"transaction {real['sequence']}",
                (
                    real["kind"],
                    self.ledger.name(real["partner"]),
                    real["points"],
                    real["window"],
                    _moment(real["recorded_at"]),
                    _moment(real["occurred_at"]),
                    real["late"],
                    real["amount"],
                    real["undone"],
                    numbers.get(real["other"]),
                    real["confirmed"],
                    real["card"] and self.ledger.identifiers.index(UUID(real["card"])),
                    real["store"],
                    real["by"],
                    tuple(real["balance"]),
                    _before(real["reverses"]),
                    _before(real["hold"]),
                    {where: points for where, points in legs.items() if points},
                ),
                (
                    line.kind,
                    line.partner,
                    line.points,
                    str(line.window),
                    line.recorded_at,
                    line.occurred_at,
                    line.late,
                    line.amount,
                    line.undone,
                    line.other,
                    line.confirmed,
                    line.card,
                    self.ledger.store(line.store),
                    line.by,
                    line.balance,
                    line.reverses,
                    line.hold,
                    dict(line.legs),
                ),
            )
        same("journal", [real["kind"] for real in row.lines or []], [line.kind for line in new])
        self.seen[books.number] = len(books.journal)

    def _reviews(self, session: Any, p: Programme) -> None:
        rows = session.execute(REVIEWS, {"members": self.ledger.members}) if p.reviews else []
        same(
            "reviews",
            {(self.ledger.members.index(row.member_id), row.key, row.state) for row in rows},
            {(one.member, one.key, one.state) for one in p.reviews},
        )


def _before(sequence: int | None) -> int | None:
    return None if sequence is None else sequence - 1


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
