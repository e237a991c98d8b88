"""Who answers a question: a person, the countdown, trust, or a setting, and what each leads to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest

from schedtui.agent.asking import Asking, Consent, Declined
from schedtui.agent.budget import Budget
from schedtui.agent.events import Answered, AnyEvent, Asked, Question
from schedtui.agent.mind import Stopped
from schedtui.agent.trust import FIRST, Trust, TrustLevel
from schedtui.backend.model import MachineKind

MIND = "openai/some-model"
TRY = Question(
    id="try-1", kind="try", title="Try fair?", text="", choices=(("yes", "Try"), ("no", "Not")), policy="fair"
)
KEEP = Question(id="keep-1", kind="keep", title="Keep?", text="", choices=(("keep", "Keep"), ("revert", "Away")))


class Setting:
    """One request's asking, with what was told of it."""

    def __init__(
        self, consent: Consent, kind: MachineKind = "host", attended: Callable[[], bool] = lambda: False
    ) -> None:
        self.events: list[AnyEvent] = []
        self.stop = threading.Event()
        self.replies: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.budget = Budget()
        self.asking = Asking(
            consent=consent,
            kind=kind,
            trust=Trust(MIND, automatic=consent == "yes"),
            budget=self.budget,
            listen=self.events.append,
            stop=self.stop,
            replies=self.replies,
            record=lambda _act, **_details: None,
            attended=attended,
        )

    def answered(self) -> Answered:
        """The last answer that was told."""
        return [each for each in self.events if isinstance(each, Answered)][-1]


def test_a_person_is_asked_and_only_a_known_answer_to_this_question_counts() -> None:
    setting = Setting("ask")
    for reply in (("keep-9", "keep"), ("try-1", "perhaps"), ("try-1", "yes")):
        setting.replies.put(reply)
    assert setting.asking.consent(TrustLevel.LIBRARY, TRY) is True
    assert [type(each) for each in setting.events] == [Asked, Answered]
    assert setting.answered().by == "person"


def test_a_no_ends_it_as_refused() -> None:
    setting = Setting("ask")
    setting.replies.put(("try-1", "no"))
    with pytest.raises(Declined) as declined:
        setting.asking.consent(TrustLevel.LIBRARY, TRY)
    assert declined.value.state == "refused"


def test_without_an_answer_the_countdown_takes_the_safe_choice() -> None:
    from msgspec.structs import replace

    setting = Setting("ask")
    assert setting.asking.ask(replace(KEEP, countdown_s=0.1)).choice == "revert"
    assert setting.answered().by == "countdown"


def test_a_question_that_is_over_is_not_waited_for() -> None:
    assert Setting("ask").asking.ask(KEEP, over=lambda: True).choice == "revert"


def test_a_stop_ends_a_question() -> None:
    setting = Setting("ask")
    setting.stop.set()
    with pytest.raises(Stopped):
        setting.asking.ask(KEEP)


def test_who_said_yes_beforehand_is_not_asked_and_only_what_is_better_is_kept() -> None:
    setting = Setting("yes")
    assert setting.asking.consent(TrustLevel.GENERATED, TRY) is False
    assert setting.asking.ask(KEEP, good=True).choice == "keep"
    assert setting.asking.ask(KEEP).choice == "revert"
    assert setting.answered().by == "setting"


def test_unattended_a_computer_stays_as_it_is_whatever_the_mind_has_earned() -> None:
    trust = Trust(MIND)
    for _ in range(2 * FIRST):
        trust.note(TrustLevel.LIBRARY, "kept", asked=True)
    with pytest.raises(Declined) as declined:
        Setting("no").asking.consent(TrustLevel.LIBRARY, TRY)
    assert declined.value.state == "proposed"
    assert "--yes" in declined.value.remedy


def test_unattended_in_the_lab_which_is_nobodys_desktop_it_is_tried() -> None:
    setting = Setting("no", "lab")
    assert setting.asking.consent(TrustLevel.LIBRARY, TRY) is False
    assert setting.asking.ask(KEEP, good=True).choice == "keep"
    assert setting.asking.ask(KEEP).choice == "revert"


def test_what_a_mind_has_earned_is_not_asked_for() -> None:
    trust = Trust(MIND)
    for _ in range(2 * FIRST):
        trust.note(TrustLevel.LIBRARY, "kept", asked=True)
    setting = Setting("ask")
    assert setting.asking.consent(TrustLevel.LIBRARY, TRY) is False
    assert setting.events == []
    setting.replies.put(("try-1", "yes"))
    assert setting.asking.consent(TrustLevel.GENERATED, TRY) is True


def test_a_person_who_comes_is_asked_and_when_they_leave_the_setting_answers() -> None:
    there = threading.Event()
    there.set()
    setting = Setting("no", attended=there.is_set)
    setting.replies.put(("try-1", "yes"))
    assert setting.asking.consent(TrustLevel.LIBRARY, TRY) is True
    threading.Timer(0.1, there.clear).start()
    with pytest.raises(Declined) as declined:
        setting.asking.consent(TrustLevel.LIBRARY, TRY)
    assert declined.value.state == "proposed"
    assert (setting.answered().choice, setting.answered().by) == ("no", "setting")
