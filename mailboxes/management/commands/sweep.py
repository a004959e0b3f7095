"""Remove content that nobody needs any more: sweep [--everything]"""

from typing import Any

from django.core.management.base import CommandParser

from mailboxes.management.exits import MailCommand
from mailboxes.retention import sweep


class Command(MailCommand):
    help = "Remove content without messages whose grace time has run out, and files that no content names."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--everything", action="store_true", help="look at all files, not only at those of the last days"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        removed = sweep(everything=options["everything"])
        self.stdout.write(f"{removed} contents and files removed")
