"""What a door writes of its commands is what `/metrics` reads."""

import pytest

from hosting.serving import commands

pytestmark = pytest.mark.once


def test_what_is_written_is_read_again_among_other_figures() -> None:
    counted = [("USER", True, 3), ("USER", False, 1), ("MAIL FROM", True, 2)]
    figures = {"connections": 4.0, **commands.written(counted), "commanding": 1.0}
    assert list(commands.read(figures)) == [("USER", "ok", 3), ("USER", "refused", 1), ("MAIL FROM", "ok", 2)]
