"""How thoroughly a policy is to be verified, and on which kernels; with what each costs in time.

Only offers; the verify screen does it. ``dismiss`` gives the check that was chosen, or None.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msgspec import Struct
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from schedtui.backend.verifier.badges import plain_release
from schedtui.faults import write_log
from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.policy import MUTED

FULL_S, QUICK_S = 15.0, 5.0
"""A full check of one kernel, and a quick one, on a computer of our days; see the bounds in docs/VERIFIER.md."""
_ONCE = "A kernel that the lab has not run before takes up to a minute more, the first time."


class Check(Struct, frozen=True):
    """What to do: on which kernels (None: the lab's own choice), and whether only for a moment."""

    kernels: tuple[Path | None, ...] = (None,)
    names: tuple[str, ...] = ("",)
    """What the kernels are called."""
    quick: bool = False


class ChecksScreen(Live, Screen[Check | None]):
    """The checks that can be made here."""

    CSS_PATH = "checks.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "Back")]

    @dataclass
    class KernelsFound(Message):
        """The kernels that the lab can boot without fetching any: image and release."""

        kernels: list[tuple[Path, str]]

    def __init__(self, title: str, kernel: Path | None = None, *, full_s: float = FULL_S) -> None:
        """``kernel`` is the one that the user gave; ``full_s`` is how long a full check took here, when one did."""
        super().__init__()
        self._title, self._kernel, self._full_s = title, kernel, full_s
        self._checks: list[Check] = []

    def compose(self) -> ComposeResult:
        """What can be chosen, and the keys."""
        yield Static(Content(f"How to verify {self._title}"), id="heading")
        yield OptionList(id="checks")
        yield Static(Content.styled(_ONCE, MUTED), id="once")
        yield KeyBar((("enter", "Verify"), ("esc", "Back")))

    def on_mount(self) -> None:
        """The kernels are looked for meanwhile."""
        self._list([])
        self.query_one(OptionList).focus()
        threading.Thread(target=self._look_for_kernels, name="kernels", daemon=True).start()

    def on_checks_screen_kernels_found(self, message: KernelsFound) -> None:
        """Offer them."""
        self._list(message.kernels)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._checks[event.option_index])

    def action_leave(self) -> None:
        """None of them."""
        self.dismiss(None)

    def _list(self, kernels: list[tuple[Path, str]]) -> None:
        own = (self._kernel,)
        name = self._kernel.name if self._kernel else f"Linux {plain_release(kernels[0][1])}" if kernels else "a kernel"
        a_kernel = "of the lab" if self._kernel is None else "that you gave"
        self._checks = [Check(own), Check(own, quick=True)]
        lines = [
            _line("Full check as usual", self._full_s, f"Under stress on {name}, the kernel {a_kernel}."),
            _line("Quick check", QUICK_S, "Only loaded, and run for a moment. It proves little."),
        ]
        if len(kernels) > 1:
            names = tuple(plain_release(release) for _, release in kernels)
            self._checks.append(Check(tuple(image for image, _ in kernels), names))
            seconds = self._full_s * len(kernels)
            lines.append(_line(f"All {len(kernels)} kernels that are here", seconds, f"{', '.join(names)}."))
        for image, release in kernels:
            self._checks.append(Check((image,), (plain_release(release),)))
            lines.append(_line(f"Full check on Linux {plain_release(release)}", self._full_s))
        choices = self.query_one(OptionList)
        highlighted = choices.highlighted or 0
        choices.set_options(Option(line) for line in lines)
        choices.highlighted = highlighted

    def _look_for_kernels(self) -> None:
        from schedtui.backend.microvm.kernels import listed_kernels

        try:
            found = [(each.image, each.release) for each in listed_kernels()]
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must leave a trace
            write_log(error)
        else:
            if self.is_running:
                self.post_message(self.KernelsFound(found))


def _line(title: str, seconds: float, remark: str = "") -> Content:
    line = Content.assemble((title, "bold"), (f"  {about(seconds)}", "$text-accent"))
    return Content.assemble(line, "\n", (f"  {remark}", MUTED)) if remark else line


def about(seconds: float) -> str:
    """``about 15 s``, ``about 2 min``."""
    return f"about {max(5, 5 * round(seconds / 5))} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
