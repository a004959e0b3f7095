"""The commands: what they print, where, and the exit code with which they end."""

import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from struct import unpack
from typing import Any

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError
from django.db import OperationalError, connections
from django.utils import timezone

from mailboxes import importing, storage
from mailboxes.accounts import close, set_service
from mailboxes.demo import OPERATOR
from mailboxes.demo_mail import ANN, BOB, NAMES, UNREAD, samples_for
from mailboxes.demo_pictures import beans, plan
from mailboxes.models import (
    Account,
    AuditEntry,
    Domain,
    Folder,
    FolderKind,
    ImportedMessage,
    Mailbox,
    Message,
)
from mailboxes.sizes import octets_from, size_text
from mailboxes.storage import read_content
from mailboxes.wire import unstuff

PROJECT = Path(__file__).parents[2]
MAIL = b"Subject: hello\n\nHello Ann\n"
FROM = b"From a Mon Nov 24 12:00:05 2025\n"


@dataclass
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command as the command line does, in this process: the test's database is seen."""

    def make(name: str, *arguments: str, stdin: bytes = b"") -> Ended:
        out, err = TextIOWrapper(BytesIO(), write_through=True), StringIO()
        code = 0
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)))
            patched.setattr(sys, "stdout", out)
            patched.setattr(sys, "stderr", err)
            # Django closes them when a command ends; the test's transaction must not see that.
            patched.setattr(connections, "close_all", lambda: None)
            command = load_command_class("mailboxes", name)
            try:
                command.run_from_argv(["manage.py", name, *arguments])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        return Ended(code, out.buffer.getvalue().decode(), err.getvalue())

    return make


def raw(message: Message) -> bytes:
    return unstuff(b"".join(read_content(message.content_id)))


# create_domain, create_account -----------------------------------------------------------------------


def test_a_domain_is_made_once(db: None, run: Run) -> None:
    ended = run("create_domain", "Example.TEST", "--quota", "3G")
    assert ended == Ended(0, "domain example.test is served; a new mailbox has 3 GiB\n", "")
    assert Domain.objects.get().default_quota_bytes == 3 * 1024**3
    assert run("create_domain", "example.test") == Ended(
        1, "", "CommandError: the domain example.test exists already\n"
    )


@pytest.mark.parametrize("arguments", [["no domain"], ["-x.test"], ["x..test"]])
def test_what_is_no_domain_is_said(db: None, run: Run, arguments: list[str]) -> None:
    ended = run("create_domain", "--", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("is not a domain name\n")


def test_a_wrong_size_is_a_wrong_usage(db: None, run: Run) -> None:
    for size in ("huge", "0", "-1G", "99999999T"):
        assert run("create_domain", "example.test", f"--quota={size}").code == os.EX_USAGE
    assert not Domain.objects.exists()


def test_a_generated_password_stands_alone_on_standard_output(domain: Domain, run: Run) -> None:
    ended = run("create_account", "Ann@Example.test", "--name", "Ann Example", "--quota", "5M")
    assert ended.code == 0
    assert re.fullmatch(r"[\w-]{19}\n", ended.out)
    assert ended.err == "account ann@example.test is open; its password is shown only now:\n"
    account = Account.objects.get()
    assert account.check_password(ended.out.strip())
    assert (account.login, account.name, account.role) == ("ann@example.test", "Ann Example", "subscriber")
    assert account.mailbox.quota_bytes == 5 * 1024**2


def test_a_password_is_read_from_the_first_line_and_never_shown(domain: Domain, run: Run) -> None:
    stdin = " pass wörd ü 1 \nsecond line\n".encode()
    ended = run("create_account", "ann@example.test", "--password-stdin", stdin=stdin)
    assert (ended.code, ended.out, ended.err) == (0, "account ann@example.test is open\n", "")
    assert Account.objects.get().check_password(" pass wörd ü 1 ")


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "is empty"),
        (b"\nsecond line\n", "is empty"),
        (b"short\n", "too short"),
        (b"password123\n", "too common"),
        (b"windows line end\r\n", "control character"),
        (b"\xff\xfe not utf-8 at all\n", "not UTF-8"),
        (b"x" * 2000 + b"\n", "longer than 1024"),
    ],
)
def test_a_password_that_cannot_be_is_refused_with_the_reason(
    domain: Domain, run: Run, stdin: bytes, said: str
) -> None:
    ended = run("create_account", "ann@example.test", "--password-stdin", stdin=stdin)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert not Account.objects.exists()


def test_an_account_is_opened_once_and_only_where_it_can_be(ann: Account, run: Run) -> None:
    again = run("create_account", "ann@example.test")
    assert (again.code, again.out) == (1, "")
    assert "the account ann@example.test exists already" in again.err
    foreign = run("create_account", "ann@elsewhere.test")
    assert (foreign.code, "create_domain elsewhere.test" in foreign.err) == (1, True)
    assert run("create_account", "x@example.test", "--role", "king").code == os.EX_USAGE


# deliver ---------------------------------------------------------------------------------------------


def test_a_message_is_delivered_behind_its_trace_header(ann: Account, run: Run) -> None:
    ended = run("deliver", "Ann+shop@example.test", "--sender", "<bob@example.org>", stdin=b"A: b\n\n.x\ny")
    assert ended == Ended(0, "", "")
    message = Message.objects.get(mailbox=ann.mailbox)
    header, _, rest = raw(message).partition(b";\r\n\t")
    assert re.fullmatch(
        rb"Return-Path: <bob@example\.org>\r\nReceived: by localhost with local id [0-9a-f]{32}", header
    )
    assert rest.split(b"\r\n", 1)[1] == b"A: b\r\n\r\n.x\r\ny\r\n"
    assert (message.envelope_sender, message.envelope_recipient) == (
        "bob@example.org",
        "Ann+shop@example.test",
    )
    assert message.size == len(b"Delivered-To: Ann+shop@example.test\r\n") + len(raw(message))


@pytest.mark.parametrize(
    ("arguments", "beginning"),
    [([], b"Received: by "), (["--sender", ""], b"Return-Path: <>\r\nReceived: by ")],
)
def test_return_path_is_written_when_the_sender_is_said(
    ann: Account, run: Run, arguments: list[str], beginning: bytes
) -> None:
    stdin = b"From bob Mon Nov 24 12:00:05 2025\n" + MAIL
    assert run("deliver", "ann@example.test", *arguments, stdin=stdin).code == 0
    delivered = raw(Message.objects.get())
    assert delivered.startswith(beginning)
    assert b"From bob" not in delivered


@pytest.mark.parametrize(
    ("recipient", "stdin", "code", "said"),
    [
        ("nobody@example.test", MAIL, os.EX_NOUSER, "nobody@example.test: there is no such address here"),
        ("ann", MAIL, os.EX_NOUSER, "ann: there is no such address here"),
        ("ann@elsewhere.test", MAIL, os.EX_NOUSER, "ann@elsewhere.test: its domain is not served here"),
        ("ann@example.test", b"", os.EX_DATAERR, "the message is empty"),
        ("ann@example.test", b"Received: x\n" * 51 + MAIL, os.EX_NOPERM, "a mail loop"),
        ("ann@example.test", b"A: b\n\n" + b"x" * 70_000, os.EX_DATAERR, "MESSAGE_SIZE_LIMIT, 64 KiB"),
    ],
)
def test_what_is_refused_for_good(
    ann: Account, run: Run, settings: Any, recipient: str, stdin: bytes, code: int, said: str
) -> None:
    settings.MESSAGE_SIZE_LIMIT = 64 * 1024
    ended = run("deliver", recipient, stdin=stdin)
    assert (ended.code, ended.out, said in ended.err) == (code, "", True)
    assert not Message.objects.exists()
    assert storage.folders() == []


def test_what_may_be_tried_again(ann: Account, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Mailbox.objects.update(quota_bytes=10)
    full = run("deliver", "ann@example.test", stdin=MAIL)
    assert (full.code, "has no room" in full.err) == (os.EX_TEMPFAIL, True)
    assert [key for folder in storage.folders() for key in storage.keys_in(folder)] == []
    set_service(ann, "receiving", False)
    assert run("deliver", "ann@example.test", stdin=MAIL).code == os.EX_TEMPFAIL

    def away(recipient: str) -> None:
        raise OperationalError("connection refused\n\tIs the server running?")

    with monkeypatch.context() as patched:
        patched.setattr("mailboxes.local_delivery.resolve", away)
        command = load_command_class("mailboxes", "deliver")
        with pytest.raises(CommandError, match=r"^the database .* connection refused$") as raised:
            call_command(command, "ann@example.test")
    assert raised.value.returncode == os.EX_TEMPFAIL


def test_a_closed_account_has_no_address(ann: Account, run: Run) -> None:
    close(ann)
    assert run("deliver", "ann@example.test", stdin=MAIL).code == os.EX_NOUSER


def test_no_recipient_is_a_wrong_usage(db: None, run: Run) -> None:
    ended = run("deliver", stdin=MAIL)
    assert (ended.code, "usage:" in ended.err) == (os.EX_USAGE, True)


@pytest.mark.once
def test_a_wrong_setting_is_78(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, PROJECT / "manage.py", "deliver", "ann@example.test"],
        env=os.environ | {"MESSAGE_SIZE_LIMIT": "large"},
        input=MAIL,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (os.EX_CONFIG, b"")
    assert b"MESSAGE_SIZE_LIMIT" in ended.stderr


# import_mail, export_mail ----------------------------------------------------------------------------


def test_an_import_says_what_came_and_a_second_says_nothing(ann: Account, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "old.mbox"
    path.write_bytes(FROM + b"X-UIDL: one\n\n1\n\n" + FROM + b"\n")
    assert run("import_mail", "ann@example.test", str(path)) == Ended(
        0,
        "mbox: 1 imported, 1 of them with their old UIDL; 0 already there; 1 left out\n"
        "  message at octet 48 left out: the message is empty\n",
        "",
    )
    assert run("import_mail", "ann@example.test", str(path)).out.startswith("mbox: 0 imported")
    [entry] = AuditEntry.objects.filter(verb="import_mail")
    assert (entry.subject, entry.actor, "@" in entry.peer) == ("ann@example.test", "command", True)
    assert (entry.before, entry.after) == ({}, {"messages": 1, "folder": "inbox"})


def test_folders_left_out_are_named(ann: Account, run: Run, tmp_path: Path) -> None:
    for folder in ("cur", ".Holidays/cur"):
        (tmp_path / "Maildir" / folder).mkdir(parents=True)
        (tmp_path / "Maildir" / folder / "1330000001.M1P1.host:2,").write_bytes(MAIL + folder.encode())
    ended = run("import_mail", "ann@example.test", str(tmp_path / "Maildir"))
    assert ended.out.splitlines()[1:] == ["  folder Holidays left out: --other-folders brings it too"]
    assert run("import_mail", "ann@example.test", str(tmp_path / "Maildir"), "--other-folders").out == (
        "Maildir: 1 imported, 0 of them with their old UIDL; 1 already there; 0 left out\n"
    )


def test_what_was_left_out_is_in_the_exit_code(ann: Account, run: Run, settings: Any, tmp_path: Path) -> None:
    settings.MESSAGE_SIZE_LIMIT = 10
    (tmp_path / "one.eml").write_bytes(MAIL)
    ended = run("import_mail", "ann@example.test", str(tmp_path / "one.eml"))
    assert (ended.code, "1 messages were left out" in ended.err) == (os.EX_DATAERR, True)
    assert "  one.eml left out: the message is larger than" in ended.out


def test_without_room_the_import_says_how_far_it_came_and_how_to_go_on(
    ann: Account, run: Run, tmp_path: Path
) -> None:
    Mailbox.objects.update(quota_bytes=50)
    path = tmp_path / "old.mbox"
    path.write_bytes(b"".join(FROM + b"A: %d\n\nHello Ann\n\n" % n for n in range(4)))
    ended = run("import_mail", "ann@example.test", str(path))
    assert ended.code == os.EX_TEMPFAIL
    assert ended.err == (
        "CommandError: no room for message at octet 98: the mailbox has 50 B, and 2 messages are in; "
        "raise its quota, then run the same command again to go on: nothing comes twice\n"
    )
    Mailbox.objects.update(quota_bytes=1000)
    assert run("import_mail", "ann@example.test", str(path)).out.startswith("mbox: 2 imported")


def test_an_interrupted_import_says_how_far_it_came(
    ann: Account, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "one.eml").write_bytes(MAIL)
    command = load_command_class("mailboxes", "import_mail")
    with monkeypatch.context() as patched:
        patched.setattr(importing, "_commit", interrupted)
        with pytest.raises(CommandError, match="interrupted after 0 imported; run the same") as raised:
            call_command(command, "ann@example.test", str(tmp_path / "one.eml"), stdout=StringIO())
    assert raised.value.returncode == 130
    assert run("import_mail", "ann@example.test", str(tmp_path / "one.eml")).out.startswith("message: 1 imp")


def test_nobody_and_nothing_to_import(ann: Account, bob: Account, run: Run, tmp_path: Path) -> None:
    assert run("import_mail", "nobody@example.test", str(tmp_path)).code == os.EX_NOUSER
    wrong = run("import_mail", "ann@example.test", str(tmp_path / "nowhere"))
    assert (wrong.code, "there is no such file or folder" in wrong.err) == (1, True)
    assert run("import_mail", "ann@example.test", str(tmp_path), "--folder", "own").code == os.EX_USAGE
    close(bob)
    assert run("export_mail", "bob@example.test", str(tmp_path / "x.mbox")).code == 1


def test_an_export_goes_to_a_file_or_to_standard_output(
    ann: Account, run: Run, post: Callable[..., Any], tmp_path: Path
) -> None:
    post(ann, text=b"Subject: one\r\n\r\n")
    post(ann, text=b"Subject: junk\r\n\r\n", folder=FolderKind.JUNK)
    path = tmp_path / "out.mbox"
    assert run("export_mail", "ann@example.test", str(path)).out == f"2 messages written to {path}\n"
    assert run("export_mail", "ann@example.test", "-").out == path.read_text()
    assert run("export_mail", "ann@example.test", "-", "--folder", "junk").out.count("Subject") == 1
    assert run("export_mail", "ann@example.test", str(path)).code == 1
    assert run("export_mail", "ann@example.test", str(path), "--force").code == 0


def test_an_export_that_is_not_whole_says_so(
    ann: Account, run: Run, post: Callable[..., Any], tmp_path: Path
) -> None:
    [gone] = post(ann)
    storage.remove_content(gone.content_id)
    ended = run("export_mail", "ann@example.test", str(tmp_path / "out.mbox"))
    assert (ended.code, gone.uidl in ended.err) == (os.EX_IOERR, True)


# sweep, demo_data ------------------------------------------------------------------------------------


def test_a_sweep_says_how_much_went(db: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = timezone.now() - timedelta(days=40)
    monkeypatch.setattr("mailboxes.storage.new_key", lambda: storage.key_of_moment(long_ago))
    spool = storage.Spool()
    spool.add(b"A: b\r\n")
    spool.keep()
    assert run("sweep").out == "0 contents and files removed\n"
    assert run("sweep", "--everything").out == "1 contents and files removed\n"


def test_the_demo_is_made_once_and_its_passwords_are_said_each_time(
    db: None, run: Run, settings: Any, tmp_path: Path
) -> None:
    settings.VAR = tmp_path / "var"
    first = run("demo_data")
    assert first.code == 0
    counts = {login: len(samples_for(login)) for login in NAMES}
    assert sum(counts.values()) >= 20
    assert {a.login: a.mailbox.message_count for a in Account.objects.all()} == counts | {OPERATOR: 0}
    assert Account.objects.get(login=OPERATOR).role == "operator"
    passwords = first.out.splitlines()[-3:]
    assert passwords[0].startswith(f"{ANN} ")
    for line in passwords:
        login, password = line.split(" ")
        assert Account.objects.get(login=login).check_password(password)
    file = tmp_path / "var" / "demo-passwords.txt"
    assert (file.read_text().splitlines(), file.stat().st_mode & 0o777) == (passwords, 0o600)
    Message.objects.filter(mailbox__account__login=BOB).delete()
    second = run("demo_data")
    assert second.out.splitlines()[-3:] == passwords
    assert Message.objects.count() == counts[ANN]
    assert ImportedMessage.objects.count() == sum(counts.values())


def test_the_demo_shows_what_a_mailbox_sees(db: None, run: Run, settings: Any, tmp_path: Path) -> None:
    settings.VAR = tmp_path / "var"
    run("demo_data")
    of_ann = Message.objects.filter(mailbox__account__login=ANN).order_by("pk")
    assert list(of_ann.order_by("received_at").values_list("pk")) == list(of_ann.values_list("pk"))
    assert of_ann.filter(subject="来週の打ち合わせについて", snippet__startswith="アンさん").count() == 1
    assert of_ann.filter(subject="Rückgabe fällig").count() == 1
    assert of_ann.filter(has_attachments=True).count() == 2
    assert of_ann.filter(subject__endswith="Lunch on Friday?").values("thread").distinct().count() == 1
    for message in of_ann:
        assert message.size == len(raw(message)) + len(b"Delivered-To: ann@example.test\r\n")


def test_the_demo_s_mailbox_is_lived_in(db: None, run: Run, settings: Any, tmp_path: Path) -> None:
    settings.VAR = tmp_path / "var"
    run("demo_data")
    mailbox = Mailbox.objects.get(account__login=ANN)
    total = mailbox.message_count
    folders = {
        folder.name: (folder.message_count, folder.unread_count)
        for folder in Folder.objects.filter(mailbox=mailbox, message_count__gt=0)
    }
    assert folders == {"Inbox": (total - 3, UNREAD), "Archive": (2, 0), "The club": (1, 0)}
    of_ann = Message.objects.filter(mailbox=mailbox)
    assert [message.subject for message in of_ann.filter(starred=True)] == ["The plan of the shed"]
    assert of_ann.order_by("received_at")[0].folder.kind == "inbox"  # what README's line for curl fetches


def test_the_demo_s_pictures_are_pictures() -> None:
    for picture in (plan(), beans()):
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        pixels = zlib.decompress(picture[picture.index(b"IDAT") + 4 : picture.index(b"IEND") - 8])
        width, height = unpack(">II", picture[16:24])
        assert len(pixels) == height * (1 + width)


def test_the_demo_leaves_an_account_alone_whose_password_it_does_not_know(
    ann: Account, run: Run, settings: Any, tmp_path: Path
) -> None:
    settings.VAR = tmp_path / "var"
    version, password = ann.credential_version, ann.password
    ended = run("demo_data")
    assert f"{ANN} (password chosen by somebody else: not known here)" in ended.out
    ann.refresh_from_db()
    assert (ann.credential_version, ann.password) == (version, password)


# sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "octets"),
    [("2G", 2 * 1024**3), ("512 KiB", 512 * 1024), ("50mb", 50 * 1024**2), ("1024", 1024), (" 1T ", 1024**4)],
)
def test_sizes_as_people_write_them(text: str, octets: int) -> None:
    assert octets_from(text) == octets


@pytest.mark.parametrize("text", ["", "G", "1.5G", "-1", "2X", "١", "9" * 16])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        octets_from(text)


def test_sizes_for_people() -> None:
    assert [size_text(n) for n in (0, 1023, 1536, 50 * 1024**2, 2 * 1024**4)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "50 MiB",
        "2 TiB",
    ]


# reset_second_factor ---------------------------------------------------------------------------------


def test_reset_second_factor_lets_in_who_has_lost_it(ann: Account, run: Run) -> None:
    Account.objects.filter(pk=ann.pk).update(second_factor=True)
    ended = run("reset_second_factor", "Ann@Example.test")
    assert (ended.code, ended.out) == (
        0,
        "ann@example.test has no second factor any more; the password is what it was\n",
    )
    ann.refresh_from_db()
    assert (ann.second_factor, ann.credential_version) == (False, 2)
    entry = AuditEntry.objects.latest("pk")
    assert (entry.verb, entry.subject, entry.actor) == ("reset_second_factor", ann.login, "command")


def test_reset_second_factor_says_why_not(ann: Account, run: Run) -> None:
    assert run("reset_second_factor", ann.login).code == 1
    assert run("reset_second_factor", "nobody@example.test").code == os.EX_NOUSER
    assert run("reset_second_factor", "nonsense").code == 1
    assert run("reset_second_factor").code == os.EX_USAGE
