"""The trace header: what a peer says of itself stands in it and can do nothing in it."""

from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes.trace import trace_headers

pytestmark = pytest.mark.once

AT = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)


def trace(**values: Any) -> bytes:
    usual: dict[str, Any] = {
        "sender": "bob@example.test",
        "helo": "client.example.test",
        "peer": "192.0.2.7",
        "hostname": "mail.example.test",
        "protocol": "ESMTPS",
        "transaction": "0191f3c2",
        "at": AT,
    }
    return trace_headers(**(usual | values))


def test_rfc_5321_section_4_4_return_path_first_then_from_by_with_id_and_date() -> None:
    assert trace() == (
        b"Return-Path: <bob@example.test>\r\n"
        b"Received: from client.example.test ([192.0.2.7])\r\n"
        b"\tby mail.example.test with ESMTPS id 0191f3c2;\r\n"
        b"\tMon, 23 Nov 2026 12:00:05 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("helo", "peer", "said"),
    [
        ("a.test", "2001:db8::1", b"from a.test ([IPv6:2001:db8::1])"),
        ("a.test", "::ffff:192.0.2.7", b"from a.test ([192.0.2.7])"),
        ("a.test", "fe80::1%eth0", b"from a.test ([IPv6:fe80::1])"),
        ("[192.0.2.7]", "192.0.2.7", b"from [192.0.2.7] ([192.0.2.7])"),
        ("", "192.0.2.7", b"from [192.0.2.7] ([192.0.2.7])"),
        ("", "unix", b"from unknown (unix)"),
        ("a.test", "", b"from a.test"),
        ("a.test) (b", "x) y", b"from a.test???b (x??y)"),
        ("x\r\nX-Forged: yes", "192.0.2.7", b"from x??X-Forged:?yes ([192.0.2.7])"),
        ("a;b\x00\udc80\u202e", "192.0.2.7", b"from a?b??? ([192.0.2.7])"),
        ("bücher.test", "192.0.2.7", b"from b?cher.test ([192.0.2.7])"),
    ],
)
def test_who_the_peer_is(helo: str, peer: str, said: bytes) -> None:
    assert trace(helo=helo, peer=peer).split(b"\r\n")[1] == b"Received: " + said


def test_mail_from_a_program_on_this_host_has_no_from_clause() -> None:
    assert trace(helo="", peer="", protocol="local", sender=None) == (
        b"Received: by mail.example.test with local id 0191f3c2;\r\n\tMon, 23 Nov 2026 12:00:05 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("sender", "protocol", "path"),
    [
        ("", "SMTP", b"<>"),
        ('"a b>"@example.test', "SMTP", b'<"a b>"@example.test>'),
        ("a> <b@example.test", "SMTP", b"<a???b@example.test>"),
        ("a\r\nBcc: x@y", "SMTP", b"<a??Bcc:?x@y>"),
        ("jürgen@example.test", "ESMTPS", b"<j?rgen@example.test>"),
        ("jürgen@example.test", "UTF8SMTPS", "<jürgen@example.test>".encode()),
        ("jürgen@example.test", "UTF8LMTP", "<jürgen@example.test>".encode()),
    ],
)
def test_the_return_path(sender: str, protocol: str, path: bytes) -> None:
    assert trace(sender=sender, protocol=protocol).split(b"\r\n")[0] == b"Return-Path: " + path


def test_the_date_keeps_its_zone() -> None:
    at = AT.astimezone(timezone(timedelta(hours=-3, minutes=-30)))
    assert trace(at=at).endswith(b"\tMon, 23 Nov 2026 08:30:05 -0330\r\n")


@given(
    st.text(max_size=2000),
    st.text(max_size=2000),
    st.text(max_size=60),
    st.sampled_from(["SMTP", "UTF8SMTP"]),
)
def test_nothing_a_peer_says_breaks_a_line_a_field_or_the_length(
    sender: str, helo: str, peer: str, protocol: str
) -> None:
    wire = trace(sender=sender, helo=helo, peer=peer, protocol=protocol)
    lines = wire.split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) == (4 if helo or peer else 3)
    assert max(map(len, lines)) < 998
    assert not any(c < 0x20 and c != 0x09 for line in lines for c in line)
    assert not any(line.startswith(b".") for line in lines)
    message = message_from_bytes(wire)
    assert message.keys() == ["Return-Path", "Received"]
    assert parsedate_to_datetime(str(message["Received"]).rpartition(";")[2]) == AT
    wire.decode("utf-8" if protocol.startswith("UTF8") else "ascii")


def test_a_long_sender_beyond_ascii_is_cut_between_characters() -> None:
    first = trace(sender="ü" * 5000, protocol="UTF8SMTP").split(b"\r\n")[0]
    assert first == b"Return-Path: <" + "ü".encode() * 450 + b">"
