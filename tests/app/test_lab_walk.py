"""The whole road in a real lab, by keyboard: load, preset, trial, apply, panic, release, undo, quit."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot

from schedtui.app import SchedtuiApp
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.deploy import compiled, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.model import Report, Stage
from schedtui.backend.store import Store
from schedtui.backend.verifier import reports
from schedtui.trying import Trial
from schedtui.widgets.events import EventPanel
from schedtui.widgets.header import HeaderBar
from schedtui.widgets.latency import LatencyPanel
from tests.app.conftest import live, running, screen_text, text_of, until
from tests.conftest import DEFAULT, SOURCES, TRIALS_AT_MOST, kernel_image, running_children

pytestmark = pytest.mark.lab

LAB_PATIENCE_S = 120.0
BOOT_PATIENCE_S = 240.0


@contextlib.asynccontextmanager
async def in_the_lab() -> AsyncIterator[tuple[SchedtuiApp, Pilot[None]]]:
    """The program on a fresh guest."""
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=2)
    async with running("lab", machine=machine) as (app, pilot):
        await until(pilot, lambda: app.frame is not None, BOOT_PATIENCE_S)
        await until(pilot, lambda: app.screen is app.dashboard)
        yield app, pilot


def preset_of(app: SchedtuiApp) -> tuple[str, str]:
    """A preset that loads a policy, and the policy's name."""
    for name, preset in app.library.presets.items():
        for choice in preset.choices:
            if choice.policy in app.library.loadable():
                return name, choice.policy
    raise AssertionError("the library has no preset that loads a policy")


async def apply_first_preset(app: SchedtuiApp, pilot: Pilot[None]) -> str:
    """Go to the preset in the list, preview it, apply it without a trial; returns the policy's name."""
    preset, policy = preset_of(app)
    await pilot.press("p", *["down"] * list(app.library.presets).index(preset), "enter")
    await until(pilot, lambda: "Without a trial" in screen_text(app))
    await pilot.press("a")
    return policy


def guests() -> list[psutil.Process]:
    """QEMUs of this process; one that ends while it is looked at is none."""
    return running_children("qemu", os.getpid())


def said(app: SchedtuiApp) -> str:
    return "\n".join(event.text for event in app.dashboard.query_one(EventPanel)._events)


async def test_a_preset_is_applied_and_f12_takes_it_away_until_it_is_released() -> None:
    async with in_the_lab() as (app, pilot):
        policy = await apply_first_preset(app, pilot)
        await until(pilot, lambda: app.screen is app.dashboard, LAB_PATIENCE_S)
        assert app.frame.scheduler.sched_ext == "enabled"
        assert app.frame.scheduler.policy == policy
        assert app.frame.scheduler.name in text_of(app.dashboard.query_one(HeaderBar))
        assert app.feed.machine.scheduler().name == app.frame.scheduler.name

        await pilot.press("f12")
        await until(pilot, lambda: app.frame.scheduler.latched, LAB_PATIENCE_S)
        await until(pilot, lambda: app.frame.scheduler.sched_ext == "disabled", LAB_PATIENCE_S)
        assert "EEVDF" in text_of(app.dashboard.query_one(HeaderBar))
        assert "latched" in text_of(app.dashboard.query_one(HeaderBar))
        assert app.feed.machine.scheduler().sched_ext == "disabled"
        await until(pilot, lambda: "PANIC" in said(app), LAB_PATIENCE_S)

        preset, _ = preset_of(app)
        await pilot.press("p", *["down"] * list(app.library.presets).index(preset), "enter", "a")
        await until(pilot, lambda: "once more" in text_of(app.screen.query_one("#text")))
        assert app.feed.machine.scheduler().sched_ext == "disabled"
        await pilot.press("a")
        await until(pilot, lambda: app.screen is app.dashboard, LAB_PATIENCE_S)
        assert app.frame.scheduler.sched_ext == "enabled"
        assert not app.frame.scheduler.latched

        await pilot.press("u")
        await until(pilot, lambda: app.frame.scheduler.sched_ext == "disabled", LAB_PATIENCE_S)


def know_a_report(app: SchedtuiApp, preset: str) -> None:
    """As if the preset's policy had been verified here before, with its settings on the lab's kernel."""
    proposal = resolve(app.library, preset)
    reports.save(
        Report(
            name=proposal.policy.name,
            verdict="pass",
            digest=hashlib.sha256(compiled(proposal.policy)).hexdigest(),
            settings=proposal.settings,
            kernel=app.info.kernel_id,
            stages=(Stage(name="kernel", verdict="pass", seconds=10.0),),
            quick=False,
            made_at=time.time(),
            rules=reports.rules_version(),
        )
    )


async def decided(app: SchedtuiApp, pilot: Pilot[None]) -> Trial:
    """The trial that asks whether to keep it; noise may be measured as a policy's fault, so again then."""
    for _ in range(TRIALS_AT_MOST):
        trial = app.control.trial
        assert trial is not None
        # Reading the whole screen all the time would take CPU time from what is being measured.
        await until(pilot, lambda trial=trial: trial.phase in ("deciding", "gone"), 2 * LAB_PATIENCE_S)
        if trial.phase == "deciding":
            return trial
        assert trial.comparison is not None and trial.comparison.verdict == "worse", (trial.reason, said(app))
        await pilot.press("r")
        await until(pilot, lambda trial=trial: app.control.trial is not trial)
    raise AssertionError(f"it was measured as worse {TRIALS_AT_MOST} times")


@pytest.mark.soak
@pytest.mark.matrix
async def test_a_proven_preset_is_measured_kept_and_gone_after_f12() -> None:
    async with in_the_lab() as (app, pilot):
        preset, policy = preset_of(app)
        know_a_report(app, preset)
        await pilot.press("p", *["down"] * list(app.library.presets).index(preset), "enter", "enter")
        await until(pilot, lambda: "Enter starts this first" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.control.trial is not None)
        trial = await decided(app, pilot)
        assert trial.act.stages[0].text.endswith("known from before")
        assert app.feed.machine.scheduler().policy == policy
        await pilot.press("enter")
        await until(pilot, lambda: trial.phase == "kept", LAB_PATIENCE_S)
        assert app.control.kept.policy == policy
        assert Store().deployments()[0].state == "kept"
        await pilot.press("enter")
        await until(pilot, lambda: "kept" in text_of(app.dashboard.query_one(HeaderBar)))
        assert f"{policy} kept" in said(app)

        await pilot.press("f12")
        await until(pilot, lambda: app.frame.scheduler.sched_ext == "disabled", LAB_PATIENCE_S)
        await until(pilot, lambda: Store().deployments()[0].state == "reverted", LAB_PATIENCE_S)
        assert "kept" not in text_of(app.dashboard.query_one(HeaderBar))


async def test_f12_in_the_middle_of_an_apply_leaves_the_kernels_own_scheduler() -> None:
    async with in_the_lab() as (app, pilot):
        await apply_first_preset(app, pilot)
        await until(pilot, lambda: "Loading" in screen_text(app), LAB_PATIENCE_S)
        await pilot.press("f12")
        await until(pilot, lambda: app._preset_act.state != "running", LAB_PATIENCE_S)
        await until(pilot, lambda: app.frame.scheduler.latched, LAB_PATIENCE_S)
        scheduler = app.feed.machine.scheduler()
        assert scheduler.sched_ext == "disabled"
        assert scheduler.latched


async def test_under_a_load_the_default_schedulers_distribution_becomes_the_ghost() -> None:
    async with in_the_lab() as (app, pilot):
        await pilot.press("w", "enter")
        await until(pilot, lambda: bool(app.frame.workloads), LAB_PATIENCE_S)
        await pilot.press("escape")
        loaded_at = app.frame.sequence
        await until(pilot, lambda: app.frame.sequence > loaded_at + 4, LAB_PATIENCE_S)
        await apply_first_preset(app, pilot)
        await until(pilot, lambda: app.screen is app.dashboard, LAB_PATIENCE_S)
        await until(pilot, lambda: "EEVDF" in text_of(app.dashboard.query_one(LatencyPanel)), LAB_PATIENCE_S)
        await pilot.press("w", "s")
        await until(pilot, lambda: not app.frame.workloads, LAB_PATIENCE_S)
        await until(pilot, lambda: "vs EEVDF" not in text_of(app.dashboard.query_one(LatencyPanel)), LAB_PATIENCE_S)
        assert "Background hogs started" in said(app)
        assert "All loads stopped" in said(app)


async def test_a_scheduler_that_the_kernel_throws_out_is_reported() -> None:
    async with in_the_lab() as (app, pilot):
        app.feed.machine.start_workload("frames")
        app.feed.machine.load("stall", compile_bpf(SOURCES / "stall.bpf.c"), {})
        await until(pilot, lambda: "threw stall out" in said(app), LAB_PATIENCE_S)
        await until(pilot, lambda: app.frame.scheduler.sched_ext == "disabled", LAB_PATIENCE_S)


async def test_a_lab_that_is_killed_is_said_to_be_gone_and_can_be_opened_again() -> None:
    async with in_the_lab() as (app, pilot):
        app._kernel, app._cpus = kernel_image(DEFAULT), 2
        for guest in guests():
            guest.kill()
        await until(pilot, lambda: "That did not work" in screen_text(app), LAB_PATIENCE_S)
        await pilot.press("escape")
        assert "the last that was seen" in screen_text(app)
        await pilot.press("m", "down", "enter")
        await until(pilot, lambda: app.frame is not None, BOOT_PATIENCE_S)
        assert app.info.kind == "lab"


async def test_a_lab_that_opened_below_the_palette_is_there_when_the_palette_closes() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        app._kernel, app._cpus = kernel_image(DEFAULT), 2
        await pilot.press("m", "enter", "ctrl+p")
        await until(pilot, lambda: app.info.kind == "lab", BOOT_PATIENCE_S)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.dashboard)


async def test_quitting_leaves_no_process_of_the_lab() -> None:
    async with in_the_lab() as (_app, pilot):
        running_guests = guests()
        assert running_guests
        await pilot.press("q")
    assert not psutil.wait_procs(running_guests, timeout=10)[1]


async def test_turning_away_while_the_lab_opens_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = kernel_image(DEFAULT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no snapshot yet: opening takes long enough to turn away
    async with running() as (app, pilot):
        await live(app, pilot)
        app._kernel, app._cpus = kernel, 2
        await pilot.press("m", "enter")
        await until(pilot, lambda: len(app._opening_act.stages) > 1, LAB_PATIENCE_S)
        await pilot.press("escape")
        for thread in app._closers:
            thread.join(20)
        await until(pilot, lambda: not guests(), 20)
        assert app.info.kind == "host"
        assert not app.feed.closed


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_a_deep_dive_comes_to_its_end_and_f12_ends_the_next_one_at_once() -> None:
    async with in_the_lab() as (app, pilot):
        await pilot.press("b", "a", "1")
        await until(pilot, lambda: "bcc, every switch for" in screen_text(app), 600)
        assert "p99" in screen_text(app)
        assert len(guests()) == 1, "the guest that was looked at in its place is gone"
        await pilot.press("3")
        await until(pilot, lambda: "looking for" in screen_text(app), 300)
        await pilot.press("f12")
        await until(pilot, lambda: "The deep dive was ended: panic was pressed" in screen_text(app), LAB_PATIENCE_S)
        await until(pilot, lambda: app.feed.machine.scheduler().latched, LAB_PATIENCE_S)
        await until(pilot, lambda: len(guests()) == 1, LAB_PATIENCE_S)
