"""What a process has counted, in people's words."""

from collections.abc import Mapping

from django import template
from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from hosting.console.charts import number
from mailboxes.models import ProcessBeat

register = template.Library()

# In the order in which they are read; what is in octets is said so.
TEXTS: Mapping[str, str | Promise] = {
    "connections": _("Connections"),
    "connections_total": _("Connections so far"),
    "connections_refused_total": _("Turned away"),
    "messages_in_total": _("Delivered"),
    "refused_total": _("Refused"),
    "octets_in_total": _("Octets in"),
    "logins_total": _("Logins"),
    "logins_refused_total": _("Refused logins"),
    "messages_out_total": _("Fetched"),
    "deleted_total": _("Deleted"),
    "octets_out_total": _("Octets out"),
    "requests_2xx_total": _("Pages"),
    "requests_4xx_total": _("Refused pages"),
    "requests_5xx_total": _("Failed pages"),
    "jobs_running": _("Jobs running"),
    "jobs_total": _("Jobs so far"),
    "jobs_failed_total": _("Failed jobs"),
    "jobs_set_total": _("Jobs set"),
    "waiting": _("Waiting"),
    "faults": _("Errors in the log"),
    "memory_bytes": _("Memory"),
}
OCTETS = {"octets_in_total", "octets_out_total", "memory_bytes"}


@register.filter
def spaced(value: int) -> str:
    """12 345, as in the plots."""
    return number(value)


@register.filter
def figures(row: ProcessBeat) -> list[tuple[str | Promise, str]]:
    return [
        (text, filesizeformat(row.figures[name]) if name in OCTETS else number(row.figures[name]))
        for name, text in TEXTS.items()
        if name in row.figures
    ]
