"""URLs that only forms are sent to: whoever asks for one by GET is led to the page with that form.

One comes there without doing anything wrong: a session ends while a form is open, and the login leads on to
where the form was sent.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

View = Callable[..., HttpResponseBase]


def posted_from(page: str, view: View) -> View:
    """The view, and for GET the way to its page: of the same folder, message or errand as the URL names."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method in {"GET", "HEAD"}:
            return HttpResponseRedirect(reverse(page, kwargs=kwargs))
        return view(request, *args, **kwargs)

    return answered
