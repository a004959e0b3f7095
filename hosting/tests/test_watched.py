"""Every process of the house as whoever watches it sees it: real processes, scraped over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from hosting import probes
from hosting.tests.house import PATIENCE, PROJECT, STOP_PATIENCE, House, until
from hosting.tests.ports import reserved_port
from mailboxes import counts
from mailboxes.models import ProcessBeat

pytestmark = pytest.mark.processes
TOKEN = "only-for-prometheus"
KINDS = ("beat", "errands", "pop3d", "smtpd", "web", "worker")
LETTER = b"Subject: one\r\n\r\nHello\r\n"
_numbers = count(1)
Samples = dict[str, list[tuple[Mapping[str, str], float]]]


class Program:
    """gunicorn or celery, as the Procfile starts them."""

    def __init__(self, folder: Path, environment: dict[str, str], *words: str) -> None:
        self.log_path = folder / f"{words[0]}-{next(_numbers)}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *words],
                env=environment,
                cwd=PROJECT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def runs(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()[-5000:]
        return True

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


def environment_of(house: House, **more: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | house.settings | {"METRICS_TOKEN": TOKEN, "ENV_FILE": "/dev/null"} | more


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except URLError:
        return 0, ""


@contextmanager
def web(house: House, **more: str) -> Iterator[int]:
    with reserved_port() as port:
        # A worker that needs longer than this to come up is killed, and begins anew.
        words = ("gunicorn", "hosting.wsgi", "--bind", f"127.0.0.1:{port}", "--timeout", f"{PATIENCE:.0f}")
        program = Program(house.root, environment_of(house, **more), *words)
        try:
            until(lambda: program.runs() and ask(port, "/healthz")[0] == 200, "gunicorn to answer")
            yield port
        finally:
            program.stop()


def scrape(port: int) -> Samples:
    status, text = ask(port, "/metrics", Authorization=f"Bearer {TOKEN}")
    assert status == 200
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type in {"counter", "gauge"}
        assert family.type == "gauge" or family.samples == [] or family.samples[0].name.endswith("_total")
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def summed(samples: Samples, name: str) -> float:
    return sum(value for _, value in samples.get(name, []))


def commands(samples: Samples) -> dict[tuple[str, str, str], float]:
    """By kind of process, name and result: how often, over all processes."""
    found: Counter[tuple[str, str, str]] = Counter()
    for labels, value in samples.get("restante_commands_total", []):
        found[labels["kind"], labels["command"], labels["result"]] += int(value)
    return dict(found)


def alive(samples: Samples) -> dict[str, float]:
    return {labels["kind"]: value for labels, value in samples.get("restante_processes", [])}


def every_metric_of_the_dashboard() -> set[str]:
    text = (PROJECT / "docs" / "grafana" / "restante.json").read_text()
    panels = json.loads(text)["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(asked) > 20
    found = set(re.findall(r"\brestante_\w+", text))
    assert {name for expression in asked for name in re.findall(r"\brestante_\w+", expression)} <= found
    return found


def test_every_process_is_seen_with_what_it_has_done_and_the_dashboard_asks_for_nothing_else(
    own_house: House,
) -> None:
    house = own_house
    house.smtpd(workers=2)
    house.pop3d()
    ann = house.open("ann")
    celery = [
        Program(house.root, environment_of(house), "celery", "-A", "hosting", *words)
        for words in (
            ("worker", "--pool", "solo", "--loglevel", "WARNING"),
            (
                "worker",
                "--pool",
                "solo",
                "--loglevel",
                "WARNING",
                "--queues",
                "errands",
                "--hostname",
                "e@h",
            ),
            ("beat",),
        )
    ]
    try:
        with web(house) as port:
            with house.lmtp() as mail:
                for _ in range(3):
                    [reply] = mail.deliver(LETTER, ann.login)
                    assert reply.status == "250 2.0.0"
                assert mail.envelope("nobody@example.test")[0].status == "550 5.1.1"
            with house.log_in(ann) as session:
                session.retrieve(1)
                session.quit()

            def has_counted() -> Samples:
                now = scrape(port)
                done = summed(now, "restante_messages_in_total") == 3 and commands(now).get(
                    ("pop3d", "QUIT", "ok")
                )
                return now if done and min(alive(now).values()) > 0 else {}

            samples = until(has_counted, "every process to have told what it has done")
            running = {"beat": 1, "errands": 1, "pop3d": 1, "smtpd": 2, "web": 2, "worker": 1}
            assert alive(samples) == running
            assert summed(samples, "restante_messages_out_total") == 1
            assert summed(samples, "restante_logins_total") == 1
            assert summed(samples, "restante_recipients_refused_total") == 1
            told = commands(samples)
            assert {told["pop3d", name, "ok"] for name in ("USER", "PASS", "RETR", "QUIT")} == {1}
            assert (told["smtpd", "RCPT", "ok"], told["smtpd", "RCPT", "refused"]) == (3, 1)
            assert summed(samples, "restante_worker_restarts_total") == 0
            assert summed(samples, "restante_octets_in_total") >= 3 * len(LETTER)
            assert summed(samples, "restante_faults_total") == 0
            assert min(value for _, value in samples["restante_memory_bytes"]) > 20e6
            house.refusals("nobody@example.test")
            counts.count_hours()  # which the worker does every five minutes
            assert every_metric_of_the_dashboard() - set(scrape(port)) == set()
            assert ask(port, "/metrics", Authorization="Bearer wrong")[0] == 404
    finally:
        for program in celery:
            program.stop()
    # Who ends in good order takes his row along.
    house.door("smtpd").stop()
    house.door("pop3d").stop()
    until(lambda: not ProcessBeat.objects.exists(), "all rows to be gone")


def test_a_process_that_is_killed_is_shown_as_gone(own_house: House) -> None:
    house = own_house
    door = house.pop3d()
    [row] = until(lambda: list(ProcessBeat.objects.filter(kind="pop3d")), "the first beat")
    assert (row.pid, row.figures["faults"]) == (door.pid, 0)
    door.kill()
    # A minute later:
    ProcessBeat.objects.update(seen_at=timezone.now() - timedelta(seconds=61))
    with web(house) as port:
        until(lambda: alive(scrape(port))["web"], "gunicorn's own beat")
        samples = scrape(port)
        assert alive(samples)["pop3d"] == 0
        gone = {labels["kind"]: value for labels, value in samples["restante_processes_gone"]}
        assert gone["pop3d"] == 1


def test_a_worker_that_was_started_again_is_counted_once_and_for_its_door(own_house: House) -> None:
    house = own_house
    door = house.smtpd(workers=2)
    before = {row.pid for row in until(lambda: _beats(2), "the first beats")}
    os.kill(min(before), signal.SIGKILL)
    with web(house) as port:

        def restarts() -> list[tuple[Mapping[str, str], float]]:
            told = scrape(port).get("restante_worker_restarts_total", [])
            return told if told and told[0][1] else []

        [(labels, value)] = until(restarts, "a worker to have told of it")
        assert value == 1
        assert (labels["kind"], labels["supervisor"]) == ("smtpd", str(door.pid))


def _beats(number: int) -> list[ProcessBeat]:
    found = list(ProcessBeat.objects.filter(kind="smtpd"))
    return found if len(found) == number else []


@pytest.fixture
def silence() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def test_whatever_hangs_is_named_while_it_hangs(own_house: House, silence: int) -> None:
    assert probes.HANGS.seconds < 2, "what is promised of the pages"
    hanging = {
        # It would be waited for two hours, and the test would hang with it.
        "DATABASE_URL": f"postgres://x@127.0.0.1:{silence}/x?connect_timeout=7200",
        "REDIS_URL": f"redis://127.0.0.1:{silence}/0",
        "CONTENT_S3_BUCKET": "mail",
        "CONTENT_S3_ENDPOINT": f"http://127.0.0.1:{silence}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "WEB_CONCURRENCY": "1",
    }
    with web(own_house, **hanging) as port:
        for _ in range(5):  # no request waits for what another one has left hanging
            status, text = ask(port, "/metrics", Authorization=f"Bearer {TOKEN}")
            assert status == 200
            assert [line for line in text.splitlines() if line.startswith("restante_up{")] == [
                f'restante_up{{part="{part}"}} 0' for part in ("database", "content", "redis")
            ]
        status, text = ask(port, "/readyz")
        assert (status, json.loads(text)) == (
            503,
            {"status": "unavailable", "database": False, "content": False},
        )
        status, text = ask(port, "/console/health/")
        assert (status, "The database does not answer" in text) == (503, True)
        assert ask(port, "/healthz")[0] == 200
