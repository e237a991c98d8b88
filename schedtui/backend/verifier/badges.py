"""What is proven of a policy, in a line for each kernel: the library's badges, for screens and for commands."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.model import KernelId, Policy, Report, Setting, Verdict, digest_of
from schedtui.backend.verifier import reports

UNVERIFIED = "not verified yet"
MOST_SETTINGS = 4
"""Lines about other settings than the defaults."""
_SIGNS: dict[Verdict, str] = {"pass": "✓", "warn": "!", "fail": "✗"}


def reports_of(policy: Policy) -> tuple[Report, ...]:
    """Those of its object or program, newest first, and where it could not be compiled, that of its source.

    Compiles what is not compiled yet. What cannot be read is missing.
    """
    from schedtui.backend.deploy import loadable
    from schedtui.backend.verifier import sandbox

    named = []
    with contextlib.suppress(SchedtuiError):
        if policy.source:
            path = Path(policy.source)
            named.append(sandbox.source_key(path.name, sandbox.read_source(path)))
        named.append(digest_of(loadable(policy, {})))
    return tuple(reports.of(*named))


def newest_by_kernel(found: Sequence[Report]) -> list[Report]:
    """Of reports (newest first) the newest of each kind for each kernel and each choice of settings."""
    kept: dict[tuple[str, str, bool], Report] = {}
    for report in found:
        kernel = report.kernel.btf_hash if report.kernel else ""
        kept.setdefault((kernel, _with_settings(report), report.quick), report)
    return list(kept.values())


def lines(found: Sequence[Report]) -> list[str]:
    """A line for each kernel and settings that ``found`` (newest first) tells of; that nothing is proven, otherwise."""
    newest = newest_by_kernel(found)
    of_defaults = [line(each) for each in newest if not each.settings]
    others = [line(each) for each in newest if each.settings][:MOST_SETTINGS]
    if not of_defaults:
        of_defaults = [f"? {UNVERIFIED} with its defaults" if others else f"? {UNVERIFIED}"]
    return of_defaults + others


def line(report: Report) -> str:
    """``✓ 6.18.15  proven  2026-11-21``."""
    kernel = short_release(report.kernel) or "any kernel"
    return f"{_SIGNS[report.verdict]} {kernel}  {words(report)}  {made_on(report)}"


def words(report: Report) -> str:
    """What came out, in a few words."""
    settings = _with_settings(report)
    if report.verdict == "fail":
        rules = dict.fromkeys(each.rule for each in report.findings if each.severity == "error")
        return f"failed{settings}: {', '.join(rules)}"
    if report.quick:
        return f"loads, and ran for a moment{settings}; not put under stress"
    if report.verdict == "pass":
        return f"proven{settings}"
    warnings = sum(each.severity == "warning" for each in report.findings)
    return f"passes{settings}, with {warnings} warning{'' if warnings == 1 else 's'}"


def made_on(report: Report) -> str:
    """The day, here."""
    return time.strftime("%Y-%m-%d", time.localtime(report.made_at))


def short_release(kernel: KernelId | None) -> str:
    """A kernel's number: ``6.18.15`` of ``6.18.15+deb13-cloud-amd64``."""
    return plain_release(kernel.release) if kernel else ""


def plain_release(release: str) -> str:
    """See short_release."""
    return release.partition("+")[0].partition("-")[0]


def _with_settings(report: Report) -> str:
    """The settings that it was proven with, unless they are the defaults."""
    chosen = [f"{name} = {_shown(value)}" for name, value in sorted(report.settings.items())]
    return f" with {', '.join(chosen)}" if chosen else ""


def _shown(value: Setting) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value) or "none"
