"""Addresses to listen on and networks of peers."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hosting.serving import addresses
from hosting.serving.addresses import (
    ListenAddress,
    ListenError,
    is_loopback,
    network_of,
    open_for_workers,
    open_listeners,
    parse_listen,
)
from hosting.tests.ports import reserved_port

pytestmark = pytest.mark.once


@contextmanager
def listening(address: ListenAddress, *, reuse_port: bool = False) -> Iterator[list[socket.socket]]:
    listeners = open_listeners(address, reuse_port=reuse_port)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2110", ListenAddress("127.0.0.1", 2110)),
        (" 127.0.0.1:0 ", ListenAddress("127.0.0.1", 0)),
        ("[::1]:2110", ListenAddress("::1", 2110)),
        ("[0:0::1]:65535", ListenAddress("::1", 65535)),
        ("*:110", ListenAddress("*", 110)),
        ("localhost:110", ListenAddress("localhost", 110)),
        ("pop.example.test:110", ListenAddress("pop.example.test", 110)),
        ("unix:/run/x.sock", ListenAddress("", 0, "/run/x.sock")),
    ],
)
def test_an_address_is_read_and_written_back(text: str, address: ListenAddress) -> None:
    assert parse_listen(text) == address
    assert parse_listen(str(address)) == address


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no port"),
        ("2110", "has no port"),
        ("localhost", "has no port"),
        (":2110", "has no host before the port (for every interface write *)"),
        ("::1:2110", "has an IPv6 address without brackets, or one colon too many"),
        ("127.0.0.1:2110:1", "has an IPv6 address without brackets, or one colon too many"),
        ("127.0.0.1:65536", "has '65536' where a port from 0 to 65535 belongs"),
        ("127.0.0.1:", "has '' where a port from 0 to 65535 belongs"),
        ("127.0.0.1:+110", "has '+110' where a port from 0 to 65535 belongs"),
        ("127.0.0.1:1_1", "has '1_1' where a port from 0 to 65535 belongs"),
        ("127.0.0.1:١١٠", "has '١١٠' where a port from 0 to 65535 belongs"),
        ("127.0.0.256:110", "has '127.0.0.256', which is no IPv4 address"),
        ("127.1:110", "has '127.1', which is no IPv4 address"),
        ("[127.0.0.1]:110", "has '127.0.0.1' in brackets, which is no IPv6 address"),
        ("-a:110", "has '-a', which is neither an address nor a host name"),
        ("a b:110", "has 'a b', which is neither an address nor a host name"),
        ("unix:x.sock", "has no absolute path after 'unix:'"),
        ("unix:", "has no absolute path after 'unix:'"),
        ("unix:/" + "x" * 107, "has a path that no socket can have (over 107 octets, or a NUL)"),
    ],
)
def test_a_wrong_address_is_refused_with_what_is_wrong_and_an_example(text: str, what: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        parse_listen(text)
    assert str(caught.value) == f"listen address {text!r} {what}; {addresses.EXAMPLES}"


def test_a_listener_accepts_and_does_not_block() -> None:
    with listening(ListenAddress("127.0.0.1", 0)) as [listener]:
        assert listener.getblocking() is False
        with pytest.raises(BlockingIOError):
            listener.accept()
        with socket.create_connection(listener.getsockname(), timeout=60):
            pass


def test_a_port_is_free_again_at_once_after_its_connections_were_closed() -> None:
    with reserved_port() as port:
        with (
            listening(ListenAddress("127.0.0.1", port)) as [listener],
            socket.create_connection(("127.0.0.1", port), timeout=60),
        ):
            listener.setblocking(True)
            listener.accept()[0].close()  # the server closes first, so TIME_WAIT is on its side
        with listening(ListenAddress("127.0.0.1", port)) as [again]:
            assert again.getsockname()[1] == port


def test_every_interface_is_one_socket_per_family_with_the_same_port() -> None:
    with listening(ListenAddress("*", 0)) as listeners:
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        assert listeners[0].family == socket.AF_INET
        for other in listeners[1:]:
            assert other.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_an_absent_family_is_left_out_but_an_absent_address_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = (socket.AF_INET, ("192.0.2.1", 0))
    monkeypatch.setattr(addresses, "_endpoints", lambda address: [away, (socket.AF_INET, ("127.0.0.1", 0))])
    with listening(ListenAddress("localhost", 0)) as [listener]:
        assert listener.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr(addresses, "_endpoints", lambda address: [away])
    with pytest.raises(ListenError) as caught:
        open_listeners(ListenAddress("192.0.2.1", 0), reuse_port=False)
    assert str(caught.value) == "cannot listen on 192.0.2.1:0: this machine has no such address"


def test_a_taken_port_is_said_to_be_taken() -> None:
    with listening(ListenAddress("127.0.0.1", 0)) as [listener]:
        address = ListenAddress("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(ListenError) as caught:
            open_listeners(address, reuse_port=False)
    assert str(caught.value) == f"cannot listen on {address}: it is already in use by another process"
    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_that_needs_privileges_is_said_to_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(addresses, "_open_tcp", refuse)  # the test may run as root
    with pytest.raises(ListenError, match=r"^cannot listen on 127\.0\.0\.1:110: port 110 needs privileges"):
        open_listeners(ListenAddress("127.0.0.1", 110), reuse_port=False)


def test_a_host_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        ListenError, match=r"^cannot listen on nowhere\.test:110: the host name has no address"
    ):
        open_listeners(ListenAddress("nowhere.test", 110), reuse_port=False)


def test_a_failure_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(ListenAddress("127.0.0.1", 0)) as [listener]:
        taken = listener.getsockname()[1]
        ends = [(socket.AF_INET, ("127.0.0.2", 0)), (socket.AF_INET, ("127.0.0.1", 0))]
        monkeypatch.setattr(addresses, "_endpoints", lambda address: ends)
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(ListenError):
            open_listeners(ListenAddress("both", taken), reuse_port=False)
        assert set(os.listdir("/proc/self/fd")) == before


def test_each_worker_has_a_set_of_its_own_on_one_port_that_no_other_door_can_share() -> None:
    sets = open_for_workers(ListenAddress("127.0.0.1", 0), 3)
    try:
        assert len({listener.fileno() for [listener] in sets}) == 3
        [port] = {listener.getsockname()[1] for [listener] in sets}
        with pytest.raises(ListenError, match="already in use"):
            open_for_workers(ListenAddress("127.0.0.1", port), 2)
    finally:
        for [listener] in sets:
            listener.close()


def test_a_unix_socket_is_private_to_owner_and_group_and_one_for_all_workers(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    first, second = open_for_workers(parse_listen(f"unix:{path}"), 2)
    assert first is second
    with first[0]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_stale_unix_socket_is_replaced_but_a_live_one_is_not(tmp_path: Path) -> None:
    address = parse_listen(f"unix:{tmp_path}/x.sock")
    with listening(address):
        pass  # closed, but its file remains, as after kill -9
    with listening(address):
        with pytest.raises(ListenError) as caught:
            open_listeners(address, reuse_port=False)
        assert str(caught.value) == f"cannot listen on {address}: it is already in use by another process"


def test_a_file_in_the_place_of_a_unix_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "x.sock").write_text("precious")
    with pytest.raises(ListenError, match="the path is taken by something that is not a socket"):
        open_listeners(parse_listen(f"unix:{tmp_path}/x.sock"), reuse_port=False)
    assert (tmp_path / "x.sock").read_text() == "precious"


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("/run/x.sock", "/run/x.sock"),
    ],
)
def test_the_network_of_a_peer(peer: str, network: str) -> None:
    assert network_of(peer) == network


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("0.0.0.0", False),
        ("2001:db8::1", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_which_peers_are_this_machine(peer: str, loopback: bool) -> None:
    assert is_loopback(peer) is loopback
