"""What `locality`, `powersave` and `periodic` do, against EEVDF in the same guest.

The emulator models neither caches nor power. So `locality` is measured by how often tasks move between the caches, and
`powersave` by how many CPUs it leaves alone, each together with the work that was done meanwhile; what that
saves in time or energy is a matter of the hardware. `periodic` is measured by what it is for: how late
a task starts that wakes up every 10 ms beside tasks that compute.

Run it with ``python -m tests.benchmarks.policies_mechanisms [NAME…]``. Runs alternate; figures are medians, and the
change against EEVDF has a bootstrap interval of 95 %.
"""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct

from schedtui.backend.deploy import apply, resolve
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library

_BURN = """
import json, os, sys, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
"""

MOVES = (
    _BURN
    + """
import random, subprocess
TRACE, EVENT = "/sys/kernel/tracing/", "events/sched/sched_migrate_task/enable"
if not os.path.exists(TRACE + "trace"):
    subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACE])
def llc(cpu):
    base = f"/sys/devices/system/cpu/cpu{cpu}/"
    levels = [n for n in range(8) if os.path.exists(f"{base}cache/index{n}/shared_cpu_list")]
    place = f"cache/index{levels[-1]}/shared_cpu_list" if levels else "topology/package_cpus_list"
    return open(base + place).read()
def put(name, text):
    with open(TRACE + name, "w") as file:
        file.write(text)
def work(number, seconds):
    chance, done, end = random.Random(number), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        burn(chance.uniform(0.002, 0.012))
        done += 1
        time.sleep(chance.uniform(0.001, 0.008))
    return done
put("tracing_on", "0")
put("buffer_size_kb", "4096")
put("trace", "")
put(EVENT, "1")
pids, reads = {}, []
for number in range(6):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        work(number, 1)
        os.write(write, str(work(100 + number, SECONDS)).encode())
        os._exit(0)
    os.close(write)
    pids[pid] = 0
    reads.append(read)
time.sleep(1)
put("tracing_on", "1")
done = sum(int(os.read(read, 99)) for read in reads)
put("tracing_on", "0")
put(EVENT, "0")
across = within = 0
for line in open(TRACE + "trace"):
    if "sched_migrate_task:" not in line:
        continue
    fields = dict(part.split("=", 1) for part in line.split("sched_migrate_task:")[1].split() if "=" in part)
    if int(fields["pid"]) in pids:
        if llc(fields["orig_cpu"]) != llc(fields["dest_cpu"]):
            across += 1
        else:
            within += 1
print(json.dumps({"moves between caches a second": across / SECONDS, "moves within one a second": within / SECONDS,
                  "pieces of work": done}))
"""
)

LEFT_ALONE = (
    _BURN
    + """
cpus = os.cpu_count()
def idle():
    tick = os.sysconf("SC_CLK_TCK")
    lines = [line for line in open("/proc/stat") if line[:3] == "cpu" and line[3] != " "]
    return [sum(map(int, line.split()[4:6])) / tick for line in lines]
reads = []
for number in range(4):
    read, write = os.pipe()
    if not os.fork():
        late, done, due, end = [], 0, time.monotonic() + 0.003 * number, time.monotonic() + SECONDS
        while due < end:
            time.sleep(max(0, due - time.monotonic()))
            late.append(time.monotonic() - due)
            burn(0.002)
            done += 1
            due += 0.040
        late.sort()
        os.write(write, json.dumps([done, late[len(late) * 99 // 100] * 1000]).encode())
        os._exit(0)
    os.close(write)
    reads.append(read)
time.sleep(1)
before, began = idle(), time.monotonic()
time.sleep(SECONDS - 1.5)
shares = [(now - then) / (time.monotonic() - began) for now, then in zip(idle(), before)]
answers = [json.loads(os.read(read, 999)) for read in reads]
print(json.dumps({"CPUs left alone": sum(share > 0.98 for share in shares),
                  "pieces of work": sum(done for done, _ in answers),
                  "late, p99, ms": max(late for _, late in answers)}))
"""
)

LATENESS = (
    _BURN
    + """
period, warm = 0.010, 150
hogs = []
for _ in range(os.cpu_count() + 1):
    pid = os.fork()
    if not pid:
        while True:
            pass
    hogs.append(pid)
late, missed, due = [], 0, time.monotonic() + period
for number in range(warm + int(SECONDS / period)):
    time.sleep(max(0, due - time.monotonic()))
    started = time.monotonic() - due
    burn(0.0005)
    behind = time.monotonic() - due
    if number >= warm:
        late.append(started)
        missed += behind > period
    due += period * (1 + int(behind / period))
for pid in hogs:
    os.kill(pid, 9)
late.sort()
print(json.dumps({"start late, p99, ms": late[len(late) * 99 // 100] * 1000,
                  "missed deadlines, %": 100 * missed / len(late),
                  "start late, median, ms": late[len(late) // 2] * 1000}))
"""
)


class Scenario(Struct, frozen=True):
    """A policy, the load that shows what it does, and the guest that the load needs."""

    policy: str
    script: str
    cpus: int
    sockets: int
    figure: str
    """What is compared; the others are printed beside it."""


SCENARIOS = (
    Scenario("locality", MOVES, 4, 2, "moves between caches a second"),
    Scenario("powersave", LEFT_ALONE, 4, 1, "CPUs left alone"),
    Scenario("periodic", LATENESS, 2, 1, "start late, p99, ms"),
)


@contextmanager
def guest(scenario: Scenario, kernel: Path | None = None) -> Iterator[LabMachine]:
    """A lab of the scenario's shape, closed at the end."""
    machine = LabMachine(kernel=kernel, cpus=scenario.cpus, sockets=scenario.sockets)
    try:
        machine.open(lambda _stage, _seconds: None)
        yield machine
    finally:
        machine.close()


def measure(machine: LabMachine, scenario: Scenario, policy: str, seconds: float) -> dict[str, float]:
    """The figures of one run under a policy; an empty name is EEVDF."""
    if policy:
        apply(machine, resolve(load_library(), policy, {}), lambda _stage, _seconds: None)
    else:
        machine.unload()
    done = machine.run(["python3", "-c", f"SECONDS = {seconds}\n{scenario.script}"], 20 * seconds + 60)
    if done.exit_code:
        raise click.ClickException(done.output)
    figures: dict[str, float] = json.loads(done.output.splitlines()[-1])
    return figures


def interval(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Bootstrap interval of 95 % for the difference of the pairs, second less first, in units of the first's mean."""
    chance = random.Random(0)
    scale = statistics.mean(first for first, _ in pairs) or 1.0
    means = sorted(
        statistics.mean(second - first for first, second in chance.choices(pairs, k=len(pairs))) / scale
        for _ in range(4000)
    )
    return means[100], means[-101]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--pairs", default=8, help="Runs under each of the two schedulers.")
@click.option("--seconds", default=4.0, help="Length of a run.")
@click.option("--kernel", type=click.Path(path_type=Path), help="A kernel image; default: the lab's.")
def main(names: tuple[str, ...], pairs: int, seconds: float, kernel: Path | None) -> None:
    """Compare mechanisms with EEVDF."""
    for scenario in SCENARIOS:
        if names and scenario.policy not in names:
            continue
        with guest(scenario, kernel) as machine:
            runs = [
                (measure(machine, scenario, "", seconds), measure(machine, scenario, scenario.policy, seconds))
                for _ in range(pairs)
            ]
        low, high = interval([(first[scenario.figure], second[scenario.figure]) for first, second in runs])
        click.echo(
            f"{scenario.policy}, {scenario.cpus} CPUs, {scenario.sockets} caches, {pairs} pairs of {seconds:g} s"
        )
        for figure in runs[0][0]:
            first, second = (statistics.median(run[which][figure] for run in runs) for which in (0, 1))
            change = f"   change {low:+.0%} to {high:+.0%}" if figure == scenario.figure else ""
            click.echo(f"  {figure:<32} EEVDF {first:9.2f}   {scenario.policy} {second:9.2f}{change}")


if __name__ == "__main__":
    main()
