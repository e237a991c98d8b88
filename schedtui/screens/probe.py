"""Deep dive: every switch of all tasks, or of the one that waits most, for some seconds, as a histogram."""

from __future__ import annotations

import threading
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.backend.dive import bars, dive, percentiles_us, source_line, waker_of
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.machine import Machine
from schedtui.backend.model import MachineInfo, ProbeResult, ProbeRow, TaskWait
from schedtui.backend.probes.deep import CATALOGUE
from schedtui.feed import unexpected
from schedtui.messages import Dived
from schedtui.screens.live import Live
from schedtui.units import count, duration
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.stages import error_lines

SECONDS = 5.0
_BAR = 36
_ROWS = 12
_PAIR = 35


class ProbeScreen(Live, Screen[None]):
    """Four questions, each answered by looking at every switch."""

    CSS_PATH = "probe.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "ask('runqlat')", "Waits"),
        Binding("2", "ask('offcpu')", "Away"),
        Binding("3", "ask('bursts')", "Turns"),
        Binding("4", "ask('wakers')", "Wakers"),
        Binding("a", "everybody", "All tasks"),
        Binding("escape,q,b", "dismiss", "Back"),
    ]
    KEYS = (("1", "Waits"), ("2", "Away"), ("3", "Turns"), ("4", "Wakers"))

    def __init__(self, machine: Machine, info: MachineInfo, task: TaskWait | None) -> None:
        """``task`` is whom to look at; None: everybody."""
        super().__init__()
        self._machine = machine
        self._info = info
        self._waiter = task
        self._question = ""
        self._busy = False
        self._closed = False

    def compose(self) -> ComposeResult:
        """What is asked, how far it is, and the answer."""
        yield Static("Deep dive", id="heading")
        with VerticalScroll(id="page"):
            yield Static(id="answer", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Say what can be asked; nothing is compiled before somebody asks."""
        self.query_one("#page").focus()
        self._show_keys()
        self._show(self._questions())

    def on_unmount(self) -> None:
        """What still comes is nobody's."""
        self._closed = True

    def action_ask(self, name: str) -> None:
        """Look, off the screen's thread."""
        if self._busy:
            return
        self._busy, self._question = True, name
        self._show(self._asked("compiling …"))
        threading.Thread(target=self._dive, args=(name,), name="dive", daemon=True).start()

    def action_everybody(self) -> None:
        """From now on, all tasks."""
        if self._waiter and not self._busy:
            self._waiter = None
            self._show_keys()
            self._show(self._questions())

    def on_dived(self, message: Dived) -> None:
        """A stage, the result, or why there is none."""
        if message.result is None and message.error is None:
            self._show(self._asked(message.stage))
            return
        self._busy = False
        if message.error:
            error = message.error
            self._show(error_lines(error.message, error.remedy, error.details))
        elif message.result:
            self._show(answer(message.result, self._whom()))

    def _dive(self, name: str) -> None:
        def progress(stage: str, _seconds: float) -> None:
            self._tell(Dived(stage))

        pid = self._waiter.pid if self._waiter else 0
        try:
            self._tell(Dived("", dive(self._machine, name, pid=pid, seconds=SECONDS, progress=progress)))
        except SchedtuiError as error:
            self._tell(Dived("", error=error))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._tell(Dived("", error=unexpected(error)))

    def _tell(self, message: Dived) -> None:
        if not self._closed:
            self.post_message(message)

    def _show(self, content: Content) -> None:
        self.query_one("#answer", Static).update(content)

    def _show_keys(self) -> None:
        more = (("a", "All tasks"),) if self._waiter else ()
        self.query_one(KeyBar).show((*self.KEYS, *more, ("esc", "Back")))

    def _whom(self) -> str:
        return f"{self._waiter.name} ({self._waiter.pid})" if self._waiter else "all tasks"

    def _questions(self) -> Content:
        lines = [Content.styled(f"Look at every switch of {self._whom()} on {self._info.name}", "bold"), Content("")]
        for key, told in enumerate(CATALOGUE.values(), start=1):
            lines.append(Content.assemble((f" {key} ", "bold $primary"), told.title))
        cost = (
            f"Each looks for {SECONDS:.0f} s, after some seconds of compiling. While it looks, each switch costs a "
            "microsecond or two more; afterwards nothing is left of it."
        )
        if self._info.kind == "lab":
            cost += (
                " The lab's guest does not carry bcc: a larger one that is like it is asked, with the same loads "
                "and scheduler. The first time, that is built, which takes a minute or two."
            )
        return Content("\n").join([*lines, Content(""), Content.styled(cost, "$foreground 65%")])

    def _asked(self, stage: str) -> Content:
        title = Content.styled(f"{CATALOGUE[self._question].title}: {self._whom()}", "bold")
        return Content("\n\n").join([title, Content(stage)])


def answer(result: ProbeResult, whom: str) -> Content:
    """The histogram, the table, and where the numbers come from."""
    told = CATALOGUE[result.name]
    head = [
        Content.styled(f"{told.title}: {whom}", "bold"),
        Content.styled(f"{source_line(result)} · compiled in {result.compile_s:.0f} s", "$foreground 65%"),
    ]
    total = sum(result.slots)
    if not total:
        return Content("\n").join([*head, Content(""), Content("Nothing was counted: nobody did it in that time.")])
    percentiles = "  ".join(
        f"{name} {duration(value)}" for name, value in percentiles_us(result).items() if value is not None
    )
    head += [Content(f"{count(total)} {told.histogram}"), Content.styled(percentiles, "bold")]
    rows = [_row(each) for each in result.rows[:_ROWS]]
    columns = f"{told.rows.capitalize():<{_PAIR + 7}}{'count':>8}{'mean':>9}{'longest':>9}"
    parts = [Content("\n").join(head), _histogram(result), Content("\n").join([_faint(columns), *rows])]
    if result.missed:
        parts.append(_faint(f"{result.missed} were not timed, because more tasks than fit were under way."))
    return Content("\n\n").join(parts)


def _faint(text: str) -> Content:
    return Content.styled(text, "$foreground 65%")


def _histogram(result: ProbeResult) -> Content:
    glyphs = choose_glyphs()
    counted = bars(result.slots)
    most = max(each.count for each in counted)
    lines = []
    for each in counted:
        label = f"< {duration(each.to_ns / 1000)}" if not each.from_ns else f"≥ {duration(each.from_ns / 1000)}"
        eighths = max(1, round(each.count / most * _BAR * 8)) if each.count else 0
        full, part = divmod(eighths, 8)
        bar = glyphs.fills[8] * full + (glyphs.fills[part] if part else "")
        lines.append(
            Content.assemble((f"{label:>9} ", "$foreground 65%"), f"{count(each.count):>6}  ", (bar, "$primary"))
        )
    return Content("\n").join(lines)


def _row(row: ProbeRow) -> Content:
    who = f"{waker_of(row)} → {row.name}" if row.waker else row.name
    mean = duration(row.total_ns / max(1, row.count) / 1000)
    longest = duration(row.max_ns / 1000)
    return Content(f"{who[:_PAIR]:<{_PAIR}}{row.pid:>7}{count(row.count):>8}{mean:>9}{longest:>9}")
