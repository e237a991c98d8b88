"""Presets: goals in a person's words, previewed before anything happens, then applied with visible stages."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from schedtui.act import Act
from schedtui.backend.deploy import Proposal, resolve
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.library.catalogue import Library
from schedtui.backend.model import Frame, MachineInfo, Preset, Scheduler, Setting, Tunable
from schedtui.messages import PresetWanted
from schedtui.screens.chooser import Chooser, Entry

ACT_TITLE = "Applying "


class PresetChoices:
    """The library's presets, as they stand on one machine."""

    heading = "Presets"
    asks = True
    act_title = ACT_TITLE
    empty = "The library holds no presets. The doctor (!) says what is wrong with it."
    leaving = "Leave it running"

    def __init__(self, library: Library, info: MachineInfo, scheduler: Scheduler | None) -> None:
        self.info = info
        self.scheduler = scheduler
        self._presets = library.presets
        self._proposals = {name: _proposal(library, name) for name in library.presets}
        self._release_asked = ""

    @property
    def latched(self) -> bool:
        """Whether a panic forbids every load until a person releases it."""
        return self.scheduler is not None and self.scheduler.latched

    def entries(self) -> list[Entry]:
        """The presets in the library's order; those that cannot be had say why."""
        return [self._entry(preset) for preset in self._presets.values()]

    def preview(self, entry_id: str) -> Content:
        """What the preset does and costs, with which policy and settings, what happens next and how to go back."""
        preset, proposal = self._presets[entry_id], self._proposals[entry_id]
        parts = [Content.styled(preset.title, "bold $text-primary"), Content(preset.does)]
        parts.append(_labelled("What it costs", preset.costs))
        if isinstance(proposal, SchedtuiError):
            parts.append(_labelled("Not available", f"{proposal.message} {proposal.remedy}", "$text-warning"))
            return _paragraphs(parts)
        parts.append(self._next(preset, proposal))
        return _paragraphs(parts + _policy(proposal))

    def verb(self, entry_id: str) -> str:
        """Apply, where it can be."""
        if not self._available(entry_id):
            return ""
        return "Release panic and apply" if self._needs_release(entry_id) else "Apply"

    def chosen(self, entry_id: str) -> Message | None:
        """Apply it. While panic is latched, the first ``enter`` only asks."""
        if self._needs_release(entry_id) and self._release_asked != entry_id:
            self._release_asked = entry_id
            return None
        release = self._needs_release(entry_id)
        self._release_asked = ""
        return PresetWanted(entry_id, release)

    def more_keys(self) -> list[tuple[str, str]]:
        """Where nothing can be loaded, the way to where it can."""
        return [] if self.info.can_load else [("m", "Machine")]

    def left(self) -> Message | None:
        """Applying goes on without its screen; F12 is what ends it."""
        return None

    def _entry(self, preset: Preset) -> Entry:
        proposal = self._proposals[preset.id]
        if isinstance(proposal, SchedtuiError):
            return Entry(preset.id, preset.title, proposal.message, available=False)
        return Entry(preset.id, preset.title, preset.summary, available=self._available(preset.id))

    def _available(self, entry_id: str) -> bool:
        return not isinstance(self._proposals[entry_id], SchedtuiError) and self.info.can_load

    def _needs_release(self, entry_id: str) -> bool:
        return self.latched and bool(self._presets[entry_id].choices)

    def _next(self, preset: Preset, proposal: Proposal) -> Content:
        own = self.info.default_scheduler
        if not self.info.can_load:
            where = "Open the lab (m) to try it." if self.info.kind == "replay" else "Press m to go there."
            return _labelled("Why not here", f"{self.info.reason} {where}", "$text-warning")
        if proposal.policy is None:
            return _labelled("What happens next", f"{own} takes over at once. Running programs notice nothing else.")
        if self._needs_release(preset.id):
            text = "F12 was pressed, so nothing is loaded until you release it. "
            if self._release_asked == preset.id:
                text += "Press enter once more: panic is released, and this is applied."
            else:
                text += "Enter asks you once more, then releases it and applies this."
            return _labelled("Panic is latched", text, "$text-warning")
        now = self.scheduler.name if self.scheduler else own
        where = "the lab's kernel" if self.info.kind == "lab" else "this computer's kernel"
        what = f"The policy is compiled on this computer and loaded into {where} in place of {now}, "
        return _paragraphs(
            [
                _labelled("What happens next", what + "and the kernel is asked what runs then."),
                _labelled("How to go back", f"F12 at any time, or u: {own} is back at once. Quitting does the same."),
            ]
        )


class PresetsScreen(Chooser):
    """The presets on the machine that is watched."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "app.machine", "Machine")]

    def __init__(
        self,
        library: Library,
        info: MachineInfo,
        scheduler: Scheduler | None,
        *,
        act: Act | None = None,
        selected: str = "",
    ) -> None:
        self._presets = PresetChoices(library, info, scheduler)
        super().__init__(self._presets, act=act, selected=selected)

    def show_frame(self, frame: Frame) -> None:
        """See show_scheduler."""
        self.show_scheduler(frame.scheduler)

    def show_scheduler(self, scheduler: Scheduler) -> None:
        """What runs, and whether panic is latched, changes what the preview must say."""
        before, self._presets.scheduler = self._presets.scheduler, scheduler
        if before is None or (before.name, before.latched) != (scheduler.name, scheduler.latched):
            self.refresh_choices()


def _proposal(library: Library, name: str) -> Proposal | SchedtuiError:
    try:
        return resolve(library, name, {})
    except SchedtuiError as error:
        return error


def _policy(proposal: Proposal) -> list[Content]:
    policy = proposal.policy
    if policy is None:
        return []
    parts = [_labelled(f"Policy: {policy.name}", f"{policy.summary} {proposal.reason}".strip())]
    if policy.tunables:
        lines = [_setting(each, proposal.settings.get(each.name, each.default)) for each in policy.tunables]
        parts.append(Content("\n").join([Content.styled("Settings", "bold $foreground 65%"), *lines]))
    if policy.limits:
        parts.append(_labelled("Limits", "\n".join(f"· {limit}" for limit in policy.limits)))
    return parts


def _setting(tunable: Tunable, value: Setting) -> Content:
    shown = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value) or "none"
    changed = "" if value == tunable.default else f" (default {tunable.default})"
    return Content.assemble(
        ("  " + tunable.name, "$text-accent"), f" {shown} {tunable.unit}".rstrip(), (changed, "$foreground 65%")
    )


def _labelled(label: str, text: str, style: str = "$foreground 65%") -> Content:
    return Content.assemble((label, f"bold {style}"), "\n", text)


def _paragraphs(parts: list[Content]) -> Content:
    return Content("\n\n").join(parts)
