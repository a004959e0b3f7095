"""What the house asks of the outside world: only what is public, only what was looked at, only so much."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest
import trustme

from webmail.outside import OCTETS_MAX, Outside, Refused, Unanswered, is_public
from webmail.tests.outside_world import ADDRESS, BUFFER, PNG, Server, World, clock

pytestmark = pytest.mark.once


@pytest.fixture
def world() -> Iterator[World]:
    server = Server()
    made = World(server)
    made.name("pictures.test", [ADDRESS])
    yield made
    server.end()


PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:93.184.216.34",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::5db8:d822",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:5db8:d822::1",
    "2001:0:53aa:64c::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "100::1",
    "4000::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_not_asked(world: World, address: str) -> None:
    assert not is_public(address)
    world.name("inside.test", [address])
    world.name("both.test", [ADDRESS, address])
    for host in ("inside.test", "both.test"):
        with pytest.raises(Refused):
            world.outside().get(f"http://{host}/png", "*/*")
        with pytest.raises(Refused):
            world.outside().post(f"http://{host}/png", b"", "text/plain")
        with pytest.raises(Refused):
            world.outside().get(f"http://pictures.test/to?http://{host}/png", "*/*")
    assert {address for address, _ in world.dialled} == {ADDRESS}


@pytest.mark.parametrize("address", [ADDRESS, "8.8.8.8", "2606:4700::1111", "2a01:4f8::1"])
def test_what_is_public_is(address: str) -> None:
    assert is_public(address)


def test_networks_that_the_house_names_are_not_asked_either(settings: Any) -> None:
    settings.REMOTE_REFUSED_NETWORKS = [ip_network("93.184.216.0/24"), ip_network("2606:4700::/32")]
    assert not is_public(ADDRESS)
    assert not is_public("2606:4700::1111")
    assert is_public("8.8.8.8")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:7f00:1]",
        "0",
        "①②⑦.0.0.1",
    ],
)
def test_an_address_is_judged_however_it_is_written(host: str) -> None:
    """With the real resolver and the real connection: it is the guard alone that says no."""
    server = Server()
    try:
        with pytest.raises((Refused, Unanswered)):
            Outside(seconds=2).get(f"http://{host}/png", "*/*")
    finally:
        server.end()
    assert server.asked == []


def test_the_real_world_is_guarded(world: World) -> None:
    for host in ("localhost", "127.0.0.1", "169.254.169.254"):
        with pytest.raises(Refused, match="not public"):
            Outside().get(f"http://{host}/", "*/*")


def test_a_name_is_looked_up_once_and_the_very_address_is_dialled(world: World) -> None:
    """DNS rebinding: the first answer is public, the next one would be ours."""
    world.name("rebinding.test", [ADDRESS], ["127.0.0.1"])
    assert world.outside().get("http://rebinding.test/png", "*/*").octets == PNG
    assert (world.looked_up, world.dialled) == (["rebinding.test"], [(ADDRESS, 80)])
    with pytest.raises(Refused):
        world.outside().get("http://rebinding.test/png", "*/*")
    world.name("rebinding.test", [ADDRESS], ["127.0.0.1"])
    with pytest.raises(Refused):
        world.outside().get("http://rebinding.test/to?http://rebinding.test/png", "*/*")
    assert world.dialled == [(ADDRESS, 80)] * 2


@pytest.mark.parametrize(
    "url",
    [
        "ftp://pictures.test/png",
        "file:///etc/passwd",
        "gopher://pictures.test/",
        "data:image/png;base64,AAAA",
        "//pictures.test/png",
        "png",
        "",
        "http://",
        "http:///png",
        "http://pictures.test:22/png",
        "http://pictures.test:443/png",
        "https://pictures.test:80/png",
        "http://pictures.test:99999/png",
        "http://pictures.test:x/png",
        "http://[::1/png",
        "http://pictures.test\\@other.test/png",
        "http://pictures.test/\udce9",
        "http://pictures.test/" + "x" * 9_000,
    ],
)
def test_only_urls_of_the_web_are_asked(world: World, url: str) -> None:
    with pytest.raises(Refused):
        world.outside().get(url, "*/*")
    with pytest.raises(Refused):
        world.outside().get(
            f"http://pictures.test/to?{url}" if url.startswith(("f", "g", "d")) else url, "*/*"
        )
    assert all(path.startswith("/to?") for _, path, _ in world.server.asked)


def test_the_server_learns_nothing_of_the_reader(world: World) -> None:
    world.outside().get("http://user:password@pictures.test/to?/png", "image/png")
    assert [path for _, path, _ in world.server.asked] == ["/to?/png", "/png"]
    for _, _, headers in world.server.asked:
        assert headers == {
            "Host": "pictures.test",
            "User-Agent": "Mozilla/5.0 (compatible; MailImageProxy/1.0)",
            "Accept": "image/png",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }


def test_a_line_end_in_a_url_begins_no_header(world: World) -> None:
    for url in ("http://pictures.test/png?\r\nX-Evil: 1", "http://pictures.test/png%0d%0aX-Evil:1 HTTP/1.1"):
        with suppress(Refused, Unanswered):
            world.outside().get(url, "*/*")
    assert all("X-Evil" not in headers for _, _, headers in world.server.asked)


def test_redirects_are_followed_but_not_for_ever(world: World) -> None:
    three = "http://pictures.test/to?http://pictures.test/to?http://pictures.test/to?"
    assert world.outside().get(three + "http://pictures.test/png", "*/*").octets == PNG
    with pytest.raises(Refused, match="redirects"):
        world.outside().get("http://pictures.test/around", "*/*")
    assert len([path for _, path, _ in world.server.asked if path == "/around"]) == 4


def test_a_redirect_to_what_is_no_url_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="no URL"):
        world.outside().get("http://pictures.test/to?http://[", "*/*")


def test_a_post_follows_no_redirect(world: World) -> None:
    answer = world.outside().post("http://pictures.test/to?/png", b"a=b", "text/plain")
    assert (answer.status, len(world.server.asked), world.server.posted) == (302, 1, [b"a=b"])


def test_what_is_packed_is_not_unpacked(world: World) -> None:
    with pytest.raises(Refused, match="packed"):
        world.outside().get("http://pictures.test/packed", "*/*")


def test_what_is_too_large_is_not_read(world: World) -> None:
    with pytest.raises(Refused, match="too large"):
        world.outside(octets_max=100_000).get("http://pictures.test/large", "*/*")
    with pytest.raises(Refused, match="too large"):
        world.outside().get("http://pictures.test/endless", "*/*")
    # What the server may have sent beside lies in the buffers of the connection, which the system doubles,
    # and in those of who reads.
    assert world.server.sent < OCTETS_MAX + 8 * BUFFER


@pytest.mark.parametrize("path", ["drip", "driphead"])
def test_a_server_that_sends_an_octet_now_and_then_does_not_hold_us(
    world: World, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each octet comes in time; all of them would take hours. A second has passed with each."""
    clock(monkeypatch, lambda: world.server.dripped)
    with pytest.raises(Unanswered):
        world.outside(seconds=20.0).get(f"http://pictures.test/{path}", "*/*")
    assert world.server.dripped >= 20


def test_the_time_is_that_of_all_redirects_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty seconds have passed with each connection, of which there are three."""
    clock(monkeypatch, lambda: 40 * len(world.dialled))
    with pytest.raises(Unanswered):
        world.outside(seconds=110.0).get("http://pictures.test/to?/to?/png", "*/*")
    assert len(world.dialled) == 3
    world.dialled.clear()
    assert world.outside(seconds=130.0).get("http://pictures.test/to?/to?/png", "*/*").octets == PNG


def test_a_name_that_nobody_answers_for_does_not_hold_us() -> None:
    """It is answered for when we have given up: if we did not, this test would hang."""
    given_up = threading.Event()

    def never(host: str, port: int) -> list[str]:
        given_up.wait()
        return [ADDRESS]

    try:
        with pytest.raises(Unanswered):
            Outside(resolve=never, seconds=0.2).get("http://pictures.test/png", "*/*")
    finally:
        given_up.set()


@pytest.mark.parametrize("path", ["rubbish", "manyheaders"])
def test_what_is_no_http_is_no_answer(world: World, path: str) -> None:
    with pytest.raises(Unanswered):
        world.outside().get(f"http://pictures.test/{path}", "*/*")


def test_a_door_that_is_shut_is_no_answer() -> None:
    def shut(address: str, port: int, seconds: float) -> Any:
        raise ConnectionRefusedError

    with pytest.raises(Unanswered):
        Outside(resolve=lambda host, port: [ADDRESS], dial=shut).get("http://pictures.test/png", "*/*")


def test_a_certificate_must_be_for_the_name_that_was_asked() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("pictures.test").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    server = Server(context)
    world = World(server)
    for name in ("pictures.test", "other.test"):
        world.name(name, [ADDRESS])
    try:
        outside = world.outside(tls=lambda: trusting)
        assert outside.get("https://pictures.test/png", "*/*").octets == PNG
        assert world.dialled == [(ADDRESS, 443)]
        with pytest.raises(Unanswered):
            outside.get("https://other.test/png", "*/*")
        # Nor is a certificate taken that only this test's authority knows.
        with pytest.raises(Unanswered):
            world.outside().get("https://pictures.test/png", "*/*")
    finally:
        server.end()
    assert len(server.asked) == 1
