"""Who runs what: who started the scheduler, what else starts schedulers on this computer, and what starts with it.

Taking over, giving back and making permanent are done by the helper; here it is asked for, shown before, and told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.errors import SchedtuiError
from schedtui.backend.model import OthersStatus, PermanentChange, Policy, Scheduler, Setting
from schedtui.feed import unexpected
from schedtui.messages import OwnerSeen, PermanentSeen
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.stages import error_lines


class OwnerScreen(Live, Screen[None]):
    """One page. ``policy``: what schedtui runs here now, in its mode, when it is an external scheduler."""

    CSS_PATH = "owner.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "look", "Look again"),
        Binding("t", "take_over", "Take over"),
        Binding("g", "give_back", "Give back"),
        Binding("p", "permanent", "Make it permanent"),
        Binding("z", "undo", "Put it back"),
        Binding("enter", "write", "Write it"),
        Binding("escape,q", "dismiss", "Back"),
    ]

    def __init__(self, policy: Policy | None = None, settings: dict[str, Setting] | None = None) -> None:
        super().__init__()
        self._policy, self._settings = policy, settings or {}
        self._status: OthersStatus | None = None
        self._write: Callable[[], PermanentChange] | None = None
        """Does what is shown; None when nothing is."""

    def compose(self) -> ComposeResult:
        """Who runs what, then what would be written."""
        yield Static("Who runs what", id="heading")
        with VerticalScroll(id="page"):
            yield Static(id="owner")
            yield Static(id="change")
        yield KeyBar()

    def on_mount(self) -> None:
        """Look."""
        self.query_one("#page").focus()
        self.action_look()

    def show_scheduler(self, scheduler: Scheduler) -> None:
        """Another one runs: who started it?"""
        self.action_look()

    def action_look(self) -> None:
        """Ask anew, off the screen's thread."""
        from schedtui.backend import ownership

        self._ask(ownership.look, "Looking …")

    def action_take_over(self) -> None:
        """Stop what scx.service and scx_loader run."""
        from schedtui.backend import ownership

        self._ask(ownership.take_over, "Taking over …")

    def action_give_back(self) -> None:
        """Start it again."""
        from schedtui.backend import ownership

        self._ask(ownership.give_back, "Giving back …")

    def action_permanent(self) -> None:
        """Show what would be written so that it starts with the computer."""
        from schedtui.backend import ownership

        if self._policy is None:
            return
        make = partial(ownership.make_permanent, self._policy, self._policy.goal, self._settings)
        self._preview(make)

    def action_undo(self) -> None:
        """Show what putting it back would write."""
        from schedtui.backend import ownership

        self._preview(ownership.undo_permanent)

    def action_write(self) -> None:
        """Write what is shown."""
        if self._write is not None:
            self._work(self._write)
            self._write = None

    def on_owner_seen(self, message: OwnerSeen) -> None:
        """Show who runs what."""
        from schedtui.backend.ownership import told

        if message.status is None:
            error = message.error or SchedtuiError("It could not be found out.")
            self.query_one("#change", Static).update(error_lines(error.message, error.remedy, error.details))
        else:
            self._status = message.status
            self.query_one("#owner", Static).update(Content("\n".join(told(message.status))))
            self.query_one("#change", Static).update("")
        self._show_keys()

    def on_permanent_seen(self, message: PermanentSeen) -> None:
        """Show a change as it would be, or as it was made."""
        from schedtui.backend.ownership import told_change

        if message.change is None:
            error = message.error or SchedtuiError("It could not be written.")
            self.query_one("#change", Static).update(error_lines(error.message, error.remedy, error.details))
            self._write = None
        else:
            self.query_one("#change", Static).update(Content(told_change(message.change)))
            if message.change.done or not (message.change.diff or message.change.enables):
                self._write = None
        self._show_keys()

    def _show_keys(self) -> None:
        status = self._status
        keys = [("r", "Look again")]
        if status and any(each.active and each.pid for each in status.others):
            keys.append(("t", "Take over"))
        if status and status.taken:
            keys.append(("g", "Give back"))
        if self._policy is not None:
            keys.append(("p", "Make it permanent"))
        if status and status.undoable:
            keys.append(("z", "Put it back"))
        if self._write is not None:
            keys.append(("enter", "Write it"))
        self.query_one(KeyBar).show((*keys, ("esc", "Back")))

    def _preview(self, change: Callable[..., PermanentChange]) -> None:
        self._write = partial(change, preview=False)
        self._work(partial(change, preview=True))

    def _ask(self, act: Callable[[], OthersStatus], words: str) -> None:
        self._write = None
        self.query_one("#change", Static).update(words)

        def work() -> None:
            try:
                self.post_message(OwnerSeen(act()))
            except SchedtuiError as error:
                self.post_message(OwnerSeen(error=error))
            except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
                self.post_message(OwnerSeen(error=unexpected(error)))

        threading.Thread(target=work, name="owner", daemon=True).start()

    def _work(self, act: Callable[[], PermanentChange]) -> None:
        def work() -> None:
            try:
                self.post_message(PermanentSeen(act()))
            except SchedtuiError as error:
                self.post_message(PermanentSeen(error=error))
            except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
                self.post_message(PermanentSeen(error=unexpected(error)))

        threading.Thread(target=work, name="permanent", daemon=True).start()
