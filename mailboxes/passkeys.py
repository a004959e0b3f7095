"""Passkeys (WebAuthn Level 2): as a second factor, and instead of the password where the device has verified
who holds it. py_webauthn checks what browsers send; here is said what is asked for and what it opens.
"""

import hmac
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from mailboxes.audit import Who
from mailboxes.exceptions import Invalid, LoginRefused
from mailboxes.models import Account, Passkey
from mailboxes.secondfactor import switch_off_if_last, switch_on

NAME_MAX = 60
# A bound, because each is a row and named in every request to a browser.
MOST = 20
# What a browser sends is some 2 KB.
RESPONSE_MAX = 32 * 1024
# Section 5.8.3: no id is longer.
ID_OCTETS_MAX = 1023
TIMEOUT = 120_000  # milliseconds
TRANSPORTS = {one.value: one for one in AuthenticatorTransport}


@dataclass(frozen=True, slots=True)
class Site:
    """Where passkeys are good: a host name (the relying party's id), and the origin of our pages there."""

    host: str
    origin: str


@dataclass(frozen=True, slots=True)
class Ceremony:
    """What the browser is asked, as JSON, and the challenge that its answer must carry (base64url)."""

    options: str
    challenge: str


# -- set up and removed -------------------------------------------------------------------------


def ask_to_create(account: Account, site: Site) -> Ceremony:
    options = generate_registration_options(
        rp_id=site.host,
        rp_name="Restante",
        user_id=_handle_of(account.pk),
        user_name=account.login,
        user_display_name=account.name or account.login,
        timeout=TIMEOUT,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors_of(account),
    )
    return Ceremony(options_to_json(options), bytes_to_base64url(options.challenge))


def add(
    account: Account, name: str, response: str, challenge: str, site: Site, *, actor: Who, keep: str = ""
) -> list[str]:
    """Take a passkey into use; returns recovery codes if it is the first second factor. Invalid."""
    name = " ".join(name.split()) or _("Passkey")
    if len(name) > NAME_MAX or not name.isprintable():
        raise Invalid(_("the name is too long, or has characters that cannot be shown"))
    answer = _read(response)
    if not challenge:
        raise Invalid(_("the browser's answer is not that of a new passkey: try again"))
    try:
        made = verify_registration_response(
            credential=answer,
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=site.host,
            expected_origin=site.origin,
        )
    except Exception:  # noqa: BLE001  (whatever the library stumbles over, it is no passkey)
        raise Invalid(_("the browser's answer is not that of a new passkey: try again")) from None
    if len(made.credential_id) > ID_OCTETS_MAX:
        raise Invalid(_("the browser's answer is not that of a new passkey: try again"))
    try:
        with transaction.atomic():
            Account.objects.select_for_update().get(pk=account.pk)
            if Passkey.objects.filter(account=account).count() >= MOST:
                raise Invalid(_("there are as many passkeys as there may be: remove one that is not used"))
            Passkey.objects.create(
                account=account,
                name=name,
                credential=bytes_to_base64url(made.credential_id),
                public_key=made.credential_public_key,
                sign_count=made.sign_count,
                transports=",".join(_transports_in(answer)),
            )
            return switch_on(account, "add_passkey", {"name": name}, actor, keep)
    except IntegrityError:
        raise Invalid(_("this passkey is set up already")) from None


def remove(account: Account, passkey: int, *, actor: Who, keep: str = "") -> bool:
    """False: the account has none such."""
    with transaction.atomic():
        found = Passkey.objects.filter(account=account, pk=passkey)
        name = found.values_list("name", flat=True).first()
        if name is None or not found.delete()[0]:
            return False
        switch_off_if_last(account, "remove_passkey", {"name": name}, actor, keep)
    return True


def of(account: Account) -> list[Passkey]:
    """An account's passkeys, the newest first; at most MOST."""
    return list(Passkey.objects.filter(account=account).order_by("-created_at", "-pk")[:MOST])


# -- at login -----------------------------------------------------------------------------------


def ask_to_show(account: Account | None, site: Site) -> Ceremony:
    """Ask for a passkey of that account; None: for any, which then stands for the password too."""
    options = generate_authentication_options(
        rp_id=site.host,
        timeout=TIMEOUT,
        allow_credentials=_descriptors_of(account) if account is not None else None,
        user_verification=UserVerificationRequirement.PREFERRED
        if account is not None
        else UserVerificationRequirement.REQUIRED,
    )
    return Ceremony(options_to_json(options), bytes_to_base64url(options.challenge))


def verify(account: Account | None, response: str, challenge: str, site: Site) -> Account:
    """Whose passkey this is: that account's; None: anybody's, who was verified by the device (its PIN, a
    finger). LoginRefused."""
    refused = LoginRefused("this passkey does not fit", reason="wrong_passkey")
    try:
        answer = _read(response)
    except Invalid:
        raise refused from None
    found = Passkey.objects.select_related("account").filter(credential=str(answer.get("id"))[:1400])
    if account is not None:
        found = found.filter(account=account)
    passkey = found.first()
    if passkey is None or not _is_handle_of(passkey.account_id, answer, must_be=account is None):
        raise refused
    try:
        shown = verify_authentication_response(
            credential=answer,
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=bytes(passkey.public_key),
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=account is None,
        )
    except Exception:  # noqa: BLE001  (whatever the library stumbles over, it is no proof)
        raise refused from None
    # Section 7.2 step 21: of two that carry the same count, one is a copy.
    unchanged = Passkey.objects.filter(pk=passkey.pk, sign_count=passkey.sign_count)
    if not unchanged.update(sign_count=shown.new_sign_count, last_used_at=timezone.now()):
        raise refused
    return passkey.account


# -- what goes to and comes from browsers -------------------------------------------------------


def _read(response: str) -> dict[str, Any]:
    if len(response) > RESPONSE_MAX:
        raise Invalid(_("the browser's answer is too long"))
    try:
        answer = json.loads(response)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("response"), dict):
        raise Invalid(_("the browser has sent no passkey: try again"))
    return answer


def _descriptors_of(account: Account) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=base64url_to_bytes(one.credential),
            transports=[TRANSPORTS[name] for name in one.transports.split(",") if name in TRANSPORTS] or None,
        )
        for one in of(account)
    ]


def _transports_in(answer: dict[str, Any]) -> list[str]:
    given = answer["response"].get("transports")
    return [name for name in TRANSPORTS if name in given] if isinstance(given, list) else []


def _handle_of(account: int) -> bytes:
    """Section 5.4.3: it says nothing about who it is; all passkeys of an account have the same one."""
    return _handle(settings.SECRET_KEY, account)


def _handle(key: str, account: int) -> bytes:
    return hmac.digest(b"restante: user handle" + key.encode(), str(account).encode(), sha256)


def _is_handle_of(account: int, answer: dict[str, Any], *, must_be: bool) -> bool:
    given = answer["response"].get("userHandle")
    if not given:
        return not must_be
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    handles = [_handle(str(key), account) for key in keys]
    return str(given).rstrip("=") in [bytes_to_base64url(one) for one in handles]
