"""Passwords are kept as argon2id."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2id(Argon2PasswordHasher):
    """argon2id with OWASP's parameters (19 MiB, 2 passes, 1 lane).

    Django's own (100 MiB, 8 lanes) would let a burst of 50 logins take 5 GB.
    """

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1
