"""Secrets that are kept: unreadable without SECRET_KEY, readable after it was changed with a fallback."""

from typing import Any

import pytest

from mailboxes.secrets_at_rest import Unreadable, decrypt, encrypt

pytestmark = pytest.mark.once


def test_what_was_encrypted_is_read_again_and_is_not_to_be_seen() -> None:
    token = encrypt("päss wörd")
    assert decrypt(token) == "päss wörd"
    assert "p" + "ass" not in token and encrypt("päss wörd") != token


def test_another_secret_key_reads_nothing_unless_the_old_one_is_a_fallback(settings: Any) -> None:
    token, old = encrypt("password"), settings.SECRET_KEY
    settings.SECRET_KEY = "another-0123456789-0123456789-0123456789-0123456789"
    with pytest.raises(Unreadable):
        decrypt(token)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert decrypt(token) == "password"


@pytest.mark.parametrize("token", ["", "nonsense", "gAAAAAB", "ä"])
def test_what_is_no_token_is_unreadable(token: str) -> None:
    with pytest.raises(Unreadable):
        decrypt(token)
