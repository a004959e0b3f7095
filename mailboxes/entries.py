"""Search entries as each database keeps and searches them; the rest of search does not know which it is.

PostgreSQL: a tsvector under a GIN index. SQLite: an FTS5 table without content. Both hold the same words,
made by mailboxes.words, so both find the same; neither database's own parser, dictionary or query language
comes near what people write. Words stand under their mailbox (`7.winvoice`: mailbox 7, anywhere, "invoice"),
so that what a search costs depends on the size of that mailbox only, and no query reaches into another.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from mailboxes.content import one_line
from mailboxes.listing import Cursor
from mailboxes.models import SearchEntry, SearchText
from mailboxes.query import FIELDS, Words
from mailboxes.words import words

# So many words of a message keep their order (a book of 50 pages; a tsvector numbers up to 16,383); of the
# rest it is known only that they are there, up to so many different ones (a tsvector holds 1 MiB).
PLACED_MAX = 16_000
DIFFERENT_MAX = 20_000
OCTETS_MAX = 900_000
# A tsvector keeps so many places of one word.
PLACES_OF_WORD_MAX = 255
# So much of a text is kept to show where in it something was found: two pages, 1 to 2 KB compressed.
KEPT_MAX = 4_000
# A field of a header is cut there: 400 recipients have 25,000 characters.
HEADER_MAX = 32_000

# Anywhere; beside it each of FIELDS.
ANYWHERE = "w"
# In FTS5 between two texts, so that no phrase begins in one and ends in the other; and, because it stands in
# every entry, 'all messages of this mailbox'.
GAP = "."
# 32 bits of seconds (until 2106), 31 of the message's number.
ID_BITS = 31
ID_MASK = (1 << ID_BITS) - 1
LAST_SECOND = (1 << 32) - 1
# Beyond every place.
END = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Document:
    """What of a message can be found."""

    message: int
    mailbox: int
    received_at: datetime
    subject: str = ""
    sender: str = ""
    recipients: str = ""
    body: str = ""

    def texts(self) -> Iterator[tuple[str, str]]:
        """(field, text), the headers first, so that a long body leaves them room."""
        headers = {"subject": self.subject, "from": self.sender, "to": self.recipients}
        for text in headers.values():
            yield ANYWHERE, text[:HEADER_MAX]
        for name, text in headers.items():
            yield FIELDS[name], text[:HEADER_MAX]
        yield ANYWHERE, self.body


@dataclass(frozen=True, slots=True)
class Stored:
    """A document's words: `placed` in their order, with GAP between texts; `others` are merely there."""

    placed: list[str]
    others: list[str]


def place_of(received_at: datetime, message: int) -> int:
    """The order of search results: by second, then by number."""
    seconds = min(max(int(received_at.timestamp()), 0), LAST_SECOND)
    return seconds << ID_BITS | message & ID_MASK


def place_before(cursor: Cursor) -> int:
    return place_of(cursor.received_at, cursor.message)


def words_of(document: Document) -> Stored:
    placed: list[str] = [GAP]
    different: dict[str, None] = {}
    others: dict[str, None] = {}
    octets = 0
    for field, text in document.texts():
        for word in words(text):
            stored = field + word
            if stored not in different:
                # With what a tsvector needs beside the word itself.
                octets += len(stored.encode()) + 28
                if len(different) >= DIFFERENT_MAX or octets > OCTETS_MAX:
                    return Stored(placed, list(others))
                different[stored] = None
                if len(placed) >= PLACED_MAX:
                    others[stored] = None
            if len(placed) < PLACED_MAX:
                placed.append(stored)
        placed.append(GAP)
    return Stored(placed, list(others))


# -- writing ------------------------------------------------------------------------------------


def write(documents: Sequence[Document]) -> None:
    """Write the entries of messages, in place of those that they have. Within a transaction."""
    # FTS5 gathers what comes in the order of its row numbers and writes it at once.
    documents = sorted(documents, key=lambda one: place_of(one.received_at, one.message))
    if connection.vendor == "postgresql":
        _write_vectors(documents)
    else:
        remove([document.message for document in documents])
        _write_fts5(documents)
    texts = [SearchText(message=one.message, text=_kept(one.body)) for one in documents]
    SearchText.objects.bulk_create(
        texts, update_conflicts=True, unique_fields=["message"], update_fields=["text"]
    )


def _kept(body: str) -> bytes:
    return zlib.compress(one_line(body, KEPT_MAX).encode(), 1)


def texts_of(messages: Sequence[int]) -> dict[int, str]:
    """How the texts of messages begin, in one line each, of those that are indexed."""
    kept = SearchText.objects.filter(message__in=messages).values_list("message", "text")
    return {message: zlib.decompress(text).decode() for message, text in kept}


def remove(messages: Sequence[int]) -> None:
    """Remove the entries of messages. Within a transaction."""
    entries = SearchEntry.objects.filter(message__in=messages)
    if connection.vendor == "sqlite":
        _remove_fts5(entries.order_by("place").values_list("mailbox", "place", "words"))
    entries.delete()
    SearchText.objects.filter(message__in=messages).delete()


UPSERT = (
    "INSERT INTO mailboxes_searchentry (message, mailbox, place, words, vector)"
    " VALUES (%s, %s, %s, '', %s::tsvector)"
    " ON CONFLICT (message) DO UPDATE SET mailbox = excluded.mailbox, place = excluded.place,"
    " vector = excluded.vector"
)
INSERT_FTS5 = "INSERT INTO mailboxes_searchwords (rowid, words) VALUES (%s, %s)"
# A table without content must be told what it is to forget.
REMOVE_FTS5 = (
    "INSERT INTO mailboxes_searchwords (mailboxes_searchwords, rowid, words) VALUES ('delete', %s, %s)"
)


def _write_vectors(documents: Sequence[Document]) -> None:
    rows = [
        (
            one.message,
            one.mailbox,
            place_of(one.received_at, one.message),
            _vector(one.mailbox, words_of(one)),
        )
        for one in documents
    ]
    with connection.cursor() as cursor:
        cursor.executemany(UPSERT, rows)


def _vector(mailbox: int, stored: Stored) -> str:
    """As PostgreSQL reads a tsvector: 'word':1,5 'word':2."""
    at: dict[str, list[str]] = {}
    for place, word in enumerate(stored.placed, 1):
        if word != GAP:
            at.setdefault(word, []).append(str(place))
    placed = [f"'{mailbox}.{word}':{','.join(places[:PLACES_OF_WORD_MAX])}" for word, places in at.items()]
    return " ".join([*placed, *(f"'{mailbox}.{word}'" for word in stored.others)])


def _write_fts5(documents: Sequence[Document]) -> None:
    entries = []
    with connection.cursor() as cursor:
        for one in documents:
            stored = words_of(one)
            text = " ".join([*stored.placed, *(f"{word} {GAP}" for word in stored.others)])
            place = place_of(one.received_at, one.message)
            cursor.execute(INSERT_FTS5, [place, _under(one.mailbox, text)])
            kept = zlib.compress(text.encode(), 1)
            entries.append(SearchEntry(message=one.message, mailbox=one.mailbox, place=place, words=kept))
    SearchEntry.objects.bulk_create(entries)


def _remove_fts5(entries: Iterable[tuple[int, int, bytes | memoryview]]) -> None:
    rows = [(place, _under(mailbox, zlib.decompress(kept).decode())) for mailbox, place, kept in entries]
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(REMOVE_FTS5, row)


def _under(mailbox: int, text: str) -> str:
    return f"{mailbox}." + text.replace(" ", f" {mailbox}.")


# -- asking -------------------------------------------------------------------------------------


def expression(mailbox: int, terms: Sequence[Words]) -> str:
    """What the database is asked, in its own language; made of letters and digits, whatever was typed."""
    write = _tsquery if connection.vendor == "postgresql" else _fts5
    wanted = [write(mailbox, term) for term in terms if not term.negated]
    unwanted = [write(mailbox, term) for term in terms if term.negated]
    if connection.vendor == "postgresql":
        return " & ".join([*wanted, *(f"!{one}" for one in unwanted)])
    found = " AND ".join(wanted or [f'"{mailbox}.{GAP}"'])
    return f"({found}) NOT ({' OR '.join(unwanted)})" if unwanted else found


def candidates(mailbox: int, terms: Sequence[Words]) -> str:
    """What PostgreSQL's index of words can tell by itself: the same, but of a phrase only that its words are
    there. Finds all that `expression` finds."""
    wanted = [_tsquery(mailbox, term, " & ") for term in terms if not term.negated]
    unwanted = [
        f"!{_tsquery(mailbox, term)}"
        for term in terms
        if term.negated and all(len(form) == 1 for form in term.forms)
    ]
    return " & ".join([*wanted, *unwanted])


def _lexemes(mailbox: int, term: Words, form: Sequence[str]) -> list[str]:
    return [f"{mailbox}.{term.field or ANYWHERE}{word}" for word in form]


def _tsquery(mailbox: int, term: Words, between: str = " <-> ") -> str:
    forms = []
    for form in term.forms:
        lexemes = [f"'{lexeme}'" for lexeme in _lexemes(mailbox, term, form)]
        if term.prefix:
            lexemes[-1] += ":*"
        forms.append(f"({between.join(lexemes)})")
    return f"({' | '.join(forms)})"


def _fts5(mailbox: int, term: Words) -> str:
    phrases = [f'"{" ".join(_lexemes(mailbox, term, form))}"' for form in term.forms]
    return f"({' OR '.join(phrase + ' *' * term.prefix for phrase in phrases)})"
