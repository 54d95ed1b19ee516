"""A transaction in plain words: which rule gave what, when it expires, and who funded it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from coalition.ids import NETWORK, PartyId
from partners.terms import last_date, local_date

if TYPE_CHECKING:
    from coalition.history import Entry, Transaction
    from partners.agreements import Agreement
    from schema.loading import Loaded
    from schema.viewer import Viewer

_ROUNDED = {"down": "rounded down", "half_even": "rounded to the nearest, half to even", "up": "rounded up"}

# Kinds of which there is nothing more to tell than how many points it moved.
_PLAIN = {
    "authorize": "{points} {were} set aside, those that expire soonest first.",
    "void": "{points} {were} let go again.",
    "lapse": "{points} {were} set aside and not taken in time.",
    "mature": "{points} became spendable: the return period had passed.",
    "expire": "{points} expired unspent.",
    "transfer_out": "{points} {were} given to another member.",
    "transfer_in": "{points} came from another member, with their issuer and expiry.",
    "merge_out": "{points} went along as this record was merged into another.",
    "merge_in": "{points} came along as another record was merged into this one.",
    "unmerge_out": "{points} went back as a merge was undone.",
    "unmerge_in": "{points} came back as a merge was undone.",
    "pool_out": "{points} {were} spent by another of the household pool.",
    "pool_in": "{points} came from others of the household pool, to be spent at once.",
    "unpool_out": "{points} went back to the others of the household pool.",
    "unpool_in": "{points} came back: another of the household pool did not spend them after all.",
    "adjust_in": "The operator gave {points}: {reason}.",
    "adjust_out": "The operator took {points}: {reason}.",
}


def explain(
    transaction: Transaction, loaded: Loaded, viewer: Viewer, *, zone: ZoneInfo, currency: str
) -> str:
    """Sentences that the viewer may read; what it may not see is not mentioned."""
    entries = loaded.entries.get(transaction.ref) or []
    seen = [entry for entry in entries if entry.issuer_id is not None and viewer.owns(entry.issuer_id)]
    loaded.agreements.want(entry.agreement_id for entry in seen if entry.agreement_id)
    loaded.plans.want(entry.funding_plan_id for entry in seen if entry.funding_plan_id)
    match transaction.kind:
        case "issue":
            said = _issue(transaction, seen, loaded, viewer, zone=zone, currency=currency)
        case "redeem" | "recovery" | "capture":
            said = _spent(transaction, seen, loaded, viewer, zone)
        case "reverse_issue" | "reverse_redemption":
            said = _reversed(transaction, entries)
        case plain:
            said = [
                _PLAIN[plain].format(
                    points=_counted(transaction.points), were=_were(transaction), reason=transaction.reason
                )
            ]
    return " ".join(said)


def _issue(
    transaction: Transaction,
    entries: list[Entry],
    loaded: Loaded,
    viewer: Viewer,
    *,
    zone: ZoneInfo,
    currency: str,
) -> list[str]:
    # Without an entry nothing was earned, and the terms are those under which it was posted.
    agreement_id = entries[0].agreement_id if entries else transaction.agreement_id
    terms = loaded.agreements.get(agreement_id) if agreement_id else None
    said = [_given(transaction, terms, currency)]
    if entries:
        lot = entries[0]
        if lot.matures_at is not None:
            said.append(f"They can be spent from {local_date(lot.matures_at, zone)}.")
        said.append(_lapse(lot.expires_at, zone))
        if terms is not None and terms.expiry.activity is not None:
            said.append(f"That is {terms.expiry.in_words()}.")
        said.append(_funded(lot, loaded, viewer))
    return said


def _given(transaction: Transaction, terms: Agreement | None, currency: str) -> str:
    given = f"{_counted(transaction.points)} {'was' if transaction.points == 1 else 'were'} given"
    if transaction.amount is None:
        return f"{given} as points."
    rule = terms.earn_rule if terms else None
    spent = f"{transaction.amount.normalize():f} {currency}"
    if rule is None or terms is None:
        return f"{given} for {spent} spent."
    return (
        f"{given} for {spent} spent: {rule.points.normalize():f}"
        f" {'point' if rule.points == 1 else 'points'} for each"
        f" {rule.amount.normalize():f} {currency}, {_ROUNDED[rule.rounding]}"
        f" (agreement version {terms.version}, from {terms.valid_from.isoformat()})."
    )


def _spent(
    transaction: Transaction, seen: list[Entry], loaded: Loaded, viewer: Viewer, zone: ZoneInfo
) -> list[str]:
    how = {
        "recovery": "paid off what the member owed",
        "capture": f"{_were(transaction)} taken of those set aside",
    }
    done = how.get(transaction.kind, f"{_were(transaction)} spent")
    said = [f"{_counted(transaction.points)} {done}, those that expire soonest first."]
    for entry in seen:
        if entry.bucket == "burned":
            issuer = _name(entry.issuer_id, loaded)
            said.append(f"{_counted(entry.points)} came from {issuer}. {_funded(entry, loaded, viewer)}")
            if entry.expires_at is not None:
                said[-1] += f" {_lapse(entry.expires_at, zone, past='would have expired')}"
    return said


def _reversed(transaction: Transaction, entries: list[Entry]) -> list[str]:
    what = "issue" if transaction.kind == "reverse_issue" else "redemption"
    said = [f"An {what} was undone: {_counted(transaction.points)} moved back."]
    if what == "redemption":
        said[0] = (
            f"A {what} was undone: {_counted(transaction.points)} moved back to the lots they came from."
        )
    elif transaction.undone_points and transaction.undone_points > transaction.points:
        said[0] = (
            f"{_counted(transaction.undone_points)} of an {what} were undone:"
            f" {_counted(transaction.points)} moved back."
        )
    # The claim is the acting partner's own: it may know of it.
    owed = sum(entry.points for entry in entries if entry.bucket == "reversed" and entry.lot_id is None)
    if owed > 0:
        said.append(f"{_counted(owed)} had been spent already and {'is' if owed == 1 else 'are'} owed.")
    return said


def _funded(entry: Entry, loaded: Loaded, viewer: Viewer) -> str:
    if entry.funding_plan_id is None:
        return f"{_name(entry.issuer_id, loaded)} funds them alone."
    plan = loaded.plans.get(entry.funding_plan_id)
    if plan is None:
        return "A funding plan pays for them."
    loaded.partners.want(plan.parts)
    unknown = {
        party: ppm
        for party, ppm in plan.parts.items()
        if party != NETWORK and not viewer.may_know_partner(party)
    }
    shares = [
        f"{_name(party, loaded)} {ppm / 10_000:g} %"
        for party, ppm in plan.parts.items()
        if party not in unknown
    ]
    if unknown:
        others = "another partner" if len(unknown) == 1 else "other partners"
        shares.append(f"{others} {sum(unknown.values()) / 10_000:g} %")
    return f"They are funded by plan {plan.code}: {_listed(shares)}."


def _lapse(expires_at: dt.datetime | None, zone: ZoneInfo, *, past: str = "expire") -> str:
    if expires_at is None:
        return "They never expire."
    ends = expires_at.astimezone(zone)
    if ends.time() != dt.time.min:
        # What came back to an expired lot lives so many times 24 hours, and ends within a day.
        return f"They {past} on {ends.date()} at {ends:%H:%M}."
    # They lapse at the first moment of a day; people count the day before it as the last.
    return f"They {past} at the end of {last_date(expires_at, zone)}."


def _name(party: PartyId | None, loaded: Loaded) -> str:
    if party is None or party == NETWORK:
        return "the network"
    partner = loaded.partners.get(party)
    return partner.name if partner else "a partner"


def _were(transaction: Transaction) -> str:
    return "was" if transaction.points == 1 else "were"


def _counted(points: int) -> str:
    return "1 point" if points == 1 else f"{points} points"


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items)
