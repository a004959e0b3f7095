"""Jobs of the tests: each says that it has begun, and then that it is done, so that both can be counted."""

import os
import time
from pathlib import Path

from celery import shared_task


@shared_task(name="counting.count")
def count(path: str, number: int) -> None:
    """Say in a file that this job has begun, wait while the test holds it, and say that it is done."""
    _say(f"{path}.begun", number)
    while _is_held(path, number):
        time.sleep(0.01)
    _say(path, number)


def _is_held(path: str, number: int) -> bool:
    """Whether the test holds the jobs from some number on, of which this is one."""
    try:
        return number >= int(Path(f"{path}.held").read_text())
    except FileNotFoundError:
        return False


def _say(path: str, number: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b"%d\n" % number)
    finally:
        os.close(descriptor)
