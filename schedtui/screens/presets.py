"""Presets: goals in a person's words, previewed before anything happens, then applied with visible stages."""

from __future__ import annotations

from pathlib import Path

from textual.content import Content
from textual.message import Message

from schedtui.act import Act
from schedtui.backend.deploy import Proposal, resolve
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.library.catalogue import Library
from schedtui.backend.model import MachineInfo, Policy, Preset, Scheduler, Setting
from schedtui.messages import PresetWanted
from schedtui.screens.chooser import ROOM_FOR_REMARKS, Entry
from schedtui.screens.policies import ACT_TITLE, PolicyChooser, Release, policy_keys, what_happens
from schedtui.widgets.policy import labelled, paragraphs, settings_lines


class PresetChoices:
    """The library's presets, as they stand on one machine."""

    heading = "Presets"
    asks = True
    remarks_from = ROOM_FOR_REMARKS
    act_title = ACT_TITLE
    empty: str | Content = "The library holds no presets. The doctor (!) says what is wrong with it."
    leaving = "Leave it running"

    def __init__(self, library: Library, info: MachineInfo, scheduler: Scheduler | None) -> None:
        self.info = info
        self.scheduler = scheduler
        self._presets = library.presets
        self._proposals = {name: _proposal(library, name) for name in library.presets}
        self._release = Release()

    @property
    def latched(self) -> bool:
        """Whether a panic forbids every load until a person releases it."""
        return self.scheduler is not None and self.scheduler.latched

    def entries(self) -> list[Entry]:
        """The presets in the library's order; those that cannot be had say why."""
        return [self.entry(preset) for preset in self._presets.values()]

    def entry(self, preset: Preset) -> Entry:
        """A preset in the list."""
        proposal = self._proposals[preset.id]
        if isinstance(proposal, SchedtuiError):
            return Entry(preset.id, preset.title, proposal.message, available=False)
        return Entry(preset.id, preset.title, preset.summary, available=self._available(preset.id))

    def preview(self, entry_id: str) -> Content:
        """What the preset does and costs, with which policy and settings, what happens next and how to go back."""
        preset, proposal = self._presets[entry_id], self._proposals[entry_id]
        parts = [Content.styled(preset.title, "bold $text-primary"), Content(preset.does)]
        parts.append(labelled("What it costs", preset.costs))
        if isinstance(proposal, SchedtuiError):
            parts.append(labelled("Not available", f"{proposal.message} {proposal.remedy}", "$text-warning"))
            return paragraphs(parts)
        latched, asked = self._needs_release(entry_id), self._release.asked(entry_id)
        parts.append(what_happens(self.info, self.scheduler, proposal.policy, latched=latched, asked=asked))
        return paragraphs(parts + _policy(proposal))

    def verb(self, entry_id: str) -> str:
        """Apply, where it can be."""
        if not self._available(entry_id):
            return ""
        return "Release panic and apply" if self._needs_release(entry_id) else "Apply"

    def chosen(self, entry_id: str) -> Message | None:
        """Apply it. While panic is latched, the first ``enter`` only asks."""
        release = self._needs_release(entry_id)
        if release and not self._release.granted(entry_id):
            return None
        return PresetWanted(entry_id, release)

    def more_keys(self, entry_id: str) -> list[tuple[str, str]]:
        """The policy's; and where nothing can be loaded, the way to where it can."""
        found = self.policy_of(entry_id)
        return policy_keys(found and found[0]) + ([] if self.info.can_load else [("m", "Machine")])

    def left(self) -> Message | None:
        """Applying goes on without its screen; F12 is what ends it."""
        return None

    def policy_of(self, entry_id: str) -> tuple[Policy, dict[str, Setting]] | None:
        """The policy that serves the preset, with the preset's settings."""
        proposal = self._proposals.get(entry_id)
        if not isinstance(proposal, Proposal) or proposal.policy is None:
            return None
        return proposal.policy, proposal.settings

    def _available(self, entry_id: str) -> bool:
        return not isinstance(self._proposals[entry_id], SchedtuiError) and self.info.can_load

    def _needs_release(self, entry_id: str) -> bool:
        return self.latched and bool(self._presets[entry_id].choices)


class PresetsScreen(PolicyChooser):
    """The presets on the machine that is watched."""

    def __init__(
        self,
        library: Library,
        info: MachineInfo,
        scheduler: Scheduler | None,
        *,
        act: Act | None = None,
        selected: str = "",
        kernel: Path | None = None,
    ) -> None:
        super().__init__(PresetChoices(library, info, scheduler), act=act, selected=selected, kernel=kernel)


def _proposal(library: Library, name: str) -> Proposal | SchedtuiError:
    try:
        return resolve(library, name, {})
    except SchedtuiError as error:
        return error


def _policy(proposal: Proposal) -> list[Content]:
    policy = proposal.policy
    if policy is None:
        return []
    parts = [labelled(f"Policy: {policy.name}", f"{policy.summary} {proposal.reason}".strip())]
    parts += settings_lines(policy, proposal.settings)
    if policy.limits:
        parts.append(labelled("Limits", "\n".join(f"· {limit}" for limit in policy.limits)))
    return parts
