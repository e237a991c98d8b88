"""What the stress suite's numbers mean: a fault is told, a busy computer is not taken for one."""

from __future__ import annotations

from msgspec.structs import replace

from schedtui.backend.model import Finding
from schedtui.backend.verifier.judge import best, doubtful, figures, findings, jain
from schedtui.backend.verifier.kernel import about_counters
from schedtui.backend.verifier.stress import Result, Task, read_results


def task(kind: str, *, nice: int = 0, cpu: int = -1, work: int = 100, cpu_ms: float = 500, wait_ms: float = 20) -> Task:
    return Task(kind, nice, cpu, work, cpu_ms, wait_ms, 0)


def result(test: str, *tasks: Task, policy: bool = True, seconds: float = 1, **more: float) -> Result:
    plain = Result(
        test=test,
        policy=policy,
        seconds=seconds,
        cpus=2,
        lasted=True,
        stuck=0,
        fork_failed=False,
        tasks=tasks,
        best_per_s=1000,
    )
    return replace(plain, **more)


def crowd(*tasks: Task, p50_us: float = 2_000, p99_us: float = 20_000, seconds: float = 3) -> Result:
    more = tasks or (task("hog"), task("hog"), task("hog"), task("sleeper", cpu_ms=10))
    return result("crowd", *more, seconds=seconds, wakeups=500, wakeup_p50_us=p50_us, wakeup_p99_us=p99_us)


def rules(found: list[Finding]) -> list[tuple[str, str]]:
    return [(each.rule, each.severity) for each in found]


def told(policy: Result, own: Result | None = None) -> list[tuple[str, str]]:
    beside = own or policy
    return rules(findings([replace(beside, policy=False)], [policy]))


def test_nothing_is_held_against_a_policy_that_does_as_well_as_eevdf() -> None:
    assert told(crowd()) == []
    assert told(result("even", task("hog", cpu_ms=950), task("hog", cpu_ms=940))) == []
    assert told(result("switches", task("ping-pong"))) == []
    assert told(result("storm", task("builder"), task("builder"))) == []


def test_a_task_that_does_nothing_while_others_run_is_starved() -> None:
    starved = crowd(*[task("hog")] * 3, task("sleeper", work=0, wait_ms=3000))
    assert told(starved, crowd()) == [("starved-task", "error")]


def test_a_task_of_low_weight_may_get_nothing_in_a_short_test_but_not_in_a_long_one() -> None:
    tasks = task("hog"), task("low-weight", nice=19, work=0, cpu_ms=0)
    assert told(crowd(*tasks, seconds=0.8)) == []
    assert ("starved-task", "error") in told(crowd(*tasks, seconds=3))


def test_a_wait_of_seconds_is_too_long_unless_eevdf_lets_wait_as_long() -> None:
    waited = crowd(*[task("hog")] * 2, task("hog", wait_ms=2900))
    assert told(waited, crowd()) == [("starved-task", "error")]
    assert told(waited, crowd(task("hog"), task("hog", wait_ms=1500))) == []


def test_what_could_not_be_ended_is_starved() -> None:
    assert told(result("storm", task("builder"), stuck=1)) == [("starved-task", "error")]


def test_programs_that_cannot_be_started_are_no_progress() -> None:
    failed = replace(task("builder"), misplaced=4)
    assert told(result("storm", failed)) == [("no-progress", "error")]


def test_slow_wakeups_need_both_a_long_time_and_a_multiple_of_eevdf() -> None:
    assert told(crowd(p99_us=500_000), crowd(p99_us=20_000)) == [("slow-wakeups", "error")]
    assert told(crowd(p99_us=500_000), crowd(p99_us=400_000)) == []
    assert told(crowd(p99_us=100_000), crowd(p99_us=2_000)) == []
    assert told(crowd(p50_us=250_000), crowd(p50_us=2_000)) == [("slow-wakeups", "error")]


def test_a_short_wait_is_long_where_a_cpu_is_idle() -> None:
    slow = result("room", task("hog"), task("sleeper"), wakeups=100, wakeup_p50_us=100_000, wakeup_p99_us=190_000)
    quick = replace(slow, wakeup_p50_us=500, wakeup_p99_us=9_000)
    assert told(slow, quick) == [("slow-wakeups", "error")]


def test_a_pinned_task_that_never_runs_breaks_its_affinity() -> None:
    pinned = result("pinned", task("pinned", cpu=0), task("pinned", cpu=1, work=0), seconds=3)
    assert ("affinity-broken", "error") in told(pinned)


def test_priorities_upside_down_are_unfair_and_ignored_ones_only_worth_a_note() -> None:
    def shared(normal_ms: float, low_ms: float) -> Result:
        tasks = (
            task("pinned", cpu=0, cpu_ms=normal_ms),
            task("pinned", cpu=0, cpu_ms=normal_ms),
            task("pinned", cpu=0, nice=5, cpu_ms=(normal_ms + low_ms) / 2),
            task("pinned", cpu=0, nice=10, cpu_ms=low_ms),
        )
        return result("pinned", *tasks)

    as_eevdf = shared(350, 38)
    assert told(shared(340, 40), as_eevdf) == []
    assert told(shared(200, 200), as_eevdf) == [("unfair", "note")]
    assert told(shared(40, 400), as_eevdf) == [("unfair", "error")]


def test_of_equal_tasks_none_may_get_next_to_nothing() -> None:
    tasks = task("hog", cpu_ms=2900), task("hog", cpu_ms=2900), task("hog", cpu_ms=40)
    assert ("unfair", "error") in told(crowd(*tasks), crowd())


def test_a_cpu_that_stays_idle_is_told() -> None:
    busy = result("even", task("hog", cpu_ms=950), task("hog", cpu_ms=940))
    packed = result("even", task("hog", cpu_ms=480), task("hog", cpu_ms=470))
    assert told(packed, busy) == [("idle-cpu-unused", "error")]


def test_a_cpu_that_came_back_and_is_used_no_more_is_told() -> None:
    busy = result("even", *[task("hog", cpu_ms=950)] * 4, cpus=4)
    busy = replace(busy, best_used=0.97)
    back = replace(busy, test="again", best_used=0.74)
    assert told(back, busy) == [("idle-cpu-unused", "error")]
    assert told(replace(back, best_used=0.9), busy) == []


def test_less_cpu_time_fewer_switches_and_fewer_programs_than_under_eevdf_are_told() -> None:
    third = crowd(*[task("hog", cpu_ms=150)] * 3)
    assert told(third, crowd(*[task("hog", cpu_ms=500)] * 3)) == [("low-throughput", "error")]
    turns = result("switches", task("ping-pong"))
    assert told(replace(turns, best_per_s=90), turns) == [("costly-switches", "warning")]
    assert told(result("storm", task("builder", work=5)), result("storm", task("builder", work=100))) == [
        ("low-throughput", "error")
    ]


def test_a_cpu_that_cannot_be_taken_out_is_told_once() -> None:
    hangs = replace(result("hotplug", task("pinned", work=0)), hotplug="hangs", stuck=1)
    assert told(hangs) == [("hotplug-hangs", "error")]


def test_a_test_that_the_policy_did_not_outlive_is_not_judged() -> None:
    assert told(replace(crowd(task("hog", work=0)), lasted=False)) == []


def test_what_chance_can_do_is_measured_again_and_the_better_run_counts() -> None:
    slow, good, own = crowd(p99_us=500_000), crowd(), crowd()
    found = findings([own], [slow])
    assert doubtful(found, [slow]) == {"crowd"}
    assert doubtful(findings([own], [good]), [good]) == set()
    assert findings([own], best([slow], [good])) == []
    assert best([good], [slow]) == [good]


def test_slow_wakeups_are_doubtful_even_where_eevdf_was_as_slow() -> None:
    slow = crowd(p99_us=500_000)
    assert findings([slow], [slow]) == []
    assert doubtful([], [slow]) == {"crowd"}


def test_figures_stand_beside_those_of_eevdf() -> None:
    measured = figures([crowd(p99_us=7_000)], [crowd(p99_us=9_000)])
    assert (measured["wakeup_p99_us"], measured["eevdf_wakeup_p99_us"]) == (9_000, 7_000)


def test_jains_index_is_one_for_equals_and_a_share_for_one_that_has_all() -> None:
    assert jain([3, 3, 3]) == 1
    assert jain([5, 0, 0, 0]) == 0.25


def test_a_line_that_was_cut_off_is_left_out() -> None:
    line = '{"test": "even", "policy": true, "seconds": 1, "cpus": 2, "lasted": true, "stuck": 0, "fork_failed": false'
    whole = line + ', "tasks": []}'
    assert [each.test for each in read_results(f"{whole}\n{line}\nnonsense\n")] == ["even"]


def test_where_the_kernel_had_to_help_out_often_it_is_noted_with_what_it_did() -> None:
    assert list(about_counters(0, {"SCX_EV_SELECT_CPU_FALLBACK": 100, "SCX_EV_BYPASS_ACTIVATE": 2})) == []
    (found,) = about_counters(0, {"SCX_EV_SELECT_CPU_FALLBACK": 101, "SCX_EV_DISPATCH_LOCAL_DSQ_OFFLINE": 3})
    assert (found.rule, found.severity) == ("kernel-helped", "note")
    assert found.details == "101 times: chose a CPU that the task may not use; the kernel chose another"


def test_a_single_task_that_the_policy_refused_fails_it() -> None:
    (found,) = about_counters(1, {})
    assert (found.rule, found.severity) == ("tasks-refused", "error")
