"""Which language a page speaks: the one its reader chose, else what the browser asks for (RFC 9110
section 12.5.4), else LANGUAGE_CODE.

A choice lies in the account, with which `webmail.sessions` reads it at each request, and, so that the login
page knows it too, in a cookie of this browser.
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from hosting.returning import back
from mailboxes import preferences
from mailboxes.models import Account, WebSession


class RememberLanguage:
    """Middleware: whoever chose a language elsewhere finds it in this browser, also after logging out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        session = getattr(request, "web_session", None)
        chosen = session.account.language if isinstance(session, WebSession) and session.account else ""
        if chosen and request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME) != chosen:
            remember(response, chosen)
        return response


def remember(response: HttpResponseBase, language: str) -> None:
    """Let this browser ask for the language from now on; empty: whatever it asks for by itself."""
    if not language:
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME, samesite="Lax")
        return
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )


@require_POST
def choose(request: HttpRequest) -> HttpResponseBase:
    """Change the language of these pages, and of the account if somebody is logged in."""
    language = request.POST.get("language", "")
    if language and language not in dict(settings.LANGUAGES):
        return HttpResponseBadRequest(_("There are no pages in that language."))
    if isinstance(request.user, Account):
        preferences.choose_language(request.user.pk, language)
    response = back(request)
    remember(response, language)
    return response
