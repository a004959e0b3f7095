"""Lets the processes of the job queue be seen: what a worker has done, and that beat still sets jobs."""

import atexit
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from celery import signals

if TYPE_CHECKING:
    from mailboxes.beats import Heart

# Beat comes by every few seconds, for that is how often mail is made findable.
STANDS_STILL = 120.0
# The queue of long work (hosting/celery.py): a worker that takes nothing else is a kind of its own.
ERRANDS = "errands"

_hearts: list["Heart"] = []
_set = 0


def _begin(kind: str, figures: Callable[[], dict[str, float] | None]) -> None:
    from mailboxes.beats import Heart  # records can be read only when Django is set up

    _hearts.append(Heart(kind, figures))
    atexit.register(_end)


@signals.worker_ready.connect
def _worker_works(sender: Any, **_: Any) -> None:
    """In the worker's own process, not in those of its pool."""
    from celery.worker import state

    from hosting import jobs

    def figures() -> dict[str, float]:
        return {
            "jobs_total": sum(state.total_count.values()),
            "jobs_failed_total": jobs.failed(),
            "jobs_running": len(state.active_requests),
        }

    _begin("errands" if set(sender.app.amqp.queues.consume_from) == {ERRANDS} else "worker", figures)


@signals.beat_init.connect
def _beat_beats(sender: Any, **_: Any) -> None:
    def figures() -> dict[str, float] | None:
        last = getattr(sender, "_last_tick", None)
        if last is not None and monotonic() - last > STANDS_STILL:
            return None
        return {"jobs_set_total": _set}

    _begin("beat", figures)


@signals.after_task_publish.connect
def _job_set(**_: Any) -> None:
    global _set
    _set += 1


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    while _hearts:
        _hearts.pop().stop()
