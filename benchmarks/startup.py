"""What it costs to start a no-op script through mgelaunch and through its peers, in one run.

    python benchmarks/startup.py                      mgelaunch, python-dotenv and honcho beside this interpreter
    python benchmarks/startup.py --torch DIR          torchrun and accelerate from DIR as well (DIR/torchrun)

Every launcher starts the same script with the same interpreter. The commands take turns, so that a noisy
machine is noisy for all; medians are printed: CPU time (user + system, of the launcher and the script),
wall time, peak resident memory, and the CPU time as a multiple of the bare interpreter's and of dotenv's.
Needs `python-dotenv[cli]` and `honcho` to compare with; what is not installed is left out, and said so.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field

VARIABLES = 100
DEPTH = 5


@dataclass
class Row:
    name: str
    argv: list
    cwd: str
    environ: dict
    cpu: list = field(default_factory=list)
    wall: list = field(default_factory=list)
    peak: list = field(default_factory=list)

    def launch(self):
        started = time.perf_counter()
        silent = os.open(os.devnull, os.O_WRONLY)
        pid = os.fork()
        if pid == 0:
            os.chdir(self.cwd)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            os.execve(self.argv[0], self.argv, self.environ)
        os.close(silent)
        _, status, usage = os.wait4(pid, 0)
        self.wall.append(time.perf_counter() - started)
        self.cpu.append(usage.ru_utime + usage.ru_stime)
        self.peak.append(usage.ru_maxrss / 1024)
        if status:
            sys.exit(f"{self.name} failed: {' '.join(self.argv)}")

    def median(self, of):
        return statistics.median(getattr(self, of))


def project(folder, *, variables=0, depth=0):
    """A project with the script, and on request a `.env` and a chain of profiles."""
    os.makedirs(os.path.join(folder, ".mgelaunch"))
    write(folder, "noop.py", "")
    if variables:
        write(folder, ".env", "".join(f"APP_SETTING_{index:03d}=value-{index}\n" for index in range(variables)))
    for level in range(depth):
        base = f'extends = ["level{level - 1}"]\n' if level else 'extends = ["dtr"]\n'
        write(folder, f".mgelaunch/level{level}.toml", f'{base}[env]\nAPP_LEVEL_{level} = "{level}"\n')
    return folder


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def rows(folder, torch):
    python = os.path.realpath(sys.executable) if sys.prefix == sys.base_prefix else sys.executable
    beside = os.path.dirname(python)
    environ = {"PATH": os.pathsep.join((beside, os.defpath)), "HOME": folder, "LANG": "C.UTF-8"}
    plain = project(os.path.join(folder, "plain"))
    env100 = project(os.path.join(folder, "env100"), variables=VARIABLES)
    deep = project(os.path.join(folder, "deep"), variables=VARIABLES, depth=DEPTH)

    def tool(name, where=beside):
        path = os.path.join(where, name)
        return path if os.path.exists(path) else None

    mgelaunch = [tool("mgelaunch") or sys.exit("mgelaunch is not installed beside this interpreter"), "run"]
    target = ["--python", python, "noop.py"]
    yield Row("bare interpreter", [python, "noop.py"], plain, environ)
    one = os.path.join(plain, "one.env")
    write(plain, "one.env", "APP_SETTING=1\n")
    for name, argv in (
        ("dotenv run", ["-f", one, "run", "--", python, "noop.py"]),
        (f"dotenv run, {VARIABLES} variables", ["-f", os.path.join(env100, ".env"), "run", "--", python, "noop.py"]),
        ("honcho run", ["-e", one, "run", python, "noop.py"]),
    ):
        if path := tool(name.split()[0]):
            yield Row(name, [path, *argv], plain, environ)
        else:
            print(f"{name}: not installed, left out")
    for name in ("torchrun", "accelerate"):
        found = tool(name, torch) if torch else shutil.which(name)
        argv = (
            ["launch", "--cpu", "noop.py"]
            if name == "accelerate"
            else ["--standalone", "--no-python", python, "noop.py"]
        )
        if found:
            yield Row(f"{name}{' launch' if name == 'accelerate' else ''}", [found, *argv], plain, environ)
        else:
            print(f"{name}: not installed, left out")
    yield Row("mgelaunch run", [*mgelaunch, *target], plain, environ)
    yield Row("mgelaunch run -p dtr", [*mgelaunch, "-p", "dtr", *target], plain, environ)
    yield Row(f"  + .env of {VARIABLES} variables", [*mgelaunch, "-p", "dtr", *target], env100, environ)
    yield Row(f"  + a chain of {DEPTH} profiles", [*mgelaunch, "-p", f"level{DEPTH - 1}", *target], deep, environ)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=15, help="launches of each command (default 15)")
    parser.add_argument("--torch", metavar="DIR", help="folder that holds torchrun and accelerate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mgelaunch-startup-") as folder:
        table = list(rows(folder, options.torch))
        for row in table:  # warms the caches of the file system and of bytecode
            row.launch()
            row.cpu.clear(), row.wall.clear(), row.peak.clear()
        for _ in range(options.launches):
            for row in table:
                row.launch()
    bare = table[0].median("cpu")
    dotenv = next((row.median("cpu") for row in table if row.name == "dotenv run"), None)
    print(f"{sys.implementation.name} {sys.version.split()[0]}, medians of {options.launches} launches\n")
    print(f"{'':30}{'CPU ms':>9}{'wall ms':>9}{'MiB':>7}{'x bare':>8}{'x dotenv':>10}")
    for row in table:
        cpu = row.median("cpu")
        against = f"{cpu / dotenv:10.2f}" if dotenv else f"{'-':>10}"
        wall, peak = row.median("wall") * 1000, row.median("peak")
        print(f"{row.name:30}{cpu * 1000:9.1f}{wall:9.1f}{peak:7.1f}{cpu / bare:8.2f}{against}")


if __name__ == "__main__":
    main()
