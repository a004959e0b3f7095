"""A server for the protocols in which Postfix asks: it answers at once, and remembers what was asked."""

from collections.abc import Callable
from typing import Any

from smtpd.asking import Asking
from smtpd.events import Close


class Asked:
    """`reply` makes the answer to each question."""

    def __init__(self, connection: Asking[Any], reply: Callable[[Any], Any]) -> None:
        self.connection: Any = connection
        self.reply = reply
        self.asked: list[Any] = []
        self.output = b""
        self.closed = 0

    def feed(self, data: bytes, *sizes: int) -> None:
        """In pieces of these sizes, and then the rest."""
        for size in sizes:
            self._feed(data[:size])
            data = data[size:]
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        self.connection.receive(data)
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, Close):
                self.closed += 1
            else:
                self.asked.append(event)
                self.connection.answer(self.reply(event))
        self.output += self.connection.take_output()

    @property
    def seen(self) -> tuple[list[Any], bytes, int]:
        return self.asked, self.output, self.closed
