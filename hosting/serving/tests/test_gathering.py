"""Calls that wait at the same moment are done together, each with an outcome of its own."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from hosting.serving.gathering import Gathering
from hosting.serving.pool import PoolBusy

pytestmark = pytest.mark.once
PATIENCE = 180.0  # only a test that fails waits so long


class Doubling:
    """Doubles numbers; holds the first batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return [number * 2 if number >= 0 else ValueError(number) for number in numbers]


async def gathered(gathering: Gathering[int, int], do: Doubling, *numbers: int) -> list[int | BaseException]:
    """Ask for the first, and for the others while it is being done."""
    first = asyncio.ensure_future(gathering.run(numbers[0]))
    await asyncio.to_thread(do.begun.wait, PATIENCE)
    others = [asyncio.ensure_future(gathering.run(number)) for number in numbers[1:]]
    await asyncio.sleep(0)
    do.go_on.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_what_comes_meanwhile_is_done_together() -> None:
    do = Doubling()
    gathering = Gathering(do, "test")
    assert asyncio.run(gathered(gathering, do, 1, 2, 3, 4)) == [2, 4, 6, 8]
    assert do.batches == [[1], [2, 3, 4]]
    assert gathering.shutdown()


def test_a_batch_has_a_bound() -> None:
    do = Doubling()
    gathering = Gathering(do, "test", most=2)
    assert asyncio.run(gathered(gathering, do, 1, 2, 3, 4)) == [2, 4, 6, 8]
    assert do.batches == [[1], [2, 3], [4]]
    assert gathering.shutdown()


def test_each_hears_of_its_own_fault() -> None:
    do = Doubling()
    gathering = Gathering(do, "test")
    one, bad, two = asyncio.run(gathered(gathering, do, 1, -1, 2))
    assert (one, repr(bad), two) == (2, "ValueError(-1)", 4)
    assert gathering.shutdown()


def test_a_fault_of_all_is_raised_to_all_and_the_thread_goes_on() -> None:
    faults = [OSError("away")]

    def do(numbers: Sequence[int]) -> list[int | Exception]:
        if faults:
            raise faults.pop()
        return list(numbers)

    async def twice(gathering: Gathering[int, int]) -> int:
        with pytest.raises(OSError, match="away"):
            await gathering.run(1)
        return await gathering.run(2)

    gathering = Gathering(do, "test")
    assert asyncio.run(twice(gathering)) == 2
    assert gathering.shutdown()


def test_who_has_given_up_harms_nobody() -> None:
    async def give_up(gathering: Gathering[int, int], do: Doubling) -> int:
        first = asyncio.ensure_future(gathering.run(1))
        await asyncio.to_thread(do.begun.wait, PATIENCE)
        first.cancel()
        do.go_on.set()
        return await gathering.run(2)

    do = Doubling()
    gathering = Gathering(do, "test")
    assert asyncio.run(give_up(gathering, do)) == 4
    assert gathering.shutdown()


def test_no_more_wait_than_there_is_room_for() -> None:
    async def fill(gathering: Gathering[int, int], do: Doubling) -> int:
        first = asyncio.ensure_future(gathering.run(1))
        await asyncio.sleep(0)
        with pytest.raises(PoolBusy, match="test: 1 calls are waiting"):
            await gathering.run(2)
        do.go_on.set()
        return await first

    do = Doubling()
    gathering = Gathering(do, "test", max_waiting=1)
    assert asyncio.run(fill(gathering, do)) == 2
    assert gathering.shutdown()


def test_after_the_shutdown_nothing_is_taken_and_the_thread_cleans_up() -> None:
    ended: list[str] = []
    gathering: Gathering[int, int] = Gathering(list, "test", at_end=lambda: ended.append("end"))
    assert asyncio.run(gathering.run(1)) == 1
    assert gathering.shutdown()
    assert ended == ["end"]
    with pytest.raises(PoolBusy):
        asyncio.run(gathering.run(2))
