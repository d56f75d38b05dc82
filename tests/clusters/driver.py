"""A real ``mgelaunch run --cluster slurm|mpi`` on the hub, for two ranks on each of two nodes."""

import json
import os
import sys

from .cluster import wait_until

PATIENCE = 90
"""Seconds for a whole job on a busy machine: it starts ten interpreters."""

OBEY = """
import os, signal, sys, time
rank, told = os.environ["RANK"], {signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
with open("said." + rank, "a", buffering=1) as said:
    print("ready", os.environ.get("SLURM_RESTART_COUNT", ""), file=said)
    for _ in range(1200):
        if heard := signal.sigtimedwait(told, 0.1):
            print(signal.Signals(heard.si_signo).name, file=said)
            if heard.si_signo != signal.SIGUSR1 and not os.path.exists("stubborn"):
                signal.signal(heard.si_signo, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, told)
                os.kill(os.getpid(), heard.si_signo)
        if os.path.exists("order." + rank):
            with open("order." + rank) as order:
                sys.exit(int(order.read()))
sys.exit("nobody gave an order")
"""
"""A rank that writes down what it hears and ends when it is told to. ``stubborn``: signals do not end it."""


class Driver:
    """How one engine is named to mgelaunch and what its commands need, in the folder of a project."""

    def __init__(self, word, cluster, engine, launcher, folder):
        self.word, self.cluster, self.folder = word, cluster, folder
        self._engine, self._launcher = engine, launcher
        self._started = []

    @property
    def environ(self):
        """What the shell has in which mgelaunch is called: read late, because an allocation may be a new one."""
        return self._engine.allocation.environ if self.word == "slurm" else self._engine.environ

    @property
    def command(self):
        """The words that start two ranks on each of two nodes; more options and the script follow."""
        engine = ("--cluster", self.word, "-n2", *(("--hosts", "n[1-2]") if self.word == "mpi" else ("--nnodes=2",)))
        return [*self._launcher, "run", *engine, "--python", sys.executable]

    def run(self, *arguments, env=None, **options):
        """Runs a job to its end."""
        usual = {"cwd": self.folder, "timeout": PATIENCE}
        return self.cluster.run("hub", *self.command, *arguments, env=self.environ | (env or {}), **(usual | options))

    def start(self, *arguments, env=None):
        """Starts a job; its process is the driver itself."""
        environ = self.environ | (env or {})
        self._started.append(self.cluster.start("hub", *self.command, *arguments, env=environ, cwd=self.folder))
        return self._started[-1]

    def close(self):
        """Ends what a test that has failed has left."""
        for process in self._started:
            if process.poll() is None:
                process.kill()

    def obey(self, *options, **more):
        """Starts a job of ranks that do what the test says, and waits until all are ready."""
        (self.folder / "obey.py").write_text(OBEY)
        process = self.start(*options, "obey.py", **more)
        self.await_ready(process)
        return process

    def await_ready(self, process):
        """Waits until all four ranks have said that they are."""
        ready = lambda: all(self.said(rank)[:1] == ["ready"] for rank in range(4))  # noqa: E731
        try:
            wait_until(lambda: ready() or process.poll() is not None, "four ranks", PATIENCE)
        except TimeoutError:
            process.kill()
            raise AssertionError(f"not all ranks are ready: {process.communicate()}") from None
        assert process.poll() is None, process.communicate()

    def said(self, rank):
        """What a rank has written down: ``ready``, and the signals that it heard."""
        path = self.folder / f"said.{rank}"
        return path.read_text().split() if path.exists() else []

    def order(self, rank, code):
        """Has a rank end with `code`."""
        (self.folder / f"part.{rank}").write_text(str(code))
        os.rename(self.folder / f"part.{rank}", self.folder / f"order.{rank}")

    def end(self, process, seconds=PATIENCE):
        """What the driver has said on stdout and stderr when it has ended."""
        return process.communicate(timeout=seconds)

    def pid(self, rank):
        """The process of a rank, as seen from here."""
        node, pid = self.record(rank)["host"], self.record(rank)["pid"]
        return next(each for each in self.cluster.processes(node) if _inner_pid(each) == pid)

    @property
    def run_folder(self):
        """Where the only job of this project has left its records."""
        (folder,) = (self.folder / ".mgelaunch" / "runs").glob("*-*/")
        return folder

    def record(self, rank, folder=None):
        """The record of one rank."""
        return json.loads(((folder or self.run_folder) / f"rank-{rank}.json").read_text())

    def job(self, folder=None):
        """The record of the job."""
        return json.loads(((folder or self.run_folder) / "job.json").read_text())


def _inner_pid(pid):
    """The pid that a process has in its own node."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))
    except OSError:
        return None
