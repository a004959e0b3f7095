"""When the mail that comes will have filled the room there is: a straight line through the last days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import sqrt

# With less than a week of days a line says more about weekends than about growth.
LEAST_DAYS = 7
FITTED_DAYS = 30
# Beyond this nobody should believe a straight line.
FARTHEST_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Forecast:
    """`per_day` octets, give or take `error` (95%, if days vary as they did), from so many `days`."""

    days: int
    per_day: float
    error: float

    def full_in(self, room: int) -> int | None:
        """Days until so many octets are filled; None: not within ten years."""
        return _days(room, self.per_day)

    def earliest(self, room: int) -> int | None:
        return _days(room, self.per_day + self.error)

    def latest(self, room: int) -> int | None:
        return _days(room, self.per_day - self.error)


def _days(room: int, per_day: float) -> int | None:
    if per_day <= 0 or room > per_day * FARTHEST_DAYS:
        return None
    return max(0, int(room / per_day))


def forecast(points: Sequence[tuple[date, int]]) -> Forecast | None:
    """The line of least squares through (day, octets); None when the days span less than a week."""
    if len(points) < LEAST_DAYS:
        return None
    first = points[0][0]
    days = [(day - first).days for day, _ in points]
    octets = [float(value) for _, value in points]
    number = len(points)
    middle_day, middle = sum(days) / number, sum(octets) / number
    spread = sum((day - middle_day) ** 2 for day in days)
    slope = sum((d - middle_day) * (o - middle) for d, o in zip(days, octets, strict=True)) / spread
    rest = sum((o - middle - slope * (d - middle_day)) ** 2 for d, o in zip(days, octets, strict=True))
    return Forecast(number, slope, _t(number - 2) * sqrt(rest / (number - 2) / spread))


def _t(degrees: int) -> float:
    """Student's t for 95%, two-sided, to within 2% from 5 degrees of freedom on."""
    return 1.96 + 3.0 / degrees
