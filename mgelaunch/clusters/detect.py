"""From the environment alone: has an engine started this process as a rank, or as one of several machines?"""

from collections.abc import Mapping

from mgelaunch.clusters import hydra, nodes, openmpi, slurm, torchrun
from mgelaunch.clusters.placement import Found, Inconsistent, Placement, Task
from mgelaunch.finding import Finding


def detect(environ: Mapping[str, str], *, megengine_server: bool = False) -> Found:
    """What `environ` says of this process. With `megengine_server` the port is one that MegEngine's server can have.

    Ranks inherit the variables of all that surrounds them: those of an mpirun within a Slurm job, or of a torchrun
    within a pod, see both. Engines are therefore asked from the innermost to the outermost. Variables of a step that
    has ended (a shell reached from it, a job submitted in it) look like those of one that runs.
    """
    try:
        placement = _placement(environ, megengine_server=megengine_server)
    except Inconsistent as wrong:
        return Found(None, (Finding("error", "cluster.variables", wrong.message, wrong.names, "--cluster none"),))
    return Found(placement, (), "" if isinstance(placement, Task) else environ.get("SLURM_JOB_ID", ""))


def _placement(environ: Mapping[str, str], *, megengine_server: bool) -> Placement | None:
    return (
        torchrun.placement(environ, megengine_server=megengine_server)
        or openmpi.placement(environ)
        or hydra.placement(environ)
        or slurm.placement(environ)
        or nodes.placement(environ)
    )
