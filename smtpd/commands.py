"""The commands of LMTP and SMTP, and in which dialect and state each of them is refused.

A command takes the session and its argument, without surrounding white space. It says its reply, asks the
server for it, or raises a Refusal.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from smtpd import content, replies
from smtpd.events import Envelope, Recipient, StartTLS
from smtpd.paths import parse_mail, parse_rcpt
from smtpd.replies import Refusal, Reply, printable
from smtpd.session import Dialect, Session, State

# RFC 5321 section 4.5.3.1.2: a domain has at most 255 octets.
_MAX_HELLO = 255
_NOT_HELLO = re.compile(r"[^A-Za-z0-9._:\[\]+-]")
# RFC 3030 section 2: chunk-size is 1*DIGIT; 20 digits, as many as SIZE has, are beyond any chunk.
_CHUNK = re.compile(r"([0-9]{1,20})(?:[ \t]+(.*))?")


# The greeting.


def _ehlo(session: Session, argument: str) -> None:
    _greeted(session, argument, extended=True)
    policy = session.policy
    # RFC 5321 section 4.1.1.1: the greeting first, then a line for each extension.
    lines = [f"{policy.hostname} greets {printable(argument)} [{printable(session.peer)}]"]
    lines += ["PIPELINING", f"SIZE {policy.size_limit}", "8BITMIME", "SMTPUTF8"]
    lines += ["ENHANCEDSTATUSCODES", "CHUNKING"]
    # RFC 3207 section 4.2: not offered again inside TLS.
    if policy.tls_offered and not session.secure:
        lines.append("STARTTLS")
    lines.append("HELP")
    session.send(Reply(250, "", "\n".join(lines)))


def _helo(session: Session, argument: str) -> None:
    _greeted(session, argument, extended=False)
    session.send(Reply(250, "", session.policy.hostname))


def _greeted(session: Session, argument: str, *, extended: bool) -> None:
    if len(argument) > _MAX_HELLO or " " in argument or "\t" in argument:
        raise Refusal(replies.BAD_HELLO)
    # RFC 5321 section 4.1.4: a name that is not true, or not well formed, is no reason to refuse mail.
    session.helo = _NOT_HELLO.sub("?", argument)
    session.extended = extended
    # RFC 5321 section 4.1.4: a greeting in the middle of a message is a RSET.
    session.reset("greeted anew")


def _starttls(session: Session, _: str) -> None:
    if session.secure:
        raise Refusal(replies.TLS_ALREADY)
    if not session.policy.tls_offered:
        raise Refusal(replies.NOT_OFFERED)
    session.forget_client("STARTTLS")
    session.send(replies.READY_FOR_TLS)
    session.ask(StartTLS())


# The envelope.


def _mail(session: Session, argument: str) -> None:
    mail = parse_mail(argument)
    # RFC 1870 section 6.1: a message that is declared too large is refused before it is sent.
    if mail.size is not None and mail.size > session.policy.size_limit:
        session.send(replies.TOO_LARGE)
        return
    if session.transactions >= session.policy.max_transactions:
        session.send(replies.TOO_MANY_TRANSACTIONS)
        return
    protocol = _protocol(session, mail.smtputf8)
    session.begin(Envelope(mail.sender, session.helo, protocol, mail.smtputf8, mail.size, mail.body))
    session.send(replies.SENDER_OK)


def _protocol(session: Session, smtputf8: bool) -> str:
    """What RFC 3848 and RFC 6531 section 4.3 call this conversation."""
    if not session.extended and not smtputf8:
        return "SMTP"
    lmtp = session.policy.dialect is Dialect.LMTP
    plain, utf8 = ("LMTP", "UTF8LMTP") if lmtp else ("ESMTP", "UTF8SMTP")
    return (utf8 if smtputf8 else plain) + ("S" if session.secure else "")


def _rcpt(session: Session, argument: str) -> None:
    envelope = session.envelope
    address = parse_rcpt(argument, smtputf8=envelope.smtputf8)
    if len(envelope.recipients) >= session.policy.max_recipients:
        session.send(replies.TOO_MANY_RECIPIENTS)
    else:
        session.ask(Recipient(address, envelope))


# The content.


def _data(session: Session, _: str) -> None:
    content.begin_data(session)
    session.send(replies.SEND_MESSAGE)


def _bdat(session: Session, argument: str) -> None:
    match = _CHUNK.fullmatch(argument)
    if match is None:
        # RFC 3030 section 2: the chunk follows at once. Where it ends cannot be told, and what is in it must
        # not be taken for commands.
        raise Refusal(replies.BAD_CHUNK_SIZE, final=True)
    keyword = (match[2] or "").upper()
    refusal = BDAT_REFUSED_IN.get(session.state)
    if keyword not in ("", "LAST"):
        refusal = replies.BAD_CHUNK_KEYWORD
    content.begin_chunk(session, int(match[1]), last=keyword == "LAST", refusal=refusal)


# At any time.


def _rset(session: Session, _: str) -> None:
    session.reset("RSET")
    session.send(replies.OK)


def _noop(session: Session, _: str) -> None:
    session.send(replies.OK)


def _help(session: Session, _: str) -> None:
    session.send(replies.HELP)


def _vrfy(session: Session, _: str) -> None:
    session.send(replies.WILL_NOT_VERIFY)


def _not_offered(session: Session, _: str) -> None:
    raise Refusal(replies.NOT_OFFERED)


def _quit(session: Session, _: str) -> None:
    session.send(replies.GOODBYE)
    session.hang_up("QUIT")


class Argument(Enum):
    """Whether a command has one."""

    NONE = auto()
    MAY = auto()
    NEEDED = auto()


LMTP_ONLY = frozenset({Dialect.LMTP})
SMTP_ONLY = frozenset({Dialect.SMTP})
BOTH = LMTP_ONLY | SMTP_ONLY


@dataclass(frozen=True, slots=True)
class Command:
    """What a verb does, and in which states it is refused, with what."""

    obey: Callable[[Session, str], None]
    argument: Argument
    refused_in: Mapping[State, Reply] = field(default_factory=dict)
    dialects: frozenset[Dialect] = BOTH


COMMANDS = {
    # RFC 2033 section 4.1: LMTP has LHLO, and must answer 500 to HELO and EHLO; SMTP does not know LHLO.
    "LHLO": Command(_ehlo, Argument.NEEDED, dialects=LMTP_ONLY),
    "EHLO": Command(_ehlo, Argument.NEEDED, dialects=SMTP_ONLY),
    "HELO": Command(_helo, Argument.NEEDED, dialects=SMTP_ONLY),
    "MAIL": Command(
        _mail,
        Argument.NEEDED,
        {
            State.FRESH: replies.HELLO_FIRST,
            # RFC 5321 section 4.1.4: MAIL inside a transaction is 503.
            State.SENDER: replies.NESTED_MAIL,
            State.RECIPIENTS: replies.NESTED_MAIL,
            State.CHUNKS: replies.NESTED_MAIL,
        },
    ),
    "RCPT": Command(
        _rcpt,
        Argument.NEEDED,
        {
            State.FRESH: replies.HELLO_FIRST,
            State.IDLE: replies.MAIL_FIRST,
            State.CHUNKS: replies.CHUNKS_BEGUN,
        },
    ),
    "DATA": Command(
        _data,
        Argument.NONE,
        {
            State.FRESH: replies.HELLO_FIRST,
            State.IDLE: replies.MAIL_FIRST,
            State.SENDER: replies.NO_RECIPIENTS,
            State.CHUNKS: replies.CHUNKS_BEGUN,
        },
    ),
    # Refused by itself, see BDAT_REFUSED_IN, for its chunk is to be read first.
    "BDAT": Command(_bdat, Argument.MAY),
    "RSET": Command(_rset, Argument.NONE),
    "NOOP": Command(_noop, Argument.MAY),
    "HELP": Command(_help, Argument.MAY),
    "VRFY": Command(_vrfy, Argument.NEEDED),
    "EXPN": Command(_not_offered, Argument.MAY),
    "AUTH": Command(_not_offered, Argument.MAY),
    "STARTTLS": Command(_starttls, Argument.NONE),
    "QUIT": Command(_quit, Argument.NONE),
}
BDAT_REFUSED_IN = {
    State.FRESH: replies.HELLO_FIRST,
    State.IDLE: replies.MAIL_FIRST,
    State.SENDER: replies.NO_RECIPIENTS,
}
