"""The page of an errand: a progress bar that asks for itself anew, and what came of it. The console's, too.

    context = progress_context(request, errand, page_url=..., cancel_url=..., result_template=...)
    render(request, PART if context["part"] else "the/whole/page.html", context)

The whole page includes `errands/_progress.html` and, before it, `errands/_said.html`: what a screen reader
hears, told only when it is another state or another tenth than the page has told before.
"""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from mailboxes.models import Errand, ErrandState

PART = "errands/_progress.html"
SPOKEN_EVERY = 10  # percent


def progress_context(
    request: HttpRequest, errand: Errand, *, page_url: str, cancel_url: str, result_template: str = ""
) -> dict[str, Any]:
    """What `errands/_progress.html` needs; `part` says whether the page asks for nothing else."""
    told = f"{errand.state}-{(errand.percent or 0) // SPOKEN_EVERY}-{errand.cancel_asked:d}"
    return {
        "errand": errand,
        "part": "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers,
        "said_anew": request.GET.get("told", "") != told,
        "poll_url": f"{page_url}?told={told}",
        "page_url": page_url,
        "cancel_url": cancel_url,
        "result_template": result_template,
        "state_text": state_text(errand),
    }


def state_text(errand: Errand) -> str:
    """How it is with an errand, in a few words."""
    if errand.state == ErrandState.RUNNING:
        if errand.cancel_asked:
            return _("It is being cancelled.")
        if errand.percent is None:
            return _("It has begun.")
        return _("%(percent)d percent are done.") % {"percent": errand.percent}
    if errand.state == ErrandState.WAITING and errand.has_begun:
        return _("%(percent)d percent are done. It gives way to others for a moment, and goes on.") % {
            "percent": errand.percent or 0
        }
    return {
        ErrandState.WAITING: _("It waits for its turn."),
        ErrandState.DONE: _("It is done."),
        ErrandState.FAILED: _("It could not be done."),
        ErrandState.CANCELLED: _("It was cancelled."),
    }[ErrandState(errand.state)]
