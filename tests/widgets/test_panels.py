"""Pressure, waiting tasks, loads, events, the header and the key bar."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.events import Key

from schedtui.backend.model import Event, Pressure, TaskWait, WorkloadStatus
from schedtui.widgets.events import EventPanel
from schedtui.widgets.footer import KeyBar, textual_key
from schedtui.widgets.header import HeaderBar
from schedtui.widgets.pressure import PressurePanel
from schedtui.widgets.waiters import WaitersPanel
from schedtui.widgets.workload import WorkloadPanel
from tests.widgets.samples import NOW, frame, machine, scheduler
from tests.widgets.showing import Alone, screen_text, text

PRESSURE = {
    "cpu": Pressure(some_percent=12.3),
    "io": Pressure(some_percent=1.0, full_percent=0.4),
    "memory": Pressure(some_percent=0.0, full_percent=0.0),
}
KEYS = (("p", "Presets"), ("m", "Machine"), ("?", "Help"), ("^p", "Palette"), ("q", "Quit"))


def test_pressure_shows_some_and_full_for_each_resource() -> None:
    panel = PressurePanel()
    panel.show(frame(pressure=PRESSURE))
    lines = text(panel.draw(50, 4))
    assert lines[0].startswith("cpu") and "12.3%" in lines[0] and lines[0].endswith("–")
    assert "1.0%" in lines[1] and lines[1].endswith("0.4%")
    assert "8.4k switches/s" in lines[3]


def test_pressure_in_one_line_still_names_all_three() -> None:
    panel = PressurePanel()
    panel.show(frame(pressure=PRESSURE))
    line = text(panel.draw(50, 1))[0]
    assert all(name in line for name in ("cpu", "io", "mem")) and "12%" in line and len(line) <= 50


def test_missing_pressure_is_shown_with_its_reason_and_never_as_zero() -> None:
    panel = PressurePanel()
    panel.show(frame(missing={"pressure": "off at boot"}))
    lines = text(panel.draw(50, 3))
    assert "not available: off at boot" in lines and "0%" not in "".join(lines)


def test_one_missing_resource_does_not_hide_the_others() -> None:
    panel = PressurePanel()
    panel.show(frame(pressure={"cpu": PRESSURE["cpu"]}))
    lines = text(panel.draw(50, 4))
    assert "12.3%" in lines[0] and "not available" in lines[1]


def test_waiting_tasks_have_name_pid_time_and_what_they_belong_to() -> None:
    panel = WaitersPanel()
    panel.show(frame(waiters=[TaskWait(pid=2341, name="game.exe", wait_ms_per_s=12.4, detail="render thread")]))
    line = text(panel.draw(70, 5))[0]
    assert line.split() == ["game.exe", "2341", "▏", "12", "render", "thread"]


def test_a_name_with_wide_or_control_characters_does_not_break_the_columns() -> None:
    panel = WaitersPanel()
    names = ["plain", "日本語の名前です長い長い", "bad\x1b[31m\n"]
    panel.show(frame(waiters=[TaskWait(pid=77, name=name, wait_ms_per_s=5) for name in names]))
    lines = panel.draw(60, 5)
    assert "\x1b" not in "".join(text(lines))
    assert len({cell_len(line[0][0]) for line in lines}) == 1


def test_nobody_waiting_differs_from_not_knowing_who_waits() -> None:
    panel = WaitersPanel()
    panel.show(frame())
    assert text(panel.draw(50, 3)) == ["nobody had to wait"]
    panel.show(frame(missing={"waiters": "schedstat is off"}))
    assert text(panel.draw(50, 3)) == ["not available: schedstat is off"]


def test_waiting_tasks_that_do_not_fit_are_counted() -> None:
    panel = WaitersPanel()
    panel.show(frame(waiters=[TaskWait(pid=pid, name="a", wait_ms_per_s=1) for pid in range(9)]))
    panel.draw(50, 4)
    assert panel.note == "5 more"


def test_a_load_shows_what_it_measures_and_without_any_the_hint() -> None:
    panel = WorkloadPanel("w starts one")
    panel.show(frame())
    assert text(panel.draw(60, 2)) == ["w starts one"]
    panel.show(frame(workloads=[WorkloadStatus(kind="frames", tasks=2, metrics={"late_ends": 3.0})]))
    assert text(panel.draw(60, 2)) == ["▸ frames 3.0 late ends · 2 tasks"]


def test_a_load_tells_what_matters_first_and_leaves_out_what_does_not_fit() -> None:
    panel = WorkloadPanel()
    frames = WorkloadStatus(
        kind="frames", tasks=1, metrics={"frames": 1332.0, "late_percent": 21.4, "frame_p99_ms": 54.2}
    )
    forks = WorkloadStatus(kind="forks", tasks=8, metrics={"jobs_per_s": 34.1})
    panel.show(frame(workloads=[frames, forks]))
    assert text(panel.draw(80, 2)) == [
        "▸ frames 21 % late · p99 54 ms · 1.3k frames · 1 task",
        "▸ forks  34 jobs/s · 8 tasks",
    ]
    assert text(panel.draw(44, 2))[0] == "▸ frames 21 % late · p99 54 ms · 1.3k frames"
    assert text(panel.draw(30, 2))[0] == "▸ frames 21 % late · p99 54 ms"
    assert text(panel.draw(20, 2)) == ["▸ frames 21 % late", "▸ forks  34 jobs/s"]


def event(number: int, details: str = "") -> Event:
    return Event(time=NOW + number, kind="info", text=f"event {number}", details=details)


def test_the_latest_event_is_first_and_what_does_not_fit_is_counted() -> None:
    panel = EventPanel()
    panel.add(event(number) for number in range(10))
    lines = text(panel.draw(60, 4))
    assert [line.split()[-1] for line in lines] == ["9", "8", "7", "6"]
    assert panel.note == "6 older"


def test_a_long_event_wraps_under_its_text() -> None:
    panel = EventPanel()
    panel.add([Event(time=NOW, kind="bad", text="one two three four five six seven eight nine ten")])
    lines = text(panel.draw(30, 6))
    assert len(lines) > 1 and lines[1].startswith("   ") and lines[0][9] == "✗"
    panel.add([Event(time=NOW, kind="bad", text="a sentence that goes on and on " * 4)])
    wide = text(panel.draw(60, 6))
    assert wide[1].startswith(" " * 11)


@pytest.mark.slow
async def test_with_the_focus_events_scroll_and_enter_opens_the_chosen_one() -> None:
    panel = EventPanel()
    opened: list[Event] = []

    class Listening(Alone):
        def on_event_panel_opened(self, message: EventPanel.Opened) -> None:
            opened.append(message.event)

    app = Listening(panel)
    async with app.run_test(size=(60, 8)) as pilot:
        panel.add(event(number) for number in range(30))
        panel.focus()
        await pilot.press(*["down"] * 12)
        await pilot.pause()
        assert any("event 17" in line for line in screen_text(app))
        panel.add([event(30)])
        await pilot.press("enter")
        await pilot.pause()
    assert [each.text for each in opened] == ["event 17"]


def header(width: int, **changes: object) -> str:
    bar = HeaderBar()
    info = machine(4, kind=changes.pop("kind", "lab"), can_load=changes.pop("can_load", True))  # type: ignore[arg-type]
    bar.show(info, frame(runs=changes.pop("runs", scheduler())))  # type: ignore[arg-type]
    return text(bar.compose_lines(width, 1))[0]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_header_always_names_the_program_the_machine_and_the_scheduler(width: int) -> None:
    line = header(width, runs=scheduler("interactive", owner="schedtui"))
    assert "schedtui" in line and "LAB" in line and "● interactive" in line and len(line) <= width


def test_the_header_says_since_when_and_by_whom() -> None:
    assert "(by you)" in header(120, runs=scheduler("interactive", owner="schedtui"))
    assert "(by scx_loader)" in header(120, runs=scheduler("scx_lavd", owner="scx_loader"))
    assert "○ EEVDF  (the kernel's own)" in header(120)


def test_recorded_data_and_a_host_that_can_only_be_watched_are_named_so() -> None:
    assert "RECORDED" in header(80, kind="replay", can_load=False)
    assert "watch only" in header(80, kind="host", can_load=False)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_latched_panic_is_never_left_out(width: int) -> None:
    assert "PANIC latched" in header(width, runs=scheduler(latched=True))


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_panic_stands_at_the_right_end_of_the_key_bar_at_every_width(width: int) -> None:
    line = text(KeyBar(KEYS).compose_lines(width, 1))[0]
    assert len(line) == width and "F12" in line[-24:]
    if width >= 40:
        assert line.endswith(" F12 PANIC → EEVDF ")


def test_the_least_important_keys_go_first() -> None:
    line = text(KeyBar(KEYS).compose_lines(60, 1))[0]
    assert "Presets" in line and "Quit" not in line


@pytest.mark.parametrize(
    ("written", "key"), [("p", "p"), ("?", "question_mark"), ("/", "slash"), ("^p", "ctrl+p"), ("esc", "escape")]
)
def test_keys_are_known_to_textual_by_their_own_names(written: str, key: str) -> None:
    assert textual_key(written) == key


async def test_a_click_on_a_key_is_a_press_of_it() -> None:
    bar = KeyBar(KEYS)
    pressed: list[str] = []

    class Listening(Alone):
        def on_key(self, event: Key) -> None:
            pressed.append(event.key)

    app = Listening(bar)
    async with app.run_test(size=(80, 5)) as pilot:
        await pilot.click(bar, offset=(12, 0))
        await pilot.click(bar, offset=(75, 0))
        await pilot.pause()
    assert pressed == ["m", "f12"]
