"""The doors as an operator runs them: several workers, new certificates, balancers before them, no Redis."""

import socket
import ssl
import subprocess
import sys
from collections import Counter
from pathlib import Path
from signal import SIGHUP, SIGTERM
from time import sleep

import pytest
import trustme

from hosting.tests.house import PATIENCE, PROJECT, DoorProcess, House, until
from hosting.tests.mail_clients import POP3, Mail, Wire, fetched, trusting
from mailboxes.models import DeliveryRecord, Message, POP3Session, ProcessBeat
from mailboxes.retention import recount

pytestmark = pytest.mark.processes

LETTER = b"Subject: a letter\r\n\r\nHello\r\n"
# The machine's other loopback address: a network of its own, as far as PROXY_NETWORKS is concerned.
BALANCER = "127.0.0.2"


# -- several workers ----------------------------------------------------------------------------


def test_two_workers_of_each_door_share_a_port_and_the_store(own_house: House) -> None:
    own_house.smtpd(workers=2)
    own_house.pop3d(workers=2)
    ann = own_house.open("ann")
    clients = [own_house.lmtp() for _ in range(12)]
    for number, client in enumerate(clients):
        assert [r.status for r in client.deliver(b"%d\r\n" % number, ann.login)] == ["250 2.0.0"]
    smtpd, port = own_house.door("smtpd"), own_house.port("lmtp")
    until(lambda: len(smtpd.connections(port)) == 12, "twelve connections")
    for _ in range(6):  # a listing that one worker remembers is never older than the mailbox
        with own_house.log_in(ann) as session:
            numbers = [int(fetched(message).original) for message in session.retrieve_all()]
            assert session.quit() == b"+OK goodbye"
        assert numbers == sorted(numbers) == list(range(len(numbers)))
        next_number = b"%d\r\n" % len(numbers)
        assert [r.status for r in clients[0].deliver(next_number, ann.login)] == ["250 2.0.0"]
    assert len(own_house.sessions(ann.login, 6)) == 6
    assert recount(own_house.box(ann).pk)


def test_a_worker_that_dies_is_replaced_and_loses_nothing(own_house: House) -> None:
    own_house.smtpd(workers=2)
    own_house.pop3d(workers=2)
    ann = own_house.open("ann")
    for name in ("smtpd", "pop3d"):
        door = own_house.door(name)
        first, other = _two_workers(door)
        subprocess.run(["/bin/kill", "-KILL", str(first)], check=True)
        while first in _two_workers(door):
            sleep(0.02)
        assert other in door.children()
    for _ in range(8):
        with own_house.lmtp() as client:
            assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
    for _ in range(4):
        with own_house.log_in(ann) as session:
            assert len(session.retrieve_all()) == 8
            session.quit()


def _two_workers(door: DoorProcess) -> list[int]:
    return until(lambda: pids if len(pids := door.children()) == 2 else [], "two workers")


# -- certificates -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def certified(own_house: House, authority: trustme.CA, tmp_path: Path) -> House:
    """A house with a certificate of an authority."""
    own_house.settings |= {"TLS_CERT": str(tmp_path / "cert.pem"), "TLS_KEY": str(tmp_path / "key.pem")}
    _issue(authority, own_house)
    return own_house


def _issue(authority: trustme.CA, house: House, name: str = "localhost") -> None:
    pair = authority.issue_cert(name, key_type=trustme.KeyType.ECDSA)
    Path(house.settings["TLS_KEY"]).write_bytes(pair.private_key_pem.bytes())
    Path(house.settings["TLS_CERT"]).write_bytes(b"".join(b.bytes() for b in pair.cert_chain_pems))


def test_sighup_presents_the_new_certificate_and_breaks_no_connection(
    certified: House, authority: trustme.CA
) -> None:
    house = certified
    house.pop3d(workers=2)
    house.smtpd()
    # Who has not come up when it is told to reload reads what is new by itself, and says nothing of it.
    until(lambda: ProcessBeat.objects.filter(kind="pop3d").count() == 2, "both workers to have come up")
    ann = house.open("ann")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)

    def presented(kind: str) -> bytes:
        if kind == "pop3s":
            session: Wire = POP3(house.place(kind), context, tls=True)
        else:
            session = Mail(house.place(kind), "EHLO", context)
            session.start_tls()
        assert isinstance(session.socket, ssl.SSLSocket)
        certificate = session.socket.getpeercert(binary_form=True)
        session.close()
        assert certificate
        return certificate

    old = {presented(kind) for kind in ("pop3s", "smtp")}
    assert len(old) == 1
    kept = POP3(house.place("pop3s"), context, tls=True)
    assert kept.log_in(ann.login).startswith(b"+OK ")
    _issue(authority, house)
    for door in house.doors:
        door.signal(SIGHUP)
    pop3d, smtpd = house.door("pop3d"), house.door("smtpd")
    until(lambda: pop3d.log().count("certificate reloaded") == 2, "both workers of pop3d to reload")
    until(lambda: "certificate reloaded" in smtpd.log(), "smtpd to reload")
    # Whichever worker answers.
    new = {presented(kind) for kind in ("pop3s", "smtp") for _ in range(6)}
    assert len(new) == 1
    assert not new & old
    assert kept.ask("NOOP").startswith(b"+OK ")
    assert kept.quit() == b"+OK goodbye"
    # A pair that does not match is refused with one line, and what was there goes on.
    house.faults_expected = True
    Path(house.settings["TLS_KEY"]).write_bytes(b"not a key")
    pop3d.signal(SIGHUP)
    refused = "certificate not_reloaded error=TLS_KEY"
    until(lambda: pop3d.log().count(refused) == 2, "a line of each worker about the key")
    assert {presented("pop3s") for _ in range(6)} == new


def test_tls_older_than_1_2_is_refused(house: House) -> None:
    context = trusting(house.certificate)
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(OSError, match=r"(?i)protocol|version|alert|reset|eof"):
        POP3(house.place("pop3s"), context, tls=True)
    with house.pop3(tls=True) as session:
        assert session.greeting.startswith(b"+OK ")


# -- behind a balancer --------------------------------------------------------------------------

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 110\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 7, 192, 0, 2, 1]) + b"\x9c\x40\0\x6e"
V2_IPV6 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + b"\0" * 4
)
V2_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@pytest.fixture
def balanced(own_house: House) -> House:
    own_house.settings["PROXY_NETWORKS"] = f"{BALANCER}/32"
    own_house.settings["POP3_PLAINTEXT_LOGIN"] = "always"
    own_house.start()
    return own_house


def test_the_client_that_the_balancer_names_is_the_peer(
    balanced: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = balanced
    ann = house.open("ann")
    context = trusting(house.certificate)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "create_connection", _from_balancer(socket.create_connection))
        peers = []
        for first, peer in (
            (V1, "203.0.113.7"),
            (V2, "203.0.113.7"),
            (V2_IPV6, "2001:db8::7"),
            (V2_LOCAL, BALANCER),
        ):
            for kind in ("pop3", "pop3s"):
                session = POP3(house.place(kind), context, tls=kind == "pop3s", first=first)
                assert session.log_in(ann.login).startswith(b"+OK ")
                assert session.quit() == b"+OK goodbye"
                peers.append(peer)
        # The header and what follows it in one piece.
        client = Mail(house.place("lmtp"), "LHLO", context, first=V1)
        assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
        client.start_tls()
        assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
        client.close()
    assert Counter(s.peer for s in house.sessions(ann.login, len(peers))) == Counter(peers)
    assert set(DeliveryRecord.objects.values_list("peer", flat=True)) == {"203.0.113.7"}
    with house.log_in(ann) as session:
        assert {fetched(m).client for m in session.retrieve_all()} == {"relay.elsewhere.test ([203.0.113.7])"}


def _from_balancer(create: object) -> object:
    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        return create(address, timeout, (BALANCER, 0))  # type: ignore[operator, no-any-return]

    return connect


def test_a_proxy_header_from_elsewhere_is_no_header(balanced: House) -> None:
    house = balanced
    ann = house.open("ann")
    context = trusting(house.certificate)
    session = POP3(house.place("pop3"), context, first=V1)
    assert session.line().startswith(b"-ERR ")  # to the protocol inside it is an unknown command
    assert session.log_in(ann.login).startswith(b"+OK ")
    session.quit()
    [record] = house.sessions(ann.login)
    assert record.peer == "127.0.0.1"
    with pytest.raises((OSError, EOFError)):
        POP3(house.place("pop3s"), context, tls=True, first=V1)


def test_a_balancer_that_sends_no_header_is_cut_off_and_the_next_is_served(
    balanced: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = balanced
    ann = house.open("ann")
    context = trusting(house.certificate)
    monkeypatch.setattr(socket, "create_connection", _from_balancer(socket.create_connection))
    silent = Wire(house.place("pop3"), context)
    for first in (b"USER ann@example.test\r\n", b"PROXY TCP4 nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\xff\xff"):
        assert Wire(house.place("pop3"), context, first=first).rest() == b""
    session = POP3(house.place("pop3"), context, first=V1)
    assert session.log_in(ann.login).startswith(b"+OK ")
    session.quit()
    assert silent.rest() == b""


# -- what may be missing ------------------------------------------------------------------------


def test_without_redis_the_mail_goes_on(own_house: House) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        own_house.settings["REDIS_URL"] = f"redis://127.0.0.1:{unused.getsockname()[1]}/0"
        own_house.start()
        ann = own_house.open("ann")
        with own_house.lmtp() as client:
            assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
        with own_house.log_in(ann) as session:
            assert session.retrieve(1).endswith(LETTER)
            session.ask("DELE 1")
            assert session.quit() == b"+OK 1 messages deleted, goodbye"
        refused = own_house.pop3().log_in(ann.login, "wrong")
        assert refused == b"-ERR [AUTH] wrong user name or password"


def test_lmtp_over_a_unix_socket_and_over_ipv6(own_house: House, tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    own_house.smtpd(listen=["--lmtp", f"unix:{path}"], workers=2)
    ann = own_house.open("ann")
    assert path.stat().st_mode & 0o777 == 0o660
    for _ in range(3):
        with Mail(str(path), "LHLO", ssl.create_default_context()) as client:
            assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
    assert [m.size for m in own_house.messages(ann)] == [len(_only(own_house, ann.login))] * 3
    # A socket that a killed door has left is no obstacle to the next one.
    own_house.door("smtpd").kill()
    own_house.smtpd(listen=["--lmtp", f"unix:{path}"])
    with Mail(str(path), "LHLO", ssl.create_default_context()) as client:
        assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]


def _only(house: House, login: str) -> bytes:
    house.pop3d()
    with house.log_in(login) as session:
        messages = session.retrieve_all()
    assert {fetched(message).client for message in messages} == {"relay.elsewhere.test (local)"}
    return messages[0]


@pytest.mark.once
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["pop3d"], "pop3d: say where to listen"),
        (["pop3d", "--listen", "127.0.0.1"], "pop3d: listen address '127.0.0.1' has no port"),
        (["smtpd", "--lmtp", "127.0.0.1:99999"], "smtpd: listen address '127.0.0.1:99999' has"),
    ],
)
def test_a_door_that_cannot_start_says_why_in_one_line(
    own_house: House, command: list[str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "manage.py"), *command],
        env=own_house.settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_said_in_one_line(own_house: House) -> None:
    own_house.pop3d()
    port = own_house.port("pop3")
    done = subprocess.run(
        [sys.executable, str(PROJECT / "manage.py"), "pop3d", "--listen", f"127.0.0.1:{port}"],
        env=own_house.settings,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (
        1,
        f"pop3d: cannot listen on 127.0.0.1:{port}: it is already in use by another process\n",
    )


def test_sigterm_ends_a_door_with_idle_sessions_before_it_runs_out_of_patience(own_house: House) -> None:
    own_house.patient().start()
    ann = own_house.open("ann")
    # Those that are not logged in come last: they are given a minute for that.
    idle = [own_house.log_in(ann) for _ in range(10)] + [own_house.pop3() for _ in range(30)]
    mail = [own_house.lmtp() for _ in range(20)]
    for door in own_house.doors:
        door.signal(SIGTERM)
    for door in own_house.doors:
        assert door.wait() == 0
    assert {session.rest()[:17] for session in idle} == {b"-ERR [SYS/TEMP] t"}
    assert {client.rest() for client in mail} == {b"421 4.3.2 Shutting down, try again later\r\n"}
    assert POP3Session.objects.filter(ended="shutdown").count() == 10
    assert Message.objects.count() == 0
