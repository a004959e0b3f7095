"""A maildrop as one session sees it: with the messages that it has marked as deleted."""

from __future__ import annotations

from typing import Final, Protocol

from pop3d import texts
from pop3d.texts import Refusal

MAX_DIGITS: Final = 10  # of a number: holds 2**31, and int() never sees a whole line of digits


class Maildrop(Protocol):
    """The messages of a session as they were at login, numbered from 1. They never change."""

    @property
    def count(self) -> int: ...

    @property
    def octets(self) -> int: ...

    def octets_of(self, number: int) -> int: ...

    def uidl_of(self, number: int) -> str: ...

    def scan_listing(self) -> bytes:
        """`1 120\\r\\n2 200\\r\\n`: one line for every message, in order, without the final dot."""

    def unique_listing(self) -> bytes:
        """`1 uid\\r\\n2 uid\\r\\n`: the same with unique ids."""


class Marks:
    """RFC 1939 section 5: what is marked is neither counted nor listed; the others keep their numbers."""

    __slots__ = ("_deleted", "_deleted_octets", "maildrop")

    def __init__(self, maildrop: Maildrop) -> None:
        self.maildrop = maildrop
        self._deleted: set[int] = set()
        self._deleted_octets = 0

    def number(self, argument: bytes) -> int:
        """The message that is meant, with every way in which its number can be wrong."""
        if not argument:
            raise Refusal(texts.WHICH_MESSAGE)
        if not argument.isdigit():
            raise Refusal(texts.NOT_A_NUMBER)
        count = self.maildrop.count
        if len(argument) > MAX_DIGITS or not 1 <= (number := int(argument)) <= count:
            raise Refusal(texts.NO_SUCH_MESSAGE, count, bad=False)
        if number in self._deleted:
            raise Refusal(texts.MESSAGE_DELETED, number, bad=False)
        return number

    def delete(self, number: int) -> None:
        """`number` comes from number(), so it is not marked yet."""
        self._deleted.add(number)
        self._deleted_octets += self.maildrop.octets_of(number)

    def reset(self) -> None:
        self._deleted.clear()
        self._deleted_octets = 0

    @property
    def deleted(self) -> tuple[int, ...]:
        """The marked numbers, ascending."""
        return tuple(sorted(self._deleted))

    def totals(self) -> tuple[int, int]:
        """Messages, and their octets."""
        return self.maildrop.count - len(self._deleted), self.maildrop.octets - self._deleted_octets

    def unmarked(self, listing: bytes) -> bytes:
        """A listing without the lines of marked messages: the very same bytes when there are none."""
        if not self._deleted:
            return listing
        lines = listing.splitlines(keepends=True)
        for number in self._deleted:
            lines[number - 1] = b""
        return b"".join(lines)
