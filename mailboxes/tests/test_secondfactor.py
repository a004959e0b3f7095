"""The second factor: each code once, whatever happens at the same moment, and nobody guesses."""

from base64 import b32decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.db import connections

from mailboxes import accounts, secondfactor, throttle, web_sessions
from mailboxes.exceptions import Invalid, LoginRefused
from mailboxes.models import Account, AuditEntry, Passkey, RecoveryCode, TOTPDevice, WebSession
from mailboxes.secondfactor import AUTHENTICATOR, RECOVERY, verify_code
from mailboxes.secrets_at_rest import decrypt
from mailboxes.throttle import GUESSES


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is for the second factor; tests move it on."""
    now = [time() // 30 * 30 + 15]
    monkeypatch.setattr(secondfactor, "time", lambda: now[0])
    return now


def code_of(account: Account, at: float) -> str:
    """What the authenticator shows."""
    device = TOTPDevice.objects.get(account=account)
    secret = bytes.fromhex(decrypt(device.secret))
    return TOTP(secret, 6, SHA1(), 30).generate(int(at)).decode()


def set_up(account: Account, at: float) -> list[str]:
    """An authenticator that is in use; the recovery codes. Its last code was of half a minute before `at`."""
    secondfactor.begin_authenticator(account)
    return secondfactor.confirm_authenticator(account, code_of(account, at - 30), actor=account.login)


def refused(account: Account, code: str) -> LoginRefused:
    with pytest.raises(LoginRefused) as raised:
        verify_code(account, code)
    return raised.value


# -- the authenticator --------------------------------------------------------------------------


def test_codes_are_those_of_rfc_6238_appendix_b() -> None:
    totp = secondfactor._totp(b"12345678901234567890")
    shown = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    assert {at: totp.generate(at).decode() for at in shown} == shown


def test_an_authenticator_counts_once_it_has_shown_a_code(ann: Account, clock: list[float]) -> None:
    secondfactor.begin_authenticator(ann)
    assert not Account.objects.get(pk=ann.pk).second_factor
    waiting = secondfactor.waiting_authenticator(ann)
    assert waiting is not None
    with pytest.raises(LoginRefused, match="not right"):
        secondfactor.confirm_authenticator(ann, "000000", actor=ann.login)
    secret = b32decode(waiting[0].replace(" ", "").upper())
    code = TOTP(secret, 6, SHA1(), 30).generate(int(clock[0])).decode()
    codes = secondfactor.confirm_authenticator(ann, code, actor=ann.login)
    assert len(set(codes)) == 10
    assert Account.objects.get(pk=ann.pk).second_factor
    assert secondfactor.waiting_authenticator(ann) is None
    with pytest.raises(Invalid, match="already"):
        secondfactor.begin_authenticator(ann)


def test_the_uri_names_the_account_and_the_house(ann: Account) -> None:
    secondfactor.begin_authenticator(ann)
    waiting = secondfactor.waiting_authenticator(ann)
    assert waiting is not None
    assert waiting[1].startswith("otpauth://totp/Restante:ann%40example.test?")
    assert f"secret={waiting[0].replace(' ', '').upper()}" in waiting[1]


def test_no_secret_lies_in_the_database_as_it_is(ann: Account) -> None:
    secondfactor.begin_authenticator(ann)
    device, waiting = TOTPDevice.objects.get(account=ann), secondfactor.waiting_authenticator(ann)
    assert waiting is not None
    secret = b32decode(waiting[0].replace(" ", "").upper())
    assert secret.hex() not in device.secret
    assert len(secret) == 20


def test_a_secret_outlives_a_change_of_the_key_with_a_fallback(
    ann: Account, clock: list[float], settings: Any
) -> None:
    codes = set_up(ann, clock[0])
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    assert verify_code(ann, code_of(ann, clock[0])) == AUTHENTICATOR
    assert verify_code(ann, codes[0]) == RECOVERY
    settings.SECRET_KEY_FALLBACKS = []
    assert refused(ann, codes[1]).reason == "wrong_code"


def test_a_code_is_taken_once(ann: Account, clock: list[float]) -> None:
    set_up(ann, clock[0])
    code = code_of(ann, clock[0])
    assert verify_code(ann, code) == AUTHENTICATOR
    assert refused(ann, code).reason == "wrong_code"
    clock[0] += 30
    assert refused(ann, code).reason == "wrong_code"
    assert verify_code(ann, code_of(ann, clock[0])) == AUTHENTICATOR


def test_no_code_older_than_one_that_was_taken_is_taken(ann: Account, clock: list[float]) -> None:
    set_up(ann, clock[0])
    clock[0] += 300
    older = code_of(ann, clock[0] - 30)
    verify_code(ann, code_of(ann, clock[0]))
    assert refused(ann, older).reason == "wrong_code"


@pytest.mark.parametrize(
    ("seconds", "taken"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)]
)
def test_clocks_may_differ_by_one_step(ann: Account, clock: list[float], seconds: int, taken: bool) -> None:
    set_up(ann, clock[0])
    clock[0] += 300
    code = code_of(ann, clock[0] + seconds)
    assert (verify_code(ann, code) if taken else refused(ann, code).reason) == (
        AUTHENTICATOR if taken else "wrong_code"
    )


def test_people_type_spaces(ann: Account, clock: list[float]) -> None:
    set_up(ann, clock[0])
    code = code_of(ann, clock[0])
    assert verify_code(ann, f" {code[:3]} {code[3:]}\n") == AUTHENTICATOR


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "x" * 10_000, "\0", "\udc80"])
def test_any_other_text_is_only_wrong(ann: Account, clock: list[float], code: str) -> None:
    set_up(ann, clock[0])
    assert refused(ann, code).reason == "wrong_code"


def test_an_account_without_a_second_factor_has_no_codes(ann: Account) -> None:
    assert refused(ann, "123456").reason == "wrong_code"
    with pytest.raises(Invalid):
        secondfactor.renew_recovery_codes(ann, actor=ann.login)


@pytest.mark.django_db(transaction=True)
def test_a_code_that_comes_twice_at_the_same_moment_is_taken_once(ann: Account, clock: list[float]) -> None:
    set_up(ann, clock[0])
    code = code_of(ann, clock[0])
    assert _at_once(ann, code) == [AUTHENTICATOR]


# -- recovery codes -----------------------------------------------------------------------------


def test_each_recovery_code_lets_in_once(ann: Account, clock: list[float]) -> None:
    codes = set_up(ann, clock[0])
    assert [verify_code(ann, code) for code in codes] == [RECOVERY] * 10
    assert secondfactor.recovery_codes_left(ann) == 0
    assert refused(ann, codes[3]).reason == "wrong_code"


def test_a_recovery_code_in_any_spelling(ann: Account, clock: list[float]) -> None:
    codes = set_up(ann, clock[0])
    assert verify_code(ann, codes[0].upper().replace("-", " ")) == RECOVERY


def test_recovery_codes_are_kept_as_keyed_hashes(ann: Account, clock: list[float]) -> None:
    codes = set_up(ann, clock[0])
    kept = " ".join(RecoveryCode.objects.values_list("digest", flat=True))
    assert not [code for code in codes if code in kept or code.replace("-", "") in kept]


def test_new_recovery_codes_void_the_old(ann: Account, clock: list[float]) -> None:
    old = set_up(ann, clock[0])
    new = secondfactor.renew_recovery_codes(ann, actor=ann.login)
    assert refused(ann, old[0]).reason == "wrong_code"
    assert verify_code(ann, new[0]) == RECOVERY
    assert secondfactor.recovery_codes_left(ann) == 9


def test_nobody_lets_in_with_anothers_code(ann: Account, bob: Account, clock: list[float]) -> None:
    codes = set_up(ann, clock[0])
    set_up(bob, clock[0])
    assert refused(bob, codes[0]).reason == "wrong_code"
    assert refused(bob, code_of(ann, clock[0])).reason == "wrong_code"


@pytest.mark.django_db(transaction=True)
def test_a_recovery_code_that_comes_twice_at_the_same_moment_lets_in_once(
    ann: Account, clock: list[float]
) -> None:
    codes = set_up(ann, clock[0])
    assert _at_once(ann, codes[0]) == [RECOVERY]
    assert secondfactor.recovery_codes_left(ann) == 9


def _at_once(account: Account, code: str) -> list[str]:
    def one(_: int) -> str:
        try:
            return verify_code(account, code)
        except LoginRefused:
            return ""
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        return [outcome for outcome in pool.map(one, range(4)) if outcome]


# -- the throttle -------------------------------------------------------------------------------


def test_guessing_codes_is_throttled_from_wherever_it_comes(ann: Account, clock: list[float]) -> None:
    codes = set_up(ann, clock[0])
    delays = [refused(ann, f"{n:06}").delay for n in range(GUESSES)]
    assert delays == sorted(delays) and delays[-1] == throttle.LONGEST_DELAY
    assert refused(ann, codes[0]).reason == "throttled"
    assert refused(ann, code_of(ann, clock[0])).reason == "throttled"


def test_the_same_code_again_in_another_half_minute_is_another_guess(
    ann: Account, clock: list[float]
) -> None:
    set_up(ann, clock[0])
    for _ in range(GUESSES):
        assert refused(ann, "abcdef").reason == "wrong_code"
        clock[0] += 30
    assert refused(ann, "abcdef").reason == "throttled"


def test_a_right_code_forgets_the_wrong_ones(ann: Account, clock: list[float]) -> None:
    set_up(ann, clock[0])
    for n in range(GUESSES - 1):
        refused(ann, f"{n:06}")
    verify_code(ann, code_of(ann, clock[0]))
    assert refused(ann, "abcdef").delay == throttle.FIRST_DELAY


# -- on and off ---------------------------------------------------------------------------------


def test_every_change_is_audited_raises_the_version_and_ends_other_sessions(
    ann: Account, clock: list[float]
) -> None:
    def of_session() -> str:
        return web_sessions.begin(ann.pk, ann.login, peer="192.0.2.1", program="a browser")

    this, version = of_session(), ann.credential_version
    changes: dict[str, Callable[[], object]] = {
        "add_authenticator": lambda: secondfactor.confirm_authenticator(
            ann, code_of(ann, clock[0]), actor=ann.login, keep=this
        ),
        "renew_recovery_codes": lambda: secondfactor.renew_recovery_codes(ann, actor=ann.login, keep=this),
        "remove_authenticator": lambda: secondfactor.remove_authenticator(ann, actor=ann.login, keep=this),
    }
    for verb, change in changes.items():
        other = of_session()
        if verb == "add_authenticator":
            secondfactor.begin_authenticator(ann)
        change()
        version += 1
        ann.refresh_from_db()
        assert ann.credential_version == version
        assert AuditEntry.objects.latest("pk").verb == verb
        open_ones = WebSession.objects.filter(ended_at=None).values_list("session", flat=True)
        assert list(open_ones) == [this]
        assert WebSession.objects.get(session=other).ended == "replaced"
    assert not ann.second_factor
    assert not RecoveryCode.objects.exists()


def test_the_second_factor_is_off_when_the_last_of_it_is_removed(ann: Account, clock: list[float]) -> None:
    set_up(ann, clock[0])
    Passkey.objects.create(account=ann, name="key", credential="x", public_key=b"x")
    secondfactor.remove_authenticator(ann, actor=ann.login)
    assert Account.objects.get(pk=ann.pk).second_factor
    assert RecoveryCode.objects.count() == 10
    assert secondfactor.remove_authenticator(ann, actor=ann.login) is False


def test_staff_reset_all_of_it(ann: Account, clock: list[float]) -> None:
    set_up(ann, clock[0])
    Passkey.objects.create(account=ann, name="key", credential="x", public_key=b"x")
    ann.refresh_from_db()
    secondfactor.reset(ann, actor="support@example.test")
    ann.refresh_from_db()
    assert not ann.second_factor
    left = [kind.objects.count() for kind in (TOTPDevice, Passkey, RecoveryCode)]
    entry = AuditEntry.objects.latest("pk")
    assert (left, entry.verb, entry.before) == (
        [0, 0, 0],
        "reset_second_factor",
        {"authenticator": True, "passkeys": 1},
    )
    with pytest.raises(Invalid, match="no second factor"):
        secondfactor.reset(ann, actor="support@example.test")


def test_no_secret_is_in_the_audit(ann: Account, clock: list[float]) -> None:
    codes = set_up(ann, clock[0])
    verify_code(ann, codes[0])
    written = str(list(AuditEntry.objects.values()))
    assert not [code for code in codes if code in written]
    assert TOTPDevice.objects.get().secret not in written


def test_purging_an_account_takes_its_second_factor_along(
    ann: Account, clock: list[float], later: Callable[..., Any]
) -> None:
    set_up(ann, clock[0])
    accounts.purge(ann)
    assert not TOTPDevice.objects.exists()
    assert not RecoveryCode.objects.exists()
