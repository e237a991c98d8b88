"""The offline adviser on the real engine and a recorded machine: words become a workload and a plan, or a question."""

from __future__ import annotations

from typing import Any

import pytest

from schedtui.agent import events as happened
from schedtui.agent.events import AnyEvent
from schedtui.agent.offline import OfflineAdviser
from tests.agent.test_engine import Start, ask, start

__all__ = ["start"]


@pytest.mark.slow
def test_words_become_a_workload_and_a_plan_with_reasons(start: Start) -> None:
    setting = start(OfflineAdviser())
    stop_at(setting, happened.Planned)
    story = ask(setting, "my game stutters while a build runs")
    assert story.state == "stopped"
    assert story.workload is not None and story.workload.class_id == "gaming"
    assert story.plan is not None and story.plan.mode == "configure"
    assert "Nothing was measured on this computer yet" in story.plan.reason
    assert story.usage.dollars == 0
    assert not setting.told(happened.Warned)


@pytest.mark.slow
def test_words_that_no_scheduler_can_answer_are_asked_back(start: Start) -> None:
    setting = start(OfflineAdviser())
    story = ask(setting, "what will the weather be tomorrow")
    assert story.state == "unknown"
    assert [each.question.kind for each in setting.told(happened.Asked)] == ["clarify"]


def stop_at(setting: Any, kind: type[Any]) -> None:
    """End the request as soon as such an event is told."""

    class Ears(list[AnyEvent]):
        def append(self, event: AnyEvent) -> None:
            super().append(event)
            if isinstance(event, kind):
                setting.engine.stop()

    setting.events = Ears()
