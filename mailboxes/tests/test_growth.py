"""The forecast is the line that the points lie on, and as sure of itself as they agree."""

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailboxes.growth import LEAST_DAYS, Forecast, forecast

pytestmark = pytest.mark.once
FIRST = date(2026, 11, 1)


def points(*octets: int) -> list[tuple[date, int]]:
    return [(FIRST + timedelta(days=day), value) for day, value in enumerate(octets)]


@settings(deadline=None)  # the machine may be busy
@given(st.integers(7, 30), st.integers(0, 10**12), st.integers(0, 10**9))
def test_points_on_a_line_give_that_line_without_a_doubt(days: int, start: int, per_day: int) -> None:
    found = forecast(points(*(start + day * per_day for day in range(days))))
    assert found is not None
    assert found.days == days
    assert found.per_day == pytest.approx(per_day, rel=1e-6, abs=1)
    assert found.error == pytest.approx(0, abs=max(1.0, per_day * 1e-3, start * 1e-9))


def test_less_than_a_week_is_no_forecast() -> None:
    assert forecast(points(*range(LEAST_DAYS - 1))) is None
    assert forecast(points(*range(LEAST_DAYS))) is not None
    assert forecast([]) is None


def test_days_that_nobody_counted_leave_the_line_where_it_is() -> None:
    all_days = points(*(100 * day for day in range(12)))
    found = forecast([one for number, one in enumerate(all_days) if number not in {3, 4, 9}])
    assert found is not None
    assert found.per_day == pytest.approx(100)


def test_the_error_is_what_statistics_says() -> None:
    # Worked out by hand: residuals of +-10 around 100 a day, 8 days.
    found = forecast(points(*(100 * day + (10 if day % 2 else -10) for day in range(8))))
    assert found is not None
    assert found.per_day == pytest.approx(100 + 20 * 4 / 42 / 2, abs=0.01)
    assert found.error == pytest.approx(4.1, abs=0.3)


def test_the_range_lies_around_the_day() -> None:
    found = Forecast(days=30, per_day=100.0, error=20.0)
    assert (found.earliest(12_000), found.full_in(12_000), found.latest(12_000)) == (100, 120, 150)
    assert Forecast(30, 10.0, 20.0).latest(1_000) is None
    assert Forecast(30, -5.0, 1.0).full_in(1_000) is None
    assert Forecast(30, 0.001, 0.0).full_in(10**9) is None
    assert Forecast(30, 1.0, 0.0).full_in(0) == 0
