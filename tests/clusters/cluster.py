"""A cluster of virtual nodes on one machine: namespaces that share the machine's files and nothing else.

A node has its own network, host name, processes, mounts, `/etc/hosts` and `/dev/shm`. The hub, where a user's shell
would be, has all of these but processes, so that a signal sent to what runs there reaches it. The bridge between
them lies inside the hub: nothing is seen outside, and clusters of several test runs do not meet. The addresses are
from the range that is reserved for benchmarks. When the test run ends, however it ends, so do the nodes: each holds
the end of a pipe.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

NETWORK = "198.18.77"
DEADLINE = 20
"""Seconds for whatever takes a fraction of one on a quiet machine."""

FIRST_PROCESS = """
set -e
hostname "$1"
mount --bind "$2" /etc/hosts
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
echo ready
exec env --ignore-signal=CHLD cat  # so the kernel buries what is orphaned in the node
"""

AGENT = """#!/bin/sh
# Stands for ssh: agent [-OPTION...] NODE COMMAND..., started there by a shell with nothing of the caller's environment.
while [ "${{1#-}}" != "$1" ]; do shift; done
node=$1; shift
exec env -i {environ} nsenter -t "$(cat {folder}/"$node".pid)" --net --uts --mount --pid -- /bin/sh -c "cd; $*"
"""


def wait_until(condition, what, seconds=DEADLINE):
    """What `condition()` returns once it is true; TimeoutError naming `what` when it has not come true in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return found


class Cluster:
    """The hub and nodes n1, n2, … with a folder of their own: short, because paths of sockets must be."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="mgl-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.environ = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "USER": "root"}
        for name, variable in (("home", "HOME"), ("tmp", "TMPDIR")):
            os.mkdir(self.path(name))
            self.environ[variable] = self.path(name)
        self.agent = self.path("agent")
        """A program that can be told to mpirun instead of ssh."""
        self.nodes = []
        self._holders = {}
        self._spaces = {}
        self._started = []

    def path(self, *parts):
        """A path in the cluster's folder, which the hub and all nodes see alike."""
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        """Writes a file in the cluster's folder and returns its path."""
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def up(self, nodes=2):
        """Starts the hub and that many nodes."""
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        addresses = [
            "127.0.0.1 localhost",
            f"{NETWORK}.1 hub",
            *(f"{self.address(node)} {node}" for node in self.nodes),
        ]
        self.write("hosts", "\n".join(addresses) + "\n")
        words = " ".join(f"{name}={text}" for name, text in self.environ.items())
        os.chmod(self.write("agent", AGENT.format(environ=words, folder=self.folder)), 0o755)
        self._hold("hub", "--net", "--uts", "--mount")
        self._link("add", "br0", "type", "bridge")
        self._ip("addr", "add", f"{NETWORK}.1/24", "dev", "br0")
        self._link("set", "br0", "up")
        for node in self.nodes:
            self._plug(node)

    def down(self):
        """Ends every process of the cluster and removes its folder."""
        self.end(self.processes())
        for process in (*self._holders.values(), *self._started):
            _put_away(process)
        wait_until(lambda: not self.processes(), "the end of all processes")
        shutil.rmtree(self.folder)

    def address(self, where):
        """The address of a node or the hub, as text."""
        return f"{NETWORK}.{1 if where == 'hub' else int(where[1:]) + 10}"

    def run(self, where, *command, env=None, cwd=None, timeout=DEADLINE, **options):
        """Runs `command` to its end on "hub" or a node; `env` is added to what a login shell there has, None removes.

        Raises TimeoutExpired after `timeout` seconds; the command is killed then.
        """
        options = {"capture_output": True, "text": True, "errors": "backslashreplace"} | options
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            self._words(where, command, cwd), env=self._with(env), timeout=timeout, check=False, **options
        )

    def start(self, where, *command, env=None, cwd=None, **options):
        """Starts `command` without waiting for it, with pipes as its streams, and returns the Popen.

        On the hub that is the command itself. On a node it is its parent: `pid_of` knows the command; it is killed
        when the parent is.
        """
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        options = {"text": True, "errors": "backslashreplace", "start_new_session": True} | options
        process = subprocess.Popen(self._words(where, command, cwd), env=self._with(env), **options)
        self._started.append(process)
        # Only now does it surely end with its parent.
        wait_until(lambda: process.poll() is not None or _is_under_way(self._command(where, process)), "a start")
        return process

    def pid_of(self, process):
        """The pid, as seen from outside, of the command that `start` has started on a node."""
        return int(_children(process.pid)[0])

    def crash(self, node):
        """Kills all that runs on `node` at once, as when its power fails."""
        os.kill(self.pid(node), signal.SIGKILL)
        self._holders[node].wait(DEADLINE)

    def cut(self, node):
        """Takes the network from `node`: nobody is told."""
        self._link("set", f"to-{node}", "down")

    def heal(self, node):
        """Gives the network back to `node`."""
        self._link("set", f"to-{node}", "up")

    def revive(self, node):
        """Starts `node` again after a crash, with the same name and address, and nothing running on it."""
        self._link("del", f"to-{node}", check=False)
        # The kernel gives the number of a network that has gone to another one, which may be another cluster's.
        wait_until(lambda: not self.processes(node), "the end of what ran on it")
        _put_away(self._holders[node])
        self._plug(node)

    def alive(self, node):
        """Whether `node` has not crashed, or has been revived."""
        return self._holders[node].poll() is None

    def connected(self, node):
        """Whether `node` has its network."""
        return "state UP" in self._link("show", f"to-{node}").stdout

    def mend(self):
        """Revives and connects whatever node is not."""
        for node in self.nodes:
            if not self.alive(node):
                self.revive(node)
            elif not self.connected(node):
                self.heal(node)

    def pid(self, where):
        """The first process of a node, or the one that holds the hub, as seen from outside."""
        with open(self.path(f"{where}.pid"), encoding="ascii") as file:
            return int(file.read())

    def processes(self, where=None):
        """The pids, as seen from outside, of what runs in the cluster, or on one node or the hub."""
        spaces = {self._spaces[where]} if where else set(self._spaces.values())
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _network(pid) in spaces]

    def pids_inside(self, node):
        """The pids that processes on `node` have there, 1 first."""
        listed = self.run(node, "sh", "-c", "echo /proc/[0-9]*").stdout.split()
        return sorted(int(os.path.basename(entry)) for entry in listed)

    def keeps(self, pid):
        """Whether `pid` is what keeps a node or the hub up."""
        return pid in {self.pid(where) for where in self._holders} | {holder.pid for holder in self._holders.values()}

    def listening(self, where):
        """The TCP ports at which something on a node or the hub listens."""
        found = set()
        for name in ("tcp", "tcp6"):
            with open(f"/proc/{self.pid(where)}/net/{name}", encoding="ascii") as table:
                rows = [line.split() for line in table][1:]
            found |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
        return found

    def end(self, pids):
        """Kills processes of the cluster."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _command(self, where, process):
        return process.pid if where == "hub" else next(iter(_children(process.pid)), 0)

    def _with(self, env):
        return {name: text for name, text in (self.environ | (env or {})).items() if text is not None}

    def _words(self, where, command, cwd):
        """The command on a node: nsenter would keep a working directory outside, hence env; it ends with its parent."""
        spaces = ("--net", "--uts", "--mount", *(() if where == "hub" else ("--pid",)))
        inside = ("setpriv", "--pdeathsig", "KILL", "env", "-C", str(cwd or self.environ["HOME"]))
        return ["nsenter", "-t", str(self.pid(where)), *spaces, "--", *inside, *map(str, command)]

    def _hold(self, where, *spaces):
        command = ["unshare", *spaces, "sh", "-c", FIRST_PROCESS, "first", where, self.path("hosts")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
        with open(self.path(f"{where}.log"), "w+", encoding="utf-8") as log:
            holder = self._holders[where] = subprocess.Popen(command, stderr=log, **pipes)
            if holder.stdout.readline() != b"ready\n":
                log.seek(0)
                raise RuntimeError(f"{where} could not be set up: {log.read()}")
        pid = _children(holder.pid)[0] if "--pid" in spaces else holder.pid
        self.write(f"{where}.pid", str(pid))
        self._spaces[where] = _network(pid)

    def _plug(self, node):
        self._hold(node, "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        # The same hardware address after a crash: what others remember of the node holds.
        peer = ("name", "eth0", "address", f"02:00:00:00:00:{int(node[1:]):02x}", "netns", str(self.pid(node)))
        self._link("add", f"to-{node}", "type", "veth", "peer", *peer)
        self._link("set", f"to-{node}", "master", "br0", "up")
        self._ip("addr", "add", f"{self.address(node)}/24", "dev", "eth0", where=node)
        self._link("set", "eth0", "up", where=node)

    def _link(self, *words, **options):
        return self._ip("link", *words, **options)

    def _ip(self, *words, where="hub", check=True):
        return subprocess.run(
            ["nsenter", "-t", str(self.pid(where)), "--net", "ip", *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=check,
        )


def name_of(pid):
    """What the kernel calls a process; empty when it has ended."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_under_way(pid):
    """Whether the words that bring a command to its place are through. The kernel tells a new name later than these."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().partition(b"\0")[0] not in {b"", b"nsenter", b"setpriv"}
    except OSError:
        return False


def _put_away(process):
    process.wait(DEADLINE)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def _network(pid):
    """What names the network namespace of a process; empty when it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def _children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []
