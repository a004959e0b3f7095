"""What the store's words are called where people read them."""

from datetime import datetime

from django import template
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

register = template.Library()

Text = str | Promise

VERBS: dict[str, Text] = {
    "create_domain": _("domain served"),
    "set_default_quota": _("quota of new mailboxes changed"),
    "switch_domain": _("mail of the domain switched"),
    "suspend_domain": _("domain suspended"),
    "close_domain": _("domain closed"),
    "restore_domain": _("domain active again"),
    "purge_domain": _("domain removed for good"),
    "set_catch_all": _("catch-all changed"),
    "open_account": _("account opened"),
    "reset_password": _("password changed"),
    "give_temporary_password": _("temporary password given"),
    "end_sessions": _("sessions ended"),
    "end_session": _("a session ended"),
    "end_other_sessions": _("other sessions ended"),
    "add_authenticator": _("authenticator app set up"),
    "remove_authenticator": _("authenticator app removed"),
    "add_passkey": _("passkey set up"),
    "remove_passkey": _("passkey removed"),
    "use_recovery_code": _("recovery code used"),
    "renew_recovery_codes": _("new recovery codes made"),
    "reset_second_factor": _("second factor reset"),
    "make_app_password": _("app password made"),
    "revoke_app_password": _("app password revoked"),
    "revoke_app_passwords": _("all app passwords revoked"),
    "suspend": _("suspended"),
    "restore": _("active again"),
    "close": _("closed"),
    "purge": _("removed for good"),
    "set_service": _("service switched"),
    "set_name": _("name changed"),
    "set_quota": _("quota changed"),
    "set_role": _("role changed"),
    "create_address": _("address made"),
    "change_address": _("what an address reaches changed"),
    "suspend_address": _("address suspended"),
    "close_address": _("address closed"),
    "restore_address": _("address active again"),
    "purge_address": _("address removed for good"),
    "remove_address": _("address removed"),
    "set_forward": _("forward changed"),
    "restore_mail": _("deleted mail put back"),
    "import_mail": _("mail from a file brought in"),
    "begin_inspection": _("mail opened for staff"),
    "inspect_message": _("a message read by staff"),
    "inspect_part": _("an attachment fetched by staff"),
    "end_inspection": _("mail shut again"),
}
REASONS: dict[str, Text] = {
    "wrong_password": _("wrong password"),
    "throttled": _("too many wrong attempts"),
    "wrong_code": _("right password, wrong code"),
    "wrong_passkey": _("a passkey that does not fit"),
    "no_challenge": _("a passkey that came too late"),
    "app_password_needed": _("right password, but an app password is needed"),
    "suspended": _("the account is suspended"),
    "domain_suspended": _("the domain is suspended"),
    "domain_closed": _("the domain is closed"),
    "service_off": _("the service is switched off"),
    "no_mailbox": _("the account has no mailbox"),
    "password_expired": _("the temporary password has run out"),
    "too_many_sessions": _("too many sessions at once"),
}
# Who it was, where it was nobody of the staff.
ACTORS: dict[str, Text] = {"command": _("a command"), "job": _("a job")}
ROLES: dict[str, Text] = {
    "subscriber": _("subscriber"),
    "support": _("support"),
    "domain_administrator": _("domain administrator"),
    "operator": _("operator"),
}
FACTS: dict[str, Text] = {
    "accounts": _("accounts"),
    "active": _("mail is taken"),
    "address": _("address"),
    "catch_all": _("catch-all"),
    "default_quota_bytes": _("quota"),
    "domains": _("domains"),
    "folder": _("folder"),
    "forward": _("forward"),
    "left": _("left"),
    "message": _("message"),
    "messages": _("messages"),
    "name": _("name"),
    "part": _("part"),
    "pop3": _("POP3"),
    "quota": _("quota"),
    "reaches": _("reaches"),
    "received": _("received"),
    "receiving": _("receiving"),
    "role": _("role"),
    "sending": _("sending"),
    "session": _("session"),
    "since": _("since"),
    "status": _("state"),
    "webmail": _("webmail"),
}
STATES: dict[str, Text] = {"active": _("active"), "suspended": _("suspended"), "closed": _("closed")}
# How a POP3 session ended.
ENDS: dict[str, Text] = {
    "quit": _("well"),
    "dropped": _("broken off"),
    "idle": _("idle for too long"),
    "refused": _("refused"),
    "update_failed": _("its deletions failed"),
    "shutdown": _("by our shutdown"),
    "errors": _("too many errors"),
    "too_long": _("too long"),
}

# How a session in a browser ended.
WEB_ENDS: dict[str, Text] = {
    "logout": _("logged out"),
    "expired": _("it ran out"),
    "ended": _("by its owner from elsewhere, or by staff"),
    "replaced": _("by a change of password, state or services"),
    "refused": _("refused"),
}
FACTORS: dict[str, Text] = {
    "totp": _("authenticator"),
    "passkey": _("passkey"),
    "recovery": _("recovery code"),
}


@register.filter
def did(verb: str) -> Text:
    """A verb of the audit."""
    return VERBS.get(verb, verb)


@register.filter
def actor_name(actor: str) -> Text:
    return ACTORS.get(actor, actor)


@register.filter
def why(reason: str) -> Text:
    """Why a login was refused."""
    return REASONS.get(reason, reason)


@register.filter
def role_name(role: str) -> Text:
    return ROLES.get(role, role)


@register.filter
def fact_name(name: str) -> Text:
    """What stands before and after in the audit."""
    return FACTS.get(name, name)


@register.filter
def moment(text: str) -> datetime | None:
    """A moment as the audit keeps it, for `date`, which shows it in the time zone of the pages."""
    return parse_datetime(text)


@register.filter
def state_name(status: str) -> Text:
    return STATES.get(status, status)


@register.filter
def ended(how: str) -> Text:
    """How a POP3 session ended."""
    return ENDS.get(how, how)


@register.filter
def web_ended(how: str) -> Text:
    """How a session in a browser ended."""
    return WEB_ENDS.get(how, how)


@register.filter
def factor_name(factor: str) -> Text:
    """What somebody proved himself with beside the password."""
    return FACTORS.get(factor, factor)
