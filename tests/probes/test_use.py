"""CPU use, pressure, speeds and waiting: what becomes of counters between two readings."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedtui.backend.probes.cpu import CpuProbe, parse_stat, used_percent
from schedtui.backend.probes.frequency import FrequencyProbe
from schedtui.backend.probes.pressure import PressureProbe, parse_totals
from schedtui.backend.probes.schedstat import SchedstatProbe, parse_run_delay
from tests.probes.trees import SCHEDSTAT_15, SCHEDSTAT_16, SCHEDSTAT_17, STAT, eight_cpus_two_caches, write

counters = st.tuples(st.integers(0, 2**63), st.integers(0, 2**63))
per_cpu = st.dictionaries(st.integers(0, 300), counters, max_size=40)


@given(before=per_cpu, after=per_cpu)
def test_use_is_a_share_of_time_whatever_the_counters_do(
    before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]]
) -> None:
    used = used_percent(before, after)
    assert used.keys() == before.keys() & after.keys()
    assert all(0 <= percent <= 100 for percent in used.values())


def test_use_counts_everything_but_idle_and_waiting_for_disks() -> None:
    waiting_for_disks = parse_stat(b"cpu0 1 2 3 1000 500 4 5 6 0 0\nintr 0\n")
    assert waiting_for_disks.cpus == {0: (1 + 2 + 3 + 4 + 5 + 6, 1500)}
    assert used_percent({0: (100, 900), 1: (0, 0)}, {0: (175, 925), 1: (0, 100)}) == {0: 75.0, 1: 0.0}


def test_a_cpu_that_goes_offline_is_left_out_and_comes_back_a_sample_later(tmp_path: Path) -> None:
    offline = STAT.replace("cpu1 200 0 50 750 0 0 0 0 0 0\n", "")
    write(tmp_path, {"proc/stat": STAT, "proc/loadavg": "0.1 0.1 0.1 2/90 400\n"})
    probe = CpuProbe(tmp_path)
    seen = []
    for text in (offline, STAT, STAT):
        write(tmp_path, {"proc/stat": text})
        seen.append(sorted(probe.sample(1.0).used_percent))
    probe.close()
    assert seen == [[0], [0], [0, 1]]


def test_switches_and_forks_are_rates_and_the_reader_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": STAT, "proc/loadavg": "0.1 0.1 0.1 2/90 400\n"})
    probe = CpuProbe(tmp_path)
    write(tmp_path, {"proc/stat": STAT.replace("ctxt 5000", "ctxt 5600").replace("processes 300", "processes 310")})
    use = probe.sample(2.0)
    probe.close()
    assert (use.activity.switches_per_s, use.activity.forks_per_s, use.forks) == (300.0, 5.0, 10)
    assert (use.activity.runnable, use.activity.tasks) == (2, 90)


def test_a_busy_process_shows_on_this_machine() -> None:
    probe = CpuProbe()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    use = probe.sample(0.3)
    probe.close()
    assert max(use.used_percent.values()) > 30
    assert len(use.used_percent) == os.sysconf("SC_NPROCESSORS_ONLN")


def test_stat_of_256_cpus_is_read_whole() -> None:
    lines = "".join(f"cpu{cpu} {cpu} 0 0 1000 0 0 0 0 0 0\n" for cpu in range(256))
    totals = parse_stat(f"cpu  1 0 0 1 0 0 0 0 0 0\n{lines}intr 1\nctxt 2\nprocesses 3\nprocs_running 4\n".encode())
    assert totals.cpus[255] == (255, 1000)
    assert (len(totals.cpus), totals.switches, totals.forks, totals.runnable) == (256, 2, 3, 4)


def pressure(some: int, full: int) -> str:
    return f"some avg10=0.00 avg60=0.00 avg300=0.00 total={some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={full}\n"


def test_pressure_is_the_growth_of_the_totals_over_the_interval(tmp_path: Path) -> None:
    write(tmp_path, {f"proc/pressure/{name}": pressure(1000, 500) for name in ("cpu", "io", "memory")})
    probe = PressureProbe(tmp_path)
    write(tmp_path, {"proc/pressure/cpu": pressure(501_000, 500), "proc/pressure/io": pressure(3_001_000, 200_500)})
    shown = probe.sample(2.0)
    probe.close()
    assert (shown["cpu"].some_percent, shown["cpu"].full_percent) == (25.0, None)
    assert (shown["io"].some_percent, shown["io"].full_percent) == (100.0, 10.0)
    assert (shown["memory"].some_percent, shown["memory"].full_percent) == (0.0, 0.0)


def test_pressure_totals_that_go_backwards_count_as_nothing(tmp_path: Path) -> None:
    write(tmp_path, {f"proc/pressure/{name}": pressure(1000, 500) for name in ("cpu", "io", "memory")})
    probe = PressureProbe(tmp_path)
    write(tmp_path, {"proc/pressure/io": pressure(10, 5)})
    assert probe.sample(1.0)["io"].some_percent == 0
    probe.close()


def test_missing_pressure_says_why(tmp_path: Path) -> None:
    write(tmp_path, {"proc/pressure/cpu": pressure(1, 1), "proc/pressure/memory": "garbage\n"})
    probe = PressureProbe(tmp_path)
    assert probe.sample(1.0).keys() == {"cpu"}
    assert "built without" in probe.missing["io"]
    assert "garbage" in probe.missing["memory"]
    probe.close()


def test_a_pressure_line_without_a_total_is_refused() -> None:
    with pytest.raises(ValueError, match="no total"):
        parse_totals(b"some avg10=0.00\n")


@pytest.mark.parametrize("text", [SCHEDSTAT_15, SCHEDSTAT_16, SCHEDSTAT_17], ids=["15", "16", "17"])
def test_run_delay_is_read_from_every_known_schedstat_version(text: str) -> None:
    assert parse_run_delay(text.encode()) == {0: 250_000_000, 1: 750_000_000}


def test_waiting_for_a_cpu_is_a_share_of_the_interval_and_may_pass_one(tmp_path: Path) -> None:
    write(tmp_path, {"proc/schedstat": SCHEDSTAT_17})
    probe = SchedstatProbe(tmp_path)
    later = SCHEDSTAT_17.replace(" 750000000 ", " 1 ").replace(" 250000000 ", " 750000000 ")
    write(tmp_path, {"proc/schedstat": later})
    assert probe.sample(0.25) == {0: 200.0, 1: 0.0}
    probe.close()


def test_a_schedstat_of_an_unknown_version_is_missing_and_not_guessed(tmp_path: Path) -> None:
    write(tmp_path, {"proc/schedstat": SCHEDSTAT_15.replace("version 15", "version 99")})
    probe = SchedstatProbe(tmp_path)
    assert probe.sample(1.0) == {}
    assert "version 99" in probe.missing


def test_no_schedstat_is_missing(tmp_path: Path) -> None:
    assert "without /proc/schedstat" in SchedstatProbe(tmp_path).missing


def test_a_long_schedstat_is_read_every_few_frames_over_the_longer_time(tmp_path: Path) -> None:
    long = SCHEDSTAT_15 + "domain0 0\n" * 8000
    write(tmp_path, {"proc/schedstat": long})
    probe = SchedstatProbe(tmp_path)
    write(tmp_path, {"proc/schedstat": long.replace(" 250000000 ", " 750000000 ")})
    shown = [probe.sample(1.0) for _ in range(2)]
    probe.close()
    assert shown == [{}, {0: 25.0, 1: 0.0}]


def test_speeds_come_from_cpufreq(tmp_path: Path) -> None:
    eight_cpus_two_caches(tmp_path)
    probe = FrequencyProbe(tuple(range(8)), tmp_path)
    assert probe.sample() == {cpu: 1000 + cpu * 100 for cpu in range(8)}
    assert probe.missing == ""


def test_with_many_cpus_speeds_are_read_in_turns_until_all_are_known(tmp_path: Path) -> None:
    base = "sys/devices/system/cpu"
    write(tmp_path, {f"{base}/cpu{cpu}/cpufreq/scaling_cur_freq": "2000000\n" for cpu in range(100)})
    probe = FrequencyProbe(tuple(range(100)), tmp_path)
    assert [len(probe.sample()) for _ in range(4)] == [32, 64, 96, 100]


CPUINFO = "processor\t: {cpu}\nflags\t\t: fpu{flag} msr\ncpu MHz\t\t: 2599.998\n\n"


def test_cpuinfo_is_believed_only_where_the_cpu_counts_its_cycles(tmp_path: Path) -> None:
    write(tmp_path / "a", {"proc/cpuinfo": "".join(CPUINFO.format(cpu=cpu, flag=" aperfmperf") for cpu in range(2))})
    write(tmp_path / "b", {"proc/cpuinfo": "".join(CPUINFO.format(cpu=cpu, flag="") for cpu in range(2))})
    measured, constant = FrequencyProbe((0, 1), tmp_path / "a"), FrequencyProbe((0, 1), tmp_path / "b")
    assert measured.sample() == {0: 2600, 1: 2600}
    assert constant.sample() == {}
    assert constant.missing
    measured.close()
