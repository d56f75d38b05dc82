"""What engines give to the ranks they start, compared with where these ranks really are, and with what was recorded.

The records are tests/unit/environments/captured-*.json, which the tests without engines use. They are written anew by
MGELAUNCH_CAPTURE=1 pytest tests/clusters/test_captured.py
"""

import json
import os
import re

import pytest

from mgelaunch.clusters.detect import detect

RECORDS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "unit", "environments")
COLLECT = """#!/bin/sh
name={folder}/$(hostname).$$
env -0 >$name.part && mv $name.part $name
"""
MATTER = ("SLURM_", "OMPI_", "PMIX_", "PMI_", "RANK", "WORLD", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")
NOT_KEPT = re.compile(
    r"OMPI_MCA_|OMPI_(ARGV|COMMAND|FILE_LOCATION|NUM_APP|APP_|FIRST)|PMIX_(SERVER|MCA|BFROP|GDS|SECURITY|PTL)"
)
PASSING = {
    r"SLURM_JOB_?ID(_HET_GROUP_\d)?|SLURM_HET_JOB_ID(_HET_GROUP_\d)?": "7",
    r"SLURM_STEP_?ID(_HET_GROUP_\d)?": "3",
    r"SLURM_TASK_PID": "4711",
    r"SLURM_\w*PORT": "40000",
    r"PMI_FD": "9",
    r"PMIX_NAMESPACE": "3347185665",
    r"MASTER_PORT": "40001",
    r"SLURM_PRIO_PROCESS|SLURM_RLIMIT\w*|SLURM_UMASK|SLURM_WORKING_CLUSTER|PMIX_ID|PMI_JOBID|SLURM_JOB_ID_PACK_GROUP_\d": None,
}
"""What another run would have otherwise: the text that is recorded instead, or None for nothing at all."""


class Collector:
    """Starts ranks that leave their environments in a folder."""

    def __init__(self, request, folder):
        self.fixture = request.getfixturevalue
        self.folder = folder
        self.folder.mkdir()
        script = folder.parent / "collect.sh"
        script.write_text(COLLECT.format(folder=folder))
        self.command = ("sh", str(script))

    def srun(self, *options, env=None):
        done = self.fixture("slurm").srun(*options, *self.command, env=env)
        assert done.returncode == 0, done.stderr

    def srun_from_outside(self, *options):
        cluster = self.fixture("slurm").cluster
        done = cluster.run("hub", "srun", *options)
        assert done.returncode == 0, done.stderr

    def batch(self, *before):
        """A batch job for two tasks on each node that runs the command, with the words `before` it."""
        slurm = self.fixture("slurm")
        job = slurm.batch(f"#!/bin/sh\n{' '.join((*before, *self.command))}\n", *TWO_BY_TWO)
        assert slurm.await_job(job) == "COMPLETED"

    def requeued(self):
        """The script asks for it at its first run; the two minutes that Slurm waits then are cut short."""
        slurm = self.fixture("slurm")
        again = '[ -n "$SLURM_RESTART_COUNT" ] || { scontrol requeue $SLURM_JOB_ID; sleep 60; }'
        job = slurm.batch(f"#!/bin/sh\n{again}\nsrun {' '.join(self.command)}\n", *TWO_BY_TWO, "--requeue")
        slurm.start_requeued(job)
        assert slurm.await_job(job) == "COMPLETED"

    def mpirun(self, *options, **more):
        done = self.fixture("openmpi").mpirun(*options, *self.command, **more)
        assert done.returncode == 0, done.stderr

    def mpirun_in_slurm(self):
        """It starts its daemons by srun, and what they start inherits the variables of that step."""
        slurm, openmpi = self.fixture("slurm"), self.fixture("openmpi")
        env = slurm.allocation.environ | openmpi.environ | {"OMPI_MCA_plm": "slurm", "OMPI_MCA_plm_rsh_agent": None}
        done = slurm.cluster.run("hub", "mpirun", "--map-by", "ppr:2:node", *self.command, env=env)
        assert done.returncode == 0, done.stderr

    def torchrun_options(self):
        endpoint = ("--rdzv-backend=c10d", "--rdzv-endpoint=n1:29400", "--rdzv-id=job1")
        return (self.fixture("torchrun"), "--nnodes=2", "--nproc-per-node=2", *endpoint, "--no-python", *self.command)

    def torchrun(self):
        cluster = self.fixture("cluster")
        agents = [cluster.start(node, *self.torchrun_options()) for node in cluster.nodes]
        said = [agent.communicate(timeout=120) for agent in agents]
        assert [agent.returncode for agent in agents] == [0, 0], said

    def torchrun_in_slurm(self):
        done = self.fixture("slurm").srun("-N2", "--ntasks-per-node=1", *self.torchrun_options(), timeout=120)
        assert done.returncode == 0, done.stderr

    def shell(self):
        slurm = self.fixture("slurm")
        slurm.run(*self.command)

    def hosts(self, *names):
        """Options and variables that place one task on each of `names`, in this order."""
        return {"SLURM_HOSTFILE": self.fixture("cluster").write("placement", "\n".join(names) + "\n")}

    def found(self):
        """The environments, each with the host on which its process ran."""
        for name in sorted(os.listdir(self.folder)):
            with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                entries = file.read().split("\0")
            yield name.partition(".")[0], dict(entry.split("=", 1) for entry in entries if entry)


TWO_BY_TWO = ("-N2", "--ntasks-per-node=2")
SITUATIONS = {
    "slurm-block": ("srun, two tasks on each of two nodes", lambda c: c.srun(*TWO_BY_TWO)),
    "slurm-uneven": (
        "srun -N2 -n4, which Slurm places unevenly",
        lambda c: c.srun_from_outside("-N2", "-n4", *c.command),
    ),
    "slurm-cyclic": ("srun, ranks dealt out in turn", lambda c: c.srun(*TWO_BY_TWO, "--distribution=cyclic")),
    "slurm-arbitrary": (
        "srun --distribution=arbitrary, rank 0 on the second host of the list",
        lambda c: c.srun("-n3", "--distribution=arbitrary", env=c.hosts("n2", "n1", "n2")),
    ),
    "slurm-hostfile": (
        "SLURM_HOSTFILE in the environment of srun, which is as good as --distribution=arbitrary",
        lambda c: c.srun("-n3", env=c.hosts("n2", "n1", "n2")),
    ),
    "slurm-small-step": ("a step of one task on the second node of its job", lambda c: c.srun("-N1", "-n1", "-wn2")),
    "slurm-one-node": ("a step of two tasks on the first node of its job", lambda c: c.srun("-N1", "-n2", "-wn1")),
    "slurm-pmi2": ("srun --mpi=pmi2, which adds PMI_RANK", lambda c: c.srun(*TWO_BY_TWO, "--mpi=pmi2")),
    "slurm-gpus-per-task": ("srun --gpus-per-task=1", lambda c: c.srun(*TWO_BY_TWO, "--gpus-per-task=1")),
    "slurm-gres": ("srun --gres=gpu:2, both for all tasks of a node", lambda c: c.srun(*TWO_BY_TWO, "--gres=gpu:2")),
    "slurm-gres-none": ("srun --gres=none", lambda c: c.srun(*TWO_BY_TWO, "--gres=none")),
    "slurm-heterogeneous": (
        "srun of two components, one task and two tasks",
        lambda c: c.srun_from_outside("-wn1", "-n1", *c.command, ":", "-wn2", "-n2", *c.command),
    ),
    "slurm-from-batch": (
        "srun in a batch script, which has a SLURM_PROCID of its own",
        lambda c: c.batch("srun"),
    ),
    "slurm-requeued": ("srun in a batch script that was requeued once", lambda c: c.requeued()),
    "slurm-batch": ("the batch script of a job for four tasks", lambda c: c.batch()),
    "slurm-salloc": ("the shell of salloc", lambda c: c.shell()),
    "openmpi-block": ("mpirun, two ranks on each of two nodes", lambda c: c.mpirun()),
    "openmpi-by-node": ("mpirun --map-by node, ranks dealt out in turn", lambda c: c.mpirun("--map-by", "node")),
    "openmpi-one-node": ("mpirun, two ranks on one node", lambda c: c.mpirun(hosts="n1:2")),
    "openmpi-in-slurm": ("mpirun in a Slurm allocation", lambda c: c.mpirun_in_slurm()),
    "torchrun": ("torchrun, one agent on each of two nodes", lambda c: c.torchrun()),
    "torchrun-in-slurm": ("torchrun under srun, one agent on each of two nodes", lambda c: c.torchrun_in_slurm()),
}
EVERY_RANK = {"slurm-block", "slurm-uneven", "slurm-cyclic", "slurm-arbitrary", "slurm-heterogeneous"}
"""Of the others the last rank is kept, which has all numbers other than 0."""

NO_TASKS = {"slurm-batch", "slurm-salloc"}
NO_ADDRESS = {"slurm-arbitrary", "slurm-hostfile", "slurm-heterogeneous"}
ENGINES = {"slurm": "Slurm", "openmpi": "Open MPI", "torchrun": "torchrun"}
RANKS = {"slurm": "SLURM_PROCID", "openmpi": "OMPI_COMM_WORLD_RANK", "torchrun": "RANK"}


def expectations(situation, found):
    """For each environment, by rank, what is true of its process: counted on the hosts, not read from variables."""
    engine = situation.partition("-")[0]
    placed = sorted((int(environ[RANKS[engine]]), host, environ) for host, environ in found)
    assert [rank for rank, _, _ in placed] == list(range(len(placed)))
    hosts = sorted({host for _, host, _ in placed})
    for rank, host, environ in placed:
        here = [other for other, place, _ in placed if place == host]
        cards = [environ.get("CUDA_VISIBLE_DEVICES") for _, place, environ in placed if place == host]
        yield (
            environ,
            {
                "engine": ENGINES[engine],
                "rank": rank,
                "world_size": len(placed),
                "local_rank": here.index(rank),
                "local_world_size": len(here),
                "node_rank": None if engine == "openmpi" else hosts.index(host),
                "master_addr": _address(situation, environ, placed[0][1], hosts),
                "own_device": len(cards) > 1 and None not in cards and len(set(cards)) == len(cards),
                "restart_count": int(situation == "slurm-requeued"),
            },
        )


def _address(situation, environ, first, hosts):
    if situation.startswith("openmpi"):
        return "127.0.0.1" if len(hosts) == 1 else ""
    if situation.startswith("torchrun"):
        return environ["MASTER_ADDR"]
    return "" if situation in NO_ADDRESS else first


def recorded(environ):
    """What is kept of an environment: what matters, without what only this run or this machine has."""
    kept = {name: text for name, text in environ.items() if name.startswith(MATTER) or name.endswith("_DEVICES")}
    for pattern, text in PASSING.items():
        for name in [name for name in kept if re.fullmatch(pattern, name)]:
            kept[name] = text
    return {
        name: text
        for name, text in sorted(kept.items())
        if text is not None and "/" not in text and not NOT_KEPT.match(name)
    }


@pytest.fixture(scope="module")
def version(request):
    """A function that names the engine of a situation with its version, as `slurm 22.05.8`."""

    def name(engine):
        cluster = request.getfixturevalue("cluster")
        if engine == "torchrun":
            python = os.path.join(os.path.dirname(request.getfixturevalue("torchrun")), "python")
            asked = cluster.run("hub", python, "-c", "from importlib.metadata import version; print(version('torch'))")
        else:
            asked = cluster.run("hub", {"slurm": "srun", "openmpi": "mpirun"}[engine], "--version")
        return f"{engine} {re.search(r'[0-9][0-9.]+', asked.stdout)[0]}"

    return name


def told(environ):
    """What mgelaunch makes of an environment, in the words of `expectations`; None when it sees no task."""
    found = detect(environ)
    assert not found.findings
    if found.placement is None:
        return None
    names = ("engine", "rank", "world_size", "local_rank", "local_world_size", "node_rank", "master_addr", "own_device")
    return {name: getattr(found.placement, name) for name in (*names, "restart_count")}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_mgelaunch_knows_where_a_rank_is(situation, version, request, tmp_path):
    what, take = SITUATIONS[situation]
    collector = Collector(request, tmp_path / "environments")
    take(collector)
    if situation in NO_TASKS:
        ((_, environ),) = collector.found()
        ranks = [(environ, None)]
    else:
        ranks = list(expectations(situation, collector.found()))
    about = {"engine": version(situation.partition("-")[0]), "what": what}
    for environ, expected in ranks if situation in EVERY_RANK else ranks[-1:]:
        ending = "" if expected is None else f"-{expected['rank']}"
        _compare(f"captured-{situation}{ending}.json", about | {"environ": recorded(environ), "expected": expected})
    assert [told(environ) for environ, _ in ranks] == [expected for _, expected in ranks]


def _compare(name, now):
    """The record is what was seen now, where the engine is of the version that was recorded."""
    path = os.path.join(RECORDS, name)
    if os.environ.get("MGELAUNCH_CAPTURE"):
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(now, indent=1) + "\n")
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    assert record["expected"] == now["expected"]
    if record["engine"] == now["engine"]:
        if "heterogeneous" in name:  # srun says at random "block" or "cyclic"
            record["environ"]["SLURM_DISTRIBUTION"] = now["environ"]["SLURM_DISTRIBUTION"]
        assert record == now
