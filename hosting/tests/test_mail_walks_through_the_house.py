"""Mail comes in over LMTP and SMTP and goes out over POP3, through the real doors, octet for octet."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hosting.tests.house import House, until
from hosting.tests.mail_clients import SENDER, crlf, fetched, stuffed
from mailboxes.accounts import set_service
from mailboxes.addresses import add_address
from mailboxes.models import AddressKind, DeliveryRecord, Domain, Mailbox, Message

pytestmark = pytest.mark.processes

LETTER = b"From: mallory@elsewhere.test\r\nSubject: a letter\r\n\r\nHello Ann,\r\n.and a dot\r\n"
Post = Callable[..., None]


# -- every message that was ever accepted -------------------------------------------------------


def test_the_octets_of_list_are_those_that_retr_sends_for_all_sample_mail(
    house: House, corpus: dict[str, bytes]
) -> None:
    ann = house.open("corpus", quota=1_000_000_000)
    with house.lmtp() as client:
        for name, raw in corpus.items():
            assert [r.status for r in client.deliver(raw, ann.login)] == ["250 2.0.0"], name
        for size, (name, raw) in enumerate(corpus.items(), 1):
            assert (
                client.deliver_chunks(raw, ann.login, max(size * 7, len(raw) // 20)).status == "250 2.0.0"
            ), name
    with house.log_in(ann, tls=True) as session:
        messages = session.retrieve_all()
    assert len(messages) == 2 * len(corpus)
    as_data = [crlf(raw if not raw or raw.endswith(b"\r\n") else raw + b"\r\n") for raw in corpus.values()]
    as_chunks = [crlf(raw) for raw in corpus.values()]
    for name, message, original in zip([*corpus] * 2, messages, as_data + as_chunks, strict=True):
        parts = fetched(message)
        assert (parts.recipient, parts.sender, parts.protocol) == (ann.login, SENDER, "LMTP"), name
        assert parts.original == original, name


@pytest.mark.parametrize("way", ["plain", "stls", "implicit"])
def test_a_message_goes_out_the_same_in_the_clear_and_within_tls(
    house: House, post_lmtp: Post, way: str
) -> None:
    ann = house.open(f"way-{way}")
    post_lmtp(ann, LETTER, b"", b"..\r\n.\r\n...\r\n", b"no end of line")
    session = house.pop3(tls=way == "implicit")
    if way == "stls":
        session.start_tls()
    assert session.log_in(ann.login).startswith(b"+OK 4 messages ")
    originals = [fetched(message).original for message in session.retrieve_all()]
    assert originals == [LETTER, b"", b"..\r\n.\r\n...\r\n", b"no end of line\r\n"]
    assert session.quit() == b"+OK goodbye"
    [record] = house.sessions(ann.login)
    assert record.tls.startswith("TLSv1.") is (way != "plain")


def test_lines_of_a_megabyte_are_content_like_any_other(house: House) -> None:
    ann = house.open("long-lines")
    raw = b"Subject: " + b"s" * 1_000_000 + b"\r\n\r\n" + b"." * 1_000_000 + b"\r\n" + b"x" * 1_000_000
    with house.lmtp() as client:
        assert [r.status for r in client.deliver(raw, ann.login)] == ["250 2.0.0"]
        assert client.deliver_chunks(raw, ann.login, 65_537).status == "250 2.0.0"
    with house.log_in(ann) as session:
        assert [fetched(message).original for message in session.retrieve_all()] == [raw + b"\r\n"] * 2


def test_top_of_nothing_is_the_header(house: House, post_lmtp: Post) -> None:
    ann = house.open("top")
    post_lmtp(ann, LETTER)
    with house.log_in(ann) as session:
        whole = session.retrieve(1)
        header = whole[: whole.index(b"\r\n\r\n") + 4]
        for command, expected in (
            ("TOP 1 0", header),
            ("TOP 1 1", header + b"Hello Ann,\r\n"),
            ("TOP 1 9", whole),
        ):
            assert session.ask(command).startswith(b"+OK ")
            assert session.lines() == expected


# -- recipients ---------------------------------------------------------------------------------


def test_lmtp_answers_each_recipient_by_itself(house: House) -> None:
    good, full = house.open("each-good"), house.open("each-full", quota=500)
    Mailbox.objects.filter(account=full).update(quota_bytes=500)
    raw = b"Subject: news\r\n\r\n" + b"x" * 1000 + b"\r\n"
    with house.lmtp() as client:
        answers = client.envelope(full.login, "nobody@example.test", good.login)
        assert [answer.status for answer in answers] == ["250 2.1.5", "550 5.1.1", "250 2.1.5"]
        assert client.ask("DATA").status == "354"
        client.send(stuffed(raw))
        assert [client.reply().status for _ in range(2)] == ["452 4.2.2", "250 2.0.0"]
        # With its size declared, a message is refused before it is sent.
        [early] = client.envelope(full.login, options=" SIZE=1100")
        assert early.status == "452 4.2.2"
    assert (len(house.messages(good)), len(house.messages(full))) == (1, 0)
    assert house.box(full).used_bytes == 0
    assert [r.code for r in house.refusals(full.login, 2)] == ["452 4.2.2", "452 4.2.2"]
    [unknown] = house.refusals("nobody@example.test")
    assert (unknown.code, unknown.sender, unknown.door, unknown.peer) == (
        "550 5.1.1",
        SENDER,
        "lmtp",
        "127.0.0.1",
    )
    [accepted] = DeliveryRecord.objects.filter(recipient=good.login)
    [message] = house.messages(good)
    assert (accepted.code, accepted.uidl, accepted.mailbox_id, accepted.helo) == (
        "250 2.0.0",
        message.uidl,
        message.mailbox_id,
        "relay.elsewhere.test",
    )


def test_smtp_is_never_a_relay(house: House) -> None:
    ann = house.open("relay")
    with house.smtp() as client:
        answers = client.envelope(
            "someone@elsewhere.test", "ann%elsewhere.test@other.test", "postmaster@[127.0.0.1]", ann.login
        )
        # Source routes lead nowhere but to where they end.
        answers.append(client.ask("RCPT TO:<@example.test:someone@elsewhere.test>"))
        assert [a.status for a in answers[:1] + answers[3:]] == ["550 5.7.1", "250 2.1.5", "550 5.7.1"]
        assert {a.status[:5] for a in answers[1:3]} <= {"550 5", "501 5"}
        assert client.ask("DATA").status == "354"
        client.send(stuffed(LETTER))
        assert client.reply().status == "250 2.0.0"
    [message] = house.messages(ann)
    assert message.envelope_recipient == ann.login
    assert not DeliveryRecord.objects.filter(recipient__contains="elsewhere.test").exists()


def test_smtp_takes_a_message_for_all_or_for_none(house: House) -> None:
    good, full = house.open("whole-good"), house.open("whole-full", quota=600)
    raw = b"Subject: news\r\n\r\n" + b"x" * 1000 + b"\r\n"
    with house.smtp() as client:
        assert [r.status for r in client.deliver(raw, good.login, full.login)] == ["452 4.2.2"]
    assert (house.messages(good), house.box(good).used_bytes, house.messages(full)) == ([], 0, [])


def test_aliases_details_and_the_catch_all_reach_their_mailboxes(house: House) -> None:
    ann, bob = house.open("names-ann"), house.open("names-bob")
    add_address("names-both@example.test", AddressKind.ALIAS, [house.box(ann), house.box(bob)])
    Domain.objects.filter(name="example.test").update(catch_all=house.box(bob))
    try:
        with house.lmtp() as client:
            for recipient in (
                "names-ann+shop@example.test",
                "Names-Ann@EXAMPLE.TEST",
                "names-both@example.test",
                "whoever@example.test",
            ):
                assert [r.status for r in client.deliver(LETTER, recipient)] == ["250 2.0.0"], recipient
            # One mailbox by several of its addresses: one copy, two answers.
            answers = client.deliver(LETTER, "names-ann@example.test", "names-ann+2@example.test")
            assert [r.status for r in answers] == ["250 2.0.0"] * 2
    finally:
        Domain.objects.filter(name="example.test").update(catch_all=None)
    for account, recipients in (
        (
            ann,
            [
                "names-ann+shop@example.test",
                "Names-Ann@EXAMPLE.TEST",
                "names-both@example.test",
                "names-ann@example.test",
            ],
        ),
        (bob, ["names-both@example.test", "whoever@example.test"]),
    ):
        with house.log_in(account) as session:
            assert [fetched(m).recipient for m in session.retrieve_all()] == recipients


def test_a_refused_recipient_is_not_recorded_as_of_the_message_before(house: House) -> None:
    ann = house.open("one-more-message")
    with house.lmtp() as client:
        assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
        assert [r.status for r in client.envelope("nobody-else@example.test")] == ["550 5.1.1"]
    [accepted] = DeliveryRecord.objects.filter(recipient=ann.login)
    [refused] = house.refusals("nobody-else@example.test")
    assert (len(accepted.transaction), refused.transaction) == (16, "")


def test_a_mailbox_that_takes_no_mail_now_says_try_again(house: House) -> None:
    ann = house.open("not-now")
    set_service(ann, "receiving", False)
    with house.lmtp() as client:
        assert [r.status for r in client.envelope(ann.login)] == ["450 4.2.1"]


# -- what a stranger may try --------------------------------------------------------------------

SMUGGLED = b"MAIL FROM:<a@b>\r\nRCPT TO:<smuggled@example.test>\r\nDATA\r\nforged\r\n"
LIKENESSES = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r\r\n.\n",
    b"\n\n.\r\n",
    b"\r\n.\0\r\n",
]


@pytest.mark.parametrize("end", LIKENESSES, ids=repr)
@pytest.mark.parametrize("pieces", [1, 7])
def test_no_likeness_of_the_end_of_data_smuggles_a_second_message(
    house: House, end: bytes, pieces: int
) -> None:
    number = LIKENESSES.index(end)
    ann, other = house.open(f"victim-{number}-{pieces}"), Message.objects.count()
    with house.smtp() as client:
        client.envelope(ann.login)
        assert client.ask("DATA").status == "354"
        sent = b"Subject: one\r\n\r\nfirst" + end + SMUGGLED + b"\r\n.\r\nNOOP\r\n"
        step = -(-len(sent) // pieces)
        for at in range(0, len(sent), step):
            client.send(sent[at : at + step])
        assert [client.reply().status for _ in range(2)] == ["250 2.0.0", "250 2.0.0"]
        assert client.ask("QUIT").status == "221 2.0.0"
        assert client.rest() == b""
    assert Message.objects.count() == other + 1
    with house.log_in(ann) as session:
        [message] = session.retrieve_all()
    assert SMUGGLED.replace(b"\r\n", b"") in fetched(message).original.replace(b"\r\n", b"")


def test_what_was_sent_in_clear_behind_starttls_is_thrown_away(house: House) -> None:
    ann = house.open("injected")
    with house.smtp() as client:
        client.ask(f"MAIL FROM:<{SENDER}>")
        client.send(f"STARTTLS\r\nRCPT TO:<{ann.login}>\r\nDATA\r\n".encode())
        assert client.reply().status == "220 2.0.0"
        client.wrap()
        # Neither the recipient nor the greeting nor the sender is known any more.
        assert client.ask(f"RCPT TO:<{ann.login}>").status == "503 5.5.1"
        client.ask("EHLO relay.elsewhere.test")
        assert client.ask("DATA").status == "503 5.5.1"
        assert "STARTTLS" not in client.ask("EHLO relay.elsewhere.test").text
        assert [r.status for r in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
    with house.log_in(ann) as session:
        [message] = session.retrieve_all()
    assert fetched(message).protocol == "ESMTPS"


def test_what_was_sent_in_clear_behind_stls_is_thrown_away(house: House) -> None:
    ann = house.open("injected-pop3")
    session = house.pop3()
    assert session.ask(f"USER {ann.login}").startswith(b"+OK ")
    session.send(b"STLS\r\nUSER mallory@elsewhere.test\r\nCAPA\r\n")
    assert session.line().startswith(b"+OK ")
    session.wrap()
    # RFC 2595 section 4: the user name is forgotten, too.
    assert session.ask("PASS correct horse battery") == b"-ERR send the user name first (USER)"
    assert session.log_in(ann.login).startswith(b"+OK ")
    session.quit()


def test_more_than_50_received_fields_are_a_loop(house: House) -> None:
    ann = house.open("loop")
    hop = b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    with house.lmtp() as client:
        [once] = client.deliver(hop * 51 + LETTER, ann.login)
        [fine] = client.deliver(hop * 40 + LETTER, ann.login)
    assert (once.status, fine.status) == ("554 5.4.6", "250 2.0.0")
    assert len(house.messages(ann)) == 1
    [record] = house.refusals(ann.login)
    assert record.code == "554 5.4.6"


def test_a_message_over_the_limit_is_refused_declared_or_found(own_house: House) -> None:
    own_house.smtpd(MESSAGE_SIZE_LIMIT="65536")
    ann = own_house.open("ann")
    with own_house.lmtp() as client:
        assert "SIZE 65536" in client.extensions
        assert client.ask(f"MAIL FROM:<{SENDER}> SIZE=65537").status == "552 5.3.4"
        assert [r.status for r in client.deliver(b"x" * 70_000, ann.login)] == ["552 5.3.4"]
        assert client.deliver_chunks(b"x" * 70_000, ann.login, 70_000).status == "552 5.3.4"
        # The conversation goes on, and what fits is taken to the last octet.
        assert [r.status for r in client.deliver(b"x" * 65_534 + b"\r\n", ann.login)] == ["250 2.0.0"]
    assert len(own_house.messages(ann)) == 1
    assert own_house.box(ann).message_count == 1
    spool = own_house.content / "spool"
    assert list(spool.glob("*")) == []


# -- while a session lasts ----------------------------------------------------------------------

# Too large for the journal, in which a content that lost its file would be found for some seconds more.
UNJOURNALED = (b"x" * 72 + b"\r\n") * 1000


def test_content_that_was_removed_by_hand_is_an_honest_error_and_the_session_goes_on(
    house: House, post_lmtp: Post
) -> None:
    ann = house.open("by-hand")
    post_lmtp(ann, b"one\r\n", UNJOURNALED, b"three\r\n")
    [_, two, _] = house.messages(ann)
    [file] = house.content.rglob(two.content_id.hex)
    file.unlink()
    house.faults_expected = True  # staff are told, the client is not told where
    with house.log_in(ann) as session:
        assert session.ask("RETR 2") == b"-ERR [SYS/PERM] the message is no longer there"
        assert session.ask("TOP 2 0") == b"-ERR [SYS/PERM] the message is no longer there"
        assert [fetched(session.retrieve(n)).original for n in (1, 3)] == [b"one\r\n", b"three\r\n"]


def test_torn_content_is_never_sent_as_if_it_were_whole(house: House, post_lmtp: Post) -> None:
    ann = house.open("torn")
    post_lmtp(ann, UNJOURNALED, b"two\r\n")
    [one, _] = house.messages(ann)
    [file] = house.content.rglob(one.content_id.hex)
    file.write_bytes(file.read_bytes()[:-100])
    house.faults_expected = True
    with house.log_in(ann) as session:
        assert session.ask("RETR 1").startswith(b"-ERR [SYS/TEMP] ")
        assert fetched(session.retrieve(2)).original == b"two\r\n"


def _holds(path: Path, octets: bytes) -> bool:
    """Whether the file is there and has these octets; one that a sweep takes meanwhile has not."""
    try:
        return path.is_file() and octets in path.read_bytes()
    except FileNotFoundError:
        return False


def test_the_store_is_told_nothing_of_a_dropped_delivery(house: House) -> None:
    ann = house.open("dropped-delivery")
    client = house.lmtp()
    client.envelope(ann.login)
    assert client.ask("DATA").status == "354"
    client.send(b"Subject: never ended\r\n\r\n" + b"x" * 2_000_000)
    until(lambda: list((house.content / "spool").glob("*")), "the message to be spooled")
    client.drop()
    until(lambda: not list((house.content / "spool").glob("*")), "the spool to be empty again")
    # Not "no new file": those of the tests before this one are still being made from the journal.
    assert [path for path in house.content.rglob("*") if _holds(path, b"Subject: never ended")] == []
    assert (house.messages(ann), house.box(ann).used_bytes) == ([], 0)


def test_replies_tell_nothing_of_the_inside(house: House) -> None:
    with house.smtp() as client:
        told = [
            client.ask(line).text for line in ("HELP", "VRFY root", "EXPN x", "AUTH PLAIN", "XYZ", "NOOP")
        ]
        told += [client.greeting.text, *client.extensions]
    assert not re.search(r"(?i)python|django|uvloop|traceback|\.py|sqlite|postgres", "\n".join(told))
