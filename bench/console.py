"""The console before a million accounts, on PostgreSQL: `python -m bench.console`.

Makes a database of its own beside the one that DATABASE_URL names, fills it by INSERT ... SELECT, asks as an
operator's browser does, prints medians, and drops it. BENCH_ACCOUNTS says how many accounts.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from bench.pages import Row, hand_over, timed
from bench.restante import environment

ACCOUNTS = int(os.environ.get("BENCH_ACCOUNTS", "1000000"))
DOMAINS = 1_000
RECORDS = ACCOUNTS // 5  # deliveries, and as many sessions, of which one account has a tenth
GOAL_MS = 100.0
DATABASE = f"restante_bench_console_{os.getpid()}"


@contextmanager
def database(url: str) -> Iterator[str]:
    """A database of this run's own, dropped at its end."""
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {DATABASE}")
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{DATABASE}"))
        finally:
            server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


FILL = f"""
INSERT INTO mailboxes_domain (name, active, status_reason, default_quota_bytes, account_count, created_at)
SELECT 'd' || n || '.test', true, '', 2147483648, {ACCOUNTS // DOMAINS}, now()
  FROM generate_series(1, {DOMAINS}) n;
INSERT INTO mailboxes_account (password, login, name, domain_id, role, status, status_reason,
                               credential_version, language, second_factor, created_at)
SELECT '!', 'user' || md5(n::text) || '@' || d.name, 'Name ' || md5('x' || n), d.id, 'subscriber', 'active',
       '', 1, '', false, now() FROM generate_series(1, {ACCOUNTS}) n
       JOIN mailboxes_domain d ON d.name = 'd' || (n % {DOMAINS} + 1) || '.test';
INSERT INTO mailboxes_nameword (account_id, domain_id, word)
SELECT a.id, a.domain_id, word FROM mailboxes_account a, unnest(string_to_array(lower(a.name), ' ')) word
 WHERE a.name <> '';
INSERT INTO mailboxes_mailbox (account_id, quota_bytes, used_bytes, message_count, pop3_enabled,
    webmail_enabled, sending_enabled, receiving_enabled, pop3_delete, version, rearranged_version,
    conversations, quota_warned, lock_token)
SELECT id, 2147483648, 1000000, 100, true, true, true, true, 'trash', 1, 1, true, 0, '' FROM mailboxes_account
 WHERE NOT EXISTS (SELECT 1 FROM mailboxes_mailbox m WHERE m.account_id = mailboxes_account.id);
INSERT INTO mailboxes_address (name, domain_id, kind, active, status_reason, created_at)
SELECT login, domain_id, 'primary', true, '', now() FROM mailboxes_account a
 WHERE NOT EXISTS (SELECT 1 FROM mailboxes_address o WHERE o.name = a.login);
INSERT INTO mailboxes_target (address_id, mailbox_id, forward_to)
SELECT o.id, m.id, '' FROM mailboxes_address o JOIN mailboxes_account a ON a.login = o.name
  JOIN mailboxes_mailbox m ON m.account_id = a.id
 WHERE NOT EXISTS (SELECT 1 FROM mailboxes_target t WHERE t.address_id = o.id);
"""
RECORDED = """
INSERT INTO mailboxes_deliveryrecord (at, mailbox_id, recipient, sender, octets, code, reason, door, peer,
                                      helo, transaction, message_id, uidl)
SELECT now() - n * interval '1 minute', CASE WHEN n %% 10 = 0 THEN %(box)s ELSE %(low)s + n END, 'x@d1.test',
       's@elsewhere.test', 5000, '250 2.0.0', '', 'lmtp', '192.0.2.' || (n %% 250), '', '',
       'm' || n || '@e.test', ''
  FROM generate_series(1, %(n)s) n;
INSERT INTO mailboxes_pop3session (session, mailbox_id, login, peer, tls, program, started_at, ended_at,
                                   fetched, tops, deleted, expunged, octets, recent, ended, reason)
SELECT 's' || n, CASE WHEN n %% 10 = 0 THEN %(box)s ELSE %(low)s + n END, %(login)s, '192.0.2.' || (n %% 250),
       'TLSv1.3', 'Thunderbird', now() - n * interval '1 minute', now(),
       1, 0, 0, false, 5000, false, 'quit', ''
  FROM generate_series(1, %(n)s) n;
"""


def run() -> list[Row]:
    """Fill, ask, print."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from mailboxes.accounts import create_domain, open_account, set_role
    from mailboxes.models import Account, Role

    began = time.monotonic()
    call_command("migrate", verbosity=0)
    create_domain("house.test")
    operator = open_account("olga@house.test", "bench-password", role="operator")
    with connection.cursor() as cursor:
        cursor.execute(FILL)
        someone = Account.objects.select_related("mailbox").get(
            login__startswith="user" + "c4ca4238a0b923820dcc509a6f75849b"
        )
        first = Account.objects.select_related("mailbox").filter(domain__name__startswith="d").earliest("pk")
        low = first.mailbox.pk
        values: dict[str, int | str] = {
            "box": someone.mailbox.pk,
            "low": low,
            "login": someone.login,
            "n": RECORDS,
        }
        for statement in RECORDED.strip().split(";\n"):
            cursor.execute(statement.rstrip(";"), values)
        cursor.execute("VACUUM ANALYZE")
    administrator = open_account("dora@house.test", "bench-password")
    assert someone.domain is not None
    set_role(administrator, Role.DOMAIN_ADMINISTRATOR, [someone.domain])
    print(f"filled with {ACCOUNTS:,} accounts in {time.monotonic() - began:.0f} s")
    client, of_administrator = _browser(operator), _browser(administrator)
    pages: dict[str, Callable[[int], str]] = {
        "account list, first page": lambda n: "/console/accounts/",
        "account list, from anywhere": lambda n: f"/console/accounts/?after=user{n * 7 % 16:x}",
        "account list of a domain": lambda n: f"/console/accounts/?domain=d{n + 1}.test",
        "search by the beginning of an address": lambda n: f"/console/find/?q=user{n:02x}",
        "search by a name": lambda n: f"/console/find/?q=name+{n:02x}",
        "search by a last name": lambda n: f"/console/find/?q={n:02x}",
        "search by a last and a first name": lambda n: f"/console/find/?q={n:02x}+name",
        "search by an address": lambda n: f"/console/find/?q={someone.login}",
        "search by an IP address": lambda n: f"/console/find/?q=192.0.2.{n + 1}",
        "search by a Message-ID": lambda n: f"/console/find/?q=<m{n + 1}@e.test>",
        "account page, busy account": lambda n: f"/console/accounts/{someone.pk}/",
        "account page, quiet account": lambda n: f"/console/accounts/{first.pk + 1_000 + n}/",
        "address list": lambda n: f"/console/addresses/?q=user{n:02x}",
        "audit": lambda n: "/console/audit/",
        "overview": lambda n: "/console/",
        "days": lambda n: "/console/days/?days=90",
        "room": lambda n: "/console/room/",
        "health": lambda n: "/console/health/",
    }
    place = f"console, {ACCOUNTS:,} accounts"
    rows = [timed(place, title, GOAL_MS, _asking(client, path)) for title, path in pages.items()]
    of_a_domain: dict[str, Callable[[int], str]] = {
        "search by a first name that all have": lambda n: "/console/find/?q=name",
        "search by a last name": pages["search by a last name"],
    }
    return rows + [
        timed(place, f"{title}, in a domain", GOAL_MS, _asking(of_administrator, path))
        for title, path in of_a_domain.items()
    ]


def _browser(account: Any) -> Any:
    """One in which somebody is logged in."""
    from django.test import Client

    from mailboxes import web_sessions
    from webmail import sessions

    client = Client(SERVER_NAME="localhost")
    client.force_login(account)
    session = client.session
    name = web_sessions.begin(account.pk, account.login, peer="127.0.0.1", program="bench")
    sessions.sign(session, account, name)
    session.save()
    return client


def _asking(client: Any, path: Callable[[int], str]) -> Callable[[int], None]:
    def ask(number: int) -> None:
        response = client.get(path(number))
        if response.status_code not in {200, 302}:
            raise RuntimeError(f"{path(number)}: {response.status_code}")

    return ask


if __name__ == "__main__":
    given = os.environ.get("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
    with database(given) as own, tempfile.TemporaryDirectory() as root:
        os.environ.update(environment(Path(root), own), CONSOLE_SECOND_FACTOR="optional")
        rows = run()
        from django.db import connections

        connections.close_all()
    hand_over(rows)
    sys.exit(0 if all(row.kept for row in rows) else 1)
