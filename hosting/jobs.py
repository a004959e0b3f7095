"""A job is done once, also when the broker goes away under a worker that lives on.

Celery says that a job is done (acks it) after it was done, so that a worker that is killed loses none. If
Redis is away at that moment it is not told, and gives the same delivery out again once the visibility
timeout is over; so it does with a job that takes longer than that. The worker that began it knows better, and
does not begin it again. A worker that was killed knows nothing: what it was doing is done again by another,
so every job must bear being begun twice.
"""

import logging
from collections import OrderedDict
from typing import Any

from celery import Task
from celery.worker.request import Request
from celery.worker.state import task_ready

log = logging.getLogger(__name__)

# Only those of the minute in which the broker went away matter; this is some hours' worth.
REMEMBERED_MAX = 10_000

# Deliveries that this worker has begun, and whether they are done. Not by the job's id: a job that tries
# again has the same, in a delivery of its own.
_begun: OrderedDict[str, bool] = OrderedDict()
_failed = 0


def failed() -> int:
    """Jobs that this worker has seen fail."""
    return _failed


class Once(Request):
    """A delivery of a job, as the worker holds it."""

    _mine = False  # this very object has begun it, and not one that came before

    def revoked(self) -> bool:
        """Whether it is not to be done: asked, perhaps twice, before it goes to the pool."""
        if not self._mine and self._tag in _begun:
            log.info("job=%s id=%s redelivered done=%s", self.name, self.id, _begun[self._tag])
            task_ready(self)
            if _begun[self._tag]:
                self.acknowledge()
            return True
        if super().revoked():
            return True
        self._mine = True
        _begun[self._tag] = False
        if len(_begun) > REMEMBERED_MAX:
            _begun.popitem(last=False)
        return False

    def acknowledge(self) -> None:
        if self._tag in _begun:
            _begun[self._tag] = True
        super().acknowledge()

    def reject(self, requeue: bool = False) -> None:
        _begun.pop(self._tag, None)
        super().reject(requeue)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        global _failed
        _failed += 1
        return super().on_failure(exc_info, send_failed_event, return_ok)

    @property
    def _tag(self) -> str:
        return str(self.message.delivery_tag)


class Job(Task):  # type: ignore[type-arg]  # it is generic in the stubs only
    """What every task of Restante is."""

    Request = Once  # type: ignore[assignment]  # the stubs know its default only, a name
