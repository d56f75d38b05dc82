"""What programs get: the decision alone, or carried out in the very process that asks for it."""

import os
from collections.abc import Iterable, Mapping, Sequence

from mgelaunch.catalogue.names import is_portable
from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.options import Options
from mgelaunch.errors import UsageError
from mgelaunch.launch.command import Target


def resolve(
    profiles: str | Sequence[str] = (),
    *,
    settings: Mapping[str, str] | None = None,
    unset: Iterable[str] = (),
    env_files: Sequence[str] = (),
    target: str = "",
    args: Sequence[str] = (),
) -> Decision:
    """What ``mgelaunch run`` with these options would do, in the surroundings of this process. Starts nothing.

    `profiles` are names or paths, as for ``--profile``; `settings` and `unset` have the last word, as
    ``--set`` and ``--unset`` have. The result's ``plan`` holds the process to start, ``findings`` what there
    is to say (nothing may be started while one is an error), ``resolution`` where each value comes from.

    Raises:
        UsageError: a name is not portable, or both set and unset.
    """
    options = settings_of(profiles, settings, unset, env_files)
    return decide(options, Target(target, tuple(args)) if target else None)


def settings_of(
    profiles: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    settings: Mapping[str, str] | None,
    unset: Iterable[str],
    env_files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Options:
    """The options that a command line would have for the same. One name may stand for a list of one.

    Raises:
        UsageError: a name is not portable, or a value is none or holds a NUL character.
    """
    return Options(
        profile=_texts(profiles),
        assign=[f"{name}={_value(name, text)}" for name, text in (settings or {}).items()],
        unset=_texts(unset),
        env_file=_texts(env_files),
    )


def _texts(said: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    return [os.fspath(each) for each in ([said] if isinstance(said, str | os.PathLike) else said)]


def _value(name: str, text: str | None) -> str:
    if not is_portable(name):
        raise UsageError("a variable's name has letters, digits and _ only, and does not begin with a digit")
    if text is None:
        raise UsageError(f"{name} is set to None; to remove a variable: unset=[{name!r}]")
    if "\0" in str(text):
        raise UsageError(f"the value of {name} holds a NUL character, which no variable can")
    try:
        os.fsencode(str(text))
    except UnicodeEncodeError:
        raise UsageError(f"the value of {name} has characters that the encoding of the file system lacks") from None
    return str(text)
