"""Conversations: which letters answer one another, by Message-ID, In-Reply-To and References, never by
subject.

Every Message-ID that a letter of a mailbox has or names is a ThreadKey of that mailbox; letters that share
one are of one conversation, in whatever order they come. A conversation is named by the number of the letter
that began its keys, and a letter without company bears no name (`Message.thread` is 0), so that most mail
costs its keys and nothing else.

The mailbox's row is locked meanwhile, as by every verb: of two workers the second sees what the first has
done, and no conversation is split.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Count, F, Max, Min, Q

from mailboxes.models import Folder, FolderKind, Mailbox, Message, ThreadKey
from mailboxes.reading import Mail

# RFC 5322 section 3.6.4: the last is the parent, the first the root. What lies between only helps where
# both are missing here.
REFERENCES_MAX = 100
# So many Message-IDs make one conversation; a mailing list whose letters all name one root begins another.
KEYS_MAX = 500
# SQLite's old limit is 999 values in one statement.
STATEMENT_MAX = 500
# How many keys one sweep looks at; each begins somewhere else.
SWEPT_MAX = 100_000
SWEPT_BATCH = 1_000
TEMPORARY = (FolderKind.TRASH, FolderKind.JUNK)


@dataclass(frozen=True, slots=True)
class Letter:
    """What threading needs of a message. `digests`: its own Message-ID first, then those that it names, the
    nearest first."""

    message: int
    mailbox: int
    digests: tuple[int, ...] = ()


# -- names --------------------------------------------------------------------------------------


def letter_of(message: Message, mail: Mail) -> Letter:
    """What a message says of its place."""
    named = [*reversed(mail.references), *mail.in_reply_to]
    if len(named) >= REFERENCES_MAX:
        named = [*named[: REFERENCES_MAX - 2], *mail.references[:1], *mail.in_reply_to[:1]]
    found = [digest_of(name) for name in [mail.message_id, *named]]
    return Letter(message.pk, message.mailbox_id, tuple(dict.fromkeys(one for one in found if one)))


def digest_of(message_id: str) -> int:
    """64 bits of a Message-ID; 0: it is none, and what many letters bear in common joins nothing."""
    name = message_id.strip().removeprefix("<").removesuffix(">")
    left, at, right = name.rpartition("@")
    # RFC 5322 section 3.6.4: msg-id = id-left "@" id-right; `<unknown>` and `<@>` are nobody's own.
    if not (left and at and right) or len(name) > 998:
        return 0
    octets = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(octets, signed=True) or 1


# -- joining ------------------------------------------------------------------------------------


def join(letters: Sequence[Letter], gone: Sequence[tuple[int, int]] = ()) -> None:
    """Put letters into their conversations; done twice it changes nothing. `gone`: (message, mailbox) of
    those that were expunged."""
    by_mailbox: dict[int, list[Letter]] = defaultdict(list)
    for letter in letters:
        if letter.digests:
            by_mailbox[letter.mailbox].append(letter)
    left = {mailbox for _, mailbox in gone}
    if not by_mailbox and not left:
        return
    with transaction.atomic():
        # In the order in which everybody locks mailboxes.
        locked = Mailbox.objects.select_for_update().filter(pk__in={*by_mailbox, *left}).order_by("pk")
        for mailbox in list(locked.values_list("pk", flat=True)):
            changed = _Joining(mailbox, by_mailbox[mailbox]).join_all() if by_mailbox[mailbox] else False
            _forget(mailbox, [message for message, where in gone if where == mailbox])
            if changed:
                # What POP3 lists stays as it was, so only the version rises.
                Mailbox.objects.filter(pk=mailbox).update(version=F("version") + 1)


class _Joining:
    """The letters of one mailbox, joined one after the other under its lock."""

    def __init__(self, mailbox: int, letters: Sequence[Letter]) -> None:
        self.mailbox = mailbox
        self.letters = sorted(letters, key=lambda one: one.message)
        numbers = [letter.message for letter in self.letters]
        there = Message.objects.filter(mailbox=mailbox, pk__in=numbers)
        self.thread: dict[int, int] = dict(there.values_list("pk", "thread"))
        self.known = self._known({digest for letter in letters for digest in letter.digests})
        self.changed = False

    def _known(self, digests: Iterable[int]) -> dict[int, int]:
        wanted = list(digests)
        known: dict[int, int] = {}
        keys = ThreadKey.objects.filter(mailbox=self.mailbox)
        for start in range(0, len(wanted), STATEMENT_MAX):
            some = keys.filter(digest__in=wanted[start : start + STATEMENT_MAX])
            known.update(some.values_list("digest", "thread"))
        return known

    def join_all(self) -> bool:
        """Whether any message is now in another conversation than before."""
        for letter in self.letters:
            if letter.message in self.thread:  # else it was expunged meanwhile
                self._join(letter)
        return self.changed

    def _join(self, letter: Letter) -> None:
        own = self.thread[letter.message]
        near = [own] if own else []
        near += [self.known[digest] for digest in letter.digests if digest in self.known]
        candidates = list(dict.fromkeys(near))
        new = [digest for digest in letter.digests if digest not in self.known]
        together = self._bounded(candidates, len(new))
        if not together:
            self._add(new, letter.message)
            return
        thread = min(together)
        if len(together) > 1:
            self._merge(thread, [other for other in together if other != thread])
        self._add(new, thread)
        if together == [letter.message]:
            return  # it began this conversation, and nobody has joined since
        # Those that began a conversation, and until now were alone in it.
        self._name({letter.message, *together}, thread)

    def _bounded(self, candidates: list[int], more: int) -> list[int]:
        """Of the conversations that a letter connects, nearest first, those that fit into one."""
        if not candidates or (len(candidates) == 1 and not more):
            return candidates
        keys = ThreadKey.objects.filter(mailbox=self.mailbox, thread__in=candidates)
        sizes = dict(keys.order_by().values_list("thread").annotate(Count("pk")))
        chosen: list[int] = []
        room = KEYS_MAX - more
        for thread in candidates:
            room_left = room - sizes.get(thread, 0)
            if room_left >= 0:
                chosen.append(thread)
                room = room_left
        return chosen

    def _add(self, digests: list[int], thread: int) -> None:
        ThreadKey.objects.bulk_create(
            [ThreadKey(mailbox_id=self.mailbox, digest=digest, thread=thread) for digest in digests],
            batch_size=STATEMENT_MAX // 3,
        )
        self.known.update(dict.fromkeys(digests, thread))

    def _merge(self, thread: int, others: list[int]) -> None:
        ThreadKey.objects.filter(mailbox=self.mailbox, thread__in=others).update(thread=thread)
        self._moved(Message.objects.filter(mailbox=self.mailbox, thread__in=others).update(thread=thread))
        self.known = {digest: thread if of in others else of for digest, of in self.known.items()}
        self.thread = {message: thread if of in others else of for message, of in self.thread.items()}

    def _name(self, messages: set[int], thread: int) -> None:
        nameless = Message.objects.filter(mailbox=self.mailbox, pk__in=messages)
        self._moved(nameless.exclude(thread=thread).update(thread=thread))
        self.thread.update({message: thread for message in messages if message in self.thread})

    def _moved(self, count: int) -> None:
        self.changed = self.changed or count > 0


# -- forgetting ---------------------------------------------------------------------------------


def _forget(mailbox: int, messages: Sequence[int]) -> None:
    """The keys that expunged messages began go, unless others have joined them."""
    begun = ThreadKey.objects.filter(mailbox=mailbox, thread__in=messages)
    threads = set(begun.values_list("thread", flat=True))
    if threads:
        still = Message.objects.filter(mailbox=mailbox, thread__in=threads).values_list("thread", flat=True)
        begun.filter(thread__in=threads - set(still)).delete()


def sweep() -> int:
    """Remove keys of conversations of which no message is left; looks at some, from anywhere on, each time.

    Returns how many went.
    """
    ends = ThreadKey.objects.aggregate(first=Min("pk"), last=Max("pk"))
    if ends["first"] is None:
        return 0
    last = random.randint(ends["first"] - 1, max(ends["last"] - SWEPT_MAX, ends["first"] - 1))  # noqa: S311
    removed = 0
    for _ in range(SWEPT_MAX // SWEPT_BATCH):
        some = list(
            ThreadKey.objects.filter(pk__gt=last)
            .order_by("pk")
            .values_list("pk", "mailbox_id", "thread")[:SWEPT_BATCH]
        )
        if not some:
            break
        last = some[-1][0]
        removed += _sweep_some({(mailbox, thread) for _, mailbox, thread in some})
    return removed


def _sweep_some(threads: set[tuple[int, int]]) -> int:
    names = {thread for _, thread in threads}
    used = set(Message.objects.filter(pk__in=names).values_list("mailbox_id", "pk"))
    unsure = defaultdict(set)
    for mailbox, thread in threads - used:
        unsure[mailbox].add(thread)
    removed = 0
    for mailbox, some in unsure.items():
        with transaction.atomic():
            Mailbox.objects.select_for_update().filter(pk=mailbox).first()
            lying = Message.objects.filter(mailbox=mailbox)
            still = {*lying.filter(thread__in=some).values_list("thread", flat=True)}
            still |= {*lying.filter(pk__in=some).values_list("pk", flat=True)}
            removed += ThreadKey.objects.filter(mailbox=mailbox, thread__in=some - still).delete()[0]
    return removed


# -- looking ------------------------------------------------------------------------------------

# What one page shows of a conversation; there is a way to the letters before.
LETTERS_MAX = 100
# Of how many people a row may be made: a mailing list has thousands.
PEOPLE_MAX = 2_000


@dataclass(slots=True)
class Summary:
    """A conversation as a row of a folder's list shows it: of all its letters (those in trash and junk only
    where these are listed), how many; and of those in the folder, whether any is unread, starred, or has
    attachments. `people`: (name, address, has unread), in the order in which they first wrote."""

    count: int = 0
    unread: int = 0
    starred: bool = False
    has_attachments: bool = False
    people: list[tuple[str, str, bool]] = field(default_factory=list)


def _elsewhere(folder: Folder) -> Q:
    """Folders of the mailbox whose letters are not shown beside those of this one."""
    hidden = [kind for kind in TEMPORARY if kind != folder.kind]
    return Q(folder__kind__in=hidden)


def summaries_of(folder: Folder, threads: Iterable[int]) -> dict[int, Summary]:
    """By name of the conversation; one query, however long the conversations are."""
    names = {thread for thread in threads if thread}
    if not names:
        return {}
    here = Q(folder=folder.pk)
    rows = (
        Message.objects.filter(mailbox=folder.mailbox_id, thread__in=names)
        .exclude(_elsewhere(folder))
        .values("thread", "sender_name", "sender_address")
        .annotate(
            first=Min("received_at"),
            letters=Count("pk"),
            unread=Count("pk", filter=here & Q(seen=False)),
            stars=Count("pk", filter=here & Q(starred=True)),
            clips=Count("pk", filter=here & Q(has_attachments=True)),
        )
        .order_by("first")[:PEOPLE_MAX]
    )
    found: dict[int, Summary] = defaultdict(Summary)
    for row in rows:
        one = found[row["thread"]]
        one.count += row["letters"]
        one.unread += row["unread"]
        one.starred |= row["stars"] > 0
        one.has_attachments |= row["clips"] > 0
        one.people.append((row["sender_name"], row["sender_address"], row["unread"] > 0))
    return dict(found)


def newest_in_folder(message: Message) -> int:
    """The message that stands for its conversation in the list of its folder."""
    if not message.thread:
        return message.pk
    found = Message.objects.filter(folder=message.folder_id, thread=message.thread)
    return found.order_by("-received_at", "-pk").values_list("pk", flat=True).first() or message.pk


def letters_of(
    message: Message, *, before: Message | None = None, limit: int = LETTERS_MAX
) -> tuple[list[Message], bool]:
    """The letters of a message's conversation with their folders, oldest first, at most the newest `limit` of
    them (or of those before one); and whether there are older ones."""
    if not message.thread:
        return [message], False
    found = (
        Message.objects.select_related("folder")
        .filter(mailbox=message.mailbox_id, thread=message.thread)
        .exclude(_elsewhere(message.folder))
    )
    if before is not None:
        earlier = Q(received_at__lt=before.received_at) | Q(received_at=before.received_at, pk__lt=before.pk)
        found = found.filter(earlier)
    newest = list(found.order_by("-received_at", "-pk")[: limit + 1])
    return newest[:limit][::-1], len(newest) > limit


def whole(folder: Folder, messages: Sequence[int], limit: int) -> list[int]:
    """These messages and all that are in the folder of the same conversations, at most `limit`."""
    lying = Message.objects.filter(mailbox=folder.mailbox_id, folder=folder.pk)
    chosen: list[int] = []
    threads: set[int] = set()
    for start in range(0, len(messages), STATEMENT_MAX):
        for pk, thread in lying.filter(pk__in=messages[start : start + STATEMENT_MAX]).values_list(
            "pk", "thread"
        ):
            chosen.append(pk)
            threads.add(thread)
    names = sorted(threads - {0})
    for start in range(0, len(names), STATEMENT_MAX):
        others = lying.filter(thread__in=names[start : start + STATEMENT_MAX])
        chosen += others.values_list("pk", flat=True)[:limit]
    return list(dict.fromkeys(chosen))[:limit]
