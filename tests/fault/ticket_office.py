"""A departmental system in its own process for the crash tests: files a ticket for every order it gets, twice if asked twice.

It is deliberately not idempotent; only asking (`GET /orders/<key>`) before sending again keeps tickets single.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Office(ThreadingHTTPServer):
    """Keeps the tickets in memory: it outlives the hub."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Counter)
        self.filed: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Counter(BaseHTTPRequestHandler):
    """POST /orders files, GET /orders/<key> tells."""

    protocol_version = "HTTP/1.1"
    server: Office

    def do_POST(self) -> None:
        """File one more."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.filed.append(body["key"])
            number = len(self.server.filed)
        self._answer(200, {"ticket": f"T{number}"})

    def do_GET(self) -> None:
        """Tell whether there is one."""
        key = self.path.removeprefix("/orders/")
        with self.server.lock:
            numbers = [n for n, filed in enumerate(self.server.filed, 1) if filed == key]
        self._answer(200 if numbers else 404, {"ticket": f"T{numbers[0]}"} if numbers else {})

    def _answer(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
        if "-v" in sys.argv:
            super().log_message(format, *args)
