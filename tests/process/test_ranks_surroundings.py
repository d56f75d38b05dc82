"""What surrounds a job of ranks: shells, terminals and readers that are not as they should be."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios

DEADLINE = 30


def run(world, *args, wrapper=(), **options):
    """Runs mgelaunch to its end, which must come within the deadline."""
    options = {"capture_output": True, "text": True} | options
    command = [*wrapper, *world.command("run", *args)]
    return subprocess.run(command, cwd=world.project, env=world.environ, timeout=DEADLINE, check=False, **options)


def test_a_time_limit_of_months_is_one(world):
    assert run(world, "-n", "2", "--time-limit", "700h", "--grace", "900h", "true").returncode == 0


def blocked(number):
    """What starts a command with a signal blocked."""
    code = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [int(sys.argv[1])]); os.execvp(sys.argv[2], sys.argv[2:])"
    return sys.executable, "-c", code, str(int(number))


def test_the_end_of_what_a_rank_left_is_noticed_by_those_who_had_sigchld_blocked(world):
    """Were it not, the job would last for the whole grace, which is longer than this test."""
    world.write("leaves.py", "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)")
    done = run(world, "-n", "2", "--grace", "90s", "leaves.py", wrapper=blocked(signal.SIGCHLD))
    assert done.returncode == 0


def test_term_ends_a_job_that_was_started_with_it_blocked(start):
    """The ranks have it blocked as the user wanted, so they are killed in the end."""
    process = start("run", "-n", "2", "--grace", "1s", "sh", "-c", "echo up; sleep 60", wrapper=blocked(signal.SIGTERM))
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 143


def test_children_of_the_shell_that_became_us_are_left_alone_and_so_are_theirs(world):
    """... also those that they start while the job runs, in sessions of their own."""
    world.write(
        "waits.py", "import os, time\nopen('ready', 'w').close()\nwhile not os.path.exists('there'): time.sleep(0.01)"
    )
    stranger = (
        "while [ ! -e ready ]; do sleep 0.01; done; setsid sh -c 'echo $$ > pid; mv pid there; exec sleep 60' & wait"
    )
    script = f'({stranger}) & exec "$@"'
    done = run(world, "-n", "2", "waits.py", wrapper=("sh", "-c", script, "sh"), capture_output=False)
    pid = int((world.project / "there").read_text())
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        shell = os.pidfd_open(int(file.read().rpartition(")")[2].split()[1]))
    os.kill(pid, signal.SIGKILL)
    assert select.select([shell], [], [], DEADLINE)[0]
    os.close(shell)
    assert done.returncode == 0


def test_a_closed_stdin_is_the_end_of_file_for_rank_0_and_no_file_of_ours(world):
    world.write("reads.py", "import sys, os; print(repr(os.read(0, 10)))")
    done = run(world, "-n", "2", "--log-dir", "logs", "reads.py", wrapper=("sh", "-c", 'exec "$@" <&-', "sh"))
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, ["[0] b''", "[1] b''"])


def test_output_whose_reader_goes_away_when_all_has_been_said_is_lost_all_the_same(world, start):
    world.write("says.py", "print('x' * 300_000)")
    process = start("run", "-n", "2", "says.py")
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(DEADLINE) == 141
    assert b"[output.lost]" in process.stderr.read()


def test_a_job_that_is_stopped_does_not_wait_for_a_reader_that_stands_still(world, start):
    world.write("says.py", "import sys\nwhile True: print('x' * 1000)")
    process = start("run", "-n", "2", "--grace", "1s", "says.py")
    process.stdout.read(10)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 143


def test_a_terminal_gets_its_echo_back_when_a_rank_ends_that_asks_for_a_password(world, start):
    world.write("asks.py", "import getpass; getpass.getpass('password: ')")
    ours, theirs = pty.openpty()
    session = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    process = start(
        "run", "-n", "1", "asks.py", wrapper=(sys.executable, "-c", session), stdin=theirs, stdout=theirs, stderr=theirs
    )
    said = b""
    while b"password: " not in said:
        said += os.read(ours, 1000)
    assert not termios.tcgetattr(theirs)[3] & termios.ECHO
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    assert termios.tcgetattr(theirs)[3] & termios.ECHO
    os.close(ours)
    os.close(theirs)
