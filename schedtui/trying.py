"""A person's trial of a policy, as the screens know it: proven, measured beside what runs now, kept or taken away.

``Trial.run`` does it, in a thread, through the machine's deployer. It alone changes the trial; screens read it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from schedtui.act import Act
from schedtui.backend.errors import Interrupted, SchedtuiError
from schedtui.backend.model import Comparison, Deployment, Frame, MachineInfo, Metric, Policy, Report, Setting
from schedtui.feed import unexpected

if TYPE_CHECKING:
    from schedtui.backend.canary import Side
    from schedtui.desk import Desk

COUNTDOWN_S = 20.0
"""What nobody keeps within so long is taken away."""
MEASURE_S = 20.0
_REDRAW_S = 0.2
_IDLE_PERCENT = 10.0
_RECENT, _RECENT_S = 10, 5.0
"""Frames, and seconds, that tell how things are."""
_GAME, _BUILD, _BUSY = ("frames", "hogs"), ("forks",), ("hogs",)
_LOADS = {
    "gaming": _GAME,
    "streaming": _GAME,
    "audio": _GAME,
    "desktop": _GAME,
    "server": _GAME,
    "compile": _BUILD,
    "batch": _BUSY,
    "data-ml": _BUSY,
    "memory-io": _BUSY,
    "battery": ("frames",),
}
"""The lab's loads that are like what a class is about, first what is measured."""

Phase = Literal["waiting", "proving", "measuring", "deciding", "kept", "gone"]


class Trial:
    """One of them. ``clock`` counts seconds, as time.monotonic does."""

    def __init__(
        self,
        policy: Policy,
        settings: dict[str, Setting],
        *,
        title: str,
        class_id: str = "",
        metric: Metric | None = None,
        release: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy, self.settings, self.title = policy, settings, title
        self.class_id = class_id
        """What it should be good for, of ``catalogue.CLASSES``; empty: not known."""
        self.metric = metric
        """What is measured; None: what fits the class and the load."""
        self.release = release
        """Whether a latched panic is released before it is loaded."""
        self.loads: tuple[str, ...] = ()
        """The loads to start in the lab before it is measured."""
        self.phase: Phase = "waiting"
        self.act = Act(title)
        self.report: Report | None = None
        self.comparison: Comparison | None = None
        self.side: Side = "before"
        self.deployment: Deployment | None = None
        self.reason = ""
        """Why it came to its end, in a sentence."""
        self.error: SchedtuiError | None = None
        self._clock = clock
        self._stopped = threading.Event()
        self._why = ""
        self._answers: queue.Queue[bool] = queue.Queue()
        self._deadline = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.phase in ("kept", "gone")

    @property
    def left_s(self) -> float:
        """Until it is taken away by itself, while a person has to decide."""
        return max(0.0, self._deadline - self._clock())

    def answer(self, keep: bool) -> None:
        """What the person decided."""
        self._answers.put(keep)

    def stop(self, why: str) -> None:
        """End it; nothing of it stays. What was kept is not touched."""
        self._why = self._why or why
        self._stopped.set()
        self._answers.put(False)

    def begin(self) -> bool:
        """Whether it had not begun yet; from now on it has, before its thread runs. For one thread."""
        begins = self.phase == "waiting"
        if begins:
            self.phase = "proving"
            self.act.stage(f"Proof: {self.policy.name} is judged before it may run")
        return begins

    def run(self, desk: Callable[[], Desk], tell: Callable[[], None]) -> None:
        """From the proof to the end. ``tell`` is called whenever there is something new to draw."""
        try:
            place = desk()
            deployment = self._proven(place, tell)
            if deployment.state == "verified":
                deployment = self._measured(place, deployment, tell)
            if deployment.state == "canary":
                deployment = self._decided(place, deployment, tell)
            self._end(deployment)
        except Interrupted as error:
            self._give_up(desk, self._why or error.message)
        except SchedtuiError as error:
            self._fail(desk, error)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach the user too
            self._fail(desk, unexpected(error))
        tell()

    def _proven(self, desk: Desk, tell: Callable[[], None]) -> Deployment:
        from schedtui.agent.trust import PERSON
        from schedtui.backend.deploy import Proposal
        from schedtui.backend.verifier.proof import prove

        self.begin()
        tell()
        if self.policy.binary:
            from schedtui.backend.library.starting import in_mode

            self.policy, _ = in_mode(self.policy, self.class_id)
        proposal = Proposal(policy=self.policy, settings=self.settings, preset=None, reason=f"{self.title}.")
        deployment = self.deployment = desk.deployer.propose(proposal, asked_by=PERSON)

        def progress(text: str, _seconds: float) -> None:
            self._check()
            self._stage(f"Proof: {text}", tell)

        proof = prove(
            self.policy,
            self.settings,
            kernel_id=desk.info.kernel_id,
            kernel=desk.kernel,
            progress=progress,
            kind=desk.info.kind,
            machine=desk.machine,
        )
        self.report = proof.report
        self._check()
        if proof.report.verdict == "fail":
            self._stage("Proof: not passed", tell)
            found = [each.meaning for each in proof.report.findings if each.severity == "error"]
            why = f"The verifier did not pass it, so it was not tried. {found[0] if found else ''}".strip()
            return desk.deployer.revert(deployment, why)
        before = ", known from before" if proof.known else ""
        warned = " with warnings" if proof.report.verdict == "warn" else ""
        self._stage(f"Proof: it passed the verifier{warned}{before}", tell)
        return desk.deployer.verified(deployment, proof.report, proof.obj)

    def _measured(self, desk: Desk, deployment: Deployment, tell: Callable[[], None]) -> Deployment:
        from schedtui.agent.advice import metric_for
        from schedtui.backend.history import outcome_of

        self._check()
        if self.release:
            desk.machine.unlatch()
        for load in self.loads:
            self._stage(f"Load: starting “{load}”", tell)
            desk.machine.start_workload(load)
        running = self.loads + running_loads(desk.watch.last(_RECENT_S))
        metric = self.metric or metric_for(self.class_id, loads=tuple(dict.fromkeys(running)))
        self.phase = "measuring"
        self._stage("Measuring: waiting until the machine is calm", tell)
        before, told = desk.machine.scheduler().name, self._clock()

        def progress(seen: Comparison, side: Side) -> None:
            nonlocal told
            changed, self.comparison, self.side = side != self.side, seen, side
            if changed or self._clock() - told >= _REDRAW_S:
                told = self._clock()
                self._stage(f"Measuring: {self.policy.name if side == 'after' else before} runs now", tell)

        done = desk.deployer.canary(deployment, metric, seconds=MEASURE_S, stop=self._stopped, on_progress=progress)
        self.comparison = done.comparison or self.comparison
        outcome = outcome_of(done, cpus=len(desk.info.cpus), workload=self.class_id)
        if outcome is not None:
            with contextlib.suppress(SchedtuiError):  # the deployment holds the numbers too
                desk.store.add_outcome(outcome)
        return done

    def _decided(self, desk: Desk, deployment: Deployment, tell: Callable[[], None]) -> Deployment:
        self.deployment = deployment
        self._deadline = self._clock() + COUNTDOWN_S
        self.phase = "deciding"
        self._stage("Your decision: keep it, or let it go", tell)
        return desk.deployer.decide(deployment, COUNTDOWN_S, self._answers)

    def _end(self, deployment: Deployment) -> None:
        self.deployment, self.reason = deployment, deployment.reason
        if self._why and deployment.state == "reverted" and "Panic" not in deployment.reason:
            self.reason = f"{self._why} {deployment.reason}"
        self.phase = "kept" if deployment.state == "kept" else "gone"
        self.act.finish("")

    def _give_up(self, desk: Callable[[], Desk], why: str) -> None:
        self._revert(desk, why)
        self.reason, self.phase = f"{why} Nothing was loaded.", "gone"
        self.act.cancel()

    def _fail(self, desk: Callable[[], Desk], error: SchedtuiError) -> None:
        self._revert(desk, error.message)
        self.error, self.reason, self.phase = error, error.message, "gone"
        self.act.fail(error)

    def _revert(self, desk: Callable[[], Desk], why: str) -> None:
        if self.deployment is not None:
            with contextlib.suppress(SchedtuiError):  # a store that cannot be written: that is said already
                self.deployment = desk().deployer.revert(self.deployment, why)

    def _check(self) -> None:
        """Raising here, in the verifier's thread too, is how a trial ends early."""
        if self._stopped.is_set():
            raise Interrupted(self._why)

    def _stage(self, text: str, tell: Callable[[], None]) -> None:
        self.act.stage(text)
        tell()


def missing_loads(info: MachineInfo, frames: Iterable[Frame], class_id: str) -> tuple[str, ...]:
    """What to start in the lab so that a trial for this class has something to measure; nothing when enough runs."""
    if info.kind != "lab":
        return ()
    fitting, running = _LOADS.get(class_id, _GAME), running_loads(frames)
    enough = fitting[0] in running or (not class_id and set(running) & {"frames", "forks"})
    return () if enough else tuple(each for each in fitting if each not in running)


def is_idle(info: MachineInfo, frames: Iterable[Frame]) -> bool:
    """Whether this computer has so little to do that no scheduler can be told from another."""
    used = [cpu.used_percent for frame in list(frames)[-_RECENT:] for cpu in frame.cpus]
    return info.kind == "host" and bool(used) and sum(used) / len(used) < _IDLE_PERCENT


def running_loads(frames: Iterable[Frame]) -> tuple[str, ...]:
    """The lab's loads that run, by the newest frame."""
    newest = list(frames)[-1:]
    return tuple(each.kind for frame in newest for each in frame.workloads)
