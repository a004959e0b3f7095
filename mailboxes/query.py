"""What a subscriber types into the search box, read: words, "phrases" and operators, with `-` for not. Pure.

    invoice from:ann -"last reminder" has:attachment after:2026-11 larger:5M in:archive

`parse` never raises. A value that it cannot read is left out, and a problem says so in plain words; an
operator that there is none of is a word like any other. Whose pages are not in English has operators of that
language beside these (`VOCABULARIES`), and is told of them by `spelled`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from mailboxes.sizes import octets_from
from mailboxes.words import asked, is_unspaced

# Longer than anybody types; a URL that is pasted fits.
QUERY_MAX = 500
TERMS_MAX = 20
PHRASE_MAX = 20
# What a database's integer holds; no message is larger.
OCTETS_MAX = 2**62
# A word of which only the beginning is typed is looked for from so many letters on: 'a' begins half of all.
PREFIX_MIN = 3
VALUE_MAX = 100

FIELDS = {"from": "f", "to": "t", "subject": "s"}
# `is:` and `has:`, by the field of Message that says it, and what that must be.
FLAGS = {
    "has:attachment": ("has_attachments", True),
    "has:attachments": ("has_attachments", True),
    "is:unread": ("seen", False),
    "is:read": ("seen", True),
    "is:starred": ("starred", True),
    "is:answered": ("answered", True),
}
TIMES = {"before", "after"}
UNITS = {"d": 1, "w": 7, "m": 30, "y": 365}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What one language says, and what is meant. Of several for one thing the first is what people are told.

    `values`: by operator, for those whose values are words of ours; all others are the reader's own text.
    `units`: of days and years behind `before:` and `after:`.
    """

    operators: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    units: Mapping[str, str]


ENGLISH = Vocabulary({}, {}, {})
_DAYS_IN_GERMAN = {"heute": "today", "gestern": "yesterday"}
# By language. English is understood beside each, so a word must not mean something else there.
VOCABULARIES = {
    "de": Vocabulary(
        operators={
            "von": "from",
            "an": "to",
            "betreff": "subject",
            "hat": "has",
            "ist": "is",
            "vor": "before",
            "nach": "after",
            "größer": "larger",
            "grösser": "larger",
            "groesser": "larger",
            "kleiner": "smaller",
        },
        values={
            "has": {"anhang": "attachment", "anhänge": "attachments"},
            "is": {
                "ungelesen": "unread",
                "gelesen": "read",
                "markiert": "starred",
                "beantwortet": "answered",
            },
            "in": {"überall": "anywhere", "alles": "all", "archiv": "archive"},
            "before": _DAYS_IN_GERMAN,
            "after": _DAYS_IN_GERMAN,
        },
        units={"t": "d", "j": "y"},
    )
}

_TERM = re.compile(r'(-?)(?:([^\W\d_]{1,12}):)?("[^"]*"?|[^\s"]\S*)?')
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "\0": " "})
_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII)
_DAY_IN_GERMAN = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(\d{1,2})", re.ASCII)
_YEAR = re.compile(r"(\d{4})", re.ASCII)
_AGO = re.compile(r"(\d{1,5})([dwmy])", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Words:
    """Words in this order: one of `forms` must be there. `field`: a value of FIELDS, or empty for anywhere.
    `prefix`: of the last word only the beginning is known."""

    forms: tuple[tuple[str, ...], ...]
    field: str = ""
    prefix: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """A field of Message that is so. `value` counts the `-` in."""

    field: str
    value: bool


@dataclass(frozen=True, slots=True)
class In:
    """In a folder, by its name or kind as it was typed."""

    folder: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Since:
    """Received at this moment or later; before it when `negated`."""

    moment: datetime
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Of so many octets or more; of fewer when `negated`."""

    octets: int
    negated: bool = False


Term = Words | Flag | In | Since | AtLeast


@dataclass(frozen=True, slots=True)
class Query:
    """All terms must hold. Without any, nothing was asked."""

    terms: tuple[Term, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def words(self) -> list[Words]:
        return [term for term in self.terms if isinstance(term, Words)]

    def highlights(self, *fields: str) -> list[str]:
        """What is to be marked in the results: words in a row, with `*` where only the beginning is known.
        `fields`: only what was looked for there ("": anywhere)."""
        return [
            " ".join(form) + "*" * term.prefix
            for term in self.words
            if not term.negated and (not fields or term.field in fields)
            for form in term.forms
        ]


class _Unreadable(ValueError):
    """A value that is none; says why in plain words."""


def parse(text: str, now: datetime) -> Query:
    """Read a query. `now`, with its time zone, is what dates are reckoned from."""
    problems = []
    if len(text) > QUERY_MAX:
        problems.append(_("The search is too long: its end was left out."))
    terms: list[Term] = []
    pieces = list(_pieces(text[:QUERY_MAX]))
    if len(pieces) > TERMS_MAX:
        problems.append(_("There are too many terms: the last were left out."))
    for at, piece in enumerate(pieces[:TERMS_MAX], 1):
        try:
            term = _term(piece, now)
        except _Unreadable as why:
            problems.append(str(why))
            continue
        if isinstance(term, Words) and at == len(pieces) and not piece.quoted and not term.negated:
            term = _being_typed(term)
        if term is not None:
            terms.append(term)
    return Query(tuple(terms), tuple(dict.fromkeys(problems)))


@dataclass(frozen=True, slots=True)
class _Piece:
    """One term: its operator and value in English, and `typed`, which is both as they were typed."""

    negated: bool
    operator: str
    value: str
    quoted: bool
    typed: str


def _vocabulary() -> Vocabulary:
    """That of the reader's language."""
    return VOCABULARIES.get((get_language() or "").partition("-")[0], ENGLISH)


def spelled(term: str) -> str:
    """An operator with a value, both in English, as the reader's language says them: `hat:anhang`."""
    operator, _colon, value = term.partition(":")
    own = _vocabulary()
    if operator in TIMES and (ago := _AGO.fullmatch(value)):
        value = ago[1] + _said(own.units, ago[2])
    else:
        value = _said(own.values.get(operator, {}), value)
    return f"{_said(own.operators, operator)}:{value}"


def _said(words: Mapping[str, str], meant: str) -> str:
    return next((word for word, means in words.items() if means == meant), meant)


def _pieces(text: str) -> list[_Piece]:
    found, own = [], _vocabulary()
    for match in _TERM.finditer(text.translate(_QUOTES)):
        minus, typed, value = match[1], match[2] or "", match[3] or ""
        if typed or value:
            quoted = value.startswith('"')
            value = value.strip('"') if quoted else value
            operator = own.operators.get(typed.lower(), typed.lower())
            whole = f"{typed}:{value}" if typed else value
            found.append(_Piece(bool(minus), operator, _in_english(operator, value, own), quoted, whole))
    return found


def _in_english(operator: str, value: str, own: Vocabulary) -> str:
    low = value.strip().lower()
    if operator in TIMES and low[:-1].isdigit():
        return low[:-1] + own.units.get(low[-1], low[-1])
    return own.values.get(operator, {}).get(low, value)


def _term(piece: _Piece, now: datetime) -> Term | None:
    """None: it holds nothing that could be looked for."""
    if piece.operator not in READERS:
        return _words(piece.typed, "", piece)
    if not piece.value.strip():
        typed = piece.typed.partition(":")[0].lower()
        raise _Unreadable(_("“%s:” needs a value behind it, without a space.") % typed)
    return READERS[piece.operator](piece.operator, piece, now)


def _words(text: str, field: str, piece: _Piece) -> Words | None:
    forms = tuple(form[:PHRASE_MAX] for form in asked(text))
    if not forms:
        return None
    starred = not piece.quoted and text.endswith("*") and len(forms[0][-1]) >= PREFIX_MIN
    alone = is_unspaced(forms[0][-1]) and len(forms[0][-1]) == 1
    return Words(forms, field, prefix=starred or alone, negated=piece.negated)


def _being_typed(term: Words) -> Words:
    last = term.forms[0][-1]
    return replace(term, prefix=term.prefix or (len(last) >= PREFIX_MIN and not is_unspaced(last)))


def _field(operator: str, piece: _Piece, now: datetime) -> Term | None:
    return _words(piece.value, FIELDS[operator], piece)


def _flag(operator: str, piece: _Piece, now: datetime) -> Term:
    name = f"{operator}:{piece.value.lower()}"
    if name not in FLAGS:
        flags = (flag for flag in FLAGS if flag.startswith(operator) and flag != "has:attachments")
        said = {"found": _cut(piece.typed.lower()), "known": ", ".join(spelled(flag) for flag in flags)}
        raise _Unreadable(_("“%(found)s” is unknown: there is %(known)s.") % said)
    field, value = FLAGS[name]
    return Flag(field, value is not piece.negated)


def _in(operator: str, piece: _Piece, now: datetime) -> Term | None:
    name = " ".join(piece.value[:VALUE_MAX].split())
    return None if name.lower() in {"anywhere", "all"} else In(name, piece.negated)


def _before(operator: str, piece: _Piece, now: datetime) -> Term:
    return Since(_moment(piece, now), not piece.negated)


def _after(operator: str, piece: _Piece, now: datetime) -> Term:
    return Since(_moment(piece, now), piece.negated)


def _larger(operator: str, piece: _Piece, now: datetime) -> Term:
    return AtLeast(_octets(piece.value), piece.negated)


def _smaller(operator: str, piece: _Piece, now: datetime) -> Term:
    return AtLeast(_octets(piece.value), not piece.negated)


Reader = Callable[[str, _Piece, datetime], Term | None]
READERS: dict[str, Reader] = {
    "from": _field,
    "to": _field,
    "subject": _field,
    "has": _flag,
    "is": _flag,
    "in": _in,
    "before": _before,
    "after": _after,
    "larger": _larger,
    "smaller": _smaller,
}


def _moment(piece: _Piece, now: datetime) -> datetime:
    """The beginning of a day, month or year in the reader's time zone, or so long ago."""
    text = piece.value.strip().lower()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if text in {"today", "yesterday"}:
            return _midnight(today - timedelta(days=text == "yesterday"))
        if ago := _AGO.fullmatch(text):
            return now - timedelta(days=int(ago[1]) * UNITS[ago[2]])
        if day := _DAY.fullmatch(text):
            return _midnight(today.replace(year=int(day[1]), month=int(day[2]), day=int(day[3])))
        if day := _DAY_IN_GERMAN.fullmatch(text):
            return _midnight(today.replace(year=int(day[3]), month=int(day[2]), day=int(day[1])))
        if month := _MONTH.fullmatch(text):
            return _midnight(today.replace(year=int(month[1]), month=int(month[2]), day=1))
        if year := _YEAR.fullmatch(text):
            return _midnight(today.replace(year=int(year[1]), month=1, day=1))
    except (ValueError, OverflowError):
        pass  # the 31st of February
    typed = piece.typed.partition(":")[2].strip().lower()
    raise _Unreadable(_("“%s” is no date: write 2026-11-03, 2026-11, yesterday or 7d.") % _cut(typed))


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, fold=0)


def _octets(text: str) -> int:
    try:
        return min(octets_from(text), OCTETS_MAX)
    except ValueError:
        raise _Unreadable(_("“%s” is no size: write 300K or 5M.") % _cut(text)) from None


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
