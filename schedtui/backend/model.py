"""The nouns: what is observed of a machine, and what may be done to it.

All are frozen msgspec Structs, so that the same values travel over the helper's socket, into a
recording and to the screen. Units are in the names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from schedtui.backend.histogram import Histogram

SchedExt = Literal["unsupported", "disabled", "enabled", "enabling", "disabling"]
LatencySource = Literal["wakeup-probe", "run-delay", "timer-overshoot"]
MachineKind = Literal["host", "lab", "replay"]
EventKind = Literal["info", "good", "warning", "bad"]
Origin = Literal["built-in", "external", "user", "generated"]
Verdict = Literal["pass", "warn", "fail"]
Severity = Literal["error", "warning", "note"]
StageName = Literal["source", "object", "bytecode", "kernel"]
Setting = bool | int | str


class CpuPlace(Struct, frozen=True):
    """Where one logical CPU sits. ``llc`` numbers the group of CPUs that share a last-level cache."""

    cpu: int
    core: int
    llc: int
    node: int
    max_mhz: int | None = None


class MachineInfo(Struct, frozen=True, kw_only=True):
    """What does not change while a machine is open."""

    kind: MachineKind
    name: str
    kernel: str
    sched_ext: bool
    default_scheduler: str
    """The kernel's own scheduler for normal tasks: EEVDF, CFS, BORE, …"""
    can_load: bool
    """Whether schedulers can be loaded from here."""
    reason: str = ""
    """Why not, in a sentence, when ``can_load`` is false."""
    cpus: tuple[CpuPlace, ...] = ()
    memory_mib: int = 0
    note: str = ""
    """What a header must say of the data: 'lab, QEMU TCG', 'recorded 2026-11-21', …"""
    kernel_id: KernelId | None = None
    """The kernel by its build, where that is known."""


class CpuSample(Struct, frozen=True, kw_only=True):
    """One CPU over the frame's interval."""

    cpu: int
    used_percent: float
    frequency_mhz: int | None = None
    waiting_percent: float | None = None
    """Time that runnable tasks spent waiting for this CPU, as a share of the interval; can pass 100."""
    latency_p99_us: float | None = None


class Latency(Struct, frozen=True, kw_only=True):
    """How long tasks waited for a CPU during the frame's interval.

    ``source`` says what was really measured: every wake-up (``wakeup-probe``), the kernel's run delay
    averaged per task (``run-delay``: a lower bound), or the lateness of a timer in a tiny process of
    ours (``timer-overshoot``).
    """

    source: LatencySource
    histogram: Histogram
    count: int
    p50_us: float | None = None
    p95_us: float | None = None
    p99_us: float | None = None
    max_us: float | None = None


class Pressure(Struct, frozen=True, kw_only=True):
    """Pressure stall information: share of the interval in which some (or all) tasks stalled."""

    some_percent: float
    full_percent: float | None = None


class TaskWait(Struct, frozen=True, kw_only=True):
    """A task and how long it stood in a run queue, in ms for each second of wall time."""

    pid: int
    name: str
    wait_ms_per_s: float
    run_ms_per_s: float = 0.0
    detail: str = ""
    """The process it belongs to when that has another name, or what it is for."""
    latency_p99_us: float | None = None


class ExitInfo(Struct, frozen=True, kw_only=True):
    """Why a scheduler ended, in the kernel's words."""

    scheduler: str
    kind: str
    """unregistered, sysrq, error, error-bpf, stall, … ; see enum scx_exit_kind."""
    reason: str = ""
    message: str = ""
    dump: str = ""
    thrown_out: bool = False
    """True when the kernel ended it for a fault of the scheduler."""
    output: str = ""
    """What its program printed last, when it has one."""


class Scheduler(Struct, frozen=True, kw_only=True):
    """Which scheduler the kernel reports for normal tasks."""

    sched_ext: SchedExt
    name: str
    """The loaded sched_ext scheduler as the kernel names it, else the kernel's own (EEVDF, …)."""
    owner: str
    """Who put it there: 'kernel', 'schedtui', or the name of another program."""
    since: float | None = None
    """Unix time since when it runs, when known."""
    policy: str = ""
    """The library policy it was loaded from, when we loaded it."""
    switch_all: bool = True
    enable_seq: int = 0
    rejected: int = 0
    """Times that tasks were refused by a scheduler since boot."""
    events: dict[str, int] = field(default_factory=dict)
    """The kernel's event counters (root/events)."""
    statistics: dict[str, int] = field(default_factory=dict)
    """The policy's own counters, read from its .bss."""
    digest: str = ""
    """SHA-256 of the object that runs, in hex, when we loaded it."""
    settings: dict[str, Setting] = field(default_factory=dict)
    """The settings it runs with now, when we loaded it: what differs from its defaults."""
    latched: bool = False
    """Panic was pressed: nothing is loaded until it is released."""


OwnerKind = Literal["kernel", "schedtui", "scx.service", "scx_loader", "service", "person", "unknown"]


class Owner(Struct, frozen=True, kw_only=True):
    """Who started the scheduler that runs, as far as /proc tells."""

    kind: OwnerKind
    words: str
    """What follows 'started by': 'scx.service', 'scx_loader in gaming mode', 'alice, in a shell'."""
    pid: int = 0
    """The process that holds the scheduler; 0 when it is not known."""
    command: str = ""
    """Its command line, shortened."""
    user: str = ""
    """Whose session it came from."""


OtherName = Literal["scx.service", "scx_loader"]


class Other(Struct, frozen=True, kw_only=True):
    """Another program that starts schedulers on this computer, as it is now."""

    name: OtherName
    active: bool
    """It runs, or would start a scheduler when asked."""
    unit_active: bool
    """Its systemd unit is started."""
    at_boot: bool
    """It starts with the computer."""
    runs: str = ""
    """The scheduler's program; empty when it runs none."""
    mode: str = ""
    """scx_loader's mode; empty when it gave arguments instead."""
    arguments: tuple[str, ...] = ()
    pid: int = 0
    """Of the scheduler's program."""

    @property
    def what(self) -> str:
        """What it runs, in words."""
        return scheduler_words(self.runs, self.mode, self.arguments)


class TakenOver(Struct, frozen=True, kw_only=True):
    """What another program ran when schedtui stopped it."""

    name: OtherName
    runs: str
    mode: str = ""
    arguments: tuple[str, ...] = ()
    unit_stopped: bool = False
    """Its whole unit was stopped, not only the scheduler."""
    at: float
    """Unix time."""

    @property
    def what(self) -> str:
        """What it ran, in words."""
        return scheduler_words(self.runs, self.mode, self.arguments)


class PermanentChange(Struct, frozen=True, kw_only=True):
    """What is written, or would be, so that another scheduler starts with the computer."""

    starter: OtherName
    """Who starts it."""
    path: str
    diff: str
    """Unified; empty when the file says so already."""
    words: str
    """What is so then, in a sentence."""
    enables: str = ""
    """The systemd unit that starts with the computer then, and did not before."""
    done: bool = False


class OthersStatus(Struct, frozen=True, kw_only=True):
    """Who runs what on this computer."""

    owner: Owner
    """Of what runs now."""
    others: tuple[Other, ...] = ()
    taken: tuple[TakenOver, ...] = ()
    """What was taken over and can be given back."""
    undoable: bool = False
    """A change of what starts with the computer can be put back."""
    told: tuple[str, ...] = ()
    """What was just done, in sentences."""


def scheduler_words(program: str, mode: str, arguments: tuple[str, ...]) -> str:
    """``scx_lavd in gaming mode``, ``scx_lavd --autopilot``; 'no scheduler' without a program."""
    if not program:
        return "no scheduler"
    return f"{program} in {mode} mode" if mode else " ".join((program, *arguments))


class WorkloadStatus(Struct, frozen=True, kw_only=True):
    """A load that runs on the machine for us, and what it measures of itself."""

    kind: str
    tasks: int
    metrics: dict[str, float] = field(default_factory=dict)


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened, in a person's words."""

    time: float
    kind: EventKind
    text: str
    details: str = ""


class Activity(Struct, frozen=True, kw_only=True):
    """Scheduler traffic of the whole machine over the interval."""

    runnable: int = 0
    tasks: int = 0
    switches_per_s: float | None = None
    forks_per_s: float | None = None


class Frame(Struct, frozen=True, kw_only=True):
    """One sample of a machine, over the ``interval_s`` seconds before ``time`` (Unix time)."""

    sequence: int
    time: float
    interval_s: float
    cpus: tuple[CpuSample, ...]
    scheduler: Scheduler
    activity: Activity = Activity()
    latency: Latency | None = None
    pressure: dict[str, Pressure] = field(default_factory=dict)
    """By resource: cpu, io, memory."""
    waiters: tuple[TaskWait, ...] = ()
    """The tasks that waited most, first the worst."""
    workloads: tuple[WorkloadStatus, ...] = ()
    events: tuple[Event, ...] = ()
    """What happened since the frame before."""
    missing: dict[str, str] = field(default_factory=dict)
    """Source that is not there -> why, so that its absence is shown and not guessed."""


class Tunable(Struct, frozen=True, kw_only=True):
    """A setting of a policy: a ``const volatile`` global of its source."""

    name: str
    description: str
    cost: str
    """What turning it up costs."""
    unit: str = ""
    default: Setting
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    """Longest text in bytes, for a tunable that holds text."""
    live: bool = False
    """Can be changed while the policy runs."""


class Statistic(Struct, frozen=True, kw_only=True):
    """A counter that a policy keeps."""

    name: str
    description: str


class Mode(Struct, frozen=True, kw_only=True):
    """An external scheduler's flags for one goal."""

    goal: str
    """One of the workload classes: gaming, streaming, audio, desktop, compile, batch, server, data-ml, …"""
    flags: tuple[str, ...]
    reason: str


class Policy(Struct, frozen=True, kw_only=True):
    """An entry of the library. ``folder`` is where its files lie."""

    name: str
    title: str
    summary: str
    description: str
    for_whom: tuple[str, ...]
    not_for: tuple[str, ...]
    limits: tuple[str, ...]
    tunables: tuple[Tunable, ...]
    statistics: tuple[Statistic, ...]
    folder: str
    source: str
    """Path of the .bpf.c file; empty for an external scheduler."""
    origin: Origin = "built-in"
    binary: str = ""
    """The external scheduler's program, as it is called on PATH."""
    modes: tuple[Mode, ...] = ()
    """An external scheduler's flags for each goal."""
    default_mode: str = ""
    """The goal whose mode it is started in when nobody names one: for a program that does not start by itself."""
    goal: str = ""
    """The mode that an external scheduler is to be started in; empty: as it is by itself."""
    note: str = ""
    """How it decides, and when not to use it: a page of plain words."""


class Program(Struct, frozen=True, kw_only=True):
    """An external scheduler as it is to be started: which bytes, with which arguments."""

    name: str
    """Of its entry in the library."""
    path: str
    """Of the file, on the computer where schedtui runs: what the lab is given. A host's helper finds its own."""
    sha256: str
    """Of the file, in hex."""
    goal: str
    """Whose mode it is started in; empty: as it is by itself."""
    arguments: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Names the file together with its arguments, in hex, as an object's digest names its bytes."""
        return hashlib.sha256("\0".join((self.sha256, *self.arguments)).encode()).hexdigest()


Loadable = bytes | Program
"""What a machine can be given to schedule by: a compiled policy, or a program."""


def digest_of(what: Loadable) -> str:
    """SHA-256, in hex, that names exactly this."""
    return what.digest if isinstance(what, Program) else hashlib.sha256(what).hexdigest()


class Choice(Struct, frozen=True, kw_only=True):
    """One way to serve a preset: a policy with settings, and why."""

    policy: str
    reason: str
    settings: dict[str, Setting] = field(default_factory=dict)


class Preset(Struct, frozen=True, kw_only=True):
    """A goal in a person's words, and the policies that serve it, best first.

    A preset without choices gives the machine back to the kernel's own scheduler.
    """

    id: str
    title: str
    summary: str
    does: str
    costs: str
    choices: tuple[Choice, ...]
    goal: str = ""
    """The workload class that it serves, when its id is not that of one; a policy may have the class's name."""


class Panic(Struct, frozen=True, kw_only=True):
    """What a panic found and left behind. ``scheduler`` was read back from the kernel afterwards."""

    scheduler: Scheduler
    before: str
    path: Literal["helper", "sysrq", "nothing-to-do"]
    took_ms: float


class Completed(Struct, frozen=True, kw_only=True):
    """A command that was run on a machine, and its end."""

    command: tuple[str, ...]
    exit_code: int
    output: str
    seconds: float
    truncated: bool = False


class ProbeRow(Struct, frozen=True, kw_only=True):
    """One task in a deep dive's table, or one pair of tasks of which one woke the other."""

    pid: int
    """Of the thread."""
    name: str
    waker_pid: int = 0
    """0 also for an idle CPU, which wakes in the name of an interrupt."""
    waker: str = ""
    """Empty where the probe does not ask for wakers."""
    count: int
    total_ns: int
    max_ns: int


class ProbeResult(Struct, frozen=True, kw_only=True):
    """What a deep dive counted: every switch, for some seconds."""

    name: str
    """Of ``probes.deep.CATALOGUE``."""
    slots: tuple[int, ...]
    """A histogram of durations, laid out as ``histogram`` says."""
    rows: tuple[ProbeRow, ...]
    """The tasks with the largest sums, the largest first."""
    missed: int
    """Beginnings that could not be kept, because the table was full."""
    seconds: float
    compile_s: float
    """What it took to compile and attach, before the looking began."""
    events: int = 0
    """Runs of its programs while it looked."""
    cost_ns: int = 0
    """What those took of all CPUs together, as the kernel measured it."""
    kernel: str


class Check(Struct, frozen=True, kw_only=True):
    """One line of the doctor: what was looked at, whether it works, and the one command that fixes it."""

    name: str
    ok: bool
    state: str
    remedy: str = ""
    changes: str = ""
    """What the remedy does to this computer, where that is more than its words say."""
    needed_for: str = ""


class KernelId(Struct, frozen=True, kw_only=True):
    """A kernel, by what it is and not by what it calls itself."""

    release: str
    """What ``uname -r`` says: for people, not for comparing."""
    build_id: str
    """The GNU build ID of the running kernel (/sys/kernel/notes), in hex."""
    btf_hash: str
    """SHA-256 of /sys/kernel/btf/vmlinux, in hex."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that the verifier holds against a policy, or wants a person to know."""

    rule: str
    """The rule's id, such as ``lost-task``; docs/VERIFIER.md lists them."""
    severity: Severity
    """An error fails the policy, a warning lets it pass with warnings, a note changes nothing."""
    place: str
    """Where: ``policy.bpf.c:42``, a callback's name, or a test of the stress suite."""
    meaning: str
    """What it means for a person's machine, in plain words."""
    remedy: str
    """How to mend it."""
    details: str = ""
    """Further lines: a kernel's log, a compiler's message, a path through the program."""


class Stage(Struct, frozen=True, kw_only=True):
    """One stage of a verification, and what it found."""

    name: StageName
    verdict: Verdict
    seconds: float
    findings: tuple[Finding, ...] = ()
    summary: str = ""
    """What was done, in a line: '14 programs, 9 rules', '11 tests beside EEVDF'."""
    figures: dict[str, float] = field(default_factory=dict)
    """What it measured; the unit is the end of the name (``wakeup_p99_us``)."""


class Report(Struct, frozen=True, kw_only=True):
    """What the verifier found, bound to an object, its settings and a kernel."""

    name: str
    """The policy's name, or that of the file."""
    verdict: Verdict
    digest: str
    """SHA-256 of the object's bytes, in hex; empty when no object came to be."""
    settings: dict[str, Setting]
    kernel: KernelId | None
    """The kernel that the last stage ran on; None when a stage before it failed."""
    stages: tuple[Stage, ...]
    quick: bool
    """Only loaded and run for a moment, not stressed."""
    made_at: float
    """Unix time."""
    rules: str
    """Version of the verifier's rules; a report of other rules is not valid any more."""
    note: str = ""
    """What a reader must know: 'proven on 6.18.15 instead of this computer's kernel', …"""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all stages, in order."""
        return tuple(finding for stage in self.stages for finding in stage.findings)


class Metric(Struct, frozen=True, kw_only=True):
    """The number that says better or worse for a goal, and whose number it is."""

    name: Literal["wakeup_p99_us", "wakeup_p50_us", "work_per_s", "command_s"]
    """Wake-up latency of tasks in µs; what loads or tasks get done each second; a command's time to its end in s."""
    focus: tuple[str, ...] = ()
    """Names of the processes that it is measured on, with their descendants; empty: all tasks."""
    work: str = ""
    """For ``work_per_s``: the load whose work is counted, one of ``workloads.KINDS``."""
    command: tuple[str, ...] = ()
    """For ``command_s``: the command that is run and timed."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """The direction in which it improves."""
        return "higher" if self.name == "work_per_s" else "lower"


class Sample(Struct, frozen=True, kw_only=True):
    """Counters that only grow, read in one go and cheaply: two of them give what happened between."""

    time_s: float
    """The machine's monotonic clock."""
    scheduler: Scheduler
    wakeups: Histogram
    """Wake-up latency of all tasks since the machine was opened."""
    focus_wakeups: Histogram = ()
    """Of the tasks that ``Machine.focus`` named; empty when none are."""
    work: dict[str, int] = field(default_factory=dict)
    """By kind of load: what it has done since it was started (frames, jobs, rounds of a loop)."""
    longest_wait_ms: float | None = None
    """How long the task that waits longest now has been runnable without running; None when that is not known."""
    longest_waiter: str = ""
    """Its name and number; empty when none waits."""
    source: LatencySource | None = None
    """What the histograms were counted from; None: they could not be."""


class Workload(Struct, frozen=True, kw_only=True):
    """What a person runs, and what better means for it."""

    sentence: str
    """In one plain sentence."""
    class_id: str
    """One of ``catalogue.CLASSES``, or ``unknown``."""
    confidence: float
    """From 0 to 1, as whoever judged it puts it; only good for comparing."""
    evidence: tuple[str, ...]
    """What it was recognised by: words of the request, and what was seen on the machine."""
    metric: Metric


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be tried, and why."""

    mode: Literal["configure", "modify", "create"]
    """Settings of a policy as it is; a change to a policy's source; a new policy."""
    policy: str
    """The library's policy to configure or to begin with; the name of the new one when it is created."""
    settings: dict[str, Setting] = field(default_factory=dict)
    reason: str
    """Why this, in plain words."""
    expected: str
    """What should get better, and by how much, in plain words."""
    risk: str = ""
    """What gets worse, or may."""
    change: str = ""
    """For ``modify`` and ``create``: what the source is to do, in prose."""
    fallback: str = ""
    """The policy that is configured when this fails; empty: the kernel's own scheduler."""


DeploymentState = Literal["proposed", "verified", "canary", "kept", "reverted"]
CanaryVerdict = Literal["better", "worse", "no-difference", "inconclusive"]


class Comparison(Struct, frozen=True, kw_only=True):
    """A metric under what ran before and under the candidate, as far as it was measured."""

    metric: Metric
    verdict: CanaryVerdict
    before: float | None
    """In the metric's unit; None while too little was seen."""
    after: float | None
    change_percent: float | None = None
    """From before to after, negative when the number fell."""
    low_percent: float | None = None
    """The change's 95 % interval."""
    high_percent: float | None = None
    samples_before: int = 0
    samples_after: int = 0
    seconds: float = 0.0
    """Measured in all."""
    reason: str = ""
    """Why the verdict is this one, in a sentence for the user."""


class Deployment(Struct, frozen=True, kw_only=True):
    """A scheduler that was asked for, and its state. Only ``backend.deploy`` changes it."""

    id: int
    """In the store."""
    state: DeploymentState
    reason: str
    """Why it is in this state, in a sentence for the user."""
    policy: str
    goal: str = ""
    """Whose mode an external scheduler was started in."""
    settings: dict[str, Setting]
    machine: MachineKind
    kernel: str
    asked_by: str
    """``person``, ``offline adviser``, or a model's name."""
    request: int | None = None
    """The request in the store that led to it."""
    digest: str = ""
    """SHA-256 of the object, once verified."""
    comparison: Comparison | None = None
    created: float
    """Unix time."""
    changed: float
    """Unix time of the last change of state."""
    watcher: str = ""
    """The process that acts on it, ``PID:START`` (clock ticks since boot): another program leaves it alone while that
    one lives."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; ``pass`` when there is none."""
    return max(verdicts, key=("pass", "warn", "fail").index, default="pass")
