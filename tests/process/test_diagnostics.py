"""The commands that only show: what they show, in which language and encoding, and how they end."""

import json
import os
import re
import subprocess

import pytest

from mgelaunch import __version__

COMMANDS = ["run", "env", "explain", "vars", "profiles list", "profiles show"]

# -- explain -------------------------------------------------------------------------------------


@pytest.fixture
def layered(world):
    """One variable that every layer speaks of."""
    world.write("a.env", "\nMEGENGINE_LOGGING_LEVEL=warning\n")
    world.write(".mgelaunch/base.toml", "# base\n\n[env]\nMEGENGINE_LOGGING_LEVEL = 'critical'\n")
    world.write(".mgelaunch/top.toml", "extends = ['base']\n[env]\nMEGENGINE_LOGGING_LEVEL = 'debug'\n")
    world.environ["MEGENGINE_LOGGING_LEVEL"] = "INFO"
    return world


NAME = "MEGENGINE_LOGGING_LEVEL"
ALL = ["--env-file", "a.env", "-p", "top", "-e", f"{NAME}=error"]


def test_explain_shows_the_winner_first_and_all_losers_with_their_places(layered):
    done = layered.run("explain", NAME, *ALL)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"{NAME} = ERROR"
    order = [
        (r"set by +--set", "error"),
        (r"beats +top:3 +\.mgelaunch/top\.toml:3:1", "debug"),
        (r"beats +base:4 +\.mgelaunch/base\.toml:4:1", "critical"),
        (r"beats +a\.env:2 +a\.env:2:25", "warning"),
        (r"beats +shell", "INFO"),
        (r"default +the framework", "INFO"),
    ]
    for line, (who, said) in zip(lines[1:], order, strict=False):
        assert re.fullmatch(rf" *{who} +{said}", line), line
    assert lines[1 + len(order)] == ""
    assert f"{NAME}  (level)" in lines


def test_explain_in_json_names_the_winner_and_the_beaten(layered):
    shown = json.loads(layered.run("explain", NAME, "-f", "json", *ALL).stdout)
    assert (shown["version"], shown["setting"]["value"], shown["setting"]["where"]) == (1, "ERROR", "--set")
    assert [loser["where"] for loser in shown["setting"]["beaten"]] == ["top:3", "base:4", "a.env:2", "shell"]
    assert shown["variable"]["name"] == NAME


def test_explain_takes_options_before_and_behind_the_name(layered):
    assert layered.run("explain", NAME, *ALL).stdout == layered.run("explain", *ALL, NAME).stdout


def test_explain_marks_a_wrong_value_and_still_shows_the_losers(layered):
    done = layered.run("explain", NAME, "-p", "top", "-e", f"{NAME}=loud")
    assert done.returncode == 3
    assert done.stdout.splitlines()[0] == f"{NAME} = (wrong)"
    assert "base:4" in done.stdout
    assert done.stderr.startswith("mgelaunch: error: --set: ")


def test_explain_of_a_removed_variable_and_of_one_that_nobody_sets(layered):
    assert layered.run("explain", NAME, "--unset", NAME).stdout.startswith(f"{NAME} is removed\n")
    assert layered.run("explain", "BREVITAS_JIT").stdout.startswith("BREVITAS_JIT is set by no layer")


def test_explain_of_a_line_that_cannot_be_read_does_not_say_that_nobody_sets_it(world):
    world.write(".env", "A=1\nBREVITAS_JIT='1\n")
    done = world.run("explain", "BREVITAS_JIT")
    assert done.returncode == 3
    assert ".env:2:" in done.stderr
    assert "set by no layer" not in done.stdout


# -- profiles ------------------------------------------------------------------------------------


def test_profiles_list_shows_what_a_profile_of_the_project_hides(world, tmp_path):
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "mine.toml").write_text("description = 'The lab. More of it.'\n")
    (lab / "theirs.toml").write_text("")
    world.write(".mgelaunch/mine.toml", "description = 'The project. More of it.'\n")
    lines = world.run("profiles", "list", MGELAUNCH_PROFILE_PATH=str(lab)).stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.split()[:1] == ["mine"])
    assert re.fullmatch(r" mine +\.mgelaunch/mine\.toml +The project", lines[at])
    assert re.fullmatch(rf" +hides {re.escape(str(lab))}/mine\.toml", lines[at + 1])
    assert any(re.match(rf" theirs +{re.escape(str(lab))}/theirs\.toml", line) for line in lines)
    shown = json.loads(world.run("profiles", "list", "-f", "json", MGELAUNCH_PROFILE_PATH=str(lab)).stdout)
    mine = next(profile for profile in shown["profiles"] if profile["name"] == "mine")
    assert (mine["from"], mine["hides"]) == ("project", [str(lab / "mine.toml")])


def test_a_profile_of_the_project_hides_a_shipped_one_and_can_extend_it(world):
    shipped = json.loads(world.run("profiles", "list", "-f", "json").stdout)["profiles"]
    name = next(profile["name"] for profile in shipped if profile["from"] == "shipped")
    world.write(f".mgelaunch/{name}.toml", f"extends = ['shipped:{name}']\n[env]\nOURS = 1\n")
    listed = json.loads(world.run("profiles", "list", "-f", "json").stdout)["profiles"]
    mine = next(profile for profile in listed if profile["name"] == name)
    assert (mine["from"], len(mine["hides"])) == ("project", 1)
    shown = json.loads(world.run("profiles", "show", name, "-f", "json").stdout)
    assert [file["path"] for file in shown["files"]] == [mine["hides"][0], f".mgelaunch/{name}.toml"]


def test_profiles_show_prints_the_bases_first_with_every_line(layered):
    done = layered.run("profiles", "show", "top")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line] == [
        "base  .mgelaunch/base.toml",
        f" {NAME}  critical  base:4",
        "top  .mgelaunch/top.toml",
        f" {NAME}  debug  top:3",
    ]


def test_profiles_show_says_what_gives_way_what_is_removed_and_what_is_required(world):
    lines = ["A = {default = '1'}", "B = {unset = true}", "C = {required = 'say it'}", "D = ''"]
    world.write(".mgelaunch/p.toml", "[env]\n" + "\n".join(lines) + "\n[rank.env]\nE = '{rank}'\n")
    rows = [line.split() for line in world.run("profiles", "show", "p").stdout.splitlines()[1:]]
    assert rows == [
        ["A", "1", "(gives", "way)", "p:2"],
        ["B", "(removed)", "p:3"],
        ["C", "(required)", "p:4"],
        ["D", '""', "p:5"],
        ["E", "{rank}", "p:7", "rank"],
    ]


def test_profiles_show_says_what_a_profile_asks_of_the_start_and_of_the_machine(world):
    world.write(
        ".mgelaunch/p.toml",
        "[launch]\ngrace = '90s'\nstrict = true\nkeep-shell = ['A', 'B']\nnproc-per-node = 2\n"
        "[requires]\npackages = ['megengine>=1.13,<2', 'numpy<2']\nhost-memory = '8GiB'\n",
    )
    assert world.run("profiles", "show", "p").stdout.splitlines()[1:] == [
        " [launch] grace           90 s                p:2",
        " [launch] strict          true                p:3",
        " [launch] keep-shell      A, B                p:4",
        " [launch] nproc-per-node  2                   p:5",
        " [requires] packages      megengine>=1.13,<2  p:7",
        " [requires] packages      numpy<2             p:7",
        " [requires] host-memory   8.0 GiB             p:8",
    ]
    (file,) = json.loads(world.run("profiles", "show", "p", "-f", "json").stdout)["files"]
    assert file["launch"][:2] == [
        {"key": "grace", "value": 90, "where": "p:2"},
        {"key": "strict", "value": True, "where": "p:3"},
    ]
    assert file["requires"][-1] == {"key": "host-memory", "value": 8 << 30, "where": "p:8"}


# -- vars ----------------------------------------------------------------------------------------


def test_vars_with_an_exact_name_describes_it(world):
    done = world.run("vars", "MGB_CUDA_RESERVE_MEMORY")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("MGB_CUDA_RESERVE_MEMORY  (")
    assert done.stdout == world.run("vars", "mgb_cuda_reserve_memory").stdout


def test_vars_with_a_word_lists_what_has_it_in_name_or_meaning(world):
    done = world.run("vars", "dtr")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert {"MEGENGINE_DTR_AUTO_DROP", "MEGENGINE_DTR_EVICTION_THRESHOLD"} <= set(names)


@pytest.mark.parametrize("language", [{"LANG": "C.UTF-8"}, {"LANG": "C"}, {"LC_ALL": "POSIX"}], ids=str)
def test_a_chinese_word_is_found_in_every_locale(world, language):
    done = world.run("vars", "显存", **language)
    assert (done.returncode, done.stderr) == (0, "")
    assert "MGB_CUDA_RESERVE_MEMORY" in done.stdout


def test_the_language_is_the_locales_or_the_one_asked_for(world):
    english = world.run("vars", "MGB_CUDA_RESERVE_MEMORY").stdout
    chinese = world.run("vars", "MGB_CUDA_RESERVE_MEMORY", "--lang", "zh").stdout
    assert english.isascii()
    assert "显存" in chinese
    by_locale = {"LANG": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}
    assert world.run("vars", "MGB_CUDA_RESERVE_MEMORY", **by_locale).stdout == chinese
    assert world.run("vars", "MGB_CUDA_RESERVE_MEMORY", "--lang", "en", **by_locale).stdout == english
    assert world.run("explain", "MGB_CUDA_RESERVE_MEMORY", "--lang", "zh").stdout.endswith(chinese)


def test_a_word_that_nothing_has_is_told_with_a_near_name(world):
    done = world.run("vars", "MEGENGINE_LOGING_LEVEL")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "did you mean MEGENGINE_LOGGING_LEVEL?" in done.stderr


# -- encodings, help, version --------------------------------------------------------------------


CHINESE = {
    "vars": ["vars", "显存", "--lang", "zh"],
    "vars by the locale": ["vars"],
    "vars json": ["vars", "显存", "-f", "json"],
    "explain": ["explain", "A", "-e", "A=中文"],
    "dry-run": ["run", "--dry-run", "-e", "A=中文"],
    "dry-run json": ["run", "--dry-run", "-f", "json", "-e", "A=中文"],
    "env": ["env", "-e", "A=中文"],
    "a missing script": ["run", "没有.py"],
    "help": ["run", "--help"],
}


@pytest.mark.parametrize(
    ("args", "encoding"),
    [*((args, "ascii") for args in CHINESE.values()), (CHINESE["vars"], "gbk"), (CHINESE["help"], "latin-1")],
    ids=[*CHINESE, "vars in GBK", "help in Latin-1"],
)
def test_no_encoding_of_stdout_ends_in_a_traceback(start, world, args, encoding):
    environ = world.environ | {"PYTHONIOENCODING": encoding, "LANG": "zh_CN.UTF-8"}
    process = start(*args, env=environ)
    stdout, stderr = process.communicate(timeout=60)
    assert b"Traceback" not in stderr
    assert process.returncode == (127 if "没有.py" in args else 0)
    if args[0] != "env":  # its output is bytes for a shell, not text for a terminal
        stdout.decode(encoding)


def test_version_is_one_line(world):
    done = world.run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mgelaunch {__version__}\n", "")


def test_without_arguments_the_help_is_shown(world):
    done = world.run()
    assert "Usage: mgelaunch" in done.stdout
    assert done.stderr == ""
    for command in ("run", "env", "explain", "vars", "profiles"):
        assert re.search(rf"^\W*{command} ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(world, command):
    done = world.run(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"^\W*(eval \"\$\()?mgelaunch {command}\b", done.stdout, re.MULTILINE)
    assert f"Usage: mgelaunch {command} " in done.stdout


def test_the_short_option_for_help_says_the_same(world):
    assert world.run("run", "-h").stdout == world.run("run", "--help").stdout


# -- a reader that has gone, a full disk, no stdout at all ---------------------------------------

SHOWS = {
    "vars": ["vars"],
    "vars of one": ["vars", "BREVITAS_JIT"],
    "dry-run": ["run", "--dry-run"],
    "env": ["env", "-e", "A=1"],
    "env json": ["env", "-f", "json"],
    "explain": ["explain", "BREVITAS_JIT"],
    "profiles list": ["profiles", "list"],
    "version": ["--version"],
    "help": ["run", "--help"],
    "help by no argument": [],
}
shows = pytest.mark.parametrize("args", SHOWS.values(), ids=SHOWS)


@pytest.mark.parametrize("args", [["vars", "-f", "json"], ["vars"], ["run", "--help"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_ends_it_quietly(start, args):
    process = start(*args, stdin=subprocess.DEVNULL)
    process.stdout.readline()
    process.stdout.close()
    process.wait(60)
    assert process.stderr.read() == b""


def quiet(stderr):
    """Neither a traceback nor what Python says when it can only fail while it ends."""
    return b"Traceback" not in stderr and b"Exception" not in stderr


full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")


@full_disk
@pytest.mark.parametrize(
    ("args", "environ"),
    [
        *((args, {}) for args in SHOWS.values()),
        *((SHOWS[name], {"PYTHONUNBUFFERED": "1"}) for name in ("vars of one", "env", "version")),
    ],
    ids=[*SHOWS, "vars of one, unbuffered", "env, unbuffered", "version, unbuffered"],
)
def test_a_full_disk_is_no_success_and_no_traceback(start, world, args, environ):
    with open("/dev/full", "wb") as full:
        process = start(*args, stdout=full, env=world.environ | environ)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode > 0
    assert quiet(stderr), stderr


@shows
def test_without_a_stdout_there_is_no_traceback(start, args):
    process = start(*args, wrapper=["sh", "-c", 'exec "$@" >&-', "sh"])
    _, stderr = process.communicate(timeout=60)
    assert process.returncode >= 0
    assert quiet(stderr), stderr


NO_STDERR = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
FULL_STDERR = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"]
unheard = pytest.mark.parametrize(
    "wrapper", [NO_STDERR, pytest.param(FULL_STDERR, marks=full_disk)], ids=["closed", "full disk"]
)


@unheard
def test_an_error_that_nobody_can_read_still_has_its_code(start, wrapper):
    process = start("run", "nope.py", wrapper=wrapper)
    assert (process.communicate(timeout=60)[0], process.returncode) == (b"", 127)


@unheard
def test_a_warning_that_nobody_can_read_does_not_stop_a_start(world, start, wrapper):
    world.write("train.py", "raise SystemExit(3)")
    process = start("run", "-e", "MEGENGINE_DTR_AUTO_DROP=1", "train.py", wrapper=wrapper)
    assert (process.communicate(timeout=60)[0], process.returncode) == (b"", 3)
