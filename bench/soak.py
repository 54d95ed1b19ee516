"""Load a small coalition with what its API does to members, kill what serves it, and prove the books after.

Three partners' tills, the members' app and the operator ask over HTTP with tokens of their own: issues,
redemptions (some with the member's confirmation), batches (some of them all or nothing), holds, partial
reversals, transfers, pools that are left and closed, vouchers, adjustments, merges, phones that are linked and
unlinked, cards that are blocked and replaced, wishes that an operator looks at first, people who join and are
erased. Not asked: profiles, adjustments that want a second person, and what the operator does of partners,
terms, funding plans, clients, limits and stores. Meanwhile `kill -9` hits the server, the database and the
night, at times that the seed decides; the clock moves on by days, and each window is settled. Who gets no
answer asks again under the same key.

In the end everybody sees his last wish through, and three things must hold:
  1. what was acknowledged is there, once, as it was told; what was refused is not there, nor anything else;
  2. asked again, it is a replay with the same answer;
  3. `coalition audit --chain` has no finding, and no run of settlement is held.

It works on a fresh embedded database in a folder of its own, which it clears away unless there are findings.

Examples:
  make soak ARGS="--minutes 5"            what to run before a release; an hour is better
  make soak ARGS="--seed 7"               the same choices as another run that printed this seed
  make soak ARGS="--only merges,pools"    these, and the issues that give them points
  make soak ARGS="--calm"                 no kills: is it the load or the kill?

exit codes: 0 all holds, 1 there are findings (printed, and the folder with the books is kept), 2 bad usage.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from soaking.chaos import Chaos
from soaking.coalition import set_up
from soaking.load import Log
from soaking.wishes import FAMILIES

from coalition.config import Settings

_SHOWN = 100  # findings that are printed


def main() -> int:
    """Do as the command line says; the exit code."""
    asked = _arguments()
    families = frozenset(asked.only) | {"points"}
    folder = Path(tempfile.mkdtemp(prefix="coalition-soak-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user where this runs as root
    settings = Settings(data_dir=folder / "data")
    print(f"seed {asked.seed}, {asked.minutes:g} minutes, {', '.join(sorted(families))}; books in {folder}")
    log = Log()
    found: list[str] = []
    try:
        chaos = Chaos(
            settings,
            set_up(settings),
            log,
            chance=random.Random(asked.seed),
            families=families,
            every=None if asked.calm else asked.every,
            started=time.monotonic(),
        )
        found = chaos.run(seconds=asked.minutes * 60)
    except BaseException:
        print(f"It did not come to its end; what there is of the books is in {folder}", file=sys.stderr)
        raise
    _report(log, chaos)
    for finding in found[:_SHOWN]:
        print(f"FINDING {finding}")
    if len(found) > _SHOWN:
        print(f"and {len(found) - _SHOWN} more")
    if found:
        print(f"{len(found)} findings with seed {asked.seed}; the books are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    print("Nothing was lost, nothing was done twice, and the audit is clean.")
    return 0


def _report(log: Log, chaos: Chaos) -> None:
    print()
    for mutation, count in sorted(log.granted().items()):
        print(f"  {mutation:22} {count:7,} acknowledged")
    codes = sorted(set(log.refused.values()))
    print(f"  {'refused':22} {len(log.refused):7,} {', '.join(codes)}")
    print(f"  {'asked again':22} {log.asked_again:7,}")
    print("  " + ", ".join(f"{what} {count}" for what, count in sorted(chaos.done.items())))


def _families(given: str) -> list[str]:
    wanted = [one.strip() for one in given.split(",")]
    if unknown := set(wanted) - set(FAMILIES):
        raise argparse.ArgumentTypeError(
            f"there is no {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}"
        )
    return wanted


def _above_zero(given: str) -> float:
    number = float(given)
    if not number > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/soak.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=_above_zero, default=2, help="how long the load lasts (2)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of all choices (any)"
    )
    parser.add_argument(
        "--only",
        type=_families,
        default=list(FAMILIES),
        metavar="KINDS",
        help=f"kinds of wishes, with commas between: {', '.join(FAMILIES)} (all)",
    )
    parser.add_argument(
        "--every",
        type=_above_zero,
        default=6,
        metavar="SECONDS",
        help="between two kills or nights, about (6)",
    )
    parser.add_argument("--calm", action="store_true", help="kill nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
