"""The tools of execute: sources, settings, the verifier, and the canary that ends the role.

What proving and trying are, trying.py knows; here is how a mind asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from schedtui.agent import arguments as takes
from schedtui.agent import draft, learning, patch, reference
from schedtui.agent.bench import Bench, Subject, role_tool
from schedtui.agent.draft import Draft
from schedtui.agent.planning import differing, library_policy
from schedtui.agent.tools import Result, Tool, shown
from schedtui.agent.trying import decisive, first_error, permit_canary, prove, source_of, stages_told, subject_of, trial
from schedtui.backend.errors import NotPermitted
from schedtui.backend.model import worst
from schedtui.backend.tunables import check_settings


def tools() -> Iterator[Tool[Bench, Any]]:
    """All of them."""
    yield role_tool(
        "execute",
        "policy_source",
        "The source of a policy of the library, or of the draft (no name).",
        takes.PolicySource,
        _policy_source,
        lambda each: f"Reads the source of {shown(each.name) if each.name else 'the draft'}",
        longest=30_000,
    )
    yield role_tool(
        "execute",
        "header_reference",
        "More about one name or topic of the header.",
        takes.HeaderReference,
        _header_reference,
        lambda each: f"Looks up {shown(each.topic)}",
    )
    yield role_tool(
        "execute",
        "write_policy",
        "The draft's whole source; compiled and its logic checked at once.",
        takes.WritePolicy,
        _write_policy,
        lambda each: f"Writes a policy of {len(each.source.splitlines())} lines",
        read_only=False,
        cost_s=2,
    )
    yield role_tool(
        "execute",
        "patch_policy",
        "Replace pieces of the draft, each standing in it exactly once; compiled and its logic checked at once.",
        takes.PatchPolicy,
        _patch_policy,
        lambda each: f"Changes the policy in {len(each.edits)} places",
        read_only=False,
        cost_s=2,
    )
    yield role_tool(
        "execute",
        "set_settings",
        "Other settings than the plan's; they are to be verified again.",
        takes.SetSettings,
        _set_settings,
        lambda each: f"Sets {', '.join(f'{name} to {value}' for name, value in each.settings.items()) or 'nothing'}",
        read_only=False,
    )
    yield role_tool(
        "execute",
        "verify",
        "The whole verifier, on a real kernel under stress, for the policy or draft with its settings.",
        takes.Verify,
        _verify,
        lambda _: "Proves it on a real kernel",
        cost_s=20,
    )
    yield role_tool(
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
    yield role_tool(
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
    return Result(text=source_of(library_policy(bench, given.name, source=True)), summary=f"The source of {given.name}")


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
    with stages_told(bench) as progress:
        stages, _ = static_stages(Path(policy.source), policy, progress)
    verdict = worst(each.verdict for each in stages)
    text = decisive(tuple(finding for stage in stages for finding in stage.findings))
    if verdict == "fail":
        return Result(
            text=f"{text}\n{bench.repairs_left} repairs left.",
            summary=first_error(stages),
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
    subject = subject_of(bench)
    settings = differing(subject.policy, check_settings(subject.policy, dict(given.settings)))
    if subject.report is not None:
        _take_repair(bench)
    bench.subject = replace(subject, settings=settings, report=None, obj=b"")
    return Result(text="Set. Now verify.", summary="Set")


def _verify(bench: Bench, _given: takes.Verify) -> Result:
    report = prove(bench)
    text = decisive(report.findings)
    if report.verdict == "fail":
        return Result(
            text=f"It did not pass.\n{text}\n{bench.repairs_left} repairs left.",
            summary=first_error(report.stages),
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


def _give_up(bench: Bench, given: takes.GiveUp) -> Result:
    bench.gave_up = given.reason
    return Result(text="Taken.", summary=given.reason)
