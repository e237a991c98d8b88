"""How panels are drawn: only what changed, in every theme, in ASCII where that is wanted."""

from __future__ import annotations

import pytest
from textual.geometry import Region

from schedtui.backend.model import Event, Pressure, TaskWait
from schedtui.widgets import glyphs
from schedtui.widgets.cpus import CpuPanel
from schedtui.widgets.events import EventPanel
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.glyphs import ASCII, UNICODE, choose_glyphs, plain, wants_ascii
from schedtui.widgets.header import HeaderBar
from schedtui.widgets.latency import LatencyPanel
from schedtui.widgets.panel import Strips
from schedtui.widgets.pressure import PressurePanel
from schedtui.widgets.waiters import WaitersPanel
from tests.widgets.samples import NOW, frame, histogram, latency, machine, scheduler
from tests.widgets.showing import Alone, screen_text


class Watched(CpuPanel):
    """A CPU panel that remembers what it asked to have repainted."""

    def __init__(self) -> None:
        self.repainted: list[Region] = []
        super().__init__()

    def refresh(self, *regions: Region, **options: bool) -> Watched:  # type: ignore[override]
        self.repainted += regions
        super().refresh(*regions, **options)
        return self


async def test_only_the_lines_that_changed_are_repainted() -> None:
    panel = Watched()
    async with Alone(panel).run_test(size=(60, 40)) as pilot:
        panel.show(machine(30), frame([50.0] * 30))
        await pilot.pause()
        panel.repainted.clear()
        panel.show(machine(30), frame([50.0] * 30))
        assert panel.repainted == []
        used = [50.0] * 30
        used[3] = 62.0
        used[4] = 38.0
        panel.show(machine(30), frame(used))
        assert [(region.y, region.height) for region in panel.repainted] == [(4, 1), (5, 1)]


async def test_the_focus_repaints_the_whole_frame() -> None:
    panel = EventPanel()
    app = Alone(panel)
    async with app.run_test(size=(40, 32)) as pilot:
        app.screen.set_focus(None)
        await pilot.pause()
        before = [strip._segments[0].style for strip in panel._strips]
        panel.focus()
        await pilot.pause()
        after = [strip._segments[0].style for strip in panel._strips]
        assert len(set(before)) == len(set(after)) == 1 and before[0] != after[0]


async def test_a_change_of_theme_restyles_what_was_already_drawn() -> None:
    panel = CpuPanel()
    app = Alone(panel)
    async with app.run_test(size=(60, 40)) as pilot:
        panel.show(machine(4), frame([50.0] * 4))
        await pilot.pause()
        dark = [segment.style for segment in panel._strips[1]]
        app.theme = "schedtui-light"
        await pilot.pause()
        assert [segment.style for segment in app.screen._compositor.render_strips()[1]] != dark
        app.theme = "nord"
        await pilot.pause()
        assert "CPUs" in screen_text(app)[0]


async def test_a_low_terminal_gets_the_content_without_the_box() -> None:
    panel = CpuPanel()
    app = Alone(panel)
    async with app.run_test(size=(60, 24)) as pilot:
        panel.show(machine(4), frame([50.0] * 4))
        await pilot.pause()
        assert not any(sign in line for line in screen_text(app) for sign in "╭╮╰╯│")
        await pilot.resize_terminal(60, 40)
        await pilot.pause()
        assert screen_text(app)[0].startswith("╭ CPUs") and screen_text(app)[-1].endswith("╯")


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 3), (20, 5)])
async def test_absurdly_small_terminals_are_survived(size: tuple[int, int]) -> None:
    for panel in everything():
        async with Alone(panel).run_test(size=size) as pilot:
            feed(panel)
            await pilot.pause()


def everything() -> list[Strips]:
    return [CpuPanel(), LatencyPanel(), PressurePanel(), WaitersPanel(), EventPanel(), HeaderBar(), KeyBar()]


def feed(panel: Strips) -> None:
    """Show the panel something of everything."""
    info = machine(64, cache=16)
    sample = frame(
        [float(cpu) for cpu in range(64)],
        mhz=4200,
        waiting=120,
        wait=latency((10.0, 900), (400.0, 10)),
        pressure={"cpu": Pressure(some_percent=12.3), "io": Pressure(some_percent=0.1, full_percent=0.0)},
        waiters=[TaskWait(pid=12, name="名前 µ …", wait_ms_per_s=140, detail="“render” thread")],
        runs=scheduler("interactive", owner="schedtui"),
    )
    match panel:
        case CpuPanel() | HeaderBar():
            panel.show(info, sample)
        case LatencyPanel():
            panel.ghost(histogram((400.0, 100)), "EEVDF")
            panel.show(frame(wait=latency((10.0, 900))))
            panel.show(sample)
        case PressurePanel() | WaitersPanel():
            panel.show(sample)
        case EventPanel():
            panel.add(
                [Event(time=NOW, kind=kind, text="p99 −18 % ±4 – “ok” → µ") for kind in ("good", "warning", "bad")]
            )
        case KeyBar():
            panel.show((("p", "Presets"), ("^p", "Palette")))


@pytest.mark.slow
async def test_ascii_mode_shows_nothing_but_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDTUI_ASCII", "1")
    choose_glyphs.cache_clear()
    try:
        for height in (12, 40):
            for panel in everything():
                async with Alone(panel).run_test(size=(70, height)) as pilot:
                    feed(panel)
                    await pilot.pause()
                    lines = [strip.text for strip in panel._strips]
                    assert lines and all(line.isascii() for line in lines), (panel, lines)
    finally:
        choose_glyphs.cache_clear()


def test_ascii_is_chosen_by_wish_or_by_a_locale_that_has_no_unicode() -> None:
    assert wants_ascii({"SCHEDTUI_ASCII": "1"}, "UTF-8")
    assert not wants_ascii({"SCHEDTUI_ASCII": "0"}, "ANSI_X3.4-1968")
    assert wants_ascii({}, "ANSI_X3.4-1968") and not wants_ascii({}, "utf8") and not wants_ascii({}, "UTF-8")


def test_every_sign_takes_one_cell_and_the_sets_have_as_many() -> None:
    assert len(UNICODE.fills) == len(ASCII.fills) == 9
    assert len(UNICODE.levels) == len(ASCII.levels) == 8
    assert all(len(getattr(ASCII, name)) == len(getattr(UNICODE, name)) for name in ("up", "marker", "corners"))
    assert len(plain("12 µs – “x” … ▼")) == len("12 µs – “x” … ▼")
    assert glyphs.plain("µ→日") == "u>?"


async def test_without_colour_the_panels_use_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    panel = LatencyPanel()
    async with Alone(panel).run_test(size=(80, 40)) as pilot:
        feed(panel)
        await pilot.pause()
        styles = [segment.style for strip in panel._strips for segment in strip]
        assert all(style is None or (style.color is None and style.bgcolor is None) for style in styles)
