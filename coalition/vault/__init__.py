"""What is known of people, apart from the ledger: sealed under a key per member, which erasure destroys."""

from coalition.vault.blinding import READABLE, blind_request, stored_forms
from coalition.vault.values import destroy, forget, put, read

__all__ = ["READABLE", "blind_request", "destroy", "forget", "put", "read", "stored_forms"]
