"""The terminal program: holds the machine that is watched, carries out what the screens ask for, and hears F12.

Machines are opened, read and acted on in threads; their news arrive here as messages and go on to whichever screens
are open. What a screen looks like is the screens' affair, what an act does is the backend's.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import Theme

from schedtui import messages as news
from schedtui.act import Act
from schedtui.backend.errors import Interrupted, LoadRejected, SchedtuiError
from schedtui.backend.machine import Machine
from schedtui.backend.model import Event, EventKind, Frame, MachineInfo, Panic, Scheduler
from schedtui.config import chosen_theme, remember_theme
from schedtui.control import Control
from schedtui.driver import TerminalDriver
from schedtui.faults import write_log
from schedtui.feed import Feed, unexpected
from schedtui.launch import run_app
from schedtui.paths import config_dir, shipped
from schedtui.screens.dashboard import Dashboard
from schedtui.screens.live import Live
from schedtui.widgets.ascii import AsciiFilter
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.themes import load_themes

if TYPE_CHECKING:
    from schedtui.announced import Done, Wish
    from schedtui.asking import Asking
    from schedtui.backend.library.catalogue import Library
    from schedtui.backend.model import Deployment
    from schedtui.clients import Client, Clients, Follower
    from schedtui.trying import Trial

__all__ = ["SchedtuiApp", "run_app"]

DEFAULT_THEME = "schedtui-dark"
PANIC_PATIENCE_S = 5.0
SLOW_OPENING_S = 0.4
"""An opening that takes longer than this shows its stages."""
SETTLED_FRAMES = 3
"""After so many frames all that a long session keeps has been imported and built."""
CLOSING_PATIENCE_S = 15.0
BUSY = "Something is being tried already: let it come to its end, or press F12."
NO_MACHINE = "The machine is not open yet. A moment, or choose another with m."
TOAST_S = 6.0
FOLLOWED_AFTER_S = 1.0
"""After so long the programs that are connected over MCP are looked for."""
FRESH_NEWS_S = 5.0
"""What happened longer ago is no news any more."""
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class SchedtuiApp(App[None]):
    """schedtui's user interface over one machine at a time."""

    TITLE = "schedtui"
    CSS_PATH = "screens/dashboard.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-comfortable"), (160, "-wide")]  # noqa: RUF012  Textual declares it as no ClassVar
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f12", "panic", "Panic", priority=True, system=True),
        Binding("ctrl+q", "quit", "Quit", priority=True, system=True),
    ]

    def __init__(
        self,
        feed: Feed,
        *,
        theme: str | None = None,
        kernel: Path | None = None,
        cpus: int | None = None,
        compiler: bool = False,
        when_settled: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(driver_class=TerminalDriver)
        self.animation_level = "none"
        self.dashboard = Dashboard()
        self.feed: Feed | None = None
        self.control: Control | None = None
        """What is done to the machine; None while none is open."""
        self.frame: Frame | None = None
        self._opening: Feed | None = feed
        self._opening_act = Act(_opening_title(feed.spec))
        self._preset_act: Act | None = None
        self._panics_begun = self._panics_ended = 0
        self._cut_short = ""
        """What the last panic found at work; empty when nothing was."""
        self._kernel, self._cpus, self._compiler = kernel, cpus, compiler
        self._frames_seen, self._when_settled = 0, when_settled
        self._closers: list[threading.Thread] = []
        self._follower: Follower | None = None
        self._wishes: dict[int, bool] = {}
        """What servers were asked for, by its number, and whether what comes of it is told in any case."""
        self._problems = self._choose_theme(theme)
        self._kept_theme = self.theme
        self._ascii = AsciiFilter() if choose_glyphs().ascii else None

    # What is watched

    @property
    def info(self) -> MachineInfo | None:
        """The machine that is watched; None while none is open."""
        return self.feed.info if self.feed else None

    @cached_property
    def library(self) -> Library:
        """The policies and presets, read when first needed."""
        from schedtui.backend.library.catalogue import load_library

        library = load_library()
        for problem in library.problems:
            self.note("warning", f"Library: {problem}")
        return library

    def get_default_screen(self) -> Screen[None]:
        """The dashboard lies below every other screen."""
        return self.dashboard

    def get_line_filters(self) -> Sequence[LineFilter]:
        """In a terminal without Unicode everything is drawn in ASCII."""
        filters = super().get_line_filters()
        return [*filters, self._ascii] if self._ascii else filters

    def on_mount(self) -> None:
        """Hear signals, and notice when the user chooses another theme."""
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                loop.add_signal_handler(number, self._stop_for, number)
        for problem in self._problems:
            self.note("warning", problem)
        self.theme_changed_signal.subscribe(self, self._keep_theme)

    def on_dashboard_ready(self) -> None:
        """From now on there is a place for what the feed has to tell."""
        if self._opening is not None:
            self._opening.attach(Ear(self))
        self.set_timer(SLOW_OPENING_S, self._show_slow_opening)
        self.set_timer(FOLLOWED_AFTER_S, self._follow_clients)

    def note(self, kind: EventKind, text: str, details: str = "") -> None:
        """A line in “What happened”."""
        if self.is_running:
            self.dashboard.note(Event(time=self._now(), kind=kind, text=text, details=details))

    def _now(self) -> float:
        """The time on the watched machine: in a recording it is when that was recorded."""
        if self.frame is not None and self.info is not None and self.info.kind == "replay":
            return self.frame.time
        return time.time()

    # Panic

    def action_panic(self) -> None:
        """F12: the kernel's own scheduler, now. Shares nothing with whatever else is under way but the machine."""
        feed = self.feed or self._opening
        machine = feed.machine if feed else None
        self._panics_begun += 1
        this = self._panics_begun
        threading.Thread(target=self._panic, args=(machine,), name="panic", daemon=True).start()
        if self.control is not None:
            self._cut_short = self.control.panicked() or self._cut_short
        self.set_timer(PANIC_PATIENCE_S, lambda: self._panic_is_late(this))

    def _panic(self, machine: Machine | None) -> None:
        try:
            if machine is None:
                from schedtui.backend.machine import open_machine

                machine = open_machine("host")
            self._post(news.PanicEnded(machine.panic()))
        except SchedtuiError as error:
            self._post(news.PanicEnded(error=error))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._post(news.PanicEnded(error=unexpected(error)))

    def on_panic_ended(self, message: news.PanicEnded) -> None:
        """Say what runs now, as the kernel reports it."""
        self._panics_ended = self._panics_begun
        if message.panic is None:
            error = message.error or SchedtuiError("Panic failed.")
            self.note("bad", f"F12: {error.message} {error.remedy}".rstrip(), error.details)
            self._toast(f"{error.message}\n\n{error.remedy}".rstrip(), "F12 did not work", "error")
            self._write_down({"problem": error.message})
            return
        panic = message.panic
        cut_short, self._cut_short = self._cut_short, ""
        text = _panic_sentence(panic, self.info, cut_short)
        if panic.path == "sysrq" or not self._announces_itself:
            self.note("good", text)
        self._toast(text, "PANIC", "warning")
        self._show_scheduler(panic.scheduler)
        self._write_down({"before": panic.before, "runs": panic.scheduler.name})

    def _write_down(self, panic: dict[str, str]) -> None:
        """Only when it is done and told, and elsewhere: no full disk or busy file may stand in a panic's way."""
        machine = self.info.kind if self.info else "host"

        def write() -> None:
            from schedtui.backend.audit import Audit

            problem = Audit().append("person", "panic", {"machine": machine, **panic})
            if problem is not None:
                self._post(news.AuditFailed(problem))

        if machine != "replay":
            threading.Thread(target=write, name="audit", daemon=True).start()

    def on_audit_failed(self, message: news.AuditFailed) -> None:
        """What is done is not in the log."""
        self.note("warning", f"{message.error.message} {message.error.remedy}".rstrip(), message.error.details)

    def _panic_is_late(self, number: int) -> None:
        if self._panics_ended < number:
            self._toast(
                "No answer yet. As root, in any shell, this does the same:\n\necho S > /proc/sysrq-trigger",
                "F12 is still trying",
                "error",
            )

    # Machines

    def on_machine_wanted(self, message: news.MachineWanted) -> None:
        """Open another machine; the one before stays until it is ready."""
        self._abandon_opening()
        try:
            feed = Feed.named(message.spec, kernel=self._kernel, cpus=self._cpus, compiler=self._compiler)
        except SchedtuiError as error:
            self._show_error(error)
            return
        self._opening, self._opening_act = feed, Act(_opening_title(feed.spec))
        self._tell_screens(lambda screen: screen.show_act(self._opening_act))
        feed.attach(Ear(self))
        feed.start()

    def action_helper(self) -> None:
        """Start the helper for this session, where it is lacking; then open this computer anew, with it."""
        from schedtui.elevation import start_helper

        went = start_helper(self)
        self._toast(went.text, "Helper", "information" if went.started else "warning")
        if went.started:
            self.note("good", went.text)
            self.post_message(news.MachineWanted("host"))

    def on_opening_unwanted(self) -> None:
        """Drop the machine that is being opened."""
        act = self._opening_act
        self._abandon_opening()
        if act.state == "running":
            act.cancel()
            self._tell_screens(lambda screen: screen.show_act(act))

    def on_opening_stage(self, message: news.OpeningStage) -> None:
        """Pass the stage on to the machine switch."""
        if message.feed is self._opening:
            self._opening_act.stage(message.text, message.seconds)
            self._tell_screens(lambda screen: screen.show_act(self._opening_act))

    def on_machine_opened(self, message: news.MachineOpened) -> None:
        """The new machine takes the place of the old one, which is closed."""
        if message.feed is not self._opening:
            return
        old, self.feed, self._opening = self.feed, message.feed, None
        self.frame = None
        self._close_in_background(old, self.control)
        self.control = Control(message.feed.machine, message.info, self._post, kernel=self._kernel)
        info, act = message.info, self._opening_act
        self._tell_screens(lambda screen: screen.show_machine(info))
        if old is not None:
            self.note("info", f"Watching {_described(info)}, opened in {act.elapsed_s():.1f} s")
        act.finish(f"{_described(info)} is open.")
        self._tell_screens(lambda screen: screen.show_act(act))

    def on_frame_arrived(self, message: news.FrameArrived) -> None:
        """Show the Frame wherever it concerns."""
        if message.feed is self.feed:
            first = self.frame is None
            self.frame = message.frame
            self._tell_screens(lambda screen: screen.show_frame(message.frame))
            if self._follower is not None:  # whoever did nothing for a while is not at work any more
                self._tell_screens(lambda screen: screen.show_clients(self.clients))
            if self.control is not None:
                self.control.see(message.frame)
                if first:
                    self.control.recover()
            self._frames_seen += 1
            if self._frames_seen == SETTLED_FRAMES and self._when_settled:
                self._when_settled()

    def on_feed_failed(self, message: news.FeedFailed) -> None:
        """A machine could not be opened, or broke off: say so, and offer the others."""
        if message.feed is self._opening:
            act = self._opening_act
            self._abandon_opening()
            act.fail(message.error)
            self.note("bad", message.error.message, message.error.details)
            if self._machine_screen_is_open():
                self._tell_screens(lambda screen: screen.show_act(act))
            else:
                self._open_machine_switch(act)
        elif message.feed is self.feed:
            if self.control is not None:
                self.control.lost(message.error)
            self._close_in_background(self.feed, self.control)
            self.feed = self.frame = self.control = None
            self.note("bad", f"{message.error.message} {message.error.remedy}".rstrip(), message.error.details)
            self._tell_screens(lambda screen: screen.show_lost(message.error.message))
            self._show_error(message.error)

    def _show_scheduler(self, scheduler: Scheduler) -> None:
        """Show what the kernel has just reported, without waiting for the next Frame."""
        if self.frame is not None:
            self.frame = replace(self.frame, scheduler=scheduler)
        self._tell_screens(lambda screen: screen.show_scheduler(scheduler))

    def _abandon_opening(self) -> None:
        feed, self._opening = self._opening, None
        self._close_in_background(feed)

    def _close_in_background(self, feed: Feed | None, control: Control | None = None) -> None:
        if feed is not None:
            work = partial(_close, feed, control)
            thread = threading.Thread(target=work, name=f"close {feed.spec}", daemon=True)
            self._closers.append(thread)
            thread.start()

    def close_machines(self) -> None:
        """Close whatever is open or being opened, and wait until nothing of it is left."""
        if self._follower is not None:
            self._follower.close()
        for feed, control in ((self.feed, self.control), (self._opening, None)):
            if feed is not None:
                _close(feed, control)
        for thread in self._closers:
            thread.join(CLOSING_PATIENCE_S)

    # Presets and loads

    def on_preset_wanted(self, message: news.PresetWanted) -> None:
        """Apply a preset, in a thread."""
        from schedtui.backend.deploy import apply, resolve

        feed = self.feed
        if feed is None or (self._preset_act and self._preset_act.state == "running"):
            busy = "Something is being applied already. F12 ends it."
            self._toast(NO_MACHINE if feed is None else busy, "Not now", "warning")
            return
        title = self.library.find(message.preset).title
        act = self._preset_act = Act(f"Applying {title}")
        self._tell_screens(lambda screen: screen.show_act(act))

        def work() -> Scheduler:
            if message.release:
                feed.machine.unlatch()
            proposal = resolve(
                self.library, message.preset, message.settings, kind=feed.info.kind if feed.info else "lab"
            )
            return apply(feed.machine, proposal, lambda text, s: self._post(news.ActStage(act, text, s)))

        self._do(act, work)

    def on_trial_wanted(self, message: news.TrialWanted) -> None:
        """Show what a trial would do here; it begins at once where there is something to measure."""
        from schedtui.screens.trial import TrialScreen
        from schedtui.trying import Trial, is_idle, missing_loads

        control = self.control
        if control is None or (control.asking is not None and not control.asking.is_over):
            busy = "What you described is worked on now (d). Stop it, or wait for its end."
            self._toast(NO_MACHINE if control is None else busy, "Not now", "warning")
            return
        if control.trial is not None and not control.trial.is_over:
            self._show_trial(control.trial)
            return
        now = self._scheduler
        if now and now.sched_ext == "enabled" and (now.policy, now.settings) == (message.policy, message.settings):
            self._toast(f"{now.name} runs already, with these settings. u takes it away.", message.title, "information")
            return
        trial = Trial(
            self.library.policies[message.policy],
            message.settings,
            title=message.title,
            class_id=message.class_id,
            metric=message.metric,
            release=message.release,
        )
        trial.loads = missing_loads(control.info, control.recent, trial.class_id)
        idle = bool(trial.loads) or is_idle(control.info, control.recent)
        if not idle:
            self.on_trial_begun(news.TrialBegun(trial))
        self.push_screen(TrialScreen(trial, control.info, self._scheduler))

    def on_trial_begun(self, message: news.TrialBegun) -> None:
        """Let it begin, in a thread; once, however often enter was pressed."""
        if self.control is not None and message.trial.begin():
            self.control.try_out(message.trial)

    def on_trial_told(self, message: news.TrialTold) -> None:
        """Draw it. What a person has to decide comes to them, wherever they are."""
        trial = message.trial
        self._tell_screens(lambda screen: screen.show_trial(trial))
        if trial.phase == "deciding":
            self._show_trial(trial)

    def _show_trial(self, trial: Trial) -> None:
        from schedtui.screens.trial import TrialScreen

        if self.info is not None and not any(isinstance(screen, TrialScreen) for screen in self.screen_stack):
            self.push_screen(TrialScreen(trial, self.info, self._scheduler))

    def on_tune_wanted(self, message: news.TuneWanted) -> None:
        """Change the policy that runs, in a thread. What it runs with then is on the screens."""
        feed = self.feed
        if feed is None:
            self._toast(NO_MACHINE, "Settings", "warning")
            return
        act = Act(f"Changing {', '.join(message.settings)} of {message.policy}")
        self._do(act, lambda: feed.machine.tune(message.settings))

    def on_default_wanted(self) -> None:
        """Give the machine back to the kernel's own scheduler, in a thread."""
        if self.control is not None:
            self._do(Act("Going back"), self.control.take_back)

    # Deployments and requests

    def on_deployment_changed(self, message: news.DeploymentChanged) -> None:
        """Say what became of it, with the numbers behind it."""
        deployment = message.deployment
        self._tell_screens(lambda screen: screen.show_deployment(deployment))
        told = _told_of(deployment)
        if told is not None:
            self.note(*told)

    def on_deployment_recovered(self, message: news.DeploymentRecovered) -> None:
        """What a crash left is resolved: say so."""
        deployment = message.deployment
        when = time.strftime("%d %b %H:%M", time.localtime(deployment.created))
        self.note("warning", f"Left from {when}: {deployment.policy} was undone. {deployment.reason}")

    def on_kept_was_updated(self, message: news.KeptWasUpdated) -> None:
        """An update changed what a person had kept: that is how games began to freeze."""
        self.note("warning", f"{message.text} Press p to try it.")

    def on_control_failed(self, message: news.ControlFailed) -> None:
        """The history cannot be used: whatever needs it will say so again."""
        self.note("warning", f"{message.error.message} {message.error.remedy}".rstrip(), message.error.details)

    def on_breaker_asks(self, message: news.BreakerAsks) -> None:
        """Things got worse, and nobody can tell whose fault it is: a person decides."""
        self.note("warning", message.text)
        from schedtui.screens.doubt import DoubtScreen

        self.push_screen(DoubtScreen(message.deployment, message.text), self._doubt_resolved)

    def _doubt_resolved(self, take_away: bool | None) -> None:
        if take_away:
            self.post_message(news.DefaultWanted())

    def on_request_wanted(self, message: news.RequestWanted) -> None:
        """Let the agent work on it, in a thread."""
        control = self.control
        if control is None or control.is_busy:
            self._toast(NO_MACHINE if control is None else BUSY, "Describe", "warning")
            return
        from schedtui.agent.bench import Request
        from schedtui.agent.naming import named_in

        named = named_in(message.words)
        asking = control.ask(Request(words=message.words, folder=named.folder, command=named.command))
        self._tell_screens(lambda screen: screen.show_asking(asking))

    def on_asking_told(self, message: news.AskingTold) -> None:
        """Something happened in a request: the screens that show it draw it."""
        asking = message.asking
        asking.add(message.event)
        self._tell_screens(lambda screen: screen.show_asking(asking))
        if asking.question is None or message.event is not asking.asked or self._is_shown(asking):
            return
        if asking.question.countdown_s is not None:
            self.push_screen(self._describe_screen())  # it answers itself soon: a person must see it
        else:
            self._toast("Press d to answer.", asking.question.title, "information")

    def _is_shown(self, asking: Asking) -> bool:
        return any(isinstance(screen, Live) and screen.shows_asking(asking) for screen in self.screen_stack)

    def on_asking_ended(self, message: news.AskingEnded) -> None:
        """A request is over."""
        asking = message.asking
        if message.story is not None:
            asking.finish(message.story)
        elif message.error is not None:
            asking.fail(message.error)
        self._tell_screens(lambda screen: screen.show_asking(asking))
        if asking.ended is not None and not self._is_shown(asking):
            self.note("info", f"“{asking.words}”: {asking.ended.text}")
            self._toast("Press d to read it.", "The agent is done", "information")

    def on_reply_given(self, message: news.ReplyGiven) -> None:
        """Hand it to the agent."""
        if self.control is not None:
            self.control.reply(message.question_id, message.choice)

    def on_steering_given(self, message: news.SteeringGiven) -> None:
        """Hand it to the agent."""
        if self.control is not None:
            self.control.steer(message.words)

    def on_stop_wanted(self) -> None:
        """End the agent's work."""
        if self.control is not None:
            self.control.stop()

    # Other programs, over MCP

    @cached_property
    def clients(self) -> Clients:
        """The programs that are connected to servers of this user, as far as they were heard of."""
        from schedtui.clients import Clients

        return Clients()

    def _follow_clients(self) -> None:
        """From now on, until the end. Late, because nobody waits for it."""
        from schedtui.clients import Follower

        if self._follower is None:
            self._follower = Follower(lambda: self._post(news.ClientsTold()))
            self._follower.start()

    def on_clients_told(self) -> None:
        """Take what is new, and show it. What a program asks comes to the person who looks at the dashboard."""
        if self._follower is None:
            return
        from schedtui.agent.events import Asked, Deployed
        from schedtui.announced import Done, Happened

        asked: list[Client] = []
        for number, item in self._follower.take():
            client = self.clients.hear(number, item)
            if isinstance(item, Done):
                self._wish_done(item)
            if client is None or not isinstance(item, Happened):
                continue
            if isinstance(item.event, Asked):
                asked.append(client)
            elif isinstance(item.event, Deployed):
                self._client_deployed(client, item.event.deployment, item.at)
        self._tell_screens(lambda screen: screen.show_clients(self.clients))
        for client in asked:
            if client.asking.question is not None and not client.gone:
                self._ask_for(client)

    def _ask_for(self, client: Client) -> None:
        if any(isinstance(screen, Live) and screen.shows_client(client) for screen in self.screen_stack):
            return
        question = client.asking.question
        if question is not None and (self.screen is self.dashboard or question.countdown_s is not None):
            self.push_screen(self._clients_screen())
        elif question is not None:
            self._toast("Press A on the dashboard to answer.", f"{client.name}: {question.title}", "information")

    def _client_deployed(self, client: Client, deployment: Deployment, at: float) -> None:
        """On the machine that is watched the header says who put it there; what is old news is not told again."""
        if client.machine == "host" and self.info is not None and self.info.kind == "host":
            self._tell_screens(lambda screen: screen.show_deployment(deployment))
        told = _told_of(deployment)
        if told is not None and time.time() - at < FRESH_NEWS_S:
            where = "" if client.machine == "host" else f" on {client.where}"
            self.note(told[0], f"{client.name} over MCP{where}: {told[1]}")

    def on_client_reply(self, message: news.ClientReply) -> None:
        """Hand it to the program's server."""
        from schedtui.announced import Answer

        server, client = message.client
        self._wish_of(
            server, lambda n: Answer(number=n, client=client, question=message.question_id, choice=message.choice)
        )

    def on_client_wish(self, message: news.ClientWish) -> None:
        """Ask the program's server for it."""
        from schedtui.announced import Disconnect, GiveBack, TakeBack

        server, client = message.client
        kind = {"take-back": TakeBack, "give-back": GiveBack, "disconnect": Disconnect}[message.wish]
        self._wish_of(server, lambda n: kind(number=n, client=client), told=True)

    def _wish_of(self, server: int, wish: Callable[[int], Wish], *, told: bool = False) -> None:
        number = self._follower.send(server, wish) if self._follower else 0
        if not number:
            self._toast("Its server does not answer. F12 works all the same.", "Agents", "warning")
            return
        self._wishes[number] = told
        self.set_timer(PANIC_PATIENCE_S, lambda: self._wish_is_late(number))

    def _wish_done(self, done: Done) -> None:
        told = self._wishes.pop(done.number, None)
        if told is not None and (told or not done.ok):
            self._toast(done.text, "Agents", "information" if done.ok else "warning")
            self.note("good" if done.ok else "warning", done.text)

    def _wish_is_late(self, number: int) -> None:
        if number in self._wishes:
            self._toast("Its server has not answered yet. F12 works all the same.", "Agents", "warning")

    def on_act_stage(self, message: news.ActStage) -> None:
        """Pass the stage on."""
        message.act.stage(message.text, message.seconds)
        self._tell_screens(lambda screen: screen.show_act(message.act))

    def on_act_ended(self, message: news.ActEnded) -> None:
        """Say what runs now, or what went wrong. What a lab's helper announces by itself is not said twice."""
        act, error = message.act, message.error
        if message.scheduler is not None:
            act.finish(f"{message.scheduler.name} runs now, as the kernel reports.")
            if not self._announces_itself:
                self.note("good", f"{act.title}: {message.scheduler.name} runs now, after {act.elapsed_s():.1f} s")
            self._show_scheduler(message.scheduler)
        elif error is not None:
            act.fail(error)
            if not (self._announces_itself and isinstance(error, (LoadRejected, Interrupted))):
                self.note("bad", f"{act.title}: {error.message} {error.remedy}".rstrip(), error.details)
            if not any(isinstance(screen, Live) and screen.follows(act) for screen in self.screen_stack):
                self._show_error(error)
        self._tell_screens(lambda screen: screen.show_act(act))

    @property
    def _announces_itself(self) -> bool:
        """Whether what happens on the machine comes as events of its Frames."""
        return self.info is not None and self.info.kind == "lab"

    def on_load_wanted(self, message: news.LoadWanted) -> None:
        """Start a load, in a thread."""
        self._change_loads(lambda machine: machine.start_workload(message.kind))

    def on_loads_unwanted(self) -> None:
        """End all loads, in a thread."""
        self._change_loads(lambda machine: machine.stop_workloads())

    def on_loads_failed(self, message: news.LoadsFailed) -> None:
        """Say it."""
        self._show_error(message.error)

    def _do(self, act: Act, work: Callable[[], Scheduler]) -> None:
        def run() -> None:
            try:
                self._post(news.ActEnded(act, work()))
            except SchedtuiError as error:
                self._post(news.ActEnded(act, error=error))
            except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
                self._post(news.ActEnded(act, error=unexpected(error)))

        threading.Thread(target=run, name=act.title, daemon=True).start()

    def _change_loads(self, change: Callable[[Machine], None]) -> None:
        feed = self.feed
        if feed is None:
            return

        def run() -> None:
            try:
                change(feed.machine)
            except SchedtuiError as error:
                self._post(news.LoadsFailed(error))
            except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
                self._post(news.LoadsFailed(unexpected(error)))

        threading.Thread(target=run, name="loads", daemon=True).start()

    # Screens

    def action_presets(self, selected: str = "") -> None:
        """Open the presets of the machine that is watched, at the preview of ``selected`` when one is named."""
        from schedtui.screens.presets import PresetsScreen

        act, scheduler = self._applying, self._scheduler
        kernel = self._kernel
        self._open(PresetsScreen(self.library, self._place, scheduler, act=act, selected=selected, kernel=kernel))

    def action_library(self) -> None:
        """Open the library."""
        from schedtui.screens.library import LibraryScreen

        act, scheduler = self._applying, self._scheduler
        self._open(LibraryScreen(self.library, self._place, scheduler, act=act, kernel=self._kernel))

    def action_history(self) -> None:
        """Open the history."""
        from schedtui.screens.history import HistoryScreen

        act, scheduler = self._applying, self._scheduler
        self._open(HistoryScreen(self.library, self._place, scheduler, act=act, kernel=self._kernel))

    def action_describe(self) -> None:
        """Open the line in which the user says what should get better, or the request that is at work."""
        self._open(self._describe_screen())

    def _describe_screen(self) -> Screen[None]:
        from schedtui.screens.describe import DescribeScreen

        control = self.control
        asking = control.asking if control and control.asking and not control.asking.seen else None
        recent = control.recent if control else ()
        return DescribeScreen(self.library, self._place, asking=asking, recent=recent, mind=self._mind_name())

    def _mind_name(self) -> str:
        """The model that the user chose; empty: none, or it cannot be read, which a request will say."""
        from schedtui.agent.models import chosen_model

        try:
            choice = chosen_model()
        except SchedtuiError:
            return ""
        return choice.model if choice else ""

    @property
    def _place(self) -> MachineInfo:
        """The machine for which something is chosen; while none is open, what says so."""
        from schedtui.screens.policies import without_machine

        return self.info or without_machine(self._opening_act.title if self._opening else "")

    @property
    def _applying(self) -> Act | None:
        """What is being applied now."""
        return self._preset_act if self._preset_act and self._preset_act.state == "running" else None

    @property
    def _scheduler(self) -> Scheduler | None:
        """What the kernel reported last."""
        return self.frame.scheduler if self.frame else None

    def action_clients(self) -> None:
        """Open the programs that are connected over MCP."""
        self._open(self._clients_screen())

    def _clients_screen(self) -> Screen[None]:
        from schedtui.screens.clients import ClientsScreen

        return ClientsScreen(self.clients, self.info, self.frame)

    def action_machine(self) -> None:
        """Open the machine switch, at the stages when something is being opened."""
        self._open_machine_switch(self._opening_act if self._opening is not None else None)

    def _open_machine_switch(self, act: Act | None) -> None:
        from schedtui.screens.machine import MachineScreen

        self._open(MachineScreen(self.feed.spec if self.feed else "", act=act))

    def action_workload(self) -> None:
        """Open the loads."""
        if self.info is None:
            self._toast(NO_MACHINE, "Workload", "warning")
            return
        from schedtui.screens.workload import WorkloadScreen

        self._open(WorkloadScreen(self.info, self.frame.workloads if self.frame else ()))

    def action_probe(self) -> None:
        """Look deep at the task that waits most."""
        if self.info is None or self.control is None:
            self._toast(NO_MACHINE, "Deep dive", "warning")
            return
        from schedtui.screens.probe import ProbeScreen

        waiters = self.frame.waiters if self.frame else ()
        self._open(ProbeScreen(self.control.machine, self.info, waiters[0] if waiters else None))

    def action_undo(self) -> None:
        """Give the machine back to the kernel's own scheduler."""
        self.post_message(news.DefaultWanted())

    def action_doctor(self) -> None:
        """Open the doctor."""
        from schedtui.screens.doctor import DoctorScreen

        self._open(DoctorScreen())

    def action_panic_settings(self) -> None:
        """The latch, and the hot key."""
        from schedtui.screens.panic import PanicScreen

        self._open(PanicScreen())

    def action_owner(self) -> None:
        """Open who runs what on this computer."""
        from schedtui.screens.owner import OwnerScreen

        scheduler = self.frame.scheduler if self.frame is not None and self.info and self.info.kind == "host" else None
        ours = scheduler.policy if scheduler is not None and scheduler.owner == "schedtui" else ""
        policy = self.library.policies.get(ours)
        if scheduler is None or policy is None or not policy.binary:
            self._open(OwnerScreen())
            return
        goal = self.control.goal_of(scheduler.digest) if self.control is not None else ""
        self._open(OwnerScreen(replace(policy, goal=goal), scheduler.settings))

    def action_output(self) -> None:
        """Open what the scheduler's program prints."""
        from schedtui.screens.output import OutputScreen

        if self.feed is None:
            self._toast(NO_MACHINE, "Not now", "warning")
            return
        self._open(OutputScreen(self.feed.machine))

    def action_model(self) -> None:
        """Open the choice of who answers what is described."""
        from schedtui.screens.model import ModelScreen

        self.push_screen(ModelScreen())

    def action_help(self) -> None:
        """Open the help."""
        from schedtui.screens.help import HelpScreen

        self._open(HelpScreen())

    def _open(self, screen: Screen[None]) -> None:
        """One of a kind above the dashboard: the palette can ask for a screen from any other."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.push_screen(screen)

    def _show_slow_opening(self) -> None:
        nothing_else_is_read = len(self.screen_stack) == 1
        if self.feed is None and self._opening is not None and nothing_else_is_read:
            self.action_machine()

    def _machine_screen_is_open(self) -> bool:
        return any(type(screen).__name__ == "MachineScreen" for screen in self.screen_stack)

    def _tell_screens(self, tell: Callable[[Live], None]) -> None:
        """While the program ends, messages still come, but the panels are gone."""
        for screen in self.screen_stack if self.is_running else ():
            if isinstance(screen, Live) and screen.is_mounted:
                tell(screen)

    def _show_error(self, error: SchedtuiError) -> None:
        from schedtui.screens.error import ErrorScreen

        self.push_screen(ErrorScreen(error))

    def _toast(self, text: str, title: str, severity: SeverityLevel) -> None:
        self.notify(text, title=title, severity=severity, timeout=TOAST_S, markup=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: presets, machines, screens and themes by name."""
        yield SystemCommand("Panic", "The kernel's own scheduler, now (F12)", self.action_panic)
        for preset in self.library.presets.values():
            show = partial(self.action_presets, preset.id)
            yield SystemCommand(f"Preset: {preset.title}", preset.summary, show)
        for spec, title in self._machine_titles():
            yield SystemCommand(f"Machine: {title}", "Watch it", partial(self._wish, news.MachineWanted(spec)))
        yield SystemCommand("Presets", "Choose what the scheduler is to be good at (p)", self.action_presets)
        yield SystemCommand("Describe", "Say what you do, in plain words (d)", self.action_describe)
        yield SystemCommand("Library", "Every policy, and what is known of it (l)", self.action_library)
        yield SystemCommand("History", "What was tried here, and what it measured (h)", self.action_history)
        yield SystemCommand("Agents", "Other programs at work over MCP; take the machine back (A)", self.action_clients)
        yield SystemCommand("Machine", "This computer, the lab or a recording (m)", self.action_machine)
        yield SystemCommand("Workload", "Start and stop loads in the lab (w)", self.action_workload)
        yield SystemCommand("Deep dive", "Every switch of whoever waits most, as a histogram (b)", self.action_probe)
        yield SystemCommand("Model", "Choose who answers what you describe, and test it", self.action_model)
        yield SystemCommand("Doctor", "What works here, and what does not (!)", self.action_doctor)
        yield SystemCommand("Panic settings", "The latch, and a hot key that always works", self.action_panic_settings)
        yield SystemCommand("Who runs what", "scx.service, scx_loader, a shell; take over (o)", self.action_owner)
        yield SystemCommand("Scheduler's output", "What an scx_ program prints (O)", self.action_output)
        yield SystemCommand("Help", "Keys and ideas (?)", self.action_help)
        for name in sorted(self.available_themes):
            yield SystemCommand(
                f"Theme: {name}", "Use these colours from now on", partial(setattr, self, "theme", name)
            )
        yield SystemCommand("Screenshot", "Save this screen as an SVG picture", self.deliver_screenshot)
        yield SystemCommand("Quit", "Close the lab, if it is open, and leave (q)", self.exit)

    def _machine_titles(self) -> Iterable[tuple[str, str]]:
        from schedtui.screens.machine import recordings

        yield from (("host", "this computer"), ("lab", "the lab"))
        yield from ((f"replay:{path}", path.name) for path in recordings())

    def _wish(self, message: news.MachineWanted) -> None:
        self.action_machine()
        self._post(message)

    # Themes

    def _choose_theme(self, wanted: str | None) -> list[str]:
        """Set the theme: the one asked for, else the one chosen last. Returns what was wrong on the way."""
        themes, problems = load_themes([shipped("themes"), config_dir() / "themes"])
        for theme in themes:
            self.register_theme(theme)
        try:
            name = wanted or chosen_theme() or DEFAULT_THEME
        except SchedtuiError as error:
            problems.append(f"{error.message} {error.remedy}")
            name = DEFAULT_THEME
        if name not in self.available_themes:
            problems.append(f"There is no theme called “{name}”. The palette (ctrl+p) lists those there are.")
            name = DEFAULT_THEME
        if name in self.available_themes:
            self.theme = name
        return problems

    def _keep_theme(self, theme: Theme) -> None:
        if theme.name == self._kept_theme:
            return
        self._kept_theme = theme.name
        try:
            remember_theme(theme.name)
        except SchedtuiError as error:
            self.note("warning", f"{error.message} {error.remedy}")

    # The end

    def _stop_for(self, number: signal.Signals) -> None:
        self.exit(return_code=128 + number)

    def _post(self, message: Message) -> None:
        if self.is_running:
            self.post_message(message)

    def _fatal_error(self) -> None:
        """A fault of schedtui itself: into the log, and a sentence instead of a traceback."""
        path = write_log(sys.exc_info()[1] or RuntimeError("unknown fault"))
        where = f"The details are in {path}; please report them." if path else "Please report it."
        runs = f"The kernel reports {self.frame.scheduler.name}." if self.frame else ""
        self._exit_renderables.append(f"schedtui ran into a fault of its own and had to stop. {runs} {where}")
        self._close_messages_no_wait()


class Ear:
    """Hears a feed in the feed's thread, and posts what it heard to the app."""

    def __init__(self, app: SchedtuiApp) -> None:
        self._app = app

    def stage(self, feed: Feed, text: str, seconds: float) -> None:
        """See Listener."""
        self._app.post_message(news.OpeningStage(feed, text, seconds))

    def opened(self, feed: Feed, info: MachineInfo) -> None:
        """See Listener."""
        self._app.post_message(news.MachineOpened(feed, info))

    def frame(self, feed: Feed, frame: Frame) -> None:
        """See Listener."""
        self._app.post_message(news.FrameArrived(feed, frame))

    def failed(self, feed: Feed, error: SchedtuiError) -> None:
        """See Listener."""
        self._app.post_message(news.FeedFailed(feed, error))


def _close(feed: Feed, control: Control | None) -> None:
    """First what is done on the machine, then the machine."""
    if control is not None:
        control.close()
    feed.close()


def _told_of(deployment: Deployment) -> tuple[EventKind, str] | None:
    """What “What happened” says of a deployment; None for what is no news."""
    from schedtui.backend.history import in_short

    name, compared = deployment.policy, deployment.comparison
    change = in_short(compared) if compared else ""
    match deployment.state:
        case "canary":
            return "info", f"{name}: canary started"
        case "kept":
            return "good", f"{name} kept: {change}" if change else f"{name} kept"
        case "reverted" if deployment.digest:
            return "warning", f"{name} reverted{f' ({change})' if change else ''}: {deployment.reason}"
        case _:
            return None


def _opening_title(spec: str) -> str:
    kind, _, path = spec.partition(":")
    return "Opening " + {"host": "this computer", "lab": "the lab"}.get(kind, f"the recording {Path(path).name}")


def _described(info: MachineInfo) -> str:
    what = {"host": "this computer", "lab": "the lab"}.get(info.kind, f"the recording {info.name}")
    return f"{what} (Linux {info.kernel}, {len(info.cpus)} CPUs)"


def _panic_sentence(panic: Panic, info: MachineInfo | None, cut_short: str = "") -> str:
    if info is not None and info.kind == "replay":
        return "Panic: this is a recording, so there is nothing to take away. This computer was not touched."
    where = "On this computer " if info is None else ""
    took = "less than 1 ms" if panic.took_ms < 1 else f"{panic.took_ms:.0f} ms"
    runs = f"{where}{panic.scheduler.name} runs, read back from the kernel, {took}"
    latch = " Nothing is loaded until you release it (p)." if panic.scheduler.latched else ""
    ended = f"{cut_short[0].upper()}{cut_short[1:]} ended. " if cut_short else ""
    if panic.path == "nothing-to-do":
        found = f"{ended}Just then nothing of it was loaded" if cut_short else "there was nothing to take away"
        return f"Panic: {found}. {runs}.{latch}"
    way = " (by way of sysrq S)" if panic.path == "sysrq" else ""
    gone = f"{panic.before} is gone. " if panic.before else ""
    return f"Panic: {ended}{gone}{runs}{way}.{latch}"
