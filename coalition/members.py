"""Members: joining, identifiers, consent, and the balance that each sees for the whole network.

A balance that is read applies what has matured or expired by now without writing it: the stored head
goes stale as time passes, and the next posting brings it up to date by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import select, text, true

from coalition import clock, vault
from coalition.amounts import MAX_POINTS, Points
from coalition.errors import MemberUnknown, PointsInvalid
from coalition.identifiers import Identifier, IdentifierKind
from coalition.ids import AgreementId, FundingPlanId, LotId, MemberId, PartnerId
from coalition.ledger import tables
from coalition.ledger.posting import Balance, call
from coalition.programme import get_programme

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from coalition.ids import PartyId

__all__ = [
    "ConfirmRedemption",
    "Confirmation",
    "Due",
    "EnrolMember",
    "Expiring",
    "Identifier",
    "IdentifierKind",
    "IssuerBalance",
    "LinkIdentifier",
    "Lot",
    "Named",
    "balance_by_issuer",
    "bring_up_to_date",
    "confirm_redemption",
    "enrol_member",
    "expiring",
    "find_all_named",
    "find_member",
    "find_named",
    "get_balance",
    "get_balances",
    "identifiers",
    "identifiers_by_id",
    "link_identifier",
    "lots",
    "member_exists",
    "members_due",
    "survivor_of",
]

CONFIRMATION_LIFETIME: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolMember:
    """A partner's wish to have someone join, known by some identifiers."""

    partner_id: PartnerId
    identifiers: Sequence[Identifier]
    member_id: MemberId | None = None
    """None: a new one is made up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkIdentifier:
    """A partner's wish to have a member known by one more identifier."""

    member_id: MemberId
    partner_id: PartnerId
    identifier: Identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A member, as a caller named it."""

    member_id: MemberId
    identifier_id: UUID | None = None
    """The identifier that it was named by. A transaction remembers it where it is a card; not its number."""
    holder_id: MemberId | None = None
    """The very record whose identifier it is: the member, or one that was merged into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRedemption:
    """A member's own consent: this partner may take at most so many points, once, soon."""

    member_id: MemberId
    partner_id: PartnerId
    points: Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the member shows at the till; the redemption names it."""

    confirmation_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerBalance:
    """How many of a member's points one issuer has issued."""

    issuer_id: PartnerId
    available: Points
    pending: Points
    held: Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """Points of one issuer that lapse on one day, unless they are spent before."""

    points: Points
    on: date
    """In the programme's zone."""
    issuer_id: PartnerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Points from one issue, and where they are now."""

    lot_id: LotId
    issuer_id: PartnerId
    agreement_id: AgreementId
    funding_plan_id: FundingPlanId | None
    issued_at: datetime
    matures_at: datetime | None
    expires_at: datetime | None
    points: Points
    available: Points
    pending: Points
    held: Points


def enrol_member(session: Session, command: EnrolMember) -> MemberId:
    """Have someone join the programme.

    Raises:
        PartnerUnknown, PartnerNotActive: there is no such partner, or it is not active; nobody has joined.
        IdentifierTaken: one of the identifiers is enrolled; nobody has joined.
    """
    member_id = command.member_id or MemberId(uuid4())
    spelled = vault.spellings(session, command.identifiers, make=True)
    call(
        session,
        "SELECT ledger.enrol(%s, %s, %s::text[], %s::uuid[], %s::text[], %s, %s::text[], %s)",
        (
            member_id,
            command.partner_id,
            [identifier.kind.value for identifier in command.identifiers],
            [identifier.partner_id for identifier in command.identifiers],
            [spelled[identifier].value for identifier in command.identifiers],
            clock.wall(),
            [spelled[identifier].former for identifier in command.identifiers],
            _indexed_by(spelled),
        ),
    )
    _seal(session, member_id, spelled)
    return member_id


def link_identifier(session: Session, command: LinkIdentifier) -> None:
    """Have a member known by one more identifier; again for the same member changes nothing.

    Raises:
        MemberUnknown, PartnerUnknown, PartnerNotActive: there is no such member, or partner, or the partner
            is not active.
        IdentifierTaken: it is another member's.
        CardReplaced: it is a card of the member's that was replaced.
    """
    spelled = vault.spellings(session, [command.identifier], make=True)
    call(
        session,
        "SELECT ledger.link_identifier(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            command.member_id,
            command.partner_id,
            command.identifier.kind.value,
            command.identifier.partner_id,
            spelled[command.identifier].value,
            clock.wall(),
            spelled[command.identifier].former,
            _indexed_by(spelled),
        ),
    )
    _seal(session, command.member_id, spelled)


def _indexed_by(spelled: Mapping[Identifier, vault.Spelling]) -> int | None:
    return next((one.indexed_by for one in spelled.values() if one.indexed_by is not None), None)


def _seal(session: Session, member_id: MemberId, spelled: Mapping[Identifier, vault.Spelling]) -> None:
    """Keep what the ledger spells blindly where it can be read with the member's key."""
    values = {
        value: identifier.value
        for identifier, spelling in spelled.items()
        if spelling.indexed_by is not None
        for value in (spelling.value, spelling.former)
        if value is not None
    }
    if not values:
        return
    column = tables.identifier.c
    rows = session.execute(
        select(column.identifier_id, column.value).where(
            column.member_id == member_id, column.value.in_(values), column.unlinked_at.is_(None)
        )
    )
    vault.put(
        session, member_id, {vault.identifier_field(row.identifier_id): values[row.value] for row in rows}
    )


def find_member(session: Session, identifier: Identifier, *, merged: bool = False) -> MemberId | None:
    """The member whom an identifier names, if it is enrolled; also one that is blocked, or a replaced card.

    Of a member who was merged into another it names the survivor, who has the points; with `merged` the very
    member whose identifier it is.
    """
    found = find_named(session, identifier, merged=merged)
    return None if found is None else found.member_id


def find_named(
    session: Session, identifier: Identifier, *, merged: bool = False, asking: PartyId | None = None
) -> Named | None:
    """The member whom an identifier names, if it is enrolled, and by which; as `find_all_named`."""
    return find_all_named(session, [identifier], merged=merged, asking=asking).get(identifier)


def find_all_named(
    session: Session,
    identifiers: Iterable[Identifier],
    *,
    merged: bool = False,
    asking: PartyId | None = None,
) -> dict[Identifier, Named]:
    """Whom several identifiers name, in one query; those that are not enrolled are left out.

    One that was unlinked, and linked to nobody since, names whom it named last to the partner who is
    `asking`, if that one knew it: so that the ledger can say so, and give the answer to what was posted
    by it. To others it is as one that was never enrolled.
    """
    wanted = set(identifiers)
    spelled = vault.spellings(session, wanted, make=False)
    while True:
        found = _find(session, spelled, merged=merged, asking=asking)
        if all(one in found or one.kind in vault.READABLE for one in wanted):
            return found
        # What was not found may be spelt anew since the index keys were read: not if they are the same.
        again = vault.spellings(session, wanted, make=False)
        if again == spelled:
            return found
        spelled = again


def _find(
    session: Session,
    spelled: Mapping[Identifier, vault.Spelling],
    *,
    merged: bool,
    asking: PartyId | None,
) -> dict[Identifier, Named]:
    wanted = [
        (one, value)
        for one, spelling in spelled.items()
        for value in (spelling.value, spelling.former)
        if value is not None
    ]
    rows = session.execute(
        _NAMED,
        {
            "kinds": [one.kind.value for one, _ in wanted],
            "partners": [one.partner_id for one, _ in wanted],
            "values": [value for _, value in wanted],
            "asking": asking,
        },
    ).all()
    return {
        wanted[place - 1][0]: Named(
            member_id=MemberId(holder) if merged or into is None else survivor_of(session, MemberId(into)),
            identifier_id=identifier_id,
            holder_id=MemberId(holder),
        )
        for place, holder, identifier_id, into in rows
    }


# Joined to arrays, so that a thousand cost no more to plan than one. Known is one that is linked, or was,
# by the partner, or while the partner posted for whom it named: also by it, while that was part of another.
_NAMED = text("""
    SELECT wanted.place, i.member_id, i.identifier_id, h.merged_into
    FROM unnest(CAST(:kinds AS text[]), CAST(:partners AS uuid[]), CAST(:values AS text[]))
             WITH ORDINALITY AS wanted (kind, partner_id, value, place)
    JOIN ledger.identifier i USING (kind, partner_id, value)
    JOIN ledger.member_head h USING (member_id)
    WHERE i.unlinked_at IS NULL OR i.linked_by = CAST(:asking AS uuid) OR EXISTS (
        SELECT FROM ledger.transaction t
        WHERE t.member_id IN (i.member_id, h.merged_into) AND t.partner_id = CAST(:asking AS uuid)
          AND t.recorded_at >= i.linked_at AND t.recorded_at < i.unlinked_at)
       OR EXISTS (
        SELECT FROM ledger.idempotency k
        JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
        WHERE k.named_id = i.member_id AND k.partner_id = CAST(:asking AS uuid)
          AND t.recorded_at >= i.linked_at AND t.recorded_at < i.unlinked_at)
    -- The last one counts: of those that were unlinked the latest, before it one that is in use.
    ORDER BY i.unlinked_at
""")


def survivor_of(session: Session, member_id: MemberId) -> MemberId:
    """Who has the member's points now: the member, or whom it was merged into, and that one in turn."""
    while (further := merged_into(session, member_id)) is not None:
        member_id = further
    return member_id


def merged_into(session: Session, member_id: MemberId) -> MemberId | None:
    """Into whom the member was merged; None: into nobody."""
    column = tables.member_head.c
    query = select(column.merged_into).where(column.member_id == member_id)
    found = session.execute(query).scalar_one_or_none()
    return None if found is None else MemberId(found)


def erased_at(session: Session, member_id: MemberId) -> datetime | None:
    """When the person was erased; None: it was not."""
    column = tables.member_head.c
    query = select(column.erased_at).where(column.member_id == member_id)
    return session.execute(query).scalar_one_or_none()


def merged_from(session: Session, member_id: MemberId) -> list[MemberId]:
    """Who was merged into the member itself, and not taken apart since."""
    column = tables.member_head.c
    query = select(column.member_id).where(column.merged_into == member_id).order_by(column.member_id)
    return [MemberId(found) for found in session.execute(query).scalars()]


def member_exists(session: Session, member_id: MemberId) -> bool:
    """Whether the programme has this member."""
    column = tables.member.c.member_id
    return session.execute(select(column).where(column == member_id)).one_or_none() is not None


def identifiers(session: Session, member_id: MemberId) -> list[Identifier]:
    """All that a member is known by, blocked identifiers and replaced cards among them."""
    return list(identifiers_by_id(session, member_id).values())


def identifiers_by_id(
    session: Session, member_id: MemberId, *, former: bool = False
) -> dict[UUID, Identifier]:
    """All that a member is known by, as `identifiers`, under their own ids; with `former` also what was."""
    column = tables.identifier.c
    rows = session.execute(
        select(column.identifier_id, column.kind, column.value, column.partner_id)
        .where(column.member_id == member_id, true() if former else column.unlinked_at.is_(None))
        .order_by(column.kind, column.linked_at, column.identifier_id)
    ).all()
    sealed = {} if all(row.kind in vault.READABLE for row in rows) else vault.read(session, member_id)
    return {
        row.identifier_id: Identifier(
            kind=IdentifierKind(row.kind),
            value=vault.readable(row.kind, row.value, row.identifier_id, sealed),
            partner_id=row.partner_id,
        )
        for row in rows
    }


def get_balance(session: Session, member_id: MemberId) -> Balance:
    """A member's points in the whole network, as they are now.

    Raises:
        MemberUnknown: there is no such member.
    """
    found = get_balances(session, [member_id])
    if member_id not in found:
        raise MemberUnknown
    return found[member_id]


def get_balances(session: Session, member_ids: Iterable[MemberId]) -> dict[MemberId, Balance]:
    """The balances of several members, in one query. Members that do not exist are left out."""
    now = clock.now(session)
    rows = session.execute(_BALANCES, {"members": list(member_ids), "now": now})
    return {
        row.member_id: Balance(
            # The part of a fresh maturity that a deficit will take is not spendable.
            available=Points(int(row.available + row.matured - row.recovered + row.released - row.expired)),
            pending=Points(int(row.pending - row.matured)),
            held=Points(int(row.held - row.ended)),
            deficit=Points(int(row.deficit - row.recovered)),
            as_of=now,
        )
        for row in rows
    }


# What has come due and is not posted yet, as the kernel's bring_up_to_date will post it: maturities,
# from them what is owed, then holds that lapse (less what a reversal recalled), then expiries of what is
# left. A hold with points of others lapses with them, by coalition.lapsing. Only heads that are due look
# at their lots.
_BALANCES = text("""
    WITH heads AS (
        SELECT member_id, available, pending, held, deficit, next_due_at <= :now AS due
        FROM ledger.member_head WHERE member_id = ANY (:members)
    )
    SELECT h.member_id, h.available, h.pending, h.held, h.deficit,
           coalesce(l.matured, 0) AS matured,
           least(coalesce(l.matured, 0), h.deficit) AS recovered,
           -- Recovery burns the soonest expiry first, so what is due to expire pays before what is not.
           coalesce(l.expired_old, 0)
             + greatest(coalesce(l.expired_new, 0) - least(coalesce(l.matured, 0), h.deficit), 0)
             + coalesce(r.dead, 0) AS expired,
           coalesce(r.ended, 0) AS ended,
           coalesce(r.released, 0) AS released
    FROM heads h
    LEFT JOIN LATERAL (
        SELECT sum(pending) FILTER (WHERE matures_at <= :now) AS matured,
               sum(available) FILTER (WHERE expires_at <= :now) AS expired_old,
               sum(pending) FILTER (WHERE matures_at <= :now AND expires_at <= :now) AS expired_new
        FROM ledger.lot
        WHERE h.due AND member_id = h.member_id AND (pending > 0 OR available > 0)
    ) l ON true
    LEFT JOIN LATERAL (
        SELECT sum(f.points) AS ended,
               sum(f.points - least(f.points, o.recalled)) AS released,
               sum(f.points - least(f.points, o.recalled)) FILTER (WHERE o.expires_at <= :now) AS dead
        FROM (SELECT e.lot_id, sum(e.points) AS points
              FROM ledger.hold JOIN ledger.entry e USING (member_id, business_date, transaction_id)
              WHERE h.due AND h.held > 0 AND hold.member_id = h.member_id AND hold.state = 'open'
                AND NOT hold.pooled AND hold.lapses_at <= :now AND e.bucket = 'held'
              GROUP BY e.lot_id) AS f
        JOIN ledger.lot o ON o.member_id = h.member_id AND o.lot_id = f.lot_id
    ) r ON true
""")

_LAPSING = text("""
    SELECT e.lot_id, sum(e.points) AS points
    FROM ledger.hold JOIN ledger.entry e USING (member_id, business_date, transaction_id)
    WHERE hold.member_id = :member AND hold.state = 'open' AND NOT hold.pooled
      AND hold.lapses_at <= :now AND e.bucket = 'held'
    GROUP BY e.lot_id
""")


def balance_by_issuer(session: Session, member_id: MemberId) -> list[IssuerBalance]:
    """A member's points by who issued them, largest first; what has come due is applied."""
    totals: dict[PartnerId, list[int]] = {}
    for lot in lots(session, member_id):
        entry = totals.setdefault(lot.issuer_id, [0, 0, 0])
        for index, points in enumerate((lot.available, lot.pending, lot.held)):
            entry[index] += points
    found = [
        IssuerBalance(issuer_id=issuer, available=Points(a), pending=Points(p), held=Points(h))
        for issuer, (a, p, h) in totals.items()
    ]
    return sorted(found, key=lambda item: (-(item.available + item.pending + item.held), str(item.issuer_id)))


def expiring(session: Session, member_id: MemberId, *, within: timedelta) -> list[Expiring]:
    """What lapses within a time from now if it is not spent, by day and issuer, soonest first."""
    now = clock.now(session)
    zone = get_programme(session).tz
    totals: dict[tuple[date, PartnerId], int] = {}
    for lot in _lots(session, member_id, now=now):
        if lot.expires_at is not None and lot.expires_at <= now + within:
            key = (lot.expires_at.astimezone(zone).date(), lot.issuer_id)
            totals[key] = totals.get(key, 0) + lot.available + lot.pending
    found = [
        Expiring(points=Points(points), on=on, issuer_id=issuer)
        for (on, issuer), points in totals.items()
        if points
    ]
    return sorted(found, key=lambda item: (item.on, -item.points, str(item.issuer_id)))


def lots(session: Session, member_id: MemberId) -> list[Lot]:
    """A member's lots that still have points, in the order in which they will be spent.

    What has matured or expired by now is shown as such, less what the member's deficit takes of it.
    """
    return _lots(session, member_id, now=clock.now(session))


def _lots(session: Session, member_id: MemberId, *, now: datetime) -> list[Lot]:
    column = tables.lot.c
    head = tables.member_head.c
    rows = session.execute(
        select(tables.lot, head.deficit)
        .join(tables.member_head, head.member_id == column.member_id)
        .where(
            column.member_id == member_id, (column.pending > 0) | (column.available > 0) | (column.held > 0)
        )
        .order_by(column.expires_at.nulls_last(), column.sequence, column.ordinal)
    )
    lapsing = {
        row.lot_id: int(row.points) for row in session.execute(_LAPSING, {"member": member_id, "now": now})
    }
    found = []
    recovered = 0
    for row in rows:
        ended = lapsing.get(row.lot_id, 0)
        released = ended - min(ended, row.recalled)
        matured = row.pending if row.pending > 0 and row.matures_at <= now else 0
        # A fresh maturity pays what is owed, in the order in which points are spent.
        paid = min(matured, row.deficit - recovered)
        recovered += paid
        gone = row.expires_at is not None and row.expires_at <= now
        lot = Lot(
            lot_id=row.lot_id,
            issuer_id=row.issuer_id,
            agreement_id=row.agreement_id,
            funding_plan_id=row.funding_plan_id,
            issued_at=row.issued_at,
            matures_at=row.matures_at,
            expires_at=row.expires_at,
            points=row.points,
            available=Points(0 if gone else row.available + matured - paid + released),
            pending=Points(row.pending - matured),
            held=Points(row.held - ended),
        )
        if lot.available or lot.pending or lot.held:
            found.append(lot)
    return found


def confirm_redemption(session: Session, command: ConfirmRedemption) -> Confirmation:
    """Store a member's consent to one redemption at a partner.

    Raises:
        PointsInvalid, MemberUnknown, MemberErased, MemberMerged, PartnerUnknown: nothing has been stored.
    """
    if abs(command.points) > MAX_POINTS:
        # The kernel says so too, in its place in the order, but takes no number of more than 64 bits.
        raise PointsInvalid(points=command.points)
    [(confirmation_id, expires_at)] = call(
        session,
        "SELECT * FROM ledger.confirm_redemption(%s, %s, %s, %s, %s)",
        (command.member_id, command.partner_id, command.points, CONFIRMATION_LIFETIME, clock.wall()),
    )
    return Confirmation(confirmation_id=confirmation_id, expires_at=expires_at)


class Due(NamedTuple):
    """A member for whom a maturity, a lapse or an expiry may be due, and since when."""

    due_at: datetime
    member_id: MemberId


_BEFORE_ALL: Final = Due(datetime.min.replace(tzinfo=UTC), MemberId(UUID(int=0)))


def members_due(session: Session, *, at: datetime, limit: int, after: Due | None = None) -> list[Due]:
    """Members for whom something may be due at a moment, whom it is due for longest first; a page of them.

    Args:
        session: A session.
        at: The moment.
        limit: How many at most.
        after: The last one of the page before.
    """
    # In the order of its index: however many are due, a page costs no more than its own members.
    rows = session.execute(
        text("""
            SELECT next_due_at, member_id FROM ledger.member_head
            WHERE next_due_at <= :at AND (next_due_at, member_id) > (:due_at, :member_id)
            ORDER BY next_due_at, member_id LIMIT :limit
        """),
        {"at": at, "limit": limit, **(after or _BEFORE_ALL)._asdict()},
    )
    return [Due(row.next_due_at, MemberId(row.member_id)) for row in rows]


def bring_up_to_date(session: Session, member_ids: Sequence[MemberId]) -> int:
    """Post what has matured, lapsed or expired by now for members whom nobody touched.

    All of them are locked together first, in the order of their ids.

    Returns:
        How many transactions that made.

    Raises:
        MemberUnknown: one of them does not exist; nothing was posted for any.
    """
    statement = "SELECT ledger.bring_members_up_to_date(%s, %s)"
    [(made,)] = call(session, statement, (list(member_ids), clock.wall()))
    return int(made)
