"""What the SMTP and LMTP door can answer, each reply by a name.

A reply has a code of RFC 5321 section 4.2.3, an enhanced code of RFC 3463 (empty where RFC 2034 section 4
wants none: the greeting, the answers to EHLO and its kin, 354) and a text. No text tells anything of the
inside.
"""

from dataclasses import dataclass

from mailboxes.wire import MAX_REPLY_LINE

# What a peer sent is echoed only this far: enough to be recognised, not enough to be a message of its own.
ECHO_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; `text` may have several lines, parted by LF."""

    code: int
    enhanced: str
    text: str

    def encode(self) -> bytes:
        """The reply as it travels: printable ASCII, CRLF after each line, at most 512 octets a line."""
        *before, last = [self._line(line) for line in self.text.split("\n")]
        lines = [f"{self.code}-{line}" for line in before] + [f"{self.code} {last}"]
        # RFC 5321 section 4.5.3.1.5: 512 octets a reply line, with the code and the CRLF.
        return b"".join(line.encode("ascii")[: MAX_REPLY_LINE - 2] + b"\r\n" for line in lines)

    def _line(self, text: str) -> str:
        # RFC 2034 section 4: the enhanced code stands on every line of the reply.
        return printable(f"{self.enhanced} {text}" if self.enhanced else text, MAX_REPLY_LINE)


class Refusal(Exception):
    """A command cannot be obeyed; `reply` says why. `final`: nothing that may follow can be obeyed either."""

    def __init__(self, reply: Reply, *, final: bool = False) -> None:
        super().__init__(reply.text)
        self.reply = reply
        self.final = final


def printable(text: str, limit: int = ECHO_LIMIT) -> str:
    """`text` fit to be said: all but printable ASCII becomes "?", and at most `limit` characters remain."""
    text = text[:limit]
    if text.isascii() and text.isprintable():  # nearly all
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)


# Success

GOODBYE = Reply(221, "2.0.0", "Goodbye")
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")
OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
# RFC 5321 section 3.5.3: 252 is the answer of a server that will not say who has a mailbox here.
WILL_NOT_VERIFY = Reply(252, "2.5.0", "Cannot VRFY user, but will take mail and try to deliver it")
# RFC 5321 section 4.1.1.4
SEND_MESSAGE = Reply(354, "", "Send the message, end with <CRLF>.<CRLF>")
# RFC 5321 section 4.1.1.8
HELP = Reply(
    214,
    "2.0.0",
    "LHLO EHLO HELO MAIL RCPT DATA BDAT RSET VRFY NOOP HELP STARTTLS QUIT\n"
    "See RFC 5321, RFC 2033 and RFC 3030",
)


def delivered(queue_id: str) -> Reply:
    """The message is stored, durably, under this name, by which support staff can find it."""
    return Reply(250, "2.0.0", f"Delivered as {printable(queue_id)}")


def unknown_command(verb: str) -> Reply:
    """RFC 5321 section 4.2.4: 500 for what is not a command here."""
    return Reply(500, "5.5.1", f"Command not recognised: {printable(verb)}")


def chunk_taken(octets: int) -> Reply:
    """RFC 3030 section 2: the answer to each BDAT that is not the last."""
    return Reply(250, "2.0.0", f"{octets} octets received")


# What the store answers: RFC 3463 sections 3.2 to 3.4

DELIVERED = Reply(250, "2.0.0", "Delivered")
UNKNOWN_RECIPIENT = Reply(550, "5.1.1", "No such mailbox here")
RELAY_DENIED = Reply(550, "5.7.1", "Relaying denied: this host takes mail for its own domains only")
# RFC 3463 section 3.2: X.1.2, the destination system is not able to take mail, for good. X.1.1 would say of
# each name that it does not exist.
DOMAIN_CLOSED = Reply(550, "5.1.2", "This domain takes no mail any more")
MAILBOX_SUSPENDED = Reply(450, "4.2.1", "Mailbox is suspended, try again later")
OVER_QUOTA = Reply(452, "4.2.2", "Mailbox is full, try again later")
STORE_UNAVAILABLE = Reply(451, "4.3.0", "Mail cannot be stored now, try again later")
STORE_FULL = Reply(452, "4.3.1", "Not enough room to store mail now, try again later")
TOO_LARGE = Reply(552, "5.3.4", "Message is larger than this host takes")
# RFC 5321 section 6.3
LOOP = Reply(554, "5.4.6", "Too many Received fields: the message is in a loop")

# The end of the connection: RFC 5321 section 3.8. 421 always closes

TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections, try again later")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many bad commands, closing the connection")
# Not 452: a sender that is told 452 waits before it tries again; one that is told 421 connects anew.
TOO_MANY_TRANSACTIONS = Reply(421, "4.7.0", "Too many messages in one connection, connect again")
TIMED_OUT = Reply(421, "4.4.2", "Waited too long, closing the connection")
SHUTTING_DOWN = Reply(421, "4.3.2", "Shutting down, try again later")

# Refusals: syntax. RFC 5321 section 4.2.2, RFC 3463 section 3.6

MALFORMED_LINE = Reply(500, "5.5.2", "Command has control characters or is not UTF-8")
# RFC 5321 section 2.3.8: "Conforming implementations MUST NOT recognize or generate any other character or
# character sequence as a line terminator."
BARE_LF = Reply(500, "5.5.2", "Line ended with a bare LF; lines end with CRLF (RFC 5321 section 2.3.8)")
# RFC 5321 section 4.5.3.1.9: 500, line too long. RFC 4954 section 6 made X.5.6 for a line of AUTH; none is
# nearer.
LINE_TOO_LONG = Reply(500, "5.5.6", "Line too long")
NO_ARGUMENT_ALLOWED = Reply(501, "5.5.4", "This command takes no argument")
ARGUMENT_NEEDED = Reply(501, "5.5.4", "This command needs an argument")
BAD_HELLO = Reply(501, "5.5.4", "Give one host name or address literal")
BAD_CHUNK_SIZE = Reply(501, "5.5.4", "Syntax: BDAT size [LAST]; cannot tell where the chunk ends, closing")
BAD_CHUNK_KEYWORD = Reply(501, "5.5.4", "Syntax: BDAT size [LAST]")
BAD_PARAMETER = Reply(501, "5.5.4", "Malformed parameter or value")
REPEATED_PARAMETER = Reply(501, "5.5.4", "Parameter given twice")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not recognised or not supported")
MAIL_SYNTAX = Reply(501, "5.5.2", "Syntax: MAIL FROM:<address>, the angle brackets are needed")
RCPT_SYNTAX = Reply(501, "5.5.2", "Syntax: RCPT TO:<address>, the angle brackets are needed")
BAD_SENDER = Reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT = Reply(501, "5.1.3", "Bad recipient address syntax")
# RFC 5321 section 4.5.3.1.9: 501, path too long
SENDER_TOO_LONG = Reply(501, "5.1.7", "Sender address too long: local part 64, domain 255, path 256 octets")
RECIPIENT_TOO_LONG = Reply(501, "5.1.3", SENDER_TOO_LONG.text.replace("Sender", "Recipient"))
# RFC 6531 section 3.5
NOT_ASCII = Reply(553, "5.6.7", "Address is not ASCII; say SMTPUTF8 in MAIL to use it")

# Refusals: order and what is not offered

NOT_OFFERED = Reply(502, "5.5.1", "Command not offered")
HELLO_FIRST = Reply(503, "5.5.1", "Greet first: LHLO for LMTP, EHLO for SMTP")
MAIL_FIRST = Reply(503, "5.5.1", "MAIL first")
NESTED_MAIL = Reply(503, "5.5.1", "A message has been begun; end it or say RSET")
# RFC 2033 section 4.2: DATA without a valid recipient is 503.
NO_RECIPIENTS = Reply(503, "5.5.1", "No valid recipients")
# RFC 3030 section 2: DATA after BDAT in one transaction is 503.
CHUNKS_BEGUN = Reply(503, "5.5.1", "Not while a message is being sent with BDAT")
TLS_ALREADY = Reply(503, "5.5.1", "TLS is already in use")
# RFC 5321 section 4.5.3.1.10: 452, so that the sender sends to the others in another message.
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients, send to the others in another message")
