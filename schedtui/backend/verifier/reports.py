"""Reports of the verifier: kept, found again, and told in plain text.

A report holds for one object, its settings, one kernel and one version of the verifier; one that failed before the
kernel stage for whichever settings and kernel, and where no object came to be, for the source. What is damaged on disk,
or was made by another version, counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from schedtui import paths
from schedtui.backend.model import Finding, KernelId, Report, Setting, Stage
from schedtui.backend.verifier.edition import rules_version as rules_version
from schedtui.backend.verifier.figures import BASELINE, figure_title, shown_figure

VERDICTS = {"pass": "passed", "warn": "passed with warnings", "fail": "failed"}
STAGES = {"source": "source", "object": "object", "bytecode": "logic", "kernel": "real kernel"}
_SEVERITIES = {"error": "wrong", "warning": "doubtful", "note": "note"}
_DETAIL_LINES = 30
_BEFORE_THE_KERNEL = "before-the-kernel.json"
_NOT_A_REPORT = (OSError, msgspec.DecodeError, UnicodeDecodeError)


def save(report: Report, source: str = "") -> None:
    """Keep it, in place of an earlier one of the same object, settings and kernel. What cannot be kept is not.

    ``source`` names the source of a report that has no object; see ``sandbox.source_key``.
    """
    named = report.digest or source
    if not named:
        return
    if report.kernel is None:
        report = replace(report, settings={}, quick=False)
        place = _folder(named) / _BEFORE_THE_KERNEL
    else:
        place = _folder(named) / f"{_key(report.settings, report.kernel, report.quick)}.json"
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".new-", delete=False) as new:
            try:
                new.write(msgspec.json.encode(report))
                new.close()
                Path(new.name).replace(place)
            except OSError:
                Path(new.name).unlink(missing_ok=True)


def forget_failure(named: str) -> None:
    """An object or a source failed before the kernel stage, and does so no more: that took too long, for one."""
    with contextlib.suppress(OSError):
        (_folder(named) / _BEFORE_THE_KERNEL).unlink()


def find(digest: str, settings: dict[str, Setting], kernel: KernelId, *, quick: bool = False) -> Report | None:
    """The report of this object with these settings on this kernel. A full one answers for a quick one as well."""
    for kind in (False, True) if quick else (False,):
        report = _read(_folder(digest) / f"{_key(settings, kernel, kind)}.json")
        if report and (report.digest, report.settings, report.quick) == (digest, settings, kind):
            return report
    return None


def of(*named: str) -> list[Report]:
    """All that hold for an object (by its digest) or a source (by its key), newest first, whichever settings and
    kernels."""
    found = []
    for name in named:
        with contextlib.suppress(OSError):
            read = [_read(path) for path in _folder(name).glob("*.json")]
            found += [each for each in read if each and each.digest in (name, "")]
    return sorted(found, key=lambda each: each.made_at, reverse=True)


def newest(limit: int = 100) -> list[Report]:
    """Of all that are kept, newest first."""
    found: list[Report] = []
    with contextlib.suppress(OSError):
        folders = sorted(_folder("").iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        for folder in folders[:limit]:
            found += of(folder.name)
    return sorted(found, key=lambda each: each.made_at, reverse=True)[:limit]


def _folder(digest: str) -> Path:
    return paths.data_dir() / "reports" / digest


def _key(settings: dict[str, Setting], kernel: KernelId, quick: bool) -> str:
    parts = [sorted(settings.items()), kernel.build_id, kernel.btf_hash, quick]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:24]


def _read(path: Path) -> Report | None:
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except _NOT_A_REPORT:
        return None
    return report if report.rules == rules_version() else None


def text(report: Report) -> str:
    """The report for a terminal without screens: verdict, what was found, what was measured, what it holds for."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    where = f" on Linux {report.kernel.release}" if report.kernel else ""
    how = " (a quick look: loaded, and run for a moment)" if report.quick else ""
    yield f"{report.name} {VERDICTS[report.verdict]}{where}{how}."
    if report.note:
        yield report.note
    order = ("error", "warning", "note")
    for each in sorted(report.findings, key=lambda finding: order.index(finding.severity)):
        yield ""
        yield from _finding_lines(each)
    yield ""
    yield from _stage_lines(report.stages)
    if any(stage.figures for stage in report.stages if stage.name == "kernel"):
        yield ""
        yield from _figure_lines(report.stages)
    yield ""
    settings = ", ".join(f"{name}={value}" for name, value in report.settings.items()) or "defaults"
    yield f"object    {report.digest or 'none came to be'}"
    yield f"settings  {settings}"
    if report.kernel:
        yield f"kernel    {report.kernel.release}, build {report.kernel.build_id}"
    yield f"made      {time.strftime('%Y-%m-%d %H:%M', time.localtime(report.made_at))}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    yield f"{_SEVERITIES[finding.severity]}: {finding.meaning}"
    yield f"  where    {finding.place} ({finding.rule})"
    if finding.remedy:
        yield f"  remedy   {finding.remedy}"
    details = finding.details.splitlines()
    for line in details[:_DETAIL_LINES]:
        yield f"  | {line}"
    if len(details) > _DETAIL_LINES:
        yield f"  | … {len(details) - _DETAIL_LINES} more lines; --json has them all"


def _stage_lines(stages: Iterable[Stage]) -> Iterator[str]:
    for each in stages:
        yield f"  {STAGES[each.name]:<12} {VERDICTS[each.verdict]:<21} {each.seconds:5.2f} s  {each.summary}"


def _figure_lines(stages: Iterable[Stage]) -> Iterator[str]:
    figures = {name: value for stage in stages if stage.name == "kernel" for name, value in stage.figures.items()}
    yield f"  {'measured':<40}{'policy':>12}{'EEVDF':>12}"
    for name, value in figures.items():
        if not name.startswith(BASELINE):
            beside = figures.get(BASELINE + name)
            other = "" if beside is None else f"{shown_figure(name, beside):>12}"
            yield f"  {figure_title(name):<40}{shown_figure(name, value):>12}{other}"
