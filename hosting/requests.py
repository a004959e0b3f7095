"""What a web process has counted: requests by kind of answer, how long they took, how many run now."""

import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic

from django.http import HttpRequest, HttpResponseBase

_lock = threading.Lock()
_counted: Counter[str] = Counter()
_seconds = 0.0
_running = 0


class CountRequests:
    """Middleware, the outermost: what it does takes a microsecond."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        global _running, _seconds
        with _lock:
            _running += 1
        began = monotonic()
        kind = "5xx"  # what is raised through here is answered so
        try:
            response = self.get_response(request)
            kind = f"{response.status_code // 100}xx"
            return response
        finally:
            with _lock:
                _running -= 1
                _counted[kind] += 1
                _seconds += monotonic() - began


def figures() -> dict[str, float]:
    """The numbers of this process, by the names that mailboxes/beats.py hands on."""
    with _lock:
        kinds = {f"requests_{kind}_total": _counted[kind] for kind in ("2xx", "3xx", "4xx", "5xx")}
        return kinds | {"requests_running": _running, "request_seconds_total": round(_seconds, 3)}
