"""What several launchers make of the same faults, with real processes, side by side.

    python benchmarks/faults.py                       mgelaunch and honcho, and torchrun when it is on PATH
    python benchmarks/faults.py --torch DIR           torchrun from DIR (DIR/torchrun); it needs most of the time
    python benchmarks/faults.py --only hang           one event (again for more)

Every event happens to two ranks (eight for the limit of processes) that an otherwise healthy launcher has started.
A cell says: exit code of the launcher as a shell has it; seconds from the event until the other rank (after a signal to
the launcher: both ranks) has ended / until the launcher has; lines that were said after the event; what is left 100 ms
after the launcher has gone: processes, ports they listen at, files. Files are those in the directory for temporary
ones, which is a fresh one each time, and new ones in /tmp and /dev/shm that have a launcher's name.
mgelaunch gets `--grace 2s`; the others have grace periods of their own (torchrun 30 s, honcho 5 s).

The last section names where mgelaunch differs from what it promises. The exit code is 0 whatever it says. Whatever a
launcher leaves behind is killed before the next one starts. Two events need root: the limit of processes is set for
a user that has none, the full disk is a small tmpfs in a mount namespace of its own.
"""

import argparse
import contextlib
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from ranks import PRELUDE, Broken, Run, adopt_orphans, descendants, environment, installed

COMPARED = ("mgelaunch", "torchrun", "honcho")
# Longer than any grace period of theirs; what has not happened then never does.
DEADLINE = {"mgelaunch": 10.0, "torchrun": 40.0, "honcho": 10.0}
READY = 30.0
SETTLE = 0.1
TELLING = re.compile(r"^(?!mgelaunch-(ranks|faults|startup)-).*(mgelaunch|torch|honcho|pymp|psm_)")

START = PRELUDE + "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
WAIT = "note('up')\nwhile True: time.sleep(60)\n"
END = "note('up'); os._exit(0)\n"
FINISH = "note('up'); wait(); os._exit(0)\n"
WRITE = "note('up')\nfor _ in range(500): os.write(1, (b'.' * 99 + b'\\n') * 40)\nnote('finished'); os._exit(0)\n"
HANG = "if rank == 1: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
GRANDCHILDREN = """
for leave in os.setpgrp, os.setsid:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN); leave(); note('grandchild')
        while True: time.sleep(60)
"""
CLOSE = """
note('up'); wait()
if rank == 1: os.close(1)
note('end'); time.sleep(1 - 0.5 * rank); note('finished'); os._exit(0)
"""


def after_a_sign(rank, action):
    """A script whose rank of this number does something when it is told to, while the others wait."""
    return f"if rank == {rank}:\n    note('up'); wait(); note('end'); {action}\n{WAIT}"


class Outcome(NamedTuple):
    code: int | None  # None: it had to be killed
    others: float | None  # seconds; None: they never ended, or there are none
    launcher: float | None
    lines: int
    processes: int
    ports: int
    files: int
    remark: str = ""

    def cell(self):
        parts = [f"{kind} {count}" for kind, count in zip(("processes", "ports", "files"), self[4:7]) if count]
        word = "left" if self.code is not None else "still there"
        left = f"**{word}: {', '.join(parts)}**" if parts else "nothing left"
        code = "**never ended**" if self.code is None else f"rc {self.code}"
        times = " / ".join("-" if each is None else f"{each:.2f}" for each in (self.others, self.launcher))
        return "; ".join(
            filter(None, (code, f"{times} s", f"{self.lines} line{'s' * (self.lines != 1)}", left, self.remark))
        )


class Lab:
    """One launcher, and a folder in which every event finds the same things."""

    def __init__(self, launcher, python, folder):
        self.launcher, self.python, self.folder = launcher, python, folder
        self.scratch = self.open_folder("scratch")
        self.environ = environment(self.open_folder("home")) | {"TMPDIR": self.scratch}
        self.before = self.telling_files()

    @property
    def name(self):
        return self.launcher.name

    def open_folder(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        os.chmod(path, 0o777)
        return path

    def telling_files(self):
        return {(place, name) for place in ("/tmp", "/dev/shm") for name in os.listdir(place) if TELLING.match(name)}

    def run(self, script, *, ranks=2, options=(), **how):
        grace = ("--grace", "2s") if self.name == "mgelaunch" else ()
        script = script and START + script
        how = {"python": self.python, "environ": self.environ, "within": self.folder, **how}
        return Run(self.launcher, ranks, script, options=(*grace, *options), **how)

    def outcome(self, run, *, moment=None, others=(), said=0, remark=lambda: ""):
        """Watches the launcher and the other ranks until they are gone, and looks around then."""
        moment = run.started if moment is None else moment
        ends = watch(run, {note.rank: note.pid for note in others}, DEADLINE[self.name])
        code = run.gone(0).code if "launcher" in ends else None
        text = os.pread(run.said, 1 << 20, said).decode(errors="replace")
        left = [pid for pid in descendants(os.getpid()) if pid != run.pid]
        files = len(os.listdir(self.scratch)) + len(self.telling_files() - self.before)
        all_ended = others and all(note.rank in ends for note in others)
        return Outcome(
            code,
            max(ends[note.rank] for note in others) - moment if all_ended else None,
            ends["launcher"] - moment if "launcher" in ends else None,
            sum(bool(line.strip()) for line in text.splitlines()),
            len(left),
            listening(left),
            files,
            remark(),
        )


def watch(run, ranks, within):
    """When the launcher and these ranks ended; returns a moment after the launcher, or when the time is up."""
    ends, handles, deadline = {}, {run.alive: "launcher"}, time.monotonic() + within
    with contextlib.ExitStack() as stack:
        for rank, pid in ranks.items():
            ends[rank] = time.monotonic()  # if it has gone already
            with contextlib.suppress(ProcessLookupError):
                handles[handle := os.pidfd_open(pid)] = rank
                stack.callback(os.close, handle)
                del ends[rank]
        while (rest := deadline - time.monotonic()) > 0:
            for handle in select.select(list(handles), [], [], rest)[0]:
                name = handles.pop(handle)
                ends[name] = time.monotonic()
                if name == "launcher":
                    deadline = min(deadline, ends[name] + SETTLE)
    return ends


def listening(pids):
    """How many TCP ports these processes listen at."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="utf-8") as file:
            rows = [line.split() for line in file][1:]
            count += sum(row[3] == "0A" and f"socket:[{row[9]}]" in sockets for row in rows)
    return count


# ---- events: each starts what it needs, lets it happen, and returns the outcome ----------------------------------------


def failing(action, culprit=1, before="", grandchildren=0):
    """One rank ends by itself, in this way."""

    def event(lab):
        with lab.run(before + after_a_sign(culprit, action)) as run:
            notes = run.expect("up", within=READY)
            run.expect("grandchild", grandchildren, READY)
            said = os.fstat(run.said).st_size
            run.release(1)
            moment = run.expect("end", 1, READY)[0].moment
            return lab.outcome(run, moment=moment, others=[note for note in notes if note.rank != culprit], said=said)

    return event


def killed(lab):
    with lab.run(WAIT) as run:
        notes = {note.rank: note for note in run.expect("up", within=READY)}
        said, moment = os.fstat(run.said).st_size, time.monotonic()
        os.kill(notes[1].pid, signal.SIGKILL)
        return lab.outcome(run, moment=moment, others=[notes[0]], said=said)


def closed_stdout(lab):
    with lab.run(CLOSE) as run:
        notes = run.expect("up", within=READY)
        said = os.fstat(run.said).st_size
        moment = run.release()
        others = [note for note in notes if note.rank == 0]
        return lab.outcome(run, moment=moment, others=others, said=said, remark=lambda: finished(run))


def finished(run):
    return f"{len(run.having('finished'))} of {run.ranks} ranks finished"


def told(number):
    """The launcher gets a signal."""

    def event(lab):
        with lab.run(WAIT) as run:
            notes = run.expect("up", within=READY)
            said, moment = os.fstat(run.said).st_size, time.monotonic()
            os.kill(run.pid, number)
            return lab.outcome(run, moment=moment, others=notes, said=said)

    return event


def stopped(lab):
    with lab.run(FINISH) as run:
        notes = run.expect("up", within=READY)
        said = os.fstat(run.said).st_size
        os.kill(run.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(run.pid, signal.SIGCONT)
        return lab.outcome(run, moment=run.release(), others=notes, said=said)


def started(run):
    return f"{len(run.having('up'))} of {run.ranks} ranks started"


def port_taken(lab):
    if lab.name == "honcho":
        return "has no such port"
    with socket.create_server(("", 0)) as server:
        address = ("--master-addr", "127.0.0.1") if lab.name == "torchrun" else ()
        options = (*address, "--master-port", str(server.getsockname()[1]))
        with lab.run(END, options=options) as run:
            return lab.outcome(run, remark=lambda: started(run))


def script_missing(lab):
    with lab.run(None) as run:
        return lab.outcome(run)


def processes_used_up(lab):
    """The limit is what the launcher and four ranks need, so that the fifth of eight cannot be started."""
    if os.geteuid():
        return "needs root"
    user = str(unused_user())
    become = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
    for python in filter(None, (lab.python, shutil.which("python3", path=os.defpath))):
        if not subprocess.run([*become, "test", "-x", python], check=False).returncode:
            break
    else:
        return "no interpreter that other users can start"
    # The launcher itself may lie below a directory of root's; this capability does not lift the limit.
    become += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    with lab.run(FINISH, ranks=4, wrap=become, python=python) as run:
        run.expect("up", within=READY)
        limit = tasks_of(int(user))
    with lab.run(WAIT, ranks=8, wrap=["prlimit", f"--nproc={limit}", *become], python=python) as run:
        return lab.outcome(run, remark=lambda: f"limit {limit}, {started(run)}")


def owners():
    """The user of every process of this machine, and its number of threads."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            yield os.stat(f"/proc/{pid}").st_uid, len(os.listdir(f"/proc/{pid}/task"))


def unused_user():
    taken = {user for user, _ in owners()}
    return next(user for user in range(61000, 65000) if user not in taken)


def tasks_of(user):
    return sum(tasks for owner, tasks in owners() if owner == user)


def disk_full(lab):
    """Two ranks write 2 MB each to logs on a file system of 64 KiB."""
    if lab.name == "honcho":
        return "has no logs"
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return "needs root (and the right to mount)"
    logs = lab.open_folder("logs")
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && exec "$@"', logs]
    tee = ("--tee", "3", "--redirects", "0") if lab.name == "torchrun" else ()
    how = {"wrap": mount, "options": (*tee, "--log-dir", logs)}
    with open(os.devnull, "wb") as nowhere, lab.run(WRITE, out=nowhere.fileno(), **how) as run:
        return lab.outcome(run, remark=lambda: finished(run))


class Event(NamedTuple):
    title: str
    happen: object  # Lab -> Outcome, or a text that says why not
    code: int  # of mgelaunch, by its promise
    within: float = 0.5  # seconds, likewise


EVENTS = {
    "exit": Event("rank 1 exits with 3", failing("os._exit(3)"), 3),
    "segfault": Event("rank 1: segmentation fault", failing("import ctypes; ctypes.string_at(0)"), 139),
    "killed": Event("rank 1 gets KILL", killed, 137),
    "hang": Event("rank 0 exits with 3, rank 1 ignores TERM", failing("os._exit(3)", 0, HANG), 3, 2.3),
    "grandchildren": Event(
        "rank 1 exits with 3; each rank has two children that ignore TERM, in a group and a session of their own",
        failing("os._exit(3)", before=GRANDCHILDREN, grandchildren=4),
        3,
        2.3,
    ),
    "stdout": Event("rank 1 closes its stdout, ends with 0 after 0.5 s, rank 0 after 1 s", closed_stdout, 0, 1.5),
    "int": Event("launcher gets INT", told(signal.SIGINT), 130),
    "term": Event("launcher gets TERM", told(signal.SIGTERM), 143),
    "hup": Event("launcher gets HUP", told(signal.SIGHUP), 129),
    "kill": Event("launcher gets KILL", told(signal.SIGKILL), 137),
    "stop": Event("launcher gets STOP, CONT 0.5 s later; then the ranks end with 0", stopped, 0),
    "port": Event("the port of --master-port is taken", port_taken, 125, 2),
    "missing": Event("the script is missing", script_missing, 127, 2),
    "processes": Event("limit of processes reached at the 5th of 8 ranks", processes_used_up, 125, 5),
    "disk": Event("disk full in --log-dir", disk_full, 0, 5),
}


def happen(event, launcher, python, within):
    """The outcome of one event for one launcher, or a text that says why there is none."""
    if launcher.program is None:
        return "not installed"
    folder = tempfile.mkdtemp(dir=within)
    os.chmod(folder, 0o755)
    try:
        return event.happen(Lab(launcher, python, folder))
    except Broken as reason:
        return f"did not come so far: {str(reason)[:200]}".replace("|", "/")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def broken_promises(event, outcome):
    """Where an outcome of mgelaunch differs from what it says of itself."""
    if isinstance(outcome, str):
        return [] if outcome.startswith("needs root") else [outcome]
    found = []
    if outcome.code != event.code:
        found.append(f"exit code {outcome.code}, not {event.code}")
    if outcome.launcher is None or outcome.launcher > event.within:
        found.append(f"gone after more than {event.within:g} s")
    if outcome.processes or outcome.ports or outcome.files:
        found.append("something is left")
    if outcome.lines > 10:
        found.append("more than 10 lines")
    return found


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=EVENTS, help="only this event; again for more")
    parser.add_argument("--launchers", type=lambda text: text.split(","), default=COMPARED, help=",".join(COMPARED))
    parser.add_argument("--torch", metavar="DIR", help="folder that holds torchrun")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the ranks (default: this one)")
    options = parser.parse_args()
    options.python = os.path.abspath(options.python)
    return options


def main():
    options = arguments()
    adopt_orphans()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    there = {each.name: each for each in installed(options.torch)}
    launchers = [there[name] for name in COMPARED if name in options.launchers]
    seconds, promises = dict.fromkeys((each.name for each in launchers), 0.0), []
    print(f"| event | {' | '.join(each.name for each in launchers)} |\n|{'---|' * (len(launchers) + 1)}")
    with tempfile.TemporaryDirectory(prefix="mgelaunch-faults-") as folder:
        os.chmod(folder, 0o755)
        os.chdir(folder)
        for name in options.only or EVENTS:
            event, cells = EVENTS[name], []
            for launcher in launchers:
                begun = time.monotonic()
                outcome = happen(event, launcher, options.python, folder)
                seconds[launcher.name] += time.monotonic() - begun
                cells.append(outcome if isinstance(outcome, str) else outcome.cell())
                if launcher.name == "mgelaunch":
                    promises += [f"{event.title}: {text}" for text in broken_promises(event, outcome)]
            print(f"| {event.title} | {' | '.join(cells)} |", flush=True)
        os.chdir("/")
    print(
        "\nCells: exit code; seconds until the other rank / the launcher ended; lines said; what was left after 100 ms."
    )
    print("It took:", ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items()))
    if "mgelaunch" in seconds:
        print("\nmgelaunch against its promises:", "all kept" if not promises else "")
        print("\n".join(f"- {text}" for text in promises))


if __name__ == "__main__":
    main()
