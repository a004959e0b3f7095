"""How much work something is: so many times that of something ordinary, on the same machine.

Seconds would be other ones on each machine, and on this one when it is busy.
"""

import gc
import time
from collections.abc import Callable

# A processor may be slowed down just when one of the two is measured, and not for all of these.
TRIES = 5


def seconds_of(work: Callable[[], object]) -> float:
    """Of this thread's own time on a processor, without that of clearing away after others."""
    gc.collect()
    gc.disable()
    try:
        start = time.thread_time()
        work()
        return time.thread_time() - start
    finally:
        gc.enable()


class Ordinary:
    """What other work is measured by."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.seconds = min(seconds_of(work) for _ in range(2))

    def times(self, work: Callable[[], object], enough: float) -> float:
        """How many times the ordinary work is this one; what is below `enough` is not measured again."""
        least = seconds_of(work) / self.seconds
        for _ in range(TRIES):
            if least < enough:
                break
            least = min(least, seconds_of(work) / min(seconds_of(self.work) for _ in range(2)))
        return least
