"""Seeing what the server does: a request id on everything, one log line for each request, counters."""

from __future__ import annotations

import contextlib
import itertools
import logging
import logging.handlers
import re
import secrets
import time
from collections import Counter
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_log = logging.getLogger("coalition.access")

# Sane, so that it can stand in a log line and a header whoever sent it.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_KNOWN_PATHS: Final = (
    "/graphql",
    "/oauth/token",
    "/oauth/jwks.json",
    "/explorer",
    "/healthz",
    "/readyz",
    "/metrics",
    "/statements/",
    "/members/",
    "/verify_proof.py",
)


# A process's own random part and a number. Not a random id each: asking the system for randomness gives up
# the interpreter's lock, and the event loop then waits for it behind every busy worker.
_process: Final = secrets.token_hex(8)
_numbers: Final = itertools.count(1)


def _new_request_id() -> str:
    return f"{_process}-{next(_numbers):x}"


class Metrics:
    """Counters of one process; who was turned away by a rate limit is counted where the limit is."""

    def __init__(self, *, rate_limited: Mapping[str, Callable[[], int]]) -> None:
        self._rate_limited = rate_limited
        self._lock = Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, path: str, status: int, seconds: float) -> None:
        """One request is answered."""
        route = next((known for known in _KNOWN_PATHS if path.startswith(known)), "other")
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment] # seconds are not whole
            for bound in _BOUNDS:
                if seconds <= bound:
                    self._buckets[route, bound] += 1

    def text(self) -> str:
        """In the text format that Prometheus reads."""
        with self._lock:
            requests, buckets, seconds = dict(self._requests), dict(self._buckets), dict(self._seconds)
        lines = [
            "# HELP coalition_http_requests_total Requests answered.",
            "# TYPE coalition_http_requests_total counter",
            *(
                f'coalition_http_requests_total{{route="{route}",status="{status}"}} {number}'
                for (route, status), number in sorted(requests.items())
            ),
            "# HELP coalition_rate_limited_total Requests turned away because their sender sent too many.",
            "# TYPE coalition_rate_limited_total counter",
            *(
                f'coalition_rate_limited_total{{limit="{limit}"}} {number()}'
                for limit, number in self._rate_limited.items()
            ),
            "# HELP coalition_http_request_seconds How long answering took.",
            "# TYPE coalition_http_request_seconds histogram",
        ]
        for route, total in sorted(seconds.items()):
            number = sum(count for (of, _), count in requests.items() if of == route)
            name = f'coalition_http_request_seconds_bucket{{route="{route}",le='
            lines += [f'{name}"{bound:g}"}} {buckets.get((route, bound), 0)}' for bound in _BOUNDS]
            lines += [
                f'{name}"+Inf"}} {number}',
                f'coalition_http_request_seconds_sum{{route="{route}"}} {total:.6f}',
                f'coalition_http_request_seconds_count{{route="{route}"}} {number}',
            ]
        return "\n".join(lines) + "\n"


class Observing:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and note what came of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else _new_request_id()
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        began = time.perf_counter()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.count(scope["path"], status, seconds)
            if access_log.isEnabledFor(logging.INFO):
                # Never variables, tokens or secrets: of what the caller sent, only its operation's name.
                access_log.info(
                    "request",
                    extra={
                        "request_id": request_id,
                        "method": scope["method"],
                        "path": scope["path"],
                        "operation": state.get("operation"),
                        "client": state.get("client_id"),
                        "status": status,
                        "ms": round(seconds * 1000, 2),
                    },
                )


class JsonLines(logging.Formatter):
    """One JSON object for each line of the log."""

    _FIELDS: Final = ("request_id", "method", "path", "operation", "client", "status", "ms")

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in self._FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


@contextlib.contextmanager
def logging_as_json(level: int = logging.INFO) -> Iterator[None]:
    """Have the whole process log JSON lines on standard error, for the length of the block.

    A thread of its own writes them: a write gives up the interpreter's lock, and no request waits for that.
    """
    stream = logging.StreamHandler()
    stream.setFormatter(JsonLines())
    lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
    listener = logging.handlers.QueueListener(lines, stream)
    listener.start()
    logging.basicConfig(level=level, handlers=[_Queueing(lines)], force=True)
    try:
        yield
    finally:
        logging.basicConfig(level=level, handlers=[stream], force=True)
        listener.stop()


class _Queueing(logging.handlers.QueueHandler):
    """Hands records on as they are: the formatter at the other end wants the exception whole."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Nothing leaves the process, so nothing needs to be made fit for it."""
        return record
