"""What is known of people, apart from the ledger: sealed under a key per member, which erasure destroys."""

from coalition.vault.blinding import (
    IDENTIFIER_FIELD,
    READABLE,
    BlindRequest,
    Spelling,
    blind_request,
    identifier_field,
    readable,
    spellings,
)
from coalition.vault.values import REASON_FIELD, check_keys, destroy, forget, put, read, read_some

__all__ = [
    "IDENTIFIER_FIELD",
    "READABLE",
    "REASON_FIELD",
    "BlindRequest",
    "Spelling",
    "blind_request",
    "check_keys",
    "destroy",
    "forget",
    "identifier_field",
    "put",
    "read",
    "read_some",
    "readable",
    "spellings",
]
