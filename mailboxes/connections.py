"""The database connection of a thread that asks again and again."""

import threading
from time import monotonic

from django.db import close_old_connections, connection

# A connection that was used so lately is taken for alive. If it is not, the next question fails, temporarily,
# and the one after that gets a new connection.
FRESH_SECONDS = 1.0

_thread = threading.local()


def look_after_connection() -> None:
    """What a thread does before it asks: as `close_old_connections`, whose look whether PostgreSQL is still
    there is a round trip, but at most once a second while all goes well."""
    now = monotonic()
    if connection.errors_occurred or now - getattr(_thread, "looked", -FRESH_SECONDS) >= FRESH_SECONDS:
        _thread.looked = now
        close_old_connections()
