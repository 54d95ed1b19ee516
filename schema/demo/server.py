"""The demo's server process: the real application on a socket that it was given, until its input ends."""

from __future__ import annotations

import os
import socket
import sys
import threading

import uvicorn

from coalition.config import get_settings
from schema.app import create_app


def main() -> None:
    """Serve until standard input ends, which it does when the demo does, however that ends."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    server = uvicorn.Server(uvicorn.Config(create_app(get_settings()), log_level="warning", access_log=False))
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run(sockets=[listening])


def _end_with_input(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 1):
        continue
    server.should_exit = True


if __name__ == "__main__":
    main()
