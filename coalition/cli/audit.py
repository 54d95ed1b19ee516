"""`coalition audit`: prove the books again from the stored rows."""

from __future__ import annotations

from dataclasses import asdict
from time import perf_counter

import click

from coalition.audit import AUDIT, CHAIN, TERMS
from coalition.audit.side_by_side import run_audit_side_by_side
from coalition.cli.console import ExitCode, json_option, open_database, print_json, print_table, progress


@click.command()
@json_option
@click.option(
    "--per-check",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many findings of one check to print; the rest are counted.",
)
@click.option(
    "--chain",
    "with_chain",
    is_flag=True,
    help="Also compute every digest of every member's chain again, and every sealed window's Merkle root.",
)
@click.option(
    "--jobs",
    default=2,
    show_default=True,
    type=click.IntRange(1, 16),
    help="How many checks to run at a time, each on a connection and a core of the database's.",
)
def audit(*, per_check: int, with_chain: bool, jobs: int, as_json: bool) -> None:
    """Prove the books again: every invariant, from the stored rows.

    Reads all of the journal in one snapshot, in plain SQL that shares no code with the ledger;
    postings go on meanwhile. Each finding names the check, the table and the row's key.

    \b
    Exit codes: 0 nothing is wrong, 1 there are findings.

    \b
    Examples:
      coalition audit --json | jq '.findings[] | .id'
      coalition audit --chain --jobs 4
    """  # noqa: D301 - click's mark of lines to keep
    checks = (*AUDIT, *TERMS, *(CHAIN if with_chain else ()))
    began = perf_counter()
    with (
        open_database() as database,
        progress("Auditing", total=len(checks), quiet=as_json) as advance,
    ):
        found = run_audit_side_by_side(
            database, jobs=jobs, checks=checks, per_check=per_check, started=lambda _: advance(1)
        )
    seconds = round(perf_counter() - began, 1)
    if as_json:
        print_json({"checks": len(checks), "findings": [asdict(finding) for finding in found]})
    elif found:
        print_table(
            [asdict(finding) for finding in found],
            columns={"check": "Check", "subject": "Table", "id": "Row", "message": "Finding"},
            title=f"{len(found)} findings",
        )
    else:
        click.echo(f"Audit: clean. {len(checks)} checks found nothing wrong, in {seconds} s.")
    if found:
        raise SystemExit(ExitCode.REFUSED)
