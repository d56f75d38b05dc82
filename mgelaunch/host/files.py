"""The kernel's files, read at most once each, under a root that tests can choose."""

import os


class Files:
    """Texts below ``/proc``, ``/sys`` and their like. Nothing here raises: what cannot be read is empty."""

    def __init__(self, root: str = "") -> None:
        self._root = root.rstrip("/")
        self._texts: dict[str, str] = {}

    def real(self, path: str) -> str:
        """Where the absolute `path` lies below the root."""
        return self._root + path

    def text(self, path: str) -> str:
        """The file's text; empty when it cannot be read."""
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str:
        try:
            descriptor = os.open(self.real(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):  # a path may hold a NUL
            return ""
        try:
            # The kernel gives long lists a page at a time, and refuses large requests for some numbers.
            return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b"")).decode("utf-8", "surrogateescape")
        except OSError:
            return ""
        finally:
            os.close(descriptor)

    def number(self, path: str) -> int | None:
        """The whole number in the file, not negative; None when there is none."""
        return whole(self.text(path))

    def names(self, path: str) -> tuple[str, ...]:
        """The sorted entries of a directory; none when it cannot be read."""
        try:
            return tuple(sorted(os.listdir(self.real(path))))
        except (OSError, ValueError):
            return ()

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        return os.path.exists(self.real(path))


def whole(text: str) -> int | None:
    """`text` as a number of at most 20 ASCII digits, blanks around it allowed; None when it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
