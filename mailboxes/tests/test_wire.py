"""The wire rules against slow, obvious ones of the same meaning, whole and in any pieces."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailboxes.wire import (
    CR_RUN,
    DataReader,
    Stuffer,
    TopCutter,
    Unstuffer,
    count_received,
    stuff,
    unstuff,
)

pytestmark = pytest.mark.once

END = b".\r\n"


# The obvious rules -----------------------------------------------------------------------------------


def split_lines(raw: bytes) -> list[tuple[bytes, bytes]]:
    """[(text, line end)]; the last has no end when nothing ends it. CR…CR LF is one end, up to CR_RUN CRs."""
    lines: list[tuple[bytes, bytes]] = []
    text, i = b"", 0
    while i < len(raw):
        crs = 0
        while crs <= CR_RUN and raw[i + crs : i + crs + 1] == b"\r":
            crs += 1
        if 0 < crs <= CR_RUN and raw[i + crs : i + crs + 1] == b"\n":
            lines.append((text, raw[i : i + crs + 1]))
            text, i = b"", i + crs + 1
        elif raw[i : i + 1] in (b"\r", b"\n"):
            lines.append((text, raw[i : i + 1]))
            text, i = b"", i + 1
        else:
            text, i = text + raw[i : i + 1], i + 1
    return [*lines, (text, b"")] if text else lines


def obvious_data(stream: bytes) -> tuple[bytes, bytes] | None:
    """(wire form, rest) of what follows DATA, or None when it does not end."""
    wire, after_crlf, at = b"", True, 0
    for text, end in split_lines(stream):
        at += len(text + end)
        if after_crlf and (text, end) == (b".", b"\r\n"):
            return wire, stream[at:]
        if text.startswith(b".") and (not after_crlf or text == b"."):
            text = b"." + text
        if end:
            wire += text + b"\r\n"
        after_crlf = end.endswith(b"\r\n")
    return None


def obvious_stuff(raw: bytes) -> bytes:
    return b"".join((b"." if t.startswith(b".") else b"") + t + b"\r\n" for t, _ in split_lines(raw))


def obvious_unstuff(wire: bytes) -> bytes:
    lines = wire.split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


def obvious_top(wire: bytes, count: int) -> bytes:
    lines = wire.split(b"\r\n")[:-1]
    empty = lines.index(b"") if b"" in lines else len(lines)
    return b"".join(line + b"\r\n" for line in lines[: empty + 1 + count])


# Helpers ---------------------------------------------------------------------------------------------


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def octets(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def read(parts: list[bytes]) -> tuple[DataReader, bytes]:
    reader = DataReader()
    wire = b"".join(reader.feed(part) for part in parts)
    return reader, wire


wirelike = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b".", b"\r\n.", b"\r\n.\r", b"a", b"bc", b"\x00", b"\xff", b"\r" * 7]
    )
).map(b"".join)
cuts = st.lists(st.integers(0, 10_000), max_size=8)
clean = st.lists(st.sampled_from([b"", b".", b"..", b"a", b".b", b"\x00\xff", b"Subject: x"])).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


# DataReader ------------------------------------------------------------------------------------------


@settings(max_examples=1500)
@given(wirelike, cuts)
def test_data_is_read_as_the_obvious_rules_say_in_any_pieces(stream: bytes, at: list[int]) -> None:
    stream = stream + b"\r\n.\r\nQUIT\r\n"
    expected = obvious_data(stream)
    assert expected is not None
    wire, rest = expected
    for parts in ([stream], octets(stream), pieces(stream, at)):
        reader, got = read(parts)
        assert (got, reader.rest, reader.done) == (wire, rest, True)
        assert reader.octets == len(unstuff(wire)) == len(obvious_unstuff(wire))
        assert reader.normalised == (wire != stream[: len(stream) - len(rest) - 3])


@settings(max_examples=500)
@given(wirelike, cuts)
def test_what_data_gives_is_wire_form(stream: bytes, at: list[int]) -> None:
    _, wire = read(pieces(stream + b"\r\n.\r\n", at))
    assert wire.replace(b"\r\n", b"").translate(None, b"\r\n") == wire.replace(b"\r\n", b"")
    assert b".\r\n" not in (wire[:3], *re.findall(rb"(?<=\n)\.\r\n", wire))
    assert wire == b"" or wire.endswith(b"\r\n")


@given(clean, cuts)
def test_clean_mail_passes_untouched(raw: bytes, at: list[int]) -> None:
    wire = stuff(raw)
    reader, got = read(pieces(wire + END, at))
    assert (got, reader.normalised, reader.octets, reader.rest) == (wire, False, len(raw), b"")


def test_a_clean_piece_is_not_even_copied() -> None:
    reader = DataReader()
    piece = b"Subject: x\r\n\r\n..dot\r\nhello"
    assert reader.feed(piece) is piece


@pytest.mark.parametrize(
    ("name", "likeness"),
    [
        ("LF.LF", b"\n.\n"),
        ("LF.CRLF", b"\n.\r\n"),
        ("CRLF.LF", b"\r\n.\n"),
        ("CRLF.CR", b"\r\n.\r"),
        ("CR.CR", b"\r.\r"),
        ("CR.CRLF", b"\r.\r\n"),
        ("CR.LF", b"\r.\n"),
        ("LF.CR", b"\n.\r"),
        ("CRLF.CRCRLF", b"\r\n.\r\r\n"),
    ],
)
def test_nothing_but_crlf_dot_crlf_ends_the_data(name: str, likeness: bytes) -> None:
    smuggled = b"MAIL FROM:<forged@example.test>\r\n"
    stream = b"one" + likeness + smuggled + b".\r\nQUIT\r\n"
    for parts in ([stream], octets(stream)):
        reader, wire = read(parts)
        assert reader.done
        assert reader.rest == b"QUIT\r\n"
        assert wire == b"one\r\n..\r\n" + smuggled
        assert unstuff(wire) == b"one\r\n.\r\n" + smuggled
        assert (reader.octets, reader.normalised) == (len(unstuff(wire)), True)


@pytest.mark.parametrize("likeness", [b"\r\n.\x00\r\n", b"\r\n\x00.\r\n", b"\r\x00\n.\r\n", b"\x00\n.\x00\n"])
def test_a_nul_near_a_dot_ends_nothing(likeness: bytes) -> None:
    reader, wire = read([b"one" + likeness + b"two\r\n.\r\n"])
    assert reader.done
    assert reader.rest == b""
    assert wire.endswith(b"two\r\n")
    assert wire.count(b"\x00") == likeness.count(b"\x00")


def test_a_sole_dot_line_at_once_is_the_empty_message() -> None:
    for parts in ([b".\r\nX"], octets(b".\r\nX")):
        reader, wire = read(parts)
        assert (wire, reader.octets, reader.rest) == (b"", 0, b"X")


def test_the_end_is_seen_after_cr_cr_lf_where_a_sender_sees_it_too() -> None:
    reader, wire = read(octets(b"one\r\r\n.\r\nX"))
    assert (wire, reader.rest) == (b"one\r\n", b"X")


def test_an_unstuffed_leading_dot_is_lost_as_rfc_5321_section_4_5_2_says() -> None:
    reader, wire = read([b".foo\r\n.\r\n"])
    assert (wire, unstuff(wire), reader.octets) == (b".foo\r\n", b"foo\r\n", 5)


def test_a_line_of_any_length_passes() -> None:
    reader, wire = read([b"x" * 100_000] * 20 + [b"\r\n.\r\n"])
    assert (len(wire), reader.octets) == (2_000_002, 2_000_002)


@settings(max_examples=300)
@given(st.lists(wirelike, max_size=20))
def test_only_some_octets_are_kept_between_pieces(parts: list[bytes]) -> None:
    reader = DataReader()
    for part in parts:
        reader.feed(part)
        assert len(reader._held) <= CR_RUN + 1


def test_what_comes_after_the_end_is_collected() -> None:
    reader = DataReader()
    assert [reader.feed(p) for p in (b"a\r\n.\r\nQ", b"UIT")] == [b"a\r\n", b""]
    assert reader.rest == b"QUIT"


# Stuffer and Unstuffer -------------------------------------------------------------------------------


@settings(max_examples=1500)
@given(wirelike, cuts)
def test_raw_text_is_stuffed_as_the_obvious_rules_say_in_any_pieces(raw: bytes, at: list[int]) -> None:
    expected = obvious_stuff(raw)
    for parts in ([raw], octets(raw), pieces(raw, at)):
        stuffer = Stuffer()
        wire = b"".join(stuffer.feed(part) for part in parts) + stuffer.finish()
        assert wire == expected
        assert stuffer.octets == len(unstuff(wire))


@settings(max_examples=500)
@given(wirelike, cuts)
def test_wire_form_is_unstuffed_as_the_obvious_rules_say_in_any_pieces(raw: bytes, at: list[int]) -> None:
    wire = obvious_stuff(raw)
    for parts in ([wire], octets(wire), pieces(wire, at)):
        unstuffer = Unstuffer()
        assert b"".join(unstuffer.feed(p) for p in parts) + unstuffer.finish() == obvious_unstuff(wire)


@given(clean)
def test_stuffing_and_unstuffing_give_the_message_back(raw: bytes) -> None:
    assert unstuff(stuff(raw)) == raw
    assert stuff(unstuff(stuff(raw))) == stuff(raw)


@given(wirelike, cuts)
def test_what_is_stuffed_arrives_as_it_was_sent(raw: bytes, at: list[int]) -> None:
    wire = stuff(raw)
    reader, got = read(pieces(wire + END, at))
    assert (got, reader.rest, reader.normalised) == (wire, b"", False)


def test_the_last_line_gets_its_end_and_nothing_stays_nothing() -> None:
    assert [stuff(raw) for raw in (b"", b"a", b"a\n", b"a\r", b".", b"\r\r")] == [
        b"",
        b"a\r\n",
        b"a\r\n",
        b"a\r\n",
        b"..\r\n",
        b"\r\n\r\n",
    ]


# TopCutter -------------------------------------------------------------------------------------------


@settings(max_examples=800)
@given(clean, st.integers(0, 6), cuts)
def test_top_cuts_as_the_obvious_rules_say_in_any_pieces(raw: bytes, count: int, at: list[int]) -> None:
    wire = stuff(raw)
    expected = obvious_top(wire, count)
    for parts in ([wire], octets(wire), pieces(wire, at)):
        cutter = TopCutter(count)
        assert b"".join(cutter.feed(part) for part in parts) == expected
        if len(expected) < len(wire):
            assert cutter.done


HELLO = b"Subject: x\r\n\r\none\r\ntwo\r\nthree\r\n"


@pytest.mark.parametrize(
    ("lines", "expected", "done"),
    [
        (0, b"Subject: x\r\n\r\n", True),
        (1, b"Subject: x\r\n\r\none\r\n", True),
        (3, HELLO, True),
        (4, HELLO, False),
        (1_000_000_000, HELLO, False),
    ],
)
def test_top_gives_the_headers_the_empty_line_and_so_many_lines(
    lines: int, expected: bytes, done: bool
) -> None:
    cutter = TopCutter(lines)
    assert (cutter.feed(HELLO), cutter.done, cutter.feed(b"")) == (expected, done, b"")


def test_a_message_without_an_empty_line_is_all_header() -> None:
    cutter = TopCutter(0)
    assert (cutter.feed(b"Subject: x\r\n"), cutter.done) == (b"Subject: x\r\n", False)


def test_a_message_that_begins_with_the_empty_line_has_no_header() -> None:
    cutter = TopCutter(1)
    assert (cutter.feed(b"\r\none\r\ntwo\r\n"), cutter.done) == (b"\r\none\r\n", True)


# count_received --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "count"),
    [
        (b"", 0),
        (b"Received: a\r\n\tby b\r\nRECEIVED : c\r\nreceived:d\r\n\r\nReceived: body\r\n", 3),
        (b"Received: a\nReceived: b\n\nReceived: body\n", 2),
        (b"X-Received: a\r\nReceived-SPF: pass\r\n Received: folded\r\n\r\n", 0),
        (b"\r\nReceived: body\r\n", 0),
        (b"Received: a\r\n" * 51, 51),
    ],
)
def test_received_fields_of_the_header_block_only_are_counted(head: bytes, count: int) -> None:
    assert count_received(head) == count
