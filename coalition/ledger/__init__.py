"""The kernel: the SQL functions that alone write the ledger, and the typed door over them."""

from coalition.ledger.kernel import FUNCTIONS_FOR_THE_APPLICATION, kernel_sql
from coalition.ledger.posting import Balance, Posting, TransactionRef, call, fingerprint

__all__ = [
    "FUNCTIONS_FOR_THE_APPLICATION",
    "Balance",
    "Posting",
    "TransactionRef",
    "call",
    "fingerprint",
    "kernel_sql",
]
