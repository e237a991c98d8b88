"""A model behind litellm as a Mind: any provider, Ollama, or any address that speaks the OpenAI protocol.

litellm runs in a process of its own (brain_child.py), started before the first question and killed when an answer is
no longer wanted. Keys come from the environment or the system's keyring and go to that process alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from schedtui.agent import text_calls
from schedtui.agent.budget import FREE, Price
from schedtui.agent.mind import Call, Message, MindFailed, Reply, Stopped, ToolSpec, Turn, Usage
from schedtui.agent.models import ModelChoice, chosen_model, key_for
from schedtui.backend.errors import BadFile

TRIES = 4
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0
_LOOK_S = 0.05
_START_S = 60.0
_LONGEST_LINE = 4 << 20
_READ = 1 << 16


class Fault(Struct, frozen=True, kw_only=True):
    """Why the other process has no answer."""

    kind: str
    message: str
    retriable: bool = False
    status: int | None = None
    retry_after_s: float | None = None


class Brain:
    """One model. Answers one question at a time; may be closed at any moment, from any thread."""

    needs_network = True
    """Also for an address on this computer: what listens there may pass it on."""

    def __init__(self, choice: ModelChoice, *, record: Path | None = None) -> None:
        self.choice = choice
        self.last_notes: tuple[str, ...] = ()
        """What a user should know of the last answer: retries, an answer that was cut."""
        self.record = record
        self._answers = 0
        self._child: _Child | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """See Mind."""
        return self.choice.model

    def warm(self) -> None:
        """Start the process, so that the first answer need not wait for it. Returns at once."""
        with self._lock:
            self._running()

    def price(self, stop: threading.Event) -> Price:
        """Of a token, as litellm knows it; FREE where it does not, and then each answer says so (``Usage.dollars``).

        Waits for the process to start. Raises Stopped.
        """
        with self._lock:
            child = self._running()
            try:
                child.send({"price_of": self.choice.model})
                deadline = time.monotonic() + _START_S
                told = child.receive(deadline, stop)
                while "price" not in told:
                    told = child.receive(deadline, stop)
            except (_Gone, MindFailed):
                self.close()  # the first answer begins another, or fails with the reason
                return FREE
            except Stopped:
                self.close()
                raise
        read, written = told["price"] or (0.0, 0.0)
        return Price(input_dollars=read, output_dollars=written)

    def answer(self, turn: Turn, on_text: Callable[[str], None], stop: threading.Event) -> Reply:
        """See Mind. Tries again, with growing pauses, what a server may do better the next time."""
        began = time.monotonic()
        notes: list[str] = []
        for attempt in range(TRIES):
            left_s = turn.timeout_s - (time.monotonic() - began)
            got = self._asked(turn, left_s, on_text, stop)
            if not isinstance(got, Fault):
                self.last_notes = (*notes, *got[1])
                return _with_seconds(got[0], time.monotonic() - began)
            wait_s = _pause_s(attempt, got.retry_after_s)
            last = attempt == TRIES - 1 or time.monotonic() - began + wait_s > turn.timeout_s
            if last or not got.retriable:
                raise _failed(got, self.choice, attempt + 1)
            notes.append(f"{_in_words(got)}; asked again after {wait_s:.1f} s")
            if stop.wait(wait_s):
                raise Stopped("Stopped while the model was to be asked again.")
        raise AssertionError("the last try either answers or raises")

    def close(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child:
            child.kill()

    def _asked(
        self, turn: Turn, left_s: float, on_text: Callable[[str], None], stop: threading.Event
    ) -> tuple[Reply, tuple[str, ...]] | Fault:
        request = self._request(turn, max(left_s, 1.0))
        with self._lock:
            child = self._running()
            deadline = time.monotonic() + max(left_s, 1.0) + (0 if child.ready else _START_S)
            try:
                child.send(request)
                told = child.receive(deadline, stop)
                while "reply" not in told and "fault" not in told:
                    if "text" in told:
                        on_text(told["text"])
                    told = child.receive(deadline, stop)
            except _Gone:
                self.close()
                return Fault(kind="Gone", message="the process that talks to the model ended", retriable=True)
            except (Stopped, MindFailed):
                self.close()
                raise
            if "fault" in told:
                fault = msgspec.convert(told["fault"], Fault)
                if fault.kind == "TooLong":
                    self.close()  # with it the connection, on which more still comes
                return fault
            self._answers += 1
            return self._reply(told["reply"])

    def _running(self) -> _Child:
        if self._child is None or not self._child.alive():
            self._child = _Child()
        return self._child

    def _request(self, turn: Turn, timeout_s: float) -> dict[str, Any]:
        plain = text_calls.with_tools_told(turn.messages, turn.tools)
        return {
            "model": self.choice.model,
            "api_base": self.choice.address,
            "api_key": key_for(self.choice),
            "form": self.choice.calls,
            "messages": [_wire(each) for each in turn.messages],
            "plain_messages": [_wire(each) for each in plain],
            "tools": [_tool(each) for each in turn.tools],
            "max_output_tokens": turn.max_output_tokens,
            "timeout_s": timeout_s,
            "record": self.record is not None,
        }

    def _reply(self, told: dict[str, Any]) -> tuple[Reply, tuple[str, ...]]:
        text = told["text"]
        calls = tuple(
            Call(id=each["id"] or f"call-{self._answers}-{index}", tool=each["tool"], arguments=each["arguments"])
            for index, each in enumerate(told["calls"])
        )
        notes = []
        if not told["native"] and not calls:
            text, calls = text_calls.call_in(text, self._answers)
        if told["finish"] == "length":
            notes.append("The answer was cut at its longest length")
        used = told["usage"]
        usage = Usage(calls=1, input_tokens=used["input"], output_tokens=used["output"], dollars=used["dollars"])
        if self.record is not None:
            _keep(self.record, self._answers, told["chunks"])
        return Reply(message=Message(role="assistant", text=text, calls=calls), usage=usage), tuple(notes)


class _Gone(Exception):
    """The process ended: killed, or out of memory."""


class _Child:
    """The process, and what came from it that was not read yet."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "schedtui.agent.brain_child"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._into, self._out = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._pending = bytearray()
        self.ready = False

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        try:
            data = memoryview(json.dumps(request).encode() + b"\n")
            while data:
                data = data[self._into.write(data) or 0 :]
        except OSError as error:
            raise _Gone from error

    def receive(self, deadline: float, stop: threading.Event) -> dict[str, Any]:
        """The next message. Raises Stopped, and MindFailed when the process ends or takes too long."""
        while True:
            end = self._pending.find(b"\n")
            if end >= 0:
                line = bytes(self._pending[:end])
                del self._pending[: end + 1]
                told: dict[str, Any] = json.loads(line)
                self.ready = True
                return told
            if stop.is_set():
                raise Stopped("Stopped while the model was answering.")
            if time.monotonic() > deadline or len(self._pending) > _LONGEST_LINE:
                raise MindFailed("The model did not answer in time.", "Try again, or choose another model.")
            if self._selector.select(_LOOK_S):
                data = os.read(self._out.fileno(), _READ)
                if not data:
                    raise _Gone
                self._pending += data

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._into, self._out):
            with contextlib.suppress(OSError):
                pipe.close()


def _pause_s(attempt: int, asked_s: float | None) -> float:
    """Doubling, with a little chance, so that many clients do not come back together; or what the server asked for."""
    if asked_s is not None:
        return min(max(asked_s, 0.0), _LONGEST_WAIT_S)
    return float(_FIRST_WAIT_S * 2**attempt * random.uniform(0.8, 1.2))


def _in_words(fault: Fault) -> str:
    if fault.kind == "RateLimitError":
        return "The model's server wants fewer questions (429)"
    if fault.status and fault.status >= 500:
        return f"The model's server is in trouble ({fault.status})"
    if fault.kind == "Timeout":
        return "The model's server did not answer in time"
    if fault.kind == "Gone":
        return "The process that talks to the model ended"
    return "The connection to the model broke off"


def _failed(fault: Fault, choice: ModelChoice, tries: int) -> MindFailed:
    again = f" It was asked {tries} times." if tries > 1 else ""
    where = choice.address or choice.model.partition("/")[0]
    plain: dict[str, tuple[str, str]] = {
        "AuthenticationError": (
            f"{where} does not accept the key for {choice.model}.",
            "Set another: schedtui model key.",
        ),
        "PermissionDeniedError": (f"{where} does not allow {choice.model} with this key.", "Choose another model."),
        "NotFoundError": (f"{where} has no model called {choice.model}.", "Choose another: schedtui model set NAME."),
        "ContextWindowExceededError": (f"What {choice.model} was told is too long for it.", "Choose a larger model."),
        "TooLong": (f"The answer of {choice.model} did not end, and was cut off.", "Try again, or another model."),
        "Gone": ("The process that talks to the model ended.", "Try again; nothing else was affected."),
        "BadRequestError": (f"{where} did not understand what {choice.model} was asked.", "Choose another model."),
    }
    message, remedy = plain.get(
        fault.kind,
        (f"{_in_words(fault)}.{again}", "Try again later, or let the offline adviser answer: schedtui model off."),
    )
    return MindFailed(message, remedy, fault.message)


def _with_seconds(reply: Reply, seconds: float) -> Reply:
    return msgspec.structs.replace(reply, usage=msgspec.structs.replace(reply.usage, seconds=seconds))


def _wire(message: Message) -> dict[str, Any]:
    """As the OpenAI protocol writes it."""
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    wire: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        wire["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": each.tool, "arguments": each.arguments}}
            for each in message.calls
        ]
    return wire


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": spec.name, "description": spec.description, "parameters": spec.schema},
    }


def _keep(folder: Path, number: int, chunks: Sequence[dict[str, Any]]) -> None:
    """What the server said, one file an answer; tests/agent/server.py can say it again. Raises BadFile."""
    path = folder / f"{number:03d}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"chunks": chunks}, indent=1), encoding="utf-8")
    except OSError as error:
        raise BadFile(
            f"What the model's server said cannot be kept in {folder}: {error.strerror or error}.",
            "Make room, choose another folder, or ask without --record.",
        ) from error


def configured_mind(record: Path | None = None) -> Brain | None:
    """The model that the user chose, its process already starting; None when none was chosen. Raises BadFile."""
    choice = chosen_model()
    if choice is None:
        return None
    brain = Brain(choice, record=record)
    brain.warm()
    return brain


class Tested(Struct, frozen=True, kw_only=True):
    """What a test of a model found."""

    ok: bool
    text: str
    """In a sentence or two."""
    remedy: str = ""
    usage: Usage | None = None
    calls_tools: bool = False


def check_model(brain: Brain, stop: threading.Event | None = None) -> Tested:
    """Ask the model to call one small tool: does it answer, does it call, what did it cost. Never raises."""
    choice = brain.choice
    question = "Call the tool `ready` with the word `yes`."
    schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    turn = Turn(
        role="observe",
        messages=(
            Message(role="system", text="You are being tested. Answer by calling the tool."),
            Message(role="user", text=question),
        ),
        tools=(ToolSpec(name="ready", description="Says that you are ready.", schema=schema),),
        max_output_tokens=500,
        timeout_s=30.0,
    )
    try:
        reply = brain.answer(turn, lambda _: None, stop or threading.Event())
    except (MindFailed, Stopped) as error:
        return Tested(ok=False, text=error.message, remedy=error.remedy)
    called = [each.tool for each in reply.message.calls] == ["ready"]
    cost = _cost_in_words(reply.usage.dollars)
    took = f"{choice.model} answered after {reply.usage.seconds:.1f} s; {cost}."
    if called:
        return Tested(ok=True, text=f"{took} It calls tools.", usage=reply.usage, calls_tools=True)
    return Tested(
        ok=False,
        text=f"{took} But it did not call the tool that it was asked to call.",
        remedy="Try the plain form of calls (schedtui model set --calls text), or another model.",
        usage=reply.usage,
    )


def _cost_in_words(dollars: float | None) -> str:
    if dollars is None:
        return "what it costs is not known"
    return "it costs nothing" if dollars == 0 else f"that cost {dollars:.5f} dollars"
