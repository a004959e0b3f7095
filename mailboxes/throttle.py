"""The throttle: wrong guesses for one login name from one place, counted in the database.

A place is a network, as `network_of` says it, or CODES: codes of a second factor are counted from wherever
they come, since only who has the password gets to guess them.
"""

from datetime import datetime, timedelta
from hashlib import blake2b

from django.conf import settings
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.utils import timezone

from mailboxes.exceptions import LoginRefused
from mailboxes.models import LoginThrottle

# Ten guesses: enough for a person with two old passwords, too few for a dictionary.
GUESSES = 10
GUESSES_WINDOW = timedelta(minutes=15)
FIRST_DELAY = 0.25  # seconds; doubles with every guess
LONGEST_DELAY = 8.0
CODES = "codes"
TOO_MANY = {CODES: "too many wrong codes: try again in {minutes} minutes"}
TOO_MANY_PASSWORDS = "too many wrong passwords from your network: try again in {minutes} minutes"


def key_of(name: str, place: str) -> str:
    return blake2b(f"{name}\n{place}".encode(), digest_size=32).hexdigest()


def refuse_if_closed(name: str, place: str) -> LoginThrottle | None:
    """The throttle of that name and place, if there is one. LoginRefused: it is closed."""
    throttle = LoginThrottle.objects.filter(key=key_of(name, place)).first()
    if throttle is None:
        return None
    if throttle.failures >= GUESSES and timezone.now() < throttle.last_failure_at + GUESSES_WINDOW:
        minutes = _minutes_until(throttle.last_failure_at + GUESSES_WINDOW)
        raise LoginRefused(
            TOO_MANY.get(place, TOO_MANY_PASSWORDS).format(minutes=minutes),
            reason="throttled",
            delay=FIRST_DELAY,
            detail=str(minutes),
        )
    return throttle


def _minutes_until(moment: datetime) -> int:
    return max(1, int((moment - timezone.now()).total_seconds() / 60) + 1)


def forget(name: str, place: str) -> None:
    """The right one has come: the wrong ones before it count no longer."""
    LoginThrottle.objects.filter(key=key_of(name, place)).delete()


def count(name: str, place: str, guessed: str) -> float:
    """Count a wrong guess, and give the seconds to wait; one that came before (two phones that were not told
    of a new password) is no new guess.

    Guesses that are hashed at this moment are not counted yet: those are as many as the doors have threads.
    """
    key, guess, now = key_of(name, place), _guess(guessed), timezone.now()
    throttles = LoginThrottle.objects.filter(key=key)
    # The row first, and the count by conditional updates: of two first guesses at once both are counted.
    throttles.get_or_create(key=key, defaults={"last_failure_at": now})
    throttles.filter(last_failure_at__lt=now - GUESSES_WINDOW).update(failures=0, guesses="")
    throttles.filter(failures__lt=GUESSES).exclude(guesses__contains=guess).update(
        failures=F("failures") + 1, last_failure_at=now, guesses=Concat("guesses", Value(guess))
    )
    # None: the right password, given at the same moment, has forgotten the wrong ones.
    failures = throttles.values_list("failures", flat=True).first() or 1
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** (failures - 1)))


def _guess(guessed: str) -> str:
    """32 bits of a keyed hash: enough to know a repeated guess, too few to learn a password from."""
    octets = guessed.encode("utf-8", "surrogatepass")
    digest = blake2b(octets, key=settings.SECRET_KEY.encode()[:64], digest_size=4)
    return f"{digest.hexdigest()} "
