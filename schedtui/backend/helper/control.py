"""Which scheduler runs: load, unload, panic, and noticing that the kernel threw one out.

Holds the BPF link. It is never pinned: when this process ends, however it ends, the kernel is back on its own
scheduler. ``panic`` takes no lock that a load holds. Who would load another program's scheduler again is others.py's
to know; that normal tasks starve, heartbeat.py's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from schedtui.backend.bpf.loader import load_scheduler
from schedtui.backend.errors import BadMessage, Interrupted, LeaseEnded, NotPermitted, PanicLatched, SchedtuiError
from schedtui.backend.helper.grace import GracePeriods
from schedtui.backend.helper.latch import Latch
from schedtui.backend.model import Event, EventKind, ExitInfo, Owner, Panic, Scheduler, Setting
from schedtui.backend.probes.owner import OwnerProbe
from schedtui.backend.probes.scheduler import read_scheduler

STATE = Path("/sys/kernel/sched_ext/state")
SYSRQ = Path("/proc/sysrq-trigger")
_LINK_PATIENCE_S = 1.0
_PANIC_LIMIT_S = 10.0
_LOOK_AGAIN_S = 5.0
_LOOK_EACH_S = 0.05
_RETURNS_TOLD = 3
_LEASE_S = (0.2, 600.0)
_LONGEST_LOOK_S = 0.5
"""More than this between two looks at the lease is not counted as silence: this process did not run either."""
_CPUS_CHANGED = "unregistered-kernel"
"""How a policy without callbacks for it ends when a CPU goes or comes; nothing else ends so (kernel/sched/ext.c)."""
_MOST_RESTARTS, _RESTARTS_WITHIN_S = 8, 60.0
_RESTART_TRIES, _RESTART_PAUSE_S = 5, 0.1
_RELEASE = "Choose a preset again (p): it asks, and releases the panic."

Announce = Callable[[Event], None]


class Running(Protocol):
    """A scheduler that runs because this process holds it: see bpf.loader.LoadedScheduler. For any thread."""

    def statistics(self) -> dict[str, int]:
        """Its own counters. Waits for nothing."""
        ...

    def tune(self, settings: dict[str, Setting]) -> None:
        """Change these while it runs, all or none. Raises BadTunable."""
        ...

    def exit_info(self) -> ExitInfo | None:
        """None while the kernel runs it; else why it ended. Cheap."""
        ...

    def follows(self, name: str, enable_seq: int) -> bool:
        """Whether what the kernel enabled later, under this name and count, is this one, started anew by itself."""
        ...

    def output(self) -> str:
        """What its program printed last, when it has one."""
        ...

    def unload(self, *, at_once: bool = False) -> ExitInfo | None:
        """Give the machine back, and return when the kernel has. May be called again. Raises SchedtuiError.

        ``at_once``: a program is killed, and not asked first.
        """
        ...


class Holder(Protocol):
    """Whoever asked for what runs under a lease."""

    @property
    def gone(self) -> bool:
        """It can renew nothing any more."""
        ...


Begin = Callable[[Callable[[], bool]], Running]
"""Has the kernel run a scheduler. It asks what it is given right before that and right after: when it says no,
nothing stays loaded and Interrupted is raised."""


class SchedulerControl:
    """One scheduler at a time. Every method may be called from any thread.

    ``stop_others`` ends what would load another program's scheduler again, and says in sentences what it ended.
    """

    def __init__(
        self, announce: Announce, latch: Latch | None = None, stop_others: Callable[[], Sequence[str]] = tuple
    ) -> None:
        self._announce = announce
        self.latch = latch or Latch()
        """Panic's: whether, since when and why nothing is loaded."""
        self._stop_others = stop_others
        self._stirred = threading.Event()
        """Something begins to be loaded."""
        self._owners = OwnerProbe()
        self._grace_periods = GracePeriods()
        """In a hurry from the first that is loaded or taken out on, until this process ends."""
        self._turn = threading.Lock()
        self._loaded: Running | None = None
        self._policy = ""
        self._since: float | None = None
        self._digest = ""
        self._settings: dict[str, Setting] = {}
        self._begin: Begin | None = None
        """Loads once more what was loaded last."""
        self._tuned: dict[str, Setting] = {}
        """What was changed of it while it ran."""
        self._restarts: list[float] = []
        """When it was loaded once more, in monotonic time."""
        self._enable_seq = -1
        """The kernel's count of enabled schedulers when ours was: tells ours from another program's."""
        self._lease_s: float | None = None
        self._holder: Holder | None = None
        self._renewed = 0.0
        """Monotonic time of the last sign of whoever watches what runs under the lease."""
        self._looked = 0.0
        """When the lease was looked at last."""
        self._ended = "The helper that held it ended, and another took its place"
        """How what we ran last came to its end, in a sentence without its full stop."""
        self._last_output = ""
        self._closed = False
        self.panics = 0
        """How often panic came. A load that was asked for before the last one is not done, released or not."""
        self.returned = 0
        """How often something was loaded again, and taken out again, until the panic was released."""
        self._unloads: queue.SimpleQueue[Running] = queue.SimpleQueue()
        self._panicked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._restarters: queue.SimpleQueue[int] = queue.SimpleQueue()
        for work in (self._unload_for_panic, self._look_again, self._stop_restarters):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def scheduler(self) -> Scheduler:
        """What the kernel reports now, with what only we know: the policy, since when, its statistics, the latch."""
        found = msgspec.structs.replace(read_scheduler(), latched=self._latched)
        loaded = self._loaded
        if found.sched_ext == "disabled" or not self._is_ours(found):
            return msgspec.structs.replace(found, owner=self.owner(found).words) if found.owner != "kernel" else found
        return msgspec.structs.replace(
            found,
            owner="schedtui",
            policy=self._policy,
            since=self._since,
            digest=self._digest,
            settings=self._settings,
            statistics=loaded.statistics() if loaded else {},  # none while panic has its link and it goes
        )

    def owner(self, found: Scheduler | None = None) -> Owner:
        """Who started what runs now, or what was just ``found``."""
        found = found or read_scheduler()
        if found.owner != "kernel" and self._is_ours(found):
            return Owner(kind="schedtui", words="schedtui", pid=os.getpid())
        return self._owners.owner(found)

    def output(self) -> str:
        """What the program that we run printed last; when it has ended, what it had printed until then."""
        loaded = self._loaded
        return loaded.output() if loaded else self._last_output

    def load(
        self,
        policy: str,
        obj: bytes,
        settings: dict[str, Setting],
        panics: int,
        lease_s: float | None = None,
        holder: Holder | None = None,
    ) -> Scheduler:
        """Replace what we run by this object. See ``start``; raises what loading it raises, too."""

        def begin(may_attach: Callable[[], bool]) -> Running:
            return load_scheduler(obj, settings, may_attach=may_attach)

        digest = hashlib.sha256(obj).hexdigest()
        return self.start(policy, begin, digest, settings, panics, lease_s, holder)

    def start(
        self,
        policy: str,
        begin: Begin,
        digest: str,
        settings: dict[str, Setting],
        panics: int,
        lease_s: float | None = None,
        holder: Holder | None = None,
    ) -> Scheduler:
        """Replace what we run by what ``begin`` begins, asked for when ``panics`` had come.

        Until it is kept, ``watch_lease`` takes it away again when ``holder`` is gone, and with ``lease_s`` when nobody
        renewed the lease for so many seconds. Raises PanicLatched, Interrupted, BadMessage (a lease of no sensible
        length), and what ``begin`` raises.
        """
        _check_lease(lease_s)

        def allowed() -> bool:
            return not self._latched and self.panics == panics

        with self._turn:
            self._refuse_when_latched()
            if not allowed():
                raise Interrupted(f"{policy} was not loaded: panic came first.", _RELEASE)
            self._release()
            self._stirred.set()
            if _state():
                self._grace_periods.hurry()
            began = time.monotonic()
            try:
                loaded = begin(allowed)
            except Interrupted:
                self._say("warning", f"{policy} was not loaded: panic came first")
                raise
            except SchedtuiError as error:
                self._say("bad", f"{policy} was not loaded: {error.message}", error.details)
                raise
            self._enable_seq = read_scheduler().enable_seq
            self._digest, self._settings = digest, settings
            self._renewed = self._looked = time.monotonic()
            self._lease_s, self._holder = lease_s, holder
            self._policy, self._since, self._loaded = policy, time.time(), loaded
            self._begin, self._tuned = begin, {}
            if not allowed():
                # Panic came between the attach and this line and did not see the link yet.
                self._release()
                raise Interrupted(
                    f"Panic was pressed while {policy} was being loaded.", "Release it in the presets (p)."
                )
            now = self.scheduler()
            self._say("good", f"{now.name} runs: the kernel took it in {time.monotonic() - began:.1f} s")
            return now

    def renew(self, lease_s: float | None = None, holder: Holder | None = None) -> None:
        """A sign of life of whoever watches, which also sets the lease's length when that is given.

        Waits for nothing: while something is loaded or goes, neither is true yet, and the next renewal tells.
        Raises LeaseEnded when nothing of ours runs, or what runs has no lease.
        """
        _check_lease(lease_s)
        if not self._turn.acquire(blocking=False):
            self._renewed = time.monotonic()
            return
        try:
            if self._loaded is None or self._lease_s is None:
                raise LeaseEnded(f"{self._ended}.", f"{self.scheduler().name} runs.")
            self._refuse_others(holder)
            self._renewed = time.monotonic()
            if lease_s is not None:
                self._lease_s = lease_s
        finally:
            self._turn.release()

    def keep(self, holder: Holder | None = None) -> Scheduler:
        """What runs under a lease stays. Raises LeaseEnded when nothing of ours runs."""
        with self._turn:
            if self._loaded is None:
                raise LeaseEnded(f"There is nothing to keep: {self._ended}.", f"{self.scheduler().name} runs.")
            self._refuse_others(holder)
            self._lease_s = self._holder = None
            return self.scheduler()

    def watch_lease(self) -> None:
        """When a lease is over, give the machine back to the kernel and say so. Cheap when it is not."""
        now = time.monotonic()
        uncounted_s, self._looked = now - self._looked - _LONGEST_LOOK_S, now
        if uncounted_s > 0:
            self._renewed += uncounted_s
        if self._silence():
            self._take_away("warning", self._silence)

    def held(self) -> bool:
        """Whether a scheduler of ours runs, or may from any moment on."""
        return self._loaded is not None or self._turn.locked()

    def wait_for_load(self) -> None:
        """Until something begins to be loaded."""
        self._stirred.wait()
        self._stirred.clear()

    def starved(self, late_s: float) -> None:
        """Normal tasks were not run for so long: give the machine back to the kernel, and say so."""
        self._take_away("bad", lambda: f"normal tasks were not run for {late_s:.1f} s" if self._loaded else "")

    def tune(self, settings: dict[str, Setting]) -> Scheduler:
        """Change tunables of what we run, without loading it again.

        Raises BadTunable, and NotPermitted when nothing of ours runs.
        """
        with self._turn:
            loaded = self._loaded
            if loaded is None:
                raise NotPermitted(
                    "No policy of schedtui runs here, so there is nothing to change.", "Apply one first."
                )
            loaded.tune(settings)
            self._settings = {**self._settings, **settings}
            self._tuned = {**self._tuned, **settings}
            told = ", ".join(
                f"{name} is “{value}”" if value == "" else f"{name} is {value}" for name, value in settings.items()
            )
            self._say("info", f"{self._policy}: {told} now")
            return self.scheduler()

    def unload(self) -> Scheduler:
        """Back to the kernel's own scheduler, when what runs is ours."""
        with self._turn:
            name = self._policy
            if self._release():
                self._ended = f"{name} was unloaded"
                self._say("info", f"{name} was unloaded: {self.scheduler().name} runs")
            return self.scheduler()

    def panic(self, why: str = "Panic was pressed") -> Panic:
        """Latch, drop our link, and ask the kernel by sysrq if that is not enough; then say what the kernel reports.

        A thread of its own looks again for five seconds more, and says what it sees.
        """
        began = time.monotonic()
        self.latch.set(why)
        self._ended = why
        self.panics += 1
        before = read_scheduler()
        path = self._leave_sched_ext()
        took_ms = (time.monotonic() - began) * 1000
        after = self.scheduler()
        problem = self.latch.keep()
        self._restarters.put(self.panics)
        self._panicked.put(self.panics)
        if path == "nothing-to-do":
            self._say("info", f"PANIC: no sched_ext scheduler ran; {after.name} runs")
        elif after.sched_ext == "disabled":
            self._say("good", f"PANIC: {after.name} is back after {took_ms:.0f} ms ({before.name} is gone)")
        else:
            self._say("bad", f"PANIC: the kernel still reports {after.name} ({after.sched_ext})")
        if problem:
            self._say("bad", problem)
        return Panic(scheduler=after, before=before.name, path=path, took_ms=took_ms)  # type: ignore[arg-type]

    def unlatch(self) -> None:
        """Allow loads again. Raises NotPermitted when the latch's file cannot be removed."""
        if self.latch.now is None:
            return
        try:
            self.latch.release()
        except OSError as error:
            raise NotPermitted(f"Panic's latch cannot be released: {error}.", "Remove that file as root.") from error
        self.returned = 0
        self._say("info", "Panic released: schedulers may be loaded again")

    def notice_exit(self) -> None:
        """When the kernel has ended our scheduler by itself, say why and let go of it. Cheap when it has not."""
        loaded = self._loaded
        if loaded is None or not self._turn.acquire(blocking=False):
            return
        try:
            if self._loaded is not loaded:
                return
            ended = loaded.exit_info()
            if ended is None:
                return
            self._loaded, self._last_output = None, loaded.output()
            loaded.unload(at_once=True)
            if ended.kind == _CPUS_CHANGED and self._lease_s is None and self._load_again():
                return
            if not self._latched:
                kind, self._ended, dump = _told(self._policy, ended, read_scheduler().name)
                self._say(kind, self._ended, dump)
        finally:
            self._turn.release()

    def _load_again(self) -> bool:
        """The kernel ends a policy when a CPU goes or comes. What is kept is loaded again: the same bytes, a few times.

        Whether it was, and it was told. The time after many CPUs changed in a row is over soon; a computer whose CPUs
        never rest gets its own scheduler back.
        """
        begin, panics = self._begin, self.panics
        now = time.monotonic()
        self._restarts = [each for each in self._restarts if now - each < _RESTARTS_WITHIN_S]
        if begin is None or len(self._restarts) >= _MOST_RESTARTS:
            return False

        def allowed() -> bool:
            return not self._latched and self.panics == panics

        for _ in range(_RESTART_TRIES):
            if not allowed() or read_scheduler().sched_ext != "disabled":
                return False  # somebody else's runs by now
            try:
                loaded = begin(allowed)
            except Interrupted:
                return False
            except (SchedtuiError, OSError):  # another CPU went while it was being loaded
                time.sleep(_RESTART_PAUSE_S)
                continue
            self._restarts.append(now)
            self._enable_seq, self._since, self._loaded = read_scheduler().enable_seq, time.time(), loaded
            if not allowed():
                self._release()
                return False
            if self._tuned:
                loaded.tune(self._tuned)
            self._say("info", f"A CPU went or came, which ends {self._policy}: it was loaded again, and runs as before")
            return True
        return False

    def close(self) -> None:
        """Let go of whatever runs."""
        self._closed = True
        with self._turn:
            self._release(at_once=True)
        self._grace_periods.rest()

    @property
    def _latched(self) -> bool:
        return self._closed or self.latch.now is not None

    def _refuse_when_latched(self) -> None:
        if self._latched:
            raise PanicLatched(
                "Panic was pressed: nothing is loaded until you release it.",
                "Release it: schedtui panic --release, or press enter on a preset: it asks, and releases it.",
            )

    def _refuse_others(self, holder: Holder | None) -> None:
        if self._holder is not None and self._holder is not holder:
            raise LeaseEnded(f"{self._policy} is on trial for another schedtui now.", "Wait until that has decided.")

    def _silence(self) -> str:
        """Why the lease is over; empty while it is not."""
        holder = self._holder
        if holder is not None and holder.gone:
            return "whoever watched it went away"
        lease_s, silent_s = self._lease_s, time.monotonic() - self._renewed
        over = lease_s is not None and silent_s > lease_s
        return f"whoever watched it was silent for {silent_s:.1f} s" if over else ""

    def _take_away(self, kind: EventKind, reason: Callable[[], str]) -> None:
        """Give the machine back, if there is still a reason once it is our turn."""
        if not self._turn.acquire(blocking=False):
            return  # it is being replaced or taken away; the watch asks again
        try:
            why = reason()
            if not why:
                return
            name = self._policy
            if self._release(at_once=True):
                self._ended = f"{name} was taken away: {why}; {self.scheduler().name} runs"
                self._say(kind, self._ended)
        finally:
            self._turn.release()

    def _is_ours(self, found: Scheduler) -> bool:
        loaded = self._loaded
        if loaded is not None and found.enable_seq > self._enable_seq and loaded.follows(found.name, found.enable_seq):
            self._enable_seq = found.enable_seq
        return found.enable_seq == self._enable_seq

    def _release(self, *, at_once: bool = False) -> bool:
        loaded, self._loaded = self._loaded, None
        self._lease_s = self._holder = None
        if loaded is None:
            return False
        self._last_output = loaded.output()
        loaded.unload(at_once=at_once)
        return True

    def _leave_sched_ext(self) -> str:
        loaded, self._loaded = self._loaded, None
        if loaded is None and _state() in ("disabled", ""):
            return "nothing-to-do"
        self._grace_periods.hurry()
        began = asked = time.monotonic()
        path = "helper"
        if loaded is None:  # another program's, or one whose attach is still under way
            asked, path = 0.0, "sysrq"
        else:
            self._unloads.put(loaded)
        while _state() not in ("disabled", ""):
            now = time.monotonic()
            if now - began > _PANIC_LIMIT_S:
                break
            if now - asked > _LINK_PATIENCE_S:
                asked, path = now, "sysrq"
                with contextlib.suppress(OSError):
                    SYSRQ.write_text("S")
            time.sleep(0.001)
        return path

    def _unload_for_panic(self) -> None:
        """Waits for its one task in the real-time class: a thread made at need could be starved before it starts."""
        become_realtime()
        while True:
            with contextlib.suppress(SchedtuiError):  # the kernel does not finish: panic sees it, and asks by sysrq
                self._unloads.get().unload(at_once=True)

    def _look_again(self) -> None:
        """After each panic: takes out what was loaded again, and says what there is to see."""
        become_realtime()
        while True:
            this = self._panicked.get()
            returned = 0
            limit = time.monotonic() + _LOOK_AGAIN_S
            while time.monotonic() < limit and self._is_last(this):
                if _state() in ("enabled", "enabling"):
                    returned += 1
                    self.returned += 1
                    self._take_out_again(tell=returned <= _RETURNS_TOLD)
                time.sleep(_LOOK_EACH_S)
            if self._is_last(this):
                now = self.scheduler()
                kind: EventKind = "bad" if now.sched_ext == "enabled" else "info"
                times = f"; something loaded a scheduler again {returned} times" if returned else ""
                self._say(kind, f"PANIC: {now.name} runs {_LOOK_AGAIN_S:.0f} s later{times}")

    def _stop_restarters(self) -> None:
        """After each panic: ends who would load a scheduler again. That takes seconds when systemd is slow."""
        become_realtime()
        while True:
            self._restarters.get()
            for told in self._stop_others():
                self._say("info", f"PANIC: {told}")

    def _is_last(self, panic: int) -> bool:
        """Neither released nor followed by another."""
        return self._latched and self.panics == panic

    def _take_out_again(self, *, tell: bool) -> None:
        back = read_scheduler().name
        self._leave_sched_ext()
        if tell:
            self._say("bad", f"PANIC: something loaded {back} again, and it was taken out again")

    def _say(self, kind: EventKind, text: str, details: str = "") -> None:
        self._announce(Event(time=time.time(), kind=kind, text=text, details=details))


def _check_lease(lease_s: float | None) -> None:
    shortest, longest = _LEASE_S
    if lease_s is not None and not shortest <= lease_s <= longest:
        raise BadMessage(f"A lease of {lease_s} s is outside {shortest} to {longest:.0f} s.")


def _state() -> str:
    """The kernel's word for what sched_ext does now; empty without sched_ext. A fraction of a millisecond."""
    try:
        return STATE.read_text().strip()
    except OSError:
        return ""


def _told(policy: str, ended: ExitInfo, now: str) -> tuple[EventKind, str, str]:
    name = policy or ended.scheduler
    why = ended.reason or ended.kind
    if ended.message and ended.message != ended.reason:
        why += f": {ended.message}"
    if ended.kind == _CPUS_CHANGED:
        return "warning", f"A CPU went or came, and the kernel ended {name} for that; {now} runs", ended.output
    if ended.thrown_out:
        return (
            "bad",
            f"The kernel threw {name} out ({why}); {now} runs",
            "\n".join(filter(None, [ended.dump, ended.output])),
        )
    return "warning", f"{name} was ended from outside ({why}); {now} runs", ended.dump or ended.output


def become_realtime() -> None:
    """Put the calling thread above every scheduler that can be loaded; its children start as normal tasks.

    Per thread, because SCHED_RESET_ON_FORK also resets threads. Every thread of the helper calls it when it starts:
    one that a bad scheduler starves would starve the others through the interpreter's lock. Without the right to do
    so, nothing changes.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
