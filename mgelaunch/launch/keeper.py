"""MegEngine's rendezvous server, from the launcher's side: see target/keeper.py, which runs in the target."""

import os
import selectors
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mgelaunch.target
from mgelaunch.launch.plan import Process
from mgelaunch.launch.spawn import Streams
from mgelaunch.launch.tail import Tail

if TYPE_CHECKING:  # the start of every job of ranks imports this module
    from socket import socket

RANK = -1
"""What the keeper is called among the ranks."""


class Keeper:
    """Holds the port from the moment it is chosen, so that no other process can take it. The server ends with us: it
    reads the end of its stdin.
    """

    def __init__(self, server: "socket", python: str, world: int, cwd: str, *, everywhere: bool) -> None:
        """`world` counts the ranks of the whole job; `everywhere`: some of them are on other hosts."""
        self._server = server
        address, port = server.getsockname()[:2]
        script = os.path.join(os.path.dirname(mgelaunch.target.__file__), "keeper.py")
        options = ("--socket", str(server.fileno()), "--world-size", str(world), "--bind", address)
        self._argv = (python, script, *options, *(("--everywhere",) if everywhere else ()))
        self._cwd = cwd
        self.port = port
        stdin, self._stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        self.streams = Streams(stdin, stdout, stderr, (server.fileno(),))
        self._tail = Tail()
        self._told = b""
        self._why = ""
        for end in (self.stdout, self.stderr):
            os.set_blocking(end, False)

    def process(self, environment: Mapping[str, str | None]) -> Process:
        """The process to start, in the environment of rank 0."""
        return Process(RANK, self._argv[0], self._argv, self._cwd, environment)

    def watch(self, selector: selectors.BaseSelector) -> None:
        """Closes the ends that only the server needs, and waits for what it says."""
        for end in self.streams[:3]:
            os.close(end)
        self._server.close()
        for end in (self.stdout, self.stderr):
            selector.register(end, selectors.EVENT_READ, self)

    def events(self, selector: selectors.BaseSelector) -> list[dict[str, Any]]:
        """What the server has said since the last call."""
        import json  # noqa: PLC0415

        told = b""
        for end, _ in list(_registered(selector, (self.stdout, self.stderr))):
            try:
                data = os.read(end, 1 << 16)
            except BlockingIOError:
                continue
            if not data:
                selector.unregister(end)
            elif end == self.stderr:
                self._tail.add(data)
            else:
                told += data
        *lines, self._told = (self._told + told).split(b"\n")
        events = [json.loads(line) for line in lines]
        self._why = next((str(event["why"]) for event in events if event["event"] == "failed"), self._why)
        return events

    def last(self) -> tuple[str, ...]:
        """Why it failed, or else the last lines that it wrote to its stderr."""
        return (self._why,) if self._why else self._tail.lines(3)

    def dismiss(self) -> None:
        """Lets it end."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def close(self, selector: selectors.BaseSelector) -> None:
        """Gives back what was opened here."""
        self.dismiss()
        for end, _ in list(_registered(selector, (self.stdout, self.stderr))):
            selector.unregister(end)
        for end in (self.stdout, self.stderr):
            os.close(end)


def _registered(selector: selectors.BaseSelector, ends: tuple[int, ...]) -> list[tuple[int, selectors.SelectorKey]]:
    registered = selector.get_map()
    return [(end, registered[end]) for end in ends if end in registered]
