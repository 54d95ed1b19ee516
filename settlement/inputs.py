"""What a run is calculated from: one GROUP BY over the window's entries, the prices, the last closing.

The inputs have a digest. It is made of values only (codes, prices, points, times) and not of ids, so
that the same business gives the same digest in any database.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from coalition.amounts import PARTS_PER_MILLION
from coalition.ids import NETWORK, PartyId
from coalition.programme import get_programme
from coalition.windows import Window, find_window
from settlement.obligations import Cause, Funder, LotTerms, Movement

RULES: Final = 1
"""Counts the changes to how a run is calculated: other rules are another digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A partner, or the network, as it was called on the night."""

    party_id: PartyId
    code: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a run depends on."""

    window: Window
    """Sealed."""
    currency: str
    movements: tuple[Movement, ...]
    opening: Mapping[PartyId, int]
    """Points outstanding by issuer, as the run before left them."""
    parties: Mapping[PartyId, Party]
    """Each that the movements or the opening mention, and the network."""

    @property
    def closed_at(self) -> datetime:
        """When the window closed."""
        assert self.window.closed_at is not None
        return self.window.closed_at

    def digest(self) -> str:
        """SHA-256 over all of it, in hexadecimal."""
        movements: dict[tuple[Any, ...], int] = defaultdict(int)
        for movement in self.movements:
            movements[self._values(movement)] += movement.points
        told = {
            "rules": RULES,
            "business_date": self.window.business_date,
            "opened_at": self.window.opened_at.astimezone(UTC),
            "closed_at": self.closed_at.astimezone(UTC),
            "transactions": self.window.transactions,
            "entries": self.window.entries,
            "currency": self.currency,
            "parties": sorted([party.code, party.name] for party in self.parties.values()),
            "opening": sorted([self._code(party), points] for party, points in self.opening.items()),
            "movements": sorted([*key, points] for key, points in movements.items()),
        }
        return hashlib.sha256(orjson.dumps(told)).hexdigest()

    def _values(self, movement: Movement) -> tuple[Any, ...]:
        terms = movement.terms
        prices = (
            terms.service_fee,
            terms.funding,
            terms.redemption_charge,
            terms.breakage_share,
            movement.reimbursement,
        )
        funders = sorted(f"{self._code(funder.party)}:{funder.ppm}" for funder in movement.funders)
        return (
            movement.cause.value,
            self._code(movement.acting),
            self._code(movement.issuer),
            *(f"{price.normalize():f}" for price in prices),
            ",".join(funders),
        )

    def _code(self, party: PartyId) -> str:
        return self.parties[party].code


def read_inputs(session: Session, *, business_date: date) -> Inputs:
    """Read what the run of a sealed window is calculated from."""
    window = find_window(session, business_date)
    assert window.state == "sealed", "only a frozen window is calculated"
    groups = session.execute(_GROUPS, {"business_date": business_date}).all()
    agreements = _agreements(session, groups)
    plans = _plans(session, groups)
    movements = tuple(_movement(group, agreements, plans) for group in groups)
    opening = {
        row.issuer_id: row.closing
        for row in session.execute(_OPENING, {"business_date": business_date})
        if row.closing
    }
    return Inputs(
        window=window,
        currency=get_programme(session).currency,
        movements=movements,
        opening=opening,
        parties=_parties(session, movements, opening),
    )


# Each move between a member and the outside has exactly one leg in an outside bucket, so these legs are
# all that settlement needs; what matures or is held stays the member's. A deficit's legs have no lot.
# A capture is a redemption, at the terms of its authorisation; what an operator gives is an issue, and what
# it takes is taken back.
_GROUPS: Final = text("""
    SELECT CASE t.kind WHEN 'capture' THEN 'redeem' WHEN 'adjust_in' THEN 'issue'
                       WHEN 'adjust_out' THEN 'reverse_issue' ELSE t.kind END AS kind,
           t.partner_id, t.agreement_id,
           e.issuer_id, e.agreement_id AS lot_agreement_id,
           e.funding_plan_id, e.bucket, sum(e.points)::bigint AS points
      FROM ledger.entry e
      JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
     WHERE e.business_date = :business_date
       AND t.business_date = :business_date
       AND e.bucket IN ('issued', 'burned', 'expired', 'reversed')
       AND e.lot_id IS NOT NULL
     GROUP BY 1, t.partner_id, t.agreement_id, e.issuer_id, e.agreement_id, e.funding_plan_id, e.bucket
""")

_OPENING: Final = text("""
    SELECT issuer_id, closing FROM settlement.roll_forward
     WHERE run_id = (SELECT run_id FROM settlement.run
                      WHERE state <> 'superseded' AND business_date < :business_date
                      ORDER BY business_date DESC LIMIT 1)
""")

_AGREEMENTS: Final = text("""
    SELECT agreement_id, service_fee, funding, redemption_charge, breakage_share,
           reimbursement, own_reimbursement
      FROM partners.agreement WHERE agreement_id = ANY (CAST(:ids AS uuid[]))
""")

_PLANS: Final = text("""
    SELECT funding_plan_id, party_id, ppm FROM partners.funding_part
     WHERE funding_plan_id = ANY (CAST(:ids AS uuid[]))
""")

_PARTIES: Final = text("""
    SELECT partner_id, code, name FROM partners.partner WHERE partner_id = ANY (CAST(:ids AS uuid[]))
""")

# The sign that the sum of an outside bucket has.
_SIGNS: Final = {
    (Cause.ISSUE, "issued"): -1,
    (Cause.REDEEM, "burned"): 1,
    (Cause.RECOVERY, "burned"): 1,
    (Cause.REVERSE_REDEMPTION, "burned"): -1,
    (Cause.REVERSE_ISSUE, "reversed"): 1,
    (Cause.EXPIRE, "expired"): 1,
}
_REIMBURSED: Final = frozenset({Cause.REDEEM, Cause.RECOVERY, Cause.REVERSE_REDEMPTION})


def _movement(
    group: Row[Any], agreements: Mapping[UUID, Row[Any]], plans: Mapping[UUID, tuple[Funder, ...]]
) -> Movement:
    cause = Cause(group.kind)
    lot = agreements[group.lot_agreement_id]
    reimbursement = Decimal(0)
    if cause in _REIMBURSED:
        own = agreements[group.agreement_id]
        at_home = group.partner_id == group.issuer_id
        reimbursement = own.own_reimbursement if at_home else own.reimbursement
    alone = (Funder(party=group.issuer_id, ppm=PARTS_PER_MILLION),)
    return Movement(
        cause=cause,
        acting=group.partner_id,
        issuer=group.issuer_id,
        terms=LotTerms(
            service_fee=lot.service_fee,
            funding=lot.funding,
            redemption_charge=lot.redemption_charge,
            breakage_share=lot.breakage_share,
        ),
        funders=alone if group.funding_plan_id is None else plans[group.funding_plan_id],
        reimbursement=reimbursement,
        points=_SIGNS[cause, group.bucket] * group.points,
    )


def _agreements(session: Session, groups: Sequence[Row[Any]]) -> dict[UUID, Row[Any]]:
    ids = {group.lot_agreement_id for group in groups} | {group.agreement_id for group in groups}
    rows = session.execute(_AGREEMENTS, {"ids": sorted(ids - {None}, key=str)})
    return {row.agreement_id: row for row in rows}


def _plans(session: Session, groups: Sequence[Row[Any]]) -> dict[UUID, tuple[Funder, ...]]:
    ids = {group.funding_plan_id for group in groups} - {None}
    funders: dict[UUID, tuple[Funder, ...]] = defaultdict(tuple)
    for row in session.execute(_PLANS, {"ids": sorted(ids, key=str)}):
        funders[row.funding_plan_id] += (Funder(party=row.party_id, ppm=row.ppm),)
    return funders


def _parties(
    session: Session, movements: tuple[Movement, ...], opening: Mapping[PartyId, int]
) -> dict[PartyId, Party]:
    mentioned = {NETWORK, *opening}
    for movement in movements:
        mentioned |= {movement.acting, movement.issuer, *(funder.party for funder in movement.funders)}
    rows = session.execute(_PARTIES, {"ids": sorted(mentioned, key=str)})
    return {
        row.partner_id: Party(party_id=PartyId(row.partner_id), code=row.code, name=row.name) for row in rows
    }
