"""The load generator compiles, counts right answers, and calls a wrong one an error."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bench.run import compile_load

MESSAGE = b"Subject: x\r\n\r\nHello\r\n"
POLL = {
    b"USER": b"+OK\r\n",
    b"PASS": b"+OK\r\n",
    b"STAT": b"+OK 1 21\r\n",
    b"UIDL": b"+OK\r\n1 abc\r\n.\r\n",
    b"RETR": b"+OK 21 octets\r\n" + MESSAGE + b".\r\n",
    b"QUIT": b"+OK\r\n",
}
pytestmark = pytest.mark.once
LIMIT = 20  # operations


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    program = compile_load(tmp_path_factory.mktemp("load"))

    def run(mode: str, port: int, *options: str) -> Any:
        command = [
            str(program),
            mode,
            "--port",
            str(port),
            "--clients",
            "2",
            # However long that takes; an error ends it at once.
            "--limit",
            str(LIMIT),
            "--seconds",
            "3600",
            "--warmup",
            "0",
        ]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=500)
        found = json.loads(done.stdout)
        assert done.returncode == bool(found["errors"])
        return found

    return run


@contextmanager
def serving(answers: dict[bytes, bytes]) -> Iterator[int]:
    """A POP3 server that knows these answers, and nothing else."""

    def talk(client: socket.socket) -> None:
        with suppress(ConnectionError), client, client.makefile("rb") as lines:
            client.sendall(b"+OK hello\r\n")
            for line in lines:
                client.sendall(answers[line[:4]])
                if line.startswith(b"QUIT"):
                    return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("mode", ["poll", "retr"])
def test_right_answers_are_counted(load: Callable[..., Any], mode: str) -> None:
    with serving(POLL) as port:
        found = load(mode, port, "--expect", "1", "--size", "20")
    assert (found["errors"], found["error"]) == (0, "")
    assert found["operations"] == LIMIT


@pytest.mark.parametrize(
    ("mode", "wrong", "error"),
    [
        ("poll", {b"PASS": b"-ERR [AUTH] no\r\n"}, "in state 2: -ERR [AUTH] no"),
        ("poll", {b"STAT": b"+OK 2 42\r\n"}, "STAT: +OK 2 42, expected 1 messages"),
        ("poll", {b"UIDL": b"+OK\r\n.\r\n"}, "UIDL: 0 lines of 1"),
        ("retr", {b"RETR": b"+OK 22 octets\r\n" + MESSAGE + b".\r\n"}, "RETR: 21 octets, 22 announced"),
    ],
)
def test_a_wrong_answer_is_an_error(
    load: Callable[..., Any], mode: str, wrong: dict[bytes, bytes], error: str
) -> None:
    with serving(POLL | wrong) as port:
        found = load(mode, port, "--expect", "1", "--size", "20")
    assert found["errors"] > 0
    assert found["error"] == error


def test_nobody_there_is_an_error(load: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert load("poll", port)["errors"] > 0


def test_the_program_lies_where_it_was_asked_for(tmp_path: Path) -> None:
    assert compile_load(tmp_path).is_file()
