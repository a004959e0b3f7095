"""What must be right on this machine before a door opens; `manage.py check` says what is not.

hosting.E001  TLS_CERT or TLS_KEY cannot be read
hosting.E002  mail cannot be written where CONTENT_ROOT says
hosting.E003  CONTENT_GRACE_HOURS is shorter than a POP3 session may last
hosting.E004  SECRET_KEY is too short
hosting.W001  POP3_PLAINTEXT_LOGIN lets passwords cross the network in the clear
hosting.W002  .env says HOSTNAME, which is no longer read
hosting.W003  MAIL_HOSTNAME is not set (--deploy)
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.files.storage import FileSystemStorage, storages

from hosting.settings import env

# The longest POP3 session, in hours: its snapshot may name a content until it ends.
POP3_SESSION_HOURS = 12
# Sessions, reset links and the throttle's hashes hang on it: 32 characters of base64 are 192 bits.
SECRET_KEY_MIN = 32


@register()
def tls_is_readable(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in ("TLS_CERT", "TLS_KEY"):
        path = getattr(settings, name)
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            hint = "Give the path of a PEM file that this user may read, or leave TLS_CERT and TLS_KEY empty."
            found.append(Error(f"{name}: {path} cannot be read", hint=hint, id="hosting.E001"))
    return found


@register()
def content_can_be_written(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    storage = storages["content"]
    if not isinstance(storage, FileSystemStorage):
        return []
    folder = _nearest(Path(storage.location))
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return []
    hint = "Give a folder that this user may write to, or one that it may make."
    message = f"CONTENT_ROOT: {storage.location} cannot be written to"
    return [Error(message, hint=hint, id="hosting.E002")]


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest above it that there is: in that one the others will be made."""
    return next(one for one in (path, *path.parents) if one.exists())


@register()
def content_outlives_sessions(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if settings.CONTENT_GRACE_HOURS > POP3_SESSION_HOURS:
        return []
    hours = settings.CONTENT_GRACE_HOURS
    message = f"CONTENT_GRACE_HOURS={hours}: a POP3 session may last {POP3_SESSION_HOURS} hours"
    return [Error(message, hint=f"Say {POP3_SESSION_HOURS + 1} or more.", id="hosting.E003")]


@register()
def secret_key_is_long(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if len(settings.SECRET_KEY) >= SECRET_KEY_MIN:
        return []
    hint = "Make one: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
    message = f"SECRET_KEY has {len(settings.SECRET_KEY)} characters: {SECRET_KEY_MIN} are the least"
    return [Error(message, hint=hint, id="hosting.E004")]


@register()
def passwords_are_not_sent_in_the_clear(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if settings.POP3_PLAINTEXT_LOGIN != "always":
        return []
    message = "POP3_PLAINTEXT_LOGIN=always: passwords cross the network in the clear"
    return [Warning(message, hint="Say loopback, and let programs use TLS.", id="hosting.W001")]


@register()
def name_is_said_as_it_is_read(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if not env.file_says("HOSTNAME") or env.file_says("MAIL_HOSTNAME"):
        return []
    message = f"HOSTNAME in {env.file.name} is no longer read: this server calls itself {settings.HOSTNAME}"
    return [Warning(message, hint="Call it MAIL_HOSTNAME there.", id="hosting.W002")]


@register(deploy=True)
def name_is_said(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if settings.HOSTNAME != "localhost":
        return []
    message = "MAIL_HOSTNAME is not set: greetings and Received lines say localhost"
    return [Warning(message, hint="Say the public name of this mail server.", id="hosting.W003")]
