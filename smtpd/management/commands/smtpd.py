"""Take mail in: `manage.py smtpd --lmtp 127.0.0.1:2424 --smtp 127.0.0.1:2525 [--workers N]`.

`--recipients 127.0.0.1:2430` answers Postfix's socketmap look-ups as well, so that it refuses at RCPT whom we
do not know, and `--policy 127.0.0.1:2431` its policy questions, so that what it refuses is on record here.
"""

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
from hosting.serving.tls import TLSConfigurationError
from mailboxes import storage
from mailboxes.beats import beating
from mailboxes.connections import look_after_connection
from mailboxes.group_commit import GroupCommit
from mailboxes.records import Recorder
from smtpd.figures import figures
from smtpd.intake import arrivals_of, routes_of
from smtpd.lookups import LookupConnection
from smtpd.server import MailConnection, Services
from smtpd.session import Dialect, Policy
from smtpd.verdicts import PolicyConnection

LOOKUPS = "recipients"
QUESTIONS = "policy"


class Command(BaseCommand):
    help = "Take mail in over LMTP (RFC 2033) and SMTP (RFC 5321)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lmtp", action="append", default=[], metavar="HOST:PORT|unix:PATH", help="LMTP, for our own MTA"
        )
        parser.add_argument(
            "--smtp", action="append", default=[], metavar="HOST:PORT", help="SMTP with STARTTLS (port 25)"
        )
        parser.add_argument(
            "--recipients",
            action="append",
            default=[],
            metavar="HOST:PORT|unix:PATH",
            help="look-ups for our own Postfix (socketmap): domains, recipients, access",
        )
        parser.add_argument(
            "--policy",
            action="append",
            default=[],
            metavar="HOST:PORT|unix:PATH",
            help="questions of our own Postfix at RCPT (policy delegation); what is refused is put on record",
        )
        parser.add_argument("--workers", type=int, default=1, help="processes that share the ports")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            places = [Place("lmtp", parse_listen(text)) for text in options["lmtp"]]
            places += [Place("smtp", parse_listen(text)) for text in options["smtp"]]
            places += [Place(LOOKUPS, parse_listen(text)) for text in options["recipients"]]
            places += [Place(QUESTIONS, parse_listen(text)) for text in options["policy"]]
            if not places:
                raise ValueError("say where to listen: --lmtp 127.0.0.1:2424 or --smtp 127.0.0.1:2525")
            sys.exit(serve(places, options["workers"]))
        except (ListenError, TLSConfigurationError, ValueError) as error:
            sys.exit(complain("smtpd", error))


def serve(places: Sequence[Place], workers: int) -> int:
    """Serve at these places until told to stop; the exit code."""
    certificate = Certificate(settings.TLS_CERT, settings.TLS_KEY, settings.VAR / "tls", settings.HOSTNAME)
    policies = {kind: _policy(Dialect(kind.upper())) for kind in ("lmtp", "smtp")}
    current: list[Services] = []

    def connect(place: Place) -> Callable[[Door], Connection[Any]]:
        if place.kind == LOOKUPS:
            return lambda door: LookupConnection(door, current[0].verbs)
        if place.kind == QUESTIONS:
            return lambda door: PolicyConnection(door, current[0])
        return lambda door: MailConnection(door, current[0], policies[place.kind])

    @contextmanager
    def make_door(index: int, listeners: Sequence[Listener], tls: ssl.SSLContext) -> Iterator[Door]:
        services = make_services()
        current.append(services)
        limits = Limits(
            -(-settings.SMTPD_MAX_CONNECTIONS // workers),
            -(-settings.SMTPD_MAX_CONNECTIONS_PER_ADDRESS // workers),
        )
        door = Door("smtpd", listeners, limits, tls, settings.PROXY_NETWORKS)
        pulse = Pulse(figures(door, services))
        door.on_tick = pulse.tick
        try:
            with beating("smtpd", pulse.figures):
                yield door
        finally:
            for threads in (services.lookups, services.verbs):
                threads.shutdown()
            services.commits.close()
            storage.close_journal()
            services.recorder.close()

    return run_door("smtpd", places, certificate, workers, make_door, connect)


def _policy(dialect: Dialect) -> Policy:
    return Policy(
        hostname=settings.HOSTNAME,
        dialect=dialect,
        size_limit=settings.MESSAGE_SIZE_LIMIT,
        tls_offered=True,
        max_recipients=settings.SMTPD_MAX_RECIPIENTS,
    )


def make_services() -> Services:
    """What one worker's connections share."""
    storage.recover()
    storage.open_journal()
    return Services(
        hostname=settings.HOSTNAME,
        verbs=VerbPool(settings.DOOR_THREADS, "verbs", look_after_connection, at_end=connections.close_all),
        lookups=Gathering(routes_of, "lookups", look_after_connection, at_end=connections.close_all),
        commits=GroupCommit(arrivals_of),
        recorder=Recorder(),
    )
