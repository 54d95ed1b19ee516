"""`make bench`: measure, print the table, and keep it in RESULTS.md beside this file.

Every figure stands beside its limit or its peer from the same run; trust the ratios, since machines
are noisy. ARGS="--quick" shows that it runs; its figures are not kept.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import batches
import costs
import expiring
import growth
import night
import postings
from postings import PLAIN_ROW
from stage import machine, stage

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = """# What was measured

By `make bench`. Each part says when, and on what machine; a figure is compared with those of its own part. Server,
database and load share the cores.

"""
_PART: Final = re.compile(r"^<!-- (\S+) -->\n\n(.*?)(?=\n<!-- |\Z)", re.MULTILINE | re.DOTALL)
_BATCHING = 2
"""Connections that post batches, beside one alone."""

_LOTS_EXPIRING = 2

# What was set before it was measured.
_LINES_EXPECTED = 10_000
_SECONDS_OF_AUDIT = 180
_MILLISECONDS_OF_READING = 10


def main() -> None:
    """Run what was asked for; print each part, and keep it, as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=list(PARTS),
        help="measure this part alone, and replace it alone in the table; give it as often as needed",
    )
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=6, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batched", type=int, default=20_000, help="lines in batches, of each connection")
    parser.add_argument("--entries", type=int, default=1_000_000, help="in the night's window")
    parser.add_argument("--expiring", type=int, default=20_000, help="members whose points expire in a night")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the imported file")
    parser.add_argument("--days", type=int, default=30, help="of the replay")
    parser.add_argument("--growth", type=int, default=10_000_000, help="entries the books grow to")
    parser.add_argument("--transactions", type=int, default=100_000, help="of the very large member")
    parser.add_argument("--quick", action="store_true", help="a short look; nothing is kept")
    asked = parser.parse_args()
    if asked.quick:
        asked.seconds, asked.rounds, asked.entries, asked.days = 2, 1, 60_000, 2
        asked.batched, asked.expiring = 5_000, 1_000
        asked.growth, asked.transactions, asked.lines = 100_000, 2_000, 20_000
    for name in asked.only or PARTS:
        part = "\n".join([f"_{datetime.now(UTC).date()}, on {machine()}_", "", *PARTS[name](asked)])
        print(part)
        if not asked.quick:
            RESULTS.write_text(_with_part(RESULTS.read_text(encoding="utf-8"), name, part), encoding="utf-8")


def _with_part(page: str, name: str, part: str) -> str:
    """The page with one part as it was measured now; the others stay as they were."""
    told = dict(_PART.findall(page)) | {name: part}
    return _HEAD + "\n".join(f"<!-- {key} -->\n\n{told[key]}" for key in PARTS if key in told)


def _measure_postings(asked: argparse.Namespace) -> list[str]:
    with stage(connections=asked.connections) as scene, tempfile.TemporaryDirectory() as papers:
        rates = postings.measure(
            scene, connections=asked.connections, seconds=asked.seconds, rounds=asked.rounds
        )
        batched = batches.measure(scene, lines=asked.batched, rounds=asked.rounds, connections=_BATCHING)
        spent = costs.measure(scene, rounds=asked.rounds, seconds=asked.seconds)
        figures = night.measure(scene, entries=asked.entries, rounds=asked.rounds, directory=Path(papers))
    return [
        *_postings(rates, connections=asked.connections, rounds=asked.rounds),
        *_batches(batched, rounds=asked.rounds),
        *_costs(spent),
        *_night(figures),
    ]


def _measure_expiring(asked: argparse.Namespace) -> list[str]:
    with stage(connections=2, members=asked.expiring) as scene, tempfile.TemporaryDirectory() as papers:
        return _expiring(
            expiring.measure(
                scene,
                members=asked.expiring,
                lots_each=_LOTS_EXPIRING,
                calm=asked.seconds,
                directory=Path(papers),
            )
        )


def _measure_import(asked: argparse.Namespace) -> list[str]:
    with stage(connections=_BATCHING) as scene, tempfile.TemporaryDirectory() as folder:
        return _imported(batches.measure_import(scene, lines=asked.lines, folder=Path(folder)))


def _measure_growth(asked: argparse.Namespace) -> list[str]:
    sizes = tuple(10**power for power in range(4, 8) if 10**power <= asked.growth)
    with stage(connections=asked.connections, members=growth.MEMBERS) as scene:
        return _growth(
            growth.measure(
                scene,
                sizes=sizes,
                connections=asked.connections,
                seconds=asked.seconds,
                rounds=asked.rounds,
            )
        )


def _measure_large_member(asked: argparse.Namespace) -> list[str]:
    lots = asked.transactions // 10
    with stage(connections=asked.connections) as scene:
        milliseconds = growth.measure_large_member(
            scene, lots=lots, transactions=asked.transactions, rounds=asked.rounds * 4
        )
    return _large_member(milliseconds, lots=lots, transactions=asked.transactions)


PARTS: Final[dict[str, Callable[[argparse.Namespace], list[str]]]] = {
    "postings": _measure_postings,
    "expiring": _measure_expiring,
    "import": _measure_import,
    "growth": _measure_growth,
    "large-member": _measure_large_member,
    "replay": lambda asked: _replay(asked.days),
}
"""What is measured, each on a stage of its own; what is compared stands in one part."""


def _postings(rates: dict[str, dict[str, float]], *, connections: int, rounds: int) -> list[str]:
    lines = [
        f"## Postings a second ({connections} connections, medians of {rounds} interleaved rounds)",
        "",
        "| posting | pgbench, the kernel function alone | domain function | ratio | HTTP with a token | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind, ways in rates.items():
        limit, domain, http = ways["pgbench"], ways["domain"], ways.get("http")
        over_http = "| |" if http is None else f"{http:,.0f} | {http / limit:.2f} |"
        lines.append(f"| {kind} | {limit:,.0f} | {domain:,.0f} | {domain / limit:.2f} | {over_http}")
    return [*lines, "", "At least 0.7 of pgbench was asked of the domain function, and 0.2 over HTTP.", ""]


def _batches(rates: dict[str, float], *, rounds: int) -> list[str]:
    return [
        f"## Issues in batches of 1,000, lines a second (medians of {rounds} interleaved rounds)",
        "",
        "| connections | batches, by the till's domain function | of what was expected | COPY of the same rows | ratio |",
        "|---:|---:|---:|---:|---:|",
        *(
            f"| {at_once} | {rates[f'batches_{at_once}']:,.0f} | {rates[f'batches_{at_once}'] / _LINES_EXPECTED:.2f}"
            f" | {rates[f'copy_{at_once}']:,.0f} | {rates[f'batches_{at_once}'] / rates[f'copy_{at_once}']:.2f} |"
            for at_once in (1, _BATCHING)
        ),
        "",
        f"At least 0.3 of COPY was asked for; {_LINES_EXPECTED:,} lines a second were expected.",
        "",
    ]


def _imported(figures: dict[str, float]) -> list[str]:
    return [
        f"## `coalition import` of {figures['lines']:,.0f} issues by card",
        "",
        "| what | measured | limit for a million |",
        "|---|---:|---:|",
        f"| seconds from its start to its end | {figures['seconds']:.0f} | 180 |",
        f"| of these, seconds of its own processor time | {figures['of_the_client']:.0f} | |",
        f"| most memory that it held, MiB | {figures['mebibytes']:.0f} | 300 |",
        "",
    ]


def _costs(microseconds: dict[str, float]) -> list[str]:
    whole = microseconds["whole"]
    names = {"whole": "the whole of it", "commit": "commit: the flush, and the way there (one client)"}
    return [
        "## What each part of an issue costs in the database",
        "",
        "| part | microseconds | of the whole |",
        "|---|---:|---:|",
        *(
            f"| {names.get(part, part)} | {spent:,.0f} | {spent / whole:.0%} |"
            for part, spent in microseconds.items()
        ),
        "",
    ]


def _growth(found: list[dict[str, float]]) -> list[str]:
    def beside_the_smallest(at: dict[str, float], kind: str) -> str:
        first = found[0]
        as_the_machine_is = at[PLAIN_ROW] / first[PLAIN_ROW]
        return f"{at[kind]:,.0f} | {at[kind] / first[kind] / as_the_machine_is:.2f}"

    kinds = growth.KINDS
    return [
        "## Growing books (a second, pgbench on the kernel function; the audit without the chain)",
        "",
        "Each ratio is to the smallest books, and to what the machine made of plain rows in the same minutes.",
        f"The limit of the audit at ten million entries: {_SECONDS_OF_AUDIT} s.",
        "",
        f"| entries | members | plain rows | {' | ratio | '.join(kinds)} | ratio | audit, s |",
        f"|{'---:|' * (4 + 2 * len(kinds))}",
        *(
            f"| {at['entries']:,.0f} | {at['members']:,.0f} | {at[PLAIN_ROW]:,.0f} | "
            f"{' | '.join(beside_the_smallest(at, kind) for kind in kinds)} | {at['audit']:.1f} |"
            for at in found
        ),
        "",
    ]


def _large_member(milliseconds: dict[str, float], *, lots: int, transactions: int) -> list[str]:
    rows = {
        "balance": "balance, in the database",
        "history": "first page of 50 of the history, in the database",
        "redeem": "redemption over five lots, call and commit",
    }
    limits = dict.fromkeys(("balance", "history"), _MILLISECONDS_OF_READING)
    return [
        f"## A member with {lots:,} lots and {transactions:,} transactions, beside one with few",
        "",
        "| what | ms | limit | with few | ratio |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {milliseconds[f'large_{what}']:.2f} | {limits.get(what, '')} | {milliseconds[f'small_{what}']:.2f}"
            f" | {milliseconds[f'large_{what}'] / milliseconds[f'small_{what}']:.1f} |"
            for what, name in rows.items()
        ),
        "",
    ]


def _night(figures: dict[str, float]) -> list[str]:
    bare = figures["bare"]
    return [
        f"## The night over {figures['entries']:,.0f} entries",
        "",
        "| what | seconds | beside the bare GROUP BY |",
        "|---|---:|---:|",
        f"| bare GROUP BY over the entries | {bare:.2f} | 1.0 |",
        f"| GROUP BY with the journal joined | {figures['joined']:.2f} | {figures['joined'] / bare:.1f} |",
        f"| the night: close, seal, checks, run, papers | {figures['night']:.2f} | {figures['night'] / bare:.1f} |",
        f"| of it, the longest stall that postings saw | {figures['stall']:.3f} | |",
        "",
    ]


def _expiring(figures: dict[str, float]) -> list[str]:
    return [
        f"## A till in the night in which {figures['lots']:,.0f} lots of {figures['members']:,.0f} members expire",
        "",
        f"The night took {figures['seconds']:.1f} seconds, from its start to its papers; one till went on at these members.",
        "",
        "| its redemptions, milliseconds | in a calm | in the night | ratio |",
        "|---|---:|---:|---:|",
        *(
            f"| {said} | {figures[f'calm_{name}']:.1f} | {figures[f'night_{name}']:.1f}"
            f" | {figures[f'night_{name}'] / figures[f'calm_{name}']:.1f} |"
            for name, said in (("median", "median"), ("p99", "99th percentile"), ("most", "longest"))
        ),
        "",
    ]


def _replay(days: int) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="coalition-bench-") as folder:
        Path(folder).chmod(0o755)
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "coalition", "demo", "--once", "--days", str(days)],
            env={**os.environ, "COALITION_DATA_DIR": f"{folder}/data"},
            check=True,
            stdout=sys.stderr,
        )
        seconds = time.perf_counter() - started
    return [
        f"## The replay of {days} days of real baskets, every posting over the API, every night settled",
        "",
        f"{seconds:.0f} seconds from an empty folder to the last table (the limit that was set for 30 days: 180).",
        "",
    ]


if __name__ == "__main__":
    main()
