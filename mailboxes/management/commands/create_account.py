"""Open an account: create_account ann@example.test [--quota 2G] [--password-stdin]

Without --password-stdin a password is generated: it stands alone on standard output, once. The first operator
of an empty house brings the domain along.
"""

import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from mailboxes.accounts import create_domain, generate_password, open_account
from mailboxes.addresses import normalise
from mailboxes.credentials import PASSWORD_MAX
from mailboxes.exceptions import Invalid
from mailboxes.management.arguments import size
from mailboxes.management.exits import MailCommand
from mailboxes.models import Domain, Role


class Command(MailCommand):
    help = "Open an account with its mailbox and address. Prints a generated password, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("login", help="the address: ann@example.test")
        parser.add_argument("--role", choices=Role.values, default=Role.SUBSCRIBER.value)
        parser.add_argument("--quota", type=size, help="2G, 500M (default: the domain's)")
        parser.add_argument("--name", default="", help='the name of a person: "Ann Example"')
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from the first line of the input"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        given = options["password_stdin"]
        password = read_password() if given else generate_password()
        if options["role"] == Role.OPERATOR and not Domain.objects.exists():
            # The first of a house, who makes all the rest in the console, needs somewhere to be.
            made = create_domain(normalise(options["login"]).rpartition("@")[2])
            self.stderr.write(f"the domain {made.name} is served from now on")
        account = open_account(
            options["login"],
            password,
            role=options["role"],
            quota=options["quota"],
            name=options["name"],
        )
        if given:
            self.stdout.write(f"account {account.login} is open")
        else:
            self.stderr.write(f"account {account.login} is open; its password is shown only now:")
            self.stdout.write(password)


def read_password() -> str:
    """One line of standard input without its newline. Invalid: it cannot be a password, and why."""
    try:
        password = sys.stdin.buffer.readline(4 * PASSWORD_MAX).removesuffix(b"\n").decode()
    except UnicodeDecodeError:
        raise Invalid("the password is not UTF-8") from None
    if not password:
        raise Invalid("the password is empty: --password-stdin reads it from the first line of the input")
    if not password.isprintable():
        raise Invalid("the password holds a control character (a carriage return?), which nobody could type")
    if len(password) > PASSWORD_MAX:
        raise Invalid(f"the password is longer than {PASSWORD_MAX} characters")
    try:
        validate_password(password)
    except ValidationError as error:
        raise Invalid("the password is refused: " + " ".join(error.messages)) from None
    return password
