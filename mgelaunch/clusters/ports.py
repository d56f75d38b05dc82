"""A port on which the ranks of a job agree without a word."""

from zlib import crc32

_FIRST, _COUNT = 20000, 10000


def agreed_port(key: str) -> int:
    """The port that belongs to `key`, which all ranks of a job know and no other job has.

    It lies below the range from which the kernel takes ports by itself. Two keys can have one port, so whoever
    binds it must say loudly that it is taken.
    """
    return _FIRST + crc32(key.encode("utf-8", "surrogateescape")) % _COUNT


def other_port(key: str, taken: int) -> int:
    """As `agreed_port`, but never the port `taken`."""
    port = agreed_port(key)
    return port if port != taken else _FIRST + (port - _FIRST + 1) % _COUNT
