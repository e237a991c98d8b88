"""Presets: goals in a person's words, previewed before anything happens, then tried and measured."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from schedtui.act import Act
from schedtui.backend.deploy import Proposal, resolve
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.library.catalogue import Library
from schedtui.backend.library.starting import command_line
from schedtui.backend.model import MachineInfo, Policy, Preset, Scheduler, Setting
from schedtui.messages import PresetWanted, TrialWanted
from schedtui.screens.chooser import ROOM_FOR_REMARKS, Entry
from schedtui.screens.policies import ACT_TITLE, PolicyChooser, Release, elsewhere_keys, policy_keys, what_happens
from schedtui.widgets.policy import in_short, labelled, paragraphs, settings_lines


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
        self.settings: dict[str, dict[str, Setting]] = {}
        """What the user set, by preset: what differs from the policy's defaults."""
        self.did: dict[str, tuple[str, ...]] = {}
        """What policies did on this computer, by name: a line each, newest first."""
        self._presets = library.presets
        self._proposals = {name: _proposal(library, name, info) for name in library.presets}
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
        found = self.policy_of(entry_id)
        did = self.did.get(found[0].name, ()) if found else ()
        if did:
            parts.append(labelled("What it did here before", "\n".join(f"· {each}" for each in did)))
        if found and entry_id in self.settings:
            parts.append(labelled("As you set it", f"{in_short(*found)}.", "$text-accent"))
        return paragraphs(parts + _policy(proposal, found[1] if found else {}))

    def verb(self, entry_id: str) -> str:
        """Try it, where it can be; the kernel's own scheduler needs no trial."""
        if not self._available(entry_id):
            return ""
        if self.policy_of(entry_id) is None:
            return "Go back to it"
        return "Release panic and try" if self._needs_release(entry_id) else "Try it"

    def chosen(self, entry_id: str) -> Message | None:
        """Try it. While panic is latched, the first ``enter`` only asks."""
        release, found = self._needs_release(entry_id), self.policy_of(entry_id)
        if found is None:
            return PresetWanted(entry_id)
        if release and not self._release.granted(entry_id):
            return None
        preset, (policy, settings) = self._presets[entry_id], found
        return TrialWanted(policy.name, settings, preset.title, class_id=preset.goal or preset.id, release=release)

    def at_once(self, entry_id: str) -> Message | None:
        """Apply it. While panic is latched, the first ``a`` only asks."""
        release, found = self._needs_release(entry_id), self.policy_of(entry_id)
        if release and not self._release.granted(entry_id):
            return None
        if found and entry_id in self.settings:
            return PresetWanted(found[0].name, release, found[1])
        return PresetWanted(entry_id, release)

    def more_keys(self, entry_id: str) -> list[tuple[str, str]]:
        """The policy's; and where nothing can be loaded, the way to where it can."""
        found = self.policy_of(entry_id)
        policy = found[0] if found else None
        at_once = [("a", "At once")] if policy and self._available(entry_id) else []
        tune = [("t", "Settings")] if policy and policy.tunables else []
        return at_once + tune + policy_keys(policy) + elsewhere_keys(self.info)

    def left(self) -> Message | None:
        """Applying goes on without its screen; F12 is what ends it."""
        return None

    def policy_of(self, entry_id: str) -> tuple[Policy, dict[str, Setting]] | None:
        """The policy that serves the preset, with the preset's settings, or the user's."""
        proposal = self._proposals.get(entry_id)
        if not isinstance(proposal, Proposal) or proposal.policy is None:
            return None
        return proposal.policy, self.settings.get(entry_id, proposal.settings)

    def _available(self, entry_id: str) -> bool:
        return not isinstance(self._proposals[entry_id], SchedtuiError) and self.info.can_load

    def _needs_release(self, entry_id: str) -> bool:
        return self.latched and bool(self._presets[entry_id].choices)


class PresetsScreen(PolicyChooser):
    """The presets on the machine that is watched."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "settings", "Settings")]

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
        self._presets = PresetChoices(library, info, scheduler)
        super().__init__(self._presets, act=act, selected=selected, kernel=kernel)

    @dataclass
    class Remembered(Message):
        """What the history holds of the policies."""

        did: dict[str, tuple[str, ...]]

    def on_mount(self) -> None:
        """Read the history meanwhile."""
        threading.Thread(target=self._remember, name="history", daemon=True).start()

    def on_presets_screen_remembered(self, message: Remembered) -> None:
        """Show it."""
        self._presets.did = message.did
        self._draw_preview()

    def _remember(self) -> None:
        from schedtui.screens.known import remembered

        did = remembered()
        if did and self.is_running:
            self.post_message(self.Remembered(did))

    def action_settings(self) -> None:
        """Open the settings of the policy that serves the preset."""
        found, entry = self._chosen_policy(), self._entry_id() or ""
        if found is None or not found[0].tunables:
            return
        from schedtui.screens.settings import SettingsScreen

        self.app.push_screen(SettingsScreen(*found), lambda wanted: self._set(entry, wanted))

    def _set(self, entry: str, wanted: dict[str, Setting] | None) -> None:
        """Keep the settings for what is done next."""
        if wanted is None:
            return
        self._presets.settings[entry] = wanted
        self.refresh_choices()
        self._go("preview")


def _proposal(library: Library, name: str, info: MachineInfo) -> Proposal | SchedtuiError:
    try:
        return resolve(library, name, {}, kind=info.kind)
    except SchedtuiError as error:
        return error


def _policy(proposal: Proposal, settings: dict[str, Setting]) -> list[Content]:
    policy = proposal.policy
    if policy is None:
        return []
    what = "Scheduler, a program of its own" if policy.binary else "Policy"
    parts = [labelled(f"{what}: {policy.name}", f"{policy.summary} {proposal.reason}".strip())]
    if policy.binary:
        parts.append(labelled("Started as", command_line(policy, settings)))
    parts += settings_lines(policy, settings)
    if policy.limits:
        parts.append(labelled("Limits", "\n".join(f"· {limit}" for limit in policy.limits)))
    return parts
