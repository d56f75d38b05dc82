"""What programs get from `import mgelaunch`."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys, mgelaunch
decision = mgelaunch.resolve(["ours"], settings={"MEGENGINE_ENABLE_DROP": "on"}, unset=["GONE"], target="train.py", args=["-b", "1"])
assert isinstance(decision.findings, tuple) and isinstance(decision.plan, mgelaunch.Plan)
assert isinstance(decision, mgelaunch.Decision)
process = decision.plan.processes[0]
print(json.dumps([process.argv[1:], process.environment, [finding.code for finding in decision.findings]]))
"""


def python(world, program):
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=world.project,
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_gets_the_plan_and_the_findings_of_the_same_options(world):
    world.write(".mgelaunch/ours.toml", '[env]\nMEGENGINE_DTR_EVICTION_THRESHOLD = "5GB"\n')
    world.write("train.py", "")
    done = python(world, PROGRAM)
    assert (done.returncode, done.stderr) == (0, "")
    argv, environment, codes = json.loads(done.stdout)
    assert argv == ["train.py", "-b", "1"]
    assert environment == {"MEGENGINE_DTR_EVICTION_THRESHOLD": "5368709120", "MEGENGINE_ENABLE_DROP": "1", "GONE": None}
    assert codes == ["together.dtr"]


def test_importing_the_package_loads_nothing_but_itself(world):
    done = python(
        world,
        "import sys, mgelaunch; print([name for name in sys.modules if name.startswith(('mgelaunch.', 'typer'))])",
    )
    assert done.stdout == "[]\n"


def test_a_name_that_is_not_public_is_an_attribute_error(world):
    done = python(world, "import mgelaunch; mgelaunch.nothing")
    assert done.stderr.endswith("AttributeError: module 'mgelaunch' has no attribute 'nothing'\n")
