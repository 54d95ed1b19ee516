"""Many at once over a few connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from schema.demo.http import Connection

Job = TypeVar("Job")
Progress = Callable[[int], None]


async def together(
    connections: list[Connection], jobs: Iterable[Job], work: Callable[[Connection, Job], Awaitable[None]]
) -> None:
    """Do all jobs, as many at once as there are connections; the first failure ends all."""
    waiting = iter(jobs)

    async def worker(connection: Connection) -> None:
        for job in waiting:
            await work(connection, job)

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(worker(connection))
