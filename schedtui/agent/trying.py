"""Proving what execute works on, and trying it: only what the verifier passed, as it passed it, and only with consent.

The engine uses it without a mind as well, for a plan's fallback.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from schedtui.agent import arguments as takes
from schedtui.agent import patch
from schedtui.agent.asking import Declined
from schedtui.agent.bench import Bench, Subject
from schedtui.agent.events import Deployed, Measured, Progressed, Proven, Question
from schedtui.agent.trust import needed_for
from schedtui.backend.deploy import Proposal
from schedtui.backend.errors import NotPermitted, SchedtuiError
from schedtui.backend.model import Comparison, Deployment, Finding, Policy, Report, Stage, digest_of

KEEP_COUNTDOWN_S = 20.0
WAITING = "waiting"
"""How the stage begins in which the lab waits for another schedtui."""
_MOST_FINDINGS = 4
_DETAIL_LINES = 8


def subject_of(bench: Bench) -> Subject:
    """What execute works on, when it is there. Raises NotPermitted."""
    subject = bench.subject
    if subject is None or (subject.draft is not None and not subject.draft.source):
        raise NotPermitted("There is no source yet.", "Begin with write_policy.")
    return subject


def prove(bench: Bench) -> Report:
    """Let the verifier judge the subject, and keep a draft that passed. Raises what the verifier does, and Stopped."""
    from schedtui.backend.verifier import proof

    subject = subject_of(bench)

    def proven_now() -> proof.Proof:
        with stages_told(bench) as progress:
            return proof.prove(
                subject.policy,
                subject.settings,
                kernel_id=bench.info.kernel_id,
                kernel=bench.kernel,
                quick=bench.request.quick,
                progress=progress,
                kind=bench.info.kind,
                machine=bench.machine,
            )

    proven = proven_now()
    if _deserves_another_look(proven.report, bench.began):
        bench.person.tell(Progressed, text=f"{subject.policy.name} failed on a real kernel before: measured once more")
        _measure_again(bench, subject)
        proven = proven_now()
    bench.check_stop()
    bench.subject = replace(subject, report=proven.report, obj=proven.obj, checked=True)
    bench.person.tell(Proven, report=proven.report)
    if proven.obj and subject.draft is not None:
        _keep_draft(bench, proven.report)
    return proven.report


def _deserves_another_look(report: Report, since: float) -> bool:
    """Whether only a measurement speaks against it, made before ``since``: that of a busy computer must not last."""
    failed = [each.name for each in report.stages if each.verdict == "fail"]
    return failed == ["kernel"] and report.made_at < since


def _measure_again(bench: Bench, subject: Subject) -> None:
    """A new report in place of the one that is kept."""
    from schedtui.backend.verifier.verify import verify_policy

    with stages_told(bench) as progress:
        verify_policy(
            subject.policy,
            subject.settings,
            kernels=(bench.kernel,),
            quick=bench.request.quick,
            progress=progress,
            again=True,
            kind=bench.info.kind,
        )


def _keep_draft(bench: Bench, report: Report) -> None:
    """What passed is worth keeping, whatever the canary says: as a draft that learn promotes or retires."""
    assert bench.subject is not None
    policy, made_from = bench.subject.policy, bench.subject.draft
    parent = made_from.parent.name if made_from and made_from.parent else ""
    try:
        bench.generated.add(Path(policy.folder) / "policy.toml", made_by=bench.mind_name, parent=parent, report=report)
    except SchedtuiError as error:  # a full disk, or no git: it can be tried all the same
        bench.person.tell(Progressed, text=f"{policy.name} could not be kept in the library: {error.message}")
        return
    bench.written.append(policy.name)
    bench.reload_library()


def permit_canary(bench: Bench, _given: takes.Canary | None = None) -> None:
    """Only what was proven, where it can be loaded, and trust or a person allows it. Raises NotPermitted, Stopped."""
    subject = subject_of(bench)
    _check_proven(subject)
    if not bench.info.can_load:
        raise Declined(
            "proposed",
            f"{subject.policy.name} was proven, and cannot be tried here: "
            f"{bench.info.reason or 'no scheduler can be loaded.'}",
            "Try it in the lab: --machine lab.",
        )
    bench.needed = needed_for(subject.policy, subject.settings, running=bench.machine.scheduler().policy)
    bench.agreed = bench.person.consent(bench.needed, _may_it_be_tried(bench, subject))


def _check_proven(subject: Subject) -> None:
    """Exactly this object with exactly these settings passed."""
    report = subject.report
    if report is None:
        raise NotPermitted("This was not verified, or was changed since.", "Call verify first.")
    if report.verdict == "fail":
        raise NotPermitted("The verifier did not pass it.", "Mend what it found, or give_up.")
    same = digest_of(subject.obj) == report.digest and subject.settings == report.settings
    if not same:
        raise NotPermitted("What was verified is not what would be tried.", "Call verify again.")


def _may_it_be_tried(bench: Bench, subject: Subject) -> Question:
    plan, made_from = bench.plan, subject.draft
    parent = made_from.parent if made_from else None
    reason = plan.reason if plan else ""
    text = "\n".join(
        filter(
            None,
            [
                reason,
                f"Expected: {plan.expected}" if plan else "",
                f"Risk: {plan.risk}" if plan and plan.risk else "",
                "It passed the verifier. It is measured against what runs now, "
                f"and {bench.way_back} takes it away at any moment.",
            ],
        )
    )
    return Question(
        id=f"try-{len(bench.rounds) + 1}",
        kind="try",
        title=f"Try {subject.policy.name}?",
        text=text,
        choices=(("yes", "Try it"), ("no", "Leave everything as it is")),
        policy=subject.policy.name,
        settings=subject.settings,
        source=made_from.source if made_from else "",
        diff=patch.difference(source_of(parent), made_from.source, parent.name) if made_from and parent else "",
    )


def trial(bench: Bench, *, decided: bool = False) -> Comparison | None:
    """Deploy the subject for a canary; a person, a setting or the countdown decides. Raises what the machine does.

    ``decided``: it was kept before, and stays unless it is worse now. Whatever ends it early, the deployment is kept or
    reverted in the end.
    """
    subject, workload = subject_of(bench), bench.workload
    _check_proven(subject)
    assert subject.report is not None
    assert workload is not None
    proposal = Proposal(
        policy=subject.policy,
        settings=subject.settings,
        preset=None,
        reason=bench.plan.reason if bench.plan else "",
    )
    deployment = bench.deployer.propose(proposal, asked_by=bench.mind_name, request=bench.request_id)
    bench.deployment, bench.fault = deployment, False
    try:
        deployment = _now(bench, bench.deployer.verified(deployment, subject.report, subject.obj))
        deployment = _now(
            bench,
            bench.deployer.canary(
                deployment,
                workload.metric,
                seconds=bench.request.canary_s,
                stop=bench.stop,
                on_progress=lambda seen, side: bench.person.tell(Measured, comparison=seen, side=side),
            ),
        )
        if deployment.comparison:
            bench.person.tell(Measured, comparison=deployment.comparison, side="after", final=True)
        bench.check_stop()
        bench.fault = deployment.state == "reverted"
        if deployment.state == "canary":
            kept = bench.deployer.keep(deployment, by="setting") if decided else _decided(bench, deployment)
            deployment = _now(bench, kept)
    except BaseException as error:
        take_away(bench, error.message if isinstance(error, SchedtuiError) else "The program was ended.")
        raise
    return deployment.comparison


def _now(bench: Bench, deployment: Deployment) -> Deployment:
    """Take note of a change of state, and tell it."""
    bench.deployment = deployment
    bench.person.tell(Deployed, deployment=deployment)
    return deployment


def _decided(bench: Bench, deployment: Deployment) -> Deployment:
    """Kept, if whoever decides says so; what went wrong meanwhile has decided already."""
    comparison = deployment.comparison
    better = comparison is not None and comparison.verdict == "better"
    answered = bench.person.ask(
        Question(
            id=f"keep-{deployment.id}",
            kind="keep",
            title=f"Keep {deployment.policy}?",
            text=comparison.reason if comparison else deployment.reason,
            choices=(("keep", "Keep it"), ("revert", "Take it away")),
            countdown_s=KEEP_COUNTDOWN_S,
            policy=deployment.policy,
            settings=deployment.settings,
        ),
        over=lambda: bench.deployer.current(deployment).state != "canary",
        good=better,
    )
    current = bench.deployer.current(deployment)
    if current.state != "canary":
        return current
    if answered.choice == "keep":
        return bench.deployer.keep(current, by=answered.by)
    return bench.deployer.revert(current, "It was not kept.", by=answered.by)


def take_away(bench: Bench, reason: str) -> None:
    """Whatever went wrong in between, nothing stays that nobody decided on."""
    if bench.deployment is None:
        return
    current = bench.deployer.current(bench.deployment)
    if current.state not in ("kept", "reverted"):
        with contextlib.suppress(SchedtuiError):
            _now(bench, bench.deployer.revert(current, reason))


def source_of(policy: Policy) -> str:
    """The text of a policy's source. Raises BadFile."""
    from schedtui.backend.verifier.sandbox import read_source

    return read_source(Path(policy.source)).decode(errors="replace")


def decisive(findings: tuple[Finding, ...]) -> str:
    """The few lines that matter: errors first, each with its place, what it means, how to mend it, and some details."""
    serious = sorted(
        (each for each in findings if each.severity != "note"),
        key=lambda each: ("error", "warning").index(each.severity),
    )
    lines = []
    for each in serious[:_MOST_FINDINGS]:
        lines.append(f"{each.severity} {each.rule} at {each.place}: {each.meaning} {each.remedy}".strip())
        lines += [f"  {line}" for line in each.details.splitlines()[:_DETAIL_LINES]]
    if len(serious) > _MOST_FINDINGS:
        lines.append(f"… and {len(serious) - _MOST_FINDINGS} more; mend these first.")
    return "\n".join(lines)


def first_error(stages: tuple[Stage, ...]) -> str:
    """In a line, for the timeline."""
    errors = [each for stage in stages for each in stage.findings if each.severity == "error"]
    return f"{errors[0].rule}: {errors[0].meaning}" if errors else "It did not pass"


@contextlib.contextmanager
def stages_told(bench: Bench) -> Iterator[Callable[[str, float], None]]:
    """Stages of something long, each told once; ends it when the request is stopped.

    While another schedtui is waited for, the request's time stands still.
    """
    said = ""
    with contextlib.ExitStack() as waiting:

        def stage(text: str, _seconds: float) -> None:
            nonlocal said
            bench.check_stop()
            head = text.partition(":")[0]
            if head == said:
                return
            said = head
            waiting.close()
            if head == WAITING:
                waiting.enter_context(bench.person.waiting())
            bench.person.tell(Progressed, text=text)

        yield stage
