"""Write a mailbox to an mbox file: export_mail ann@example.test OUT.mbox"""

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from mailboxes.exporting import export_to, messages_of, octets_of, write_mbox
from mailboxes.management.exits import MailCommand, mailbox_of
from mailboxes.models import FolderKind


class Command(MailCommand):
    help = "Write messages as mboxrd; the file appears when it is whole."

    def add_arguments(self, parser: CommandParser) -> None:
        folders = ["all", *(kind.value for kind in FolderKind if kind != FolderKind.OWN)]
        parser.add_argument("login", help="the account: ann@example.test")
        parser.add_argument("out", help="the file to write; - is standard output")
        parser.add_argument("--folder", choices=folders, default="all")
        parser.add_argument("--force", action="store_true", help="replace a file that is there")

    def handle(self, *args: Any, **options: Any) -> None:
        messages = messages_of(mailbox_of(options["login"]), options["folder"])
        with tqdm(
            total=octets_of(messages), unit="B", unit_scale=True, desc="export", file=sys.stderr, disable=None
        ) as bar:
            if options["out"] == "-":
                missing = write_mbox(sys.stdout.buffer, messages, progress=bar.update)
                sys.stdout.buffer.flush()
            else:
                path = Path(options["out"])
                missing = export_to(path, messages, force=options["force"], progress=bar.update)
        if options["out"] != "-":
            self.stdout.write(f"{messages.count() - len(missing)} messages written to {options['out']}")
        if missing:
            raise CommandError(
                f"{len(missing)} messages left out, for their content is gone: UIDL {', '.join(missing)}",
                returncode=os.EX_IOERR,
            )
