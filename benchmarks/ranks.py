"""What it costs to start, watch and end several ranks, through mgelaunch and through its peers, in one run.

    python benchmarks/ranks.py                        every launcher that is installed, all four parts
    python benchmarks/ranks.py --torch DIR            torchrun from DIR (DIR/torchrun)
    python benchmarks/ranks.py --quick                two rounds, less output, up to 32 ranks

Every launcher starts the same script with the same interpreter, and the launchers take turns, round by round.
The ranks write what they see to a named pipe of the harness, and wait at a second one until they are let go on.

Part 1, start and end: time until the first Python line of the last rank (its own CLOCK_MONOTONIC), time from the
last line of the last rank until the launcher has gone. CPU of the launcher is what wait4 says of it and of all that it
waited for, less what the ranks say of themselves on their last line; the kernel's work to end a rank stays in it
(the row of the bare loop shows how much that is), and what a launcher does in a forked child before it becomes the
rank counts as the rank's. Memory is VmHWM of the launcher, read while all ranks wait, and VmRSS of each helper: a
process below the launcher that is neither a rank nor below one.
Part 2, idle: CPU time of the launcher and its helpers, all threads (/proc/PID/task/*/schedstat), while 2 ranks wait.
Part 3, output of 2 ranks to one pipe. Throughput: writes of 40 lines of 100 bytes, which a pipe takes as one. A line
is whole when after the launcher's prefix, which has to name the rank, it is what the rank wrote, in the rank's order.
Part 4, fault: rank 1 exits with 3 while its child still holds the pipes; rank 0 notes the moment of its TERM.

The last section holds mgelaunch against its bars; by medians where nothing else is said. The exit code is 0 whatever it says.
"""

import argparse
import contextlib
import ctypes
import inspect
import itertools
import os
import re
import select
import shlex
import shutil
import signal
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

MIB = 1 << 20
PATIENCE = 60.0  # seconds for anything that always happens when nothing is broken
NEVER = 5.0  # seconds after which a fault counts as not noticed
IDLE = 5.0
PRELUDE = """import time; first = time.clock_gettime(time.CLOCK_MONOTONIC)
import os, signal, sys
rank = int(os.environ.get("RANK") or os.environ["OMPI_COMM_WORLD_RANK"])
report, *gates = [os.open(path, os.O_RDONLY if at else os.O_WRONLY) for at, path in enumerate(sys.argv[1:4])]
def note(word, moment=None):
    cpu = time.process_time()
    os.write(report, f"{word} {rank} {os.getpid()} {time.monotonic() if moment is None else moment} {cpu}\\n".encode())
def wait(gate=0):
    os.read(gates[gate], 1)
"""
# Honcho ends all ranks as soon as one has ended, even with 0: these ranks are at their end then, and are let finish.
TOGETHER = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
HELD = f"{TOGETHER}note('up', first); wait(); note('end'); os._exit(0)\n"
BLOCKS = f"""{TOGETHER}
lines = [line(rank, number, SIZE) for number in range(COUNT)]
blocks = [b"".join(lines[at:at + 40]) for at in range(0, COUNT, 40)]
note('up'); wait()
for block in blocks:
    while block:
        block = block[os.write(1, block):]
note('done'); wait(1); note('end'); os._exit(0)
"""
PRINTS = f"""{TOGETHER}
lines = [line(rank, number, SIZE)[:-1].decode() for number in range(COUNT)]
note('up'); wait()
for text in lines:
    print(text)
note('done'); wait(1); note('end'); os._exit(0)
"""
STAMPS = f"""{TOGETHER}
note('up'); wait()
for number in range(COUNT if rank == 0 else 0):
    os.write(1, b"%d %d %.7f\\n" % (rank, number, time.monotonic()))
    time.sleep(0.005)
note('done'); wait(1); note('end'); os._exit(0)
"""
FAULT = """if rank == 0:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    note('up'); signal.sigwait([signal.SIGTERM]); note('term'); os._exit(143)
if os.fork() == 0:
    time.sleep(60); os._exit(0)
note('up'); wait(); note('end'); os._exit(3)
"""


def line(rank, number, size):
    """The line that a rank writes: it says whose it is, and is filled up with a letter that changes."""
    return (
        b"%d %d " % (rank, number) + b"%c" % (97 + number % 26) * (size - 2 - len(b"%d %d " % (rank, number))) + b".\n"
    )


class Broken(Exception):
    """A launcher that did not do what it has to; the text says what was missing."""


class Launcher(NamedTuple):
    name: str
    program: str | None
    prefix: bytes  # before each line of a rank; its group is the rank

    def command(self, job):
        return [self.program, *ARGUMENTS[self.name](job)]


class Job(NamedTuple):
    ranks: int
    target: list  # interpreter, script and its arguments
    folder: str
    tagged: bool = False
    options: tuple = ()


def loop_arguments(job):
    loop = 'n=$1; shift; i=0; while [ $i -lt $n ]; do RANK=$i "$@" & i=$((i+1)); done; wait'
    return ["-c", loop, "sh", str(job.ranks), *job.target]


def mgelaunch_arguments(job):
    return ["run", "-n", str(job.ranks), *job.options, "--python", *job.target]


def torchrun_arguments(job):
    logs = ["--tee", "3", "--redirects", "0", "--log-dir", os.path.join(job.folder, "logs")] if job.tagged else []
    where = [] if "--master-port" in job.options else ["--standalone"]
    return [*where, "--nproc-per-node", str(job.ranks), *logs, *job.options, "--no-python", *job.target]


def mpirun_arguments(job):
    tag = ["--tag-output"] if job.tagged else []
    return ["--oversubscribe", "-np", str(job.ranks), *tag, *job.target]


def honcho_arguments(job):
    path = os.path.join(job.folder, "Procfile")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"rank{rank}: RANK={rank} exec {shlex.join(job.target)}\n" for rank in range(job.ranks))
    return ["start", "-f", path]


ARGUMENTS = {
    "loop": loop_arguments,
    "mgelaunch": mgelaunch_arguments,
    "torchrun": torchrun_arguments,
    "mpirun": mpirun_arguments,
    "honcho": honcho_arguments,
}


def installed(torch=None):
    """All launchers, those that are not here without a program."""

    def tool(name, where=None):
        beside = os.path.join(where or os.path.dirname(sys.executable), name)
        return beside if os.path.exists(beside) else None if where else shutil.which(name)

    return [
        Launcher("loop", "/bin/sh", rb"()"),
        Launcher("mgelaunch", tool("mgelaunch"), rb"\[(\d+)\] "),
        Launcher("torchrun", tool("torchrun", torch), rb"\[default(\d+)\]:"),
        Launcher("mpirun", tool("mpirun"), rb"\[\d+,(\d+)\]<stdout>:"),
        Launcher("honcho", tool("honcho"), rb"\d\d:\d\d:\d\d rank(\d+)\.1 +\| "),
    ]


def environment(folder):
    """Little of ours, so that every launcher starts from the same; honcho looks for its .env in the working directory."""
    beside = os.path.dirname(sys.executable)
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return {"PATH": os.pathsep.join((beside, os.defpath)), "HOME": folder, "LANG": "C.UTF-8", "TMPDIR": folder, **root}


class Process(NamedTuple):
    parent: int
    state: str


def processes():
    """Every process of this machine that is not a zombie, by its number."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(name)] = Process(int(parent), state)
    return found


def descendants(of, among=None):
    among = processes() if among is None else among
    children = {}
    for pid, process in among.items():
        children.setdefault(process.parent, []).append(pid)
    found, waiting = [], [of]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def adopt_orphans():
    """Makes this process the parent of every orphan below it, so that none can leave its sight, until the end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which runs every __exit__ on the way
    if ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0):  # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


def end_all():
    """Kills and reaps whatever is still below this process; everything below it came from a launcher."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = descendants(os.getpid())
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


class Note(NamedTuple):
    word: str
    rank: int
    pid: int
    moment: float
    cpu: float


class End(NamedTuple):
    code: int  # as a shell says it
    moment: float
    cpu: float


class Run:
    """One start of a launcher, from the command until everything that it started has gone."""

    def __init__(
        self, launcher, ranks, script, *, python, environ, within, tagged=False, out=None, options=(), wrap=()
    ):
        self.folder = tempfile.mkdtemp(dir=within)
        os.chmod(self.folder, 0o777)
        self.ranks, self.notes, self.end, self.text = ranks, [], None, b""
        names = "report", "go", "end"  # two gates: a rank that is quick must not take the byte of one that is slow
        self.report, *self.gates = (self.pipe(name) for name in names)
        path = self.file("script.py", script) if script is not None else os.path.join(self.folder, "missing.py")
        pipes = [os.path.join(self.folder, name) for name in names]
        job = Job(ranks, [python, path, *pipes], self.folder, tagged, options)
        argv = [*wrap, *launcher.command(job)]
        self.said = os.open(os.path.join(self.folder, "said"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self.said if out is None else out, 1),
            (os.POSIX_SPAWN_DUP2, self.said, 2),
        ]
        default = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        self.started = time.monotonic()
        self.pid = os.posix_spawnp(
            argv[0], argv, environ, file_actions=actions, setpgroup=0, setsigmask=(), setsigdef=default
        )
        self.alive = os.pidfd_open(self.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_all()
        for descriptor in (self.report, *self.gates, self.said, self.alive):
            os.close(descriptor)
        shutil.rmtree(self.folder, ignore_errors=True)

    def pipe(self, name):
        path = os.path.join(self.folder, name)
        os.mkfifo(path)
        os.chmod(path, 0o666)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)  # both ends, so that opening never waits

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def read_notes(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.text += os.read(self.report, 65536)
        *lines, self.text = self.text.split(b"\n")
        for each in lines:
            word, rank, pid, moment, cpu = each.decode().split()
            self.notes.append(Note(word, int(rank), int(pid), float(moment), float(cpu)))

    def having(self, word):
        self.read_notes()
        return [note for note in self.notes if note.word == word]

    def expect(self, word, count=None, within=PATIENCE):
        """The notes of this word, as soon as there are so many (one of each rank); Broken when they do not come."""
        count, deadline = self.ranks if count is None else count, time.monotonic() + within
        while True:
            gone = bool(select.select([self.alive], [], [], 0)[0])
            if len(found := self.having(word)) >= count:
                return found
            if gone or time.monotonic() > deadline:
                raise Broken(f"{len(found)} of {count} ranks said {word!r}; {self.last_line()}")
            select.select([self.report, self.alive], [], [], max(0, deadline - time.monotonic()))

    def last_line(self):
        lines = os.pread(self.said, MIB, 0).decode(errors="replace").split("\n")
        return next((each.strip() for each in reversed(lines) if each.strip(" -=*│╰─╯")), "it said nothing")

    def release(self, ranks=None, gate=0):
        """Lets so many ranks (all) through a gate; the moment of it."""
        os.write(self.gates[gate], b"." * (self.ranks if ranks is None else ranks))
        return time.monotonic()

    def own(self):
        """The launcher and its helpers: all below it but the ranks and what is below a rank."""
        among, ranks = processes(), {note.pid for note in self.having("up")}
        of_ranks = ranks | {pid for rank in ranks for pid in descendants(rank, among)}
        return [self.pid, *(pid for pid in descendants(os.getpid(), among) if pid not in of_ranks | {self.pid})]

    def gone(self, within=PATIENCE):
        """How the launcher ended; Broken when it does not."""
        if self.end is None:
            if not select.select([self.alive], [], [], within)[0]:
                raise Broken(f"still there after {within:g} s")
            _, status, usage = os.wait4(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self.end = End(code if code >= 0 else 128 - code, time.monotonic(), usage.ru_utime + usage.ru_stime)
        return self.end


def memory(pid, key):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(each.split()[1]) / 1024 for each in file if each.startswith(key))


def on_cpu(pids):
    """Seconds that all threads of these processes were on a CPU."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as file:
                total += int(file.read().split()[0])
    return total / 1e9


# ---- the parts ------------------------------------------------------------------------------------------------------


class Start(NamedTuple):
    first: float  # seconds until the last rank's first line
    after: float  # seconds from the last rank's last line until the launcher had gone
    cpu: float
    peak: float  # MiB
    helpers: int
    helpers_rss: float  # MiB


class Fault(NamedTuple):
    told: float | None  # seconds until rank 0 got TERM (None: never)
    gone: float | None  # seconds until the launcher had gone (None: never)
    left: int | None  # descendants alive 100 ms later


class Bench:
    """Starts launchers in one folder with one interpreter."""

    def __init__(self, folder, python, launchers):
        self.folder, self.python, self.launchers = folder, python, launchers
        self.environ = environment(folder)

    def run(self, launcher, ranks, script, **how):
        environ = self.environ | how.pop("environ", {})
        script = PRELUDE + script
        return Run(launcher, ranks, script, python=self.python, environ=environ, within=self.folder, **how)

    def start(self, launcher, ranks):
        with self.run(launcher, ranks, HELD) as run:
            first = max(note.moment for note in run.expect("up")) - run.started
            _, *helpers = run.own()
            peak, rss = memory(run.pid, "VmHWM"), sum(memory(pid, "VmRSS") for pid in helpers)
            run.release()
            ends, gone = run.expect("end"), run.gone()
            if gone.code:
                raise Broken(f"exit code {gone.code}; {run.last_line()}")
            after = gone.moment - max(note.moment for note in ends)
            return Start(first, after, gone.cpu - sum(note.cpu for note in ends), peak, len(helpers), rss)

    def idle(self, launcher):
        """Share of one CPU that the launcher and its helpers use while two ranks wait."""
        with self.run(launcher, 2, HELD) as run:
            run.expect("up")
            time.sleep(1.0)  # what is left of the start
            own = run.own()
            before, started = on_cpu(own), time.monotonic()
            time.sleep(IDLE)
            share = (on_cpu(own) - before) / (time.monotonic() - started)
            run.release()
            run.gone()
            return share

    def output(self, launcher, script, count, size):
        """What a reading pipe gets of two ranks: moment of the release, and chunks with their moments."""
        text = inspect.getsource(line) + f"COUNT, SIZE = {count}, {size}\n" + script
        here, there = os.pipe()
        try:
            unbuffered = {"PYTHONUNBUFFERED": "1"}
            with self.run(launcher, 2, text, tagged=True, out=there, environ=unbuffered) as run:
                os.close(there)
                run.expect("up")
                released, chunks = run.release(), list(chunks_until_the_end(run, here))
                run.gone()
                return released, chunks
        finally:
            os.close(here)

    def fault(self, launcher):
        with self.run(launcher, 2, FAULT) as run:
            run.expect("up")
            run.release(1)
            exited = run.expect("end", 1)[0].moment
            gone = None
            with contextlib.suppress(Broken):
                gone = run.gone(NEVER).moment - exited
            told = next((note.moment - exited for note in run.having("term")), None)
            time.sleep(0.1)
            return Fault(told, gone, None if gone is None else len(descendants(os.getpid())))


def chunks_until_the_end(run, here):
    """Reads a pipe until its end, and lets the ranks end when all have written what they had to write."""
    writing = True
    while True:
        ready = select.select([here, run.report] if writing else [here], [], [], PATIENCE)[0]
        if not ready:
            raise Broken(f"no output for {PATIENCE:g} s")
        if here in ready:
            chunk = os.read(here, MIB)
            moment = time.monotonic()
            if not chunk:
                return
            yield moment, chunk
        if run.report in ready and len(run.having("done")) == run.ranks:
            run.release(gate=1)
            writing = False


def wrong_lines(chunks, prefix, count, size):
    """Lines of two ranks that did not arrive whole, in their rank's order and under its prefix."""
    tag, last, whole = re.compile(prefix), [-1, -1], 0
    for raw in b"".join(chunk for _, chunk in chunks).split(b"\n"):
        if not (match := tag.match(raw)):
            continue
        body = raw[match.end() :]
        try:
            rank, number = (int(part) for part in body[:24].split(b" ", 2)[:2])
        except ValueError:
            continue
        named = match[1] in (b"", b"%d" % rank)
        if named and rank in (0, 1) and last[rank] < number and body + b"\n" == line(rank, number, size):
            last[rank] = number
            whole += 1
    return 2 * count - whole


def speed(released, chunks, lines, size):
    """MB/s of the ranks' bytes, until the last of so many lines is there (or what came last)."""
    seen = itertools.accumulate(chunk.count(b"\n") for _, chunk in chunks)
    last = next((moment for (moment, _), count in zip(chunks, seen) if count >= lines), chunks[-1][0])
    return lines * size / (last - released) / 1e6


def latencies(chunks, prefix):
    """Seconds from the write to the arrival of each stamped line that came whole."""
    stamp, found, rest = re.compile(prefix + rb"0 \d+ (\d+\.\d{7})$"), [], b""
    for moment, chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        found += [moment - float(match[match.lastindex]) for each in lines if (match := stamp.match(each))]
    return found


# ---- rounds and tables ----------------------------------------------------------------------------------------------


class Results:
    """What was measured, by launcher and row, and why a launcher has no row."""

    def __init__(self):
        self.of, self.reasons = {}, {}

    def measure(self, launcher, row, function, *arguments):
        if launcher.name in self.reasons:
            return
        try:
            self.of.setdefault((launcher.name, row), []).append(function(launcher, *arguments))
        except Broken as reason:
            print(f"{launcher.name}, {row}: {reason}", file=sys.stderr)

    def all(self, name, row):
        return self.of.get((name, row), [])

    def take(self, name, row, field):
        return [getattr(each, field) for each in self.all(name, row)]


def median(values):
    return statistics.median(values) if values else None


def least(values):
    return min(values, default=None)


def most(values):
    """The greatest, and None when there is none or one of them was not measured."""
    return None if not values or None in values else max(values)


def shown(value, scale=1.0, digits=1):
    return "-" if value is None else f"{value * scale:.{digits}f}"


def table(title, heads, rows):
    print(f"\n### {title}\n")
    print(f"| {' | '.join(heads)} |")
    print(f"|{'|'.join('---' if index == 0 else '--:' for index in range(len(heads)))}|")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)


def missing(results, launchers, width):
    names = [each.name for each in launchers if each.name in results.reasons]
    return [(name, results.reasons[name], *[""] * (width - 2)) for name in names]


FEW_AND_MANY = ("loop", "mgelaunch", "mpirun")
STARTS = (
    "launcher",
    "ranks",
    "first line of the last rank, min / median ms",
    "launcher gone after, min / median ms",
    "CPU ms",
    "peak MiB",
    "helpers",
    "their MiB",
)


def part_starts(bench, results, options):
    few, many = options.ranks, options.many
    for _ in range(options.rounds):
        for ranks in few + many:
            for launcher in bench.launchers:
                if ranks in few or launcher.name in FEW_AND_MANY:
                    results.measure(launcher, ranks, bench.start, ranks)
    cells = [(each.name, ranks) for ranks in few + many for each in bench.launchers]
    rows = [start_row(results, *cell) for cell in cells if results.all(*cell)]
    table("1. Start and end", STARTS, rows + missing(results, bench.launchers, len(STARTS)))
    if many:
        print(f"\nMs for each rank more between {max(few)} and {max(many)}, first line, minima / medians:", end=" ")
        growth = {
            name: [grown(results, name, max(few), max(many), by) for by in (least, median)] for name in FEW_AND_MANY
        }
        print(", ".join(f"{name} {' / '.join(shown(each, 1e3) for each in both)}" for name, both in growth.items()))


def start_row(results, name, ranks):
    first, after, cpu, peak, helpers, rss = (results.take(name, ranks, field) for field in Start._fields)
    times = [f"{shown(least(values), 1e3)} / {shown(median(values), 1e3)}" for values in (first, after)]
    of_helpers = shown(median(helpers), 1, 0), shown(median(rss)) if any(helpers) else "-"
    return name, ranks, *times, shown(median(cpu), 1e3), shown(median(peak)), *of_helpers


def grown(results, name, low, high, by=median):
    """Seconds for each rank more."""
    times = [by(results.take(name, ranks, "first")) for ranks in (low, high)]
    return None if None in times else (times[1] - times[0]) / (high - low)


def part_idle(bench, results, _options):
    for launcher in bench.launchers:
        results.measure(launcher, "idle", bench.idle)
    names = [each.name for each in bench.launchers if results.all(each.name, "idle")]
    rows = [(name, shown(median(results.all(name, "idle")), 100, 3)) for name in names]
    table(
        "2. Idle, 2 ranks", ("launcher", f"% of one CPU, over {IDLE:g} s"), rows + missing(results, bench.launchers, 2)
    )


class Written(NamedTuple):
    wrong: int
    speed: float  # MB/s


TESTS = {"blocks": (BLOCKS, 200_000, 100), "prints": (PRINTS, 20_000, 60), "long": (BLOCKS, 300, 200_000)}


def part_output(bench, results, options):
    share = 10 if options.quick else 1

    def written(launcher, script, count, size):
        released, chunks = bench.output(launcher, script, count, size)
        return Written(wrong_lines(chunks, launcher.prefix, count, size), speed(released, chunks, 2 * count, size))

    def delays(launcher):
        return latencies(bench.output(launcher, STAMPS, 200, 0)[1], launcher.prefix)

    for turn in range(options.output_rounds):
        for launcher in bench.launchers:
            for test, (script, count, size) in TESTS.items():
                if turn == 0 or launcher.name != "honcho":  # which takes half a minute each time
                    results.measure(launcher, test, written, script, count // share, size)
            results.measure(launcher, "delays", delays)
    wrong = [f"wrong of {2 * count // share:,} {test}" for test, (_, count, _) in TESTS.items()]
    heads = ("launcher", "MB/s, best / median", *wrong, "delay of a flushed line, median / max ms")
    rows = [output_row(results, each.name) for each in bench.launchers if each.name not in results.reasons]
    title = f"3. Output of 2 ranks, worst of {options.output_rounds} rounds (honcho: 1)"
    table(title, heads, rows + missing(results, bench.launchers, len(heads)))
    print(
        "\nblocks: lines of 100 bytes at full speed; prints: unbuffered print(), two writes a line; long: lines of 200 kB."
    )
    print("All with PYTHONUNBUFFERED=1; torchrun with --tee 3, mpirun with --tag-output; the loop is the bare pipe.")


def output_row(results, name):
    fast = results.take(name, "blocks", "speed")
    wrong = [shown(most(results.take(name, test, "wrong")), 1, 0) for test in TESTS]
    delay = delays_of(results, name)
    delay = f"{shown(median(delay), 1e3, 2)} / {shown(most(delay), 1e3, 2)}"
    return name, f"{shown(most(fast))} / {shown(median(fast))}", *wrong, delay


def delays_of(results, name):
    return [delay for found in results.all(name, "delays") for delay in found]


def part_fault(bench, results, options):
    for turn in range(min(options.rounds, 5)):
        for launcher in bench.launchers:  # who never notices is not asked again
            if turn == 0 or any(each.gone is not None for each in results.all(launcher.name, "fault")):
                results.measure(launcher, "fault", bench.fault)
    heads = (
        "launcher",
        "rank 0 told after, median / max ms",
        "launcher gone after, median / max ms",
        "left 100 ms later",
    )
    rows = [fault_row(results, each.name) for each in bench.launchers if each.name not in results.reasons]
    title = "4. Rank 1 of 2 exits with 3, its child holds the pipes"
    table(title, heads, rows + missing(results, bench.launchers, len(heads)))


def fault_row(results, name):
    told, gone, left = (results.take(name, "fault", field) for field in Fault._fields)
    times = [
        f"never (> {NEVER:g} s)" if None in values else f"{shown(median(values), 1e3)} / {shown(most(values), 1e3)}"
        for values in (told, gone)
    ]
    return name, *times, shown(most(left), 1, 0)


# ---- bars -----------------------------------------------------------------------------------------------------------


class Bar(NamedTuple):
    text: str
    value: float | None  # None: not measured
    holds: object  # a function of the value
    scale: float = 1.0
    unit: str = ""
    digits: int = 0


def bars(results, options):
    """What mgelaunch is held against."""
    yield from bars_of_the_start(results, options, "mgelaunch")
    yield from bars_of_the_rest(results, "mgelaunch")


def bars_of_the_start(of, options, name):
    for by, called in ((median, "medians"), (least, "minima")):
        yield from bars_of_the_first_line(of, options, name, by, called)
    everywhere = options.ranks + options.many
    after, peak = (most([median(of.take(name, n, field)) for n in everywhere]) for field in ("after", "peak"))
    yield Bar("gone <= 30 ms after the last rank", after, lambda it: it <= 0.030, 1e3, "ms", 1)
    yield Bar("peak memory <= 32 MiB", peak, lambda it: it <= 32, 1, "MiB", 1)
    helpers = most([most(of.take(name, n, "helpers")) for n in everywhere])
    yield Bar("no helper process", helpers, lambda it: it == 0)


def bars_of_the_first_line(of, options, name, by, called):
    full = max(options.ranks)
    first = {each: by(of.take(each, full, "first")) for each in ("loop", name, "torchrun")}
    late = None if None in (first[name], first["loop"]) else first[name] - first["loop"]
    text = f"{full} ranks, {called}: last first line <= 160 ms after the loop's"
    yield Bar(text, late, lambda it: it <= 0.160, 1e3, "ms", 1)
    times = ratio(first["torchrun"], first[name])
    yield Bar(f"{full} ranks, {called}: at least 4x earlier than torchrun's", times, lambda it: it >= 4, 1, "x", 1)
    if options.many:
        growth = ratio(*(grown(of, each, full, max(options.many), by) for each in (name, "loop")))
        text = f"growth per rank from {full} to {max(options.many)}, {called}: <= 1.2x the loop's"
        yield Bar(text, growth, lambda it: it <= 1.2, 1, "x", 2)


def bars_of_the_rest(of, name):
    yield Bar("idle CPU < 0.1 %", median(of.all(name, "idle")), lambda it: it < 0.001, 100, "%", 3)
    wrong = most([most(of.take(name, test, "wrong")) for test in TESTS])
    yield Bar("no torn or lost line in the three tests", wrong, lambda it: it == 0)
    rate, bare = (median(of.take(each, "blocks", "speed")) for each in (name, "loop"))
    enough = min(25, 0.9 * bare) if bare else 25
    yield Bar("output >= 25 MB/s or >= 0.9x the bare pipe", rate, lambda it: it >= enough, 1, "MB/s", 1)
    delay = median(delays_of(of, name))
    yield Bar("delay of a flushed line, median <= 2 ms", delay, lambda it: it <= 0.002, 1e3, "ms", 2)
    faults = of.all(name, "fault")
    told = most([NEVER if each.told is None else each.told for each in faults])
    yield Bar("the other rank told within 50 ms, each time", told, lambda it: it <= 0.050, 1e3, "ms", 1)
    left = most([-1 if each.left is None else each.left for each in faults])
    yield Bar("no descendant left (-1: it never ended)", left, lambda it: it == 0)


def ratio(one, other):
    return None if not one or not other else one / other


def part_bars(results, options):
    rows = []
    for bar in bars(results, options):
        verdict = "not measured" if bar.value is None else "holds" if bar.holds(bar.value) else "**does not hold**"
        rows.append((bar.text, f"{shown(bar.value, bar.scale, bar.digits)} {bar.unit}".strip(), verdict))
    table("mgelaunch against its bars", ("bar", "measured", ""), rows)


# ---- main -----------------------------------------------------------------------------------------------------------


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="rounds of parts 1 and 4 (default 9; part 4 at most 5)")
    parser.add_argument("--output-rounds", type=int, help="rounds of part 3 (default 3)")
    parser.add_argument("--ranks", type=numbers, default=[1, 2, 4, 8], help="with every launcher (default 1,2,4,8)")
    parser.add_argument("--many", type=numbers, help="with loop, mgelaunch and mpirun only (default 32,128)")
    parser.add_argument("--torch", metavar="DIR", help="folder that holds torchrun")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the ranks (default: this one)")
    parser.add_argument("--launchers", type=lambda text: text.split(","), help="only these, of " + ",".join(ARGUMENTS))
    parser.add_argument("--parts", type=numbers, default=[1, 2, 3, 4], help="only these parts, of 1,2,3,4")
    parser.add_argument("--quick", action="store_true", help="2 rounds, a tenth of the output, at most 32 ranks")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 9)
    options.output_rounds = options.output_rounds or (1 if options.quick else 3)
    options.many = options.many if options.many is not None else [32] if options.quick else [32, 128]
    options.python = os.path.abspath(options.python)
    return options


def unfit(bench, launcher):
    """Why this launcher cannot take part, or an empty text. Its start fills the caches of files and of bytecode."""
    if launcher.program is None:
        return "not installed"
    try:
        bench.start(launcher, 2)
    except Broken as reason:
        return f"left out: {str(reason)[:160]}"
    return ""


def main():
    options = arguments()
    adopt_orphans()
    launchers = [each for each in installed(options.torch) if each.name in (options.launchers or ARGUMENTS)]
    results, before = Results(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="mgelaunch-ranks-") as folder:
        os.chdir(folder)
        bench = Bench(folder, options.python, launchers)
        results.reasons = {each.name: reason for each in launchers if (reason := unfit(bench, each))}
        print(f"{sys.implementation.name} {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} CPUs,", end=" ")
        print(f"{options.rounds} rounds, medians where nothing else is said")
        parts = {1: part_starts, 2: part_idle, 3: part_output, 4: part_fault}
        for number in options.parts:
            parts[number](bench, results, options)
        os.chdir("/")
    part_bars(results, options)
    # On a busy machine a rank with a session of its own gets more of the CPU than the loop's, which share one.
    print(f"\nload average before: {before:.1f}, of the last minute: {os.getloadavg()[0]:.1f} (of this benchmark, too)")


if __name__ == "__main__":
    main()
