"""Deep dives: what may be asked for, what becomes of what was counted, and a real one on this kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schedtui.backend.dive import bars, dive, percentiles_us, source_line
from schedtui.backend.errors import BadMessage, MissingTool, NotPermitted, UnknownName
from schedtui.backend.helper.deep import run_probe
from schedtui.backend.histogram import slot_of
from schedtui.backend.model import ProbeResult
from schedtui.backend.probes import deep
from schedtui.backend.replay import ReplayMachine
from tests.cli.commands import schedtui

RECORDING = Path(__file__).parents[1] / "recordings" / "idle-4.jsonl.gz"
# bcc reads the layout of tracepoints; a namespace of our own has them mounted without touching this computer.
MOUNTED = ["unshare", "-m", "sh", "-c", 'mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec "$@"', "sh"]


def _can_look() -> bool:
    try:
        deep.find_bcc()
    except MissingTool:
        return False
    tried = subprocess.run([*MOUNTED, "ls", "/sys/kernel/tracing/events/sched/sched_switch"], capture_output=True)
    return os.geteuid() == 0 and tried.returncode == 0


really = pytest.mark.skipif(not _can_look(), reason="needs root, the distribution's bcc and tracefs")


def counted(*ns: int) -> ProbeResult:
    slots = [0] * 128
    for each in ns:
        slots[slot_of(each)] += 1
    return ProbeResult(
        name="runqlat",
        slots=tuple(slots),
        rows=(),
        missed=0,
        seconds=5.0,
        compile_s=1.0,
        events=1000,
        cost_ns=2_000_000,
        kernel="6.18",
    )


def test_bars_are_octaves_from_the_first_that_counted_to_the_last() -> None:
    found = bars(counted(3_000, 3_500, 40_000).slots)
    assert [each.count for each in found] == [2, 0, 0, 0, 1]
    assert found[0].from_ns <= 3_000 < 3_500 < found[0].to_ns
    assert all(left.to_ns == right.from_ns for left, right in pairwise(found))


def test_what_is_shorter_than_a_microsecond_is_one_bar() -> None:
    assert [(each.from_ns, each.count) for each in bars(counted(1, 20, 300, 900).slots)] == [(0, 4)]


def test_nothing_counted_has_no_bars_and_no_percentiles() -> None:
    assert bars(counted().slots) == []
    assert set(percentiles_us(counted()).values()) == {None}


def test_the_source_line_says_what_the_looking_cost() -> None:
    assert source_line(counted(5)) == "bcc, every switch for 5 s; it cost 2.0 µs an event, less than 0.1 % of a CPU"


def test_only_what_the_catalogue_has_is_run() -> None:
    with pytest.raises(UnknownName, match="no probe"):
        run_probe("../../etc/passwd", 0, "", 1.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 61.0, float("nan"), float("inf")])
def test_how_long_it_looks_has_limits(seconds: float) -> None:
    with pytest.raises(BadMessage, match="looks for"):
        run_probe("runqlat", 0, "", seconds)


@pytest.mark.parametrize("pid", [-1, 1 << 22 | 1, 1 << 40])
def test_what_is_no_process_number_is_refused(pid: int) -> None:
    with pytest.raises(BadMessage, match="no process number"):
        run_probe("runqlat", pid, "", 1.0)


@pytest.mark.parametrize("cgroup", ["user.slice", "/../../etc", "/a/./b", "//", "/a/../..", "/a\0b", "/" + "x" * 300])
def test_what_is_no_control_group_s_path_is_refused(cgroup: str) -> None:
    with pytest.raises(BadMessage, match="no control group"):
        run_probe("runqlat", 0, cgroup, 1.0)


def test_a_control_group_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="There is no control group /nowhere"):
        run_probe("runqlat", 0, "/nowhere", 1.0)


def test_a_recording_has_no_switches_to_look_at() -> None:
    machine = ReplayMachine(RECORDING)
    with pytest.raises(NotPermitted, match="recording"):
        dive(machine, "runqlat", seconds=1.0, progress=lambda _text, _seconds: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["probe", "sleepers"], "sleepers"),
        (["probe", "runqlat", "--pid", "1", "--cgroup", "/x"], "not both"),
        (["probe", "runqlat", "--for", "2m"], "60 s"),
        (["probe", "runqlat", "--apply", "fair"], "--machine lab"),
        (["probe", "runqlat", "--cpus", "2"], "--machine lab"),
    ],
    ids=["name", "both", "long", "apply", "cpus"],
)
def test_a_command_that_makes_no_sense_is_told_so(arguments: list[str], words: str) -> None:
    ended = schedtui(*arguments)
    assert ended.code == 2
    assert words in ended.err


@really
@pytest.mark.slow
def test_each_program_of_the_catalogue_counts_on_this_kernel() -> None:
    busy = subprocess.Popen(
        [sys.executable, "-c", "while True:\n for _ in range(10**5): pass\n import time; time.sleep(.002)"]
    )
    try:
        time.sleep(0.2)
        for name in deep.CATALOGUE:
            found = looked(name, "--pid", str(busy.pid), "--for", "500ms")
            assert found["count"] > 0, name
            assert {each["pid"] for each in found["tasks"]} == {busy.pid}, name
            assert "it cost" in found["source"], name
    finally:
        busy.kill()
        busy.wait()


def looked(*arguments: str) -> dict[str, Any]:
    command = [*MOUNTED, str(Path(sys.executable).parent / "schedtui"), "probe", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    spoken: dict[str, Any] = json.loads(done.stdout)
    return spoken
