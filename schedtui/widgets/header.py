"""The header: which machine this is, and which scheduler it runs, since when, put there by whom.

The scheduler is the one that the kernel reports. Where nothing can be loaded, the header says so; the reason in full is
for the screens.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from schedtui.backend.model import Deployment, Frame, MachineInfo, Scheduler
from schedtui.units import span
from schedtui.widgets.cells import width_of
from schedtui.widgets.glyphs import Glyphs
from schedtui.widgets.panel import Line, Strips

_KINDS = {"host": "this computer", "lab": "LAB", "replay": "RECORDED"}


class Part(NamedTuple):
    """A piece of the header. ``rank`` 0 always stays; of the others, the highest go first when there is no room."""

    rank: int
    spans: Line


class HeaderBar(Strips):
    """One line over everything."""

    DEFAULT_CSS = """
    HeaderBar { height: 1; dock: top; }
    """
    filler = "head"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._info: MachineInfo | None = None
        self._frame: Frame | None = None
        self._deployment: Deployment | None = None

    def show(self, info: MachineInfo, frame: Frame | None) -> None:
        """Show the machine, and the scheduler of its newest frame when there is one."""
        self._info, self._frame = info, frame
        self.redraw()

    def show_deployment(self, deployment: Deployment) -> None:
        """Show what became of the scheduler that runs, when it is this one."""
        self._deployment = deployment
        self.redraw()

    def reset(self) -> None:
        """Forget the machine."""
        self._info = self._frame = self._deployment = None
        self.redraw()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        left = [Part(0, [(" schedtui ", "head-brand")])]
        right: list[Part] = []
        if self._info is not None:
            left += machine_parts(self._info)
            if self._frame is not None:
                right = scheduler_parts(self._info, self._frame, self.glyphs, self._deployment)
        return [_arranged(left, right, width)]


def machine_parts(info: MachineInfo) -> list[Part]:
    """Where we are, most telling first; data that is not this computer's own stands out."""
    kind = _KINDS[info.kind]
    parts = [Part(0, [(f" {kind} ", "head-strong" if info.kind == "host" else "badge")])]
    if info.name and info.name.lower() not in (kind.lower(), info.kind):
        parts.append(Part(5, [(f" {info.name} ·", "head")]))
    parts.append(Part(3, [(f" Linux {info.kernel}", "head")]))
    if info.cpus:
        parts.append(Part(4, [(f" · {len(info.cpus)} CPU{'s' * (len(info.cpus) > 1)}", "head")]))
    if info.memory_mib:
        parts.append(Part(9, [(f" · {memory(info.memory_mib)}", "head-muted")]))
    if info.note:
        parts.append(Part(8, [(f" · {info.note}", "head-muted")]))
    return parts


def scheduler_parts(
    info: MachineInfo, frame: Frame, glyphs: Glyphs, deployment: Deployment | None = None
) -> list[Part]:
    """The scheduler, by sign, name and words; ``deployment`` is the newest, which may be how it came to run."""
    scheduler = frame.scheduler
    sign, role = _sign(scheduler, glyphs)
    parts = [Part(7, [("scheduler ", "head-muted")]), Part(0, [(f"{sign} {scheduler.name}", role)])]
    if scheduler.sched_ext in ("enabling", "disabling"):
        parts.append(Part(1, [(f" {scheduler.sched_ext}…", "head-warning")]))
    standing = _standing(scheduler, deployment)
    if standing == "canary":
        parts.append(Part(1, [("  canary", "head-warning")]))
    elif standing == "kept":
        parts.append(Part(4, [("  kept", "head-good")]))
    since = deployment.changed if deployment and standing == "kept" else scheduler.since
    if since is not None:
        now = frame.time if info.kind == "replay" else max(frame.time, time.time())
        parts.append(Part(5, [(f" {span(now - since)}" if standing else f"  {span(now - since)}", "head")]))
    owner = f"by {whom(deployment.asked_by)}" if deployment and standing else owner_words(scheduler)
    rank = 3 if "over MCP" in owner else 6
    parts.append(Part(rank, [(f"  ({owner})", "head-muted")]))
    if scheduler.latched:
        parts.append(Part(0, [("  ", "head"), (f" {glyphs.stopped} PANIC latched ", "alarm")]))
    elif not info.can_load and info.kind != "replay":
        parts.append(Part(2, [("  watch only", "head-warning")]))
    return [*parts, Part(0, [(" ", "head")])]


def _sign(scheduler: Scheduler, glyphs: Glyphs) -> tuple[str, str]:
    return {
        "enabled": (glyphs.on, "head-good"),
        "disabled": (glyphs.off, "head-strong"),
        "enabling": (glyphs.changing, "head-warning"),
        "disabling": (glyphs.changing, "head-warning"),
        "unsupported": (glyphs.off, "head-strong"),
    }[scheduler.sched_ext]


def _standing(scheduler: Scheduler, deployment: Deployment | None) -> str:
    """``canary`` or ``kept``, when the deployment is what runs; else nothing."""
    if deployment is None or deployment.state not in ("canary", "kept") or scheduler.sched_ext != "enabled":
        return ""
    ours = (scheduler.owner, scheduler.digest) == ("schedtui", deployment.digest)
    return deployment.state if ours else ""


def whom(asked_by: str) -> str:
    """Who asked for a deployment, in words."""
    if asked_by.startswith("mcp:"):
        return f"{asked_by.removeprefix('mcp:')} over MCP"
    return "you" if asked_by == "person" else asked_by


def owner_words(scheduler: Scheduler) -> str:
    """Who put the scheduler there, in words."""
    if scheduler.owner == "kernel":
        return "the kernel's own"
    if scheduler.owner == "schedtui":
        return "by you"
    return f"by {scheduler.owner}"


def memory(mib: int) -> str:
    """Memory as people say it: ``512 MB``, ``16 GB``."""
    return f"{mib} MB" if mib < 1000 else f"{mib / 1024:.0f} GB"


def _arranged(left: list[Part], right: list[Part], width: int) -> Line:
    """Both ends in one line, without the parts that there is no room for."""
    while _width(left) + _width(right) + 1 > width:
        least = max((*left, *right), key=lambda part: part.rank)
        if not least.rank:
            break
        (left if least in left else right).remove(least)
    line = [span for part in left for span in part.spans]
    line.append((" " * max(1, width - _width(left) - _width(right)), "head"))
    return line + [span for part in right for span in part.spans]


def _width(parts: list[Part]) -> int:
    return sum(width_of(text) for part in parts for text, _ in part.spans)
