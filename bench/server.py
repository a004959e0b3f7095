"""What the bench knows of a server it measures: its ports, its processes, and how it is stopped."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

DOMAIN = "bench.test"
PASSWORD = "bench-password-of-everybody"
START_SECONDS = 30.0

# Who has what; u%d@bench.test, the same at every server.
USERS = 240
SMALL = range(32)  # 20 messages of 5 KB each
SMALL_COUNT, SMALL_OCTETS = 20, 5_000
BIG = range(40, 48)  # 4 messages of 1 MB each
BIG_COUNT, BIG_OCTETS = 4, 1_000_000
HUGE = 60  # 100,000 messages
RECEIVING = range(100, 132)  # nothing at first; LMTP delivers to them
GIANT = range(132, 140)  # nothing at first; the 50 MB messages come to them
COLD = range(140, 240)  # who has not logged in before; no mail


def user(number: int) -> str:
    return f"u{number}@{DOMAIN}"


def message(number: int, octets: int) -> bytes:
    """A message of exactly so many octets in wire form, with usual lines, none of them stuffed."""
    head = (
        f"From: Sender <sender@elsewhere.test>\r\nTo: Somebody <{user(number)}>\r\n"
        f"Subject: message {number} of the bench\r\nMessage-ID: <{number}.{octets}@elsewhere.test>\r\n"
        "Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n"
    ).encode()
    line = b"the quick brown fox jumps over the lazy dog and then some more of its friends\r\n"
    body = line * (octets // len(line) + 1)
    return head + body[: octets - len(head) - 2] + b"\r\n"


@dataclass
class Server:
    """A server that runs: `process` is its first process, whose children belong to it."""

    name: str
    pop3: int
    pop3s: int
    lmtp: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def pids(self) -> list[int]:
        """All its processes, children and their children included."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
        found = [process.pid for process in self.processes]
        for pid in found:
            found += children.get(pid, [])
        return found

    def memory(self) -> tuple[int, int]:
        """Octets that all processes hold: RSS summed up, and PSS (what they share counted once)."""
        rss = pss = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
            rss, pss = rss + fields["Rss"], pss + fields["Pss"]
        return rss, pss

    def cpu(self) -> float:
        """Seconds of CPU that the processes living now have taken."""
        ticks = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def wait_until_open(self) -> None:
        for port in (self.pop3, self.pop3s, self.lmtp):
            deadline = time.monotonic() + START_SECONDS
            while True:
                for process in self.processes:
                    if process.poll() is not None:
                        raise RuntimeError(f"{self.name} ended at its start with {process.returncode}")
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"{self.name} does not open port {port}") from None
                    time.sleep(0.05)

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.wait_until_open()
        yield server
    finally:
        server.stop()
