"""What others have done to a mailbox and its owner is told, until the owner says to have read of it."""

from typing import Generic, TypeVar

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from mailboxes.models import ForwardNotice, Inspection

N = TypeVar("N", Inspection, ForwardNotice)


class Notices(Generic[N]):
    """Those of one kind; `at`: the column that says when it was."""

    def __init__(self, kind: type[N], at: str) -> None:
        self._of_all: QuerySet[N] = kind.objects.order_by(f"-{at}", "-pk")

    def of_mailbox(self, mailbox: int, most: int = 50) -> list[N]:
        """Newest first."""
        return list(self._of_all.filter(mailbox=mailbox)[:most])

    def unnoted(self, mailbox: int, most: int = 5) -> list[N]:
        """Those that its owner has not yet said to have read of, newest first."""
        return list(self._of_all.filter(mailbox=mailbox, noted_at=None)[:most])

    def has_unnoted(self, mailbox: str) -> Exists:
        """Whether there are any, as part of a query whose rows name a mailbox in this column."""
        return Exists(self._of_all.filter(mailbox=OuterRef(mailbox), noted_at=None))

    def note(self, mailbox: int, upto: int) -> int:
        """The owner has read of those up to this one (a primary key); returns how many. What came later is
        still to be told."""
        found = self._of_all.filter(mailbox=mailbox, noted_at=None, pk__lte=upto)
        return found.update(noted_at=timezone.now())
