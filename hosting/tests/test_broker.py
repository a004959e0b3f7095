"""Celery with a Redis of its own, which is killed and comes back: no job is lost, none is done twice."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

from hosting.tests.house import PATIENCE, PROJECT, House, until
from hosting.tests.ports import reserved_port

HAS_REDIS = shutil.which("redis-server") is not None
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not HAS_REDIS, reason="redis-server is not installed"),
]

JOBS = 40
IN_THE_MIDDLE = 10


class Broker:
    """A Redis as docker-compose.yml runs it: every command is in its file before it is answered."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self.answers, "Redis to answer")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def an_hour_passes(self) -> None:
        """What no worker has said to be done is given out again; any worker sees to that.

        Not by `restore_visible`, as the workers do it: that does nothing while another one is at it, nor for
        five minutes after one was killed just then.
        """
        with Connection(self.url) as connection:
            for delivery in self.held():
                connection.channel().qos.restore_by_tag(delivery)  # type: ignore[attr-defined]  # the transport of Redis has it

    def waiting(self) -> tuple[int, int]:
        """Jobs that nobody has, and jobs that somebody has and has not done."""
        return int(self.client.llen("celery")), int(self.client.hlen("unacked"))

    def held(self) -> set[bytes | str]:
        """The deliveries that somebody has and has not done."""
        return set(self.client.hkeys("unacked"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with reserved_port() as port:  # also while it is away
        broker = Broker(folder, port)
        yield broker
        broker.client.close()
        broker.kill()


class Worker:
    """A real worker, with our settings and the jobs of hosting/tests/counting.py."""

    def __init__(self, house: House, broker: Broker, *pool: str) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        more = {"REDIS_URL": broker.url, "PYTHONPATH": str(PROJECT), "ENV_FILE": "/dev/null"}
        self.environment = inherited | house.settings | more
        self.root = house.root
        self.log_path = house.root / "worker.log"
        self.done_path = house.root / "done"
        command = ["celery", "-A", "hosting", "worker", "--loglevel", "INFO"]
        command += ["--include", "hosting.tests.counting"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *command, *pool],
                env=self.environment,
                cwd=house.root,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ask_for(self, count: int) -> None:
        """Put jobs into the queue, from another process, as web and beat do."""
        code = (
            "from hosting.tests.counting import count\n"
            f"for number in range({count}):\n"
            f"    count.delay({str(self.done_path)!r}, number)\n"
        )
        command = [sys.executable, str(PROJECT / "manage.py"), "shell", "--no-imports", "-c", code]
        subprocess.run(command, env=self.environment, cwd=self.root, check=True, timeout=PATIENCE)

    def hold_from(self, number: int) -> None:
        """From this one on jobs are begun and not ended."""
        self._held.write_text(str(number))

    def let_go(self) -> None:
        self._held.unlink()

    @property
    def _held(self) -> Path:
        return self.done_path.with_name("done.held")

    def has_begun(self, number: int) -> bool:
        begun = self.done_path.with_name("done.begun")
        return begun.exists() and str(number) in begun.read_text().split()

    def done(self) -> Counter[int]:
        """How often each job was done."""
        text = self.done_path.read_text() if self.done_path.exists() else ""
        return Counter(map(int, text.split()))

    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0

    def kill(self) -> None:
        """As a machine that dies: with its pool."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def close(self) -> None:
        print("-- worker --", *self.log_path.read_text().splitlines()[-60:], sep="\n")
        if self.process.poll() is None:
            self.kill()


@pytest.mark.parametrize("pool", [["--concurrency", "2"], ["--pool", "solo"]], ids=["processes", "solo"])
def test_while_the_broker_is_away_the_worker_waits_and_then_does_every_job_once(
    own_house: House, broker: Broker, pool: list[str], request: Any
) -> None:
    worker = Worker(own_house, broker, *pool)
    request.addfinalizer(worker.close)
    worker.hold_from(IN_THE_MIDDLE)
    worker.ask_for(JOBS)
    last = IN_THE_MIDDLE + ("2" in pool)
    until(
        lambda: worker.has_begun(IN_THE_MIDDLE) and worker.has_begun(last), "the worker to have no hand free"
    )
    given = broker.held()
    broker.kill()
    # It ends while the broker is away, which is not told of it.
    worker.let_go()
    until(lambda: worker.done()[IN_THE_MIDDLE], "the job to be done")
    until(lambda: "Error 111 connecting to" in worker.log(), "the worker to miss the broker")
    assert worker.process.poll() is None
    broker.start()
    # What the worker was given or was doing at that moment waits for its hour: some of it is done already.
    until(
        lambda: broker.waiting()[0] == 0 and broker.held() <= given, "the worker to do what is in the queue"
    )
    held, undone = len(broker.held()), JOBS - len(worker.done())
    assert worker.process.poll() is None
    broker.an_hour_passes()
    # Both: for a moment what a worker takes is neither in the queue nor its own.
    until(lambda: len(worker.done()) == JOBS and broker.waiting() == (0, 0), "what comes again")
    worker.stop()
    assert worker.done() == Counter(range(JOBS))
    assert worker.log().count(" redelivered done=True") >= held - undone


def test_of_a_worker_that_is_killed_no_job_is_lost_and_only_what_it_was_doing_can_be_done_twice(
    own_house: House, broker: Broker, request: Any
) -> None:
    worker = Worker(own_house, broker, "--concurrency", "1")
    request.addfinalizer(worker.close)
    worker.hold_from(IN_THE_MIDDLE)
    worker.ask_for(JOBS)
    until(lambda: worker.has_begun(IN_THE_MIDDLE), "the worker to be in the middle of a job")
    worker.kill()
    _, held = broker.waiting()
    assert held == 1
    worker.let_go()
    broker.an_hour_passes()
    another = Worker(own_house, broker, "--concurrency", "1")
    request.addfinalizer(another.close)
    until(lambda: len(another.done()) == JOBS and broker.waiting() == (0, 0), "the other to do the rest")
    another.stop()
    assert sorted(another.done()) == list(range(JOBS))
    assert another.done().total() - JOBS <= held


def test_a_job_that_takes_longer_than_the_broker_waits_for_it_is_not_begun_again(
    own_house: House, broker: Broker, request: Any
) -> None:
    worker = Worker(own_house, broker, "--concurrency", "2")
    request.addfinalizer(worker.close)
    worker.hold_from(0)
    worker.ask_for(1)
    until(lambda: worker.has_begun(0), "the worker to begin it")
    broker.an_hour_passes()
    until(lambda: " redelivered done=False" in worker.log(), "the job to come again")
    worker.let_go()
    until(lambda: broker.waiting() == (0, 0), "the job to be done")
    worker.stop()
    assert worker.done() == Counter([0])
