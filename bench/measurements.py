"""What is measured: each measurement takes a server and gives a value, or says what went wrong."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.server import (
    BIG,
    BIG_COUNT,
    BIG_OCTETS,
    COLD,
    GIANT,
    HUGE,
    PASSWORD,
    RECEIVING,
    SMALL,
    SMALL_COUNT,
    SMALL_OCTETS,
    Server,
    user,
)

WHO = ("--user", "u%d@bench.test", "--password", PASSWORD)
GIANT_OCTETS = 50_000_000
# What Dovecot holds 10,000 of takes gigabytes, as shipped a process each: fewer tell as much.
SESSIONS_OF_DOVECOT = {"Dovecot tuned": 2_000, "Dovecot as shipped": 400}


@dataclass
class Settings:
    seconds: float
    pairs: int
    huge: int
    sessions: int
    load: Path = Path("load")
    # Starts a server anew that remembers nobody.
    fresh: dict[str, Callable[[], AbstractContextManager[Server]]] = field(default_factory=dict)
    # The same, and passwords are argon2id.
    cold: dict[str, Callable[[], AbstractContextManager[Server]]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Result:
    """`value` in the unit of the measurement; `cpu` is the share of one core that the load generator took."""

    value: float
    cpu: float = 0.0
    error: str = ""
    note: str = ""

    def said(self, measurement: "Measurement") -> str:
        return f"void: {self.error}" if self.error else f"{self.value:,.2f} {measurement.unit} {self.note}"


def failed(error: str) -> Result:
    return Result(0.0, error=error or "no result")


@dataclass(frozen=True)
class Measurement:
    """`goal`: ratio to Dovecot tuned, or with `absolute` a value that must not be passed."""

    name: str
    unit: str
    measure: Callable[[Server, Settings, str], Result]
    goal: float | None = None
    absolute: bool = False
    less_is_better: bool = False
    once: bool = False


def _load(settings: Settings, mode: str, *options: object) -> dict[str, Any]:
    command = [str(settings.load), mode, *map(str, options), *WHO]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if not lines:
        return {"errors": 1, "error": done.stderr or f"exit code {done.returncode}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _result(found: dict[str, Any], what: str) -> Result:
    if found["errors"] or not found.get("operations"):
        return failed(found.get("error", ""))
    note = f"(p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms)"
    return Result(found[what], found["cpu"], note=note)


def _polls(server: Server, settings: Settings, name: str) -> Result:
    options = ("--port", server.pop3, "--users", len(SMALL), "--expect", SMALL_COUNT, "--clients", 16)
    if f"polls at {name}" not in settings.done:  # everybody has polled before: a first login costs its hash
        settings.done.add(f"polls at {name}")
        _load(settings, "poll", *options, "--limit", 10 * len(SMALL), "--seconds", 20, "--warmup", 0)
    return _result(_load(settings, "poll", *options, "--seconds", settings.seconds), "rate")


def _fetches(big: bool, tls: bool) -> Callable[[Server, Settings, str], Result]:
    users, count, octets = (BIG, BIG_COUNT, BIG_OCTETS) if big else (SMALL, SMALL_COUNT, SMALL_OCTETS)

    def measure(server: Server, settings: Settings, name: str) -> Result:
        options: list[object] = ["--port", server.pop3s if tls else server.pop3, *(["--tls"] if tls else [])]
        options += ["--users", len(users), "--first-user", users[0], "--expect", count, "--size", octets]
        options += ["--clients", 8, "--seconds", settings.seconds]
        return _result(_load(settings, "retr", *options), "mb_per_s" if big else "rate")

    return measure


def _deliveries(octets: int, clients: int) -> Callable[[Server, Settings, str], Result]:
    def measure(server: Server, settings: Settings, name: str) -> Result:
        users = ("--users", len(RECEIVING), "--first-user", RECEIVING[0])
        options = ("--port", server.lmtp, *users, "--size", octets, "--clients", clients)
        found = _load(settings, "lmtp", *options, "--seconds", settings.seconds)
        return _result(found, "mb_per_s" if octets >= BIG_OCTETS else "rate")

    return measure


def _cold_logins(server: Server, settings: Settings, name: str) -> Result:
    """The first login of everybody, at a server that has just been started; argon2id on both sides."""
    with settings.cold[name]() as fresh:
        options = ("--port", fresh.pop3, "--users", len(COLD), "--first-user", COLD[0], "--clients", 16)
        found = _load(settings, "poll", *options, "--limit", len(COLD), "--seconds", 60, "--warmup", 0)
        return _result(found, "rate")


# A mailbox of 100,000 messages, by a client that reads and times.


class _Client:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 120)
        self._file = self._socket.makefile("rb", 1 << 20)
        self._line()

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.startswith((b"+OK", b"2", b"3")):
            raise RuntimeError(f"{line[:200]!r}")
        return line

    def say(self, command: str, *, lines: bool = False) -> bytes:
        self._socket.sendall(command.encode() + b"\r\n")
        answer = self._line()
        while lines and self._file.readline() != b".\r\n":
            pass
        return answer

    def log_in(self, number: int) -> None:
        self.say(f"USER {user(number)}")
        self.say(f"PASS {PASSWORD}")


def _time_of(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000


def _huge(step: str) -> Callable[[Server, Settings, str], Result]:
    def measure(server: Server, settings: Settings, name: str) -> Result:
        if step == "after a delivery":
            _deliver_one(server)
        elif step != "first" and f"huge at {name}" not in settings.done:
            # Every process of the server has seen the mailbox.
            settings.done.add(f"huge at {name}")
            for _ in range(12):
                with _Client(server.pop3) as client:
                    client.log_in(HUGE)
                    client.say("QUIT")
        with _Client(server.pop3) as client:
            client.say(f"USER {user(HUGE)}")
            login = _time_of(lambda: client.say(f"PASS {PASSWORD}"))
            if int(client.say("STAT").split()[1]) < settings.huge:
                return failed("messages are missing")
            if step in ("LIST", "UIDL", "RETR 50000"):
                value = _time_of(
                    lambda: client.say(step.replace("50000", str(settings.huge // 2)), lines=True)
                )
            elif step == "STAT":
                value = _time_of(lambda: client.say("STAT"))
            else:
                value = login
            client.say("QUIT")
        return Result(value)

    return measure


def _deliver_one(server: Server) -> None:
    with _Client(server.lmtp) as client:
        client._socket.sendall(b"LHLO bench.test\r\n")
        while not client._file.readline().startswith(b"250 "):
            pass
        client.say("MAIL FROM:<bench@elsewhere.test>")
        client.say(f"RCPT TO:<{user(HUGE)}>")
        client.say("DATA")
        client.say("Subject: one more\r\n\r\nfor the huge mailbox\r\n.")
        client.say("QUIT")


# Memory.


def _idle(server: Server, settings: Settings, name: str) -> Result:
    sessions = min(settings.sessions, SESSIONS_OF_DOVECOT.get(name, settings.sessions))
    with settings.fresh[name]() as fresh:  # what was done before has made room that sessions would take
        return _idle_at(fresh, settings, sessions)


def _idle_at(server: Server, settings: Settings, sessions: int) -> Result:
    warm = ("--users", len(SMALL), "--expect", SMALL_COUNT, "--clients", 16, "--limit", 200, "--seconds", 20)
    _load(settings, "poll", "--port", server.pop3, *warm, "--warmup", 0)
    before, before_pss = server.memory()
    command = [str(settings.load), "idle", "--port", str(server.pop3), "--clients", str(sessions)]
    command += ["--users", str(len(SMALL)), "--addresses", "250", "--seconds", "120", *WHO]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None and load.stdin is not None
        said = json.loads(load.stdout.readline())
        after, after_pss = server.memory()
        load.stdin.close()
        last = json.loads(load.stdout.readline() or json.dumps(said))
    if last.get("errors") or "open" not in said:
        return failed(last.get("error", ""))
    rss, pss = (after - before) / sessions / 1024, (after_pss - before_pss) / sessions / 1024
    return Result(pss, note=f"({sessions:,} sessions; RSS summed {rss:.1f} KiB)")


def _peak(incoming: bool) -> Callable[[Server, Settings, str], Result]:
    def measure(server: Server, settings: Settings, name: str) -> Result:
        with settings.fresh[name]() as fresh:
            return measure_at(fresh, settings, name)

    def measure_at(server: Server, settings: Settings, name: str) -> Result:
        if not incoming:
            _giants(server, settings, name)
            # Everybody has polled before, at each process: a first login takes memory for its hash.
            options = ("--users", len(GIANT), "--first-user", GIANT[0], "--clients", 8)
            limit = ("--limit", 10 * len(GIANT), "--seconds", 60, "--warmup", 0)
            _load(settings, "poll", "--port", server.pop3, *options, *limit)
        _, before = server.memory()
        peak, over = [0], threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                peak[0] = max(peak[0], server.memory()[1])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            found = (
                _giants(server, settings, name, again=True) if incoming else _fetch_giants(server, settings)
            )
        finally:
            over.set()
            watcher.join()
        if found["errors"]:
            return failed(found["error"])
        return Result(max(0, peak[0] - before) / 2**20)

    return measure


def _giants(server: Server, settings: Settings, name: str, again: bool = False) -> dict[str, Any]:
    """8 clients bring 50 MB each."""
    key = f"giants of {name}"
    if key in settings.done and not again:
        return {"errors": 0}
    settings.done.add(key)
    options = ("--users", len(GIANT), "--first-user", GIANT[0], "--size", GIANT_OCTETS, "--clients", 8)
    return _load(
        settings, "lmtp", "--port", server.lmtp, *options, "--limit", 8, "--seconds", 120, "--warmup", 0
    )


def _fetch_giants(server: Server, settings: Settings) -> dict[str, Any]:
    options = ("--users", len(GIANT), "--first-user", GIANT[0], "--size", GIANT_OCTETS, "--clients", 8)
    return _load(
        settings, "retr", "--port", server.pop3, *options, "--expect", 1, "--limit", 16, "--seconds", 120
    )


# Fairness.


def _beside(server: Server, settings: Settings, name: str) -> Result:
    """A small session, while 8 clients pull big messages and one has stopped reading a giant one."""
    _giants(server, settings, name)
    seconds = settings.seconds
    big = ("--users", len(BIG), "--first-user", BIG[0], "--expect", BIG_COUNT, "--size", BIG_OCTETS)
    noise = (
        ("retr", *big, "--clients", 8, "--seconds", seconds + 1.5),
        ("slow", "--users", 1, "--first-user", GIANT[0], "--clients", 1, "--seconds", seconds + 1.5),
    )
    with ExitStack() as stack:
        for options in noise:
            command = [str(settings.load), *map(str, options), "--port", str(server.pop3), *WHO]
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        time.sleep(0.5)
        users = ("--users", len(SMALL), "--expect", SMALL_COUNT)
        found = _load(
            settings, "poll", "--port", server.pop3, *users, "--clients", 1, "--seconds", settings.seconds
        )
    return _result(found, "p50_ms")


MEASUREMENTS = (
    Measurement("polls", "sessions/s", _polls, 2.5),
    Measurement("RETR 5 KB", "messages/s", _fetches(False, False), 2.5),
    Measurement("RETR 5 KB, TLS", "messages/s", _fetches(False, True), 2.5),
    Measurement("RETR 1 MB", "MB/s", _fetches(True, False), 1.5),
    Measurement("RETR 1 MB, TLS", "MB/s", _fetches(True, True), 1.5),
    Measurement("LMTP 5 KB, 1 client", "messages/s", _deliveries(5_000, 1), 2.0),
    Measurement("LMTP 5 KB, 8 clients", "messages/s", _deliveries(5_000, 8), 2.0),
    Measurement("LMTP 5 KB, 32 clients", "messages/s", _deliveries(5_000, 32), 2.0),
    Measurement("LMTP 1 MB, 1 client", "MB/s", _deliveries(BIG_OCTETS, 1), 2.5),
    Measurement("LMTP 1 MB, 8 clients", "MB/s", _deliveries(BIG_OCTETS, 8), 2.5),
    Measurement("LMTP 1 MB, 32 clients", "MB/s", _deliveries(BIG_OCTETS, 32), 2.5),
    Measurement("logins, cold, argon2id", "sessions/s", _cold_logins),
    Measurement("huge mailbox: login", "ms", _huge("first"), less_is_better=True, once=True),
    Measurement(
        "huge mailbox: login, unchanged", "ms", _huge("login"), 50.0, absolute=True, less_is_better=True
    ),
    Measurement("huge mailbox: STAT", "ms", _huge("STAT"), less_is_better=True),
    Measurement("huge mailbox: LIST", "ms", _huge("LIST"), less_is_better=True),
    Measurement("huge mailbox: UIDL", "ms", _huge("UIDL"), less_is_better=True),
    Measurement("huge mailbox: RETR", "ms", _huge("RETR 50000"), less_is_better=True),
    Measurement("huge mailbox: login after a delivery", "ms", _huge("after a delivery"), less_is_better=True),
    Measurement(
        "memory of an idle session", "KiB", _idle, 12.0, absolute=True, less_is_better=True, once=True
    ),
    Measurement("peak memory, 8 x 50 MB in", "MiB", _peak(True), less_is_better=True, once=True),
    Measurement("peak memory, 8 x 50 MB out", "MiB", _peak(False), less_is_better=True, once=True),
    Measurement("latency beside 8 big and 1 slow client", "ms", _beside, less_is_better=True),
)
