"""The kernel stage in the lab: what passes, what fails and for what, and a guest that does not survive.

That each rule finds its bad policy is the corpus's.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import BadTunable, Interrupted, LabFailed
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Setting, Stage
from schedtui.backend.verifier import child, kernel
from schedtui.backend.verifier.kernel import EmulatorFailed, Trial
from tests.conftest import DEFAULT, kernel_image, quiet, until

pytestmark = pytest.mark.lab

SOURCES = Path(__file__).parent / "sources"
BPF = Path(__file__).parent.parent / "bpf"
FAIR = Path(load_library().policy("fair").source)
HANGS_WITHIN_S = 8.0


@pytest.fixture
def trial() -> Iterator[Trial]:
    with Trial(kernel_image(DEFAULT), quiet) as it:
        yield it


def judged(trial: Trial, source: Path, settings: dict[str, Setting] | None = None, *, quick: bool = True) -> Stage:
    return trial.judge(source.name.partition(".")[0], compile_bpf(source), settings or {}, quick=quick)


def is_gone(trial: Trial) -> bool:
    try:
        return not trial.machine.guest
    except LabFailed:
        return True


@pytest.mark.soak
@pytest.mark.matrix
def test_a_policy_of_the_library_passes_and_its_figures_stand_beside_eevdfs(trial: Trial) -> None:
    stage = judged(trial, FAIR, quick=False)
    assert stage.verdict == "pass", stage.findings
    for name in ("wakeup_p99_us", "fairness_of_equals", "cpus_used_percent", "round_trip_us", "programs_per_s"):
        assert stage.figures[name] > 0
        assert stage.figures[f"eevdf_{name}"] > 0
    assert trial.machine.scheduler().sched_ext == "disabled"


def test_a_quick_look_passes_a_sound_policy(trial: Trial) -> None:
    stage = judged(trial, FAIR)
    assert (stage.verdict, stage.findings) == ("pass", ())


def test_a_policy_that_forgets_tasks_is_thrown_out_and_the_kernels_dump_is_kept(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_MUCH_WAITING", float("inf"))  # this computer is never too busy to tell
    stage = judged(trial, BPF / "stall.bpf.c", {"after_ms": 0})
    assert stage.verdict == "fail"
    found = next(each for each in stage.findings if each.rule == "thrown-out")
    assert "stall" in found.meaning
    assert "runnable task stall" in found.details


def test_on_a_computer_that_is_too_busy_to_tell_a_stall_is_blamed_on_nobody(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_ENOUGH", 2.0)  # whatever the guest got was too little
    monkeypatch.setattr(kernel, "_MUCH_WAITING", -1.0)
    with pytest.raises(EmulatorFailed, match="too busy to tell whether stall lets tasks wait"):
        judged(trial, BPF / "stall.bpf.c", {"after_ms": 0})


def test_what_the_kernel_does_not_load_is_told_with_its_decisive_lines(trial: Trial) -> None:
    stage = judged(trial, BPF / "rejected.bpf.c")
    (found,) = stage.findings
    assert (found.rule, found.severity) == ("load-rejected", "error")
    assert "rejected.bpf.c:" in found.meaning
    assert found.details


def test_a_setting_that_does_not_exist_is_no_fault_of_the_policy(trial: Trial) -> None:
    with pytest.raises(BadTunable, match="no tunable"):
        judged(trial, FAIR, {"nonsense": 1})


def test_a_guest_whose_kernel_crashes_is_thrown_away_and_told() -> None:
    with Trial(kernel_image(DEFAULT), quiet) as trial:
        crash = threading.Thread(target=crash_when_loaded, args=(trial, ""))
        crash.start()
        stage = judged(trial, FAIR, quick=False)
        crash.join()
    (found,) = stage.findings
    assert (stage.verdict, found.rule) == ("fail", "guest-died")
    assert "Kernel panic" in found.details
    assert is_gone(trial)


def test_a_guest_that_hangs_is_ended_in_time_told_in_plain_words_and_leaves_nothing_behind() -> None:
    source = SOURCES / "hangs_the_guest.bpf.c"
    assert [each.verdict for each in child.examine(compile_bpf(source))] == ["pass", "pass"]
    with Trial(kernel_image(DEFAULT), quiet, limit_s=HANGS_WITHIN_S) as trial:
        qemu = trial.machine.guest.qemu.process
        stage = judged(trial, source)
        assert qemu.poll() is not None
    assert not [each.name for each in threading.enumerate() if each.name == "stress"]
    (found,) = stage.findings
    assert (stage.verdict, found.rule) == ("fail", "guest-died")
    assert "The kernel in the lab hung under this policy" in found.meaning
    assert is_gone(trial)


def test_the_emulators_own_fault_is_not_the_policys(trial: Trial) -> None:
    crash = threading.Thread(target=crash_when_loaded, args=(trial, "Oops: int3: 0000 [#1] SMP"))
    crash.start()
    with pytest.raises(EmulatorFailed):
        judged(trial, FAIR)
    crash.join()


def crash_when_loaded(trial: Trial, last_words: str) -> None:
    loaded = "while ! grep -q enabled /sys/kernel/sched_ext/state; do sleep 0.1; done"
    script = f"{loaded}; echo '{last_words}' > /dev/console; echo c > /proc/sysrq-trigger"
    with contextlib.suppress(LabFailed):  # in a thread, where nothing would come of an assertion
        trial.machine.run(["sh", "-c", script], 60)


def test_a_killed_qemu_is_no_fault_of_the_policy(trial: Trial) -> None:
    def kill() -> None:
        until(lambda: "SCHEDTUI STRESS" in trial.machine.guest.qemu.console, 60)
        trial.machine.guest.qemu.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(LabFailed):
        judged(trial, FAIR)
    killer.join()


def test_a_verification_ends_when_whoever_asked_for_it_does_not_want_it_any_more() -> None:
    began = time.monotonic()

    def leave(words: str, _seconds: float) -> None:
        if words.startswith("stress"):
            raise Interrupted("enough")

    with pytest.raises(Interrupted), Trial(kernel_image(DEFAULT), leave) as trial:
        judged(trial, FAIR, quick=False)
    assert is_gone(trial)
    assert time.monotonic() - began < 60


@pytest.mark.soak
def test_a_policy_that_holds_up_a_cpu_on_its_way_out_is_told(trial: Trial) -> None:
    stage = judged(trial, SOURCES / "holds_a_cpu.bpf.c", quick=False)
    assert "hotplug-hangs" in {each.rule for each in stage.findings}


@pytest.mark.soak
@pytest.mark.matrix
def test_a_policy_without_callbacks_for_cpus_that_go_is_started_anew(trial: Trial) -> None:
    stage = judged(trial, BPF / "starts_anew.bpf.c", quick=False)
    assert "restarts-at-hotplug" in {each.rule for each in stage.findings}
    assert stage.verdict == "pass", stage.findings
