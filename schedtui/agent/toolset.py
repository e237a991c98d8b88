"""The concrete tools, role by role, over the bench: what can be seen, chosen, written, proven, tried and kept.

None can do anything dangerous. A source goes through the verifier and its sandbox and nowhere else; the canary takes
only what the verifier passed, with exactly those settings on exactly that kernel; who may try what without a person is
asked before each canary. How a mind is told of the tools and its calls are checked is tools.py's.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from schedtui.agent import arguments as takes
from schedtui.agent import draft, learning, patch, processes, project, reference, roles, summary
from schedtui.agent.asking import Declined
from schedtui.agent.bench import Bench, Subject
from schedtui.agent.draft import Draft
from schedtui.agent.events import Deployed, Learned, Measured, Observed, Planned, Progressed, Proven, Question
from schedtui.agent.mind import RoleName
from schedtui.agent.tools import Arguments, Result, Tool, shown
from schedtui.agent.trust import needed_for
from schedtui.backend.deploy import Proposal, compiled
from schedtui.backend.errors import BadFile, CompileFailed, NotPermitted, SchedtuiError, UnknownName
from schedtui.backend.library.catalogue import CLASSES, check_settings
from schedtui.backend.model import (
    Comparison,
    Deployment,
    Finding,
    Metric,
    Plan,
    Policy,
    Report,
    Setting,
    Stage,
    Workload,
    worst,
)
from schedtui.backend.store import NoteRow, Outcome
from schedtui.backend.workloads import KINDS

LOOK_S = 1.5
KEEP_COUNTDOWN_S = 20.0
_MOST_TREES, _MORE_TREES = 8, 20
_MOST_FINDINGS = 4
_DETAIL_LINES = 8
_MOST_OUTCOMES = 12
_NOTES_PER_REQUEST = 3
_Takes = TypeVar("_Takes", bound=Arguments)


def tools() -> list[Tool[Bench, Any]]:
    """All of them; each says which roles have it."""
    return [*_observe(), *_plan(), *_execute(), *_learn()]


def _tool(
    role: RoleName,
    name: str,
    description: str,
    arguments: type[_Takes],
    run: Callable[[Bench, _Takes], Result],
    title: Callable[[_Takes], str],
    **more: Any,
) -> Tool[Bench, Any]:
    return Tool(
        name=name,
        description=description,
        arguments=arguments,
        run=run,
        title=title,
        roles=frozenset([role]),
        **more,
    )


# ---- observe ----


def _observe() -> Iterator[Tool[Bench, Any]]:
    yield _tool(
        "observe",
        "machine_summary",
        "Look at the machine again for a moment: CPU use, latency, pressure, who waits. more: more programs.",
        takes.MachineSummary,
        _machine_summary,
        lambda _: "Looks at the machine again",
        cost_s=LOOK_S,
    )
    yield _tool(
        "observe",
        "processes",
        "Process trees by CPU use, with command lines; name: only those with a program of that name.",
        takes.Processes,
        _processes,
        lambda each: f"Looks at the processes{f' called {shown(each.name)}' if each.name else ''}",
        cost_s=1,
    )
    yield _tool(
        "observe",
        "project_files",
        "The project folder the person named: build files, README, languages; path: more of one file.",
        takes.ProjectFiles,
        _project_files,
        lambda each: f"Reads {shown(each.path)} of the project" if each.path else "Looks at the project's files",
    )
    yield _tool(
        "observe",
        "submit_workload",
        "End: what they run, its class, the evidence, and the metric that says better.",
        takes.SubmitWorkload,
        _submit_workload,
        lambda each: f"Takes it for {CLASSES.get(each.class_id, 'nothing that is known')}",
        ends=True,
    )


def _machine_summary(bench: Bench, given: takes.MachineSummary) -> Result:
    found = bench.look(LOOK_S)
    return Result(text=summary.in_words(found, more=given.more), facts={"summary": found})


def _processes(bench: Bench, given: takes.Processes) -> Result:
    found = processes.trees(processes.look_at(bench.machine, bench.info.kind))
    bench.check_stop()
    wanted = given.name.lower()
    if wanted:
        found = [each for each in found if any(wanted in name.lower() for name in (*each.names, each.root.name))]
    return Result(
        text=processes.in_words(found, most=_MORE_TREES if wanted else _MOST_TREES),
        summary=f"{len(found)} programs",
        facts={"trees": found},
    )


def _project_files(bench: Bench, given: takes.ProjectFiles) -> Result:
    folder = bench.request.folder
    if folder is None:
        raise NotPermitted("The person named no project folder.", "Judge by their words and the machine.")
    if given.path:
        return Result(text=project.read(folder, given.path).head, summary=f"Read {given.path}")
    found = project.look_at(folder)
    return Result(text=project.in_words(found), summary=f"{len(found.files)} files", facts={"project": found})


def _submit_workload(bench: Bench, given: takes.SubmitWorkload) -> Result:
    if given.class_id not in (*CLASSES, "unknown"):
        raise UnknownName(f"There is no class {shown(given.class_id)}.", f"Classes: {', '.join(CLASSES)}, unknown.")
    bench.workload = Workload(
        sentence=given.sentence,
        class_id=given.class_id,
        confidence=given.confidence,
        evidence=given.evidence,
        metric=_metric(bench, given),
    )
    bench.person.tell(Observed, workload=bench.workload)
    return Result(text="Taken.", summary=given.sentence, facts={"workload": bench.workload})


def _metric(bench: Bench, given: takes.SubmitWorkload) -> Metric:
    if given.metric == "command_s":
        if not bench.request.command:
            raise NotPermitted("The person gave no command that could be timed.", "Take another metric.")
        return Metric(name="command_s", command=bench.request.command)
    if given.metric == "work_per_s":
        if given.work not in KINDS:
            raise UnknownName(
                f"work_per_s counts the work of a load of schedtui's own, and {shown(given.work)} is none.",
                f"Loads: {', '.join(KINDS)}; for a person's own programs take a wakeup metric.",
            )
        return Metric(name="work_per_s", work=given.work)
    return Metric(name=given.metric, focus=given.focus)


# ---- plan ----


def _plan() -> Iterator[Tool[Bench, Any]]:
    yield _tool(
        "plan",
        "search_library",
        "Search the policies in words, best first.",
        takes.SearchLibrary,
        _search_library,
        lambda each: f"Searches the library for {shown(each.words)}",
    )
    yield _tool(
        "plan",
        "show_policy",
        "A policy: what it does, its tunables with ranges, its limits, what it did here.",
        takes.ShowPolicy,
        _show_policy,
        lambda each: f"Reads about {shown(each.name)}",
    )
    yield _tool(
        "plan",
        "history",
        "What was measured and learned on this computer, of a policy, a class, or in all.",
        takes.History,
        _history,
        lambda each: f"Looks into the history{f' of {shown(each.policy)}' if each.policy else ''}",
    )
    yield _tool(
        "plan",
        "submit_plan",
        "End: what to try, why, what should come of it, and the fallback.",
        takes.SubmitPlan,
        _submit_plan,
        lambda each: f"Plans to {each.mode} {shown(each.policy)}",
        ends=True,
    )
    yield _tool(
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
            can_load=bool(each.policy.source),
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
        "" if policy.source else "schedtui cannot load it: it is a program of others.",
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
        _library_policy(bench, given.fallback)
    settings = dict(given.settings)
    if given.mode == "create":
        _check_new_name(bench, given.policy)
        if settings:
            raise NotPermitted("A policy that does not exist yet has no settings.", "Say the numbers in change.")
    else:
        policy = _library_policy(bench, given.policy)
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


def _library_policy(bench: Bench, name: str) -> Policy:
    policy = bench.library.policy(name)
    if not policy.source:
        raise NotPermitted(
            f"{name} is a program of others, which schedtui does not start.",
            f"There are: {', '.join(bench.library.loadable())}.",
        )
    return policy


def _check_new_name(bench: Bench, name: str) -> None:
    taken = {*bench.library.policies, *bench.library.presets, *bench.generated.names()}
    if name in taken:
        raise NotPermitted(f"There is a policy or preset called {shown(name)} already.", "Take another name.")
    if not draft.NAME.fullmatch(name):
        raise NotPermitted(f"{shown(name)} cannot be a policy's name.", "Use a-z, 0-9 and single dashes.")


# ---- execute ----


def _execute() -> Iterator[Tool[Bench, Any]]:
    yield _tool(
        "execute",
        "policy_source",
        "The source of a policy of the library, or of the draft (no name).",
        takes.PolicySource,
        _policy_source,
        lambda each: f"Reads the source of {shown(each.name) if each.name else 'the draft'}",
        longest=30_000,
    )
    yield _tool(
        "execute",
        "header_reference",
        "More about one name or topic of the header.",
        takes.HeaderReference,
        _header_reference,
        lambda each: f"Looks up {shown(each.topic)}",
    )
    yield _tool(
        "execute",
        "write_policy",
        "The draft's whole source; compiled and its logic checked at once.",
        takes.WritePolicy,
        _write_policy,
        lambda each: f"Writes a policy of {len(each.source.splitlines())} lines",
        read_only=False,
        cost_s=2,
    )
    yield _tool(
        "execute",
        "patch_policy",
        "Replace pieces of the draft, each standing in it exactly once; compiled and its logic checked at once.",
        takes.PatchPolicy,
        _patch_policy,
        lambda each: f"Changes the policy in {len(each.edits)} places",
        read_only=False,
        cost_s=2,
    )
    yield _tool(
        "execute",
        "set_settings",
        "Other settings than the plan's; they are to be verified again.",
        takes.SetSettings,
        _set_settings,
        lambda each: f"Sets {', '.join(f'{name} to {value}' for name, value in each.settings.items()) or 'nothing'}",
        read_only=False,
    )
    yield _tool(
        "execute",
        "verify",
        "The whole verifier, on a real kernel under stress, for the policy or draft with its settings.",
        takes.Verify,
        _verify,
        lambda _: "Proves it on a real kernel",
        cost_s=20,
    )
    yield _tool(
        "execute",
        "canary",
        "End: try what was verified, measured against what runs now.",
        takes.Canary,
        _canary,
        lambda _: "Tries it, and measures",
        ends=True,
        read_only=False,
        destructive=True,
        idempotent=False,
        permit=permit_canary,
        cost_s=15,
    )
    yield _tool(
        "execute",
        "give_up",
        "End without a canary, with the reason.",
        takes.GiveUp,
        _give_up,
        lambda _: "Gives this plan up",
        ends=True,
    )


def _policy_source(bench: Bench, given: takes.PolicySource) -> Result:
    if not given.name:
        return Result(text=_draft(bench).source, summary="The draft as it is now")
    return Result(text=source_of(_library_policy(bench, given.name)), summary=f"The source of {given.name}")


def source_of(policy: Policy) -> str:
    """The text of a policy's source. Raises BadFile."""
    from schedtui.backend.verifier.sandbox import read_source

    return read_source(Path(policy.source)).decode(errors="replace")


def _header_reference(_bench: Bench, given: takes.HeaderReference) -> Result:
    return Result(text=reference.about(given.topic), summary=f"About {given.topic}")


def _write_policy(bench: Bench, given: takes.WritePolicy) -> Result:
    return _changed(bench, given.source)


def _patch_policy(bench: Bench, given: takes.PatchPolicy) -> Result:
    return _changed(bench, patch.patched(_draft(bench).source, given.edits))


def _draft(bench: Bench) -> Draft:
    if bench.subject is None or bench.subject.draft is None:
        raise NotPermitted(
            "The plan is to configure a policy as it is: there is no draft.", "Use set_settings, verify, canary."
        )
    return bench.subject.draft


def _changed(bench: Bench, source: str) -> Result:
    """A new version of the draft, through the stages of the verifier that run nothing."""
    from schedtui.backend.verifier.verify import static_stages

    before = _draft(bench)
    assert bench.subject is not None
    _take_repair(bench)
    new = replace(before, source=source)
    policy = draft.write(new, bench.folder)
    settings = differing(policy, check_settings(policy, draft.kept_settings(policy, bench.subject.settings)))
    bench.subject = Subject(policy=policy, settings=settings, draft=new, checked=True)
    stages, _ = static_stages(Path(policy.source), policy, _progress(bench))
    verdict = worst(each.verdict for each in stages)
    text = decisive(tuple(finding for stage in stages for finding in stage.findings))
    if verdict == "fail":
        return Result(
            text=f"{text}\n{bench.repairs_left} repairs left.",
            summary=_first_error(stages),
            details=text,
            ok=False,
            facts={"verdict": verdict},
        )
    said = "It compiles, and its logic passes. Now verify."
    return Result(
        text="\n".join(filter(None, [said, text])),
        summary="It compiles, and its logic passes",
        facts={"verdict": verdict},
    )


def _take_repair(bench: Bench) -> None:
    """The first version is free; each after it is a repair."""
    assert bench.subject is not None
    if not bench.subject.checked:
        return
    if bench.repairs_left <= 0:
        raise NotPermitted("No repairs are left.", "give_up, and say what stood in the way.")
    bench.repairs_left -= 1


def _set_settings(bench: Bench, given: takes.SetSettings) -> Result:
    subject = _subject(bench)
    settings = differing(subject.policy, check_settings(subject.policy, dict(given.settings)))
    if subject.report is not None:
        _take_repair(bench)
    bench.subject = replace(subject, settings=settings, report=None, obj=b"")
    return Result(text="Set. Now verify.", summary="Set")


def _subject(bench: Bench) -> Subject:
    subject = bench.subject
    if subject is None or (subject.draft is not None and not subject.draft.source):
        raise NotPermitted("There is no source yet.", "Begin with write_policy.")
    return subject


def _verify(bench: Bench, _given: takes.Verify) -> Result:
    report = prove(bench)
    text = decisive(report.findings)
    if report.verdict == "fail":
        return Result(
            text=f"It did not pass.\n{text}\n{bench.repairs_left} repairs left.",
            summary=_first_error(report.stages),
            details=text,
            ok=False,
            facts={"report": report},
        )
    warned = " with warnings" if report.verdict == "warn" else ""
    return Result(
        text="\n".join(filter(None, [f"It passed{warned}. Now canary.", text])),
        summary=f"{report.name} passed{warned}",
        facts={"report": report},
    )


def prove(bench: Bench) -> Report:
    """Let the verifier judge the subject, and keep a draft that passed. Raises what the verifier does, and Stopped."""
    subject = _subject(bench)
    report = _known_report(bench, subject) or _fresh_report(bench, subject)
    bench.check_stop()
    obj = b"" if report.verdict == "fail" else compiled(subject.policy)
    if obj and hashlib.sha256(obj).hexdigest() != report.digest:
        raise BadFile(f"{subject.policy.name} changed while it was verified.", "Verify it again.")
    bench.subject = replace(subject, report=report, obj=obj, checked=True)
    bench.person.tell(Proven, report=report)
    if obj and subject.draft is not None:
        _keep_draft(bench, report)
    return report


def _known_report(bench: Bench, subject: Subject) -> Report | None:
    """One that is kept already, for this kernel: no guest is needed then. What runs nothing is looked at anew."""
    from schedtui.backend.verifier import reports
    from schedtui.backend.verifier.verify import static_stages

    kernel = bench.info.kernel_id
    if kernel is None:
        return None
    try:
        digest = hashlib.sha256(compiled(subject.policy)).hexdigest()
    except CompileFailed:  # the verifier says it better
        return None
    known = reports.find(digest, subject.settings, kernel, quick=bench.request.quick)
    if known is None:
        return None
    stages, _ = static_stages(Path(subject.policy.source), subject.policy, _progress(bench))
    stages = (*stages, known.stages[-1])
    return replace(known, stages=stages, verdict=worst(each.verdict for each in stages))


def _fresh_report(bench: Bench, subject: Subject) -> Report:
    from schedtui.backend.verifier.verify import verify

    (report,) = verify(
        Path(subject.policy.source),
        kernels=(bench.kernel,),
        settings=subject.settings,
        quick=bench.request.quick,
        progress=_progress(bench),
        policy=subject.policy,
    )
    return report


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
    subject = _subject(bench)
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
    same = hashlib.sha256(subject.obj).hexdigest() == report.digest and subject.settings == report.settings
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
                "It passed the verifier. It is measured against what runs now, and F12 takes it away at any moment.",
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


def _canary(bench: Bench, _given: takes.Canary) -> Result:
    comparison = trial(bench)
    deployment = bench.deployment
    assert deployment is not None
    told = learning.compared(comparison) if comparison else ""
    return Result(
        text="\n".join(filter(None, [f"{deployment.state}: {deployment.reason}", told])),
        summary=deployment.reason,
        facts={"comparison": comparison, "state": deployment.state},
    )


def trial(bench: Bench, *, decided: bool = False) -> Comparison | None:
    """Deploy the subject for a canary; a person, a setting or the countdown decides. Raises what the machine does.

    ``decided``: it was kept before, and stays unless it is worse now. Whatever ends it early, the deployment is kept or
    reverted in the end.
    """
    subject, workload = _subject(bench), bench.workload
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


def _give_up(bench: Bench, given: takes.GiveUp) -> Result:
    bench.gave_up = given.reason
    return Result(text="Taken.", summary=given.reason)


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


def _first_error(stages: tuple[Stage, ...]) -> str:
    errors = [each for stage in stages for each in stage.findings if each.severity == "error"]
    return f"{errors[0].rule}: {errors[0].meaning}" if errors else "It did not pass"


def _progress(bench: Bench) -> Callable[[str, float], None]:
    """Stages of something long, each told once; ends it when the request is stopped."""
    said = ""

    def stage(text: str, _seconds: float) -> None:
        nonlocal said
        bench.check_stop()
        head = text.partition(":")[0]
        if head != said:
            said = head
            bench.person.tell(Progressed, text=text)

    return stage


# ---- learn ----


def _learn() -> Iterator[Tool[Bench, Any]]:
    yield _tool(
        "learn",
        "keep_note",
        "Keep what the next request for such work should know.",
        takes.KeepNote,
        _keep_note,
        lambda _: "Keeps a note",
        read_only=False,
        idempotent=False,
    )
    yield _tool(
        "learn",
        "promote",
        "Keep a policy of this request in the library; only one that was better.",
        takes.Promote,
        _promote,
        lambda each: f"Keeps {shown(each.policy)} in the library",
        read_only=False,
    )
    yield _tool(
        "learn",
        "retire",
        "Offer a policy of this request no more.",
        takes.Retire,
        _retire,
        lambda each: f"Takes {shown(each.policy)} out of the library",
        read_only=False,
    )
    yield _tool(
        "learn",
        "finish",
        "End: tell the person what came of it.",
        takes.Finish,
        _finish,
        lambda _: "Sums up",
        ends=True,
    )


def _keep_note(bench: Bench, given: takes.KeepNote) -> Result:
    if bench.notes_kept >= _NOTES_PER_REQUEST:
        raise NotPermitted(f"{_NOTES_PER_REQUEST} notes are enough for one request.", "finish.")
    if given.policy:
        bench.library.policy(given.policy)
    workload = bench.workload
    bench.store.add_note(
        NoteRow(
            policy=given.policy,
            class_id=workload.class_id if workload else "",
            text=given.text,
            kind=given.kind,
            made_by=bench.mind_name,
            request=bench.request_id,
        )
    )
    bench.notes_kept += 1
    bench.person.tell(Learned, text=given.text)
    return Result(text="Kept.", summary=given.text)


def _promote(bench: Bench, given: takes.Promote) -> Result:
    _written_here(bench, given.policy)
    better = [
        each
        for each in bench.rounds
        if each.policy == given.policy and each.comparison is not None and each.comparison.verdict == "better"
    ]
    if not better:
        raise NotPermitted(f"{given.policy} was not measured to be better.", "Leave it a draft, or retire it.")
    bench.generated.promote(given.policy)
    bench.reload_library()
    bench.person.tell(Learned, text=f"{given.policy} stays in the library: {given.reason}")
    return Result(text="Promoted.", summary=given.reason)


def _retire(bench: Bench, given: takes.Retire) -> Result:
    _written_here(bench, given.policy)
    bench.generated.retire(given.policy)
    bench.reload_library()
    bench.person.tell(Learned, text=f"{given.policy} is offered no more: {given.reason}")
    return Result(text="Retired.", summary=given.reason)


def _written_here(bench: Bench, name: str) -> None:
    if name not in bench.written:
        listed = ", ".join(bench.written) or "none"
        raise NotPermitted(f"{shown(name)} was not written in this request.", f"Written here: {listed}.")


def _finish(bench: Bench, given: takes.Finish) -> Result:
    bench.finished = given.text
    return Result(text="Done.", summary=given.text)
