"""The latency panel: numbers, comparison, chart and distribution."""

from __future__ import annotations

import pytest

from schedtui.backend.model import LatencySource
from schedtui.widgets.chart import BandChart, Scale
from schedtui.widgets.latency import LatencyPanel, fold
from tests.widgets.samples import frame, histogram, latency, scheduler
from tests.widgets.showing import roles, text

FAST = ((10.0, 990), (100.0, 10))


def shown(*frames: object, width: int = 100, height: int = 14) -> list[str]:
    panel = LatencyPanel()
    for each in frames:
        panel.show(each)  # type: ignore[arg-type]
    return text(panel.draw(width, height))


def test_the_first_line_has_the_percentiles_with_units_that_fit() -> None:
    first = shown(frame(wait=latency((10.0, 960), (300.0, 30), (2_100.0, 10))))[0]
    assert [word for word in first.split() if word in ("p50", "p95", "p99", "max")] == ["p50", "p95", "p99", "max"]
    assert "µs" in first and "ms" in first


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("wakeup-probe", "Wake-up latency"),
        ("run-delay", "Run delay, mean per task (lower bound)"),
        ("timer-overshoot", "Timer lateness of a test process"),
    ],
)
def test_the_title_names_what_was_measured(source: LatencySource, title: str) -> None:
    panel = LatencyPanel()
    panel.show(frame(wait=latency((10.0, 5), source=source)))
    panel.draw(60, 10)
    assert panel.heading == title


def test_a_missing_source_is_shown_with_its_reason_and_no_number() -> None:
    lines = shown(frame(missing={"latency": "run delay is not counted"}))
    assert lines == ["not available: run delay is not counted"]


def test_an_interval_in_which_nothing_waited_is_not_a_latency_of_zero() -> None:
    assert shown(frame(wait=latency()))[0] == "nothing waited in this interval"


@pytest.mark.parametrize(
    ("now_us", "words"),
    [
        (80.0, "% lower than EEVDF"),
        (160.0, "% higher than EEVDF"),
        (20.0, "× shorter than EEVDF"),
        (420.0, "× longer than EEVDF"),
        (100.0, "p99 like EEVDF"),
    ],
)
def test_a_ghost_is_compared_by_the_99th_percentile_in_words(now_us: float, words: str) -> None:
    panel = LatencyPanel()
    panel.show(frame(wait=latency((5.0, 9_000), (now_us, 1_000))))
    panel.ghost(histogram((50.0, 9_000), (100.0, 1_000)), "EEVDF")
    assert text(panel.draw(120, 10))[0].endswith(words)


def test_what_was_measured_under_another_scheduler_is_not_part_of_the_comparison() -> None:
    panel = LatencyPanel()
    panel.ghost(histogram((100.0, 100)), "EEVDF")
    for _ in range(20):
        panel.show(frame(wait=latency((100.0, 100))))
    panel.show(frame(wait=latency((20.0, 100)), runs=scheduler("interactive", owner="schedtui")))
    assert "shorter than EEVDF" in text(panel.draw(120, 10))[0]


def test_a_narrow_panel_keeps_the_median_the_99th_percentile_and_the_comparison() -> None:
    panel = LatencyPanel()
    panel.show(frame(wait=latency(*FAST)))
    panel.ghost(histogram((400.0, 100)), "EEVDF")
    first = text(panel.draw(44, 8))[0]
    assert "p50" in first and "p99" in first and "vs EEVDF" in first and len(first) <= 44


def test_the_ghost_has_its_own_line_and_goes_when_it_is_taken_away() -> None:
    panel = LatencyPanel()
    panel.show(frame(wait=latency(*FAST)))
    panel.ghost(histogram((400.0, 100)), "EEVDF")
    assert text(panel.draw(60, 12))[-1].startswith("EEVDF")
    panel.ghost(None, "")
    assert text(panel.draw(60, 12))[-1].startswith("now")


def test_the_chart_marks_where_the_scheduler_changed() -> None:
    panel = LatencyPanel()
    for _ in range(20):
        panel.show(frame(wait=latency(*FAST)))
    for _ in range(40):
        panel.show(frame(wait=latency(*FAST), runs=scheduler("interactive", owner="schedtui")))
    lines = panel.draw(80, 14)
    assert any("┊interactive" in line for line in text(lines))
    assert roles(lines, "interactive") == {"marker"}


def test_a_frame_without_a_measurement_leaves_a_gap_in_the_chart() -> None:
    chart = BandChart("|", False)
    for sample in ((10.0, 100.0), (10.0, 100.0), None, None, (10.0, 100.0), (10.0, 100.0)):
        chart.add(sample)
    bottom = text(chart.lines(3, 3, Scale(0, 3)))[-1]
    assert bottom[1] == " " and bottom[0] != " " and bottom[2] != " "


def test_higher_values_reach_higher_and_the_median_is_filled_denser_than_the_band() -> None:
    chart = BandChart("|", False)
    for _ in range(4):
        chart.add((10.0, 900.0))
    lines = chart.lines(2, 3, Scale(0, 3))
    assert text(lines)[2] == "⣿⣿"
    assert roles(lines[2:], "⣿") == {"p50"} and text(lines)[0] not in ("⣿⣿", "  ")


def test_the_axis_takes_in_every_visible_sample() -> None:
    chart = BandChart("|", False)
    chart.add((0.4, 20.0))
    chart.add((5.0, 60_000.0))
    assert chart.scale(10) == Scale(-1, 5)


def test_a_column_once_drawn_is_as_if_drawn_anew() -> None:
    kept, fresh = BandChart("|", False), BandChart("|", False)
    for number in range(50):
        sample = (5.0 + number, 50.0 + number * number)
        kept.add(sample)
        kept.lines(12, 4, kept.scale(12))
        fresh.add(sample)
    assert kept.lines(12, 4, kept.scale(12)) == fresh.lines(12, 4, fresh.scale(12))


def test_the_distribution_keeps_every_count_also_those_beyond_its_ends() -> None:
    slots = histogram((0.001, 7), (10.0, 90), (50_000_000.0, 3))
    shape = fold(slots, 40, 0, 5)
    assert sum(shape) == pytest.approx(100)
    assert shape[0] == 7 and shape[-1] == 3


def test_a_low_panel_prefers_the_distribution_to_a_chart_of_a_line_or_two() -> None:
    panel = LatencyPanel()
    panel.show(frame(wait=latency(*FAST)))
    lines = text(panel.draw(60, 4))
    assert lines[1].startswith("now") and len(lines) == 2


@pytest.mark.parametrize("height", range(1, 20))
@pytest.mark.parametrize("width", [20, 36, 60, 120])
def test_it_never_draws_more_than_it_was_given_room_for(width: int, height: int) -> None:
    panel = LatencyPanel()
    panel.ghost(histogram((400.0, 100)), "EEVDF")
    for _ in range(10):
        panel.show(frame(wait=latency(*FAST)))
    lines = text(panel.draw(width, height))
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines[1:])
