"""Kinds of value that name places: paths, search paths, addresses."""

import re
from typing import NamedTuple

from mgelaunch.catalogue.kinds import Reading, Rejected, Resource, Unplaced, Value


class Path(NamedTuple):
    """A file or directory; the reader gets it absolute. With `several`, a colon list of them."""

    several: bool = False
    off: str = "unset"
    name: str = "path"
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """One phrase, two languages."""
        if self.several:
            return "paths separated by colons", "以冒号分隔的多个路径"
        return "a path; ~ and relative paths are made absolute", "路径；~ 与相对路径会转换为绝对路径"

    def read(self, text: str) -> Reading:
        """The path or paths, still unplaced."""
        return Unplaced(tuple(text.split(":")) if self.several else (text,))


class RedisUrl(NamedTuple):
    """The address of a Redis server as MegEngine reads it: ``redis://[:password@]host:port`` or
    ``redis+socket:///path``. Any other form falls back to the file cache with a line in the log.
    """

    off: str = "unset"
    name: str = "url"
    resource: Resource = ""

    @property
    def legal(self) -> tuple[str, str]:
        """The two forms."""
        forms = "redis://[:password@]host:port, redis+socket:///path"
        return forms, forms

    def read(self, text: str) -> Reading:
        """The address itself."""
        if re.fullmatch(r"redis://(:[^@/\s]+@)?[^@:/\s]+:[0-9]{1,5}|redis\+socket:///\S+", text):
            return Value(text)
        return Rejected("value.url", f"is not an address of the form {self.legal[0]}", "redis://localhost:6379")
