"""Why a login is refused, in the reader's language. What is not known here is said as the store says it."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from mailboxes.exceptions import LoginRefused

TEXTS: dict[str, str | Promise] = {
    "wrong_password": gettext_lazy("Wrong user name or password."),
    "wrong_code": gettext_lazy("This code is not right, or was used before."),
    "wrong_passkey": gettext_lazy("This passkey does not fit. Use another one, or your password."),
    "password_expired": gettext_lazy(
        "This temporary password was good for a day, which is over. Ask your provider for another."
    ),
    "no_challenge": gettext_lazy("This page was open for too long. Try again."),
    "no_mailbox": gettext_lazy("This account has no mailbox."),
    "service_off": gettext_lazy("The webmail is switched off for this mailbox."),
}


def said_of(refusal: LoginRefused) -> str:
    """One sentence for whoever was refused."""
    if refusal.reason == "throttled":
        return _("There were too many wrong attempts. Try again in %(minutes)s minutes.") % {
            "minutes": refusal.detail
        }
    if refusal.reason == "suspended":
        why = refusal.detail or _("ask your provider")
        return _("This account is suspended: %(why)s.") % {"why": why.rstrip(".")}
    if refusal.reason in {"domain_suspended", "domain_closed"}:
        why = refusal.detail or _("ask your provider")
        return _("Your domain is not served at the moment: %(why)s.") % {"why": why.rstrip(".")}
    if known := TEXTS.get(refusal.reason):
        return str(known)
    return f"{refusal.text[:1].upper()}{refusal.text[1:]}."
