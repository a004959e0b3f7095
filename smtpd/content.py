"""The content of a message, from DATA or BDAT to its end, or as far beyond the size limit as we read on."""

from mailboxes.wire import DataReader, Stuffer
from smtpd import replies
from smtpd.events import MessageData, MessageEnded, MessageStarted
from smtpd.lines import Input
from smtpd.replies import Refusal, Reply
from smtpd.session import Chunk, Content, Session, State

# A message over the limit is read to its end all the same, for only so does its sender hear 552 and stop
# trying; one that is cut off is sent again for days. A sender that goes on beyond so many times the limit
# (and a margin, for small limits) is cut off.
DISCARD_FACTOR = 4
DISCARD_MARGIN = 16 * 1024 * 1024

_OVER_LIMIT = "over the size limit"


# DATA: RFC 5321 section 4.1.1.4.


def begin_data(session: Session) -> None:
    session.content = Content(DataReader())
    session.tell(MessageStarted(session.envelope))
    session.state = State.DATA


def read_data(session: Session, arrived: Input) -> bool:
    """Works off what has arrived after DATA; False when that is nothing."""
    data = arrived.take()
    if not data:
        return False
    content = session.content
    assert content is not None
    reader = content.reader
    assert isinstance(reader, DataReader)
    _collect(session, content, reader.feed(data))
    if reader.octets > _discard_limit(session):
        _cut_off(session, session.final_replies)
    elif reader.done:
        arrived.put_back(reader.rest)
        _end_content(session, content)
    return True


# BDAT: RFC 3030 section 2.


def begin_chunk(session: Session, size: int, *, last: bool, refusal: Reply | None) -> None:
    """So many octets follow. A chunk that is refused is read all the same, and answered at its end."""
    then = session.state if refusal else State.CHUNKS
    session.chunk = Chunk(size, size, last, refusal, then)
    session.state = State.CHUNK
    if refusal is None:
        _announce(session, size)
    else:
        _discard(session, size)


def read_chunk(session: Session, arrived: Input) -> bool:
    """Works off what has arrived after BDAT; False when that is nothing. Refusal: the chunk was not taken."""
    chunk, content = session.chunk, session.content
    assert chunk is not None
    if chunk.left:
        data = arrived.take(chunk.left)
        if not data:
            return False
        chunk.left -= len(data)
        if chunk.refusal is None:
            assert content is not None
            if content.collecting:
                _collect(session, content, content.reader.feed(data))
    if not chunk.left:
        _end_chunk(session, chunk)
    return True


def _announce(session: Session, size: int) -> None:
    """A chunk of so many octets is taken; if the message becomes too large by it, it is known now."""
    too_large = session.octets + size > session.policy.size_limit
    content = session.content
    if content is None:
        content = session.content = Content(Stuffer(), collecting=not too_large)
        if not too_large:
            session.tell(MessageStarted(session.envelope))
    elif too_large:
        session.abort(_OVER_LIMIT)
    if not content.collecting:
        _discard(session, size)


def _end_chunk(session: Session, chunk: Chunk) -> None:
    session.chunk = None
    session.state = chunk.then
    if chunk.refusal is not None:
        raise Refusal(chunk.refusal)
    content = session.content
    assert content is not None and isinstance(content.reader, Stuffer)
    if chunk.last:
        _collect(session, content, content.reader.finish())
        _end_content(session, content)
    else:
        session.send(replies.chunk_taken(chunk.size) if content.collecting else replies.TOO_LARGE)


# Both.


def _collect(session: Session, content: Content, wire: bytes) -> None:
    """Gives what was read to the server, unless the message is too large."""
    if content.reader.octets > session.policy.size_limit:
        session.abort(_OVER_LIMIT)
    elif wire and content.collecting:
        session.tell(MessageData(wire))


def _end_content(session: Session, content: Content) -> None:
    if content.collecting:
        session.ask(MessageEnded(session.envelope, content.reader.octets))
    else:
        # RFC 1870 section 6.3: 552 after the end of a message that was found too large.
        session.end_transaction([replies.TOO_LARGE] * session.final_replies)


def _discard(session: Session, size: int) -> None:
    """A chunk of so many octets will be passed over; ends the connection if that is more than enough."""
    session.discarded += size
    if session.discarded > _discard_limit(session):
        _cut_off(session, 1)


def _discard_limit(session: Session) -> int:
    return session.policy.size_limit * DISCARD_FACTOR + DISCARD_MARGIN


def _cut_off(session: Session, answers: int) -> None:
    # 552 and not 421: the sender who reads it stops trying.
    for _ in range(answers):
        session.send(replies.TOO_LARGE)
    session.hang_up(_OVER_LIMIT)
