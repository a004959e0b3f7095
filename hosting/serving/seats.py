"""Seats: how many connections each account or network has, over all worker processes, without a lock."""

import hashlib
import mmap
import secrets

SLOTS = 65_536
"""Slots of a row, one octet each: a row is 64 KiB, and 1,000 busy keys meet a taken slot once in 65."""

MAX_LIMIT = 254
"""The highest limit: a row's octet holds at most limit + 1 for a moment, so it never overflows."""


class Seats:
    """A count per key with a limit, in memory that a parent makes before it forks its workers.

    The memory is one row of octets per worker. A worker writes its own row only, so no two processes ever
    write the same octet and no increment is lost; a key's count is the sum of its slot over all rows. A
    worker that dies leaves its row behind, and the one that takes its place clears it. Use it from one thread
    of a process (the event loop's). Two keys may share a slot (the slot is a hash under a random key, so that
    nobody can choose to share a victim's): then they share a limit, which refuses too early but never seats
    too many.
    """

    def __init__(self, *, workers: int, limit: int) -> None:
        """Make the shared memory: `workers` rows, and at most `limit` (1 to 254) seats for each key."""
        if workers < 1:
            raise ValueError(f"seats for {workers} workers: at least one is needed")
        if not 1 <= limit <= MAX_LIMIT:
            raise ValueError(f"a limit of {limit} seats: it must be from 1 to {MAX_LIMIT}")
        self.limit = limit
        self._workers = workers
        self._secret = secrets.token_bytes(32)
        # Anonymous, and shared with every process that is forked from this one.
        self._memory = mmap.mmap(-1, workers * SLOTS)
        self._row = 0

    def clear_row(self, index: int) -> None:
        """Make row `index` this process's own, and empty; a worker calls it first, whenever it starts."""
        if not 0 <= index < self._workers:
            raise ValueError(f"row {index} of {self._workers}")
        self._row = index * SLOTS
        self._memory[self._row : self._row + SLOTS] = bytes(SLOTS)

    def sit(self, key: bytes) -> bool:
        """Take a seat for the key; False, and nothing taken, when its seats are all taken.

        The seat is taken before the count is read, and given back when it was one too many. Of two workers
        that want the last seat at the same moment one or none gets it; reading first would give it to both.
        """
        slot = self._slot(key)
        self._memory[self._row + slot] += 1
        if self._count(slot) <= self.limit:
            return True
        self._memory[self._row + slot] -= 1
        return False

    def leave(self, key: bytes) -> None:
        """Give back a seat that this process took; ValueError when it holds none."""
        slot = self._slot(key)
        if not self._memory[self._row + slot]:
            raise ValueError("left a seat that was not taken here")
        self._memory[self._row + slot] -= 1

    def taken(self, key: bytes) -> int:
        """Return how many seats the key has, over all workers."""
        return self._count(self._slot(key))

    def _slot(self, key: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(key, digest_size=2, key=self._secret).digest(), "big")

    def _count(self, slot: int) -> int:
        return sum(self._memory[slot::SLOTS])
