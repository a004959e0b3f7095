"""Jobs are done by a real worker, over the folder that is the default queue and over Redis."""

# ruff: noqa: F811  # fixtures of other files come by their names

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone

from hosting.celery import app
from hosting.tests.house import PATIENCE, PROJECT, House, until
from hosting.tests.test_broker import HAS_REDIS, Broker, broker  # noqa: F401  # a Redis of the test's own
from mailboxes import messages
from mailboxes.models import Account, Folder, FolderKind, Message

pytestmark = pytest.mark.processes


def _environment(house: House, redis_url: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return (
        inherited
        | house.settings
        | {"REDIS_URL": redis_url, "PYTHONPATH": str(PROJECT), "ENV_FILE": "/dev/null"}
    )


@contextmanager
def worker(house: House, environment: dict[str, str]) -> Iterator[None]:
    command = ["-m", "celery", "-A", "hosting", "--quiet", "worker", "--pool", "solo", "--loglevel", "INFO"]
    with (house.root / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *command],
            env=environment,
            cwd=house.root,
            stdout=log,
            stderr=log,
        )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            print((house.root / "worker.log").read_text()[-3000:])


def _ask_for(job: str, house: House, environment: dict[str, str]) -> None:
    code = f"from mailboxes import tasks; tasks.{job}.delay()"
    command = [sys.executable, str(PROJECT / "manage.py"), "shell", "--no-imports", "-c", code]
    subprocess.run(command, env=environment, cwd=house.root, check=True, timeout=PATIENCE)


def _old_trash(house: House, ann: Account) -> Message:
    """A message that has lain in ann's trash for longer than it is kept."""
    house.smtpd()
    with house.lmtp() as client:
        client.deliver(b"Subject: old\r\n\r\nold\r\n", ann.login)
    [message] = house.messages(ann)
    trash = Folder.objects.get(mailbox=message.mailbox, kind=FolderKind.TRASH)
    messages.move(message.mailbox_id, [message.pk], trash)
    Message.objects.filter(pk=message.pk).update(moved_at=timezone.now() - timedelta(days=31))
    return message


def test_a_worker_empties_the_old_trash_when_it_is_asked_to_over_the_folder(own_house: House) -> None:
    _let_a_worker_empty_the_old_trash(own_house, "")


@pytest.mark.skipif(not HAS_REDIS, reason="redis-server is not installed")
def test_a_worker_empties_the_old_trash_when_it_is_asked_to_over_redis(
    own_house: House, broker: Broker
) -> None:
    _let_a_worker_empty_the_old_trash(own_house, broker.url)


def _let_a_worker_empty_the_old_trash(own_house: House, redis_url: str) -> None:
    environment = _environment(own_house, redis_url)
    ann = own_house.open("ann")
    old = _old_trash(own_house, ann)
    with worker(own_house, environment):
        _ask_for("retention", own_house, environment)
        until(lambda: not Message.objects.filter(pk=old.pk).exists(), "the worker to expunge old trash")
    assert own_house.box(ann).message_count == 0


def test_every_job_that_beat_sets_exists() -> None:
    app.loader.import_default_modules()
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
