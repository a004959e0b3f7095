"""Fetching mail from another POP3 server, with its UIDLs, so that no mail program downloads it twice.

What was fetched from a login at a server is remembered by UIDL in the ledger of imports: asked again, or
taken over by another worker, it goes on where it stopped. So it is done in turns of some minutes, a session
each, and between them others come to their right. Mail stays there unless its owner wants it removed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property, partial
from hashlib import sha256
from time import monotonic
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from mailboxes import errands, messages
from mailboxes.content import Facts, facts_of, one_line
from mailboxes.errands import GivesWay, Refused, Work
from mailboxes.importing import Report, import_mail, is_uidl
from mailboxes.local_delivery import TooLarge
from mailboxes.models import ErrandKind, FolderKind, ImportedMessage, Message
from mailboxes.models.message import UIDL_MAX
from mailboxes.sizes import size_text
from mailboxes.sources import Letter
from mailboxes.uploads import TOLD_MAX, told, why
from webmail import pop3_client
from webmail.pop3_client import FetchError, Place, POP3Client

# A fetch that has gone on for so long gives way: it begins no other message, and goes on behind others.
TURN_SECONDS = 5 * 60.0
# Of one turn with all that is under way by then: a server that drips holds no worker for longer.
LONGEST_SECONDS = 15 * 60.0
# Of all turns together: after that it has to be asked for anew, and the password is forgotten.
GIVEN_UP_AFTER = timedelta(days=3)
# As many values are asked of the database at once.
PORTION = 500

# What the errand's secret is: tests connect to servers of their own.
world = pop3_client.World()


@errands.runner(ErrandKind.FETCH)
def fetch(work: Work) -> None:
    """Arguments: `host`, `port`, `security`, `user`, `seen`, `delete`; secret: the password. In octets."""
    asked = work.arguments
    place = Place(asked["host"], int(asked["port"]), asked["security"])
    turn = _Turn(work)
    work.result = {"there": 0, "deleted": 0, "left_there": 0, "unfetched": 0} | work.result
    try:
        client = POP3Client(place, seconds=LONGEST_SECONDS, tick=work.step, world=world)
        try:
            client.login(asked["user"], work.secret())
            turn.take(client)
        finally:
            client.close()
    except FetchError as error:
        if not (isinstance(error, pop3_client.OutOfTime) and turn.may_go_on):
            raise Refused(_in_words(error, place)) from None
        turn.is_over = True
    finally:
        work.result |= turn.told()
    if turn.report.stopped_at:
        raise Refused(
            _("The mailbox has no room for more. Make room and fetch again: it goes on from there.")
        )
    if turn.is_over:
        if not turn.may_go_on:
            raise Refused(_in_words(pop3_client.OutOfTime(), place))
        raise GivesWay


class _Turn:
    """One session with the other server: what lies there, what of it is here already, and what is brought."""

    def __init__(self, work: Work) -> None:
        self.report = Report(tell=why)
        self.is_over = False  # with something left to do
        self._work = work
        self._end = monotonic() + TURN_SECONDS
        self._sizes: dict[int, int] = {}
        self._uidls: dict[int, str] = {}
        self._unfetched = 0  # when nothing had been brought yet
        self._met = 0
        self._listed = False
        self._deleted = 0
        # By where in `report.skipped.first` they stand: those that nobody has read.
        self._nameless: dict[int, int] = {}

    @property
    def may_go_on(self) -> bool:
        """This turn has brought something, so the next will: and it has not gone on for days."""
        came_on = self.report.imported or self._deleted
        return bool(came_on) and timezone.now() - self._work.errand.asked_at < GIVEN_UP_AFTER

    def take(self, client: POP3Client) -> None:
        """Bring what is not here, and remove there what is, if that is wanted."""
        self._sizes = client.sizes()
        self._uidls = client.uidls()
        wanted = self._wanted()
        self._listed = True
        import_mail(
            self._work.mailbox,
            self._letters(client, wanted),
            self.report,
            progress=self._work.step,
            seen=bool(self._work.arguments.get("seen")),
            errand=self._work.errand.pk,
        )
        if self.report.stopped_at:
            return  # what was asked for ahead is still coming
        if not self.is_over:
            self._name_what_is_left_out(client)
        # What is stored here now; it is gone there once QUIT has been answered.
        wants = self._work.arguments.get("delete") and not self.is_over
        marked = client.delete(self._while_it_lasts(sorted(self._known()))) if wants else 0
        client.quit()
        self._deleted = marked
        self._work.result["deleted"] += marked
        self._work.note()

    def told(self) -> dict[str, Any]:
        """What this turn has to say; one that got no list leaves what the last one said."""
        result = told(self.report, self._work)
        if not self._listed and self._work.errand.forgiven:
            return {"imported": result["imported"]}
        there = len(self._sizes) + self._work.result["deleted"] - self._deleted
        deletes = self._work.arguments.get("delete")
        return result | {
            "there": there,
            "unfetched": self._unfetched - (self.report.met - self._met),
            "left_there": there - self._work.result["deleted"] if deletes else 0,
        }

    def _wanted(self) -> list[int]:
        """The numbers of those that are not here and not too large, in their order."""
        known = self._known()
        ours = {number for number, row in known.items() if row.errand == self._work.errand.pk}
        for number in sorted(ours):
            self.report.meet_again(self._place(number), self._uidls[number], known[number])
        here = (known.keys() | self._lies_here()) - ours
        self.report.already += len(here)
        wanted = []
        for number, octets in sorted(self._sizes.items()):
            if number in here or number in ours:
                continue
            if octets > settings.MESSAGE_SIZE_LIMIT:
                self._leave_out(number, why(TooLarge()))
            else:
                wanted.append(number)
        self._unfetched, self._met = len(wanted), self.report.met
        brought = sum(self._sizes[number] for number in ours)
        self._work.expect(brought + sum(self._sizes[number] for number in wanted))
        self._work.step(brought)
        return wanted

    def _letters(self, client: POP3Client, wanted: Sequence[int]) -> Iterator[Letter]:
        for number, chunks in client.retrieve(self._while_it_lasts(wanted)):
            if chunks is None:
                self._leave_out(number, _("the server did not hand it out"))
                continue
            identity = self._identities.get(number)
            begun = _Begun(chunks)
            yield Letter(
                self._place(number),
                begun.octets(),
                FolderKind.INBOX,
                uidl=self._uidls.get(number, ""),
                fingerprint=self._fingerprint(identity) if identity else "",
                told=partial(self._name, number, begun),
            )

    def _while_it_lasts(self, numbers: Sequence[int]) -> Iterator[int]:
        """The numbers until the turn is over; one in any case, so that each turn comes on."""
        for index, number in enumerate(numbers):
            if index and monotonic() >= self._end:
                self.is_over = True
                return
            yield number

    @cached_property
    def _identities(self) -> dict[int, str]:
        """The UIDLs that name one message each: some servers give equal messages the same."""
        times = Counter(self._uidls.values())
        return {n: uidl for n, uidl in self._uidls.items() if times[uidl] == 1 and n in self._sizes}

    def _known(self) -> dict[int, ImportedMessage]:
        """Those that the ledger says were fetched from there, whatever became of them here."""
        by_fingerprint = {self._fingerprint(uidl): number for number, uidl in self._identities.items()}
        known: dict[int, ImportedMessage] = {}
        for some in _portions(list(by_fingerprint)):
            found = messages.imported(self._work.mailbox.pk, some)
            known |= {by_fingerprint[one]: row for one, row in found.items()}
        return known

    def _lies_here(self) -> set[int]:
        """Those that another import has brought, with the same UIDL and as many octets."""
        by_uidl = {uidl: number for number, uidl in self._identities.items() if is_uidl(uidl)}
        found: set[int] = set()
        for some in _portions(list(by_uidl)):
            rows = Message.objects.filter(mailbox=self._work.mailbox, uidl__in=some)
            for uidl, size in rows.values_list("uidl", "size"):
                if self._sizes[by_uidl[uidl]] == size:
                    found.add(by_uidl[uidl])
        return found

    def _fingerprint(self, uidl: str) -> str:
        """UIDLs are unique in one maildrop only (RFC 1939 section 7): some servers count 1, 2, 3."""
        asked = self._work.arguments
        return "pop3:" + sha256(f"{asked['host']}\0{asked['user']}\0{uidl}".encode()).hexdigest()

    def _leave_out(self, number: int, reason: str) -> None:
        """One that is not read, so that only its server can say whose it is and about what."""
        if len(self.report.skipped.first) < TOLD_MAX:
            self._nameless[len(self.report.skipped.first)] = number
        self.report.skipped.add(self._place(number), reason)

    def _name_what_is_left_out(self, client: POP3Client) -> None:
        left_out = self.report.skipped.first
        for index, number in self._nameless.items():
            left_out[index] = (self._place(number, client.top(number)), left_out[index][1])

    def _name(self, number: int, begun: "_Begun") -> str:
        return self._place(number, begun.head)

    def _place(self, number: int, head: bytes = b"") -> str:
        """Which message it is, to its owner; `head`: how it begins, if that is known."""
        facts = facts_of(head) if head else Facts()
        size = size_text(self._sizes.get(number, 0))
        sender = facts.sender_name or facts.sender_address
        if not (facts.subject or sender):
            uidl = one_line(self._uidls.get(number, ""), UIDL_MAX)
            said = (
                _("message %(number)d (%(size)s, UIDL %(uidl)s)")
                if uidl
                else _("message %(number)d (%(size)s)")
            )
            return said % {"number": number, "size": size, "uidl": uidl}
        about = {
            "subject": facts.subject or _("(no subject)"),
            "sender": sender or _("(no sender)"),
            "date": date_format(timezone.localtime(facts.sent_at), "DATE_FORMAT") if facts.sent_at else "",
            "size": size,
        }
        if facts.sent_at:
            return _("“%(subject)s” from %(sender)s of %(date)s (%(size)s)") % about
        return _("“%(subject)s” from %(sender)s (%(size)s)") % about


class _Begun:
    """A message on its way: how it begins is kept, to say of one that is left out which it was."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.head = b""
        self._chunks = chunks

    def octets(self) -> Iterator[bytes]:
        for octets in self._chunks:
            self.head += octets[: pop3_client.HEAD_MAX - len(self.head)]
            yield octets


def _portions(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), PORTION):
        yield values[start : start + PORTION]


def _in_words(error: FetchError, place: Place) -> str:
    """What went wrong, and what whoever asked can do about it."""
    about: dict[str, Any] = {"host": place.host, "port": place.port, "text": error.text}
    if isinstance(error, pop3_client.LoginRefused) and not error.text:
        return _("%(host)s does not take this user name or password.") % about
    said = {
        pop3_client.UnknownHost: _("There is no server %(host)s. Look at how its name is written."),
        pop3_client.NotPublic: _("%(host)s is not a server of the public internet, so we do not ask it."),
        pop3_client.NoAnswer: _("%(host)s does not answer on port %(port)d. Look at the port."),
        pop3_client.NotTrusted: _(
            "%(host)s could not prove that it is that server: its certificate is not valid (%(text)s). "
            "Your password was not sent."
        ),
        pop3_client.NoTLS: _(
            "%(host)s does not encrypt on port %(port)d in the way that you chose. "
            "Your password was not sent."
        ),
        pop3_client.LoginRefused: _("%(host)s does not take this user name or password. It says: %(text)s"),
        pop3_client.Negative: _("%(host)s refuses: %(text)s"),
        pop3_client.Misbehaved: _("%(host)s does not answer as a POP3 server does."),
        pop3_client.OutOfTime: _("It took too long. Ask again: it goes on where it stopped."),
    }
    broken_off = _("The connection to %(host)s broke off. Ask again: it goes on where it stopped.")
    return said.get(type(error), broken_off) % about
