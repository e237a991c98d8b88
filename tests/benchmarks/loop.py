"""What the loop itself takes a step: asking, masking, a tool, its result, the trajectory. ``make bench`` prints it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import click

from schedtui.agent.budget import Budget, Limits
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Message, Reply, Turn
from tests.agent.small_loop import DONE, OPENING, Bench, ScriptedMind, Setting, calling

STEPS = 25
_LINE = (
    "4217 cc1plus   nice 0, 812 ms/s running, 96 ms/s waiting, /home/mirjam/project/build/CMakeFiles/a.dir/b.cpp.o\n"
)


class Timed(ScriptedMind):
    """Answers at once, keeps when it was asked, and lets the machine say something new each time."""

    def __init__(self, answers: list[Message]) -> None:
        super().__init__(answers)
        self.asked_at: list[float] = []
        self.bench = Bench()

    def answer(self, turn: Turn, on_text: Callable[[str], None], stop: Event) -> Reply:
        """At once."""
        self.asked_at.append(time.monotonic())
        self.bench.says = _LINE.replace("4217", str(4217 + len(self.asked_at))) * 35
        return super().answer(turn, on_text, stop)


def steps_ms() -> list[float]:
    """Milliseconds from one question to the next, each with a result of 4000 characters between, in one request."""
    mind = Timed([calling("look")] * STEPS + [DONE])
    masker = Masker(identity=True, home="/home/mirjam", user="mirjam", host="lumen")
    budget = Budget(Limits(calls=STEPS + 1, tokens=10_000_000, dollars=1000))
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), mind=mind, masker=masker, budget=budget)
        mind.bench = setting.bench
        setting.loop.run("observe", OPENING, steps=STEPS + 1)
    return [1000 * (after - before) for before, after in zip(mind.asked_at, mind.asked_at[1:], strict=False)]


def main() -> None:
    """Print it."""
    values = sorted(steps_ms())
    click.echo(
        f"the agent's loop, a step without mind and tool: {statistics.median(values):.1f} ms, "
        f"largest {values[-1]:.1f} ms, n={len(values)}  goal ≤ 50 ms"
    )


if __name__ == "__main__":
    main()
