"""From a name to a running scheduler: what is asked for, checked (``resolve``), then done.

``apply`` is a person's direct wish. ``Deployer`` is the careful way: proposed, verified, tried beside what ran before
(canary_run.py), then kept or taken away, and every step of it in the store before and after it is done, so that
whatever is killed in between is resolved and told at the next start. How a machine loads an object is left to others.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from schedtui.backend.alive import lives, this_process
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import BadTunable, LeaseEnded, NotPermitted, NotProven, SchedtuiError, UnknownName
from schedtui.backend.library.catalogue import Library
from schedtui.backend.library.starting import in_mode, program_of, why_not
from schedtui.backend.machine import Machine, Progress
from schedtui.backend.model import (
    Choice,
    Comparison,
    Deployment,
    DeploymentState,
    Loadable,
    MachineKind,
    Metric,
    Policy,
    Preset,
    Report,
    Scheduler,
    Setting,
    digest_of,
)
from schedtui.backend.tunables import check_settings
from schedtui.backend.verifier.sandbox import compile_sandboxed

if TYPE_CHECKING:
    from schedtui.backend.canary_run import Candidate, Guard
    from schedtui.backend.canary_run import Progress as CanaryProgress
    from schedtui.backend.store import Store

WAYS: dict[DeploymentState, tuple[DeploymentState, ...]] = {
    "proposed": ("verified", "reverted"),
    "verified": ("canary", "reverted"),
    "canary": ("kept", "reverted"),
    "kept": ("reverted",),
    "reverted": (),
}
"""From a state of a deployment, the only ones that can follow."""
CANARY_S = 20.0
LONGEST_DECISION_S = 180.0
"""What nobody decided on for so long is taken away."""
LEFT_BEHIND = "It does not run any more, and nothing is loaded again by itself."
"""How the reason begins of what was kept and is gone with the helper that held it."""
_HOLD_S = 0.5
_TICK_S = 0.1


class Proposal(Struct, frozen=True, kw_only=True):
    """What is to run. Without a policy: the kernel's own scheduler."""

    policy: Policy | None
    settings: dict[str, Setting]
    """Only what differs from the policy's defaults."""
    preset: Preset | None
    reason: str
    """Why this policy, in a sentence for the user; may be empty."""


def resolve(
    library: Library, name: str, settings: dict[str, Setting] | None = None, *, kind: MachineKind = "lab"
) -> Proposal:
    """The proposal for a preset or a policy called ``name``; ``settings`` go over the preset's own.

    ``kind`` is that of the machine: a lab starts any installed scheduler, a host only what root alone can change.
    Values may be text, as typed on a command line. Raises UnknownName and BadTunable, which name what is near, and
    NotPermitted when nothing that the preset wants can be used.
    """
    wanted = settings or {}
    found = library.find(name)
    if isinstance(found, Policy):
        return Proposal(policy=found, settings=check_settings(found, wanted), preset=None, reason="")
    if not found.choices:
        if wanted:
            raise BadTunable("The kernel's own scheduler has no tunables here.", f"Leave out {', '.join(wanted)}.")
        return Proposal(policy=None, settings={}, preset=found, reason=found.summary)
    choice, passed_over = _first_available(library, found, kind)
    policy, in_which_mode = in_mode(library.policies[choice.policy], found.goal)
    return Proposal(
        policy=policy,
        settings=check_settings(policy, {**choice.settings, **wanted}),
        preset=found,
        reason=" ".join(filter(None, [choice.reason, in_which_mode, passed_over])),
    )


def apply(machine: Machine, proposal: Proposal, progress: Progress) -> Scheduler:
    """Compile the policy and load it in place of what runs; returns what the kernel reports then.

    When it runs already and only live tunables differ, they are changed and nothing is loaded.

    ``progress`` gets stages and the seconds since the call. Raises NotPermitted where nothing can be loaded,
    NotProven where a host's own verification did not pass it, and whatever the compiler (MissingTool, CompileFailed)
    and the machine (LoadRejected, PanicLatched, …) raise.
    """
    began = time.monotonic()

    def stage(words: str) -> None:
        progress(words, time.monotonic() - began)

    info = machine.open(progress)
    if proposal.policy is None:
        stage(f"Giving the machine back to {info.default_scheduler}")
        return machine.unload()
    if not info.can_load:
        raise NotPermitted(info.reason or "No scheduler can be loaded here.", "Try it in the lab: --machine lab.")
    policy = proposal.policy
    stage(f"{'Looking at' if policy.binary else 'Compiling'} {policy.name}")
    obj = loadable(policy, proposal.settings, info.kind)
    running = machine.scheduler()
    change = _live_change(running, policy, obj, proposal.settings)
    settings = {**running.settings, **change} if change else proposal.settings
    generated = policy.origin != "built-in"
    own = machine.certify(policy.name, obj, settings, lambda words, _seconds: stage(words), generated=generated)
    if own is not None and own.verdict == "fail":
        raise _not_passed(own)
    if change:
        stage(f"Changing {', '.join(change)} of {policy.name} while it runs")
        return machine.tune(change)
    stage(f"{'Starting' if policy.binary else 'Loading'} {policy.name} on Linux {info.kernel}")
    return machine.load(policy.name, obj, proposal.settings)


def _not_passed(report: Report) -> NotProven:
    found = [each for each in report.findings if each.severity == "error"]
    why = f" {found[0].meaning}" if found else ""
    return NotProven(f"{report.name} did not pass the verification.{why}", found[0].remedy if found else "")


def loadable(policy: Policy, settings: dict[str, Setting], kind: MachineKind = "lab") -> Loadable:
    """What a machine of that kind is given to run this policy with these settings.

    Raises NotPermitted and BadTunable for an external scheduler, MissingTool and CompileFailed for a source.
    """
    return program_of(policy, settings, kind) if policy.binary else compiled(policy)


def compiled(policy: Policy) -> bytes:
    """Only what ships with the program is compiled outside of the sandbox."""
    source = Path(policy.source)
    return compile_bpf(source) if policy.origin == "built-in" else compile_sandboxed(source)


def _live_change(running: Scheduler, policy: Policy, obj: Loadable, wanted: dict[str, Setting]) -> dict[str, Setting]:
    """What to change of a running policy so that it runs as wanted; empty when it must be loaded."""
    if running.sched_ext != "enabled" or (running.policy, running.digest) != (policy.name, digest_of(obj)):
        return {}
    change = {}
    for each in policy.tunables:
        now, then = (settings.get(each.name, each.default) for settings in (running.settings, wanted))
        if now != then:
            if not each.live:
                return {}
            change[each.name] = then
    return change


def _first_available(library: Library, preset: Preset, kind: MachineKind) -> tuple[Choice, str]:
    """The first choice that can be loaded, and why those before it were passed over."""
    passed_over: list[str] = []
    for choice in preset.choices:
        policy = library.policies.get(choice.policy)
        if policy is None:
            continue
        why = why_not(policy, kind) if policy.binary else ""
        if not why:
            return choice, " ".join(f"{each}." for each in passed_over)
        passed_over.append(f"{policy.name} would come first; it {why}")
    wanted = " or ".join(f"“{each.policy}”" for each in preset.choices)
    if passed_over:
        why = "; ".join(each.replace(" would come first; it", "") for each in passed_over)
        raise NotPermitted(f"{preset.title}: {why}.", "Take another preset: schedtui presets.")
    raise UnknownName(
        f"The preset “{preset.id}” wants the policy {wanted}, which the library does not have.",
        "See schedtui doctor for problems of the library.",
    )


class Recorder(Protocol):
    """What keeps an audit; see audit.Audit."""

    def append(self, actor: str, act: str, details: dict[str, Any]) -> object:
        """One entry more. Never raises."""
        ...


class Deployer:
    """Takes deployments through their states, on one machine. Its methods may be called from any thread.

    ``listen`` gets every deployment that changed its state, in the thread that changed it; ``regret`` what was kept and
    then taken back by a person, or by the circuit breaker. What cannot be written down is not begun: each method raises
    BadFile when the store cannot be used.
    """

    def __init__(
        self,
        machine: Machine,
        store: Store,
        audit: Recorder | None = None,
        listen: Callable[[Deployment], None] = lambda _: None,
        regret: Callable[[Deployment], None] = lambda _: None,
    ) -> None:
        self.machine = machine
        self._store = store
        self._audit = audit
        self._listen = listen
        self._regret = regret
        self._turn = threading.RLock()
        self._known: dict[int, Deployment] = {}
        self._objects: dict[int, Loadable] = {}
        self._trying: dict[int, threading.Event] = {}
        """What is being measured, and how that is ended."""
        self._held: dict[int, _Hold] = {}
        """What was measured and waits for a decision."""

    def recover(self) -> list[Deployment]:
        """Resolve what an earlier schedtui left when it was ended in the middle: nothing stays that nobody kept.

        Returns the deployments that were reverted by it, each with its reason. What another schedtui is working on is
        left alone, and what was kept in a lab that is gone is history. Requests that nobody works on any more are
        ended in the history.
        """
        kind = self.machine.open(lambda _text, _seconds: None).kind
        left = [each for each in self._store.deployments(open_only=True) if not lives(each.watcher)]
        if kind == "host":
            left += [each for each in self._store.deployments() if (each.state, each.machine) == ("kept", kind)]
        resolved = [done for each in left if each.machine in ("lab", kind) and (done := self._resolve(each))]
        self._store.end_left_requests()
        return resolved

    def propose(self, proposal: Proposal, *, asked_by: str, request: int | None = None) -> Deployment:
        """Begin a deployment of a policy. ``asked_by``: ``person``, ``offline adviser``, or a model's name.

        Raises NotPermitted for the kernel's own scheduler, which needs no proof, and where nothing can be loaded.
        """
        info = self.machine.open(lambda _text, _seconds: None)
        if proposal.policy is None:
            raise NotPermitted(
                f"{info.default_scheduler} needs no trial.", "Give the machine back instead: unload what runs."
            )
        if not info.can_load:
            raise NotPermitted(info.reason or "No scheduler can be loaded here.", "Try it in the lab: --machine lab.")
        now = time.time()
        draft = Deployment(
            id=0,
            state="proposed",
            reason=proposal.reason or f"{proposal.policy.name} was asked for.",
            policy=proposal.policy.name,
            goal=proposal.policy.goal,
            settings=proposal.settings,
            machine=info.kind,
            kernel=info.kernel,
            asked_by=asked_by,
            request=request,
            created=now,
            changed=now,
            watcher=this_process(),
        )
        deployment = self._store.add_deployment(draft)
        self._known[deployment.id] = deployment
        self._tell(deployment, asked_by)
        return deployment

    def verified(self, deployment: Deployment, report: Report, obj: Loadable) -> Deployment:
        """The verifier passed exactly these bytes with these settings, for this kernel.

        Raises NotPermitted for a failed or a foreign report.
        """
        own = self._certified(deployment, report, obj)
        report = own or report
        if problem := self._foreign(deployment, report, obj, by_the_machine=own is not None):
            raise NotPermitted(f"{deployment.policy} is not tried: {problem}.", "Verify it again.")
        with_warnings = " with warnings" if report.verdict == "warn" else ""
        moved = self._move(
            deployment, "verified", f"{deployment.policy} passed the verifier{with_warnings}.", digest=report.digest
        )
        self._objects[moved.id] = obj
        return moved

    def canary(
        self,
        deployment: Deployment,
        metric: Metric,
        *,
        seconds: float = CANARY_S,
        stop: threading.Event | None = None,
        on_progress: CanaryProgress = lambda _comparison, _side: None,
        unattended: bool = False,
    ) -> Deployment:
        """Try it beside what runs now, and measure.

        Ends ``reverted`` when it is worse, when something went wrong, or ``stop`` was set; else in ``canary``: it runs,
        and a person has LONGEST_DECISION_S to ``keep`` or ``revert`` it, while it is watched. ``unattended``: what is
        better is kept, anything else reverted.
        """
        from schedtui.backend.canary_run import run_canary

        if deployment.id not in self._objects:
            raise NotPermitted(f"{deployment.policy} was not verified.", "Verify it first.")
        candidate = self.candidate(self.current(deployment))
        ending = stop or threading.Event()
        with self._turn:
            if self._trying or self._held:
                raise NotPermitted(
                    "Another scheduler is being tried on this machine.", "Wait for its end, or revert it."
                )
            tried = self._move(deployment, "canary", f"{deployment.policy} is being tried.")
            self._trying[tried.id] = ending
        try:
            finished = run_canary(
                self.machine, candidate, metric, seconds=seconds, stop=ending, on_progress=on_progress
            )
        except BaseException as error:
            why = error.message if isinstance(error, SchedtuiError) else "The program was ended while it was tried."
            reverted = self.revert(tried, why)
            if isinstance(error, SchedtuiError):
                return reverted
            raise
        finally:
            self._trying.pop(tried.id, None)
            self._supersede()
        with self._turn:
            measured = self._note(tried, finished.comparison)
            if measured.state == "reverted":
                return measured
            if finished.ended:
                return self.revert(measured, finished.ended)
            self._held[measured.id] = _Hold(self, self.machine, measured, finished.guard, limit_s=LONGEST_DECISION_S)
        if not unattended:
            return measured
        if finished.comparison.verdict == "better":
            return self.keep(measured, by="setting")
        return self.revert(measured, f"{finished.comparison.reason} Only what is better stays without being asked for.")

    def run(self, deployment: Deployment) -> Deployment:
        """Let it run, unmeasured, for who measures it himself; in ``canary`` until somebody reverts or keeps it.

        It is watched meanwhile, and goes with whoever asked for it. Raises what loading raises, and NotPermitted when
        it runs no more at once; it is reverted then.
        """
        from schedtui.backend.canary_run import LEASE_S, Guard

        if deployment.id not in self._objects:
            raise NotPermitted(f"{deployment.policy} was not verified.", "Verify it first.")
        each = self.candidate(self.current(deployment))
        with self._turn:
            if self._trying or self._held:
                raise NotPermitted(
                    "Another scheduler is being tried on this machine.", "Wait for its end, or revert it."
                )
            running = self._move(deployment, "canary", f"{deployment.policy} runs, and is not measured by schedtui.")
            self._trying[running.id] = threading.Event()
        try:
            guard = Guard(each, self.machine.sample(), compared=False)
            self.machine.load(each.policy, each.obj, each.settings, lease_s=LEASE_S)
            fault = guard.fault(self.machine.sample())
        except BaseException as error:
            self.revert(running, error.message if isinstance(error, SchedtuiError) else "The program was ended.")
            raise
        finally:
            self._trying.pop(running.id, None)
            self._supersede()
        with self._turn:
            if self.current(running).state == "reverted":  # while it was loaded
                self._take_away(running)
                fault = self.current(running).reason
            if not fault:
                self._held[running.id] = _Hold(self, self.machine, running, guard, limit_s=None)
                return running
        raise NotPermitted(self.revert(running, fault).reason, "Run another one, or the same again.")

    def keep(self, deployment: Deployment, *, by: str = "person") -> Deployment:
        """It stays. When it does not run any more by now, it is reverted instead, with the reason."""
        with self._turn:
            hold = self._held.pop(deployment.id, None)
            if hold is None:
                raise NotPermitted(f"{deployment.policy} is not waiting to be kept.", "Try it first.")
            hold.end()
            try:
                now = self.machine.keep()
                if now.digest != deployment.digest:
                    return self.revert(deployment, f"It does not run any more: {now.name} runs.")
            except SchedtuiError as error:
                return self.revert(deployment, error.message)
            try:
                return self._move(deployment, "kept", f"{deployment.policy} was kept.", by=by)
            except SchedtuiError:
                self.machine.unload()  # what is not written down does not stay
                raise

    def revert(self, deployment: Deployment, reason: str, *, by: str = "schedtui") -> Deployment:
        """It goes, if it runs, and the kernel schedules again. Says what runs then, read back from the kernel.

        A deployment that is reverted already stays as it is.
        """
        with self._turn:
            current = self._known.get(deployment.id, deployment)
            if current.state == "reverted":
                return current
            if trying := self._trying.get(current.id):
                trying.set()
            if hold := self._held.pop(current.id, None):
                hold.end()
            return self._move(current, "reverted", _with_what_runs(reason, self._take_away(current)), by=by)

    def resume(self, deployment: Deployment, obj: Loadable) -> Deployment:
        """Load again, without another trial, what was kept and does not run any more: exactly the same bytes.

        The machine asks for its token where it has tokens. Raises NotPermitted when it is something else, or runs;
        and what loading raises (NotProven, PanicLatched, …).
        """
        if digest_of(obj) != deployment.digest:
            raise NotPermitted(f"{deployment.policy} is not what was kept any more.", "Try it again.")
        with self._turn:
            now = self.machine.scheduler()
            if now.owner != "kernel":
                raise NotPermitted(f"{now.name} runs, started by {now.owner}.", "Stop it first, or let it run.")
            loaded = self.machine.load(deployment.policy, obj, dict(deployment.settings))
            reason = f"{deployment.policy} was kept before, and was loaded again as it was. {loaded.name} runs."
            told = replace(deployment, state="kept", reason=reason, changed=time.time(), watcher=this_process())
            try:
                self.machine.keep()  # it outlives this program
                if deployment.state == "kept":
                    self._store.update_deployment(told)
                else:
                    told = self._store.add_deployment(replace(told, created=told.changed, request=None))
            except SchedtuiError:
                self.machine.unload()  # what is not kept and written down does not stay
                raise
            self._known[told.id], self._objects[told.id] = told, obj
        self._tell(told, told.asked_by)
        return told

    def decide(self, deployment: Deployment, countdown_s: float, answer: queue.Queue[bool]) -> Deployment:
        """Wait for a person: True keeps it, False or no answer within ``countdown_s`` takes it away."""
        limit = time.monotonic() + countdown_s
        while (left_s := limit - time.monotonic()) > 0:
            current = self._known.get(deployment.id, deployment)
            if current.state != "canary":
                return current  # something went wrong meanwhile
            with contextlib.suppress(queue.Empty):
                if answer.get(timeout=min(_TICK_S, left_s)):
                    return self.keep(deployment)
                return self.revert(deployment, "It was not kept.", by="person")
        return self.revert(deployment, f"Nobody kept it within {countdown_s:.0f} s.", by="countdown")

    def current(self, deployment: Deployment) -> Deployment:
        """What it has become."""
        return self._known.get(deployment.id, deployment)

    def candidate(self, deployment: Deployment) -> Candidate:
        """What is loaded for it; without its bytes when they were verified by an earlier schedtui."""
        from schedtui.backend.canary_run import Candidate

        return Candidate(
            policy=deployment.policy,
            obj=self._objects.get(deployment.id, b""),
            digest=deployment.digest,
            settings=dict(deployment.settings),
        )

    def is_trying(self) -> bool:
        """Whether something is being measured, or waits for a decision."""
        return bool(self._trying or self._held)

    def _certified(self, deployment: Deployment, report: Report, obj: Loadable) -> Report | None:
        """The machine's own report where it loads nothing without, so that a canary need not wait for it."""
        if report.verdict == "fail" or digest_of(obj) != report.digest:
            return None
        settings = dict(deployment.settings)
        return self.machine.certify(deployment.policy, obj, settings, lambda _text, _seconds: None, quick=report.quick)

    def _foreign(self, deployment: Deployment, report: Report, obj: Loadable, *, by_the_machine: bool) -> str:
        """What speaks against a report; empty when it is of exactly this, passed, and for this kernel."""
        from schedtui.backend.verifier.reports import rules_version

        info = self.machine.open(lambda _text, _seconds: None)
        if report.verdict == "fail":
            return "the verifier found it wrong"
        if not report.digest or report.digest != digest_of(obj):
            return "the report is about another object"
        if report.settings != deployment.settings:
            return "the report is about other settings"
        if not by_the_machine and report.rules != rules_version():  # whose rules are those of its own copy
            return "the report was made by another version of the verifier"
        if report.kernel is None:
            return "it did not run on a real kernel"
        if info.kernel_id not in (None, report.kernel) and not (info.kind == "host" and report.note):
            return "the report is about another kernel"  # of a host whose kernel the lab cannot boot, it warned
        return ""

    def _supersede(self) -> None:
        """What was kept before a trial does not run any more, whatever became of the trial."""
        kept = [each for each in self._known.values() if each.state == "kept"]
        if not kept:
            return
        with contextlib.suppress(SchedtuiError):
            now = self.machine.scheduler()
            for each in kept:
                if (now.owner, now.digest, now.settings) != ("schedtui", each.digest, each.settings):
                    self._move(each, "reverted", "Another scheduler was tried in its place.", by="schedtui")

    def _note(self, deployment: Deployment, comparison: Comparison) -> Deployment:
        """Keep what was measured; the state stays."""
        current = self._known[deployment.id]
        reason = current.reason if current.state == "reverted" else comparison.reason
        noted = self._known[deployment.id] = replace(current, comparison=comparison, reason=reason)
        self._store.update_deployment(noted)
        return noted

    def _move(
        self, deployment: Deployment, state: DeploymentState, reason: str, *, by: str = "", **more: Any
    ) -> Deployment:
        with self._turn:
            current = self._known.get(deployment.id, deployment)
            if state not in WAYS[current.state]:
                raise NotPermitted(
                    f"{current.policy} is {current.state}, and cannot become {state} from there.", "Begin anew."
                )
            moved = replace(current, state=state, reason=reason, changed=time.time(), **more)
            self._known[moved.id] = moved
            try:
                self._store.update_deployment(moved)
            except SchedtuiError:
                if state != "reverted":  # what is reverted is so, written down or not
                    self._known[moved.id] = current
                raise
        self._tell(moved, by or current.asked_by)
        if (current.state, state) == ("kept", "reverted") and by in _REGRETTING:
            self._regret(moved)
        return moved

    def _tell(self, deployment: Deployment, by: str) -> None:
        if self._audit is not None:
            details: Mapping[str, Any] = {
                "deployment": deployment.id,
                "policy": deployment.policy,
                "settings": deployment.settings,
                "machine": deployment.machine,
                "digest": deployment.digest,
                "reason": deployment.reason,
            }
            self._audit.append(by, f"deployment {deployment.state}", dict(details))
        self._listen(deployment)

    def _take_away(self, deployment: Deployment) -> Scheduler | None:
        """Unload it if it is what runs. What runs then; None when nothing answers any more."""
        from schedtui.backend.canary_run import settled_scheduler

        now = settled_scheduler(self.machine)
        if now and deployment.digest and (now.owner, now.digest) == ("schedtui", deployment.digest):
            with contextlib.suppress(SchedtuiError):
                return self.machine.unload()
            return settled_scheduler(self.machine)
        return now

    def _resolve(self, deployment: Deployment) -> Deployment | None:
        """A deployment whose program is gone; None when it may stay as it is."""
        if deployment.machine == "lab":
            what = "the lab ended with it, and nothing of it runs."  # each schedtui has a lab of its own
            return self._move(deployment, "reverted", f"{_CUT_SHORT[deployment.state]}; {what}", by="schedtui")
        now = self.machine.scheduler()
        if deployment.state == "kept":
            if (now.owner, now.digest) == ("schedtui", deployment.digest):
                return None
            return self._move(deployment, "reverted", _with_what_runs(LEFT_BEHIND, now), by="schedtui")
        return self.revert(deployment, f"{_CUT_SHORT[deployment.state]}.")


class _Hold:
    """Renews the lease of what waits for a decision, and watches it, as the canary did.

    What nobody decided on within ``limit_s`` (None: it may run on) is reverted.
    """

    def __init__(
        self,
        deployer: Deployer,
        machine: Machine,
        deployment: Deployment,
        guard: Guard,
        *,
        limit_s: float | None,
    ) -> None:
        self._deployer = deployer
        self._machine = machine
        self._deployment = deployment
        self._guard = guard
        self._limit_s = limit_s
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="canary-hold", daemon=True).start()

    def end(self) -> None:
        """It was decided."""
        self._over.set()

    def _watch(self) -> None:
        began = time.monotonic()
        why = ""
        while not why and not self._over.wait(_HOLD_S):
            try:
                self._machine.renew()
                why = self._guard.fault(self._machine.sample())
            except LeaseEnded as error:
                why = error.message
            except SchedtuiError as error:
                why = error.message
            if self._limit_s is not None and time.monotonic() - began > self._limit_s:
                why = f"Nobody decided within {self._limit_s / 60:.0f} minutes."
        if why and not self._over.is_set():
            with contextlib.suppress(SchedtuiError):  # a store that cannot be written: the machine is given back
                self._deployer.revert(self._deployment, why)


_REGRETTING = ("person", "circuit breaker")
_CUT_SHORT: dict[DeploymentState, str] = {
    "proposed": "schedtui was ended before it was checked",
    "verified": "schedtui was ended before it was tried",
    "canary": "schedtui was ended while it was tried",
}


def _with_what_runs(reason: str, now: Scheduler | None) -> str:
    if now is None or f"{now.name} runs" in reason:
        return reason
    return f"{reason} {now.name} runs."
