"""``mgelaunch check --prove``: real interpreters that import stand-ins of the frameworks, which die, hang or lie."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

from mgelaunch.target import interpreter

SOURCE = os.path.join(os.path.dirname(interpreter.__file__), "prove.py")
DROP, LEVEL, DEVICE, PATHS = (
    "MEGENGINE_ENABLE_DROP", "MEGENGINE_INTERP_ASYNC_LEVEL", "MGE_DEFAULT_DEVICE", "MEGENGINE_RECORD_COMPUTING_PATH",
)  # fmt: skip
DEADLINE = 30

MEGENGINE = f"""
import os, sys
__version__ = "1.13.0"
os.write(1, b"native chatter\\n")

class core:
    def get_option(name):
        names = dict(enable_drop={DROP!r}, async_level={LEVEL!r}, record_computing_path={PATHS!r})
        return os.environ.get(names[name], "2" if name == "async_level" else "0")

def get_default_device():
    return os.environ.get({DEVICE!r}, "xpux")
"""
"""A MegEngine that reads four variables."""


@pytest.fixture
def world(world):
    """A project whose Python finds its modules in `site`, with a place of its own for temporary files."""
    (world.project / "site").mkdir()
    os.mkdir(os.path.join(world.home, "tmp"))
    world.environ |= {"PYTHONPATH": str(world.project / "site"), "TMPDIR": os.path.join(world.home, "tmp")}
    return world


@pytest.fixture
def megengine(world):
    """A function that writes the stand-in, with more code at its end."""

    def write(more=""):
        world.write("site/megengine/__init__.py", f"{MEGENGINE}\n{more}")

    return write


@pytest.fixture
def prove(world, megengine):
    """A function that proves these settings: the exit code, the lines of the proof, and stderr."""
    megengine()

    def run(*options, timeout=DEADLINE * 2, environ=None, **sets):
        settings = [word for name, text in sets.items() for word in ("-e", f"{name}={text}")]
        done = world.run("check", "--no-check", "--prove", *settings, *options, timeout=timeout, **(environ or {}))
        assert "Traceback" not in done.stderr
        assert "native chatter" not in done.stdout.partition("proof ")[0] + done.stderr
        lines = done.stdout.splitlines()
        proof = lines[next(at for at, line in enumerate(lines) if line.startswith("proof ")) :]
        return done.returncode, proof, done.stderr

    return run


def rows(proof):
    """Mark, wish and effect of each row, by name."""
    table = [line.split() for line in proof[2:-1]]
    return {name: (mark, wish, " ".join(more)) for mark, name, wish, *more in table}


def error(stderr, code):
    """The only error of this code, without what stands around the sentence."""
    (line,) = [line for line in stderr.splitlines() if f"[{code}]" in line]
    return line.removeprefix("mgelaunch: error: ").removesuffix(f" [{code}]")


# -- what is read back ---------------------------------------------------------------------------------


def test_each_value_is_read_back_by_the_framework(prove):
    code, proof, stderr = prove(**{DROP: "on", DEVICE: "cpu0", "MGE_PLASMA_MEMORY": "64MiB"})
    assert (code, stderr) == (0, "")
    assert proof[0].startswith("proof   megengine 1.13.0 in ")
    assert proof[0].endswith(f", by {sys.executable}")
    assert rows(proof) == {
        DROP: ("ok", "1", "1 import"),
        DEVICE: ("ok", "cpu0", "cpu0 import"),
        "MGE_PLASMA_MEMORY": ("?", "67108864", "not provable: it is read later each use"),
    }
    assert proof[-1] == "3 asked, 2 in effect, 1 not provable, 0 wrong"


def test_a_removed_variable_has_its_default(prove):
    code, proof, _ = prove("--unset", LEVEL, environ={LEVEL: "1"})
    assert code == 0
    assert rows(proof) == {LEVEL: ("ok", "(removed)", "2 import")}


def test_another_value_is_an_error_and_the_exit_code_is_4(prove, megengine):
    megengine("core.get_option = lambda name: 0")
    code, proof, stderr = prove(**{DROP: "1", DEVICE: "cpu0"})
    assert code == 4
    assert rows(proof[:-2] + proof[-1:])[DROP] == ("ERROR", "1", "0 import")
    assert error(stderr, "prove.differs") == f"--set: {DROP}: asked 1, in effect 0"
    assert proof[-1] == "2 asked, 1 in effect, 0 not provable, 1 wrong"


def test_a_failed_proof_can_be_ignored_like_a_failed_check(prove, megengine):
    megengine("core.get_option = lambda name: 0")
    code, _, stderr = prove("--ignore", "prove.differs", **{DROP: "1"})
    assert (code, stderr) == (0, "")


def test_a_framework_that_lacks_an_option_is_no_error(prove, megengine):
    megengine("del core.get_option")
    code, proof, stderr = prove(**{DROP: "1", DEVICE: "cpu0"})
    assert (code, stderr) == (0, "")
    assert rows(proof)[DROP][2].startswith("not provable: AttributeError: ")
    assert rows(proof)[DEVICE][0] == "ok"


def test_what_is_not_installed_proves_nothing(prove):
    code, proof, stderr = prove(OMP_NUM_THREADS="1", **{DEVICE: "cpu0"})
    assert (code, stderr) == (0, "")
    assert rows(proof)["OMP_NUM_THREADS"][2] == f"not provable: torch is not installed in {sys.executable} import"


@pytest.mark.parametrize(("options", "severity", "code"), [((), "warning", 0), (("--strict",), "error", 4)])
def test_a_target_without_any_framework_is_told(world, options, severity, code):
    done = world.run("check", "--no-check", "--prove", "-e", f"{DROP}=1", *options)
    sentence = f"megengine is not installed in {sys.executable}: nothing is proved of 1 setting; try --python PATH"
    assert (done.returncode, done.stderr) == (code, f"mgelaunch: {severity}: {sentence} [prove.missing]\n")
    assert done.stdout.splitlines()[-1] == "1 asked, 0 in effect, 1 not provable, 0 wrong"


def test_json_has_a_list_of_proofs(world, megengine):
    megengine()
    done = world.run("check", "--prove", "-f", "json", "-e", f"{DROP}=1", "-e", "A_TOKEN=hunter2")
    document = json.loads(done.stdout)
    assert list(document) == ["version", "host", "findings", "proof"]
    assert document["proof"] == [
        {"name": "A_TOKEN", "asked": "(secret)", "in_effect": None, "state": "unproved",
         "why": "no catalogue has it", "moment": None},
        {"name": DROP, "asked": "1", "in_effect": "1", "state": "proved", "why": "", "moment": "import"},
    ]  # fmt: skip


def test_without_anything_to_read_nothing_is_started(prove, megengine):
    megengine("os.abort()")
    code, proof, _ = prove(OURS="1")
    assert code == 0
    assert proof[0].startswith("proof   no framework was imported")


# -- as which process ----------------------------------------------------------------------------------

DUMP = """
import json
def opened(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
said = dict(environ=dict(os.environ), cwd=os.getcwd(), stdin=opened(0), cpus=sorted(os.sched_getaffinity(0)))
with open("dump.json", "w") as file:
    json.dump(said, file)
"""


@pytest.mark.parametrize("options", [[], ["--env-file", "more.env", "--unset", "GONE"], ["-n", "1"]], ids=str)
def test_it_has_the_environment_and_the_directory_of_the_script_and_no_stdin(world, megengine, options):
    megengine(DUMP)
    world.write("more.env", "OURS='two words'\nMGE_HOME=here\n")
    world.write("train.py", "import megengine")
    said = ["-e", f"{DROP}=1", "--bind-cpus", "cores", *options]
    dumps = []
    for command in (["check", "--prove", *said, "train.py"], ["run", *said, "train.py"]):
        done = world.run(*command, GONE="1", **{LEVEL: "1"})
        assert done.returncode == 0, done.stderr
        dumps.append(json.loads((world.project / "dump.json").read_text()))
    proof, real = dumps
    assert proof.pop("stdin") == "/dev/null"
    real.pop("stdin")
    chosen = {"MASTER_PORT", "TORCHELASTIC_RUN_ID"}
    for dump in dumps:
        dump["environ"] = {name: text for name, text in dump["environ"].items() if name not in chosen}
    assert proof == real


def test_of_several_ranks_it_is_the_first_one(prove, world, megengine):
    megengine(DUMP)
    world.write(".mgelaunch/p.toml", f'[env]\n{DROP} = 1\n[rank.env]\n{DEVICE} = "cpu{{local_rank}}"\n')
    code, proof, _ = prove("-p", "p", "-n", "2")
    environ = json.loads((world.project / "dump.json").read_text())["environ"]
    assert code == 0
    assert proof[0].endswith(", as rank 0 of 2")
    assert rows(proof)[DEVICE] == ("ok", "cpu0", "cpu0 import")
    assert (environ["RANK"], environ["WORLD_SIZE"], environ["MASTER_PORT"].isdecimal()) == ("0", "2", True)


def test_modules_of_mgelaunch_are_not_in_the_way(prove, megengine):
    megengine("import importlib.util\nassert not importlib.util.find_spec('keeper'), 'our folder'")
    assert prove(**{DROP: "1"})[0] == 0


# -- what fails ----------------------------------------------------------------------------------------


def test_an_abort_is_reported_with_the_variable_and_the_last_lines(prove, world, megengine):
    megengine(f"if os.environ.get({DROP!r}) == '1':\n    os.write(2, b'what():  no\\x1b[2J\\n')\n    os.abort()")
    code, proof, stderr = prove(**{PATHS: "1", DROP: "1", LEVEL: "0", DEVICE: "cpu0"})
    assert code == 4
    message = f"{DROP}: python died while importing megengine (SIGABRT); without it, it works"
    assert error(stderr, "prove.died") == f"{message}; try without -e {DROP}"
    at = proof.index(f"ERROR {message}  prove.died")
    assert proof[at + 1 :] == [
        f"        without -e {DROP}",
        "      | native chatter",
        "      | what():  no",
        "4 asked, 0 in effect, 4 not provable, 0 wrong",
    ]
    assert not [name for name in os.listdir(world.project) if name.startswith("core")]


def test_an_interpreter_that_leaves_in_an_import_has_died(prove, megengine):
    megengine(f"if {LEVEL!r} in os.environ: os._exit(7)")
    code, _, stderr = prove(**{DROP: "1", LEVEL: "0"})
    assert code == 4
    assert error(stderr, "prove.died").startswith(f"{LEVEL}: python ended while importing megengine (exit code 7); ")


def test_an_import_error_is_reported_with_its_last_line_only(prove, megengine):
    megengine(f"if {DROP!r} in os.environ: raise ImportError('no such thing\\nbacktrace: 0x1')")
    code, proof, stderr = prove(**{PATHS: "1", DROP: "1"})
    assert code == 4
    expected = f"{DROP}: importing megengine failed: ImportError: no such thing; without it, it works"
    assert error(stderr, "prove.import") == f"{expected}; try without -e {DROP}"
    assert "backtrace" not in "\n".join(proof) + stderr


def test_a_module_that_calls_exit_fails_to_be_imported(prove, megengine):
    megengine(f"if {DROP!r} in os.environ: sys.exit('sorry')")
    assert "importing megengine failed: SystemExit: sorry" in prove(**{DROP: "1"})[2]


def test_a_hang_is_reported_with_the_variable(prove, megengine):
    megengine(f"import signal\nif os.environ.get({PATHS!r}) == '1': signal.pause()")
    code, _, stderr = prove("--prove-timeout", "4s", **{PATHS: "1", DROP: "1"})
    assert code == 4
    sentence = f"{PATHS}: python had not finished importing megengine after 4 s; without it, it works"
    assert error(stderr, "prove.hang").startswith(sentence)


def test_a_deadline_may_lie_years_ahead(prove):
    assert prove("--prove-timeout", "30000d", PYTHONUNBUFFERED="1")[0] == 0


def test_an_interpreter_that_hangs_at_its_start_and_hears_no_signal_is_ended(prove, world):
    deaf = f"import os, signal, time\nif {DROP!r} in os.environ:\n"
    deaf += "    for n in (2, 15): signal.signal(n, signal.SIG_IGN)\n    while True: time.sleep(60)"
    world.write("site/sitecustomize.py", deaf)
    code, _, stderr = prove("--prove-timeout", "3s", **{DROP: "1"})
    assert code == 4
    assert error(stderr, "prove.hang").startswith(f"{DROP}: python had not finished starting after 3 s")


def test_a_value_whose_reading_kills_is_reported(prove, megengine):
    megengine("core.get_option = lambda name: os.abort() if os.environ.get('MGE_DEFAULT_DEVICE') == 'cpu3' else 1")
    code, _, stderr = prove(**{DROP: "1", DEVICE: "cpu3"})
    assert code == 4
    assert error(stderr, "prove.died").startswith(f"{DEVICE}: python died while reading {DROP} back (SIGABRT); ")


def test_two_that_fail_only_together_are_both_named(prove, megengine):
    megengine(f"if {DROP!r} in os.environ and {LEVEL!r} in os.environ: os.abort()")
    _, _, stderr = prove(**{PATHS: "1", DROP: "1", LEVEL: "0", DEVICE: "cpu0"})
    sentence = f"{DROP} and {LEVEL} together: python died while importing megengine (SIGABRT)"
    assert error(stderr, "prove.died").startswith(f"{sentence}; without {DROP} and {LEVEL}, it works")


def test_two_that_fail_each_for_itself_are_told_each_with_its_own_failure(prove, megengine):
    megengine(f"if {DROP!r} in os.environ: os.abort()\nif {LEVEL!r} in os.environ: raise ValueError('level')")
    code, _, stderr = prove(**{PATHS: "1", DROP: "1", LEVEL: "0"})
    assert code == 4
    assert error(stderr, "prove.died").startswith(f"{DROP}: python died")
    assert error(stderr, "prove.import").startswith(f"{LEVEL}: importing megengine failed: ValueError: level")


def test_a_target_that_is_broken_itself_is_no_variables_fault(prove, megengine):
    megengine("raise ImportError('libcuda is missing')")
    code, _, stderr = prove(**{DROP: "1", LEVEL: "0"})
    assert code == 4
    told = error(stderr, "prove.import")
    assert told == (
        "importing megengine failed: ImportError: libcuda is missing; it is so with none of the variables that "
        "mgelaunch knows, too; "
        "try --python PATH"
    )


def test_a_failure_that_does_not_come_back_is_nobodys_fault(prove, megengine):
    megengine("if not os.path.exists('once'):\n    open('once', 'w').close()\n    os.abort()")
    _, _, stderr = prove(**{DROP: "1"})
    assert "which variable is to blame was not found out" in error(stderr, "prove.died")


def test_a_folder_of_modules_is_blamed_when_it_is_to_blame(prove, world):
    world.write("evil/sitecustomize.py", "import os\nos.abort()")
    _, _, stderr = prove(PYTHONUNBUFFERED="1", PYTHONPATH="evil")
    told = error(stderr, "prove.died")
    assert told.startswith("PYTHONPATH: python died while starting (SIGABRT); without it, it works")


def test_no_folder_of_modules_is_blamed_because_the_framework_is_gone_without_it(prove, megengine):
    megengine("if 'LD_LIBRARY_PATH' in os.environ: os.abort()")
    _, _, stderr = prove(LD_LIBRARY_PATH="/nonexistent", **{DROP: "1"})
    assert error(stderr, "prove.died").startswith("LD_LIBRARY_PATH: python died while importing megengine")


def test_what_a_framework_says_is_shown_without_secrets(prove, world, megengine):
    secret = "hunter2secret"
    megengine(
        f"if {DROP!r} in os.environ:\n    print(os.environ['MY_TOKEN'], flush=True)\n"
        "    raise ValueError('bad ' + os.environ['MY_TOKEN'] + os.environ['SERIAL'])"
    )
    world.write(".mgelaunch/p.toml", f'[env]\nSERIAL = {{value = "{secret}", secret = true}}\n')
    code, proof, stderr = prove("-p", "p", MY_TOKEN=secret, **{DROP: "1"})
    assert code == 4
    assert secret not in "\n".join(proof) + stderr
    assert "ValueError: bad (secret)(secret)" in stderr


def test_a_flood_of_words_neither_blocks_nor_is_kept(prove, megengine):
    megengine("sys.stdout.write('x' * 3000000)\nsys.stdout.flush()\nos.system('yes | head -c 3000000')")
    code, proof, _ = prove(**{DROP: "1"})
    assert code == 0
    assert len("".join(proof)) < 1000


# -- what stops it -------------------------------------------------------------------------------------


def test_a_wrong_setting_starts_nothing_and_the_exit_code_is_3(prove, world, megengine):
    megengine(DUMP)
    code, proof, _ = prove(**{DROP: "1", LEVEL: "loud"})
    assert code == 3
    assert proof == ["proof   nothing was started, because `mgelaunch run` would refuse"]
    assert not (world.project / "dump.json").exists()


def test_what_only_this_host_lacks_is_no_obstacle(world, megengine):
    megengine()
    done = world.run("check", "--prove", "--strict", "-e", f"{DEVICE}=cpu0", "-e", "MGE_FASTRUN_CACHE_DIR=/proc/x")
    assert done.returncode == 4
    assert rows(done.stdout[done.stdout.index("proof ") :].splitlines())[DEVICE][0] == "ok"


def test_without_an_interpreter_that_is_said(world):
    done = world.run("check", "--prove", "-e", f"{DROP}=1", MGELAUNCH_PYTHON="/nonexistent/python")
    assert done.returncode == 4
    assert "[target.python]" in done.stderr


def test_an_interpreter_that_cannot_be_executed_is_said(world):
    path = world.write("python", "no program")
    path.chmod(0o755)
    done = world.run("check", "--prove", "-e", f"{DROP}=1", MGELAUNCH_PYTHON=str(path))
    assert done.returncode == 4
    assert "cannot be started" in error(done.stderr, "target.permission")


def test_an_environment_that_is_too_long_is_not_blamed_on_the_interpreter(prove, world, megengine):
    megengine()
    world.write("long.env", f"OURS={'x' * (1 << 18)}\n")
    code, proof, stderr = prove("--env-file", "long.env", **{DROP: "1"})
    assert (code, proof) == (4, ["proof   nothing was started, because it could not be"])
    assert "--python" not in error(stderr, "target.size")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prove", "--facts", "facts.json"], "--facts"),
        (["--prove-timeout", "5s"], "--prove-timeout belongs to --prove"),
        (["--prove", "--prove-timeout", "5"], "a duration with its unit"),
        (["--prove", "--prove-timeout", "0s"], "a duration with its unit"),
        (["--prove", "--prove-timeout", "soon"], "a duration with its unit"),
    ],
)
def test_options_that_make_no_sense_are_a_usage_error(world, options, words):
    done = world.run("check", *options)
    assert done.returncode == 2
    assert words in done.stderr


# -- what is left --------------------------------------------------------------------------------------

WAITING = """
import signal, subprocess
child = subprocess.Popen([sys.executable, "-c", "import signal; print(flush=True); signal.pause()"],
                         stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
with open("pids", "w") as file:
    print(os.getpid(), child.pid, file=file, flush=True)
"""


def gone(pids):
    """Waits until these processes have ended."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([handle], [], [], DEADLINE)[0], f"{pid} is still running"
        finally:
            os.close(handle)


@pytest.fixture
def hanging(world, start, megengine):
    """A proof that hangs, and has said so: its process, and the pids of the interpreter and of its child."""
    os.mkfifo(world.project / "ready")
    megengine(f"{WAITING}\nopen('ready', 'w').close()\nsignal.pause()")
    process = start("check", "--no-check", "--prove", "-e", f"{DROP}=1", "-f", "json")
    with open(world.project / "ready"):
        pass
    return process, [int(pid) for pid in (world.project / "pids").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(hanging, number):
    process, pids = hanging
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number
    assert stdout == b""
    assert stderr.decode() == f"mgelaunch: error: the proof was ended by {number.name} [prove.signal]\n"
    gone(pids)


def test_the_interpreter_does_not_outlive_mgelaunch(hanging):
    process, (interpreter_pid, child) = hanging
    process.kill()
    gone([interpreter_pid])
    os.kill(child, signal.SIGKILL)  # in a session of its own, it is nobody's any more
    gone([child])


def test_what_an_import_leaves_running_is_ended(prove, world, megengine):
    megengine(WAITING)
    assert prove(**{DROP: "1"})[0] == 0
    gone([int(pid) for pid in (world.project / "pids").read_text().split()])


def test_an_import_that_hangs_hears_of_its_end_before_it_is_killed(prove, world, megengine):
    """torch removes the file lock of a build only then."""
    megengine("import signal\ntry:\n    signal.pause()\nfinally:\n    open('released', 'w').close()")
    prove("--prove-timeout", "2s", **{DROP: "1"})
    assert (world.project / "released").exists()


def test_nothing_is_left_with_the_temporary_files(prove, world, megengine):
    megengine(f"os.mkdir(os.environ['TMPDIR'] + '/torchinductor_me')\nif {LEVEL!r} in os.environ: raise ValueError")
    assert prove(**{DROP: "1"})[0] == 0
    assert prove(**{LEVEL: "1"})[0] == 4
    assert os.listdir(world.environ["TMPDIR"]) == []


# -- Brevitas without an import ------------------------------------------------------------------------

CONFIG = """
import os
from torch.jit import _enabled
JIT_ENABLED = os.environ.get("BREVITAS_JIT") == "1" and _enabled
NATIVE_STE_BACKEND_ENABLED = os.environ.get("BREVITAS_NATIVE_STE_BACKEND") == "1"
VERBOSE = os.environ.get("BREVITAS_VERBOSE") == "1"
"""
READS = {
    "BREVITAS_JIT": ["brevitas", "int(bool(brevitas.config.JIT_ENABLED))"],
    "BREVITAS_NATIVE_STE_BACKEND": ["brevitas", "int(brevitas.NATIVE_STE_BACKEND_LOADED)"],
    "BREVITAS_VERBOSE": ["brevitas", "int(brevitas.config.VERBOSE)"],
    "BREVITAS_LOGGING": ["brevitas", "brevitas.config.LOGGING_LEVEL"],
}


@pytest.fixture
def brevitas(world):
    """A function that looks at a stand-in of Brevitas, and returns what is told: texts, or why there is none."""
    world.write("site/brevitas/__init__.py", "raise SystemExit('brevitas was imported')")
    world.write("site/brevitas/config.py", CONFIG)
    world.write("site/torch/__init__.py", "raise SystemExit('torch was imported')")
    world.write("site/torch/version.py", "cuda = '12.8'\nhip = None\n")
    (world.project / "bin").mkdir()

    def look(*programs, **environ):
        for name in programs:
            world.write(f"bin/{name}", "#!/bin/sh\n").chmod(0o755)
        request = json.dumps({"imports": [], "quick": True, "reads": READS})
        environ = world.environ | {"PATH": str(world.project / "bin")} | environ
        done = subprocess.run(
            [sys.executable, SOURCE, "1", request], cwd=world.project, env=environ, capture_output=True, check=True,
            timeout=DEADLINE,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()]

    return look


def values(events):
    return {
        event["read"]: event.get("text", event.get("error")) + "?" * event.get("predicted", False)
        for event in events
        if "read" in event
    }


def test_its_config_is_executed_without_torch(brevitas):
    told = values(brevitas(BREVITAS_VERBOSE="1"))
    assert told["BREVITAS_VERBOSE"] == "1"
    assert told["BREVITAS_LOGGING"].startswith("AttributeError: ")  # as before 0.12.0


def test_what_torch_could_change_is_predicted(brevitas):
    assert values(brevitas())["BREVITAS_JIT"] == "0"
    assert values(brevitas(BREVITAS_JIT="1"))["BREVITAS_JIT"] == "1?"


def test_a_config_that_fails_is_what_an_import_would_meet(brevitas, world):
    world.write("site/brevitas/config.py", "raise ValueError('invalid truth value')")
    assert brevitas()[-1] == {"failed": "brevitas", "error": "ValueError: invalid truth value"}


def test_a_config_that_needs_more_of_torch_is_not_known(brevitas, world):
    world.write("site/brevitas/config.py", "from torch.jit import newer")
    told = brevitas()
    assert not [event for event in told if "missing" in event or "imported" in event]
    assert all("--prove-full" in why for why in values(told).values())
    assert values(told).keys() == READS.keys()


def test_without_torch_it_is_not_known(brevitas, world):
    os.rename(world.project / "site/torch", world.project / "site/away")
    assert brevitas()[0] == {"missing": "brevitas", "why": "torch is not installed"}


BUILD = "autograd_ste_ops"
NATIVE = {"BREVITAS_NATIVE_STE_BACKEND": "1"}


@pytest.mark.parametrize(
    ("programs", "built", "environ", "loads"),
    [
        pytest.param((), "", {}, "0", id="no ninja"),
        pytest.param(("ninja",), "", {}, "0", id="no compiler"),
        pytest.param(("ninja", "c++"), "", {}, "1", id="it would be built"),
        pytest.param(("c++",), "c++", {}, "0", id="ninja is needed for what is built as well"),
        pytest.param(("ninja",), "c++", {}, "1", id="built, so no compiler is needed"),
        pytest.param(("ninja",), "c++", {"CXX": "g++"}, "0", id="built by another compiler"),
        pytest.param(("ninja", "g++"), "c++", {"CXX": "g++ -O1"}, "1", id="it would be built again"),
        pytest.param(("ninja", "c++"), "", {"BREVITAS_NATIVE_STE_BACKEND": "0"}, "0", id="turned off"),
        pytest.param(
            ("ninja", "c++"),
            "",
            {"BREVITAS_NATIVE_STE_BACKEND": "0", "BREVITAS_JIT": "1"},
            "1",
            id="the JIT turns it on",
        ),
    ],
)
def test_whether_its_extension_would_load_is_predicted(brevitas, world, programs, built, environ, loads):
    if built:
        world.write(f"ext/{BUILD}/{BUILD}.so", "")
        world.write(f"ext/{BUILD}/build.ninja", f"ninja_required_version = 1.3\ncxx = {built}\n")
    told = values(brevitas(*programs, **{"TORCH_EXTENSIONS_DIR": "ext"} | NATIVE | environ))
    assert told["BREVITAS_NATIVE_STE_BACKEND"] == f"{loads}?"


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"TORCH_EXTENSIONS_DIR": "ext"}, "ext"),
        ({"TORCH_EXTENSIONS_DIR": ""}, ""),
        ({"XDG_CACHE_HOME": "caches"}, "caches/torch_extensions/py{}{}_cu128"),
        ({}, "../home/.cache/torch_extensions/py{}{}_cu128"),
    ],
)
def test_a_lock_in_its_folder_would_be_waited_for(brevitas, world, environ, folder):
    world.write(os.path.join(folder.format(*sys.version_info), BUILD, "lock"), "")
    told = values(brevitas("ninja", "c++", **NATIVE, **environ))
    assert "wait for the file lock" in told["BREVITAS_NATIVE_STE_BACKEND"]
