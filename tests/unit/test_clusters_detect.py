"""Which rank of which engine this process is: one environment a row, the traps by their numbers."""

import pytest

from mgelaunch.clusters.detect import detect
from mgelaunch.clusters.placement import Found, Node, Task
from mgelaunch.clusters.ports import agreed_port

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "job1",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}
PLAIN = {name: TORCHRUN[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_NODE_RANK": "1",
    "PMIX_RANK": "3",
    "PMIX_NAMESPACE": "3347185665",
}
HYDRA = {"PMI_RANK": "1", "PMI_SIZE": "2", "PMI_FD": "5", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
STEP = {
    "SLURM_JOB_ID": "42",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "4",
}
BATCH = {
    "SLURM_JOB_ID": "42",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_NODELIST": "n[1-2]",
}
PLATFORM = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "job-0", "MASTER_PORT": "23456", "NPROC_PER_NODE": "8"}
PET = {
    "PET_NODE_RANK": "1",
    "PET_NNODES": "2",
    "PET_NPROC_PER_NODE": "4",
    "PET_MASTER_ADDR": "job-node-0-0.job",
    "PET_MASTER_PORT": "29500",
}
INDEXED = {"JOB_COMPLETION_INDEX": "1", "NNODES": "4", "MASTER_ADDR": "job-0.job", "MASTER_PORT": "29500"}


def without(environ, *names):
    return {name: text for name, text in environ.items() if name not in names}


def task(environ, **more):
    """The rank that `environ` makes of this process."""
    found = detect(environ | more)
    assert found.findings == ()
    assert found.allocation == ""
    assert isinstance(found.placement, Task)
    return found.placement


def numbers(placed):
    return placed.engine, placed.rank, placed.world_size, placed.local_rank, placed.local_world_size, placed.node_rank


def where(placed):
    return placed.master_addr, placed.master_port


def node(environ):
    """The machine that `environ` makes of this one."""
    found = detect(environ)
    assert found.findings == ()
    assert isinstance(found.placement, Node)
    return found.placement


# -- where nothing is said ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PATH": "/bin", "HOME": "/root"},
        {"RANK": "3"},
        {"RANK": "3", "LOCAL_RANK": "3"},
        {"RANK": "3", "WORLD_SIZE": "4"},
        {"RANK": "3", "MASTER_ADDR": "n1"},
        {"WORLD_SIZE": "4", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"},
        {"LOCAL_RANK": "0", "WORLD_SIZE": "4"},
        {"RANK": "", "LOCAL_RANK": "", "WORLD_SIZE": ""},
        {"TORCHELASTIC_RUN_ID": "job1"},
        {"PMI_RANK": "0", "PMI_SIZE": "2", "PMI_FD": "5"},
        {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "4"},
        {"PET_NODE_RANK": "0"},
        {"PET_NAME": "worker"},
        {"NODE_RANK": "1", "NNODES": "2", "MASTER_ADDR": "n1"},
    ],
    ids=lambda environ: " ".join(environ) or "empty",
)
def test_variables_that_say_too_little_are_no_placement(environ):
    assert detect(environ) == Found()


# -- D: the order of the engines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outer", "inner", "engine", "rank"),
    [
        (STEP | {"SLURM_PROCID": "1", "SLURM_LOCALID": "0"}, OPEN_MPI, "Open MPI", 3),
        (STEP | {"SLURM_PROCID": "1", "SLURM_LOCALID": "0"}, TORCHRUN, "torchrun", 5),
        (STEP, HYDRA, "hydra", 1),
        (BATCH, OPEN_MPI, "Open MPI", 3),
        (BATCH, HYDRA, "hydra", 1),
        (OPEN_MPI, TORCHRUN, "torchrun", 5),
        (PLATFORM, OPEN_MPI, "Open MPI", 3),
        (INDEXED, STEP, "Slurm", 3),
    ],
    ids=[
        "mpirun in a step",
        "torchrun in a step",
        "hydra in a step",
        "mpirun in a batch script",
        "hydra in a batch script",
        "torchrun below mpirun",
        "mpirun in a pod",
        "Slurm in pods",
    ],
)
def test_d1_the_innermost_engine_says_which_rank_this_is(outer, inner, engine, rank):
    placed = task(outer | inner)
    assert (placed.engine, placed.rank) == (engine, rank)


def test_d2_pmi_variables_of_a_slurm_step_leave_it_to_slurm():
    placed = task(STEP, PMI_RANK="3", PMI_SIZE="4", PMI_FD="10", PMIX_RANK="3", PMIX_NAMESPACE="slurm.pmix.42.0")
    assert numbers(placed) == ("Slurm", 3, 4, 1, 2, 1)


def test_d3_a_child_of_torchrun_in_a_pod_is_a_rank():
    assert numbers(task(PET | INDEXED | TORCHRUN)) == ("torchrun", 5, 8, 1, 4, 1)


@pytest.mark.parametrize(
    ("environ", "wrong", "names"),
    [
        (TORCHRUN, {"RANK": "8"}, ("RANK", "WORLD_SIZE")),
        (TORCHRUN, {"RANK": "-1"}, ("RANK",)),
        (TORCHRUN, {"RANK": "one"}, ("RANK",)),
        (TORCHRUN, {"RANK": "٣"}, ("RANK",)),
        (TORCHRUN, {"RANK": "1_0"}, ("RANK",)),
        (TORCHRUN, {"RANK": " 1"}, ("RANK",)),
        (TORCHRUN, {"RANK": "9" * 5000}, ("RANK",)),
        (TORCHRUN, {"RANK": ""}, ("RANK",)),
        (TORCHRUN, {"WORLD_SIZE": "0"}, ("RANK", "WORLD_SIZE")),
        (TORCHRUN, {"LOCAL_RANK": "4"}, ("LOCAL_RANK", "LOCAL_WORLD_SIZE")),
        (TORCHRUN, {"LOCAL_WORLD_SIZE": "9"}, ("LOCAL_WORLD_SIZE", "WORLD_SIZE")),
        (TORCHRUN, {"MASTER_PORT": "65536"}, ("MASTER_PORT",)),
        (TORCHRUN, {"MASTER_PORT": "http"}, ("MASTER_PORT",)),
        (TORCHRUN, {"TORCHELASTIC_RESTART_COUNT": "x"}, ("TORCHELASTIC_RESTART_COUNT",)),
        (TORCHRUN, {"GROUP_RANK": "x"}, ("GROUP_RANK",)),
        (PLAIN, {}, ("LOCAL_WORLD_SIZE",)),
        (OPEN_MPI, {"OMPI_COMM_WORLD_RANK": "4"}, ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")),
        (OPEN_MPI, {"OMPI_COMM_WORLD_SIZE": ""}, ("OMPI_COMM_WORLD_SIZE",)),
        (OPEN_MPI, {"OMPI_COMM_WORLD_LOCAL_SIZE": "5"}, ("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_SIZE")),
        (OPEN_MPI, {"OMPI_COMM_WORLD_LOCAL_RANK": "2"}, ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")),
        (HYDRA, {"PMI_RANK": "2"}, ("PMI_RANK", "PMI_SIZE")),
        (HYDRA, {"MPI_LOCALNRANKS": ""}, ("MPI_LOCALNRANKS",)),
        (HYDRA, {"MPI_LOCALNRANKS": "3"}, ("MPI_LOCALNRANKS", "PMI_SIZE")),
        (STEP, {"SLURM_PROCID": "4"}, ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")),
        (STEP, {"SLURM_LOCALID": "2"}, ("SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE")),
        (STEP, {"SLURM_NODEID": "2"}, ("SLURM_NODEID", "SLURM_STEP_NODELIST")),
        (STEP, {"SLURM_STEP_TASKS_PER_NODE": "2,1"}, ("SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NUM_TASKS")),
        (STEP, {"SLURM_STEP_TASKS_PER_NODE": "4"}, ("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")),
        (STEP, {"SLURM_STEP_TASKS_PER_NODE": "2x2"}, ("SLURM_STEP_TASKS_PER_NODE",)),
        (STEP, {"SLURM_STEP_NODELIST": "n[2-1]"}, ("SLURM_STEP_NODELIST",)),
        (STEP, {"SLURM_STEP_NODELIST": ""}, ("SLURM_STEP_NODELIST",)),
        (STEP, {"SLURM_STEP_NUM_TASKS": ""}, ("SLURM_STEP_NUM_TASKS",)),
        (STEP, {"SLURM_STEP_ID": "batch"}, ("SLURM_STEP_ID",)),
        (STEP, {"SLURM_JOB_ID": ""}, ("SLURM_JOB_ID",)),
        (STEP, {"SLURM_HET_SIZE": "2"}, ("SLURM_GTIDS",)),
        (PLATFORM, {"RANK": "2"}, ("RANK", "WORLD_SIZE")),
        (PLATFORM, {"MASTER_ADDR": "127.0.0.1"}, ("RANK", "MASTER_ADDR", "LOCAL_RANK")),
        (PLATFORM, {"MASTER_PORT": "x"}, ("MASTER_PORT",)),
        (PET, {"PET_NODE_RANK": "2"}, ("PET_NODE_RANK", "PET_NNODES")),
        (PET, {"PET_NNODES": "two"}, ("PET_NNODES",)),
        (PET, {"PET_NNODES": "9" * 5000 + ":" + "9" * 5000}, ("PET_NNODES",)),
        (PET, {"PET_NNODES": "1:4", "WORLD_SIZE": "8"}, ("PET_NNODES", "WORLD_SIZE")),
        (INDEXED, {"JOB_COMPLETION_INDEX": "4"}, ("JOB_COMPLETION_INDEX", "NNODES")),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_d4_variables_that_cannot_all_be_true_are_an_error_that_names_them(environ, wrong, names):
    found = detect(environ | wrong)
    assert (found.placement, found.allocation) == (None, "")
    (finding,) = found.findings
    assert (finding.severity, finding.code, finding.names) == ("error", "cluster.variables", names)
    assert finding.remedy == "--cluster none"
    assert all(name in finding.message for name in names)
    assert not finding.message.endswith(".")
    assert not {"one", "two", "batch", "http"} & set(finding.message.split())


def test_d6_a_rank_of_mgelaunch_itself_is_a_rank_and_no_allocation_to_start_more_in():
    own = PLAIN | {"LOCAL_WORLD_SIZE": "4", "NODE_RANK": "1", "GROUP_RANK": "1"}
    assert numbers(task(BATCH | own)) == ("RANK and LOCAL_RANK", 5, 8, 1, 4, 1)
    assert numbers(task(STEP | own)) == ("RANK and LOCAL_RANK", 5, 8, 1, 4, 1)


# -- T: torchrun and what speaks its names -----------------------------------------------------------------------


def test_a_child_of_torchrun_is_placed_with_the_address_it_was_given():
    placed = task(TORCHRUN)
    assert numbers(placed) == ("torchrun", 5, 8, 1, 4, 1)
    assert where(placed) == ("n1", 29400)
    assert placed.variables == (
        *("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"),
        *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"),
    )
    assert placed.why_no_address == ""


def test_t1_the_server_of_megengine_gets_another_port_than_the_one_torchruns_agent_holds():
    assert detect(TORCHRUN, megengine_server=True).placement.master_port == 23721


def test_t1_the_other_port_is_another_one_even_if_the_rule_would_give_the_agents():
    name, port = next(
        (name, port)
        for name in map("job{}".format, range(100))
        for port in range(20000, 29999)
        if agreed_port(f"{name}{port}") == port
    )
    environ = TORCHRUN | {"TORCHELASTIC_RUN_ID": name, "MASTER_PORT": str(port)}
    assert detect(environ, megengine_server=True).placement.master_port == port + 1


def test_t1_without_an_agent_the_server_takes_the_port_that_the_ranks_were_given():
    own = PLAIN | {"LOCAL_WORLD_SIZE": "4"}
    assert detect(own, megengine_server=True).placement.master_port == 29400


def test_t2_the_restart_count_in_which_nodes_differ_is_not_part_of_the_port():
    again = detect(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"}, megengine_server=True).placement
    assert (again.master_port, again.restart_count) == (23721, 1)


@pytest.mark.parametrize("name", ["PET_NPROC_PER_NODE", "PET_NNODES", "PET_NAME"])
def test_t3_the_defaults_of_torchruns_options_do_not_make_a_placement_by_themselves(name):
    assert detect({name: "2"}).placement is None


def test_torchruns_own_number_of_the_node_beats_one_from_the_shell():
    assert task(TORCHRUN, NODE_RANK="0").node_rank == 1
    assert task(without(TORCHRUN, "GROUP_RANK"), NODE_RANK="0").node_rank == 0
    assert task(without(TORCHRUN, "GROUP_RANK")).node_rank is None


def test_a_rank_without_an_address_says_that_nobody_told_it():
    placed = task(without(TORCHRUN, "MASTER_ADDR", "MASTER_PORT"))
    assert where(placed) == ("", 0)
    assert "where the ranks meet" in placed.why_no_address


def test_a_port_that_is_still_to_be_chosen_is_no_port():
    assert task(TORCHRUN, MASTER_PORT="0").master_port == 0


@pytest.mark.parametrize(
    ("more", "local"),
    [
        ({"LOCAL_SIZE": "4"}, 4),
        ({"MASTER_ADDR": "127.0.0.1"}, 8),
        ({"MASTER_ADDR": "localhost"}, 8),
        ({"MASTER_ADDR": "::1"}, 8),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, 1),
    ],
    ids=["DeepSpeed", "loopback", "localhost", "IPv6", "alone"],
)
def test_the_ranks_of_this_machine_are_counted_without_local_world_size_only_where_they_are_known(more, local):
    assert task(PLAIN, **more).local_world_size == local


# -- O: Open MPI and hydra ---------------------------------------------------------------------------------------


def test_o1_nothing_names_the_host_of_rank_0_unless_all_ranks_are_here():
    placed = task(OPEN_MPI, OMPI_MCA_orte_hnp_uri="3347185664.0;tcp://198.18.77.1:40000")
    assert where(placed) == ("", 22377)
    assert placed.why_no_address == "Open MPI does not tell on which host rank 0 is"
    here = task(OPEN_MPI, OMPI_COMM_WORLD_LOCAL_SIZE="4")
    assert (where(here), here.why_no_address) == (("127.0.0.1", 22377), "")


def test_o1_the_node_rank_of_open_mpi_is_not_the_number_of_a_node():
    assert numbers(task(OPEN_MPI)) == ("Open MPI", 3, 4, 1, 2, None)


@pytest.mark.parametrize("namespace", ["3347185665", "prterun-n1-1234@1"])
def test_o2_the_port_follows_from_the_namespace_of_either_version(namespace):
    assert task(OPEN_MPI, PMIX_NAMESPACE=namespace).master_port == agreed_port(namespace)


def test_o2_without_a_namespace_there_is_no_port_and_it_says_so():
    placed = task(without(OPEN_MPI, "PMIX_NAMESPACE"), OMPI_COMM_WORLD_LOCAL_SIZE="4")
    assert placed.master_port == 0
    assert "PMIX_NAMESPACE" in placed.why_no_address


@pytest.mark.parametrize(("rank", "local"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_o3_ranks_that_are_mapped_by_node_keep_the_local_rank_they_were_given(rank, local):
    placed = task(OPEN_MPI, OMPI_COMM_WORLD_RANK=str(rank), OMPI_COMM_WORLD_LOCAL_RANK=str(local))
    assert (placed.rank, placed.local_rank, placed.local_world_size) == (rank, local, 2)


def test_hydra_on_one_machine_knows_the_address_and_no_port():
    placed = task(HYDRA)
    assert numbers(placed) == ("hydra", 1, 2, 1, 2, None)
    assert where(placed) == ("127.0.0.1", 0)
    assert "port" in placed.why_no_address


def test_hydra_on_several_machines_knows_neither_address_nor_port():
    placed = task(HYDRA, PMI_SIZE="4")
    assert where(placed) == ("", 0)
    assert "rank 0" in placed.why_no_address
    assert "port" in placed.why_no_address


def test_the_shells_address_is_not_what_an_mpi_or_slurm_derives():
    shell = {"MASTER_ADDR": "elsewhere", "MASTER_PORT": "1234"}
    assert [where(task(environ, **shell)) for environ in (OPEN_MPI, HYDRA, STEP)] == [
        *(("", 22377), ("127.0.0.1", 0), ("n1", 25556)),
    ]


# -- S: Slurm ----------------------------------------------------------------------------------------------------


def test_a_task_of_a_step_is_placed_by_the_variables_of_the_step():
    placed = task(STEP)
    assert numbers(placed) == ("Slurm", 3, 4, 1, 2, 1)
    assert where(placed) == ("n1", 25556)
    assert placed.variables == (
        *("SLURM_STEP_ID", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NODEID"),
        *("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_JOB_ID"),
    )
    assert (placed.restart_count, placed.own_device, placed.why_no_address) == (0, False, "")


@pytest.mark.parametrize(
    ("environ", "more"),
    [
        (BATCH, {}),
        (without(BATCH, "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), {}),
        (STEP, {"SLURM_STEP_ID": "4294967290", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}),
        (STEP, {"SLURM_STEP_ID": "4294967291", "SLURM_PROCID": "0"}),
    ],
    ids=["batch script", "salloc", "salloc with an interactive step", "batch script with a step"],
)
def test_s1_a_batch_script_and_a_shell_of_salloc_are_one_process_in_an_allocation(environ, more):
    assert detect(environ | more) == Found(None, (), "42")


def test_s2_a_step_smaller_than_its_job_is_its_own_world():
    small = {
        "SLURM_STEP_ID": "1",
        "SLURM_PROCID": "0",
        "SLURM_STEP_NUM_TASKS": "1",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_STEP_TASKS_PER_NODE": "1",
        "SLURM_STEP_NODELIST": "n2",
        "SLURM_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "4",
    }
    placed = task(STEP | small)
    assert numbers(placed) == ("Slurm", 0, 1, 0, 1, 0)
    assert where(placed) == ("n2", 24002)


@pytest.mark.parametrize(("node", "local", "rank", "here"), [(0, 2, 2, 3), (1, 0, 3, 1)])
def test_s3_tasks_that_are_placed_unevenly_have_the_size_of_their_own_node(node, local, rank, here):
    placed = task(
        STEP,
        SLURM_STEP_TASKS_PER_NODE="3,1",
        SLURM_NODEID=str(node),
        SLURM_LOCALID=str(local),
        SLURM_PROCID=str(rank),
    )
    assert (placed.rank, placed.local_rank, placed.local_world_size, placed.node_rank) == (rank, local, here, node)


@pytest.mark.parametrize(("rank", "node", "local"), [(0, 0, 0), (1, 1, 0), (2, 0, 1), (3, 1, 1)])
def test_s4_cyclic_tasks_keep_the_local_rank_and_the_node_they_were_given(rank, node, local):
    given = {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(node), "SLURM_LOCALID": str(local)}
    placed = task(STEP, SLURM_DISTRIBUTION="cyclic", **given)
    assert (placed.rank, placed.local_rank, placed.node_rank, placed.master_addr) == (rank, local, node, "n1")


def test_s5_rank_0_is_on_the_first_host_of_the_sorted_list():
    assert task(STEP, SLURM_STEP_NODELIST="gpu[07,12]-ib").master_addr == "gpu07-ib"


@pytest.mark.parametrize(
    "said",
    [
        {"SLURM_DISTRIBUTION": "arbitrary"},
        {"SLURM_HOSTFILE": "/home/me/hosts"},
        {"SLURM_DISTRIBUTION": "arbitrary:block"},
    ],
    ids=["distribution", "host file", "with cores"],
)
def test_s6_with_a_host_file_rank_0_is_on_a_host_that_nobody_names(said):
    arbitrary = {"SLURM_PROCID": "0", "SLURM_NODEID": "1", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_TASKS": "3"}
    placed = task(STEP | arbitrary, SLURM_STEP_TASKS_PER_NODE="1,2", **said)
    assert numbers(placed) == ("Slurm", 0, 3, 0, 2, 1)
    assert where(placed) == ("", 25556)
    assert "rank 0 need not be on the first host" in placed.why_no_address
    assert set(said) <= set(placed.variables)


def test_s6_with_a_host_file_of_one_host_rank_0_is_there():
    alone = {"SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_STEP_NODELIST": "n2"}
    assert where(task(STEP | alone, SLURM_HOSTFILE="/home/me/hosts")) == ("n2", 25556)


def test_s7_a_step_that_got_no_other_variables_is_placed_by_those_of_slurm():
    assert numbers(task(without(STEP, "SLURM_JOB_NODELIST", "SLURM_NTASKS", "SLURM_STEP_NUM_NODES"))) == (
        *("Slurm", 3, 4, 1, 2, 1),
    )


def test_s8_tasks_of_a_heterogeneous_step_are_counted_by_the_ranks_of_their_own_node():
    # Component 0 on n2, component 1 on n1: node 0 is n2, while the lists are in the order of the names.
    step = {
        "SLURM_HET_SIZE": "2",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_NTASKS": "3",
        "SLURM_PROCID": "0",
        "SLURM_NODEID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_GTIDS": "0",
    }
    placed = task(STEP | step)
    assert numbers(placed) == ("Slurm", 0, 3, 0, 1, 0)
    assert where(placed) == ("", 25556)
    assert "heterogeneous" in placed.why_no_address


def test_a_requeued_job_says_how_often():
    assert task(STEP, SLURM_RESTART_COUNT="2").restart_count == 2


@pytest.mark.parametrize(
    ("granted", "on_node", "tasks", "own"),
    [
        ("1", "2", 2, True),
        ("0,1", "4", 2, True),
        ("0-1", "4", 2, True),
        ("0,1", "2", 2, False),
        ("0", "1", 2, False),
        ("0", "2", 4, False),
        ("", "2", 2, False),
        ("0", "", 2, False),
        ("0", "2", 1, False),
        ("GPU-1234", "2", 2, False),
        ("0", "two", 2, False),
    ],
    ids=[
        "per task",
        "two per task",
        "as a range",
        "all see both",
        "one for all",
        "two tasks share each",
        "bound to none",
        "not known on the node",
        "one task",
        "no numbers",
        "no number on the node",
    ],
)
def test_g1_devices_are_a_tasks_own_where_slurm_granted_it_no_more_than_its_share(granted, on_node, tasks, own):
    given = {
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_STEP_TASKS_PER_NODE": str(tasks),
        "SLURM_STEP_NODELIST": "n1",
    }
    assert task(STEP | given, SLURM_STEP_GPUS=granted, SLURM_GPUS_ON_NODE=on_node).own_device is own


# -- K: one process on each machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environ",
    [
        {"JOB_COMPLETION_INDEX": "3"},
        {"JOB_COMPLETION_INDEX": "3", "NNODES": "1", "MASTER_ADDR": "localhost"},
    ],
    ids=" ".join,
)
def test_k1_a_pod_of_an_array_job_is_no_placement(environ):
    assert detect(environ) == Found()


@pytest.mark.parametrize(
    ("given", "lacking"), [({"NNODES": "4"}, "MASTER_ADDR"), ({"MASTER_ADDR": "job-0.job"}, "NNODES")]
)
def test_k1_a_manifest_that_passes_half_of_it_is_told(given, lacking):
    """Else each pod would train alone, and nobody would know."""
    found = detect({"JOB_COMPLETION_INDEX": "3", **given})
    assert found.placement is None
    assert [(finding.severity, finding.code, finding.names[-1]) for finding in found.findings] == [
        ("error", "cluster.variables", lacking)
    ]


def test_k1_a_pod_of_an_indexed_job_is_one_of_the_nodes_its_manifest_counts():
    placed = node(INDEXED)
    assert placed[:6] == ("Kubernetes", 1, 4, "", "job-0.job", 29500)
    assert set(placed.variables) == set(INDEXED)


def test_k2_a_rank_without_a_local_rank_is_a_node():
    placed = node(PLATFORM)
    assert placed[:6] == ("RANK and WORLD_SIZE of the platform", 1, 2, "8", "job-0", 23456)
    assert placed.variables == ("RANK", "WORLD_SIZE", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT")


def test_k2_the_first_node_may_be_told_localhost():
    assert node(PLATFORM | {"RANK": "0", "MASTER_ADDR": "localhost"})[:3] == (PLATFORM_NAME, 0, 2)


PLATFORM_NAME = "RANK and WORLD_SIZE of the platform"


@pytest.mark.parametrize(
    ("environ", "nodes"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}, 2),
        ({"RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456", **PET}, 2),
        (
            {
                "RANK": "1",
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "m",
                **PET,
                "PET_NPROC_PER_NODE": "auto",
                "PET_NNODES": "1:4",
            },
            2,
        ),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "m", **PET, "PET_NNODES": ""}, 2),
        ({**PET, "PET_NNODES": "2:2"}, 2),
    ],
    ids=["older operator", "later operator", "elastic", "no count", "fixed range"],
)
def test_k3_the_number_of_nodes_is_pet_nnodes_where_that_is_one_number(environ, nodes):
    placed = node(environ)
    assert (placed.node_rank, placed.nodes) == (1, nodes)


def test_k4_a_pod_of_the_trainer_is_described_by_pet_variables_alone():
    placed = node(PET | {"JOB_COMPLETION_INDEX": "1"})
    assert placed[:6] == ("torchrun's PET_ variables", 1, 2, "4", "job-node-0-0.job", 29500)
    assert set(placed.variables) == set(PET)


@pytest.mark.parametrize("ranks", ["auto", "gpu", "cpu", "16"])
def test_k4_the_ranks_that_are_asked_for_are_a_hint(ranks):
    assert node(PET | {"PET_NPROC_PER_NODE": ranks}).nproc == ranks


@pytest.mark.parametrize("ranks", ["many", "-1", "8; rm", ""])
def test_k4_a_hint_that_is_none_is_left_out(ranks):
    assert node(PET | {"PET_NPROC_PER_NODE": ranks}).nproc == ""


@pytest.mark.parametrize("rank", ["0", "1", "2", "3"])
def test_k5_a_rank_without_a_local_rank_is_never_the_rank_of_a_process(rank):
    assert isinstance(detect(PLATFORM | {"RANK": rank, "WORLD_SIZE": "4"}).placement, Node)


def test_a_node_within_an_allocation_of_slurm_keeps_the_allocation():
    found = detect(BATCH | PLATFORM)
    assert (type(found.placement), found.allocation) == (Node, "42")


@pytest.mark.parametrize("environ", [OPEN_MPI, HYDRA, STEP, PET, PLATFORM, INDEXED, BATCH], ids=lambda e: next(iter(e)))
def test_a_server_of_megengine_changes_nothing_outside_torchrun(environ):
    assert detect(environ, megengine_server=True) == detect(environ)


# -- what has outlived its step ------------------------------------------------------------------


@pytest.mark.parametrize("above", ["42.0", "42.0+1", "43.0", None])
def test_a_task_below_the_daemon_of_its_step_is_its_rank_and_so_is_one_of_which_nobody_can_tell(above):
    """A component of a heterogeneous job has a number of its own."""
    found = detect(STEP, above=above)
    assert (found.placement.rank, found.findings) == (3, ())


@pytest.mark.parametrize("above", ["42.batch", "42.1", "42.interactive", "43.extern"])
def test_below_the_daemon_of_another_step_the_variables_make_no_rank(above):
    assert detect(STEP, above=above) == Found(None, (), "42")


def test_below_no_daemon_at_all_a_rank_of_several_is_doubted():
    found = detect(STEP, above="")
    assert found.placement.rank == 3
    (doubt,) = found.findings
    assert (doubt.severity, doubt.code, doubt.remedy) == ("warning", "cluster.stale", "--cluster none")
    assert "rank 3 of 4 of Slurm step 42.0" in doubt.message
    assert "SLURM_STEP_ID" in doubt.names


def test_a_rank_that_is_alone_is_not_doubted():
    alone = STEP | dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
    alone |= {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1", "SLURM_STEP_NODELIST": "n1"}
    assert detect(alone, above="").findings == ()


@pytest.mark.parametrize("environ", [TORCHRUN, OPEN_MPI, HYDRA])
def test_ranks_of_other_engines_are_not_asked_for_slurms_daemon(environ):
    assert detect(STEP | environ, above="").findings == ()
