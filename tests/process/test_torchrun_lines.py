"""A torchrun line of one machine works when its first word becomes ``mgelaunch run``, or is refused by name."""

import json
import re
import shlex

import pytest

SHOW = "import json, os, sys\nprint(json.dumps([*map(os.environ.get, ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')), sys.argv[1:]]))\n"
SHELL = '#!/bin/sh\nprintf \'["%s", "%s", "%s", ["%s", "%s"]]\\n\' $RANK $LOCAL_RANK $WORLD_SIZE "$1" "$2"\n'


@pytest.fixture
def project(world):
    world.write("train.py", SHOW)
    world.write("pkg/__init__.py", "")
    world.write("pkg/train.py", SHOW)
    world.write("train.sh", SHELL).chmod(0o755)
    return world


WORKS = [
    ("--standalone --nproc_per_node=4 train.py", 4),
    ("--standalone train.py --epochs 3", 1),
    ("--standalone --nnodes=1 --nproc-per-node=2 train.py", 2),
    ("--nproc-per-node 2 train.py", 2),
    ("--nproc_per_node 2 train.py --r=16 --help -n 3 --nproc_per_node 9", 2),
    ("--nproc_per_node=2 train.py -- -m x --local-rank=0 ''", 2),
    ("--nnodes=1 --nproc_per_node=2 train.py --lr 1e-3", 2),
    ("--nnodes 1:1 --nproc_per_node 2 train.py", 2),
    ("--nproc_per_node=2 --nnodes=1 --node_rank=0 train.py", 2),
    ("--nproc_per_node=2 --node-rank 0 --master-addr localhost train.py", 2),
    ("--nproc_per_node=2 --master_addr=127.0.0.1 --master_port={port} train.py", 2),
    ("--nproc_per_node=2 -m pkg.train --batch-size 64", 2),
    ("--nproc_per_node=2 --no-python ./train.sh a 'b c'", 2),
    ("--nproc_per_node=2 --no_python ./train.sh a 'b c'", 2),
    ("--nproc_per_node=2 --no_python {python} train.py a", 2),
    ("--nproc_per_node=2 --max-restarts 3 train.py", 2),
    ("--nproc_per_node=2 --max_restarts=3 --monitor_interval=5 train.py", 2),
    ("--nproc_per_node=1 --monitor-interval 0.5 train.py", 1),
    ("--nproc_per_node=2 --log-dir logs train.py", 2),
]
"""What follows the word torchrun, and how many ranks that starts."""


@pytest.mark.parametrize(("line", "ranks"), WORKS, ids=[line for line, _ in WORKS])
def test_a_line_of_one_machine_works(project, line, ranks, free_port):
    words = shlex.split(line.format(port=free_port, python=project.environ["MGELAUNCH_PYTHON"]))
    done = project.run("run", *words)
    assert (done.returncode, re.sub("mgelaunch: logs and records are in .*\n", "", done.stderr)) == (0, "")
    shown = sorted(json.loads(re.sub(r"^\[[0-9]+\] ", "", row)) for row in done.stdout.splitlines())
    targets = [word for word in words if re.search(r"train(\.py|\.sh)?$", word)]
    arguments = words[words.index(targets[0]) + 1 :]
    assert shown == [[str(rank), str(rank), str(ranks), arguments] for rank in range(ranks)]


@pytest.mark.parametrize("word", ["cpu", "auto"])
def test_words_for_the_number_of_ranks_count_what_is_here(project, word):
    done = project.run("run", f"--nproc_per_node={word}", "sh", "-c", 'echo "$WORLD_SIZE"')
    rows = done.stdout.splitlines()
    assert (done.returncode, len(rows)) == (0, int(rows[0].split()[-1]))


@pytest.fixture
def free_port():
    """A port that nobody listens to."""
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


REFUSED = [
    "--nnodes=2",
    "--nnodes 1:4",
    "--node_rank=1",
    "--rdzv-backend c10d",
    "--rdzv_backend=c10d",
    "--rdzv_endpoint=localhost:0",
    "--rdzv-id 100",
    "--rdzv_conf=timeout=900",
    "-r 3",
    "-r3",
    "--redirects=0:1,1:2",
    "-t 3",
    "--tee 3",
    "--role trainer",
    "--run-path",
    "--start_method=spawn",
    "--local-ranks-filter 0",
    "--virtual-local-rank",
    "--numa-binding=node",
    "--shutdown_timeout 60",
    "--signals-to-handle=SIGTERM,SIGUSR1",
    "--event_log_handler=null",
    "--logs-specs default",
    "--local_addr=10.0.0.1",
    "--duplicate-stdout-filters apple,orange",
    "--duplicate_stderr_filters=apple",
    "--nproc 2",
    "--nproc_per_node=xpu",
]
"""Options of torchrun, each given between others of it; what is refused must be named."""


@pytest.mark.parametrize("option", REFUSED)
def test_what_is_not_supported_is_refused_by_name(project, option):
    done = project.run("run", "--nproc_per_node=2", *shlex.split(option), "--max_restarts=0", "train.py", "-r", "3")
    name = re.match(r"--[a-z_-]+|-[a-z]", option)[0].replace("_", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"mgelaunch: error: .*(?<![\w-]){name}(?![\w-]).* \[usage\]\n", done.stderr), done.stderr


@pytest.mark.parametrize(
    "line",
    ["--nnodes=1 --node_rank=0 train.py", "--master_port=29500 train.py", "--max-restarts=3 train.py"],
)
def test_a_line_without_a_number_of_ranks_is_told_to_say_one(project, line):
    """torchrun starts one rank then; here that would be no rank at all, and the option would do nothing."""
    done = project.run("run", *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "add -n 1" in done.stderr
