"""From a policy's file to its reports: every stage in turn, the first that fails ends it, once for each kernel.

What a stage does is its own module's. Reports are kept and found again by ``reports``.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.errors import BadFile
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.kernels import Kernel, fetch_kernel
from schedtui.backend.model import Finding, KernelId, Policy, Report, Setting, Stage, worst
from schedtui.backend.probes.kernel_id import read_kernel_id
from schedtui.backend.verifier import child, reports, sandbox, source
from schedtui.backend.verifier.kernel import EmulatorFailed, Trial

MATRIX = ("6.16", "6.17", "6.18", "6.19", "7.0", "7.2", "7.3")
"""The series of kernels that policies are proven on; docs/LAB.md tells of them."""
GUESTS = 3
"""So many guests are tried when the emulator makes one's kernel stop."""
LARGEST_OBJECT_BYTES = 16 << 20
"""What is larger is not read whole; the object stage refuses far smaller ones."""


def verify(
    path: Path,
    *,
    kernels: Sequence[Path | None] = (None,),
    settings: dict[str, Setting] | None = None,
    quick: bool = False,
    progress: Progress,
    policy: Policy | None = None,
    again: bool = False,
) -> list[Report]:
    """Judge a ``.bpf.c`` source or a compiled object; one report for each of ``kernels`` (None: the lab's own choice).

    ``settings`` must be within the policy's ranges. ``policy`` is the library's entry, for its name and tunables.
    ``quick`` only loads it and lets it run for a moment. A report that is known is not made ``again``. ``progress``
    gets what is done and the seconds since the call; what it raises ends the verification, and its guest.
    Raises SchedtuiError when it could not judge: BadFile, MissingTool, LabFailed, KernelUnsuitable, BadTunable.
    """
    began = time.monotonic()

    def say(words: str, _seconds: float = 0) -> None:
        progress(words, time.monotonic() - began)

    name = policy.name if policy else path.name.partition(".")[0]
    draft = Report(
        name=name,
        verdict="fail",
        digest="",
        settings=dict(settings or {}),
        kernel=None,
        stages=(),
        quick=quick,
        made_at=time.time(),
        rules=reports.rules_version(),
    )
    stages, obj = static_stages(path, policy, say)
    if obj is not None:
        draft = replace(draft, digest=hashlib.sha256(obj).hexdigest())
    source_key = sandbox.source_key(path.name, sandbox.read_source(path)) if path.suffix == ".c" else ""
    if obj is None or stages[-1].verdict == "fail":
        failed = replace(draft, stages=stages)
        reports.save(failed, source_key)
        return [failed]
    for named in filter(None, (draft.digest, source_key)):
        reports.forget_failure(named)
    return [_on_kernel(replace(draft, stages=stages), obj, each, again, say) for each in kernels]


def matrix(progress: Progress) -> list[Kernel]:
    """The newest kernel of each series of the matrix, fetched where it is not here. Raises LabFailed."""
    return [fetch_kernel(each, progress) for each in MATRIX]


def static_stages(path: Path, policy: Policy | None, say: Progress) -> tuple[tuple[Stage, ...], bytes | None]:
    """The stages that run nothing, up to the first that fails, and the object when there is one.

    Raises BadFile and MissingTool.
    """
    stages: tuple[Stage, ...] = ()
    with child.Child() as waiting:  # it starts while the compiler runs
        if path.suffix == ".c":
            say("reading and compiling the source", 0)
            first, obj = source.check_source(path)
            stages = (first,)
            if obj is None or first.verdict == "fail":
                return stages, None
        else:
            obj = _read_object(path)
        say("reading the compiled programs", 0)
        looked_at = waiting.examine(obj, policy.tunables if policy else None)
    for each in looked_at:
        stages = (*stages, each)
        if each.verdict == "fail":
            break
    return stages, obj


def _read_object(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_OBJECT_BYTES)
    except OSError as error:
        raise BadFile(
            f"{path} cannot be read: {error.strerror}.", "Give a .bpf.c source or a .bpf.o object."
        ) from error


def _on_kernel(draft: Report, obj: bytes, kernel: Path | None, again: bool, say: Progress) -> Report:
    for _ in range(GUESTS - 1):
        with contextlib.suppress(EmulatorFailed):
            return _in_one_guest(draft, obj, kernel, again, say)
    return _in_one_guest(draft, obj, kernel, again, say)


def _in_one_guest(draft: Report, obj: bytes, kernel: Path | None, again: bool, say: Progress) -> Report:
    with Trial(kernel, say) as trial:
        known = None if again else reports.find(draft.digest, draft.settings, trial.kernel_id, quick=draft.quick)
        last = known.stages[-1] if known else trial.judge(draft.name, obj, draft.settings, quick=draft.quick)
        stages = (*draft.stages, last)
        report = replace(
            draft,
            stages=stages,
            kernel=trial.kernel_id,
            verdict=worst(each.verdict for each in stages),
            quick=known.quick if known else draft.quick,
            made_at=known.made_at if known else time.time(),
        )
        if known is None:
            reports.save(report)
        return report if kernel else for_this_computer(report)


def for_this_computer(report: Report, own: KernelId | None = None) -> Report:
    """The report as it holds here: never better than with warnings where the kernel that runs is another one.

    ``own`` is this computer's kernel, read when it is not given. Without sched_ext here nothing can be loaded, so
    nothing is said.
    """
    own = own or (read_kernel_id() if Path("/sys/kernel/sched_ext").is_dir() else None)
    if own is None or report.kernel is None or _same(own, report.kernel):
        return report
    note = f"Proven on Linux {report.kernel.release}, not on this computer's {own.release}, which the lab cannot boot."
    finding = Finding(
        rule="not-this-kernel",
        severity="warning",
        place=own.release,
        meaning=note,
        remedy="Make this computer's kernel image readable, or give it with --kernels IMAGE.",
    )
    *before, last = report.stages
    last = replace(last, verdict=worst((last.verdict, "warn")), findings=(*last.findings, finding))
    return replace(report, stages=(*before, last), verdict=worst((report.verdict, "warn")), note=note)


def _same(one: KernelId, other: KernelId) -> bool:
    return (one.build_id, one.btf_hash) == (other.build_id, other.btf_hash)
