"""What several ranks say arrives as whole lines with the rank before each, however fast they are and whoever reads."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import time

import pytest

DEADLINE = 30
RANKS = 4


def by_rank(stream):
    """The lines of each rank without the prefix; every line must have one, and the last must end."""
    *lines, rest = stream.split(b"\n")
    assert rest == b""
    said = {}
    for line in lines:
        match = re.match(rb"\[([0-9]+)\] ", line)
        assert match, f"a torn line: {line[:200]!r}"
        said.setdefault(int(match[1]), []).append(line[match.end() :])
    return said


def until(condition):
    """Waits for something that other processes bring about."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# -- whole lines ---------------------------------------------------------------------------------

LOADS = {
    "lines at full speed": (5000, 100, "os.write(1, ''.join(f'{text(n)}\\n' for n in range(COUNT)).encode())"),
    "print() without a buffer": (1000, 60, "for n in range(COUNT): print(text(n))"),
    "lines of 200 kB": (8, 200_000, "for n in range(COUNT): print(text(n))"),
}


@pytest.mark.parametrize(("count", "width", "load"), LOADS.values(), ids=LOADS)
def test_no_line_is_torn_lost_or_out_of_order(world, start, count, width, load):
    text = f"f'{{os.environ[\"RANK\"]}} {{n:06d}} '.ljust({width}, 'x')"
    world.write("train.py", f"import os\nCOUNT = {count}\ntext = lambda n: {text}\n{load}\n")
    process = start("run", "-n", str(RANKS), "train.py")
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stderr) == (0, b"")
    said = by_rank(stdout)
    assert {rank: len(lines) for rank, lines in said.items()} == dict.fromkeys(range(RANKS), count)
    for rank, lines in said.items():
        assert [n for n, line in enumerate(lines) if line != (b"%d %06d " % (rank, n)).ljust(width, b"x")] == []


def test_prefixes_are_as_wide_as_the_widest(world):
    done = world.run("run", "-n", "11", "sh", "-c", "echo x")
    assert sorted(done.stdout.splitlines()) == sorted([*(f"[{rank}]  x" for rank in range(10)), "[10] x"])


def test_bytes_that_are_no_text_arrive_as_they_are(world, start):
    world.write(
        "train.py",
        """import os, sys
line = bytes(set(range(256)) - {10, 13}) + os.environb[b"RANK"] + b"\\n"
for _ in range(100): sys.stdout.buffer.write(line)""",
    )
    stdout, _ = start("run", "-n", "2", "train.py").communicate(timeout=DEADLINE)
    line = bytes(set(range(256)) - {10, 13})
    assert by_rank(stdout) == {rank: [line + b"%d" % rank] * 100 for rank in range(2)}


def test_a_last_line_without_an_end_is_kept_as_it_is(start):
    stdout, _ = start("run", "-n", "2", "sh", "-c", 'printf "last $RANK"').communicate(timeout=DEADLINE)
    assert stdout in {b"[0] last 0\n[1] last 1", b"[1] last 1\n[0] last 0"}


def test_our_own_words_begin_a_line_of_their_own_behind_a_line_without_an_end(start):
    process = start("run", "-n", "2", "sh", "-c", 'printf "last $RANK"; exit 3', stderr=subprocess.STDOUT)
    stdout, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3
    assert re.search(rb"^mgelaunch: error: ", stdout, re.MULTILINE), stdout


BOTH = """import os
for n in range(500):
    os.write(1, b"out %d".ljust(3000) % n + b"\\n")
    os.write(2, b"err %d".ljust(3000) % n)
    os.write(2, b"\\n")
"""
NUMBERS = {stream: [[stream, b"%d" % n] for n in range(500)] for stream in (b"out", b"err")}


def words(stream):
    """The words of the lines of each rank."""
    return {rank: [line.split() for line in lines] for rank, lines in by_rank(stream).items()}


def test_stdout_and_stderr_stay_apart(world, start):
    world.write("train.py", BOTH)
    stdout, stderr = start("run", "-n", "2", "train.py").communicate(timeout=DEADLINE)
    assert words(stdout) == {0: NUMBERS[b"out"], 1: NUMBERS[b"out"]}
    assert words(stderr) == {0: NUMBERS[b"err"], 1: NUMBERS[b"err"]}


def test_stdout_and_stderr_that_lead_to_one_place_do_not_tear_each_other(world, start):
    world.write("train.py", BOTH)
    stdout, _ = start("run", "-n", "2", "train.py", stderr=subprocess.STDOUT).communicate(timeout=DEADLINE)
    for lines in words(stdout).values():
        assert [line for line in lines if line[0] == b"out"] == NUMBERS[b"out"]
        assert [line for line in lines if line[0] != b"out"] == NUMBERS[b"err"]


def test_a_prompt_is_shown_before_it_is_answered(world, start):
    world.write("train.py", "import os\nif os.environ['RANK'] == '0': print('hello', input('Name? '))")
    process = start("run", "-n", "2", "train.py")
    shown = b""
    while b"Name? " not in shown and (data := os.read(process.stdout.fileno(), 1024)):
        shown += data
    stdout, _ = process.communicate(b"Ada\n", timeout=DEADLINE)
    assert shown + stdout == b"[0] Name? hello Ada\n"


# -- on a terminal -------------------------------------------------------------------------------


@pytest.fixture
def on_terminal(start):
    """A function that runs mgelaunch with a terminal as stdout and stderr; returns the exit code and what it shows."""

    def run(*args, **options):
        ours, theirs = pty.openpty()
        process = start(*args, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, **options)
        os.close(theirs)
        shown = b""
        with os.fdopen(ours, "rb", buffering=0) as screen, contextlib.suppress(OSError):  # EIO: nobody writes any more
            while data := screen.read(1 << 16):
                shown += data
        return process.wait(DEADLINE), shown

    return run


def rows(shown):
    """What a terminal shows in the end of bytes that only return, erase to the right, and colour."""
    screen, row, column = [], "", 0
    for word in re.findall(r"\x1b\[[0-9;]*[mK]|.|\n", shown.decode(), re.DOTALL):
        if word == "\n":
            screen.append(row)
            row, column = "", 0
        elif word == "\r":
            column = 0
        elif word.endswith("K") and len(word) > 1:
            row = row[:column]
        elif len(word) == 1:
            row, column = row[:column].ljust(column) + word + row[column + 1 :], column + 1
    return [*screen, row] if row else screen


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["plain", "NO_COLOR", "TERM=dumb"],
)
def test_prefixes_on_a_terminal_have_a_colour_unless_nobody_wants_it(world, on_terminal, environ, coloured):
    code, shown = on_terminal("run", "-n", "2", "sh", "-c", "echo x", env=world.environ | environ)
    assert (code, sorted(rows(shown))) == (0, ["[0] x", "[1] x"])
    assert (b"\x1b" in shown) == coloured


@pytest.mark.parametrize(("environ", "coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True)], ids=["plain", "forced"])
def test_prefixes_in_a_pipe_have_no_colour_unless_it_is_forced(world, environ, coloured):
    stdout = world.run("run", "-n", "2", "sh", "-c", "echo x", **environ).stdout
    assert sorted(rows(stdout.encode())) == ["[0] x", "[1] x"]
    assert ("\x1b" in stdout) == coloured


BAR = """import os, sys, time
rank, bars = os.environ["RANK"], range(int(sys.argv[1]))
if int(rank) not in bars: sys.exit()
for state in ("  0%", " 50%", "100%"):
    print("\\r" + state, end="", flush=True)
    time.sleep(0.03)
open(f"full-{rank}", "w")
while not all(os.path.exists(f"full-{bar}") for bar in bars): time.sleep(0.02)
time.sleep(0.1)
print()
"""


def test_a_progress_bar_on_a_terminal_is_one_line_with_its_last_state(world, on_terminal):
    world.write("train.py", BAR)
    code, shown = on_terminal("run", "-n", "2", "train.py", "1")
    assert (code, rows(shown)) == (0, ["[0] 100%"])


def test_progress_bars_of_all_ranks_leave_their_last_states_on_a_terminal(world, on_terminal):
    world.write("train.py", BAR)
    code, shown = on_terminal("run", "-n", "2", "train.py", "2")
    assert code == 0
    assert {"[0] 100%", "[1] 100%"} <= set(rows(shown))


def test_every_state_of_progress_bars_in_a_pipe_has_its_prefix(world, start):
    world.write("train.py", BAR)
    stdout, _ = start("run", "-n", "2", "train.py", "2").communicate(timeout=DEADLINE)
    states = [state for state in re.split(rb"[\r\n]+", stdout) if state.strip()]
    assert all(re.fullmatch(rb"\[[01]\] ( *[0-9]+%)?", state) for state in states), stdout
    for rank in (0, 1):
        own = [state[4:] for state in states if state.startswith(b"[%d]" % rank) and state[4:]]
        assert own == [b"  0%", b" 50%", b"100%"]


def test_one_rank_has_the_terminal_itself_and_no_prefix(world, on_terminal):
    world.write("train.py", "import os; print([os.isatty(fd) for fd in (1, 2)])")
    assert on_terminal("run", "-n", "1", "train.py") == (0, b"[True, True]\r\n")


def test_one_rank_has_our_own_streams(world, start):
    world.write("train.py", "import os; print(*[os.fstat(fd).st_ino for fd in (1, 2)])")
    process = start("run", "-n", "1", "train.py")
    ours = [os.fstat(stream.fileno()).st_ino for stream in (process.stdout, process.stderr)]
    assert process.communicate(timeout=DEADLINE) == (b"%d %d\n" % tuple(ours), b"")


# -- a reader that is slow -----------------------------------------------------------------------

LINE = 1000
FLOOD = f"""import os, sys, time
rank, blocks = os.environ["RANK"], int(sys.argv[1])
def tell(name, text):
    with open("new-" + rank, "w") as file: file.write(text)
    os.replace("new-" + rank, f"{{name}}-{{rank}}")
tell("pid", str(os.getpid()))
if rank == "1" and sys.argv[2:]:
    while not os.path.exists("go"): time.sleep(0.02)
    sys.exit(3)
for number in range(blocks):
    data = b"".join((b"%06d " % (20 * number + at)).ljust({LINE - 1}, b"x") + b"\\n" for at in range(20))
    while data: data = data[os.write(1, data):]
    tell("written", str(number + 1))
"""


@pytest.fixture
def flood(world, start):
    """A function that starts two ranks, each to write so many blocks of 20 lines, and waits until nobody can go on."""
    world.write("train.py", FLOOD)

    def run(blocks, *more):
        process = start("run", "-n", "2", "train.py", str(blocks), *more)
        until((world.project / "written-0").exists)
        until((world.project / "pid-1").exists)
        stood = [None, time.monotonic()]

        def stands_still():
            written = [path.read_text() for path in sorted(world.project.glob("written-?"))]
            if written != stood[0]:
                stood[:] = written, time.monotonic()
            return time.monotonic() - stood[1] > 0.5

        until(stands_still)
        return process

    return run


def gone(world, rank):
    """Whether the process of a rank has ended and has been waited for."""
    return not os.path.exists(f"/proc/{(world.project / f'pid-{rank}').read_text()}")


def peak(pid):
    """The largest resident set of a process so far, in MiB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) >> 10 for line in file if line.startswith("VmHWM"))


def test_ranks_wait_for_a_slow_reader_and_nothing_is_dropped_or_piled_up(world, flood):
    blocks = 1000
    process = flood(blocks)
    assert all(int((world.project / f"written-{rank}").read_text()) < blocks for rank in (0, 1))
    stood = peak(process.pid)
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stderr) == (0, b"")
    numbers = {rank: [int(line[:6]) for line in lines] for rank, lines in by_rank(stdout).items()}
    assert numbers == {rank: list(range(20 * blocks)) for rank in (0, 1)}
    assert len(stdout) == 2 * 20 * blocks * (LINE + len("[0] "))
    assert stood < 40  # MiB, of which Python and what it has loaded take half; 38 more were to come


def test_a_failure_stops_the_ranks_while_nobody_reads(world, flood):
    process = flood(100_000, "and rank 1 fails")
    world.write("go", "")
    until(lambda: gone(world, 0) and gone(world, 1))
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3
    assert re.match(rb"mgelaunch: error: rank 1 .*exited with 3", stderr)
    assert {len(line) for line in stdout.split(b"\n")[:-1]} == {LINE - 1 + len("[0] ")}


def test_ctrl_c_stops_the_ranks_while_nobody_reads_and_a_second_one_ends_the_waiting(world, flood):
    process = flood(100_000)
    process.send_signal(signal.SIGINT)
    until(lambda: gone(world, 0) and gone(world, 1))
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130


# -- nobody to read ------------------------------------------------------------------------------


def test_a_reader_that_leaves_ends_the_job_as_sigpipe_would(start):
    process = start("run", "-n", "2", "yes", "x" * 60, stdin=subprocess.DEVNULL)
    assert re.fullmatch(rb"\[[01]\] x+\n", process.stdout.readline())
    process.stdout.close()
    left = time.monotonic()
    assert process.wait(DEADLINE) == 128 + signal.SIGPIPE
    assert time.monotonic() - left < 5
    said = process.stderr.read().splitlines()
    assert len(said) == 1
    assert re.fullmatch(rb"mgelaunch: error: .* \[output\.lost\]", said[0])


@pytest.mark.parametrize(
    ("ranks", "closed"),
    [(2, ">&-"), (2, "2>&-"), (2, "<&- >&- 2>&-"), (1, "<&- >&- 2>&-")],
    ids=["stdout", "stderr", "all three", "all three of one rank"],
)
def test_streams_that_are_closed_from_the_start_end_no_job(world, start, ranks, closed):
    script = 'cat; echo x && echo x >&2 && echo done > "done-$RANK"'
    wrapper = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    process = start("run", "-n", str(ranks), "sh", "-c", script, wrapper=wrapper, stdin=subprocess.DEVNULL)
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert sorted(path.name for path in world.project.glob("done-*")) == [f"done-{rank}" for rank in range(ranks)]
    assert (stdout + stderr).count(b"x\n") == (0 if "<" in closed else ranks)


@pytest.mark.parametrize("ranks", [1, 2])
def test_output_that_cannot_be_written_is_no_success(world, start, ranks):
    world.write("train.py", "print('x', flush=True)")
    with open("/dev/full", "wb") as full:
        process = start("run", "-n", str(ranks), "train.py", stdout=full)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode not in (0, 141)
    assert b"No space left on device" in stderr
    assert b"[output.lost]" in stderr or ranks == 1
