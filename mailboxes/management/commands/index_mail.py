"""Make mail findable now, instead of waiting for the worker: index_mail [--all]

Works beside the worker; when it is interrupted, the worker does the rest.
"""

import math
import sys
from typing import Any

from django.core.management.base import CommandParser
from tqdm import tqdm

from mailboxes import index_queue
from mailboxes.indexing import drain
from mailboxes.management.exits import MailCommand


class Command(MailCommand):
    help = "Index mail that search does not know yet, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--all", action="store_true", help="index all mail anew, not only what is missing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        index_queue.add_all(missing=not options["all"])
        with tqdm(total=index_queue.waiting(), desc="index", file=sys.stderr, disable=None) as bar:
            done = drain(math.inf, progress=bar.update)
        left = index_queue.waiting()
        others = f"; a worker has {left} more in hand" if left else ""
        self.stdout.write(f"{done} messages indexed{others}")
