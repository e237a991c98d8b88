"""Where CPUs sit, read from real folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedtui.backend.model import CpuPlace
from schedtui.backend.probes.files import parse_cpu_list
from schedtui.backend.probes.topology import possible_cpus, read_memory_mib, read_topology
from tests.probes.trees import STAT, eight_cpus_two_caches, write


def test_this_machines_cpus_are_all_there() -> None:
    assert len(read_topology()) == os.sysconf("SC_NPROCESSORS_ONLN")
    assert possible_cpus() >= os.sysconf("SC_NPROCESSORS_CONF")
    assert read_memory_mib() > 0


def test_threads_share_a_core_and_cores_share_a_cache(tmp_path: Path) -> None:
    eight_cpus_two_caches(tmp_path)
    places = read_topology(tmp_path)
    assert [place.core for place in places] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [place.llc for place in places] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert [place.node for place in places] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert {place.max_mhz for place in places} == {4200}
    assert possible_cpus(tmp_path) == 16


def test_without_cache_folders_the_package_is_the_group(tmp_path: Path) -> None:
    base = "sys/devices/system/cpu"
    write(tmp_path, {f"{base}/online": "0,2\n"})
    write(tmp_path, {f"{base}/cpu{cpu}/topology/package_cpus_list": "0,2\n" for cpu in (0, 2)})
    assert read_topology(tmp_path) == (CpuPlace(0, 0, 0, 0), CpuPlace(2, 1, 0, 0))


def test_without_sys_the_cpus_of_proc_stat_are_used(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": STAT})
    assert [place.cpu for place in read_topology(tmp_path)] == [0, 1]
    assert possible_cpus(tmp_path) == 2


@pytest.mark.parametrize(("text", "cpus"), [(b"0-3,8\n", (0, 1, 2, 3, 8)), (b"5", (5,)), (b"\n", ())])
def test_cpu_lists_are_the_kernels(text: bytes, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus
