"""How transactions look at the command line: a line each, or one with all that it moved."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from coalition import history
from coalition.global_ids import spell_reference
from coalition.ids import NETWORK
from coalition.proving import prove_inclusion
from coalition.reasons import words_of
from partners.agreements import get_agreements
from partners.cli.parameters import NETWORK_CODE
from partners.directory import get_partners
from partners.funding import get_funding_plans
from partners.on_behalf import who_did
from partners.terms import last_date, local_date

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import date
    from zoneinfo import ZoneInfo

    from sqlalchemy.orm import Session

    from coalition.ids import PartyId
    from coalition.ledger import TransactionRef
    from partners.agreements import Agreement

COLUMNS: Final = {
    "recordedAt": "Recorded",
    "kind": "What",
    "points": "Points",
    "availableAfter": "Available after",
    "partner": "Partner",
    "receipt": "Receipt",
    "reason": "Why",
    "transaction": "Transaction",
}
ENTRIES: Final = {
    "bucket": "Bucket",
    "points": "Points",
    "issuer": "Issuer",
    "funders": "Paid by",
    "serviceFee": "s",
    "funding": "f",
    "redemptionCharge": "c2",
    "issued": "Issued",
    "matures": "Matures",
    "expires": "Expires",
    "lot": "Lot",
}

_MILLION: Final = 1_000_000


def rows(session: Session, found: Sequence[history.Transaction]) -> list[dict[str, Any]]:
    """Transactions as data, each with what names it, and the words of its reason."""
    codes = _codes(session, {one.partner_id for one in found})
    words = words_of(session, [(one.ref.member_id, one.words) for one in found if one.words is not None])
    return [
        {
            "transaction": spell_reference(one.ref),
            "member": str(one.ref.member_id),
            "sequence": one.sequence,
            "kind": one.kind,
            "points": one.points,
            "amount": None if one.amount is None else f"{one.amount.normalize():f}",
            "partner": codes[one.partner_id],
            "receipt": one.receipt.as_request() if one.receipt else None,
            "key": one.idempotency_key,
            "occurredAt": one.occurred_at.isoformat(timespec="seconds"),
            "recordedAt": one.recorded_at.isoformat(timespec="seconds"),
            "window": one.ref.business_date.isoformat(),
            "late": one.late,
            "reverses": _named(one.reverses),
            "undonePoints": one.undone_points,
            "hold": _named(one.hold),
            "counterpart": None if one.other_member_id is None else str(one.other_member_id),
            "reason": one.reason if one.words is None else words.get((one.ref.member_id, one.words)),
            "availableAfter": one.available_after,
        }
        for one in found
    ]


def as_lines(shown: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as a table has them: a receipt in one word."""
    return [
        one | {"receipt": None if one["receipt"] is None else receipt_line(one["receipt"])} for one in shown
    ]


def headline(shown: dict[str, Any]) -> str:
    """What it did, where and when, in one line."""
    return (
        f"{shown['kind']} of {shown['points']:,} points by {shown['partner']}, window {shown['window']},"
        f" recorded {shown['recordedAt']}, occurred {shown['occurredAt']}{' (late)' if shown['late'] else ''}"
    )


def receipt_line(receipt: dict[str, Any]) -> str:
    """A receipt line in one word: store, terminal, number and line, and the revision where there is one."""
    revision = f" rev {receipt['revision']}" if receipt["revision"] else ""
    return f"{receipt['store']}/{receipt['terminal']}/{receipt['number']}/{receipt['line']}{revision}"


def whole(session: Session, found: history.Transaction) -> dict[str, Any]:
    """One transaction with its legs, the terms of their lots, what undid it, and where it stands."""
    [row] = rows(session, [found])
    undone = history.reversals_of(session, [found.ref]).get(found.ref, [])
    proof = prove_inclusion(session, found.ref)
    return row | {
        "operator": who_did(session, [found]).get(found.ref),
        "reversiblePoints": found.reversible_points(undone),
        "reversedBy": [{"transaction": spell_reference(one.ref), "points": one.points} for one in undone],
        "reimbursement": _reimbursement(session, found),
        "entries": _entries(session, history.entries_of(session, [found.ref])[found.ref]),
        "chain": {
            "sequence": found.sequence,
            "digest": found.digest.hex(),
            "root": None if proof is None else proof.root.hex(),
            "leaf": None if proof is None else proof.leaf_index,
            "leaves": None if proof is None else proof.tree_size,
        },
    }


def _entries(session: Session, legs: Sequence[history.Entry]) -> list[dict[str, Any]]:
    codes = _codes(session, {leg.issuer_id for leg in legs if leg.issuer_id})
    terms = get_agreements(session, {leg.agreement_id for leg in legs if leg.agreement_id})
    plans = get_funding_plans(session, {leg.funding_plan_id for leg in legs if leg.funding_plan_id})
    funders = _codes(session, {party for plan in plans.values() for party in plan.parts})

    def paid_by(leg: history.Entry) -> dict[str, int] | None:
        if leg.funding_plan_id is not None:
            return {funders[party]: part for party, part in plans[leg.funding_plan_id].parts.items()}
        return None if leg.issuer_id is None else {codes[leg.issuer_id]: _MILLION}

    return [
        {
            "bucket": leg.bucket,
            "points": leg.points,
            "lot": None if leg.lot_id is None else str(leg.lot_id),
            "issuer": None if leg.issuer_id is None else codes[leg.issuer_id],
            "fundingPlan": plans[leg.funding_plan_id].code if leg.funding_plan_id else None,
            "funders": paid_by(leg),
            **_prices(terms.get(leg.agreement_id) if leg.agreement_id else None),
            "issued": _moment(leg.issued_at),
            "matures": _moment(leg.matures_at),
            "expires": _moment(leg.expires_at),
        }
        for leg in legs
    ]


def entry_lines(entries: Iterable[dict[str, Any]], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Legs as a table has them: who pays in per cent, moments as days, and a leg that is owed by name.

    Days are of the programme's zone; the one of expiry is the last on which points are good.
    """

    def day(moment: str | None, within: Callable[[datetime, ZoneInfo], date] = local_date) -> str | None:
        return None if moment is None else within(datetime.fromisoformat(moment), zone).isoformat()

    return [
        one
        | {
            "lot": one["lot"] or "(owed)",
            "funders": None if one["funders"] is None else _shares(one["funders"]),
            "issued": day(one["issued"]),
            "matures": day(one["matures"]),
            "expires": day(one["expires"], last_date),
        }
        for one in entries
    ]


def _shares(funders: dict[str, int]) -> str:
    if len(funders) == 1:
        return next(iter(funders))
    return ", ".join(f"{code} {part / (_MILLION // 100):g}%" for code, part in funders.items())


def _prices(terms: Agreement | None) -> dict[str, str | None]:
    if terms is None:
        return dict.fromkeys(("serviceFee", "funding", "redemptionCharge", "breakageShare"))
    return {
        "serviceFee": f"{terms.service_fee.normalize():f}",
        "funding": f"{terms.funding.normalize():f}",
        "redemptionCharge": f"{terms.redemption_charge.normalize():f}",
        "breakageShare": f"{terms.breakage_share.normalize():f}",
    }


def _reimbursement(session: Session, found: history.Transaction) -> dict[str, str] | None:
    """What the network pays the acting partner for a point, where its terms were put to the transaction."""
    if found.kind not in {"redeem", "capture", "reverse_redemption"} or found.agreement_id is None:
        return None
    terms = get_agreements(session, [found.agreement_id])[found.agreement_id]
    return {
        "ofOthers": f"{terms.reimbursement.normalize():f}",
        "ofItsOwn": f"{terms.own_reimbursement.normalize():f}",
    }


def _codes(session: Session, parties: Collection[PartyId]) -> dict[PartyId, str]:
    known = {party: partner.code for party, partner in get_partners(session, parties).items()}
    return known | {NETWORK: NETWORK_CODE}


def _named(ref: TransactionRef | None) -> str | None:
    return None if ref is None else spell_reference(ref)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
