"""TCP ports of this host: which can be bound, why one cannot be, and who has it.

Measured on Linux 6.18: with SO_REUSEADDR a port can be bound although connections of a former server, which had set
it too, are in TIME_WAIT or still open. It cannot be when a socket listens, nor, for as long as the TIME_WAIT lasts
(60 s), when the former server had not set it. PyTorch's store sets it, so its bind gets the answer that ours gets.
Without SO_REUSEADDR a bind of ``::`` that takes both families fails as soon as any socket of this host has the port.
"""

import _socket  # what the module socket puts around it takes 3 ms, and every job of ranks pays
import errno
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from mgelaunch.host.files import Files, whole

if TYPE_CHECKING:
    from socket import socket

_UNPRIVILEGED = 1024
_RANGE = (32768, 60999)
"""The kernel's own ephemeral range, from which it takes ports for connections that ask for none."""

_NEAR = 10_000
_ENOUGH = 256
_TRIES = 2000
_BACKLOG = 1024
_SHOWN = 40

Kind = Literal["taken", "address", "permission", "other"]

_KINDS: tuple[tuple[Kind, str, tuple[int, ...]], ...] = (
    ("taken", "the port is in use", (errno.EADDRINUSE,)),
    ("permission", "this user may not bind a port that low", (errno.EACCES, errno.EPERM)),
    ("address", "the address is not one of this host", (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV)),
)
"""What refusals of bind(2) mean, in the order in which they are told when several addresses are refused."""


class Obstacle(NamedTuple):
    """Why a port cannot be bound; `text` is one clause that repeats neither the address nor the port."""

    kind: Kind
    text: str


class NoPort(Exception):
    """No port can be bound on an address. Its text is one sentence."""


class _Place(NamedTuple):
    """One thing that an address stands for: a family, and what a socket of it is bound to, less the port."""

    family: int
    host: str
    rest: tuple[int, ...] = ()


def free_port(address: str, files: Files) -> int:
    """A port that can be bound on `address`, and on every other address of this host, now.

    It lies among the 10,000 below the ephemeral range where there are such, so no outgoing connection gets it before
    the script does, and is none that the administrator has reserved (``ip_local_reserved_ports``). Every process and
    call starts to look at another place.

    Raises:
        NoPort: `address` is not of this host, or none of 2,000 ports can be bound.
    """
    asked = [_place_here(address), *(place for place in _places("") if _refusal(place, 0) is None)]
    for port in _candidates(files):
        if all(_refusal(place, port) is None for place in asked):
            return port
    raise NoPort("every port that was tried is in use or reserved.")


def obstacle(address: str, port: int) -> Obstacle | None:
    """Why no socket can be bound to `port` of `address` (0 asks of the address alone); None when one can.

    `address` is a number of either family, a name, or empty for every address of this host; of several addresses
    one that can be bound is enough. A name may take as long as the host's resolver does.
    """
    try:
        places = _places(address)
    except OSError:
        return Obstacle("address", "the name of the host is not known here")
    refusals = []
    for place in places:
        error = _refusal(place, port, reuse=True)
        if error is None:
            return None
        refusals.append(error)
    return _obstacle(refusals)


def holder(port: int) -> str:
    """Who listens on `port`, for a sentence: ``process 4711 (python)``. Empty when nobody does, or when the table of
    sockets cannot be read. A process of another user is known only to root, one of another container to nobody.
    """
    import psutil  # noqa: PLC0415 - only a message needs it

    try:
        sockets = psutil.net_connections("tcp")
        pids = [
            each.pid for each in sockets if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        ]
    except (psutil.Error, OSError, RuntimeError, IndexError, ValueError):  # psutil's own on an odd /proc
        return ""
    if not pids:
        return ""
    pid = next((pid for pid in pids if pid), None)
    if pid is None:
        return "a process of another user" if os.geteuid() else "a process that cannot be seen from here"
    try:
        name = _printable(psutil.Process(pid).name())
    except (psutil.Error, OSError):
        name = ""
    return f"process {pid} ({name})" if name else f"process {pid}"


def listen(address: str, port: int) -> "socket":
    """A socket that listens on `port` of `address` (as in `obstacle`; 0 lets the kernel choose), closed on exec.

    Raises:
        OSError: no address that the name stands for can be bound; it tells why the first cannot.
    """
    places = _places(address)
    granted = (place for place in places if _refusal(place, port, reuse=True) is None)
    server = _bound(next(granted, places[0]), port, reuse=True)
    try:
        server.listen(_BACKLOG)
    except OSError:  # another process was faster
        server.close()
        raise
    from socket import socket as with_manners  # noqa: PLC0415 - see above: only a server pays

    return with_manners(fileno=server.detach())


def _places(address: str) -> list[_Place]:
    """What `address` stands for, one thing at least.

    Raises:
        OSError: it is a name that nobody knows, or no name at all.
    """
    unknown = OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if "\0" in address:  # the resolver would stop reading there
        raise unknown
    # As bytes, an ASCII name spares the import of Python's tables for other names (4 ms).
    name = address.encode() if address.isascii() else address
    try:
        found = _socket.getaddrinfo(name or None, 0, type=_socket.SOCK_STREAM, flags=_socket.AI_PASSIVE)
    except UnicodeError:
        raise unknown from None
    # A Python without IPv6 gives such addresses as bytes.
    places = [_Place(row[0], row[4][0], tuple(map(int, row[4][2:]))) for row in found if isinstance(row[4][0], str)]
    if not places:
        raise unknown
    return places


def _place_here(address: str) -> _Place:
    """The first of what `address` stands for that this host has."""
    try:
        places = _places(address)
    except OSError:
        raise NoPort("the name of the host is not known here.") from None
    for place in places:
        refusal = _refusal(place, 0)
        if refusal is None:
            return place
        if refusal in (errno.EMFILE, errno.ENFILE):
            raise NoPort("no port can be tried: the limit of open files (ulimit -n) is reached.")
    raise NoPort("no port can be bound: the address is not one of this host.")


def _refusal(place: _Place, port: int, *, reuse: bool = False) -> int | None:
    """The error number with which the kernel refuses a bind; None when it grants it. Nothing ever listens."""
    try:
        _bound(place, port, reuse=reuse).close()
    except OSError as error:
        return error.errno or 0
    return None


def _bound(place: _Place, port: int, *, reuse: bool) -> _socket.socket:
    """A socket with that name; ``::`` takes both families, whatever ``net.ipv6.bindv6only`` says."""
    bound = _socket.socket(place.family, _socket.SOCK_STREAM)
    try:
        if reuse:
            bound.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if place.host == "::":
            bound.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0)
        bound.bind((place.host, port, *place.rest))
    except OSError:
        bound.close()
        raise
    return bound


def _obstacle(refusals: Iterable[int]) -> Obstacle:
    met = set(refusals)
    for kind, text, errors in _KINDS:
        if met.intersection(errors):
            return Obstacle(kind, text)
    return Obstacle("other", f"the kernel refuses it ({os.strerror(max(met))})")


def _candidates(files: Files) -> Iterator[int]:
    """At most 2,000 ports to try, one after the other, from a place that differs for each process and call."""
    reserved = _reserved(files.text("/proc/sys/net/ipv4/ip_local_reserved_ports"))
    ports = sorted(set(_choice(files)).difference(*reserved))
    # The multiplier (of Knuth's hash) sets neighbouring process numbers far apart, the clock any two calls.
    start = os.getpid() * 2654435761 + time.monotonic_ns() // 1000 * 40503
    for step in range(min(_TRIES, len(ports))):
        yield ports[(start + step) % len(ports)]


def _choice(files: Files) -> range:
    """The ports to choose from: below the ephemeral range, or above it, or in it where it is nearly all there is."""
    told = [whole(word) for word in files.text("/proc/sys/net/ipv4/ip_local_port_range").split()]
    low, high = (told[0], told[1]) if len(told) == 2 and told[0] and told[1] else _RANGE
    choices = range(max(_UNPRIVILEGED, low - _NEAR), low), range(high + 1, 65536)
    return next((ports for ports in choices if len(ports) >= _ENOUGH), range(max(_UNPRIVILEGED, low), high + 1))


def _reserved(text: str) -> list[range]:
    """Such as ``8080,9148-9150``; what is no number is passed over."""
    bounds = [[whole(end) for end in item.split("-")] for item in text.strip().split(",")]
    return [range(ends[0], ends[-1] + 1) for ends in bounds if ends[0] is not None and ends[-1] is not None]


def _printable(name: str) -> str:
    """A command name as a message may show it: anyone can give a process any name."""
    return "".join(char if char.isprintable() else "?" for char in name)[:_SHOWN]
