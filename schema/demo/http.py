"""A small HTTP client: one kept-alive connection, one request at a time.

The demo makes tens of thousands of requests from one process, and a general client spends more time
on each than the server does. What it speaks is HTTP/1.1 as this server speaks it: every answer
has a Content-Length.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

_TRIES: Final = 5
_PAUSE: Final = 0.2  # seconds before the second try; twice as long before each further one


class ServerGone(Exception):
    """The server does not answer, however often it is asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: bytes


class Connection:
    """One connection, made at the first request and again after it broke."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Send and wait for the answer; again where the way to the server broke or it is busy (503).

        Only for what may be sent twice: every mutation carries its idempotency key.

        Raises:
            ServerGone: it did not answer.
        """
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Length: {len(body)}\r\n{head}\r\n"
        ).encode() + body
        pause = _PAUSE
        for _ in range(_TRIES):
            try:
                answer = await self._exchange(request)
            except (OSError, asyncio.IncompleteReadError):
                self.close()
            else:
                if answer.status != 503:  # noqa: PLR2004 - Service Unavailable
                    return answer
            await asyncio.sleep(pause)
            pause *= 2
        raise ServerGone(f"http://{self._host}:{self._port}{path} does not answer")

    def close(self) -> None:
        """Give the connection up; the next request makes another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _exchange(self, request: bytes) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await self._reader.readexactly(int(length or 0))
        if b"connection: close" in head:
            self.close()
        return Answer(status=int(head[9:12]), body=body)
