"""Keeps the server where the ranks of a MegEngine job find each other. Run by the training interpreter, by path:

    python keeper.py --socket FD --world-size N --bind ADDRESS

Nobody starts that server for ranks that are started one by one, and rank 0 cannot own it: it would end with rank 0,
and MegEngine's own ``Server`` is a child process that outlives a killed parent with the port still bound. Here it is
one process, on a TCP socket that listens already: ranks that are faster than ``import megengine`` wait in its queue.

Tells what happens on stdout, one JSON object a line: ``{"event": "ready", "port": P, "mm_port": M}``, then
``{"event": "joined", "rank": R}`` for each rank (null when it cannot be told which one it was), or
``{"event": "failed", "why": "..."}`` before it ends with 1. Ends with 0 on SIGTERM and when stdin ends.

Only the standard library and MegEngine are here, in the language of Python 3.7: mgelaunch is not installed there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

Address = Any
"""Host and port, and two numbers more for IPv6: what the socket module says."""

_caller = threading.local()
"""Both ends of the connection that this thread serves: ``ours`` and ``theirs``."""


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

    def joined(self, rank: int | None) -> None:
        """Says that `rank` is there, once: a client that had no answer asks again."""
        with self._lock:
            known = rank in self._joined
            if rank is not None:
                self._joined.add(rank)
        if not known:
            self.say("joined", rank=rank)


class Handler(SimpleXMLRPCRequestHandler):
    """One request, by a thread of its own; MegEngine's clients make a connection for each."""

    encode_threshold = sys.maxsize  # compressing for a reader on the same machine costs more than it saves

    def setup(self) -> None:
        """Remembers who asks."""
        super().setup()
        _caller.ours, _caller.theirs = self.connection.getsockname(), self.client_address

    def log_message(self, *_: object) -> None:
        """Says nothing: stderr belongs to the job."""


class Server(ThreadingMixIn, SimpleXMLRPCServer):
    """What MegEngine's ``ThreadXMLRPCServer`` is, on a socket that listens already."""

    daemon_threads = True

    def __init__(self, listening: socket.socket) -> None:
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
    teller = Teller(os.dup(1))
    os.dup2(2, 1)
    over = threading.Lock()  # whoever ends this process has it: a failure is not to look like a good end
    threading.Thread(target=_end_with_stdin, args=(over,), daemon=True).start()
    try:
        server, mm_port = make(options.socket, options.bind, lambda: teller.joined(_rank(options.world_size)))
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
    return parser.parse_args()


def _end_with_stdin(over: threading.Lock) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with over:
        os._exit(0)


def make(descriptor: int, bind: str, joined: Callable[[], None]) -> tuple[Server, int]:
    """The server on the listening socket `descriptor`, and the port of MegEngine's second server, which it starts
    at the IPv4 address `bind`. `joined` is called, by the thread that serves it, when a client connects.

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
    mm_port = int(create_mm_server(bind, 0))
    if mm_port <= 0:  # -1 for what is no IPv4 address of this host
        raise Failed("MegEngine's second server cannot listen at this address")
    try:
        server = Server(socket.socket(fileno=descriptor))
    except OSError as error:
        raise Failed(f"MegEngine's server cannot use the socket that it was given: {error.strerror}") from None

    def connect() -> bool:
        joined()
        return True

    server.register_instance(methods(mm_port))
    server.register_function(connect)  # goes before the method of that name
    return server, mm_port


def _rank(world_size: int) -> int | None:
    """The rank that this thread serves, read from the environment of the process that holds the other end."""
    inode = _inode(_caller.theirs, _caller.ours)
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
