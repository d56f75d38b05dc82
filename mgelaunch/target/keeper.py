"""Keeps the server where the ranks of a MegEngine job find each other. Run by the training interpreter, by path:

    python keeper.py --socket FD --world-size N --bind ADDRESS [--everywhere]

Nobody starts that server for ranks that are started one by one, and rank 0 cannot own it: it would end with rank 0,
and MegEngine's own ``Server`` is a child process that outlives a killed parent with the port still bound. Here it is
one process, on a TCP socket that listens already: ranks that are faster than ``import megengine`` wait in its queue.

Tells what happens on stdout, one JSON object a line: ``{"event": "ready", "port": P, "mm_port": M}``, then
``{"event": "joined", "rank": R, "remote": B}`` for each rank (null when it cannot be told which one it was; remote:
a process of another host), or ``{"event": "failed", "why": "..."}`` before it ends with 1. Ends with 0 on SIGTERM and
when stdin ends.

With ``--everywhere`` ranks are on other hosts too, and somebody has to know when they have gone. Then a connection
stays open between the calls of a client (HTTP/1.1), which has one for as long as its process runs, and
``{"event": "attended", "still": true}`` tells that there is one, ``false`` that for two seconds there has been none.
A host that falls silent has gone after a minute. Such a connection must not be used by a process and by its fork.

Only the standard library and MegEngine are here, in the language of Python 3.7: mgelaunch is not installed there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

Address = Any
"""Host and port, and two numbers more for IPv6: what the socket module says."""

ALONE = 2.0
"""Seconds without any connection after which all clients have gone: MegEngine's wait for one before they try again."""
SILENCE = 15, 3
"""A connection on which nothing is heard is asked for a sign of life after so many seconds, and so often again, before
it is given up: a network that is cut takes a minute to be noticed, and one that comes back before loses nobody."""

OWN_FILES = 256
"""Files that are opened for other ends than connections of ranks, at most."""

_caller = threading.local()
"""The connection that this thread serves, as a Handler."""


class Failed(Exception):
    """The server cannot be made; the text says why."""


class Teller:
    """Writes events to the launcher, whole lines only."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._joined: set[int] = set()

    def say(self, event: str, **details: object) -> None:
        """Writes one event. A launcher that has gone hears nothing; the end of stdin is what ends this process."""
        with self._lock, contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps(dict(event=event, **details)).encode() + b"\n")

    def joined(self, caller: Caller) -> None:
        """Says that `caller` is there, once: a client that had no answer asks again."""
        with self._lock:
            known = caller.rank in self._joined
            if caller.rank is not None:
                self._joined.add(caller.rank)
        if not known:
            self.say("joined", rank=caller.rank, remote=caller.remote)


class Caller(NamedTuple):
    """Who has joined: a rank, None when it cannot be told which one; ``remote``: on another host."""

    rank: int | None
    remote: bool


class Roster:
    """The connections of clients, watched by a thread of its own: those that serve them may all wait for a barrier
    while a client is killed.
    """

    def __init__(self, told: Callable[[bool], None]) -> None:
        """`told` is called when somebody is there again, and when nobody has been for a while."""
        self._told = told
        self._lock = threading.Lock()
        self._there: set[int] = set()
        self._attended = False
        self._due: float | None = None
        self._poll = select.epoll()
        self._woken, self._wake = os.pipe()
        self._poll.register(self._woken, select.EPOLLIN)
        threading.Thread(target=self._watch, daemon=True).start()

    def enter(self, connection: socket.socket) -> None:
        """Somebody has called by this connection."""
        with self._lock:
            if connection.fileno() in self._there:
                return
            self._there.add(connection.fileno())
            self._due = None
            self._poll.register(connection, select.EPOLLRDHUP)
            if not self._attended:
                self._attended = True
                self._told(True)

    def leave(self, descriptor: int) -> None:
        """It is over, or about to be closed."""
        with self._lock:
            if descriptor in self._there:
                self._there.discard(descriptor)
                self._poll.unregister(descriptor)
                if not self._there:
                    self._due = time.monotonic() + ALONE
                    os.write(self._wake, b".")

    def _watch(self) -> None:
        while True:
            due = self._due
            for descriptor, _ in self._poll.poll(None if due is None else max(0.0, due - time.monotonic())):
                if descriptor == self._woken:
                    os.read(descriptor, 4096)
                else:
                    self.leave(descriptor)
            with self._lock:
                if self._due is not None and time.monotonic() >= self._due:
                    self._due, self._attended = None, False
                    self._told(False)


class Handler(SimpleXMLRPCRequestHandler):
    """One connection, by a thread of its own; without a roster MegEngine's clients make one for each request."""

    encode_threshold = sys.maxsize  # compressing for a reader on the same machine costs more than it saves
    server: Server

    def setup(self) -> None:
        """Remembers who asks."""
        super().setup()
        _caller.connection = self
        self.ours, self.theirs = self.connection.getsockname(), self.client_address
        self.said = False
        if self.server.roster:
            self.protocol_version = "HTTP/1.1"
            _listen_for_life(self.connection)

    def do_POST(self) -> None:  # noqa: N802 - as http.server calls it
        """Only who calls something is a client: whatever looks for open ports is none."""
        if self.server.roster:
            self.server.roster.enter(self.connection)
        super().do_POST()

    def finish(self) -> None:
        """Whoever asked has gone."""
        if self.server.roster:
            self.server.roster.leave(self.connection.fileno())
        super().finish()

    def log_message(self, *_: object) -> None:
        """Says nothing: stderr belongs to the job."""


def _listen_for_life(connection: socket.socket) -> None:
    """Lets the kernel end a connection to a host that is silent: neither crash nor cut cable closes one."""
    wait, often = SILENCE
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, wait)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, wait)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, often)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, wait * (often + 1) * 1000)  # an answer unheard


class Server(ThreadingMixIn, SimpleXMLRPCServer):
    """What MegEngine's ``ThreadXMLRPCServer`` is, on a socket that listens already."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, roster: Roster | None) -> None:
        self.roster = roster
        super().__init__(("", 0), Handler, logRequests=False, allow_none=True, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_address = listening.getsockname()

    def handle_error(self, *_: object) -> None:
        """Says nothing: a rank that was killed while it waited for an answer is told by the launcher."""


def main() -> None:
    """Serves until the launcher has gone or sends SIGTERM."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _allow_connections(options.world_size)
    teller = Teller(os.dup(1))
    os.dup2(2, 1)
    over = threading.Lock()  # whoever ends this process has it: a failure is not to look like a good end
    threading.Thread(target=_end_with_stdin, args=(over,), daemon=True).start()
    roster = Roster(lambda still: teller.say("attended", still=still)) if options.everywhere else None
    try:
        server, mm_port = make(options, roster, lambda: _joined(teller, options.world_size))
    except Failed as error:
        with over:
            teller.say("failed", why=str(error))
            os._exit(1)
    teller.say("ready", port=server.server_address[1], mm_port=mm_port)
    server.serve_forever()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--world-size", type=int, required=True)
    parser.add_argument("--bind", required=True)
    parser.add_argument("--everywhere", action="store_true")
    return parser.parse_args()


def _allow_connections(world_size: int) -> None:
    """Each rank has one while it waits in a barrier, and the usual limit is 1,024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        if soft != resource.RLIM_INFINITY and soft < world_size + OWN_FILES:
            enough = world_size + OWN_FILES
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough if hard < 0 else min(enough, hard), hard))


def _joined(teller: Teller, world_size: int) -> None:
    """Tells, once, that the client of this thread has joined."""
    connection = _caller.connection
    if not connection.said:
        connection.said = True
        # Who connects to an address of its own host has that one itself, unless it says otherwise.
        remote = _host(connection.theirs) != _host(connection.ours)
        inode = "" if remote else _inode(connection.theirs, connection.ours)
        teller.joined(Caller(_rank(inode, world_size), remote))


def _end_with_stdin(over: threading.Lock) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with over:
        os._exit(0)


def make(options: argparse.Namespace, roster: Roster | None, joined: Callable[[], None]) -> tuple[Server, int]:
    """The server on the listening socket of `options`, and the port of MegEngine's second server, which it starts at
    their IPv4 address. `joined` is called, by the thread that serves it, when a client connects.

    Raises:
        Failed: MegEngine cannot be imported, or one of the servers cannot be made.
    """
    beside = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if folder != beside]  # our modules are nobody else's
    try:
        methods = importlib.import_module("megengine.distributed.server").Methods
        create_mm_server = importlib.import_module("megengine.core._imperative_rt.utils").create_mm_server
    except Exception as error:  # noqa: BLE001 - whatever stops the import
        first = str(error).strip().split("\n", 1)[0]
        raise Failed(f"this Python cannot import megengine: {type(error).__name__}: {first}") from None
    mm_port = int(create_mm_server(options.bind, 0))
    if mm_port <= 0:  # -1 for what is no IPv4 address of this host
        raise Failed("MegEngine's second server cannot listen at this address")
    try:
        server = Server(socket.socket(fileno=options.socket), roster)
    except OSError as error:
        raise Failed(f"MegEngine's server cannot use the socket that it was given: {error.strerror}") from None

    def connect() -> bool:
        joined()
        return True

    server.register_instance(methods(mm_port))
    server.register_function(connect)  # goes before the method of that name
    return server, mm_port


def _rank(inode: str, world_size: int) -> int | None:
    """The rank that has this socket, read from the environment of the process that holds it; None without one."""
    for pid in _holders(inode) if inode else ():
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
            rank = int(variables.get(b"RANK", b""))
            if 0 <= rank < world_size:
                return rank
    return None


def _inode(local: Address, remote: Address) -> str:
    """The inode of the TCP socket of this host that connects `local` to `remote`; empty when there is none."""
    ends = [_end(local), _end(remote)]
    with contextlib.suppress(OSError), open("/proc/net/tcp6" if ":" in _host(local) else "/proc/net/tcp") as file:
        for line in file:
            fields = line.split()
            if fields[1:3] == ends:
                return fields[9]
    return ""


def _end(address: Address) -> str:
    """``0100007F:A5CB``: an address as /proc/net/tcp has it, in 32-bit words of the host's byte order."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in _host(address) else socket.AF_INET, _host(address))
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"


def _host(address: Address) -> str:
    """The host of `address`; an IPv4 one as such, also where a socket for both kinds has accepted it."""
    host = str(address[0])
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def _holders(inode: str) -> Iterator[int]:
    """The processes that have this socket open, as far as this user may look; ranks have pids near our own."""
    wanted = f"socket:[{inode}]"
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    for pid in sorted(pids, key=lambda pid: abs(pid - os.getpid())):
        with contextlib.suppress(OSError):
            folder = f"/proc/{pid}/fd"
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    if os.readlink(f"{folder}/{name}") == wanted:
                        yield pid
                        break


if __name__ == "__main__":
    main()
