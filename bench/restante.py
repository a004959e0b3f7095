"""The real house for the bench: migrated, filled, and its doors started as they are in production."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.server import Server, free_ports, running

PROJECT = Path(__file__).resolve().parent.parent
POSTGRESQL = "postgres://postgres@127.0.0.1:5432"
WORKERS = 2
# SQLite has one writer at a time: two processes would only wait for each other.
MAIL_WORKERS = {"SQLite": 1, "PostgreSQL": 2}


def postgresql_runs() -> bool:
    try:
        psycopg.connect(f"{POSTGRESQL}/postgres", connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def database(kind: str, root: Path) -> Iterator[str]:
    """The URL of an empty database, which is gone afterwards."""
    if kind == "SQLite":
        yield f"sqlite:///{root}/restante.sqlite3"
        return
    name = f"restante_bench_{os.getpid()}"
    with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")  # type: ignore[arg-type,unused-ignore]
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type,unused-ignore]
    try:
        yield f"{POSTGRESQL}/{name}"
    finally:
        with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type,unused-ignore]


def environment(root: Path, url: str) -> dict[str, str]:
    return os.environ | {
        "SECRET_KEY": "only-for-the-bench-0123456789-0123456789-0123456789-abcdefg",
        "VAR_ROOT": str(root),
        "DATABASE_URL": url,
        "CONTENT_ROOT": str(root / "content"),
        "SPOOL_ROOT": str(root / "spool"),
        "MAIL_HOSTNAME": "localhost",
        "DEFAULT_QUOTA": "500G",
        "POP3_MAX_CONNECTIONS_PER_ADDRESS": "20000",
        "SMTPD_MAX_CONNECTIONS_PER_ADDRESS": "1000",
        "DJANGO_SETTINGS_MODULE": "hosting.settings",
    }


def prepare(root: Path, url: str, *, huge: int) -> None:
    """Accounts and mail, by the house's own verbs."""
    for arguments in (["manage.py", "migrate", "--verbosity", "0"], ["-m", "bench.fill", str(huge)]):
        subprocess.run([sys.executable, *arguments], cwd=PROJECT, env=environment(root, url), check=True)


@contextmanager
def served(root: Path, url: str, name: str = "Restante") -> Iterator[Server]:
    """`pop3d` and `smtpd` over what `prepare` made."""
    pop3, pop3s, lmtp = free_ports(3)
    mail_workers = MAIL_WORKERS["SQLite" if url.startswith("sqlite") else "PostgreSQL"]
    commands = (
        ["pop3d", f"--listen=127.0.0.1:{pop3}", f"--listen-tls=127.0.0.1:{pop3s}", f"--workers={WORKERS}"],
        ["smtpd", f"--lmtp=127.0.0.1:{lmtp}", f"--workers={mail_workers}"],
    )
    with (root / "log").open("ab") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "manage.py", *command],
                cwd=PROJECT,
                env=environment(root, url),
                stdout=log,
                stderr=log,
            )
            for command in commands
        ]
    with running(Server(name, pop3, pop3s, lmtp, processes)) as server:
        yield server
