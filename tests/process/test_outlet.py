"""Real pipes, terminals, sockets and files take all that is written, in their own time, and nobody waits for them."""

import errno
import fcntl
import os
import pty
import random
import select
import selectors
import socket
import subprocess
import sys
import threading
import time
import tty

import pytest

from mgelaunch.launch.outlet import FULL, Outlet, same_file

from .conftest import DEADLINE

STOP, GO = b"\x13", b"\x11"
"""What Ctrl-S and Ctrl-Q send."""
PLENTY = random.Random(1).randbytes(3 << 20)
"""More than any of the targets holds."""


class Target:
    """What an outlet writes to: `end` is the descriptor that it gets, `reader` the other one."""

    def __init__(self, reader, end):
        self.reader, self.end = reader, end

    def close_reader(self):
        os.close(self.reader)
        self.reader = -1

    def close(self):
        for descriptor in (self.reader, self.end):
            if descriptor >= 0:
                os.close(descriptor)


def a_pipe():
    return Target(*os.pipe())


def a_terminal():
    master, slave = pty.openpty()
    tty.setraw(slave)  # bytes pass unchanged
    return Target(master, slave)


def a_cooked_terminal():
    return Target(*pty.openpty())


def a_socket():
    reader, end = socket.socketpair()
    return Target(reader.detach(), end.detach())


WAYS = {
    "pipe": (a_pipe, Outlet.open),
    "terminal": (a_terminal, Outlet.open),
    "socket": (a_socket, Outlet.open),
    "pipe that cannot be opened again": (a_pipe, lambda end: Outlet(end, shared="stream")),
    "terminal that cannot be opened again": (a_terminal, lambda end: Outlet(end, shared="terminal")),
}


@pytest.fixture
def made():
    """A function that makes a target, which is closed after the test."""
    targets = []

    def make(what):
        targets.append(what())
        return targets[-1]

    yield make
    for target in targets:
        target.close()


@pytest.fixture
def a_file(made):
    """A function that opens a file for writing, and makes it when it is not there."""
    return lambda name, flags=os.O_WRONLY | os.O_CREAT: made(lambda: Target(-1, os.open(name, flags)))


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request, made):
    """A target of each kind, and an outlet that leads to it."""
    make, open_ = request.param
    target = made(make)
    outlet = open_(target.end)
    yield target, outlet
    outlet.close()


@pytest.fixture
def opened():
    """A function that opens an outlet, which is closed after the test."""
    outlets = []

    def open_(descriptor):
        outlets.append(Outlet.open(descriptor))
        return outlets[-1]

    yield open_
    for outlet in outlets:
        outlet.close()


def promptly(call, *args):
    """Calls something that must not wait for anybody."""
    thread = threading.Thread(target=call, args=args, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "it waits"


def deliver(outlet):
    """Flushes whenever the kernel says that there is room, until nothing is pending."""
    with selectors.EpollSelector() as selector:
        selector.register(outlet, selectors.EVENT_WRITE)
        while outlet.pending and not outlet.lost:
            assert selector.select(DEADLINE), "there is never room"
            promptly(outlet.flush)


def received(target, count, size=1 << 16):
    """A thread that reads so many bytes, `size` at a time, and where they are collected."""
    data = bytearray()

    def read():
        while len(data) < count:
            data.extend(os.read(target.reader, min(size, count - len(data))))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, data


def seen(target, count):
    """The next so many bytes, which a terminal may bring one by one, and in its own time."""
    thread, data = received(target, count)
    thread.join(DEADLINE)
    return bytes(data)


def until_held(target):
    """Waits until a terminal has understood that it is to hold its output."""
    deadline = time.monotonic() + DEADLINE
    while select.select([], [target.end], [], 0)[1]:
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestSlowReaders:
    """A reader that pauses, or reads little at a time, gets everything all the same."""

    def test_nothing_waits_for_a_reader_that_has_stopped(self, way):
        _, outlet = way
        promptly(outlet.write, PLENTY)
        assert 0 < outlet.pending < len(PLENTY)
        promptly(outlet.write, b"more")
        promptly(outlet.flush)
        assert outlet.lost is None

    def test_every_byte_arrives_unchanged(self, way):
        target, outlet = way
        promptly(outlet.write, PLENTY)
        thread, data = received(target, len(PLENTY), 777)
        deliver(outlet)
        thread.join(DEADLINE)
        assert data == PLENTY

    def test_so_does_what_is_written_in_many_small_pieces(self, way):
        target, outlet = way
        pieces = [PLENTY[at : at + 1000] for at in range(0, 1 << 20, 1000)]
        for piece in pieces:
            outlet.write(piece)
        whole = b"".join(pieces)
        thread, data = received(target, len(whole))
        deliver(outlet)
        thread.join(DEADLINE)
        assert data == whole

    def test_while_there_is_room_nothing_is_pending(self, way):
        target, outlet = way
        outlet.write(b"one\n")
        outlet.write(b"")
        assert outlet.pending == 0
        assert seen(target, 4) == b"one\n"

    def test_the_descriptor_itself_stays_as_it_is(self, way):
        """A flag on it would be seen by everybody who has it: the shell, and our parent."""
        target, outlet = way
        promptly(outlet.write, PLENTY)
        assert not fcntl.fcntl(target.end, fcntl.F_GETFL) & os.O_NONBLOCK
        assert os.get_blocking(target.end)

    def test_it_stays_open_when_the_outlet_is_closed(self, way):
        target, outlet = way
        outlet.close()
        assert os.write(target.end, b"one") == 3

    def test_a_closed_outlet_writes_nothing(self, way):
        _, outlet = way
        outlet.write(PLENTY)
        outlet.close()
        assert outlet.pending == 0
        outlet.write(b"one")
        assert outlet.lost.errno == errno.EBADF


class TestFull:
    """Beyond one MiB whoever feeds it should pause."""

    def test_a_mebibyte_may_wait(self, opened, made):
        target = made(a_pipe)
        outlet = opened(target.end)
        outlet.write(PLENTY[: fcntl.fcntl(target.end, fcntl.F_GETPIPE_SZ)])
        assert outlet.pending == 0
        outlet.write(PLENTY[:FULL])
        assert outlet.pending == FULL
        assert not outlet.full
        outlet.write(b"x")
        assert outlet.full

    def test_it_is_over_when_the_reader_goes_on(self, way):
        target, outlet = way
        outlet.write(PLENTY)
        assert outlet.full
        thread, _ = received(target, len(PLENTY))
        deliver(outlet)
        thread.join(DEADLINE)
        assert not outlet.full


WITHOUT_A_TERMINAL = """
import os, sys
from mgelaunch.launch.outlet import Outlet
outlet = Outlet.open(int(sys.argv[1]))
assert outlet.fileno() != int(sys.argv[1])
try:
    os.open("/dev/tty", os.O_RDWR)
except OSError:
    sys.exit(0)
sys.exit("it has got one")
"""
TERMINALS = [Outlet.open, lambda end: Outlet(end, shared="terminal")]


@pytest.fixture(params=TERMINALS, ids=["opened again", "that cannot be opened again"])
def screen(request, made):
    """A terminal that makes two signs of a line end, and an outlet that leads to it."""
    target = made(a_cooked_terminal)
    outlet = request.param(target.end)
    yield target, outlet
    outlet.close()


class TestTerminal:
    """A terminal stops for its user."""

    def test_ctrl_s_holds_the_output_and_ctrl_q_lets_it_go(self, screen):
        target, outlet = screen
        os.write(target.reader, STOP)
        until_held(target)
        promptly(outlet.write, b"one\n")
        assert outlet.pending == 4
        os.write(target.reader, GO)
        deliver(outlet)
        assert seen(target, 5) == b"one\r\n"

    @pytest.mark.parametrize(
        "data", [b"\n" * 60_000, (b"x" * 79 + b"\n") * 5_000, b"one\ttwo\n" * 50_000], ids=["ends", "lines", "words"]
    )
    def test_nothing_waits_for_a_reader_of_lines_that_has_stopped(self, screen, data):
        target, outlet = screen
        for _ in range(3):
            promptly(outlet.write, data)
        whole = (data * 3).replace(b"\n", b"\r\n")
        thread, read = received(target, len(whole))
        deliver(outlet)
        thread.join(DEADLINE)
        assert read == whole

    def test_it_is_lost_with_its_window(self, screen):
        target, outlet = screen
        target.close_reader()
        promptly(outlet.write, b"one\n")
        assert outlet.lost.errno == errno.EIO

    def test_a_session_that_has_no_terminal_does_not_get_this_one(self, made):
        """It would be ended by the terminal's hang-up later."""
        target = made(a_terminal)
        command = [sys.executable, "-c", WITHOUT_A_TERMINAL, str(target.end)]
        fds = (target.end,)
        subprocess.run(command, pass_fds=fds, start_new_session=True, timeout=DEADLINE, check=True)


class TestLost:
    """When nobody can ever read it, the reason is kept and the rest is discarded."""

    def test_a_reader_that_has_gone(self, way):
        target, outlet = way
        outlet.write(PLENTY)
        target.close_reader()
        promptly(outlet.flush)
        assert outlet.lost.errno in (errno.EPIPE, errno.EIO, errno.ECONNRESET)
        assert outlet.pending == 0
        assert not outlet.full

    def test_what_comes_later_is_discarded(self, way):
        target, outlet = way
        target.close_reader()
        outlet.write(b"one")
        first = outlet.lost
        outlet.write(b"two")
        outlet.flush()
        assert outlet.lost is first
        assert outlet.pending == 0

    def test_a_pipe_without_a_reader_from_the_start(self, opened, made):
        target = made(a_pipe)
        target.close_reader()
        outlet = opened(target.end)
        outlet.write(b"one")
        assert outlet.lost.errno == errno.EPIPE

    def test_a_disk_that_is_full(self, opened, a_file):
        target = a_file("/dev/full")
        outlet = opened(target.end)
        outlet.write(b"one")
        assert outlet.lost.errno == errno.ENOSPC

    def test_a_descriptor_that_was_closed_before_we_came(self, opened, made):
        target = made(a_pipe)
        os.close(target.end)
        closed, target.end = target.end, -1
        outlet = opened(closed)
        assert outlet.lost.errno == errno.EBADF
        outlet.write(b"one")
        assert outlet.pending == 0

    def test_one_that_is_only_for_reading(self, opened, a_file, tmp_path):
        (tmp_path / "file").touch()
        outlet = opened(a_file(tmp_path / "file", os.O_RDONLY).end)
        outlet.write(b"one")
        assert outlet.lost.errno == errno.EBADF


class TestFiles:
    """A file is written to as it was opened, and never has anything pending."""

    def test_the_offset_is_shared_with_everybody_who_has_the_descriptor(self, opened, a_file, tmp_path):
        target = a_file(tmp_path / "file")
        outlet = opened(target.end)
        os.write(target.end, b"one\n")
        outlet.write(b"two\n")
        os.write(target.end, b"three\n")
        assert (tmp_path / "file").read_bytes() == b"one\ntwo\nthree\n"

    def test_what_others_append_stays(self, opened, a_file, tmp_path):
        file = tmp_path / "file"
        target = a_file(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        outlet = opened(target.end)
        outlet.write(b"one\n")
        with file.open("ab") as other:
            other.write(b"two\n")
        outlet.write(b"three\n")
        assert file.read_bytes() == b"one\ntwo\nthree\n"

    def test_much_is_written_at_once(self, opened, a_file, tmp_path):
        outlet = opened(a_file(tmp_path / "file").end)
        outlet.write(PLENTY)
        assert outlet.pending == 0
        assert (tmp_path / "file").read_bytes() == PLENTY

    def test_dev_null_takes_everything(self, opened, a_file):
        outlet = opened(a_file(os.devnull).end)
        outlet.write(PLENTY)
        assert outlet.pending == 0
        assert outlet.lost is None


class TestOpening:
    """Pipes and terminals get a description of our own where that is allowed."""

    @pytest.mark.parametrize("make", [a_pipe, a_terminal], ids=["pipe", "terminal"])
    def test_what_was_opened_is_not_inherited_and_is_closed(self, make, made):
        target = made(make)
        outlet = Outlet.open(target.end)
        ours = outlet.fileno()
        assert ours != target.end
        assert not os.get_inheritable(ours)
        assert not os.get_blocking(ours)
        outlet.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(ours)

    def test_a_reader_sees_the_end_when_both_are_closed(self, made):
        target = made(a_pipe)
        Outlet.open(target.end).close()
        os.close(target.end)
        target.end = -1
        assert os.read(target.reader, 1) == b""

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
    @pytest.mark.parametrize("make", [a_pipe, a_terminal], ids=["pipe", "terminal"])
    def test_what_belongs_to_another_user_is_written_to_without_it(self, make, made, opened):
        target = made(make)
        os.seteuid(65534)
        try:
            outlet = opened(target.end)
        finally:
            os.seteuid(0)
        assert outlet.fileno() == target.end
        promptly(outlet.write, PLENTY)
        assert outlet.full
        thread, data = received(target, len(PLENTY))
        deliver(outlet)
        thread.join(DEADLINE)
        assert data == PLENTY

    def test_one_that_is_non_blocking_already_is_no_obstacle(self, made, opened):
        target = made(a_socket)
        os.set_blocking(target.end, False)
        outlet = opened(target.end)
        outlet.write(PLENTY)
        thread, data = received(target, len(PLENTY))
        deliver(outlet)
        thread.join(DEADLINE)
        assert data == PLENTY


class TestSameFile:
    """Whether stdout and stderr go to one place."""

    @pytest.mark.parametrize("make", [a_pipe, a_terminal, a_socket], ids=["pipe", "terminal", "socket"])
    def test_a_copy_leads_there_too(self, make, made):
        end = made(make).end
        copy = made(lambda: Target(-1, os.dup(end))).end
        assert same_file(end, copy)

    @pytest.mark.parametrize("make", [a_pipe, a_terminal, a_socket], ids=["pipe", "terminal", "socket"])
    def test_another_of_the_kind_does_not(self, make, made):
        assert not same_file(made(make).end, made(make).end)

    def test_a_file_or_device_that_was_opened_twice_is_the_same(self, a_file, tmp_path):
        for name in (tmp_path / "file", os.devnull):
            assert same_file(a_file(name).end, a_file(name).end)

    def test_two_devices_are_not(self, a_file):
        assert not same_file(a_file("/dev/null").end, a_file("/dev/full").end)

    def test_what_is_closed_leads_nowhere(self, made):
        target = made(a_pipe)
        os.close(target.end)
        closed, target.end = target.end, -1
        assert not same_file(closed, closed)
