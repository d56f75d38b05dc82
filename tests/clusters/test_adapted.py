"""`srun … mgelaunch run … train.py` and its like: real engines start ranks that mgelaunch only makes ready."""

import json
import os
import re
import sys

import pytest

PATIENCE = 120
"""Seconds: torchrun imports torch on each node, MegEngine is imported by each rank."""

TRAIN = """
import json, os, socket
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR",
         "MASTER_PORT", "MGE_DEFAULT_DEVICE", "CUDA_VISIBLE_DEVICES", "SLURM_RESTART_COUNT", "VALUE", "OF_RANK")
report = {name: os.environ.get(name) for name in names} | {"host": socket.gethostname(), "pid": os.getpid()}
folder = os.environ["REPORTS"]
name = f"{folder}/{report['host']}.{os.getpid()}"
with open(name + ".part", "w") as file:
    json.dump(report, file)
os.rename(name + ".part", name + ".json")
"""
VALUE = 'a,b;c "q"\nline2'
PROFILE = f"""
[env]
VALUE = {json.dumps(VALUE)}
REPORTS = "{{folder}}"
[rank.env]
OF_RANK = "{{{{rank}}}} of {{{{world_size}}}}, {{{{local_rank}}}} here"
"""
OPTIONS = ("run", "-p", "job", "--python", sys.executable)
TWO_BY_TWO = ("-N2", "--ntasks-per-node=2")
ENGINES = ("srun", "mpirun", "torchrun")
BLOCK = {"n1": ["0", "1"], "n2": ["2", "3"]}
"""The ranks on each node where the first ones are on the first."""


@pytest.fixture
def project(tmp_path):
    """A folder with a script, and a profile that it needs."""
    (tmp_path / ".mgelaunch").mkdir()
    (tmp_path / "reports").mkdir()
    (tmp_path / ".mgelaunch" / "job.toml").write_text(PROFILE.format(folder=tmp_path / "reports"))
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.fixture
def ranks(project):
    """A function that returns what each rank has reported, by rank."""

    def read():
        reports = [json.loads(path.read_text()) for path in (project / "reports").glob("*.json")]
        return sorted(reports, key=lambda report: report["RANK"] or "")

    return read


@pytest.fixture
def start(request, project):
    """A function that starts a command as two ranks on each of two nodes by one of `ENGINES`, and returns the end."""

    def by_srun(*command, env=None):
        slurm = request.getfixturevalue("slurm")
        return slurm.srun(*TWO_BY_TWO, *command, env=env, cwd=project, timeout=PATIENCE)

    def by_mpirun(*command, env=None):
        env = {"MASTER_ADDR": "n1"} | (env or {})
        named = [word for name in env for word in ("-x", name)]
        openmpi = request.getfixturevalue("openmpi")
        return openmpi.mpirun(*named, *command, env=env, cwd=project, timeout=PATIENCE)

    def by_torchrun(*command, env=None):
        cluster, torchrun = request.getfixturevalue("cluster"), request.getfixturevalue("torchrun")
        meeting = ("--rdzv-backend=c10d", "--rdzv-endpoint=n1:29400", "--rdzv-id=adapted")
        words = (torchrun, "--nnodes=2", "--nproc-per-node=2", *meeting, "--no-python", *command)
        agents = [cluster.start(node, *words, env=env, cwd=project) for node in cluster.nodes]
        said = [agent.communicate(timeout=PATIENCE) for agent in agents]
        return Ended(max(agent.returncode for agent in agents), *("".join(texts) for texts in zip(*said)))

    return lambda engine, *command, **more: {"srun": by_srun, "mpirun": by_mpirun, "torchrun": by_torchrun}[engine](
        *command, **more
    )


class Ended:
    """How several processes have ended, as one."""

    def __init__(self, returncode, stdout, stderr):
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr


def on_nodes(reports):
    """The ranks on each node, in order."""
    return {host: [report["RANK"] for report in reports if report["host"] == host] for host in ("n1", "n2")}


def local_ranks_fit(reports):
    """Whether the local ranks of each node count from 0, in the order of the ranks, to as many as there are."""
    for host in {report["host"] for report in reports}:
        here = [report for report in reports if report["host"] == host]
        if [report["LOCAL_RANK"] for report in here] != [str(index) for index in range(len(here))]:
            return False
        if {report["LOCAL_WORLD_SIZE"] for report in here} != {str(len(here))}:
            return False
    return True


@pytest.mark.parametrize("engine", ENGINES)
def test_every_rank_knows_its_place_and_gets_every_character(engine, start, launcher, ranks):
    ended = start(engine, *launcher, *OPTIONS, "train.py")
    assert ended.returncode == 0, ended.stderr
    reports = ranks()
    assert on_nodes(reports) == BLOCK
    assert local_ranks_fit(reports)
    assert {report["WORLD_SIZE"] for report in reports} == {"4"}
    assert {report["MASTER_ADDR"] for report in reports} == {"n1"}
    assert len({report["MASTER_PORT"] for report in reports}) == 1
    assert {report["VALUE"] for report in reports} == {VALUE}
    assert [report["OF_RANK"] for report in reports] == [f"{rank} of 4, {rank % 2} here" for rank in range(4)]
    if engine != "mpirun":  # which numbers no nodes
        assert [report["NODE_RANK"] for report in reports] == ["0", "0", "1", "1"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_value_of_the_command_line_arrives_with_every_character(engine, start, launcher, ranks):
    start(engine, *launcher, *OPTIONS, "-e", f"VALUE={VALUE[::-1]}", "train.py")
    assert [report["VALUE"] for report in ranks()] == [VALUE[::-1]] * 4


def test_mgelaunch_becomes_the_task_of_slurm(slurm, launcher, project, ranks):
    """So signals and the exit code are the script's."""
    script = project / "train.py"
    script.write_text(
        TRAIN + "\nassert os.environ['SLURM_TASK_PID'] == str(os.getpid())\nos._exit(40 + int(os.environ['RANK']))\n"
    )
    done = slurm.srun("-N2", "-n2", "--ntasks-per-node=1", *launcher, *OPTIONS, "train.py", cwd=project)
    assert done.returncode == 41, done.stderr
    assert on_nodes(ranks()) == {"n1": ["0"], "n2": ["1"]}


@pytest.mark.parametrize("options", [("--distribution=cyclic",), ("--distribution=plane=1",)])
def test_ranks_that_are_dealt_out_in_turn(options, slurm, launcher, project, ranks):
    done = slurm.srun(*TWO_BY_TWO, *options, *launcher, *OPTIONS, "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert on_nodes(ranks()) == {"n1": ["0", "2"], "n2": ["1", "3"]}
    assert local_ranks_fit(ranks())


def test_more_ranks_on_one_node_than_on_the_other(slurm, launcher, project, ranks):
    command = ("srun", "-N2", "-n4", *launcher, *OPTIONS, "train.py")
    done = slurm.cluster.run("hub", *command, cwd=project)  # a job of its own, which Slurm fills from the first node
    assert done.returncode == 0, done.stderr
    assert on_nodes(ranks()) == {"n1": ["0", "1", "2"], "n2": ["3"]}
    assert local_ranks_fit(ranks())


def test_ranks_of_mpirun_by_node(openmpi, launcher, project, ranks):
    options = ("--map-by", "node", "-x", "MASTER_ADDR=n1")
    done = openmpi.mpirun(*options, *launcher, *OPTIONS, "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert on_nodes(ranks()) == {"n1": ["0", "2"], "n2": ["1", "3"]}
    assert local_ranks_fit(ranks())


@pytest.mark.parametrize("way", ["option", "variable"])
def test_where_rank_0_is_not_on_the_first_host_its_address_must_be_said(way, slurm, launcher, project, ranks):
    """Nothing tells it then: a wrong one would be waited for in vain."""
    placed = {"SLURM_HOSTFILE": slurm.cluster.write("placement", "n2\nn1\nn2\n")}
    options = ("-n3", *(("--distribution=arbitrary",) if way == "option" else ()))
    command = (*options, *launcher, *OPTIONS, "train.py")
    done = slurm.srun(*command, env=placed | {"MASTER_ADDR": "n2"}, cwd=project)
    assert done.returncode == 0, done.stderr
    assert on_nodes(ranks()) == {"n1": ["1"], "n2": ["0", "2"]}
    assert local_ranks_fit(ranks())
    assert {report["MASTER_ADDR"] for report in ranks()} == {"n2"}


def test_a_step_smaller_than_its_job_is_a_world_of_its_own(slurm, launcher, project, ranks):
    done = slurm.srun("-N1", "-n1", "-wn2", *launcher, *OPTIONS, "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    (report,) = ranks()
    assert (report["host"], report["RANK"], report["WORLD_SIZE"], report["MASTER_ADDR"]) == ("n2", "0", "1", "n2")
    assert report["NODE_RANK"] == "0"


def test_a_batch_script_is_no_rank(slurm, launcher, project, ranks):
    """Slurm gives it a rank and the number of tasks as well."""
    line = " ".join((*launcher, *OPTIONS, "train.py"))
    job = slurm.batch(f"#!/bin/sh\n{line}\n", *TWO_BY_TWO, f"--chdir={project}")
    assert slurm.await_job(job) == "COMPLETED"
    (report,) = ranks()
    assert (report["RANK"], report["WORLD_SIZE"], report["host"]) == (None, None, "n1")


def test_a_batch_script_that_a_task_has_submitted_is_no_rank_of_its_step(slurm, launcher, project, ranks):
    """It has the variables of that step, with numbers of its own among them."""
    (project / "inner.sh").write_text(f"#!/bin/sh\n{' '.join((*launcher, *OPTIONS, 'train.py'))}\n")
    submit = "[ $SLURM_PROCID = 1 ] || exit 0; exec sbatch --parsable -n1 inner.sh"
    job = slurm.srun("-N1", "-n2", "sh", "-c", submit, cwd=project).stdout.strip()
    assert slurm.await_job(job) == "COMPLETED"
    (report,) = ranks()
    assert (report["RANK"], report["WORLD_SIZE"]) == (None, None)


def test_the_shell_of_an_allocation_is_no_rank(slurm, launcher, project, ranks):
    done = slurm.run(*launcher, *OPTIONS, "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    (report,) = ranks()
    assert (report["RANK"], report["host"]) == (None, "hub")


def test_n_in_the_shell_of_an_allocation_is_local(slurm, launcher, project, ranks):
    done = slurm.run(*launcher, *OPTIONS, "-n2", "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert [(report["host"], report["RANK"], report["WORLD_SIZE"]) for report in ranks()] == [
        ("hub", "0", "2"),
        ("hub", "1", "2"),
    ]


def test_n_is_refused_in_a_task(slurm, launcher, project, ranks):
    done = slurm.srun(*TWO_BY_TWO, *launcher, *OPTIONS, "-n2", "train.py", cwd=project)
    assert done.returncode != 0
    assert re.search(r"-n starts ranks, .* rank [0-3] of 4 already, by Slurm", done.stderr), done.stderr
    assert ranks() == []


def test_mpirun_within_slurm_numbers_the_ranks_not_its_daemons(slurm, openmpi, launcher, project, ranks):
    """Those are tasks of a step of Slurm, whose variables the ranks inherit."""
    env = openmpi.environ | {"OMPI_MCA_plm": "slurm", "OMPI_MCA_plm_rsh_agent": None, "MASTER_ADDR": "n1"}
    command = ("mpirun", "--map-by", "ppr:2:node", "-x", "MASTER_ADDR", *launcher, *OPTIONS, "train.py")
    done = slurm.run(*command, env=env, cwd=project)
    assert done.returncode == 0, done.stderr
    assert on_nodes(ranks()) == BLOCK
    assert local_ranks_fit(ranks())


def test_none_switches_it_off(slurm, launcher, project, ranks):
    done = slurm.srun(*TWO_BY_TWO, *launcher, *OPTIONS, "--cluster", "none", "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert [report["RANK"] for report in ranks()] == [None] * 4


@pytest.mark.parametrize(
    ("option", "devices", "visible"),
    [
        ("--gpus-per-task=1", ["gpu0", "gpu0"], ["0", "1"]),
        ("--gres=gpu:2", ["gpu0", "gpu1"], ["0,1", "0,1"]),
    ],
)
def test_a_rank_takes_its_device_among_those_that_slurm_lets_it_see(
    option, devices, visible, slurm, launcher, project, ranks
):
    options = ("--device", "gpu", "--no-check")  # there are no cards, Slurm only believes it
    done = slurm.srun(*TWO_BY_TWO, option, *launcher, *OPTIONS, *options, "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert [report["MGE_DEFAULT_DEVICE"] for report in ranks()] == devices * 2
    assert [report["CUDA_VISIBLE_DEVICES"] for report in ranks()] == visible * 2


def test_a_script_sees_how_often_its_job_was_requeued(slurm, launcher, project, ranks):
    again = '[ -n "$SLURM_RESTART_COUNT" ] || { scontrol requeue $SLURM_JOB_ID; sleep 60; }'
    line = " ".join(("srun", *launcher, *OPTIONS, "train.py"))
    job = slurm.batch(f"#!/bin/sh\n{again}\n{line}\n", *TWO_BY_TWO, "--requeue", f"--chdir={project}")
    slurm.start_requeued(job)
    assert slurm.await_job(job) == "COMPLETED", (project / f"slurm-{job}.out").read_text()
    assert [report["SLURM_RESTART_COUNT"] for report in ranks()] == ["1"] * 4


def test_the_plan_says_by_which_variables_it_knows(slurm, launcher, project):
    done = slurm.srun("-N2", "-n2", "--ntasks-per-node=1", *launcher, *OPTIONS, "--dry-run", "train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "SLURM_PROCID" in done.stdout


@pytest.mark.megengine
@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_on_two_nodes_train_what_one_process_trains(engine, start, launcher, cluster, project, megengine_python):
    """Every gradient of MegEngine's own server, which mgelaunch keeps beside rank 0."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(folder, "frameworks", "data_parallel.py"), encoding="utf-8") as file:
        (project / "train.py").write_text(file.read())
    options = ("run", "--threads", "1", "--python", megengine_python)
    alone = cluster.run("n1", *launcher, *options, "train.py", cwd=project, timeout=PATIENCE)
    assert alone.returncode == 0, alone.stderr
    ended = start(engine, *launcher, *options, "--rendezvous", "megengine", "train.py")
    assert ended.returncode == 0, ended.stderr
    (one,) = _reports(alone.stdout)
    told = sorted(_reports(ended.stdout), key=lambda report: report["rank"])
    assert [report["rank"] for report in told] == [0, 1, 2, 3], ended.stderr
    assert [report["digest"] for report in told] == [one["digest"]] * 4


def _reports(stdout):
    return [json.loads(text) for text in re.findall(r"\{.*?\}", stdout)]
