"""The library: every policy and external scheduler, found by words, with what is known of each on this machine.

Reading the library, searching it and finding what was proven are the backend's affair, and happen in threads: the list
is there at once, and fills in.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList

from schedtui.act import Act
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.library.catalogue import Library
from schedtui.backend.library.starting import why_not
from schedtui.backend.model import MachineInfo, Policy, Report, Scheduler, Setting
from schedtui.backend.verifier.badges import newest_by_kernel
from schedtui.faults import write_log
from schedtui.messages import PresetWanted, TrialWanted, TuneWanted
from schedtui.screens.chooser import MUCH_ROOM, ROOM_FOR_REMARKS, Entry
from schedtui.screens.known import Known, look_up
from schedtui.screens.policies import ACT_TITLE, Release, elsewhere_keys, policy_keys, what_happens
from schedtui.screens.question import QuestionChooser
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.policy import in_short, labelled, paragraphs, policy_lines
from schedtui.widgets.report import badge, badge_lines

if TYPE_CHECKING:
    from schedtui.backend.library.search import Match

PAUSE_S = 0.15
"""After so long without a key the words are looked for by meaning."""
GROUPS = {"built-in": "Built in", "user": "Yours", "generated": "Generated", "external": "External schedulers"}
BEST = "Best matches"


class LibraryChoices:
    """The policies of the library, or those that fit what was asked for."""

    asks = True
    act_title = ACT_TITLE
    empty: str | Content = "Nothing in the library fits these words. Try others, or esc for everything."
    leaving = "Leave it running"

    def __init__(self, library: Library, info: MachineInfo, scheduler: Scheduler | None) -> None:
        self.heading = _legend()
        self.info = info
        self.scheduler = scheduler
        self.known: dict[str, Known] = {}
        self.settings: dict[str, dict[str, Setting]] = {}
        """What the user set, by policy: what differs from its defaults."""
        self.notes: list[str] = []
        """What a person should know of the history as a whole."""
        self._policies = library.policies
        self._found: list[tuple[str, str]] | None = None
        self._release = Release()

    @property
    def remarks_from(self) -> int:
        """Why something was found is worth more room than what is in the details anyway."""
        return MUCH_ROOM if self._found is None else ROOM_FOR_REMARKS

    def show_all(self) -> None:
        """No words: everything."""
        self._found = None

    def show_containing(self, words: str) -> None:
        """What holds every word: the answer until there is a better one."""
        wanted = words.lower().split()
        self._found = [
            (name, policy.summary)
            for name, policy in self._policies.items()
            if all(word in _all_words(policy) for word in wanted)
        ]

    def show_found(self, words: str, matches: Sequence[Match]) -> None:
        """What a search found, the best first; but whose title is being typed comes before all."""
        wanted = words.lower()
        ordered = sorted(matches, key=lambda each: wanted not in f"{each.policy.title} {each.policy.name}".lower())
        self._found = [(match.policy.name, match.why or match.policy.summary) for match in ordered]

    def entries(self) -> list[Entry]:
        """By origin, or the best match first."""
        if self._found is not None:
            return [self._entry(self._policies[name], why, BEST) for name, why in self._found]
        return [
            self._entry(policy, policy.summary, title)
            for group, title in GROUPS.items()
            for policy in self._policies.values()
            if group_of(policy) == group
        ]

    def preview(self, entry_id: str) -> Content:
        """What the policy is, whether it was proven, what it did here, and what loading it would do."""
        policy = self._policies[entry_id]
        known = self.known.get(entry_id, Known())
        title = Content.assemble((policy.title, "bold $text-primary"), (f"  {policy.name}", "$foreground 65%"))
        parts = [Content.assemble(title, "\n", policy.summary)]
        parts += [*self._with_which_settings(policy), Content(policy.description)]
        if policy.binary:
            parts += _program(policy, known, self.info)
        if self._can_run(policy):
            parts.append(Content.assemble(("Verified", "bold $foreground 65%"), "\n", badge_lines(known.reports)))
        if known.history:
            parts.append(labelled("On this machine", "\n".join(known.history)))
        if known.learned:
            parts.append(labelled("What was learned", "\n".join(f"· {text}" for text in known.learned)))
        parts += [labelled("About the history", text, "$text-warning") for text in self.notes]
        if self._can_run(policy):
            latched, asked = self._latched, self._release.asked(entry_id)
            parts.append(what_happens(self.info, self.scheduler, policy, latched=latched, asked=asked))
        return paragraphs(parts + policy_lines(known.as_installed(policy), self.settings_of(entry_id)))

    def verb(self, entry_id: str) -> str:
        """Apply, where it can be."""
        if not self.info.can_load or not self._can_run(self._policies[entry_id]):
            return ""
        return "Release panic and try" if self._latched else "Try it"

    def chosen(self, entry_id: str) -> Message | None:
        """Try it. While panic is latched, the first ``enter`` only asks."""
        if self._latched and not self._release.granted(entry_id):
            return None
        title = self._policies[entry_id].title
        return TrialWanted(entry_id, self.settings_of(entry_id), title, release=self._latched)

    def at_once(self, entry_id: str) -> Message | None:
        """Apply it. While panic is latched, the first ``a`` only asks."""
        if self._latched and not self._release.granted(entry_id):
            return None
        return PresetWanted(entry_id, self._latched, self.settings_of(entry_id))

    def more_keys(self, entry_id: str) -> list[tuple[str, str]]:
        """The policy's, the search; and where nothing can be loaded, the way to where it can."""
        policy = self._policies.get(entry_id)
        runs = policy is not None and self._can_run(policy)
        tune = [("t", "Settings")] if policy and runs and policy.tunables else []
        at_once = [("a", "At once")] if self.info.can_load and runs else []
        return [*at_once, *tune, *policy_keys(policy), ("/", "Search"), *elsewhere_keys(self.info)]

    def _can_run(self, policy: Policy) -> bool:
        """Whether there is something to run here: a source, or an external scheduler's program, once it was found."""
        fit = self.known.get(policy.name, Known()).fit
        return bool(policy.source) or (fit is not None and not why_not(policy, self.info.kind))

    def left(self) -> Message | None:
        """Applying goes on without its screen; F12 is what ends it."""
        return None

    def policy_of(self, entry_id: str) -> tuple[Policy, dict[str, Setting]] | None:
        """The policy, with what was set, or what it runs with."""
        policy = self._policies.get(entry_id)
        return (policy, self.settings_of(entry_id)) if policy else None

    def settings_of(self, name: str) -> dict[str, Setting]:
        """What the user set; else what the policy runs with; else nothing but its defaults."""
        return self.settings.get(name, self.running(name) or {})

    def running(self, name: str) -> dict[str, Setting] | None:
        """The settings that the policy runs with; None when it does not run."""
        now = self.scheduler
        return now.settings if now and now.sched_ext == "enabled" and now.policy == name else None

    def changes_in_place(self, name: str, settings: dict[str, Setting]) -> dict[str, Setting]:
        """What has to change so that the running policy runs with ``settings``; nothing where it must be loaded."""
        now = self.running(name)
        if now is None or not self.info.can_load:
            return {}
        changes: dict[str, Setting] = {}
        for each in self._policies[name].tunables:
            value = settings.get(each.name, each.default)
            if value != now.get(each.name, each.default):
                if not each.live:
                    return {}
                changes[each.name] = value
        return changes

    def _with_which_settings(self, policy: Policy) -> list[Content]:
        """What it runs with, and what the user set."""
        parts, now, wanted = [], self.running(policy.name), self.settings.get(policy.name)
        if now is not None:
            parts.append(labelled("Runs now", f"With {in_short(policy, now)}.", "$text-success"))
        if wanted:
            apply = "enter tries it with them, " if self.info.can_load else ""
            words = f"{in_short(policy, wanted)}: {apply}v proves it with them."
            parts.append(labelled("As you set it", words, "$text-accent"))
        return parts

    @property
    def _latched(self) -> bool:
        return self.scheduler is not None and self.scheduler.latched

    def _entry(self, policy: Policy, remark: str, group: str) -> Entry:
        known = self.known.get(policy.name, Known())
        if policy.binary:
            glyphs = choose_glyphs()
            sign, style = (glyphs.on, "$text-success") if known.fit else (glyphs.off, "$foreground 65%")
        else:
            newest = newest_by_kernel([each for each in known.reports if tells_of_the_policy(each)])
            worst = max((each.verdict for each in newest), key=("pass", "warn", "fail").index, default=None)
            sign, style = badge(worst)
        return Entry(policy.name, policy.title, remark, group=group, sign=sign, sign_style=style)


class LibraryScreen(QuestionChooser):
    """The list with a line to search it above, and the details."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "settings", "Settings")]
    hint = "/ searches in your own words: “stutter while compiling”"
    asking_keys = (("enter", "To the list"), ("esc", "Everything"))

    @dataclass
    class LookedUp(Message):
        """What is known of a policy here."""

        policy: str
        known: Known

    @dataclass
    class Found(Message):
        """What fits the words, the best first."""

        words: str
        matches: Sequence[Match]

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
        self._library = library
        self._shelf = LibraryChoices(library, info, scheduler)
        super().__init__(self._shelf, act=act, selected=selected, kernel=kernel)
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._searcher: threading.Thread | None = None
        self._gone = threading.Event()

    def on_mount(self) -> None:
        """Look up what is known of each policy meanwhile."""
        threading.Thread(target=self._look_up, args=(list(self._library.policies.values()),), daemon=True).start()

    def on_unmount(self) -> None:
        """The threads end with the screen."""
        self._gone.set()
        self._wanted.put(None)

    def on_screen_resume(self) -> None:
        """A verification may have ended above this screen: look at the chosen policy again."""
        found = self._shelf.policy_of(self._entry_id() or "") if self.is_mounted else None
        if found and self._shelf.known.get(found[0].name):
            threading.Thread(target=self._look_up, args=([found[0]],), daemon=True).start()

    def on_library_screen_looked_up(self, message: LookedUp) -> None:
        """Show what is known now."""
        self._shelf.known[message.policy] = message.known
        self._shelf.notes += message.known.notes
        self.refresh_choices()

    def on_library_screen_found(self, message: Found) -> None:
        """Show what was found, if it is still what is asked for."""
        if message.words == self.words:
            self._shelf.show_found(message.words, message.matches)
            self._show_matches()

    @on(Input.Changed, "#question")
    def _question_changed(self) -> None:
        words = self.words
        if words:
            self._shelf.show_containing(words)
            self.set_timer(PAUSE_S, lambda: self._search_for(words))
        else:
            self._shelf.show_all()
        self._show_matches()

    def action_back(self) -> None:
        """One step back; the first drops the search."""
        if self._step == "list" and (self.question.has_focus or self.words):
            self.question.value = ""
            self._go("list")
        else:
            super().action_back()

    def action_settings(self) -> None:
        """Open the chosen policy's settings."""
        found = self._chosen_policy()
        if found is None or not found[0].tunables:
            return
        from schedtui.screens.settings import SettingsScreen

        policy, settings = found
        runs = self._shelf.info.can_load and self._shelf.running(policy.name) is not None
        screen = SettingsScreen(policy, settings, verb="Change it" if runs else "Use these", running=runs)
        self.app.push_screen(screen, lambda wanted: self._set(policy, wanted))

    def _set(self, policy: Policy, wanted: dict[str, Setting] | None) -> None:
        """Change what runs, where it can be changed in place; else keep the settings for what is done next."""
        if wanted is None:
            return
        changes = self._shelf.changes_in_place(policy.name, wanted)
        if changes:
            self._shelf.settings.pop(policy.name, None)
            self.post_message(TuneWanted(policy.name, changes))
        elif wanted == (self._shelf.running(policy.name) or {}):
            self._shelf.settings.pop(policy.name, None)
        else:
            self._shelf.settings[policy.name] = wanted
        self.refresh_choices()
        self._go("preview")

    def _show_matches(self) -> None:
        self.refresh_choices()
        self._highlight("")
        self.query_one("#choices", OptionList).scroll_home(animate=False)

    def _search_for(self, words: str) -> None:
        """Ask the searching thread, unless more was typed meanwhile."""
        if words != self.words:
            return
        if self._searcher is None:
            self._searcher = threading.Thread(target=self._search, name="search", daemon=True)
            self._searcher.start()
        self._wanted.put(words)

    def _search(self) -> None:
        """Answer until the screen is closed. Where searching by meaning is not to be had, the plain matches stay."""
        try:
            from schedtui.backend.library.search import Search

            search = Search(self._library)
            while (words := self._wanted.get()) is not None:
                while not self._wanted.empty() and (later := self._wanted.get()) is not None:
                    words = later
                self._tell(self.Found(words, search.find(words)))
        except SchedtuiError:
            return
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must leave a trace
            write_log(error)

    def _look_up(self, policies: Iterable[Policy]) -> None:
        try:
            for policy in policies:
                if self._gone.is_set():
                    return
                self._tell(self.LookedUp(policy.name, look_up(policy)))
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must leave a trace
            write_log(error)

    def _tell(self, message: Message) -> None:
        if not self._gone.is_set():
            self.post_message(message)


def _legend() -> str:
    """The name of the screen, and what the signs in its list mean."""
    glyphs = choose_glyphs()
    signs = {
        glyphs.good: "proven",
        glyphs.warning: "with warnings",
        glyphs.bad: "failed",
        glyphs.info: "not verified",
        glyphs.on: "installed",
    }
    return "Library   " + "  ".join(f"{sign} {word}" for sign, word in signs.items())


def group_of(policy: Policy) -> str:
    """The heading that it stands below: an external scheduler is one, whoever wrote the entry."""
    return "external" if policy.binary else policy.origin


def tells_of_the_policy(report: Report) -> bool:
    """Whether it says something of the policy as it ships: other settings and a quick pass do not."""
    return not report.settings and (not report.quick or report.verdict == "fail")


def _all_words(policy: Policy) -> str:
    texts = (policy.name, policy.title, policy.summary, policy.description, *policy.for_whom, *policy.limits)
    return " ".join(texts).lower()


def _program(policy: Policy, known: Known, info: MachineInfo) -> list[Content]:
    """Whether the external scheduler is here, and where it can be run."""
    fit = known.fit
    if fit is None:
        text = f"{policy.binary} is not installed on this computer. Distributions have it as scx or scx-scheds."
        return [labelled("Program", text)]
    state = f"{fit.installed.path}, version {fit.installed.version or 'unknown'}. {fit.installed.problem}"
    parts = [labelled("Program", state.strip())]
    if fit.lacking:
        parts.append(labelled("This version lacks", ", ".join(fit.lacking), "$text-warning"))
    if why := why_not(policy, "host"):
        parts.append(labelled("On this computer", f"It {why}." if info.kind == "host" else f"Not here: it {why}."))
    parts.append(
        labelled("What it is", "A program of its own, written by others. It is judged by running it in the lab.")
    )
    return parts
