"""Canaries in the lab with the same scheduler on both sides: ``python -m tests.canary.lab [CANARIES]``.

Nothing is switched, so whatever is decided is a mistake. Turns of two seconds go by beside the loads of ``w``; each
canary is made of ten that follow each other, five of either side, and the next one begins two turns later with the
sides exchanged. Prints the verdicts, one line a metric.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from itertools import cycle, pairwise

from schedtui.backend.canary import Side, Trial
from schedtui.backend.lab import LabMachine
from schedtui.backend.model import Metric, Sample
from tests.canary.simulation import SLICE_S

METRICS = {
    "wake-up p99, all tasks": Metric(name="wakeup_p99_us"),
    "wake-up p50, all tasks": Metric(name="wakeup_p50_us"),
    "frames each second": Metric(name="work_per_s", work="frames"),
}
LOADS = ("hogs", "frames")
SLICES, TURNS, STEP = 20, 10, 2
_SETTLE_S = 3.0
_SIDES: tuple[tuple[Side, Side], ...] = (("before", "after"), ("after", "before"))


def equal_canaries(count: int) -> dict[str, Counter[str]]:
    """The verdicts of so many, by metric."""
    turns = _turns(TURNS + STEP * (count - 1))
    found: dict[str, Counter[str]] = {name: Counter() for name in METRICS}
    for number in range(count):
        own = turns[number * STEP : number * STEP + TURNS]
        for name, metric in METRICS.items():
            found[name][_verdict(metric, own, _SIDES[number % 2])] += 1
    return found


def _turns(count: int) -> list[list[Sample]]:
    """Samples a slice apart; the last one of a turn is the first one of the next."""
    machine = LabMachine(cpus=2)
    try:
        machine.open(lambda _stage, _seconds: None)
        for kind in LOADS:
            machine.start_workload(kind)
        time.sleep(_SETTLE_S)
        turns, last = [], machine.sample()
        for _ in range(count):
            turn = [last]
            for _ in range(SLICES):
                time.sleep(SLICE_S)
                turn.append(machine.sample())
            turns.append(turn)
            last = turn[-1]
        return turns
    finally:
        machine.close()


def _verdict(metric: Metric, turns: list[list[Sample]], sides: tuple[Side, Side]) -> str:
    trial = Trial(metric)
    for side, turn in zip(cycle(sides), turns, strict=False):
        for before, after in pairwise(turn):
            trial.add(side, before, after)
            if (verdict := trial.decision()) is not None:
                return verdict
    return trial.finish()


if __name__ == "__main__":
    for name, verdicts in equal_canaries(int(sys.argv[1]) if len(sys.argv) > 1 else 200).items():
        print(f"{name}: {', '.join(f'{count} {verdict}' for verdict, count in verdicts.most_common())}")
