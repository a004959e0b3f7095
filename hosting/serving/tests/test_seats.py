"""Seats, alone and across forked processes."""

import os
from collections.abc import Callable

import pytest

from hosting.serving.seats import MAX_LIMIT, Seats

pytestmark = pytest.mark.once


def in_child(act: Callable[[], int | None]) -> int:
    """Run `act` in a forked process to its end; return its result, None as 0 (255: it raised)."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = act() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def sit_often(seats: Seats, row: int, key: bytes, times: int) -> int:
    seats.clear_row(row)
    return sum(seats.sit(key) for _ in range(times))


def test_a_key_has_as_many_seats_as_the_limit_and_a_seat_left_is_free_again() -> None:
    seats = Seats(workers=1, limit=2)
    assert [seats.sit(b"ann") for _ in range(3)] == [True, True, False]
    assert seats.taken(b"ann") == 2
    seats.leave(b"ann")
    assert [seats.sit(b"ann"), seats.sit(b"ann")] == [True, False]


def test_one_key_takes_nothing_from_another() -> None:
    seats = Seats(workers=1, limit=1)
    seats._slot = lambda key: {b"ann": 7, b"bob": 8}[key]  # type: ignore[method-assign]
    assert [seats.sit(b"ann"), seats.sit(b"bob"), seats.sit(b"ann")] == [True, True, False]


def test_keys_that_share_a_slot_are_refused_early_and_never_late() -> None:
    seats = Seats(workers=1, limit=3)
    seats._slot = lambda key: 7  # type: ignore[method-assign]
    assert [seats.sit(key) for key in (b"ann", b"bob", b"ann", b"bob")] == [True, True, True, False]


def test_slots_depend_on_a_secret_and_fill_the_row() -> None:
    one, other = Seats(workers=1, limit=1), Seats(workers=1, limit=1)
    keys = [str(number).encode() for number in range(2000)]
    assert [one._slot(key) for key in keys] != [other._slot(key) for key in keys]
    assert len({one._slot(key) for key in keys}) > 1900


def test_two_processes_share_one_limit() -> None:
    seats = Seats(workers=2, limit=5)
    assert in_child(lambda: sit_often(seats, 1, b"ann", 3)) == 3
    assert seats.taken(b"ann") == 3
    assert sit_often(seats, 0, b"ann", 4) == 2


def test_a_restarted_worker_clears_its_own_row_only() -> None:
    seats = Seats(workers=2, limit=5)
    assert sit_often(seats, 0, b"ann", 2) == 2
    assert in_child(lambda: sit_often(seats, 1, b"ann", 3)) == 3  # and ended without leaving
    assert seats.sit(b"ann") is False
    assert in_child(lambda: seats.clear_row(1)) == 0
    assert seats.taken(b"ann") == 2
    assert seats.sit(b"ann") is True


def test_processes_that_sit_at_the_same_moment_never_exceed_the_limit() -> None:
    seats = Seats(workers=3, limit=10)

    def crowd(row: int) -> None:
        seats.clear_row(row)
        for _ in range(3000):
            if seats.sit(b"ann"):
                # One or two others may be about to give back a seat that was one too many.
                assert seats.taken(b"ann") <= seats.limit + 2
                seats.leave(b"ann")

    pids = []
    for row in (1, 2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                crowd(row)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    crowd(0)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert seats.taken(b"ann") == 0


@pytest.mark.parametrize("moment", ["just before the count", "just after the count"])
def test_of_two_who_want_the_last_seat_at_once_not_both_get_it(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    seats = Seats(workers=2, limit=1)
    count = seats._count
    others: list[bool] = []

    def other_sits_meanwhile(slot: int) -> int:
        monkeypatch.undo()
        early = count(slot)
        mine, seats._row = seats._row, 65_536
        others.append(seats.sit(b"ann"))
        seats._row = mine
        return early if moment == "just after the count" else count(slot)

    monkeypatch.setattr(seats, "_count", other_sits_meanwhile)
    assert sum([seats.sit(b"ann"), *others]) <= 1
    assert len(others) == 1


def test_the_highest_limit_does_not_overflow_an_octet() -> None:
    seats = Seats(workers=1, limit=MAX_LIMIT)
    assert sum(seats.sit(b"ann") for _ in range(300)) == MAX_LIMIT
    assert seats.taken(b"ann") == MAX_LIMIT


def test_nobody_leaves_a_seat_that_is_not_theirs() -> None:
    seats = Seats(workers=2, limit=2)
    assert seats.sit(b"ann")
    seats.clear_row(1)
    with pytest.raises(ValueError, match="not taken here"):
        seats.leave(b"ann")
    assert seats.taken(b"ann") == 1


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
def test_a_limit_that_an_octet_cannot_hold_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 254"):
        Seats(workers=1, limit=limit)


def test_wrong_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Seats(workers=0, limit=1)
    with pytest.raises(ValueError, match="row 2 of 2"):
        Seats(workers=2, limit=1).clear_row(2)
