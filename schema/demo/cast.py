"""Who takes part: the partners, what they sell, and the terms that each has agreed to.

Every funding model that coalition programmes know is among them: points paid for when they are
issued (alpha 1), when they are redeemed (alpha 0), and in part at either (in between).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

CURRENCY: Final = "USD"
REIMBURSEMENT: Final = Decimal("0.0095")
"""What the network pays a redeemer for a point, unless its agreement says less."""
SERVICE_FEE: Final = Decimal("0.0025")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A partner of the demo and its agreement."""

    code: str
    name: str
    departments: tuple[str, ...]
    earns: int
    """Points for each dollar spent."""
    paid_up_front: Decimal
    """Alpha: the share of the reimbursement that funders pay when points are issued."""
    expiry_months: int | None
    maturity_days: int = 0
    service_fee: Decimal = SERVICE_FEE
    reimbursement: Decimal = REIMBURSEMENT
    own_reimbursement: Decimal = REIMBURSEMENT
    breakage_share: Decimal = Decimal("0.5")
    return_policy: str = "available"

    @property
    def funding(self) -> Decimal:
        """f: what a point's funders pay up front."""
        return REIMBURSEMENT * self.paid_up_front

    @property
    def redemption_charge(self) -> Decimal:
        """c2: what they pay when it is redeemed."""
        return REIMBURSEMENT - self.funding


def _share(text: str) -> Decimal:
    return Decimal(text)


PARTNERS: Final[tuple[Terms, ...]] = (
    Terms(
        code="hearth",
        name="Hearth Grocers",
        departments=("GROCERY", "FROZEN GROCERY"),
        earns=1,
        paid_up_front=_share("1"),
        expiry_months=24,
    ),
    Terms(
        code="orchard",
        name="Orchard Greens",
        departments=("PRODUCE",),
        earns=2,
        paid_up_front=_share("1"),
        expiry_months=12,
    ),
    Terms(
        code="alder",
        name="Alder Drugstores",
        departments=("DRUG GM", "COSMETICS"),
        earns=2,
        paid_up_front=_share("0.6"),
        expiry_months=18,
        maturity_days=14,
        return_policy="pending_only",
    ),
    Terms(
        code="meridian",
        name="Meridian Fuel",
        departments=("FUEL",),
        earns=1,
        paid_up_front=_share("0"),
        expiry_months=36,
        reimbursement=Decimal("0.0090"),
        own_reimbursement=Decimal("0.0080"),
    ),
    Terms(
        code="cleaver",
        name="Cleaver & Sons Butchers",
        departments=("MEAT", "MEAT-PCKGD"),
        earns=1,
        paid_up_front=_share("0"),
        expiry_months=9,
    ),
    Terms(
        code="harbour",
        name="Harbour Fish",
        departments=("SEAFOOD", "SEAFOOD-PCKGD"),
        earns=2,
        paid_up_front=_share("0"),
        expiry_months=6,
    ),
    Terms(
        code="crumb",
        name="Crumb Bakery",
        departments=("PASTRY",),
        earns=3,
        paid_up_front=_share("1"),
        expiry_months=15,
    ),
    Terms(
        code="corner",
        name="Corner Deli",
        departments=("DELI", "CHEF SHOPPE"),
        earns=2,
        paid_up_front=_share("0.6"),
        expiry_months=21,
    ),
    Terms(
        code="verdant",
        name="Verdant Nutrition",
        departments=("NUTRITION",),
        earns=3,
        paid_up_front=_share("0.6"),
        expiry_months=30,
        maturity_days=7,
    ),
    Terms(
        code="bloom",
        name="Bloom Florists & Gardens",
        departments=("FLORAL", "GARDEN CENTER"),
        earns=5,
        paid_up_front=_share("1"),
        expiry_months=None,
    ),
    Terms(
        code="ember",
        name="Ember Kitchen",
        departments=("RESTAURANT", "SALAD BAR"),
        earns=3,
        paid_up_front=_share("1"),
        expiry_months=3,
        return_policy="unlimited",
    ),
    Terms(
        code="vintner",
        name="Vintner's Cellar",
        departments=("SPIRITS",),
        earns=2,
        paid_up_front=_share("0"),
        expiry_months=48,
    ),
    Terms(
        code="wayfare",
        name="Wayfare Travel",
        departments=("TRAVEL & LEISURE",),
        earns=5,
        paid_up_front=_share("1"),
        expiry_months=1,
    ),
)

DEPARTMENTS: Final = {department: terms.code for terms in PARTNERS for department in terms.departments}

WELCOME_PLAN: Final = "welcome"
"""The funding plan of the welcome points: half the issuer's, half the network's own cost."""
WELCOME_ISSUER: Final = "wayfare"
WELCOME_POINTS: Final = 150
