"""A secret goes to the job and to what is evaluated, and is seen nowhere else."""

import json

import pytest

SECRET = "hunter2secret"
URL = f"redis://:{SECRET}@cache:6379"


@pytest.fixture
def world(world):
    """A project whose every layer has a secret: by its name, by its mark, in a URL, and at second hand."""
    world.write(".env", f"GITHUB_TOKEN={SECRET}\nDATABASE_URL=postgres://me:{SECRET}@db/x\nCOPY=a-${{GITHUB_TOKEN}}\n")
    world.write("more.env", f"MY_PASSWD='{SECRET}'\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
    world.write(
        ".mgelaunch/p.toml",
        f"""[env]
WANDB_API_KEY = "{SECRET}"
LICENCE = {{value = "{SECRET}", secret = true}}
SERIAL = {{default = "{SECRET}", secret = true}}
MGE_FASTRUN_CACHE_URL = "{URL}"
SECOND_HAND = "x-${{GITHUB_TOKEN}}"
IN_ENGLISH = "${{GITHUB_TOKEN:+{SECRET}}}"
[rank.env]
RANK_TOKEN = "{SECRET}-{{rank}}"
""",
    )
    world.environ |= {"SHELL_PASSWORD": SECRET, "DB_PASSPHRASE": f"{SECRET}\n", "GITHUB_TOKEN": f"old-{SECRET}"}
    return world


OPTIONS = [
    "-p",
    "p",
    "--env-file",
    "more.env",
    "--env-file",
    ".env",
    "-e",
    f"MY_CREDENTIALS={SECRET}",
    "-e",
    f"X={URL}",
]
NAMES = [
    *("GITHUB_TOKEN", "DATABASE_URL", "COPY", "MY_PASSWD", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "LICENCE"),
    *("SERIAL", "MGE_FASTRUN_CACHE_URL", "SECOND_HAND", "IN_ENGLISH", "RANK_TOKEN", "MY_CREDENTIALS", "X"),
]


def hides(done):
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_job_gets_every_secret(world):
    world.write("train.py", f"import json, os; print(json.dumps({{n: os.environ[n] for n in {NAMES}}}))")
    done = world.run("run", *OPTIONS, "train.py")
    assert done.returncode == 0
    assert [name for name, text in json.loads(done.stdout).items() if SECRET not in text] == []
    assert SECRET not in done.stderr


@pytest.mark.parametrize("form", [[], ["-f", "json"]], ids=["text", "json"])
def test_a_dry_run_shows_every_name_and_no_secret(world, form):
    done = hides(world.run("run", "--dry-run", *form, *OPTIONS, "train.py"))
    assert [name for name in NAMES if name not in done.stdout] == []


@pytest.mark.parametrize("form", [[], ["-f", "json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    "name", ["GITHUB_TOKEN", "COPY", "LICENCE", "SERIAL", "MGE_FASTRUN_CACHE_URL", "SHELL_PASSWORD"]
)
def test_explain_shows_where_a_secret_comes_from_and_not_what_it_is(world, name, form):
    done = hides(world.run("explain", name, *form, *OPTIONS))
    assert done.returncode == 0
    assert name in done.stdout


@pytest.mark.parametrize("form", [[], ["-f", "json"]], ids=["text", "json"])
def test_profiles_show_shows_no_secret_variable(world, form):
    text = (world.project / ".mgelaunch/p.toml").read_text()
    world.write(".mgelaunch/p.toml", text.replace(f":+{SECRET}", ":+x"))
    done = hides(world.run("profiles", "show", "p", *form))
    assert "WANDB_API_KEY" in done.stdout


@pytest.mark.parametrize("form", ["sh", "fish", "json"])
def test_env_is_the_product_and_holds_them(world, form):
    done = world.run("env", "-f", form, *OPTIONS)
    assert done.returncode == 0
    assert SECRET not in done.stderr
    assert done.stdout.count(SECRET) >= len(NAMES)


def test_env_json_that_cannot_be_used_still_holds_what_it_is_asked_for_and_stderr_does_not(world):
    done = world.run("env", "-f", "json", *OPTIONS, "-e", f"MGE_DEFAULT_DEVICE={SECRET}")
    assert done.returncode == 3
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["run", "true"], f"{URL} "),
        (["run", "--dry-run"], f"\t{URL}"),
        (["explain", "MGE_FASTRUN_CACHE_URL"], f"{URL}\n"),
        (["env"], f" {URL}"),
    ],
    ids=["run", "dry-run", "explain", "env"],
)
def test_the_note_about_a_value_of_the_shell_shows_no_password(world, command, text):
    assert SECRET not in world.run(*command, "--no-env-file", MGE_FASTRUN_CACHE_URL=text).stderr


@pytest.mark.parametrize("said", ["required = 'export it'", "default = 'none'"])
@pytest.mark.parametrize("command", [["run", "--dry-run"], ["run", "--dry-run", "-f", "json"], ["explain", "DSN"]])
def test_what_a_profile_marks_secret_stays_secret_when_another_variable_refers_to_it(world, command, said):
    world.write(".mgelaunch/base.toml", f"[env]\nLINK = {{{said}, secret = true}}\n")
    world.write(".mgelaunch/q.toml", "extends = ['base']\n[env]\nDSN = 'dsn:${LINK}'\n")
    done = hides(world.run(*command, "-p", "q", LINK=SECRET))
    assert "(secret)" in done.stdout


@pytest.mark.parametrize(
    "url",
    [f"https://me:{SECRET}@host/x", f"mongodb+srv://me:a@{SECRET}@host/", f"redis://:{SECRET}@h redis://u:{SECRET}@h"],
    ids=["plain", "an @ in the password", "two"],
)
def test_passwords_in_urls_are_hidden_in_any_variable(world, url):
    hides(world.run("run", "--dry-run", "--no-env-file", "-e", f"MIRROR={url}"))


@pytest.mark.parametrize("form", [[], ["-f", "json"]], ids=["text", "json"])
def test_passwords_in_urls_are_hidden_in_the_command_line_that_a_dry_run_shows(world, form):
    world.write("train.py", "")
    done = hides(world.run("run", "--dry-run", *form, "train.py", "--store", URL, f"--mirror={URL}"))
    assert "(secret)" in done.stdout


def test_a_word_that_only_looks_secret_is_shown(world):
    done = world.run("run", "--dry-run", "--no-env-file", "-e", "TOKENIZERS_PARALLELISM=false", "-e", "MONKEYS=12")
    assert "12" in done.stdout
    assert "(secret)" not in "".join(line for line in done.stdout.splitlines(True) if "TOKENIZERS" in line)


@pytest.mark.parametrize(
    "args",
    [
        ["env", "-f", SECRET],
        ["vars", "--lang", SECRET],
        ["vars", SECRET],
        ["explain", "MGE_DEFAULT_DEVICE", "-e", SECRET],
        ["explain", "GITHUB_TOKEN", SECRET],
        [f"GITHUB_TOKEN={SECRET}", "run", "train.py"],
        [f"--token={SECRET}"],
    ],
    ids=["env format", "vars language", "vars word", "--set", "a word too much", "before run", "an option before run"],
)
def test_a_usage_error_repeats_no_value(world, args):
    done = hides(world.run(*args))
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
