"""What partners publish: where they sell, and who pays for points."""

from datetime import date

from .books import NETWORK
from .programme import Programme, Refusals


def publish_store(
    p: Programme, partner: str, store: int, *, since: date | None, closed: date | None
) -> dict[int, tuple[date | None, date | None]]:
    """Add a store, or change what is known of it. Returns all that the partner has published."""
    no = Refusals()
    no("INVALID_INPUT", when=since is not None and closed is not None and closed < since)
    no.end()
    stores = p.partners[partner].stores
    stores[store] = (since, closed)
    return dict(stores)


def publish_plan(p: Programme, parts: dict[str, int]) -> dict[str, int]:
    """Who pays what part of points. Returns it."""
    no = Refusals()
    no("PARTNER_UNKNOWN", when=not parts.keys() <= {*p.partners, NETWORK})
    whole = sum(parts.values())
    no("FUNDING_PLAN_INVALID", when=whole != 1_000_000, sum=whole)
    no.end()
    p.plans.append(parts)
    return parts
