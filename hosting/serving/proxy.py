"""The PROXY protocol, versions 1 and 2: who the client behind a load balancer is. Pure, without I/O.

Source: HAProxy's doc/proxy-protocol.txt, cited as "PROXY section n". A door feeds this only with what comes
from networks that the operator trusts, since whoever may send the header may claim any address (PROXY section
5).
"""

import re
from ipaddress import IPv4Address, IPv6Address

V1_PREFIX = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

V1_MAX = 107
"""Octets of the longest version 1 line with its CRLF (PROXY section 2.1)."""

V2_HEAD = 16
"""Octets of version 2 before the addresses: signature, command, family, length (PROXY section 2.2)."""

V2_MAX_LENGTH = 2048
"""Octets of addresses and TLVs that we take: the longest addresses have 216, the rest is room for TLVs."""

_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _UDP4, _TCP6, _UDP6 = 0x11, 0x12, 0x21, 0x22
_DATAGRAMS = {_UDP4, _UDP6, 0x32}
# Family and transport byte -> octets of addresses that must follow (PROXY section 2.2).
_V2_ADDRESSES = {0x00: 0, _TCP4: 12, _UDP4: 12, _TCP6: 36, _UDP6: 36, 0x31: 216, 0x32: 216}
_DECIMAL_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


class ProxyError(ValueError):
    """The peer sent no valid PROXY header; the connection has to end (PROXY section 2)."""


class ProxyHeader:
    """Read one header, fed in pieces of any size; every split of the same bytes gives the same result.

    `done` tells that the header is complete. `source` is then the client's (address, port), or None where the
    socket's own peer stands (LOCAL, UNKNOWN, or no IP address). `rest` is what the last piece held after the
    header. Keeps at most the header and the last piece in memory.
    """

    def __init__(self) -> None:
        self.done = False
        self.source: tuple[str, int] | None = None
        self.rest = b""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes; ProxyError once they cannot become a header, ValueError when it was
        complete."""
        if self.done:
            raise ValueError("the PROXY header is complete: what follows belongs to the protocol inside")
        self._buffer += data
        if self._begins_with(V2_SIGNATURE):
            self._read_v2()
        elif self._begins_with(V1_PREFIX):
            self._read_v1()
        else:
            raise ProxyError("no PROXY header")

    def _begins_with(self, prefix: bytes) -> bool:
        """Tell whether the bytes so far begin with the prefix, or may still come to."""
        return self._buffer.startswith(prefix[: len(self._buffer)])

    def _finish(self, length: int, source: tuple[str, int] | None) -> None:
        self.done = True
        self.source = source
        self.rest = bytes(self._buffer[length:])
        self._buffer = bytearray()

    def _read_v1(self) -> None:
        end = self._buffer.find(b"\r\n", 0, V1_MAX)
        if end >= 0:
            self._finish(end + 2, _v1_source(bytes(self._buffer[:end])))
        elif len(self._buffer) >= V1_MAX:
            raise ProxyError(f"version 1 line is longer than {V1_MAX} octets")

    def _read_v2(self) -> None:
        buffer = self._buffer
        if len(buffer) > 12 and buffer[12] not in (_LOCAL, _PROXY):
            raise ProxyError(f"version and command 0x{buffer[12]:02x} are unknown")
        if len(buffer) < V2_HEAD:
            return
        length = int.from_bytes(buffer[14:V2_HEAD], "big")
        if length > V2_MAX_LENGTH:
            raise ProxyError(f"header of {length} octets is longer than {V2_MAX_LENGTH}")
        if len(buffer) >= V2_HEAD + length:
            block = bytes(buffer[V2_HEAD : V2_HEAD + length])
            # PROXY section 2.2: for LOCAL the receiver must discard the block, family included (health
            # checks).
            source = None if buffer[12] == _LOCAL else _v2_source(buffer[13], block)
            self._finish(V2_HEAD + length, source)


def _v1_source(line: bytes) -> tuple[str, int] | None:
    """Read `PROXY TCP4 source destination port port`, without its CRLF (PROXY section 2.1)."""
    fields = line.split(b" ")
    if fields[1] == b"UNKNOWN":
        return None  # PROXY section 2.1: anything up to the CRLF is ignored
    if len(fields) != 6 or fields[1] not in (b"TCP4", b"TCP6"):
        raise ProxyError("version 1 line is not 'PROXY TCP4|TCP6 source destination port port'")
    kind = IPv4Address if fields[1] == b"TCP4" else IPv6Address
    if b"%" in line:  # ipaddress would take a scope, which means nothing from another machine
        raise ProxyError("version 1 line has a scoped address")
    try:
        source, _ = (str(kind(field.decode("ascii"))) for field in fields[2:4])
    except ValueError:
        raise ProxyError(f"version 1 line has no two {fields[1].decode()} addresses") from None
    port, _ = (_v1_port(field) for field in fields[4:6])
    return source, port


def _v1_port(field: bytes) -> int:
    if not _DECIMAL_PORT.fullmatch(field) or int(field) > 65535:
        raise ProxyError("version 1 line has no two ports")
    return int(field)


def _v2_source(family: int, block: bytes) -> tuple[str, int] | None:
    """Read the source from the block of addresses; TLVs after them are skipped (PROXY section 2.2)."""
    if family not in _V2_ADDRESSES or family in _DATAGRAMS:
        # PROXY section 2.2: other values must be rejected; datagrams cannot be inside a stream.
        raise ProxyError(f"address family and transport 0x{family:02x} are not for a mail connection")
    if len(block) < _V2_ADDRESSES[family]:
        raise ProxyError(f"{len(block)} octets are too few for addresses of family 0x{family:02x}")
    if family == _TCP4:
        return str(IPv4Address(block[:4])), int.from_bytes(block[8:10], "big")
    if family == _TCP6:
        return str(IPv6Address(block[:16])), int.from_bytes(block[32:34], "big")
    return None
