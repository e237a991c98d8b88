"""The CPU panel, from 1 to 256 CPUs."""

from __future__ import annotations

import pytest

from schedtui.widgets.cpus import CpuPanel, groups_of, ranges, use_bar
from schedtui.widgets.glyphs import UNICODE
from schedtui.widgets.panel import Line
from tests.widgets.samples import frame, machine
from tests.widgets.showing import Alone, screen_text, text


def drawn(cpus: int, width: int, height: int, *, cache: int = 8, used: float = 50.0) -> tuple[CpuPanel, list[Line]]:
    panel = CpuPanel()
    panel.show(machine(cpus, cache=cache), frame([used] * cpus))
    return panel, panel.draw(width, height)


@pytest.mark.parametrize("size", [(36, 7), (44, 24), (75, 45)])
@pytest.mark.parametrize("cpus", [1, 2, 4, 16, 64, 128, 256])
def test_every_number_of_cpus_fits_and_every_cpu_is_drawn(cpus: int, size: tuple[int, int]) -> None:
    width, height = size
    panel, lines = drawn(cpus, width, height, cache=16)
    assert len(lines) <= height
    assert max(len(line) for line in text(lines)) <= width
    if panel.aside.startswith("one sign"):
        return
    percents = sum(line.count("%") for line in text(lines))
    signs = sum(line.count(UNICODE.levels[4]) for line in text(lines))
    assert percents == cpus or signs >= cpus


def test_a_bar_is_as_long_as_the_use_to_an_eighth_of_a_cell() -> None:
    assert text([use_bar(50, 10, UNICODE)]) == ["█████     "]
    assert text([use_bar(51.25, 10, UNICODE)]) == ["█████▏    "]
    assert text([use_bar(100, 10, UNICODE)]) == ["██████████"]
    assert text([use_bar(130, 10, UNICODE)]) == ["██████████"]
    assert text([use_bar(0.6, 10, UNICODE)]) == ["▏         "]
    assert text([use_bar(0, 10, UNICODE)]) == ["          "]


def test_use_clock_rate_and_queue_stand_in_columns_under_their_headings() -> None:
    panel = CpuPanel()
    panel.show(machine(1), frame([71.4], mhz=4210, waiting=140))
    assert text(panel.draw(40, 1))[0].endswith("  71%  4.2G   1.4")
    assert panel.aside.split() == ["used", "GHz", "queue"]


def test_a_clock_rate_that_is_not_measured_is_left_out_and_the_reason_given() -> None:
    panel = CpuPanel()
    panel.show(machine(1), frame([10], missing={"frequency": "no cpufreq here"}))
    lines = text(panel.draw(40, 1))
    assert "G" not in lines[0] and "GHz" not in panel.aside
    assert panel.note == "clock rate not available: no cpufreq here"


def test_a_cpu_without_a_sample_is_offline_and_not_idle() -> None:
    panel = CpuPanel()
    panel.show(machine(2), frame([10]))
    lines = text(panel.draw(40, 2))
    assert "offline" in lines[1] and "0%" not in lines[1]


def test_cpus_are_grouped_by_their_cache_and_long_groups_are_cut_in_sixteens() -> None:
    assert [group.extent for group in groups_of(machine(32, cache=8), range(32))] == ["0–7", "8–15", "16–23", "24–31"]
    whole = groups_of(machine(64, cache=64), range(64))
    assert [(group.name, group.extent) for group in whole][:2] == [("L0", "0–15"), ("L0", "16–31")]
    assert ranges([0, 1, 2, 8, 10, 11]) == "0–2,8,10–11"


def test_where_not_even_signs_fit_one_sign_stands_for_several_cpus_and_that_is_said() -> None:
    for height, cpus in ((6, 2), (4, 4), (2, 8)):
        panel, lines = drawn(256, 30, height)
        assert panel.aside == f"one sign = {cpus} CPUs"
        assert len(lines) <= height


def test_signs_tell_idle_from_busy_without_any_colour() -> None:
    _, idle = drawn(128, 36, 9, cache=16, used=0)
    _, busy = drawn(128, 36, 9, cache=16, used=100)
    assert "▁" * 16 in text(idle)[0] and "█" * 16 in text(busy)[0]


async def test_enter_opens_a_group_and_escape_goes_back() -> None:
    panel = CpuPanel()
    app = Alone(panel)
    async with app.run_test(size=(40, 12)) as pilot:
        panel.show(machine(128, cache=16), frame([50.0] * 128))
        panel.focus()
        await pilot.pause()
        await pilot.press("down", "enter")
        await pilot.pause()
        opened = "\n".join(screen_text(app))
        assert "CPUs 16–31 of 128" in opened and "31 █" in opened and "50%" in opened
        await pilot.press("escape")
        await pilot.pause()
        assert "L7" in "\n".join(screen_text(app))


async def test_with_few_cpus_there_is_nothing_to_choose_and_the_keys_are_left_to_others() -> None:
    panel = CpuPanel()
    app = Alone(panel)
    async with app.run_test(size=(40, 12)) as pilot:
        panel.show(machine(4), frame([50.0] * 4))
        await pilot.pause()
        assert not panel.can_focus
        assert panel.check_action("open", ()) is False and panel.check_action("close", ()) is False


def test_the_recent_past_is_drawn_under_the_bars_where_there_is_room() -> None:
    panel = CpuPanel()
    for used in (0, 0, 100, 100):
        panel.show(machine(2), frame([used, used]))
    lines = text(panel.draw(40, 8))
    assert lines[1].strip() == "█" and lines[2].strip().endswith("▁█")


def test_after_a_reset_nothing_of_the_machine_before_is_left() -> None:
    panel, _ = drawn(128, 36, 9, cache=16)
    panel.reset()
    assert text(panel.draw(36, 9)) == ["waiting for the first sample"]


async def test_among_signs_the_chosen_group_is_named_with_its_mean() -> None:
    panel = CpuPanel()
    app = Alone(panel)
    async with app.run_test(size=(40, 12)) as pilot:
        panel.show(machine(256), frame([50.0] * 256))
        panel.focus()
        await pilot.press("down")
        await pilot.pause()
        assert "8–15 50%" in screen_text(app)[0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(40, 12), (60, 40)], ids=["without a frame", "with one"])
async def test_a_click_chooses_a_group_and_a_second_opens_it(size: tuple[int, int]) -> None:
    panel = CpuPanel()
    app = Alone(panel)
    async with app.run_test(size=size) as pilot:
        panel.show(machine(128, cache=16), frame([50.0] * 128))
        await pilot.pause()
        line = next(y for y, text in enumerate(screen_text(app)) if " L2 " in text)
        await pilot.click(panel, offset=(8, line))
        await pilot.pause()
        assert "▸ L2" in screen_text(app)[line]
        await pilot.click(panel, offset=(8, line), times=2)
        await pilot.pause()
        assert "CPUs 32–47 of 128" in screen_text(app)[0]


async def test_a_click_among_signs_chooses_their_group() -> None:
    panel = CpuPanel()
    app = Alone(panel)
    async with app.run_test(size=(40, 12)) as pilot:
        panel.show(machine(256), frame([50.0] * 256))
        await pilot.pause()
        await pilot.click(panel, offset=(1 + 4 + 10, 1))
        await pilot.pause()
        assert "8–15 50%" in screen_text(app)[0]
