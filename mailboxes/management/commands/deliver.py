"""Deliver one message: deliver ann@example.test [--sender bob@example.org] < message.eml

Ends with 0 when the message is stored, else as sysexits.h says: 65 empty, too large; 67 no such address;
75 try again (no room, mailbox or store not available); 77 a mail loop; 78 a wrong setting; 64 wrong usage.
"""

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from mailboxes.local_delivery import deliver_locally
from mailboxes.management.exits import MailCommand

CHUNK = 256 * 1024


class Command(MailCommand):
    help = "Deliver the message on standard input; ends with the exit codes of sysexits.h."
    # Called once for each message by other mail programs: it starts faster without them.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("recipient")
        parser.add_argument("--sender", help="envelope sender, for Return-Path; '' is the null path <>")

    def handle(self, *args: Any, **options: Any) -> None:
        sender = options["sender"]
        if sender is not None:
            sender = sender.removeprefix("<").removesuffix(">")
        deliver_locally(options["recipient"], _standard_input(), sender=sender)


def _standard_input() -> Iterator[bytes]:
    while chunk := sys.stdin.buffer.read(CHUNK):
        yield chunk
