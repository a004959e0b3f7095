"""Mail programs that people use fetch all sample mail from the real house, octet for octet."""

import os
import poplib
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterable, Sequence
from mailbox import Maildir
from pathlib import Path

import pytest

from hosting.tests.house import House, until
from hosting.tests.mail_clients import PASSWORD, fetched
from mailboxes.models import Account, POP3Session

pytestmark = [pytest.mark.clients, pytest.mark.processes]

# A mail program that hangs is a failed test, not a hanging one.
CLIENT_SECONDS = 500


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"the mail program {name} is not installed")
    return path


def run(
    *command: str | Path,
    codes: Sequence[int] = (0,),
    cwd: Path | None = None,
    seconds: float = CLIENT_SECONDS,
) -> str:
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd or "/nonexistent"), "LANG": "C", "LC_ALL": "C"},
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its children, who hold its pipe
            raise
    assert process.returncode in codes, f"{command[0]} ended with {process.returncode}:\n{said}"
    return said


@pytest.fixture
def ann(house: House, corpus: dict[str, bytes], request: pytest.FixtureRequest) -> Account:
    """Somebody with all sample mail in the inbox."""
    account = house.open(re.sub(r"\W+", "-", request.node.name).strip("-").lower()[:50], quota=1_000_000_000)
    with house.lmtp() as client:
        for name, raw in corpus.items():
            assert client.deliver_chunks(raw, account.login, 1 << 20).status == "250 2.0.0", name
    return account


@pytest.fixture
def sent(house: House, ann: Account, corpus: dict[str, bytes]) -> list[bytes]:
    """What is to be fetched, as our own client sees it."""
    with house.log_in(ann) as session:
        messages = session.retrieve_all()
        session.quit()
    assert len(messages) == len(corpus)
    assert all(fetched(message).recipient == ann.login for message in messages)
    return messages


def lines_of(message: bytes) -> bytes:
    """What a program that keeps mail in files of its own system makes of it: LF line ends."""
    return message.replace(b"\r\n", b"\n")


def by_id(messages: Iterable[bytes]) -> dict[bytes, bytes]:
    """Messages by the transaction that brought them, which stands in our Received field."""
    found = [(re.search(rb" id ([0-9a-f]{16});", message), message) for message in messages]
    return {match[1]: message for match, message in found if match is not None}


def assert_same(
    got: Iterable[bytes], sent: Iterable[bytes], kept: Callable[[bytes], object] = lambda message: message
) -> None:
    """The messages are the same, as far as the program keeps them."""
    had, has = by_id(sent), by_id(got)
    assert has.keys() == had.keys()
    for key, message in had.items():
        assert kept(has[key]) == kept(message)


def assert_nothing_more_is_fetched(
    house: House, ann: Account, sent: list[bytes], again: Callable[[], object]
) -> None:
    """The program has fetched everything once, as our own client had; run again, it fetches nothing."""
    before = until(lambda: _records(house, ann, 2 * len(sent)), "a record of all that was fetched")
    again()
    after = house.sessions(ann.login, len(before) + 1)
    assert _fetched(after) == 2 * len(sent)
    assert {(record.ended, record.deleted) for record in after} == {("quit", 0)}


def _records(house: House, ann: Account, fetched: int) -> list[POP3Session]:
    records = house.sessions(ann.login)
    return records if _fetched(records) >= fetched else []


def _fetched(records: Iterable[POP3Session]) -> int:
    # fetchmail fetches whole messages by `TOP n 99999999`, so that a server does not think them read.
    return sum(record.fetched + record.tops for record in records)


# -- Python's own -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "stls", "implicit"])
def test_poplib(
    house: House, ann: Account, sent: list[bytes], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It refuses lines over 2,048 octets, which real mail has.
    monkeypatch.setattr(poplib, "_MAXLINE", 1 << 20)
    context = ssl.create_default_context(cafile=house.certificate)
    port = house.port("pop3s" if way == "implicit" else "pop3")
    if way == "implicit":
        client: poplib.POP3 = poplib.POP3_SSL("localhost", port, context=context, timeout=CLIENT_SECONDS)
    else:
        client = poplib.POP3("127.0.0.1", port, timeout=CLIENT_SECONDS)
        client.host = "localhost"
    if way == "stls":
        client.stls(context)
    client.user(ann.login)
    client.pass_(PASSWORD)
    assert client.stat() == (len(sent), sum(map(len, sent)))
    got = []
    for line in client.list()[1]:
        number, size = map(int, line.split())
        _, lines, octets = client.retr(number)
        # It counts the octets as they came, dots that were stuffed left out.
        assert octets == size
        got.append(b"".join(line + b"\r\n" for line in lines))
    assert got == sent
    assert len({line.split()[1] for line in client.uidl()[1]}) == len(sent)
    client.dele(1)
    assert client.quit() == b"+OK 1 messages deleted, goodbye"
    assert len(house.messages(ann)) == len(sent) - 1


# -- curl ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "stls", "implicit"])
def test_curl(house: House, ann: Account, sent: list[bytes], way: str, tmp_path: Path) -> None:
    curl = program("curl")
    scheme, port = ("pop3s", house.port("pop3s")) if way == "implicit" else ("pop3", house.port("pop3"))
    url = f"{scheme}://localhost:{port}"
    options = ["--silent", "--show-error", "--user", f"{ann.login}:{PASSWORD}", "--ipv4"]
    if way != "plain":
        options += ["--ssl-reqd", "--cacert", str(house.certificate)]
    listing = run(curl, *options, url).split()
    assert listing[1::2] == [str(len(message)) for message in sent]
    # One connection for all of them.
    run(curl, *options, f"{url}/[1-{len(sent)}]", "--output", tmp_path / "#1.eml")
    for number, message in enumerate(sent, 1):
        assert (tmp_path / f"{number}.eml").read_bytes() == message, number
    assert run(curl, *options, "--request", "UIDL", url).split()[1::2] == [
        m.uidl for m in house.messages(ann)
    ]


# -- fetchmail ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "stls", "implicit"])
def test_fetchmail(house: House, ann: Account, sent: list[bytes], way: str, tmp_path: Path) -> None:
    fetchmail = program("fetchmail")
    port = house.port("pop3s" if way == "implicit" else "pop3")
    folder = tmp_path / "mail"
    folder.mkdir()
    mda = _script(tmp_path, f'exec cat > "$(mktemp {folder}/XXXXXXXXXX)"')
    tls = {
        "plain": "sslproto ''",
        "stls": f"sslproto 'tls1.2+' sslcertck sslcertfile '{house.certificate}' sslcommonname 'localhost'",
        "implicit": f"ssl sslcertck sslcertfile '{house.certificate}' sslcommonname 'localhost'",
    }[way]
    rc = tmp_path / "fetchmailrc"
    rc.write_text(
        f"set no bouncemail set no spambounce set invisible set idfile '{tmp_path}/ids'\n"
        f"poll localhost protocol pop3 bad-header accept port {port}"
        f" uidl no envelope user '{ann.login}' password '{PASSWORD}' {tls} keep no rewrite no mimedecode"
        f" no forcecr no dropstatus no dropdelivered mda '{mda}'\n"
    )
    rc.chmod(0o600)
    command = [fetchmail, "--fetchmailrc", str(rc), "--pidfile", str(tmp_path / "pid"), "--nosyslog"]
    run(*command, cwd=tmp_path)
    got = [path.read_bytes() for path in folder.iterdir()]
    assert_same(got, map(lines_of, sent), _without_mbox_lines)
    # 1: no new mail.
    assert_nothing_more_is_fetched(house, ann, sent, lambda: run(*command, cwd=tmp_path, codes=[1]))
    assert len(list(folder.iterdir())) == len(sent)


def _without_mbox_lines(message: bytes) -> bytes:
    """It takes the `From ` line of an mbox out of a header, and ends a header that nothing follows."""
    header, end, body = message.rstrip(b"\n").partition(b"\n\n")
    return re.sub(rb"(?m)^From .*\n", b"", header) + end + body


# -- mpop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "stls", "implicit"])
def test_mpop(house: House, ann: Account, sent: list[bytes], way: str, tmp_path: Path) -> None:
    mpop = program("mpop")
    port = house.port("pop3s" if way == "implicit" else "pop3")
    Maildir(tmp_path / "mail", create=True).close()
    rc = tmp_path / "mpoprc"
    tls = {
        "plain": "tls off",
        "stls": f"tls on\ntls_starttls on\ntls_trust_file {house.certificate}",
        "implicit": f"tls on\ntls_starttls off\ntls_trust_file {house.certificate}",
    }[way]
    rc.write_text(
        f"account ann\nhost localhost\nport {port}\n"
        f"user {ann.login}\npassword {PASSWORD}\nauth user\n{tls}\nkeep on\nreceived_header off\n"
        f"delivery maildir {tmp_path}/mail\nuidls_file {tmp_path}/uidls\n"
    )
    rc.chmod(0o600)
    command = [mpop, f"--file={rc}", "--half-quiet", "ann"]
    run(*command, cwd=tmp_path)
    got = [path.read_bytes() for path in (tmp_path / "mail" / "new").iterdir()]
    assert_same(got, map(lines_of, sent))
    assert_nothing_more_is_fetched(house, ann, sent, lambda: run(*command, cwd=tmp_path))
    assert len(list((tmp_path / "mail" / "new").iterdir())) == len(sent)


# -- getmail ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "implicit"])
def test_getmail(house: House, ann: Account, sent: list[bytes], way: str, tmp_path: Path) -> None:
    getmail = program("getmail")
    folder = tmp_path / "mail"
    folder.mkdir()
    # It begins to wait for its child's end after the child was begun, and for one that has ended by then it
    # waits in vain (ForkingBase of getmailcore/baseclasses.py): so this one ends when its parent sleeps.
    sleeps = "grep -q '^State:.S' /proc/$PPID/status"
    mda = _script(
        tmp_path,
        f'cat > "$(mktemp {folder}/XXXXXXXXXX)"\n'
        f"until {sleeps} && sleep 0.01 && {sleeps}; do sleep 0.01; done",
    )
    kind, port = (
        ("SimplePOP3SSLRetriever", house.port("pop3s"))
        if way == "implicit"
        else (
            "SimplePOP3Retriever",
            house.port("pop3"),
        )
    )
    ca = f"ca_certs = {house.certificate}\n" if way == "implicit" else ""
    rc = tmp_path / "getmailrc"
    rc.write_text(
        f"[retriever]\ntype = {kind}\nserver = localhost\nport = {port}\nusername = {ann.login}\n"
        f"password = {PASSWORD}\n{ca}\n[destination]\ntype = MDA_external\npath = {mda}\n"
        "allow_root_commands = true\nunixfrom = false\n\n"
        "[options]\nread_all = false\ndelete = false\ndelivered_to = false\nreceived = false\nverbose = 1\n"
    )
    command = [getmail, "--getmaildir", str(tmp_path), "--rcfile", str(rc)]
    run(*command, cwd=tmp_path)
    assert_same([path.read_bytes() for path in folder.iterdir()], sent, _end)
    before = until(lambda: _records(house, ann, 2 * len(sent)), "a record of all that was fetched")
    run(*command, cwd=tmp_path)
    after = house.sessions(ann.login, len(before) + 1)
    assert (after[-1].fetched, after[-1].deleted, after[-1].ended) == (0, 0, "quit")


def _end(message: bytes) -> bytes:
    """It reads each message as a tree and writes it anew (header lines elsewhere, boundaries mended): what is
    left to compare is the last block of a body of one part, line ends aside."""
    header, _, body = message.replace(b"\r\n", b"\n").rstrip().partition(b"\n\n")
    return b"" if b"multipart" in header.lower() else b"".join(body.split(b"\n\n")[-1].split())


def _script(folder: Path, text: str) -> Path:
    path = folder / "mda"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path
