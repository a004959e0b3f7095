"""The web door for gunicorn: each worker imports this after its fork, and is seen from then on."""

import atexit
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hosting.settings")
application = get_wsgi_application()

from django.urls import get_resolver  # noqa: E402

from hosting import requests  # noqa: E402
from mailboxes.beats import Heart  # noqa: E402  # models can be read from here on

get_resolver().url_patterns  # noqa: B018  # all pages are read now: nobody waits for it at the first request
atexit.register(Heart("web", requests.figures).stop)
