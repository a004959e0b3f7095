"""Which mail program a client says it is: the argument of ID, in RFC 2971's syntax."""

from __future__ import annotations

import re

from pop3d import texts
from pop3d.texts import Refusal

PROGRAM_LIMIT = 80  # characters: enough for a name and a version, and one line of a log stays one line

_ITEM = rb'"((?:[^"\\]|\\.)*)"|NIL'
_ITEMS = re.compile(_ITEM, re.IGNORECASE)
_LIST = re.compile(rb"\( *(?:(?:%b) *)*\)" % _ITEM, re.IGNORECASE)


def program_from(argument: bytes) -> str:
    """`("name" "Thunderbird" "version" "128.1")` is `Thunderbird 128.1`; NIL is ''."""
    if argument.upper() == b"NIL":
        return ""
    if not _LIST.fullmatch(argument):
        raise Refusal(texts.BAD_ID)
    items = [re.sub(rb"\\(.)", rb"\1", item) for item in _ITEMS.findall(argument)]
    fields = {name.lower(): value for name, value in zip(items[::2], items[1::2], strict=False)}
    said = b" ".join(fields.get(name, b"") for name in (b"name", b"version")).decode("utf-8", "replace")
    return "".join(c for c in said if c.isprintable()).strip()[:PROGRAM_LIMIT]
