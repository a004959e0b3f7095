"""Long random secrets (app passwords, recovery codes) as keyed hashes.

HMAC-SHA256 with a key derived from SECRET_KEY, not argon2id: a slow hash protects what people choose, which
can be guessed; nobody guesses 80 random bits, and a copy of the database without the key cannot even try.
SECRET_KEY_FALLBACKS are compared too, so that the key can be changed.
"""

import hmac
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

# Keeps these keys apart from whatever else is derived from SECRET_KEY.
PURPOSE = "restante: keyed hash of "
KEY_OCTETS = 32


def digest(purpose: str, secret: str) -> str:
    """The hash under which a secret is kept: 64 hexadecimal digits. `purpose` keeps kinds apart."""
    return digests(purpose, secret)[0]


def digests(purpose: str, secret: str) -> list[str]:
    """All hashes under which it may lie: by SECRET_KEY first, then by its fallbacks."""
    octets = secret.encode("utf-8", "surrogatepass")
    keys = (_key(purpose, one) for one in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    return [hmac.digest(key, octets, "sha256").hex() for key in keys]


@lru_cache(maxsize=32)
def _key(purpose: str, secret_key: str) -> bytes:
    info = f"{PURPOSE}{purpose}".encode()
    return HKDF(SHA256(), KEY_OCTETS, salt=None, info=info).derive(secret_key.encode())
