"""A language that is none: each marked text comes in brackets, so that what was not marked stands out."""

import re
from gettext import NullTranslations
from html.parser import HTMLParser

OPEN, SHUT = "⟦", "⟧"
# What somebody sees or hears of an element beside its text.
SPOKEN = {"alt", "aria-description", "aria-label", "aria-roledescription", "label", "placeholder", "title"}
# What stands in these is said by a machine, by a stranger, or to nobody.
QUIET = {"code", "pre", "script", "style", "template", "textarea"}
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# Addresses, host names, files, columns of CSV: whatever has a dot, an @ or a comma within it.
NAMES = re.compile(r"\S*\w[.@,]\w\S*")
WORD = re.compile(r"[A-Za-z]{2,}")


class InBrackets(NullTranslations):
    """Translates each text into itself, in brackets."""

    def gettext(self, message: str) -> str:
        # Before U+0004 stands the context (pgettext).
        return f"{OPEN}{message.rpartition(chr(4))[2]}{SHUT}"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)

    def to_language(self) -> str:
        return "de"


class Reader(HTMLParser):
    """Gathers the words of a page that stand in no brackets."""

    def __init__(self) -> None:
        super().__init__()
        self.unmarked: list[str] = []
        self._text = ""
        self._quiet = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._quiet += tag in QUIET
        self._text += " " if tag not in {"b", "kbd", "a"} else ""
        found = {name: value or "" for name, value in attrs}
        spoken = [value for name, value in found.items() if name in SPOKEN]
        # What scripts say comes in attributes, and is more than a word.
        spoken += [value for name, value in found.items() if name.startswith("data-said")]
        if tag == "input" and found.get("type") in {"submit", "button", "reset"}:
            spoken.append(found.get("value", ""))
        for text in spoken:
            self._note(text)

    def handle_endtag(self, tag: str) -> None:
        self._quiet -= tag in QUIET

    def handle_data(self, data: str) -> None:
        self._text += "" if self._quiet else data

    def close(self) -> None:
        super().close()
        self._note(self._text)

    def _note(self, text: str) -> None:
        self.unmarked += words_outside(text)


def words_outside(text: str) -> list[str]:
    """The words that stand in no brackets; names of hosts, files and people's addresses are no words."""
    depth, outside = 0, ""
    for letter in text:
        depth += (letter == OPEN) - (letter == SHUT)
        outside += letter if depth == 0 else " " if letter == OPEN else ""
    return WORD.findall(NAMES.sub(" ", outside))


def unmarked_in(page: str) -> list[str]:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader.unmarked
