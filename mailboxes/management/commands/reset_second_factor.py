"""Let in who has lost the second factor: reset_second_factor ann@example.test

Removes the authenticator, passkeys and recovery codes and ends every session; the password stays what it is.
For operators who are locked out themselves; others are helped in the console.
"""

from typing import Any

from django.core.management.base import CommandParser

from mailboxes import secondfactor
from mailboxes.addresses import normalise
from mailboxes.exceptions import UnknownRecipient
from mailboxes.management.exits import MailCommand
from mailboxes.models import Account


class Command(MailCommand):
    help = "Remove an account's second factor, so that its password alone lets in again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("login", help="the address: ann@example.test")

    def handle(self, *args: Any, **options: Any) -> None:
        account = Account.objects.filter(login=normalise(options["login"])).first()
        if account is None:
            raise UnknownRecipient(options["login"])
        secondfactor.reset(account, actor="command")
        self.stdout.write(f"{account.login} has no second factor any more; the password is what it was")
