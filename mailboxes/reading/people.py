"""Who a message is from and to, as its header says it, and what is odd about that (RFC 5322 section 3.4)."""

import re
from dataclasses import dataclass, field

from mailboxes.reading.decoding import one_line, words_decoded
from mailboxes.reading.links import ascii_host, same_site, suspicion, unicode_host

PEOPLE_MAX = 1_000
NAME_MAX = 200
ADDRESS_MAX = 320
FIELD_MAX = 64 * 1024

_TOKENS = re.compile(r'"((?:[^"\\]|\\.)*+)"?|<([^<>]*+)>?|\\.|[(),:;]|[^"<(),:;\\]++|.', re.DOTALL)
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})")


@dataclass(frozen=True, slots=True)
class Caution:
    """Something a reader should know: a code that a door translates, what was found, what one would expect.

    `name_has_address` (the name shows another address), `mixed_scripts` and `lookalike` (the domain is not
    what it looks like), `reply_to_differs` (answers go to another domain), `several_senders`.
    """

    code: str
    found: str
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    address: str
    warnings: list[Caution] = field(default_factory=list)

    @property
    def domain(self) -> str:
        return ascii_host(self.address.rpartition("@")[2])


def people(value: str) -> list[Person]:
    """The mailboxes of an address list; groups are taken apart, what is no address is kept as a name."""
    found: list[Person] = []
    reader = _Reader()
    for token in _TOKENS.finditer(value[:FIELD_MAX]):
        if reader.takes(token):
            continue
        if person := reader.person():
            found.append(person)
        if len(found) >= PEOPLE_MAX:
            return found
    if person := reader.person():
        found.append(person)
    return found


class _Reader:
    """Collects what stands between two commas."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._comments: list[str] = []
        self._angle: str | None = None
        self._depth = 0

    def takes(self, token: re.Match[str]) -> bool:
        """Whether the token belongs to the mailbox at hand, which ends otherwise."""
        text = token[0]
        if self._depth:
            self._depth += (text == "(") - (text == ")")
            if self._depth:
                self._comments.append(text)
        elif text == "(":
            self._depth = 1
        elif token[1] is not None:
            quoted = re.sub(r"\\(.)", r"\1", token[1])
            after_at = bool(self._words) and self._words[-1].endswith("@")
            self._words.append(quoted if not after_at else text)
        elif token[2] is not None:
            self._angle = self._angle or token[2]
        elif text in {",", ";"}:
            return False
        elif text == ":":
            # The name of a group, or of a route (RFC 5322 section 4.4), which says nothing.
            self._words.clear()
        else:
            self._words.append(text)
        return True

    def person(self) -> Person | None:
        words = " ".join("".join(self._words).split())
        comment = "".join(self._comments).strip()
        angle = self._angle
        self.__init__()  # type: ignore[misc]
        if angle is not None:
            # RFC 5322 section 4.4: a route may stand before the address, and spaces around dots.
            address = angle.rpartition(":")[2] if angle.lstrip().startswith("@") else angle
            address = address.strip() if '"' in address else "".join(address.split())
            name = words
        elif "@" in words:
            address, name = _bare(words)
            name = name or comment
        else:
            address, name = "", words
        name = one_line(words_decoded(name[: NAME_MAX * 20]), NAME_MAX)
        if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
            name = name[1:-1].strip()
        address = one_line(re.sub(r"\([^()]*\)", "", address), ADDRESS_MAX)
        if not name and not address:
            return None
        return Person(name, address, _cautions(name, address))


def _bare(words: str) -> tuple[str, str]:
    """Address and name where no angle brackets part them: `"Ann" ann@x.test`."""
    words = re.sub(r" ([.@]) ?", r"\1", words)
    whole = [word for word in words.split(" ") if "@" in word[1:]]
    if len(whole) != 1:
        return "".join(words.split()), ""
    return whole[0], " ".join(word for word in words.split(" ") if word != whole[0])


def _cautions(name: str, address: str) -> list[Caution]:
    cautions = []
    domain = ascii_host(address.rpartition("@")[2])
    for shown in _ADDRESS.finditer(name):
        if shown[0].lower() != address.lower() and not same_site(ascii_host(shown[1]), domain):
            cautions.append(Caution("name_has_address", shown[0], address))
            break
    if code := suspicion(domain):
        cautions.append(Caution(code, unicode_host(domain), domain))
    return cautions


def cautions_of(sender: list[Person], reply_to: list[Person]) -> list[Caution]:
    """What is odd about who writes and who gets the answers."""
    cautions = [caution for person in sender for caution in person.warnings]
    # A comma in a name that is not quoted ends one mailbox and begins the next: `Doe, John <john@x.test>`.
    addresses = [person.address for person in sender if person.address]
    if len(addresses) > 1:
        cautions.append(Caution("several_senders", ", ".join(addresses[:10])))
    domains = [person.domain for person in sender if person.address]
    for person in reply_to:
        if person.address and not any(same_site(person.domain, domain) for domain in domains):
            cautions.append(Caution("reply_to_differs", person.address, sender[0].address if sender else ""))
            break
    return cautions
