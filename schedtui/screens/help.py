"""Help: the keys, and the ideas behind what the dashboard shows, in plain words."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from schedtui.screens.live import Live
from schedtui.widgets.footer import KeyBar

KEYS = (
    ("F12", "Panic: the kernel's own scheduler, now. Works everywhere."),
    ("p", "Presets: goals in plain words; preview one, try it, keep it when the numbers are good."),
    ("d", "Describe: say in plain words what you do; one is chosen, proven, tried and measured."),
    ("l", "Library: every policy; search (/), set (t) and verify (v) one, read its source (s)."),
    ("h", "History: what was tried here, what it measured; read its story (o), apply it again."),
    ("A", "Agents: other programs at work over MCP, and what they do."),
    ("u", "Undo: give the machine back to the kernel's own scheduler."),
    ("m", "Machine: this computer, the lab; m, enter: the other one."),
    ("w", "Workload: start loads in the lab, and stop them."),
    ("b", "Deep dive: every switch of the task that waits most."),
    ("o", "Who runs what: scx_loader …; O: what a scheduler prints."),
    ("!", "Doctor: what works here, what does not, and how to mend it."),
    ("ctrl+p", "Palette: presets, machines, themes and screens by name."),
    ("tab", "Go from panel to panel: arrows scroll, enter opens."),
    ("esc", "One step back."),
    ("q", "Quit. The lab is closed, and nothing of it is left behind."),
)

IDEAS = (
    (
        "Scheduler",
        "The part of the kernel that decides, thousands of times a second, which program runs on which CPU next, and "
        "for how long. When more programs want to run than there are CPUs, its choices are what you feel.",
    ),
    (
        "EEVDF",
        "The scheduler that Linux brings along (from 6.6; before that, CFS). It is fair: each program gets its share, "
        "and the one with the earliest deadline goes first. It is good at nearly everything, and the best at few "
        "things. schedtui always brings you back to it.",
    ),
    (
        "sched_ext",
        "A door in newer kernels (6.12 and later, where built in) through which another scheduler can be loaded while "
        "the machine runs. The kernel checks it first, watches it, and throws it out when it lets a program wait too "
        "long. Nothing of it survives a restart.",
    ),
    (
        "Wake-up latency",
        "The time from the moment that a program wants to run (its key was pressed, its timer rang) to the moment it "
        "does. A late game frame, a crackle in music, a slow answer often begin here. Where it cannot be measured "
        "directly, the panel's title says what was measured instead.",
    ),
    (
        "p50, p95, p99",
        "Half of the waits were shorter than p50; 95 of 100 were shorter than p95; 99 of 100 shorter than p99. "
        "You notice the rare long ones, so p99 is the one to watch.",
    ),
    (
        "Pressure",
        "The share of time in which some program stood still because it lacked CPU time, memory or a disk.",
    ),
    (
        "Run queue, DSQ",
        "Programs that could run and wait for a CPU stand in a run queue. The queues of a sched_ext scheduler are "
        "called dispatch queues, DSQ.",
    ),
    (
        "The lab",
        "A real kernel with sched_ext in a small virtual machine. Schedulers are loaded there as they would be on a "
        "computer, but nothing can go wrong outside it. Its times are slower than a real computer's: compare them "
        "with each other.",
    ),
    (
        "Policy, verified",
        "A policy is a program that decides for the kernel which task runs next. Before one runs on anybody's computer "
        "schedtui can prove it: its source, its compiled program, and then its behaviour on a real kernel in the lab, "
        "under stress. The report says on which kernel it was proven; another kernel is another matter.",
    ),
    (
        "What F12 does",
        "It asks the kernel, past everything else that is going on, to end the loaded scheduler. Then it reads "
        "back from the kernel which one runs, and tells you. From then on nothing is loaded until you allow it again: "
        "choose a preset, and press enter to release it. In any shell, “schedtui panic” does the same, and as "
        "root “echo S > /proc/sysrq-trigger” does it without schedtui.",
    ),
)


class HelpScreen(Live, Screen[None]):
    """The help page."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        """One long text that scrolls."""
        yield Static("Help", id="heading")
        with VerticalScroll(id="page"):
            yield Static(page())
        yield KeyBar()

    def on_mount(self) -> None:
        """The page has the focus, so that arrows scroll it."""
        self.query_one(KeyBar).show((("esc", "Back"),))
        self.query_one("#page").focus()


def page() -> Content:
    """The whole text."""
    keys = [Content.assemble((f"{key:>8}  ", "bold $text-accent"), text) for key, text in KEYS]
    ideas = [Content.assemble((title, "bold $text-accent"), "\n", text) for title, text in IDEAS]
    heading = Content.styled("Keys", "bold $text-primary")
    return Content("\n\n").join(
        [Content("\n").join([heading, *keys]), Content.styled("Ideas", "bold $text-primary"), *ideas]
    )
