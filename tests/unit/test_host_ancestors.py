"""Who is above a process, read from a tree of files that looks like /proc."""

import pytest

from mgelaunch.host.ancestors import slurm_step_above
from mgelaunch.host.files import Files

OUTERMOST, CONTAINER = "pid:[4026531836]", "pid:[4026532712]"


@pytest.fixture
def above(tmp_path):
    """A function that takes pids from the parent upwards, each with its command line, and the process namespace."""

    def look(chain, namespace=OUTERMOST):
        folder = tmp_path / "proc"
        (folder / "self/ns").mkdir(parents=True)
        (folder / "self/ns/pid").symlink_to(namespace)
        pids = list(chain)
        for pid, parent in zip(pids, [*pids[1:], 0], strict=True):
            (folder / str(pid)).mkdir()
            (folder / f"{pid}/cmdline").write_text(chain[pid])
            (folder / f"{pid}/stat").write_text(f"{pid} (a) b) c) S {parent} {pid} 1 0 -1")
        return slurm_step_above(pids[0], Files(str(tmp_path)))

    return look


@pytest.mark.parametrize("step", ["42.0", "42.batch", "42.0+1"])
def test_the_step_is_in_the_name_that_the_daemon_gives_itself(above, step):
    assert above({70: "bash\0train.sh\0", 60: f"slurmstepd: [{step}]\0\0\0", 1: "systemd\0"}) == step


def test_of_two_daemons_the_nearest_counts(above):
    assert above({70: "slurmstepd: [43.batch]", 60: "slurmstepd: [42.0]", 1: "init"}) == "43.batch"


def test_another_program_with_a_like_name_is_none(above):
    assert above({70: "grep\0slurmstepd: [42.0]\0", 1: "systemd"}) == ""


def test_without_a_daemon_up_to_the_first_process_of_the_machine_there_is_none(above):
    assert above({70: "tmux", 1: "systemd"}) == ""


def test_in_a_container_nobody_can_tell_who_is_above(above):
    assert above({70: "bash", 1: "sleep"}, CONTAINER) is None


def test_a_parent_that_cannot_be_read_tells_nothing(tmp_path):
    assert slurm_step_above(70, Files(str(tmp_path))) is None


def test_a_circle_comes_to_an_end(tmp_path):
    (tmp_path / "proc/70").mkdir(parents=True)
    (tmp_path / "proc/70/stat").write_text("70 (odd) S 70 70")
    assert slurm_step_above(70, Files(str(tmp_path))) is None
