"""A small library that never changes, and reports on its policies: what pictures and tests of screens are made from."""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.library.catalogue import Library
from schedtui.backend.model import (
    Choice,
    Finding,
    KernelId,
    Mode,
    Policy,
    Preset,
    Report,
    Stage,
    Tunable,
    worst,
)

MADE_AT = 1_795_000_000.0
SOURCE = """\
/* SPDX-License-Identifier: GPL-2.0 */
/*
 * queue: who came first runs first.
 *
 * One queue for all CPUs; a CPU that becomes free takes its head.
 */
#include <schedtui.bpf.h>

char _license[] SEC("license") = "GPL";

#define SHARED_DSQ 0

/* How long a task runs before others get their turn. Longer: fewer switches; whoever waits, waits longer. */
const volatile u64 slice_us = 20000;

void BPF_STRUCT_OPS(queue_enqueue, struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SHARED_DSQ, slice_us * NSEC_PER_USEC, enq_flags);
}

void BPF_STRUCT_OPS(queue_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(SHARED_DSQ);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(queue_init)
{
	return scx_bpf_create_dsq(SHARED_DSQ, -1);
}

SCX_OPS_DEFINE(queue_ops, .enqueue = (void *)queue_enqueue, .dispatch = (void *)queue_dispatch,
	.init = (void *)queue_init, .timeout_ms = 5000, .name = "queue");
"""
SLICE = Tunable(
    name="slice_us",
    description="How long a task runs before others get their turn. Longer: fewer switches, more throughput.",
    cost="Whoever waits, waits longer.",
    unit="µs",
    default=20000,
    minimum=500,
    maximum=100000,
)
CREDIT = Tunable(
    name="boost",
    description="Whether a task that slept goes before those that compute.",
    cost="What computes is interrupted more often.",
    default=True,
)
NAMED = Tunable(
    name="favourite",
    description="Programs whose name begins like this come before all others.",
    cost="The others wait.",
    default="",
    max_length=15,
    live=True,
)
KERNEL = KernelId(release="6.18.15+deb13-cloud-amd64", build_id="5d41402abc4b2a76b9719d911017c592", btf_hash="a1" * 32)
OLD_KERNEL = KernelId(
    release="6.16.12+deb13-cloud-amd64", build_id="7d793037a0760186574b0282f2f435e7", btf_hash="b2" * 32
)


def policy(name: str, title: str, summary: str, **rest: object) -> Policy:
    """A policy with a sensible filling."""
    filling: dict[str, object] = {
        "description": "All tasks wait in one queue, and the one that came first runs first. Nobody is interrupted "
        "before the end of a turn.",
        "for_whom": ("Batches in which only the end of all jobs counts", "Comparing other policies with"),
        "not_for": ("Games, sound and everything else that must answer at once",),
        "limits": ("There is one queue for all CPUs: on machines with many it becomes crowded",),
        "tunables": (SLICE,),
        "statistics": (),
        "folder": "",
        "source": "",
    }
    return Policy(name=name, title=title, summary=summary, **(filling | rest))  # type: ignore[arg-type]


def shelf(folder: Path) -> Library:
    """Policies of every origin, with sources in ``folder``, and presets for some of them."""
    source = folder / "queue.bpf.c"
    source.write_text(SOURCE)
    policies = [
        policy("queue", "First come, first served", "One queue, no favourites, long turns.", source=str(source)),
        policy(
            "brisk",
            "Brisk",
            "What sleeps often and runs briefly gets a CPU at once, even while everything else computes.",
            description="Each task has a deadline; the earliest runs first, and takes the CPU from a later one.",
            for_whom=("Games, with or without a recording in the background", "Desktops that should stay smooth"),
            not_for=("Pure computation, where every interruption is a loss",),
            tunables=(SLICE, CREDIT),
            source=str(source),
        ),
        policy("mine", "My own try", "Longest name first.", origin="user", source=str(source)),
        policy(
            "made-7f3a",
            "For your render queue",
            "Frames of one film share a CPU.",
            origin="generated",
            source=str(source),
        ),
        policy(
            "scx_swift",
            "Swift (scx_swift)",
            "Interactive tasks first, by their measured latency.",
            origin="external",
            binary="scx_swift",
            tunables=(),
            modes=(Mode(goal="gaming", flags=("--performance", "--slice-us", "500"), reason="Short turns."),),
        ),
    ]
    presets = [
        Preset(
            id="gaming",
            title="Gaming",
            summary="A game that should not stutter while other things run.",
            does="The game's threads sleep between frames: they get a CPU the moment they wake up.",
            costs="Background work is interrupted more often.",
            choices=(
                Choice(
                    policy="brisk",
                    reason="Short turns keep the game's own threads from waiting.",
                    settings={"slice_us": 2000},
                ),
            ),
        ),
        Preset(
            id="batch",
            title="Batch with one long job",
            summary="Many short jobs and a few long ones.",
            does="Jobs run to the end of long turns.",
            costs="The desktop answers more slowly.",
            choices=(Choice(policy="queue", reason="Few switches."),),
        ),
        Preset(
            id="battery",
            title="Save battery",
            summary="Work on few CPUs, so that the others sleep.",
            does="Gathers tasks on few CPUs.",
            costs="Programs wait for each other.",
            choices=(Choice(policy="frugal", reason="Made for this."),),
        ),
        Preset(
            id="default",
            title="Back to the default",
            summary="The kernel's own scheduler.",
            does="Ends the scheduler that was loaded.",
            costs="Nothing.",
            choices=(),
        ),
    ]
    return Library({each.name: each for each in policies}, {each.id: each for each in presets}, [])


STATIC = (
    Stage(name="source", verdict="pass", seconds=0.21, summary="34 lines"),
    Stage(name="object", verdict="pass", seconds=0.08, summary="4 programs, 2 maps", figures={"map_bytes": 64.0}),
    Stage(name="bytecode", verdict="pass", seconds=0.11, summary="4 programs, 9 rules"),
)
FIGURES = {
    "wakeup_p50_us": 130.0,
    "wakeup_p99_us": 6300.0,
    "longest_wait_ms": 41.0,
    "fairness_of_equals": 0.993,
    "work_per_s": 8123.0,
    "eevdf_wakeup_p50_us": 58.0,
    "eevdf_wakeup_p99_us": 15900.0,
    "eevdf_longest_wait_ms": 48.0,
    "eevdf_fairness_of_equals": 0.997,
    "eevdf_work_per_s": 8405.0,
}
SLOW = Finding(
    rule="slow-wakeups",
    severity="warning",
    place="a crowd of programs",
    meaning="Programs that wake up waited 9 times longer than under EEVDF. A desktop would feel sluggish while "
    "something heavy runs.",
    remedy="Let what woke up take the CPU from what computes, or give shorter turns (slice_us).",
)
RESTARTS = Finding(
    rule="restarts-at-hotplug",
    severity="note",
    place="CPUs that come and go",
    meaning="The kernel starts this policy anew when a CPU goes or comes back, as around sleep.",
    remedy="Give it cpu_online() and cpu_offline() if it should live on.",
)
LOST = Finding(
    rule="lost-task",
    severity="error",
    place="queue.bpf.c:18",
    meaning="There is a way through enqueue on which the task is put into no queue. Such a program never runs again: "
    "it hangs, and after a few seconds the kernel throws the policy out.",
    remedy="Insert the task into a queue on every path, also where you return early.",
    details="queue_enqueue: the path over line 18 and line 22 ends without scx_bpf_dsq_insert",
)


def report(
    *stages: Stage, name: str = "queue", kernel: KernelId | None = KERNEL, digest: str = "0123456789ab" * 5 + "0123"
) -> Report:
    """A report made of ``stages``."""
    return Report(
        name=name,
        verdict=worst(each.verdict for each in stages),
        digest=digest,
        settings={},
        kernel=kernel,
        stages=stages,
        quick=False,
        made_at=MADE_AT,
        rules="1",
    )


def kernel_stage(*findings: Finding) -> Stage:
    """Eleven seconds on a real kernel."""
    severities = {each.severity for each in findings}
    return Stage(
        name="kernel",
        verdict="fail" if "error" in severities else "warn" if "warning" in severities else "pass",
        seconds=11.4,
        findings=findings,
        summary="7 tests beside EEVDF",
        figures=FIGURES,
    )


PASSED = report(*STATIC, kernel_stage(RESTARTS))
WARNED = report(*STATIC, kernel_stage(SLOW))
FAILED = report(
    *STATIC[:2],
    Stage(name="bytecode", verdict="fail", seconds=0.1, findings=(LOST,), summary="4 programs, 9 rules"),
    kernel=None,
)
