"""The plan is all that is started: its processes, their command line, what differs from the inherited environment."""

from mgelaunch.launch.command import Command
from mgelaunch.launch.plan import complete_environment, plan

CHANGES = {"SET": "1", "EMPTY": "", "GONE": None, "NEVER": None}


def test_one_process_is_rank_0():
    (process,) = plan(Command("/bin/tool", ("tool", "-x")), "/cwd", [CHANGES]).processes
    assert (process.rank, process.program, process.argv, process.cwd) == (0, "/bin/tool", ("tool", "-x"), "/cwd")
    assert process.environment == CHANGES


def test_each_rank_has_its_own_environment_and_its_own_cpus():
    planned = plan(None, "/cwd", [{"A": "0"}, {"A": "1"}], [(0, 1), (2, 3)], supervised=True)
    assert planned.supervised
    assert [(p.rank, p.environment, p.cpus) for p in planned.processes] == [
        (0, {"A": "0"}, (0, 1)),
        (1, {"A": "1"}, (2, 3)),
    ]


def test_a_process_is_not_bound_unless_cpus_are_given():
    assert plan(None, "/cwd", [{}]).processes[0].cpus == ()


def test_without_a_target_the_plan_has_an_environment_and_no_command():
    (process,) = plan(None, "/cwd", [CHANGES]).processes
    assert (process.program, process.argv, process.environment) == ("", (), CHANGES)


def test_a_text_sets_none_removes_and_the_rest_is_inherited():
    inherited = {"SET": "0", "GONE": "1", "KEPT": "2"}
    assert complete_environment(inherited, CHANGES) == {"SET": "1", "EMPTY": "", "KEPT": "2"}
    assert inherited == {"SET": "0", "GONE": "1", "KEPT": "2"}


def test_no_changes_change_nothing():
    inherited = {"B": "1", "A": "2"}
    assert list(complete_environment(inherited, {}).items()) == list(inherited.items())
