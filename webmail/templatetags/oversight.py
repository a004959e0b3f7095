"""What the owner of a mailbox is told of staff who read in it, or have its mail sent elsewhere as well."""

from typing import Any

from django import template
from django.template.context import Context

from mailboxes import forward_notices, inspections
from mailboxes.models import Mailbox

register = template.Library()


@register.inclusion_tag("webmail/looked_into.html", takes_context=True)
def looked_into(context: Context, mailbox: Mailbox | None) -> dict[str, Any]:
    """Above the mail, until its owner has noted it. The request has asked already whether there is anything,
    so that most pages ask no more."""
    found = inspections.unnoted(mailbox.pk) if mailbox and getattr(mailbox, "looked_into", False) else []
    changed = mailbox is not None and getattr(mailbox, "forward_changed", False)
    forwards = forward_notices.unnoted(mailbox.pk) if mailbox and changed else []
    request = context.get("request")
    return {
        "inspections": found,
        "newest": found[0].pk if found else 0,
        "forwards": forwards,
        "newest_forward": forwards[0].pk if forwards else 0,
        "here": request.get_full_path() if request is not None else "",
        "csrf_token": context.get("csrf_token"),
    }


@register.inclusion_tag("webmail/inspections.html")
def inspections_of(mailbox: Mailbox) -> dict[str, Any]:
    """All of them, for the page of the account."""
    return {
        "inspections": inspections.of_mailbox(mailbox.pk),
        "forwards": forward_notices.of_mailbox(mailbox.pk),
    }
