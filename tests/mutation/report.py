"""The table of what became of the mutants, and the page that says why each survivor may live."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mutation.mutants import OPERATORS, Mutant, kernel_mutants
from mutation.state import State

REASONS = Path(__file__).with_name("reasons.toml")


def reasons() -> dict[str, str]:
    """Why a mutant may live, by its id."""
    written = tomllib.loads(REASONS.read_text(encoding="utf-8")).get("reason", [])
    return {mutant: entry["why"] for entry in written for mutant in entry["mutants"]}


def show(console: Console, mutants: Sequence[Mutant], state: State, *, everything: bool = False) -> None:
    """A line for each file, then each survivor that has no reason."""
    known = reasons()
    table = Table(
        "file", "function", "mutants", "killed", "endless", "survived", "no reason", "not run", box=None
    )
    for (file, function), fates in _counted(mutants, state, known).items():
        table.add_row(
            file,
            function,
            *(
                str(fates[column])
                for column in ("mutants", "killed", "timeout", "survived", "unexplained", "not run")
            ),
        )
    console.print(table)
    stale = sorted(known.keys() - {mutant.id for mutant in kernel_mutants()})
    if stale:
        console.print(f"Reasons for mutants that there are no more: {', '.join(stale)}")
    for mutant in mutants:
        outcome = state.outcome(mutant)
        fate = outcome.fate if outcome else "not run"
        if everything or (fate == "survived" and mutant.id not in known):
            console.print(
                f"{mutant.id} {mutant.file}:{mutant.line} {mutant.function} [{fate}] {mutant.operator}: {mutant.change}\n"
                f"           {mutant.text}",
                markup=False,
                soft_wrap=True,
            )


def page(mutants: Sequence[Mutant], state: State) -> str:
    """The report, in Markdown."""
    known = reasons()
    lines = [_INTRODUCTION.format(operators="\n".join(f"| {k} | {v} |" for k, v in OPERATORS.items()))]
    lines += [
        "## What became of them",
        "",
        "Where fewer were run than there are, the rest has not been looked at, or its function has changed since.",
        "Survivors were asked as many tests as their lines say, the likeliest first, and not always all that call",
        "their function (`--most`): of one with a reason, the reason says why the others would not see it either.",
        "",
        "| file | mutants | run | killed | endless, so killed | survived, with a reason | survived, without |",
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    per_file: dict[str, Counter[str]] = {}
    for (file, _), fates in _counted(mutants, state, known).items():
        per_file.setdefault(file, Counter()).update(fates)
        total.update(fates)
    for name, fates in [*per_file.items(), ("all", total)]:
        run = fates["mutants"] - fates["not run"]
        explained = fates["survived"] - fates["unexplained"]
        cells = (
            name,
            fates["mutants"],
            run,
            fates["killed"],
            fates["timeout"],
            explained,
            fates["unexplained"],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    survivors = [m for m in mutants if (outcome := state.outcome(m)) and outcome.fate == "survived"]
    lines += ["", "## Survivors, and why they may live", ""]
    by_reason: dict[str, list[Mutant]] = {}
    for mutant in survivors:
        by_reason.setdefault(known.get(mutant.id, ""), []).append(mutant)
    without = by_reason.pop("", [])
    for why, explained_by in by_reason.items():
        lines += [f"**{why}**", "", *(_item(mutant, state) for mutant in explained_by), ""]
    if without:
        lines += ["## Survivors for which neither a test nor a reason was written yet", ""]
        lines += [*(_item(mutant, state) for mutant in without), ""]
    return "\n".join(lines).rstrip() + "\n"


def _item(mutant: Mutant, state: State) -> str:
    outcome = state.outcome(mutant)
    return (
        f"- `{mutant.id}` {mutant.file}, `{mutant.function}`, {mutant.operator}: `{_short(mutant.change)}`"
        f" in `{_short(mutant.text)}` (survived {outcome.ran if outcome else 0} tests)"
    )


def _short(text: str) -> str:
    return text if len(text) <= 110 else f"{text[:107]}…"


def _counted(
    mutants: Sequence[Mutant], state: State, known: dict[str, str]
) -> dict[tuple[str, str], Counter[str]]:
    counted: dict[tuple[str, str], Counter[str]] = {}
    for mutant in mutants:
        outcome = state.outcome(mutant)
        fate = outcome.fate if outcome else "not run"
        if fate == "invalid":
            continue
        fates = counted.setdefault((mutant.file, mutant.function), Counter())
        fates["mutants"] += 1
        fates[fate] += 1
        if fate == "survived" and mutant.id not in known:
            fates["unexplained"] += 1
    return counted


_INTRODUCTION = """\
# Mutation testing of the kernel

`make mutants` changes the kernel's SQL one small thing at a time, installs the changed function in a running
database, and runs the tests that call it until one fails. A mutant that no test notices is a test that is
missing, or a place where the change makes no difference; then the reason stands below, and in
`tests/mutation/reasons.toml`, from which it comes.

    make mutants ARGS="--file 06_redeem"              # judge a file's mutants; what is known is not judged again
    make mutants ARGS="--file 06_redeem --again"      # its survivors once more, with the tests as they are now
    make mutants ARGS="--sample 200 --seed 7"
    make mutants ARGS="--report docs/mutation.md"     # write this page from what is known

| operator | changes |
|---|---|
{operators}

Bodies of functions only: what a function is granted, and that it is SECURITY DEFINER, the catalogue test knows.
Text literals are left as they are. What PostgreSQL cannot parse is not counted. The tests are the
deterministic ones of `tests/mutation/suite.py`, those that call the function and no others; the races are asked
about locks alone, the stateful model not at all. A test kills a mutant only if it passes again without it.
Each survivor says how many tests it survived: fewer than call its function where `--most` spared the others.
"""
