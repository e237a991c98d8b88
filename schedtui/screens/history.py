"""The history: what was asked for, tried and measured on this computer, newest first; any of it can be applied again.

Reading it is the backend's affair, and happens in a thread.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input

from schedtui.act import Act
from schedtui.backend.errors import BadFile, SchedtuiError
from schedtui.backend.history import Entry as Record
from schedtui.backend.history import entries, measured, story
from schedtui.backend.library.catalogue import Library
from schedtui.backend.library.history import in_words
from schedtui.backend.library.starting import why_not
from schedtui.backend.model import Comparison, MachineInfo, Policy, Scheduler, Setting
from schedtui.backend.store import Store
from schedtui.feed import unexpected
from schedtui.messages import PresetWanted, TrialWanted
from schedtui.screens.chooser import ROOM_FOR_REMARKS, Entry
from schedtui.screens.policies import ACT_TITLE, Release, policy_keys, what_happens
from schedtui.screens.question import QuestionChooser
from schedtui.widgets.glyphs import choose_glyphs
from schedtui.widgets.policy import MUTED, in_short, labelled, paragraphs
from schedtui.widgets.stages import error_lines

BAR_CELLS = 30
_INVITATION = (
    "Nothing was tried here yet. Once you apply a preset (p) or say what you run (d), it stands here: what was tried, "
    "what it measured, and whether it was kept. Any of it can then be applied again."
)
_STATES = {
    "kept": "kept",
    "reverted": "taken back",
    "canary": "being tried",
    "verified": "proven, not tried",
    "proposed": "proposed",
    "refused": "refused",
    "stopped": "stopped",
    "failed": "failed",
    "unknown": "not understood",
    "open": "no end yet",
    "seen": "seen while it ran",
}


class HistoryChoices:
    """What happened, or what of it holds the words that were typed."""

    heading = "History"
    asks = True
    act_title = ACT_TITLE
    leaving = "Leave it running"
    remarks_from = ROOM_FOR_REMARKS

    def __init__(self, library: Library, info: MachineInfo, scheduler: Scheduler | None, today: float) -> None:
        self.info = info
        self.scheduler = scheduler
        self.empty: str | Content = "Reading the history …"
        self.words = ""
        self.notes: list[str] = []
        """What a person should know of the history as a whole."""
        self._policies = library.policies
        self._today = _day(today)
        self._records: dict[str, Record] = {}
        self._release = Release()

    def show_records(self, records: list[Record]) -> None:
        """What was read."""
        self._records = {str(number): each for number, each in enumerate(records)}
        self.empty = "Nothing in the history holds these words." if records else _INVITATION

    def show_failure(self, error: SchedtuiError) -> None:
        """It could not be read."""
        self.empty = error_lines(error.message, error.remedy, error.details)

    def record(self, entry_id: str) -> Record | None:
        """What stands behind a line."""
        return self._records.get(entry_id)

    def entries(self) -> list[Entry]:
        """By day, newest first."""
        wanted = self.words.lower().split()
        return [
            self._entry(id, each)
            for id, each in self._records.items()
            if all(word in _all_words(each) for word in wanted)
        ]

    def preview(self, entry_id: str) -> Content:
        """What was wanted, what was tried for it, what it measured, and what applying it again would do."""
        record = self._records[entry_id]
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.time))
        head = Content.assemble((record.title, "bold $text-primary"), (f"\n{when}, {_STATES[record.state]}", MUTED))
        parts = [head, Content("\n".join(story(record)[1:]).strip("\n"))]
        comparison = next((each.comparison for each in record.deployments if each.comparison), None)
        if comparison is not None:
            parts.append(before_and_after(comparison))
        parts += [labelled("About the history", text, "$text-warning") for text in self.notes]
        found = self.policy_of(entry_id)
        if found is None:
            words = f"The library has no policy {record.policy} any more." if record.policy else ""
            return paragraphs([*parts, labelled("Again", words, "$text-warning")] if words else parts)
        policy, settings = found
        parts.append(labelled("Again", f"{policy.title} with {in_short(policy, settings)}.", "$text-accent"))
        if policy.source or not why_not(policy, self.info.kind):
            latched, asked = self._latched, self._release.asked(entry_id)
            parts.append(what_happens(self.info, self.scheduler, policy, latched=latched, asked=asked))
        return paragraphs(parts)

    def verb(self, entry_id: str) -> str:
        """Apply it again, where it can be."""
        found = self.policy_of(entry_id)
        if found is None or not self.info.can_load:
            return ""
        if found[0].binary and why_not(found[0], self.info.kind):
            return ""
        return "Release panic and try again" if self._latched else "Try again"

    def chosen(self, entry_id: str) -> Message | None:
        """Try it again, for what it was for. While panic is latched, the first ``enter`` only asks."""
        found = self.policy_of(entry_id)
        assert found is not None
        if self._latched and not self._release.granted(entry_id):
            return None
        request = self._records[entry_id].request
        workload = request.workload if request else None
        return TrialWanted(
            found[0].name,
            found[1],
            f"Again: {found[0].title}",
            class_id=workload.class_id if workload else "",
            metric=workload.metric if workload else None,
            release=self._latched,
        )

    def at_once(self, entry_id: str) -> Message | None:
        """Apply it again. While panic is latched, the first ``a`` only asks."""
        found = self.policy_of(entry_id)
        if found is None or (self._latched and not self._release.granted(entry_id)):
            return None
        return PresetWanted(found[0].name, self._latched, found[1])

    def more_keys(self, entry_id: str) -> list[tuple[str, str]]:
        """The story, a copy, the policy's own, and the line."""
        if not entry_id:
            return []
        found = self.policy_of(entry_id)
        record = self._records[entry_id]
        steps = [("o", "Story")] if record.request is not None and record.request.trajectory else []
        copy = [("e", "Export")] if record.name else []
        at_once = [("a", "At once")] if self.verb(entry_id) else []
        return [*at_once, *steps, *copy, *policy_keys(found[0] if found else None), ("/", "Search")]

    def left(self) -> Message | None:
        """Applying goes on without its screen; F12 is what ends it."""
        return None

    def policy_of(self, entry_id: str) -> tuple[Policy, dict[str, Setting]] | None:
        """The policy that it came to, with the settings of then as far as it still has them."""
        record = self._records.get(entry_id)
        policy = self._policies.get(record.policy) if record else None
        if record is None or policy is None:
            return None
        last = record.deployments or record.outcomes
        known = {each.name for each in policy.tunables}
        return policy, {name: value for name, value in last[0].settings.items() if name in known}

    @property
    def _latched(self) -> bool:
        return self.scheduler is not None and self.scheduler.latched

    def _entry(self, id: str, record: Record) -> Entry:
        sign, style = _sign(record)
        clock = time.strftime("%H:%M", time.localtime(record.time))
        remark = f"{clock}  {_STATES[record.state]}{_in_brief(record)}"
        return Entry(id, record.title, remark, group=self._group(record.time), sign=sign, sign_style=style)

    def _group(self, moment: float) -> str:
        day = _day(moment)
        if day == self._today:
            return "Today"
        return time.strftime("%A, %Y-%m-%d", time.localtime(moment))


class HistoryScreen(QuestionChooser):
    """The list with a line to filter it above, and what happened beside it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "story", "Story"),
        Binding("e", "export", "Export"),
    ]
    hint = "/ looks for words: a policy, a state, what you asked for"
    asking_keys = (("enter", "To the list"), ("esc", "Everything"))

    @dataclass
    class Loaded(Message):
        """The history was read, or could not be."""

        records: list[Record]
        notes: list[str]
        error: SchedtuiError | None = None

    def __init__(
        self,
        library: Library,
        info: MachineInfo,
        scheduler: Scheduler | None,
        *,
        act: Act | None = None,
        kernel: Path | None = None,
        today: float | None = None,
    ) -> None:
        self._past = HistoryChoices(library, info, scheduler, time.time() if today is None else today)
        super().__init__(self._past, act=act, kernel=kernel)

    def on_mount(self) -> None:
        """Read it meanwhile."""
        threading.Thread(target=self._read, name="history", daemon=True).start()

    def on_history_screen_loaded(self, message: Loaded) -> None:
        """Show what was read."""
        self._past.notes = message.notes
        if message.error is not None:
            self._past.show_failure(message.error)
        else:
            self._past.show_records(message.records)
        self.refresh_choices()

    @on(Input.Changed, "#question")
    def _question_changed(self) -> None:
        self._past.words = self.words
        self.refresh_choices()
        self._highlight("")

    def action_back(self) -> None:
        """One step back; the first drops the words."""
        if self._step == "list" and (self.question.has_focus or self.words):
            self.question.value = ""
            self._go("list")
        else:
            super().action_back()

    def action_story(self) -> None:
        """Everything that was said and done for a request, word by word."""
        record = self._past.record(self._entry_id() or "")
        if record is None or record.request is None or not record.request.trajectory:
            return
        from schedtui.screens.story import StoryScreen

        self.app.push_screen(StoryScreen(record.title, Path(record.request.trajectory)))

    def action_export(self) -> None:
        """A copy with all its steps, in the folder that schedtui was started in."""
        record = self._past.record(self._entry_id() or "")
        if record is None or not record.name:
            return
        from schedtui.agent.export import export

        target = Path(f"schedtui-{record.name}.json")
        try:
            missing = export(record, target)
            note = f"\n\n{missing}" if missing else ""
            self.app.notify(f"Written to {target.absolute()}.{note}", title="Export", markup=False)
        except BadFile as error:
            self.app.notify(f"{error.message}\n\n{error.remedy}", title="Export", severity="error", markup=False)

    def _read(self) -> None:
        store = Store()
        try:
            found = self.Loaded(entries(store), store.notes)
        except SchedtuiError as error:
            found = self.Loaded([], store.notes, error)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            found = self.Loaded([], store.notes, unexpected(error))
        if self.is_running:
            self.post_message(found)


def before_and_after(comparison: Comparison) -> Content:
    """Two bars on one scale, and the change in words."""
    if comparison.before is None or comparison.after is None:
        return labelled("Before and after", comparison.reason)
    largest = max(comparison.before, comparison.after) or 1.0
    style = {"better": "$text-success", "worse": "$text-error"}.get(comparison.verdict, "$text-accent")
    lines = [
        Content.assemble((f"{word:<7}", MUTED), (_bar(value / largest), of), f" {measured(comparison, value)}")
        for word, value, of in (("before", comparison.before, MUTED), ("after", comparison.after, style))
    ]
    return Content("\n").join([Content.styled("Before and after", f"bold {MUTED}"), *lines])


def _bar(share: float) -> str:
    fills = choose_glyphs().fills
    eighths = round(max(0.0, min(1.0, share)) * BAR_CELLS * 8)
    full, rest = divmod(eighths, 8)
    return (fills[8] * full + (fills[rest] if rest else "")).ljust(BAR_CELLS)


def _sign(record: Record) -> tuple[str, str]:
    glyphs = choose_glyphs()
    return {
        "kept": (glyphs.good, "$text-success"),
        "reverted": (glyphs.down, "$text-warning"),
        "failed": (glyphs.bad, "$text-error"),
        "canary": (glyphs.changing, "$text-accent"),
        "open": (glyphs.changing, MUTED),
    }.get(record.state, (glyphs.info, MUTED))


def _in_brief(record: Record) -> str:
    policy = f", {record.policy}" if record.request is not None and record.policy else ""
    change = next(
        (
            each.comparison.change_percent
            for each in record.deployments
            if each.comparison and each.comparison.change_percent is not None
        ),
        None,
    )
    if change is None and record.outcomes and not record.deployments:
        return f"{policy}, {in_words(record.outcomes[0])}"
    return policy + (f", {change:+.0f} %".replace("-", "−") if change is not None else "")


def _all_words(record: Record) -> str:
    return " ".join([record.title, record.policy, record.state, _STATES[record.state], record.result]).lower()


def _day(moment: float) -> tuple[int, int]:
    local = time.localtime(moment)
    return local.tm_year, local.tm_yday
