"""One virtual cluster and one allocation for all tests of a run, and what must be left after each test: nothing."""

import os
import sys

import pytest

from .cluster import Cluster, wait_until
from .driver import Driver
from .openmpi import OpenMpi
from .slurm import Slurm

PATIENCE = 120
"""Seconds in which all that a test has started must be gone: Slurm takes a dozen to miss a node, and a minute on a busy
machine until one that comes back has ended what it was not told to."""


class Bed:
    """What stands until the session ends: nothing before a test has asked for it."""

    def __init__(self):
        self.cluster = self.slurm = None

    def strangers(self):
        """The processes in the cluster that no fixture has started, as texts."""
        keepers = [held for held in (self.cluster, self.slurm) if held]
        left = [pid for pid in self.cluster.processes() if not any(held.keeps(pid) for held in keepers)]
        return [f"{pid} {words}" for pid in left if (words := _command_line(pid))]

    def surplus_ports(self):
        """Where something listens in the cluster that did not when the session began."""
        places = ("hub", *self.cluster.nodes)
        usual = self.slurm.ports if self.slurm else {}
        return {where: ports for where in places if (ports := self.cluster.listening(where) - usual.get(where, set()))}

    def tidy(self):
        """Brings the cluster back to its first state and returns what should have gone by itself."""
        self.cluster.mend()
        left = _in_time(lambda: self.strangers() or self.surplus_ports())
        self.cluster.end(int(text.split()[0]) for text in self.strangers())
        if self.slurm:
            jobs = _in_time(self.slurm.other_jobs)
            self.slurm.mend()
            left = left or jobs
        return left

    def down(self):
        """Ends all; the end of the last process is the end of the namespaces."""
        if self.slurm:
            self.slurm.down()
        if self.cluster:
            self.cluster.down()


def _in_time(leftovers):
    """What `leftovers()` still is after some seconds, if it does not become empty before."""
    try:
        wait_until(lambda: not leftovers(), "the end of a test's leftovers", PATIENCE)
    except TimeoutError:
        return leftovers()
    return None


def _command_line(pid):
    """Empty for a process that has ended, also before its parent took note."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _lives_in(pid, folder):
    try:
        return os.readlink(f"/proc/{pid}/cwd").startswith(f"{folder}/")
    except OSError:  # it has ended meanwhile, or is a zombie
        return False


@pytest.fixture(scope="session")
def bed():
    """What all fixtures of this folder share; it ends with the session."""
    held = Bed()
    yield held
    held.down()


@pytest.fixture(scope="session")
def cluster(bed, need):
    """Two virtual nodes and a hub (see cluster.py)."""
    need("nodes")
    bed.cluster = Cluster()
    bed.cluster.up(2)
    return bed.cluster


@pytest.fixture(scope="session")
def slurm(bed, cluster, need):
    """A real Slurm on both nodes, and an allocation of half of each."""
    need("slurm")
    slurm = Slurm(cluster)
    slurm.up()
    bed.slurm = slurm
    return slurm


@pytest.fixture(scope="session")
def openmpi(cluster, need):
    """A real mpirun that reaches both nodes."""
    need("openmpi")
    return OpenMpi(cluster)


@pytest.fixture(scope="session")
def torchrun(need, brevitas_python):
    """The path of the torchrun that lies beside the Python with Brevitas."""
    need("torchrun")
    return os.path.join(os.path.dirname(brevitas_python), "torchrun")


@pytest.fixture(scope="session")
def launcher():
    """The words that start mgelaunch, wherever they are run."""
    return [sys.executable, "-m", "mgelaunch"]


@pytest.fixture
def driver_of(request, cluster, launcher):
    """A function that makes a driver of ``slurm`` or ``mpi`` in a folder."""
    drivers = []

    def make(word, folder):
        engine = request.getfixturevalue({"slurm": "slurm", "mpi": "openmpi"}[word])
        drivers.append(Driver(word, cluster, engine, launcher, folder))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture(autouse=True)
def nothing_is_left(bed, tmp_path):
    """No process, port or job of a test is left on any node when it has ended; what it broke is mended."""
    yield
    if bed.cluster:
        left = bed.tidy()
        here = [pid for pid in os.listdir("/proc") if pid.isdigit() and _lives_in(pid, str(tmp_path))]
        assert not left, "this test has left something behind"
        assert not here, "processes of this test are still running"
