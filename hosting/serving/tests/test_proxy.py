"""The PROXY protocol: every header of the specification, every split of it, and what is none."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosting.serving.proxy import V2_SIGNATURE, ProxyError, ProxyHeader

pytestmark = pytest.mark.once

Source = tuple[str, int] | None

IPV4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + (40000).to_bytes(2, "big") + (110).to_bytes(2, "big")
IPV6 = (
    bytes.fromhex("20010db8000000000000000000000001")
    + bytes.fromhex("20010db8000000000000000000000002")
    + (40001).to_bytes(2, "big")
    + (995).to_bytes(2, "big")
)
TLV = b"\x04\x00\x03abc"


def v2(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    stated = len(block) if length is None else length
    return V2_SIGNATURE + bytes([command, family]) + stated.to_bytes(2, "big") + block


LONGEST_V1 = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"

VALID: list[tuple[bytes, Source]] = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 110\r\n", ("192.0.2.1", 40000)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 40001 995\r\n", ("2001:db8::1", 40001)),
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 0 110\r\n", ("192.0.2.1", 0)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n", None),
    (LONGEST_V1, None),
    (v2(0x21, 0x11, IPV4), ("192.0.2.1", 40000)),
    (v2(0x21, 0x11, IPV4 + TLV), ("192.0.2.1", 40000)),
    (v2(0x21, 0x21, IPV6), ("2001:db8::1", 40001)),
    (v2(0x21, 0x21, IPV6 + TLV), ("2001:db8::1", 40001)),
    (v2(0x21, 0x31, b"\0" * 216), None),
    (v2(0x21, 0x00, b""), None),
    (v2(0x21, 0x00, TLV), None),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, IPV4), None),
    (v2(0x20, 0xFF, b"any"), None),
    (v2(0x21, 0x11, IPV4.ljust(2048, b"\0")), ("192.0.2.1", 40000)),
]

MALFORMED = [
    b"USER ann\r\n",
    b"proxy TCP4 192.0.2.1 198.51.100.2 40000 110\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP5 192.0.2.1 198.51.100.2 40000 110\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 110 1\r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.2 40000 110\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 110 \r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 110\n\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.2 40000 110\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.300 40000 110\r\n",
    b"PROXY TCP4 192.0.02.1 198.51.100.2 40000 110\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 40001 995\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.2 40000 110\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::2 40001 995\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 110\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 65536\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 +4000 110\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 04000 110\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 \xd9\xa1 110\r\n",
    b"PROXY TCP4 \xff 198.51.100.2 40000 110\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 1000,
    v2(0x11, 0x11, IPV4),
    v2(0x31, 0x11, IPV4),
    v2(0x22, 0x11, IPV4),
    v2(0x21, 0x12, IPV4),
    v2(0x21, 0x22, IPV6),
    v2(0x21, 0x10, IPV4),
    v2(0x21, 0x41, IPV4),
    v2(0x21, 0x11, IPV4[:-1]),
    v2(0x21, 0x21, IPV6[:-1]),
    v2(0x21, 0x31, b"\0" * 215),
    v2(0x21, 0x11, IPV4, length=2049),
    v2(0x21, 0x11, b"\0" * 2049),
    V2_SIGNATURE[:-1] + b"X",
]


def read(pieces: list[bytes]) -> tuple[bool, Source, bytes] | str:
    """Feed the pieces as a door does and return (done, source, all that followed), or the error's text."""
    header = ProxyHeader()
    try:
        for number, piece in enumerate(pieces):
            header.feed(piece)
            if header.done:
                return True, header.source, header.rest + b"".join(pieces[number + 1 :])
    except ProxyError as error:
        return str(error)
    return False, header.source, header.rest


def octets(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(("data", "source"), VALID)
def test_a_valid_header_gives_the_source_and_leaves_the_rest(data: bytes, source: Source) -> None:
    assert read([data]) == (True, source, b"")
    assert read([data + b"USER ann\r\n"]) == (True, source, b"USER ann\r\n")
    assert read(octets(data + b"USER ann\r\n")) == (True, source, b"USER ann\r\n")
    assert read([data[:-1]]) == (False, None, b"")


@pytest.mark.parametrize("data", MALFORMED)
def test_a_malformed_header_is_an_error_whole_and_octet_by_octet(data: bytes) -> None:
    whole = read([data])
    assert isinstance(whole, str)
    assert read(octets(data)) == whole


def test_the_longest_version_1_line_has_107_octets() -> None:
    assert len(LONGEST_V1) == 107


def test_nothing_is_taken_after_the_header() -> None:
    header = ProxyHeader()
    header.feed(b"PROXY UNKNOWN\r\nA")
    with pytest.raises(ValueError, match="complete"):
        header.feed(b"B")
    assert header.rest == b"A"


def test_memory_is_bounded_by_the_longest_header() -> None:
    for begin in (b"PROXY UNKNOWN ", V2_SIGNATURE + b"\x21\x11\x08\x00"):
        header = ProxyHeader()
        header.feed(begin)
        taken = len(begin)
        try:
            while not header.done and taken < 4096:
                header.feed(b"x")
                taken += 1
        except ProxyError:
            pass
        assert taken <= 16 + 2048


headers = st.one_of(
    st.sampled_from([data for data, _ in VALID] + MALFORMED),
    st.binary(max_size=64),
    st.binary(max_size=120).map(lambda tail: b"PROXY " + tail),
    st.text(alphabet="PROXYTCUNKW46 .:0129\r\n", max_size=120).map(lambda tail: b"PROXY " + tail.encode()),
    st.binary(max_size=300).map(lambda tail: V2_SIGNATURE + tail),
    st.builds(v2, st.sampled_from([0x20, 0x21]), st.integers(0, 255), st.binary(max_size=240)),
)


@given(data=headers, tail=st.binary(max_size=20), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_any_split_of_any_bytes_gives_the_same_result(data: bytes, tail: bytes, cuts: list[int]) -> None:
    stream = data + tail
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    whole = read([stream])
    assert read(pieces) == whole
    assert read(octets(stream)) == whole


@given(data=headers, at=st.integers(0, 400), octet=st.integers(0, 255))
def test_a_changed_octet_is_read_or_refused_and_never_anything_else(data: bytes, at: int, octet: int) -> None:
    changed = data[:at] + bytes([octet]) + data[at + 1 :]
    outcome = read([changed])
    assert isinstance(outcome, str) or outcome[0] or len(changed) < 16 + 2048
