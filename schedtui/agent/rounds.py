"""A round: what a plan begins from, and what it came to when it was tried, proven only, or given up.

The engine and other programs (schedtui.mcp) go through it in the same way; proving and trying are trying.py's.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from schedtui.agent import planning
from schedtui.agent.arguments import Tried
from schedtui.agent.bench import Bench, Subject
from schedtui.agent.draft import Draft, name_for, write
from schedtui.agent.events import Progressed, Warned
from schedtui.agent.trust import Outcome as TrustOutcome
from schedtui.agent.trust import Trust
from schedtui.agent.trying import source_of
from schedtui.backend.errors import SchedtuiError, UnknownName
from schedtui.backend.history import outcome_of
from schedtui.backend.library.catalogue import CLASSES
from schedtui.backend.library.starting import in_mode
from schedtui.backend.model import Deployment, Plan, Policy, Report, Workload

REPAIRS = 3
_LONGEST_BEGINNING = 10_500
"""Characters of a source that a new policy is begun from; longer ones cost more than they teach."""
_PLAIN_POLICY = "fair"


def workload_of(bench: Bench) -> Workload:
    """What the request is about. Raises UnknownName when nobody said so yet."""
    if bench.workload is None:
        raise UnknownName("Nothing is known of what you run.", "Ask again.")
    return bench.workload


def begin(bench: Bench, plan: Plan) -> Policy:
    """Make what the plan is about the bench's subject; returns the policy that is configured, changed or begun from."""
    bench.repairs_left, bench.gave_up, bench.deployment = REPAIRS, "", None
    beginning = _beginning(bench, plan)
    bench.subject = _subject(bench, plan, beginning)
    return beginning


def write_down(bench: Bench, trust: Trust, plan: Plan, problem: str = "") -> Tried:
    """What the round came to, for the request, for trust, and for the next time. ``problem``: what cut it short."""
    subject, deployment = bench.subject, bench.deployment
    report = subject.report if subject else None
    serious = [each for each in report.findings if each.severity != "note"] if report else []
    tried = Tried(
        number=len(bench.rounds) + 1,
        plan=plan,
        verdict=report.verdict if report else None,
        findings=tuple(serious),
        comparison=deployment.comparison if deployment else None,
        ended=deployment.reason if deployment else bench.gave_up or problem or _unproven(report),
        kept=deployment is not None and deployment.state == "kept",
        policy=subject.policy.name if subject else plan.policy,
        settings=subject.settings if subject else plan.settings,
    )
    bench.rounds.append(tried)
    if deployment is not None:
        try_to_keep(bench, lambda: _keep_outcome(bench, deployment))
        try_to_keep(bench, lambda: _judge(bench, trust, deployment))
    return tried


def try_to_keep(bench: Bench, act: Callable[[], object]) -> None:
    """What cannot be written down is told, and ends nothing."""
    try:
        act()
    except SchedtuiError as error:
        bench.person.tell(Warned, text=error.message)


def _beginning(bench: Bench, plan: Plan) -> Policy:
    """The policy that is configured or changed; for a new one, a short source of the library that is near."""
    library = bench.library
    if plan.mode != "create":
        return library.policy(plan.policy)
    near = [each.policy for each in planning.search(bench, plan.change) if each.can_load]
    for name in near[:3]:
        policy = library.policy(name)
        if policy.origin == "built-in" and len(source_of(policy)) <= _LONGEST_BEGINNING:
            return policy
    return library.policy(_PLAIN_POLICY)


def _subject(bench: Bench, plan: Plan, beginning: Policy) -> Subject:
    workload = workload_of(bench)
    if plan.mode == "configure":
        return Subject(policy=in_mode(beginning, workload.class_id)[0], settings=plan.settings)
    made = Draft(
        name=plan.policy,
        source="",
        parent=None,
        summary=plan.change,
        for_whom=CLASSES.get(workload.class_id, workload.sentence),
    )
    if plan.mode == "create":
        return Subject(policy=beginning, draft=made)
    taken = [*bench.library.policies, *bench.library.presets, *bench.generated.names()]
    made = replace(made, name=name_for(beginning.name, workload, taken), source=source_of(beginning), parent=beginning)
    return Subject(policy=write(made, bench.folder), settings=plan.settings, draft=made)


def _judge(bench: Bench, trust: Trust, deployment: Deployment) -> None:
    """What it says of the mind that chose it."""
    outcome: TrustOutcome = "kept" if deployment.state == "kept" else "reverted" if bench.fault else "unkept"
    changed = trust.note(bench.needed, outcome, asked=bench.agreed)
    if changed:
        bench.person.tell(Progressed, text=changed)


def _keep_outcome(bench: Bench, deployment: Deployment) -> None:
    """What was measured, for the next time."""
    outcome = outcome_of(deployment, cpus=len(bench.info.cpus), workload=workload_of(bench).class_id)
    if outcome is not None:
        bench.store.add_outcome(outcome)


def _unproven(report: Report | None) -> str:
    return "The verifier did not pass it." if report and report.verdict == "fail" else "It was not tried."
