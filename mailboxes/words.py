"""Text to the words that search compares: the same for both databases, for what is stored and what is asked.

Folded: case, width and accents do not count (Müller, MULLER). Scripts that write no spaces (Chinese,
Japanese, Thai, ...) and Korean become pairs of neighbouring characters, so that any part of a sentence can be
found. Pure.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

# No language's words are longer; what is, is a file in base64, and found by how it begins.
WORD_MAX = 40

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_UNSPACED}]+|[^ {_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# Letters that Unicode does not take apart.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}  # noqa: RUF001
)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
# 'ue' written for ü: not after a vowel (neuer) or q, and not where a word ends (blue).
_WRITTEN_UMLAUT = re.compile(r"([ao]|(?<![aeioq])u)e(?=\w)")
# Accents that stand beside their letter: those of Europe, and of Hebrew and Arabic, whose writers omit them.
_MARKS = ((0x0300, 0x036F), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670))


class _Folding(dict[int, str]):
    """For str.translate: each character folded when it is first met. What is no word becomes a space."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _folded(chr(code))
        return folded


def _folded(character: str) -> str:
    code = ord(character)
    if any(first <= code <= last for first, last in _MARKS):
        return ""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""  # a soft hyphen, a joiner: parts of a word that nobody types
    if category in {"Mn", "Mc"}:
        return character  # a vowel, in many scripts of Asia
    if not character.isalnum():
        return " "
    if code < 0x0590 or 0x1E00 <= code < 0x2000:
        character = unicodedata.normalize("NFD", character)[0]
    return character.translate(_PLAIN)


class _Kinds(dict[int, str]):
    """For str.translate: 'w' where a word is, a space elsewhere. One character for one."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        kind = "w" if chr(code).isalnum() or category in {"Mn", "Mc", "Cf"} else " "
        self[code] = kind
        return kind


_FOLDING = _Folding()
_KINDS = _Kinds()
_WORD = re.compile("w+")


def words(text: str) -> Iterator[str]:
    """The words of a text in their order, as they are stored: letters and digits only."""
    for run in _runs(text):
        if _IS_UNSPACED.match(run):
            yield from map("".join, pairwise(run))
            yield run[-1]
        else:
            yield run[:WORD_MAX]


def _runs(text: str) -> list[str]:
    return _RUN.findall(folded(text))


def folded(text: str) -> str:
    """A text as it is compared: a space wherever there is no word. Its places are not those of the text."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_FOLDING)


def pattern(phrase: Sequence[str], prefix: bool) -> re.Pattern[str]:
    """What finds words in a row, as `words` makes them, in a folded text; `prefix`: the last may go on.

    Quick, and no proof: a word that was cut off at WORD_MAX, or at the end of a piece of text, fits too."""
    first = re.escape(phrase[0])
    # Looked at behind the word, not before: what begins with letters is searched for many times as fast.
    parts = [first if is_unspaced(first) else f"{first}(?<![^ {_UNSPACED}]{first})"]
    for before, word in pairwise(phrase):
        overlaps = is_unspaced(before) and is_unspaced(word) and before.endswith(word[0])
        parts.append(re.escape(word[1:]) if overlaps else " *" + re.escape(word))
    open_end = prefix or is_unspaced(phrase[-1]) or len(phrase[-1]) >= WORD_MAX
    return re.compile("".join(parts) + ("" if open_end else f"(?![^ {_UNSPACED}])"))


def asked(text: str) -> tuple[tuple[str, ...], ...]:
    """What to look for when somebody asks for a text: one or two sequences of words, none for no words.

    Two where it has umlauts: 'Müller' and 'Mueller' both ask for both.
    """
    umlauts = unicodedata.normalize("NFC", text).casefold()
    written = umlauts.translate(_UMLAUTS)
    other = written if written != umlauts else _WRITTEN_UMLAUT.sub(r"\1", umlauts)
    return tuple(dict.fromkeys(form for form in (_phrase(text), _phrase(other)) if form))


def _phrase(text: str) -> tuple[str, ...]:
    found = list(words(text))
    # The last character alone is stored so that it can be asked for alone: after a pair it says nothing new.
    if len(found) > 1 and is_unspaced(found[-1]) and found[-2].endswith(found[-1]):
        found.pop()
    return tuple(found)


def is_unspaced(word: str) -> bool:
    """Whether it is of a script that writes no spaces."""
    return bool(_IS_UNSPACED.match(word))


def places(text: str) -> Iterator[tuple[str, int, int]]:
    """The words of a text, and where in it each begins and ends."""
    for found in _WORD.finditer(text.translate(_KINDS)):
        begin, end = found.span()
        for run in _RUN.finditer(text[begin:end]):
            run_begin, run_end = begin + run.start(), begin + run.end()
            if run[0].isascii():  # most are, and nothing else is left to do
                yield run[0].lower()[:WORD_MAX], run_begin, run_end
                continue
            inside = list(words(run[0]))
            # A run of pairs has a word at each character, unless folding changed how many there are.
            exact = _IS_UNSPACED.match(run[0]) and len(inside) == len(run[0])
            for at, word in enumerate(inside):
                if exact:
                    yield word, run_begin + at, min(run_begin + at + 2, run_end)
                else:
                    yield word, run_begin, run_end
