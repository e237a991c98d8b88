"""The loader against a real kernel: it runs in the lab's guest, without the helper, and prints what it saw."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.lab import LabMachine
from schedtui.paths import shipped

pytestmark = pytest.mark.lab

SOURCES = Path(__file__).parent / "sources"
PROBE = shipped("bpf") / "probes" / "wakeup_latency.bpf.c"

PRELUDE = """
import base64, json, os, signal, struct, sys, threading, time
sys.path.insert(0, "/schedtui")
from schedtui.backend.bpf import kernel_says
from schedtui.backend.bpf.libbpf import possible_cpus
from schedtui.backend.bpf.loader import load_probe, load_scheduler
from schedtui.backend.errors import SchedtuiError

objects = [base64.b64decode(each) for each in sys.argv[1:]]

def load(obj, settings={}, may_attach=lambda: True):
    return load_scheduler(obj, settings, may_attach=may_attach)

def until(condition):
    limit = time.monotonic() + 30
    while not condition() and time.monotonic() < limit:
        time.sleep(0.02)
    return condition()

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def refused(*arguments, **named):
    try:
        load(*arguments, **named).unload()
    except SchedtuiError as error:
        return [error.kind, error.message, error.details]

def tell(**what):
    print(json.dumps(what))
"""


def in_guest(machine: LabMachine, script: str, *sources: Path) -> Any:
    """What the script told, run by the guest's interpreter with these objects compiled for it."""
    objects = [base64.b64encode(compile_bpf(each)).decode() for each in sources]
    done = machine.run(["python3", "-c", PRELUDE + script, *objects], 90)
    assert done.exit_code == 0, done.output
    return json.loads(done.output.splitlines()[-1])


def test_settings_reach_the_kernel_and_counters_come_back(each_kernel: LabMachine) -> None:
    told = in_guest(
        each_kernel,
        """
before = descriptors()
loaded = load(objects[0], {"slice_us": 1 << 40, "offset": -77, "tiny": 9, "enabled": False, "who": "xyz"})
name, running, state = loaded.name, loaded.exit_info(), kernel_says.read_state()
seen = loaded.statistics()
ended = loaded.unload()
tell(name=name, running=running, state=state, seen=seen, last=loaded.statistics(), again=loaded.unload() == ended,
     kind=ended.kind, thrown_out=ended.thrown_out, after=kernel_says.read_word(), leaked=descriptors() - before,
     traces=os.listdir("/sys/kernel/tracing/instances"))
""",
        SOURCES / "settings.bpf.c",
    )
    expected = {"nr_slice_us": 1 << 40, "seen_offset": -77, "seen_tiny": 9, "seen_enabled": 0, "who_begins": ord("x")}
    assert told["seen"] == told["last"] == expected
    assert told["name"].startswith("settings")
    assert told["state"][:2] == ["enabled", told["name"]]
    assert told["running"] is None
    assert (told["kind"], told["thrown_out"], told["after"], told["again"]) == ("unregistered", False, "disabled", True)
    assert (told["leaked"], told["traces"]) == (0, [])


def test_a_scheduler_that_gives_up_is_told_with_its_message_and_the_kernels_dump(each_kernel: LabMachine) -> None:
    told = in_guest(
        each_kernel,
        """
loaded = load(objects[0])
def work():
    while loaded.exit_info() is None:
        time.sleep(0.001)
workers = [threading.Thread(target=work) for _ in range(4)]
[each.start() for each in workers]
[each.join(30) for each in workers]
ended = loaded.exit_info()
tell(kind=ended.kind, reason=ended.reason, message=ended.message, dump=ended.dump, out=ended.thrown_out,
     same=loaded.unload() == ended, counted=loaded.statistics()["nr_ran"], next=load(objects[1]).unload().kind)
""",
        SOURCES / "gives_up.bpf.c",
        SOURCES / "settings.bpf.c",
    )
    assert (told["kind"], told["reason"], told["out"]) == ("error-bpf", "scx_bpf_error", True)
    assert told["message"] == "had enough after 200"
    assert "triggered exit kind 1025" in told["dump"].splitlines()[0]
    assert "CPU states" in told["dump"]
    assert told["same"]
    assert told["counted"] > 200
    assert told["next"] == "unregistered", "the next load works"


def test_refusals_say_what_is_wrong_and_leave_nothing_behind(each_kernel: LabMachine) -> None:
    told = in_guest(
        each_kernel,
        """
before = descriptors()
unbounded, bad_init = refused(objects[0]), refused(objects[1])
first = load(objects[2])
second = refused(objects[2])
survived = kernel_says.read_word()
first.unload()
tell(unbounded=unbounded, bad_init=bad_init, second=second, survived=survived, after=kernel_says.read_word(),
     leaked=descriptors() - before, traces=os.listdir("/sys/kernel/tracing/instances"))
""",
        SOURCES / "unbounded.bpf.c",
        SOURCES / "bad_init.bpf.c",
        SOURCES / "settings.bpf.c",
    )
    kind, message, details = told["unbounded"]
    line = 1 + (SOURCES / "unbounded.bpf.c").read_text().splitlines().index(
        "\ttable[p->scx.dsq_vtime]++; /* the fault */"
    )
    assert kind == "load-rejected"
    assert message.startswith(f"The kernel rejected unbounded_enqueue: unbounded.bpf.c:{line}: ")
    assert "table[p->scx.dsq_vtime]++" in details
    assert len(details.splitlines()) <= 6

    kind, message, details = told["bad_init"]
    assert kind == "load-rejected"
    assert "init() failed (-22)" in message
    assert "CPU states" in details

    kind, message, _ = told["second"]
    assert (kind, told["survived"]) == ("load-rejected", "enabled")
    assert message.startswith("Another scheduler (settings")
    assert (told["after"], told["leaked"], told["traces"]) == ("disabled", 0, [])


def test_panic_before_or_just_after_the_attach_leaves_the_kernels_own_scheduler(lab: LabMachine) -> None:
    told = in_guest(
        lab,
        """
def times_out_of(answers):
    return lambda: answers.pop(0)
before = refused(objects[0], may_attach=lambda: False)
sequence = kernel_says.read_enable_seq()
after = refused(objects[0], may_attach=times_out_of([True, False]))
tell(before=before, sequence=sequence, after=after, attached=kernel_says.read_enable_seq(),
     word=kernel_says.read_word(), traces=os.listdir("/sys/kernel/tracing/instances"))
""",
        SOURCES / "settings.bpf.c",
    )
    assert (told["before"][0], told["sequence"]) == ("interrupted", 0)
    assert (told["after"][0], told["attached"]) == ("interrupted", 1)
    assert (told["word"], told["traces"]) == ("disabled", [])


def test_sysrq_from_outside_is_an_end_without_fault(each_kernel: LabMachine) -> None:
    told = in_guest(
        each_kernel,
        """
loaded = load(objects[0])
open("/proc/sysrq-trigger", "w").write("S")
until(loaded.exit_info)
ended = loaded.unload()
tell(kind=ended.kind, reason=ended.reason, out=ended.thrown_out)
""",
        SOURCES / "settings.bpf.c",
    )
    assert told == {"kind": "sysrq", "reason": "disabled by sysrq-S", "out": False}


def test_threads_may_unload_and_read_at_the_same_time(lab: LabMachine) -> None:
    told = in_guest(
        lab,
        """
kinds = []
for _ in range(5):
    loaded = load(objects[0])
    def read():
        for _ in range(50):
            loaded.statistics(), loaded.exit_info()
    workers = [threading.Thread(target=read) for _ in range(3)]
    workers += [threading.Thread(target=lambda: kinds.append(loaded.unload().kind)) for _ in range(3)]
    [each.start() for each in workers]
    [each.join(30) for each in workers]
tell(kinds=sorted(set(kinds)), count=len(kinds), after=kernel_says.read_word())
""",
        SOURCES / "settings.bpf.c",
    )
    assert told == {"kinds": ["unregistered"], "count": 15, "after": "disabled"}


def test_the_trace_buffer_of_a_killed_process_is_removed_by_the_next(lab: LabMachine) -> None:
    told = in_guest(
        lab,
        """
child = os.fork()
if not child:
    load(objects[0])
    time.sleep(60)
up = until(lambda: kernel_says.read_word() == "enabled")
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
down = until(lambda: kernel_says.read_word() == "disabled")
left = os.listdir("/sys/kernel/tracing/instances")
load(objects[0]).unload()
tell(up=up, down=down, left=len(left), after=os.listdir("/sys/kernel/tracing/instances"))
""",
        SOURCES / "settings.bpf.c",
    )
    assert told == {"up": True, "down": True, "left": 1, "after": []}


def test_a_probe_counts_in_memory_that_is_read_without_a_system_call(each_kernel: LabMachine) -> None:
    told = in_guest(
        each_kernel,
        """
before = descriptors()
probe = load_probe(objects[0], map_entries={"cpus": possible_cpus()})
slots = probe.mmap("cpus").cast("Q")
first = sum(slots)
for _ in range(200):
    time.sleep(0.001)
second = sum(slots)
me = os.pidfd_open(os.getpid())
mine = probe.lookup("tasks", struct.pack("i", me), 144)
child = os.fork() or os._exit(0)
gone = os.pidfd_open(child)
os.waitpid(child, 0)
ended = probe.lookup("tasks", struct.pack("i", gone), 144)
counters, length = probe.globals(), len(slots)
probe.close()
probe.close()
stopped = sum(slots)
time.sleep(0.1)
still = sum(slots) == stopped
del slots
os.close(me)
os.close(gone)
try:
    closed = probe.globals()
except SchedtuiError as error:
    closed = error.message
tell(ended=ended, grew=second - first, mine=sum(struct.unpack("QII32I", mine)[3:]), counters=counters, length=length,
     cpus=possible_cpus(), still=still, closed=closed, leaked=descriptors() - before)
""",
        PROBE,
    )
    assert told["grew"] >= 150, "of 200 sleeps"
    assert 150 <= told["mine"] <= 210
    assert told["ended"] is None
    assert told["counters"] == {"nr_missed": 0}
    assert told["length"] == told["cpus"] * 128
    assert told["still"] and told["closed"] == "The probe was closed."
    assert told["leaked"] == 0


def test_a_probe_counts_processes_in_focus_apart_and_finds_the_longest_wait(each_kernel: LabMachine) -> None:
    told = in_guest(
        each_kernel,
        """
def naps(count):
    for _ in range(count):
        time.sleep(0.001)

probe = load_probe(objects[0], map_entries={"cpus": possible_cpus(), "focus_cpus": possible_cpus()})
focused = probe.mmap("focus_cpus").cast("Q")
naps(100)
without = sum(focused)
probe.change("focus", {struct.pack("I", os.getpid()): struct.pack("I", 0)})
probe.tune({"focus_round": 1})
naps(100)
own = sum(focused)
child = os.fork()
if not child:
    naps(100)
    os._exit(0)
os.waitpid(child, 0)
inherited = sum(focused) - own
probe.change("focus", {struct.pack("I", os.getpid()): None})
probe.tune({"focus_round": 2})
before = sum(focused)
naps(100)
ended = sum(focused) - before
hogs = []
for _ in range(2 * possible_cpus() + 1):
    hog = os.fork()
    if not hog:
        while True:
            pass
    hogs.append(hog)
waits = []
for _ in range(40):
    time.sleep(0.02)
    waits.append(struct.unpack("QI16s4x", probe.walk("find_longest", 32)))
for hog in hogs:
    os.kill(hog, 9)
    os.waitpid(hog, 0)
probe.close()
del focused
tell(without=without, own=own, inherited=inherited, ended=ended,
     longest_ms=max(ns for ns, _, _ in waits) / 1e6, found=sorted({pid in hogs for _, pid, _ in waits}))
""",
        PROBE,
    )
    assert told["without"] == 0
    assert told["own"] >= 60, "of 100 sleeps"
    assert told["inherited"] >= 60, "of 100 sleeps of what it forked"
    assert told["ended"] == 0
    assert told["longest_ms"] > 1, "more tasks than CPUs: somebody waits"
    assert True in told["found"]
