"""Serve a domain: create_domain example.test [--quota 2G]"""

from typing import Any

from django.core.management.base import CommandParser

from mailboxes.accounts import create_domain
from mailboxes.management.arguments import size
from mailboxes.management.exits import MailCommand
from mailboxes.sizes import size_text


class Command(MailCommand):
    help = "Serve a domain."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("domain")
        parser.add_argument(
            "--quota", type=size, help="of each new mailbox: 2G, 500M (default DEFAULT_QUOTA)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        domain = create_domain(options["domain"], default_quota=options["quota"])
        quota = size_text(domain.default_quota_bytes)
        self.stdout.write(f"domain {domain.name} is served; a new mailbox has {quota}")
