"""Make a demo domain with two accounts and sample mail, or say what is there: demo_data"""

from typing import Any

from mailboxes.demo import make_demo
from mailboxes.management.exits import MailCommand


class Command(MailCommand):
    help = "Make example.test with ann and bob and sample mail. To run it again changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        make_demo(self.stdout.write)
