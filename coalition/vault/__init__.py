"""What is known of people, apart from the ledger: sealed under a key per member, which erasure destroys."""

from coalition.vault.blinding import (
    IDENTIFIER_FIELD,
    READABLE,
    blind_request,
    field_of,
    readable,
    stored_forms,
)
from coalition.vault.values import REASON_FIELD, destroy, forget, put, read, read_some

__all__ = [
    "IDENTIFIER_FIELD",
    "READABLE",
    "REASON_FIELD",
    "blind_request",
    "destroy",
    "field_of",
    "forget",
    "put",
    "read",
    "read_some",
    "readable",
    "stored_forms",
]
