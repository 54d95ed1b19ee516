"""Which tests are tried on a mutant, and in which order."""

from collections import Counter
from functools import cache

from mutation.mutants import Mutant, kernel_mutants
from mutation.state import State
from mutation.worker import Ground

# Deterministic, quick, and all that the kernel does. Not the catalogue, which knows each function by its digest
# and would kill every mutant by that.
TESTS = (
    "tests/coalition/ledger/test_issuing.py",
    "tests/coalition/ledger/test_redeeming.py",
    "tests/coalition/ledger/test_reversing.py",
    "tests/coalition/ledger/test_holding.py",
    "tests/coalition/ledger/test_vouchers.py",
    "tests/coalition/ledger/test_changing_hands.py",
    "tests/coalition/ledger/test_pooling.py",
    "tests/coalition/ledger/test_limits.py",
    "tests/coalition/ledger/test_orders_and_keys.py",
    "tests/coalition/ledger/test_hostile.py",
    "tests/coalition/ledger/test_large_member.py",
    "tests/partners/test_earning.py",
    "tests/partners/test_expiry.py",
)

# What sees that a lock is gone. They race, so they are asked about locks alone.
RACES = ("tests/concurrency/test_one_member.py", "tests/concurrency/test_pools.py")


def order(mutant: Mutant, ground: Ground, state: State) -> list[str]:
    """The tests that call the mutant's function: those first that killed others of it, then the quickest.

    A function that no test is seen to call is one that PostgreSQL inlines: then all of them.
    """
    asked = [name for name in ground.seconds if mutant.operator == "lock" or not name.startswith(RACES)]
    calling = [name for name in asked if mutant.function in ground.calls[name]] or asked
    kills: Counter[str] = Counter()
    for other in _of_function(mutant.function):
        outcome = state.outcome(other)
        if outcome and outcome.test:
            kills[outcome.test] += 1
    return sorted(calling, key=lambda name: (-kills[name], ground.seconds[name]))


@cache
def _of_function(function: str) -> list[Mutant]:
    return [mutant for mutant in kernel_mutants() if mutant.function == function]
