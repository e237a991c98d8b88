"""The tools of plan: the library, what was measured and learned before, and the plan that ends the role."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from schedtui.agent import arguments as takes
from schedtui.agent import draft, learning, roles
from schedtui.agent.bench import Bench, role_tool
from schedtui.agent.events import Planned
from schedtui.agent.tools import Result, Tool, shown
from schedtui.backend.errors import BadFile, NotPermitted
from schedtui.backend.library.starting import why_not
from schedtui.backend.model import (
    Plan,
    Policy,
    Setting,
)
from schedtui.backend.store import NoteRow, Outcome
from schedtui.backend.tunables import check_settings

_MOST_OUTCOMES = 12


def tools() -> Iterator[Tool[Bench, Any]]:
    """All of them."""
    yield role_tool(
        "plan",
        "search_library",
        "Search the policies in words, best first.",
        takes.SearchLibrary,
        _search_library,
        lambda each: f"Searches the library for {shown(each.words)}",
    )
    yield role_tool(
        "plan",
        "show_policy",
        "A policy: what it does, its tunables with ranges, its limits, what it did here.",
        takes.ShowPolicy,
        _show_policy,
        lambda each: f"Reads about {shown(each.name)}",
    )
    yield role_tool(
        "plan",
        "history",
        "What was measured and learned on this computer, of a policy, a class, or in all.",
        takes.History,
        _history,
        lambda each: f"Looks into the history{f' of {shown(each.policy)}' if each.policy else ''}",
    )
    yield role_tool(
        "plan",
        "submit_plan",
        "End: what to try, why, what should come of it, and the fallback.",
        takes.SubmitPlan,
        _submit_plan,
        lambda each: f"Plans to {each.mode} {shown(each.policy)}",
        ends=True,
    )
    yield role_tool(
        "plan",
        "stop_here",
        "End without another round; from the second round on.",
        takes.StopHere,
        _stop_here,
        lambda _: "Leaves it at that",
        ends=True,
    )


def search(bench: Bench, words: str, limit: int = 12) -> tuple[takes.Match, ...]:
    """The library's policies for such words. Raises MissingTool."""
    from schedtui.backend.library.search import Search

    return tuple(
        takes.Match(
            policy=each.policy.name,
            score=each.score,
            why=each.why,
            measured=each.measured,
            can_load=each.policy.name in loadable(bench),
        )
        for each in Search(bench.library, store=bench.store).find(words, limit)
    )


def _search_library(bench: Bench, given: takes.SearchLibrary) -> Result:
    found = search(bench, given.words)
    lines = [
        f"{each.policy}{'' if each.can_load else ' (cannot be loaded by schedtui)'}: {each.why}"
        f"{f' Here: {each.measured}.' if each.measured else ''}"
        for each in found
    ]
    return Result(
        text="\n".join(lines) or "Nothing fits these words.",
        summary=", ".join(each.policy for each in found),
        facts={"matches": found},
    )


def _show_policy(bench: Bench, given: takes.ShowPolicy) -> Result:
    policy = bench.library.policy(given.name)
    parts = [
        roles.tunables(policy),
        policy.description,
        f"For: {'; '.join(policy.for_whom)}",
        f"Not for: {'; '.join(policy.not_for)}" if policy.not_for else "",
        f"Limits: {'; '.join(policy.limits)}" if policy.limits else "",
        "" if policy.name in loadable(bench) else f"It cannot be run: it {why_not(policy, bench.info.kind)}.",
        learning.lessons(outcomes=_outcomes(bench, policy=policy.name), most_tokens=300),
    ]
    return Result(text="\n".join(filter(None, parts)), summary=policy.summary, facts={"policy": policy})


def _history(bench: Bench, given: takes.History) -> Result:
    outcomes = _outcomes(bench, policy=given.policy, class_id=given.class_id)
    notes = learned(bench, policy=given.policy, class_id=given.class_id)
    text = learning.lessons(outcomes=outcomes, notes=notes, class_id=given.class_id)
    return Result(
        text=text or "Nothing was measured or learned yet.",
        summary=f"{len(outcomes)} outcomes, {len(notes)} notes",
        facts={"outcomes": outcomes, "notes": notes},
    )


def _outcomes(bench: Bench, *, policy: str = "", class_id: str = "") -> tuple[Outcome, ...]:
    """Those of a policy or a class, newest first; none where the store cannot be read."""
    found: list[Outcome] = []
    with contextlib.suppress(BadFile):
        found = bench.store.outcomes(policy or None)
    wanted = [each for each in found if not class_id or each.workload == class_id]
    return tuple(wanted[:_MOST_OUTCOMES])


def outcomes_for(bench: Bench, class_id: str) -> tuple[Outcome, ...]:
    """What was measured here for a class, newest first."""
    return _outcomes(bench, class_id=class_id)


def learned(bench: Bench, *, policy: str = "", class_id: str = "") -> tuple[NoteRow, ...]:
    """Notes of a policy or a class; none where the store cannot be read."""
    with contextlib.suppress(BadFile):
        return tuple(bench.store.learned(policy or None, class_id or None, _MOST_OUTCOMES))
    return ()


def _submit_plan(bench: Bench, given: takes.SubmitPlan) -> Result:
    if given.fallback:
        library_policy(bench, given.fallback)
    settings = dict(given.settings)
    if given.mode == "create":
        _check_new_name(bench, given.policy)
        if settings:
            raise NotPermitted("A policy that does not exist yet has no settings.", "Say the numbers in change.")
    else:
        policy = library_policy(bench, given.policy, source=given.mode == "modify")
        settings = differing(policy, check_settings(policy, settings))
    if given.mode != "configure" and not given.change.strip():
        raise NotPermitted(f"{given.mode.capitalize()} needs change: what the source is to do.", "Add it.")
    before = [each for each in bench.rounds if (each.plan.mode, each.plan.policy) == ("configure", given.policy)]
    if given.mode == "configure" and any(each.plan.settings == settings for each in before):
        raise NotPermitted(
            f"{given.policy} with these settings was tried in this request already.",
            "Change something, or stop_here.",
        )
    bench.plan = Plan(
        mode=given.mode,
        policy=given.policy,
        settings=settings,
        reason=given.reason,
        expected=given.expected,
        risk=given.risk,
        change=given.change,
        fallback=given.fallback,
    )
    bench.person.tell(Planned, plan=bench.plan)
    return Result(text="Taken.", summary=given.reason, facts={"plan": bench.plan})


def _stop_here(bench: Bench, given: takes.StopHere) -> Result:
    if not bench.rounds:
        raise NotPermitted("Nothing was tried yet.", "Submit a plan; a modest one is fine.")
    bench.plan = None
    return Result(text="Taken.", summary=given.reason)


def differing(policy: Policy, settings: dict[str, Setting]) -> dict[str, Setting]:
    """Only what differs from the defaults."""
    defaults = {each.name: each.default for each in policy.tunables}
    return {name: value for name, value in settings.items() if value != defaults[name]}


def library_policy(bench: Bench, name: str, *, source: bool = False) -> Policy:
    """A policy that can be run here, with a ``source`` if that is asked for. Raises UnknownName, NotPermitted."""
    policy = bench.library.policy(name)
    if name not in loadable(bench):
        raise NotPermitted(
            f"{name} is a program of others, and {why_not(policy, bench.info.kind)}.",
            f"There are: {', '.join(loadable(bench))}.",
        )
    if source and not policy.source:
        raise NotPermitted(
            f"{name} is a program of others: its source is not here.",
            f"There are: {', '.join(bench.library.loadable())}.",
        )
    return policy


def loadable(bench: Bench) -> dict[str, Policy]:
    """What can be run on the bench's machine: every source, and the external schedulers that can be started there."""
    policies = bench.library.policies
    return {name: each for name, each in policies.items() if each.source or not why_not(each, bench.info.kind)}


def _check_new_name(bench: Bench, name: str) -> None:
    taken = {*bench.library.policies, *bench.library.presets, *bench.generated.names()}
    if name in taken:
        raise NotPermitted(f"There is a policy or preset called {shown(name)} already.", "Take another name.")
    if not draft.NAME.fullmatch(name):
        raise NotPermitted(f"{shown(name)} cannot be a policy's name.", "Use a-z, 0-9 and single dashes.")
