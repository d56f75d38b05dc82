"""Programs and headers that a setting makes the framework look for while the job runs."""

import os
from collections.abc import Mapping

from mgelaunch.host.facts import Tool


def find_tools(path: str, environ: Mapping[str, str]) -> tuple[Tool, ...]:
    """The compiler, ``ninja``, ``nvcc`` and CUDA's headers, as a job finds them that has `environ` and the search path
    `path`.

    The compiler is called ``c++`` here, and is what CXX names, if it names one. The headers are searched where
    MegEngine's compiler of kernels does: below CUDA_BIN_PATH, which is the folder of the programs or the one
    above it (read in 1.13.0's source).
    """
    compiler = (environ.get("CXX", "").split() or ["c++"])[0]
    return (
        Tool("c++", _program(compiler, path)),
        Tool("ninja", _program("ninja", path)),
        Tool("nvcc", _program("nvcc", path)),
        Tool("cuda_runtime.h", _header("cuda_runtime.h", environ.get("CUDA_BIN_PATH", ""))),
    )


def _program(name: str, path: str) -> str:
    """Where execvp(3) finds `name`, empty when nowhere. shutil.which says the same, but its import costs more."""
    folders = [""] if "/" in name else path.split(os.pathsep)
    return next((found for folder in folders if _executable(found := os.path.join(folder, name))), "")


def _executable(path: str) -> bool:
    try:
        return os.path.isfile(path) and os.access(path, os.X_OK)
    except ValueError:  # a name may hold a NUL
        return False


def _header(name: str, folder: str) -> str:
    places = (f"{folder}/include/{name}", f"{folder}/../include/{name}") if folder else ()
    return next((place for place in places if os.path.isfile(place)), "")
