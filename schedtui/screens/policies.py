"""What every list of things that lead to a policy has in common: its verification and its source are a key away, and
what happens when it is loaded is said before.

Which policies are listed, and why, is said by the screens that build on this.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from schedtui.act import Act
from schedtui.backend.library.starting import why_not
from schedtui.backend.model import Frame, MachineInfo, Policy, Scheduler, Setting
from schedtui.elevation import KEY, lacks_helper
from schedtui.screens.chooser import Choices, Chooser
from schedtui.trying import COUNTDOWN_S, MEASURE_S
from schedtui.widgets.policy import labelled, paragraphs

ACT_TITLE = "Applying "
AT_ONCE = "a loads it at once: it is not proven before, nothing is measured, and nobody asks whether to keep it."
AT_ONCE_HERE = "a loads it as soon as it is proven: nothing is measured, and nobody asks whether to keep it."
"""On a person's own computer, where the helper loads nothing that is not."""


class PolicyChoices(Choices, Protocol):
    """Choices that lead to policies, on one machine."""

    info: MachineInfo
    scheduler: Scheduler | None

    def policy_of(self, entry_id: str) -> tuple[Policy, dict[str, Setting]] | None:
        """The policy that a choice leads to, and the settings that differ from its defaults."""
        ...

    def at_once(self, entry_id: str) -> Message | None:
        """What to tell the app when it is to be loaded without a trial; None when it cannot be, or is asked for."""
        ...


class PolicyChooser(Chooser):
    """Adds ``v``, ``s`` and ``a`` to a list, and follows which scheduler runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "verify", "Verify"),
        Binding("s", "source", "Source"),
        Binding("a", "at_once", "Apply at once"),
        Binding("m", "app.machine", "Machine"),
        Binding("H", "app.helper", "Start the helper"),
    ]

    def __init__(
        self, choices: PolicyChoices, *, act: Act | None = None, selected: str = "", kernel: Path | None = None
    ) -> None:
        super().__init__(choices, act=act, selected=selected)
        self._policies = choices
        self._kernel = kernel
        """Image that the lab boots for a verification; None: the default."""

    def show_machine(self, info: MachineInfo) -> None:
        """What was read while the machine was being opened can be applied now."""
        self._policies.info = info
        self.refresh_choices()

    def show_lost(self, reason: str) -> None:
        """What can be read stays."""
        self._policies.info, self._policies.scheduler = without_machine(), None
        self.refresh_choices()

    def show_frame(self, frame: Frame) -> None:
        """See show_scheduler."""
        self.show_scheduler(frame.scheduler)

    def show_scheduler(self, scheduler: Scheduler) -> None:
        """What runs, and whether panic is latched, changes what the preview must say."""
        before, self._policies.scheduler = self._policies.scheduler, scheduler
        if before is None or _said_of(before) != _said_of(scheduler):
            self.refresh_choices()

    def action_at_once(self) -> None:
        """Load the chosen policy without a trial; from the list first to the preview, which says what that skips."""
        entry = self._entry_id()
        if entry is None or self._step == "act" or not self.choices.verb(entry):
            return
        if self._step == "list":
            self._go("preview")
            return
        message = self._policies.at_once(entry)
        if message is not None:
            self.post_message(message)
        self._draw_preview()

    def action_verify(self) -> None:
        """Prove the chosen policy in the lab, and offer to go on when it passed."""
        found = self._chosen_policy()
        if found is None:
            return
        from schedtui.screens.verify import VerifyScreen

        policy, settings = found
        verb = "Try it" if self.choices.verb(self._entry_id() or "") else ""
        self.app.push_screen(VerifyScreen(policy, settings, kernel=self._kernel, verb=verb), self._verified)

    def _verified(self, go_on: bool | None) -> None:
        if go_on:
            self._choose()

    def action_source(self) -> None:
        """Read the chosen policy's source."""
        found = self._chosen_policy()
        if found is not None and found[0].source:
            from schedtui.screens.source import SourceScreen

            self.app.push_screen(SourceScreen(Path(found[0].source)))

    def _chosen_policy(self) -> tuple[Policy, dict[str, Setting]] | None:
        """What can be verified, and read when it has a source: an external scheduler is a program of its own."""
        found = self._policies.policy_of(self._entry_id() or "")
        if found is None or self._step == "act" or (found[0].binary and why_not(found[0], "lab")):
            return None
        return found


def without_machine(opening: str = "") -> MachineInfo:
    """What stands for a machine while none is open; ``opening`` is what is under way, such as “Opening the lab”."""
    under_way = f"{opening} is still under way. Read on meanwhile: this can be applied once it is open."
    return MachineInfo(
        kind="host",
        name="",
        kernel="",
        sched_ext=False,
        default_scheduler="EEVDF",
        can_load=False,
        reason=f"{under_way} m shows how far it is." if opening else "No machine is open. m opens one.",
    )


def policy_keys(policy: Policy | None) -> list[tuple[str, str]]:
    """The keys that a policy of ours has."""
    if policy is None or (policy.binary and why_not(policy, "lab")):
        return []
    return [("v", "Verify"), *([("s", "Source")] if policy.source else [])]


def elsewhere_keys(info: MachineInfo) -> list[tuple[str, str]]:
    """Where nothing can be loaded: the ways to where it can."""
    helper = [KEY] if lacks_helper(info) else []
    return [] if info.can_load else [*helper, ("m", "Machine")]


def what_happens(
    info: MachineInfo, scheduler: Scheduler | None, policy: Policy | None, *, latched: bool, asked: bool
) -> Content:
    """What loading ``policy`` (None: the kernel's own scheduler) would do here and now, and how to go back."""
    own = info.default_scheduler
    if not info.kernel:
        return labelled("Not yet", info.reason, "$text-warning")
    if not info.can_load:
        where = "Open the lab (m) to try it." if info.kind == "replay" else "Press m to go there."
        if lacks_helper(info):
            where = "Press H to start it for this session, or m for the lab."
        return labelled("Why not here", f"{info.reason} {where}", "$text-warning")
    if policy is None:
        return labelled("What happens next", f"{own} takes over at once. Running programs notice nothing else.")
    if latched:
        text = "F12 was pressed, so nothing is loaded until you release it. "
        if asked:
            text += "Press it once more: panic is released, and this is tried."
        else:
            text += "You are asked once more, then it is released and this is tried."
        return labelled("Panic is latched", text, "$text-warning")
    now = scheduler.name if scheduler else own
    return paragraphs(
        [
            labelled("What happens next", what_a_trial_is(now)),
            labelled("Without a trial", at_once_is(info)),
            labelled("How to go back", f"F12 at any time, or u: {own} is back at once. {_quitting(info)}"),
        ]
    )


def at_once_is(info: MachineInfo) -> str:
    """What loading without a trial leaves out, in a sentence."""
    return AT_ONCE_HERE if info.kind == "host" else AT_ONCE


def _quitting(info: MachineInfo) -> str:
    return "When you quit, only what you kept stays." if info.kind == "host" else "Quitting does the same."


def what_a_trial_is(before: str) -> str:
    """Its steps, in a few sentences; ``before`` is what runs now."""
    return (
        f"It is proven first (at once, if it was proven before). Then it takes turns with {before} for up to "
        f"{MEASURE_S:.0f} s, and the difference is measured. If it is worse, it goes at once; else you are asked, and "
        f"without an answer within {COUNTDOWN_S:.0f} s it goes by itself."
    )


def _said_of(scheduler: Scheduler) -> tuple[object, ...]:
    """What previews say of it."""
    return scheduler.name, scheduler.latched, scheduler.policy, scheduler.settings


class Release:
    """While panic is latched, the first ``enter`` only asks."""

    def __init__(self) -> None:
        self._asked = ""

    def asked(self, entry_id: str) -> bool:
        """Whether one more ``enter`` on it releases panic."""
        return self._asked == entry_id

    def granted(self, entry_id: str) -> bool:
        """Whether ``enter`` was pressed on it before; if not, it is now."""
        granted, self._asked = self.asked(entry_id), entry_id
        if granted:
            self._asked = ""
        return granted
