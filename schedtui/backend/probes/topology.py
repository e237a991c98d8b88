"""Where the CPUs sit: core, shared cache, memory node, top speed; and how much memory there is. Read once."""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.model import CpuPlace
from schedtui.backend.probes.files import parse_cpu_list, read_number, read_small

ROOT = Path("/")


def possible_cpus(root: Path = ROOT) -> int:
    """How many CPUs this kernel can ever have: the size of an array indexed by CPU."""
    try:
        return parse_cpu_list(read_small(root / "sys/devices/system/cpu/possible"))[-1] + 1
    except (OSError, ValueError, IndexError):
        return len(read_topology(root))


def read_topology(root: Path = ROOT) -> tuple[CpuPlace, ...]:
    """The CPUs that are online, in order. Caches and cores are numbered from 0 in the order of their first CPU."""
    base = root / "sys/devices/system/cpu"
    nodes = _node_of_cpu(root / "sys/devices/system/node")
    cores: dict[tuple[int, ...], int] = {}
    caches: dict[tuple[int, ...], int] = {}
    places = []
    for cpu in _online(base, root / "proc/stat"):
        folder = base / f"cpu{cpu}"
        core = cores.setdefault(_list_in(folder / "topology/thread_siblings_list", cpu), len(cores))
        llc = caches.setdefault(_last_level_cache(folder, cpu), len(caches))
        khz = read_number(folder / "cpufreq/cpuinfo_max_freq")
        place = CpuPlace(cpu, core, llc, nodes.get(cpu, 0), khz // 1000 if khz else None)
        places.append(place)
    return tuple(places)


def read_memory_mib(root: Path = ROOT) -> int:
    """MemTotal of /proc/meminfo; 0 when it cannot be read."""
    try:
        _, _, rest = read_small(root / "proc/meminfo").partition(b"MemTotal:")
        return int(rest.split(None, 1)[0]) // 1024
    except (OSError, ValueError, IndexError):
        return 0


def _online(base: Path, stat: Path) -> tuple[int, ...]:
    try:
        return parse_cpu_list(read_small(base / "online"))
    except (OSError, ValueError):
        pass
    try:
        lines = stat.read_bytes().split(b"\n")
    except OSError:
        return ()
    return tuple(int(line[3:].split()[0]) for line in lines if line.startswith(b"cpu") and line[3:4].isdigit())


def _list_in(path: Path, alone: int) -> tuple[int, ...]:
    """The CPUs that share something; only this one when the kernel does not say."""
    try:
        return parse_cpu_list(read_small(path)) or (alone,)
    except (OSError, ValueError):
        return (alone,)


def _last_level_cache(folder: Path, cpu: int) -> tuple[int, ...]:
    """The CPUs under the deepest cache; without cache information, those of the package."""
    best_level = 0
    sharing: tuple[int, ...] = ()
    for index in range(8):
        level = read_number(folder / f"cache/index{index}/level")
        if level is None:
            break
        if level > best_level:
            best_level, sharing = level, _list_in(folder / f"cache/index{index}/shared_cpu_list", cpu)
    return sharing or _list_in(folder / "topology/package_cpus_list", cpu)


def _node_of_cpu(base: Path) -> dict[int, int]:
    nodes = {}
    for folder in sorted(base.glob("node[0-9]*")):
        for cpu in _list_in(folder / "cpulist", -1):
            nodes[cpu] = int(folder.name[4:])
    return nodes
