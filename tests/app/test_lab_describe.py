"""Describe in a real lab, by keyboard: from words to a scheduler that is kept, and F12 in the middle of it."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from schedtui.app import SchedtuiApp
from schedtui.asking import Asking
from schedtui.screens import describe
from tests.app.conftest import screen_text, until
from tests.app.test_lab_walk import LAB_PATIENCE_S, in_the_lab, said

pytestmark = pytest.mark.lab

PROOF_PATIENCE_S = 400.0


async def asked(app: SchedtuiApp, pilot: Pilot[None], words: str) -> Asking:
    """A request, at work."""
    await pilot.press("d")
    await until(pilot, lambda: app.screen.query_one("#question").has_focus)
    await pilot.press(*words, "enter")
    assert app.control is not None
    control = app.control
    await until(pilot, lambda: control.asking is not None and bool(control.asking.events), LAB_PATIENCE_S)
    assert control.asking is not None
    return control.asking


async def test_f12_ends_what_the_agent_is_at_and_leaves_the_kernels_own_scheduler() -> None:
    async with in_the_lab() as (app, pilot):
        asking = await asked(app, pilot, "my game stutters")
        await pilot.press("f12")
        await until(pilot, lambda: asking.is_over, LAB_PATIENCE_S)
        assert asking.ended is not None and asking.ended.state == "stopped"
        assert app.feed is not None
        now = app.feed.machine.scheduler()
        assert (now.sched_ext, now.latched) == ("disabled", True)
        assert "EEVDF runs now" in " ".join(screen_text(app).split())


@pytest.mark.soak
@pytest.mark.matrix
async def test_from_words_to_what_is_kept_and_f12_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "SURPRISE_S", 0.0)
    async with in_the_lab() as (app, pilot):
        asking = await asked(app, pilot, "my game stutters when obs records")

        def is_asked(kind: str) -> bool:
            return asking.is_over or (asking.question is not None and asking.question.kind == kind)

        await until(pilot, lambda: is_asked("try"), PROOF_PATIENCE_S)
        assert not asking.is_over, (asking.ended, asking.report)
        assert asking.report is not None, screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: is_asked("keep"), LAB_PATIENCE_S)
        assert not asking.is_over, (asking.ended, asking.report)
        assert asking.comparison is not None, screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: asking.is_over or is_asked("try"), PROOF_PATIENCE_S)
        assert app.control is not None and app.feed is not None
        control, machine = app.control, app.feed.machine
        await pilot.press("f12")
        await until(pilot, lambda: asking.is_over and machine.scheduler().latched, LAB_PATIENCE_S)
        await until(pilot, lambda: control.kept is None, LAB_PATIENCE_S)
        assert machine.scheduler().sched_ext == "disabled"
        assert "Panic was pressed" in said(app) or "worse" in said(app)
