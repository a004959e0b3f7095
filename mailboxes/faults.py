"""How often this process has logged a fault of its own: errors in the log, counted for who watches."""

import logging

# RFC 9110 sections 15.6.3 and 15.6.5: Bad Gateway, Gateway Timeout.
ELSEWHERE = {502, 504}


class FaultCounter(logging.Handler):
    """A handler that says nothing and counts: settings put it beside the one that writes."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        global _faults
        _faults += 1  # under the handler's own lock


class Ours(logging.Filter):
    """Lets pass what is said of requests, but for those that failed elsewhere: 502 and 504 mean that a server
    which a letter names did not answer, and are told to whoever asked."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", 0) not in ELSEWHERE


_faults = 0


def faults() -> int:
    """Errors since this process began, or was forked."""
    return _faults
