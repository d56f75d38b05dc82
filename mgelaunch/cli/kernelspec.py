"""What stands in a kernel.json, and where it lies: the options of a kernel as they hold wherever it is started.

Rules of names, directories and replacements: jupyter_core 5.9 (paths.py) and jupyter_client 8.10 (kernelspec.py,
manager.py).
"""

import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from shlex import quote
from typing import Any, NamedTuple

from mgelaunch.catalogue.places import Path
from mgelaunch.cli.options import Options
from mgelaunch.cli.surroundings import home_directory
from mgelaunch.environment.layers import Layers
from mgelaunch.environment.library import find
from mgelaunch.environment.project import Places
from mgelaunch.environment.resolve import Resolution, Setting
from mgelaunch.errors import UsageError
from mgelaunch.finding import Finding
from mgelaunch.report.text import masked

_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9._][A-Za-z0-9._-]*")
_FILLED_IN = re.compile(r"\{[A-Za-z0-9_]+\}")
"""What Jupyter may replace in a word of the command."""


class Spec(NamedTuple):
    """A kernel: its name for Jupyter and for people, the command up to the module, and more variables of its own."""

    name: str
    display_name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


class Place(NamedTuple):
    """Where a kernel lies."""

    folder: str

    @property
    def file(self) -> str:
        """The file by which Jupyter knows a kernel."""
        return f"{self.folder}/kernel.json"

    @property
    def is_taken(self) -> bool:
        """Whether a kernel is there already."""
        return os.path.lexists(self.file)


class Pinned(NamedTuple):
    """Options as words of a command line that mean the same in any working directory, and the names of the profiles."""

    words: tuple[str, ...]
    names: tuple[str, ...]


def program() -> tuple[str, ...]:
    """The command that this very mgelaunch is: a script where there is one, because ``python -m`` would look for its
    modules in the working directory first.
    """
    own = os.path.abspath(sys.argv[0])
    scripts = [os.path.join(sysconfig.get_path("scripts"), "mgelaunch")]
    if os.path.basename(own) == "mgelaunch":
        scripts.insert(0, own)
    found = next((script for script in scripts if os.access(script, os.X_OK)), "")
    return (found,) if found else (sys.executable, "-m", "mgelaunch")


def name_of(profiles: Sequence[str]) -> str:
    """The name of a kernel that nobody has named: mgelaunch and the profiles, in the characters that Jupyter allows."""
    text = re.sub(r"[^a-z0-9._-]+", "-", "-".join(("mgelaunch", *profiles)).lower())
    return text.strip("-")


def pinned(options: Options, where: Places, environ: Mapping[str, str], python: str) -> Pinned:
    """The options as they are written. Profiles of ``$MGELAUNCH_PROFILE`` count as named: Jupyter may be started from
    another shell.
    """
    said = options.profile or [name.strip() for name in environ.get("MGELAUNCH_PROFILE", "").split(",") if name.strip()]
    found = [find(name, where) for name in said]
    known = [each for each in found if not isinstance(each, Finding)]
    paths = [f"shipped:{each.name}" if each.shelf == "shipped" else each.path for each in known]
    files = [os.path.normpath(os.path.join(where.cwd, path)) for path in options.env_file or ()]
    whole = options._replace(profile=paths, env_file=files, python=python)
    return Pinned(tuple(_words(whole)), tuple(each.name for each in known))


def _words(options: Options) -> Iterator[str]:
    """The options in the words of a command line, by their long names."""
    for field, value in options._asdict().items():
        declared = Options.__annotations__[field].__metadata__[0]  # typer keeps the first name as a default
        option = (declared.default, *declared.param_decls)[-1]
        if value is True:
            yield option
        elif value:
            for text in value if isinstance(value, list) else [value]:
                yield from (option, text)


def shelves(layers: Layers, where: Places) -> dict[str, str]:
    """Where profiles find their bases by name, when they lie in this project or on a search path of this shell."""
    if not any(found.shelf in {"project", "search path"} for found in layers.found):
        return {}
    folders = [folder for shelf, folder in where.shelves() if shelf in {"project", "search path"}]
    return {"MGELAUNCH_PROFILE_PATH": ":".join(folders).replace("$", "$$")}  # Jupyter fills in ${NAME}


def forbidden(options: Options, words: Sequence[str], resolution: Resolution, cwd: str) -> Iterator[Finding]:
    """What must not be written into a file, or would mean something else when the kernel is started."""
    for text in options.assign or ():
        name, _, value = text.partition("=")
        if setting := resolution.settings.get(name):
            yield from _unwritten(setting, value)
    for path in options.env_file or ():
        if os.path.exists(full := os.path.join(cwd, path)) and not os.path.isfile(full):
            message = "the env file is no file that will be there when a kernel starts"
            yield Finding("error", "kernel.elsewhere", message, (), "", "--env-file")
    if any(map(_FILLED_IN.search, words)):
        message = "Jupyter may replace a word in braces by one of its own; a profile or an env file can hold it"
        yield Finding("error", "kernel.braces", message)


def _unwritten(setting: Setting, value: str) -> Iterator[Finding]:
    """Why a `value` of ``--set`` is not written."""
    name, variable = setting.name, setting.variable
    if masked(value, secret=setting.secret) != value:
        message = f"{name} is a secret, and whoever can read the kernel.json could read it there"
        remedy = f"export {name}=... before Jupyter is started, or a line of .env beside the notebook"
        yield Finding("error", "kernel.secret", message, (name,), remedy, "--set")
    elif variable and isinstance(variable.kind, Path) and _is_relative(value):
        message = f"{name} is relative to the working directory, which is another one when a kernel starts"
        yield Finding("error", "kernel.elsewhere", message, (name,), f"-e {quote(f'{name}={setting.text}')}", "--set")


def _is_relative(value: str) -> bool:
    return bool(value) and any(not part.startswith(("/", "~", "$")) for part in value.split(":"))


def place_of(
    name: str, environ: Mapping[str, str], cwd: str, python: str, *, user: bool, prefix: str, of_target: bool
) -> Place:
    """Where a kernel called `name` belongs.

    Raises:
        UsageError: Jupyter knows no such name, there is more than one place, or nobody knows the home directory.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("--name takes letters, digits and . _ - only, and no - at its beginning")
    if sum((user, bool(prefix), of_target)) > 1:
        raise UsageError("--user, --prefix and --sys-prefix name different places; choose one")
    if prefix or of_target:
        data = os.path.join(prefix or os.path.dirname(os.path.dirname(python)), "share", "jupyter")
    else:
        data = _of_user(environ)
    shelf, folder = os.path.normpath(os.path.join(cwd, data, "kernels")), name.lower()
    with suppress(OSError):  # Jupyter makes no difference between capitals and small letters
        same = [each for each in sorted(os.listdir(shelf)) if each.lower() == folder]
        folder = next((each for each in same if Place(f"{shelf}/{each}").is_taken), folder)
    return Place(f"{shelf}/{folder}")


def _of_user(environ: Mapping[str, str]) -> str:
    if told := environ.get("JUPYTER_DATA_DIR"):
        return told
    home = home_directory()
    if not (share := environ.get("XDG_DATA_HOME")) and not home:
        raise UsageError("nobody knows your home directory; say --prefix DIR")
    return os.path.join(share or os.path.join(home, ".local", "share"), "jupyter")


def document(spec: Spec) -> str:
    """The text of the kernel.json."""
    content: dict[str, Any] = {
        "argv": [*spec.command, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": spec.display_name,
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": True},
    }
    if spec.environment:
        content["env"] = dict(spec.environment)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write(place: Place, text: str) -> tuple[Finding, ...]:
    """Writes the kernel.json in one step, so that Jupyter never sees half of it, or says why it cannot be written."""
    half = f"{place.file}.{os.getpid()}"
    try:
        content = text.encode()
    except UnicodeEncodeError:
        message = "an option has bytes that are no UTF-8, and no kernel.json can hold them"
        return (Finding("error", "kernel.write", message),)
    try:
        os.makedirs(place.folder, exist_ok=True)
        with open(half, "wb") as file:
            file.write(content)
        os.replace(half, place.file)
    except OSError as error:
        with suppress(OSError):
            os.unlink(half)
        message = f"{place.file} cannot be written: {error.strerror}"
        return (Finding("error", "kernel.write", message, (), "--prefix DIR"),)
    return ()
