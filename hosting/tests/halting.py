"""For a worker of the tests that is to be killed in the middle of an errand: there it says so, and waits."""

import os
import signal
from pathlib import Path

from mailboxes.errands import Work

# In which step of an errand it halts, and where it says so.
STEP = int(os.environ["HALT_AT_STEP"])
SAID = Path(os.environ["HALT_SAID"])

_step = Work.step
_steps = 0


def _halting(work: Work, done: int = 0) -> None:
    global _steps
    _step(work, done)
    _steps += 1
    if _steps == STEP:
        SAID.touch()
        while True:
            signal.pause()


Work.step = _halting  # type: ignore[assignment, method-assign]  # the same but for its default's name
