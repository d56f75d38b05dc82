"""Bad input of every kind: one clear line each, with its place; nothing is started, nothing lost, no secret shown."""

import json
import os
import re
from dataclasses import dataclass, field, replace

import pytest

SECRET = "hunter2secret"
"""Stands in every file and value below that is wrong, and must never be seen."""

USAGE, SETTING, TARGET_WRONG, REFUSED = 2, 3, 4, 125


@dataclass(frozen=True, eq=False)
class Case:
    """What is wrong, and what is said of it: ``place: ... [code]``. `run` and `show` are the exit codes of ``run``
    and of the commands that only show. A file whose text is None is a directory, one with ``->`` a link."""

    options: tuple
    place: str
    code: str
    files: dict = field(default_factory=dict)
    environ: dict = field(default_factory=dict)
    target: str = "train.py"
    run: int = REFUSED
    show: int = SETTING
    of_run: bool = False
    """Whether only ``run`` has the option that is wrong."""


def env_file(content, place, code):
    return Case(("--env-file", "bad.env"), f"bad.env{place}", code, {"bad.env": content})


def found_file(content, place, code):
    return Case((), f".env{place}", code, {".env": content})


def profile(content, place, code, **more):
    return Case(("-p", "bad"), f".mgelaunch/bad.toml{place}", code, {".mgelaunch/bad.toml": content}, **more)


def said(*options, place="--set", code="", **more):
    return Case(options, place, code, **more)


def target(name, code, run, show=TARGET_WRONG, files=(), place=""):
    return Case((), place, code, dict(files), target=name, run=run, show=show)


GBK = f"# 密钥\nMY_TOKEN={SECRET}密\n".encode("gbk")
UTF_16 = f"MY_TOKEN={SECRET}\n".encode("utf-16")
BINARY = b"\x7fELF\x02\x01\x01\x00" + SECRET.encode() + bytes(range(32))
DEEP = {f".mgelaunch/p{n}.toml": f"extends = ['p{n + 1}']\n" for n in range(1, 11)} | {".mgelaunch/p11.toml": ""}

CASES = {
    # -- files as a whole: --env-file, the project's .env, profiles
    "env file missing": Case(("--env-file", "nope.env"), "nope.env", "file.missing"),
    "env file is a directory": env_file(None, "", "file.unreadable"),
    "env file is a dangling link": env_file(f"->{SECRET}", "", "file.missing"),
    "env file binary": env_file(BINARY, ":1:8", "file.nul"),
    "env file GBK": env_file(GBK, ":1:3", "file.encoding"),
    "env file UTF-16": env_file(UTF_16, ":1:1", "file.encoding"),
    "found .env is a dangling link": found_file(f"->{SECRET}", "", "file.missing"),
    "found .env GBK": found_file(GBK, ":1:3", "file.encoding"),
    "profile is a directory": profile(None, "", "file.unreadable"),
    "profile is a dangling link": profile(f"->{SECRET}", "", "file.unreadable"),
    "profile binary": profile(BINARY, ":1:8", "file.nul"),
    "profile GBK": profile(GBK, ":1:3", "file.encoding"),
    "profile UTF-16": profile(UTF_16, ":1:1", "file.encoding"),
    # -- lines of a .env file
    "line without =": env_file(f"A=1\n{SECRET}\n", ":2:1", "envfile.syntax"),
    "quote not closed": env_file(f'A=1\n\nMY_TOKEN="{SECRET}\n', ":3:10", "envfile.quote"),
    "text behind the quote": env_file(f"MY_TOKEN='a'{SECRET}\n", ":1:13", "envfile.trailing"),
    "command substitution": env_file(f"MY_TOKEN=$(echo {SECRET})\n", ":1:10", "envfile.command"),
    "merge conflict": env_file(f"<<<<<<< {SECRET}\nA=1\n", ":1:1", "envfile.conflict"),
    "name with a dash in a file": env_file(f"MY-TOKEN={SECRET}\n", ":1:3", "envfile.name"),
    "reference to nothing": env_file(f"A={SECRET}${{NOPE}}\n", ":1:3", "reference.unset"),
    "reference that is required": env_file(f"MY_TOKEN=${{MY_SECRET:?{SECRET}}}\n", ":1:10", "reference.required"),
    "reference not closed": env_file(f"A=${{HOME{SECRET}\n", ":1:3", "reference.malformed"),
    "value of no device in a file": env_file(f"MGE_DEFAULT_DEVICE={SECRET}\n", ":1:20", "value.device"),
    "value without unit in a file": env_file("MEGENGINE_DTR_EVICTION_THRESHOLD=8\n", ":1:34", "value.unit"),
    "password in a wrong URL": env_file(f"MGE_FASTRUN_CACHE_URL=http://u:{SECRET}@host/\n", ":1:23", "value.url"),
    "near miss of a name in a file": env_file("MEGENGINE_LOGGING_LEVL=INFO\n", ":1:24", "name.unknown"),
    "value of the found .env": found_file(f"A=1\nMGE_DEFAULT_DEVICE={SECRET}\n", ":2:20", "value.device"),
    # -- profiles
    "profile unknown": said("-p", "nope", place="--profile", code="profile.unknown"),
    "profile path unknown": said("-p", "./nope.toml", place="--profile", code="profile.unknown"),
    "MGELAUNCH_PROFILE unknown": said(
        place="MGELAUNCH_PROFILE", code="profile.unknown", environ={"MGELAUNCH_PROFILE": "nope"}
    ),
    "profile extends itself": profile("extends = ['bad']\n", ":1:12", "profile.cycle"),
    "profiles extend each other": Case(
        ("-p", "one"),
        ".mgelaunch/two.toml:2:12",
        "profile.cycle",
        {".mgelaunch/one.toml": "extends = ['two']\n", ".mgelaunch/two.toml": f"# {SECRET}\nextends = ['one']\n"},
    ),
    "profiles eleven deep": Case(("-p", "p1"), ".mgelaunch/p10.toml:1:12", "profile.depth", DEEP),
    "base unknown": profile("extends = ['nope']\n", ":1:12", "profile.unknown"),
    "not TOML": profile(f"[env]\nMY_TOKEN = {SECRET}\n", ":2:12", "profile.syntax"),
    "quote of TOML not closed": profile(f"[env]\nMY_TOKEN = '{SECRET}\n", ":2:", "profile.syntax"),
    "key twice": profile(f"[env]\nA = 1\nA = '{SECRET}'\n", ":3:", "profile.syntax"),
    "wrong type, a list": profile(f"[env]\nMY_TOKEN = ['{SECRET}']\n", ":2:1", "profile.type"),
    "unknown key": profile(f"enviroment = '{SECRET}'\n", ":1:1", "profile.key"),
    "unknown key in launch": profile(f"[launch]\nthreds = '{SECRET}'\n", ":2:1", "profile.key"),
    "wrong value in launch": profile(f"[launch]\nthreads = '{SECRET}'\n", ":2:1", "profile.value"),
    "unknown placeholder": profile(f"[rank.env]\nMY_TOKEN = '{SECRET}{{gpu}}'\n", ":2:1", "profile.placeholder"),
    "NUL in a value": profile(f'[env]\nMY_TOKEN = "{SECRET}\\u0000"\n', ":2:1", "profile.value"),
    "name in a profile": profile(f"[env]\n'1TOKEN' = '{SECRET}'\n", ":2:1", "profile.name"),
    "required secret absent": profile(
        f"[env]\nOTHER_KEY = '{SECRET}'\nMY_TOKEN = {{required = 'log in first', secret = true}}\n",
        ":3:1",
        "profile.required",
    ),
    "value in a profile": profile(f"[env]\nMGE_DEFAULT_DEVICE = '{SECRET}'\n", ":2:1", "value.device"),
    "near miss of a name in a profile": profile("[env]\nMEGENGINE_LOGGING_LEVL = 'INFO'\n", ":2:1", "name.unknown"),
    "profile for another version": profile(
        f"[env]\nMY_TOKEN = '{SECRET}'\n[requires]\nmgelaunch = '>=99'\n", ":4:1", "profile.version"
    ),
    "requirement that is none": profile(f"[requires]\npython = '{SECRET}'\n", ":2:1", "profile.type"),
    "requirement that is not met": profile(
        "[requires]\npackages = ['no-such-package']\n", ":2:13", "requires.package", show=4
    ),
    # -- values of the command line and of the shell
    "value of --set": said("-e", f"MGE_DEFAULT_DEVICE={SECRET}", code="value.device"),
    "value of --gpu-ids": said("--gpu-ids", SECRET, place="--gpu-ids", code="value.devices"),
    "near miss in --set": said("-e", "MEGENGINE_LOGGING_LEVL=INFO", code="name.unknown"),
    "value of the shell": said(place="shell", code="value.device", environ={"MGE_DEFAULT_DEVICE": SECRET}),
    # -- the command line itself
    "--set without =": said("-e", SECRET, place="", code="usage", run=USAGE, show=USAGE),
    "--set without a name": said("-e", f"={SECRET}", place="", code="usage", run=USAGE, show=USAGE),
    "name in --set": said("-e", f"MY-TOKEN={SECRET}", place="", code="usage", run=USAGE, show=USAGE),
    "one name in --set and --unset": said(
        "-e", f"MY_TOKEN={SECRET}", "--unset", "MY_TOKEN", place="", code="usage", run=USAGE, show=USAGE
    ),
    "mistyped option": said(f"--proflie={SECRET}", place="", code="usage", run=USAGE, show=USAGE),
    "value of --format": said("--dry-run", "-f", SECRET, place="", code="usage", run=USAGE, show=USAGE, of_run=True),
    # -- the target
    "script missing": target("nope.py", "target.missing", 127),
    "script is a directory": target("folder", "target.directory", 126, files={"folder": None}),
    "script is a dangling link": target("link.py", "target.missing", 127, files={"link.py": "->nowhere"}),
    "command not on PATH": target("no-such-command", "target.missing", 127),
    "command is a path to nothing": target("./no-such-command", "target.missing", 127),
    "command is not executable": target("./plain", "target.permission", 126, files={"plain": "#!/bin/sh\n> marker\n"}),
    "shebang's interpreter missing": target(
        "./lost", "target.missing", 127, files={"lost": f"#!/nonexistent/{SECRET}\n", "lost+x": "+x"}
    ),
    "no shebang": target("./text", "target.format", 126, files={"text": f"> marker {SECRET}\n", "text+x": "+x"}),
    "interpreter missing": Case(
        ("--python", "/nonexistent/python"), "/nonexistent/python", "target.python", run=127, show=4
    ),
    "interpreter not executable": Case(
        ("--python", "plain"), "", "target.permission", {"plain": SECRET}, run=126, show=4
    ),
}


def prepare(world, case):
    """Writes the files of `case`, and a script that leaves a marker if it is started."""
    world.write("train.py", "open('marker', 'w').close()\n")
    for name, content in case.files.items():
        path = world.project / name
        if content is None:
            path.mkdir(parents=True)
        elif content == "+x":
            path.with_name(name.removesuffix("+x")).chmod(0o755)
        elif isinstance(content, str) and content.startswith("->"):
            path.symlink_to(content.removeprefix("->"))
        else:
            world.write(name, content)


def holdings(folder):
    """Every name below `folder` with what lies there, and since when."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        found[str(path)] = (path.lstat().st_mode, path.lstat().st_mtime_ns, content)
    return found


@dataclass(frozen=True)
class Answer:
    """How a command ended: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


ALWAYS = {
    "run": (["run"], ["--lr", "1"]),
    "dry-run json": (["run", "--dry-run", "-f", "json"], []),
}
ONCE_A_CODE = {"env": (["env", "-f", "sh"], [])}
ONCE_AN_AREA = {"dry-run": (["run", "--dry-run"], []), "explain": (["explain", "MY_TOKEN"], None)}
"""These show the findings that the others show: one case of each code, or of each code's first word, is enough."""

_EARLIEST_LAST = [case for case in reversed(CASES.values()) if not case.of_run]
CODES = tuple({case.code: case for case in _EARLIEST_LAST}.values())
AREAS = tuple({case.code.partition(".")[0]: case for case in _EARLIEST_LAST}.values())


@dataclass(frozen=True)
class Told:
    """What all commands say of one case, and whether the project is as it was."""

    answers: dict
    unchanged: bool


@pytest.fixture(scope="module")
def told_before():
    return {}


@pytest.fixture
def told(case, world, start, told_before):
    """The commands are started together, once for all tests of a case: they only read."""
    if case not in told_before:
        prepare(world, case)
        before = holdings(world.project)
        environ = world.environ | case.environ
        commands = ALWAYS | (ONCE_A_CODE if case in CODES else {}) | (ONCE_AN_AREA if case in AREAS else {})
        children = {
            name: start(*first, *case.options, *([] if last is None else [case.target, *last]), env=environ)
            for name, (first, last) in commands.items()
        }
        answers = {}
        for name, child in children.items():
            stdout, stderr = child.communicate(timeout=60)
            answers[name] = Answer(child.returncode, stdout.decode(), stderr.decode())
        told_before[case] = Told(answers, holdings(world.project) == before)
    return told_before[case]


def errors(case, answer):
    """The lines of stderr, of which exactly one must be the error that `case` expects."""
    shape = rf"mgelaunch: error: .*{re.escape(case.place)}.*\S \[{re.escape(case.code)}\]"
    lines = answer.stderr.splitlines()
    assert len([line for line in lines if re.fullmatch(shape, line)]) == 1, lines
    return lines


def each(cases=None, **only):
    chosen = {
        name: case
        for name, case in CASES.items()
        if case in (cases or CASES.values()) and all(getattr(case, key) in values for key, values in only.items())
    }
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen)


@each()
def test_run_tells_it_in_one_line_and_starts_nothing(case, told):
    answer = told.answers["run"]
    assert (answer.returncode, answer.stdout) == (case.run, "")
    lines = errors(case, answer)
    if case.run != USAGE:
        assert lines.pop() == f"mgelaunch: nothing was started (exit code {case.run}, {case.code})"
    assert len(lines) == 1


@each()
def test_nothing_is_lost_and_nothing_made(told):
    """Not by any of the commands; a script that was started would have made a marker."""
    assert told.unchanged


@each(AREAS)
def test_a_dry_run_ends_with_a_code_of_its_own(case, told):
    answer = told.answers["dry-run"]
    assert answer.returncode == case.show
    errors(case, answer)
    assert answer.stdout.endswith("nothing was started\n") == (case.show != USAGE)


@each(show=(SETTING, TARGET_WRONG))
def test_a_dry_run_in_json_shows_the_whole_document_and_the_error_in_it(case, told):
    answer = told.answers["dry-run json"]
    assert answer.returncode == case.show
    errors(case, answer)
    shown = json.loads(answer.stdout)
    assert list(shown) == ["version", "target", "processes", "settings", "findings"]
    assert case.code in [finding["code"] for finding in shown["findings"] if finding["severity"] == "error"]


@each(CODES)
def test_env_prints_nothing_that_could_be_evaluated(case, told):
    answer = told.answers["env"]
    assert (answer.returncode, answer.stdout) == (case.show, "")
    errors(case, answer)


@each()
def test_no_command_shows_the_secret_or_a_traceback(told):
    for name, answer in told.answers.items():
        assert SECRET not in answer.stdout + answer.stderr, name
        assert "Traceback" not in answer.stderr, name


@each(CODES, options=(("-p", "bad"), ("-p", "one"), ("-p", "p1")))
def test_profiles_show_survives_it_and_shows_no_secret_variable(world, case):
    prepare(world, case)
    done = world.run("profiles", "show", case.options[1])
    assert done.returncode in {0, SETTING}
    assert "Traceback" not in done.stderr
    assert not re.search(rf"TOKEN.*{SECRET}", done.stdout + done.stderr)


def test_profiles_list_shows_every_profile_however_bad_it_is(world):
    bad = {name: case for name, case in CASES.items() if case.options == ("-p", "bad")}
    names = {name: re.sub(r"\W+", "-", name) for name in bad}
    for name, case in bad.items():
        renamed = {file.replace("bad", names[name]): text for file, text in case.files.items()}
        prepare(world, replace(case, files=renamed))
    done = world.run("profiles", "list", "-f", "json")
    assert (done.returncode, SECRET in done.stdout) == (0, False)
    listed = {profile["name"] for profile in json.loads(done.stdout)["profiles"]}
    assert set(names.values()) <= listed


@pytest.mark.parametrize("code", ["file.encoding", "envfile.quote", "profile.type", "value.device"])
def test_a_wrong_setting_cannot_be_ignored(world, code):
    case = next(case for case in CASES.values() if case.code == code)
    prepare(world, case)
    done = world.run("run", "--no-check", "--ignore", code, *case.options, case.target, **case.environ)
    assert done.returncode == case.run


@pytest.mark.parametrize("file", [".env", "bad.env", ".mgelaunch/bad.toml", "train.py"])
@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_a_file_that_may_not_be_read_is_an_error(world, file):
    world.write("train.py", "open('marker', 'w')")
    world.write(file, f"A={SECRET}").chmod(0)
    options = {"bad.env": ["--env-file", "bad.env"], ".mgelaunch/bad.toml": ["-p", "bad"]}.get(file, [])
    done = world.run("run", *options, "train.py")
    assert done.returncode == (126 if file == "train.py" else REFUSED)
    assert SECRET not in done.stderr
    error, last = done.stderr.splitlines()
    assert file in error
    assert "nothing was started" in last


def test_ten_profiles_are_not_too_deep(world):
    for name, content in DEEP.items():
        world.write(name, content)
    done = world.run("run", "-p", "p2", "true")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_cycle_is_shown_with_the_file_and_line_of_every_step(world):
    prepare(world, CASES["profiles extend each other"])
    done = world.run("run", "-p", "one", "train.py")
    assert "one (.mgelaunch/one.toml:1) -> two (.mgelaunch/two.toml:2) -> one" in done.stderr


def test_an_unknown_profile_is_told_with_near_names_and_the_places_looked_at(world):
    world.write(".mgelaunch/detector.toml", "")
    done = world.run("run", "-p", "detectr", "train.py", MGELAUNCH_PROFILE_PATH="/nonexistent/lab")
    for text in ("did you mean detector", f"{world.project}/.mgelaunch", "/nonexistent/lab", f"{world.home}/.config"):
        assert text in done.stderr


def test_the_problems_of_all_files_come_out_in_one_run(world):
    world.write(".env", f"A=1\n{SECRET}\nB='x\n")
    world.write(".mgelaunch/bad.toml", f"[env]\nMY_TOKEN = ['{SECRET}']\nLR = 0.1\n")
    world.write("train.py", "open('marker', 'w')")
    options = ["-p", "bad", "-e", f"MGE_DEFAULT_DEVICE={SECRET}"]
    done = world.run("run", *options, "train.py")
    *errors, last = done.stderr.splitlines()
    assert {re.sub(r"mgelaunch: error: (\S+): .* \[(\S+)\]", r"\1 \2", error) for error in errors} == {
        ".env:2:1 envfile.syntax",
        ".env:3:3 envfile.quote",
        ".mgelaunch/bad.toml:2:1 profile.type",
        ".mgelaunch/bad.toml:3:1 profile.type",
        "--set value.device",
    }
    assert len(errors) == 5
    assert (done.returncode, last.startswith("mgelaunch: nothing was started (exit code 125, ")) == (125, True)
    shown = world.run("run", "--dry-run", "-f", "json", *options, "train.py")
    assert [f["severity"] for f in json.loads(shown.stdout)["findings"]] == ["error"] * 5
    assert not (world.project / "marker").exists()


def test_a_wrong_target_does_not_hide_a_wrong_setting(world):
    world.write(".env", "A='x\n")
    done = world.run("run", "nope.py")
    assert done.returncode == REFUSED
    assert "envfile.quote" in done.stderr
    assert "target.missing" in done.stderr
    assert world.run("run", "--dry-run", "nope.py").returncode == SETTING
