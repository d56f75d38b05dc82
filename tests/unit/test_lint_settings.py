"""Profiles and .env files, which mgelaunch reads itself, and scripts that fight the profile they are started with."""

import pytest

from mgelaunch.environment.layers import Request, read_layers
from mgelaunch.environment.project import Places
from mgelaunch.environment.resolve import resolve
from mgelaunch.lint.settings import a_world

from .lint_scripts import expected, listed, outcome

ENV_FILE = """
    # what a start puts right is right
    MEGENGINE_ENABLE_DROP=true
    MGB_CUDA_RESERVE_MEMORY=0
    MGE_PLASMA_MEMORY=20%
    MGE_FASTRUN_CACHE_DIR=~/cache
    OMP_NUM_THREADS=50%
    WANDB_MODE=offline
    # what it refuses is wrong
    MEGENGINE_DTR_EVICTION_THRESHOLD=8
    MGE_DEFAULT_DEVICE=cuda:0
    MEGENGINE_LOGGING_LEVEL=
    MEGENGINE_LOGING_LEVEL=ERROR
    MGB_COMP_GRAPH_OPT=x
    export MEGENGINE_HOST_COMPUTE 1
    # what only the shell of the job knows is left alone
    MGB_JIT_WORKDIR=${SCRATCH}/jit
    MEGENGINE_ASYNC_QUEUE_SIZE=${QUEUE:-10k}
    MEGENGINE_HOST_COMPUTE=${MEGENGINE_ENABLE_DROP}
    MEGENGINE_DTR_AUTO_DROP=${WANDB_MODE}
"""

IN_ENV_FILE = [
    (9, "value.unit", "error"),
    (10, "value.device", "error"),
    (11, "value.empty", "error"),
    (12, "dead", "warning"),
    (13, "dead", "warning"),
    (14, "envfile.syntax", "error"),
    (19, "value.switch", "error"),
]

PROFILE = """
    description = "ours"
    extends = ["dtr", "nowhere"]  #> profile.unknown error
    [env]
    MEGENGINE_DTR_EVICTION_THRESHOLD = { default = "80%" }
    MEGENGINE_ENABLE_DROP = true
    MGB_CUDA_RESERVE_MEMORY = { unset = true }
    MGE_FASTRUN_CACHE_DIR = "${XDG_CACHE_HOME:-${HOME}/.cache}/megengine"
    WANDB_API_KEY = { required = "export it", secret = true }
    MGE_PLASMA_MEMORY = "8"  #> value.unit error
    MEGENGINE_DTR_EVICTEE_MINIMUM_SIZE = { default = "much" }  #> value.unit error
    MEGENGINE_LOGING_LEVEL = "ERROR"  #> dead error
    MGE_OURS_ALONE = "1"
    MGE_HOMES = "1"
    MEGENGINE_ENABLE_SWAP = "1"  #> dead warning
    MGB_JIT_BACKEND = "${X"  #> reference.malformed error
    [rank.env]
    MGE_DEFAULT_DEVICE = "gpu{local_rank}"
    MGB_JIT_WORKDIR = "/tmp/{rank"  #> profile.placeholder error
    [launch]
    device = "cuda"  #> value.device error
    threads = "50%"
    allow-unknown = ["MGE_HOMES"]
    nproc = 4  #> profile.key error
"""


def test_an_env_file(tmp_path):
    assert listed(outcome(tmp_path, {"job.env": ENV_FILE}, "job.env"))["job.env"] == IN_ENV_FILE


def test_a_profile(tmp_path):
    assert listed(outcome(tmp_path, {"ours.toml": PROFILE}, "ours.toml"))["ours.toml"] == expected(PROFILE)


def test_the_remedy_is_what_to_write_in_the_file(tmp_path):
    profile = '[env]\nMGE_DEFAULT_DEVICE = "cuda:0"\n[launch]\ndevice = "cuda:0"\n'
    files = {"job.env": "MEGENGINE_DTR_EVICTION_THRESHOLD=8\n", "ours.toml": profile}
    remedies = [finding.remedy for finding in outcome(tmp_path, files, *files).findings]
    assert remedies == ["MEGENGINE_DTR_EVICTION_THRESHOLD=8GiB", 'MGE_DEFAULT_DEVICE = "gpu0"', 'device = "gpu0"']


def test_a_file_that_is_no_text_says_so_as_a_start_does(tmp_path):
    files = {"a.env": b"A=\xff\n", "b.toml": b"[env\n", "c.env": "A=1\n".encode("utf-16")}
    result = listed(outcome(tmp_path, files, *files))
    assert result["a.env"] == [(1, "file.encoding", "error")]
    assert result["b.toml"] == [(1, "profile.syntax", "error")]
    assert result["c.env"] == [(1, "file.encoding", "error")]


def test_of_a_folder_the_env_files_and_the_profiles_of_projects_are_read(tmp_path):
    wrong, profile = "MGE_DEFAULT_DEVICE=tpu\n", '[env]\nMGE_DEFAULT_DEVICE = "tpu"\n'
    files = dict.fromkeys((".env", "job.env", ".env.local", ".env.example", "environment", "sub/.env"), wrong)
    files |= dict.fromkeys((".mgelaunch/ours.toml", "sub/.mgelaunch/b.toml", "pyproject.toml", "b.toml"), profile)
    result = listed(outcome(tmp_path, files, "."))
    assert {file for file, lines in result.items() if lines} == {
        *(".env", "job.env", ".env.local", "sub/.env", ".mgelaunch/ours.toml", "sub/.mgelaunch/b.toml")
    }


IGNORED = {
    "a.py": """
        import os, megengine
        os.environ["MEGENGINE_ENABLE_DROP"] = "true"  # mgelaunch: ignore[lint.value]  #> late error
        os.environ["MEGENGINE_ENABLE_DROP"] = "true"  # mgelaunch: ignore[lint.late, lint.value]
        os.environ["MEGENGINE_ENABLE_DROP"] = "true"  # noqa: E501 # mgelaunch:ignore
        os.environ["MEGENGINE_ENABLE_DROP"] = "1"  # mgelaunch: ignore[other]  #> late error
        os.environ.update({
            "MEGENGINE_ENABLE_DROP": "1",  # mgelaunch: ignore[lint.late]
            "MEGENGINE_DTR_AUTO_DROP": "1",  #> late error
        })
    """,
    "b.env": """
        # a\u2028line
        MGE_PLASMA_MEMORY=8 # mgelaunch: ignore[value.unit]
        MGE_DEFAULT_DEVICE=tpu  #> value.device error
    """,
    "c.toml": """
        [env]
        MGE_PLASMA_MEMORY = "8"  # mgelaunch: ignore[value.unit]
        MGE_DEFAULT_DEVICE = "tpu"  #> value.device error
    """,
}


def test_a_comment_silences_its_line(tmp_path):
    result = listed(outcome(tmp_path, IGNORED, *IGNORED))
    assert {file: result.get(file, []) for file in IGNORED} == {file: expected(text) for file, text in IGNORED.items()}


UNREADABLE = {
    "syntax": (b"import os\nos.environ['A'] = = 1\n", 2),
    "Python 2": (b"import os\nprint os.environ\n", 2),
    "bytes": (b"import os\n# \xb0\xa1\nimport megengine\n", 2),
    "NUL": (b"import os\n\0", 1),
    "an unknown encoding": (b"# coding: klingon\n", 1),
    "an encoding that raises at any text": (b"# coding: undefined\n", 1),
    "an encoding that cannot replace": (b"# coding: punycode\n# \xff\n", 2),
    "depth": (b"x = " + b"(" * 5000 + b")" * 5000, 1),
    "a long sum": (b"x = " + b"-" * 100_000 + b"1", 1),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_script_that_python_cannot_read(tmp_path, name):
    data, line = UNREADABLE[name]
    (found,) = listed(outcome(tmp_path, {"script.py": data}, "script.py"))["script.py"]
    assert found[1:] == ("syntax", "error")
    assert found[0] in {line, 1}


@pytest.mark.parametrize(
    "data",
    [
        "# coding: gbk\nimport os\nos.environ['MGB_COMP_GRAPH_OPT'] = '显存'\n".encode("gbk"),
        "\ufeffimport os\n\nos.environ['MGB_COMP_GRAPH_OPT'] = '1'\n".encode(),
        b"import os\r\n\r\nos.environ['MGB_COMP_GRAPH_OPT'] = '1'\r\n",
        "import os\ns = '''\f\x1c\u2028'''\nos.environ['MGB_COMP_GRAPH_OPT'] = '1'\n".encode(),
        b"import os\nx = '\\d'\nos.environ['MGB_COMP_GRAPH_OPT'] = '1'\n",
        b"# -*- coding: utf-8-unix -*-\nimport os\nos.environ['MGB_COMP_GRAPH_OPT'] = '1'\n",
        b"import os\n# the coding: see below\nos.environ['MGB_COMP_GRAPH_OPT'] = '1'\n",
    ],
    ids=[
        *("GBK with a cookie", "a byte order mark", "CRLF", "what is no end of a line to Python", "a bad escape"),
        *("the cookie of Emacs", "a comment that is no cookie"),
    ],
)
def test_lines_are_those_of_python(tmp_path, data, recwarn):
    assert listed(outcome(tmp_path, {"script.py": data}, "script.py"))["script.py"] == [(3, "dead", "warning")]
    assert not recwarn


def test_a_script_with_an_odd_encoding_leaves_the_findings_of_the_others(tmp_path):
    odd = {f"{name}.py": f"# coding: {name}\n# \xff\n".encode("latin-1") for name in ("undefined", "punycode", "idna")}
    result = listed(outcome(tmp_path, odd | {"script.py": "import os\nos.environ['MGB_COMP_GRAPH_OPT'] = ''\n"}))
    assert result.pop("script.py") == [(2, "dead", "warning")]
    assert result.keys() == odd.keys()
    assert {line[1:] for lines in result.values() for line in lines} == {("syntax", "error")}


def test_columns_count_characters(tmp_path):
    (finding,) = outcome(
        tmp_path, {"s.py": "import os\n显存 = 1; os.environ['MGB_COMP_GRAPH_OPT'] = ''\n"}, "s.py"
    ).findings
    assert finding.place == "s.py:2:9"


AGAINST = {
    "another device": (
        'MGE_DEFAULT_DEVICE = "gpu0"',
        """
        import megengine as mge
        from megengine.device import set_default_device
        mge.set_default_device("cpu0")  #> conflict warning
        mge.set_default_device("gpu0")
        set_default_device("cpu0")  #> conflict warning
        mge.set_default_device(f"gpu{input()}")  #> conflict info
        """,
    ),
    "the device of the option": (
        '[launch]\ndevice = "gpu0"',
        """
        import megengine
        megengine.set_default_device("cpu0")  #> conflict warning
        """,
    ),
    "one device for all ranks": (
        '[rank.env]\nMGE_DEFAULT_DEVICE = "gpu{local_rank}"',
        """
        import megengine
        megengine.set_default_device("gpu0")  #> conflict warning
        """,
    ),
    "DTR switched off": (
        "MEGENGINE_DTR_AUTO_DROP = 1\nMEGENGINE_ENABLE_DROP = 1\nMEGENGINE_RECORD_COMPUTING_PATH = 1",
        """
        import megengine as mge
        mge.dtr.enable()
        mge.dtr.disable()  #> conflict warning, conflict warning, conflict warning
        """,
    ),
    "DTR switched on": (
        "MEGENGINE_DTR_AUTO_DROP = false",
        """
        from megengine import dtr
        dtr.enable()  #> conflict warning
        dtr.disable()
        """,
    ),
    "another threshold": (
        'MEGENGINE_DTR_EVICTION_THRESHOLD = "5GB"',
        """
        import megengine as mge
        mge.dtr.eviction_threshold = "5GB"
        mge.dtr.eviction_threshold = 5 * 1024 ** 3  #> conflict info
        mge.dtr.eviction_threshold = "6GB"  #> conflict warning
        """,
    ),
    "a threshold instead of a percentage": (
        'MEGENGINE_DTR_EVICTION_THRESHOLD = "80%"',
        """
        import megengine as mge
        mge.dtr.eviction_threshold = "6GB"  #> conflict warning
        """,
    ),
    "what may be replaced": (
        'MEGENGINE_DTR_EVICTION_THRESHOLD = { default = "5GB" }',
        """
        import megengine as mge
        mge.dtr.eviction_threshold = "6GB"  #> conflict info
        """,
    ),
    "a card beyond the list": (
        'CUDA_VISIBLE_DEVICES = "4,5"',
        f"""
        import torch
        torch.cuda.set_device(1)
        torch.cuda.set_device(4)  #> conflict warning
        torch.cuda.set_device(int(input()))
        torch.cuda.set_device(0x{"f" * 5000})
        torch.cuda.set_device("{"9" * 5000}")
        """,
    ),
    "a variable set to something else": (
        'OMP_NUM_THREADS = "4"\nMGE_DEFAULT_DEVICE = "gpu0"',
        """
        import os
        os.environ["OMP_NUM_THREADS"] = "4"
        os.environ["OMP_NUM_THREADS"] = "8"  #> conflict warning
        os.environ.setdefault("OMP_NUM_THREADS", "8")
        os.environ["OMP_NUM_THREADS"] = input()  #> conflict info
        os.environ.pop("MGE_DEFAULT_DEVICE")  #> conflict warning
        import numpy
        os.environ["OMP_NUM_THREADS"] = "2"  #> late info
        """,
    ),
    "what gives way to it": (
        'OMP_NUM_THREADS = "4"',
        """
        import os
        if "OMP_NUM_THREADS" not in os.environ:
            os.environ["OMP_NUM_THREADS"] = "1"
        if not "OMP_NUM_THREADS" in os.environ:
            os.environ["OMP_NUM_THREADS"] = "1"
        if os.environ.get("OMP_NUM_THREADS") is None and input():
            os.environ["OMP_NUM_THREADS"] = "1"
        if not os.getenv("OMP_NUM_THREADS"):
            os.environ["OMP_NUM_THREADS"] = "1"
        else:
            os.environ["OMP_NUM_THREADS"] = "1"  #> conflict warning
        if "OMP_NUM_THREADS" in os.environ:
            os.environ["OMP_NUM_THREADS"] = "1"  #> conflict warning
        """,
    ),
    "what gives way in one place only": (
        'OMP_NUM_THREADS = "4"',
        """
        import os
        def put():
            os.environ["OMP_NUM_THREADS"] = "1"  #> conflict warning
        if "OMP_NUM_THREADS" not in os.environ:
            put()
        if input():
            put()
        """,
    ),
    "what the profile does not set": (
        "MEGENGINE_ENABLE_DROP = { unset = true }\nBREVITAS_JIT = 1",
        """
        import os, megengine
        megengine.dtr.enable()
        megengine.set_default_device("cpu0")
        """,
    ),
}


@pytest.mark.parametrize("name", AGAINST)
def test_what_a_script_does_against_the_profile(tmp_path, name):
    profile, script = AGAINST[name]
    head = "" if profile.startswith("[") else "[env]\n"
    (tmp_path / "ours.toml").write_text(f"{head}{profile}\n", "utf-8")
    world, places = a_world(str(tmp_path), "/home/user"), Places(str(tmp_path), None, config=tuple)
    profiles = resolve(read_layers(Request({}, places, "1.0", profiles=("./ours.toml",)), world), world)
    assert [finding for finding in profiles.findings if finding.severity == "error"] == []
    result = listed(outcome(tmp_path, {"script.py": script}, "script.py", profiles=profiles))
    assert result["script.py"] == expected(script)
