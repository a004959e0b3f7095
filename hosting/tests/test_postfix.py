"""Debian's Postfix, run for real with the configuration of deploy/postfix, as the MX in front of our doors.

It has a configuration, a queue and ports of its own, and leaves the Postfix of the system (if any) alone.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from signal import SIGSTOP
from typing import Any

import pytest
from django.test import Client

from hosting.tests.house import PATIENCE, PROJECT, DoorProcess, House, until
from hosting.tests.mail_clients import SENDER, Mail, Wire, fetched, trusting
from hosting.tests.ports import reserved_port
from mailboxes import accounts, web_sessions
from mailboxes.addresses import add_address
from mailboxes.models import Account, AddressKind, DeliveryRecord, Domain, Mailbox
from mailboxes.retention import recount
from webmail import sessions

pytestmark = pytest.mark.processes

Ports = tuple[int, int, int]  # LMTP, look-ups, policy
LETTER = b"Subject: a letter\r\n\r\nHello\r\n"
# With every trap: dots, an empty line at the end, a line longer than SMTP's 998 octets, UTF-8.
TRICKY = (
    b"From: m@elsewhere.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
    b".\r\n..two\r\n.hidden\r\n" + "Grüße ".encode() * 700 + b"\r\n\tend\r\n\r\n"
)


def _missing() -> str:
    """What this machine lacks for these tests; empty if nothing."""
    if shutil.which("postfix", path="/usr/sbin:/usr/bin") is None:
        return "Postfix is not installed (deploy/install-test-clients.sh does it as root)"
    return "" if os.geteuid() == 0 else "Postfix is started by root only"


needs_postfix = pytest.mark.skipif(bool(_missing()), reason=_missing())


class Postfix:
    """An instance of its own, with our two files and only places and ports changed."""

    def __init__(self, folder: Path, port: int, lmtp: int, lookups: int, policy: int) -> None:
        self.folder, self.etc, self.port = folder, folder / "etc", port
        for name in ("etc", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        for name in ("main.cf", "master.cf"):
            shutil.copyfile(PROJECT / "deploy" / "postfix" / name, self.etc / name)
            (self.etc / name).chmod(0o644)  # whatever mode the checkout has: Postfix complains of a group's
        master = (self.etc / "master.cf").read_text()
        assert len(re.findall(r"^smtp +inet ", master, re.MULTILINE)) == 1
        master = re.sub(r"^smtp +inet ", f"127.0.0.1:{self.port} inet ", master, flags=re.MULTILINE)
        (self.etc / "master.cf").write_text(master)
        self.run(
            *("postconf", "-e"),
            f"queue_directory={folder}/queue",
            f"data_directory={folder}/data",
            f"maillog_file={folder}/log",
            f"maillog_file_prefixes={folder}",
            f"restante_lmtp=inet:127.0.0.1:{lmtp}",
            f"restante_lookups=inet:127.0.0.1:{lookups}",
            f"restante_policy=inet:127.0.0.1:{policy}",
            "inet_interfaces=127.0.0.1",
            "inet_protocols=ipv4",
        )

    def run(self, command: str, *arguments: str) -> str:
        """One of Postfix's own commands, with this instance's configuration."""
        line = [f"/usr/sbin/{command}", "-c", str(self.etc), *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr, self.log())
        return done.stdout

    def start(self) -> None:
        """As our own child, which ends when we do, whatever ends us: `postfix start` would outlive us."""
        self.run("postfix", "check")
        daemons = self.run("postconf", "-h", "daemon_directory").strip()
        master = [f"{daemons}/master", "-c", str(self.etc), "-d"]
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *master])
        until(self._answers, "Postfix to listen")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        with closing(socket.socket()) as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)

    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""

    def queue(self) -> dict[str, tuple[str, list[tuple[str, str]]]]:
        """What waits: by queue id, in which queue, and each recipient with the reason of the last try."""
        found = {}
        for line in self.run("postqueue", "-j").splitlines():
            entry = json.loads(line)
            waiting = [(r["address"], r.get("delay_reason", "")) for r in entry["recipients"]]
            found[entry["queue_id"]] = entry["queue_name"], waiting
        return found

    def deferred(self, count: int = 1) -> list[tuple[str, str]]:
        """The recipients that wait with a reason, once there are so many and nobody is being served."""

        def settled() -> list[tuple[str, str]]:
            queue = self.queue().values()
            waiting = [recipient for name, recipients in queue for recipient in recipients]
            done = all(name == "deferred" for name, _ in queue) and all(reason for _, reason in waiting)
            return waiting if done and len(waiting) == count else []

        return until(settled, f"{count} recipients deferred; the queue is {self.queue()}")

    def flush_until_empty(self) -> None:
        self.run("postqueue", "-f")
        until(lambda: not self.queue(), "the queue to become empty")


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Where LMTP is spoken and Postfix's questions are answered, before and after a restart of smtpd."""
    with reserved_port() as lmtp, reserved_port() as lookups, reserved_port() as policy:
        yield lmtp, lookups, policy


@pytest.fixture
def postfix(ports: Ports) -> Iterator[Postfix]:
    # Not under pytest's folder, into which only its owner may go.
    with tempfile.TemporaryDirectory(prefix="restante-postfix-") as name, reserved_port() as port:
        Path(name).chmod(0o755)
        postfix = Postfix(Path(name), port, *ports)
        postfix.start()
        try:
            yield postfix
        finally:
            print("-- Postfix --", *postfix.log().splitlines()[-60:], sep="\n")
            postfix.stop()


@pytest.fixture
def smtpd(own_house: House, ports: Ports) -> Callable[..., DoorProcess]:
    """Starts smtpd at the ports that Postfix knows: LMTP, look-ups, policy, or all of them."""

    def start(*kinds: str, **settings: Any) -> DoorProcess:
        places = dict(zip(("--lmtp", "--recipients", "--policy"), ports, strict=True))
        wanted = kinds or tuple(places)
        listen = [word for kind in wanted for word in (kind, f"127.0.0.1:{places[kind]}")]
        door = own_house.smtpd(listen=listen, **settings)
        until(lambda: door._announced() == len(wanted), "smtpd to listen everywhere")
        return door

    return start


def mail_to(postfix: Postfix, house: House) -> Mail:
    return Mail(("127.0.0.1", postfix.port), "EHLO", trusting(house.certificate))


def send(postfix: Postfix, house: House, *recipients: Account, raw: bytes = LETTER) -> None:
    """One message that Postfix takes for all of its recipients."""
    with mail_to(postfix, house) as client:
        answers = client.envelope(*[recipient.login for recipient in recipients])
        assert [answer.status for answer in answers] == ["250 2.1.5"] * len(recipients)
        assert client.ask("DATA").status == "354"
        client.send(raw.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert client.reply().status == "250 2.0.0"
        assert client.ask("QUIT").status == "221 2.0.0"


def refusal(postfix: Postfix, house: House, recipient: str) -> str:
    """How Postfix answers RCPT, without its text."""
    with mail_to(postfix, house) as client:
        [answer] = client.envelope(recipient)
        return answer.status


def inbox(house: House, account: Account) -> list[bytes]:
    """What somebody fetches by POP3: what came behind the headers that the house and Postfix have written."""
    with house.log_in(account) as session:
        messages = [fetched(message) for message in session.retrieve_all()]
        assert session.quit() == b"+OK goodbye"
    assert [message.recipient for message in messages] == [account.login] * len(messages)
    received = re.compile(rb"Received: from relay\.elsewhere\.test [^\r]*\r\n(\t[^\r\n]*\r\n)+")
    originals = []
    for message in messages:
        header = received.match(message.original)
        assert header, message.original[:500]
        originals.append(message.original[header.end() :])
    return originals


def give_quota(account: Account, octets: int) -> None:
    Mailbox.objects.filter(account=account).update(quota_bytes=octets)


# -- mail in, mail out --------------------------------------------------------------------------


@needs_postfix
def test_a_letter_walks_by_smtp_lmtp_and_pop3_and_is_not_changed(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    smtpd()
    own_house.pop3d()
    ann, bob = own_house.open("ann"), own_house.open("bob")
    send(postfix, own_house, ann, bob, raw=TRICKY)
    until(lambda: own_house.messages(ann) and own_house.messages(bob), "two deliveries")
    assert inbox(own_house, ann) == inbox(own_house, bob) == [TRICKY]
    until(lambda: not postfix.queue(), "the queue to become empty")
    assert re.findall(r"^.* (?:warning|error|fatal|panic): .*$", postfix.log(), re.MULTILINE) == []


@needs_postfix
def test_who_is_unknown_is_refused_at_rcpt_and_who_is_known_by_any_name_is_not(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    smtpd()
    ann, bob, closed = (own_house.open(name) for name in ("ann", "bob", "closed"))
    add_address("office@example.test", AddressKind.ALIAS, [ann.mailbox, bob.mailbox])
    accounts.set_service(bob, "receiving", False)
    accounts.suspend(ann, "unpaid")
    accounts.close(closed)
    answers = {
        "ann@example.test": "250 2.1.5",
        "ANN@Example.Test": "250 2.1.5",
        "ann+shop@example.test": "250 2.1.5",
        "office@example.test": "250 2.1.5",
        "bob@example.test": "450 4.2.1",
        "closed@example.test": "550 5.1.1",
        "nobody@example.test": "550 5.1.1",
        "ann@elsewhere.test": "554 5.7.1",
        "ann": "554 5.7.1",
    }
    assert {name: refusal(postfix, own_house, name) for name in answers} == answers
    Domain.objects.update(catch_all=own_house.box(ann))
    assert refusal(postfix, own_house, "nobody@example.test") == "250 2.1.5"
    assert refusal(postfix, own_house, "closed@example.test") == "550 5.1.1"
    assert postfix.queue() == {}


@needs_postfix
def test_what_postfix_refuses_is_on_the_time_line_and_found_with_sender_and_address(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess], settings: Any
) -> None:
    """An unknown recipient is found by its name and by the client's address, ann's on her time line."""
    settings.CONSOLE_SECOND_FACTOR = "optional"
    smtpd()
    ann, full = own_house.open("ann"), own_house.open("full", quota=100)
    operator = own_house.open("olga", role="operator")
    accounts.set_service(ann, "receiving", False)
    with mail_to(postfix, own_house) as client:
        told = client.envelope("nobody@example.test", "ann+shop@example.test", "m@elsewhere.test")
        assert [answer.status for answer in told] == ["550 5.1.1", "450 4.2.1", "554 5.7.1"]
        # In the words that our own door has.
        assert told[0].text.endswith(": No such mailbox here")
        assert client.ask("RSET").status == "250 2.0.0"
        [answer] = client.envelope(full.login, options=" SIZE=1000")
        assert answer.status == "452 4.2.2"
    recorded = [own_house.refusals(name)[0] for name in ("nobody@example.test", "ann+shop@example.test")]
    recorded += own_house.refusals(full.login)
    assert {(one.door, one.sender, one.peer, one.helo) for one in recorded} == {
        ("postfix", SENDER, "127.0.0.1", "relay.elsewhere.test")
    }
    assert [(one.code, one.reason, one.octets, one.mailbox_id) for one in recorded] == [
        ("550 5.1.1", "No such mailbox here", 0, None),
        ("450 4.2.1", "Mailbox is suspended, try again later", 0, own_house.box(ann).pk),
        ("452 4.2.2", "Mailbox is full, try again later", 1000, own_house.box(full).pk),
    ]
    assert DeliveryRecord.objects.count() == 3  # the foreign domain is Postfix's own affair
    browser = at_the_desk(operator)
    for path, says in (
        ("/console/find/?q=nobody%40example.test", ("550 5.1.1", SENDER, "postfix 127.0.0.1")),
        ("/console/find/?q=127.0.0.1", ("nobody@example.test", "ann+shop@example.test", full.login)),
        (f"/console/accounts/{ann.pk}/", ("450 4.2.1", SENDER, "through postfix", "127.0.0.1")),
        (f"/console/accounts/{full.pk}/", ("452 4.2.2", SENDER, "through postfix", "127.0.0.1")),
    ):
        response = browser.get(path)
        text = " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())
        assert [word for word in says if word not in text] == [], text


def at_the_desk(account: Account) -> Client:
    """A browser in which somebody is logged in."""
    browser = Client()
    browser.force_login(account)
    session = browser.session
    name = web_sessions.begin(account.pk, account.login, peer="127.0.0.1", program="a test")
    sessions.sign(session, account, name)
    session.save()
    return browser


@needs_postfix
def test_a_refused_recipient_does_not_keep_the_others_from_their_letter(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    smtpd()
    own_house.pop3d()
    ann = own_house.open("ann")
    with mail_to(postfix, own_house) as client:
        answers = client.deliver(LETTER, "nobody@example.test", ann.login)
        assert [answer.status for answer in answers] == ["250 2.0.0"]
    until(lambda: own_house.messages(ann), "the delivery")
    assert inbox(own_house, ann) == [LETTER]
    # Postfix takes it from there when it has heard the answer, which is after the delivery.
    until(lambda: not postfix.queue(), "the queue to become empty")


# -- outages ------------------------------------------------------------------------------------


@needs_postfix
def test_while_lmtp_is_away_mail_waits_in_the_queue_and_comes_once(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    """The questions have a process of their own here, and are answered on."""
    smtpd("--recipients", "--policy")
    lmtp = smtpd("--lmtp")
    own_house.pop3d()
    ann, bob = own_house.open("ann"), own_house.open("bob")
    lmtp.stop()
    send(postfix, own_house, ann, bob)
    send(postfix, own_house, ann, raw=b"Subject: another\r\n\r\n")
    for address, reason in postfix.deferred(3):
        assert address in {ann.login, bob.login}
        assert "Connection refused" in reason
    assert refusal(postfix, own_house, "nobody@example.test") == "550 5.1.1"
    smtpd("--lmtp")
    postfix.flush_until_empty()
    assert sorted(inbox(own_house, ann)) == [LETTER, b"Subject: another\r\n\r\n"]
    assert inbox(own_house, bob) == [LETTER]
    assert recount(own_house.box(ann).pk)
    assert "status=bounced" not in postfix.log()


@needs_postfix
def test_while_all_of_smtpd_is_away_nobody_is_told_550_and_what_was_taken_waits(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    door = smtpd()
    own_house.pop3d()
    ann, bob = own_house.open("ann"), own_house.open("bob")
    with mail_to(postfix, own_house) as client:
        assert [answer.status for answer in client.envelope(ann.login)] == ["250 2.1.5"]
        door.stop()
        assert client.ask("DATA").status == "354"
        client.send(LETTER + b".\r\n")
        assert client.reply().status == "250 2.0.0"
    for recipient in ("cat@example.test", "nobody@example.test", "ann@elsewhere.test"):
        # 4.3.0 where it wanted to know the domain, 4.3.5 where it knew that and wanted to know the recipient.
        assert refusal(postfix, own_house, recipient)[:7] == "451 4.3"
    [(address, _)] = postfix.deferred()
    assert address == ann.login
    smtpd()
    # The queue manager remembers for 30 seconds what became of the last address; let there be another.
    send(postfix, own_house, bob)
    until(lambda: own_house.messages(bob), "the delivery")
    postfix.flush_until_empty()
    assert inbox(own_house, ann) == [LETTER]
    assert inbox(own_house, bob) == [LETTER]
    assert refusal(postfix, own_house, "unknown@example.test") == "550 5.1.1"
    assert "status=bounced" not in postfix.log()


@needs_postfix
def test_while_the_database_is_away_nobody_is_told_550(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    own_house.faults_expected = True
    door = smtpd(DATABASE_URL="postgres://restante@127.0.0.1:1/restante")
    ann, bob = own_house.open("ann"), own_house.open("bob")
    for recipient in (ann.login, "nobody@elsewhere.test", "ann@elsewhere.test"):
        assert refusal(postfix, own_house, recipient) == "451 4.3.0"
    door.stop()
    smtpd()
    assert refusal(postfix, own_house, bob.login) == "250 2.1.5"
    # For whom it was told 'later', a process of Postfix says so until it has served 100 clients.
    until(lambda: refusal(postfix, own_house, ann.login) == "250 2.1.5", "Postfix to ask again")
    assert refusal(postfix, own_house, "nobody@example.test") == "550 5.1.1"


@needs_postfix
def test_smtpd_killed_while_a_letter_is_handed_over_brings_it_once(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    smtpd("--recipients", "--policy")
    own_house.pop3d()
    ann = own_house.open("ann")
    large = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 300_000
    lmtp = smtpd("--lmtp")
    lmtp.signal(SIGSTOP)  # it takes the connection, and hangs
    send(postfix, own_house, ann, raw=large)
    until(lambda: any(name == "active" for name, _ in postfix.queue().values()), "Postfix to hand it over")
    lmtp.kill()
    [(_, reason)] = postfix.deferred()
    assert re.search(r"lost connection|refused", reason), reason
    assert own_house.messages(ann) == []
    smtpd("--lmtp")
    postfix.flush_until_empty()
    assert inbox(own_house, ann) == [large]


# -- no room ------------------------------------------------------------------------------------


@needs_postfix
def test_mail_for_a_full_mailbox_waits_until_there_is_room_and_comes_once(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    smtpd()
    own_house.pop3d()
    ann = own_house.open("ann", quota=400)
    send(postfix, own_house, ann, raw=LETTER + b"y" * 400 + b"\r\n")
    [(address, reason)] = postfix.deferred()
    assert (address, re.findall(r"said: (\d{3} \S+)", reason)) == (ann.login, ["452 4.2.2"])
    postfix.run("postqueue", "-f")
    until(lambda: postfix.log().count("status=deferred") >= 2, "another try")
    assert postfix.deferred() == [(address, reason)]
    assert inbox(own_house, ann) == []
    give_quota(ann, 100_000)
    postfix.flush_until_empty()
    assert inbox(own_house, ann) == [LETTER + b"y" * 400 + b"\r\n"]
    assert recount(own_house.box(ann).pk)


@needs_postfix
def test_of_three_recipients_the_full_one_waits_and_nobody_gets_it_twice(
    own_house: House, postfix: Postfix, smtpd: Callable[..., DoorProcess]
) -> None:
    smtpd()
    own_house.pop3d()
    ann, full, cat = own_house.open("ann"), own_house.open("full", quota=100), own_house.open("cat")
    send(postfix, own_house, ann, full, cat)
    [(address, reason)] = postfix.deferred()
    assert (address, re.findall(r"said: (\d{3} \S+)", reason)) == (full.login, ["452 4.2.2"])
    assert [inbox(own_house, each) for each in (ann, full, cat)] == [[LETTER], [], [LETTER]]
    give_quota(full, 100_000)
    postfix.flush_until_empty()
    assert [inbox(own_house, each) for each in (ann, full, cat)] == [[LETTER]] * 3


# -- the configuration --------------------------------------------------------------------------


@needs_postfix
def test_postfix_finds_nothing_wrong_or_unused_in_the_configuration(
    postfix: Postfix, own_house: House
) -> None:
    for command in (["postconf", "-n"], ["postconf", "-M"], ["postfix", "check"]):
        line = [f"/usr/sbin/{command[0]}", "-c", str(postfix.etc), *command[1:]]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=True)
        assert done.stderr == ""


def _parameters() -> dict[str, str]:
    text = (PROJECT / "deploy" / "postfix" / "main.cf").read_text()
    lines = re.sub(r"\n[ \t]+", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    pairs = [line.partition("=") for line in lines if line]
    return {name.strip(): value.strip() for name, _, value in pairs}


def test_what_postfix_takes_is_never_too_large_for_smtpd(settings: Any) -> None:
    least_for_headers = 64 * 1024
    assert int(_parameters()["message_size_limit"]) + least_for_headers <= settings.MESSAGE_SIZE_LIMIT


def test_postfix_relays_for_nobody() -> None:
    assert _parameters()["smtpd_relay_restrictions"] == "reject_unauth_destination"
    assert [name for name, value in _parameters().items() if "permit" in value] == []


# -- the door itself, without Postfix -----------------------------------------------------------


def netstring(data: bytes) -> bytes:
    return b"%d:%b," % (len(data), data)


def ask(port: int, house: House, *requests: bytes) -> bytes:
    with Wire(("127.0.0.1", port), trusting(house.certificate)) as wire:
        wire.send(b"".join(map(netstring, requests)))
        wire.socket.shutdown(socket.SHUT_WR)
        return wire.rest()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_door_answers_look_ups_in_their_order(own_house: House, ports: Ports, workers: int) -> None:
    door = own_house.smtpd(listen=["--recipients", f"127.0.0.1:{ports[1]}"], workers=workers)
    until(lambda: door._announced() == 1, "smtpd to listen")
    own_house.open("ann")
    said = ask(
        ports[1],
        own_house,
        b"recipients ann@example.test",
        b"recipients nobody@example.test",
        b"domains example.test",
        b"access ann@example.test",
        b"aliases ann@example.test",
    )
    wrong = b"PERM no such map: there are domains, recipients and access"
    assert said == b"".join(map(netstring, [b"OK here", b"NOTFOUND ", b"OK here", b"NOTFOUND ", wrong]))


def test_a_database_that_is_away_is_said_to_be_temporary(
    own_house: House, smtpd: Callable[..., DoorProcess], ports: Ports
) -> None:
    own_house.faults_expected = True
    smtpd("--recipients", DATABASE_URL="postgres://restante@127.0.0.1:1/restante")
    temporary = netstring(b"TEMP the store does not answer, try again later")
    requests: Sequence[bytes] = [
        b"recipients ann@example.test",
        b"domains x.test",
        b"access ann@example.test",
    ]
    assert ask(ports[1], own_house, *requests) == temporary * 3
    assert "ann@" not in own_house.logs()


def test_connections_beyond_the_limit_are_told_to_try_again(
    own_house: House, smtpd: Callable[..., DoorProcess], ports: Ports
) -> None:
    smtpd("--recipients", SMTPD_MAX_CONNECTIONS_PER_ADDRESS="1")
    with Wire(("127.0.0.1", ports[1]), trusting(own_house.certificate)) as first:
        first.send(netstring(b"domains example.test"))
        until(first.hear, "an answer")
        assert ask(ports[1], own_house) == netstring(b"TEMP too many connections, try again later")


def test_what_is_no_look_up_ends_the_connection(
    own_house: House, smtpd: Callable[..., DoorProcess], ports: Ports
) -> None:
    smtpd("--recipients")
    with Wire(("127.0.0.1", ports[1]), trusting(own_house.certificate)) as wire:
        wire.send(b"EHLO relay.elsewhere.test\r\n" + b"x" * 100_000)
        assert wire.rest() == netstring(b"PERM malformed request, closing the connection")
    assert ask(ports[1], own_house, b"domains example.test") == netstring(b"OK here")


# -- its policy questions, without Postfix ------------------------------------------------------


def question(recipient: str, state: str = "RCPT", **more: str) -> bytes:
    given = {"request": "smtpd_access_policy", "protocol_state": state, "recipient": recipient} | more
    return "".join(f"{name}={value}\n" for name, value in given.items()).encode() + b"\n"


def ask_policy(port: int, house: House, *questions: bytes) -> list[str]:
    """The actions."""
    with Wire(("127.0.0.1", port), trusting(house.certificate)) as wire:
        wire.send(b"".join(questions))
        wire.socket.shutdown(socket.SHUT_WR)
        said = wire.rest().decode()
    assert not said or said.endswith("\n\n")
    return [action.removeprefix("action=") for action in said.split("\n\n")[:-1]]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_policy_says_what_lmtp_would_say_and_writes_it_down_once(
    own_house: House, ports: Ports, workers: int
) -> None:
    listen = ["--policy", f"127.0.0.1:{ports[2]}", "--lmtp", "127.0.0.1:0"]
    door = own_house.smtpd(listen=listen, workers=workers)
    until(lambda: door._announced() == 2, "smtpd to listen")
    own_house.open("ann")
    closed, off = own_house.open("closed"), own_house.open("off")
    accounts.close(closed)
    accounts.set_service(off, "receiving", False)
    names = [f"{name}@example.test" for name in ("ann", "nobody", "closed", "off")]
    said = ask_policy(ports[2], own_house, *(question(name, sender="m@x.test") for name in names))
    with own_house.lmtp() as client:
        replies = [f"{reply.status[:3]} {reply.text}" for reply in client.envelope(*names)]
    assert said[0] == "DUNNO"
    assert said[1:] == replies[1:]
    for name in names[1:]:
        ours, lmtps = sorted(own_house.refusals(name, 2), key=lambda one: one.door != "postfix")
        assert (ours.code, ours.reason, ours.mailbox_id) == (lmtps.code, lmtps.reason, lmtps.mailbox_id)
        assert (ours.door, ours.sender, lmtps.door) == ("postfix", "m@x.test", "lmtp")
    assert DeliveryRecord.objects.count() == 6


def test_the_policy_has_an_opinion_at_rcpt_only_and_of_domains_of_ours(
    own_house: House, smtpd: Callable[..., DoorProcess], ports: Ports
) -> None:
    smtpd("--policy")
    states = ("CONNECT", "MAIL", "DATA", "END-OF-MESSAGE", "VRFY")
    asked = [question("nobody@example.test", state) for state in states]
    asked.append(question("ann@elsewhere.test"))
    asked.append(question("nobody@example.test", sender="last@x.test", helo_name="a\x01b" * 300))
    assert ask_policy(ports[2], own_house, *asked) == ["DUNNO"] * 6 + ["550 5.1.1 No such mailbox here"]
    [refused] = own_house.refusals("nobody@example.test")
    assert (refused.sender, refused.helo) == ("last@x.test", ("a?b" * 300)[:255])
    assert DeliveryRecord.objects.count() == 1


def test_the_policy_never_refuses_for_good_what_is_our_own_fault(
    own_house: House, smtpd: Callable[..., DoorProcess], ports: Ports
) -> None:
    own_house.faults_expected = True
    smtpd("--policy", DATABASE_URL="postgres://restante@127.0.0.1:1/restante")
    later = "DEFER_IF_PERMIT 4.3.0 Mail cannot be stored now, try again later"
    assert ask_policy(ports[2], own_house, question("nobody@example.test")) == [later]


def test_the_policy_is_silent_to_what_is_no_question_and_to_who_has_no_place(
    own_house: House, smtpd: Callable[..., DoorProcess], ports: Ports
) -> None:
    smtpd("--policy", SMTPD_MAX_CONNECTIONS_PER_ADDRESS="1")
    with Wire(("127.0.0.1", ports[2]), trusting(own_house.certificate)) as first:
        first.send(question("ann@elsewhere.test"))
        until(first.hear, "an answer")
        assert ask_policy(ports[2], own_house) == []
        first.send(b"EHLO relay.elsewhere.test\r\n")
        assert first.rest() == b"action=DUNNO\n\n"
