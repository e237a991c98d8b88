"""Presets: what cannot be had is shown with the reason, and nothing happens before it was previewed."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import CpuPlace, MachineInfo, Scheduler
from schedtui.backend.store import Outcome, Store
from schedtui.messages import PresetWanted, TrialWanted
from schedtui.screens.policies import AT_ONCE, AT_ONCE_HERE
from schedtui.screens.presets import PresetChoices
from tests.app.conftest import live, running, screen_text, until
from tests.app.shelf import shelf
from tests.recordings.pictures import Pictured

LAB = MachineInfo(
    kind="lab",
    name="lab",
    kernel="6.18.15",
    sched_ext=True,
    default_scheduler="EEVDF",
    can_load=True,
    cpus=(CpuPlace(0, 0, 0, 0),),
)
QUIET = Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel")
LATCHED = Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel", latched=True)


def choices(scheduler: Scheduler = QUIET) -> PresetChoices:
    """The shipped presets, as they stand in a lab."""
    return PresetChoices(load_library(), LAB, scheduler)


def loadable(presets: PresetChoices) -> str:
    """A preset that loads a policy."""
    return next(entry.id for entry in presets.entries() if entry.available and entry.id != "default")


@pytest.mark.slow
async def test_on_a_kernel_without_sched_ext_every_preset_is_greyed_and_says_why() -> None:
    async with running() as (app, pilot):
        await live(app, pilot)
        await pilot.press("p")
        await until(pilot, lambda: app.info.reason[:20] in screen_text(app))
        await pilot.press("enter", "enter")
        await pilot.pause()
        assert "lab" in screen_text(app)
        assert app.screen is not app.dashboard
        assert app._preset_act is None


def test_the_preview_says_what_it_costs_what_happens_and_how_to_go_back() -> None:
    presets = choices()
    preview = presets.preview(loadable(presets)).plain
    for label in ("What it costs", "Policy", "Settings", "What happens next", "How to go back", "F12"):
        assert label in preview


def test_settings_are_shown_with_their_units_and_what_each_does() -> None:
    presets = choices()
    for entry in presets.entries():
        found = presets.policy_of(entry.id)
        for tunable in found[0].tunables if found else ():
            for words in (tunable.name, tunable.unit, tunable.description):
                assert words in presets.preview(entry.id).plain


def test_choosing_asks_the_app_for_a_trial_of_what_the_preset_is_for() -> None:
    presets = choices()
    chosen = presets.chosen("long-job")
    assert isinstance(chosen, TrialWanted)
    assert (chosen.policy, chosen.settings) == (presets.policy_of("long-job")[0].name, presets.policy_of("long-job")[1])
    assert (chosen.title, chosen.class_id, chosen.release) == ("Batch with one long job", "batch", False)


def test_on_a_persons_own_computer_nothing_is_loaded_unproven_and_what_is_kept_outlives_the_program() -> None:
    presets = PresetChoices(load_library(), replace(LAB, kind="host"), QUIET)
    preview = presets.preview(loadable(presets)).plain
    assert AT_ONCE_HERE in preview and "only what you kept stays" in preview
    assert "not proven" not in preview and "Quitting does the same" not in preview


def test_the_preview_says_what_applying_at_once_skips_and_the_key_does_it() -> None:
    presets = choices()
    preset = loadable(presets)
    assert AT_ONCE in presets.preview(preset).plain
    assert presets.at_once(preset) == PresetWanted(preset, release=False)


def test_settings_of_the_user_go_into_the_trial_and_into_applying_at_once() -> None:
    presets = choices()
    preset = loadable(presets)
    policy = presets.policy_of(preset)[0]
    presets.settings[preset] = {}
    assert presets.chosen(preset).settings == {}
    assert presets.at_once(preset) == PresetWanted(policy.name, False, {})
    assert "As you set it" in presets.preview(preset).plain


def test_after_a_panic_the_first_enter_only_asks() -> None:
    presets = choices(LATCHED)
    preset = loadable(presets)
    assert "Panic is latched" in presets.preview(preset).plain
    assert presets.chosen(preset) is None
    assert "once more" in presets.preview(preset).plain
    chosen = presets.chosen(preset)
    assert isinstance(chosen, TrialWanted)
    assert chosen.release


def test_going_back_to_the_default_needs_no_release() -> None:
    chosen = choices(LATCHED).chosen("default")
    assert isinstance(chosen, PresetWanted)
    assert not chosen.release


def test_a_preset_whose_policy_is_missing_is_greyed_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "presets.toml").write_text(
        """[[preset]]
id = "dream"
title = "Dream"
summary = "Sleep well"
does = "Nothing yet."
costs = "Nothing."
[[preset.choice]]
policy = "unwritten"
reason = "It would be good."
"""
    )
    presets = PresetChoices(load_library(tmp_path), LAB, QUIET)
    (entry,) = presets.entries()
    assert not entry.available
    assert "unwritten" in presets.preview("dream").plain
    assert presets.verb("dream") == ""


async def test_what_a_preset_did_here_before_is_said_in_its_preview(home: Path) -> None:
    Store().add_outcome(Outcome(policy="brisk", metric="wakeup_p99_us", before=9000, after=5000, machine="lab"))
    app = Pictured("busy-4-eevdf", 3, live=True)
    app.library = shelf(home)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.played(pilot)
            await pilot.press("p")
            await until(pilot, lambda: "What it did here before" in screen_text(app))
            assert "wake-up p99 −44 %" in screen_text(app)
    finally:
        app.close_machines()
