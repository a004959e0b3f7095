"""Accounts as CSV: a list from elsewhere becomes accounts, all of them or none; and ours become a list.

Columns: `address` (needed), `name`, `quota` (2G, 500M), `password` (empty: one is made).
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils.translation import gettext as _

from mailboxes import accounts, directory
from mailboxes.addresses import normalise, why_taken
from mailboxes.audit import Who
from mailboxes.credentials import PASSWORD_MAX
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, Domain
from mailboxes.sizes import octets_from
from mailboxes.tables import Problem, Row, read

# Each password takes a core some 20 ms: this many some four minutes of one.
LINES_MAX = 10_000
COLUMNS = ("address", "name", "quota", "password")
HEADING = ("address", "name", "role", "status", "quota", "used", "messages", "opened")
NAME_MAX = 200
QUOTA_MAX = 2**53
# So many names are asked for in one statement; SQLite takes 32,766.
ASKED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Line:
    """One account to be opened."""

    number: int
    login: str
    name: str = ""
    quota: int | None = None
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Roster:
    """A list that was read: what could be opened, and every line that could not."""

    lines: Sequence[Line]
    problems: Sequence[Problem]


def read_roster(text: str, domains: Collection[str] | None = None, *, bounded: bool = False) -> Roster:
    """Read and judge a list, changing nothing. `domains`: the only ones allowed; None: all of ours.
    `bounded`: nobody may have more room than a new mailbox of the domain has."""
    rows, problems = read(text, COLUMNS, ["address"], HEADING, LINES_MAX)
    lines: list[Line] = []
    for row in rows:
        try:
            lines.append(_line(row, domains))
        except (Invalid, ValueError) as why:
            problems.append(Problem(row.number, str(why)))
    problems += _taken(lines, bounded)
    return Roster(lines, sorted(problems, key=lambda problem: problem.number))


def _line(row: Row, domains: Collection[str] | None) -> Line:
    if row.width != row.wanted:
        raise Invalid(
            _("there are %(width)s columns, and the first line names %(wanted)s")
            % {"width": row.width, "wanted": row.wanted}
        )
    login = normalise(row.cells["address"])
    domain = login.rpartition("@")[2]
    if domains is not None and domain not in domains:
        raise Invalid(_("the domain %(domain)s is not yours") % {"domain": domain})
    name, password = row.cells.get("name", "").strip(), row.cells.get("password", "")
    if len(name) > NAME_MAX or not name.isprintable():
        raise Invalid(
            _("%(name)r is not a name: %(most)s printable characters have room")
            % {"name": name[:40], "most": NAME_MAX}
        )
    if password:
        _judge_password(password)
    quota = octets_from(row.cells["quota"]) if row.cells.get("quota", "").strip() else None
    if quota == 0:
        raise Invalid(_("a mailbox with a quota of 0 would take no mail"))
    if quota is not None and quota > QUOTA_MAX:
        raise Invalid(_("%(quota)r is more than can be stored") % {"quota": row.cells["quota"]})
    return Line(row.number, login, name, quota, password)


def _judge_password(password: str) -> None:
    if len(password) > PASSWORD_MAX or not password.isprintable():
        raise Invalid(_("this password cannot be typed"))
    try:
        validate_password(password)
    except ValidationError as error:
        raise Invalid(_("the password is refused: %(why)s") % {"why": " ".join(error.messages)}) from None


def _taken(lines: Sequence[Line], bounded: bool) -> list[Problem]:
    """What stands twice, is there already, or lies in a domain that is not served: a few look-ups for all."""
    most = _quotas(lines)
    taken = names_taken([line.login for line in lines])
    problems, seen = [], dict[str, int]()
    for line in lines:
        domain = line.login.rpartition("@")[2]
        if domain not in most:
            problems.append(
                Problem(line.number, _("the domain %(domain)s is not served here") % {"domain": domain})
            )
        elif line.login in taken:
            problems.append(Problem(line.number, why_taken(line.login)))
        elif line.login in seen:
            problems.append(
                Problem(
                    line.number,
                    _("%(login)s stands in line %(seen)s already")
                    % {"login": line.login, "seen": seen[line.login]},
                )
            )
        elif bounded and line.quota is not None and line.quota > most[domain]:
            text = _("the quota is more than a mailbox of this domain may have")
            problems.append(Problem(line.number, text))
        seen.setdefault(line.login, line.number)
    return problems


def _quotas(lines: Sequence[Line]) -> Mapping[str, int]:
    """What a new mailbox has, by the name of each domain that is served."""
    names = {line.login.rpartition("@")[2] for line in lines}
    return {
        name: quota
        for some in _portions(sorted(names))
        for name, quota in Domain.objects.filter(name__in=some, closed_at=None).values_list(
            "name", "default_quota_bytes"
        )
    }


def names_taken(names: Sequence[str]) -> set[str]:
    """Which of these are somebody's, or were until lately."""
    taken: set[str] = set()
    for some in _portions(names):
        taken |= set(Account.objects.filter(login__in=some).values_list("login", flat=True))
        taken |= set(Address.objects.filter(name__in=some).values_list("name", flat=True))
    return taken


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + ASKED_AT_ONCE] for start in range(0, len(names), ASKED_AT_ONCE))


def hash_all(passwords: Sequence[str], step: Callable[[int], None] = lambda _: None) -> list[str]:
    """Hash many passwords on all cores but one, which whoever logs in meanwhile shall have.

    `step` is told of each; what it raises ends the work.
    """
    pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1))
    encoded = []
    try:
        for one in pool.map(make_password, passwords):
            encoded.append(one)
            step(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return encoded


def open_all(lines: Sequence[Line], encoded: Sequence[str], *, actor: Who) -> None:
    """Open all or none, in one short transaction. Invalid: things changed since the list was judged."""
    most = _quotas(lines)
    newcomers = [
        accounts.Newcomer(
            line.login,
            password,
            most.get(line.login.rpartition("@")[2], 0) if line.quota is None else line.quota,
            line.name,
        )
        for line, password in zip(lines, encoded, strict=True)
    ]
    try:
        accounts.open_accounts(newcomers, actor=actor)
    except IntegrityError:
        problem = min(_taken(lines, bounded=False), key=lambda one: one.number, default=None)
        if problem is None:
            raise Invalid(_("try again")) from None
        raise Invalid(
            _("line %(number)d: %(text)s") % {"number": problem.number, "text": problem.text}
        ) from None


def export_rows(scope: directory.Scope, domain: Domain | None = None) -> Iterator[Sequence[object]]:
    """The heading, then every account that may be seen, read page by page."""
    yield HEADING
    after = ""
    while True:
        page = directory.accounts(scope, domain=domain, after=after, size=directory.EXPORTED_AT_ONCE)
        for one in page.rows:
            box = getattr(one, "mailbox", None)
            counts = (box.quota_bytes, box.used_bytes, box.message_count) if box else ("", "", "")
            yield (one.login, one.name, one.role, one.status, *counts, one.created_at.date())
        if not page.next:
            return
        after = page.next
