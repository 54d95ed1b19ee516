"""Partners' commercial terms: published, superseded by later ones, and never edited."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from coalition import clock, windows
from coalition.errors import AgreementBackdated, InvalidInput, PartnerUnknown
from coalition.ids import NETWORK, AgreementId, PartnerId
from partners import tables
from partners.checks import check_decimal, check_text
from partners.earning import EarnRounding, EarnRule
from partners.expiry import Activity, ActivityWhere, Expiry, ExpiryRule, check_expiry

_table = tables.agreement

_PRICE_PLACES: Final = 6
_PRICE_BELOW: Final = 1_000_000
_MAX_DAYS: Final = 3_650


class ReturnPolicy(StrEnum):
    """How much of an issue can be taken back."""

    PENDING_ONLY = "pending_only"
    """Only while nothing of it has matured."""
    AVAILABLE = "available"
    """What the member still has; what was spent is forgone."""
    UNLIMITED = "unlimited"
    """What the member still has; what was spent becomes the member's deficit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Money per point, in the programme's currency, and the part of f that breakage returns."""

    service_fee: Decimal
    """s: the lot's funders pay it to the network when points are issued."""
    funding: Decimal
    """f: likewise; s + f is the issue charge."""
    redemption_charge: Decimal
    """c2: the lot's funders pay it to the network when a point of the lot is redeemed."""
    reimbursement: Decimal
    """R: the network pays it to the redeemer of a point."""
    own_reimbursement: Decimal
    """R0: the same, where the redeemer issued the lot itself."""
    breakage_share: Decimal
    """Beta, from 0 to 1: so much of f goes back to the funders when a point expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Prices):
    """One version of a partner's terms."""

    agreement_id: AgreementId
    partner_id: PartnerId
    version: int
    valid_from: date
    """In the programme's zone."""
    earn_points: Decimal | None
    earn_amount: Decimal | None
    earn_rounding: EarnRounding
    maturity_days: int
    """The return period, in which points are pending; 0: none."""
    expiry: Expiry
    grace_days: int
    """How long points live that a reversed redemption gives back to an expired lot."""
    return_policy: ReturnPolicy
    published_at: datetime
    published_by: str

    @property
    def earn_rule(self) -> EarnRule | None:
        """What an amount of money earns; None where points are always given as points."""
        if self.earn_points is None or self.earn_amount is None:
            return None
        return EarnRule(points=self.earn_points, amount=self.earn_amount, rounding=self.earn_rounding)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishAgreement(Prices):
    """The operator's wish that new terms hold for a partner from a date on."""

    partner_id: PartnerId
    valid_from: date
    published_by: str
    """The client or operator who publishes."""
    earn_rule: EarnRule | None = None
    maturity_days: int = 0
    expiry: Expiry = field(default_factory=Expiry)
    grace_days: int = 30
    return_policy: ReturnPolicy = ReturnPolicy.AVAILABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWarning:
    """Points of this issuer that are redeemed at this partner cost the network more than it was paid."""

    issuer_code: str
    redeemer_code: str
    loss_per_point: Decimal
    """The redeemer's reimbursement less the funding and redemption charge of the issuer's lots."""

    def __str__(self) -> str:
        return (
            f"points of {self.issuer_code} redeemed at {self.redeemer_code} lose the network"
            f" {self.loss_per_point:f} each"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedAgreement:
    """The terms as stored, and what the operator should think about."""

    agreement: Agreement
    warnings: tuple[LossWarning, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """What the loss check needs to know of a partner's terms."""

    code: str
    issues: bool
    redeems: bool
    prices: Prices


def funding_model(*, reimbursement: Decimal, service_fee: Decimal, paid_up_front: Decimal) -> Prices:
    """The prices of a known funding model: `paid_up_front` is the share of R that issuing pays.

    1 is pay at issuance, 0 pay at redemption, anything between a hybrid: f = share x R and
    c2 = (1 - share) x R. What breakage returns is 0 and R0 is R until the operator says otherwise.

    Raises:
        InvalidInput: the share does not lie between 0 and 1, or gives a price of more than 6 places.
    """
    share = check_decimal(paid_up_front, field="paidUpFront", places=_PRICE_PLACES, below=2)
    if share > 1:
        raise InvalidInput("paidUpFront must be from 0 to 1", field=("input", "paidUpFront"))
    funding = check_decimal(reimbursement * share, field="funding", places=_PRICE_PLACES, below=_PRICE_BELOW)
    return Prices(
        service_fee=service_fee,
        funding=funding,
        # The rest, not a product of its own: the two parts are R exactly.
        redemption_charge=reimbursement - funding,
        reimbursement=reimbursement,
        own_reimbursement=reimbursement,
        breakage_share=Decimal(0),
    )


def publish_agreement(session: Session, command: PublishAgreement) -> PublishedAgreement:
    """Publish a partner's next terms.

    They hold for what occurs from `valid_from` on, until later terms do. Warns where some pair of
    issuer and redeemer would make a loss for the network; that is the operator's to decide.

    Raises:
        InvalidInput: a price or a period does not make sense.
        PartnerUnknown: there is no such partner; the network has no agreement.
        AgreementBackdated: they would hold before the open window began.
    """
    values = _checked(command)
    # One publisher at a time per partner; postings read the partner and don't wait for this lock.
    found = session.execute(
        select(tables.partner.c.partner_id)
        .where(tables.partner.c.partner_id == command.partner_id, tables.partner.c.partner_id != NETWORK)
        .with_for_update(key_share=True)
    ).one_or_none()
    if found is None:
        raise PartnerUnknown
    earliest = windows.open_window(session).business_date
    if command.valid_from < earliest:
        raise AgreementBackdated(earliest=earliest, valid_from=command.valid_from)
    version = session.execute(
        select(func.coalesce(func.max(_table.c.version), 0) + 1).where(
            _table.c.partner_id == command.partner_id
        )
    ).scalar_one()
    row = session.execute(
        insert(_table)
        .values(
            **values,
            agreement_id=uuid4(),
            partner_id=command.partner_id,
            version=version,
            published_at=clock.now(session),
        )
        .returning(*_table.c)
    )
    agreement = _agreement(row.mappings().one())
    return PublishedAgreement(agreement=agreement, warnings=tuple(_warnings(session, agreement)))


def agreement_in_force(session: Session, *, partner_id: PartnerId, on: date) -> Agreement | None:
    """The terms that hold on a date: the latest start up to it, the latest version of that start."""
    row = session.execute(
        select(*_table.c)
        .where(_table.c.partner_id == partner_id, _table.c.valid_from <= on)
        .order_by(_table.c.valid_from.desc(), _table.c.version.desc())
        .limit(1)
    )
    found = row.mappings().one_or_none()
    return None if found is None else _agreement(found)


def get_agreements(session: Session, ids: Collection[AgreementId]) -> dict[AgreementId, Agreement]:
    """The agreements of these ids, in one statement."""
    rows = session.execute(select(*_table.c).where(_table.c.agreement_id.in_(ids))).mappings()
    return {agreement.agreement_id: agreement for agreement in map(_agreement, rows)}


def list_agreements(session: Session, partner_id: PartnerId) -> list[Agreement]:
    """All versions of a partner's terms, the latest first."""
    return agreements_of(session, [partner_id])[partner_id]


def agreements_of(session: Session, partner_ids: Collection[PartnerId]) -> dict[PartnerId, list[Agreement]]:
    """All versions of each partner's terms, the latest first; in one statement."""
    rows = session.execute(
        select(*_table.c).where(_table.c.partner_id.in_(partner_ids)).order_by(_table.c.version.desc())
    )
    found: dict[PartnerId, list[Agreement]] = {one: [] for one in partner_ids}
    for terms in map(_agreement, rows.mappings()):
        found[terms.partner_id].append(terms)
    return found


def losses(parties: Collection[Party]) -> list[LossWarning]:
    """Each pair in which the redeemer is paid more for a point than its funders paid in f and c2.

    The service fee is not counted: it pays for the network's work.
    """
    found: list[LossWarning] = []
    for issuer in parties:
        paid = issuer.prices.funding + issuer.prices.redemption_charge
        for redeemer in parties:
            own = issuer.code == redeemer.code
            receives = redeemer.prices.own_reimbursement if own else redeemer.prices.reimbursement
            if issuer.issues and redeemer.redeems and receives > paid:
                found.append(
                    LossWarning(
                        issuer_code=issuer.code, redeemer_code=redeemer.code, loss_per_point=receives - paid
                    )
                )
    return found


# The terms of all others that hold on the new agreement's first day or begin later.
_OTHERS: Final = text("""
    SELECT p.code, p.may_issue, p.may_redeem, a.*
    FROM partners.partner p JOIN partners.agreement a USING (partner_id)
    WHERE p.state <> 'left' AND p.partner_id <> :partner_id
      AND (a.valid_from > :on OR a.agreement_id = (
          SELECT agreement_id FROM partners.agreement
          WHERE partner_id = p.partner_id AND valid_from <= :on
          ORDER BY valid_from DESC, version DESC LIMIT 1))
    ORDER BY p.code, a.version
""")


def _warnings(session: Session, agreement: Agreement) -> list[LossWarning]:
    partner = tables.partner
    me = session.execute(select(partner).where(partner.c.partner_id == agreement.partner_id)).one()
    mine = Party(code=me.code, issues=me.may_issue, redeems=me.may_redeem, prices=agreement)
    others = session.execute(_OTHERS, {"partner_id": agreement.partner_id, "on": agreement.valid_from})
    worst: dict[tuple[str, str], LossWarning] = {}
    met = [(mine,)] + [
        (
            mine,
            Party(code=row["code"], issues=row["may_issue"], redeems=row["may_redeem"], prices=_prices(row)),
        )
        for row in others.mappings()
    ]
    for warning in itertools.chain.from_iterable(map(losses, met)):
        pair = (warning.issuer_code, warning.redeemer_code)
        # What another partner's terms lose alone is not this agreement's doing.
        if me.code in pair and (pair not in worst or worst[pair].loss_per_point < warning.loss_per_point):
            worst[pair] = warning
    return [worst[pair] for pair in sorted(worst)]


def _checked(command: PublishAgreement) -> dict[str, Any]:
    def price(value: Decimal, field: str) -> Decimal:
        return check_decimal(value, field=field, places=_PRICE_PLACES, below=_PRICE_BELOW)

    def count(value: int, field: str, *, least: int, most: int) -> int:
        if not least <= value <= most:
            raise InvalidInput(f"{field} must be from {least} to {most:,}", field=("input", field))
        return value

    values: dict[str, Any] = {
        "valid_from": command.valid_from,
        "service_fee": price(command.service_fee, "serviceFee"),
        "funding": price(command.funding, "funding"),
        "redemption_charge": price(command.redemption_charge, "redemptionCharge"),
        "reimbursement": price(command.reimbursement, "reimbursement"),
        "own_reimbursement": price(command.own_reimbursement, "ownReimbursement"),
        "breakage_share": price(command.breakage_share, "breakageShare"),
        "earn_points": None,
        "earn_amount": None,
        "earn_rounding": EarnRounding.DOWN.value,
        "maturity_days": count(command.maturity_days, "maturityDays", least=0, most=_MAX_DAYS),
        **_columns(check_expiry(command.expiry, maturity_days=command.maturity_days)),
        "grace_days": count(command.grace_days, "graceDays", least=0, most=_MAX_DAYS),
        "return_policy": command.return_policy.value,
        "published_by": check_text(command.published_by, field="publishedBy"),
    }
    if values["breakage_share"] > 1:
        raise InvalidInput("breakageShare must be from 0 to 1", field=("input", "breakageShare"))
    rule = command.earn_rule
    if rule is not None:
        values["earn_points"] = price(rule.points, "earnPoints")
        values["earn_amount"] = check_decimal(rule.amount, field="earnAmount", places=4, below=100_000_000)
        values["earn_rounding"] = rule.rounding.value
        if values["earn_amount"] == 0:
            raise InvalidInput("earnAmount must be above 0", field=("input", "earnAmount"))
    return values


_EXPIRY_FIELDS: Final = tuple(one.name for one in fields(Expiry))
_PRICE_FIELDS: Final = tuple(one.name for one in fields(Prices))


def _prices(row: Mapping[Any, Any]) -> Prices:
    return Prices(**{name: row[name] for name in _PRICE_FIELDS})


def _agreement(row: Mapping[Any, Any]) -> Agreement:
    typed = {
        "earn_rounding": EarnRounding(row["earn_rounding"]),
        "return_policy": ReturnPolicy(row["return_policy"]),
        "expiry": Expiry(
            expiry_rule=ExpiryRule(row["expiry_rule"]),
            expiry_months=row["expiry_months"],
            expiry_date=row["expiry_date"],
            activity=row["activity"] and Activity(row["activity"]),
            activity_where=row["activity_where"] and ActivityWhere(row["activity_where"]),
        ),
    }
    plain = {name: value for name, value in row.items() if name not in _EXPIRY_FIELDS}
    return Agreement(**(plain | typed))


def _columns(expiry: Expiry) -> dict[str, Any]:
    return {name: getattr(expiry, name) for name in _EXPIRY_FIELDS}
