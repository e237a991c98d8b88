"""Whole requests in the lab: a policy is written, proven on a real kernel, tried beside its own, and decided on.

The mind is scripted; it finds what it answers with in what it was told.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from schedtui.agent import events as happened
from schedtui.agent.bench import Request, Watch
from schedtui.agent.engine import Engine, Story
from schedtui.agent.events import AnyEvent
from schedtui.agent.mind import Call
from schedtui.backend.deploy import Deployer
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.library.generated import Generated
from schedtui.backend.store import Store
from tests.agent import scripted
from tests.agent.scripted import Heard, Scripted, call
from tests.conftest import DEFAULT, kernel_image, quiet

QUEUES = "scx_bpf_dsq_insert(p, SHARED_DSQ, fifo_slice(p), enq_flags);\n\t"


class Lab:
    """An engine in a guest, and what it told."""

    def __init__(self, machine: LabMachine, mind: Scripted) -> None:
        self.events: list[AnyEvent] = []
        self.store = Store()
        self.trying = threading.Event()
        watch = Watch()
        watch.follow(machine)
        self.engine = Engine(
            machine=machine,
            info=machine.open(quiet),
            watch=watch,
            mind=mind,
            deployer=Deployer(machine, self.store),
            listen=self._heard,
            store=self.store,
            consent="yes",
            kernel=kernel_image(DEFAULT),
        )

    def _heard(self, event: AnyEvent) -> None:
        self.events.append(event)
        if isinstance(event, happened.Measured) and event.side == "after":
            self.trying.set()

    def told(self, kind: type[Any]) -> list[Any]:
        """Events of a kind."""
        return [each for each in self.events if isinstance(each, kind)]


def ask(lab: Lab, words: str, **more: Any) -> Story:
    return lab.engine.answer(Request(words=words, quick=True, canary_s=6, rounds=1, **more))


def first_that_does_not_compile(heard: Heard) -> list[Call]:
    heard.needs("lost-task", "scx_bpf_dsq_nr_queued(u64 dsq_id)", "A source of the library to begin from (fifo)")
    source = heard.text.partition("to begin from (fifo):\n")[2].partition("\n\nYou have")[0]
    return [call("write_policy", source=source.replace("bool idle = false;", "bool idle = nonsense;"))]


def then_one_that_loses_tasks(heard: Heard) -> list[Call]:
    assert "does-not-compile" in heard.last and "'nonsense'" in heard.last
    edits = [
        {"search": "bool idle = nonsense;", "replace": "bool idle = false;"},
        {"search": f"{QUEUES}kick_idle_cpu(p);", "replace": "kick_idle_cpu(p);"},
    ]
    return [call("patch_policy", edits=edits)]


def then_one_that_is_right(heard: Heard) -> list[Call]:
    assert "lost-task" in heard.last and "(enqueue)" in heard.last
    edits = [{"search": "\tkick_idle_cpu(p);\n}", "replace": f"\t{QUEUES}kick_idle_cpu(p);\n}}"}]
    return [call("patch_policy", edits=edits)]


def proven(heard: Heard) -> list[Call]:
    assert "Now verify" in heard.last
    return [call("verify")]


def note(heard: Heard) -> list[Call]:
    heard.needs("first-served", "Class batch")
    return [
        call("keep_note", text="One queue and long turns for batches.", policy="first-served"),
        *scripted.finish(heard),
    ]


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_a_new_policy_is_mended_until_it_passes_then_tried_and_kept_in_the_library(lab: LabMachine) -> None:
    mind = Scripted(
        observe=[scripted.workload("batch", "work_per_s", work="hogs")],
        plan=[scripted.plan("first-served", "create", change="One queue, first come, first served, as fifo does.")],
        execute=[
            first_that_does_not_compile,
            then_one_that_loses_tasks,
            then_one_that_is_right,
            proven,
            scripted.canary,
        ],
        learn=[note],
    )
    it = Lab(lab, mind)
    story = ask(it, "my simulations should finish sooner")
    mind.check()
    assert story.report is not None and story.report.verdict in ("pass", "warn")
    (kept,) = it.store.deployments()
    assert (kept.policy, kept.request, kept.state) == ("first-served", story.id, story.state)
    states = [each.deployment.state for each in it.told(happened.Deployed)]
    assert states[0] == "verified" and states[-1] in ("kept", "reverted")
    assert it.told(happened.Measured)[-1].final
    assert lab.scheduler().name == ("first-served" if story.state == "kept" else "EEVDF")
    assert load_library().policy("first-served").origin == "generated"
    assert Generated().meta("first-served").made_by == "scripted/model"
    assert [each.text for each in it.store.learned(class_id="batch")] == ["One queue and long turns for batches."]
    assert story.usage.calls <= 20
    assert story.usage.input_tokens + story.usage.output_tokens <= 60_000


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_stopped_in_the_middle_of_a_canary_the_kernels_own_scheduler_runs(lab: LabMachine) -> None:
    mind = Scripted(
        observe=[scripted.workload()],
        plan=[scripted.plan("interactive")],
        execute=[scripted.verify, scripted.canary],
    )
    it = Lab(lab, mind)

    def stop() -> None:
        assert it.trying.wait(120)
        it.engine.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    story = ask(it, "my game stutters")
    thread.join()
    mind.check()
    assert story.state == "stopped"
    assert [each.state for each in it.store.deployments()] == ["reverted"]
    assert lab.scheduler().name == "EEVDF"
    assert "EEVDF runs" in story.text
