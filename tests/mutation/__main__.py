"""`make mutants`: change the kernel one small thing at a time and see whether a test notices.

What was judged before is not judged again unless its function changed; --again judges survivors anew, with the
tests as they are now.
"""

import random
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mutation import report
from mutation.mutants import Mutant, kernel_mutants
from mutation.state import CHECKOUT, State, known_ground, remember_ground
from mutation.suite import RACES, TESTS, WIDER, order
from mutation.worker import Ground, Outcome, Task, work

SECONDS_BETWEEN_SAVES = 5

console = Console(highlight=False)


@click.command(help=__doc__)
@click.option("--file", "files", multiple=True, help="Only files of this name, or that begin so: 06_redeem.")
@click.option("--function", "functions", multiple=True, help="Only this function.")
@click.option("--line", "lines", multiple=True, type=int, help="Only this line of the file.")
@click.option("--mutant", "ids", multiple=True, help="Only this mutant, by its id.")
@click.option("--sample", type=int, help="So many of them, chosen by the seed.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--again", is_flag=True, help="Judge survivors again.")
@click.option("--anew", is_flag=True, help="Judge all of them again.")
@click.option(
    "--most", type=int, help="Ask at most so many tests of each; who survives them waits for --again."
)
@click.option("--workers", type=int, default=4, show_default=True)
@click.option("--list", "only_list", is_flag=True, help="List the mutants and what is known of them.")
@click.option(
    "--report", "to", type=click.Path(path_type=Path), help="Write the report there: docs/mutation.md."
)
@click.option("--test", "paths", multiple=True, help="Other tests than the usual.")
def main(  # noqa: PLR0917  (click passes them by name)
    files: tuple[str, ...],
    functions: tuple[str, ...],
    lines: tuple[int, ...],
    ids: tuple[str, ...],
    sample: int | None,
    seed: int,
    again: bool,
    anew: bool,
    most: int | None,
    workers: int,
    only_list: bool,
    to: Path | None,
    paths: tuple[str, ...],
) -> None:
    chosen = [
        mutant
        for mutant in kernel_mutants()
        if (not files or mutant.file.startswith(files))
        and (not functions or mutant.function in functions)
        and (not lines or mutant.line in lines)
        and (not ids or mutant.id in ids)
    ]
    # In the order in which the files were asked for.
    chosen.sort(key=lambda mutant: [not mutant.file.startswith(file) for file in files])
    if sample is not None and sample < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, sample), key=lambda m: (m.file, m.line))
    state = State()
    if to is not None:
        to.write_text(report.page(kernel_mutants(), state), encoding="utf-8")
        return
    if not only_list:
        stale = [mutant for mutant in chosen if _is_open(state.outcome(mutant), again=again, anew=anew)]
        if stale:
            _judge(stale, state, list(paths or TESTS + WIDER + RACES), workers, most)
    report.show(console, chosen, state, everything=only_list)


def _is_open(outcome: Outcome | None, *, again: bool, anew: bool) -> bool:
    return anew or outcome is None or (again and outcome.fate == "survived")


def _judge(mutants: list[Mutant], state: State, paths: list[str], workers: int, most: int | None) -> None:
    crew = [_Worker(paths) for _ in range(min(workers, len(mutants)))]
    ground = _ground(crew, paths)
    for name, said in ground.failing.items():
        console.print(
            f"Not asked, since it fails with nothing changed: {name}\n  {said[-300:]}", markup=False
        )
    waiting = list(mutants)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    fates = {"killed": 0, "survived": 0, "timeout": 0, "invalid": 0}
    busy: dict[Connection, tuple[_Worker, Mutant]] = {}
    idle = list(crew)
    saved = time.monotonic()
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("mutants", total=len(mutants))
            while waiting or busy:
                while waiting and idle:
                    worker, mutant = idle.pop(), waiting.pop(0)
                    tests = order(mutant, ground, state)[:most]
                    worker.channel.send(
                        Task(id=mutant.id, sql=mutant.sql, original=mutant.original, tests=tests)
                    )
                    busy[worker.channel] = worker, mutant
                for channel in wait(list(busy)):
                    assert isinstance(channel, Connection)
                    worker, mutant = busy.pop(channel)
                    outcome = channel.recv()
                    if not isinstance(outcome, Outcome):
                        sys.exit(str(outcome))
                    idle.append(worker)
                    state.remember(mutant, outcome)
                    fates[outcome.fate] += 1
                    told = ", ".join(f"{count} {fate}" for fate, count in fates.items() if count)
                    progress.update(bar, advance=1, description=told)
                    if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                        state.save()
                        saved = time.monotonic()
    finally:
        state.save()
        for worker in crew:
            worker.end()


def _ground(crew: list["_Worker"], paths: list[str]) -> Ground:
    known, stale = known_ground(paths)
    if not stale:
        return known
    console.print("Running the tests with nothing changed, to see what each calls.")
    shares = [tuple(stale[nth :: len(crew)]) for nth in range(len(crew))]
    for worker, share in zip(crew, shares, strict=True):
        worker.channel.send(share)
    for worker in crew:
        found = worker.channel.recv()
        if not isinstance(found, Ground):
            sys.exit(str(found))
        known.seconds.update(found.seconds)
        known.calls.update(found.calls)
        known.failing.update(found.failing)
    remember_ground(paths, known)
    return known


class _Worker:
    def __init__(self, paths: list[str]) -> None:
        context = get_context("spawn")
        self.channel, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(theirs, [str(CHECKOUT / path) for path in paths]), daemon=True
        )
        self._process.start()
        theirs.close()

    def end(self) -> None:
        self.channel.close()
        self._process.terminate()
        self._process.join(10)


if __name__ == "__main__":
    main()
