"""Which variables come too late in a process that has imported something already."""

import pytest

from mgelaunch.catalogue import CATALOGUE
from mgelaunch.checks.late import imports_of, late

EVERYTHING = ("numpy", "cv2", "numexpr", "megengine", "torch", "brevitas")
LIBRARIES_ONLY = {"VECLIB_MAXIMUM_THREADS"}
"""Read on macOS alone."""
UNREAD = {"MGB_ATLAS_RESERVE_MEMORY", "MGB_CAMBRICON_RESERVE_MEMORY", "MGB_ROCM_RESERVE_MEMORY"}
"""Read by builds of MegEngine that no index has."""


def told(name, *loaded):
    """The severity and the code of what is said when `name` changes after these imports; None when nothing is."""
    said = [(finding.severity, finding.code) for finding in late([name], loaded)]
    assert len(said) <= 1
    return said[0] if said else None


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_variable_is_late_by_the_moment_that_its_row_says(name):
    expected = {
        "start": ("error", "late.start"),
        "import": ("error", "late.import"),
        "exit_too": ("error", "late.import"),
        "first_device": ("warning", "late.unknown"),
        "first_tensor": ("warning", "late.unknown"),
        "first_use": ("warning", "late.unknown"),
        "each_use": None,
        "never": None,
    }[CATALOGUE[name].moment]
    if name in LIBRARIES_ONLY | UNREAD:
        expected = None
    if name == "KMP_AFFINITY":  # torch's and NumPy's wheels bring another OpenMP
        expected = ("warning", "late.unknown")
    assert told(name, *EVERYTHING) == expected


@pytest.mark.parametrize("name", CATALOGUE)
def test_before_any_import_only_what_python_itself_reads_is_late(name):
    assert told(name) == (("error", "late.start") if CATALOGUE[name].moment == "start" else None)


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_module_both_reads_a_variable_and_may_read_it(name):
    imports = imports_of(CATALOGUE[name])
    assert set(imports.read).isdisjoint(imports.may_read)


@pytest.mark.parametrize(
    ("name", "loaded", "expected"),
    [
        ("MEGENGINE_DTR_AUTO_DROP", ("torch", "numpy"), None),
        ("MEGENGINE_DTR_AUTO_DROP", ("megengine",), "late.import"),
        ("BREVITAS_JIT", ("torch",), None),
        ("PYTORCH_JIT", ("torch",), "late.import"),
        ("OMP_NUM_THREADS", ("numpy",), "late.import"),
        ("MKL_NUM_THREADS", ("numpy",), "late.unknown"),
        ("MKL_NUM_THREADS", ("numpy", "torch"), "late.import"),
        ("NUMEXPR_NUM_THREADS", ("numpy",), None),
        ("CUDA_MODULE_LOADING", ("torch",), "late.unknown"),
        ("CUDA_MODULE_LOADING", ("torch", "megengine"), "late.import"),
        ("CUDA_VISIBLE_DEVICES", ("numpy",), None),
        ("CUDA_VISIBLE_DEVICES", ("megengine",), "late.unknown"),
        ("NCCL_DEBUG", ("torch",), "late.unknown"),
        ("NOBODYS_OWN", ("megengine", "torch"), None),
    ],
)
def test_only_those_who_read_a_variable_make_it_late(name, loaded, expected):
    said = told(name, *loaded)
    assert (said and said[1]) == expected


def test_the_import_that_is_named_is_the_one_that_came_first():
    """The script says import torch, which imports NumPy."""
    (finding,) = late(["OMP_NUM_THREADS"], ["os", "torch", "numpy"])
    assert finding.message.startswith('OMP_NUM_THREADS is read by "import torch", which has happened')
    assert finding.names == ("OMP_NUM_THREADS",)
