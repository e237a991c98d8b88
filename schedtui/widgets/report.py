"""A verifier's report as a person reads it: the verdict first, then what was found, measured and looked at.

Draws Reports; runs nothing. The plain-text twin for scripts is ``backend.verifier.reports.text``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from schedtui.backend.model import Finding, Report, Severity, Stage, StageName, Verdict
from schedtui.backend.verifier import badges
from schedtui.backend.verifier.badges import UNVERIFIED, newest_by_kernel, short_release
from schedtui.backend.verifier.figures import BASELINE, figure_title, shown_figure
from schedtui.widgets.glyphs import choose_glyphs

MUTED = "$foreground 65%"
STAGES: dict[StageName, tuple[str, str]] = {
    "source": ("Source", "uses nothing but schedtui's own header"),
    "object": ("Object", "asks for nothing that a scheduler can do without"),
    "bytecode": ("Logic", "loses no program, forgets no queue"),
    "kernel": ("Real kernel", "holds out under stress in the lab"),
}
"""What a stage is called, and what passing it means."""
QUICKLY = "can be loaded in the lab, and runs for a moment"
"""What passing the last stage means when it was only a quick check."""
_STYLES: dict[Verdict, str] = {"pass": "$text-success", "warn": "$text-warning", "fail": "$text-error"}
_SEVERITIES: dict[Severity, tuple[str, str]] = {
    "error": ("Error", "bold $text-error"),
    "warning": ("Warning", "bold $text-warning"),
    "note": ("Note", "bold $foreground 65%"),
}
_DETAIL_LINES = 40


Part = tuple[Content, str]
"""A paragraph, and the class of its margins: ``title`` for one that the next belongs to, ``inner`` for one set in."""


class ReportView(Vertical):
    """A report, paragraph below paragraph."""

    DEFAULT_CSS = """
    ReportView { height: auto; }
    ReportView Static { height: auto; margin: 0 0 1 0; }
    ReportView .title { margin: 0; }
    ReportView .inner { padding: 0 0 0 4; }
    """

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def compose(self) -> ComposeResult:
        """A paragraph a widget, so that each wraps within its own margins."""
        for content, margins in report_parts(self._report):
            yield Static(content, classes=margins)


def report_parts(report: Report) -> list[Part]:
    """The whole report."""
    parts = [(_verdict(report), "")]
    if report.note:
        parts.append((Content.styled(report.note, "$text-warning"), ""))
    shown = sorted(report.findings, key=lambda each: ("error", "warning", "note").index(each.severity))
    bad = [each for each in shown if each.severity != "note"]
    parts += _titled("What was found", bad)
    looked_at = [_stage(each, quick=report.quick) for each in report.stages]
    parts.append((_lines([_heading("What was looked at"), *looked_at, *_not_reached(report)]), ""))
    parts += [(_figures(stage.figures), "") for stage in report.stages if stage.figures and stage.name == "kernel"]
    parts += _titled("Good to know", shown[len(bad) :])
    parts.append((_bound_to(report), ""))
    return parts


def verdict_sentence(report: Report) -> str:
    """The verdict in words: what came out, on which kernel."""
    where = f" on Linux {short_release(report.kernel)}" if report.kernel else ""
    if report.verdict == "fail":
        stage = next((each.name for each in report.stages if each.verdict == "fail"), None)
        return f"{report.name} failed{where}" + (f" at “{STAGES[stage][0]}”" if stage else "")
    if report.verdict == "warn":
        warnings = sum(each.severity == "warning" for each in report.findings)
        return f"{report.name} passed{where}, with {_counted(warnings, 'warning')}"
    return f"{report.name} passed{where}"


def badge(verdict: Verdict | None) -> tuple[str, str]:
    """A sign of one cell for a verdict, and its style; for none, that it is not known."""
    glyphs = choose_glyphs()
    if verdict is None:
        return glyphs.info, MUTED
    return {"pass": glyphs.good, "warn": glyphs.warning, "fail": glyphs.bad}[verdict], _STYLES[verdict]


def badge_lines(reports: Sequence[Report]) -> Content:
    """A line for each kernel and settings that ``reports`` (newest first) tell of; of several, the newest."""
    newest = newest_by_kernel(reports)
    of_defaults = [_badge_line(each) for each in newest if not each.settings]
    others = [_badge_line(each) for each in newest if each.settings][: badges.MOST_SETTINGS]
    if not of_defaults:
        sign, style = badge(None)
        unverified = f"{UNVERIFIED} with its defaults" if others else UNVERIFIED
        of_defaults = [Content.assemble((f"{sign} ", style), unverified)]
    return _lines(of_defaults + others)


def outcome_lines(reports: Sequence[Report]) -> Content:
    """What came out on each kernel, a line each, in their order."""
    return _lines([_heading("On each kernel"), *map(_badge_line, reports)])


def _badge_line(report: Report) -> Content:
    sign, style = badge(report.verdict)
    kernel = short_release(report.kernel) or "any kernel"
    return Content.assemble(
        (f"{sign} ", style), (f"{kernel}  ", "bold"), badges.words(report), (f"  {badges.made_on(report)}", MUTED)
    )


def _verdict(report: Report) -> Content:
    sign, style = badge(report.verdict)
    title = Content.styled(f"{sign} {verdict_sentence(report)}", f"bold {style}")
    return Content.assemble(title, "\n", _meaning(report))


def _meaning(report: Report) -> str:
    if report.verdict == "fail":
        return "It should not run on anybody's computer as it is. This one was never touched by it."
    if report.quick:
        return "This was the quick check: it was loaded and ran for a moment, and was not put under stress."
    if report.verdict == "warn":
        return "It may be used. Read first what was found, and keep F12 in mind."
    return (
        "Under stress on a real kernel nothing was lost, nothing starved, and nothing was far slower than under "
        "the kernel's own scheduler."
    )


def _stage(stage: Stage, *, quick: bool) -> Content:
    sign, style = badge(stage.verdict)
    title, meaning = STAGES[stage.name]
    about = "see above" if stage.verdict == "fail" else meaning
    if stage.name == "kernel" and stage.summary and stage.verdict != "fail":
        about = QUICKLY if quick else f"holds out under stress: {stage.summary}"
    return Content.assemble(
        (f" {sign}  ", style), (f"{title:<12}", "bold"), (f"{stage.seconds:5.1f} s  ", MUTED), about
    )


def _not_reached(report: Report) -> list[Content]:
    """Stages after the one that failed; a source stage is missing where there was only an object."""
    if report.verdict != "fail":
        return []
    reached = [each.name for each in report.stages]
    order = list(STAGES)
    last = max((order.index(name) for name in reached), default=-1)
    sign = choose_glyphs().info
    return [
        Content.assemble((f" {sign}  ", MUTED), (f"{STAGES[name][0]:<12}", MUTED), ("         not reached", MUTED))
        for name in order[last + 1 :]
    ]


def _finding(finding: Finding) -> tuple[Content, Content]:
    word, style = _SEVERITIES[finding.severity]
    glyphs = choose_glyphs()
    sign = {"error": glyphs.bad, "warning": glyphs.warning, "note": glyphs.info}[finding.severity]
    heading = Content.assemble(
        (f" {sign}  {word}", style),
        (f"  {finding.rule}", "bold"),
        (f"  {finding.place}" if finding.place else "", MUTED),
    )
    lines = [Content(finding.meaning)]
    if finding.remedy:
        lines.append(Content.assemble(("What to do: ", "bold"), finding.remedy))
    details = finding.details.splitlines()
    cut = [f"… {len(details) - _DETAIL_LINES} more lines"] if len(details) > _DETAIL_LINES else []
    lines += [Content.styled(line, MUTED) for line in [*details[:_DETAIL_LINES], *cut]]
    return heading, _lines(lines)


def _figures(figures: dict[str, float]) -> Content:
    """What was measured, with the kernel's own scheduler beside it where that was measured too."""
    rows = [(name, value, figures.get(BASELINE + name)) for name, value in figures.items()]
    rows = [row for row in rows if not row[0].startswith(BASELINE)]
    width = max(len(figure_title(name)) for name, _, _ in rows)
    beside = any(other is not None for _, _, other in rows)
    columns = f"{'policy':>13}{'EEVDF':>11}" if beside else ""
    title = "Measured in the lab"
    lines = [Content.assemble(_heading(title), (f"{'':{max(0, width + 4 - len(title))}}{columns}", MUTED))]
    for name, value, other in rows:
        shown = f"    {figure_title(name):<{width}}{shown_figure(name, value):>13}"
        lines.append(Content.assemble(shown, (f"{shown_figure(name, other):>11}" if other is not None else "", MUTED)))
    return _lines(lines)


def _bound_to(report: Report) -> Content:
    """What the report holds for, and nothing else."""
    settings = ", ".join(f"{name} = {value}" for name, value in report.settings.items()) or "the defaults"
    lines = [_heading("What this holds for"), Content(f"    settings  {settings}")]
    if report.kernel:
        lines.append(Content(f"    kernel    {report.kernel.release}, build {report.kernel.build_id[:12]}"))
    if report.digest:
        lines.append(Content(f"    object    {report.digest[:12]}"))
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.made_at))
    lines.append(Content(f"    made      {made}, rules {report.rules}"))
    return _lines(lines)


def _titled(title: str, findings: list[Finding]) -> list[Part]:
    parts: list[Part] = []
    for number, finding in enumerate(findings):
        heading, text = _finding(finding)
        parts.append((heading if number else _lines([_heading(title), heading]), "title"))
        parts.append((text, "inner"))
    return parts


def _heading(text: str) -> Content:
    return Content.styled(text, "bold $text-primary")


def _lines(lines: list[Content]) -> Content:
    return Content("\n").join(lines)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
