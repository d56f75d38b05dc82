"""One environment variable as the frameworks really read it."""

from typing import Literal, NamedTuple

from mgelaunch.catalogue.kinds import Kind

Moment = Literal["start", "import", "first_device", "first_tensor", "first_use", "each_use", "exit_too", "never"]
"""When it is read: interpreter start; import of the reader; a device is opened; the first tensor; first
use of a feature, then kept; each use; import and again at exit; never (dead)."""

Framework = Literal["megengine", "brevitas", "torch", "python", "cuda", "nccl", "system"]


class Reader(NamedTuple):
    """A framework that reads the variable, from version ``since`` on (empty: always did) and before
    ``until`` (empty: still does). ``builds`` names the only builds that read it (empty: all of them).
    """

    framework: Framework
    since: str = ""
    until: str = ""
    builds: str = ""


class Variable(NamedTuple):
    """A row of the catalogue. All texts are for users; ``source`` says where the facts come from.

    ``default`` is the text that means the framework's own default; None when unset is the default or
    the default is no fixed text (``default_note`` then says what it is). ``documented`` is True for
    the variables of the two official settings pages. ``instead`` tells what to use when no installed
    version reads the variable, ``fix`` what ``--fix`` knows to have it heeded again. ``trap`` is the
    misreading to know of. ``readback`` is a Python expression, evaluated in the target after ``import
    megengine`` or ``import brevitas, torch``, that shows what took effect; ``capped`` variables are
    numbers of which readers take no more than there are CPUs or cores, and where there is a word
    that is ``spelled`` otherwise than it is read back (upper case, both), case does not count.
    """

    name: str
    kind: Kind
    moment: Moment
    readers: tuple[Reader, ...]
    en: str
    zh: str
    source: str
    group: str
    default: str | None = None
    default_note: str = ""
    documented: bool = False
    trap: str = ""
    trap_zh: str = ""
    instead: str = ""
    readback: str = ""
    fix: str = ""
    capped: bool = False
    spelled: tuple[tuple[str, str], ...] = ()
