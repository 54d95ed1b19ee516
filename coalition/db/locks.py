"""Locks on files: held by a process, and dropped by the kernel however it ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Hold the file's lock alone, waiting for whoever has it."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class UseLock:
    """Held together by all who use a thing, so that the last of them can know it is the last.

    Changing between shared and alone is not atomic: only do it under `exclusively` of another file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = _open(path)

    def share(self) -> None:
        """Be one of the users."""
        assert self._descriptor is not None, "the lock is released"
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def is_sole(self) -> bool:
        """Is nobody else a user? If so, this process now holds the lock alone."""
        assert self._descriptor is not None, "the lock is released"
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Be a user no more. Safe to call again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(path: Path) -> int:
    # Not inherited by children (PEP 446): a server that outlives us must not hold our lock.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
