"""The second factor: an authenticator program (TOTP, RFC 6238), passkeys (`mailboxes/passkeys.py`), and
recovery codes for when both are lost.

Whatever is set up, renewed or removed is audited and ends the account's other sessions; while there is an
authenticator or a passkey, `Account.second_factor` says so.
"""

import os
import re
import secrets
from base64 import b32encode
from time import time

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import accounts, audit, throttle
from mailboxes.audit import Who
from mailboxes.digests import digest, digests
from mailboxes.exceptions import Invalid, LoginRefused
from mailboxes.models import Account, Passkey, RecoveryCode, TOTPDevice
from mailboxes.secrets_at_rest import Unreadable, decrypt, encrypt

# What every authenticator program understands (RFC 6238 section 1.2); RFC 4226 section 4 wants 160 bits.
SECRET_OCTETS = 20
DIGITS = 6
STEP = 30  # seconds
# One step to either side: clocks differ, and people are slow.
WINDOW = (0, -1, 1)
RECOVERY_CODES = 10
# Ten of 31 letters are 49 bits: nobody guesses one of ten in as many tries as the throttle allows.
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
LENGTH, GROUP = 10, 5
PURPOSE = "recovery codes"
WRONG_CODE = "this code is not right, or was used before"

AUTHENTICATOR, RECOVERY = "authenticator", "recovery"


# -- the authenticator --------------------------------------------------------------------------


def begin_authenticator(account: Account) -> None:
    """Make a new secret, which counts once a code has shown that it has arrived. Invalid: there is one."""
    secret = encrypt(os.urandom(SECRET_OCTETS).hex())
    device, made = TOTPDevice.objects.get_or_create(account=account, defaults={"secret": secret})
    if not made:
        unconfirmed = TOTPDevice.objects.filter(pk=device.pk, confirmed_at=None)
        if not unconfirmed.update(secret=secret, last_step=0):
            raise Invalid(_("an authenticator app is set up already: remove it first"))


def waiting_authenticator(account: Account) -> tuple[str, str] | None:
    """The secret that has yet to be confirmed: for people (base32, in groups) and as a URI for a QR code."""
    device = TOTPDevice.objects.filter(account=account, confirmed_at=None).first()
    if device is None:
        return None
    secret = _secret_of(device)
    text = b32encode(secret).decode().lower()
    uri = _totp(secret).get_provisioning_uri(account.login, "Restante")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4)), uri


def confirm_authenticator(account: Account, code: str, *, actor: Who, keep: str = "") -> list[str]:
    """Take the secret into use if the code is one of it; returns recovery codes if these are the first ones.

    LoginRefused: the code is wrong, or too many were. Invalid: there is nothing to confirm.
    """
    throttle.refuse_if_closed(account.login, throttle.CODES)
    device = TOTPDevice.objects.filter(account=account, confirmed_at=None).first()
    if device is None:
        raise Invalid(_("there is no authenticator app to confirm: begin again"))
    step = _step_of(_secret_of(device), code)
    if step is None:
        raise _wrong_code(account, code)
    with transaction.atomic():
        confirmed = TOTPDevice.objects.filter(pk=device.pk, secret=device.secret, confirmed_at=None)
        if not confirmed.update(confirmed_at=timezone.now(), last_step=step):
            raise Invalid(_("there is no authenticator app to confirm: begin again"))
        codes = switch_on(account, "add_authenticator", {}, actor, keep)
    throttle.forget(account.login, throttle.CODES)
    return codes


def remove_authenticator(account: Account, *, actor: Who, keep: str = "") -> bool:
    """Take it out of use. False: there is none."""
    with transaction.atomic():
        if not TOTPDevice.objects.filter(account=account).exclude(confirmed_at=None).delete()[0]:
            return False
        switch_off_if_last(account, "remove_authenticator", {}, actor, keep)
    return True


def has_authenticator(account: Account) -> bool:
    return TOTPDevice.objects.filter(account=account).exclude(confirmed_at=None).exists()


def _totp(secret: bytes) -> TOTP:
    # SHA-1 is what the programs of this world know; HMAC with it is not broken.
    return TOTP(secret, DIGITS, SHA1(), STEP)  # noqa: S303


def _secret_of(device: TOTPDevice) -> bytes:
    """Invalid: SECRET_KEY was changed without a fallback."""
    try:
        return bytes.fromhex(decrypt(device.secret))
    except Unreadable:
        raise Invalid(_("the authenticator app cannot be used any more: ask your provider")) from None


def _step_of(secret: bytes, code: str) -> int | None:
    """The time step whose code this is; None: it is none of now."""
    given = re.sub(r"\s", "", code)
    if not (given.isascii() and given.isdigit() and len(given) == DIGITS):
        return None
    totp, now = _totp(secret), int(time()) // STEP
    fitting = [now + by for by in WINDOW if bytes_eq(totp.generate((now + by) * STEP), given.encode())]
    return fitting[0] if fitting else None


# -- codes at login -----------------------------------------------------------------------------


def verify_code(account: Account, code: str) -> str:
    """Take a code of the authenticator or a recovery code, each once; returns AUTHENTICATOR or RECOVERY.

    LoginRefused: it is wrong, or too many were, from wherever they came: only who has the password gets here.
    """
    throttle.refuse_if_closed(account.login, throttle.CODES)
    if _take_code(account, code):
        what = AUTHENTICATOR
    elif _take_recovery_code(account, code):
        what = RECOVERY
    else:
        raise _wrong_code(account, code)
    throttle.forget(account.login, throttle.CODES)
    return what


def _take_code(account: Account, code: str) -> bool:
    device = TOTPDevice.objects.filter(account=account).exclude(confirmed_at=None).first()
    if device is None:
        return False
    try:
        step = _step_of(_secret_of(device), code)
    except Invalid:
        return False  # the recovery codes still let in
    # RFC 6238 section 5.2: a code that was taken is not taken again. Of two at once, one row count is 0.
    return step is not None and bool(
        TOTPDevice.objects.filter(pk=device.pk, last_step__lt=step).update(last_step=step)
    )


def _wrong_code(account: Account, code: str) -> LoginRefused:
    # The same code again is another guess in another time step.
    delay = throttle.count(account.login, throttle.CODES, f"{int(time()) // STEP} {code[:40]}")
    return LoginRefused(WRONG_CODE, reason="wrong_code", delay=delay)


# -- recovery codes -----------------------------------------------------------------------------


def renew_recovery_codes(account: Account, *, actor: Who, keep: str = "") -> list[str]:
    """New ones; the old are void. Invalid: there is no second factor that they could stand in for."""
    with transaction.atomic():
        if not Account.objects.select_for_update().get(pk=account.pk).second_factor:
            raise Invalid(_("set up an authenticator app or a passkey first"))
        codes = _make_recovery_codes(account)
        accounts.change(account, "renew_recovery_codes", actor, ({}, {}), keep=keep)
    return codes


def recovery_codes_left(account: Account) -> int:
    return RecoveryCode.objects.filter(account=account, used_at=None).count()


def _make_recovery_codes(account: Account) -> list[str]:
    RecoveryCode.objects.filter(account=account).delete()
    codes = ["".join(secrets.choice(LETTERS) for _ in range(LENGTH)) for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(
        [RecoveryCode(account=account, digest=digest(PURPOSE, code)) for code in codes]
    )
    return [f"{code[:GROUP]}-{code[GROUP:]}" for code in codes]


def _take_recovery_code(account: Account, code: str) -> bool:
    letters = re.sub(r"[\s-]", "", code[:40]).lower()
    found = RecoveryCode.objects.filter(account=account, digest__in=digests(PURPOSE, letters), used_at=None)
    with transaction.atomic():
        if not found.update(used_at=timezone.now()):
            return False
        left = recovery_codes_left(account)
        audit.write("use_recovery_code", account.login, account.login, after={"left": left})
    return True


# -- on and off ---------------------------------------------------------------------------------


def switch_on(account: Account, verb: str, what: dict[str, str], actor: Who, keep: str) -> list[str]:
    """Within the transaction that has added something: it counts. Returns recovery codes if it is first."""
    locked = Account.objects.select_for_update().get(pk=account.pk)
    codes = [] if locked.second_factor else _make_recovery_codes(account)
    accounts.change(account, verb, actor, ({}, what), keep=keep, second_factor=True)
    return codes


def switch_off_if_last(account: Account, verb: str, what: dict[str, str], actor: Who, keep: str) -> None:
    """Within the transaction that has removed something: is anything left?"""
    Account.objects.select_for_update().get(pk=account.pk)
    left = has_authenticator(account) or Passkey.objects.filter(account=account).exists()
    if not left:
        RecoveryCode.objects.filter(account=account).delete()
    accounts.change(account, verb, actor, (what, {}), keep=keep, second_factor=left)


def reset(account: Account, *, actor: Who) -> None:
    """Remove all of it, for staff and the command, when its owner has lost it. Invalid: there is none."""
    with transaction.atomic():
        locked = Account.objects.select_for_update().get(pk=account.pk)
        passkeys = Passkey.objects.filter(account=account).delete()[0]
        devices = TOTPDevice.objects.filter(account=account).exclude(confirmed_at=None).delete()[0]
        TOTPDevice.objects.filter(account=account).delete()
        RecoveryCode.objects.filter(account=account).delete()
        if not (passkeys or devices or locked.second_factor):
            raise Invalid(_("the account %(login)s has no second factor") % {"login": account.login})
        before = {"authenticator": bool(devices), "passkeys": passkeys}
        accounts.change(account, "reset_second_factor", actor, (before, {}), second_factor=False)
