"""Whether pages are light or dark: as their reader chose in this browser, else as the device is.

The choice lies in a cookie and not in the account: what is right depends on the screen and on the room it
stands in, and the login page and the pages of our own faults, which know no account, have it too. `base.html`
is written by it, so the right colours are there from the first moment, and no script is needed.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from hosting.returning import back

COOKIE = "colours"
CHOICES = ("light", "dark")


def of(request: HttpRequest) -> str:
    """`light`, `dark`, or '' for as the device is."""
    chosen = request.COOKIES.get(COOKIE, "")
    return chosen if chosen in CHOICES else ""


def for_templates(request: HttpRequest) -> dict[str, str]:
    """Context processor; also for whoever renders a page without a request."""
    return {"colours": of(request)}


@require_POST
def choose(request: HttpRequest) -> HttpResponseBase:
    """Light, dark, or as the device is, in this browser from now on."""
    chosen = request.POST.get("colours", "")
    if chosen and chosen not in CHOICES:
        return HttpResponseBadRequest(_("Pages are light or dark, and nothing else."))
    response = back(request)
    if not chosen:
        response.delete_cookie(COOKIE, samesite="Lax")
        return response
    response.set_cookie(
        COOKIE,
        chosen,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )
    return response
