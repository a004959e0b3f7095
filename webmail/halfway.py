"""Halfway in: somebody has shown the password, and has yet to show the second factor.

The session knows whose password it was and nothing else; it opens no page but that of the second step.
"""

from dataclasses import dataclass
from time import time

from django.http import HttpRequest

from mailboxes.models import Account, Status

KEY = "halfway"
CHALLENGE_KEY = "challenge"
# Long enough to find the telephone; afterwards the password is asked for again.
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Halfway:
    """Whose second factor is awaited, and where they were going."""

    account: Account
    where: str


def begin(request: HttpRequest, account: int, where: str) -> None:
    """The password was right. What this browser's session held before is gone, and so is its key."""
    version = Account.objects.values_list("credential_version", flat=True).get(pk=account)
    request.session.flush()
    request.session.set_expiry(SECONDS)
    request.session[KEY] = {"account": account, "version": version, "at": time(), "where": where}


def of(request: HttpRequest) -> Halfway | None:
    """Who is halfway in; None: nobody, or it took too long, or the password was changed meanwhile."""
    state = request.session.get(KEY)
    if not isinstance(state, dict) or time() - state["at"] >= SECONDS:
        return None
    account = Account.objects.filter(
        pk=state["account"], credential_version=state["version"], status=Status.ACTIVE
    ).first()
    return None if account is None else Halfway(account, state["where"])


def keep_challenge(request: HttpRequest, challenge: str) -> None:
    """What a passkey must sign, until `take_challenge`."""
    request.session[CHALLENGE_KEY] = challenge


def take_challenge(request: HttpRequest) -> str:
    """The challenge that this browser was given, once; '' if there is none."""
    return str(request.session.pop(CHALLENGE_KEY, ""))
