"""The virtual cluster is what the other tests take it for."""

import os
import subprocess
import sys

import pytest

from .cluster import DEADLINE, Cluster, name_of, wait_until

RANK = "echo $SLURM_PROCID $SLURM_LOCALID $SLURM_NODEID $(hostname)"


def test_nodes_have_names_addresses_and_shared_memory_of_their_own(cluster):
    for node in cluster.nodes:
        shown = cluster.run(
            node, "sh", "-c", f"hostname; ip -4 -o addr show eth0; echo {node} >/dev/shm/name; ls /proc"
        )
        assert shown.stdout.splitlines()[0] == node
        assert f" {cluster.address(node)}/24 " in shown.stdout
        assert cluster.pids_inside(node)[0] == 1
    assert cluster.run("n1", "cat", "/dev/shm/name").stdout == "n1\n"
    assert cluster.run("hub", "hostname").stdout == "hub\n"
    assert not os.path.exists("/dev/shm/name")


def test_nodes_share_files_and_nothing_of_the_callers_environment(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THE_CALLER", "1")
    (tmp_path / "file").write_text("shared")
    shown = cluster.run(
        "n2", "sh", "-c", 'cat file; echo " $OF_THE_CALLER $GIVEN"; pwd', cwd=tmp_path, env={"GIVEN": "2"}
    )
    assert shown.stdout == f"shared  2\n{tmp_path}\n"


def is_running(pid):
    """Whether a process has not ended; one that nobody buries has."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def connects(cluster, here, there):
    """Whether a connection from one place to another comes about: something must answer, if only with a refusal."""
    code = f"import socket; s = socket.socket(); s.settimeout(1); print(s.connect_ex(({there!r}, 9)))"
    return cluster.run(here, sys.executable, "-c", code).stdout == "111\n"  # ECONNREFUSED


def test_a_cut_node_is_silent_and_runs_on_until_it_is_healed(cluster):
    assert connects(cluster, "n1", "n2")
    cluster.cut("n2")
    assert not connects(cluster, "n1", "n2")
    assert cluster.run("n2", "hostname").stdout == "n2\n"
    cluster.heal("n2")
    wait_until(lambda: connects(cluster, "n1", "n2"), "a connection")


def test_a_crashed_node_loses_all_processes_and_comes_back_empty(cluster):
    sleeper = cluster.start("n2", "sleep", "600")
    cluster.pid_of(sleeper)
    cluster.crash("n2")
    sleeper.wait(DEADLINE)
    assert not cluster.alive("n2")
    cluster.revive("n2")
    assert cluster.pids_inside("n2")[0] == 1
    assert "sleep" not in {name_of(pid) for pid in cluster.processes("n2")}
    wait_until(lambda: connects(cluster, "n1", "n2"), "a connection")


def test_a_signal_reaches_what_runs_on_the_hub_and_on_a_node(cluster):
    shout = "trap 'echo heard; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    for where in ("hub", "n1"):
        process = cluster.start(where, "sh", "-c", shout)
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid if where == "hub" else cluster.pid_of(process), 15)
        assert process.communicate(timeout=DEADLINE) == ("heard\n", "")
        assert process.returncode == 5


def test_a_command_on_a_node_ends_with_the_process_that_waits_for_it(cluster):
    process = cluster.start("n1", "sleep", "600")
    pid = cluster.pid_of(process)
    process.kill()
    wait_until(lambda: pid not in cluster.processes("n1"), "the end of the command")


def test_a_command_that_takes_too_long_is_killed(cluster):
    with pytest.raises(subprocess.TimeoutExpired):
        cluster.run("n1", "sleep", "600", timeout=0.5)


def test_two_clusters_do_not_meet(cluster):
    other = Cluster()
    try:
        other.up(1)
        assert other.run("n1", "hostname").stdout == "n1\n"
        assert not set(other.processes()) & set(cluster.processes())
        assert not connects(other, "n1", "n2")
    finally:
        other.down()
    assert not os.path.exists(other.folder)


@pytest.mark.usefixtures("cluster")
def test_a_cluster_ends_with_its_test_run(tmp_path):
    """Killed, a test run can put nothing away."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = f"""
import sys
sys.path.insert(0, {here!r})
from clusters.cluster import Cluster
cluster = Cluster()
cluster.up(2)
cluster.start("n1", "sleep", "600")
cluster.start("hub", "sleep", "600")
print(cluster.folder, *cluster.processes(), flush=True)
sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **pipes) as run:
        folder, *pids = run.stdout.readline().split()
        run.kill()
    wait_until(lambda: not any(map(is_running, pids)), "the end of all processes")
    subprocess.run(["rm", "-r", folder], check=True)


def test_a_step_over_two_nodes_tells_each_task_its_place(slurm):
    done = slurm.srun("-N2", "--ntasks-per-node=2", "sh", "-c", RANK)
    assert sorted(done.stdout.splitlines()) == ["0 0 0 n1", "1 1 0 n1", "2 0 1 n2", "3 1 1 n2"], done.stderr


def test_the_shell_of_the_allocation_is_a_real_one(slurm):
    shown = slurm.run("sh", "-c", "echo $SLURM_JOB_ID $SLURM_JOB_NODELIST $SLURM_STEP_ID $SLURM_PROCID; hostname")
    assert shown.stdout == f"{slurm.allocation.job} n[1-2]\nhub\n"


def test_a_batch_job_runs_beside_the_allocation(slurm):
    job = slurm.batch("#!/bin/sh\nexit 3\n", "-N2")
    assert slurm.await_job(job) == "FAILED"


def test_a_step_goes_on_when_the_controller_is_killed_and_started_again(slurm):
    """What the controller still knows of the allocation is its own affair: it saves its state every few seconds."""
    step = slurm.start("srun", "-N2", "-n2", "sh", "-c", "echo ready; read line; exit 0", stdin=subprocess.PIPE)
    assert [step.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    slurm.kill_controller()
    assert slurm.cluster.run("hub", "scontrol", "ping").returncode != 0
    step.stdin.write("go\ngo\n")
    step.stdin.flush()
    slurm.start_controller()  # srun may wait for it before it ends
    _, errors = step.communicate(timeout=3 * DEADLINE)
    assert step.returncode == 0, errors


def test_a_crashed_node_of_slurm_comes_back(slurm):
    """The allocation loses it, and the next test has a new one."""
    slurm.cluster.crash("n2")
    slurm.restart("n2")
    other = slurm.allocate()
    done = slurm.srun("-N2", "-n2", "hostname", env=other.environ)
    other.release()
    assert sorted(done.stdout.split()) == ["n1", "n2"], done.stderr


def test_the_allocation_is_whole_again_after_a_lost_node(slurm):
    done = slurm.srun("-N2", "--ntasks-per-node=1", "hostname")
    assert sorted(done.stdout.split()) == ["n1", "n2"], done.stderr


def test_mpirun_starts_ranks_on_both_nodes(openmpi):
    """They get nothing of mpirun's environment but what was named, as by ssh."""
    script = "echo $OMPI_COMM_WORLD_RANK $OMPI_COMM_WORLD_LOCAL_RANK $(hostname) $NAMED $OTHER"
    done = openmpi.mpirun("-x", "NAMED", "sh", "-c", script, env={"NAMED": "named", "OTHER": "other"})
    assert done.returncode == 0, done.stderr
    told = sorted(done.stdout.splitlines())
    assert told == ["0 0 n1 named", "1 1 n1 named", "2 0 n2 named", "3 1 n2 named"]


def test_torchrun_starts_ranks_on_both_nodes(cluster, torchrun):
    options = ["--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=n1:29400", "--rdzv-id=bed"]
    command = [torchrun, *options, "--no-python", "sh", "-c", "echo $RANK $LOCAL_RANK $GROUP_RANK $(hostname)"]
    agents = [cluster.start(node, *command) for node in cluster.nodes]
    said = [agent.communicate(timeout=120) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    ranks = sorted(line.split() for told, _ in said for line in told.splitlines())
    assert [(rank, local) for rank, local, *_ in ranks] == [("0", "0"), ("1", "1"), ("2", "0"), ("3", "1")]
    assert {host for *_, host in ranks} == {"n1", "n2"}


def test_what_a_test_leaves_is_found(bed, slurm):
    """The check after each test sees processes, ports and jobs; this one puts away what it has left itself."""
    code = "import socket, time; s = socket.create_server(('', 7777)); print('ready', flush=True); time.sleep(600)"
    process = slurm.cluster.start("n1", sys.executable, "-c", code)
    assert process.stdout.readline() == "ready\n"
    job = slurm.batch("#!/bin/sh\nsleep 600\n")
    assert any("7777" in text for text in bed.strangers())
    assert bed.surplus_ports() == {"n1": {7777}}
    assert slurm.other_jobs() == [job]
    slurm.tell("scancel", job)
    process.kill()


@pytest.mark.usefixtures("slurm")
def test_the_bed_stands_also_where_processes_and_mounts_are_already_apart(tmp_path):
    """So runs the gate: a cluster within namespaces within those of the machine."""
    test = f"{__file__}::{test_a_step_over_two_nodes_tells_each_task_its_place.__name__}"
    inner = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--require", "slurm", test]
    apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
    done = subprocess.run([*apart, *inner], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout
