"""The one gate: who is this, and may they use this service?

POP3, webmail and sending all come through `recall` and `authenticate`, so one throttle stands behind all,
and a wrong password and an unknown address look and take the same (invariant 6). The account's password
opens everything until a second factor is on; then it opens the webmail, together with that factor, and mail
programs need app passwords (`mailboxes/app_passwords.py`).
"""

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

from django.contrib.auth.hashers import check_password, make_password
from django.db import connection
from django.utils import timezone

from mailboxes import app_passwords, statements, throttle
from mailboxes.addresses import normalise
from mailboxes.app_passwords import OWN, Key
from mailboxes.exceptions import Invalid, LoginRefused
from mailboxes.models import Status
from mailboxes.throttle import GUESSES

WRONG = "wrong user name or password"
# RFC 1939 has no limit; argon2 would hash a megabyte of password happily, at our cost.
PASSWORD_MAX = 1024
# Remembered verified passwords; one takes some 200 octets.
REMEMBERED_MAX = 100_000
# Accounts with their mailboxes and, as rows without an account, the throttles that may be closed: whatever a
# batch of logins needs. As SQL, because for a poll having the ORM write it anew took five times as long as
# running it.
ADMISSIONS = (
    "SELECT a.id, a.login, a.password, a.status, a.status_reason, a.credential_version,"
    " m.id, m.version, m.rearranged_version, m.{service}_enabled,"
    " a.password_until IS NOT NULL AND a.password_until <= %s, d.closed_at IS NOT NULL, d.status_reason,"
    " a.second_factor"
    " FROM mailboxes_account a LEFT JOIN mailboxes_mailbox m ON m.account_id = a.id"
    " LEFT JOIN mailboxes_domain d ON d.id = a.domain_id"
    " WHERE a.login IN ({places})"
    " UNION ALL SELECT NULL, key, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
    " FROM mailboxes_loginthrottle WHERE failures >= %s AND key IN ({places})"
)


class Service(Enum):
    POP3 = "pop3"
    WEBMAIL = "webmail"
    SENDING = "sending"


@dataclass(frozen=True, slots=True)
class Login:
    """Who was let in, and what a session needs of the mailbox, read together in one row.

    `app_password`: the one that opened, 0 for the account's own password, and `device`, what its owner calls
    it. `second_factor`: the webmail has yet to ask for it.
    """

    account: int
    login: str
    mailbox: int
    version: int
    rearranged_version: int
    app_password: int = 0
    device: str = ""
    second_factor: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    account: int
    login: str
    password: str
    status: str
    status_reason: str
    credential_version: int
    mailbox: int | None
    version: int
    rearranged_version: int
    enabled: bool
    expired: bool
    domain_closed: bool
    domain_reason: str | None
    second_factor: bool


class _Remembered:
    """Verified passwords as keyed hashes in memory: the key is this process's own and never leaves it.

    An account has several at a time: its own password, and an app password for each program.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)
        # By account and hash: the credential version it was verified at, and which app password it is.
        self._known: OrderedDict[tuple[int, bytes], tuple[int, Key]] = OrderedDict()
        self._lock = threading.Lock()

    def _hash(self, password: str) -> bytes:
        return blake2b(_octets(password), key=self._key, digest_size=32).digest()

    def key(self, account: int, version: int, password: str) -> Key | None:
        """Which app password this is, or OWN; None: it is not known to be right."""
        # Looking up the hash, not the password: without the key nobody can choose what is compared.
        known = self._known.get((account, self._hash(password)))
        return known[1] if known is not None and known[0] == version else None

    def remember(self, account: int, version: int, password: str, key: Key) -> None:
        known_by = (account, self._hash(password))
        with self._lock:
            self._known[known_by] = (version, key)
            self._known.move_to_end(known_by)
            if len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)


_remembered = _Remembered()
# What an unknown address is checked against, so that it costs what a known one costs. Made at first use.
_nobody: list[str] = []


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody wants in; `network` as `network_of` says it."""

    login: str
    password: str = field(repr=False)
    network: str


def recall(login: str, password: str, service: Service, network: str) -> Login | None:
    """Let in whoever this process has verified before, without hashing; None: `authenticate` must decide.

    LoginRefused: throttled, or a right password with no right to the service.
    """
    [outcome] = recall_all([Attempt(login, password, network)], service)
    if isinstance(outcome, LoginRefused):
        raise outcome
    return outcome


def recall_all(attempts: Sequence[Attempt], service: Service) -> list[Login | LoginRefused | None]:
    """`recall` for many at once, by one query."""
    names = [_name_of(attempt.login) for attempt in attempts]
    keys = [throttle.key_of(name, attempt.network) for name, attempt in zip(names, attempts, strict=True)]
    rows, throttled = _rows(names, keys, service)
    outcomes: list[Login | LoginRefused | None] = []
    for name, key, attempt in zip(names, keys, attempts, strict=True):
        try:
            outcomes.append(_recalled(rows.get(name), key in throttled, name, attempt, service))
        except LoginRefused as refusal:
            outcomes.append(refusal)
    return outcomes


def _recalled(
    row: _Row | None, throttled: bool, name: str, attempt: Attempt, service: Service
) -> Login | None:
    if row is None:
        return None
    key = _remembered.key(row.account, row.credential_version, attempt.password)
    if key is None or (key.number and service is Service.WEBMAIL):
        return None
    if throttled:
        # Else the guesses that the throttle refuses could be tried here.
        throttle.refuse_if_closed(name, attempt.network)
    return _admitted(row, service, key)


def authenticate(login: str, password: str, service: Service, network: str) -> Login:
    """Verify a password with argon2id, at the price of some 20 ms of CPU; or an app password, at that of one
    query. LoginRefused.

    `network`: where the attempt comes from, as `network_of` says it; ten wrong guesses for one login name
    from one network close the gate for that pair, for a while.
    """
    name = _name_of(login)
    counted = throttle.refuse_if_closed(name, network)
    rows, _ = _rows([name], [throttle.key_of(name, network)], service)
    row = rows.get(name)
    key = OWN
    if service is not Service.WEBMAIL:
        key = app_passwords.find(row.account if row else None, password)
    if row is None or row.status == Status.CLOSED or not key.number:
        if not _password_fits(row, password):
            raise LoginRefused(WRONG, reason="wrong_password", delay=throttle.count(name, network, password))
        key = OWN
    assert row is not None
    if counted is not None and not key.number:
        # Whoever has an app password must not get more guesses at the account's own by it.
        throttle.forget(name, network)
    _remembered.remember(row.account, row.credential_version, password, key)
    return _admitted(row, service, key)


def admit(login: str, service: Service) -> Login:
    """Let in whoever has proved otherwise (by a passkey) who they are, if they may use the service.
    LoginRefused."""
    name = _name_of(login)
    row = _rows([name], [""], service)[0].get(name)
    if row is None or row.status == Status.CLOSED:
        raise LoginRefused(WRONG, reason="wrong_password")
    return _admitted(row, service, None)


def _name_of(login: str) -> str:
    """The login name as it is looked up; of what can be nobody's, only what every database can look up."""
    try:
        return normalise(login)
    except Invalid:
        name = login.strip().lower()[:320]
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _octets(password: str) -> bytes:
    """Any password, also one that a door made of octets that are no UTF-8."""
    return password.encode("utf-8", "surrogatepass")


def _rows(
    names: Sequence[str], throttle_keys: Sequence[str], service: Service
) -> tuple[dict[str, _Row], set[str]]:
    """Account and mailbox of each login name there is, and which throttles may be closed."""
    places, wanted = statements.places(names)
    sql = ADMISSIONS.format(service=service.value, places=places)
    rows: dict[str, _Row] = {}
    throttled: set[str] = set()
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    values = [now, *wanted, GUESSES, *statements.places(throttle_keys)[1]]
    for row in statements.run(sql, values).fetchall():
        if row[0] is None:
            throttled.add(row[1])
        else:
            rows[row[1]] = _Row(*row)
    return rows, throttled


def _password_fits(row: _Row | None, password: str) -> bool:
    if not _nobody:
        _nobody.append(make_password(secrets.token_hex()))
    encoded = row.password if row is not None else _nobody[0]
    # What is too long or no text is nobody's password; finding that out costs as much as any.
    given = _octets(password)[:PASSWORD_MAX].decode(errors="replace")
    fits = check_password(given, encoded)
    return fits and given == password and row is not None and row.status != Status.CLOSED


def _admitted(row: _Row, service: Service, key: Key | None) -> Login:
    """Only who has shown the right password learns why the door is shut. `key` None: it was no password."""
    if row.status != Status.ACTIVE:
        text = row.status_reason or "ask your provider"
        raise LoginRefused(
            f"this account is suspended: {text}",
            reason="suspended",
            permanent=True,
            detail=row.status_reason,
        )
    if row.domain_closed or row.domain_reason:
        domain, state = row.login.rpartition("@")[2], "closed" if row.domain_closed else "suspended"
        text = f"the domain {domain} is {state}: {row.domain_reason or 'ask your provider'}"
        raise LoginRefused(text, reason=f"domain_{state}", permanent=True, detail=row.domain_reason or "")
    if row.expired and key == OWN:
        text = "this temporary password was good for a day, which is over: ask your provider for another"
        raise LoginRefused(text, reason="password_expired", permanent=True)
    if row.mailbox is None:
        raise LoginRefused("this account has no mailbox", reason="no_mailbox", permanent=True)
    if not row.enabled:
        text = f"{service.name} is switched off for this mailbox"
        raise LoginRefused(text, reason="service_off", permanent=True)
    if row.second_factor and key == OWN and service is not Service.WEBMAIL:
        text = (
            "this account has a second factor, so mail programs need an app password: make one in the webmail"
        )
        raise LoginRefused(text, reason="app_password_needed")
    return Login(
        row.account,
        row.login,
        row.mailbox,
        row.version,
        row.rearranged_version,
        key.number if key else 0,
        key.name if key else "",
        row.second_factor and key == OWN,
    )
