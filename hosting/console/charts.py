"""Plots made on the server: SVG that needs no script and can be read aloud, with its numbers as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, log, log10

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

WIDTH, HEIGHT = 400, 132
WIDE = 720  # of a plot that has twice the room
LEFT, TOP, FLOOR = 68, 8, 110  # on the left there is room for "1000 Bytes"
SERIES_MAX = 5  # as many colours as can be told apart in both themes
LABELS_MAX = 6

Say = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Series:
    """What is counted, under the name that people read."""

    name: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Plot:
    """`rows` are the numbers behind it, newest first, as texts."""

    title: str
    total: str
    svg: SafeString
    legend: Sequence[tuple[int, str, str]]
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: float) -> str:
    return f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def stacked(
    title: str,
    when: str,
    labels: Sequence[str],
    series: Sequence[Series],
    say: Say = number,
    base: float = 10.0,
    *,
    named: bool = False,
) -> Plot:
    """Bars over time, one column for each label, in which the series stand upon one another. `named`: with
    a legend although there is only one series, whose name the title does not say."""
    series = fold(series)
    sums = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
    most = max(sums, default=0)
    top = nice(most, base)
    total = say(sum(sums))
    svg = _frame(
        _("%(title)s: %(total)s in all, %(most)s at most")
        % {"title": title, "total": total, "most": say(most)},
        top,
        labels,
        say,
        _bars(labels, series, top, say),
    )
    legend = [(place, one.name, say(one.total)) for place, one in enumerate(series, 1)]
    return Plot(
        title,
        total,
        svg,
        legend if named or len(series) > 1 else [],
        [when, *(one.name for one in series)],
        [
            [label, *(say(one.values[place]) for one in series)]
            for place, label in reversed(list(enumerate(labels)))
        ],
    )


def fold(series: Sequence[Series]) -> list[Series]:
    """At most SERIES_MAX: the smaller ones are summed up."""
    if len(series) <= SERIES_MAX:
        return list(series)
    kept, rest = series[: SERIES_MAX - 1], series[SERIES_MAX - 1 :]
    others = [sum(values) for values in zip(*(one.values for one in rest), strict=True)]
    name = ngettext("%(n)d other", "%(n)d others", len(rest)) % {"n": len(rest)}
    return [*kept, Series(name, others)]


def line(
    title: str, when: str, labels: Sequence[str], values: Sequence[int], say: Say, base: float = 10.0
) -> Plot:
    """One wide line over time, from zero, so that growth looks as large as it is."""
    top = nice(max(values, default=0), base)
    step = (WIDE - LEFT) / max(1, len(values) - 1)
    points = [(LEFT + place * step, _height(value, top)) for place, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    shape = format_html(
        '<polygon class="under" points="{} {}"></polygon><polyline class="over" points="{}"></polyline>',
        path,
        f"{LEFT + (len(values) - 1) * step:.1f},{FLOOR} {LEFT},{FLOOR}",
        path,
    )
    newest = say(values[-1]) if values else ""
    told = _("%(title)s: from %(first)s to %(last)s") % {
        "title": title,
        "first": say(values[0]) if values else "",
        "last": newest,
    }
    rows = [[label, say(value)] for label, value in zip(labels, values, strict=True)][::-1]
    return Plot(title, newest, _frame(told, top, labels, say, shape, WIDE), [], [when, title], rows)


def nice(most: float, base: float = 10.0) -> float:
    """The end of a scale: a round number of a power of ten, or of KB, MB and so on (`base` 1024), not below
    the largest value."""
    if most <= 1:
        return 1.0
    unit = base ** floor(log(most, base) + 1e-9)
    power = unit * 10.0 ** floor(log10(most / unit) + 1e-9)
    return next(factor * power for factor in (1, 2, 3, 4, 5, 6, 8, 10) if factor * power >= most)


def _height(value: float, top: float) -> float:
    return FLOOR - (FLOOR - TOP) * value / top


def _bars(labels: Sequence[str], series: Sequence[Series], top: float, say: Say) -> SafeString:
    step = (WIDTH - LEFT) / max(1, len(labels))
    gap = min(3.0, step * 0.25)
    return format_html_join("", "{}", ((bar,) for bar in _columns(labels, series, top, say, step, gap)))


def _columns(
    labels: Sequence[str], series: Sequence[Series], top: float, say: Say, step: float, gap: float
) -> Sequence[SafeString]:
    made = []
    for place, label in enumerate(labels):
        below = 0.0
        for colour, one in enumerate(series, 1):
            value = one.values[place]
            if not value:
                continue
            # What is there is seen, however small.
            height = max((FLOOR - TOP) * value / top, 1.0)
            name = f"{one.name} " if len(series) > 1 else ""
            made.append(
                format_html(
                    '<rect class="s{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                    colour,
                    round(LEFT + place * step + gap / 2, 1),
                    round(FLOOR - below - height, 1),
                    round(step - gap, 1),
                    round(height, 1),
                    f"{label}: {name}{say(value)}",
                )
            )
            below += height
    return made


def _frame(
    told: str, top: float, labels: Sequence[str], say: Say, inside: SafeString, width: int = WIDTH
) -> SafeString:
    """Scale, lines and times around what is plotted."""
    lines = format_html_join(
        "",
        '<line x1="{}" y1="{}" x2="{}" y2="{}"></line><text class="scale" x="{}" y="{}">{}</text>',
        (
            (LEFT, y, width, y, LEFT - 5, y + 3.5, say(value) if value else "0")
            for value in ((0.0, top / 2, top) if top >= 2 else (0.0, top))
            for y in [round(_height(value, top), 1)]
        ),
    )
    return format_html(
        '<svg class="chart{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        " large" if width == WIDE else "",
        width,
        HEIGHT,
        told,
        lines,
        inside,
        _times(labels, width),
    )


def _times(labels: Sequence[str], width: int) -> SafeString:
    """Some of the labels, evenly spread, so that they do not touch."""
    if not labels:
        return mark_safe("")
    step = (width - LEFT) / len(labels)
    every = -(-len(labels) * WIDTH // (LABELS_MAX * width))
    return format_html_join(
        "",
        '<text class="time{}" x="{}" y="{}">{}</text>',
        (
            (
                " second" if place // every % 2 else "",
                round(LEFT + place * step, 1),
                FLOOR + 15,
                label.split(" ")[-1] if ":" in label else label,
            )
            for place, label in enumerate(labels)
            if place % every == 0
        ),
    )
