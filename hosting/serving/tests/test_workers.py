"""The supervisor, as a real process with real workers that are killed and told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from hosting.serving.workers import restarts, serve

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.processes
PATIENCE = 180.0  # only a test that fails waits so long

PRELUDE = """
import logging, os, signal, sys, time
from hosting.serving import workers
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
workers.AT_ONCE = 600.0  # a busy machine must not make a short life look long
stop = []
def say(*words):
    os.write(1, (" ".join(str(word) for word in words) + "\\n").encode())
def steady(index):
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    signal.signal(signal.SIGHUP, lambda *_: say("reload", index))
    say("up", index, os.getpid())
    while not stop:
        time.sleep(0.02)
    say("down", index)
"""


class Door:
    """A supervisor in a session of its own, whose lines are read from files."""

    def __init__(self, folder: Path, code: str, workers: int) -> None:
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = start(
                f"{PRELUDE}{code}\nsys.exit(workers.serve(run, workers={workers}, name='door'))", out, err
            )

    def lines(self, word: str) -> list[list[str]]:
        return [line.split() for line in self.out.read_text().splitlines() if line.split()[0] == word]

    def pids(self) -> dict[int, int]:
        """Return the newest pid of each index."""
        return {int(index): int(pid) for _, index, pid in self.lines("up")}

    def send(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def ends_with(self, seconds: float = PATIENCE) -> int:
        return self.process.wait(timeout=seconds)


def start(code: str, out: IO[bytes], err: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-c", code]
    # Buffered, as a service's output is: unbuffered, print() makes two writes, and lines of two workers mix.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=out, stderr=err, start_new_session=True
    )


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.01)


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def runs(pid: int) -> bool:
    """Tell whether the process runs; an orphan that nobody reaps is dead all the same."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Callable[..., Door]]:
    started: list[Door] = []

    def make(code: str = "run = steady", workers: int = 2) -> Door:
        started.append(Door(tmp_path, code, workers))
        return started[-1]

    yield make
    for each in started:
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.wait(timeout=PATIENCE)


def test_one_worker_runs_in_this_process() -> None:
    seen: list[tuple[int, int]] = []

    def worker(index: int) -> int:
        seen.append((index, os.getpid()))
        return 7

    assert serve(worker, workers=1, name="door") == 7
    assert seen == [(0, os.getpid())]
    assert serve(lambda index: None, workers=1, name="door") == 0


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one is needed"):
        serve(lambda index: None, workers=0, name="door")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_all_end_gracefully_with_0_and_none_survives(
    door: Callable[..., Door], signum: signal.Signals
) -> None:
    running = door(workers=3)
    wait_until(lambda: len(running.pids()) == 3, "three workers up")
    running.send(signum)
    assert running.ends_with() == 0
    assert sorted(running.lines("down")) == [["down", "0"], ["down", "1"], ["down", "2"]]
    assert [line for line in running.err.read_text().splitlines() if not line.startswith("event=")] == []
    assert [pid for pid in running.pids().values() if exists(pid)] == []


def test_a_terminal_that_signals_everybody_at_once_is_one_graceful_stop(door: Callable[..., Door]) -> None:
    code = "def run(index):\n    steady(index)\n    time.sleep(0.3)\n    say('ended', index)\n"
    running = door(code + "workers.IMPATIENT_AFTER = 600.0")
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    os.killpg(running.process.pid, signal.SIGINT)
    running.send(signal.SIGTERM)  # what a process manager adds a moment later
    assert running.ends_with() == 0
    assert sorted(running.lines("ended")) == [["ended", "0"], ["ended", "1"]]


def test_a_killed_worker_is_reaped_and_started_again_in_its_place(door: Callable[..., Door]) -> None:
    running = door()
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    first = running.pids()
    os.kill(first[1], signal.SIGKILL)
    wait_until(lambda: running.pids()[1] != first[1], "worker 1 again")
    assert not exists(first[1])
    assert running.pids()[0] == first[0]
    running.send(signal.SIGTERM)
    assert running.ends_with() == 0
    assert [pid for pid in running.pids().values() if exists(pid)] == []


TELLING = """
def run(index):
    say("up", index, os.getpid())
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    told = {}
    while not stop:
        if workers.restarts() != told:
            told = workers.restarts()
            say("told", index, told["worker_restarts_total"], told["supervisor"] - os.getppid())
        time.sleep(0.02)
"""


def test_every_worker_tells_how_many_were_started_again(door: Callable[..., Door]) -> None:
    running = door(TELLING)

    def told(times: int) -> set[str]:
        """By which workers."""
        return {
            index for _, index, number, other in running.lines("told") if (int(number), other) == (times, "0")
        }

    wait_until(lambda: told(0) == {"0", "1"}, "two workers up")
    os.kill(running.pids()[1], signal.SIGKILL)
    wait_until(lambda: told(1) == {"0", "1"}, "both told of one")
    os.kill(running.pids()[0], signal.SIGKILL)
    wait_until(lambda: told(2) == {"0", "1"}, "both told of two")
    running.send(signal.SIGTERM)
    assert running.ends_with() == 0
    assert max(int(times) for _, _, times, _ in running.lines("told")) == 2


def test_who_has_no_parent_that_watches_tells_of_none() -> None:
    assert restarts() == {}


def test_workers_that_all_die_at_once_make_it_give_up_with_a_clear_line(door: Callable[..., Door]) -> None:
    running = door("def run(index):\n    say('try', index)\n    return 3", workers=2)
    assert running.ends_with() == 1
    tries = Counter(index for _, index in running.lines("try"))
    assert min(tries["0"], tries["1"]) == 5
    assert running.err.read_text().splitlines()[-1] == (
        "door: gave up: every worker died within a second of its start, 5 times in a row "
        "(last exit code 3); the reason is in the lines above, often a port in use"
    )


def test_a_worker_that_fails_says_why_and_the_others_go_on(door: Callable[..., Door]) -> None:
    code = (
        "def run(index):\n"
        "    if index == 0:\n        say('try', index)\n        raise RuntimeError('no luck')\n"
        "    return steady(index)"
    )
    running = door(code)
    wait_until(lambda: len(running.lines("try")) >= 6, "more attempts than five")
    assert "RuntimeError: no luck" in running.err.read_text()
    assert len(running.lines("up")) == 1
    running.send(signal.SIGTERM)
    running.ends_with()  # with 1 if worker 0 was failing just then
    assert running.lines("down") == [["down", "1"]]


def test_a_worker_ends_with_the_exit_code_that_it_asked_for(door: Callable[..., Door]) -> None:
    running = door("def run(index):\n    print('last words')\n    sys.exit('port in use')")
    assert running.ends_with() == 1
    died = running.err.read_text().count("event=worker_died")
    assert died >= 10
    assert running.err.read_text().count("port in use\n") == died + 1  # and the parent's guess
    assert len(running.lines("last")) == died  # each flushed once: not lost, and not written again by another


def test_sighup_reaches_every_worker_and_kills_none_that_is_not_ready(
    door: Callable[..., Door], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    code = (
        "def run(index):\n"
        "    say('begin', index, os.getpid())\n"
        f"    while not os.path.exists({str(gate)!r}):\n        time.sleep(0.01)\n"
        "    steady(index)"
    )
    running = door(code)
    wait_until(lambda: len(running.lines("begin")) == 2, "two workers without handlers")
    running.send(signal.SIGHUP)
    wait_until(lambda: "event=reload" in running.err.read_text(), "reload passed on")
    gate.touch()
    wait_until(lambda: len(running.lines("up")) == 2, "two workers up")
    assert len(running.lines("begin")) == 2
    running.send(signal.SIGHUP)
    wait_until(lambda: sorted(running.lines("reload")) == [["reload", "0"], ["reload", "1"]], "both reload")
    running.send(signal.SIGTERM)
    assert running.ends_with() == 0


STUBBORN = (
    "def run(index):\n"
    "    signal.signal(signal.SIGTERM, lambda *_: say('told', index))\n"
    "    say('up', index, os.getpid())\n"
    "    while True:\n        time.sleep(0.02)\n"
)


def test_a_worker_that_does_not_stop_is_killed_after_the_grace_time(
    door: Callable[..., Door], tmp_path: Path
) -> None:
    # The grace time passes when both have been told, and no sooner.
    code = (
        "since = workers.monotonic()\n"
        "workers.monotonic = lambda: since + 31 * both_told()\n"
        f"def both_told():\n    return open({str(tmp_path / 'out')!r}).read().count('told') == 2\n"
        "real = workers.select.select\n"
        "workers.select.select = lambda *waiting: real(*waiting[:3], 0.05)\n"
    )
    running = door(STUBBORN + code)
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    running.send(signal.SIGTERM)
    assert running.ends_with() == 1
    assert sorted(running.lines("told")) == [["told", "0"], ["told", "1"]]
    assert [pid for pid in running.pids().values() if exists(pid)] == []


def test_a_second_signal_kills(door: Callable[..., Door]) -> None:
    running = door(STUBBORN + "workers.IMPATIENT_AFTER = 0.0")
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    running.send(signal.SIGTERM)
    wait_until(lambda: len(running.lines("told")) == 2, "both told")
    assert all(runs(pid) for pid in running.pids().values())
    running.send(signal.SIGTERM)
    assert running.ends_with() == 1


def test_a_failed_end_shows_in_the_exit_code(door: Callable[..., Door]) -> None:
    running = door("def run(index):\n    steady(index)\n    return index")
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    running.send(signal.SIGTERM)
    assert running.ends_with() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_workers_end_when_their_parent_is_killed(door: Callable[..., Door]) -> None:
    running = door()
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    running.send(signal.SIGKILL)
    running.ends_with()
    wait_until(lambda: not any(runs(pid) for pid in running.pids().values()), "no orphan")
    assert sorted(running.lines("down")) == [["down", "0"], ["down", "1"]]


def test_other_children_of_the_parent_are_left_alone(door: Callable[..., Door]) -> None:
    code = (
        "import subprocess\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read(); sys.exit(5)'],"
        " stdin=subprocess.PIPE)\n"
        "say('other', other.pid)\n"
        "real = workers.serve\n"
        "def serve(*a, **k):\n"
        "    code = real(*a, **k)\n"
        "    other.stdin.close()\n"
        "    say('code', other.wait(180))\n"
        "    return code\n"
        "workers.serve = serve\n"
        "def run(index):\n"
        "    other.stdin.close()\n"
        "    return steady(index)"
    )
    running = door(code)
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    running.send(signal.SIGTERM)
    assert running.ends_with() == 0
    assert running.lines("code") == [["code", "5"]]


def test_the_handlers_of_the_caller_are_put_back(door: Callable[..., Door]) -> None:
    code = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "run = steady\nreal = workers.serve\n"
        "def serve(*a, **k):\n"
        "    code = real(*a, **k)\n"
        "    say('back', signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,"
        " signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, signal.set_wakeup_fd(-1))\n"
        "    return code\n"
        "workers.serve = serve"
    )
    running = door(code)
    wait_until(lambda: len(running.pids()) == 2, "two workers up")
    running.send(signal.SIGTERM)
    assert running.ends_with() == 0
    assert running.lines("back") == [["back", "True", "True", "-1"]]
