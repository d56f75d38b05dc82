"""From the environment alone: has an engine started this process as a rank, or as one of several machines?"""

from collections.abc import Mapping

from mgelaunch.clusters import hydra, nodes, openmpi, slurm, torchrun
from mgelaunch.clusters.placement import Found, Inconsistent, Placement, Task
from mgelaunch.finding import Finding


def detect(environ: Mapping[str, str], *, megengine_server: bool = False, above: str | None = None) -> Found:
    """What `environ` says of this process. With `megengine_server` the port is one that MegEngine's server can have.
    `above` is the Slurm step whose daemon is above this process, empty where none is, None where nobody can tell.

    Ranks inherit the variables of all that surrounds them: those of an mpirun within a Slurm job, or of a torchrun
    within a pod, see both. Engines are therefore asked from the innermost to the outermost. Variables of a step that
    has ended, in a terminal that outlived it, look like those of one that runs: only who is above can tell.
    """
    try:
        placement = _placement(environ, above, megengine_server=megengine_server)
    except Inconsistent as wrong:
        return Found(None, (Finding("error", "cluster.variables", wrong.message, wrong.names, "--cluster none"),))
    if isinstance(placement, Task):
        return Found(placement, _stale(placement, environ) if above == "" else ())
    return Found(placement, (), environ.get("SLURM_JOB_ID", ""))


def _stale(task: Task, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """A warning where Slurm's daemon ought to be above the process and is not: one rank of several would wait for the
    others for ever.
    """
    if task.engine != slurm.ENGINE or task.world_size == 1:
        return ()
    step = f"{environ.get('SLURM_JOB_ID', '')}.{environ.get('SLURM_STEP_ID', '')}"
    message = (
        f"the variables say rank {task.rank} of {task.world_size} of Slurm step {step}, but no slurmstepd is above "
        "this process: they may be left from a step that has ended"
    )
    return (Finding("warning", "cluster.stale", message, task.variables, "--cluster none"),)


def _placement(environ: Mapping[str, str], above: str | None, *, megengine_server: bool) -> Placement | None:
    return (
        torchrun.placement(environ, megengine_server=megengine_server)
        or openmpi.placement(environ)
        or hydra.placement(environ)
        or slurm.placement(environ, above)
        or nodes.placement(environ)
    )
