"""Processes die, disks fill, the database goes away: what was answered 250 or +OK holds all the same."""

import os
import random
import socket
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from functools import partial
from time import monotonic, sleep
from zlib import crc32

import pytest
from django.utils import timezone

from hosting.tests.house import PATIENCE, PROJECT, Databases, House, until
from hosting.tests.mail_clients import POP3, Mail, fetched, trusting
from hosting.tests.ports import reserved_port
from mailboxes import retention
from mailboxes.delivery import preamble
from mailboxes.journal import FOLDER, entries_of
from mailboxes.models import Account, Content, DeliveryRecord, Mailbox, Message, POP3Session
from mailboxes.storage import open_content

pytestmark = pytest.mark.processes

GONE = (OSError, EOFError)
FULL_DISK = 3_000_000
CANNOT_OPEN = b"-ERR [SYS/TEMP] cannot open mailboxes now, try again later"
CANNOT_DELETE = b"-ERR [SYS/TEMP] the messages could not be deleted just now; all are still there"


def letter(name: str, size: int = 400) -> bytes:
    return f"Subject: {name}\r\n\r\n".encode() + b"x" * size + b"\r\n"


def name_of(message: bytes) -> str:
    subject, _, body = fetched(message).original.partition(b"\r\n\r\n")
    assert body == b"x" * (len(body) - 2) + b"\r\n", "the content is not whole"
    return subject.removeprefix(b"Subject: ").decode()


class Load:
    """Clients that deliver without a pause; each message has a name of its own.

    `sent` counts how often a name was sent to its end, or may have been; `taken` are those answered 250.
    """

    def __init__(self, house: House, *recipients: str, again: bool = False) -> None:
        self.house = house
        self.recipients = recipients
        self.again = again
        self.sent: Counter[str] = Counter()
        self.taken: list[str] = []
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self._unanswered: list[str] = []
        self._working: list[Future[None]] = []

    def wait_for(self, more: int) -> None:
        """Until so many more are taken; a client that fails ends the wait."""
        enough = len(self.taken) + more

        def taken() -> bool:
            for one in self._working:
                if one.done():
                    one.result()
            return len(self.taken) >= enough

        until(taken, f"{more} messages to be taken")

    @contextmanager
    def running(self, clients: int = 8) -> Iterator[None]:
        self.stop.clear()
        with ThreadPoolExecutor(clients) as pool:
            self._working = [pool.submit(self._work) for _ in range(clients)]
            try:
                yield
            finally:
                self.stop.set()
        for one in self._working:
            one.result()

    def _work(self) -> None:
        while not self.stop.is_set():
            try:
                with self.house.lmtp() as client:
                    while not self.stop.is_set():
                        self._deliver(client)
            except GONE:
                sleep(0.02)

    def _deliver(self, client: Mail) -> None:
        with self._lock:
            if self.again and self._unanswered:
                name = self._unanswered.pop()
            else:
                self._next += 1
                name = f"letter-{self._next}"
        # Now and then one that is spooled to a file; the others are written at once.
        size = 300_000 if crc32(name.encode()) % 40 == 0 else 400
        try:
            self.sent[name] += 1
            replies = client.deliver(letter(name, size), *self.recipients)
        except GONE:
            self._unanswered.append(name)
            raise
        assert {reply.status for reply in replies} == {"250 2.0.0"}
        self.taken.append(name)


def names_in(house: House, account: Account) -> Counter[str]:
    """Every message of an inbox, fetched whole, by name."""
    with house.log_in(account) as session:
        return Counter(map(name_of, session.retrieve_all()))


def assert_store_is_whole(house: House) -> None:
    """Counters are right, every content is there in its full size, and the sweep takes orphans only."""
    for mailbox in Mailbox.objects.all():
        assert retention.recount(mailbox.pk)
        assert mailbox.used_bytes <= mailbox.quota_bytes
    for content in Content.objects.all():
        descriptor = open_content(content.pk)
        assert os.fstat(descriptor).st_size == content.wire_octets
        os.close(descriptor)
    for message in Message.objects.select_related("content"):
        assert message.size == message.content.octets + len(preamble(message.envelope_recipient))

    # A living smtpd files the last of what came at this moment, and a sweep of the day after tomorrow takes
    # what it is writing for long forgotten. One that has stopped has filed all, even orphans.
    for door in house.doors:
        if door.name == "smtpd":
            door.stop()
    retention.sweep(timezone.now() + timedelta(days=2), everything=True)
    assert filed(house) == {key.hex for key in Content.objects.values_list("pk", flat=True)}


def filed(house: House) -> set[str]:
    """The names of all content files, wherever they lie; the journals are none."""
    found = house.content.rglob("*")
    return {path.name for path in found if path.parent.name != FOLDER and path.is_file()}


# -- kill -9 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["sent once", "sent again when unanswered"])
def test_a_killed_smtpd_loses_nothing_that_was_answered_250(own_house: House, again: bool) -> None:
    """A name that was sent n times is there at most n times (a client that hears no answer cannot know, and
    RFC 5321 section 4.5.3.2.6 has it send again), at least once if it was answered, and never in pieces."""
    ann, bob = own_house.open("ann"), own_house.open("bob")
    own_house.pop3d()
    own_house.smtpd()
    load = Load(own_house, ann.login, bob.login, again=again)
    chance = random.Random(7)
    with load.running():
        for _ in range(4):
            load.wait_for(chance.randrange(100, 400))
            own_house.door("smtpd").kill()
            own_house.smtpd()
        load.wait_for(200)
    found = names_in(own_house, ann)
    assert found == names_in(own_house, bob)
    taken = Counter(load.taken)
    assert set(taken.values()) == {1}
    assert set(taken) - set(found) == set(), "answered 250, and lost"
    assert all(found[name] <= load.sent[name] for name in found), "there more often than it was sent"
    if not again:
        assert set(found.values()) == {1}
    stored = DeliveryRecord.objects.filter(code="250 2.0.0").count()
    assert stored == 2 * found.total() == Message.objects.count()
    assert_store_is_whole(own_house)


def test_a_dead_machine_loses_nothing_that_was_answered_250(own_house: House) -> None:
    """kill -9, and whatever only the kernel had of the content files is gone too."""
    # Every 30 seconds the journal has all synced: who is killed just then has little to lose.
    (own_house.root / "sitecustomize.py").write_text(
        "from mailboxes import journal\njournal.INTERVAL = 1e6\n"
    )
    own_house.settings["PYTHONPATH"] = f"{own_house.root}:{PROJECT}"
    ann = own_house.open("ann")
    own_house.pop3d()
    own_house.smtpd()
    load = Load(own_house, ann.login)
    chance = random.Random(11)
    with load.running():
        for _ in range(2):
            load.wait_for(150)
            own_house.door("smtpd").kill()
            # What the journals have is all that was not synced since.
            journals = (own_house.content / FOLDER).glob("*")
            unsynced = [key.hex for path in journals for key, _ in entries_of(path.read_bytes())]
            assert len(unsynced) > 20
            for path in [found for key in unsynced for found in own_house.content.glob(f"*/{key}")]:
                harms: list[Callable[[], object]] = [
                    path.unlink,
                    partial(os.truncate, path, 100),
                    lambda: None,
                ]
                chance.choice(harms)()
            own_house.smtpd()
    found = names_in(own_house, ann)
    assert set(found.values()) == {1}
    assert set(load.taken) - set(found) == set(), "answered 250, and lost"
    assert_store_is_whole(own_house)


def test_a_killed_worker_loses_nothing_that_was_answered_250(own_house: House) -> None:
    ann = own_house.open("ann")
    own_house.pop3d()
    own_house.smtpd(workers=2)
    load = Load(own_house, ann.login)
    with load.running():
        for _ in range(3):
            load.wait_for(150)
            subprocess.run(["/bin/kill", "-KILL", str(own_house.door("smtpd").children()[0])], check=True)
        load.wait_for(150)
    found = names_in(own_house, ann)
    assert set(found.values()) == {1}
    assert set(load.taken) - set(found) == set(), "answered 250, and lost"
    assert set(found) <= set(load.sent)
    assert_store_is_whole(own_house)


def test_a_stopped_smtpd_answers_what_it_has_stored(own_house: House) -> None:
    """SIGTERM under load: what is not answered 250 is not there; nobody has to send anything twice."""
    ann = own_house.patient().open("ann")
    own_house.pop3d()
    own_house.smtpd()
    load = Load(own_house, ann.login)
    with load.running():
        for _ in range(2):
            load.wait_for(200)
            own_house.door("smtpd").stop()
            own_house.smtpd()
    assert names_in(own_house, ann) == Counter(load.taken)
    assert_store_is_whole(own_house)


@pytest.mark.parametrize("choice", ["trash", "expunge"])
def test_a_pop3d_killed_around_quit_has_deleted_all_or_nothing(own_house: House, choice: str) -> None:
    house = own_house
    ann = house.open("ann")
    Mailbox.objects.filter(account=ann).update(pop3_delete=choice)
    house.smtpd()
    answered = 0
    for turn in range(10):
        with house.lmtp() as client:
            for number in range(4):
                [reply] = client.deliver(letter(f"turn-{turn}-{number}"), ann.login)
                assert reply.status == "250 2.0.0"
        pop3d = house.pop3d()
        session = house.log_in(ann)
        before = session.uidls()
        going = sorted(before)[-3:]
        for number in going:
            assert session.ask(f"DELE {number}").startswith(b"+OK ")
        session.send(b"QUIT\r\n")
        # From before the command is read until after the answer is sent.
        deadline = monotonic() + turn * 0.001
        while monotonic() < deadline:
            pass
        pop3d.kill()
        answer = session.rest()
        left = {message.uidl for message in house.messages(ann)}
        marked = {before[number] for number in going}
        assert left in (set(before.values()), set(before.values()) - marked), "neither all nor nothing"
        if answer.startswith(b"+OK"):
            answered += 1
            assert answer == b"+OK 3 messages deleted, goodbye\r\n"
            assert not left & marked, "answered +OK, and not deleted"
        # The record is committed with the deletion, and so is there exactly when that is.
        assert POP3Session.objects.filter(deleted=3, ended="quit").count() == _times(house, ann, choice)
        assert retention.recount(house.box(ann).pk)
    assert_store_is_whole(house)


def _times(house: House, account: Account, choice: str) -> int:
    """How often three messages were removed."""
    delivered = DeliveryRecord.objects.filter(code="250 2.0.0").count()
    gone = delivered - len(house.messages(account))
    if choice == "trash":
        assert gone == len(house.messages(account, "trash"))
    assert gone % 3 == 0
    return gone // 3


# -- the disk is full ---------------------------------------------------------------------------

# Where nothing can be mounted, the door's own process is told by a file how much room there is.
FAULTY_DISK = """
import errno, os
_write, _allowed, _root = os.write, os.environ["DISK_ROOM"], os.environ["CONTENT_ROOT"]
def _size(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:  # put elsewhere or removed since it was listed
        return 0
def _used():
    return sum(_size(os.path.join(at, f)) for at, _, files in os.walk(_root) for f in files)
def write(descriptor, data):
    if os.readlink(f"/proc/self/fd/{descriptor}").startswith(_root):
        with open(_allowed) as file:
            room = int(file.read()) - _used()
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = memoryview(data)[:room]
    return _write(descriptor, data)
os.write = write
"""


class SmallDisk:
    """A content folder with little room: a file system of its own if we may mount one, else pretended."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.content.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={FULL_DISK},mode=700", "none", str(house.content)]
        with suppress(OSError):
            self.mounted = (
                os.geteuid() == 0 and subprocess.run(["mount", *options], capture_output=True).returncode == 0
            )
        if not self.mounted:
            (house.root / "sitecustomize.py").write_text(FAULTY_DISK)
            self._room = house.root / "room"
            self._room.write_text(str(FULL_DISK))
            house.settings |= {"DISK_ROOM": str(self._room), "PYTHONPATH": str(house.root)}

    def enlarge(self) -> None:
        if self.mounted:
            size = f"remount,size={FULL_DISK * 10}"
            subprocess.run(["mount", "-o", size, str(self.house.content)], check=True)
        else:
            self._room.write_text(str(FULL_DISK * 10))

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.house.content)], check=True)


@pytest.fixture(params=["as the system has it", "pretended"])
def small_disk(
    own_house: House, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallDisk]:
    if request.param == "pretended":
        monkeypatch.setattr(os, "geteuid", lambda: 1)
    disk = SmallDisk(own_house)
    yield disk
    for door in own_house.doors:
        door.stop()
    disk.close()


def test_a_full_disk_is_a_temporary_refusal_and_nothing_is_torn(
    own_house: House, small_disk: SmallDisk
) -> None:
    house = own_house
    ann = house.open("ann")
    house.start()
    taken, statuses = [], Counter[str]()
    with house.lmtp() as client:
        for number in range(60):
            # By turns in one write, and spooled to a file; from some on neither has room.
            name = f"letter-{number}"
            [reply] = client.deliver(letter(name, 400_000 if number % 2 else 90_000), ann.login)
            statuses[reply.status] += 1
            if reply.status == "250 2.0.0":
                taken.append(name)
        assert set(statuses) == {"250 2.0.0", "452 4.3.1"}
        assert statuses["452 4.3.1"] > 20
        assert names_in(house, ann) == Counter(taken)
        assert list((house.content / "spool").glob("*")) == []
        small_disk.enlarge()
        # In the same connection, without a restart.
        [reply] = client.deliver(letter("at last", 400_000), ann.login)
        assert reply.status == "250 2.0.0"
    assert names_in(house, ann) == Counter([*taken, "at last"])
    refused = house.refusals(ann.login, statuses["452 4.3.1"])
    assert {record.code for record in refused} == {"452 4.3.1"}
    assert_store_is_whole(house)


# -- the database goes away ---------------------------------------------------------------------


class Switchboard:
    """A TCP proxy before PostgreSQL that can be closed, as when the server or the net is gone."""

    def __init__(self, databases: Databases, port: int) -> None:
        self.target = (databases.host, databases.port)
        self.port = port
        self._lock = threading.Lock()
        self._wires: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        with self._lock:
            if self._listener is not None:
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
            for wire in self._wires:
                with suppress(OSError):
                    wire.shutdown(socket.SHUT_RDWR)
                wire.close()
            self._wires.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                inner, _ = listener.accept()
                with self._lock:
                    if self._listener is not listener:  # who was let in at the last moment stays outside
                        inner.close()
                        return
                    outer = socket.create_connection(self.target)
                    self._wires += [inner, outer]
                for one, other in ((inner, outer), (outer, inner)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        for wire in (one, other):
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)


def test_postgresql_may_go_and_come_back(own_house: House) -> None:
    house = own_house
    if house.databases.is_sqlite:
        _sqlite_may_be_held_by_another(house)
        return
    with reserved_port() as port, closing(Switchboard(house.databases, port)) as switchboard:
        house.settings["DATABASE_URL"] = house.databases.url(house.database, switchboard.port)
        ann = house.open("ann")
        house.start()
        with house.lmtp() as client, house.lmtp() as other:
            assert [r.status for r in client.deliver(letter("before"), ann.login)] == ["250 2.0.0"]
            assert [r.status for r in other.envelope(ann.login)] == ["250 2.1.5"]
            session = house.log_in(ann)
            session.ask("DELE 1")
            house.faults_expected = True
            for _ in range(2):
                switchboard.close()
                # The recipient was known already: the message itself has nowhere to go.
                assert other.ask("DATA").status == "354"
                other.send(letter("lost in between") + b".\r\n")
                assert other.reply().status == "451 4.3.0"
                [rcpt] = client.envelope(ann.login)
                assert rcpt.status == "451 4.3.0"
                assert client.ask("RSET").status == "250 2.0.0"
                refused = house.pop3()
                assert refused.log_in(ann.login) == CANNOT_OPEN
                # What the session has seen it goes on seeing: content is no matter of the database.
                assert session.ask("RSET").startswith(b"+OK ")
                assert name_of(session.retrieve(1)) == "before"
                session.ask("DELE 1")
                assert session.ask("QUIT") == CANNOT_DELETE
                switchboard.open()
                # The same connections, the same processes.
                assert refused.log_in(ann.login).startswith(b"+OK 1 messages")
                session = refused
                [rcpt] = other.envelope(ann.login)
                assert rcpt.status == "250 2.1.5"
            assert other.ask("RSET").status == "250 2.0.0"
            assert [r.status for r in client.deliver(letter("after"), ann.login)] == ["250 2.0.0"]
        session.quit()
        records = Counter(record.ended for record in house.sessions(ann.login, 3))
        assert records == {"update_failed": 2, "quit": 1}
        assert names_in(house, ann) == Counter(["before", "after"])
        assert {r.code for r in house.refusals(ann.login, 4)} == {"451 4.3.0"}
        _assert_nothing_told(house)
        assert_store_is_whole(house)
        for door in house.doors:
            door.stop()


def _another(house: House) -> sqlite3.Connection:
    """Another process's connection, which waits for the doors as long as it takes."""
    return sqlite3.connect(house.database, timeout=PATIENCE, isolation_level=None)


def _sqlite_may_be_held_by_another(house: House) -> None:
    """Another process writes for longer than the doors wait: temporary, and forgotten when it is done."""
    ann = house.open("ann")
    house.start()
    with house.lmtp() as client, closing(_another(house)) as other:
        assert [r.status for r in client.deliver(letter("before"), ann.login)] == ["250 2.0.0"]
        session = house.log_in(ann)
        session.ask("DELE 1")
        house.faults_expected = True
        other.execute("BEGIN EXCLUSIVE")
        client.envelope(ann.login)
        assert client.ask("DATA").status == "354"
        client.send(letter("lost in between") + b".\r\n")
        session.send(b"QUIT\r\n")
        # Readers are not kept waiting.
        with house.log_in(ann) as reader:
            assert name_of(reader.retrieve(1)) == "before"
            assert reader.quit() == b"+OK goodbye"
        assert client.reply().status == "451 4.3.0"
        assert session.line() == CANNOT_DELETE
        other.execute("ROLLBACK")
        assert [r.status for r in client.deliver(letter("after"), ann.login)] == ["250 2.0.0"]
    records = Counter(record.ended for record in house.sessions(ann.login, 2))
    assert records == {"update_failed": 1, "quit": 1}
    assert names_in(house, ann) == Counter(["before", "after"])
    assert [r.code for r in house.refusals(ann.login)] == ["451 4.3.0"]
    _assert_nothing_told(house)
    assert_store_is_whole(house)


def _assert_nothing_told(house: House) -> None:
    """Our own faults tell nothing of the inside, not even to the records that subscribers may be read."""
    texts = DeliveryRecord.objects.exclude(code="250 2.0.0").values_list("reason", flat=True)
    assert set(texts) == {"Mail cannot be stored now, try again later"}


# -- everybody at once --------------------------------------------------------------------------


def test_two_of_each_door_share_one_mailbox_and_never_overshoot_its_quota(own_house: House) -> None:
    house = own_house
    quota = 60_000
    ann = house.open("ann", quota=quota)
    Mailbox.objects.filter(account=ann).update(pop3_delete="expunge")
    doors = [house.smtpd(), house.smtpd(), house.pop3d(), house.pop3d()]
    context = trusting(house.certificate)
    box = house.box(ann).pk
    taken: list[str] = []
    over: list[str] = []
    seen: list[str] = []
    deleted: list[str] = []
    most: list[int] = []
    done = threading.Event()

    def deliver(number: int) -> None:
        place = doors[number % 2].places["lmtp"]
        with Mail(place, "LHLO", context) as client:
            for count in range(100):
                name = f"{number}-{count}"
                # As a sender does: what finds no room is tried again, when the others have fetched some.
                while (status := client.deliver(letter(name), ann.login)[0].status) != "250 2.0.0":
                    assert status == "452 4.2.2"
                    over.append(name)
                    sleep(0.05)
                taken.append(name)

    def fetch(number: int) -> None:
        place = doors[2 + number % 2].places["pop3"]
        until(lambda: over, "the mailbox to be full")
        last = False
        while not last:
            last = done.is_set()
            with POP3(place, context) as session:
                assert session.log_in(ann.login).startswith(b"+OK ")
                names = [name_of(session.retrieve(n)) for n in session.scan()]
                seen.extend(names)
                # By turns: leave a few, so that two sessions want the same ones.
                going = names[: len(names) * 3 // 4] if not last else []
                for at in range(1, len(going) + 1):
                    session.ask(f"DELE {at}")
                assert session.ask("QUIT").startswith(b"+OK ")
                deleted.extend(going)

    def watch() -> None:
        while not done.is_set():
            most.append(Mailbox.objects.values_list("used_bytes", flat=True).get(pk=box))
            sleep(0.005)

    with ThreadPoolExecutor(9) as pool:
        senders = [pool.submit(deliver, number) for number in range(6)]
        others = [pool.submit(fetch, number) for number in range(2)] + [pool.submit(_closing(watch))]
        try:
            for sender in senders:
                sender.result()
        finally:
            done.set()
        for other in others:
            other.result()
    left = names_in(house, ann)
    assert max(most) <= quota
    assert len(taken) == 600 and over
    assert set(left.values()) <= {1}
    assert set(deleted) | set(left) == set(taken), "lost, or never sent"
    assert not set(deleted) & set(left), "answered +OK, and not deleted"
    assert set(seen) <= set(taken)
    assert {r.code for r in house.refusals(ann.login, len(over))} <= {"452 4.2.2"}
    assert_store_is_whole(house)


def _closing(watch: Callable[[], None]) -> Callable[[], None]:
    """A thread of ours that speaks to the database closes its connection."""

    def run() -> None:
        from django.db import connection

        try:
            watch()
        finally:
            connection.close()

    return run
