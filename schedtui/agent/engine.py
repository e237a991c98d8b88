"""A request from a person's words to a scheduler that was proven, tried, measured, and kept or taken away.

Code moves from role to role: observe, plan, execute, learn; a mind fills them, and cannot skip one. What a role is told
is roles.py's, what its tools do toolset.py's, how it works loop.py's. However a request ends, the machine is on a known
scheduler then, and ``Ended`` names it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from schedtui.agent import planning, project, roles, rounds, toolset, trying
from schedtui.agent.arguments import ExecuteFacts, LearnFacts, ObserveFacts, PlanFacts, Tried
from schedtui.agent.asking import Asking, Declined, EndState
from schedtui.agent.asking import Consent as Consent
from schedtui.agent.bench import Bench, Request, Subject, Watch
from schedtui.agent.budget import FREE, Budget, Limits, Priced
from schedtui.agent.events import (
    Ended,
    Listen,
    Planned,
    Progressed,
    Question,
    RoleBegan,
    Warned,
)
from schedtui.agent.loads import loads_for
from schedtui.agent.loop import Loop
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Message, Mind, MindFailed, OverBudget, RoleName, Stopped, Usage
from schedtui.agent.scratch import Scratch
from schedtui.agent.summary import Summary, phase_change
from schedtui.agent.tools import Toolbox, cleaned
from schedtui.agent.trajectory import Trajectory
from schedtui.agent.trust import Trust
from schedtui.backend.canary import WORK_CHANGED
from schedtui.backend.deploy import Deployer, Recorder
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.library.catalogue import CLASSES
from schedtui.backend.library.starting import in_mode
from schedtui.backend.machine import Machine
from schedtui.backend.model import Choice, Comparison, Deployment, MachineInfo, Metric, Plan, Report, Workload
from schedtui.backend.store import Store
from schedtui.faults import unexpected

if TYPE_CHECKING:
    from schedtui.backend.breaker import Breaker

LOOK_S = 1.5
_SETTLE_S = 0.5
_LONGEST_STEERING = 300


class Story(Struct, frozen=True, kw_only=True):
    """What came of a request."""

    request: Request
    id: int | None
    """In the store; None when it could not be kept."""
    mind: str
    state: EndState
    text: str
    remedy: str = ""
    workload: Workload | None = None
    plan: Plan | None = None
    """The last that was made."""
    report: Report | None = None
    """The last that the verifier made."""
    deployment: Deployment | None = None
    """The one that stays; else the last."""
    comparison: Comparison | None = None
    """Of that deployment."""
    rounds: tuple[Tried, ...] = ()
    usage: Usage = Usage()
    trajectory: Path | None = None
    scheduler: str = ""
    """What the kernel reports at the end."""


class Engine:
    """Answers requests, one at a time, on one machine. ``answer`` blocks; the other methods are for other threads.

    ``machine`` is open, and ``watch`` gets its frames. ``doubt`` is called, after a request, with what the circuit
    breaker sees of what was kept and cannot judge by itself.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        info: MachineInfo,
        watch: Watch,
        mind: Mind,
        deployer: Deployer,
        trust: Trust | None = None,
        listen: Listen,
        store: Store | None = None,
        consent: Consent = "ask",
        limits: Limits | None = None,
        kernel: Path | None = None,
        audit: Recorder | None = None,
        doubt: Callable[[Deployment, str], None] = lambda _deployment, _text: None,
    ) -> None:
        self._machine = machine
        self._info = info
        self._watch = watch
        self._mind = mind
        self._deployer = deployer
        self._trust = trust or Trust(mind.name, automatic=consent == "yes")
        self._store = store or Store()
        self._consent: Consent = consent
        self._limits = limits or Limits()
        self._kernel = kernel
        self._audit = audit
        self._heard = listen
        self._stop = threading.Event()
        self._steering: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._doubt = doubt
        self._breaker: Breaker | None = None
        self._said: list[str] = []
        self._written_to: Path | None = None
        self._kept: Deployment | None = None
        self._loads: tuple[str, ...] = ()

    @property
    def limits(self) -> Limits:
        """Of each request, before a person lets it go on."""
        return self._limits

    @property
    def trajectory(self) -> Path | None:
        """Where the request that is answered is written down; None before the first."""
        return self._written_to

    # ---- from other threads ----

    def stop(self) -> None:
        """End the request as soon as possible; what was not kept is taken away."""
        self._stop.set()

    def close(self) -> None:
        """Watch what was kept no more; it stays."""
        self._stop.set()
        self._end_watch()

    def steer(self, words: str) -> None:
        """Something more from the person, for the role that works now and those after it."""
        self._steering.put(words)
        self._said.append(cleaned(words).strip()[:_LONGEST_STEERING])

    def reply(self, question_id: str, choice: str) -> None:
        """The person's answer; one that is not waited for changes nothing."""
        self._replies.put((question_id, choice))

    # ---- the request ----

    def answer(self, request: Request) -> Story:
        """Work on it to its end. Never raises for what can go wrong with a request: ``state`` and ``text`` tell."""
        self._begin(request)
        with Scratch() as folder:
            self._bench = Bench(
                request=request,
                machine=self._machine,
                info=self._info,
                watch=self._watch,
                store=self._store,
                folder=folder,
                mind_name=self._mind.name,
                deployer=self._deployer,
                person=self._asking,
                stop=self._stop,
                kernel=self._kernel,
            )
            self._bench.request_id = self._kept_request(request)
            self._loop = Loop(
                mind=self._mind,
                toolbox=Toolbox(toolset.tools()),
                bench=self._bench,
                budget=self._budget,
                trajectory=self._trajectory,
                masker=self._masker,
                listen=self._listen,
                stop=self._stop,
                steering=self._steering,
                since=self._asking.began,
                more=self._more,
            )
            self._record("request", words=request.words, machine=self._info.kind)
            state, text, remedy = self._worked_on()
            return self._ended(state, text, remedy)

    def _begin(self, request: Request) -> None:
        """Everything that is of one request only."""
        self._end_watch()
        self._stop.clear()
        self._kept, self._loads, self._said = None, (), []
        self._masker = Masker.here(identity=self._mind.needs_network)
        self._trajectory = Trajectory(
            request.words, self._mind.name, self._masker, leaves_computer=self._mind.needs_network
        )
        self._written_to = self._trajectory.path
        self._listen = self._trajectory.listening(self._heard)
        self._budget = Budget(self._limits, price=None if self._mind.needs_network else FREE)
        self._asking = Asking(
            consent=self._consent,
            kind=self._info.kind,
            trust=self._trust,
            budget=self._budget,
            listen=self._listen,
            stop=self._stop,
            replies=self._replies,
            record=self._record,
        )

    def _worked_on(self) -> tuple[EndState, str, str]:
        """The stages in their order, and how they ended. What nobody decided on is gone by then."""
        try:
            try:
                self._prepare()
                self._observe()
                self._rounds()
                self._learn()
            finally:
                self._settle()
        except Declined as declined:
            return self._state_or(declined.state), declined.message, declined.remedy
        except Stopped as stopped:
            return self._state_or("stopped"), stopped.message, stopped.remedy
        except OverBudget as over:
            return self._state_or("stopped"), over.message, over.remedy
        except SchedtuiError as error:
            return self._state_or("failed"), error.message, error.remedy
        except Exception as fault:  # noqa: BLE001  a fault of ours ends a request in order too, and is told
            told = unexpected(fault)
            return self._state_or("failed"), told.message, told.remedy
        return self._state_or("failed"), self._bench.finished or self._last_words(), ""

    def _prepare(self) -> None:
        """Loads for an idle lab, and a first look."""
        started = self._info.kind == "lab" and self._start_loads()
        self._asking.tell(Progressed, text="Looking at the machine")
        self._bench.look(LOOK_S, back=not started)
        if isinstance(self._mind, Priced):
            self._budget.reckon_with(self._mind.price(self._stop))

    def _start_loads(self) -> bool:
        """Whether any had to be started."""
        running = [each.kind for frame in self._watch.collect(0, self._stop)[-1:] for each in frame.workloads]
        if running:
            self._loads = tuple(dict.fromkeys(running))
            return False
        wanted = self._bench.request.loads or loads_for(self._bench.request.words)
        for kind in wanted:
            self._machine.start_workload(kind)
        self._loads = wanted
        self._asking.tell(
            Progressed,
            text=f"Nothing ran in the lab, so loads are started there in place of your programs: {', '.join(wanted)}.",
        )
        self._watch.collect(_SETTLE_S, self._stop)
        return True

    def _observe(self) -> None:
        bench = self._bench
        assert bench.summary is not None
        bench.workload = None
        found = project.look_at(bench.request.folder) if bench.request.folder else None
        facts = ObserveFacts(
            words=bench.request.words,
            steered=tuple(self._said),
            command=" ".join(bench.request.command),
            folder=bench.request.folder is not None,
            machine=self._info.kind,
            classes=dict(CLASSES),
            summary=bench.summary,
            loads=self._loads if self._info.kind == "lab" else (),
        )
        self._run("observe", roles.observe(facts, found), facts)
        self._keep_workload()
        if self._workload().class_id == "unknown":
            bench.workload = self._clarified(self._workload())
            self._keep_workload()

    def _keep_workload(self) -> None:
        self._try_to_keep(lambda: self._store.add_workload(self._workload(), request=self._bench.request_id))

    def _rounds(self) -> None:
        """Plans are tried while they improve; one that fails leaves the place to its fallback or to what was better."""
        bench = self._bench
        best: Subject | None = None
        while len(bench.rounds) < bench.request.rounds:
            if bench.rounds:
                self._observe_again_if_changed()
            plan = self._plan()
            if plan is None:
                return
            tried = self._execute(plan)
            if _failed(tried) and best is None and plan.fallback not in ("", tried.policy):
                tried = self._fall_back(plan)
            if not tried.kept:
                if best is not None and bench.deployment is not None:
                    self._bring_back(best)
                if best is None and _saw_other_work(tried):
                    continue  # nothing is known of the policy; the machine is looked at again
                return
            best = bench.subject

    def _bring_back(self, best: Subject) -> None:
        """What was kept before a round that did not improve on it, and that the round's trial took away."""
        self._asking.tell(Progressed, text=f"{best.policy.name} was better, so it is brought back.")
        self._bench.subject = best
        trying.trial(self._bench, decided=True)
        deployment = self._bench.deployment
        self._kept = deployment if deployment and deployment.state == "kept" else None

    def _observe_again_if_changed(self) -> None:
        before = self._bench.summary
        after = self._bench.look(LOOK_S)
        changed = phase_change(before, after) if isinstance(before, Summary) else ""
        if changed:
            self._asking.tell(Progressed, text=f"{changed} So the machine is looked at again.")
            self._observe()

    def _plan(self) -> Plan | None:
        bench, workload = self._bench, self._workload()
        assert bench.summary is not None
        bench.plan = None
        facts = PlanFacts(
            words=bench.request.words,
            steered=tuple(self._said),
            workload=workload,
            summary=bench.summary,
            matches=planning.search(bench, f"{bench.request.words} {CLASSES.get(workload.class_id, '')}".strip()),
            choices=self._choices(workload),
            policies=planning.loadable(bench),
            outcomes=planning.outcomes_for(bench, workload.class_id),
            notes=planning.learned(bench, class_id=workload.class_id),
            rounds=tuple(bench.rounds),
            allowed=f"Without asking a person you may {self._trust.level.words}.",
        )
        self._run("plan", roles.plan(facts), facts)
        return bench.plan

    def _choices(self, workload: Workload) -> tuple[Choice, ...]:
        loadable = planning.loadable(self._bench)
        preset = self._bench.library.preset_for(workload.class_id)
        return tuple(each for each in preset.choices if each.policy in loadable) if preset else ()

    def _execute(self, plan: Plan) -> Tried:
        bench = self._bench
        beginning = rounds.begin(bench, plan)
        facts = ExecuteFacts(
            workload=self._workload(), plan=plan, rounds=tuple(bench.rounds), repairs_left=bench.repairs_left
        )
        source = trying.source_of(beginning) if plan.mode != "configure" else ""
        try:
            self._run("execute", roles.execute(facts, source, beginning.name), facts)
        except (MindFailed, OverBudget) as error:
            self._try_round(plan, error.message)
            raise
        return self._try_round(plan)

    def _fall_back(self, plan: Plan) -> Tried:
        """Configure the plan's fallback, without a mind: what it is good for is known."""
        bench, workload = self._bench, self._workload()
        policy = bench.library.policy(plan.fallback)
        settings = next((each.settings for each in self._choices(workload) if each.policy == policy.name), {})
        bench.plan = Plan(
            mode="configure",
            policy=policy.name,
            settings=planning.differing(policy, dict(settings)),
            reason=f"{plan.policy} failed, and this was planned in its place.",
            expected=plan.expected,
            risk=plan.risk,
        )
        self._asking.tell(Planned, plan=bench.plan)
        bench.deployment, bench.gave_up = None, ""
        bench.subject = Subject(policy=in_mode(policy, workload.class_id)[0], settings=bench.plan.settings)
        if trying.prove(bench).verdict != "fail":
            trying.permit_canary(bench)
            trying.trial(bench)
        return self._try_round(bench.plan)

    def _try_round(self, plan: Plan, problem: str = "") -> Tried:
        """Write down what the round came to."""
        tried = rounds.write_down(self._bench, self._trust, plan, problem)
        if tried.kept:
            self._kept = self._bench.deployment
        return tried

    def _learn(self) -> None:
        """A mind that fails here takes nothing away from what was reached."""
        bench = self._bench
        if not bench.rounds:
            return
        facts = LearnFacts(
            words=bench.request.words,
            workload=self._workload(),
            rounds=tuple(bench.rounds),
            runs_now=self._machine.scheduler().name,
        )
        try:
            self._run("learn", roles.learn(facts), facts)
        except (MindFailed, OverBudget) as error:
            self._asking.tell(Warned, text=f"Nothing more was learned: {error.message}")

    def _run(self, role: RoleName, told: str, facts: object) -> None:
        """One role, from its first messages to its end."""
        assert isinstance(facts, dict)
        self._asking.tell(RoleBegan, role=role, why=roles.WHY[role])
        messages = [Message(role="system", text=roles.system(role)), Message(role="user", text=told)]
        self._loop.run(role, messages, facts)

    def _more(self, over: OverBudget) -> bool:
        """Over a limit, a person may let it go on, with as much again."""
        if self._asking.ask(_go_on(over)).choice != "continue":
            return False
        self._budget.grant(self._limits)
        return True

    def _clarified(self, workload: Workload) -> Workload:
        """Ask the person which goal they mean. Raises Declined when they say none, or nobody is there."""
        from schedtui.backend.library.intents import classify

        near = [each.class_id for each in classify(self._bench.request.words).candidates[:3]]
        choices = (*((each, CLASSES[each].capitalize()) for each in near), ("none", "None of these"))
        choice = self._asking.ask(
            Question(
                id="clarify",
                kind="clarify",
                title="What should get better?",
                text=f"“{self._bench.request.words}” fits nothing that schedtui knows: {workload.sentence}",
                choices=choices,
            )
        ).choice
        if choice not in near:
            raise Declined(
                "unknown",
                "These words fit no goal that schedtui knows; nothing was changed.",
                f"Say what you run and what bothers you, or choose: schedtui apply {near[0]}",
            )
        return replace(
            workload,
            class_id=choice,
            evidence=(*workload.evidence, "they chose it when asked"),
            metric=workload.metric if workload.metric else Metric(name="wakeup_p99_us"),
        )

    # ---- the end ----

    def _state_or(self, otherwise: EndState) -> EndState:
        """What was kept stays kept, however the request went on."""
        if self._kept is not None and self._deployer.current(self._kept).state == "kept":
            return "kept"
        if otherwise == "failed" and any(each.comparison for each in self._bench.rounds):
            return "reverted"
        return otherwise

    def _last_words(self) -> str:
        rounds = self._bench.rounds
        return rounds[-1].ended if rounds else "Nothing was tried."

    def _settle(self) -> None:
        """Nothing stays that nobody decided on."""
        trying.take_away(self._bench, "The request ended before it was decided.")

    def _ended(self, state: EndState, text: str, remedy: str) -> Story:
        bench = self._bench
        try:
            runs = self._machine.scheduler().name
            if f"{runs} runs" not in text and f"runs: {runs}" not in text:
                text = f"{text.rstrip('.')}. {runs} runs now."
        except SchedtuiError as error:
            runs, text = "", f"{text.rstrip('.')}. Which scheduler runs could not be read: {error.message}"
        self._asking.tell(Ended, state=state, text=text, remedy=remedy)
        self._record("ended", state=state, scheduler=runs)
        with contextlib.suppress(SchedtuiError):
            self._trajectory.save()
        usage = self._budget.usage
        if bench.request_id is not None:
            id = bench.request_id
            self._try_to_keep(
                lambda: self._store.finish_request(
                    id,
                    state,
                    text,
                    calls=usage.calls,
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    dollars=usage.dollars,
                    seconds=self._asking.seconds,
                )
            )
        deployment = self._kept or bench.deployment
        deployment = self._deployer.current(deployment) if deployment else None
        if deployment is not None and deployment.state == "kept":
            self._hand_over(deployment)
        return Story(
            request=bench.request,
            id=bench.request_id,
            mind=self._mind.name,
            state=state,
            text=text,
            remedy=remedy,
            workload=bench.workload,
            plan=bench.plan or (bench.rounds[-1].plan if bench.rounds else None),
            report=bench.subject.report if bench.subject else None,
            deployment=deployment,
            comparison=deployment.comparison if deployment else None,
            rounds=tuple(bench.rounds),
            usage=usage,
            trajectory=self._trajectory.path,
            scheduler=runs,
        )

    def _hand_over(self, deployment: Deployment) -> None:
        """To the circuit breaker, which watches what was kept from now on."""
        from schedtui.backend.breaker import Breaker

        self._breaker = Breaker(self._deployer, deployment, ask=self._doubt)
        self._breaker.start()

    def _end_watch(self) -> None:
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.stop()

    def _kept_request(self, request: Request) -> int | None:
        try:
            return self._store.add_request(
                request.words, "", self._mind.name, self._trajectory.path, machine=self._info.kind
            )
        except SchedtuiError as error:
            self._asking.tell(Warned, text=f"{error.message} The request goes on, and is not kept.")
            return None

    def _try_to_keep(self, act: Callable[[], object]) -> None:
        rounds.try_to_keep(self._bench, act)

    def _record(self, act: str, **details: object) -> None:
        if self._audit is not None:
            self._audit.append(self._mind.name, act, {"request": self._bench.request_id, **details})

    def _workload(self) -> Workload:
        return rounds.workload_of(self._bench)


def _failed(tried: Tried) -> bool:
    """Not proven, given up, or measured to be worse; one that merely changed nothing did not fail."""
    return tried.comparison is None or tried.comparison.verdict == "worse"


def _saw_other_work(tried: Tried) -> bool:
    """Whether its canary could not tell because what ran on the machine changed meanwhile."""
    return tried.comparison is not None and tried.comparison.reason.startswith(WORK_CHANGED)


def _go_on(over: OverBudget) -> Question:
    return Question(
        id="continue",
        kind="continue",
        title="Go on?",
        text=over.message,
        choices=(("continue", "Go on, with as much again"), ("stop", "Stop here")),
    )
