"""The four roles: what each is told at first, made from its facts, and nothing else of the request.

How a role must work is in prompts/*.md; which tools it has, the tools say; what a tool does, toolset.py. Each role
begins with a fresh, small context: what it needs of the roles before it stands in its facts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

from schedtui.agent import learning, project, reference, summary
from schedtui.agent.arguments import ExecuteFacts, LearnFacts, Match, ObserveFacts, PlanFacts
from schedtui.agent.mind import RoleName
from schedtui.agent.tools import DATA_RULE, as_data
from schedtui.backend.model import Choice, Metric, Plan, Policy, Setting, Workload
from schedtui.backend.tunables import range_of
from schedtui.backend.workloads import KINDS

WHY: Mapping[RoleName, str] = {
    "observe": "Looking at what runs",
    "plan": "Choosing what to try",
    "execute": "Proving it, and trying it",
    "learn": "Keeping what was learned",
}
"""For the timeline."""
_MOST_MATCHES = 5
_PROJECT_CHARACTERS = 1600


@functools.cache
def system(role: RoleName) -> str:
    """How a role works, and what it must never follow."""
    prompt = (Path(__file__).parent / "prompts" / f"{role}.md").read_text(encoding="utf-8").strip()
    return f"{prompt}\n\nAnswer with calls of your tools only. {DATA_RULE}"


def observe(facts: ObserveFacts, found: project.Project | None) -> str:
    """The request, the machine, and the head of the project that was named."""
    parts = [
        _words(facts["words"], facts["steered"]),
        f"Classes: {_listed(facts['classes'])}; unknown.",
        as_data("machine", summary.in_words(facts["summary"])),
    ]
    if facts["command"]:
        parts.append(f"They named this command, which can be timed (command_s): {facts['command']}")
    if found is not None:
        parts.append(as_data("project", project.in_words(found)[:_PROJECT_CHARACTERS]))
    if facts["loads"]:
        told = "; ".join(f"{each} ({KINDS[each]})" for each in facts["loads"] if each in KINDS)
        parts.append(
            "Nothing of the person's own runs in the lab. schedtui runs these loads there in place of their programs: "
            f"{told}. Take them for the work that the words describe; focus stays empty."
        )
    return "\n\n".join(parts)


def plan(facts: PlanFacts) -> str:
    """The workload, what the library has for it, and what is known from before."""
    rounds = facts["rounds"]
    known = learning.lessons(
        rounds, facts["outcomes"], facts["notes"], class_id=facts["workload"].class_id, most_tokens=learning.TOKENS
    )
    matches = [each for each in facts["matches"] if each.can_load]
    choices = facts["choices"]
    best = [*(each.policy for each in choices), *(each.policy for each in matches)][:1]
    return "\n\n".join(
        filter(
            None,
            [
                _words(facts["words"], facts["steered"]),
                _workload(facts["workload"]),
                as_data("machine", summary.in_words(facts["summary"])),
                "The library's search found:\n" + "\n".join(_match(each) for each in matches[:_MOST_MATCHES]),
                "Its preset for this class, best first:\n" + "\n".join(_choice(each) for each in choices)
                if choices
                else "",
                "\n".join(tunables(facts["policies"][each]) for each in best if each in facts["policies"]),
                as_data("history", known) if known else "",
                f"Round {len(rounds) + 1}. {facts['allowed']}".strip(),
            ],
        )
    )


def execute(facts: ExecuteFacts, source: str, name: str) -> str:
    """The plan; for a source that is to be written, the reference, the rules, and the source to begin from."""
    parts = [_workload(facts["workload"]), told_of_plan(facts["plan"])]
    known = learning.lessons(facts["rounds"], most_tokens=learning.TOKENS // 2)
    if known:
        parts.append(as_data("rounds before", known))
    if facts["plan"].mode != "configure":
        parts += [
            f"The header:\n{reference.overview()}",
            f"What the verifier refuses or warns of:\n{reference.rules()}",
            f"The draft (the source of {name}):\n{source}"
            if facts["plan"].mode == "modify"
            else f"A source of the library to begin from ({name}):\n{source}",
        ]
    parts.append(f"You have {facts['repairs_left']} repairs.")
    return "\n\n".join(parts)


def learn(facts: LearnFacts) -> str:
    """What was tried, and what runs now."""
    rounds = "\n".join(learning.told_of(each) for each in facts["rounds"]) or "Nothing was tried."
    return "\n\n".join(
        [
            _words(facts["words"], ()),
            _workload(facts["workload"]),
            as_data("rounds", rounds),
            f"Now runs: {facts['runs_now']}.",
        ]
    )


def told_of_plan(plan: Plan) -> str:
    """For a prompt."""
    lines = [
        f"The plan: {plan.mode} {plan.policy}{_settings(plan.settings)}. {plan.reason}",
        f"Expected: {plan.expected}",
    ]
    if plan.change:
        lines.append(f"The change: {plan.change}")
    if plan.fallback:
        lines.append(f"When it fails, {plan.fallback} is tried.")
    return "\n".join(lines)


def tunables(policy: Policy) -> str:
    """A policy with its tunables and ranges, for a prompt."""
    lines = [f"{policy.name}: {policy.summary}"]
    for each in policy.tunables:
        live = ", live" if each.live else ""
        lines.append(f"  {each.name} = {each.default} ({range_of(each)}{live}): {each.description} Cost: {each.cost}")
    return "\n".join(lines)


def metric_in_words(metric: Metric) -> str:
    """``wakeup_p99_us of game, obs`` and the like."""
    if metric.name == "command_s":
        return f"command_s of {' '.join(metric.command)}"
    if metric.name == "work_per_s":
        return f"work_per_s of {metric.work}"
    return f"{metric.name} of {', '.join(metric.focus) if metric.focus else 'all tasks'}"


def _words(words: str, steered: Iterable[str]) -> str:
    more = "".join(f"\nThey said besides: “{each}”" for each in steered)
    return f"The person wrote: “{words}”{more}"


def _workload(workload: Workload) -> str:
    return (
        f"The workload: {workload.sentence} Class {workload.class_id}, because {'; '.join(workload.evidence)}. "
        f"Better means a {workload.metric.better} {metric_in_words(workload.metric)}."
    )


def _match(match: Match) -> str:
    measured = f" Here: {match.measured}." if match.measured else ""
    return f"- {match.policy}: {match.why}{measured}"


def _choice(choice: Choice) -> str:
    return f"- {choice.policy}{_settings(choice.settings)}: {choice.reason}"


def _listed(names: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({what})" for name, what in names.items())


def _settings(settings: Mapping[str, Setting]) -> str:
    told = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f" ({told})" if told else ""
