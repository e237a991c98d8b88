"""Which scheduler runs: as the kernel's own files say, in every state and on every kind of kernel."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from schedtui.backend.model import Scheduler
from schedtui.backend.probes.scheduler import default_scheduler, describe_change, read_scheduler
from tests.probes.trees import write, write_sched_ext


def kernel(root: Path, release: str, **sysctls: str) -> Path:
    write(root, {"proc/sys/kernel/osrelease": release + "\n"})
    write(root, {f"proc/sys/kernel/{name}": value + "\n" for name, value in sysctls.items()})
    return root


@pytest.mark.parametrize(
    ("release", "name"),
    [("6.18.15-cloud-amd64", "EEVDF"), ("6.6.0", "EEVDF"), ("6.5.13-arch1", "CFS"), ("5.10.0-28-amd64", "CFS")],
)
def test_the_kernels_own_scheduler_is_told_by_its_version(tmp_path: Path, release: str, name: str) -> None:
    assert default_scheduler(kernel(tmp_path, release)) == name


def test_bore_is_told_by_its_sysctl_and_only_while_it_is_switched_on(tmp_path: Path) -> None:
    assert default_scheduler(kernel(tmp_path / "on", "6.17.1-cachyos", sched_bore="1")) == "BORE"
    assert default_scheduler(kernel(tmp_path / "off", "6.17.1-cachyos", sched_bore="0")) == "EEVDF"


def test_other_patched_schedulers_are_told_by_theirs(tmp_path: Path) -> None:
    assert default_scheduler(kernel(tmp_path / "a", "5.10.1", rr_interval="6", interactive="1")) == "MuQSS"
    assert default_scheduler(kernel(tmp_path / "b", "6.12.1-prjc", yield_type="1")) == "PDS/BMQ"
    write(tmp_path / "c", {"boot/config-6.12.1-prjc": "CONFIG_SCHED_ALT=y\nCONFIG_SCHED_BMQ=y\n"})
    assert default_scheduler(kernel(tmp_path / "c", "6.12.1-prjc", yield_type="1")) == "BMQ"
    write(tmp_path / "d", {"proc/version": ""})
    (tmp_path / "d/proc/config.gz").write_bytes(gzip.compress(b"CONFIG_SCHED_ALT=y\nCONFIG_SCHED_PDS=y\n"))
    assert default_scheduler(kernel(tmp_path / "d", "6.12.1-prjc", yield_type="1")) == "PDS"


def test_a_kernel_without_sched_ext_says_so(tmp_path: Path) -> None:
    assert read_scheduler(kernel(tmp_path, "6.18.44")) == Scheduler(
        sched_ext="unsupported", name="EEVDF", owner="kernel"
    )


def test_a_loaded_scheduler_is_named_as_the_kernel_names_it(tmp_path: Path) -> None:
    write_sched_ext(kernel(tmp_path, "6.18.15"))
    assert read_scheduler(tmp_path) == Scheduler(
        sched_ext="enabled",
        name="lavd_1.0.18",
        owner="another program",
        enable_seq=3,
        rejected=2,
        events={"SCX_EV_SELECT_CPU_FALLBACK": 7, "SCX_EV_REFILL_SLICE_DFL": 12},
    )


def test_when_disabled_the_kernels_own_scheduler_runs_though_a_name_lingers(tmp_path: Path) -> None:
    write_sched_ext(kernel(tmp_path, "6.18.15"), state="disabled\n")
    scheduler = read_scheduler(tmp_path)
    assert (scheduler.sched_ext, scheduler.name, scheduler.owner) == ("disabled", "EEVDF", "kernel")


def test_a_scheduler_that_takes_only_some_tasks_is_known_as_such(tmp_path: Path) -> None:
    write_sched_ext(kernel(tmp_path, "6.18.15"), switch_all="0\n")
    assert read_scheduler(tmp_path).switch_all is False


def test_events_that_do_not_look_like_counters_are_left_out(tmp_path: Path) -> None:
    write_sched_ext(kernel(tmp_path, "6.18.15"), **{"root/events": "SCX_EV_A 1\nnonsense\nSCX_EV_B many\n"})
    assert read_scheduler(tmp_path).events == {"SCX_EV_A": 1}


def test_changes_are_told_in_words() -> None:
    eevdf = Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel", enable_seq=1)
    lavd = Scheduler(sched_ext="enabled", name="lavd", owner="scx_lavd", enable_seq=2)
    again = Scheduler(sched_ext="enabled", name="lavd", owner="scx_lavd", enable_seq=3)

    def text(before: Scheduler, after: Scheduler) -> str:
        event = describe_change(before, after, 0.0)
        return event.text if event else ""

    assert text(eevdf, lavd) == "lavd was loaded by scx_lavd"
    assert text(lavd, again) == "lavd was loaded again by scx_lavd"
    assert text(lavd, eevdf) == "lavd is gone: EEVDF schedules again"
    assert text(lavd, lavd) == ""
