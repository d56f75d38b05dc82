"""One of several machines, or one rank of an engine, pretended by the variables and options that make it so."""

import json

import pytest

DEADLINE = 60
NAMES = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"]
SHOW = f"import json, os\nprint(json.dumps([os.environ.get(name) for name in {NAMES}]))\n"
BY_HAND = ("--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", "21001")
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "PMIX_NAMESPACE": "3347185665",
}
INDEXED_JOB = {"JOB_COMPLETION_INDEX": "1", "NNODES": "2", "MASTER_ADDR": "job-0.svc", "MASTER_PORT": "29500"}
PLATFORM = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "23456", "NPROC_PER_NODE": "8"}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "job1",
    "RANK": "2",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29400",
}


@pytest.fixture
def show(world):
    world.write("show.py", SHOW)
    return world


def told(stdout):
    """What each rank was told, as tuples in the order of the ranks."""
    rows = [
        json.loads(line[line.index("[", line.startswith("[") and line[1].isdigit()) :]) for line in stdout.splitlines()
    ]
    return sorted(tuple(row) for row in rows)


@pytest.mark.usefixtures("show")
def test_two_machines_by_hand_make_one_job(start):
    """Each is told its number and where rank 0 is, as torchrun's static start has it."""
    processes = [start("run", "-n", "2", *BY_HAND, "--node-rank", str(node), "show.py") for node in range(2)]
    said = [process.communicate(timeout=DEADLINE) for process in processes]
    assert [(process.returncode, stderr) for process, (_, stderr) in zip(processes, said)] == [(0, b"")] * 2
    place = ("127.0.0.1", "21001")
    for node, (stdout, _) in enumerate(said):
        first = 2 * node
        ranks = [(str(first + local), str(local), "4", "2", str(node), *place) for local in range(2)]
        assert told(stdout.decode()) == ranks


@pytest.mark.parametrize("lacking", ["--node-rank", "--master-addr", "--master-port"])
def test_several_machines_need_to_know_each_other(show, lacking):
    options = [*BY_HAND, "--node-rank", "1"]
    at = options.index(lacking)
    done = show.run("run", "-n", "2", *options[:at], *options[at + 2 :], "show.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert lacking in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--nnodes", "1:4", *BY_HAND[2:], "--node-rank", "0"), "1:4, a range, is not supported"),
        (("--nnodes", "2", "--standalone"), "--standalone is one machine"),
        (("--nnodes", "x"), "--nnodes is a whole number"),
        (("--hosts", "n1"), "--hosts belongs to --cluster mpi"),
    ],
    ids=lambda value: value[0] + value[1] if isinstance(value, tuple) else "",
)
def test_what_does_not_go_together_is_refused_by_name(show, options, said):
    done = show.run("run", "-n", "2", *options, "show.py")
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True), done.stderr


def test_an_option_does_not_contradict_the_platform(show):
    done = show.run("run", "-n", "2", "--nnodes", "3", "show.py", **INDEXED_JOB)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_number_that_no_machine_has_is_refused(show):
    done = show.run("run", "-n", "2", *BY_HAND, "--node-rank", "2", "show.py")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_restart_of_one_machine_alone_is_refused(show):
    done = show.run("run", "-n", "2", *BY_HAND, "--node-rank", "0", "--max-restarts", "1", "show.py")
    assert (done.returncode, "--max-restarts" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (OPEN_MPI | {"MASTER_ADDR": "n1"}, ("3", "1", "4", "2", None, "n1", "22377")),
        (TORCHRUN, ("2", "0", "4", "2", "1", "n1", "29400")),
    ],
    ids=["Open MPI", "torchrun"],
)
def test_a_rank_of_an_engine_is_told_in_one_set_of_names(show, variables, expected):
    done = show.run("run", "show.py", **variables)
    assert (done.returncode, told(done.stdout)) == (0, [expected]), done.stderr


@pytest.mark.parametrize("variables", [INDEXED_JOB, PLATFORM], ids=["indexed job", "platform"])
def test_a_node_starts_its_own_ranks(show, variables):
    """Where the platform numbers machines, ``-n`` makes the ranks; no variable of the machine is a rank's."""
    done = show.run("run", "-n", "2", "show.py", **variables)
    place = (variables["MASTER_ADDR"], variables["MASTER_PORT"])
    assert told(done.stdout) == [("2", "0", "4", "2", "1", *place), ("3", "1", "4", "2", "1", *place)], done.stderr


def test_a_node_that_is_asked_for_more_ranks_than_one_is_warned(show):
    done = show.run("run", "show.py", **PLATFORM)
    assert (done.returncode, "try -n 8 [cluster.nproc]" in done.stderr) == (0, True)
    assert told(done.stdout) == [("1", "0", "2", "1", "1", "10.0.0.1", "23456")]


def test_a_rank_does_not_start_ranks(show):
    done = show.run("run", "-n", "2", "show.py", **TORCHRUN)
    assert (done.returncode, done.stdout) == (2, "")
    assert "rank 2 of 4 already, by torchrun" in done.stderr


def test_a_number_in_a_profile_is_no_wish_of_a_rank(show):
    show.write(".mgelaunch/two.toml", "[launch]\nnproc-per-node = 2\n")
    done = show.run("run", "-p", "two", "show.py", **TORCHRUN)
    assert (done.returncode, len(told(done.stdout))) == (0, 1), done.stderr


@pytest.mark.parametrize("word", ["--cluster", "profile"])
def test_an_engine_is_not_asked_when_the_user_says_so(show, word):
    show.write(".mgelaunch/alone.toml", "[launch]\ncluster = 'none'\n")
    options = ("--cluster", "none") if word == "--cluster" else ("-p", "alone")
    stale = TORCHRUN | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = show.run("run", "-n", "1", *options, "show.py", **stale)
    assert (done.returncode, told(done.stdout)[0][:5]) == (0, ("0", "0", "1", "1", "0")), done.stderr


def test_variables_that_cannot_all_be_true_are_named(show):
    done = show.run("run", "show.py", **OPEN_MPI | {"OMPI_COMM_WORLD_RANK": "9"})
    assert (done.returncode, done.stdout) == (125, "")
    assert "OMPI_COMM_WORLD_RANK is 9" in done.stderr
    assert "[cluster.variables]" in done.stderr


def test_an_address_that_nobody_tells_is_said_once_a_job(show):
    variables = OPEN_MPI | {"PMIX_NAMESPACE": ""}
    first = show.run("run", "show.py", **variables | {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"})
    other = show.run("run", "show.py", **variables | {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"})
    assert ("[cluster.address]" in first.stderr, "[cluster.address]" in other.stderr) == (True, False)


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_dry_run_says_which_rule_fired_on_which_variables(show, output):
    done = show.run("run", "--dry-run", "-f", output, "show.py", **TORCHRUN)
    assert done.returncode == 0, done.stderr
    if output == "json":
        cluster = json.loads(done.stdout)["cluster"]
        assert (cluster["engine"], cluster["rank"], "LOCAL_RANK" in cluster["variables"]) == ("torchrun", 2, True)
    else:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("cluster")]
        assert line.startswith("cluster rank 2 of 4, 0 of 2 on this host, by torchrun (")
        assert "LOCAL_RANK" in line


def test_check_says_it_too(show):
    done = show.run("check", "show.py", **TORCHRUN)
    assert any("cluster" in line and "rank 2 of 4" in line for line in done.stdout.splitlines())


def test_the_engine_is_not_asked_outside_of_its_allocation(show):
    done = show.run("run", "--cluster", "slurm", "show.py")
    assert (done.returncode, "[cluster.allocation]" in done.stderr) == (125, True)


def test_a_dry_run_outside_of_an_allocation_prints_the_batch_script(show):
    options = ("--cluster", "slurm", "--nnodes", "2", "-n", "4", "--time-limit", "2h")
    done = show.run("run", "--dry-run", *options, "show.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "#!/bin/sh"
    assert {"#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=4", "#SBATCH --time=120"} <= set(lines)
    assert lines[-1].endswith(f"run {' '.join(options)} show.py")


def test_where_a_profile_lets_ranks_meet_is_told_to_the_engine_too(show):
    show.write(".mgelaunch/far.toml", "[launch]\ncluster = 'mpi'\nmaster-addr = 'n2'\nmaster-port = 21002\n")
    done = show.run("run", "--dry-run", "-f", "json", "-p", "far", "--hosts", "n[1-2]", "show.py")
    assert done.returncode == 0, done.stderr
    said = {setting["name"]: setting["value"] for setting in json.loads(done.stdout)["settings"]}
    assert (said["MASTER_ADDR"], said["MASTER_PORT"]) == ("n2", "21002")


def test_an_engine_that_is_not_installed_is_said(show, tmp_path):
    done = show.run("run", "--cluster", "mpi", "-n", "2", "show.py", PATH=str(tmp_path))
    assert (done.returncode, "[cluster.command]" in done.stderr) == (125, True)


def test_what_an_engine_calls_is_not_for_people(show):
    done = show.run("rank")
    assert (done.returncode, "you want mgelaunch run" in done.stderr) == (2, True)
    assert "rank" not in [line.split()[1] for line in show.run("--help").stdout.splitlines() if len(line.split()) > 1]
