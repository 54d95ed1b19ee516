"""The partners of the programme: who they are, what they may do, and in which state they are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from coalition import clock
from coalition.errors import InvalidInput, PartnerCodeTaken, PartnerNotActive, PartnerUnknown
from coalition.ids import NETWORK, PartnerId, PartyId
from partners import tables
from partners.checks import check_code, check_text

_table = tables.partner


class PartnerState(StrEnum):
    """Where a partner stands between joining and leaving."""

    ONBOARDING = "onboarding"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    LEAVING = "leaving"
    LEFT = "left"


NEXT_STATES: Final[Mapping[PartnerState, frozenset[PartnerState]]] = {
    PartnerState.ONBOARDING: frozenset({PartnerState.ACTIVE, PartnerState.LEFT}),
    PartnerState.ACTIVE: frozenset({PartnerState.SUSPENDED, PartnerState.LEAVING}),
    PartnerState.SUSPENDED: frozenset({PartnerState.ACTIVE, PartnerState.LEAVING}),
    PartnerState.LEAVING: frozenset({PartnerState.LEFT}),
    PartnerState.LEFT: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """A business in the coalition."""

    partner_id: PartnerId
    code: str
    name: str
    state: PartnerState
    may_issue: bool
    may_redeem: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartner:
    """The operator's wish to admit a business."""

    code: str
    """How files, tables and people call it; small letters, digits and hyphens."""
    name: str
    may_issue: bool = True
    may_redeem: bool = True
    state: PartnerState = PartnerState.ACTIVE


def create_partner(session: Session, command: CreatePartner) -> Partner:
    """Admit a partner. It can move points once it has an agreement.

    Raises:
        InvalidInput: a field is malformed, the partner may do nothing, or it begins in a later state.
        PartnerCodeTaken: another partner has the code.
    """
    code = check_code(command.code)
    name = check_text(command.name, field="name")
    if not (command.may_issue or command.may_redeem):
        raise InvalidInput("a partner is an issuer, a redeemer or both", field=("input", "mayIssue"))
    if command.state not in (PartnerState.ONBOARDING, PartnerState.ACTIVE):
        raise InvalidInput("a new partner is onboarding or active", field=("input", "state"))
    adding = insert(_table).values(
        partner_id=uuid4(),
        code=code,
        name=name,
        state=command.state.value,
        may_issue=command.may_issue,
        may_redeem=command.may_redeem,
        created_at=clock.now(session),
    )
    row = session.execute(adding.on_conflict_do_nothing().returning(*_table.c)).mappings().one_or_none()
    if row is None:
        raise PartnerCodeTaken(partner_code=code)
    return _partner(row)


def get_partner(session: Session, partner_id: PartnerId) -> Partner:
    """The partner of that id.

    Raises:
        PartnerUnknown: there is none; the network is no partner.
    """
    row = session.execute(_partners().where(_table.c.partner_id == partner_id)).mappings().one_or_none()
    if row is None:
        raise PartnerUnknown
    return _partner(row)


def find_partner(session: Session, code: str) -> Partner | None:
    """The partner of that code, if there is one."""
    row = session.execute(_partners().where(_table.c.code == code)).mappings().one_or_none()
    return None if row is None else _partner(row)


def get_partner_by_code(session: Session, code: str) -> Partner:
    """The partner of that code.

    Raises:
        PartnerUnknown: there is none.
    """
    partner = find_partner(session, code)
    if partner is None:
        raise PartnerUnknown(f"No partner has the code {code!r}.", partner_code=code)
    return partner


def get_partners(session: Session, ids: Collection[PartyId]) -> dict[PartyId, Partner]:
    """The partners of these ids, in one statement; ids that are no partner's are left out."""
    rows = session.execute(_partners().where(_table.c.partner_id.in_(ids))).mappings()
    return {partner.partner_id: partner for partner in map(_partner, rows)}


def list_partners(
    session: Session,
    *,
    limit: int,
    after: str | None = None,
    before: str | None = None,
    backwards: bool = False,
) -> list[Partner]:
    """A page of partners by code: at most `limit` strictly between two codes.

    `backwards` takes the last of them in place of the first; they come in the order of their codes
    all the same.
    """
    page = _partners()
    if after is not None:
        page = page.where(_table.c.code > after)
    if before is not None:
        page = page.where(_table.c.code < before)
    order = _table.c.code.desc() if backwards else _table.c.code
    found = [_partner(row) for row in session.execute(page.order_by(order).limit(limit)).mappings()]
    return found[::-1] if backwards else found


def set_partner_state(session: Session, *, partner_id: PartnerId, state: PartnerState) -> Partner:
    """Move a partner on to another state. The state that it has already is no error.

    Raises:
        PartnerUnknown: there is none of that id.
        PartnerNotActive: that state does not follow the one it has; the facts say which that is.
    """
    # Locked before it is read: two operators at once must not both decide on the same state.
    locked = _partners().where(_table.c.partner_id == partner_id).with_for_update(key_share=True)
    row = session.execute(locked).mappings().one_or_none()
    if row is None:
        raise PartnerUnknown
    partner = _partner(row)
    if partner.state is state:
        return partner
    if state not in NEXT_STATES[partner.state]:
        raise PartnerNotActive(
            f"The partner is {partner.state} and cannot become {state}.", state=partner.state.value
        )
    moved = update(_table).where(_table.c.partner_id == partner_id).values(state=state.value)
    return _partner(session.execute(moved.returning(*_table.c)).mappings().one())


def _partners() -> Select[Any]:
    # The network is a party and has a row, but is no partner.
    return select(*_table.c).where(_table.c.partner_id != NETWORK)


def _partner(row: Mapping[Any, Any]) -> Partner:
    return Partner(**(dict(row) | {"state": PartnerState(row["state"])}))
