"""Fetching from another POP3 server: UIDLs kept, nothing twice, nothing lost; and no server can harm us."""

import ssl
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
import trustme
from django.test import Client
from django.utils import timezone, translation

from mailboxes import errands, importing, messages
from mailboxes.models import Account, Errand, ErrandKind, ErrandState, Message
from mailboxes.retention import recount
from mailboxes.tests.errand_tools import done
from mailboxes.tests.test_exporting import retrieved
from webmail import fetching, pop3_client
from webmail.forms import FetchForm
from webmail.pop3_client import World, is_allowed
from webmail.tests.another_server import NAME, AnotherServer, Maildrop

pytestmark = pytest.mark.django_db

Serve = Callable[..., AnotherServer]


def letter(number: int, body: bytes = b"Hello\r\n.dot\r\n") -> bytes:
    return b"Message-ID: <%d@other.test>\r\nSubject: letter %d\r\n\r\n%b" % (number, number, body)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def serve(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[Callable[..., AnotherServer]]:
    """Starts another provider's server, under a name that leads to this machine."""
    servers: list[AnotherServer] = []
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    names = {NAME: "127.0.0.1", "nowhere.test": ""}

    def resolve(host: str, port: int) -> list[str]:
        if not names.get(host):
            raise OSError
        return [names[host]]

    monkeypatch.setattr(fetching, "world", World(resolve=resolve, tls=lambda: trusting))
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)
    settings.FETCH_PRIVATE_NETWORKS = [ip_network("127.0.0.0/8")]

    def start(maildrop: Maildrop, **more: Any) -> AnotherServer:
        servers.append(AnotherServer(maildrop, authority, **more))
        return servers[-1]

    with translation.override("en"):  # whatever a page has spoken before
        yield start
    for server in servers:
        server.close()


def fetch(account: Account, server: AnotherServer, password: str = "their password", **more: Any) -> Errand:
    asked = {
        "host": NAME,
        "port": server.port,
        "security": server.maildrop.security,
        "user": "ann@other.test",
    }
    errand = done(ErrandKind.FETCH, account, asked | more, secret=password)
    assert errand.secret == "", "the password is forgotten"
    assert recount(account.mailbox.pk)
    return errand


def here(account: Account) -> list[tuple[str, bytes]]:
    uidls = Message.objects.filter(mailbox=account.mailbox).order_by("pk").values_list("uidl", flat=True)
    return list(zip(uidls, retrieved(account.mailbox), strict=True))


def maildrop(count: int = 3, **more: Any) -> Maildrop:
    return Maildrop([letter(n) for n in range(1, count + 1)], [f"u-{n}" for n in range(1, count + 1)], **more)


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
@pytest.mark.parametrize("pipelining", [True, False])
def test_mail_comes_with_its_uidls_in_its_order_and_stays_there(
    ann: Account, serve: Serve, security: str, pipelining: bool
) -> None:
    drop = maildrop(12, security=security, pipelining=pipelining)
    errand = fetch(ann, serve(drop))
    assert (errand.state, errand.reason, errand.percent) == (ErrandState.DONE, "", 100)
    assert here(ann) == list(zip(drop.uidls, drop.messages, strict=True))
    assert (errand.result["imported"], errand.result["uidl_kept"], errand.result["there"]) == (12, 12, 12)
    assert drop.deleted == set() and drop.commands[-1] == "QUIT"


def test_asked_again_only_what_is_new_is_fetched_even_if_the_rest_was_deleted_here(
    ann: Account, serve: Serve
) -> None:
    drop = maildrop(3)
    server = serve(drop)
    fetch(ann, server)
    messages.expunge(ann.mailbox.pk, list(Message.objects.order_by("pk").values_list("pk", flat=True)[:2]))
    drop.messages.append(letter(4))
    drop.uidls.append("u-4")
    drop.commands.clear()
    errand = fetch(ann, server)
    assert [one for one in drop.commands if one.startswith("RETR")] == ["RETR 4"]
    assert (errand.result["imported"], errand.result["already"]) == (1, 3)
    assert [uidl for uidl, _ in here(ann)] == ["u-3", "u-4"]


def test_a_connection_that_breaks_off_goes_on_where_it_stopped(
    ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 2)
    drop = maildrop(6, cut_at=4)
    server = serve(drop)
    broken = fetch(ann, server)
    assert (broken.state, broken.result["imported"]) == (ErrandState.FAILED, 2)
    assert broken.reason == f"The connection to {NAME} broke off. Ask again: it goes on where it stopped."
    drop.replies, drop.cut_at = {}, 0
    assert fetch(ann, server).result["imported"] == 4
    assert here(ann) == list(zip(drop.uidls, drop.messages, strict=True))


def test_servers_that_count_their_messages_are_told_apart(ann: Account, serve: Serve) -> None:
    """UIDLs are unique in one maildrop only: '1' there is not '1' elsewhere."""
    first, second = Maildrop([letter(1)], ["1"]), Maildrop([letter(2, b"Another\r\n")], ["1"])
    fetch(ann, serve(first))
    errand = fetch(ann, serve(second), user="ann@third.test")
    assert (errand.result["imported"], errand.result["uidl_lost"]) == (1, 1)
    assert [octets for _, octets in here(ann)] == [letter(1), letter(2, b"Another\r\n")]


def test_what_another_import_has_brought_with_its_uidl_is_not_fetched(ann: Account, serve: Serve) -> None:
    drop = maildrop(2)
    server = serve(drop)
    fetch(ann, server)
    drop.commands.clear()
    errand = fetch(ann, server, user="ann+alias@other.test")
    assert (errand.result["imported"], errand.result["already"]) == (0, 2)
    assert not any(one.startswith("RETR") for one in drop.commands)


def test_a_server_without_uidl_is_fetched_without(ann: Account, serve: Serve) -> None:
    drop = Maildrop([letter(1), letter(2)], replies={"UIDL": b"-ERR no\r\n", "CAPA": b"-ERR no\r\n"})
    server = serve(drop)
    assert fetch(ann, server).result["imported"] == 2
    assert fetch(ann, server).result["already"] == 2


def test_what_was_fetched_is_removed_there_if_its_owner_wants(
    ann: Account, serve: Serve, settings: Any
) -> None:
    settings.MESSAGE_SIZE_LIMIT = 1_000
    drop = maildrop(3)
    drop.messages[1] = letter(2, b"x" * 2_000)
    errand = fetch(ann, serve(drop), delete=True, seen=True)
    assert (drop.deleted, errand.result["deleted"]) == ({1, 3}, 2)
    assert errand.result["left_out"] == [
        ["“letter 2” from (no sender) (2 KiB)", "it is larger than 1000 B, the most that a message may have"]
    ]
    assert (errand.result["there"], errand.result["left_there"], errand.result["unfetched"]) == (3, 1, 0)
    assert "RETR 2" not in drop.commands
    assert set(Message.objects.values_list("seen", flat=True)) == {True}


BILL = (
    b"From: =?utf-8?q?M=C3=BCller?= <m@shop.test>\r\nSubject: The <b>bill</b>\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n"
)
NAMED = "“The <b>bill</b>” from Müller of 23 November 2026"


@pytest.mark.parametrize(
    ("replies", "name"),
    [
        ({}, f"{NAMED} (2 KiB)"),
        ({"CAPA": b"-ERR no\r\n"}, f"{NAMED} (2 KiB)"),
        ({"CAPA": b"+OK\r\nUIDL\r\n.\r\n"}, "message 2 (2 KiB, UIDL uid-2)"),
        ({"TOP": b"-ERR no\r\n"}, "message 2 (2 KiB, UIDL uid-2)"),
        ({"TOP": b"+OK\r\n.\r\n"}, "message 2 (2 KiB, UIDL uid-2)"),
        ({"TOP": b"-ERR no\r\n", "UIDL": b"-ERR no\r\n"}, "message 2 (2 KiB)"),
    ],
)
def test_what_is_too_large_is_named_as_its_server_names_it(
    ann: Account, serve: Serve, settings: Any, replies: dict[str, bytes | None], name: str
) -> None:
    settings.MESSAGE_SIZE_LIMIT = 1_000
    drop = maildrop(3)
    drop.uidls[1] = "uid-2"
    drop.messages[1] = BILL + b"x" * (2_048 - len(BILL))
    drop.replies = replies
    errand = fetch(ann, serve(drop))
    assert errand.result["imported"] == 2
    assert errand.result["left_out"] == [[name, "it is larger than 1000 B, the most that a message may have"]]
    announced = "CAPA" not in replies or replies["CAPA"] == b"-ERR no\r\n"
    assert [one for one in drop.commands if one.startswith("TOP")] == ["TOP 2 0"] * announced
    assert "RETR 2" not in drop.commands


def test_what_turns_out_to_be_too_large_is_named_as_it_was_read(
    ann: Account, serve: Serve, settings: Any
) -> None:
    """The server says that it is small."""
    settings.MESSAGE_SIZE_LIMIT = 1_000
    drop = maildrop(1)
    drop.messages = [BILL + b"x\r\n" * 1_000]
    drop.replies = {"LIST": b"+OK\r\n1 500\r\n.\r\n", "TOP": b"-ERR no\r\n"}
    errand = fetch(ann, serve(drop))
    assert [name for name, _ in errand.result["left_out"]] == [f"{NAMED} (500 B)"]
    assert not any(one.startswith("TOP") for one in drop.commands)


def test_what_a_server_does_not_hand_out_is_named_if_it_says_how_it_begins(
    ann: Account, serve: Serve
) -> None:
    drop = maildrop(1)
    drop.messages = [BILL]
    drop.replies = {"RETR": b"-ERR it is damaged\r\n"}
    errand = fetch(ann, serve(drop))
    assert errand.result["left_out"] == [[f"{NAMED} ({len(BILL)} B)", "the server did not hand it out"]]


def test_a_server_whose_headers_have_no_end_fills_no_memory(ann: Account, serve: Serve) -> None:
    drop = maildrop(1)
    drop.replies = {
        "RETR": b"-ERR no\r\n",
        "TOP": b"+OK\r\nSubject: long\r\n" + b"X-Long: " + b"x" * 5_000_000 + b"\r\n.\r\n",
    }
    errand = fetch(ann, serve(drop))
    [(name, _)] = errand.result["left_out"]
    assert name.startswith("“long” from (no sender)")


def test_its_page_shows_what_was_left_out_by_name(
    ann: Account, serve: Serve, settings: Any, logged_in: Callable[[Any], Client]
) -> None:
    settings.MESSAGE_SIZE_LIMIT = 1_000
    drop = maildrop(2)
    drop.messages[0] = BILL + b"x" * (2_048 - len(BILL))
    with translation.override("de"):
        errand = fetch(ann, serve(drop))
    page = logged_in(ann).get(f"/mail/account/moving/{errand.key}/").content.decode()
    assert "<bdi>„The &lt;b&gt;bill&lt;/b&gt;“ von Müller vom 23. November 2026 (2 KiB)</bdi>: " in page


def test_without_room_it_stops_and_removes_nothing(ann: Account, serve: Serve) -> None:
    ann.mailbox.quota_bytes = len(letter(1)) * 2 + 10
    ann.mailbox.save(update_fields=["quota_bytes"])
    drop = maildrop(5)
    errand = fetch(ann, serve(drop), delete=True)
    assert (errand.state, errand.result["imported"]) == (ErrandState.FAILED, 2)
    assert errand.result["stopped_at"] == f"“letter 3” from (no sender) ({len(letter(3))} B)"
    assert "no room" in errand.reason
    assert (errand.result["left_there"], errand.result["unfetched"]) == (5, 3)
    assert drop.deleted == set()


def test_lines_of_any_length_and_messages_with_dots_come_as_they_are(ann: Account, serve: Serve) -> None:
    drop = maildrop(0)
    drop.messages = [
        letter(1, body)
        for body in (b"x" * 200_000 + b"\r\n", b".\r\n..\r\n.", b"\r\n\r\n", b"." * 70_000 + b"\r\n")
    ]
    drop.uidls = ["a", "b", "c", "d"]
    drop.messages[1] += b"\r\n"
    fetch(ann, serve(drop))
    assert [octets for _, octets in here(ann)] == drop.messages


def test_cancelling_keeps_what_came(ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH", 1)
    real = errands.Work.step

    def cancelled(work: errands.Work, octets: int = 0) -> None:
        if Message.objects.count() == 2:
            errands.cancel(work.errand)
        real(work, octets)

    monkeypatch.setattr(errands.Work, "step", cancelled)
    drop = maildrop(6, pipelining=False)
    errand = fetch(ann, serve(drop))
    assert (errand.state, errand.result["imported"], drop.deleted) == (ErrandState.CANCELLED, 2, set())


# -- in turns -----------------------------------------------------------------------------------


@pytest.fixture
def given_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    keys: list[str] = []
    monkeypatch.setattr(errands, "_give_out", lambda key, expires=None: keys.append(key))
    return keys


def next_turn(errand: Errand) -> Errand:
    assert (errand.state, errand.failures, errand.has_begun) == (ErrandState.WAITING, 0, True)
    errands.run(errand.key)
    errand.refresh_from_db()
    return errand


def fetch_one_turn(account: Account, server: AnotherServer, **more: Any) -> Errand:
    asked = {"host": NAME, "port": server.port, "security": "tls", "user": "ann@other.test"}
    return done(ErrandKind.FETCH, account, asked | more, secret="their password")


def in_turns(account: Account, server: AnotherServer) -> list[Errand]:
    """What the errand is after each of its turns."""
    turns = [fetch_one_turn(account, server)]
    while turns[-1].is_open:
        turns.append(next_turn(Errand.objects.get(pk=turns[0].pk)))
    return turns


def test_a_fetch_gives_way_after_its_turn_and_goes_on_behind_the_others(
    ann: Account, bob: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch, given_out: list[str]
) -> None:
    monkeypatch.setattr(fetching, "TURN_SECONDS", 0.0)
    drop = maildrop(5)
    turns = in_turns(ann, serve(drop))
    assert [one.percent for one in turns] == [20, 40, 60, 80, 100]
    assert given_out == [turns[0].key] * 4, "to the end of the queue, each time"
    assert [one for one in drop.commands if one.startswith(("RETR", "QUIT"))] == [
        word for n in range(1, 6) for word in (f"RETR {n}", "QUIT")
    ]
    last = turns[-1]
    assert (last.state, last.attempts, last.secret) == (ErrandState.DONE, 5, "")
    # What the page says is of all turns together.
    told = {name: last.result[name] for name in ("imported", "already", "uidl_kept", "there", "unfetched")}
    assert told == {"imported": 5, "already": 0, "uidl_kept": 5, "there": 5, "unfetched": 0}
    assert [one.result["unfetched"] for one in turns] == [4, 3, 2, 1, 0]
    assert here(ann) == list(zip(drop.uidls, drop.messages, strict=True))


def test_a_turn_ends_in_the_middle_of_what_drips_and_keeps_what_came(
    ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch, given_out: list[str]
) -> None:
    """The longest time is over in the middle of a message: what was read before it is stored by then."""
    monkeypatch.setattr(importing, "BATCH_SECONDS", 0.0)
    real = pop3_client._Reader.readinto

    def readinto(reader: Any, buffer: Any) -> int:
        if Message.objects.count() == 2:
            raise pop3_client.OutOfTime
        return real(reader, buffer)

    drop = maildrop(5, pipelining=False)
    server = serve(drop)
    with monkeypatch.context() as patched:
        patched.setattr(pop3_client._Reader, "readinto", readinto)
        errand = fetch_one_turn(ann, server)
    assert (errand.state, errand.result["imported"]) == (ErrandState.WAITING, 2)
    assert next_turn(errand).state == ErrandState.DONE
    assert here(ann) == list(zip(drop.uidls, drop.messages, strict=True))


def test_a_turn_that_brings_nothing_is_the_last(
    ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch, given_out: list[str]
) -> None:
    monkeypatch.setattr(fetching, "TURN_SECONDS", 0.0)
    errand = fetch(ann, serve(maildrop(2, replies={"RETR": b"-ERR later\r\n"})))
    assert (errand.state, given_out) == (ErrandState.FAILED, [])
    assert errand.reason == "It took too long. Ask again: it goes on where it stopped."


def test_after_some_days_it_must_be_asked_for_anew(
    ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch, given_out: list[str]
) -> None:
    monkeypatch.setattr(fetching, "TURN_SECONDS", 0.0)
    errand = fetch_one_turn(ann, serve(maildrop(5)))
    assert errand.state == ErrandState.WAITING
    Errand.objects.update(asked_at=timezone.now() - fetching.GIVEN_UP_AFTER)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.secret, errand.result["imported"]) == (ErrandState.FAILED, "", 2)


def test_what_was_fetched_is_removed_there_in_turns_too(
    ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch, given_out: list[str]
) -> None:
    drop = maildrop(3)
    server = serve(drop)
    fetch_one_turn(ann, server)
    monkeypatch.setattr(fetching, "TURN_SECONDS", 0.0)
    errand = fetch_one_turn(ann, server, delete=True)
    assert errand.state == ErrandState.WAITING
    # The session that deletes ends in order, or the server would delete nothing (RFC 1939 section 6).
    assert (drop.deleted, drop.commands[-1], errand.result["deleted"]) == ({1}, "QUIT", 1)


def test_a_turn_that_finds_nobody_leaves_what_the_last_one_said(
    ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch, given_out: list[str]
) -> None:
    monkeypatch.setattr(fetching, "TURN_SECONDS", 0.0)
    server = serve(maildrop(5))
    errand = fetch_one_turn(ann, server)
    server.close()
    errand = next_turn(errand)
    assert (errand.state, errand.result["imported"], errand.result["unfetched"]) == (ErrandState.FAILED, 1, 4)
    assert "does not answer" in errand.reason


# -- UIDLs that are none ------------------------------------------------------------------------

STRANGE = {
    "longer than 70 octets": b"u" * 71,
    "far longer": b"u" * 3_000,
    "Latin-1": b"caf\xe9",
    "UTF-8": "Größe".encode(),
    "a control": b"a\x01b",
    "NUL": b"a\0b",
    "a space in it": b"one two",
    "DEL": b"\x7f",
}


@pytest.mark.parametrize("uidl", STRANGE.values(), ids=STRANGE)
def test_a_uidl_that_is_none_names_a_message_all_the_same(
    ann: Account, serve: Serve, uidl: bytes, given_out: list[str]
) -> None:
    """RFC 1939 section 7: "one to 70 characters in the range 0x21 to 0x7E". It gets a number of ours."""
    listing = b"+OK\r\n1 u-1\r\n2 " + uidl + b"\r\n3 u-3\r\n.\r\n"
    drop = maildrop(3, replies={"UIDL": listing})
    server = serve(drop)
    errand = fetch(ann, server)
    assert (errand.state, errand.reason, errand.result["imported"]) == (ErrandState.DONE, "", 3)
    assert (errand.result["uidl_kept"], errand.result["uidl_lost"]) == (2, 1)
    [first, second, third] = here(ann)
    assert [octets for _, octets in (first, second, third)] == drop.messages
    assert (first[0], third[0]) == ("u-1", "u-3") and len(second[0]) == 32
    drop.commands.clear()
    again = fetch(ann, server, delete=True)
    assert (again.result["imported"], again.result["already"]) == (0, 3)
    assert not any(one.startswith("RETR") for one in drop.commands), "it is known by it"
    assert drop.deleted == {1, 2, 3}


def test_a_uidl_longer_than_a_line_is_none(ann: Account, serve: Serve, given_out: list[str]) -> None:
    listing = b"+OK\r\n1 u-1\r\n2 " + b"u" * 20_000 + b"\r\n3 \r\n.\r\n"
    drop = maildrop(3, replies={"UIDL": listing})
    server = serve(drop)
    assert fetch(ann, server).result["imported"] == 3
    again = fetch(ann, server, delete=True)
    assert (again.result["imported"], again.result["already"]) == (0, 3)
    # What cannot be named from one session to the next is never deleted.
    assert (drop.deleted, again.result["left_there"]) == ({1}, 2)


def test_messages_with_the_same_uidl_all_come(ann: Account, serve: Serve, given_out: list[str]) -> None:
    drop = maildrop(4)
    drop.uidls = ["same", "same", "u-3", "same"]
    drop.messages[3] = drop.messages[0]
    server = serve(drop)
    errand = fetch(ann, server)
    assert (errand.state, errand.reason) == (ErrandState.DONE, "")
    assert [octets for _, octets in here(ann)] == drop.messages
    assert (errand.result["uidl_kept"], errand.result["uidl_lost"]) == (2, 2)
    again = fetch(ann, server, delete=True)
    assert (again.result["imported"], again.result["already"], drop.deleted) == (0, 4, {3})


# -- what goes wrong, in plain words ------------------------------------------------------------


def test_a_wrong_password_is_told_with_the_server_s_words_made_harmless(ann: Account, serve: Serve) -> None:
    errand = fetch(ann, serve(maildrop()), password="wrong")
    assert (
        errand.reason == f"{NAME} does not take this user name or password. It says: [AUTH] who are [31m you"
    )


@pytest.mark.parametrize("word", ["a\r\nDELE 1", "a\nb", "a\0b"])
def test_a_password_cannot_be_a_command(ann: Account, serve: Serve, word: str) -> None:
    drop = maildrop()
    assert (
        fetch(ann, serve(drop), password=word).reason == f"{NAME} does not take this user name or password."
    )
    if "\0" in word:  # which the form does not take: PostgreSQL's text has no room for it
        form = FetchForm({"host": NAME, "security": "tls", "user": word, "password": "their password"})
        assert list(form.errors) == ["user"]
    else:
        assert fetch(ann, serve(drop), user=word).state == ErrandState.FAILED
    assert drop.commands == []


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_certificate_of_another_name_or_of_nobody_gets_no_password(
    ann: Account, serve: Serve, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = maildrop(security=security)
    errand = fetch(ann, serve(drop, name="mx.evil.test"))
    assert errand.reason.startswith(f"{NAME} could not prove that it is that server")
    monkeypatch.setattr(fetching, "world", World(resolve=lambda *_: ["127.0.0.1"]))
    assert "not sent" in fetch(ann, serve(drop)).reason
    assert [one for one in drop.commands if one != "STLS"] == []


def test_a_server_that_does_not_encrypt_gets_no_password(ann: Account, serve: Serve) -> None:
    drop = maildrop(security="none")
    for asked in ("tls", "starttls"):
        errand = fetch(ann, serve(drop), security=asked)
        assert "does not encrypt" in errand.reason
    assert drop.commands == ["STLS"]


def test_what_came_before_the_encryption_is_forgotten(ann: Account, serve: Serve) -> None:
    """RFC 2595 section 4: else somebody on the way could say what the server never said."""
    errand = fetch(ann, serve(maildrop(1, security="starttls", injected=b"-ERR said by nobody\r\n")))
    assert "nobody" not in errand.reason
    assert (errand.state, errand.result["imported"]) == (ErrandState.DONE, 1)


def test_names_and_ports_that_lead_nowhere(ann: Account, serve: Serve) -> None:
    server = serve(maildrop())
    assert fetch(ann, server, host="nowhere.test").reason.startswith("There is no server nowhere.test.")
    free = serve(maildrop())
    free.close()
    assert "does not answer on port" in fetch(ann, free).reason


@pytest.mark.parametrize(
    ("replies", "greeting"),
    [
        ({"LIST": b"+OK\r\n" + b"1 10\r\n" * 50}, b"+OK\r\n"),
        ({"LIST": b"HTTP/1.1 400 Bad Request\r\n"}, b"+OK\r\n"),
        (
            {"LIST": b"+OK\r\nnonsense\r\n99999999999999999999 5\r\n1 99999999999999999999999\r\n.\r\n"},
            b"+OK\r\n",
        ),
        ({"UIDL": b"+OK\r\n1 \xff\xfe\r\n2 " + b"u" * 600 + b"\r\n.\r\n"}, b"+OK\r\n"),
        ({"CAPA": b"+OK\r\n" + b"X\r\n" * 1_000 + b".\r\n"}, b"+OK\r\n"),
        ({"CAPA": b"+OK\r\n  \r\n.\r\n"}, b"+OK\r\n"),
        ({"RETR": b"-ERR no such message\r\n"}, b"+OK\r\n"),
        ({"RETR": None}, b"+OK\r\n"),
        ({"USER": b"+OK" + b"x" * 10_000 + b"\r\n"}, b"+OK\r\n"),
        ({"QUIT": None}, b"+OK\r\n"),
        ({}, b"SSH-2.0-OpenSSH_9.2\r\n"),
        ({}, b""),
    ],
)
def test_no_server_s_nonsense_is_a_fault_of_ours(
    ann: Account,
    serve: Serve,
    replies: dict[str, bytes | None],
    greeting: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pop3_client, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(pop3_client, "MESSAGES_MAX", 40)
    errand = fetch(ann, serve(maildrop(1, replies=replies, greeting=greeting)))
    assert errand.state in {ErrandState.DONE, ErrandState.FAILED}
    assert "our side" not in errand.reason


def test_a_server_that_drips_has_an_end(ann: Account, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LONGEST_SECONDS", 0.0)
    assert "too long" in fetch(ann, serve(maildrop())).reason


# -- whom we ask --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "port", "allowed"),
    [
        ("93.184.216.34", 995, True),
        ("93.184.216.34", 110, True),
        ("2606:4700:4700::1111", 995, True),
        ("93.184.216.34", 22, False),
        ("93.184.216.34", 25, False),
        ("127.0.0.1", 995, False),
        ("10.1.2.3", 995, False),
        ("192.168.0.1", 110, False),
        ("169.254.169.254", 110, False),
        ("100.64.0.1", 995, False),
        ("0.0.0.0", 995, False),
        ("224.0.0.1", 995, False),
        ("::1", 995, False),
        ("::ffff:127.0.0.1", 995, False),
        ("64:ff9b::7f00:1", 995, False),
        ("fe80::1%eth0", 995, False),
        ("fd00::1", 995, False),
        ("nonsense", 995, False),
    ],
)
def test_only_public_addresses_are_asked_at_the_ports_of_pop3(address: str, port: int, allowed: bool) -> None:
    assert is_allowed(address, port) is allowed


def test_a_network_of_our_own_is_asked_if_the_setting_names_it(settings: Any) -> None:
    settings.FETCH_PRIVATE_NETWORKS = [ip_network("10.1.0.0/16")]
    assert is_allowed("10.1.2.3", 2995) and not is_allowed("10.2.0.1", 995)


def test_a_name_that_leads_to_ourselves_is_not_dialled(
    ann: Account, serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one of which only some addresses are ours; and what is dialled is what was looked at."""
    server = serve(maildrop())
    settings.FETCH_PRIVATE_NETWORKS = []
    dialled: list[str] = []

    def dial(address: str, port: int, seconds: float) -> Any:
        dialled.append(address)
        raise OSError

    for found in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"]):
        monkeypatch.setattr(fetching, "world", World(resolve=lambda *_, found=found: found, dial=dial))
        errand = fetch(ann, server, port=995)
        assert errand.reason == f"{NAME} is not a server of the public internet, so we do not ask it."
    assert dialled == []
    monkeypatch.setattr(fetching, "world", World(resolve=lambda *_: ["93.184.216.34"], dial=dial))
    fetch(ann, server, port=995)
    assert dialled == ["93.184.216.34"]
