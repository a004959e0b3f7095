"""Secrets that must be read again (a password for another server, the seed of a second factor), encrypted.

Fernet with a key that is derived from SECRET_KEY, so that a copy of the database alone gives none away.
SECRET_KEY_FALLBACKS are tried when reading, so that the key can be changed without losing what lies there.
"""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

# Keeps this key apart from whatever else is derived from SECRET_KEY.
PURPOSE = b"restante: secrets at rest"
KEY_OCTETS = 32  # Fernet: 16 to sign with, 16 to encrypt with


class Unreadable(Exception):
    """It was encrypted with a key that is neither SECRET_KEY nor one of its fallbacks, or was changed."""


def encrypt(text: str) -> str:
    """The text as an ASCII token, another one each time."""
    return _ring().encrypt(text.encode()).decode("ascii")


def decrypt(token: str) -> str:
    """The text of a token. Unreadable."""
    try:
        return _ring().decrypt(token.encode()).decode()
    except (InvalidToken, UnicodeEncodeError) as error:
        raise Unreadable("a secret cannot be read with this SECRET_KEY") from error


def _ring() -> MultiFernet:
    return MultiFernet([_fernet(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


@lru_cache(maxsize=8)
def _fernet(secret_key: str) -> Fernet:
    derived = HKDF(SHA256(), KEY_OCTETS, salt=None, info=PURPOSE).derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
