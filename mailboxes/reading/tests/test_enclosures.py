"""Invitations and winmail.dat: what they hold is told, and what is torn harms nobody."""

import struct
import uuid
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes.reading import Invitation, octets_of, parse, part_bytes
from mailboxes.reading.invitation import invitation
from mailboxes.reading.tnef import enclosed
from mailboxes.storage import Spool
from mailboxes.wire import stuff

pytestmark = pytest.mark.once


# -- winmail.dat --------------------------------------------------------------------------------


def attribute(name: int, data: bytes, level: int = 2) -> bytes:
    return struct.pack("<BHHI", level, name, 6, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def long_name(name: str) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    padded = text + b"\0" * (-len(text) % 4)
    number = struct.pack("<HHI", 0x0003, 0x370B, 7)
    return struct.pack("<I", 2) + number + struct.pack("<HHII", 0x001F, 0x3707, 1, len(text)) + padded


WINMAIL = (
    struct.pack("<IH", 0x223E9F78, 1)
    + attribute(0x9007, struct.pack("<II", 1252, 0), level=1)
    + attribute(0x9002, b"\0" * 14)
    + attribute(0x8010, b"REPORT~1.PDF\0")
    + attribute(0x800F, b"%PDF-1.7")
    + attribute(0x9005, long_name("Report für Ann.pdf"))
    + attribute(0x9002, b"\0" * 14)
    + attribute(0x8010, b"caf\xe9.txt\0")
    + attribute(0x800F, b"words")
)


def test_a_winmail_dat_is_listed_and_opened() -> None:
    raw = b'Content-Type: application/ms-tnef; name="winmail.dat"\r\n\r\n' + WINMAIL
    assert [(one.number, one.filename, one.size, one.kind) for one in parse(raw).attachments] == [
        ("1", "winmail.dat", len(WINMAIL), "tnef"),
        ("1-1", "Report für Ann.pdf", 8, "pdf"),
        ("1-2", "café.txt", 5, "text"),
    ]
    assert part_bytes(raw, "1-1") == b"%PDF-1.7"
    for number in ("1-3", "1-0", "1-x", "1-1-1"):
        with pytest.raises(KeyError):
            part_bytes(raw, number)


@pytest.mark.parametrize("length", range(0, len(WINMAIL), 3))
def test_a_torn_winmail_dat_gives_what_is_whole(length: int) -> None:
    assert [one.name for one in enclosed(WINMAIL[:length])] in (
        [],
        [""],
        ["REPORT~1.PDF"],
        ["Report für Ann.pdf"],
        ["Report für Ann.pdf", ""],
        ["Report für Ann.pdf", "café.txt"],
    )


@given(st.binary(max_size=300), st.integers(0, len(WINMAIL)))
def test_any_octets_are_a_winmail_dat_or_none(noise: bytes, at: int) -> None:
    file = WINMAIL[:at] + noise + WINMAIL[at + len(noise) :]
    for one in enclosed(file) + enclosed(WINMAIL[:6] + noise):
        assert one.size >= 0
        assert len(one.octets(file)) <= len(file)


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).replace(tzinfo=None)

# -- invitations --------------------------------------------------------------------------------


def event(*lines: str) -> str:
    return "\r\n".join(
        ["BEGIN:VCALENDAR", "METHOD:REQUEST", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR"]
    )


def test_an_invitation_is_told_in_plain_words() -> None:
    calendar = event(
        "SUMMARY:Lunch\\, with <b>Ann</b>",
        "DTSTART;TZID=Europe/Berlin:20261123T120000",
        "DTEND:20261123T120000Z",
        "LOCATION:Room 1\\nsecond",
        "  floor",
        'ORGANIZER;CN="Ann: B":mailto:ann@x.test',
        "BEGIN:VALARM",
        "SUMMARY:alarm",
    )
    assert invitation(calendar) == Invitation(
        "Lunch, with <b>Ann</b>",
        datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 11, 23, 12, tzinfo=UTC),
        "Room 1 second floor",
        "Ann: B <ann@x.test>",
        "REQUEST",
    )


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("DTSTART:20261123", date(2026, 11, 23)),
        ("DTSTART;VALUE=DATE:20261123", date(2026, 11, 23)),
        ("DTSTART;TZID=W. Europe Standard Time:20261123T120000", NOON),
        ("DTSTART;TZID=../../etc/passwd:20261123T120000", NOON),
        ("DTSTART;TZID=No/Where:20261123T120000", NOON),
        ("DTSTART:20261399T120000Z", None),
        ("DTSTART:tomorrow", None),
        ("X:y", None),
    ],
)
def test_a_start_is_a_moment_a_day_or_nothing(line: str, start: Any) -> None:
    found = invitation(event(line))
    assert found is not None
    assert found.start == start


def test_an_event_may_say_how_long_it_takes() -> None:
    found = invitation(event("DTSTART:20261123T120000Z", "DURATION:PT1H30M"))
    assert found is not None
    assert found.end == datetime(2026, 11, 23, 13, 30, tzinfo=UTC)
    assert invitation(event("DTSTART:99991231T120000Z", "DURATION:P9999W")) is not None


def test_a_calendar_without_an_event_invites_to_nothing() -> None:
    assert invitation("BEGIN:VCALENDAR\r\nEND:VCALENDAR") is None


def test_a_part_that_invites_is_found_in_the_message() -> None:
    raw = b"Content-Type: text/calendar; method=CANCEL\r\n\r\nBEGIN:VEVENT\r\nSUMMARY:x\r\nEND:VEVENT\r\n"
    found = parse(raw).invitation
    assert found is not None
    assert (found.summary, found.method) == ("x", "CANCEL")


@given(st.text(alphabet='BEGINVT:;="\\n,\r\n DSUMARY0Z9PT', max_size=200))
def test_any_text_is_a_calendar_or_none(text: str) -> None:
    invitation(text)
    invitation(event(*text.split("\n")))


# -- octets -------------------------------------------------------------------------------------


def test_the_octets_are_those_that_came(content_root: Any) -> None:
    raw = b"Subject: x\r\n\r\n.dot\r\n" * 20_000
    spool = Spool()
    spool.add(stuff(raw))
    key: uuid.UUID = spool.keep()
    assert octets_of(key) == raw
    assert octets_of(key, 1_000) == raw[:1_000]
