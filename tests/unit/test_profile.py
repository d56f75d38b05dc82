"""A profile file is read whole: what it says, and every problem in it with its place."""

import pytest

from mgelaunch.environment.placeholders import PLACEHOLDERS, fill
from mgelaunch.environment.profile import read_profile
from mgelaunch.environment.profile_values import LAUNCH, seconds
from mgelaunch.finding import Finding

WHOLE = b"""\
description = "Our detector on the shared node"
extends = ["dtr", "../nccl.toml"]
[env]
MEGENGINE_DTR_EVICTION_THRESHOLD = "80%"
MGB_CUDA_RESERVE_MEMORY = { unset = true }
MEGENGINE_LOGGING_LEVEL = { default = "ERROR" }
MGE_FASTRUN_CACHE_DIR = "${XDG_CACHE_HOME:-${HOME}/.cache}/megengine"
WANDB_API_KEY = { required = "export it in your shell", secret = true }
OURS = { value = "x{y", secret = true }
[rank.env]
MGE_DEFAULT_DEVICE = "gpu{local_rank}"
[launch]
nproc-per-node = "gpu"
keep-shell = ["NCCL_DEBUG"]
grace = "1.5min"
[requires]
mgelaunch = ">=1.0"
python = ">=3.8"
packages = [
  "megengine>=1.13,<2",
  "numpy<2",
]
host-memory = "8GiB"
"""


def read(text, *, name="p", version="1.0"):
    data = text if isinstance(text, bytes) else text.encode()
    return read_profile(data, name=name, path="dir/p.toml", folder="/dir", version=version)


def codes(file):
    return [(finding.code, finding.place) for finding in file.findings]


def only_finding(text) -> Finding:
    (finding,) = read(text).findings
    assert finding.severity == "error"
    return finding


def entry(line, section="env"):
    file = read(f"[{section}]\n{line}\n")
    assert file.findings == ()
    (said,) = file.env or file.rank_env
    return said


def test_a_whole_profile_is_read_without_findings():
    file = read(WHOLE)
    assert file.findings == ()
    assert (file.name, file.path, file.folder) == ("p", "dir/p.toml", "/dir")
    assert file.description == "Our detector on the shared node"
    assert [(base.name, base.place, base.where) for base in file.extends] == [
        ("dtr", "dir/p.toml:2:12", "p:2"),
        ("../nccl.toml", "dir/p.toml:2:19", "p:2"),
    ]
    assert [said.name for said in file.env] == [
        "MEGENGINE_DTR_EVICTION_THRESHOLD",
        "MGB_CUDA_RESERVE_MEMORY",
        "MEGENGINE_LOGGING_LEVEL",
        "MGE_FASTRUN_CACHE_DIR",
        "WANDB_API_KEY",
        "OURS",
    ]
    assert [(said.name, said.text, said.where) for said in file.rank_env] == [
        ("MGE_DEFAULT_DEVICE", "gpu{local_rank}", "p:11")
    ]
    assert [(key.key, key.value, key.items) for key in file.launch] == [
        ("nproc-per-node", "gpu", ()),
        ("keep-shell", ("NCCL_DEBUG",), ("NCCL_DEBUG",)),
        ("grace", 90.0, ()),
    ]
    assert [(need.key, need.value, need.place) for need in file.requires] == [
        ("mgelaunch", ">=1.0", "dir/p.toml:17:1"),
        ("python", ">=3.8", "dir/p.toml:18:1"),
        ("packages", "megengine>=1.13,<2", "dir/p.toml:20:3"),
        ("packages", "numpy<2", "dir/p.toml:21:3"),
        ("host-memory", 8 << 30, "dir/p.toml:23:1"),
    ]


def test_an_empty_file_says_nothing():
    file = read(b"")
    assert (file.description, file.extends, file.env, file.rank_env, file.launch, file.findings) == (
        "",
        (),
        (),
        (),
        (),
        (),
    )


@pytest.mark.parametrize(
    ("line", "text", "marks"),
    [
        pytest.param('OURS = "a ${B} {c"', "a ${B} {c", "", id="text, not interpolated, braces are nothing"),
        pytest.param('OURS = ""', "", "", id="empty text is a text"),
        pytest.param("OURS = 1_000", "1000", "", id="integer as plain digits"),
        pytest.param("OURS = -1", "-1", "", id="negative integer"),
        pytest.param("OURS = 18446744073709551615", "18446744073709551615", "", id="the largest 64-bit number"),
        pytest.param("MEGENGINE_ENABLE_DROP = true", "true", "", id="true for a known variable"),
        pytest.param("MEGENGINE_ENABLE_DROP = false", "false", "", id="false for a known variable"),
        pytest.param("OURS = { value = 3 }", "3", "", id="value in a table"),
        pytest.param('OURS = { default = "x" }', "x", "soft", id="default"),
        pytest.param("MEGENGINE_ENABLE_DROP = { default = true }", "true", "soft", id="default of a known variable"),
        pytest.param("OURS = { unset = true }", None, "unset", id="unset"),
        pytest.param('OURS = { required = "do it" }', None, "do it", id="required"),
        pytest.param('OURS = { value = "x", secret = true }', "x", "secret", id="secret"),
        pytest.param('OURS.default = "x"', "x", "soft", id="dotted key"),
    ],
)
def test_a_line_of_env_says_one_thing(line, text, marks):
    said = entry(line)
    flags = (said.unset and "unset", said.soft and "soft", said.secret and "secret", said.required)
    assert said.text == text
    assert [flag for flag in flags if flag] == ([marks] if marks else [])
    assert (said.place, said.where) == ("dir/p.toml:2:1", "p:2")


@pytest.mark.parametrize("section", ["env", "rank.env"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param("OURS = true", "profile.type", id="true for a stranger"),
        pytest.param("OURS = { default = false }", "profile.type", id="false by default for a stranger"),
        pytest.param("MEGENGINE_ENABLE_DROP = 1.5", "profile.type", id="decimal number"),
        pytest.param("OURS = 1979-05-27", "profile.type", id="date"),
        pytest.param("OURS = 12:30:45", "profile.type", id="time"),
        pytest.param('OURS = ["hunter2"]', "profile.type", id="list"),
        pytest.param("OURS = 18446744073709551616", "profile.value", id="more than 64 bits"),
        pytest.param('OURS = "hunter2\\u0000"', "profile.value", id="NUL"),
        pytest.param("OURS = {}", "profile.type", id="empty table"),
        pytest.param('OURS = { value = "hunter2", default = "hunter2" }', "profile.type", id="two verbs"),
        pytest.param("OURS = { secret = true }", "profile.type", id="secret alone"),
        pytest.param('OURS = { value = "hunter2", secret = false }', "profile.type", id="secret = false"),
        pytest.param("OURS = { unset = false }", "profile.type", id="unset = false"),
        pytest.param('OURS = { required = "" }', "profile.type", id="required without a message"),
        pytest.param("OURS = { required = true }", "profile.type", id="required = true"),
        pytest.param('OURS = { value = ["hunter2"] }', "profile.type", id="list in a table"),
        pytest.param('OURS = { value = "hunter2", if-unset = true }', "profile.key", id="unknown word in a table"),
        pytest.param('"O-URS" = "hunter2"', "profile.name", id="hyphen in the name"),
        pytest.param('1A = "hunter2"', "profile.name", id="name that begins with a digit"),
        pytest.param('"ÅNGSTRÖM" = "hunter2"', "profile.name", id="letters of other alphabets"),
        pytest.param('"" = "hunter2"', "profile.name", id="no name"),
        pytest.param('unset = ["OURS"]', "profile.key", id="list of names to unset"),
    ],
)
def test_a_wrong_line_is_an_error_at_its_key_without_its_value(line, code, section):
    finding = only_finding(f"[{section}]\n\n  {line}\n")
    assert (finding.code, finding.place) == (code, "dir/p.toml:3:3")
    assert "hunter2" not in f"{finding.message} {finding.remedy}"


def test_a_variable_is_named_in_its_finding():
    assert only_finding("[env]\nOURS = []").names == ("OURS",)


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        pytest.param("[environment]", "1:2", "[env]", id="other word for env"),
        pytest.param("[envv]", "1:2", "[env]", id="slip of the pen"),
        pytest.param("extend = ['dtr']", "1:1", "extends", id="other word for extends"),
        pytest.param("a = 1", "1:1", "", id="nothing like it"),
        pytest.param("MEGENGINE_ENABLE_DROP = 1", "1:1", "[env]", id="variable before the first table"),
        pytest.param("unset = ['A']", "1:1", "NAME = { unset = true }", id="list of names to unset"),
        pytest.param("[env.rank]\nA.x = 1", "1:6", "", id="table below env"),
        pytest.param("[rank]\nA = 1", "2:1", "[rank.env]", id="variable below rank"),
        pytest.param("rank = 1", "1:1", "[rank.env]", id="rank is no table"),
        pytest.param("env = 1", "1:1", "[env]", id="env is no table"),
        pytest.param("[[env]]\nA = 1", "1:3", "[env]", id="env is a list of tables"),
        pytest.param("[launch]\nnproc_per_node = 1", "2:1", "nproc-per-node", id="underscores"),
        pytest.param("launch = []", "1:1", "[launch]", id="launch is no table"),
        pytest.param("[requires]\nhost_memory = '1GiB'", "2:1", "host-memory", id="underscores in requires"),
        pytest.param("extends = 'dtr'", "1:1", 'extends = ["dtr"]', id="extends is a text"),
        pytest.param("extends = ['dtr', 1]", "1:19", 'extends = ["dtr"]', id="number in extends"),
        pytest.param("description = 1", "1:1", "", id="description is no text"),
    ],
)
def test_a_wrong_key_is_an_error_that_says_what_was_meant(text, place, remedy):
    finding = only_finding(text)
    assert finding.code in {"profile.key", "profile.type"}
    assert (finding.place, finding.remedy) == (f"dir/p.toml:{place}", remedy)


def test_all_problems_of_a_file_come_out_in_the_order_of_its_lines():
    text = "[launch]\nnnodes = 0\n[env]\nA = 1.5\nB = true\n[rank.env]\nC = '{x}'\n[requires]\npython = 'new'\n[other]"
    assert codes(read(text)) == [
        ("profile.value", "dir/p.toml:2:1"),
        ("profile.type", "dir/p.toml:4:1"),
        ("profile.type", "dir/p.toml:5:1"),
        ("profile.placeholder", "dir/p.toml:7:1"),
        ("profile.type", "dir/p.toml:9:1"),
        ("profile.key", "dir/p.toml:10:2"),
    ]


def test_what_can_be_read_of_a_wrong_file_is_there():
    assert [said.name for said in read("[env]\nA = 'x'\nB = 1.5").env] == ["A"]


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        pytest.param(b"[env]\nA = hunter2\n", "profile.syntax", "dir/p.toml:2:5", id="no TOML"),
        pytest.param(b"[env]\nA = '\xff'\n", "file.encoding", "dir/p.toml:2:6", id="no UTF-8"),
        pytest.param(b"[env]\nA = '\x00'\n", "file.nul", "dir/p.toml:2:6", id="NUL"),
        pytest.param(b"A = " + b"[" * 5000, "profile.syntax", "dir/p.toml", id="absurd nesting"),
    ],
)
def test_a_file_that_cannot_be_parsed_has_one_error(data, code, place):
    (finding,) = read(data).findings
    assert (finding.code, finding.place) == (code, place)
    assert "hunter2" not in finding.message


def test_a_byte_order_mark_is_a_warning_and_shifts_nothing():
    file = read(b"\xef\xbb\xbf[env]\r\nA = 1\r\n")
    assert [finding.severity for finding in file.findings] == ["warning"]
    assert file.env[0].place == "dir/p.toml:2:1"


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        pytest.param(">=1.0", "1.0", True, id="this version"),
        pytest.param(">=1.0,<2", "1.4.2", True, id="a range"),
        pytest.param(">=1.0", "1.1.dev0", True, id="a development version"),
        pytest.param(">=2.0", "1.0", False, id="a newer version"),
        pytest.param("<1", "1.0", False, id="an older version"),
    ],
)
def test_requires_mgelaunch_is_judged_before_everything_else(wanted, version, fits):
    text = f"[requires]\nmgelaunch = '{wanted}'\n[new-section]\n[env]\nA = 1.5\n"
    found = codes(read(text, version=version))
    if fits:
        assert found == [("profile.key", "dir/p.toml:3:2"), ("profile.type", "dir/p.toml:5:1")]
    else:
        assert found == [("profile.version", "dir/p.toml:2:1")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mgelaunch", "'soon'"),
        ("mgelaunch", "1"),
        ("python", "''"),
        ("python", "'3.8 or newer'"),
        ("packages", "'megengine'"),
        ("packages", "['not a requirement']"),
        ("packages", "['a @ https://example.org/a.whl']"),
        ("packages", "[1]"),
        ("host-memory", "'80%'"),
        ("host-memory", "'8'"),
        ("device-memory", "8"),
        ("device-memory", "1.5"),
        ("shared-memory", "'much'"),
        ("shared-memory", "true"),
        ("shared-memory", f"0x{'f' * 4000}"),
    ],
)
def test_a_wrong_requirement_is_an_error(key, value):
    finding = only_finding(f"[requires]\n{key} = {value}")
    assert finding.code in {"profile.type", "profile.value"}
    assert finding.place == "dir/p.toml:2:1"
    assert finding.message.startswith(f"{key} is ")


@pytest.mark.parametrize(("value", "amount"), [("'8 GiB'", 8 << 30), ("'1.5g'", 3 << 29), ("1048576", 1 << 20)])
def test_a_required_size_is_read_to_bytes(value, amount):
    (need,) = read(f"[requires]\ndevice-memory = {value}").requires
    assert need.value == amount


LAUNCH_CASES = {
    "nproc-per-node": (
        {"4": 4, "'gpu'": "gpu", "'cpu'": "cpu", "'auto'": "auto"},
        ["0", "1025", "'4'", "true", "'all'", "1.0"],
    ),
    "nnodes": ({"2": 2}, ["0", "'2'", "'1:4'"]),
    "node-rank": ({"0": 0}, ["-1", "false"]),
    "master-addr": ({"'node0'": "node0"}, ["1", "''"]),
    "master-port": ({"29500": 29500, "0": 0}, ["-1", "65536", "'29500'"]),
    "max-restarts": ({"0": 0, "3": 3}, ["-1"]),
    "log-dir": ({"'logs'": "/dir/logs", "'/a/../b'": "/b", "'~/logs'": "~/logs"}, ["true"]),
    "quiet": ({"true": True}, ["1", "'yes'"]),
    "rendezvous": ({"'megengine'": "megengine"}, ["'c10d'", "1"]),
    "join-timeout": ({"'5min'": 300.0}, ["300", "'300'"]),
    "grace": ({"'10s'": 10.0, "'0s'": 0.0, "'500 ms'": 0.5}, ["10", "'10'", "'ten seconds'"]),
    "time-limit": ({"'2h'": 7200.0, "'1.5d'": 129600.0}, ["'2 weeks'", "true"]),
    "bind-cpus": ({"'cores'": "cores", "'none'": "none"}, ["true", "1", "'socket'"]),
    "cluster": ({"'slurm'": "slurm"}, ["true"]),
    "device": ({"'gpu'": "gpu"}, ["0"]),
    "gpu-ids": ({"'4-7'": "4-7"}, ["0", "[0]"]),
    "threads": ({"4": 4, "'50%'": "50%"}, ["0", "'4'"]),
    "python": ({"'../v/bin/python'": "/v/bin/python", "'python3.8'": "python3.8", "'~/v'": "~/v"}, ["3.8"]),
    "keep-shell": ({"['NCCL_*', 'A']": ("NCCL_*", "A"), "[]": ()}, ["'NCCL_DEBUG'", "[1]", "['']"]),
    "ignore": ({"['shm.size']": ("shm.size",)}, ["'shm.size'"]),
    "allow-unknown": ({"['MGE_OURS']": ("MGE_OURS",)}, ["true"]),
    "strict": ({"true": True}, ["'yes'"]),
    "guard": ({"true": True, "false": False}, ["1", "'yes'"]),
    "fix": ({"['dtr-allocator']": ("dtr-allocator",), "[]": ()}, ["'dtr-allocator'", "[1]", "true", "['dtr']"]),
}


def test_the_keys_of_launch_are_all_tried_here():
    assert LAUNCH_CASES.keys() == LAUNCH.keys()


@pytest.mark.parametrize(
    ("key", "text", "value"), [(k, t, v) for k, (good, _) in LAUNCH_CASES.items() for t, v in good.items()]
)
def test_a_launch_key_takes_values_of_its_type(key, text, value):
    file = read(f"[launch]\n{key} = {text}")
    assert file.findings == ()
    assert [(said.key, said.value, type(said.value)) for said in file.launch] == [(key, value, type(value))]
    assert (file.launch[0].place, file.launch[0].where) == ("dir/p.toml:2:1", "p:2")


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, (_, bad) in LAUNCH_CASES.items() for text in bad])
def test_a_launch_key_takes_nothing_else_and_shows_an_example(key, text):
    finding = only_finding(f"[launch]\n{key} = {text}")
    assert (finding.code, finding.place) == ("profile.value", "dir/p.toml:2:1")
    assert read(f"[launch]\n{finding.remedy}").findings == ()


@pytest.mark.parametrize("text", ["10", "s", "-1s", "1e3s", "1.s", "10 weeks", "10S", "", "1h30", "h30min", "1h-30min"])
def test_a_duration_is_a_number_with_a_unit(text):
    assert seconds(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "{rank} {local_rank} {world_size} {local_world_size} {node_rank} {run_id} {master_addr} {master_port}",
        "{{x}} {{{rank}}}",
        "${HOME}/{rank}",
        "${A:-${B-c}}-{rank}",
        "\\\\${HOME}",
        "\\${{HOME}}",
        "${unclosed {x}",
    ],
)
def test_braces_in_rank_env_are_templates(text):
    assert entry(f"A = '{text}'", "rank.env").text == text


@pytest.mark.parametrize(
    "text", ["{gpu}", "{Rank}", "{rank", "rank}", "{}", "{ rank }", "{rank:02}", "{{rank}", "\\${HOME}", "{x}${"]
)
def test_an_unknown_or_malformed_placeholder_is_an_error_at_load(text):
    finding = only_finding(f"[rank.env]\nA = '{text}'")
    assert (finding.code, finding.place) == ("profile.placeholder", "dir/p.toml:2:1")


def test_placeholders_are_filled_in_and_doubled_braces_halved():
    values = {name: f"<{name}>" for name in PLACEHOLDERS}
    assert fill("a{rank}b{{rank}}{{{node_rank}}}", values) == "a<rank>b{rank}{<node_rank>}"


def test_a_value_that_is_filled_in_is_not_read_again():
    assert fill("{run_id}{rank}", {"run_id": "{rank}", "rank": "}}"}) == "{rank}}}"


def test_a_placeholder_without_a_value_stays():
    assert fill("{rank}-{run_id}", {"rank": "0"}) == "0-{run_id}"
