"""Limits of the kernel on files, tasks and address space, as this process has them and the job inherits them."""

import re

from mgelaunch.host.cgroups import pids_limit
from mgelaunch.host.facts import Limits, Rlimit
from mgelaunch.host.files import Files, whole


def read_limits(files: Files) -> Limits:
    """The limits of this process (bytes or counts), of its control groups and of the kernel, and whether
    InfiniBand needs locked memory here.
    """
    rlimits = _rlimits(files.text("/proc/self/limits"))
    pids, tasks = pids_limit(files)
    return Limits(
        nofile=rlimits.get("open files"),
        nproc=rlimits.get("processes"),
        memlock=rlimits.get("locked memory"),
        core=rlimits.get("core file size"),
        address_space=rlimits.get("address space"),
        data=rlimits.get("data size"),
        pids=pids,
        tasks=tasks,
        threads_max=files.number("/proc/sys/kernel/threads-max"),
        map_count=files.number("/proc/sys/vm/max_map_count"),
        infiniband=any(name.startswith("uverbs") for name in files.names("/dev/infiniband")),
    )


def _rlimits(text: str) -> dict[str, Rlimit]:
    """The table of ``/proc/self/limits`` by the names that follow "Max"; rows that make no sense are left out."""
    rows = re.findall(
        r"^Max ([a-z ]+?) {2,}(unlimited|[0-9]{1,20}) +(unlimited|[0-9]{1,20})(?: |$)", text, re.MULTILINE
    )
    return {name: Rlimit(whole(soft), whole(hard)) for name, soft, hard in rows}
