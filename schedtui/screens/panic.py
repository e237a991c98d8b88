"""Panic's settings: whether its latch holds, and the hot key with all that it reads. The helper does it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.errors import SchedtuiError
from schedtui.feed import unexpected
from schedtui.messages import PanicSettingsSeen
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.policy import MUTED
from schedtui.widgets.stages import error_lines

if TYPE_CHECKING:
    from schedtui.backend.helper.protocol import HelperStatus

SCOPE = (
    "A scheduler that starves the desktop keeps every key from reaching this terminal. The hot key works then too: the "
    "helper reads it from the keyboards itself, in the kernel's real-time class.",
    "What it reads: whether Super, Shift and F12 are held down, on every keyboard of this computer, also while the "
    "screen is locked or somebody else is logged in. The kernel is told to pass on these keys and no other.",
    "What it keeps: nothing. What it does: panic, as F12 does here. It is off until you turn it on, and stays as you "
    "leave it, also after a restart, for everybody who uses this computer.",
)


class PanicScreen(Live, Screen[None]):
    """One page."""

    CSS_PATH = "doctor.tcss"
    DEFAULT_CSS = """
    PanicScreen #heading { height: 1; padding: 0 1; text-style: bold; color: $primary; background: $surface; }
    PanicScreen #page { height: 1fr; padding: 1 3; border: round $foreground 25%; }
    PanicScreen #page Static { height: auto; max-width: 100; margin-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "turn", "Hot key on or off"),
        Binding("r", "release", "Release panic"),
        Binding("escape,q", "dismiss", "Back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._status: HelperStatus | None = None

    def compose(self) -> ComposeResult:
        """The latch, the hot key, its scope."""
        yield Static("Panic", id="heading")
        with VerticalScroll(id="page"):
            yield Static(id="state")
            for each in SCOPE:
                yield Static(Content.styled(each, MUTED))
        yield KeyBar()

    def on_mount(self) -> None:
        """Look."""
        self.query_one("#page").focus()
        self._show_keys()
        self._look()

    def action_turn(self) -> None:
        """The other way."""
        from schedtui.backend import emergency

        status = self._status
        if status is not None:
            self._ask(lambda: emergency.set_hot_key(not status.hot_key))

    def action_release(self) -> None:
        """Schedulers may be loaded again."""
        from schedtui.backend import emergency

        if self._status is not None and self._status.latched:
            self._ask(emergency.release)

    def on_panic_settings_seen(self, message: PanicSettingsSeen) -> None:
        """Show them."""
        from schedtui.backend.emergency import told_hot_key, told_latch

        if message.status is None:
            error = message.error or SchedtuiError("It could not be found out.")
            self.query_one("#state", Static).update(error_lines(error.message, error.remedy, error.details))
        else:
            self._status = message.status
            self.query_one("#state", Static).update(f"{told_latch(message.status)}\n\n{told_hot_key(message.status)}")
        self._show_keys()

    def _look(self) -> None:
        from schedtui.backend import emergency

        self._ask(emergency.look)

    def _show_keys(self) -> None:
        keys = []
        if self._status is not None:
            keys.append(("k", "Hot key off" if self._status.hot_key else "Hot key on"))
            if self._status.latched:
                keys.append(("r", "Release panic"))
        self.query_one(KeyBar).show((*keys, ("esc", "Back")))

    def _ask(self, act: Callable[[], HelperStatus]) -> None:
        def work() -> None:
            try:
                self.post_message(PanicSettingsSeen(act()))
            except SchedtuiError as error:
                self.post_message(PanicSettingsSeen(error=error))
            except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
                self.post_message(PanicSettingsSeen(error=unexpected(error)))

        threading.Thread(target=work, name="panic-settings", daemon=True).start()
