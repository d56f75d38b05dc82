"""`mgelaunch kernel install`: what it writes, where, what it refuses; and such a kernel under Jupyter's own client."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = "import json, os, sys; print(json.dumps([sys.executable, dict(os.environ)]))"


@pytest.fixture
def target(world):
    """An interpreter in an environment that says it has ipykernel; its path."""
    folder = Path(world.home) / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "ipykernel-6.29.5.dist-info").mkdir()
    return str(folder / "bin" / "python")


@pytest.fixture
def install(world, target):
    """A function that installs a kernel and returns how that ended; `at` is its folder by default."""
    world.environ["MGELAUNCH_PYTHON"] = target

    def run(*options, **environ):
        return world.run("kernel", "install", *options, **environ)

    run.at = Path(world.home) / ".local/share/jupyter/kernels"
    return run


def spec(path):
    return json.loads((path / "kernel.json").read_text("utf-8"))


def started(world, path, cwd, **environ):
    """The interpreter and the environment of a script that is started as the kernel would be, elsewhere."""
    said = spec(path)
    assert said["argv"][-4:] == ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    shell = {name: text for name, text in world.environ.items() if not name.startswith("MGELAUNCH_")}
    done = subprocess.run(
        [*said["argv"][:-4], "-", "its", "arguments"],
        input=SHOW,
        cwd=cwd,
        env=shell | said.get("env", {}) | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -- what is written -----------------------------------------------------------------------------


def test_a_kernel_is_started_by_run_with_the_same_options_and_nothing_resolved(install, target):
    options = ["-p", "dtr", "-e", "MGE_DEFAULT_DEVICE=cpu0", "--unset", "GONE", "--no-env-file", "--threads", "50%"]
    options += ["--keep-shell", "MGB_*", "--allow-unknown", "MGE_OURS", "--ignore", "shm.size,dev.none", "--strict"]
    options += [
        "--device",
        "cpu0",
        "--gpu-ids",
        "none",
        "--no-check",
        "--bind-cpus",
        "none",
        "--fix",
        "cgroup2-dataloader",
    ]
    options += ["--guard"]
    assert install(*options).returncode == 0
    argv = spec(install.at / "mgelaunch-dtr")["argv"]
    at = argv.index("run")
    assert os.path.isabs(argv[0])
    assert argv[at + 1 :] == [
        *("--profile", "shipped:dtr", "--set", "MGE_DEFAULT_DEVICE=cpu0", "--unset", "GONE", "--no-env-file"),
        *("--keep-shell", "MGB_*", "--device", "cpu0", "--gpu-ids", "none", "--threads", "50%", "--python", target),
        *("--allow-unknown", "MGE_OURS", "--strict", "--ignore", "shm.size,dev.none", "--no-check"),
        *("--bind-cpus", "none", "--fix", "cgroup2-dataloader", "--guard"),
        *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
    ]


def test_it_says_where_the_kernel_is_how_it_starts_and_how_it_goes(install, target):
    done = install("-p", "quiet", "--display-name", "安静")
    folder = install.at / "mgelaunch-quiet"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"kernel  mgelaunch-quiet: {folder}/kernel.json",
        f"python  {target}, by MGELAUNCH_PYTHON",
        'start   in Jupyter, choose "安静"; or jupyter console --kernel mgelaunch-quiet',
        "remove  jupyter kernelspec remove mgelaunch-quiet",
    ]
    said = spec(folder)
    assert (said["display_name"], said["language"], said["interrupt_mode"]) == ("安静", "python", "signal")
    assert os.listdir(folder) == ["kernel.json"]


def test_a_kernel_means_the_same_wherever_it_is_started(world, install, target, tmp_path):
    """Jupyter starts kernels in the folder of the notebook, from a shell of its own."""
    world.write(".mgelaunch/base.toml", '[env]\nMGE_FASTRUN_CACHE_DIR = "cache"\n')
    world.write(".mgelaunch/ours.toml", 'extends = ["base"]\n[env]\nMEGENGINE_LOGGING_LEVEL = "ERROR"\n')
    world.write("one.env", "FROM_FILE=1\n")
    done = install("--env-file", "one.env", MGELAUNCH_PROFILE="ours,quiet")
    assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "notebooks"
    elsewhere.mkdir()
    python, environ = started(world, install.at / "mgelaunch-ours-quiet", elsewhere)
    assert python == target
    assert environ["MGE_FASTRUN_CACHE_DIR"] == str(world.project / ".mgelaunch/cache")
    assert (environ["FROM_FILE"], environ["MEGENGINE_LOGGING_LEVEL"]) == ("1", "ERROR")
    assert environ["RUNTIME_OVERRIDE_LOG_LEVEL"] == "3"


def test_a_kernel_resolves_afresh_at_each_start(world, install):
    profile = world.write(".mgelaunch/ours.toml", "[env]\nMEGENGINE_ENABLE_DROP = 0\n")
    assert install("-p", "ours").returncode == 0
    profile.write_text("[env]\nMEGENGINE_ENABLE_DROP = 1\n")
    _, environ = started(world, install.at / "mgelaunch-ours", world.home, MEGENGINE_ENABLE_DROP="0")
    assert environ["MEGENGINE_ENABLE_DROP"] == "1"


# -- where it is written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environ", "folder"),
    [
        ((), {}, "HOME/.local/share/jupyter"),
        (("--user",), {}, "HOME/.local/share/jupyter"),
        ((), {"XDG_DATA_HOME": "HOME/xdg"}, "HOME/xdg/jupyter"),
        ((), {"XDG_DATA_HOME": "HOME/xdg", "JUPYTER_DATA_DIR": "HOME/data"}, "HOME/data"),
        ((), {"XDG_DATA_HOME": "", "JUPYTER_DATA_DIR": ""}, "HOME/.local/share/jupyter"),
        (("--prefix", "HOME/prefix"), {"JUPYTER_DATA_DIR": "HOME/data"}, "HOME/prefix/share/jupyter"),
        (("--sys-prefix",), {"JUPYTER_DATA_DIR": "HOME/data"}, "HOME/env/share/jupyter"),
    ],
)
def test_a_kernel_lies_where_jupyter_looks(world, install, options, environ, folder):
    here = [word.replace("HOME", world.home) for word in options]
    done = install("--name", "MGE.x_1-2", *here, **{n: t.replace("HOME", world.home) for n, t in environ.items()})
    assert done.returncode == 0, done.stderr
    assert (Path(folder.replace("HOME", world.home)) / "kernels/mge.x_1-2/kernel.json").is_file()
    assert "jupyter kernelspec remove mge.x_1-2\n" in done.stdout


def test_a_kernel_of_the_same_name_stays_unless_it_is_to_be_replaced(install):
    assert install("-p", "quiet", "--name", "mine").returncode == 0
    before = spec(install.at / "mine")
    refused = install("-p", "debug", "--name", "mine")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "--replace" in refused.stderr
    assert "[kernel.exists]" in refused.stderr
    assert spec(install.at / "mine") == before
    assert install("-p", "debug", "--name", "mine", "--replace").returncode == 0
    assert "shipped:debug" in spec(install.at / "mine")["argv"]
    assert os.listdir(install.at / "mine") == ["kernel.json"]


def test_a_kernel_whose_folder_has_capitals_is_the_same_for_jupyter_and_so_for_us(install):
    (install.at / "Mine").mkdir(parents=True)
    (install.at / "Mine/kernel.json").write_text("{}")
    assert "[kernel.exists]" in install("-p", "debug", "--name", "mine").stderr
    assert install("-p", "debug", "--name", "mine", "--replace").returncode == 0
    assert os.listdir(install.at) == ["Mine"]
    assert "shipped:debug" in spec(install.at / "Mine")["argv"]


def test_a_folder_that_cannot_be_written_is_told(world, install):
    done = install("-p", "quiet", JUPYTER_DATA_DIR=str(world.write("file", "")))
    assert (done.returncode, done.stdout) == (4, "")
    assert "cannot be written: Not a directory" in done.stderr
    assert "[kernel.write]" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--display-name", "x\udcff"), ("-e", "OURS=\udcff"), ("--env-file", "x\udcff.env")]
)
def test_bytes_that_are_no_text_are_refused_and_leave_no_file(world, install, option, value):
    world.write("x\udcff.env", "OURS=1\n")
    done = install("--name", "mine", option, value)
    assert (done.returncode, done.stdout) == (4, "")
    assert "[kernel.write]" in done.stderr
    assert not (install.at / "mine").exists()


@pytest.mark.parametrize("name", ["a/b", "..", ".", "核", "a b", "a\n", "-a"])
def test_a_name_that_jupyter_does_not_know_is_a_usage_error(install, name):
    done = install("--name", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--name takes letters, digits and . _ - only" in done.stderr


def test_two_places_at_once_are_a_usage_error(install):
    done = install("--user", "--sys-prefix")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--prefix" in done.stderr


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assigned", "hidden"),
    [("WANDB_API_KEY=5ecret", "5ecret"), ("MGE_FASTRUN_CACHE_URL=redis://:5ecret@host:6379", "5ecret")],
)
def test_a_secret_is_not_written_into_a_file(install, assigned, hidden):
    done = install("-p", "quiet", "-e", assigned)
    assert done.returncode == 4
    assert "[kernel.secret]" in done.stderr
    assert hidden not in done.stdout + done.stderr
    assert not install.at.exists()


def test_what_a_profile_calls_a_secret_is_one(world, install):
    world.write(".mgelaunch/ours.toml", '[env]\nTEAM_PASS = { required = "export it", secret = true }\n')
    done = install("-p", "ours", "-e", "TEAM_PASS=5ecret")
    assert (done.returncode, "[kernel.secret]" in done.stderr, "5ecret" in done.stderr) == (4, True, False)


def test_what_would_mean_something_else_at_the_start_is_refused(world, install):
    done = install("-p", "quiet", "-e", "MGE_FASTRUN_CACHE_DIR=cache", "--env-file", "/dev/null", "-e", "OURS={prefix}")
    assert done.returncode == 4
    assert f"try -e MGE_FASTRUN_CACHE_DIR={world.project}/cache [kernel.elsewhere]" in done.stderr
    assert "--env-file: the env file is no file that will be there" in done.stderr
    assert "[kernel.braces]" in done.stderr
    assert install("-e", "MGE_FASTRUN_CACHE_DIR=~/cache", "-e", "PYTHONPATH=/a:/b").returncode == 0


def test_a_remedy_with_a_blank_is_quoted_for_the_shell(world, install):
    done = install("-e", "MGE_FASTRUN_CACHE_DIR=my cache")
    assert f"try -e 'MGE_FASTRUN_CACHE_DIR={world.project}/my cache' [kernel.elsewhere]" in done.stderr


def test_a_profile_that_starts_ranks_makes_no_kernel(world, install):
    world.write(".mgelaunch/ranks.toml", "[launch]\nnproc-per-node = 2\n")
    done = install("-p", "ranks")
    assert (done.returncode, "[kernel.ranks]" in done.stderr) == (4, True)


@pytest.mark.parametrize("option", [("-n", "2"), ("--facts", "f.json"), ("--log-dir", "logs")])
def test_an_option_that_means_nothing_to_a_kernel_is_none(install, option):
    assert install("-p", "quiet", *option).returncode == 2


def test_a_wrong_setting_and_a_failed_check_are_told_as_check_tells_them(install):
    wrong = install("-p", "quiet", "-e", "MEGENGINE_DTR_EVICTION_THRESHOLD=8")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "[value." in wrong.stderr
    unmet = install("-p", "nothing-of-this-name")
    assert (unmet.returncode, unmet.stdout) == (3, "")
    assert not install.at.exists()


def test_a_python_without_ipykernel_is_told_with_the_command_that_helps(install, target):
    (told,) = Path(target).parents[1].glob("lib/python3*/site-packages/ipykernel*")
    told.rmdir()
    done = install("-p", "quiet")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"{target} -m pip install ipykernel" in done.stderr
    assert "[kernel.ipykernel]" in done.stderr
    assert install("-p", "quiet", "--ignore", "kernel.ipykernel").returncode == 0


def test_a_python_that_is_not_there_is_told(install):
    done = install("-p", "quiet", "--python", "/nowhere/python")
    assert (done.returncode, done.stdout) == (4, "")
    assert "[target.python]" in done.stderr


def test_its_help_has_examples(world):
    done = world.run("kernel", "install", "--help", COLUMNS="120")
    assert done.returncode == 0
    assert "mgelaunch kernel install -p dtr" in done.stdout


# -- for real ------------------------------------------------------------------------------------

CLIENT = """
import ast, json, os, sys
from jupyter_client.manager import KernelManager

PATIENCE = 60
name, folder, pipe = sys.argv[1:]
manager = KernelManager(kernel_name=name)
manager.start_kernel(cwd=folder)
client = manager.client()
client.start_channels()
said = []

def ask():
    told = "os.getpid(), os.environ.get('MEGENGINE_INTERP_ASYNC_LEVEL'), os.environ.get('GONE'), os.getcwd(), sys.executable"
    told = f"[{told}, sorted({{'numpy', 'torch'}} & set(sys.modules))]"
    options = {"user_expressions": {"told": told}, "reply": True, "timeout": PATIENCE}
    reply = client.execute("import os, sys", **options)["content"]
    said.append(ast.literal_eval(reply["user_expressions"]["told"]["data"]["text/plain"]))

try:
    client.wait_for_ready(PATIENCE)
    ask()
    said.append(manager.provisioner.process.pid)
    # A cell that fails makes the kernel refuse those that come in the next moment, unless told otherwise.
    client.execute(f"open({pipe!r}, 'w').close(); import time; time.sleep(600)", stop_on_error=False)
    open(pipe).close()  # waits for the other side
    manager.interrupt_kernel()
    said.append(client.get_shell_msg(PATIENCE)["content"]["ename"])
    ask()
    manager.restart_kernel()
    client.wait_for_ready(PATIENCE)
    ask()
finally:
    client.stop_channels()
    manager.shutdown_kernel()
    said.append(manager.is_alive())
print(json.dumps(said))
"""


def test_a_notebook_has_the_settings_before_its_first_import_and_is_an_ordinary_kernel(world, need):
    """Executed, interrupted, restarted and shut down by Jupyter's own client; it is the process that Jupyter started."""
    need("jupyter")
    world.write(".mgelaunch/ours.toml", 'extends = ["debug"]\n[env]\nGONE = { unset = true }\n')
    notebooks = world.project / "notebooks"
    notebooks.mkdir()
    jupyter = {"JUPYTER_DATA_DIR": str(world.project / "jupyter"), "GONE": "no"}
    done = world.run("kernel", "install", "-p", "ours", "--python", sys.executable, **jupyter)
    assert done.returncode == 0, done.stderr
    os.mkfifo(pipe := world.project / "pipe")
    ran = subprocess.run(
        [sys.executable, "-c", CLIENT, "mgelaunch-ours", notebooks, pipe],
        env=world.environ | jupyter,
        cwd=world.project,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, pid, interrupted, again, restarted, is_alive = json.loads(ran.stdout.splitlines()[-1])
    assert first == [pid, "0", None, str(notebooks), sys.executable, []]
    assert (interrupted, again) == ("KeyboardInterrupt", first)
    assert restarted[0] != pid
    assert restarted[1:] == first[1:]
    assert is_alive is False
