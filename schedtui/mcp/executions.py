"""Schedulers that a connected program runs by itself, and measures itself: proven, asked for, watched, never kept.

Each is a deployment that runs until the program stops it, runs another one, or is gone; a person can keep it or take it
away. What the words of a command line mean is flags.py's, how it is told to the program research.py's.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct, field

from schedtui.agent import planning, trying
from schedtui.agent.bench import Subject
from schedtui.agent.events import Deployed, Question
from schedtui.agent.trust import TrustLevel, needed_for
from schedtui.backend.deploy import Proposal
from schedtui.backend.errors import BadTunable, NotPermitted, NotProven, SchedtuiError, UnknownName
from schedtui.backend.library.starting import command_line, why_not
from schedtui.backend.model import Deployment, Policy, Report, Setting
from schedtui.mcp import flags
from schedtui.mcp.bench import ClientBench

CUSTOM = "custom:"
"""Before the name of a policy that was made for somebody; may be left out."""
_MOST_KNOWN = 200
_MOST_LINES = 1000
_LONGEST_LINE = 4000
State = Literal["running", "stopped", "failed"]


class Execution(Struct, kw_only=True):
    """One of them."""

    id: str
    policy: str
    command: str
    """As it is called: the scheduler's name, with CUSTOM before that of a generated one."""
    words: tuple[str, ...]
    """The arguments as they were given."""
    deployment: Deployment
    needed: TrustLevel
    asked: bool
    """A person said that it may run."""
    external: bool
    claim: str
    """How it was claimed that the machine is changed."""
    began: float
    """Unix time."""
    ended: float | None = None
    """Unix time."""
    state: State = "running"
    said: tuple[str, ...]
    """By the verifier, and by schedtui."""
    printed: tuple[str, ...] = ()
    """By an external scheduler's program, as far as it was seen."""
    seen: list[str] = field(default_factory=list)
    """What the machine told of it meanwhile."""

    @property
    def output(self) -> list[str]:
        """Everything, in lines; the last ones when there are too many."""
        return [*self.said, *self.printed, *self.seen, *self._end()][-_MOST_LINES:]

    def _end(self) -> list[str]:
        return [] if self.state == "running" else [self.deployment.reason]


def policy_called(bench: ClientBench, name: str) -> Policy:
    """The policy of the library; CUSTOM may stand before its name. Raises UnknownName."""
    wanted = name.strip()
    made = wanted.startswith(CUSTOM)
    wanted = as_name(wanted.removeprefix(CUSTOM)) or wanted
    policy = bench.library.policies.get(wanted)
    if policy is None or (made and policy.origin not in ("generated", "user")):
        raise UnknownName(
            f"The scheduler “{name[:60]}” was not found.",
            "list_schedulers names all that there are; create_and_verify_scheduler makes a new one.",
        )
    return policy


def as_name(words: str) -> str:
    """How a scheduler of such a name is called in the library: small letters, and - in place of blanks."""
    return "-".join(words.lower().split())


def understood(bench: ClientBench, name: str, words: Sequence[str]) -> tuple[Policy, dict[str, Setting]]:
    """What is to run, with which settings, if it can run here. Raises UnknownName, BadTunable, NotPermitted."""
    if sum(len(each) + 1 for each in words) > _LONGEST_LINE:
        raise BadTunable("That is no command line: it is too long.", f"{_LONGEST_LINE} characters at most.")
    policy, settings = flags.settings_from(policy_called(bench, name), words)
    if not bench.info.can_load:
        raise NotPermitted(bench.info.reason or "No scheduler can be loaded here.", "Use the lab: --machine lab.")
    if policy.binary and (why := why_not(policy, bench.info.kind)):
        raise NotPermitted(f"{policy.name} {why}.", "list_schedulers with production_ready names what can run.")
    return policy, planning.differing(policy, settings)


def run(bench: ClientBench, name: str, words: Sequence[str]) -> Execution:
    """Prove it, ask, and load it in place of what this client ran; returns once it runs.

    Raises what understanding, proving, asking and loading raise, and NotProven.
    """
    policy, settings = understood(bench, name, words)
    claim = f"it runs {policy.name}"
    bench.client.place.claim(bench.client, claim)
    try:
        end_all(bench, f"{bench.client.name} runs {policy.name} next.")
        with aside(bench, Subject(policy=policy, settings=settings)):
            report = trying.prove(bench)
            assert bench.subject is not None
            obj = bench.subject.obj
        if report.verdict == "fail":
            raise NotProven(
                f"{policy.name} did not pass the verifier, so it was not run.", "", trying.decisive(report.findings)
            )
        needed = needed_for(policy, settings, running=bench.machine.scheduler().policy)
        asked = bench.person.consent(needed, _question(bench, policy, settings))
        proposal = Proposal(policy=policy, settings=settings, preset=None, reason=f"{bench.client.name} runs it.")
        begun = bench.deployer.propose(proposal, asked_by=bench.mind_name, request=bench.request_id)
        try:
            running = bench.deployer.run(bench.deployer.verified(begun, report, obj))
        except BaseException as error:
            why = error.message if isinstance(error, SchedtuiError) else "The program was ended."
            bench.deployer.revert(begun, why)
            raise
    except BaseException:
        bench.client.place.release(bench.client, claim)
        raise
    bench.person.tell(Deployed, deployment=running)
    execution = Execution(
        id=f"{'custom' if policy.origin == 'generated' else 'sched'}_{secrets.token_hex(4)}",
        policy=policy.name,
        command=f"{CUSTOM}{policy.name}" if policy.origin == "generated" else policy.name,
        words=tuple(words),
        deployment=running,
        needed=needed,
        asked=asked,
        external=bool(policy.binary),
        began=time.time(),
        claim=claim,
        said=tuple(_said(bench, policy, settings, report)),
    )
    _forget_old(bench)
    bench.executions[execution.id] = execution
    return execution


def status(bench: ClientBench, id: str) -> Execution:
    """What has become of it. Raises UnknownName."""
    return _looked_at(bench, _known(bench, id))


def stop(bench: ClientBench, id: str) -> Execution:
    """It goes, and the kernel's own scheduler is back; one that has ended already stays as it is.

    Raises UnknownName, and NotPermitted for what a person kept meanwhile.
    """
    execution = _known(bench, id)
    if bench.deployer.current(execution.deployment).state == "kept":
        raise NotPermitted(f"A person kept {execution.policy}: it is theirs now.", "take_back, or ask them.")
    _end(bench, execution, f"{bench.client.name} stopped it.", bench.mind_name)
    return execution


def end_all(bench: ClientBench, why: str, *, by: str = "") -> None:
    """None of this client's runs on; what a person kept stays."""
    for each in list(bench.executions.values()):
        if each.ended is None and bench.deployer.current(each.deployment).state != "kept":
            _end(bench, each, why, by or bench.mind_name)


@contextlib.contextmanager
def aside(bench: ClientBench, subject: Subject) -> Iterator[None]:
    """Work on another subject than the request's, which comes back afterwards."""
    before, bench.subject = bench.subject, subject
    try:
        yield
    finally:
        bench.subject = before


def _known(bench: ClientBench, id: str) -> Execution:
    found = bench.executions.get(id)
    if not isinstance(found, Execution):
        raise UnknownName(f"The execution “{id[:60]}” was not found.", "run_scheduler names it when it begins.")
    return found


def _end(bench: ClientBench, execution: Execution, why: str, by: str) -> None:
    _looked_at(bench, execution)
    if execution.ended is not None:
        return
    execution.deployment = bench.deployer.revert(execution.deployment, why, by=by)
    execution.state, execution.ended = "stopped" if by == bench.mind_name else "failed", time.time()
    bench.client.place.release(bench.client, execution.claim)
    bench.person.tell(Deployed, deployment=execution.deployment)


def _looked_at(bench: ClientBench, execution: Execution) -> Execution:
    """Brought up to date; what was taken away in between speaks against whoever chose it."""
    if execution.ended is not None:
        return execution
    current = execution.deployment = bench.deployer.current(execution.deployment)
    execution.seen += _news(bench, execution)
    if execution.external:
        with contextlib.suppress(SchedtuiError):
            printed = bench.machine.output()
            execution.printed = tuple(printed.splitlines()[-_MOST_LINES:]) or execution.printed
    if current.state == "reverted":
        execution.state, execution.ended = "failed", current.changed
        with contextlib.suppress(SchedtuiError):  # who cannot be judged is not trusted
            bench.client.trust.note(execution.needed, "reverted", asked=execution.asked)
        bench.client.place.release(bench.client, execution.claim)
    return execution


def _news(bench: ClientBench, execution: Execution) -> list[str]:
    """What the machine told since then, that is not here yet."""
    lines = []
    for frame in bench.watch.last(60):
        for event in frame.events:
            if event.time >= execution.began - 1:
                lines += [line for line in (event.text, *event.details.splitlines()) if line]
    return [each for each in dict.fromkeys(lines) if each not in execution.seen][:_MOST_LINES]


def _said(bench: ClientBench, policy: Policy, settings: dict[str, Setting], report: Report) -> Iterator[str]:
    chosen = " ".join(f"{name}={value}" for name, value in settings.items())
    yield f"verifier: {report.verdict}, on Linux {report.kernel.release if report.kernel else 'none'}"
    for each in report.findings:
        if each.severity != "note":
            yield f"verifier: {each.severity} {each.rule} at {each.place}: {each.meaning}"
    if policy.binary:
        yield f"started: {command_line(policy, settings)}"
    else:
        yield f"loaded: {policy.name}{f' with {chosen}' if chosen else ', with its defaults'}"
    with contextlib.suppress(SchedtuiError):
        now = bench.machine.scheduler()
        yield f"kernel: {now.name} is {now.sched_ext}"


def _question(bench: ClientBench, policy: Policy, settings: dict[str, Setting]) -> Question:
    return Question(
        id=f"run-{secrets.token_hex(4)}",
        kind="try",
        title=f"Let {bench.client.name} run {policy.name}?",
        text="It passed the verifier. It is not measured by schedtui, runs until the program stops it or is gone, "
        f"and {bench.way_back} takes it away at any moment.",
        choices=(("yes", "Run it"), ("no", "Leave everything as it is")),
        policy=policy.name,
        settings=settings,
        source=trying.source_of(policy) if policy.origin == "generated" else "",
    )


def _forget_old(bench: ClientBench) -> None:
    ended = [id for id, each in bench.executions.items() if each.ended is not None]
    for id in ended[: max(0, len(bench.executions) - _MOST_KNOWN)]:
        del bench.executions[id]
