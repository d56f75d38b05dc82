"""A real Slurm on the virtual nodes, without cgroups, accounting or cards: its controller runs on the hub."""

import os
import re
import stat
import subprocess
import time
from dataclasses import dataclass

from .cluster import DEADLINE, name_of, wait_until

CONFIGURATION = """
ClusterName=virtual
SlurmctldHost=hub
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort=6817
SlurmdPort=6818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# Nodes are believed to have what is written here.
SlurmdParameters=config_overrides
ReturnToService=2
# Seconds: as short as they can be without loss on a busy machine.
SlurmdTimeout=10
SlurmctldTimeout=10
MessageTimeout=5
KillWait=3
WaitTime=0
InactiveLimit=0
MinJobAge=60
GresTypes=gpu
NodeName=n[1-{nodes}] CPUs={cpus} RealMemory=1000 Gres=gpu:{cards} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
CPUS, CARDS = 8, 4
"""What a node claims to have. The allocation that is held takes half, so that a test can have one of its own."""

DAEMONS = {"munged", "slurmctld", "slurmscriptd", "slurmd"}
"""As the kernel calls them, forked copies included."""


@dataclass(frozen=True)
class Allocation:
    """Nodes that are held: the job's id, the environment of a shell in it, and the salloc whose end gives them back."""

    job: str
    environ: dict
    salloc: subprocess.Popen

    def release(self):
        """Gives the nodes back; a second time does nothing."""
        self.salloc.stdin.close()
        self.salloc.wait(DEADLINE)


class Slurm:
    """The daemons, and one allocation of two nodes, four processors and two cards on each, that all tests use."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.allocation = None
        self.ports = {}
        """Where the daemons listen: a set of ports for the hub and each node."""
        self._daemons = {}
        self._former = set()
        self._restarted = False

    def up(self):
        """Starts the daemons and takes the allocation."""
        self._configure()
        self._start_munge()
        self.start_controller()
        for node in self.cluster.nodes:
            self._start_node(node)
        self._await_nodes()
        self.allocation = self.allocate()
        self._note_ports()

    def down(self):
        """Ends the allocation and the daemons."""
        if self.allocation:
            self.allocation.release()
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait(DEADLINE)

    def allocate(self, *options):
        """An allocation of all nodes, half of each, that a real salloc holds; `options` of salloc are added."""
        usual = (f"-N{len(self.cluster.nodes)}", f"--mincpus={CPUS // 2}", f"--gres=gpu:{CARDS // 2}", "--no-kill")
        told = self.cluster.path("slurm", f"shell.{time.monotonic_ns()}")
        shell = ("sh", "-c", 'env -0 >"$0.part" && mv "$0.part" "$0" && exec cat', told)
        silent = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
        salloc = self.cluster.start("hub", "salloc", *usual, *options, *shell, **silent)
        try:
            wait_until(lambda: os.path.exists(told) or salloc.poll() is not None, "an allocation")
        except TimeoutError:
            salloc.terminate()
            raise
        if salloc.poll() is not None:
            raise RuntimeError(f"salloc gave nothing: {salloc.stderr.read()}")
        with open(told, encoding="utf-8") as file:
            environ = dict(entry.split("=", 1) for entry in file.read().split("\0") if entry)
        return Allocation(environ["SLURM_JOB_ID"], environ, salloc)

    def run(self, *command, env=None, **options):
        """Runs a command to its end as if it was typed in the allocation's shell on the hub."""
        return self.cluster.run("hub", *command, env=self.allocation.environ | (env or {}), **options)

    def start(self, *command, env=None, **options):
        """Starts a command as if it was typed in the allocation's shell on the hub."""
        return self.cluster.start("hub", *command, env=self.allocation.environ | (env or {}), **options)

    def srun(self, *arguments, **options):
        """Runs a step in the allocation to its end."""
        return self.run("srun", *arguments, **options)

    def tell(self, *command, **options):
        """What a command of Slurm prints (scontrol, sinfo, squeue, sbatch), outside of any job."""
        done = self.cluster.run("hub", *command, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def batch(self, script, *options, **more):
        """Submits the text of a batch script and returns the id of its job."""
        path = self.cluster.write("batch.sh", script)
        return self.tell("sbatch", "--parsable", *options, path, **more)

    def state(self, job):
        """The state of a job, as `RUNNING`; empty when it is known no more."""
        asked = self.cluster.run("hub", "scontrol", "-o", "show", "job", str(job)).stdout
        found = re.search(r"JobState=(\w+)", asked)
        return found[1] if found else ""

    def await_job(self, job, states=("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"), seconds=DEADLINE):
        """Waits until a job is in one of `states`, and returns it."""
        return wait_until(lambda: (now := self.state(job)) in states and now, f"job {job}", seconds)

    def start_requeued(self, job):
        """Waits until a requeued job runs again, with two seconds of the two minutes for which Slurm holds it back.

        Within the second of its end a node takes it for a job that it was told to end, and it fails.
        """
        pushed = []

        def under_way():
            shown = self.tell("scontrol", "-o", "show", "job", str(job))
            if "Reason=BeginTime" in shown and not pushed:
                pushed.append(self.tell("scontrol", "update", f"job={job}", "StartTime=now+2"))
            return pushed and "JobState=PENDING" not in shown

        wait_until(under_way, f"the second start of job {job}")

    def start_controller(self):
        """Starts slurmctld, and waits until it answers; after `kill_controller` with all that it knew."""
        self._start("slurmctld", "hub", "slurmctld", "-D")
        answers = lambda: self.cluster.run("hub", "scontrol", "ping").stdout.count("is UP")  # noqa: E731
        wait_until(answers, "an answer of the controller")

    def kill_controller(self):
        """Kills slurmctld where it stands."""
        daemon = self._daemons["slurmctld"]
        helpers = [pid for pid in self.cluster.processes("hub") if name_of(pid) == "slurmscriptd"]
        daemon.kill()
        daemon.wait(DEADLINE)
        self.cluster.end(helpers)

    def restart(self, node):
        """Starts slurmd on `node` again, which is revived when it has crashed, and waits until it can be used."""
        if not self.cluster.alive(node):
            self.cluster.revive(node)
        elif self._daemons[node].poll() is None:
            self._daemons[node].kill()
        self._daemons[node].wait(DEADLINE)
        self._restarted = True
        self._start_node(node)
        self._await_nodes()

    def mend(self):
        """Brings all back to how `up` has left it, whatever a test did."""
        crashed = [node for node in self.cluster.nodes if not self.cluster.alive(node)]
        self.cluster.mend()
        if self._daemons["slurmctld"].poll() is not None:
            self.start_controller()
        for node in self.cluster.nodes:
            if node in crashed or self._daemons[node].poll() is not None:
                self.restart(node)
        if jobs := self._jobs():
            self.cluster.run("hub", "scancel", *jobs)
        self._former.update(self._jobs("--states=all"))
        self._await_nodes()
        # A node that was away for a moment is held as before, by a daemon that knows nothing of it.
        if self._restarted or not self._holds_all():
            self.allocation.release()
            self.allocation = self.allocate()
            self._restarted = False
        self._note_ports()

    def other_jobs(self):
        """The ids of jobs beside the allocation, without those of former tests.

        A controller that was killed can take a job for a running one that had just ended.
        """
        return sorted(set(self._jobs()) - self._former)

    def _jobs(self, *options):
        listed = self.tell("squeue", "-h", "-o", "%A", *options).split()
        return [job for job in listed if job != self.allocation.job]

    def keeps(self, pid):
        """Whether a process of the cluster belongs to the session, not to a test."""
        started = {daemon.pid for daemon in self._daemons.values()} | {self.allocation.salloc.pid}
        return pid in started or _parent(pid) in started or name_of(pid) in DAEMONS

    def _holds_all(self):
        shown = self.cluster.run("hub", "squeue", "-h", "-j", self.allocation.job, "-o", "%T %D").stdout.split()
        return self.allocation.salloc.poll() is None and shown == ["RUNNING", str(len(self.cluster.nodes))]

    def _configure(self):
        folder = self.cluster.path("slurm")
        os.mkdir(folder)
        os.mkdir(f"{folder}/state")
        for node in self.cluster.nodes:
            os.mkdir(f"{folder}/spool.{node}")
        text = CONFIGURATION.format(folder=folder, nodes=len(self.cluster.nodes), cpus=CPUS, cards=CARDS)
        self.cluster.environ["SLURM_CONF"] = self.cluster.write("slurm/slurm.conf", text)
        for number in range(CARDS):
            # Slurm wants to see devices, and never opens them: these are like /dev/null.
            os.mknod(f"{folder}/card{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        self.cluster.write("slurm/gres.conf", f"Name=gpu File={folder}/card[0-{CARDS - 1}]\n")

    def _start_munge(self):
        folder = self.cluster.path("slurm")
        with open(os.open(f"{folder}/munge.key", os.O_CREAT | os.O_WRONLY, 0o600), "wb") as key:
            key.write(os.urandom(1024))
        places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder}/munge.{end}" for option, end in places.items()]
        self._start("munged", "hub", "munged", "--force", "--foreground", "--num-threads=2", *options)
        wait_until(lambda: os.path.exists(f"{folder}/munge.socket"), "munge's socket")

    def _start_node(self, node):
        self._start(node, node, "slurmd", "-D", "-N", node)

    def _start(self, name, where, *command):
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._daemons[name] = self.cluster.start(where, *command, **silent)

    def _await_nodes(self):
        """Waits until all nodes answer and none is still busy with a job that has ended."""

        def usable():
            told = self.cluster.run("hub", "sinfo", "-h", "-N", "-p", "main", "-o", "%T").stdout.split()
            return len(told) == len(self.cluster.nodes) and set(told) <= {"idle", "mixed", "allocated"}

        wait_until(usable, "nodes that can be used", 40)

    def _note_ports(self):
        self.ports = {where: self.cluster.listening(where) for where in ("hub", *self.cluster.nodes)}


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
