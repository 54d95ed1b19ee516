"""What a request has read: each thing once, and things that are wanted together in one statement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

from coalition import history, holding, members, pooling, reasons
from coalition.ids import AgreementId, FundingPlanId, MemberId, PartnerId, PartyId
from coalition.ledger import Balance, TransactionRef
from coalition.paging import Page, PageRequest, page_of
from partners import agreements, directory, funding, on_behalf, stores
from settlement import forecast

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

K = TypeVar("K")
V = TypeVar("V")


class Batch(Generic[K, V]):
    """Announced keys are read together when the first of them is asked for."""

    def __init__(self, read: Callable[[list[K]], Mapping[K, V]]) -> None:
        self._read = read
        self._wanted: dict[K, None] = {}
        self._found: dict[K, V | None] = {}

    def want(self, keys: Iterable[K]) -> None:
        """Announce what may be asked for."""
        self._wanted.update(dict.fromkeys(keys))

    def get(self, key: K) -> V | None:
        """What the key names, or None."""
        if key not in self._found:
            self._wanted[key] = None
            wanted = [one for one in self._wanted if one not in self._found]
            self._wanted.clear()
            found = self._read(wanted)
            self._found.update((one, found.get(one)) for one in wanted)
        return self._found[key]

    def put(self, key: K, value: V) -> None:
        """Remember what was read elsewhere."""
        self._found[key] = value


class Loaded:
    """One request's memory, by kind of thing."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self.partners: Batch[PartyId, directory.Partner] = Batch(lambda ids: self._partners(session(), ids))
        self.agreements: Batch[AgreementId, agreements.Agreement] = Batch(
            lambda ids: agreements.get_agreements(session(), ids)
        )
        self.terms: Batch[PartnerId, list[agreements.Agreement]] = Batch(
            lambda ids: agreements.agreements_of(session(), ids)
        )
        self.stores: Batch[tuple[PartnerId, PageRequest], Page[stores.Store]] = Batch(
            lambda asked: {one: _stores_page(session(), *one) for one in asked}
        )
        self.forecasts: Batch[PartnerId | None, list[forecast.Forecast]] = Batch(
            lambda issuers: {
                one: forecast.expiry_forecast(session(), months=forecast.MOST_MONTHS, issuer_id=one)
                for one in issuers
            }
        )
        self.plans: Batch[FundingPlanId, funding.FundingPlan] = Batch(
            lambda ids: funding.get_funding_plans(session(), ids)
        )
        self.balances: Batch[MemberId, Balance] = Batch(lambda ids: members.get_balances(session(), ids))
        self.transactions: Batch[TransactionRef, history.Transaction] = Batch(
            lambda refs: history.get_transactions(session(), refs)
        )
        self.entries: Batch[TransactionRef, list[history.Entry]] = Batch(
            lambda refs: history.entries_of(session(), refs)
        )
        self.pools: Batch[UUID, pooling.Pool] = Batch(lambda ids: pooling.get_pools(session(), ids))
        self.pools_of: Batch[MemberId, UUID] = Batch(lambda ids: pooling.pools_of(session(), ids))
        self.holds: Batch[TransactionRef, holding.Hold] = Batch(
            lambda refs: holding.get_holds(session(), refs)
        )
        self.words: Batch[tuple[MemberId, str], str] = Batch(lambda named: reasons.words_of(session(), named))
        self.operators: Batch[TransactionRef, str] = Batch(
            lambda refs: on_behalf.who_did(session(), filter(None, map(self.transactions.get, refs)))
        )
        self.reversals: Batch[TransactionRef, list[history.Reversal]] = Batch(
            lambda refs: history.reversals_of(session(), refs)
        )

    def remember(self, transactions: Iterable[history.Transaction]) -> None:
        """A page of transactions: announce all that may be asked about them."""
        for transaction in transactions:
            self.transactions.put(transaction.ref, transaction)
            self.entries.want([transaction.ref])
            self.reversals.want([transaction.ref])
            self.operators.want([transaction.ref])
            self.balances.want([transaction.ref.member_id])
            self.partners.want([transaction.partner_id])
            if transaction.words is not None:
                self.words.want([(transaction.ref.member_id, transaction.words)])

    def _partners(self, session: Session, ids: Collection[PartyId]) -> dict[PartyId, directory.Partner]:
        found = directory.get_partners(session, ids)
        self.terms.want(one.partner_id for one in found.values())
        return found


def _stores_page(session: Session, partner_id: PartnerId, asked: PageRequest) -> Page[stores.Store]:
    return page_of(
        asked,
        lambda limit: stores.list_stores(
            session,
            partner_id,
            limit=limit,
            after=asked.after[0] if asked.after else None,
            before=asked.before[0] if asked.before else None,
            backwards=asked.backwards,
        ),
    )
