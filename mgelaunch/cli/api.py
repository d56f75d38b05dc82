"""The decision for programs: the same resolution, findings and plan that the commands print."""

from collections.abc import Iterable, Mapping, Sequence

from mgelaunch.cli.decide import Decision, decide
from mgelaunch.cli.options import Options
from mgelaunch.launch.command import Target


def resolve(
    profiles: Sequence[str] = (),
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
    options = Options(
        profile=list(profiles),
        assign=[f"{name}={text}" for name, text in (settings or {}).items()],
        unset=list(unset),
        env_file=list(env_files),
    )
    return decide(options, Target(target, tuple(args)) if target else None)
