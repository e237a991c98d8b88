"""Everything that was said and done in a request, in one JSON file: what was sent, what came back, what happened.

Written whole after every step, so that a crash loses one step at most; read back as a story for people (``story``) or
as a mind that answers the same again (``Replay``). Every text goes through the masker first: no file holds a key.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from schedtui.agent import events as happened
from schedtui.agent.events import AnyEvent, Listen
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Message, MindFailed, Reply, RoleName, ToolSpec, Turn, Usage
from schedtui.agent.tools import mapped
from schedtui.backend.errors import BadFile
from schedtui.paths import data_dir

VERSION = 1
LARGEST_BYTES = 16 << 20
_LONGEST_TEXT = 64_000
_SHORTEST_TEXT = 300
_ROOM_BYTES = 8 << 20
"""Texts are kept whole until they sum up to this; then their beginnings."""
_MOST_EVENTS = 4000


class TurnRecord(Struct, kw_only=True):
    """One question to a mind, and its answer."""

    sent: int
    """How many of the conversation's messages it was given: the first so many."""
    max_output_tokens: int
    reply: Message | None = None
    """As it came; what was sent further of it may be shorter. None: there was no answer."""
    usage: Usage = Usage()
    problem: str = ""
    """Why there was no answer."""


class Conversation(Struct, kw_only=True):
    """One role at work once."""

    role: RoleName
    tools: tuple[ToolSpec, ...]
    messages: list[Message] = field(default_factory=list)
    turns: list[TurnRecord] = field(default_factory=list)


class Record(Struct, kw_only=True):
    """What the file holds."""

    version: int = VERSION
    request: str
    mind: str
    leaves_computer: bool
    """Whether the mind is somewhere else; then names are masked beside secrets."""
    began: float
    """Unix time."""
    usage: Usage = Usage()
    conversations: list[Conversation] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


class Trajectory:
    """The file of one request, while it is written."""

    def __init__(self, words: str, mind: str, masker: Masker, *, leaves_computer: bool, path: Path | None = None):
        now = time.time()
        self.path = path or _fresh_path(now)
        self._masker = masker
        self._room = _ROOM_BYTES
        self._lock = threading.Lock()
        self._saying: list[str] = []
        self.record = Record(request=self._kept(words), mind=mind, leaves_computer=leaves_computer, began=now)

    def begin(self, role: RoleName, tools: tuple[ToolSpec, ...]) -> Conversation:
        """A role goes to work."""
        conversation = Conversation(role=role, tools=tools)
        with self._lock:
            self.record.conversations.append(conversation)
        return conversation

    def note(self, event: AnyEvent) -> None:
        """Keep an event. Pieces of a saying, and steps of one measurement, become one."""
        fresh = msgspec.to_builtins(event)
        with self._lock:
            log = self.record.events
            last = log[-1] if log else {}
            if isinstance(event, happened.Said):
                if not self._saying or last["role"] != event.role:
                    self._end_saying()
                    if len(log) >= _MOST_EVENTS:
                        return
                    log.append(fresh)
                self._saying.append(event.text)
                return
            self._end_saying()
            if fresh["event"] == last.get("event") == "measured" and not last["final"]:
                log.pop()
            if len(log) < _MOST_EVENTS or isinstance(event, happened.Ended):
                log.append(mapped(fresh, self._kept))

    def listening(self, listen: Listen) -> Listen:
        """A listener that keeps every event and hands it on."""

        def both(event: AnyEvent) -> None:
            self.note(event)
            listen(event)

        return both

    def kept(self, message: Message) -> Message:
        """A message as it is written down: masked, and no longer than there is room for."""
        return msgspec.structs.replace(
            message,
            text=self._kept(message.text),
            calls=tuple(
                msgspec.structs.replace(
                    each, id=each.id[:100], tool=self._kept(each.tool[:200]), arguments=self._kept_json(each.arguments)
                )
                for each in message.calls[:100]
            ),
        )

    def save(self) -> None:
        """Write it all. Raises BadFile when it cannot be; the file of the step before is still there then."""
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._lock:
                self._end_saying()
                content = msgspec.json.encode(self.record)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            fresh.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            reason = error.strerror or str(error)
            raise BadFile(f"What was said cannot be kept in {self.path}: {reason}.", "The request goes on.") from error

    def _end_saying(self) -> None:
        """Mask what came in pieces as a whole: a piece alone does not show that it is a part of a secret."""
        if self._saying:
            self.record.events[-1]["text"] = self._kept("".join(self._saying))
            self._saying.clear()

    def _kept_json(self, text: str) -> str:
        """The same for JSON, which stays JSON where it was."""
        if len(text) <= _LONGEST_TEXT:
            with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeError):
                value = msgspec.json.decode(text)
                masked = mapped(value, self._masker.masked)
                self._room -= len(text)
                return text if masked == value else msgspec.json.encode(masked).decode()
        return self._kept(text)

    def _kept(self, text: str) -> str:
        """Masked, and cut when it is long; a text that was cut says so."""
        longest = max(_SHORTEST_TEXT, min(_LONGEST_TEXT, self._room))
        cut = text if len(text) <= longest else f"{text[:longest]}… [{len(text) - longest} more characters]"
        self._room -= len(cut)
        return self._masker.masked(cut).encode(errors="replace").decode()


def read(path: Path) -> Record:
    """A trajectory from its file. Raises BadFile."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise BadFile(f"{path} is too large to be a trajectory.")
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadFile(f"{path} is damaged, or no trajectory: {error}.") from error
    if record.version > VERSION:
        raise BadFile(f"{path} was written by a newer schedtui.", "Update schedtui.")
    return record


def story(path: Path) -> str:
    """The request as it went, in plain words, then exactly what was sent and what came back. Raises BadFile."""
    record = read(path)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.began))
    where = "somewhere else, so names were masked" if record.leaves_computer else "on this computer"
    lines = [f"“{record.request}”", f"{when}, answered by {record.mind} ({where}).", ""]
    lines += [line for each in record.events for line in _event_lines(each)]
    usage = record.usage
    money = "unknown price" if usage.dollars is None else f"${usage.dollars:.3f}"
    tokens = usage.input_tokens + usage.output_tokens
    lines += [
        "",
        f"It took {usage.calls} calls of the mind, {tokens} tokens, {money}.",
        "",
        "What was said, word by word",
    ]
    for each in record.conversations:
        lines += ["", f"{_ROLES[each.role]}; it had the tools {', '.join(tool.name for tool in each.tools)}."]
        lines += [line for message in each.messages for line in _message_lines(message)]
        lines += [f"  No answer: {turn.problem}" for turn in each.turns if turn.problem]
    return "\n".join(lines) + "\n"


_ROLES: dict[RoleName, str] = {
    "observe": "Observe looked at what runs",
    "plan": "Plan chose what to try",
    "execute": "Execute tried it",
    "learn": "Learn kept what is worth knowing",
}
_SPEAKERS = {"system": "rules", "user": "asked", "assistant": "mind", "tool": "answer"}


def _message_lines(message: Message) -> list[str]:
    said = _indented(message.text, f"  {_SPEAKERS[message.role]:<7}") if message.text else []
    return said + [f"  {'call':<7}{each.tool} {each.arguments}" for each in message.calls]


def _event_lines(data: dict[str, Any]) -> list[str]:
    try:
        event = msgspec.convert(data, AnyEvent)
    except msgspec.ValidationError:
        return ["         (something that this version cannot read)"]
    words = _words(event)
    return _indented(words, f"{event.at_s:6.1f} s ") if words else []


def _words(event: AnyEvent) -> str:
    """One event in plain words; empty for what only a moving display needs."""
    match event:
        case happened.RoleBegan():
            return f"{event.why}."
        case happened.Said() | happened.Progressed() | happened.Learned():
            return event.text.strip()
        case happened.Called():
            return f"→ {event.title}"
        case happened.Returned():
            return f"{'←' if event.ok else '✗'} {event.summary}"
        case happened.Observed():
            workload = event.workload
            return f"Seen: {workload.sentence} Taken for {workload.class_id}: {'; '.join(workload.evidence)}."
        case happened.Planned():
            plan = event.plan
            settings = ", ".join(f"{name} = {value}" for name, value in plan.settings.items())
            with_settings = f" with {settings}" if settings else ""
            return f"Plan: {plan.mode} {plan.policy}{with_settings}. {plan.reason} Expected: {plan.expected}"
        case happened.Proven():
            found = len(event.report.findings)
            return f"Verified {event.report.name}: {event.report.verdict}, {found} findings."
        case happened.Asked():
            choices = " / ".join(words for _, words in event.question.choices)
            return f"? {event.question.title} {event.question.text} [{choices}]"
        case happened.Answered():
            return f"! {event.choice} (by {event.by})"
        case happened.Measured():
            return _measured(event)
        case happened.Deployed():
            return f"{event.deployment.policy}: {event.deployment.state}. {event.deployment.reason}"
        case happened.Steered():
            return f"You added: {event.words}"
        case happened.Warned():
            return f"⚠ {event.text}"
        case happened.Ended():
            return f"End: {event.state}. {event.text} {event.remedy}".strip()
        case happened.Spent():
            return ""


def _measured(event: happened.Measured) -> str:
    it = event.comparison
    if it.before is None or it.after is None:
        return f"Measured: {it.verdict}. {it.reason}".strip()
    change = "" if it.change_percent is None else f" ({it.change_percent:+.0f} %)"
    values = f"{it.metric.name} {it.before:g} before, {it.after:g} after{change}"
    return f"Measured {values}: {it.verdict}. {it.reason}".strip()


def _indented(text: str, head: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [head + first, *(" " * len(head) + line for line in rest)]


class Replay:
    """A mind that answers as a recorded one did, as long as it is asked the same.

    The same: the role, and who said what in which order, tool by tool. ``exact`` wants every word the same too;
    without it measured numbers may differ.
    """

    needs_network = False

    def __init__(self, path: Path, *, exact: bool = False) -> None:
        record = read(path)
        self.path = path
        self.name = f"replay of {record.mind}"
        self._exact = exact
        self._turns = [(each, turn) for each in record.conversations for turn in each.turns]
        self._at = 0

    def answer(self, turn: Turn, on_text: Callable[[str], None], _stop: threading.Event) -> Reply:
        """The recorded answer. Raises MindFailed that says where the request went another way, or what failed then."""
        self._at += 1
        if self._at > len(self._turns):
            raise self._differs(f"the recording ends after {len(self._turns)} answers")
        conversation, recorded = self._turns[self._at - 1]
        if turn.role != conversation.role:
            raise self._differs(f"{turn.role} asks, the recording has {conversation.role}")
        self._compare(conversation.messages[: recorded.sent], turn.messages)
        if recorded.reply is None:
            raise MindFailed(recorded.problem or "There was no answer.")
        if recorded.reply.text:
            on_text(recorded.reply.text)
        return Reply(message=recorded.reply, usage=recorded.usage)

    def _compare(self, then: list[Message], now: tuple[Message, ...]) -> None:
        if len(then) != len(now):
            raise self._differs(f"{len(now)} messages were sent, the recording has {len(then)}")
        for number, (old, new) in enumerate(zip(then, now, strict=True), start=1):
            if _outline(old) != _outline(new):
                raise self._differs(f"message {number} is {_told(new)}, in the recording {_told(old)}")
            if self._exact and old != new:
                raise self._differs(f"the words of message {number} ({new.role}) are others", _difference(old, new))

    def _differs(self, what: str, details: str = "") -> MindFailed:
        return MindFailed(
            f"The request went another way than {self.path.name} at its answer {self._at}: {what}.",
            "Record it anew, or mend what changed.",
            details,
        )


def _outline(message: Message) -> tuple[str, tuple[str, ...], str]:
    return message.role, tuple(each.tool for each in message.calls), message.call_id


def _told(message: Message) -> str:
    tools = ", ".join(each.tool for each in message.calls)
    return f"from {message.role}" + (f" calling {tools}" if tools else "")


def _difference(old: Message, new: Message) -> str:
    before, after = old.text.splitlines(), new.text.splitlines()
    for number, (was, now) in enumerate(zip(before, after, strict=False), start=1):
        if was != now:
            return f"line {number}\n- {was}\n+ {now}"
    return f"{len(before)} lines then, {len(after)} now"


def _fresh_path(now: float) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return data_dir() / "trajectories" / f"{stamp}-{os.urandom(3).hex()}.json"
