"""Words and figures together make a plan, the same one always; what was measured before changes it."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schedtui.agent import toolset
from schedtui.agent.arguments import Match, Tried
from schedtui.agent.mind import Call, MindFailed, RoleName, Stopped, Turn
from schedtui.agent.offline import OfflineAdviser
from schedtui.agent.summary import Group, Summary
from schedtui.agent.tools import Toolbox
from schedtui.backend.library.catalogue import CLASSES, Library, load_library
from schedtui.backend.model import Comparison, Finding, Metric, Plan, Report, Workload
from schedtui.backend.store import NoteRow, Outcome
from schedtui.backend.tunables import check_settings
from schedtui.paths import shipped

LIBRARY = load_library(shipped("library"))
CALM = Summary(
    machine="host, Linux 6.18.15, 8 CPUs, one shared cache",
    scheduler="EEVDF",
    seconds=2,
    cpus=8,
    used_percent=30,
    shape="steady",
    busiest_percent=45,
    latency_source="wakeup-probe",
    latency_p50_us=40,
    latency_p99_us=900,
    forks_per_s=2,
    pressure_percent={"cpu": 1, "io": 0, "memory": 0},
)
HOGS = replace(
    CALM,
    used_percent=99,
    shape="full",
    busiest_percent=100,
    latency_p99_us=14_000,
    waiting_percent=300,
    groups=(Group(name="blender", tasks=9, wait_ms_per_s=700, run_ms_per_s=900),),
)
FORKS = replace(
    HOGS,
    forks_per_s=140,
    groups=(
        Group(name="cc1plus", tasks=16, wait_ms_per_s=700, run_ms_per_s=900),
        Group(name="make", tasks=2, wait_ms_per_s=10, run_ms_per_s=5),
    ),
)
DISK = replace(CALM, used_percent=9, shape="idle", busiest_percent=20, pressure_percent={"io": 55, "cpu": 0})
FEW = replace(CALM, used_percent=26, shape="a few busy CPUs", busiest_percent=100)
IDLE = replace(CALM, used_percent=2, shape="idle", busiest_percent=4)


def said(
    role: RoleName, facts: dict[str, Any], adviser: OfflineAdviser | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """The calls, each understood by the real tools as it was meant."""
    box = Toolbox(toolset.tools())
    turn = Turn(role=role, messages=(), tools=box.specs(role), facts=facts)
    reply = (adviser or OfflineAdviser()).answer(turn, lambda _: None, threading.Event())
    understood = [box.understood(each, role, lambda text: text) for each in reply.message.calls]
    return [(each.tool.name, msgspec.to_builtins(each.arguments)) for each in understood]


def observed(words: str, seen: Summary, **more: Any) -> dict[str, Any]:
    """What observe submits, in the lab."""
    ((tool, given),) = said("observe", observing(words, seen, **more))
    assert tool == "submit_workload"
    return given


def observing(words: str, seen: Summary, **more: Any) -> dict[str, Any]:
    facts = {"words": words, "steered": (), "command": "", "folder": False, "machine": "lab", "classes": CLASSES}
    return {**facts, "summary": seen, "loads": (), "results": (), "steering": (), **more}


def planning(words: str, class_id: str, seen: Summary, library: Library = LIBRARY, **more: Any) -> dict[str, Any]:
    workload = Workload(
        sentence=words, class_id=class_id, confidence=0.8, evidence=("words",), metric=Metric(name="wakeup_p99_us")
    )
    preset = library.preset_for(class_id)
    loadable = library.loadable()
    facts = {"words": words, "steered": (), "workload": workload, "summary": seen, "matches": (), "policies": loadable}
    facts["choices"] = tuple(each for each in preset.choices if each.policy in loadable) if preset else ()
    return {**facts, "outcomes": (), "notes": (), "rounds": (), "allowed": "", "results": (), **more}


def planned(words: str, class_id: str, seen: Summary, **more: Any) -> dict[str, Any]:
    ((tool, given),) = said("plan", planning(words, class_id, seen, **more))
    assert tool == "submit_plan"
    assert given["mode"] == "configure"
    check_settings(LIBRARY.policies[given["policy"]], given["settings"])
    return given


# ---- observe ----


def test_clear_words_are_taken_for_what_they_say_with_the_figures_as_evidence() -> None:
    given = observed("my game stutters while a video renders", HOGS)
    assert given["class_id"] == "gaming"
    assert given["metric"] == "wakeup_p99_us"
    assert "like “" in given["evidence"][0]
    assert any("14 ms" in each for each in given["evidence"])
    assert any("blender" in each and "99 %" in each for each in given["evidence"])


@pytest.mark.parametrize(
    ("seen", "class_id", "figure"),
    [
        (HOGS, "desktop", "14 ms"),
        (FORKS, "compile", "140 new programs"),
        (DISK, "memory-io", "55 %"),
        (FEW, "batch", "Few CPUs"),
        (IDLE, "unknown", "Hardly anything"),
    ],
    ids=["hogs", "forks", "disk", "few", "idle"],
)
@pytest.mark.parametrize(
    "words", ["it is slow", "my computer is too slow, please make it faster"], ids=["short", "long"]
)
def test_the_same_vague_words_mean_what_the_machine_shows(
    words: str, seen: Summary, class_id: str, figure: str
) -> None:
    given = observed(words, seen)
    assert given["class_id"] == class_id
    assert any(figure in each for each in given["evidence"])


def test_what_is_no_affair_of_a_scheduler_is_unknown_however_busy_the_machine_is() -> None:
    assert observed("what will the weather be tomorrow", HOGS)["class_id"] == "unknown"


def test_what_the_person_adds_later_counts_too() -> None:
    given = observed("it is slow", IDLE, steered=("I mean cargo build of my rust project",))
    assert given["class_id"] == "compile"


@pytest.mark.parametrize(
    ("words", "more", "metric", "whose"),
    [
        ("make my builds faster", {"command": "make -j8"}, "command_s", ""),
        ("make my builds faster", {"loads": ("forks",)}, "work_per_s", "forks"),
        ("render an animation overnight", {"loads": ("hogs",)}, "work_per_s", "hogs"),
        ("my game stutters", {"loads": ("hogs", "frames")}, "wakeup_p99_us", "load-frames"),
        ("my game stutters", {"command": "game --fullscreen"}, "wakeup_p99_us", ""),
        ("save battery on the train", {"loads": ("frames",)}, "work_per_s", "frames"),
    ],
    ids=["command", "builds", "renders", "game", "game-command", "battery"],
)
def test_what_better_means_follows_from_the_goal_and_what_can_be_measured(
    words: str, more: dict[str, Any], metric: str, whose: str
) -> None:
    given = observed(words, HOGS, **more)
    assert given["metric"] == metric
    assert given["work"] == (whose if metric == "work_per_s" else "")
    assert given["focus"] == ((whose,) if whose and metric == "wakeup_p99_us" else ())


def test_on_a_persons_computer_it_looks_which_of_the_named_programs_run() -> None:
    words = "factorio stutters while firefox and obs are open"
    asking = observing(words, HOGS, machine="host")
    assert said("observe", asking) == [("processes", {"name": ""})]
    trees = [Named(("bash", "factorio")), Named(("Firefox", "Web Content")), Named(("sshd",))]
    seen = {"tool": "processes", "arguments": {}, "ok": True, "data": {"trees": trees}}
    ((_, given),) = said("observe", {**asking, "results": (seen,)})
    assert given["focus"] == ("factorio", "Firefox")


class Named(msgspec.Struct, frozen=True):
    """What of a process tree is read."""

    names: tuple[str, ...]


# ---- plan ----


@pytest.mark.parametrize("class_id", list(CLASSES))
@pytest.mark.parametrize(
    "seen", [CALM, HOGS, FORKS, DISK, FEW, IDLE], ids=["calm", "hogs", "forks", "disk", "few", "idle"]
)
def test_each_class_on_each_machine_gets_a_plan_that_can_be_loaded(class_id: str, seen: Summary) -> None:
    given = planned(CLASSES[class_id], class_id, seen)
    assert given["policy"] in LIBRARY.loadable()
    assert given["fallback"] in {*LIBRARY.loadable(), ""} - {"focus", "layers"}
    assert given["fallback"] != given["policy"]
    assert given["reason"] and given["expected"]


def test_without_history_the_first_of_the_preset_that_can_be_loaded_is_taken() -> None:
    given = planned("music", "audio", CALM)
    assert given["policy"] == "periodic"
    assert "Nothing was measured on this computer yet" in given["reason"]


def test_the_risk_is_a_sentence() -> None:
    given = planned("my desktop is laggy", "desktop", HOGS)
    assert given["risk"] == "It does not suit pure computation, where every interruption is a loss."


def test_the_same_words_get_another_plan_over_another_machine() -> None:
    hogs, forks = (planned("my desktop is laggy", "desktop", seen) for seen in (HOGS, FORKS))
    assert hogs["policy"] == "interactive"
    assert hogs["settings"]["slice_us"] < 3000
    assert "14 ms" in hogs["reason"]
    assert forks["policy"] == "layers"
    assert forks["settings"]["background_names"] == "cc1plus make"
    assert "140 new programs" in forks["reason"]


def test_a_build_that_must_leave_the_computer_usable_gets_another_plan() -> None:
    alone = planned("builds should finish sooner", "compile", FORKS)
    beside = planned("builds should finish sooner, but the desktop must stay smooth", "compile", FORKS)
    assert alone["policy"] == "batch"
    assert beside["policy"] == "interactive"
    assert "meanwhile" in beside["reason"]


def test_where_the_disk_is_waited_for_little_is_promised() -> None:
    assert "Do not expect much" in planned("my game stutters", "gaming", DISK)["expected"]
    assert "Do not expect much" not in planned("my game stutters", "gaming", HOGS)["expected"]


def test_a_program_that_was_named_and_runs_may_come_first() -> None:
    facts = planning("factorio first", "gaming", CALM)
    workload = replace(facts["workload"], metric=Metric(name="wakeup_p99_us", focus=("factorio",)))
    ((_, given),) = said("plan", {**facts, "workload": workload})
    assert given["policy"] == "interactive"
    poor = Outcome(policy="interactive", metric="wakeup_p99_us", before=9000, after=18_000, how="tested", time=1.0)
    ((_, given),) = said("plan", {**facts, "workload": workload, "outcomes": (poor,) * 12})
    assert given["policy"] == "focus"
    assert given["settings"]["focus_name"] == "factorio"


def test_what_was_measured_better_before_is_planned_and_what_it_did_is_said() -> None:
    better = Outcome(
        policy="shortest-first",
        metric="wakeup_p99_us",
        before=9000,
        after=3000,
        how="tested",
        workload="server",
        time=1.0,
    )
    worse = replace(better, policy="interactive", after=20_000)
    given = planned("my api is slow", "server", CALM, outcomes=(better,) * 6 + (worse,) * 6)
    assert given["policy"] == "shortest-first"
    assert "−67 %" in given["reason"]


def test_what_failed_before_is_left_for_the_next_choice() -> None:
    failed = NoteRow(policy="periodic", class_id="audio", text="It was reverted.", kind="failure")
    taken = {planned(f"music {n}", "audio", CALM, notes=(failed,) * 20)["policy"] for n in range(10)}
    assert taken == {"interactive"}


def test_the_same_facts_get_the_same_plan_every_time() -> None:
    known = tuple(
        Outcome(policy=each, metric="wakeup_p99_us", before=9000, after=8000, how="tested", time=1.0)
        for each in ("interactive", "layers", "shortest-first")
    )
    plans = [planned("my api is slow", "server", CALM, outcomes=known) for _ in range(5)]
    assert all(each == plans[0] for each in plans)


def test_what_cannot_be_loaded_is_never_planned() -> None:
    found = Match(policy="scx_lavd", score=5.0, why="Made for games", can_load=False)
    history = (Outcome(policy="scx_lavd", metric="wakeup_p99_us", before=9000, after=90, how="tested", time=1.0),) * 20
    facts = planning("my game stutters", "gaming", CALM, matches=(found,), outcomes=history)
    facts["choices"] = LIBRARY.presets["gaming"].choices
    for seed in range(30):
        ((_, given),) = said("plan", facts, OfflineAdviser(seed))
        assert given["policy"] in LIBRARY.loadable()
        assert given["fallback"] in {*LIBRARY.loadable(), ""}


def test_a_policy_that_must_be_told_whom_to_favour_is_no_choice_without_a_name() -> None:
    poor = Outcome(policy="interactive", metric="wakeup_p99_us", before=9000, after=18_000, how="tested", time=1.0)
    for seed in range(20):
        facts = planning("my game stutters", "gaming", CALM, outcomes=(poor,) * 20)
        ((_, given),) = said("plan", facts, OfflineAdviser(seed))
        assert given["policy"] not in ("focus", "layers")


def test_a_library_without_anything_to_load_is_told() -> None:
    facts = {**planning("my game stutters", "gaming", CALM), "choices": (), "policies": {}}
    with pytest.raises(MindFailed, match="No policy"):
        said("plan", facts)


def test_after_a_round_it_leaves_it_at_that() -> None:
    ((tool, given),) = said("plan", planning("my game stutters", "gaming", CALM, rounds=(tried("better"),)))
    assert tool == "stop_here"
    assert "interactive" in given["reason"]


# ---- execute ----


def executing(*results: dict[str, Any]) -> dict[str, Any]:
    return {"plan": PLAN, "workload": None, "rounds": (), "repairs_left": 3, "results": results}


PLAN = Plan(mode="configure", policy="interactive", reason="Because.", expected="Less.")
FAILED = Report(
    name="interactive",
    verdict="fail",
    digest="",
    settings={},
    kernel=None,
    stages=(),
    quick=False,
    made_at=0,
    rules="1",
)


def test_it_is_verified_then_tried() -> None:
    assert said("execute", executing()) == [("verify", {})]
    passed = {"tool": "verify", "arguments": {}, "ok": True, "data": {}}
    assert said("execute", executing(passed)) == [("canary", {})]


def test_what_does_not_pass_is_given_up() -> None:
    failed = {"tool": "verify", "arguments": {}, "ok": False, "data": {"report": FAILED}}
    ((tool, given),) = said("execute", executing(failed))
    assert tool == "give_up"
    assert "did not pass" in given["reason"]


def test_what_could_not_be_judged_is_verified_once_more_and_not_blamed() -> None:
    ended = {"tool": "verify", "arguments": {}, "ok": False, "data": {}}
    assert said("execute", executing(ended)) == [("verify", {})]
    ((tool, given),) = said("execute", executing(ended, ended))
    assert tool == "give_up"
    assert "nothing against it" in given["reason"]


def test_a_canary_that_may_not_be_is_given_up() -> None:
    passed = {"tool": "verify", "arguments": {}, "ok": True, "data": {}}
    refused = {"tool": "canary", "arguments": {}, "ok": False, "data": {}}
    ((tool, _),) = said("execute", executing(passed, refused))
    assert tool == "give_up"


# ---- learn ----


def tried(verdict: Any, **more: Any) -> Tried:
    compared = Comparison(
        metric=Metric(name="wakeup_p99_us"),
        verdict=verdict,
        before=9000,
        after=4000,
        change_percent=-55,
        reason="Waits got shorter.",
    )
    return Tried(number=1, plan=PLAN, verdict="pass", comparison=compared, ended="It is kept.", kept=True, **more)


def learning(*rounds: Tried, results: tuple[dict[str, Any], ...] = ()) -> list[tuple[str, dict[str, Any]]]:
    workload = Workload(
        sentence="A game.", class_id="gaming", confidence=1, evidence=("x",), metric=Metric(name="wakeup_p99_us")
    )
    facts = {"words": "my game", "workload": workload, "rounds": rounds, "runs_now": "interactive", "results": results}
    return said("learn", facts)


@pytest.mark.parametrize(("verdict", "kind"), [("better", "pattern"), ("worse", "failure")])
def test_what_was_measured_clearly_is_noted_with_its_number(verdict: str, kind: str) -> None:
    (note, finish) = learning(tried(verdict))
    assert note[0] == "keep_note"
    assert (note[1]["kind"], note[1]["policy"]) == (kind, "interactive")
    assert "-55 %" in note[1]["text"]
    assert finish[0] == "finish"
    assert "interactive" in finish[1]["text"]


def test_what_is_not_clear_is_not_noted() -> None:
    assert [tool for tool, _ in learning(tried("inconclusive"))] == ["finish"]
    assert [tool for tool, _ in learning()] == ["finish"]


def test_what_did_not_pass_is_noted_as_a_failure() -> None:
    finding = Finding(rule="lost-task", severity="error", place="x", meaning="A task is lost.", remedy="Mend it.")
    failed = Tried(number=1, plan=PLAN, verdict="fail", findings=(finding,), ended="A task is lost.")
    assert [tool for tool, _ in learning(failed)] == ["keep_note", "finish"]


def test_a_note_that_was_refused_does_not_keep_it_from_finishing() -> None:
    refused = {"tool": "keep_note", "arguments": {}, "ok": False, "data": {}}
    assert [tool for tool, _ in learning(tried("better"), results=(refused,))] == ["finish"]


# ---- the mind ----


def test_it_needs_no_network_and_costs_nothing() -> None:
    adviser = OfflineAdviser()
    turn = Turn(role="execute", messages=(), tools=(), facts=executing())
    heard: list[str] = []
    reply = adviser.answer(turn, heard.append, threading.Event())
    assert not adviser.needs_network
    assert adviser.name == "offline adviser"
    assert (reply.usage.calls, reply.usage.dollars, reply.usage.input_tokens) == (1, 0, 0)
    assert heard == [reply.message.text]
    assert reply.message.calls == (Call(id="verify-1", tool="verify", arguments="{}"),)


def test_it_stops_when_it_is_told_to() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        OfflineAdviser().answer(Turn(role="execute", messages=(), tools=(), facts=executing()), lambda _: None, stop)


def test_facts_that_are_not_there_are_told_and_no_traceback() -> None:
    with pytest.raises(MindFailed, match="was not told"):
        OfflineAdviser().answer(Turn(role="plan", messages=(), tools=()), lambda _: None, threading.Event())
