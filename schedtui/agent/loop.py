"""The loop in which a role works: ask the mind, run the tools it calls, tell it what they said, until it ends.

One step is one answer of the mind. Limits are checked in ``_check``, texts masked in ``_add``, everything saved after
every step. What the roles are for is roles.py's; what the tools may do, theirs; what an answer costs, the budget's.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic

import msgspec
from msgspec import Struct, field

from schedtui.agent.budget import Allowance, Budget
from schedtui.agent.events import AnyEvent, Called, Listen, Returned, Said, Spent, Steered, Warned
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Call, Message, Mind, MindFailed, OverBudget, Reply, RoleName, Stopped, Turn
from schedtui.agent.tools import (
    Arguments,
    BenchT,
    Correction,
    Result,
    Toolbox,
    as_data,
    cleaned,
    refusal,
)
from schedtui.agent.trajectory import Conversation, Trajectory, TurnRecord
from schedtui.backend.errors import BadFile, SchedtuiError

CORRECTIONS = 3
"""In a row; then the mind cannot do it."""
CALLS_IN_A_REPLY = 8
STEPS = 12
ANSWER_S = 120.0
"""The longest that one answer may take."""
_GRACE_S = 1.0
_POLL_S = 0.05
_LONGEST_SAYING = 20_000
_LONGEST_STEERING = 2000
_ID = re.compile(r"[\w.:-]{1,64}")


class Misbehaved(MindFailed):
    """A mind whose answers could not be used, however often it was told what to mend."""

    kind = "mind-misbehaved"


class Ending(Struct, frozen=True, kw_only=True):
    """How a role ended: the tool that it ended with."""

    tool: str
    arguments: Arguments
    result: Result


class RoleEnded(Exception):
    """The ending tool was called, and answered ok."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.tool)
        self.ending = ending


class Talk(Struct, kw_only=True):
    """One role at work: what was said so far."""

    role: RoleName
    record: Conversation
    facts: dict[str, Any]
    results: list[dict[str, Any]] = field(default_factory=list)
    steering: list[str] = field(default_factory=list)
    limit: int
    """Steps that it may take."""
    steps: int = 0
    corrections: int = 0
    messages: list[Message] = field(default_factory=list)


class Loop(Generic[BenchT]):
    """The loop of one request; its roles run one after the other, in one thread.

    ``steering`` gets what the user adds meanwhile, from any thread; ``stop`` ends it within 0.1 s wherever it is,
    save inside a tool, which has to heed it by itself. ``since`` is the monotonic time at which the request began.
    ``more`` is asked at a limit, whether the role goes on where it is; it grants the budget, the loop as many steps.
    """

    def __init__(
        self,
        *,
        mind: Mind,
        toolbox: Toolbox[BenchT],
        bench: BenchT,
        budget: Budget,
        trajectory: Trajectory,
        masker: Masker,
        listen: Listen,
        stop: threading.Event,
        steering: queue.SimpleQueue[str],
        since: float | None = None,
        more: Callable[[OverBudget], bool] = lambda _over: False,
    ) -> None:
        self.mind = mind
        self.toolbox = toolbox
        self.bench = bench
        self.budget = budget
        self.trajectory = trajectory
        self.masker = masker
        self.stop = stop
        self.steering = steering
        self._since = time.monotonic() if since is None else since
        self._listen = listen
        self._more = more
        self._warned: set[str] = set()

    def run(
        self, role: RoleName, messages: Iterable[Message], facts: Mapping[str, Any] | None = None, *, steps: int = STEPS
    ) -> Ending:
        """Let ``role`` work from these first messages until it calls a tool that ends it.

        ``facts`` is what they were written from, for minds that read no prose; they get it with ``results`` (``tool``,
        ``arguments``, ``ok``, ``data`` of each call so far) and ``steering`` (what the user added). Raises Stopped,
        OverBudget, Misbehaved, and MindFailed.
        """
        record = self.trajectory.begin(role, self.toolbox.specs(role))
        talk = Talk(role=role, record=record, facts=dict(facts or {}), limit=steps)
        for message in messages:
            self._add(talk, message)
        try:
            while True:
                try:
                    self._step(talk)
                except OverBudget as over:
                    if not self._more(over):
                        raise
                    talk.limit = talk.steps + steps
        except RoleEnded as ended:
            return ended.ending
        finally:
            self._save()

    def _step(self, talk: Talk) -> None:
        self._steer(talk)
        allowance = self._check(talk)
        reply = self._ask(talk, allowance)
        talk.steps += 1
        message = _usable(reply.message, talk.steps)
        self._add(talk, message)
        try:
            self._act(talk, message, reply.message.calls)
        except Correction as correction:
            self._correct(talk, str(correction))
        else:
            talk.corrections = 0
        self._save()

    def _check(self, talk: Talk) -> Allowance:
        """What the next answer may use. Raises Stopped and OverBudget: the one place of all limits."""
        self._check_stop()
        if talk.steps >= talk.limit:
            raise OverBudget(
                f"{talk.role} came to no end in {talk.limit} steps, which is the limit.", "Ask it in other words."
            )
        return self.budget.check(_characters(talk))

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Stopped("Stopped, as you asked.")

    def _steer(self, talk: Talk) -> None:
        """Hand on what the user said meanwhile."""
        while True:
            try:
                words = cleaned(self.steering.get_nowait())[:_LONGEST_STEERING].strip()
            except queue.Empty:
                return
            if words:
                talk.steering.append(words)
                self._add(talk, Message(role="user", text=f"The user adds: {words}"))
                self._tell(Steered(at_s=self._now(), words=words))

    def _ask(self, talk: Talk, allowance: Allowance) -> Reply:
        """The mind's answer to all that was said, counted and kept."""
        turn = Turn(
            role=talk.role,
            messages=tuple(talk.messages),
            tools=talk.record.tools,
            facts={} if self.mind.needs_network else _facts(talk),
            max_output_tokens=allowance.output_tokens,
            timeout_s=min(ANSWER_S, allowance.seconds),
        )
        entry = TurnRecord(sent=len(turn.messages), max_output_tokens=turn.max_output_tokens)
        talk.record.turns.append(entry)
        try:
            reply = self._answer(talk.role, turn)
        except SchedtuiError as error:
            entry.problem = self.masker.masked(error.message)
            raise
        entry.reply, entry.usage = self.trajectory.kept(reply.message), reply.usage
        self.trajectory.record.usage = self.budget.spend(reply.usage, _characters(talk))
        self._tell(Spent(at_s=self._now(), usage=self.budget.usage))
        if self.budget.unpriced:
            self._warn("The price of this model is not known: its tokens are counted, and not its money.")
        return reply

    def _answer(self, role: RoleName, turn: Turn) -> Reply:
        """Ask in a thread of its own, so that stop and the time limit hold whatever the mind does."""
        out: queue.SimpleQueue[str | Reply | BaseException] = queue.SimpleQueue()

        def work() -> None:
            try:
                out.put(self.mind.answer(turn, out.put, self.stop))
            except BaseException as error:  # noqa: BLE001  it is raised again in the loop's thread
                out.put(error)

        threading.Thread(target=work, name="mind", daemon=True).start()
        deadline = time.monotonic() + turn.timeout_s + _GRACE_S
        said = 0
        while True:
            self._check_stop()
            if time.monotonic() > deadline:
                late = f"{self.mind.name} did not answer within {turn.timeout_s:.0f} s."
                raise MindFailed(late, "Ask again, or another model.")
            try:
                came = out.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(came, BaseException):
                raise came
            if isinstance(came, Reply):
                return came
            if said < _LONGEST_SAYING:
                self._tell(Said(at_s=self._now(), role=role, text=cleaned(came[: _LONGEST_SAYING - said])))
                said += len(came)

    def _act(self, talk: Talk, message: Message, calls: tuple[Call, ...]) -> None:
        """Run the calls of a reply in order. After one that failed the rest is not run: it may build on it.

        ``calls`` are those of ``message`` as the mind wrote them.
        """
        if not calls:
            names = ", ".join(each.name for each in self.toolbox.tools(talk.role))
            raise Correction(f"Your answer calls no tool, so nothing was done. Answer with a call of one of: {names}.")
        wrong = skip = ""
        over: OverBudget | None = None
        if len(calls) > CALLS_IN_A_REPLY:
            skip = wrong = (
                f"None of your {len(calls)} calls was run: call at most {CALLS_IN_A_REPLY} tools in an answer."
            )
        for safe, call in zip(message.calls, calls, strict=False):
            if skip:
                self._answer_call(talk, safe, skip)
                continue
            self._check_stop()
            try:
                self.budget.check_time()
                ok = self._call(talk, safe, call)
            except OverBudget as error:
                over, skip = error, "Not run, because the budget was used up. Call it again if it is still wanted."
                self._answer_call(talk, safe, skip)
                continue
            except Correction as correction:
                wrong = str(correction)
                self._answer_call(talk, safe, wrong)
                ok = False
            skip = "" if ok else f"Not run, because the call of {safe.tool} before it did not work."
        if over is not None:
            raise over
        if wrong:
            raise Correction(wrong)

    def _call(self, talk: Talk, safe: Call, call: Call) -> bool:
        """Run one call and tell what it said; whether it worked. Raises Correction, and RoleEnded."""
        what = self.toolbox.understood(call, talk.role, self.masker.restored)
        given = msgspec.to_builtins(what.arguments)
        self._tell(Called(at_s=self._now(), role=talk.role, tool=call.tool, arguments=given, title=what.title))
        try:
            result = self.toolbox.run(self.bench, what)
        except (Stopped, OverBudget):
            raise
        except SchedtuiError as error:
            result = refusal(error)
        except Correction as correction:
            self._returned(talk, call, Result(text=str(correction), summary=str(correction), ok=False))
            raise
        self._returned(talk, call, result)
        told = {"tool": call.tool, "arguments": given, "ok": result.ok, "data": result.facts}
        talk.results.append(told)
        self._answer_call(talk, safe, result.text, source=call.tool)
        if what.tool.ends and result.ok:
            raise RoleEnded(Ending(tool=call.tool, arguments=what.arguments, result=result))
        return result.ok

    def _returned(self, talk: Talk, call: Call, result: Result) -> None:
        self._tell(
            Returned(
                at_s=self._now(),
                role=talk.role,
                tool=call.tool,
                ok=result.ok,
                summary=result.summary,
                details=result.details,
            )
        )

    def _correct(self, talk: Talk, words: str) -> None:
        """Tell the mind what to mend, or give it up."""
        talk.corrections += 1
        self._tell(Warned(at_s=self._now(), text=words))
        if talk.corrections > CORRECTIONS:
            raise Misbehaved(
                f"{self.mind.name} did not manage to say what it wants: {words}",
                "Nothing was changed. Ask again, take another model, or none: the offline adviser needs none.",
            )
        if talk.messages[-1].role == "assistant":
            self._add(talk, Message(role="user", text=words))

    def _answer_call(self, talk: Talk, call: Call, text: str, source: str = "") -> None:
        """Every call of a reply gets its answer, as servers demand."""
        told = as_data(source, text) if source else text
        self._add(talk, Message(role="tool", text=told, call_id=call.id))

    def _add(self, talk: Talk, message: Message) -> None:
        """Say it, masked: nothing of ours reaches a mind or the trajectory in another way."""
        sent = msgspec.structs.replace(message, text=self.masker.masked(message.text))
        talk.messages.append(sent)
        talk.record.messages.append(self.trajectory.kept(sent))

    def _save(self) -> None:
        try:
            self.trajectory.save()
        except BadFile as error:
            self._warn(error.message)

    def _warn(self, text: str) -> None:
        """Once in a request."""
        if text not in self._warned:
            self._warned.add(text)
            self._tell(Warned(at_s=self._now(), text=text))

    def _tell(self, event: AnyEvent) -> None:
        self._listen(event)

    def _now(self) -> float:
        return time.monotonic() - self._since


def _facts(talk: Talk) -> dict[str, Any]:
    return {**talk.facts, "results": tuple(talk.results), "steering": tuple(talk.steering)}


def _usable(message: Message, step: int) -> Message:
    """A reply as it can be sent back: servers refuse odd names, and calls that share an id or hold no JSON."""
    calls: list[Call] = []
    for number, call in enumerate(message.calls[:CALLS_IN_A_REPLY], start=1):
        taken = {each.id for each in calls}
        given = call.id if _ID.fullmatch(call.id) and call.id not in taken else f"call-{step}-{number}"
        name = re.sub(r"[^A-Za-z0-9_-]", "_", call.tool[:60]) or "unknown"
        calls.append(Call(id=given, tool=name, arguments=_sendable(call.arguments)))
    return Message(role="assistant", text=cleaned(message.text[:_LONGEST_SAYING]), calls=tuple(calls))


def _sendable(arguments: str) -> str:
    """The arguments when they are an object of a sensible size, else an object that holds their beginning."""
    if len(arguments) <= _LONGEST_SAYING * 4:
        try:
            if isinstance(msgspec.json.decode(arguments), dict):
                return arguments
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            pass
    return msgspec.json.encode({"not_usable": cleaned(arguments[:200])}).decode()


def _characters(talk: Talk) -> int:
    """Of the whole prompt, tools and all."""
    said = sum(len(each.text) + sum(len(call.arguments) for call in each.calls) + 10 for each in talk.messages)
    return said + sum(len(each.description) + len(str(each.schema)) for each in talk.record.tools)
