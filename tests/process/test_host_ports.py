"""Which ports can be bound, and who has the others, with real sockets."""

import contextlib
import errno
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from mgelaunch.host.files import Files
from mgelaunch.host.ports import NoPort, free_port, holder, listen, obstacle

DEADLINE = 30

ELSEWHERE = "203.0.113.77"
"""Kept for documentation: no host has it."""

NOBODY = "x" * 70
"""No name: its one part is too long."""


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


@pytest.fixture
def opened():
    """What closes the sockets of a test at its end."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def bound(opened):
    """A function that makes a socket that has a port, and perhaps listens."""

    def make(address="127.0.0.1", *, port=0, reuse=True, listening=True, only_v6=False):
        made = opened.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        made.bind((address, port))
        if listening:
            made.listen()
        return made

    return make


@pytest.fixture
def host(tmp_path):
    """A function that writes what the administrator has said of ports, and returns what reads it."""

    def write(ephemeral, reserved=""):
        folder = tmp_path / "proc/sys/net/ipv4"
        folder.mkdir(parents=True)
        (folder / "ip_local_port_range").write_text(f"{ephemeral}\n")
        (folder / "ip_local_reserved_ports").write_text(f"{reserved}\n")
        return Files(str(tmp_path))

    return write


@pytest.fixture
def only(host):
    """A function that leaves one port to choose, which it is given, of the 256 that end 1,000 above it."""

    def write(port):
        low = max(port + 1, 1024 + 256)
        below = max(1024, low - 10_000)
        return host(f"{low} 60999", ",".join(f"{a}-{b}" for a, b in ((below, port - 1), (port + 1, low)) if a <= b))

    return write


@pytest.fixture
def low_port():
    """A port below 1,280 that nothing on this host has; other tests at the same time get another one."""
    for step in range(200):
        if obstacle("", port := 1050 + (os.getpid() + step) % 200) is None:
            return port
    return pytest.skip("every low port is in use here")


def port_of(made):
    return made.getsockname()[1]


# -- a free port


def test_a_free_port_lies_in_the_ten_thousand_below_the_ephemeral_range():
    low = int(Files().text("/proc/sys/net/ipv4/ip_local_port_range").split()[0])
    if low < 1024 + 256:
        pytest.skip("the ephemeral range of this host leaves nothing below it")
    port = free_port("127.0.0.1", Files())
    assert max(1024, low - 10_000) <= port < low
    with socket.socket() as one:
        one.bind(("0.0.0.0", port))


@pytest.mark.parametrize(
    ("ephemeral", "allowed"),
    [
        ("20000 60999", range(10_000, 20_000)),
        ("5000 60999", range(1024, 5000)),
        ("1024 60999", range(61_000, 65_536)),
        ("1024 65535", range(1024, 65_536)),
        ("1025 65535", range(1025, 65_536)),
        ("nonsense", range(22_768, 32_768)),
        ("", range(22_768, 32_768)),
    ],
    ids=["ten thousand", "fewer", "none below", "none at all", "one below", "no numbers", "nothing said"],
)
def test_a_free_port_keeps_clear_of_the_ephemeral_range_where_it_can(host, ephemeral, allowed):
    assert free_port("127.0.0.1", host(ephemeral)) in allowed


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "localhost", "", pytest.param("::1", marks=ipv6)])
def test_a_free_port_is_none_that_is_reserved(only, low_port, address):
    assert free_port(address, only(low_port)) == low_port


def test_a_free_port_is_found_beside_thousands_that_are_reserved(host):
    """As on a node of a cluster, whose services have a range of ports."""
    files = host("20000 60999", "10000-19799,19900-19999,x,7-")
    assert {free_port("127.0.0.1", files) in range(19_800, 19_900) for _ in range(20)} == {True}


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("127.0.0.1", {}),
        ("127.0.0.1", {"listening": False}),
        ("0.0.0.0", {}),
        ("127.0.0.2", {}),
        pytest.param("::1", {}, marks=ipv6),
        pytest.param("::", {"only_v6": True}, marks=ipv6),
    ],
    ids=["the same", "the same, not listening", "every", "another", "the other family's", "every of the other family"],
)
def test_a_port_that_a_socket_has_at_any_address_is_not_free(bound, only, low_port, address, options):
    bound(address, port=low_port, **options)
    with pytest.raises(NoPort, match="in use or reserved"):
        free_port("127.0.0.1", only(low_port))


def test_looks_for_a_free_port_start_at_different_places():
    assert len({free_port("127.0.0.1", Files()) for _ in range(20)}) > 15


@pytest.mark.parametrize(
    ("address", "why"),
    [(ELSEWHERE, "not one of this host"), (NOBODY, "not known"), ("127.0.0.1\0", "not known"), ("é" * 70, "not known")],
    ids=["another host's", "a name nobody knows", "a NUL", "no name in any encoding"],
)
def test_no_port_is_free_on_an_address_that_is_not_of_this_host(address, why):
    with pytest.raises(NoPort, match=why) as raised:
        free_port(address, Files())
    assert address not in str(raised.value)


# -- what is in the way


@pytest.mark.parametrize(
    ("has", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", ""),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        pytest.param("::1", "::1", marks=ipv6),
        pytest.param("::", "127.0.0.1", marks=ipv6),
        pytest.param("127.0.0.1", "::", marks=ipv6),
    ],
)
def test_a_port_is_taken_where_a_listener_covers_the_address(bound, has, asked):
    if asked == "localhost" and {row[4][0] for row in socket.getaddrinfo("localhost", 0)} != {"127.0.0.1"}:
        pytest.skip("localhost has other addresses here")
    assert obstacle(asked, port_of(bound(has))).kind == "taken"


def test_a_port_is_free_again_when_its_listener_has_gone(bound):
    server = bound()
    port = port_of(server)
    server.close()
    assert obstacle("127.0.0.1", port) is None


def test_a_listener_on_another_address_is_not_in_the_way(bound):
    assert obstacle("127.0.0.1", port_of(bound("127.0.0.2"))) is None


@ipv6
def test_of_several_addresses_one_that_can_be_bound_is_enough(bound):
    assert obstacle("", port_of(bound("::1"))) is None


def ended(bound, *, reuse):
    """The port of a server that has hung up on a client, and has gone."""
    server = bound(reuse=reuse)
    with socket.create_connection(server.getsockname(), DEADLINE) as client:
        client.settimeout(DEADLINE)
        connection, _ = server.accept()
        connection.close()
        server.close()
        assert client.recv(1) == b""
        address, port = client.getpeername()
    waiting = re.compile(rf"^ *\d+: \w+:{port:04X} \w+:\w+ 06 ", re.MULTILINE)
    deadline = time.monotonic() + DEADLINE
    while not waiting.search(Files().text("/proc/net/tcp")):
        assert time.monotonic() < deadline, "the connection did not get to TIME_WAIT"
        time.sleep(0.005)
    return address, port


def test_a_port_whose_last_connections_are_in_time_wait_can_be_bound(bound):
    address, port = ended(bound, reuse=True)
    assert obstacle(address, port) is None
    listen(address, port).close()


def test_time_wait_that_a_server_without_reuse_left_is_in_the_way(bound):
    """The kernel refuses everybody then, PyTorch's store as well."""
    address, port = ended(bound, reuse=False)
    assert obstacle(address, port).kind == "taken"
    with pytest.raises(OSError, match="in use"):
        listen(address, port)


@pytest.mark.parametrize("address", [ELSEWHERE, "2001:db8::77", NOBODY, "é" * 70, "a\0b"])
def test_an_address_of_no_interface_and_a_name_nobody_knows_are_told_apart_from_the_port(address):
    found = obstacle(address, 29500)
    assert found.kind == "address"
    assert address not in found.text


def as_nobody(code, *args, cwd):
    """Runs code without privileges; it is imported before they are given up, since its files may be closed to all."""
    script = f"""
import os, sys, encodings.idna, psutil
from mgelaunch.host.ports import holder, obstacle
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print({code})
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_port_that_only_root_may_bind_is_told_so(tmp_path):
    if (Files().number("/proc/sys/net/ipv4/ip_unprivileged_port_start") or 0) < 1024:
        pytest.skip("everybody may bind every port here")
    (tmp_path / "here").mkdir()
    assert as_nobody("obstacle('127.0.0.1', 1001).kind", cwd=tmp_path / "here") == "permission"


# -- who has it


SERVER = """
import signal, socket, sys
signal.alarm(int(sys.argv[1]))
with open("/proc/self/comm", "wb") as file:
    file.write(b"\\x1b[31m) (evil")
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_the_holder_of_a_port_is_named_without_its_control_characters(tmp_path):
    (tmp_path / "here").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(DEADLINE)],
        cwd=tmp_path / "here",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        port = int(server.stdout.readline())
        assert holder(port) == f"process {server.pid} (?[31m) (evil)"
        server.stdin.close()
        server.wait(DEADLINE)
    assert holder(port) == ""


def test_a_socket_that_does_not_listen_holds_no_port(bound):
    assert holder(port_of(bound(listening=False))) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a listener of another user")
def test_the_holder_is_not_guessed_where_the_kernel_tells_only_that_there_is_one(bound, tmp_path):
    (tmp_path / "here").mkdir()
    port = port_of(bound())
    assert as_nobody("holder(int(sys.argv[1]))", port, cwd=tmp_path / "here") == "a process of another user"


# -- listening


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "", pytest.param("::1", marks=ipv6)])
def test_a_listening_socket_takes_connections_and_is_closed_on_exec(opened, address):
    server = opened.enter_context(listen(address, 0))
    assert not server.get_inheritable()
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    opened.enter_context(socket.create_connection((address or "127.0.0.1", port_of(server)), DEADLINE))
    server.settimeout(DEADLINE)
    opened.enter_context(server.accept()[0])


def test_nobody_listens_where_another_does(bound):
    with pytest.raises(OSError, match="in use") as raised:
        listen("127.0.0.1", port_of(bound()))
    assert raised.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("address", [ELSEWHERE, NOBODY, "a\0b"])
def test_nobody_listens_on_an_address_that_is_not_of_this_host(address):
    with pytest.raises(OSError, match=r"."):
        listen(address, 0)
