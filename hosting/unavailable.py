"""When something that we need does not answer: a page that says so, and that needs none of it itself.

Views raise what the database or the content storage raised; the middleware makes 503 of it, for it is over in
a moment and nothing is lost. What middleware itself raises (a session that cannot be stored) comes by
Django's own handler, which is here for that.
"""

import logging
import sys
from collections.abc import Callable

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.encoding import escape_uri_path

from hosting.colours import for_templates
from mailboxes.exceptions import StoreUnavailable

log = logging.getLogger(__name__)

# A database that is started anew is back by then.
RETRY_SECONDS = 30
AWAY = (OperationalError, InterfaceError, StoreUnavailable)


class Unavailable:
    """Middleware, the innermost: turns what the store could not do for a view into 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, AWAY):
            return None
        log.error("unavailable path=%s fault=%s", escape_uri_path(request.path), _in_a_line(exception))
        return unavailable(request)


def unavailable(request: HttpRequest) -> HttpResponse:
    """503, from nothing but the request's colours: no session, no user, no database."""
    return HttpResponse(
        render_to_string("503.html", for_templates(request)),
        status=503,
        headers={"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"},
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: what nobody has caught."""
    if isinstance(sys.exc_info()[1], AWAY):
        return unavailable(request)
    return HttpResponse(render_to_string("500.html", for_templates(request)), status=500)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """`handler400`: a request that makes no sense, or that is larger than any of ours."""
    if isinstance(exception, RequestDataTooBig):
        return HttpResponse(render_to_string("413.html", for_templates(request)), status=413)
    return HttpResponse(render_to_string("400.html", for_templates(request)), status=400)


def _in_a_line(exception: Exception) -> str:
    return " ".join(str(exception).split())[:300]
