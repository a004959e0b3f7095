"""A letter to the owner's inbox when something that lets into the account was changed, whoever did it.

Sent once the change is committed: a mailbox without room, or a store that is full, must stop nobody from
shutting out a thief. What could not be delivered is logged. A letter holds no secret and no link: who makes
such letters up puts one into his.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from mailboxes.audit import Actor, Who
from mailboxes.exceptions import MailboxError
from mailboxes.house_mail import Letter, in_language_of, send
from mailboxes.models import Account, Mailbox, Status

log = logging.getLogger(__name__)

# By the verb that the audit knows.
CHANGES: dict[str, Promise] = {
    "add_authenticator": gettext_lazy("An authenticator app was set up"),
    "remove_authenticator": gettext_lazy("The authenticator app was removed"),
    "add_passkey": gettext_lazy("A passkey was set up"),
    "remove_passkey": gettext_lazy("A passkey was removed"),
    "renew_recovery_codes": gettext_lazy("New recovery codes were made, and the old ones are void"),
    "reset_second_factor": gettext_lazy("The second factor was removed"),
    "make_app_password": gettext_lazy("An app password was made"),
    "revoke_app_password": gettext_lazy("An app password was revoked"),
    "revoke_app_passwords": gettext_lazy("All app passwords were revoked"),
    "reset_password": gettext_lazy("The password was changed"),
    "give_temporary_password": gettext_lazy("The password was reset, and a temporary one was given"),
    "end_sessions": gettext_lazy("All sessions in browsers were ended"),
    "end_other_sessions": gettext_lazy("All other sessions in browsers were ended"),
}
# After these nothing but the password may be left.
REMOVING = {"remove_authenticator", "remove_passkey", "reset_second_factor"}


@dataclass(frozen=True, slots=True)
class _Change:
    verb: str
    name: str
    actor: Actor
    at: datetime


def tell(account: Account, verb: str, who: Who, name: str = "") -> None:
    """Within the transaction of a change: let a letter tell of it, if it is one of CHANGES.

    `name`: what its owner calls the passkey or the app password.
    """
    if verb in CHANGES:
        actor = who if isinstance(who, Actor) else Actor(who)
        change = _Change(verb, name, actor, timezone.now())
        # A function, for of a partial Django cannot say what has failed, and fails itself.
        transaction.on_commit(lambda: _send(account.pk, change), robust=True)


def _send(account: int, change: _Change) -> None:
    """Some accounts of staff have no mailbox; a closed one is read by nobody."""
    found = Mailbox.objects.select_related("account").filter(account=account)
    mailbox = found.exclude(account__status=Status.CLOSED).first()
    if mailbox is None:
        return
    with in_language_of(mailbox.account):
        letter = _letter(mailbox.account, change)
    try:
        send(mailbox, letter)
    except MailboxError as error:
        log.warning(
            "security_letter mailbox=%d verb=%s not_delivered=%s",
            mailbox.pk,
            change.verb,
            type(error).__name__,
        )
    else:
        log.info("security_letter mailbox=%d verb=%s", mailbox.pk, change.verb)


def _letter(account: Account, change: _Change) -> Letter:
    what = str(CHANGES[change.verb])
    at = timezone.localtime(change.at)
    facts = [f"{what}."]
    if change.name:
        facts.append(_("Its name: %(name)s") % {"name": change.name})
    facts.append(
        _("When: %(moment)s (%(zone)s)") % {"moment": date_format(at, "DATETIME_FORMAT"), "zone": at.tzname()}
    )
    if change.actor.name == account.login:
        facts.append(_("From the address: %(peer)s") % {"peer": change.actor.peer or _("unknown")})
    elif "@" in change.actor.name:
        # Whom to ask for; from where staff work is the house's own matter, and tells their customer nothing.
        facts.append(_("By: your provider (%(who)s)") % {"who": change.actor.name})
    else:
        facts.append(_("By: your provider"))
    if change.verb in REMOVING and not account.second_factor:
        facts.append(_("The password alone lets in now, here and in mail programs."))
    return Letter(
        _("Security: %(what)s") % {"what": what},
        (
            _("Something that lets into your mailbox %(login)s was changed:") % {"login": account.login},
            "\n".join(f"- {fact}" for fact in facts),
            *_what_to_do(by_owner=change.actor.name == account.login),
        ),
    )


def _what_to_do(*, by_owner: bool) -> tuple[str, ...]:
    after = _(
        "This letter has no link on purpose: open the webmail as you always do, and call your provider by a "
        "number that you know."
    )
    if not by_owner:
        return (
            _("If you have asked for this, there is nothing to do."),
            _("If you have not, call your provider and ask who did."),
            after,
        )
    return (
        _("If this was you, there is nothing to do."),
        _(
            "If it was not you, somebody else is in your account. In the webmail, under Account and "
            "Security, change your password and remove every passkey, app password and session that you do "
            "not know. If you cannot log in any more, call your provider."
        ),
        after,
    )
