"""Aliases, lists, forwards and catch-alls as CSV: brought in all or none, and taken out.

Columns: `kind` (alias, list, forward, catch-all), `address` (of a catch-all `@` and its domain), `reaches`
(accounts here and addresses elsewhere, with spaces between).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from mailboxes import aliases, directory
from mailboxes.addresses import normalise, normalise_domain, why_taken
from mailboxes.audit import Who
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, AddressKind, Domain, Status
from mailboxes.roster import names_taken
from mailboxes.tables import Problem, Row, read

LINES_MAX = 10_000
# In all lines together: each is a row, and a row of the audit.
TARGETS_MAX = 50_000
COLUMNS = ("kind", "address", "reaches")
HEADING = (*COLUMNS, "status", "reason")
CATCH_ALL = "catch-all"
KINDS = ("alias", "list", "forward", CATCH_ALL)


@dataclass(frozen=True, slots=True)
class Line:
    """One address to be made, or a domain's catch-all to be set (`name` is then the domain)."""

    number: int
    kind: str
    name: str
    reaches: tuple[str, ...]

    @property
    def domain(self) -> str:
        return self.name.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class AliasRoster:
    """A list that was read: what could be made, and every line that could not."""

    lines: Sequence[Line]
    problems: Sequence[Problem]


def read_aliases(text: str, domains: Collection[str] | None = None) -> AliasRoster:
    """Read and judge a list, changing nothing. `domains`: the only ones of ours allowed; None: all."""
    rows, problems = read(text, COLUMNS, COLUMNS, HEADING, LINES_MAX)
    lines: list[Line] = []
    for row in rows:
        try:
            lines.append(_line(row))
        except Invalid as why:
            problems.append(Problem(row.number, str(why)))
    problems += _judged(lines, domains)
    if sum(len(line.reaches) for line in lines) > TARGETS_MAX:
        text = _("the lines reach more than %(most)s others in all: cut the list in parts") % {
            "most": TARGETS_MAX
        }
        problems.append(Problem(1, text))
    return AliasRoster(lines, sorted(problems, key=lambda problem: problem.number))


def _line(row: Row) -> Line:
    if row.width != row.wanted:
        raise Invalid(
            _("there are %(width)s columns, and the first line names %(wanted)s")
            % {"width": row.width, "wanted": row.wanted}
        )
    kind = row.cells["kind"].strip().lower()
    if kind not in KINDS:
        raise Invalid(
            _("%(kind)r is no kind: it is one of %(kinds)s") % {"kind": kind[:40], "kinds": ", ".join(KINDS)}
        )
    reaches = sorted({normalise(one) for one in row.cells["reaches"].replace(",", " ").split()})
    if not reaches:
        raise Invalid(_("an address must reach something: name an account here or an address elsewhere"))
    if len(reaches) > aliases.TARGETS_MAX:
        raise Invalid(
            _("an address may reach %(most)s others, not %(count)s")
            % {"most": aliases.TARGETS_MAX, "count": len(reaches)}
        )
    if kind in {"alias", CATCH_ALL} and len(reaches) > 1:
        raise Invalid(_("a line of kind %(kind)s reaches one account: make it a list") % {"kind": kind})
    address = row.cells["address"].strip()
    name = normalise_domain(address.removeprefix("@")) if kind == CATCH_ALL else normalise(address)
    return Line(row.number, kind, name, tuple(reaches))


def _judged(lines: Sequence[Line], domains: Collection[str] | None) -> list[Problem]:
    """What depends on what is there already; a few look-ups for all."""
    named = {line.domain for line in lines} | {
        one.rpartition("@")[2] for line in lines for one in line.reaches
    }
    served = _asked(Domain.objects.all(), "name", named)
    closed = _asked(Domain.objects.exclude(closed_at=None), "name", named & served)
    reached = {one for line in lines for one in line.reaches if one.rpartition("@")[2] in served}
    open_ = _asked(Account.objects.exclude(status=Status.CLOSED), "login", reached)
    taken = names_taken([line.name for line in lines if line.kind != CATCH_ALL])
    problems, seen = [], dict[str, int]()
    for line in lines:
        try:
            _judge(line, served, closed, domains)
            _judge_reached(line, served, open_, domains)
            if line.name in taken:
                raise Invalid(why_taken(line.name))
            if line.name in seen:
                raise Invalid(
                    _("%(name)s stands in line %(seen)s already")
                    % {"name": line.name, "seen": seen[line.name]}
                )
        except Invalid as why:
            problems.append(Problem(line.number, str(why)))
        seen.setdefault(line.name, line.number)
    return problems


def _asked(found: "QuerySet[Any]", column: str, names: Collection[str]) -> set[str]:
    """Which of these names there are."""
    ordered = sorted(names)
    return {
        name
        for start in range(0, len(ordered), directory.EXPORTED_AT_ONCE)
        for name in found.filter(
            **{f"{column}__in": ordered[start : start + directory.EXPORTED_AT_ONCE]}
        ).values_list(column, flat=True)
    }


def _judge(
    line: Line, served: Collection[str], closed: Collection[str], domains: Collection[str] | None
) -> None:
    if domains is not None and line.domain not in domains:
        raise Invalid(_("the domain %(domain)s is not yours") % {"domain": line.domain})
    if line.domain not in served:
        raise Invalid(_("the domain %(domain)s is not served here") % {"domain": line.domain})
    if line.domain in closed:
        raise Invalid(_("the domain %(domain)s is closed: restore it first") % {"domain": line.domain})


def _judge_reached(
    line: Line, served: Collection[str], open_: Collection[str], domains: Collection[str] | None
) -> None:
    for one in line.reaches:
        domain = one.rpartition("@")[2]
        if domain in served:
            if domains is not None and domain not in domains:
                raise Invalid(_("the domain %(domain)s is not yours") % {"domain": domain})
            if line.kind == "forward":
                raise Invalid(
                    _("%(one)s is an address here: make an alias, which needs no sending") % {"one": one}
                )
            if one not in open_:
                raise Invalid(_("there is no open account %(one)s") % {"one": one})
        elif line.kind in {"alias", CATCH_ALL}:
            raise Invalid(_("there is no account %(one)s here: make a forward or a list") % {"one": one})


def prepare(
    lines: Sequence[Line], *, actor: Who, step: Callable[[int], None] = lambda _: None
) -> aliases.Prepared:
    """What `aliases.make_addresses` makes, all or none. Invalid: something has changed since the list was
    judged."""
    made = [(line.name, line.reaches) for line in lines if line.kind != CATCH_ALL]
    caught = [(line.name, line.reaches[0]) for line in lines if line.kind == CATCH_ALL]
    return aliases.prepare_addresses(made, caught, actor=actor, step=step)


def export_rows(scope: directory.Scope, domain: Domain | None = None) -> Iterator[Sequence[object]]:
    """The heading, then every address that is not an account's own, page by page, then the catch-alls."""
    yield HEADING
    after = ""
    while True:
        page = directory.addresses(
            scope,
            domain=domain,
            after=after,
            size=directory.EXPORTED_AT_ONCE,
            beside_accounts=True,
            whole=True,
        )
        for one in page.rows:
            yield (_kind_of(one), one.name, _reaches_of(one), one.status, one.status_reason)
        if not page.next:
            break
        after = page.next
    for name, login in directory.catch_alls(scope, domain):
        yield (CATCH_ALL, f"@{name}", login, Status.ACTIVE, "")


def _kind_of(address: Address) -> str:
    if len(address.targets.all()) > 1:
        return "list"
    return "alias" if address.kind == AddressKind.ALIAS else "forward"


def _reaches_of(address: Address) -> str:
    return " ".join(
        one.mailbox.account.login if one.mailbox else one.forward_to for one in address.targets.all()
    )
