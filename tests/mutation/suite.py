"""Which tests are tried on a mutant, and in which order."""

from collections import Counter
from functools import cache

from mutation.likeness import most_alike
from mutation.mutants import Mutant, calls_within, kernel_mutants
from mutation.state import State
from mutation.worker import Ground

# Deterministic, quick, and all that the kernel does. Not the catalogue, which knows each function by its digest
# and would kill every mutant by that, nor the one that counts rows looked at, which needs a fresh database.
TESTS = (
    "tests/coalition/ledger/test_written_down.py",
    "tests/coalition/ledger/test_every_posting.py",
    "tests/coalition/ledger/test_programme.py",
    "tests/coalition/ledger/test_claims.py",
    "tests/coalition/ledger/test_coming_due.py",
    "tests/coalition/ledger/test_kept_alive.py",
    "tests/coalition/ledger/test_who_acts.py",
    "tests/coalition/ledger/test_issuing.py",
    "tests/coalition/ledger/test_redeeming.py",
    "tests/coalition/ledger/test_reversing.py",
    "tests/coalition/ledger/test_reversing_in_parts.py",
    "tests/coalition/ledger/test_revisions.py",
    "tests/coalition/ledger/test_holding.py",
    "tests/coalition/ledger/test_holds_to_their_ends.py",
    "tests/coalition/ledger/test_vouchers.py",
    "tests/coalition/ledger/test_changing_hands.py",
    "tests/coalition/ledger/test_merging.py",
    "tests/coalition/ledger/test_transferring.py",
    "tests/coalition/ledger/test_what_is_handed_over.py",
    "tests/coalition/ledger/test_reversing_merged.py",
    "tests/coalition/ledger/test_pooling.py",
    "tests/coalition/ledger/test_pool_shares.py",
    "tests/coalition/ledger/test_pool_places.py",
    "tests/coalition/ledger/test_pools_at_once.py",
    "tests/coalition/ledger/test_limits.py",
    "tests/coalition/ledger/test_orders_and_keys.py",
    "tests/coalition/ledger/test_hostile.py",
    "tests/coalition/ledger/test_members.py",
    "tests/coalition/ledger/test_blocking.py",
    "tests/coalition/ledger/test_adjusting.py",
    "tests/coalition/ledger/test_reviewing.py",
    "tests/coalition/ledger/test_waiting.py",
    "tests/coalition/ledger/test_identifiers.py",
    "tests/coalition/ledger/test_batches.py",
    "tests/coalition/ledger/test_order_of_locks.py",
    "tests/coalition/ledger/test_tree.py",
    "tests/coalition/test_proving.py",
    "tests/coalition/vault/test_erasing.py",
    "tests/coalition/vault/test_erased_givers.py",
    "tests/coalition/vault/test_respelling.py",
    "tests/partners/test_expiry.py",
    "tests/partners/test_earning.py",
)

# Where a file's own tests are, to be asked before others that call it by the way.
NEAR = {
    "02": ("test_programme", "test_night", "test_waiting"),
    "03": ("test_revisions", "receipt"),
    "04": (
        "test_claims",
        "test_who_acts",
        "test_coming_due",
        "test_kept_alive",
        "test_orders_and_keys",
        "test_every_posting",
    ),
    "05": ("test_issuing", "test_every_posting", "erased", "test_kept_alive"),
    "06": ("test_redeeming", "test_every_posting", "erased", "refusals_of_a_pool"),
    "08": ("test_members", "block", "test_identifiers", "respelling", "erased", "nobody_joins"),
    "07": ("test_reversing", "test_claims", "reverse"),
    "10": ("test_holding", "test_holds_to", "authorize", "capture", "void"),
    "11": ("test_tree", "test_proving", "test_proof", "as_batches_leave"),
    "13": ("transfer", "changing_hands", "handed_over", "test_order_of_locks", "test_waiting"),
    "14": ("test_merging", "changing_hands", "merge", "handed_over"),
    "15": ("adjust",),
    "16": ("pool",),
    "17": ("pool",),
    "18": ("limits",),
    "19": ("review",),
    "20": ("refusals",),
    "21": ("voucher",),
    "22": ("erasing",),
    "23": ("identifiers",),
    "24": ("batches", "test_order_of_locks"),
}

# Asked after those.
WIDER = (
    "tests/partners/test_agreements.py",
    "tests/partners/test_directory.py",
    "tests/partners/test_operations.py",
    "tests/partners/test_refusals.py",
    "tests/partners/test_till.py",
    "tests/schema/test_changing_hands_api.py",
    "tests/schema/test_guards_api.py",
    "tests/schema/test_holds_api.py",
    "tests/schema/test_merges_api.py",
    "tests/schema/test_operator_api.py",
    "tests/schema/test_points_api.py",
    "tests/schema/test_pools_api.py",
    "tests/schema/test_proof_api.py",
    "tests/schema/test_vouchers_api.py",
    "tests/settlement/test_night.py",
    "tests/settlement/test_reads.py",
    "tests/settlement/test_worked_day.py",
)

# What sees that a lock is gone. They race, so they are asked about locks alone.
RACES = ("tests/concurrency/test_one_member.py", "tests/concurrency/test_pools.py")


def order(mutant: Mutant, ground: Ground, state: State) -> list[str]:
    """The tests that call the mutant's function: first those that killed others of it, then its own, then the quickest.

    What PostgreSQL inlines is not seen to be called: a function in SQL is asked of who calls its callers, too; and
    where no test is seen to call it by any of them, all are asked.
    """
    asked = [name for name in ground.seconds if mutant.operator == "lock" or not name.startswith(RACES)]
    called = {mutant.function}
    if "LANGUAGE sql" in mutant.original:
        called |= {caller for caller, within in calls_within().items() if mutant.function in within}
    calling = [name for name in asked if not called.isdisjoint(ground.calls[name])] or asked
    kills, kills_of_file = _kills(mutant.function, "", state), _kills("", mutant.file, state)
    near = (
        ("goes_on_from", "test_waiting", "test_order_of_locks", "at_once", *RACES)
        if mutant.operator == "lock"
        else NEAR.get(mutant.file[:2], ())
    )
    ordered = sorted(
        calling,
        key=lambda name: (
            -kills[name],
            "written_down" not in name,
            not any(word in name for word in near),
            name.startswith(WIDER),
            -kills_of_file[name],
            ground.seconds[name],
        ),
    )
    # Not all the cases of one test before the first of the next.
    seen: Counter[str] = Counter()
    place: dict[str, int] = {}
    for name in ordered:
        test = name.partition("[")[0]
        seen[test] += 1
        place[name] = 0 if kills[name] else seen[test]
    ordered.sort(key=lambda name: (place[name] > 0 and not any(word in name for word in near), place[name]))
    alike = most_alike(mutant, calling)
    return list(dict.fromkeys(name for both in zip(ordered, alike, strict=True) for name in both))


def _kills(function: str, file: str, state: State) -> Counter[str]:
    """How many mutants of a function or a file each test has killed."""
    outcomes = (state.outcome(mutant) for mutant in _of(function, file))
    return Counter(outcome.test for outcome in outcomes if outcome and outcome.test)


@cache
def _of(function: str, file: str) -> list[Mutant]:
    return [
        mutant
        for mutant in kernel_mutants()
        if function in {"", mutant.function} and file in {"", mutant.file}
    ]
