"""The kernel stage: a policy on a real kernel, in a guest of its own, under stress beside the kernel's own scheduler.

Runs it and tells what came of it; what the numbers mean is ``judge``'s. The guest is restored from a pristine snapshot
and thrown away afterwards, so nothing that happens in it, a panic of its kernel included, touches anything else.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from schedtui import paths
from schedtui.backend.errors import (
    BadTunable,
    HelperGone,
    LabFailed,
    LoadRejected,
    MissingTool,
    SchedtuiError,
)
from schedtui.backend.lab import LabMachine
from schedtui.backend.machine import Progress
from schedtui.backend.microvm.guest import EMULATORS_OOPS, LINES_TOLD
from schedtui.backend.microvm.lock import locked
from schedtui.backend.model import (
    Completed,
    Event,
    Finding,
    KernelId,
    Loadable,
    Program,
    Scheduler,
    Setting,
    Severity,
    Stage,
    Verdict,
    worst,
)
from schedtui.backend.verifier import judge, stress
from schedtui.backend.verifier.stress import TESTS, Result

BASELINE = "crowd:1000,pinned:500,room:400,even:300,switches:250,locks:250,storm:500"
SUITE = "crowd:3000,pinned:600,room:500,even:300,switches:250,locks:250,storm:500,hotplug:400,again:300"
QUICK = "crowd:800"

_AGAIN = 2
"""Measurements after the first, where chance could have had a hand: the last one only on a busy computer."""
_SHORT_MS = 1000
_TIMES = 3
"""So much longer a short test takes when it is repeated because of doubt."""
_ENOUGH = 0.5
"""Of the CPUs that the guest could have used: with less, this computer was busy with other work."""
_HARDLY_ANY = 0.2
"""With less of them, it was this computer's other work that made the guest hang."""
CPUS = 4
"""Of the guest, whatever this computer has: some faults need more than two CPUs."""
LIMIT_S = 100.0
"""For one measurement. A policy whose guest needs longer hangs it."""
_SUITE_LIMIT_S = 60.0
_HOTPLUG_LIMIT_S = 8.0
_STARTING_S = 60.0
"""A program may take so long each time it loads: emulated, scx_lavd took 43 s. While it loads anew, because a CPU went,
that CPU cannot come back."""
_READY_LIMIT_S = 30
_ANEW_WITHIN_S = 20.0
"""The helper loads a policy anew that the kernel ended because a CPU went or came: emulated, within seconds."""
_LOOK_S = 0.1
_TOLD_WITHIN_S = 3.0
_PATH = "/tmp/stress"
_THROWN_OUT_AT_ONCE = "The kernel threw"
"""How the loader's words begin for a policy that was accepted, and ended by a fault of its own right away."""
_RESTART = "unregistered from the main kernel"
"""How the kernel ends a policy that does not handle CPUs that come and go. Source: handle_hotplug() of ext.c."""
_GONE = (HelperGone, LabFailed)
_STALLED = "runnable task stall"
_MUCH_WAITING = 0.5
"""Threads of the guest that wait for this computer; with more, and little CPU time, no wait is the policy's fault."""

_VERDICTS: dict[Severity, Verdict] = {"error": "fail", "warning": "warn", "note": "pass"}
_TOLD_EVENTS = {
    "SCX_EV_SELECT_CPU_FALLBACK": (100, "chose a CPU that the task may not use; the kernel chose another"),
    "SCX_EV_DISPATCH_LOCAL_DSQ_OFFLINE": (20, "sent a task to a CPU that was off"),
    "SCX_EV_BYPASS_ACTIVATE": (2, "the kernel passed the policy by for a while"),
    "SCX_EV_INSERT_NOT_OWNED": (0, "put a task into a queue that it did not have in hand"),
}
"""Counters of the kernel that a person should know of: above how many, and what they count."""


class EmulatorFailed(LabFailed):
    """The emulator, or a busy computer, made the guest stop, and not the policy. A fresh guest is worth a try."""


class Trial:
    """One guest on one kernel, for one policy. A context manager: at its end nothing of the guest is left."""

    def __init__(self, kernel: Path | None, progress: Progress, *, limit_s: float = LIMIT_S) -> None:
        """``limit_s`` is for one measurement; see ``LIMIT_S``."""
        self.machine = LabMachine(kernel=kernel, cpus=CPUS)
        """The guest, from entering on."""
        self._limit_s = self._given_s = limit_s
        self._progress = progress
        self._began = time.monotonic()
        self._blamed = False
        """The policy is in the guest, so what happens to the guest is its doing."""
        self._hung = False
        """Its time was over, so it was ended."""

    def __enter__(self) -> Trial:
        """Restore the guest. Raises LabFailed, KernelUnsuitable, MissingTool."""
        try:
            info = self.machine.open(self._progress)
        except BaseException:
            self.machine.close()
            raise
        self._qemu = self.machine.guest.qemu
        if info.kernel_id is None:
            self.machine.close()
            raise LabFailed(f"Linux {info.kernel} does not say which build it is.", "Choose another kernel image.")
        self.kernel_id: KernelId = info.kernel_id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.machine.close()

    def judge(self, name: str, obj: Loadable, settings: dict[str, Setting], *, quick: bool) -> Stage:
        """Load the policy, stress it, and judge. Timed stages run one guest at a time, whichever process asks.

        Raises BadTunable, MissingTool, CompileFailed, LabFailed (EmulatorFailed) or HelperGone when the guest went
        wrong without the policy's doing, and whatever ``progress`` raises to cancel.
        """
        program = stress.program()
        with self._alone():
            began = time.monotonic()
            try:
                findings, figures, summary = self._try(program, name, obj, settings, quick)
            except EmulatorFailed:
                raise
            except _GONE as error:
                if not self._blamed or (self._was_killed() and not self._hung):
                    raise LabFailed("The lab's machine ended, and the policy is not to blame.", "Try again.") from error
                if EMULATORS_OOPS in self._qemu.last_console():
                    raise EmulatorFailed(
                        "The emulator made the lab's kernel stop, as it does once in a great while.", "Try again."
                    ) from error
                findings, figures, summary = [self._died(error)], {}, "the guest did not survive"
            return Stage(
                name="kernel",
                verdict=verdict_of(findings),
                seconds=time.monotonic() - began,
                findings=tuple(findings),
                summary=summary,
                figures=figures,
            )

    @contextlib.contextmanager
    def _limited(self, limit_s: float) -> Iterator[None]:
        """Whatever waits for a guest that hangs stops waiting when its time is over."""

        def end() -> None:
            self._hung = True
            self._blamed &= self._host_share() > _HARDLY_ANY
            self.machine.close()

        self._given_s = limit_s
        self._measured_from = time.monotonic(), self._used_s(), self._waited_s()
        timer = threading.Timer(limit_s, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _host_share(self) -> float:
        """CPU time that the guest got since the measurement began, of what it could have used."""
        began, used_s, _ = self._measured_from
        return (self._used_s() - used_s) / (time.monotonic() - began) / min(CPUS, os.cpu_count() or 1)

    def _was_kept_waiting(self) -> bool:
        """Whether this computer's other work kept the guest from running since the measurement began."""
        began, _, waited_s = self._measured_from
        waiting = (self._waited_s() - waited_s) / (time.monotonic() - began)
        return self._host_share() <= _ENOUGH and waiting > _MUCH_WAITING

    def _waited_s(self) -> float:
        """Source: Documentation/scheduler/sched-stats.rst, /proc/pid/task/tid/schedstat, second field."""
        total = 0
        for each in Path(f"/proc/{self._qemu.process.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError, IndexError):
                total += int(each.read_text().split()[1])
        return total / 1e9

    def _was_killed(self) -> bool:
        """Somebody killed QEMU; when its guest panics it ends by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._qemu.process.wait(1) < 0
        return False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        place = paths.cache_dir() / "lab" / "timed.lock"
        place.parent.mkdir(parents=True, exist_ok=True)  # the snapshot may be one that setup prepared
        while True:
            with contextlib.ExitStack() as held:
                try:
                    held.enter_context(locked(place))
                except BlockingIOError:
                    self._say("waiting: another policy is being measured")
                    time.sleep(_LOOK_S)
                    continue
                yield
                return

    def _say(self, words: str) -> None:
        self._progress(words, time.monotonic() - self._began)

    def _try(
        self, program: bytes, name: str, obj: Loadable, settings: dict[str, Setting], quick: bool
    ) -> tuple[list[Finding], dict[str, float], str]:
        self._send(program)
        tests = ("", QUICK) if quick else (BASELINE, SUITE)
        try:
            measured = self._measure(name, obj, settings, *tests)
            own, policy = measured.own, measured.policy
            found = judge.findings(own, policy)
            for _ in range(_AGAIN):
                doubtful = judge.doubtful(found, policy if own else ())
                if measured.gone or not doubtful:
                    break
                self._say("measuring once more, to be sure")
                measured = self._measure(name, obj, settings, *(_longer(each, doubtful) for each in tests))
                own, policy = judge.best(own, measured.own), judge.best(policy, measured.policy)
                found = judge.findings(own, policy)
                if measured.host_share > _ENOUGH:
                    break
            if judge.doubtful(found) and verdict_of(found) == "fail" and self._was_kept_waiting():
                raise EmulatorFailed(
                    f"This computer was too busy to tell whether {name} is at fault: {found[0].meaning}",
                    "Try again later.",
                )
        except LoadRejected as error:
            return [_rejected(error)], {}, "the kernel does not load it"
        found = [*measured.findings, *found]
        beside = f" beside {self.machine.open(self._progress).default_scheduler}" if own else ""
        summary = f"{len(policy)} test{'' if len(policy) == 1 else 's'}{beside}"
        return found, {} if quick else judge.figures(own, policy), summary

    def _send(self, program: bytes) -> None:
        encoded = base64.b64encode(program).decode()
        script = f"echo {encoded} | base64 -d > {_PATH} && chmod +x {_PATH}"
        done = self.machine.run(["sh", "-c", script], 20)
        if done.exit_code:
            raise MissingTool("The lab's guest has no shell to start the stress suite with.", "schedtui lab install")

    def _measure(self, name: str, obj: Loadable, settings: dict[str, Setting], own: str, policy: str) -> _Measured:
        """The suite under the kernel's own scheduler, then under the policy. Raises LoadRejected, BadTunable."""
        start_s = _STARTING_S if isinstance(obj, Program) else 0.0
        twice = 2 * start_s  # the second time around hotplug
        with self._limited(self._limit_s + twice):
            suite = _Suite(self.machine, own, policy, _HOTPLUG_LIMIT_S + start_s, _SUITE_LIMIT_S + twice)
            return self._run_suite(name, obj, settings, suite)

    def _run_suite(self, name: str, obj: Loadable, settings: dict[str, Setting], suite: _Suite) -> _Measured:
        self._say("measuring the kernel's own scheduler")
        if self.machine.run([_PATH, "ready", str(_READY_LIMIT_S)], _READY_LIMIT_S + 5).exit_code:
            raise LabFailed("The lab is too slow to measure anything: this computer is too busy.", "Try again later.")
        self._say(f"loading {name}")
        self._blamed = True
        try:
            self.machine.load(name, obj, settings)
        except (LoadRejected, BadTunable, *_GONE):
            raise
        except SchedtuiError as error:
            raise LoadRejected(error.message, error.remedy, error.details) from error
        loads = self.machine.scheduler().enable_seq
        before = self._watch(suite)
        done = suite.done()
        host_share = self._host_share()
        results = stress.read_results(done.output)
        now = self.machine.scheduler()
        findings: list[Finding] = []
        gone = False
        if now.sched_ext != "enabled":
            findings, gone, now = self._after_its_end(name, obj, settings, results)
        anew = now.enable_seq > loads
        if not gone and anew and _was_at_hotplug(results):
            findings = [_restarts(isinstance(obj, Program))]
        elif done.exit_code and not gone:
            self._blamed = host_share > _ENOUGH
            raise LabFailed("The stress suite did not come to its end: too little CPU time was left for it.")
        # The kernel begins to count anew at each load.
        events = before.events if anew else now.events or before.events
        findings += about_counters(max(before.rejected, now.rejected), events)
        try:
            self.machine.unload()
        except SchedtuiError as error:
            raise HelperGone(error.message, error.remedy) from error
        return _Measured(results, findings, gone, host_share)

    def _used_s(self) -> float:
        """CPU time that QEMU has had. Source: proc(5), /proc/pid/stat, fields 14 and 15."""
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{self._qemu.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def _watch(self, suite: _Suite) -> Scheduler:
        """Tells what the suite does; returns the policy as it was in the last test but one: the last may end it."""
        before, test = self.machine.scheduler(), ""
        while not suite.is_over(_LOOK_S):
            if test != self._test():
                test = self._test()
                now = self.machine.scheduler()
                before = now if now.sched_ext == "enabled" else before
            self._say(f"stress: {TESTS.get(test, 'starting')}")
        return before

    def _after_its_end(
        self, name: str, obj: Loadable, settings: dict[str, Setting], results: list[Result]
    ) -> tuple[list[Finding], bool, Scheduler]:
        """Why the kernel took the policy out; one that it wants started anew, because CPUs came or went, is.

        Returns what is held against it, whether it is gone for good, and the scheduler that runs by then.
        """
        event = self._ending(name, _STARTING_S if isinstance(obj, Program) else _ANEW_WITHIN_S, results)
        if event is not None and _STALLED in event.text and self._was_kept_waiting():
            raise EmulatorFailed(
                f"This computer was too busy to tell whether {name} lets tasks wait too long.", "Try again later."
            )
        if event is not None and (event.kind == "bad" or not (_was_at_hotplug(results) and _RESTART in event.text)):
            return [_thrown_out(event, self._test())], True, self.machine.scheduler()
        if event is not None:
            self._say(f"loading {name} anew")
            self.machine.load(name, obj, settings)
        return [], False, self.machine.scheduler()

    def _ending(self, name: str, back_within_s: float, results: list[Result]) -> Event | None:
        """What the helper says of the end of the policy; None when it was a CPU's coming or going that ended it, and
        it runs again by itself, or by the helper, within this time.
        """
        limit = time.monotonic() + _TOLD_WITHIN_S
        if _was_at_hotplug(results):
            limit = time.monotonic() + back_within_s
            self._say(f"waiting for {name} to start anew")
        for frame in self.machine.frames(_LOOK_S):
            for each in frame.events:
                if each.kind in ("bad", "warning"):
                    return each
            if frame.scheduler.sched_ext == "enabled" and frame.scheduler.policy == name:
                return None
            if time.monotonic() > limit:
                break
        return Event(time=time.time(), kind="bad", text="the policy is gone, and the kernel does not say why")

    def _test(self) -> str:
        """The test that the guest began last, as its console says."""
        _, mark, rest = self._qemu.console.rpartition(stress.MARK)
        return rest.split()[0] if mark and rest.split() else ""

    def _died(self, error: SchedtuiError) -> Finding:
        lines = [each.rstrip() for each in self._qemu.last_console().splitlines() if each.strip()]
        lines = [each for each in lines if not each.startswith(stress.MARK)]
        words = next((each for each in reversed(lines) if "Kernel panic" in each), "")
        last = lines[-LINES_TOLD:]
        what = "crashed" if words else "hung"
        said = f" It said: {words.split('] ')[-1]}." if words else ""
        ended = f"It came to no end in {self._given_s:g} s." if self._hung else error.message
        return Finding(
            rule="guest-died",
            severity="error",
            place=TESTS.get(self._test(), "while it was loaded"),
            meaning=f"The kernel in the lab {what} under this policy. A computer would have stopped.{said}",
            remedy="Look at what the policy does in this test; nothing of the lab's machine is left.",
            details="\n".join([ended, *([words] if words not in last else []), *last]),
        )


def _longer(suite: str, doubtful: set[str]) -> str:
    """The same tests, in the same order, because one may bring about what another shows; short ones take longer where
    ``doubtful``, so that what disturbs them once weighs less."""
    tests = [each.split(":") for each in suite.split(",") if each]
    doubtful = {judge.BESIDE.get(each, each) for each in doubtful} | doubtful
    longer = {name for name, ms in tests if name in doubtful and int(ms) < _SHORT_MS}
    return ",".join(f"{name}:{int(ms) * (_TIMES if name in longer else 1)}" for name, ms in tests)


class _Measured:
    """What one run of the suite brought."""

    def __init__(self, results: list[Result], findings: list[Finding], gone: bool, host_share: float) -> None:
        self.own = [each for each in results if not each.policy]
        self.policy = [each for each in results if each.policy]
        self.findings = findings
        self.gone = gone
        """The kernel has thrown the policy out."""
        self.host_share = host_share
        """CPU time that the guest got, of what it could have used."""


class _Suite:
    """The suite, running in the guest from before the policy is loaded until after its last test."""

    def __init__(self, machine: LabMachine, own: str, policy: str, hotplug_s: float, limit_s: float) -> None:
        self._done: Completed | None = None
        self._error: SchedtuiError | None = None
        command = [_PATH, "suite", own, policy, f"{hotplug_s:.0f}"]
        self._thread = threading.Thread(target=self._run, args=(machine, command, limit_s), name="stress", daemon=True)
        self._thread.start()

    def _run(self, machine: LabMachine, command: list[str], limit_s: float) -> None:
        try:
            self._done = machine.run(command, limit_s)
        except SchedtuiError as error:
            self._error = error

    def is_over(self, wait_s: float) -> bool:
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def done(self) -> Completed:
        """Raises what stopped it."""
        if self._error:
            raise self._error
        assert self._done is not None
        return self._done


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """The verdict of a stage with these findings."""
    return worst(_VERDICTS[each.severity] for each in findings)


def _rejected(error: LoadRejected) -> Finding:
    return Finding(
        rule="thrown-out" if error.message.startswith(_THROWN_OUT_AT_ONCE) else "load-rejected",
        severity="error",
        place="loading",
        meaning=error.message,
        remedy=error.remedy or "The lines below are what the kernel says of it.",
        details=error.details,
    )


def _was_at_hotplug(results: Sequence[Result]) -> bool:
    return bool(results) and results[-1].policy and results[-1].hotplug == "done"


def _restarts(itself: bool) -> Finding:
    who = "This program starts itself" if itself else "The kernel has this policy started"
    return Finding(
        rule="restarts-at-hotplug",
        severity="note",
        place=TESTS["hotplug"],
        meaning=f"{who} anew when a CPU goes or comes back, as around sleep.",
        remedy="" if itself else "Give it cpu_online() and cpu_offline() if it should live on.",
    )


def _thrown_out(event: Event, test: str) -> Finding:
    return Finding(
        rule="thrown-out",
        severity="error",
        place=TESTS.get(test, "right after loading"),
        meaning=f"{event.text}. On a person's computer everything would have stood still until then.",
        remedy="The kernel's reason says what went wrong; its dump below shows every queue at that moment.",
        details=event.details,
    )


def about_counters(rejected: int, events: dict[str, int]) -> Iterator[Finding]:
    """What the kernel counted while the policy ran: tasks that it refused, and its sched_ext events."""
    if rejected:
        yield Finding(
            rule="tasks-refused",
            severity="error",
            place="init_task",
            meaning=f"The policy refused {rejected} tasks; they stay with the kernel's own scheduler, which comes "
            "before it: a few of them can keep all others from running.",
            remedy="Leave p->scx.disallow alone.",
        )
    told = [
        f"{events[name]} times: {words}" for name, (few, words) in _TOLD_EVENTS.items() if events.get(name, 0) > few
    ]
    if told:
        yield Finding(
            rule="kernel-helped",
            severity="note",
            place="the kernel's counters",
            meaning="The kernel had to help out where the policy made no sense to it.",
            remedy="Not needed; each time costs a little.",
            details="\n".join(told),
        )
