"""How Open MPI is asked to start the ranks of a job: a command line, nothing is run here."""

from collections.abc import Iterable, Mapping, Sequence

from mgelaunch.clusters.engine import Wanted

_OF_ONE_HOST = frozenset(
    {
        *("HOSTNAME", "HOST", "PWD", "OLDPWD", "SHLVL", "_", "TERM", "DISPLAY", "WAYLAND_DISPLAY", "TMPDIR", "TMP"),
        *("TEMP", "XDG_RUNTIME_DIR", "XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "SSH_CLIENT"),
        *("SSH_CONNECTION", "SSH_TTY", "LS_COLORS"),
    }
)
"""Variables that mean nothing, or the wrong thing, on another host."""
_MOST_GRACE = 10
"""Seconds of that sleep: it delays the end of the ranks also when mpirun itself has been killed."""
_KEEPALIVE = tuple(
    word
    for name, seconds in (("time", "10"), ("intvl", "5"), ("probes", "4"))
    for word in ("--mca", f"oob_tcp_keepalive_{name}", seconds)
)
"""A node that is cut off is missed after half a minute, not after eight."""
_OF_ENGINES = ("OMPI_", "PMIX_", "PRTE_", "SLURM_", "BASH_FUNC_")


def command(
    wanted: Wanted, hosts: Sequence[str], names: Iterable[str], cwd: str, grace: float, inner: Sequence[str]
) -> tuple[str, ...]:
    """Starts `inner` once for each rank, rank 0 on the first of `hosts`. `names` are the variables that travel: a host
    gets none that is not named. When one fails, Open MPI 4 sleeps for `grace` seconds before it sends TERM to the
    others, and again before KILL, whether anybody is left or not.
    """
    places = ",".join(f"{host}:{wanted.per_node}" for host in hosts[: wanted.nodes])
    exported = [part for name in names for part in ("-x", name)]
    sleep = ("--mca", "odls_base_sigkill_timeout", str(max(1, min(_MOST_GRACE, int(grace)))))
    spread = ("-np", str(wanted.world), "--map-by", "slot", "--bind-to", "none")
    return ("mpirun", "-H", places, *spread, *sleep, *_KEEPALIVE, "--wdir", cwd, *exported, *inner)


def exported(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names out of `environ` that a rank elsewhere is to have as well."""
    return tuple(sorted(name for name in environ if name.isidentifier() and not _stays(name)))


def _stays(name: str) -> bool:
    return name in _OF_ONE_HOST or name.startswith(_OF_ENGINES)
