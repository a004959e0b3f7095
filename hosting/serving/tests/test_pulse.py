"""Figures come from the loop's own clock; a loop that stands still gives none."""

from time import monotonic

import pytest

from hosting.serving import pulse
from hosting.serving.pulse import EVERY, STANDS_STILL, Pulse

pytestmark = pytest.mark.once


def test_figures_are_put_together_now_and_then() -> None:
    counted: list[int] = []

    def count() -> dict[str, float]:
        counted.append(1)
        return {"looks": len(counted)}

    one, now = Pulse(count), monotonic()
    assert one.figures() == {}  # it has only just begun
    one.tick(now)
    one.tick(now + EVERY / 2)
    assert one.figures() == {"looks": 1}
    one.tick(now + EVERY)
    assert one.figures() == {"looks": 2}


def test_a_loop_that_stands_still_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    one, now = Pulse(lambda: {"looks": 1}), monotonic()
    one.tick(now)
    monkeypatch.setattr(pulse, "monotonic", lambda: now + STANDS_STILL + 1)
    assert one.figures() is None
    one.tick(now + STANDS_STILL + 1)
    assert one.figures() == {"looks": 1}
