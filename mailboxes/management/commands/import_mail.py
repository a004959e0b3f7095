"""Bring mail from another server: import_mail ann@example.test PATH

Ends with 0; 65 when messages had to be left out; 67 no such account; 75 when the mailbox had no room or the
store did not answer (run it again: it goes on where it stopped); 130 when it was interrupted (the same).
"""

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from mailboxes import audit
from mailboxes.importing import Named, Report, import_mail
from mailboxes.maildir import UIDL_FORMAT
from mailboxes.management.exits import MailCommand, mailbox_of
from mailboxes.models import FolderKind, Mailbox
from mailboxes.sizes import size_text
from mailboxes.sources import Source, UidlFrom, Wish, find_source

INTERRUPTED = 130
AGAIN = "run the same command again to go on: nothing comes twice"


class Command(MailCommand):
    help = "Import an mbox, a Maildir, a message or a folder of .eml files. Safe to run again: nothing twice."

    def add_arguments(self, parser: CommandParser) -> None:
        folders = [kind.value for kind in FolderKind if kind != FolderKind.OWN]
        parser.add_argument("login", help="the account: ann@example.test")
        parser.add_argument("path", type=Path)
        parser.add_argument("--folder", choices=folders, default=FolderKind.INBOX.value)
        parser.add_argument(
            "--uidl-from",
            choices=[choice.value for choice in UidlFrom],
            default=UidlFrom.AUTO.value,
            help="where the UIDLs are that POP3 clients know (auto: dovecot-uidlist, else X-UIDL)",
        )
        parser.add_argument(
            "--uidl-format",
            default=UIDL_FORMAT,
            help="the old server's pop3_uidl_format (default: Dovecot's, %(default)s)",
        )
        parser.add_argument(
            "--other-folders",
            action="store_true",
            help="bring Maildir folders that are none of ours too, into --folder (else they are left out)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        mailbox = mailbox_of(options["login"])
        wish = Wish(
            FolderKind(options["folder"]),
            UidlFrom(options["uidl_from"]),
            options["uidl_format"],
            options["other_folders"],
        )
        source = find_source(options["path"], wish)
        report = Report()
        with tqdm(
            total=source.octets, unit="B", unit_scale=True, desc="import", file=sys.stderr, disable=None
        ) as bar:
            try:
                import_mail(mailbox, source.letters, report, progress=bar.update)
            except KeyboardInterrupt:
                raise CommandError(
                    f"interrupted after {report.imported} imported; {AGAIN}", returncode=INTERRUPTED
                ) from None
            finally:
                bar.close()
                self._summary(source, report)
                self._note(mailbox, options["folder"], report)
        if report.stopped_at:
            raise CommandError(
                f"no room for {report.stopped_at}: the mailbox has {size_text(mailbox.quota_bytes)}, "
                f"and {report.imported + report.already} messages are in; raise its quota, then {AGAIN}",
                returncode=os.EX_TEMPFAIL,
            )
        if report.skipped.count:
            raise CommandError(
                f"{report.skipped.count} messages were left out, as listed above", returncode=os.EX_DATAERR
            )

    def _note(self, mailbox: Mailbox, folder: str, report: Report) -> None:
        if report.imported:
            after = {"messages": report.imported, "folder": folder}
            audit.write("import_mail", mailbox.account.login, "command", after=after)

    def _summary(self, source: Source, report: Report) -> None:
        self.stdout.write(
            f"{source.what}: {report.imported} imported, {report.uidl_kept} of them with their old UIDL; "
            f"{report.already} already there; {report.skipped.count + report.empty.count} left out"
        )
        for name in source.left_out:
            self.stdout.write(f"  folder {name} left out: --other-folders brings it too")
        self._name("has a new UIDL", report.uidl_lost)
        self._name("left out", report.empty)
        self._name("left out", report.skipped)

    def _name(self, what: str, named: Named) -> None:
        for place, why in named.first:
            self.stdout.write(f"  {place} {what}: {why}")
        if named.count > len(named.first):
            self.stdout.write(f"  and {named.count - len(named.first)} more")
