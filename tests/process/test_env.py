"""``env`` prints the environment of the job for others, so that they have the very same."""

import json
import shutil

import pytest

AWKWARD = {
    "PLAIN": "1",
    "EMPTY": "",
    "BLANKS": "  a b  ",
    "SINGLE": "it's",
    "DOUBLE": 'say "x"',
    "DOLLARS": "$HOME ${PATH} $(id) `id` $$",
    "BACKSLASHES": "a\\b\\\\c\\",
    "ROWS": "one\ntwo\n\nthree\n",
    "SIGNS": "#;&|<>*?[]~!%^(){}",
    "CHINESE": "训练 数据",
    "TAB": "a\tb",
    "DASH": "-n",
}


@pytest.fixture
def awkward(world):
    """A profile with values that shells like to change; one variable of the shell is to be removed."""
    lines = [
        f"{name} = {json.dumps(text, ensure_ascii=False)}".replace("${", "\\\\${") for name, text in AWKWARD.items()
    ]
    lines += ["OMP_NUM_THREADS = '50%'", "GONE = {unset = true}", "MGB_CUDA_RESERVE_MEMORY = {unset = true}"]
    world.write(".mgelaunch/x.toml", "[env]\n" + "\n".join(lines))
    world.environ |= {"GONE": "still here", "SINGLE": "the shell's"}
    return world


def variables(block):
    """What ``env -0`` has printed, less what shells keep for themselves."""
    entries = dict(entry.split(b"=", 1) for entry in block.split(b"\0") if entry)
    return {name: text for name, text in entries.items() if name not in {b"_", b"SHLVL", b"PWD", b"OLDPWD"}}


def evaluated(shell, bare, world, *options):
    """The environment of a command of `shell` behind ``eval``, and what was said meanwhile."""
    command = '"$@"'
    script = {"fish": "$argv | source; env -0"}.get(shell, f'eval "$({command})"; env -0')
    positional = [] if shell == "fish" else [shell]
    form = "fish" if shell == "fish" else "sh"
    return bare(shell, "-c", script, *positional, *world.command("env", "-f", form, *options))


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish"])
def test_a_shell_that_evaluates_it_has_the_environment_of_the_job(awkward, bare, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = evaluated(shell, bare, awkward, "-p", "x")
    job = bare(*awkward.command("run", "-p", "x", "env", "-0"))
    assert (done.returncode, job.returncode) == (0, 0)
    got, expected = variables(done.stdout), variables(job.stdout)
    assert {name: got.get(name) for name in expected} == expected  # some shells add LOGNAME and the like
    assert {name: got[name.encode()].decode() for name in AWKWARD} == AWKWARD
    assert b"GONE" not in got


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_evaluating_it_twice_is_silent(world, bare, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    world.write(
        ".mgelaunch/x.toml",
        """[env]
MEGENGINE_LOGGING_LEVEL = "error"
OMP_NUM_THREADS = {default = "50%"}
MGE_FASTRUN_CACHE_DIR = "~/cache"
MGB_CUDA_RESERVE_MEMORY = {unset = true}
MGB_JIT_WORKDIR = "here"
[rank.env]
MGE_DEFAULT_DEVICE = "cpu{local_rank}"
""",
    )
    world.write(".env", "TEAM=ours\n")
    done = bare(shell, "-c", 'eval "$("$@")"; eval "$("$@")"; env -0', shell, *world.command("env", "-p", "x"))
    assert (done.returncode, done.stderr) == (0, b"")
    once = bare(shell, "-c", 'eval "$("$@")"; env -0', shell, *world.command("env", "-p", "x"))
    assert variables(done.stdout) == variables(once.stdout)


def test_env_for_sh_is_nothing_but_lines_to_evaluate(awkward):
    done = awkward.run("env", "-p", "x", "-e", "ROWS=1")
    assert done.returncode == 0
    assert all(line.startswith(("export ", "unset ")) for line in done.stdout.splitlines())


def test_without_settings_it_prints_nothing(world):
    done = world.run("env")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bytes_that_are_no_utf8_survive(start):
    done = start("env", b"-e", b"A=caf\xe9", b"-e", "B=é".encode())
    assert done.communicate(timeout=30) == (b"export A='caf\xe9'\nexport B='\xc3\xa9'\n", b"")


@pytest.mark.parametrize(
    "target", [[], ["train.py", "--lr", "1"], ["-m", "pkg.train"]], ids=["none", "script", "module"]
)
def test_env_json_and_the_dry_run_say_the_same(awkward, target):
    awkward.write("train.py", "")
    env, dry = (
        awkward.run("env", "-f", "json", "-p", "x", *target),
        awkward.run("run", "--dry-run", "--format", "json", "-p", "x", *target),
    )
    assert json.loads(env.stdout) == json.loads(dry.stdout)
    environment = json.loads(env.stdout)["processes"][0]["environment"]
    assert AWKWARD.items() <= environment.items()
    assert environment["GONE"] is None


@pytest.mark.parametrize("form", ["text", "json"])
def test_two_dry_runs_are_byte_identical(awkward, start, form):
    awkward.write(".env", "B=1\nA=2\nMEGENGINE_LOGGING_LEVEL=info\n")
    awkward.write(".mgelaunch/y.toml", "extends = ['x']\n[rank.env]\nMGB_JIT_WORKDIR = '/tmp/jit-{run_id}-{rank}'\n")
    options = ["run", "--dry-run", "-f", form, "-p", "y", "-e", "Z=1", "--threads", "50%", "nope.py"]
    first, second = (start(*options).communicate(timeout=30) for _ in range(2))  # each has random hashes
    assert first == second
    assert b"{run_id}" in first[0]


# -- formats that travel -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["docker", "dotenv"])
def test_a_percentage_of_this_host_travels_only_when_it_is_meant(world, form):
    options = ["env", "-f", form, "-e", "OMP_NUM_THREADS=100%", "-e", "A=1"]
    refused = world.run(*options)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "OMP_NUM_THREADS" in refused.stderr
    assert "--bind-here" in refused.stderr
    meant = world.run(*options, "--bind-here")
    assert (meant.returncode, meant.stderr) == (0, "")
    lines = meant.stdout.splitlines()
    assert lines[0] == "A=1"
    assert lines[1].startswith("OMP_NUM_THREADS=")
    assert lines[1].partition("=")[2].isdigit()


def test_a_dotenv_file_that_it_writes_is_read_back_as_it_was(world):
    said = {"A": "plain", "B": "with blanks", "C": 'a "quote"', "D": "# no comment", "E": "训练", "F": "", "G": "a$b"}
    options = [text for name, value in said.items() for text in ("-e", f"{name}={value}")]
    written = world.run("env", "-f", "dotenv", *options)
    assert (written.returncode, written.stderr) == (0, "")
    world.write("written.env", written.stdout)
    read = world.run("env", "-f", "json", "--env-file", "written.env")
    assert (read.returncode, read.stderr) == (0, "")
    assert json.loads(read.stdout)["processes"][0]["environment"] == said


@pytest.mark.parametrize("form", ["docker", "dotenv"])
def test_what_a_file_cannot_say_is_refused_by_the_name_of_the_variable(world, form):
    done = world.run("env", "-f", form, "-e", "B=1", "-e", "A=one\ntwo")
    assert (done.returncode, done.stdout) == (3, "")
    assert "A " in done.stderr
    assert "one" not in done.stderr


@pytest.mark.parametrize("form", ["docker", "dotenv"])
def test_a_removed_variable_is_left_out_of_a_file_with_a_warning(world, form):
    done = world.run("env", "-f", form, "-e", "B=1", "--unset", "HOME")
    assert (done.returncode, done.stdout) == (0, "B=1\n")
    assert "warning: HOME is left out" in done.stderr
