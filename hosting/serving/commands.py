"""Commands among the figures of a door, which `/metrics` takes apart again: one shape for both doors."""

from collections.abc import Iterable, Iterator, Mapping

PREFIX = "command "


def written(counted: Iterable[tuple[str, bool, int]]) -> dict[str, float]:
    """Figures of commands: their names, whether they went well, and how often."""
    return {f"{PREFIX}{name} {'ok' if good else 'refused'}": times for name, good, times in counted}


def read(figures: Mapping[str, float]) -> Iterator[tuple[str, str, float]]:
    """The same from among other figures: name, result (ok or refused), how often."""
    for figure, times in figures.items():
        if figure.startswith(PREFIX):
            name, _, result = figure.removeprefix(PREFIX).rpartition(" ")
            yield name, result, times
