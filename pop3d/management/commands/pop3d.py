"""Serve POP3: `manage.py pop3d --listen 127.0.0.1:2110 --listen-tls 127.0.0.1:2995 [--workers N]`."""

import os
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from hosting.serving.accepting import Listener
from hosting.serving.addresses import ListenError, parse_listen
from hosting.serving.connection import Connection
from hosting.serving.door import Door, Limits
from hosting.serving.gathering import Gathering
from hosting.serving.pool import VerbPool
from hosting.serving.process import Certificate, Place, complain, run_door
from hosting.serving.pulse import Pulse
from hosting.serving.seats import Seats
from hosting.serving.tls import TLSConfigurationError
from mailboxes import storage
from mailboxes.beats import beating
from mailboxes.connections import look_after_connection
from mailboxes.records import Recorder
from pop3d.figures import figures
from pop3d.maildrop import recall_all
from pop3d.server import SESSIONS_PER_ACCOUNT, LeaseKeeper, POP3Connection, Services


class Command(BaseCommand):
    help = "Serve POP3 (RFC 1939) over the stored messages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--listen", action="append", default=[], metavar="HOST:PORT", help="POP3, with STLS (port 110)"
        )
        parser.add_argument(
            "--listen-tls",
            action="append",
            default=[],
            metavar="HOST:PORT",
            help="POP3 within TLS (port 995)",
        )
        parser.add_argument("--workers", type=int, default=1, help="processes that share the ports")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            places = [Place("pop3", parse_listen(text)) for text in options["listen"]]
            places += [
                Place("pop3s", parse_listen(text), implicit_tls=True) for text in options["listen_tls"]
            ]
            if not places:
                raise ValueError(
                    "say where to listen: --listen 127.0.0.1:2110 or --listen-tls 127.0.0.1:2995"
                )
            sys.exit(serve(places, options["workers"]))
        except (ListenError, TLSConfigurationError, ValueError) as error:
            sys.exit(complain("pop3d", error))


def serve(places: Sequence[Place], workers: int) -> int:
    """Serve at these places until told to stop; the exit code."""
    storage.recover()
    seats = Seats(workers=workers, limit=SESSIONS_PER_ACCOUNT)
    certificate = Certificate(
        settings.TLS_CERT, settings.TLS_KEY, settings.VAR / "tls", settings.HOSTNAME, ("pop3",)
    )
    current: list[Services] = []

    def connect(place: Place) -> Callable[[Door], Connection[Any]]:
        return lambda door: POP3Connection(door, current[0])

    @contextmanager
    def make_door(index: int, listeners: Sequence[Listener], tls: ssl.SSLContext) -> Iterator[Door]:
        seats.clear_row(index)
        services = make_services(seats)
        current.append(services)
        door = Door(
            "pop3d",
            listeners,
            Limits(
                -(-settings.POP3_MAX_CONNECTIONS // workers),
                -(-settings.POP3_MAX_CONNECTIONS_PER_ADDRESS // workers),
            ),
            tls,
            settings.PROXY_NETWORKS,
        )
        pulse = Pulse(figures(door, services))
        leases = LeaseKeeper(door, services)

        def tick(now: float) -> None:
            pulse.tick(now)
            if services.exclusive:
                leases.tick(now)

        door.on_tick = tick
        try:
            with beating("pop3d", pulse.figures):
                yield door
        finally:
            services.recalls.shutdown()
            services.verbs.shutdown()
            services.hashing.shutdown()
            services.recorder.close()

    return run_door("pop3d", places, certificate, workers, make_door, connect)


def make_services(seats: Seats) -> Services:
    """What one worker's connections share."""
    return Services(
        hostname=settings.HOSTNAME,
        plaintext_login=settings.POP3_PLAINTEXT_LOGIN,
        exclusive=settings.POP3_EXCLUSIVE,
        tls_offered=True,
        recalls=Gathering(recall_all, "recalls", look_after_connection, at_end=connections.close_all),
        verbs=VerbPool(settings.DOOR_THREADS, "verbs", look_after_connection, at_end=connections.close_all),
        # Hashing has threads of its own, as many as there are cores: a flood of logins delays logins only.
        hashing=VerbPool(os.cpu_count() or 1, "hashing", look_after_connection, at_end=connections.close_all),
        seats=seats,
        recorder=Recorder(),
    )
