"""From a policy's file to its reports: every stage in turn, the first that fails ends it, once for each kernel.

What a stage does is its own module's. Reports are kept and found again by ``reports``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.errors import BadFile
from schedtui.backend.library.starting import program_of
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.kernels import Kernel, fetch_kernel
from schedtui.backend.model import KernelId, Loadable, MachineKind, Policy, Program, Report, Setting, Stage, worst
from schedtui.backend.probes.kernel_id import read_kernel_id
from schedtui.backend.verifier import child, reports, sandbox, source
from schedtui.backend.verifier.holding import on_kernel
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
    judged = replace(draft, stages=stages)
    return [
        _whatever_the_emulator_does(functools.partial(_on_kernel, judged, obj, each, again, say)) for each in kernels
    ]


def verify_object(
    name: str, obj: bytes, settings: dict[str, Setting], *, kernel: Path, quick: bool, progress: Progress
) -> Report:
    """Judge bytes that somebody else compiled, on one kernel image; no report is looked up or kept.

    Raises SchedtuiError when it could not judge, and what ``progress`` raises to end it.
    """
    began = time.monotonic()

    def say(words: str, _seconds: float = 0) -> None:
        progress(words, time.monotonic() - began)

    say("reading the compiled programs")
    stages = _until_failure(child.examine(obj))
    draft = Report(
        name=name,
        verdict="fail",
        digest=hashlib.sha256(obj).hexdigest(),
        settings=dict(settings),
        kernel=None,
        stages=stages,
        quick=quick,
        made_at=time.time(),
        rules=reports.rules_version(),
    )
    if stages[-1].verdict == "fail":
        return draft
    return _whatever_the_emulator_does(functools.partial(_on_image, draft, obj, kernel, say))


def verify_program(
    program: Program,
    settings: dict[str, Setting],
    *,
    kernels: Sequence[Path | None] = (None,),
    quick: bool = False,
    progress: Progress,
    again: bool = False,
) -> list[Report]:
    """Judge an external scheduler by the last stage alone: that very program, with its arguments, on real kernels.

    See ``verify``; raises BadFile as well when the program has changed meanwhile.
    """
    began = time.monotonic()

    def say(words: str, _seconds: float = 0) -> None:
        progress(words, time.monotonic() - began)

    draft = Report(
        name=program.name,
        verdict="fail",
        digest=program.digest,
        settings=dict(settings),
        kernel=None,
        stages=(),
        quick=quick,
        made_at=time.time(),
        rules=reports.rules_version(),
    )
    return [
        _whatever_the_emulator_does(functools.partial(_on_kernel, draft, program, each, again, say)) for each in kernels
    ]


def verify_policy(
    policy: Policy,
    settings: dict[str, Setting],
    *,
    kernels: Sequence[Path | None] = (None,),
    quick: bool = False,
    progress: Progress,
    again: bool = False,
    kind: MachineKind = "lab",
) -> list[Report]:
    """Judge an entry of the library, for a machine of that kind: ``verify`` its source, or ``verify_program``."""
    if policy.binary:
        program = program_of(policy, settings, kind)
        return verify_program(program, settings, kernels=kernels, quick=quick, progress=progress, again=again)
    return verify(
        Path(policy.source),
        kernels=kernels,
        settings=settings,
        quick=quick,
        progress=progress,
        policy=policy,
        again=again,
    )


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
    return _until_failure((*stages, *looked_at)), obj


def _until_failure(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Those up to the first that fails: what comes after it says nothing."""
    failed = next((at for at, each in enumerate(stages) if each.verdict == "fail"), len(stages))
    return stages[: failed + 1]


def _read_object(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_OBJECT_BYTES)
    except OSError as error:
        raise BadFile(
            f"{path} cannot be read: {error.strerror}.", "Give a .bpf.c source or a .bpf.o object."
        ) from error


def _whatever_the_emulator_does(judge: Callable[[], Report]) -> Report:
    for _ in range(GUESTS - 1):
        with contextlib.suppress(EmulatorFailed):
            return judge()
    return judge()


def _on_kernel(draft: Report, obj: Loadable, kernel: Path | None, again: bool, say: Progress) -> Report:
    with Trial(kernel, say) as trial:
        known = None if again else reports.find(draft.digest, draft.settings, trial.kernel_id, quick=draft.quick)
        report = _with_last_stage(draft, known.stages[-1], trial.kernel_id) if known else _judged(trial, draft, obj)
        if known is None:
            reports.save(report)
        else:
            report = replace(report, quick=known.quick, made_at=known.made_at)
        return report if kernel else for_this_computer(report)


def _on_image(draft: Report, obj: Loadable, kernel: Path, say: Progress) -> Report:
    with Trial(kernel, say) as trial:
        return _judged(trial, draft, obj)


def _judged(trial: Trial, draft: Report, obj: Loadable) -> Report:
    return _with_last_stage(draft, trial.judge(draft.name, obj, draft.settings, quick=draft.quick), trial.kernel_id)


def _with_last_stage(draft: Report, last: Stage, kernel: KernelId) -> Report:
    stages = (*draft.stages, last)
    verdict = worst(each.verdict for each in stages)
    return replace(draft, stages=stages, kernel=kernel, verdict=verdict, made_at=time.time())


def for_this_computer(report: Report, own: KernelId | None = None) -> Report:
    """The report as it holds here: never better than with warnings where the kernel that runs is another one.

    ``own`` is this computer's kernel, read when it is not given. Without sched_ext here nothing can be loaded, so
    nothing is said.
    """
    own = own or (read_kernel_id() if Path("/sys/kernel/sched_ext").is_dir() else None)
    return report if own is None else on_kernel(report, own)
