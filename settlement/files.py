"""A run's papers on disk: each file whole or not there, and the same again when written again."""

import os
from pathlib import Path

from settlement.runs import Books
from settlement.statements import papers

_HALF_WRITTEN = ".half-written-"
_LAST = "run.json"
"""Written after all others, so its presence says that they are complete."""


def folder_of(books: Books, directory: Path) -> Path:
    """Where a run's files lie: under its business date, in a folder that its digest names."""
    return directory / books.run.business_date.isoformat() / books.run.digest[:16]


def complete(books: Books, directory: Path) -> bool:
    """Were all files of the run written?"""
    return (folder_of(books, directory) / _LAST).exists()


def write_files(books: Books, directory: Path) -> list[Path]:
    """Write a run's papers; one that is there and right is left alone.

    Each is written beside its place and renamed into it: a reader finds a whole file or none. No
    flush to disk is waited for, because whatever a power cut takes is in the database and written
    again by the next call.
    """
    folder = folder_of(books, directory)
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    for leftover in folder.glob(f"{_HALF_WRITTEN}*"):
        leftover.unlink(missing_ok=True)
    written = []
    for name, paper in papers(books).items():
        path, content = folder / name, paper.encode()
        if not (path.is_file() and path.read_bytes() == content):
            beside = folder / f"{_HALF_WRITTEN}{os.getpid()}-{name}"
            beside.write_bytes(content)
            beside.replace(path)
        written.append(path)
    return written
