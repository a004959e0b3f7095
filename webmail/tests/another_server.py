"""Another provider's POP3 server, for tests of fetching: as well or as badly behaved as a test wants."""

import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import trustme

NAME = "pop.other.test"


@dataclass
class Maildrop:
    """What lies there, and how the server is. `replies`: what it answers to a command instead of the truth;
    None: it hangs up. `cut_at`: the message in whose middle it hangs up."""

    messages: list[bytes] = field(default_factory=list)
    uidls: list[str] = field(default_factory=list)
    password: str = "their password"
    security: str = "tls"
    pipelining: bool = True
    replies: dict[str, bytes | None] = field(default_factory=dict)
    greeting: bytes = b"+OK ready\r\n"
    cut_at: int = 0
    # What somebody on the way puts behind the +OK to STLS.
    injected: bytes = b""
    # What it saw.
    commands: list[str] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)


class AnotherServer:
    """Listens on a port of this machine until it is closed; one session after the other."""

    def __init__(self, maildrop: Maildrop, authority: trustme.CA, name: str = NAME) -> None:
        self.maildrop = maildrop
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self._tls)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._listening.shutdown(socket.SHUT_RDWR)
            self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listening.accept()
            except OSError:
                return
            with suppress(OSError, ValueError):
                self._session(stream)

    def _session(self, stream: socket.socket) -> None:
        """One session; whatever happens in it, its sockets are closed."""
        with ExitStack() as closing:
            closing.callback(stream.close)
            if self.maildrop.security == "tls":
                stream = self._tls.wrap_socket(stream, server_side=True)
                closing.callback(stream.close)
            reader = stream.makefile("rb")
            closing.callback(reader.close)
            stream.sendall(self.maildrop.greeting)
            marked: set[int] = set()
            while line := reader.readline():
                word, _, rest = line.decode().strip().partition(" ")
                self.maildrop.commands.append(word if word == "PASS" else line.decode().strip())
                if word in self.maildrop.replies:
                    reply = self.maildrop.replies[word]
                    if reply is None:
                        return
                    stream.sendall(reply)
                    continue
                if word == "STLS" and self.maildrop.security == "starttls":
                    stream.sendall(b"+OK\r\n" + self.maildrop.injected)
                    reader.close()
                    stream = self._tls.wrap_socket(stream, server_side=True)
                    closing.callback(stream.close)
                    reader = stream.makefile("rb")
                    closing.callback(reader.close)
                    continue
                answer = self._answer(word, rest, marked)
                if answer is None:
                    return
                if word == "QUIT":
                    self.maildrop.deleted |= marked  # before it is answered: who hears of it may look at once
                stream.sendall(answer)
                if word == "QUIT":
                    return

    def _answer(self, word: str, rest: str, marked: set[int]) -> bytes | None:
        drop = self.maildrop
        numbered = list(enumerate(drop.messages, 1))
        if word == "PASS" and rest != drop.password:
            return b"-ERR [AUTH] who are\x1b[31m you\r\n"
        if word == "CAPA":
            return b"+OK\r\nUIDL\r\nTOP\r\n" + b"PIPELINING\r\n" * drop.pipelining + b".\r\n"
        if word == "LIST":
            return b"+OK\r\n" + b"".join(b"%d %d\r\n" % (n, len(m)) for n, m in numbered) + b".\r\n"
        if word == "UIDL":
            named = zip(range(1, len(drop.uidls) + 1), drop.uidls, strict=True)
            return b"+OK\r\n" + b"".join(b"%d %s\r\n" % (n, u.encode()) for n, u in named) + b".\r\n"
        if word == "RETR":
            message = drop.messages[int(rest) - 1]
            stuffed = b"\r\n".join(
                b"." + line if line.startswith(b".") else line for line in message.split(b"\r\n")
            )
            if drop.cut_at == int(rest):
                drop.replies["RETR"] = None
                return b"+OK\r\n" + stuffed[: len(stuffed) // 2]
            return b"+OK\r\n" + stuffed + b"." + b"\r\n"
        if word == "TOP":
            header, _, _ = drop.messages[int(rest.split()[0]) - 1].partition(b"\r\n\r\n")
            return b"+OK\r\n" + header + b"\r\n\r\n.\r\n"
        if word == "DELE":
            marked.add(int(rest))
        if word in {"USER", "PASS", "DELE", "QUIT"}:
            return b"+OK\r\n"
        return b"-ERR what\r\n"
