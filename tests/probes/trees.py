"""Small /proc and /sys trees in a real folder, for formats that the machine which runs the tests may lack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

STAT = """cpu  300 0 100 1600 0 0 0 0 0 0
cpu0 100 0 50 850 0 0 0 0 0 0
cpu1 200 0 50 750 0 0 0 0 0 0
intr 12345 0 0 7
ctxt 5000
btime 1795255404
processes 300
procs_running 3
procs_blocked 0
softirq 1 2 3
"""

SCHEDSTAT_15 = """version 15
timestamp 4297299139
cpu0 0 0 0 0 0 0 1000000000 250000000 900
domain0 00000003 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36
cpu1 0 0 0 0 0 0 2000000000 750000000 800
domain0 00000003 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36
"""
SCHEDSTAT_16 = SCHEDSTAT_15.replace("version 15", "version 16")
SCHEDSTAT_17 = SCHEDSTAT_15.replace("version 15", "version 17").replace("domain0 00000003", "domain0 MC 00000003")

SCHED_EXT = {
    "state": "enabled\n",
    "enable_seq": "3\n",
    "nr_rejected": "2\n",
    "switch_all": "1\n",
    "root/ops": "lavd_1.0.18\n",
    "root/events": "SCX_EV_SELECT_CPU_FALLBACK 7\nSCX_EV_REFILL_SLICE_DFL 12\n",
}


def write(root: Path, files: Mapping[str, str]) -> None:
    """Each file below ``root``, with the folders that it needs."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_sched_ext(root: Path, **changes: str) -> None:
    """An enabled sched_ext, with some of its files changed."""
    write(root, {f"sys/kernel/sched_ext/{name}": text for name, text in (SCHED_EXT | changes).items()})


def eight_cpus_two_caches(root: Path) -> None:
    """Four cores of two threads each (n and n + 4), two third-level caches, two memory nodes."""
    base = "sys/devices/system/cpu"
    files = {f"{base}/online": "0-7\n", f"{base}/possible": "0-15\n"}
    for cpu in range(8):
        core, cache = cpu % 4, "0-1,4-5" if cpu % 4 < 2 else "2-3,6-7"
        files |= {
            f"{base}/cpu{cpu}/topology/thread_siblings_list": f"{core},{core + 4}\n",
            f"{base}/cpu{cpu}/cache/index0/level": "1\n",
            f"{base}/cpu{cpu}/cache/index0/shared_cpu_list": f"{core},{core + 4}\n",
            f"{base}/cpu{cpu}/cache/index1/level": "3\n",
            f"{base}/cpu{cpu}/cache/index1/shared_cpu_list": f"{cache}\n",
            f"{base}/cpu{cpu}/cpufreq/cpuinfo_max_freq": "4200000\n",
            f"{base}/cpu{cpu}/cpufreq/scaling_cur_freq": f"{1_000_000 + cpu * 100_000}\n",
        }
    for node, cpus in enumerate(("0-1,4-5", "2-3,6-7")):
        files[f"sys/devices/system/node/node{node}/cpulist"] = cpus + "\n"
    write(root, files)
