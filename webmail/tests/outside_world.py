"""An outside world for tests: real servers on this machine, behind names and addresses of the internet.

What is looked up and dialled is replaced; what may be asked, and how long and how much, is never.
"""

import gzip
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from webmail.outside import Outside


def _chunk(kind: bytes, octets: bytes) -> bytes:
    return struct.pack(">I", len(octets)) + kind + octets + struct.pack(">I", zlib.crc32(kind + octets))


# Two red pixels by two.
PNG = b"".join(
    [
        b"\x89PNG\r\n\x1a\n",
        _chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)),
        _chunk(b"IDAT", zlib.compress((b"\0" + b"\xc0\x20\x20" * 2) * 2)),
        _chunk(b"IEND", b""),
    ]
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
# What lies on the way from a server to us: the system would let that grow to what it likes.
BUFFER = 0x20000
# An address of the internet that is never asked: it stands for the server of a test.
ADDRESS = "93.184.216.34"


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says, and notes what it was asked."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path, dict(self.headers.items())))
        name = self.path.partition("?")[0].strip("/").partition("/")[0]
        getattr(self, f"_{name.partition('.')[0] or 'png'}", self._missing)()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.posted.append(body)
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _answer(self, octets: bytes, content_type: str = "image/png", status: int = 200, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for key, value in more.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def _png(self) -> None:
        self._answer(PNG, Set_Cookie="seen=1")

    def _svg(self) -> None:
        self._answer(SVG, "image/svg+xml")

    def _page(self) -> None:
        self._answer(b"<script>alert(1)</script>", "image/png")

    def _missing(self) -> None:
        self._answer(b"no", "text/plain", 404)

    def _gone(self) -> None:
        self._answer(b"gone", "text/plain", 410)

    def _to(self) -> None:
        self._answer(b"", status=302, Location=self.path.partition("?")[2])

    def _around(self) -> None:
        self._answer(b"", status=302, Location="/around")

    def _packed(self) -> None:
        self._answer(gzip.compress(PNG + bytes(50_000_000)), Content_Encoding="gzip")

    def _large(self) -> None:
        self._answer(PNG + bytes(200_000))

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for _ in range(10_000):
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                self.server.sent += 0x10000
        except OSError:
            return

    def _drip(self) -> None:
        self._slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")

    def _driphead(self) -> None:
        self._slowly(b"HTTP/1.1 200 OK\r\nX-Endless: ")

    def _slowly(self, at_once: bytes) -> None:
        """One octet after the other, until the client has hung up."""
        try:
            self.wfile.write(at_once)
            while True:
                self.wfile.write(b"x")
                self.server.dripped += 1
                time.sleep(0.05)
        except OSError:
            return

    def _rubbish(self) -> None:
        self.wfile.write(b"this is no HTTP\r\n\r\n")
        self.close_connection = True

    def _manyheaders(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"\r\n")
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.posted: list[bytes] = []
        self.sent = 0
        self.dripped = 0
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def get_request(self) -> tuple[Any, Any]:
        wire, address = super().get_request()
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        return wire, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no fault of the test's."""

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class World:
    """Names, and what was looked up and dialled."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.names: dict[str, list[list[str]]] = {}
        self.looked_up: list[str] = []
        self.dialled: list[tuple[str, int]] = []

    def name(self, host: str, *answers: list[str]) -> None:
        """Each time the name is looked up the next answer comes; the last one stays."""
        self.names[host] = list(answers)

    def resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        answers = self.names.get(host)
        if answers is None:
            # Numbers, as the system's resolver reads them; it asks nobody for those.
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            return [str(one[4][0]) for one in found]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def dial(self, address: str, port: int, seconds: float) -> socket.socket:
        self.dialled.append((address, port))
        wire = socket.create_connection(("127.0.0.1", self.server.server_port), seconds)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        return wire

    def outside(self, tls: Callable[[], ssl.SSLContext] | None = None, **more: Any) -> Outside:
        if tls:
            more["tls"] = tls
        # Only a test that fails waits so long.
        more.setdefault("seconds", 180.0)
        return Outside(resolve=self.resolve, dial=self.dial, **more)


def clock(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[], int]) -> None:
    """Let the test tell how many seconds have passed for who asks the outside."""
    told = SimpleNamespace(monotonic=lambda: float(seconds()), time=time.time)
    for module in ("webmail.outside", "webmail.remote_images"):
        monkeypatch.setattr(f"{module}.time", told)
