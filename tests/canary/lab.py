"""Canaries in the lab with the same scheduler on both sides: ``python -m tests.canary.lab [CANARIES]``.

Nothing is switched, so whatever is decided is a mistake. Each canary has turns of two seconds, two of each side, beside
the loads of ``w``. Prints the verdicts, one line a metric.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from schedtui.backend.canary import Trial
from schedtui.backend.lab import LabMachine
from schedtui.backend.model import Metric
from tests.canary.simulation import SLICE_S, sides

METRICS = {
    "wake-up p99, all tasks": Metric(name="wakeup_p99_us"),
    "wake-up p50, all tasks": Metric(name="wakeup_p50_us"),
    "frames each second": Metric(name="work_per_s", work="frames"),
}
LOADS = ("hogs", "frames")
TURN, SLICES = 20, 80
_SETTLE_S = 3.0


def equal_canaries(count: int) -> dict[str, Counter[str]]:
    """The verdicts of so many, by metric."""
    found: dict[str, Counter[str]] = {name: Counter() for name in METRICS}
    machine = LabMachine(cpus=2)
    try:
        machine.open(lambda _stage, _seconds: None)
        for kind in LOADS:
            machine.start_workload(kind)
        time.sleep(_SETTLE_S)
        for _ in range(count):
            for name, verdict in _canary(machine).items():
                found[name][verdict] += 1
    finally:
        machine.close()
    return found


def _canary(machine: LabMachine) -> dict[str, str]:
    trials = {name: Trial(metric) for name, metric in METRICS.items()}
    before = machine.sample()
    for side in sides(TURN, SLICES):
        time.sleep(SLICE_S)
        after = machine.sample()
        for trial in trials.values():
            trial.add(side, before, after)
            trial.decision()
        before = after
    return {name: trial.finish() for name, trial in trials.items()}


if __name__ == "__main__":
    for name, verdicts in equal_canaries(int(sys.argv[1]) if len(sys.argv) > 1 else 200).items():
        print(f"{name}: {', '.join(f'{count} {verdict}' for verdict, count in verdicts.most_common())}")
