"""The commands of POP3, and in which state each of them exists.

A command takes the session and its argument, without surrounding spaces except for PASS. It says its reply,
raises a Refusal, or returns the event that a server has to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pop3d import sasl, texts
from pop3d.events import Event, Expunge, Login, Retrieve, StartTLS
from pop3d.marks import MAX_DIGITS
from pop3d.program import program_from
from pop3d.session import Session, State
from pop3d.texts import Refusal

# Before login.


def _user(session: Session, argument: bytes) -> None:
    _require_protection(session)
    session.login_name = sasl.login_name(argument)
    # RFC 1939 section 7: the server may answer +OK though no such mailbox exists. This one always does.
    session.replies.ok(texts.SEND_PASSWORD)


def _pass(session: Session, argument: bytes) -> Login:
    _require_protection(session)
    if not session.login_name:
        raise Refusal(texts.USER_FIRST)
    return Login(session.login_name, sasl.password(argument), "USER")


def _auth(session: Session, argument: bytes) -> Login | None:
    _require_protection(session)
    if not argument:  # in no RFC, but it is what old Outlook asks instead of CAPA
        session.replies.ok(texts.MECHANISMS)
        session.replies.say(b"\r\n".join((*sasl.MECHANISMS, b".\r\n")))
        return None
    mechanism, _, response = argument.partition(b" ")
    exchange = sasl.Exchange(mechanism.upper())
    response = response.lstrip(b" ")
    if not response:
        _challenge(session, exchange)
        return None
    # RFC 5034 section 4: `=` is an initial response of no octets.
    return _respond(session, exchange, b"" if response == b"=" else response)


def continue_auth(session: Session, exchange: sasl.Exchange, line: bytes) -> Login | None:
    if line == b"*":  # RFC 5034 section 4: the client cancels
        raise Refusal(texts.LOGIN_CANCELLED, bad=False)
    return _respond(session, exchange, line.strip(b" "))


def _respond(session: Session, exchange: sasl.Exchange, response: bytes) -> Login | None:
    login = exchange.respond(response)
    if login is None:
        _challenge(session, exchange)
        return None
    session.exchange = None
    session.login_name = login.login
    return login


def _challenge(session: Session, exchange: sasl.Exchange) -> None:
    session.exchange = exchange
    session.replies.say(exchange.challenge())


def _require_protection(session: Session) -> None:
    if not session.may_log_in:
        raise Refusal(texts.LOGIN_UNPROTECTED, bad=False)


def _stls(session: Session, argument: bytes) -> StartTLS:
    _no_argument(argument)
    if session.secure:  # RFC 2595 section 4: not while TLS is active
        raise Refusal(texts.TLS_ALREADY_ON, bad=False)
    if not session.policy.tls_offered:
        raise Refusal(texts.TLS_NOT_OFFERED, bad=False)
    session.replies.ok(texts.BEGIN_TLS)
    session.arrived.clear()  # RFC 2595 section 4: sent in the clear, so perhaps by somebody else
    return StartTLS()


def _utf8(session: Session, argument: bytes) -> None:
    _no_argument(argument)
    session.utf8 = True
    session.replies.ascii_only = False
    session.replies.ok(texts.UTF8_ON)


def _capa_before_login(session: Session, argument: bytes) -> None:
    _no_argument(argument)
    # RFC 2595 section 4: STLS is announced in this state only, and where it can be used.
    _announce(session, b"STLS\r\n" if session.policy.tls_offered and not session.secure else b"")


def _quit_before_login(session: Session, argument: bytes) -> None:
    _no_argument(argument)
    session.replies.ok(texts.GOODBYE)
    session.said_goodbye = True
    session.hang_up()


# Before and after login.


def _announce(session: Session, stls: bytes = b"") -> None:
    # RFC 2449 section 6: USER and SASL are announced in both states, and alike.
    login = b"USER\r\nSASL %b\r\n" % b" ".join(sasl.MECHANISMS) if session.may_log_in else b""
    session.replies.ok(texts.CAPABILITIES)
    session.replies.say(
        b"TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\n"
        b"UTF8 USER\r\nLANG\r\n%b%bIMPLEMENTATION %b\r\n.\r\n"
        % (login, stls, session.policy.implementation.encode())
    )


def _lang(session: Session, argument: bytes) -> None:
    if not argument:
        listed = (b"%b %b\r\n" % (tag, name) for tag, (_, name) in texts.LANGUAGES.items())
        session.replies.ok(texts.LANGUAGE_LIST)
        session.replies.say(b"".join((*listed, b".\r\n")))
        return
    tag = texts.PREFERRED_LANGUAGE if argument == b"*" else argument.lower()
    while tag and tag not in texts.LANGUAGES:
        tag = tag.rpartition(b"-")[0]  # RFC 4647 section 3.4: who asks for de-AT is content with de
    if not tag:
        raise Refusal(texts.UNKNOWN_LANGUAGE, bad=False)
    session.replies.language, _ = texts.LANGUAGES[tag]
    session.replies.ascii_only = False
    session.replies.ok(texts.LANGUAGE_CHOSEN, tag)  # RFC 6856 section 3: the tag, then text in that language


def _id(session: Session, argument: bytes) -> None:
    session.program = program_from(argument)
    session.replies.ok(texts.NOTED)


# After login.


def _stat(session: Session, argument: bytes) -> None:
    _no_argument(argument)
    session.replies.say(b"+OK %d %d\r\n" % session.marks.totals())


def _list(session: Session, argument: bytes) -> None:
    marks = session.marks
    if argument:
        number = marks.number(argument)
        session.replies.say(b"+OK %d %d\r\n" % (number, marks.maildrop.octets_of(number)))
        return
    session.replies.ok(texts.MAILDROP, *marks.totals())
    session.replies.say(marks.unmarked(marks.maildrop.scan_listing()))
    session.replies.say(b".\r\n")


def _uidl(session: Session, argument: bytes) -> None:
    marks = session.marks
    if argument:
        number = marks.number(argument)
        session.replies.say(b"+OK %d %b\r\n" % (number, marks.maildrop.uidl_of(number).encode("ascii")))
        return
    session.replies.ok(texts.MAILDROP, *marks.totals())
    session.replies.say(marks.unmarked(marks.maildrop.unique_listing()))
    session.replies.say(b".\r\n")


def _retr(session: Session, argument: bytes) -> Retrieve:
    return Retrieve(session.marks.number(argument), None)


def _top(session: Session, argument: bytes) -> Retrieve:
    number, _, lines = argument.partition(b" ")
    lines = lines.lstrip(b" ")
    # RFC 1939 section 7: both arguments are required, and the lines are not negative.
    if not lines.isdigit() or len(lines) > MAX_DIGITS:
        raise Refusal(texts.TOP_ARGUMENTS)
    return Retrieve(session.marks.number(number), int(lines))


def _dele(session: Session, argument: bytes) -> None:
    number = session.marks.number(argument)
    session.marks.delete(number)
    session.deleted += 1
    session.replies.ok(texts.MARKED, number)


def _noop(session: Session, argument: bytes) -> None:
    _no_argument(argument)
    session.replies.ok(texts.STILL_HERE)


def _rset(session: Session, argument: bytes) -> None:
    _no_argument(argument)
    session.marks.reset()
    session.deleted = 0
    session.replies.ok(texts.MAILDROP, *session.marks.totals())


def _capa(session: Session, argument: bytes) -> None:
    _no_argument(argument)
    _announce(session)


def _quit(session: Session, argument: bytes) -> Expunge | None:
    _no_argument(argument)
    if session.deleted:
        session.state = State.UPDATE
        return Expunge(session.marks.deleted)
    session.replies.ok(texts.GOODBYE)
    session.said_goodbye = True
    session.hang_up()
    return None


def _no_argument(argument: bytes) -> None:
    if argument:
        raise Refusal(texts.TAKES_NO_ARGUMENT)


COMMANDS: Final[Mapping[State, Mapping[bytes, Callable[[Session, bytes], Event | None]]]] = {
    State.AUTHORIZATION: {
        b"USER": _user,
        b"PASS": _pass,
        b"AUTH": _auth,
        b"STLS": _stls,
        b"UTF8": _utf8,  # RFC 6856 section 2: in this state only
        b"CAPA": _capa_before_login,
        b"LANG": _lang,
        b"ID": _id,
        b"QUIT": _quit_before_login,
    },
    State.TRANSACTION: {
        b"STAT": _stat,
        b"LIST": _list,
        b"UIDL": _uidl,
        b"RETR": _retr,
        b"TOP": _top,
        b"DELE": _dele,
        b"NOOP": _noop,
        b"RSET": _rset,
        b"CAPA": _capa,
        b"LANG": _lang,
        b"ID": _id,
        b"QUIT": _quit,
    },
    State.UPDATE: {},
    State.CLOSED: {},
}
NOT_HERE: Final = {State.AUTHORIZATION: texts.LOG_IN_FIRST, State.TRANSACTION: texts.ONLY_BEFORE_LOGIN}
