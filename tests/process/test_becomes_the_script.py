"""``run`` becomes the script: nothing that the script can see of its process tells that mgelaunch was there."""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys

import pytest

DEADLINE = 30
ENV = shutil.which("env")


def variables(block):
    """What ``env -0`` has printed."""
    return dict(entry.split(b"=", 1) for entry in block.split(b"\0") if entry)


# -- the process ---------------------------------------------------------------------------------


def test_the_script_has_the_pid_that_was_started(world, start):
    world.write("train.py", "import os; print(os.getpid(), os.getppid())")
    process = start("run", "train.py")
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert (stdout.split(), stderr) == ([b"%d" % process.pid, b"%d" % os.getpid()], b"")


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_is_the_scripts(world, code):
    world.write("train.py", f"raise SystemExit({code})")
    assert world.run("run", "train.py").returncode == code


def test_an_uncaught_exception_is_told_as_python_tells_it(world, bare):
    world.write("train.py", "raise KeyError('loss')")
    done, alone = world.run("run", "train.py"), bare(sys.executable, "train.py")
    assert (done.returncode, done.stderr.encode()) == (1, alone.stderr)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT"])
def test_a_script_that_dies_of_a_signal_is_seen_to_die_of_it(world, name):
    world.write("train.py", f"import os, signal; os.kill(os.getpid(), signal.{name})")
    done = world.run("run", "train.py")
    assert (done.returncode, done.stdout, done.stderr) == (-getattr(signal, name), "", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGQUIT"])
def test_a_signal_for_mgelaunch_is_a_signal_for_the_script(world, start, name):
    world.write(
        "train.py",
        f"""import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.{name}])
print("ready", flush=True)
print(signal.Signals(signal.sigwait([signal.{name}])).name)""",
    )
    process = start("run", "train.py")
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=DEADLINE) == (f"{name}\n".encode(), b"")


def test_the_installed_command_starts_a_script_as_the_module_does(world, bare):
    command = os.path.join(os.path.dirname(sys.executable), "mgelaunch")
    if not os.path.exists(command):
        pytest.skip("this Python runs mgelaunch as a module only: there is no command beside it")
    world.write("train.py", "import sys; print(sys.argv); raise SystemExit(3)")
    done = bare(command, "run", "train.py", "-m", "x")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"['train.py', '-m', 'x']\n", b"")


# -- streams and files ---------------------------------------------------------------------------


def test_stdin_reaches_the_script_to_its_last_byte(start):
    everything = bytes(range(256)) * 4096  # more than a pipe holds, with every byte there is
    process = start("run", "cat")
    assert process.communicate(everything, timeout=DEADLINE) == (everything, b"")


def test_an_inherited_file_descriptor_is_open_in_the_script(world, start):
    world.write("train.py", "import os, sys; os.write(int(sys.argv[1]), b'through')")
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe:
        process = start("run", "train.py", str(writer), pass_fds=[writer])
        os.close(writer)
        assert pipe.read() == b"through"
    assert process.wait(DEADLINE) == 0


def test_no_file_descriptor_of_mgelaunchs_own_is_open_in_the_script(world, out):
    world.write(".env", "A=1\n")
    world.write(".mgelaunch/p.toml", "[env]\nB = '1'\n")
    world.write("train.py", "import os; print(sorted(os.listdir('/proc/self/fd')))")
    assert out("run", "-p", "p", "train.py") == b"['0', '1', '2', '3']\n"  # 3 is the listing itself


def test_closed_streams_stay_closed(world, start):
    world.write(".mgelaunch/p.toml", "[env]\nB = '1'\n")
    world.write("train.py", "import os, sys; open('closed', 'w').write(f'{sys.stdin} {sys.stdout} {sys.stderr}')")
    process = start("run", "-p", "p", "train.py", wrapper=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    assert process.wait(DEADLINE) == 0
    assert (world.project / "closed").read_text() == "None None None"


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_the_umask_is_the_callers(world, out, umask):
    world.write("train.py", "import os; print(os.umask(0))")
    assert int(out("run", "train.py", umask=umask)) == umask


@pytest.mark.parametrize("name", ["plain", "with two blanks", "训练 目录", "it's $HOME"])
def test_the_working_directory_is_the_callers(world, out, name):
    folder = world.project / name
    folder.mkdir()
    (folder / "train.py").write_text("import os; print(os.getcwd())", "utf-8")
    assert out("run", "train.py", cwd=folder).decode() == f"{folder}\n"


# -- the terminal --------------------------------------------------------------------------------

TAKE_TERMINAL = """import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])"""


class Terminal:
    """The keyboard and the screen of a new session."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        self.shown = b""

    def options(self):
        return {"stdin": self.theirs, "stdout": self.theirs, "stderr": self.theirs}

    def type(self, keys):
        os.write(self.ours, keys)

    def until(self, text):
        """Reads the screen until it shows `text`, or until nobody can write to it any more."""
        with contextlib.suppress(OSError):  # EIO: the last of them has gone
            while text not in self.shown:
                self.shown += os.read(self.ours, 1024)
        return self.shown

    def hang_up(self):
        if self.theirs is not None:
            os.close(self.theirs)
            self.theirs = None


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.hang_up()
    os.close(terminal.ours)


def on(terminal, start, *args):
    process = start(*args, wrapper=[sys.executable, "-c", TAKE_TERMINAL], **terminal.options())
    terminal.hang_up()
    return process


def test_the_script_has_the_terminal_and_is_its_foreground(world, start, terminal):
    world.write(
        "train.py",
        """import os
print([os.isatty(fd) for fd in (0, 1, 2)], os.tcgetpgrp(0) == os.getpgrp() == os.getsid(0) == os.getpid())""",
    )
    process = on(terminal, start, "run", "train.py")
    assert b"[True, True, True] True" in terminal.until(b"]")
    terminal.until(b"True\r\n")
    assert process.wait(DEADLINE) == 0


def test_ctrl_c_reaches_the_script_once(world, start, terminal):
    """It is blocked and waited for, so that one that comes too early or too late is seen as well."""
    world.write(
        "train.py",
        """import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("ready", flush=True)
signal.sigwait([signal.SIGINT])
print("noted", flush=True)
input()
print("still pending:", signal.sigpending())""",
    )
    process = on(terminal, start, "run", "train.py")
    terminal.until(b"ready\r\n")
    terminal.type(b"\x03")
    terminal.until(b"noted\r\n")
    terminal.type(b"\n")
    assert b"still pending: set()\r\n" in terminal.until(b"set()\r\n")
    assert process.wait(DEADLINE) == 0


def test_ctrl_c_ends_a_script_as_it_does_without_mgelaunch(world, start, terminal):
    # A script that computes: one that waits for input can miss a signal that comes just before it waits.
    world.write("train.py", "print('ready', flush=True)\nwhile True: pass")
    process = on(terminal, start, "run", "train.py")
    terminal.until(b"ready\r\n")
    terminal.type(b"\x03")
    shown = terminal.until(b"KeyboardInterrupt\r\n")
    assert process.wait(DEADLINE) == -signal.SIGINT
    assert b"mgelaunch" not in shown


# -- signals that are ignored or blocked ---------------------------------------------------------


def test_sigpipe_ends_a_command_as_it_does_without_mgelaunch(world):
    done = world.run("run", "sh", "-c", "kill -PIPE $$")
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_a_command_in_a_pipe_ends_quietly_when_its_reader_has_gone(start):
    process = start("run", "yes", stdin=subprocess.DEVNULL)
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(DEADLINE) == -signal.SIGPIPE
    assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param("", id="as a shell has them"),
        pytest.param('trap "" HUP', id="under nohup"),
        pytest.param('trap "" INT QUIT', id="in the background of a script"),
        pytest.param('trap "" HUP INT QUIT TERM USR1 USR2 CHLD TSTP', id="nearly all ignored"),
    ],
)
def test_ignored_and_blocked_signals_are_what_they_are_without_mgelaunch(bare, out, prepare):
    shell = ["sh", "-c", f'{prepare}\nexec "$@"', "sh"]
    # A Python in between restores SIGPIPE, as every program does that starts others well.
    dispositions = ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]
    assert out("run", *dispositions, wrapper=shell) == bare(*shell, *dispositions).stdout


def test_an_ignored_hangup_does_not_end_the_script(world, start):
    world.write("train.py", "import sys; print('ready', flush=True); sys.stdin.read(); print('survived')")
    process = start("run", "train.py", wrapper=["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh"])
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE) == (b"survived\n", b"")
    assert process.returncode == 0


# -- the environment -----------------------------------------------------------------------------

START = {b"PATH": os.fsencode(os.environ["PATH"]), b"HOME": b"/home/nobody"}


@pytest.mark.parametrize(
    "locale",
    [
        pytest.param({}, id="no locale"),
        pytest.param({b"LANG": b"C"}, id="LANG=C"),
        pytest.param({b"LC_ALL": b"C"}, id="LC_ALL=C"),
        pytest.param({b"LC_ALL": b"POSIX"}, id="LC_ALL=POSIX"),
        pytest.param({b"LANG": b"C", b"LC_CTYPE": b"C.UTF-8"}, id="LC_CTYPE is the user's own"),
        pytest.param({b"LANG": b"C", b"PYTHONCOERCECLOCALE": b"0"}, id="no coercion"),
        pytest.param({b"LANG": b"zh_CN.UTF-8"}, id="a locale that may be missing"),
        pytest.param({b"LC_ALL": b""}, id="an empty variable"),
    ],
)
def test_without_settings_the_script_has_exactly_the_shells_environment(out, locale):
    environ = START | locale
    assert variables(out("run", ENV, "-0", env=environ)) == environ


def test_an_empty_environment_stays_empty(out):
    assert out("run", ENV, "-0", env={}) == b""


def test_with_settings_the_script_has_the_shells_environment_and_what_the_dry_run_shows(world, out, planned):
    world.write(".env", "MEGENGINE_LOGGING_LEVEL=error\nTEAM=ours\n")
    world.write(".mgelaunch/p.toml", "[env]\nMGB_CUDA_RESERVE_MEMORY = {unset = true}\nA = '$x \"y\" \\'\n")
    world.environ |= {"MGB_CUDA_RESERVE_MEMORY": "1", "LANG": "C"}
    options = ["-p", "p", "-e", "OMP_NUM_THREADS=50%", "--device", "CPU0"]
    changes = planned(*options)
    assert set(changes) == {
        *("A", "MEGENGINE_LOGGING_LEVEL", "MGB_CUDA_RESERVE_MEMORY", "MGE_DEFAULT_DEVICE", "OMP_NUM_THREADS", "TEAM")
    }
    expected = {name: text for name, text in (world.environ | changes).items() if text is not None}
    got = variables(out("run", *options, ENV, "-0", stderr=subprocess.DEVNULL, env=world.environ))
    assert got == {name.encode(): text.encode() for name, text in expected.items()}


def test_bytes_that_are_no_utf8_survive_in_the_environment(out):
    environ = START | {
        b"LATIN": b"caf\xe9",
        b"ALL": bytes(range(1, 256)),
        b"LINES": b"one\ntwo\n",
        b"BASH_FUNC_f%%": b"() {  :\n}",
        b"a.b-c": b"1",
        b"GB\xc4\xe3": b"\xc4\xe3",
    }
    for locale in ({}, {b"LANG": b"C.UTF-8"}):
        assert variables(out("run", ENV, "-0", env=environ | locale)) == environ | locale


@pytest.mark.parametrize("locale", [b"C", b"C.UTF-8"])
def test_bytes_that_are_no_utf8_survive_in_arguments_and_in_set(out, locale):
    strange = bytes(range(1, 256))
    environ = START | {b"LANG": locale}
    seen = out("run", b"-e", b"A=caf\xe9", "sh", "-c", 'printf "%s|" "$A" "$@"', "sh", strange, "中文", env=environ)
    assert seen == b"|".join([b"caf\xe9", strange, "中文".encode(), b""])
