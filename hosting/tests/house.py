"""The house as it runs for subscribers: the doors as real processes, a database and content of its own."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, LiteralString, TypeVar
from unittest import mock
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import connections

from hosting.tests.mail_clients import PASSWORD, POP3, Address, Mail, trusting
from mailboxes import accounts
from mailboxes.models import Account, DeliveryRecord, Folder, Mailbox, Message, POP3Session

T = TypeVar("T")

PROJECT = Path(settings.BASE_DIR)
# Generous, for the machine may be busy: only a test that fails waits so long.
PATIENCE = 500.0
# SIGTERM gives what runs 25 seconds; a door that takes longer than this has hung.
STOP_PATIENCE = 300.0
DOMAIN = "example.test"
QUOTA = 100_000_000
LOG_SHOWN = 80
# What is under way when a door is stopped may go on for 25 seconds; in a patient house for hours.
PATIENT = (
    "from hosting.serving import door, workers\n"
    "door.DRAIN_SECONDS = 100_000.0\n"
    "workers.GRACE_SECONDS = 200_000.0\n"
)
# PostgreSQL neither copies nor drops a database while somebody is connected to it, and gives who is leaving
# five seconds for it, which is little on a busy machine.
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
SESSIONS_ENDED = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
LISTENS = "0A"  # in /proc/net/tcp: TCP_LISTEN
ANNOUNCED = re.compile(r"\w+: (\w+) on (?:unix:(/.*)|\[?([^]]*)\]?:(\d+))")
FAULT = re.compile(r"^.*( ERROR | CRITICAL |Traceback|Warning: ).*$", re.MULTILINE)
# What a developer's own .env may say and a house of the tests must not hear.
SILENCED = ("CONTENT_S3_BUCKET", "PROXY_NETWORKS", "REDIS_URL", "TLS_CERT", "TLS_KEY")


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until a condition holds; what it gave then. AssertionError says what did not come."""
    deadline = monotonic() + seconds
    while not (value := condition()):
        assert monotonic() < deadline, f"waited {seconds:.0f} seconds for: {what}"
        sleep(0.02)
    return value


class Databases:
    """Where the houses' databases come from: one is migrated, and each house has a copy of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = connections["default"].settings_dict
        self.is_sqlite = self.settings["ENGINE"].endswith("sqlite3")
        self._made: list[str] = []
        self._template = self._name("template")
        if not self.is_sqlite:
            self._create(f'CREATE DATABASE "{self._template}"')
        with self.pointing_at(self._template):
            call_command("migrate", verbosity=0)
            accounts.create_domain(DOMAIN, default_quota=QUOTA)
        if self.is_sqlite:
            with closing(sqlite3.connect(self._template)) as template:
                template.execute("PRAGMA journal_mode=DELETE")  # one file, whole, for copying

    def copy(self, name: str) -> str:
        """Make a database as it is after `migrate`, with one domain; its name."""
        copy = self._name(name)
        if self.is_sqlite:
            Path(copy).write_bytes(Path(self._template).read_bytes())
        else:
            self._wait_for_nobody(SESSIONS, self._template)
            self._create(f'CREATE DATABASE "{copy}" TEMPLATE "{self._template}"')
        return copy

    def url(self, name: str, port: int | None = None) -> str:
        """What DATABASE_URL says of a database; `port`, where something stands before PostgreSQL."""
        if self.is_sqlite:
            return f"sqlite:///{name}"
        at = self.settings
        user = quote(at["USER"]) + (f":{quote(at['PASSWORD'])}" if at["PASSWORD"] else "")
        return f"postgres://{user}@{self.host}:{port or self.port}/{name}"

    @property
    def host(self) -> str:
        return self.settings["HOST"] or "127.0.0.1"

    @property
    def port(self) -> int:
        return int(self.settings["PORT"] or 5432)

    @contextmanager
    def pointing_at(self, name: str) -> Iterator[None]:
        """Let models and verbs of this process speak to that database."""
        connection = connections["default"]
        before = self.settings["NAME"]
        connection.close()
        self.settings["NAME"] = name
        try:
            yield
        finally:
            connection.close()
            self.settings["NAME"] = before

    def drop(self, name: str) -> None:
        if name in self._made:
            self._made.remove(name)
            self._wait_for_nobody(SESSIONS_ENDED, name)
            with closing(self._postgres()) as postgres:
                postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def close(self) -> None:
        for name in list(self._made):
            self.drop(name)

    def _name(self, name: str) -> str:
        return str(self.folder / f"{name}.sqlite3") if self.is_sqlite else f"house_{os.getpid()}_{name}"

    def _create(self, statement: str) -> None:
        with closing(self._postgres()) as postgres:
            postgres.execute(statement.encode())
        self._made.append(statement.split('"')[1])

    def _wait_for_nobody(self, sessions: LiteralString, name: str) -> None:
        with closing(self._postgres()) as postgres:
            until(
                lambda: postgres.execute(sessions, (name,)).fetchone() == (0,), f"everybody to leave {name}"
            )

    def _postgres(self) -> "psycopg.Connection[Any]":
        at = self.settings
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=at["USER"],
            password=at["PASSWORD"] or None,
            dbname="postgres",
            autocommit=True,
        )


class DoorProcess:
    """One `manage.py smtpd` or `pop3d`, and where it listens."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], output: Path) -> None:
        self.name = command[0]
        self.log_path = output.with_suffix(".log")
        self._output = output.with_suffix(".out")
        self.exit_code: int | None = None  # what close() expects: 0, or what the test has seen already
        with self._output.open("wb") as out, self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", str(PROJECT / "manage.py"), *command],
                env=environment,
                cwd=output.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        self.places: dict[str, Address] = {}
        wanted = sum(argument.startswith("--l") or argument == "--smtp" for argument in command)
        try:
            until(lambda: self._announced() >= wanted, f"{self.name} to say where it listens")
        except AssertionError:
            self.kill()
            raise

    def _announced(self) -> int:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        lines = self._output.read_text().splitlines(keepends=True)
        for kind, path, host, port in (m.groups() for line in lines if (m := ANNOUNCED.match(line))):
            self.places[kind] = path or (host, int(port))
        return sum(line.endswith("\n") for line in lines)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self, after: int = 0) -> str:
        return self.log_path.read_bytes()[after:].decode(errors="replace")

    def connections(self, port: int) -> list[int]:
        """Which process holds each TCP connection to a port, also of one that its client has closed.

        The system's table is not read at one moment: while others come and go it may lack one. Wait for it.
        """
        inodes = set()
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                local, _, state, *rest = line.split()[1:]
                if int(local.rpartition(":")[2], 16) == port and state != LISTENS:
                    inodes.add(f"socket:[{rest[5]}]")
        found = []
        for pid in self.children() or [self.pid]:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):  # closed since
                    found += [pid] if os.readlink(descriptor) in inodes else []
        return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def children(self) -> list[int]:
        """Its worker processes."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def memory(self) -> int:
        """Resident octets of the process that serves (the only worker serves in the process itself)."""
        pids = self.children() or [self.pid]
        fields = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in pids]
        return sum(int(pages) for pages in fields) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """SIGTERM, after which a door ends with exit code 0."""
        if self.exit_code is None:
            self.signal(signal.SIGTERM)
            self.wait()
        assert self.exit_code == 0, f"{self.name} ended with {self.exit_code}:\n{self.log()[-5000:]}"

    def wait(self, seconds: float = STOP_PATIENCE) -> int:
        """Until it has ended; its exit code."""
        try:
            self.exit_code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.name} did not end in {seconds:.0f} seconds:\n{self.log()[-5000:]}"
            ) from None
        return self.exit_code

    def kill(self) -> None:
        """SIGKILL to all of it, as from a machine that dies."""
        for pid in [self.pid, *(self.children() if self.process.poll() is None else [])]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(STOP_PATIENCE)
        self.exit_code = 0  # nothing more is expected of it


class House:
    """A folder, a database, and the doors that were started; models and verbs of the tests see the same."""

    def __init__(self, root: Path, databases: Databases, name: str) -> None:
        self.root = root
        self.databases = databases
        self.database = databases.copy(name)
        self.content = root / "content"
        self.doors: list[DoorProcess] = []
        self.faults_expected = False
        self._encoded = ""
        self.settings = {
            "DJANGO_SETTINGS_MODULE": "hosting.settings",
            "SECRET_KEY": "of-a-house-of-the-tests-0123456789-0123456789-0123456789",
            "MAIL_HOSTNAME": "mail.example.test",
            "VAR_ROOT": str(root / "var"),
            "CONTENT_ROOT": str(self.content),
            "SPOOL_ROOT": str(root / "spool"),
            "DATABASE_URL": databases.url(self.database),
            "LOG_LEVEL": "info",
            "TIME_ZONE": "UTC",
        } | dict.fromkeys(SILENCED, "")

    # The doors.

    def smtpd(self, *, listen: Sequence[str] = (), workers: int = 1, **more: str) -> DoorProcess:
        places = listen or ("--lmtp", "127.0.0.1:0", "--smtp", "127.0.0.1:0")
        return self._start(["smtpd", *places, "--workers", str(workers)], more)

    def pop3d(self, *, listen: Sequence[str] = (), workers: int = 1, **more: str) -> DoorProcess:
        places = listen or ("--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0")
        return self._start(["pop3d", *places, "--workers", str(workers)], more)

    def _start(self, command: Sequence[str], more: dict[str, str]) -> DoorProcess:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = inherited | self.settings | more
        door = DoorProcess(command, environment, self.root / f"{command[0]}-{len(self.doors)}")
        self.doors.append(door)
        return door

    def patient(self) -> "House":
        """From now on its doors, when they are stopped, wait for hours for what is under way."""
        (self.root / "sitecustomize.py").write_text(PATIENT)
        self.settings["PYTHONPATH"] = f"{self.root}:{PROJECT}"
        return self

    def start(self) -> "House":
        """Both doors, each one process."""
        self.smtpd()
        self.pop3d()
        return self

    def place(self, kind: str) -> Address:
        """Where `lmtp`, `smtp`, `pop3` or `pop3s` is spoken, by the door that was started last."""
        return next(door.places[kind] for door in reversed(self.doors) if kind in door.places)

    def port(self, kind: str) -> int:
        place = self.place(kind)
        assert not isinstance(place, str)
        return place[1]

    def door(self, name: str) -> DoorProcess:
        return next(door for door in reversed(self.doors) if door.name == name)

    # Its people.

    def open(self, name: str, **options: Any) -> Account:
        """An account at example.test with the password that everybody here has."""
        self._encoded = self._encoded or make_password(PASSWORD)
        with mock.patch.object(accounts, "make_password", return_value=self._encoded):
            return accounts.open_account(f"{name}@{DOMAIN}", PASSWORD, **options)

    def lmtp(self) -> Mail:
        return Mail(self.place("lmtp"), "LHLO", trusting(self.certificate))

    def smtp(self) -> Mail:
        return Mail(self.place("smtp"), "EHLO", trusting(self.certificate))

    def pop3(self, *, tls: bool = False) -> POP3:
        return POP3(self.place("pop3s" if tls else "pop3"), trusting(self.certificate), tls=tls)

    def log_in(self, account: Account | str, *, tls: bool = False) -> POP3:
        """A session of somebody, after login."""
        session = self.pop3(tls=tls)
        answer = session.log_in(account if isinstance(account, str) else account.login)
        assert answer.startswith(b"+OK "), answer
        return session

    @property
    def certificate(self) -> Path:
        return Path(self.settings["TLS_CERT"] or self.root / "var" / "tls" / "self-signed.pem")

    # Its records.

    def box(self, account: Account) -> Mailbox:
        return Mailbox.objects.get(account=account)

    def messages(self, account: Account, kind: str = "inbox") -> list[Message]:
        folder = Folder.objects.get(mailbox__account=account, kind=kind)
        return list(Message.objects.filter(folder=folder).order_by("pk"))

    def sessions(self, login: str, count: int = 1) -> list[POP3Session]:
        """The records of somebody's sessions, once there are so many; there are never more."""
        found = POP3Session.objects.filter(login=login).order_by("ended_at", "pk")
        until(lambda: found.count() >= count, f"{count} session records of {login}")
        return list(found.all())

    def refusals(self, recipient: str, count: int = 1) -> list[DeliveryRecord]:
        """The records of what was refused to somebody, once there are so many."""
        found = DeliveryRecord.objects.filter(recipient=recipient).exclude(code="250 2.0.0").order_by("pk")
        until(lambda: found.count() >= count, f"{count} refusals to {recipient}")
        return list(found.all())

    # The end.

    def logs(self) -> str:
        return "".join(door.log() for door in self.doors)

    def check_logs(self, marks: Sequence[int] = ()) -> None:
        """No fault of ours was logged since the marks, unless the test asked for faults."""
        for door, mark in zip(self.doors, [*marks, *[0] * len(self.doors)], strict=False):
            if not self.faults_expected:
                found = re.search(
                    r"^.*( ERROR | CRITICAL |Traceback|Warning: ).*$", door.log(mark), re.MULTILINE
                )
                assert found is None, f"{door.name} logged {found[0]!r}:\n{door.log(mark)[-5000:]}"

    def marks(self) -> list[int]:
        return [door.log_path.stat().st_size for door in self.doors]

    def close(self) -> None:
        """Stop the doors, as an operator does, and forget the database."""
        try:
            for door in self.doors:
                if door.exit_code is None and door.process.poll() is None:
                    door.signal(signal.SIGTERM)
            for door in self.doors:
                if door.exit_code is None:
                    door.wait()
                assert door.exit_code == 0, f"{door.name} ended with {door.exit_code}:\n{door.log()[-5000:]}"
            self.check_logs()
        finally:
            for door in self.doors:
                if door.process.poll() is None:
                    door.kill()
            self.databases.drop(self.database)

    def show_logs(self) -> None:
        """For pytest, which shows what was printed when a test has failed."""
        for door in self.doors:
            print(f"-- {door.name} (pid {door.pid}) --", *door.log().splitlines()[-LOG_SHOWN:], sep="\n")
