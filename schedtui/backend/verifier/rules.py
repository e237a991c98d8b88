"""The verifier's rules: each by its id, the stage that knows it, what it says and why it is there.

docs/VERIFIER.md lists them from here. Where a rule is broken, and how to mend it, a Finding says.
"""

from __future__ import annotations

from msgspec import Struct

from schedtui.backend.model import StageName


class Rule(Struct, frozen=True):
    """One rule. ``title`` says what is wrong when it is broken, ``why`` what that would do to a person's machine."""

    stage: StageName
    title: str
    why: str


RULES: dict[str, Rule] = {
    # ---- source ----
    "foreign-include": Rule(
        "source",
        "Includes a file that is not schedtui's header",
        "A policy is judged as one file with one known header. An include of anything else could pull a private file "
        "into a message or an object; in the sandbox it is not even there.",
    ),
    "embedded-file": Rule(
        "source",
        "Embeds a file",
        "#embed copies a file's bytes into the program, where nobody sees what they are.",
    ),
    "inline-assembly": Rule(
        "source",
        "Holds inline assembly",
        "Assembly can open files and hides from a reader what a policy does; no scheduling decision needs it. An empty "
        "template, which only keeps the compiler from reordering, is allowed.",
    ),
    "false-lines": Rule(
        "source",
        "Renumbers its own lines",
        "#line makes messages point at another place or file, so that findings would mislead.",
    ),
    "too-large": Rule(
        "source",
        "Too large, or takes too long to compile",
        "A scheduler is a few hundred lines. What needs megabytes, or seconds of compiling, is something else.",
    ),
    "does-not-compile": Rule(
        "source",
        "Does not compile",
        "There is no program to judge.",
    ),
    "no-sandbox": Rule(
        "source",
        "There is no sandbox to compile it in",
        "Without bubblewrap a source could read files through the compiler, so it is not compiled at all.",
    ),
    # ---- object ----
    "not-an-object": Rule(
        "object",
        "Not a compiled BPF object, or a damaged one",
        "What cannot be read cannot be judged, and is never given to the kernel.",
    ),
    "wrong-architecture": Rule(
        "object",
        "Made for another kind of processor or machine",
        "The kernel here could not run it; a native program has no business in a scheduler at all.",
    ),
    "no-btf": Rule(
        "object",
        "Without type information (BTF)",
        "The kernel finds its own structures through it, and the verifier the places of its findings.",
    ),
    "foreign-program": Rule(
        "object",
        "Holds something that is no callback of a scheduler",
        "A probe, filter or native constructor beside the scheduler would get powers that a scheduler does not need.",
    ),
    "license-not-gpl": Rule(
        "object",
        "Not under the GPL",
        "The kernel lets only programs under the GPL use the functions that schedule.",
    ),
    "kfunc-not-allowed": Rule(
        "object",
        "Calls a kernel function that policies may not call",
        "Only functions that schedule, or look at tasks and CPUs, are allowed.",
    ),
    "helper-not-allowed": Rule(
        "object",
        "Calls a BPF helper that policies may not call",
        "Helpers that send signals, write to the memory of programs, or touch the network are not for schedulers.",
    ),
    "map-not-allowed": Rule(
        "object",
        "Has a map of a kind that policies may not have",
        "Some maps hand data to other programs or give access to files, sockets and devices.",
    ),
    "pinned-map": Rule(
        "object",
        "Keeps a map in the file system",
        "A pinned map outlives the scheduler and can be opened by other programs.",
    ),
    "kconfig-extern": Rule(
        "object",
        "Reads how the kernel was built",
        "It makes a policy behave differently from one kernel to the next, so that what was proven on one says little "
        "of another.",
    ),
    "kernel-variable": Rule(
        "object",
        "Reads a variable inside the kernel",
        "Such variables change their meaning from one kernel to the next. Those that tell which CPUs share a cache are "
        "known, and allowed.",
    ),
    "reads-kernel-memory": Rule(
        "object",
        "Reads arbitrary memory",
        "bpf_probe_read and its kin read any address; through a policy's statistics, secrets would leave the kernel.",
    ),
    "too-much-memory": Rule(
        "object",
        "Takes too much memory",
        "Maps are memory of the kernel: it cannot be swapped out, and is missing from everything else.",
    ),
    "tunable-out-of-bounds": Rule(
        "object",
        "A tunable is not what the library says of it",
        "A setting that does not exist, or does not fit, would silently do something else than a person chose.",
    ),
    "timeout-too-long": Rule(
        "object",
        "Lets tasks hang for too long",
        "timeout_ms is how long the kernel's watchdog waits before it takes out a policy that forgets a task: "
        "that long programs may stand still.",
    ),
    # ---- bytecode ----
    "lost-task": Rule(
        "bytecode",
        "Loses a task",
        "A task that is handed over and put into no queue never runs again. The kernel's verifier does not look for "
        "that.",
    ),
    "inserted-twice": Rule(
        "bytecode",
        "Puts a task into queues twice",
        "A task waits in one place. The kernel ends a policy that puts it into a second one.",
    ),
    "state-never-made": Rule(
        "bytecode",
        "Looks up what it never wrote down",
        "A policy that knows nothing of its tasks treats all of them as the exception.",
    ),
    "table-fills-up": Rule(
        "bytecode",
        "Never strikes a task out of its table",
        "When the table is full, the policy knows nothing of whatever is started then, and treats it in a way that no "
        "proof has seen.",
    ),
    "tasks-mixed-up": Rule(
        "bytecode",
        "Takes several tasks for one",
        "What a policy counts for a task must be that task's own; else it pays for what others use.",
    ),
    "dsq-not-created": Rule(
        "bytecode",
        "Uses a queue that does not exist",
        "The kernel ends the policy when the first task comes that way.",
    ),
    "dsq-never-drained": Rule(
        "bytecode",
        "Fills a queue that nothing empties",
        "What is put there waits until the kernel's watchdog ends the policy.",
    ),
    "endless-slice": Rule(
        "bytecode",
        "Lets a task run for ever",
        "Without an end of its slice, and with nothing that interrupts it, one program keeps a CPU from all others.",
    ),
    "starving-priority": Rule(
        "bytecode",
        "Lets some tasks wait for ever behind others",
        "A strict order without ageing works until the first ones never pause; then the others stand still.",
    ),
    "vtime-never-charged": Rule(
        "bytecode",
        "Never counts what a task has used",
        "A queue that is sorted by what each task has had is only fair when that is added up.",
    ),
    "stranded-on-cpu": Rule(
        "bytecode",
        "Leaves a task where no CPU may run it",
        "A program that is bound to some CPUs must be taken by one of them, also after a CPU was switched off.",
    ),
    "unbounded-work": Rule(
        "bytecode",
        "Does too much at a time",
        "While a callback runs, its CPU runs no program and answers to nothing. Work that grows with the number of "
        "tasks brings a busy machine to a halt.",
    ),
    "no-exit-record": Rule(
        "bytecode",
        "Does not record why it ended",
        "When the kernel ends a policy, people should be told the reason.",
    ),
    "too-hard-to-follow": Rule(
        "bytecode",
        "Too entangled to be looked at as a whole",
        "That says nothing bad of the policy, only that less is known before it runs in the lab.",
    ),
    # ---- kernel ----
    "load-rejected": Rule(
        "kernel",
        "The kernel does not load it",
        "The kernel's own verifier, or the start of the policy, refused it. Its decisive lines are in the report.",
    ),
    "thrown-out": Rule(
        "kernel",
        "The kernel threw it out",
        "The kernel's watchdog, or a call that makes no sense, ended it; until then programs stand still.",
    ),
    "starved-task": Rule(
        "kernel",
        "Something waits far too long for a CPU",
        "With a few programs for each CPU, none may wait for longer than 2.5 seconds, however low its priority.",
    ),
    "no-progress": Rule(
        "kernel",
        "Something gets nothing done, or cannot be started",
        "A program that never runs, or that cannot even be started, hangs for whoever uses it.",
    ),
    "affinity-broken": Rule(
        "kernel",
        "Programs that are bound to a CPU do not run, or run elsewhere",
        "Drivers, the kernel's own threads and audio programs rely on running where they were put.",
    ),
    "unfair": Rule(
        "kernel",
        "Shares the CPUs badly",
        "Of equal programs one gets next to nothing, or one of low priority gets more than one of normal priority. "
        "That priorities count little is a note: some policies mean it.",
    ),
    "slow-wakeups": Rule(
        "kernel",
        "Programs that wake up wait too long",
        "What a person sees and hears wakes up many times a second; when it waits, the picture stutters.",
    ),
    "low-throughput": Rule(
        "kernel",
        "Gets far less done than the kernel's own scheduler",
        "CPUs stand idle while work waits, or the policy itself uses them up.",
    ),
    "costly-switches": Rule(
        "kernel",
        "Switching from one program to the next is slow",
        "Programs that take turns, over pipes or locks, are slowed down by every microsecond of it.",
    ),
    "idle-cpu-unused": Rule(
        "kernel",
        "A CPU stays idle while a program could use it",
        "With as many programs as CPUs, each should have one.",
    ),
    "tasks-refused": Rule(
        "kernel",
        "Refuses tasks",
        "They stay with the kernel's own scheduler, and are not what was measured.",
    ),
    "hotplug-hangs": Rule(
        "kernel",
        "A CPU cannot be taken out",
        "CPUs go and come back around sleep. One that waits for a program which nobody runs holds all of it up.",
    ),
    "restarts-at-hotplug": Rule(
        "kernel",
        "Is started anew when a CPU goes or comes back",
        "The kernel ends a policy that does not handle it; it is loaded again. Nothing is wrong with that.",
    ),
    "kernel-helped": Rule(
        "kernel",
        "The kernel had to help out",
        "Counters of the kernel say that it replaced choices of the policy which made no sense.",
    ),
    "guest-died": Rule(
        "kernel",
        "The kernel in the lab crashed or hung",
        "A person's computer would have done the same.",
    ),
    "not-this-kernel": Rule(
        "kernel",
        "Proven on another kernel than this computer's",
        "The lab could not boot the kernel that runs here, so the proof holds for another one.",
    ),
}
