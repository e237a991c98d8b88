"""Who waits for a CPU: with real tasks of this machine, and with a /proc of made-up ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schedtui.backend.probes import tasks
from schedtui.backend.probes.tasks import TasksProbe, parse_schedstat
from tests.probes.trees import write


def fake_task(root: Path, pid: int, tid: int, schedstat: str, name: str, command: str = "") -> None:
    folder = f"proc/{pid}/task/{tid}"
    write(root, {f"{folder}/schedstat": schedstat, f"{folder}/comm": name + "\n"})
    if pid == tid:
        write(root, {f"proc/{pid}/comm": name + "\n", f"proc/{pid}/cmdline": command})


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def fake_proc(root: Path) -> Path:
    write(root, {"proc/self/schedstat": "1000 0 1\n"})
    return root


@pytest.mark.slow
def test_tasks_that_share_one_cpu_are_seen_waiting_for_it() -> None:
    probe = TasksProbe(time.monotonic())
    cpu = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
    hogs = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(3)]
    try:
        worst: set[int] = set()
        deadline = time.monotonic() + 20
        while not worst >= {hog.pid for hog in hogs} and time.monotonic() < deadline:
            time.sleep(0.2)
            worst = {task.pid for task in probe.sample(time.monotonic(), forked=True) if task.wait_ms_per_s > 100}
        assert worst >= {hog.pid for hog in hogs}
        assert sum(probe.waits) > 0
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        probe.close()


def test_threads_say_whose_they_are_and_scripts_what_they_run(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    fake_task(tmp_path, 10, 10, "0 0 0", "game.exe")
    fake_task(tmp_path, 10, 11, "0 0 0", "render")
    fake_task(tmp_path, 20, 20, "0 0 0", "python3", "python3\0-u\0/opt/tools/backup.py\0--all\0")
    probe = TasksProbe(0.0, tmp_path)
    for pid, tid, ms in ((10, 10, 1), (10, 11, 30), (20, 20, 20)):
        write(tmp_path, {f"proc/{pid}/task/{tid}/schedstat": f"{5_000_000} {ms * 1_000_000} 10\n"})
    shown = probe.sample(1.0, forked=False)
    probe.close()
    assert [(task.pid, task.name, task.detail) for task in shown] == [
        (11, "render", "of game.exe"),
        (20, "python3", "backup.py"),
        (10, "game.exe", ""),
    ]
    assert (shown[0].wait_ms_per_s, shown[0].run_ms_per_s) == (30.0, 5.0)


def test_a_task_that_takes_another_name_is_soon_shown_under_it(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    fake_task(tmp_path, 10, 10, "0 0 0", "launcher")
    probe = TasksProbe(0.0, tmp_path)
    names = []
    for second in range(1, 8):
        fake_task(tmp_path, 10, 10, f"0 {second * 50_000_000} {second}", "launcher" if second < 3 else "game")
        names.append(probe.sample(float(second), forked=False)[0].name)
    probe.close()
    assert (names[0], names[-1]) == ("launcher", "game")


def test_a_new_process_that_waits_is_shown_in_the_second_frame_however_many_tasks_there_are(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    for pid in range(1000, 1400):
        fake_task(tmp_path, pid, pid, "0 0 0", "quiet")
    probe = TasksProbe(0.0, tmp_path)
    probe.sample(1.0, forked=False)
    fake_task(tmp_path, 2000, 2000, "0 0 1", "compiler")
    probe.sample(2.0, forked=True)
    write(tmp_path, {"proc/2000/task/2000/schedstat": "0 300000000 9\n"})
    assert [task.name for task in probe.sample(3.0, forked=False)] == ["compiler"]
    probe.close()


def test_a_task_that_ends_disappears_and_leaves_no_descriptor(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    fake_task(tmp_path, 10, 10, "0 0 0", "a")
    before = open_files()
    probe = TasksProbe(0.0, tmp_path)
    write(tmp_path, {"proc/10/task/10/schedstat": "0 80000000 50\n"})
    assert [task.pid for task in probe.sample(1.0, forked=False)] == [10]
    assert open_files() == before + 1
    write(tmp_path, {"proc/10/task/10/schedstat": ""})
    assert probe.sample(2.0, forked=False) == ()
    assert open_files() == before
    probe.close()


def test_open_descriptors_stay_bounded_with_many_waiting_tasks(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    count = 3 * tasks.MAX_HOT
    for pid in range(100, 100 + count):
        fake_task(tmp_path, pid, pid, "0 0 0", f"t{pid}")
    before = open_files()
    probe = TasksProbe(0.0, tmp_path)
    for pid in range(100, 100 + count):
        write(tmp_path, {f"proc/{pid}/task/{pid}/schedstat": f"0 {pid * 1_000_000} 10\n"})
    shown = probe.sample(1.0, forked=False)
    opened = open_files() - before
    probe.close()
    assert opened == tasks.MAX_HOT
    assert [task.pid for task in shown] == list(range(100 + count - 1, 100 + count - 1 - tasks.SHOWN, -1))


def test_a_frame_reads_a_bounded_number_of_tasks_and_a_sweep_reads_them_all(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    for pid in range(100, 700):
        fake_task(tmp_path, pid, pid, "0 0 0", "quiet")
    probe = TasksProbe(0.0, tmp_path)
    for second in range(3):
        probe.sample(1.0 + second / 10, forked=False)
    for pid in range(100, 700):
        write(tmp_path, {f"proc/{pid}/task/{pid}/schedstat": "0 0 1\n"})
    seen = []
    for second in range(2, 2 + tasks.SWEEP_FRAMES):
        probe.sample(float(second), forked=False)
        seen.append(sum(probe.waits))
    probe.close()
    assert sum(seen) == 600
    assert max(seen) <= 600 / tasks.SWEEP_FRAMES + 1


def test_each_wait_is_counted_once_at_the_tasks_average(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    fake_task(tmp_path, 10, 10, "0 1000 5", "a")
    probe = TasksProbe(0.0, tmp_path)
    write(tmp_path, {"proc/10/task/10/schedstat": "0 41000 9\n"})
    probe.sample(1.0, forked=False)
    assert sum(probe.waits) == 4
    probe.sample(2.0, forked=False)
    assert sum(probe.waits) == 0
    probe.close()


def test_counters_that_go_backwards_show_no_wait(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    fake_task(tmp_path, 10, 10, "900 80000000 50", "a")
    probe = TasksProbe(0.0, tmp_path)
    write(tmp_path, {"proc/10/task/10/schedstat": "1 2 3\n"})
    assert probe.sample(1.0, forked=False) == ()
    probe.close()


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    fake_proc(tmp_path)
    fake_task(tmp_path, 10, 10, "0 0 0", "evil\x1b[2J\x07")
    probe = TasksProbe(0.0, tmp_path)
    write(tmp_path, {"proc/10/task/10/schedstat": "0 50000000 3\n"})
    (shown,) = probe.sample(1.0, forked=False)
    probe.close()
    assert shown.name == "evil·[2J·"


@pytest.mark.parametrize("own", ["0 0 0\n", None], ids=["not counted", "no file"])
def test_a_kernel_without_run_delay_is_said_to_be_one(tmp_path: Path, own: str | None) -> None:
    write(tmp_path, {"proc/1/comm": "init\n"} | ({"proc/self/schedstat": own} if own else {}))
    probe = TasksProbe(0.0, tmp_path)
    assert "run delay" in probe.missing
    assert probe.sample(1.0, forked=True) == ()


def test_a_schedstat_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        parse_schedstat(b"1 2")
