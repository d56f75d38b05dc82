"""How Slurm is asked to start, to tell and to end the ranks of a job: command lines, nothing is run here."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mgelaunch.clusters.engine import Wanted

_MISLEADING = ("SLURM_HOSTFILE", "SLURM_DISTRIBUTION", "SLURM_EXPORT_ENV", "SLURM_LABELIO")
"""What would change where ranks run, what they get, or what they say: a host file beats even ``--distribution``."""


class Step(NamedTuple):
    """A step of a Slurm job, found by its name."""

    job: str
    name: str

    def find(self) -> tuple[str, ...]:
        """What prints a line ``ID NAME`` for each running step of the job."""
        return ("squeue", "--noheader", "--steps", "--job", self.job, "--format=%i %j")

    def identity(self, printed: str) -> str:
        """``JOB.STEP``, out of what `find` has printed; empty while the step is not there."""
        rows = (line.split(maxsplit=1) for line in printed.splitlines())
        return next((row[0] for row in rows if len(row) == 2 and row[1].strip() == self.name), "")


def command(wanted: Wanted, name: str, environ: Mapping[str, str], inner: Sequence[str]) -> tuple[str, ...]:
    """Starts `inner` once for each rank. The environment travels with plain ``ALL``: a list of names after it would be
    cut at the first comma of a value.
    """
    cpus = environ.get("SLURM_CPUS_PER_TASK", "")
    return (
        "srun",
        "--export=ALL",
        f"--nodes={wanted.nodes}",
        f"--ntasks={wanted.nodes * wanted.per_node}",
        f"--ntasks-per-node={wanted.per_node}",
        "--distribution=block",
        "--kill-on-bad-exit=1",
        "--input=0",
        f"--job-name={name}",
        *((f"--cpus-per-task={cpus}",) if cpus else ()),
        *inner,
    )


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of srun."""
    return {name: text for name, text in environ.items() if name not in _MISLEADING}


def tell(identity: str, signal: str) -> tuple[str, ...]:
    """Sends a signal to every process of a step. A TERM to srun itself would kill them at once (Slurm 22.05)."""
    return ("scancel", f"--signal={signal}", identity)
