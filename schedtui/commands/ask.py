"""``schedtui ask``: a sentence in plain words, answered with a scheduler that was proven, tried and measured.

The engine does the work; here its events become lines, its questions are put to whoever sits at the terminal, and what
came of it becomes JSON and an exit code.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shlex
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.backend.errors import SchedtuiError
from schedtui.commands.hold import run_on
from schedtui.commands.options import Duration, json_option, lab_options, machine_option
from schedtui.commands.verify import report_keys
from schedtui.config import asks_never
from schedtui.console import NOT_DONE, Console, Stopped, opened

if TYPE_CHECKING:
    from schedtui.agent.bench import Request
    from schedtui.agent.engine import Consent, Engine, Story
    from schedtui.agent.events import AnyEvent, Asked, Question
    from schedtui.agent.mind import Mind
    from schedtui.backend.machine import Machine
    from schedtui.backend.model import Comparison, MachineInfo

NOT_UNDERSTOOD = 3
"""Neither done nor failed: a person has to choose."""
_POLL_S = 0.1
_QUICK_CANARY_S = 8.0
_STDIN = 0
EPILOG = """\b
Exit codes:
  0        something was proposed, or tried and then kept or taken away: “state” says which
  1        it came to no end: nothing could be proven, the model failed, a limit was reached
  2        the command line makes no sense
  3        the words fit no goal, or several: choose with “schedtui apply PRESET”
  128 + N  ended by signal N, everything closed and restored"""


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, required=True)
@machine_option
@click.option("--yes", is_flag=True, help="Ask nothing: what is proven is tried, and kept when it is better.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Your project, to look at. [default: the one in WORDS]",
)
@click.option(
    "--command", metavar="COMMAND", help="A command that should end sooner. [default: the one in `backticks`]"
)
@click.option("--load", "loads", multiple=True, metavar="KIND", help="A load to run in the lab. Repeatable.")
@click.option(
    "--for", "seconds", type=Duration(), metavar="DURATION", help="In the lab: how long what is kept runs on."
)
@click.option("--quick", is_flag=True, help="Prove and measure it only briefly.")
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="DIR", help="Write what the model's server says to DIR."
)
@lab_options
@json_option
@click.pass_context
def ask(
    context: click.Context,
    words: tuple[str, ...],
    machine: str | None,
    yes: bool,
    folder: Path | None,
    command: str | None,
    loads: tuple[str, ...],
    seconds: float | None,
    quick: bool,
    record: Path | None,
    kernel: Path | None,
    cpus: int | None,
    as_json: bool,
) -> None:
    """Say in plain words what you do; get a scheduler for it: chosen, proven, tried and measured.

    For example: schedtui ask "my game stutters while obs records"
    """
    sentence = _sound(words)
    from schedtui.agent.bench import Request
    from schedtui.agent.minds import chosen_mind
    from schedtui.agent.naming import named_in
    from schedtui.backend.deploy import CANARY_S
    from schedtui.backend.microvm.compiler_image import is_installed
    from schedtui.desk import let_go

    console = Console(as_json)
    named = named_in(sentence)
    request = Request(
        words=sentence,
        folder=folder or named.folder,
        command=_split(command) or named.command,
        loads=_known(loads),
        quick=quick,
        canary_s=_QUICK_CANARY_S if quick else CANARY_S,
    )
    spec = machine or (context.obj if context.obj != "host" else None) or _where(console)
    if spec != "lab" and (kernel or cpus):
        raise click.UsageError("--kernel and --cpus are for the lab: add --machine lab.")
    if record is not None and record.is_dir() and any(record.iterdir()):
        raise click.BadParameter(f"There are files in {record} already.", param_hint="--record")
    threading.Thread(target=_warm, args=(sentence,), daemon=True).start()
    compiler = bool(request.folder and request.command) and is_installed()
    with opened(spec, console, kernel=kernel, cpus=cpus, compiler=compiler) as it:
        mind = chosen_mind(record)
        try:
            context.exit(_answered(it, mind, request, kernel, seconds, _consent(yes, console), console))
        finally:
            let_go(mind)


def _warm(words: str) -> None:
    """Read what the sentence is judged by, which takes a second, while the machine opens."""
    from schedtui.backend.library.intents import classify

    with contextlib.suppress(SchedtuiError):  # whoever needs it says so
        classify(words)


def _sound(words: tuple[str, ...]) -> str:
    """One sentence. Raises UnknownName where nothing is said."""
    from schedtui.backend.answer import LONGEST_WORDS
    from schedtui.backend.errors import UnknownName

    sentence = " ".join(" ".join(words).split())[:LONGEST_WORDS]
    if not any(sign.isalpha() for sign in sentence):
        raise UnknownName("There are no words in that.", "Say what you do, and what bothers you.")
    return sentence


def _split(command: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command or ""))
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--command") from error


def _known(loads: tuple[str, ...]) -> tuple[str, ...]:
    from schedtui.backend.workloads import KINDS

    for each in loads:
        if each not in KINDS:
            raise click.BadParameter(f"There is no load “{each}”. There are: {', '.join(KINDS)}.", param_hint="--load")
    return loads


def _where(console: Console) -> str:
    """This computer where a scheduler can be loaded on it, else the lab."""
    from schedtui.backend.host import HostMachine

    host = HostMachine()
    try:
        info = host.open(console.progress)
    finally:
        host.close()
    if info.can_load:
        return "host"
    console.note(f"{info.reason} So it is tried in the lab.")
    return "lab"


def _consent(yes: bool, console: Console) -> Consent:
    if yes or asks_never():
        return "yes"
    return "ask" if not console.json and sys.stdin is not None and os.isatty(_STDIN) else "no"


def _answered(
    machine: Machine,
    mind: Mind,
    request: Request,
    kernel: Path | None,
    seconds: float | None,
    consent: Consent,
    console: Console,
) -> int:
    """Work on the request, tell of it, hold what was kept in the lab; returns the exit code."""
    from schedtui.desk import Desk

    info = machine.open(console.progress)
    desk = Desk(machine, info, kernel=kernel)
    for each in desk.deployer.recover():
        console.note(f"From before: {each.reason}")
    desk.watch.follow(machine)
    events: queue.SimpleQueue[AnyEvent] = queue.SimpleQueue()
    engine = desk.engine(mind, events.put, consent=consent)
    console.note(f"{mind.name} works on it{', on this computer' if not mind.needs_network else ''}.")
    story = _Teller(engine, events, console).told(request)
    data = _keys(story, info)
    if story.state in ("failed", "stopped", "unknown"):
        return _failed(story, data, console)
    console.tell(_came_of_it(story))
    again = ""
    if story.state == "kept" and info.kind == "lab":
        run_on(seconds, console)
        data["statistics"] = machine.scheduler().statistics
        engine.close()
        data["after"] = machine.unload().name
        again = f"The lab ends, and what runs in it: {data['after']} runs there again."
    if console.json or again:
        console.result(data, again)
    return 0


class _Teller:
    """Tells what the engine does, as it does it, and asks what it asks."""

    def __init__(self, engine: Engine, events: queue.SimpleQueue[AnyEvent], console: Console) -> None:
        self._engine = engine
        self._events = events
        self._console = console
        self._asked: Asked | None = None
        self._asked_at = 0.0

    def told(self, request: Request) -> Story:
        """Work on it in a thread of its own, so that a signal ends it in order."""
        stories: list[Story] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                stories.append(self._engine.answer(request))
            except BaseException as error:  # noqa: BLE001  it is raised again in the main thread
                failed.append(error)

        thread = threading.Thread(target=work, name="engine", daemon=True)
        thread.start()
        try:
            while thread.is_alive() or not self._events.empty():
                self._step()
        except Stopped:
            self._engine.stop()
            thread.join(30)
            raise
        if failed:
            raise failed[0]
        return stories[0]

    def _step(self) -> None:
        try:
            event = self._events.get(timeout=_POLL_S)
        except queue.Empty:
            self._listen_to_person()
            return
        self._tell(event)

    def _tell(self, event: AnyEvent) -> None:
        from schedtui.agent import events as happened

        say = self._console.note
        match event:
            case happened.RoleBegan():
                say(f"\n{event.why}")
            case happened.Called():
                say(f"  {event.title}")
            case happened.Returned() if not event.ok:
                say(f"    {event.summary}")
            case happened.Progressed() | happened.Warned() | happened.Learned():
                self._console.progress(event.text, event.at_s) if isinstance(event, happened.Progressed) else say(
                    f"  {event.text}"
                )
            case happened.Observed():
                say(f"    {event.workload.sentence}")
            case happened.Planned():
                say(f"    {event.plan.reason} {event.plan.expected}")
            case happened.Proven():
                from schedtui.backend.verifier.reports import VERDICTS

                say(f"    {event.report.name} {VERDICTS[event.report.verdict]}.")
            case happened.Measured():
                if not event.final:
                    self._console.progress(_measured(event.comparison, event.side), event.at_s)
            case happened.Deployed():
                say(f"    {event.deployment.reason}")
            case happened.Asked():
                self._asked, self._asked_at = event, time.monotonic()
            case happened.Answered():
                self._asked = None
                if event.by == "countdown":
                    say("    Nobody answered.")

    def _listen_to_person(self) -> None:
        """While a question is open: show it once, and take a line that names a choice."""
        if self._asked is None:
            return
        question = self._asked.question
        if self._asked_at:
            self._console.note(_in_words(question))
            self._asked_at = 0.0
        if not select.select([_STDIN], [], [], 0)[0]:
            return
        line = os.read(_STDIN, 4096)
        choice = _choice(question, line.decode(errors="replace"))
        if not line:  # the terminal is gone: nobody will answer
            self._engine.reply(question.id, question.choices[-1][0])
        elif choice:
            self._engine.reply(question.id, choice)
        else:
            self._console.note(_hint(question))


def _in_words(question: Question) -> str:
    lines = [f"\n{question.title}"]
    lines += [f"  {line}" for line in question.text.splitlines()]
    if question.settings:
        lines.append(f"  Settings: {', '.join(f'{name} = {value}' for name, value in question.settings.items())}")
    if question.diff or question.source:
        lines += [f"  | {line}" for line in (question.diff or question.source).splitlines()]
    if question.countdown_s:
        lines.append(f"  Without an answer within {question.countdown_s:.0f} s: {question.choices[-1][1].lower()}.")
    return "\n".join([*lines, _hint(question)])


def _hint(question: Question) -> str:
    if len(question.choices) == 2:
        return f"  y: {question.choices[0][1].lower()} · n: {question.choices[1][1].lower()}"
    return "\n".join(f"  {number}: {words}" for number, (_, words) in enumerate(question.choices, 1))


def _choice(question: Question, line: str) -> str:
    """The id that a line means; nothing for another word."""
    word = line.strip().lower()
    ids = [id for id, _ in question.choices]
    if word in ids:
        return word
    if len(ids) == 2 and word in ("y", "yes", "n", "no"):
        return ids[0] if word.startswith("y") else ids[1]
    return ids[int(word) - 1] if word.isdecimal() and 1 <= int(word) <= len(ids) and len(ids) > 2 else ""


def _measured(comparison: Comparison, side: str) -> str:
    sides = "what ran before" if side == "before" else "the new scheduler"
    name = comparison.metric.name
    what = {"wakeup_p99_us": "wake-up p99", "wakeup_p50_us": "wake-up p50", "work_per_s": "work", "command_s": "time"}[
        name
    ]
    before, after = (_figure(name, each) for each in (comparison.before, comparison.after))
    return f"measuring {sides}: {what} {before} before, {after} after"


def _figure(metric: str, value: float | None) -> str:
    if value is None:
        return "…"
    if metric.endswith("_us"):
        return f"{value / 1000:.1f} ms" if value >= 1000 else f"{value:.0f} µs"
    return f"{value:.1f}/s" if metric == "work_per_s" else f"{value:.2f} s"


def _keys(story: Story, info: MachineInfo) -> dict[str, Any]:
    """The story for programs."""
    workload, plan, deployment, compared, usage = (
        story.workload,
        story.plan,
        story.deployment,
        story.comparison,
        story.usage,
    )
    return {
        "words": story.request.words,
        "mind": story.mind,
        "machine": info.kind,
        "kernel": info.kernel,
        "state": story.state,
        "text": story.text,
        "workload": workload
        and {
            "class": workload.class_id,
            "sentence": workload.sentence,
            "confidence": workload.confidence,
            "evidence": workload.evidence,
            "metric": workload.metric,
        },
        "plan": plan,
        "report": story.report and report_keys(story.report),
        "deployment": deployment
        and {
            "id": deployment.id,
            "state": deployment.state,
            "reason": deployment.reason,
            "policy": deployment.policy,
            "settings": deployment.settings,
        },
        "outcome": compared,
        "rounds": len(story.rounds),
        "usage": {
            "calls": usage.calls,
            "tokens": usage.input_tokens + usage.output_tokens,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "dollars": usage.dollars,
        },
        "trajectory": story.trajectory,
        "request": story.id,
        "scheduler": story.scheduler,
        "after": story.scheduler,
    }


def _failed(story: Story, data: dict[str, Any], console: Console) -> int:
    error = SchedtuiError(story.text, story.remedy)
    error.kind = "not-understood" if story.state == "unknown" else story.state
    console.failure(error, data)
    return NOT_UNDERSTOOD if story.state == "unknown" else NOT_DONE


def _came_of_it(story: Story) -> str:
    measured = story.comparison.reason if story.comparison and story.comparison.reason not in story.text else ""
    return "\n".join(filter(None, [f"\n{story.text}", measured, story.remedy, f"All of it: {story.trajectory}"]))
