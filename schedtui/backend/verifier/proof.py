"""A policy's proof for one machine: the report that is known already, else a new one, with the bytes that it is about.

Judging is verify.py's, keeping reports is reports.py's. What a proof is good for is the deployer's to say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from schedtui.backend.deploy import loadable
from schedtui.backend.errors import BadFile, CompileFailed
from schedtui.backend.library.starting import program_of
from schedtui.backend.machine import Machine, Progress
from schedtui.backend.model import KernelId, Loadable, MachineKind, Policy, Report, Setting, digest_of, worst
from schedtui.backend.verifier import reports
from schedtui.backend.verifier.verify import static_stages, verify_policy


class Proof(Struct, frozen=True, kw_only=True):
    """What the verifier found, and of what."""

    report: Report
    obj: Loadable
    """Exactly what was judged; empty when it failed."""
    known: bool
    """Whether the report was there already."""


def prove(
    policy: Policy,
    settings: Mapping[str, Setting],
    *,
    kernel_id: KernelId | None,
    kernel: Path | None = None,
    quick: bool = False,
    progress: Progress,
    kind: MachineKind = "lab",
    machine: Machine | None = None,
) -> Proof:
    """Judge the policy with these settings, on the lab's ``kernel`` (None: its own choice), for a machine of a kind.

    A host's ``machine``, which loads nothing but what it proved itself, does so instead. A report that is known for the
    machine's kernel (``kernel_id``) is found at once, and needs no guest. Raises what ``verify`` and
    ``Machine.certify`` raise, what ``progress`` raises, and BadFile when the source changed meanwhile.
    """
    if machine is not None and kind == "host" and machine.open(progress).can_load:
        from schedtui.backend.certifying import prove_on_host

        began = time.time()
        program = program_of(policy, dict(settings), kind) if policy.binary else None
        own = prove_on_host(machine, policy, settings, program=program, quick=quick, progress=progress)
        if own is not None:
            return Proof(report=own[0], obj=own[1], known=own[0].made_at < began)
    known = _known(policy, settings, kernel_id, quick, progress, kind)
    if known is None:
        (report,) = verify_policy(policy, dict(settings), kernels=(kernel,), quick=quick, progress=progress, kind=kind)
    else:
        report = known
    obj = b"" if report.verdict == "fail" else loadable(policy, dict(settings), kind)
    if obj and digest_of(obj) != report.digest:
        raise BadFile(f"{policy.name} changed while it was verified.", "Verify it again.")
    return Proof(report=report, obj=obj, known=known is not None)


def _known(
    policy: Policy,
    settings: Mapping[str, Setting],
    kernel_id: KernelId | None,
    quick: bool,
    progress: Progress,
    kind: MachineKind,
) -> Report | None:
    """One that is kept, for this kernel. The stages that run nothing are looked at anew."""
    if kernel_id is None:
        return None
    try:
        digest = digest_of(loadable(policy, dict(settings), kind))
    except CompileFailed:  # the verifier says it better
        return None
    found = reports.find(digest, dict(settings), kernel_id, quick=quick)
    if found is None:
        return None
    if policy.binary:
        return found
    fresh, _ = static_stages(Path(policy.source), policy, progress)
    stages = (*fresh, found.stages[-1])
    return replace(found, stages=stages, verdict=worst(each.verdict for each in stages))
