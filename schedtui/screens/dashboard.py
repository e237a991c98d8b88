"""The dashboard: one glance at how the CPUs are, how long tasks wait, and which scheduler runs.

It lays the panels out and hands them the Frames; the panels draw, the app acts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Static

from schedtui.act import Act
from schedtui.backend.model import Deployment, Event, Frame, MachineInfo, Scheduler
from schedtui.baseline import Baseline
from schedtui.messages import DashboardReady
from schedtui.screens.live import Live
from schedtui.widgets.cpus import CpuPanel
from schedtui.widgets.events import EventPanel
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.header import HeaderBar
from schedtui.widgets.latency import LatencyPanel
from schedtui.widgets.panel import COMPACT_BELOW
from schedtui.widgets.pressure import PressurePanel
from schedtui.widgets.waiters import WaitersPanel
from schedtui.widgets.workload import WorkloadPanel

if TYPE_CHECKING:
    from schedtui.clients import Client, Clients

SMALLEST = (80, 24)
FEW_CPUS_SHARE = 0.25
"""A list of CPUs that takes no more of the terminal's height than this leaves room for another panel below it."""
LINES_A_CPU = (5, 4, 3)
"""With its recent use below it, and a blank between; else one line."""
LEAST_WAITERS = 6
NOTICE_LINES = 2
HAPPENINGS = ((50, 12), (32, 7), (0, 4))
"""From how many lines of a terminal on “What happened” has how many."""
KEYS = (
    ("p", "Presets"),
    ("d", "Describe"),
    ("l", "Library"),
    ("h", "History"),
    ("?", "Help"),
    ("m", "Machine"),
    ("w", "Workload"),
    ("q", "Quit"),
    ("!", "Doctor"),
    ("^p", "Palette"),
)
UNDO = ("u", "Undo")


class Dashboard(Live, Screen[None]):
    """The first screen, below all others."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "app.presets", "Presets"),
        Binding("d", "app.describe", "Describe"),
        Binding("l", "app.library", "Library"),
        Binding("h", "app.history", "History"),
        Binding("m", "app.machine", "Machine"),
        Binding("w", "app.workload", "Workload"),
        Binding("b", "app.probe", "Deep dive"),
        Binding("A", "app.clients", "Agents"),
        Binding("u", "app.undo", "Undo"),
        Binding("o", "app.owner", "Who runs what"),
        Binding("O", "app.output", "Output"),
        Binding("exclamation_mark", "app.doctor", "Doctor"),
        Binding("question_mark", "app.help", "Help"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._info: MachineInfo | None = None
        self._frame: Frame | None = None
        self._baseline = Baseline()
        self._unshown: list[Event] = []
        self._state: tuple[str, bool, str] | None = None

    def compose(self) -> ComposeResult:
        """Header, notice, panels, keys; and the sentence for a terminal that is too small."""
        yield HeaderBar()
        yield Static(id="notice", markup=False)
        yield Static(id="clients", markup=False)
        with Grid(id="panels"):
            yield CpuPanel()
            yield LatencyPanel()
            yield WaitersPanel()
            yield PressurePanel()
        with Horizontal(id="happenings"):
            yield EventPanel()
            yield WorkloadPanel()
        yield KeyBar()
        yield Static(id="too-small", markup=False)

    def on_mount(self) -> None:
        """Show what happened before the panels were there."""
        self.query_one(KeyBar).show(KEYS)
        self.query_one(WorkloadPanel).display = False
        self.query_one("#clients").display = False
        unshown, self._unshown = self._unshown, []
        self.query_one(EventPanel).add(unshown)
        self.post_message(DashboardReady())

    def on_resize(self, event: Resize) -> None:
        """Below the smallest size a sentence is all there is."""
        width, height = event.size
        too_small = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(too_small, "-too-small")
        if too_small:
            self.query_one("#too-small", Static).update(
                f"This terminal is {width}×{height}. schedtui needs {SMALLEST[0]}×{SMALLEST[1]}: "
                "make it larger. F12 and q still work."
            )
        self._arrange(height)

    def _arrange(self, height: int) -> None:
        """Few CPUs leave room for those who wait below them; many get the whole height (the style sheet says how)."""
        if self._info is None:
            return
        compact = height < COMPACT_BELOW
        cpus, frame = max(1, len(self._info.cpus)), 1 if compact else 2
        pressure = 4 if compact else 6
        happenings = next(lines for least, lines in HAPPENINGS if height >= least)
        few = cpus + frame <= height * FEW_CPUS_SHARE
        self.set_class(few, "-few-cpus")
        others = 2 + NOTICE_LINES + happenings + pressure + LEAST_WAITERS + frame
        lines = next((cpus * each - 1 for each in LINES_A_CPU if cpus * each - 1 + frame <= height - others), cpus)
        rows = (str(lines + frame), "1fr", str(pressure)) if few else ("3fr", "1fr", str(pressure))
        self.query_one("#happenings").styles.height = happenings
        self.query_one("#panels").styles.grid_rows = " ".join(rows)

    def on_event_panel_opened(self, message: EventPanel.Opened) -> None:
        """Read an event in full."""
        from schedtui.screens.details import DetailsScreen

        self.app.push_screen(DetailsScreen(message.event))

    def show_machine(self, info: MachineInfo) -> None:
        """Forget the machine before."""
        self._info, self._frame = info, None
        self._baseline = Baseline()
        for panel in (CpuPanel, PressurePanel, LatencyPanel, WaitersPanel, WorkloadPanel):
            self.query_one(panel).reset()
        self.query_one(HeaderBar).reset()
        self.query_one(HeaderBar).show(info, None)
        loads = self.query_one(WorkloadPanel)
        loads.display = info.kind != "host"
        loads.hint = "none: w starts one" if info.kind == "lab" else ""
        self._show_state(info, None)
        self._arrange(self.size.height)

    def show_lost(self, reason: str) -> None:
        """Keep the last picture, and say that it is one."""
        self._state = None
        self._show_notice(f"{reason} This is the last that was seen of it. Press m.")
        self.query_one(KeyBar).show(KEYS)

    def show_frame(self, frame: Frame) -> None:
        """Hand the Frame to every panel."""
        if self._info is None:
            return
        self._frame = frame
        latency = self.query_one(LatencyPanel)
        latency.ghost(self._baseline.add(frame), self._info.default_scheduler)
        latency.show(frame)
        self.query_one(HeaderBar).show(self._info, frame)
        self._show_state(self._info, frame.scheduler)
        self.query_one(CpuPanel).show(self._info, frame)
        self.query_one(PressurePanel).show(frame)
        self.query_one(WaitersPanel).show(frame)
        self.query_one(WorkloadPanel).show(frame)
        if frame.events:
            self.query_one(EventPanel).add(frame.events)

    def show_scheduler(self, scheduler: Scheduler) -> None:
        """Only the header and the keys change; the panels wait for what is measured next."""
        if self._info is not None and self._frame is not None:
            self._frame = replace(self._frame, scheduler=scheduler)
            self.query_one(HeaderBar).show(self._info, self._frame)
            self._show_state(self._info, scheduler)

    def show_deployment(self, deployment: Deployment) -> None:
        """The header says whether what runs is only tried, or kept."""
        self.query_one(HeaderBar).show_deployment(deployment)

    def show_clients(self, clients: Clients) -> None:
        """A line for whoever is at work; whoever asks comes first."""
        at_work = clients.at_work
        line = self.query_one("#clients", Static)
        line.display = bool(at_work)
        if at_work:
            line.update(_at_work(at_work, clients.now))

    def show_act(self, act: Act) -> None:
        """While the first machine opens there is nothing else to show."""
        if self._info is None and act.stages:
            self._show_notice(f"{act.title}: {act.stages[-1].text}")

    def note(self, event: Event) -> None:
        """A line in “What happened”."""
        if self.is_mounted:
            self.query_one(EventPanel).add((event,))
        else:
            self._unshown.append(event)

    def _show_state(self, info: MachineInfo, scheduler: Scheduler | None) -> None:
        """The notice and the keys; both change only when the state does."""
        undo = info.can_load and scheduler is not None and scheduler.sched_ext == "enabled"
        state = (_notice(info, scheduler), undo, info.default_scheduler)
        if state == self._state:
            return
        self._state = state
        self._show_notice(state[0])
        self.query_one(KeyBar).show((UNDO, *KEYS) if undo else KEYS, info.default_scheduler)

    def _show_notice(self, text: str) -> None:
        notice = self.query_one("#notice", Static)
        notice.display = bool(text)
        notice.update(text)


def _at_work(clients: list[Client], now: float) -> Content:
    """``claude-code works on the lab: proves interactive · A to look``."""
    first, *others = clients
    state = first.state_words(now)
    asks = first.asking.question is not None
    more = f" · {len(others)} more" if others else ""
    key = " · A to answer" if asks else " · A to look"
    where = {"host": "this computer", "lab": "a lab"}.get(first.machine, first.machine)
    style = "bold $text-warning" if asks else "bold $text-accent"
    return Content.assemble((first.name, style), f" works on {where}: {state}{more}", (key, "bold"))


def _notice(info: MachineInfo, scheduler: Scheduler | None) -> str:
    """What a person must know before choosing anything; empty when there is nothing."""
    if info.can_load:
        if scheduler is None or not scheduler.latched:
            return ""
        return "Panic: nothing is loaded until you release it. Press p; it asks first."
    if info.kind == "replay":
        return "This is a recording: nothing can be changed in it. m goes to another machine."
    return f"{info.reason or 'No scheduler can be loaded on this machine.'} Press m."
