"""The offline adviser: a mind without a model, a key or a network, in the roles and with the tools of any other.

It reads the facts and not the prose. What the words mean on this machine is advice.py's, which policy to try is
bandit.py's, proving and measuring the tools'. The same facts get the same calls, always: chance, where the bandit
needs it, is drawn from the facts. It only configures: writing policies is for minds that can.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from schedtui.agent import advice
from schedtui.agent.advice import Judgement, Reading, Slant
from schedtui.agent.arguments import (
    Canary,
    ExecuteFacts,
    Finish,
    GiveUp,
    KeepNote,
    LearnFacts,
    ObserveFacts,
    PlanFacts,
    Processes,
    StopHere,
    SubmitPlan,
    SubmitWorkload,
    Tried,
    Verify,
)
from schedtui.agent.bandit import Arm, Belief, beliefs, choose, likely_of_rank
from schedtui.agent.learning import compared
from schedtui.agent.mind import Call, Message, MindFailed, Reply, Stopped, Turn, Usage
from schedtui.backend.library import history
from schedtui.backend.store import Outcome

NAME = "offline adviser"
_OF_SEARCH = 0.45
"""How likely a policy helps that only the search found, beside the preset's choices."""
_MOST_OF_SEARCH = 2
_TO_BE_NAMED = ("focus", "layers")
_LONGEST = 590
_NOTES = 2
_Facts = TypeVar("_Facts")
_Said = tuple[str, list[tuple[str, Struct]]]
"""What is said, and the calls: a tool and its arguments."""


class OfflineAdviser:
    """See Mind. ``seed`` replaces the chance that is drawn from the facts, for tests."""

    name = NAME
    needs_network = False

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed

    def answer(self, turn: Turn, on_text: Callable[[str], None], stop: threading.Event) -> Reply:
        """See Mind. Takes some milliseconds; a second when it reads the first sentence."""
        began = time.monotonic()
        if stop.is_set():
            raise Stopped("Stopped, as you asked.")
        try:
            text, calls = self._answered(turn)
        except (KeyError, AttributeError, TypeError) as error:
            raise MindFailed(
                f"The offline adviser was not told what it needs: {error!r}.",
                "Report this; a model can be asked instead.",
            ) from error
        if text:
            on_text(text)
        message = Message(role="assistant", text=text, calls=tuple(_call(*each) for each in enumerate(calls, start=1)))
        return Reply(message=message, usage=Usage(calls=1, seconds=time.monotonic() - began))

    def _answered(self, turn: Turn) -> _Said:
        facts: Any = turn.facts
        if turn.role == "observe":
            return _observe(facts, _results(facts))
        if turn.role == "plan":
            return _plan(facts, self._chance(facts))
        if turn.role == "execute":
            return _execute(facts, _results(facts))
        return _learn(facts, _results(facts))

    def _chance(self, facts: PlanFacts) -> random.Random:
        newest = max((each.time for each in facts["outcomes"]), default=0.0)
        seed = f"{facts['words']} {facts['workload'].class_id} {len(facts['outcomes'])} {newest} {len(facts['rounds'])}"
        return random.Random(zlib.crc32(seed.encode()) if self._seed is None else self._seed)


# ---- observe ----


def _observe(facts: ObserveFacts, results: Mapping[str, Mapping[str, Any]]) -> _Said:
    words = _words(facts["words"], facts["steered"])
    if facts["machine"] == "host" and "processes" not in results:
        return "Looking which of your programs run.", [("processes", Processes())]
    judgement = advice.judged(words, _reading(words), facts["summary"])
    trees = results.get("processes", {}).get("data", {}).get("trees", ())
    focus = advice.focus_in(words, [each.names for each in trees])
    metric = advice.metric_for(judgement.class_id, command=facts["command"].split(), loads=facts["loads"], focus=focus)
    evidence = [*judgement.evidence, *([f"They run now: {', '.join(focus)}"] if focus else [])]
    submit = SubmitWorkload(
        sentence=_sentence(words, judgement, facts),
        class_id=judgement.class_id,
        confidence=judgement.confidence,
        evidence=tuple(each[:_LONGEST] for each in evidence[:8]),
        metric=metric.name,
        focus=metric.focus,
        work=metric.work,
    )
    return f"{'. '.join(judgement.evidence)}.", [("submit_workload", submit)]


def _reading(words: str) -> Reading:
    from schedtui.backend.library.intents import classify

    intent = classify(words)
    return Reading(class_id=intent.reading, confidence=intent.confidence, example=intent.nearest[0])


def _sentence(words: str, judgement: Judgement, facts: ObserveFacts) -> str:
    said = words[:300].rstrip(".!?")
    if judgement.class_id == advice.UNKNOWN:
        return f"They wrote “{said}”, which fits none of the goals here."
    return f"{facts['classes'][judgement.class_id].capitalize()}: they wrote “{said}”."


# ---- plan ----


def _plan(facts: PlanFacts, chance: random.Random) -> _Said:
    if facts["rounds"]:
        return _no_more(facts["rounds"][-1])
    workload, policies = facts["workload"], facts["policies"]
    words = _words(facts["words"], facts["steered"])
    focus = [each for each in workload.metric.focus if each != advice.FRAMES]
    slants = advice.slants(workload.class_id, words, facts["summary"], focus)
    held = beliefs(
        _arms(facts, slants), facts["outcomes"], facts["notes"], machine=facts["summary"].machine.split(",")[0]
    )
    if not held:
        raise MindFailed("No policy of the library can be loaded here.", "See: schedtui library list.")
    best = choose(held, chance)
    others = [each for each in held if each.arm.policy not in (best.arm.policy, *_TO_BE_NAMED)]
    second = max(others, key=lambda each: each.mean, default=None)
    against = policies[best.arm.policy].not_for
    plan = SubmitPlan(
        mode="configure",
        policy=best.arm.policy,
        settings=best.arm.settings,
        reason=_why(best, held, facts["outcomes"])[:_LONGEST],
        expected=advice.expected(workload.metric, facts["summary"])[:_LONGEST],
        risk=_risk(against[0])[:_LONGEST] if against else "",
        fallback=second.arm.policy if second else "",
    )
    return plan.reason, [("submit_plan", plan)]


def _risk(against: str) -> str:
    """What a policy is not for, as a sentence; the library's lines begin in upper case and end without a full stop."""
    begins = against[:1].lower() if against[1:2].islower() else against[:1]
    return f"It does not suit {begins}{against[1:].rstrip('.')}."


def _no_more(last: Tried) -> _Said:
    """One policy that was measured is what it can offer; the next request tries what this one taught."""
    said = f"{last.policy or last.plan.policy} was measured. Another try is worth it when you ask again."
    return said, [("stop_here", StopHere(reason=said))]


def _arms(facts: PlanFacts, slants: tuple[Slant, ...]) -> list[Arm]:
    """What can be loaded: the preset's choices, what speaks for itself on this machine, and what the search found."""
    policies = facts["policies"]
    arms: dict[str, Arm] = {}
    for rank, each in enumerate(each for each in facts["choices"] if each.policy in policies):
        arm = Arm(policy=each.policy, settings=each.settings, reason=each.reason, likely=likely_of_rank(rank))
        arms.setdefault(each.policy, arm)
    named = {
        each.policy: policies[each.policy].summary for each in slants if each.times > 1 and each.policy in policies
    }
    found = {each.policy: each.why for each in facts["matches"] if each.can_load and each.policy in policies}
    for policy, reason in [*named.items(), *list(found.items())[:_MOST_OF_SEARCH]]:
        arms.setdefault(policy, Arm(policy=policy, reason=reason, likely=_OF_SEARCH))
    held = [_slanted(arm, [each for each in slants if each.policy == arm.policy], facts) for arm in arms.values()]
    return [each for each in held if not _names_nothing(each)] or held


def _slanted(arm: Arm, slants: list[Slant], facts: PlanFacts) -> Arm:
    """With what the machine says for and against it."""
    likely, settings, said = arm.likely, dict(arm.settings), [arm.reason]
    for each in slants:
        likely *= each.times
        settings |= each.settings
        said.append(f"{each.words[:1].upper()}{each.words[1:]}.")
    policy = facts["policies"][arm.policy]
    return Arm(
        policy=arm.policy, settings=advice.within(policy, settings), reason=" ".join(said), likely=min(likely, 0.95)
    )


def _names_nothing(arm: Arm) -> bool:
    """Whether it is a policy that favours whom it is told to, and is told nobody."""
    return arm.policy in _TO_BE_NAMED and not any(name.endswith(("_name", "_names")) for name in arm.settings)


def _why(best: Belief, held: list[Belief], outcomes: tuple[Outcome, ...]) -> str:
    last = next((each for each in outcomes if each.policy == best.arm.policy), None)
    if last is not None:
        return f"{best.arm.reason} Measured before: {history.in_words(last)}."
    known = [each.arm.policy for each in held if each.tests]
    if known:
        return f"{best.arm.reason} It was not measured here yet, as {', '.join(known)} was, and may be better."
    return f"{best.arm.reason} Nothing was measured on this computer yet for such work."


# ---- execute ----


def _execute(facts: ExecuteFacts, results: Mapping[str, Mapping[str, Any]]) -> _Said:
    policy = facts["plan"].policy
    if "canary" in results:
        return "", [("give_up", GiveUp(reason=f"{policy} passed, and could not be tried."))]
    if "verify" not in results:
        return f"First {policy} has to prove itself.", [("verify", Verify())]
    if results["verify"]["ok"]:
        return f"{policy} passed; now it is measured.", [("canary", Canary())]
    if "report" not in results["verify"]["data"] and not results["verify"]["again"]:
        return f"{policy} could not be judged; once more.", [("verify", Verify())]
    return "", [("give_up", GiveUp(reason=_not_passed(policy, results["verify"])))]


def _not_passed(policy: str, result: Mapping[str, Any]) -> str:
    report = result["data"].get("report")
    if report is None:
        return f"{policy} could not be judged, which says nothing against it."
    found = next((each for each in report.findings if each.severity == "error"), None)
    return f"{policy} did not pass the verifier{f': {found.meaning}' if found else '.'}"[:_LONGEST]


# ---- learn ----


def _learn(facts: LearnFacts, results: Mapping[str, Mapping[str, Any]]) -> _Said:
    finish = ("finish", Finish(text=_ending(facts)[:_LONGEST]))
    if "keep_note" in results:
        return "", [finish]
    notes = [note for each in facts["rounds"] if (note := _note(each, facts["workload"].sentence)) is not None]
    return "", [*(("keep_note", each) for each in notes[:_NOTES]), finish]


def _note(tried: Tried, sentence: str) -> KeepNote | None:
    """Only what was measured clearly, or failed."""
    policy = tried.policy or tried.plan.policy
    if tried.comparison is not None and tried.comparison.verdict in ("better", "worse"):
        return KeepNote(
            text=f"{sentence} {policy}: {compared(tried.comparison)}"[:_LONGEST],
            kind="pattern" if tried.comparison.verdict == "better" else "failure",
            policy=policy,
        )
    if tried.verdict == "fail":
        return KeepNote(text=f"{policy} did not pass: {tried.ended}"[:_LONGEST], kind="failure", policy=policy)
    return None


def _ending(facts: LearnFacts) -> str:
    if not facts["rounds"]:
        return f"Nothing was tried. {facts['runs_now']} runs."
    last = facts["rounds"][-1]
    measured = f" {last.comparison.reason}" if last.comparison and last.comparison.reason not in last.ended else ""
    return f"{last.policy or last.plan.policy}: {last.ended}{measured} Now runs: {facts['runs_now']}."


# ---- both ----


def _words(words: str, steered: tuple[str, ...]) -> str:
    return " ".join(" ".join([words, *steered]).split())


def _results(facts: Any) -> dict[str, Mapping[str, Any]]:
    """The last result of each tool in this role, and whether it was called ``again``."""
    found: dict[str, Mapping[str, Any]] = {}
    for each in facts.get("results", ()):
        found[each["tool"]] = {**each, "again": each["tool"] in found}
    return found


def _call(number: int, what: tuple[str, Struct]) -> Call:
    tool, arguments = what
    return Call(id=f"{tool}-{number}", tool=tool, arguments=msgspec.json.encode(arguments).decode())
