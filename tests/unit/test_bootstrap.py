"""What the bootstrap says of itself holds: its table is the catalogue's, and its language is that of old Pythons."""

import ast
import textwrap
from collections import defaultdict
from pathlib import Path

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.checks.late import imports_of
from mgelaunch.environment.profile_values import FIXES
from mgelaunch.launch.fixes import IN_PROCESS
from mgelaunch.target import interpreter

SOURCE = Path(interpreter.__file__).with_name("importlib_bootstrap.py")
TREE = ast.parse(SOURCE.read_text("utf-8"))
LOADED_AT_START = {"os", "sys"}


def constant(name):
    """The value of a constant of the bootstrap."""
    return next(
        ast.literal_eval(node.value)
        for node in TREE.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    )


def modules(variable):
    """The modules after whose import a change of `variable` comes too late for certain; the empty one is Python."""
    if variable.moment == "start":
        return [""]
    if variable.moment not in {"import", "exit_too"} or {"cuda", "nccl"} & {
        each.framework for each in variable.readers
    }:
        return []  # a driver reads it later once more
    read = imports_of(variable).read
    return [module for module in read if variable.moment == "import" or module == "megengine"]


def derived():
    """What the catalogue says: the names that each module reads, sorted."""
    names = defaultdict(list)
    for variable in CATALOGUE.values():
        for module in modules(variable):
            names[module].append(variable.name)
    return {module: sorted(names[module]) for module in sorted(names)}


def test_the_guarded_variables_are_those_of_the_catalogue():
    def lines(names):
        text = textwrap.wrap(" ".join(names), 112, break_on_hyphens=False)
        return "\n".join(f'    "{line} "' for line in text[:-1]) + f'\n    "{text[-1]}",'

    paste = "\n".join(f'    "{module}": {lines(names).lstrip()}' for module, names in derived().items())
    assert {module: names.split() for module, names in constant("GUARDED").items()} == derived(), f"\n{paste}\n"


def test_those_that_are_read_at_exit_as_well_are_those_of_the_catalogue():
    assert sorted(constant("AT_EXIT").split()) == sorted(
        name for name, variable in CATALOGUE.items() if variable.moment == "exit_too"
    )


def test_it_knows_the_fixes_that_are_done_in_the_process():
    node = next(each for each in TREE.body if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "FIXES")
    assert {ast.literal_eval(key) for key in node.value.keys} == IN_PROCESS < set(FIXES)


def test_it_is_in_the_language_of_python_3_7():
    ast.parse(SOURCE.read_text("utf-8"), feature_version=(3, 7))


def test_it_loads_no_module_of_python_that_a_script_would_not_find_loaded():
    assert {
        name for node in TREE.body if isinstance(node, ast.Import) for name in (each.name for each in node.names)
    } == LOADED_AT_START
    assert not [node for node in TREE.body if isinstance(node, ast.ImportFrom)]


def test_the_warnings_module_passes_over_its_frame():
    """As CPython has it in warnings.py and _warnings.c, ``is_internal_frame``."""
    assert "importlib" in SOURCE.name
    assert "_bootstrap" in SOURCE.name
