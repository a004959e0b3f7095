"""Long work of staff: accounts and addresses from a list, one change to many accounts.

A list becomes accounts in one transaction, which also keeps the file with the passwords and writes down that
it was done: a worker that dies leaves either nothing of it or all of it, and whoever begins it again knows.
"""

from collections.abc import Sequence
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.translation import gettext as _

from mailboxes import alias_roster, aliases, bulk, errands, roster
from mailboxes.accounts import generate_password
from mailboxes.audit import Actor
from mailboxes.errands import Refused, Work
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Errand, ErrandKind, ErrandState, Status
from mailboxes.secrets_at_rest import decrypt, encrypt
from mailboxes.tables import Problem, csv_line

KINDS = (ErrandKind.ACCOUNTS, ErrandKind.ALIASES)


def ask_for_accounts(
    account: Account, text: str, domains: list[str] | None, bounded: bool, peer: str
) -> Errand:
    """Open the accounts of a list that was judged; it may have passwords in it, so it is kept secret."""
    arguments = {"domains": domains, "bounded": bounded, "peer": peer, "standing": _standing(account)}
    return errands.ask(ErrandKind.ACCOUNTS, account, None, arguments, secret=text)


def ask_for_aliases(account: Account, text: str, domains: list[str] | None, peer: str) -> Errand:
    """Make the addresses of a list that was judged."""
    arguments = {"domains": domains, "peer": peer, "standing": _standing(account)}
    return errands.ask(ErrandKind.ALIASES, account, None, arguments, secret=text)


def ask_for_change(
    account: Account, chosen: list[int], change: bulk.Change, bounds: bulk.Bounds, peer: str
) -> Errand:
    """Change many accounts."""
    arguments = {
        "chosen": chosen,
        "act": change.act,
        "reason": change.reason,
        "value": change.value,
        "domains": None if bounds.domains is None else list(bounds.domains),
        "staff": bounds.staff,
        "quota_bounded": bounds.quota_bounded,
        "peer": peer,
        "standing": _standing(account),
    }
    return errands.ask(ErrandKind.ACCOUNTS, account, None, arguments)


# -- the work -----------------------------------------------------------------------------------


@errands.runner(ErrandKind.ACCOUNTS)
def work_on_accounts(work: Work) -> None:
    _refuse_the_shut_out(work)
    if "act" in work.arguments:
        _change(work)
    else:
        _open(work)


def _refuse_the_shut_out(work: Work) -> None:
    """Who was suspended since, or given another role or other domains, has nothing done in his name."""
    account = work.errand.account
    if account.status != Status.ACTIVE or work.arguments.get("standing") != _standing(account):
        raise Refused(_("Whoever asked for this may not do it any more."))


def _standing(account: Account) -> list[Any]:
    """What decided how far the rights of whoever asked go: role and own domains (primary keys)."""
    return [str(account.role), sorted(account.administers.values_list("pk", flat=True))]


def _actor(work: Work) -> Actor:
    return Actor(work.errand.account.login, work.arguments.get("peer", ""))


def _open(work: Work) -> None:
    if _was_done(work):
        return
    read = roster.read_roster(work.secret(), work.arguments["domains"], bounded=work.arguments["bounded"])
    _refuse_bad(read.problems)
    work.expect(len(read.lines))
    passwords = [line.password or generate_password() for line in read.lines]
    encoded = roster.hash_all(passwords, work.step)
    made = [
        (line.login, password)
        for line, password in zip(read.lines, passwords, strict=True)
        if not line.password
    ]
    work.expect(len(read.lines))  # the last moment to cancel it
    try:
        with transaction.atomic():
            roster.open_all(read.lines, encoded, actor=_actor(work))
            if made:
                text = "".join(csv_line(row) for row in [("address", "password"), *made])
                work.keep(ContentFile(encrypt(text).encode()))
            _say_done(work, {"opened": len(read.lines), "passwords": len(made)})
    except Invalid as why:
        raise Refused(f"{why}.") from None


@errands.runner(ErrandKind.ALIASES)
def work_on_aliases(work: Work) -> None:
    _refuse_the_shut_out(work)
    if _was_done(work):
        return
    read = alias_roster.read_aliases(work.secret(), work.arguments["domains"])
    _refuse_bad(read.problems)
    work.expect(len(read.lines))
    try:
        prepared = alias_roster.prepare(read.lines, actor=_actor(work), step=work.step)
        work.expect(len(read.lines))  # the end of the bar
        with transaction.atomic():
            aliases.make_addresses(prepared, work.check)
            _say_done(work, {"made": len(read.lines)})
    except Invalid as why:
        raise Refused(f"{why}.") from None


def _was_done(work: Work) -> bool:
    """By a worker that died before it could say so."""
    work.result = dict(work.errand.result)
    return bool(work.result)


def _say_done(work: Work, result: dict[str, Any]) -> None:
    work.result = result
    Errand.objects.filter(pk=work.errand.pk).update(result=result)


def _refuse_bad(problems: Sequence[Problem]) -> None:
    if problems:
        first = problems[0]
        text = _("Line %(number)d: %(text)s. Nothing was changed.")
        raise Refused(text % {"number": first.number, "text": first.text})


def _change(work: Work) -> None:
    given = work.arguments
    work.expect(len(given["chosen"]))
    outcome = bulk.change_all(
        given["chosen"],
        bulk.Change(given["act"], given["reason"], given["value"]),
        bulk.Bounds(work.errand.account_id, given["domains"], given["staff"], given["quota_bounded"]),
        actor=_actor(work),
        step=work.step,
    )
    work.result = {"changed": outcome.changed, "left": outcome.left, "told": outcome.told}


# -- the passwords, once ------------------------------------------------------------------------


def take_passwords(errand: Errand) -> str | None:
    """The file with the passwords that were made, which is gone with this; None: there is none, or no more.

    Of two who ask at once, one gets it.
    """
    if not errand.file or errand.state != ErrandState.DONE:
        return None
    with default_storage.open(errand.file) as file:
        text = decrypt(file.read().decode())
    mine = Errand.objects.filter(pk=errand.pk, file=errand.file).update(file="", file_until=None)
    if not mine:
        return None
    errands.remove_file(errand.file)
    return text
