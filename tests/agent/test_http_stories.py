"""Requests over real HTTP, as a user gives them: ``schedtui ask``, litellm, the OpenAI protocol, a real kernel.

The model behind the address is a script that answers only with what stands in the request it got. Its tokens are
counted as an OpenAI model would.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from schedtui.agent import trajectory
from schedtui.agent.mind import Call
from tests.agent import scripted
from tests.agent.scripted import Heard, Scripted, call
from tests.agent.server import Refuses, Says, Script, serving
from tests.agent.wire import chosen, spoken_by
from tests.cli.commands import Ended, schedtui
from tests.conftest import DEFAULT, kernel_image

CONFIGURE, CREATE = (8, 20_000), (20, 60_000)
"""Calls and tokens at most."""


def ask(words: str, script: Script, *options: str) -> Ended:
    """The command, in the lab, with a model that such a server is."""
    image = str(kernel_image(DEFAULT))
    with serving(script) as server:
        chosen(server)
        lab = ("--machine", "lab", "--cpus", "2", "--kernel", image)
        return schedtui("ask", words, *lab, "--yes", "--quick", "--json", *options, timeout=280)


def within(limits: tuple[int, int], spoken: dict[str, Any]) -> None:
    """Printed by pytest -s, for docs/BENCHMARKS.md."""
    usage = spoken["usage"]
    print(f"\n{spoken['plan']['mode']}: {usage['calls']} calls, {usage['tokens']} tokens")
    assert usage["calls"] <= limits[0]
    assert usage["tokens"] <= limits[1]


def ran_and_was_measured(ended: Ended) -> dict[str, Any]:
    """It ended in a real scheduler, or in the kernel's own because that was no worse; both sides were measured."""
    spoken = ended.spoken
    assert ended.code == 0, ended
    assert spoken["deployment"]["state"] in ("kept", "reverted"), spoken["deployment"]
    assert spoken["outcome"]["before"] and spoken["outcome"]["after"], spoken
    kept = spoken["deployment"]["state"] == "kept"
    assert kept == (spoken["outcome"]["verdict"] == "better")
    assert spoken["deployment"]["policy"] == spoken["report"]["name"]
    # The kernel calls a policy as its source does, and one that was changed has its parent's name in there.
    assert (spoken["scheduler"] != "EEVDF") == kept
    assert spoken["after"] == "EEVDF"
    return spoken


# ---- what the script finds in the prompts ----


def told_class(word: str) -> scripted.Step:
    """Observe: the class whose description in the prompt has the word, and what waits there as evidence."""

    def step(heard: Heard) -> list[Call]:
        listed = re.search(r"Classes: (.+); unknown\.", heard.text)
        assert listed, heard.text
        (class_id,) = [
            name for name, what in re.findall(r"([\w-]+) \(([^()]*)\)", listed[1]) if word in what or word == name
        ]
        (figure,) = re.findall(r"p99 \d+", heard.text)[:1]
        heard.needs("Nothing of the person's own runs in the lab")
        told = {"sentence": "It competes for CPUs.", "class_id": class_id, "confidence": 0.8}
        return [call("submit_workload", **told, evidence=[figure], metric="wakeup_p99_us")]

    return step


def best_of_the_preset(heard: Heard) -> list[Call]:
    """Plan: the first choice that the prompt offers for the class, with its settings; the second as fallback."""
    listed = heard.text.partition("Its preset for this class, best first:\n")[2].split("\n\n")[0]
    offered = re.findall(r"^- ([\w-]+)(?: \(([^)]*)\))?: (.+)$", listed, re.MULTILINE)
    assert offered, heard.text
    policy, given, reason = offered[0]
    settings = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", given)}
    heard.needs("Without asking a person you may")
    return [
        call(
            "submit_plan",
            mode="configure",
            policy=policy,
            settings=settings,
            reason=reason[:300],
            expected="Shorter waits.",
            fallback=offered[-1][0],
        )
    ]


def noted(heard: Heard) -> list[Call]:
    """Learn: the numbers as they were told, and what runs now."""
    runs = re.search(r"Now runs: ([\w-]+)\.", heard.text)
    policy = re.search(r"(?:configure|modify|create) ([\w-]+)", heard.text)
    assert runs and policy, heard.text
    return [
        call("keep_note", text=f"{policy[1]} was tried beside busy loads.", policy=policy[1]),
        call("finish", text=f"{runs[1]} runs."),
    ]


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_a_policy_of_the_library_is_configured_proven_tried_and_measured() -> None:
    mind = Scripted(
        observe=[told_class("gaming")],
        plan=[best_of_the_preset],
        execute=[scripted.verify, scripted.canary],
        learn=[noted],
    )
    ended = ask("my game stutters while a build runs", spoken_by(mind))
    mind.check()
    spoken = ran_and_was_measured(ended)
    assert (spoken["mind"], spoken["workload"]["class"]) == ("openai/made-by-hand", "gaming")
    assert spoken["plan"]["mode"] == "configure"
    assert spoken["usage"]["dollars"] is None
    within(CONFIGURE, spoken)
    story = trajectory.story(Path(spoken["trajectory"]))
    assert "Plan: configure" in story and f"End: {spoken['state']}." in story


# ---- a new source ----


def create(heard: Heard) -> list[Call]:
    """Plan: no policy of the library, but one that is begun from the one that the prompt shows first."""
    (near, why) = re.findall(r"^- ([\w-]+): (.+)$", heard.text.partition("search found:\n")[2], re.MULTILINE)[0]
    return [
        call(
            "submit_plan",
            mode="create",
            policy="warm-batches",
            reason=why[:300],
            expected="As much work, and fewer switches.",
            change=f"As {near} does: long turns in one queue, and a task stays on a CPU that is warm for it.",
        )
    ]


def source_that_does_not_compile(heard: Heard) -> list[Call]:
    """Execute: the source that the prompt shows, with a word that C does not know."""
    shown = re.search(
        r"A source of the library to begin from \(([\w-]+)\):\n(.+)\n\nYou have 3 repairs", heard.text, re.DOTALL
    )
    assert shown, heard.text
    source = shown[2]
    assert len(source.splitlines()) > 200, "a policy of 200 lines has to fit into one answer"
    (declared,) = re.findall(r"^\tbool idle = false;$", source, re.MULTILINE)[:1]
    return [call("write_policy", source=source.replace(declared, "\tbool idle = unheard_of;"))]


def source_that_loses_tasks(heard: Heard) -> list[Call]:
    """Mended as the compiler said, at the line that it showed; and now what waits is put into no queue."""
    assert "does-not-compile" in heard.last, heard.last
    (word,) = set(re.findall(r"undeclared identifier '(\w+)'", heard.last))
    return [
        call(
            "patch_policy",
            edits=[
                {"search": f"bool idle = {word};", "replace": "bool idle = false;"},
                {"search": f"{_queueing(heard)}\n\tkick_idle_cpu(p);", "replace": "\tkick_idle_cpu(p);"},
            ],
        )
    ]


def source_that_is_right(heard: Heard) -> list[Call]:
    """The finding names the callback; the line that it lacks stands in the source that was shown at first."""
    assert "lost-task" in heard.last and "(enqueue)" in heard.last, heard.last
    edit = {"search": "\tkick_idle_cpu(p);\n}", "replace": f"{_queueing(heard)}\n\tkick_idle_cpu(p);\n}}"}
    return [call("patch_policy", edits=[edit])]


def _queueing(heard: Heard) -> str:
    found = re.search(r"^\tscx_bpf_dsq_insert\w*\(p, SHARED_DSQ,.+\);$", heard.text, re.MULTILINE)
    assert found, heard.text
    return found[0]


def prove_it(heard: Heard) -> list[Call]:
    assert "Now verify" in heard.last, heard.last
    return [call("verify")]


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_a_new_policy_fails_to_compile_then_is_refused_then_passes_and_is_tried() -> None:
    mind = Scripted(
        observe=[told_class("batch")],
        plan=[create],
        execute=[
            source_that_does_not_compile,
            source_that_loses_tasks,
            source_that_is_right,
            prove_it,
            scripted.canary,
        ],
        learn=[noted],
    )
    ended = ask("my simulations should finish sooner", spoken_by(mind), "--load", "hogs")
    mind.check()
    spoken = ran_and_was_measured(ended)
    assert spoken["plan"]["mode"] == "create"
    assert spoken["report"]["name"] == spoken["deployment"]["policy"] == "warm-batches"
    within(CREATE, spoken)
    assert {each.max_output_tokens for each in mind.turns} == {8000}, "room for a source, from the first answer on"
    story = trajectory.story(Path(spoken["trajectory"]))
    told = ["Plan: create warm-batches", "✗ does-not-compile", "✗ lost-task", "Verified warm-batches: ", "End: "]
    places = [story.index(each) for each in told]
    assert places == sorted(places)


# ---- a change to a source ----


def modify(heard: Heard) -> list[Call]:
    """Plan: the policy whose tunables the prompt shows, with another default for one of them."""
    shown = re.search(r"^([\w-]+): .+\n  (\w+) = (\d+) \((.+?)(?:, live)?\): ", heard.text, re.MULTILINE)
    assert shown, heard.text
    return [
        call(
            "submit_plan",
            mode="modify",
            policy=shown[1],
            reason="The person asked for a change to it.",
            expected="Shorter waits.",
            change=f"Let {shown[2]} begin at a little more than {shown[3]}.",
        )
    ]


def changed_as_planned(heard: Heard) -> list[Call]:
    """Execute: the line of the draft that declares what the plan named."""
    planned = re.search(r"The change: Let (\w+) begin at a little more than (\d+)\.", heard.text)
    assert planned, heard.text
    declared = re.search(rf"^(?:const )?volatile \w+ {planned[1]}(?: LIVE)? = {planned[2]};$", heard.text, re.MULTILINE)
    assert declared, heard.text
    more = str(int(planned[2]) + 1)
    edit = {"search": declared[0], "replace": declared[0].replace(f"= {planned[2]};", f"= {more};")}
    return [call("patch_policy", edits=[edit])]


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_a_policy_is_changed_proven_tried_and_measured() -> None:
    mind = Scripted(
        observe=[told_class("gaming")],
        plan=[modify],
        execute=[changed_as_planned, prove_it, scripted.canary],
        learn=[noted],
    )
    ended = ask("my game stutters while a build runs: change the policy for it", spoken_by(mind))
    mind.check()
    spoken = ran_and_was_measured(ended)
    assert spoken["plan"]["mode"] == "modify"
    assert spoken["deployment"]["policy"] == f"{spoken['plan']['policy']}-gaming"
    within(CREATE, spoken)
    story = trajectory.story(Path(spoken["trajectory"]))
    assert f"Plan: modify {spoken['plan']['policy']}" in story


@pytest.mark.slow
def test_the_script_says_nothing_that_its_request_does_not_hold() -> None:
    tool = {"type": "function", "function": {"name": "submit_plan", "description": "End.", "parameters": {}}}
    for told, ended in (("- interactive: short waits", Says), ("- (nothing)", Refuses)):
        mind = Scripted(plan=[lambda _: [call("submit_plan", mode="configure", policy="interactive", settings={})]])
        request = {"messages": [{"role": "user", "content": told}], "tools": [tool], "max_tokens": 8000}
        assert isinstance(spoken_by(mind)(request), ended)
        assert bool(mind.failed) == (ended is Refuses)
