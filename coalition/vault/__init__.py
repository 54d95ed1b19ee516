"""What is known of people, apart from the ledger: sealed under a key per member, which erasure destroys."""

from coalition.vault.blinding import (
    IDENTIFIER_FIELD,
    READABLE,
    blind_request,
    field_of,
    readable,
    stored_forms,
)
from coalition.vault.values import destroy, forget, put, read

__all__ = [
    "IDENTIFIER_FIELD",
    "READABLE",
    "blind_request",
    "destroy",
    "field_of",
    "forget",
    "put",
    "read",
    "readable",
    "stored_forms",
]
