"""Agents at work: the other programs that are connected over MCP, live: what each does, what it may spend, and what it
asks. From here a person takes the machine back, gives it back, or sends a program away.

The app has the data and talks to the servers; this draws it and hands on what the user wants.
"""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from schedtui import messages as news
from schedtui.agent.events import Asked, Question
from schedtui.backend.model import Frame, MachineInfo
from schedtui.clients import Client, Clients, Server
from schedtui.screens.live import Live
from schedtui.units import count, duration, span
from schedtui.widgets.card import answer_for, card_keys, card_lines
from schedtui.widgets.footer import KeyBar
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.header import HeaderBar
from schedtui.widgets.policy import MUTED
from schedtui.widgets.timeline import Timeline, settings_words

REDRAW_S = 0.25
SURPRISE_S = 0.7
"""A key that was meant for what stood there before must not answer a question that has just come up."""
_NOBODY = (
    "No other program is connected.",
    "An agent such as Claude Code, Cursor or Codex gets what the built-in agent has, under the same rules: it looks, "
    "plans, proves and tries, and you are asked. Here you see each step, and one key takes the machine back.",
    "This prints what such a program needs to know:",
    "    schedtui mcp --print-config claude",
)
_SEND_AWAY = "send-away"
_A = {"minute": "a minute", "hour": "an hour"}


class ClientsScreen(Live, Screen[None]):
    """The list, then the timeline of the chosen one with what it may do beside it."""

    CSS_PATH = "clients.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "take_back", "Take the machine back"),
        Binding("g", "give_back", "Give it back"),
        Binding("x", "disconnect", "Send it away"),
        Binding("v", "report", "Report"),
        Binding("s", "source", "Source"),
    ]

    def __init__(self, clients: Clients, info: MachineInfo | None, frame: Frame | None = None) -> None:
        super().__init__()
        self._clients = clients
        self._info, self._frame = info, frame
        self._chosen: tuple[int, int] | None = None
        self._listed: list[tuple[tuple[int, int], Content]] = []
        self._stale = True
        self._there = False
        """Whether what is drawn on is there."""
        self._leaving: tuple[int, int] | None = None
        """Whom to send away, while that is asked."""
        self._question_id = ""
        self._question_at = 0.0

    def compose(self) -> ComposeResult:
        """The machine, the programs, the timeline beside what is known, what is asked, the keys."""
        yield HeaderBar()
        yield Static(id="heading", markup=False)
        with VerticalScroll(id="nobody"):
            yield Static(_nobody())
        yield OptionList(id="list")
        yield Static(id="strip", markup=False)
        with Horizontal(id="halves"):
            with Vertical(id="story"):
                yield Timeline(id="timeline")
            with VerticalScroll(id="about"):
                yield Static(id="known")
        with VerticalScroll(id="card"):
            yield Static(id="asked")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show them; whoever asks comes first."""
        if self._info is not None:
            self.query_one(HeaderBar).show(self._info, self._frame)
        asking = [each for each in self._clients.all if each.asking.question]
        self._chosen = asking[0].key if asking else None
        self.set_interval(REDRAW_S, self._tick)
        self._there = True
        self._draw()
        self.query_one(Timeline).focus()

    # What the app tells

    def show_machine(self, info: MachineInfo) -> None:
        """Another machine is watched."""
        self._info, self._frame = info, None
        self.query_one(HeaderBar).reset()
        self.query_one(HeaderBar).show(info, None)

    def show_frame(self, frame: Frame) -> None:
        """The header."""
        self._frame = frame
        if self._info is not None:
            self.query_one(HeaderBar).show(self._info, frame)

    def show_clients(self, clients: Clients) -> None:
        """Drawn with the next tick: a busy program says much in a second. A question is drawn at once."""
        self._stale = True
        client = self._client
        if client is not None and (client.asking.question is None) != (self._question_id == ""):
            self._draw()

    def shows_client(self, client: Client) -> bool:
        """Whether what it asks can be read here: then it is chosen, unless another one asks."""
        chosen = self._client
        if chosen is None or chosen.asking.question is None:
            self._choose(client.key)
        return True

    # What the user does

    def on_key(self, event: Key) -> None:
        """Answers first."""
        question = self._question
        if question is not None and (answer := answer_for(question, event.key)):
            event.stop()
            if question.id == _SEND_AWAY or time.monotonic() - self._question_at >= SURPRISE_S:
                self._answer(question, answer)
        elif event.key in ("escape", "q", "A") and question is None:
            event.stop()
            self.dismiss()
        elif event.key == "enter" and self.focused is self.query_one(Timeline):
            event.stop()
            self.query_one(Timeline).action_open()

    @on(OptionList.OptionHighlighted, "#list")
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._listed):
            self._choose(self._listed[event.option_index][0])

    @on(OptionList.OptionSelected, "#list")
    def _selected(self) -> None:
        self.query_one(Timeline).focus()

    def _choose(self, key: tuple[int, int]) -> None:
        if key != self._chosen:
            self._chosen, self._leaving = key, None
            self._draw()
            self._stale = True  # what was longer than this goes a moment later

    def _answer(self, question: Question, choice: str) -> None:
        client = self._client
        if question.id == _SEND_AWAY:
            self._leaving = None
            if client is not None and choice == "yes":
                self.post_message(news.ClientWish(client.key, "disconnect"))
            self._draw()
        elif client is not None:
            self.post_message(news.ClientReply(client.key, question.id, choice))

    def action_take_back(self) -> None:
        """What it works on ends, and what it put on the machine goes."""
        client = self._client
        if client is not None and not client.gone:
            self.post_message(news.ClientWish(client.key, "take-back"))

    def action_give_back(self) -> None:
        """It may go on."""
        client = self._client
        if client is not None and client.seen.taken:
            self.post_message(news.ClientWish(client.key, "give-back"))

    def action_disconnect(self) -> None:
        """Ask whether it is to be sent away."""
        client = self._client
        if client is not None and not client.gone:
            self._leaving = client.key
            self._draw()

    def action_report(self) -> None:
        """Read the newest report of the verifier."""
        report = self._client.asking.report if self._client else None
        if report is not None:
            from schedtui.screens.page import PageScreen
            from schedtui.widgets.report import ReportView

            self.app.push_screen(PageScreen(f"Report · {report.name}", [ReportView(report)]))

    def action_source(self) -> None:
        """Read what would run, where the program wrote or changed it."""
        from schedtui.screens.page import PageScreen
        from schedtui.screens.source import coloured, numbered

        question = self._proposed
        if question is not None and question.diff:
            self.app.push_screen(PageScreen(f"Changes · {question.policy}", [coloured(question.diff)]))
        elif question is not None and question.source:
            self.app.push_screen(PageScreen(f"Source · {question.policy}", [numbered(question.source)]))

    # What is shown

    @property
    def _client(self) -> Client | None:
        found = self._clients.find(self._chosen) if self._chosen else None
        return found or next(iter(self._clients.all), None)

    @property
    def _question(self) -> Question | None:
        client = self._client
        if client is None:
            return None
        return _send_away(client) if self._leaving == client.key and not client.gone else client.asking.question

    @property
    def _proposed(self) -> Question | None:
        """The last proposal."""
        events = self._client.asking.events if self._client else []
        asked = (each.question for each in reversed(events) if isinstance(each, Asked))
        return next((each for each in asked if each.diff or each.source), None)

    def _tick(self) -> None:
        """Seconds pass."""
        client = self._client
        if self._stale:
            self._draw()
        elif client is not None and client.asking.left_s() is not None:
            self._draw_card()

    def _draw(self) -> None:
        if not self._there:
            return
        self._stale = False
        client, now = self._client, self._clients.now
        self._draw_list(client, now)
        self.query_one("#nobody").display = client is None
        self.query_one("#halves").display = client is not None
        strip = self.query_one("#strip", Static)
        strip.set_class(client is None, "-empty")
        self.query_one("#heading", Static).update(_heading(self._clients))
        if client is not None:
            server = self._clients.server_of(client)
            strip.update(_strip(client, server))
            self.query_one("#known", Static).update(_known(client, server, now))
            self.query_one(Timeline).show(client.asking)
        self._draw_card()

    def _draw_list(self, chosen: Client | None, now: float) -> None:
        """Only what changed: the list keeps its place."""
        listed = [(each.key, _listed(each, now)) for each in self._clients.all]
        if listed == self._listed:
            return
        view = self.query_one("#list", OptionList)
        if [key for key, _ in listed] == [key for key, _ in self._listed]:
            for number, (old, new) in enumerate(zip(self._listed, listed, strict=True)):
                if old != new:
                    view.replace_option_prompt_at_index(number, new[1])
        else:
            with self.prevent(OptionList.OptionHighlighted):
                view.clear_options()
                view.add_options([Option(prompt) for _, prompt in listed])
                keys = [key for key, _ in listed]
                view.highlighted = keys.index(chosen.key) if chosen and chosen.key in keys else None
        view.display = bool(listed)
        self._listed = listed

    def _draw_card(self) -> None:
        question, client = self._question, self._client
        self.query_one("#card").display = question is not None
        if question is None or client is None:
            self._question_id = ""
        else:
            if question.id != self._question_id:
                self._question_id, self._question_at = question.id, time.monotonic()
                self.query_one("#card").scroll_home(animate=False)
            left_s = client.asking.left_s() if question.id != _SEND_AWAY else None
            who = Content.assemble((f"{client.who}", "bold"), (f" asks, on {client.where}", MUTED))
            lines = card_lines(question, left_s)
            self.query_one("#asked", Static).update(
                lines if question.id == _SEND_AWAY else Content("\n").join([who, lines])
            )
        self.query_one(KeyBar).show(self._keys())

    def _keys(self) -> list[tuple[str, str]]:
        client, question = self._client, self._question
        if client is None:
            return [("esc", "Back")]
        if question is not None and question.id == _SEND_AWAY:
            return [("enter", "Send it away"), ("esc", "Let it stay")]
        back = [("g", "Give it back")] if client.seen.taken else [("t", "Take the machine back")]
        back = back if not client.gone else []
        report = client.asking.report is not None
        source = self._proposed is not None
        if question is not None:
            return [*card_keys(question, with_report=report, with_source=source), *back]
        more = [("v", "Report")] if report else []
        more += [("s", "Source")] if source else []
        away = [("x", "Send it away")] if not client.gone else []
        several = [("tab", "List")] if len(self._listed) > 1 else []
        return [*back, *away, ("space", "Details"), *more, *several, ("esc", "Back")]


def _nobody() -> Content:
    return Content("\n\n").join([Content(each) for each in _NOBODY])


def _heading(clients: Clients) -> Content:
    there = sum(not each.gone for each in clients.all)
    many = "nobody" if not there else "one program" if there == 1 else f"{there} programs"
    return Content.assemble(("Agents", "bold $primary"), (f"  {many} connected over MCP", MUTED))


def _listed(client: Client, now: float) -> Content:
    glyphs = choose_glyphs()
    sign, style = glyphs.off, MUTED
    if client.gone:
        sign = glyphs.stopped
    elif client.asking.question is not None:
        sign, style = "?", "bold $text-warning"
    elif client.seen.taken:
        sign, style = glyphs.stopped, "$text-warning"
    elif client.is_at_work(now):
        sign, style = glyphs.on, "$text-success"
    state = client.state_words(now)
    return Content.assemble(
        (f"{sign} ", style), (client.name, "bold"), (f" on {client.where} · ", MUTED), (state, "" if state else MUTED)
    )


def _send_away(client: Client) -> Question:
    return Question(
        id=_SEND_AWAY,
        kind="continue",
        title=f"Send {client.name} away?",
        text="What it works on ends, and what it tried and nobody kept is taken away. It may connect again.",
        choices=(("yes", "Send it away"), ("no", "Let it stay")),
    )


def _machine_parts(server: Server | None) -> list[tuple[str, str]]:
    machine = server.machine if server else None
    if machine is None:
        return []
    parts = [("scheduler", machine.scheduler + (", panic latched" if machine.latched else ""))]
    parts.append(("CPUs", f"{machine.used_percent:.0f} %"))
    if machine.p50_us is not None and machine.p99_us is not None:
        parts.append(("waits", f"usual {duration(machine.p50_us)}, longest {duration(machine.p99_us)}"))
    return parts


def _strip(client: Client, server: Server | None) -> Content:
    """What matters most in one line, where there is no room beside the timeline."""
    parts = [Content.assemble((f"{label} ", MUTED), (words, "bold")) for label, words in _machine_parts(server)]
    if client.seen.may:
        parts.append(Content.assemble(("may ", MUTED), client.seen.may.removeprefix("may ")))
    return Content.styled(" · ", MUTED).join(parts)


def _known(client: Client, server: Server | None, now: float) -> Content:
    """All that is known of it."""
    seen = client.seen
    lines: list[Content] = [Content.styled(client.who, "bold $text-primary")]
    if client.gone:
        lines.append(_pair("Gone", client.gone))
    else:
        lines.append(_pair("Connected", f"for {span(now - seen.since)}"))
    if seen.may:
        lines.append(_pair("May, without asking", seen.may.removeprefix("may ")))
    if seen.taken:
        lines.append(
            Content.styled("You took the machine back: it can look and prove, and try nothing.", "$text-warning")
        )
    deployment = seen.deployment
    if deployment is not None:
        what = f"{deployment.policy}{settings_words(deployment.settings)}"
        lines.append(_pair("Last tried", f"{what}: {deployment.state}"))
    if seen.shares:
        lines += [Content(""), Content.styled("What it may spend", f"bold {MUTED}")]
        lines += [_pair(each.what, f"{each.spent:.0f} of {count(each.limit)} {_A[each.per]}") for each in seen.shares]
    machine = _machine_parts(server)
    if machine:
        kernel = f", Linux {server.kernel}" if server and server.kernel else ""
        lines += [Content(""), Content.styled(f"Its machine: {client.where}{kernel}", f"bold {MUTED}")]
        lines += [_pair(label, words) for label, words in machine]
    return Content("\n").join(lines)


def _pair(label: str, words: str) -> Content:
    return Content.assemble((f"{label}: ", MUTED), words)
