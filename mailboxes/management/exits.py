"""How commands end: each refusal of the store has its exit code of sysexits.h, said here and nowhere else."""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFault

from mailboxes import exceptions
from mailboxes.addresses import normalise
from mailboxes.local_delivery import Empty, MailLoop, TooLarge
from mailboxes.models import Mailbox, Status

# The first that fits counts, so what is special stands before what is general.
EXITS: tuple[tuple[type[Exception], int], ...] = (
    (Empty, os.EX_DATAERR),
    (TooLarge, os.EX_DATAERR),
    (MailLoop, os.EX_NOPERM),
    (exceptions.UnknownRecipient, os.EX_NOUSER),
    (exceptions.ForeignDomain, os.EX_NOUSER),
    (exceptions.ClosedDomain, os.EX_NOUSER),
    (exceptions.OverQuota, os.EX_TEMPFAIL),
    # A mailbox that takes no mail now may again: 450 at the SMTP door, 'try again' here.
    (exceptions.RecipientUnavailable, os.EX_TEMPFAIL),
    (exceptions.RecipientRefused, os.EX_NOPERM),
    (exceptions.StoreFull, os.EX_TEMPFAIL),
    (exceptions.StoreUnavailable, os.EX_TEMPFAIL),
    (exceptions.ContentMissing, os.EX_IOERR),
    (exceptions.Invalid, 1),
    (DatabaseFault, os.EX_TEMPFAIL),
    (OSError, os.EX_IOERR),
)
TEXTS: dict[type[Exception], str] = {
    exceptions.UnknownRecipient: "{}: there is no such address here",
    exceptions.ForeignDomain: "{}: its domain is not served here",
    exceptions.ClosedDomain: "{}: its domain is closed",
    exceptions.RecipientUnavailable: "{}: takes no mail now; try again later",
    exceptions.OverQuota: "the mailbox has no room for this message now; try again later",
}
ARGPARSE_USAGE = 2


class MailCommand(BaseCommand):
    """A command whose refusals end it with one line and the exit code that says of which kind they are."""

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except SystemExit as end:
            if end.code == ARGPARSE_USAGE:
                sys.exit(os.EX_USAGE)
            raise

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except BrokenPipeError:
            raise CommandError("nobody reads the output any more", returncode=os.EX_IOERR) from None
        except tuple(kind for kind, _ in EXITS) as error:
            raise CommandError(text_of(error), returncode=exit_code(error)) from error


def exit_code(error: Exception) -> int:
    return next(code for kind, code in EXITS if isinstance(error, kind))


def text_of(error: Exception) -> str:
    if isinstance(error, DatabaseFault):
        return f"the database does not answer as it should: {str(error).partition(chr(10))[0]}"
    return TEXTS.get(type(error), "{}").format(error)


def mailbox_of(login: str) -> Mailbox:
    """The mailbox of an account, by its login. UnknownRecipient, Invalid."""
    mailbox = Mailbox.objects.select_related("account").filter(account__login=normalise(login)).first()
    if mailbox is None:
        raise exceptions.UnknownRecipient(login)
    if mailbox.account.status == Status.CLOSED:
        raise exceptions.Invalid(f"the account {mailbox.account.login} is closed")
    return mailbox
