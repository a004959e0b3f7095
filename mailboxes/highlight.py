"""Marks in a plain text what a search found in it, and cuts a long one to where that stands. Pure.

    mark("Ihre Rechnung", ["rechn*"])  ->  [("Ihre ", False), ("Rechnung", True)]
    cut("Guten Tag ... anbei die Rechnung ...", ["rechn*"], 40)  ->  "… Tag, anbei die Rechnung für"

The text is returned as it was, in pieces; whoever shows it escapes each piece. No piece begins within what a
reader sees as one character.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from re import Pattern

from mailboxes.words import folded as fold
from mailboxes.words import pattern, places

# So much of a text is looked at; the rest stays as it is. A letter of 15 pages.
TEXT_MAX = 50_000
# So much is shown before what was found, to be understood by, and little enough to be in a narrow list, too.
LEAD = 24
# What stands no later than this is seen when the text is shown from its beginning.
AT_THE_BEGINNING = 40
# A text is looked through in stretches, each with what of a phrase may stand before and behind it.
STRETCH = 1_000
MARGIN = 120
# Stretches that are looked at word by word for one phrase; the quick look is wrong about very few.
TRIES = 3

# What belongs to the character before it, besides marks: vowels of Thai and Lao, Korean letters that are
# joined to a syllable, the voicing of half-width kana (Unicode's annex 29, as far as _KINDS may cut there).
_JOINED = frozenset("\u0e33\u0eb3\uff9e\uff9f\u200c\u200d") | {chr(code) for code in range(0x1160, 0x1200)}

Segment = tuple[str, bool]
Place = tuple[str, int, int]
Phrase = tuple[list[str], bool]


def mark(text: str, wanted: Sequence[str]) -> list[Segment]:
    """The text in pieces, each with whether it was searched for. `wanted`: as Found.words says it."""
    phrases = _phrases(wanted)
    if not phrases or not text:
        return [(text, False)] if text else []
    matches = _matches(list(places(text[:TEXT_MAX])), phrases)
    return _segments(text, _joined((_left(text, begin), _right(text, end)) for begin, end in matches))


def cut(text: str, wanted: Sequence[str], most: int) -> str:
    """The part of a text in which most of what is wanted stands, at most `most` characters of it, with an
    ellipsis before what is not its beginning; empty where nothing stands."""
    stretches = [(at, fold(text[at : at + STRETCH + MARGIN])) for at in range(0, len(text), STRETCH)]
    phrases = _phrases(wanted)
    firsts = sorted({at for phrase in phrases if (at := _first(text, stretches, phrase)) is not None})
    cuts = [_cut_at(text, at, most) for at in firsts]
    if len(cuts) < 2:
        return cuts[0] if cuts else ""
    looks = [pattern(*phrase) for phrase in phrases]
    return max(cuts, key=lambda one: _how_many(fold(one), looks))


def _how_many(folded: str, looks: Iterable[Pattern[str]]) -> int:
    return sum(look.search(folded) is not None for look in looks)


def _cut_at(text: str, at: int, most: int) -> str:
    begin = 0 if at <= AT_THE_BEGINNING else _word_before(text, at)
    return "… " * (begin > 0) + text[begin : _left(text, begin + most)].strip()


def _phrases(wanted: Sequence[str]) -> list[Phrase]:
    phrases = [(phrase.rstrip("*").split(), phrase.endswith("*")) for phrase in dict.fromkeys(wanted)]
    return [(words, prefix) for words, prefix in phrases if words]


def _first(text: str, stretches: Sequence[tuple[int, str]], phrase: Phrase) -> int | None:
    """Where a phrase first stands."""
    looks_like = pattern(*phrase)
    tries = ((at, folded, seen) for at, folded in stretches if (seen := looks_like.search(folded)))
    for at, folded, seen in islice(tries, TRIES):
        same_places = len(folded) == len(text[at : at + STRETCH + MARGIN])
        first, last = (at + seen.start(),) * 2 if same_places else (at, at + STRETCH)
        start = max(first - MARGIN, 0)
        for begin, _end in _matches(list(places(text[start : last + MARGIN])), [phrase]):
            # What stands before was cut off.
            if start + begin >= first:
                return _left(text, start + begin)
    return None


def _word_before(text: str, at: int) -> int:
    """Where the first word begins that is shown before a place; the place itself where words have no end."""
    gap = text.find(" ", at - LEAD, at)
    return gap + 1 if gap >= 0 else _left(text, at - LEAD // 2)


def _left(text: str, at: int) -> int:
    """The place itself, or the beginning of the character that it lies within."""
    while 0 < at < len(text) and _goes_on(text, at):
        at -= 1
    return at


def _right(text: str, at: int) -> int:
    while at < len(text) and _goes_on(text, at):
        at += 1
    return at


def _goes_on(text: str, at: int) -> bool:
    """Whether a reader sees what stands there as a part of the character before it."""
    character = text[at]
    if character.isascii():
        return False
    joined = character in _JOINED or unicodedata.category(character) in {"Mn", "Mc", "Me"}
    return joined or text[at - 1] == "\N{ZERO WIDTH JOINER}"


def _matches(found: list[Place], phrases: list[Phrase]) -> Iterator[tuple[int, int]]:
    stored = [word for word, _, _ in found]
    for at, (_, begin, _) in enumerate(found):
        for words, prefix in phrases:
            if fits(stored[at : at + len(words)], words, prefix):
                yield begin, found[at + len(words) - 1][2]


def fits(there: list[str], words: list[str], prefix: bool) -> bool:
    """Whether words that stand in a row are those that are wanted; `prefix`: the last may go on."""
    if not prefix:
        return there == words
    return len(there) == len(words) and there[:-1] == words[:-1] and there[-1].startswith(words[-1])


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans that touch or overlap become one; they come ordered by where they begin."""
    begin = end = -1
    for first, last in spans:
        if first > end:
            if end > begin:
                yield begin, end
            begin, end = first, last
        end = max(end, last)
    if end > begin:
        yield begin, end


def _segments(text: str, spans: Iterable[tuple[int, int]]) -> list[Segment]:
    segments: list[Segment] = []
    done = 0
    for begin, end in spans:
        if begin > done:
            segments.append((text[done:begin], False))
        segments.append((text[begin:end], True))
        done = end
    if done < len(text):
        segments.append((text[done:], False))
    return segments
