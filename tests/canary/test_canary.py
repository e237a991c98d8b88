"""A canary's verdict: rarely wrong where nothing differs, sure where something does, quick where it hurts."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from schedtui.backend.canary import WORK_CHANGED, Trial, _percentiles, critical, fisher
from schedtui.backend.histogram import SLOTS, percentile_us
from schedtui.backend.model import Metric, Sample, Scheduler
from tests.canary.simulation import COMMAND, REGIMES, WAKEUP, WORK, Computer, Counters, outcome

TURN = 20


def verdicts(regime: str, factor: float, trials: int, metric: Metric = WAKEUP) -> Counter[str]:
    """Verdicts of so many trials."""
    return Counter(outcome(REGIMES[regime], seed, factor, metric=metric, turn=TURN)[0] for seed in range(trials))


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
def test_equal_sides_are_hardly_ever_called_different(regime: str) -> None:
    found = verdicts(regime, 1.0, 10)
    assert found["better"] + found["worse"] <= 1


@pytest.mark.soak
@pytest.mark.parametrize("metric", [WAKEUP, WORK], ids=["wakeup", "work"])
@pytest.mark.parametrize("regime", REGIMES)
def test_of_many_trials_of_equal_sides_at_most_five_per_cent_are_decided(regime: str, metric: Metric) -> None:
    found = verdicts(regime, 1.0, 200, metric)
    assert found["better"] + found["worse"] <= 10


@pytest.mark.parametrize("regime", ["steady", "bursts", "drift", "heavy-tail"])
def test_something_five_times_worse_is_found_within_fifteen_slices(regime: str) -> None:
    verdict, slices, trial = outcome(REGIMES[regime], 1, 5.0, turn=TURN)
    assert verdict == "worse"
    assert slices - TURN <= 15
    assert "clearly worse" in trial.comparison().reason


def test_a_load_that_gets_a_fifth_done_is_found_within_fifteen_slices() -> None:
    verdict, slices, _ = outcome(REGIMES["steady"], 1, 0.2, metric=WORK, turn=TURN)
    assert verdict == "worse"
    assert slices - TURN <= 15


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "wanted"), [(2.0, "worse"), (0.5, "better")], ids=["twice", "half"])
def test_twice_or_half_the_wait_is_found(factor: float, wanted: str) -> None:
    assert verdicts("steady", factor, 10)[wanted] == 10


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "wanted"), [(1.25, "worse"), (0.8, "better")], ids=["more", "less"])
def test_a_fifth_is_mostly_found_on_a_calm_computer(factor: float, wanted: str) -> None:
    assert verdicts("calm", factor, 12)[wanted] >= 7


@pytest.mark.slow
def test_a_fifth_less_work_is_mostly_found() -> None:
    assert verdicts("steady", 0.8, 12, WORK)["worse"] >= 7


def test_a_computer_on_which_hardly_anything_wakes_up_is_not_judged() -> None:
    verdict, _, trial = outcome(REGIMES["hardly-any"], 1, 3.0, turn=TURN)
    assert verdict == "inconclusive"
    assert "too few" in trial.comparison().reason.lower()


def test_nothing_is_decided_before_the_least_number_of_samples() -> None:
    trial, seen = Trial(WORK, least_samples=20), Counters()
    for number in range(19 * 2):
        before = seen.sample()
        seen.add_work(100 if number < 19 else 130)
        trial.add("before" if number < 19 else "after", before, seen.sample())
        assert trial.decision() is None
    assert trial.comparison().verdict == "inconclusive"


def feed(trial: Trial, before: int, after: int, turns: int = 8) -> None:
    """Turns of ten slices with so much work each, more or less."""
    random, seen = np.random.default_rng(1), Counters()
    for turn in range(turns):
        for _ in range(10):
            was = seen.sample()
            seen.add_work((before if turn % 2 == 0 else after) + int(random.integers(-5, 6)))
            trial.add("before" if turn % 2 == 0 else "after", was, seen.sample())


def test_a_difference_too_small_to_matter_is_called_none() -> None:
    trial = Trial(WORK)
    feed(trial, 1000, 1002)
    assert trial.decision() == "no-difference"
    found = trial.comparison()
    assert found.low_percent is not None
    assert found.high_percent is not None
    assert -5 < found.low_percent < 0.2 < found.high_percent < 5


def test_more_work_is_better_and_the_numbers_say_how_much() -> None:
    trial = Trial(WORK)
    feed(trial, 1000, 1200)
    assert trial.decision() == "better"
    found = trial.comparison()
    assert found.before == pytest.approx(10_000, rel=0.01)
    assert found.after == pytest.approx(12_000, rel=0.01)
    assert found.change_percent == pytest.approx(20, abs=1)
    assert found.low_percent is not None
    assert found.high_percent is not None
    assert 5 < found.low_percent < 20 < found.high_percent < 40
    assert (found.samples_before, found.samples_after) == (40, 40)
    assert found.seconds == pytest.approx(8)


def test_a_verdict_stays() -> None:
    trial = Trial(WORK)
    feed(trial, 1000, 1002)
    assert trial.decision() == "no-difference"
    feed(trial, 1000, 3000, turns=24)
    assert trial.decision() == trial.finish() == "no-difference"


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ([10.0, 10.2, 9.9, 10.1, 10.0], [8.0, 8.1, 7.9, 8.0, 8.2], "better"),
        ([10.0, 10.2, 9.9, 10.1, 10.0], [13.0, 13.1, 12.9, 13.0, 13.2], "worse"),
        ([10.0, 14.0, 8.0, 11.0, 9.0], [9.0, 8.0, 13.0, 8.0, 9.0], "inconclusive"),
        ([10.0, 10.1, 9.9, 10.0, 10.1], [10.0, 9.9, 10.1, 10.1, 10.0], "no-difference"),
    ],
    ids=["better", "worse", "inconclusive", "no-difference"],
)
def test_the_times_of_a_command_are_compared(before: list[float], after: list[float], wanted: str) -> None:
    trial = Trial(COMMAND)
    for one, other in zip(before, after, strict=True):
        trial.add_run("before", one)
        trial.add_run("after", other)
        trial.decision()
    assert trial.finish() == wanted


def test_runs_that_stray_a_little_around_the_same_are_no_difference_at_the_end() -> None:
    trial = Trial(COMMAND)
    for stray in (0.45, -0.45, 0.27, -0.27, 0.0):
        trial.add_run("before", 10 + stray)
        trial.add_run("after", 10 - stray)
        assert trial.decision() is None
    assert trial.finish() == "no-difference"
    assert "smaller than 5 %" in trial.comparison().reason


def test_sides_that_differ_no_more_than_turns_of_one_side_do_are_not_told_apart() -> None:
    trial, seen = Trial(WORK), Counters()
    for turn, level in enumerate((1000, 1200, 1300, 1500, 1000, 1200, 1300, 1500)):
        for _ in range(20):
            was = seen.sample()
            seen.add_work(level)
            trial.add("before" if turn % 2 == 0 else "after", was, seen.sample())
            trial.decision()
    assert trial.finish() == "inconclusive"


def woken(each_slice: tuple[int, ...], metric: Metric = WORK) -> Trial:
    """Turns of twenty slices with so many wake-ups each, and always the same work."""
    trial, seen = Trial(metric), Counters()
    for turn, count in enumerate(each_slice):
        for _ in range(20):
            was = seen.sample()
            seen.add_work(1000)
            seen.add_wakeups(np.eye(1, SLOTS, 20, dtype=int)[0] * count)
            trial.add("before" if turn % 2 == 0 else "after", was, seen.sample())
            trial.decision()
    return trial


def test_where_the_work_itself_changed_nothing_can_be_told() -> None:
    trial = woken((10, 10, 40, 40))
    assert trial.finish() == "inconclusive"
    assert trial.comparison().reason.startswith(WORK_CHANGED)
    assert re.search(r"woke up \d+ times a second at first, and \d+ times later", trial.comparison().reason)


@pytest.mark.parametrize(
    "each_slice", [(10, 40, 10, 40), (10, 10, 20, 20), (1, 1, 4, 4)], ids=["candidate", "less", "few"]
)
def test_what_the_candidate_does_or_chance_is_no_change_of_the_work(each_slice: tuple[int, ...]) -> None:
    assert woken(each_slice).finish() == "no-difference"


def test_a_load_that_is_started_meanwhile_makes_no_scheduler_worse() -> None:
    trial, seen = Trial(WAKEUP), Counters()
    for number in range(40):
        was = seen.sample()
        seen.add_wakeups(np.eye(1, SLOTS, 10 if number < 20 else 40, dtype=int)[0] * 20)
        now = seen.sample()
        trial.add(
            "before" if number < 20 else "after",
            was,
            now if number < 21 else replace(now, work={**now.work, "hogs": 5}),
        )
        trial.decision()
    assert trial.decision() == "inconclusive"
    assert "other loads" in trial.comparison().reason


def test_the_end_is_judged_with_what_there_is() -> None:
    trial = Trial(WORK, least_samples=5)
    assert trial.finish() == "inconclusive"
    assert "Too little" in trial.comparison().reason


def test_a_slice_in_which_the_scheduler_changed_or_a_counter_began_anew_is_left_out() -> None:
    seen = Counters()
    first = seen.sample()
    seen.add_wakeups(np.ones(SLOTS, dtype=int))
    second = seen.sample()
    other = Scheduler(sched_ext="enabled", name="fair", owner="schedtui", enable_seq=1)
    trial = Trial(WAKEUP)
    assert trial.add("before", first, second)
    assert not trial.add("before", first, replace(second, scheduler=other))
    assert not trial.add("before", second, replace(first, time_s=9.0))
    assert not trial.add("before", first, replace(second, time_s=first.time_s))
    assert trial.comparison().samples_before == 1


def test_only_the_tasks_in_focus_count_when_some_are_named() -> None:
    def sample(time_s: float, all_: int, focus: int) -> Sample:
        scheduler = Scheduler(sched_ext="disabled", name="EEVDF", owner="kernel")
        return Sample(
            time_s=time_s, scheduler=scheduler, wakeups=(0,) * 60 + (all_,), focus_wakeups=(0,) * 20 + (focus,)
        )

    trial = Trial(Metric(name="wakeup_p99_us", focus=("game",)))
    trial.add("before", sample(0, 0, 0), sample(0.1, 100, 5))
    before = trial.comparison().before
    assert before is not None
    assert before < 1


@pytest.mark.slow
def test_looking_is_cheap_enough_to_do_it_while_measuring() -> None:
    """Not in seconds, which depend on the computer: in how often all slices are gone through again."""
    trial, seen, computer = Trial(WAKEUP), Counters(), Computer(REGIMES["steady"], 1)
    looks = set()
    for number in range(200):
        was = seen.sample()
        seen.add_wakeups(computer.wakeups(1.0))
        trial.add("before" if number // 10 % 2 == 0 else "after", was, seen.sample())
        trial.decision()
        looks.add(trial.comparison().low_percent)
    assert 5 <= len(looks) <= 12


@pytest.mark.parametrize(
    ("alpha", "freedom", "wanted"),
    [(0.05, 1, 12.706), (0.05, 2, 4.303), (0.05, 9, 2.262), (0.01, 10, 3.169), (0.05, 120, 1.980), (0.001, 3, 12.924)],
    ids=str,
)
def test_student_s_t_is_that_of_the_tables(alpha: float, freedom: int, wanted: float) -> None:
    assert critical(alpha, freedom) == pytest.approx(wanted, abs=0.001)


def test_fisher_s_chances_are_those_of_counting() -> None:
    assert fisher(3, 3, 0, 3) == pytest.approx(1 / 20)
    assert fisher(0, 3, 0, 3) == 1.0
    assert fisher(3, 4, 1, 4) == pytest.approx(17 / 70)  # the lady tasting tea


def test_percentiles_of_many_histograms_are_those_of_each() -> None:
    counts = np.random.default_rng(1).poisson(0.3, (50, 80)).astype(float)
    counts[:, 10] += 1
    wanted = [percentile_us(tuple(int(each) for each in row), 99) for row in counts]
    assert _percentiles(counts, 99).tolist() == pytest.approx(wanted)
