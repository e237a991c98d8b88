"""A host's own proof, from the client's side: the object goes to the helper, and its report comes back.

The helper judges what was compiled, by its own verification; the source it never sees, so that is looked at here, for
whoever wrote it. What is proven is loaded by ``Machine.load``.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import HelperGone, MissingTool, SchedtuiError
from schedtui.backend.helper import jobs
from schedtui.backend.helper.client import HelperClient
from schedtui.backend.helper.protocol import EndProofs, Prove, ProveProgram
from schedtui.backend.helper.proving import LIMIT_S
from schedtui.backend.machine import Machine, Progress
from schedtui.backend.model import Loadable, Policy, Program, Report, Setting, Stage, worst
from schedtui.backend.verifier import reports
from schedtui.backend.verifier.findings import presentable
from schedtui.backend.verifier.verify import static_stages, verify

_TELL_EVERY_S = 0.2
_END_LIMIT_S = 5.0
_PATIENCE_S = 2 * LIMIT_S + 300
"""For the helper's answer: another verification may be under way, and a person may be asked."""


def ask_helper(
    client: HelperClient,
    name: str,
    obj: Loadable,
    settings: Mapping[str, Setting],
    progress: Progress,
    *,
    quick: bool,
    generated: bool,
) -> Report:
    """The helper's report on exactly this. Raises what the helper does, NotPermitted for instance, and what
    ``progress`` does: then the helper ends it."""
    with contextlib.ExitStack() as opened:
        asked: Prove | ProveProgram
        files: tuple[int, ...] = ()
        if isinstance(obj, Program):
            asked = ProveProgram(name=name, goal=obj.goal, settings=dict(settings), quick=quick)
        else:
            asked = Prove(name=name, settings=dict(settings), quick=quick, generated=generated)
            files = (jobs.sealed(obj),)
            opened.callback(os.close, files[0])
        report = _answer(client, asked, files, progress)
    if report is None:
        raise HelperGone("The helper answered without a report.", "Update both to the same schedtui.")
    return replace(report, stages=tuple(presentable(each) for each in report.stages))


def _answer(
    client: HelperClient, asked: Prove | ProveProgram, files: tuple[int, ...], progress: Progress
) -> Report | None:
    """What comes of it. ``progress`` is called in this thread, again and again, so that it can end the wait."""
    began, words = time.monotonic(), ["asking the helper"]
    waiting = ThreadPoolExecutor(1, "certify")
    try:
        call = waiting.submit(client.call, asked, _PATIENCE_S, progress=words.append, fds=files)
        while not wait((call,), _TELL_EVERY_S).done:
            progress(words[-1], time.monotonic() - began)
        return call.result().report
    except BaseException:
        with contextlib.suppress(SchedtuiError):
            client.call(EndProofs(), _END_LIMIT_S)
        raise
    finally:
        waiting.shutdown(wait=False)


def prove_on_host(
    machine: Machine,
    policy: Policy,
    settings: Mapping[str, Setting],
    *,
    program: Program | None,
    quick: bool,
    progress: Progress,
) -> tuple[Report, Loadable] | None:
    """The report of the machine's own proof, and what it is about; None where the machine proves nothing.

    ``program`` is what a policy of others is started as. When a source or its object fails here already, the machine is
    not asked. Raises what ``verify`` and ``Machine.certify`` raise.
    """
    own: tuple[Stage, ...] = ()
    obj: Loadable | None = program
    if program is None:
        stages, obj = _looked_at(policy, progress)
        if obj is None or worst(each.verdict for each in stages) == "fail":
            (failed,) = verify(
                Path(policy.source), settings=dict(settings), quick=quick, progress=progress, policy=policy
            )
            return failed, b""
        own = tuple(each for each in stages if each.name == "source")
    assert obj is not None
    generated = policy.origin != "built-in"
    found = machine.certify(policy.name, obj, dict(settings), progress, quick=quick, generated=generated)
    if found is None:
        return None
    verdict = worst((*(each.verdict for each in own), found.verdict))
    report = replace(found, stages=(*own, *found.stages), verdict=verdict)
    reports.save(report)
    return report, b"" if verdict == "fail" else obj


def _looked_at(policy: Policy, progress: Progress) -> tuple[tuple[Stage, ...], bytes | None]:
    """What can be said of a source without running it. One that ships needs no look where the compiler has gone."""
    try:
        return static_stages(Path(policy.source), policy, progress)
    except MissingTool:
        if policy.origin != "built-in":
            raise
        return (), compile_bpf(Path(policy.source))
