"""Names of things: what each UUID means, so that a type checker keeps them apart."""

from __future__ import annotations

from typing import Final, NewType
from uuid import UUID

MemberId = NewType("MemberId", UUID)
PartyId = NewType("PartyId", UUID)
"""A partner, or the network itself."""
PartnerId = NewType("PartnerId", PartyId)
AgreementId = NewType("AgreementId", UUID)
FundingPlanId = NewType("FundingPlanId", UUID)
LotId = NewType("LotId", UUID)
TransactionId = NewType("TransactionId", UUID)

NETWORK: Final = PartyId(UUID(int=0))
"""The central counterparty: the nil UUID (RFC 9562, section 5.9), so that no partner can be given it."""
