"""Programs and headers are found where the job will look for them."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgelaunch.host.facts import Tool
from mgelaunch.host.tools import find_tools

NAMES = ("c++", "ninja", "nvcc", "cuda_runtime.h")


@pytest.fixture
def program(tmp_path):
    """A function that makes a program below the folder of the test, and returns its path."""

    def make(path, mode=0o755):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch(mode)
        return str(tmp_path / path)

    return make


def paths(search, **environ):
    found = find_tools(search, environ)
    assert tuple(tool.name for tool in found) == NAMES
    return dict(found)


def test_what_is_nowhere_has_no_path():
    assert find_tools("", {}) == tuple(Tool(name) for name in NAMES)


@pytest.mark.parametrize("name", ["c++", "ninja", "nvcc"])
def test_a_program_is_found_on_the_path_of_the_job(program, tmp_path, name):
    assert paths(f"/nowhere:{tmp_path}/bin", PATH="/nowhere")[name] == ""
    assert program(f"bin/{name}") == paths(f"/nowhere:{tmp_path}/bin", PATH="/nowhere")[name]


def test_the_first_folder_of_the_path_wins(program, tmp_path):
    first, _ = program("a/ninja"), program("b/ninja")
    assert paths(f"{tmp_path}/a:{tmp_path}/b")["ninja"] == first


def test_what_cannot_be_executed_is_passed_over(program, tmp_path):
    program("a/ninja", stat.S_IRUSR)
    (tmp_path / "b/ninja").mkdir(parents=True)
    assert paths(f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c")["ninja"] == ""
    assert program("c/ninja") == paths(f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c")["ninja"]


@pytest.mark.parametrize("said", ["clang++", "clang++ -stdlib=libc++", "  clang++  "])
def test_the_first_word_of_cxx_is_the_compiler(program, tmp_path, said):
    program("bin/c++")
    assert program("bin/clang++") == paths(f"{tmp_path}/bin", CXX=said)["c++"]


def test_a_compiler_that_is_named_by_its_path_is_not_searched(program):
    compiler = program("opt/g++")
    assert paths("", CXX=compiler)["c++"] == compiler


def test_a_named_compiler_that_is_not_there_is_not_replaced(program, tmp_path):
    program("bin/c++")
    assert paths(f"{tmp_path}/bin", CXX="clang++")["c++"] == ""


@pytest.mark.parametrize("said", ["", "  "])
def test_a_blank_cxx_names_no_compiler(program, tmp_path, said):
    assert program("bin/c++") == paths(f"{tmp_path}/bin", CXX=said)["c++"]


@pytest.mark.parametrize("folder", ["cuda", "cuda/bin"])
def test_the_headers_are_in_or_beside_the_folder_of_cuda(program, tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    header = program("cuda/include/cuda_runtime.h", 0o644)
    assert os.path.samefile(paths("", CUDA_BIN_PATH=f"{tmp_path}/{folder}")["cuda_runtime.h"], header)


@pytest.mark.parametrize("folder", ["", "/nowhere", "/nowhere/"])
def test_headers_that_are_not_there_have_no_path(folder):
    assert paths("", CUDA_BIN_PATH=folder)["cuda_runtime.h"] == ""


@given(st.text(), st.text(), st.text())
def test_no_value_is_too_strange(search, compiler, folder):
    assert len(find_tools(search, {"CXX": compiler, "CUDA_BIN_PATH": folder})) == len(NAMES)
