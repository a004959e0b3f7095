"""Fills the house that the bench measures: `python -m bench.fill MESSAGES_OF_THE_HUGE_MAILBOX`."""

import os
import sys

import django

django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402

from bench.server import (  # noqa: E402
    BIG,
    BIG_COUNT,
    BIG_OCTETS,
    DOMAIN,
    HUGE,
    PASSWORD,
    SMALL,
    SMALL_COUNT,
    SMALL_OCTETS,
    USERS,
    message,
    user,
)
from mailboxes import accounts  # noqa: E402
from mailboxes.addresses import Route, resolve  # noqa: E402
from mailboxes.content import facts_of  # noqa: E402
from mailboxes.delivery import Arrival, deliver  # noqa: E402
from mailboxes.storage import Spool  # noqa: E402

BATCH = 1_000


def fill(huge: int) -> None:
    """Nothing of this has to outlast a crash, so the files are not synced one by one."""
    os.fdatasync = os.fsync = lambda descriptor: None  # type: ignore[assignment]
    accounts.create_domain(DOMAIN)
    encoded = make_password(PASSWORD)
    vars(accounts)["make_password"] = lambda password: encoded
    for number in range(USERS):
        accounts.open_account(user(number), PASSWORD)
    for number in SMALL:
        _deliver(number, SMALL_COUNT, SMALL_OCTETS)
    for number in BIG:
        _deliver(number, BIG_COUNT, BIG_OCTETS)
    for _ in range(0, huge, BATCH):
        _deliver(HUGE, min(BATCH, huge), 1_000)


def _deliver(number: int, count: int, octets: int) -> None:
    route, wire = resolve(user(number)), message(number, octets)
    deliver([_arrival(route, wire) for _ in range(count)])


def _arrival(route: Route, wire: bytes) -> Arrival:
    spool = Spool()
    spool.add(wire)
    facts, octets = facts_of(spool.head), spool.wire_octets
    return Arrival(spool.keep(), octets, octets, [route], "sender@elsewhere.test", facts, "bench")


if __name__ == "__main__":
    fill(int(sys.argv[1]))
    os.sync()
