"""Findings quote what they judge, which may be hostile: here it becomes text of sane length that terminals may show."""

from __future__ import annotations

from msgspec.structs import replace

from schedtui.backend.model import Finding, Stage

_LONGEST_PLACE = 160
_LONGEST_SENTENCE = 1000
_LONGEST_DETAILS = 8000


def presentable(stage: Stage) -> Stage:
    """The stage, with what its findings quote made harmless: no control characters, and nothing without end."""
    return replace(
        stage,
        findings=tuple(_presentable(each) for each in stage.findings),
        summary=_tame(stage.summary, _LONGEST_SENTENCE),
    )


def _presentable(finding: Finding) -> Finding:
    return replace(
        finding,
        place=_tame(finding.place, _LONGEST_PLACE),
        meaning=_tame(finding.meaning, _LONGEST_SENTENCE),
        remedy=_tame(finding.remedy, _LONGEST_SENTENCE),
        details="\n".join(_tame(line, _LONGEST_SENTENCE) for line in finding.details[:_LONGEST_DETAILS].split("\n")),
    )


def _tame(text: str, longest: int) -> str:
    shown = "".join(
        each if each.isprintable() or each == "\t" else "\N{REPLACEMENT CHARACTER}" for each in text[:longest]
    )
    return shown if len(text) <= longest else f"{shown}…"
