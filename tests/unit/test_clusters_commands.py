"""The command lines by which engines are asked to start, to tell and to end ranks, to the letter."""

import pytest

from mgelaunch.clusters import batch, mpirun, srun
from mgelaunch.clusters.engine import Wanted

INNER = ("/opt/bin/mgelaunch", "rank")
TWO_BY_TWO = Wanted(2, 2)


def test_srun_starts_the_ranks_in_blocks_and_ends_them_all_after_one():
    assert srun.command(TWO_BY_TWO, "mgelaunch-7", {}, INNER) == (
        *("srun", "--export=ALL", "--nodes=2", "--ntasks=4", "--ntasks-per-node=2", "--distribution=block"),
        *("--kill-on-bad-exit=1", "--input=0", "--job-name=mgelaunch-7", "/opt/bin/mgelaunch", "rank"),
    )


def test_srun_gets_the_processors_that_the_job_has_for_each_task():
    """Slurm from 22.05 on does not read them from the environment of a job any more."""
    words = srun.command(TWO_BY_TWO, "name", {"SLURM_CPUS_PER_TASK": "6"}, INNER)
    assert words[-3:] == ("--cpus-per-task=6", *INNER)


def test_srun_names_no_variable():
    """A list would be cut at the first comma of a value; plain ALL keeps every character."""
    words = srun.command(TWO_BY_TWO, "name", {"VALUE": "a,b"}, INNER)
    assert [word for word in words if "export" in word] == ["--export=ALL"]


@pytest.mark.parametrize("name", ["SLURM_HOSTFILE", "SLURM_DISTRIBUTION", "SLURM_EXPORT_ENV", "SLURM_LABELIO"])
def test_srun_does_not_see_what_would_place_or_label_ranks_otherwise(name):
    assert srun.environment({name: "x", "SLURM_JOB_ID": "1", "VALUE": "a,b"}) == {"SLURM_JOB_ID": "1", "VALUE": "a,b"}


def test_a_step_is_found_by_its_name_and_told_by_its_number():
    step = srun.Step("12", "mgelaunch-7")
    assert step.find() == ("squeue", "--noheader", "--steps", "--job", "12", "--format=%i %j")
    assert step.identity("12.batch batch\n12.0 mgelaunch-70\n12.1 mgelaunch-7\n") == "12.1"
    assert step.identity("12.batch batch\n\n") == ""
    assert step.identity("") == ""
    assert srun.tell("12.1", "TERM") == ("scancel", "--signal=TERM", "12.1")


def test_mpirun_starts_the_ranks_host_by_host():
    words = mpirun.command(TWO_BY_TWO, ("n1", "n2", "n3"), ("A", "B"), "/work", 10.0, INNER)
    assert words[:5] == ("mpirun", "-H", "n1:2,n2:2", "-np", "4")
    assert words[-8:] == ("--wdir", "/work", "-x", "A", "-x", "B", *INNER)
    assert "--map-by slot --bind-to none" in " ".join(words)


@pytest.mark.parametrize(("grace", "seconds"), [(2.0, "2"), (10.0, "10"), (600.0, "10")])
def test_mpirun_never_sleeps_long_when_it_ends_ranks_by_itself(grace, seconds):
    """It does so twice, also when mpirun itself has been killed."""
    words = mpirun.command(TWO_BY_TWO, ("n1", "n2"), (), "/work", grace, INNER)
    assert words[words.index("odls_base_sigkill_timeout") + 1] == seconds


def test_mpirun_misses_a_node_that_is_cut_off_after_half_a_minute():
    words = mpirun.command(TWO_BY_TWO, ("n1", "n2"), (), "/work", 10.0, INNER)
    idle, pause, missed = (
        int(words[words.index(f"oob_tcp_keepalive_{name}") + 1]) for name in ("time", "intvl", "probes")
    )
    assert idle + pause * missed == 30


def test_mpirun_is_never_asked_for_less_than_a_second_of_grace():
    """0 would have it kill at once."""
    words = mpirun.command(TWO_BY_TWO, ("n1", "n2"), (), "/work", 0.2, INNER)
    assert words[words.index("odls_base_sigkill_timeout") + 1] == "1"


TRAVELS = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "MGELAUNCH_RANK", "MASTER_ADDR", "VALUE", "_PRIVATE", "lower")
STAYS = (
    *("HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_", "TERM", "DISPLAY", "TMPDIR", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"),
    *("SSH_CONNECTION", "OMPI_MCA_btl", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PRTE_MCA_x", "SLURM_JOB_ID"),
    *("BASH_FUNC_module%%", "not-a-name", "1st"),
)


def test_mpirun_is_told_every_variable_that_means_something_elsewhere():
    assert mpirun.exported(dict.fromkeys((*TRAVELS, *STAYS), "a,b;c")) == tuple(sorted(TRAVELS))


def test_mpirun_gets_names_and_never_values():
    """A value on a command line is seen by everybody on the host."""
    names = mpirun.exported({"TOKEN": "secret"})
    words = mpirun.command(TWO_BY_TWO, ("n1", "n2"), names, "/work", 10.0, INNER)
    assert "TOKEN" in words
    assert not any("secret" in word for word in words)


def test_a_batch_script_becomes_the_command_and_warns_before_the_end():
    assert batch.script(
        TWO_BY_TWO, "mgelaunch", 5400.0, 10.0, ["mgelaunch", "run", "-e", 'A=b "c"\nd', "train.py"]
    ) == (
        "#!/bin/sh\n"
        "#SBATCH --job-name=mgelaunch\n"
        "#SBATCH --nodes=2\n"
        "#SBATCH --ntasks-per-node=2\n"
        "#SBATCH --time=90\n"
        "#SBATCH --requeue\n"
        "#SBATCH --open-mode=append\n"
        "#SBATCH --signal=B:USR1@60\n"
        "# The ranks get USR1 that many seconds before the end; it ends a script that does not handle it.\n"
        "exec mgelaunch run -e 'A=b \"c\"\nd' train.py\n"
    )


@pytest.mark.parametrize(("seconds", "line"), [(1.0, "1"), (60.0, "1"), (61.0, "2"), (3600.0, "60"), (None, None)])
def test_slurm_counts_a_time_limit_in_whole_minutes(seconds, line):
    said = [row for row in batch.script(TWO_BY_TWO, "j", seconds, 10.0, ["x"]).splitlines() if "--time" in row]
    assert said == ([f"#SBATCH --time={line}"] if line else [])


def test_a_warning_leaves_more_than_the_grace():
    assert "--signal=B:USR1@240" in batch.script(TWO_BY_TWO, "j", None, 120.0, ["x"])
