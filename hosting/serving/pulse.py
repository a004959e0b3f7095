"""What a worker has counted, put together by its own clock: figures that are fresh prove that the loop runs.

Another thread hands them on. So nothing is locked, nothing is counted twice, and a worker whose event loop
stands still is not taken for one that works.
"""

from collections.abc import Callable, Mapping
from time import monotonic

EVERY = 5.0
"""Seconds between two looks; a look at 10,000 open sessions takes the loop a millisecond or two."""

STANDS_STILL = 30.0
"""A loop that has not come by for so many seconds does not serve anybody."""


class Pulse:
    """`count` is called by the clock of the door (`tick`), and its numbers are read by any thread."""

    def __init__(self, count: Callable[[], Mapping[str, float]]) -> None:
        self._count = count
        self._next = 0.0
        self._counted_at = monotonic()
        self._figures: Mapping[str, float] = {}

    def tick(self, now: float) -> None:
        if now < self._next:
            return
        self._next = now + EVERY
        self._figures = self._count()
        self._counted_at = now

    def figures(self) -> Mapping[str, float] | None:
        """The latest numbers; None when the loop stands still."""
        return self._figures if monotonic() - self._counted_at < STANDS_STILL else None
