"""For tests of errands: ask for one, let it be done here and now, and look at what came of it."""

from typing import Any

from django.core.files.base import ContentFile

from mailboxes import errands
from mailboxes.models import Account, Errand


def done(
    kind: str, account: Account, arguments: dict[str, Any], file: bytes | None = None, **more: Any
) -> Errand:
    """An errand that was asked for and run to its end."""
    handed_in = ContentFile(file, "upload") if file is not None else None
    errand = errands.ask(kind, account, account.mailbox, arguments, file=handed_in, **more)
    errands.run(errand.key)
    errand.refresh_from_db()
    return errand
