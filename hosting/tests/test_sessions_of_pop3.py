"""POP3 sessions of the real house: what they may do, how they end, and the one record that each leaves."""

import signal
from collections.abc import Callable

import pytest

from hosting.tests.house import House, until
from hosting.tests.mail_clients import PASSWORD, fetched
from mailboxes import messages, retention
from mailboxes.accounts import set_service, suspend
from mailboxes.credentials import Service, authenticate
from mailboxes.exceptions import LoginRefused
from mailboxes.models import Folder, Mailbox, Message, POP3Session, SessionEnd

pytestmark = pytest.mark.processes

Post = Callable[..., None]
LETTERS = (b"one\r\n", b"two\r\n", b"three\r\n")


def originals(house: House, login: str) -> list[bytes]:
    with house.log_in(login) as session:
        return [fetched(message).original for message in session.retrieve_all()]


# -- what DELE and QUIT mean --------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["trash", "archive", "expunge"])
def test_quit_removes_what_was_marked_as_the_mailbox_chooses(
    house: House, post_lmtp: Post, choice: str
) -> None:
    ann = house.open(f"choice-{choice}")
    Mailbox.objects.filter(account=ann).update(pop3_delete=choice)
    post_lmtp(ann, *LETTERS)
    gone = [message.uidl for message in house.messages(ann)[:2]]
    session = house.log_in(ann)
    assert session.ask("DELE 1").startswith(b"+OK ")
    assert session.ask("DELE 2").startswith(b"+OK ")
    assert session.ask("QUIT") == b"+OK 2 messages deleted, goodbye"
    # +OK means committed: there is nothing to wait for.
    assert [message.envelope_recipient for message in house.messages(ann)] == [ann.login]
    if choice != "expunge":
        assert [message.uidl for message in house.messages(ann, choice)] == gone
    assert house.box(ann).message_count == (1 if choice == "expunge" else 3)
    assert retention.recount(house.box(ann).pk)
    [record] = house.sessions(ann.login)
    assert (record.ended, record.deleted, record.fetched) == (SessionEnd.QUIT, 2, 0)
    assert originals(house, ann.login) == [b"three\r\n"]
    if choice != "expunge":
        assert messages.restore_session(house.box(ann).pk, record.session) == 2
        assert originals(house, ann.login) == list(LETTERS)


@pytest.mark.parametrize("end", ["drop", "close", "reset", "too many errors"])
def test_a_session_that_ends_without_quit_deletes_nothing(house: House, post_lmtp: Post, end: str) -> None:
    ann = house.open(f"no-quit-{end.replace(' ', '-')}")
    post_lmtp(ann, *LETTERS)
    session = house.log_in(ann)
    session.retrieve(1)
    assert session.ask("DELE 1").startswith(b"+OK ")
    if end == "drop":
        session.drop()
    elif end == "close":
        session.close()
    elif end == "reset":
        session.ask("RSET")
        assert session.quit() == b"+OK goodbye"
    else:
        session.send(b"XYZ\r\n" * 30)
        session.rest()
        session.close()
    [record] = house.sessions(ann.login)
    assert (record.deleted, record.fetched) == (0, 1)
    expected = {"reset": SessionEnd.QUIT, "too many errors": SessionEnd.TOO_MANY_ERRORS}
    assert record.ended == expected.get(end, SessionEnd.DROPPED)
    assert len(house.messages(ann)) == 3


def test_a_connection_cut_in_the_middle_of_a_message_is_no_quit(house: House, post_lmtp: Post) -> None:
    ann = house.open("cut")
    # More than the kernel takes for a peer that does not read: else QUIT is reached, and rightly obeyed.
    post_lmtp(ann, b"x" * 30_000_000 + b"\r\n")
    session = house.log_in(ann)
    session.send(b"DELE 1\r\nRSET\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
    session.hear()
    session.drop()
    [record] = house.sessions(ann.login)
    assert (record.ended, record.deleted, record.fetched) == (SessionEnd.DROPPED, 0, 0)
    assert record.octets < 30_000_000
    assert len(house.messages(ann)) == 1


# -- the snapshot -------------------------------------------------------------------------------


def test_what_another_door_moves_or_expunges_is_still_served_to_this_session(
    house: House, post_lmtp: Post
) -> None:
    ann = house.open("snapshot")
    post_lmtp(ann, *LETTERS)
    box = house.box(ann).pk
    one, two, _ = [message.pk for message in house.messages(ann)]
    session = house.log_in(ann)
    messages.move(box, [one], Folder.objects.get(mailbox=box, kind="archive"))
    messages.expunge(box, [two])
    post_lmtp(ann, b"four\r\n")
    assert [fetched(m).original for m in session.retrieve_all()] == list(LETTERS)
    for number in (1, 2):
        session.ask(f"DELE {number}")
    assert session.ask("QUIT").startswith(b"+OK ")
    # What its owner has filed elsewhere meanwhile stays there.
    assert [message.pk for message in house.messages(ann, "archive")] == [one]
    assert originals(house, ann.login) == [b"three\r\n", b"four\r\n"]
    assert retention.recount(box)


def test_unique_ids_and_numbers_stay_what_they_are(house: House, post_lmtp: Post) -> None:
    ann = house.open("uidl")
    post_lmtp(ann, *LETTERS)
    with house.log_in(ann) as session:
        before = session.uidls()
        session.ask("DELE 1")
        assert session.uidls() == {2: before[2], 3: before[3]}
        session.ask("QUIT")
    post_lmtp(ann, b"four\r\n")
    with house.log_in(ann) as session:
        after = session.uidls()
    assert [after[1], after[2]] == [before[2], before[3]]
    assert after[3] not in before.values()
    assert {uidl for _, uidl in before.items()} >= {m.uidl for m in house.messages(ann, "trash")}


def test_recent_serves_what_came_lately_whatever_was_fetched_and_deleted(
    house: House, post_lmtp: Post
) -> None:
    ann = house.open("lately")
    post_lmtp(ann, *LETTERS)
    with house.log_in(ann) as session:
        session.ask("DELE 1")
        session.ask("QUIT")
    old = house.messages(ann)[0]
    Message.objects.filter(pk=old.pk).update(received_at=old.received_at.replace(year=2020))
    with house.log_in(f"recent:{ann.login}") as session:
        assert [fetched(m).original for m in session.retrieve_all()] == [b"one\r\n", b"three\r\n"]
        session.quit()
    record = house.sessions(ann.login, 2)[-1]
    assert (record.recent, record.fetched, record.ended) == (True, 2, SessionEnd.QUIT)


# -- who may come in ----------------------------------------------------------------------------


def test_the_21st_session_of_one_account_and_address_is_refused(house: House) -> None:
    ann, bob = house.open("many"), house.open("one-more")
    sessions = [house.log_in(ann) for _ in range(20)]
    refused = house.pop3()
    answer = refused.log_in(ann.login)
    assert answer == b"-ERR [IN-USE] more than 20 sessions for this account from your address"
    house.log_in(bob).quit()
    assert sessions.pop().quit() == b"+OK goodbye"

    def free() -> bool:
        return refused.log_in(ann.login).startswith(b"+OK ")

    assert free(), "the door was told of the end before the client was"
    for session in [*sessions, refused]:
        assert session.quit() == b"+OK goodbye"
    records = house.sessions(ann.login, 21)
    assert {record.ended for record in records} == {SessionEnd.QUIT}
    assert len(records) == 21


def test_who_is_refused_leaves_a_record_with_the_reason(house: House) -> None:
    ann = house.open("refused")
    session = house.pop3(tls=True)
    session.ask('ID ("name" "Letterbox" "version" "1.2")')
    assert session.log_in(ann.login, "wrong") == b"-ERR [AUTH] wrong user name or password"
    assert session.log_in("nobody-at-all@example.test", "wrong") == b"-ERR [AUTH] wrong user name or password"
    session.close()
    [record] = house.sessions("nobody-at-all@example.test")
    assert (record.ended, record.reason, record.mailbox_id) == ("refused", "wrong_password", None)
    assert record.program == "Letterbox 1.2"
    assert record.tls.startswith("TLSv1.")


def test_a_suspended_account_is_told_the_operators_reason(house: House) -> None:
    ann = house.open("suspended")
    suspend(ann, "the bill of March is open, call 0800 123")
    with house.pop3() as session:
        assert session.log_in(ann.login) == (
            b"-ERR [SYS/PERM] this account is suspended: the bill of March is open, call 0800 123"
        )
        assert session.log_in(ann.login, "guess") == b"-ERR [AUTH] wrong user name or password"
    [record] = house.sessions(ann.login)
    assert (record.ended, record.reason) == ("refused", "wrong_password")


def test_a_suspension_holds_for_who_was_verified_before(house: House) -> None:
    ann = house.open("suspended-later")
    house.log_in(ann).quit()
    suspend(ann, "see the letter")
    assert house.pop3().log_in(ann.login) == b"-ERR [SYS/PERM] this account is suspended: see the letter"


def test_a_mailbox_with_pop3_switched_off_says_so(house: House) -> None:
    ann = house.open("switched-off")
    set_service(ann, "pop3", False)
    answer = house.pop3().log_in(ann.login)
    assert answer == b"-ERR [SYS/PERM] POP3 is switched off for this mailbox"


def test_ten_wrong_passwords_close_the_gate_for_that_name_only(house: House) -> None:
    ann, bob = house.open("guessed"), house.open("not-guessed")
    house.log_in(ann).quit()
    for guess in range(10):
        with pytest.raises(LoginRefused, match="wrong user name or password"):
            authenticate(ann.login, f"guess {guess}", Service.POP3, "127.0.0.0/24")
    answer = house.pop3().log_in(ann.login)
    assert answer.startswith(b"-ERR [AUTH] too many wrong passwords from your network: try again in ")
    house.log_in(bob).quit()


def test_each_session_leaves_one_record_with_its_numbers(house: House, post_lmtp: Post) -> None:
    ann = house.open("numbers")
    post_lmtp(ann, *LETTERS)
    session = house.log_in(ann)
    octets = len(session.retrieve(1)) + len(session.retrieve(2))
    session.ask("TOP 3 0")
    octets += len(session.lines())
    session.ask("DELE 1")
    assert session.quit() == b"+OK 1 messages deleted, goodbye"
    [record] = house.sessions(ann.login)
    assert (record.fetched, record.tops, record.deleted, record.octets) == (2, 1, 1, octets)
    assert (record.mailbox_id, record.peer, record.tls, record.ended) == (
        house.box(ann).pk,
        "127.0.0.1",
        "",
        "quit",
    )
    assert record.started_at <= record.ended_at
    assert not record.recent


# -- what the operator may choose ---------------------------------------------------------------


def test_an_exclusive_maildrop_is_in_use_until_quit(own_house: House) -> None:
    own_house.pop3d(POP3_EXCLUSIVE="1", workers=2)
    ann = own_house.open("ann")
    first = own_house.log_in(ann)
    for _ in range(4):  # whichever worker takes it
        second = own_house.pop3()
        assert second.log_in(ann.login).startswith(b"-ERR [IN-USE] ")
        second.close()
    assert first.quit() == b"+OK goodbye"

    def free() -> bool:
        third = own_house.pop3()
        answer = third.log_in(ann.login)
        third.quit()
        return answer.startswith(b"+OK ")

    until(free, "the maildrop to be free after QUIT")
    until(lambda: not own_house.box(ann).lock_token, "the lease to be given back")
    own_house.log_in(ann).drop()
    until(free, "the maildrop to be free after the connection was dropped")
    until(lambda: not own_house.box(ann).lock_token, "the lease to be given back")
    held = own_house.log_in(ann)
    own_house.door("pop3d").stop()
    assert held.rest().startswith(b"-ERR [SYS/TEMP] the server is going down")
    assert not own_house.box(ann).lock_token


def test_no_password_travels_in_the_clear_where_that_is_forbidden(own_house: House) -> None:
    own_house.pop3d(POP3_PLAINTEXT_LOGIN="never")
    ann = own_house.open("ann")
    session = own_house.pop3()
    assert session.ask("CAPA").startswith(b"+OK ")
    capabilities = session.lines()
    assert b"STLS\r\n" in capabilities
    assert b"\r\nUSER\r\n" not in capabilities
    assert b"SASL" not in capabilities
    for command in (f"USER {ann.login}", f"PASS {PASSWORD}", "AUTH PLAIN", "AUTH"):
        assert session.ask(command).startswith(b"-ERR your password would travel in the clear"), command
    session.start_tls()
    assert session.log_in(ann.login).startswith(b"+OK ")
    assert session.quit() == b"+OK goodbye"


def test_the_limit_of_sessions_counts_over_all_workers(own_house: House) -> None:
    own_house.pop3d(workers=2)
    ann = own_house.open("ann")
    until(lambda: len(own_house.door("pop3d").children()) == 2, "two workers")
    sessions = [own_house.log_in(ann) for _ in range(20)]
    refused = [own_house.pop3() for _ in range(6)]
    for session in refused:
        assert session.log_in(ann.login).startswith(b"-ERR [IN-USE] ")
        session.close()
    for session in sessions:
        assert session.quit() == b"+OK goodbye"
    own_house.log_in(ann).quit()


def test_a_stopping_door_finishes_the_message_that_it_is_sending(own_house: House) -> None:
    own_house.patient().start()
    ann = own_house.open("ann")
    size = 20_000_000
    with own_house.lmtp() as client:
        client.deliver(b"x" * size + b"\r\n", ann.login)
    pop3d = own_house.door("pop3d")
    idle, session = own_house.log_in(ann), own_house.log_in(ann)
    session.ask("DELE 1")
    session.ask("RSET")
    session.send(b"RETR 1\r\n")
    assert session.line().startswith(b"+OK ")
    pop3d.signal(signal.SIGTERM)
    # Who waits is told; who is being served is served to the end.
    assert idle.line().startswith(b"-ERR [SYS/TEMP] the server is going down")
    message = session.lines()
    assert fetched(message).original == b"x" * size + b"\r\n"
    session.rest()
    assert pop3d.wait() == 0
    records = {record.fetched: record for record in own_house.sessions(ann.login, 2)}
    assert (records[0].ended, records[1].ended) == (SessionEnd.SHUTDOWN, SessionEnd.SHUTDOWN)
    assert records[1].octets == len(message)
    assert POP3Session.objects.count() == 2


def test_a_stopping_door_answers_a_quit_that_it_is_working_on(own_house: House) -> None:
    own_house.patient().start()
    ann = own_house.open("ann")
    with own_house.lmtp() as client:
        for letter in LETTERS:
            client.deliver(letter, ann.login)
    session = own_house.log_in(ann)
    session.ask("DELE 2")
    session.send(b"QUIT\r\n")
    own_house.door("pop3d").signal(signal.SIGTERM)
    answer = session.rest()
    left = len(own_house.messages(ann))
    # Whole or not at all, and as was said: going down deletes nothing, +OK has.
    assert (answer.startswith(b"+OK 1 messages deleted"), left) in {(True, 2), (False, 3)}
    assert own_house.door("pop3d").wait() == 0
