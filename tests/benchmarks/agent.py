"""How long a person waits for what they said: from words to a scheduler that runs, and until what is worse is gone.

Printed by ``make bench``; asserted nowhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click
from msgspec.structs import replace

from schedtui.agent.bench import Request
from schedtui.agent.events import AnyEvent
from schedtui.agent.minds import chosen_mind
from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.deploy import Deployer, Proposal
from schedtui.backend.lab import LabMachine
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Loadable, Metric, Report, Scheduler, Setting
from schedtui.backend.store import Store
from schedtui.backend.verifier.reports import rules_version
from schedtui.desk import Desk
from tests.conftest import SOURCES

WORDS = "my game stutters when obs records"
_GOALS = {"configure": "goal ≤ 8 calls, ≤ 20 000 tokens", "create": "goal ≤ 20 calls, ≤ 60 000 tokens"}


def quiet(_stage: str, _seconds: float) -> None:
    """Nobody watches a benchmark's progress."""


class Timed(LabMachine):
    """Notes when the first scheduler ran."""

    first_ran: float | None = None

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        """See Machine."""
        now = super().load(name, obj, settings, lease_s=lease_s)
        self.first_ran = self.first_ran or time.monotonic()
        return now


def words_to_running(home: Path) -> tuple[float, float, str]:
    """Seconds from the words to a scheduler that runs, to the end of the request, and how it ended.

    Opening the lab counts. The offline adviser works; ``home`` holds the reports and the history.
    """
    os.environ["XDG_DATA_HOME"] = os.environ["XDG_CONFIG_HOME"] = str(home)
    began = time.monotonic()
    machine = Timed()
    try:
        desk = Desk(machine, machine.open(quiet))
        desk.watch.follow(machine)
        told: list[AnyEvent] = []
        engine = desk.engine(chosen_mind(), told.append, consent="yes")
        story = engine.answer(Request(words=WORDS))
        ended = time.monotonic() - began
        engine.close()
    finally:
        machine.close()
    ran = machine.first_ran - began if machine.first_ran else float("nan")
    return ran, ended, f"{story.state}: {story.text}"


def worse_gone() -> tuple[float, str]:
    """Seconds from the switch to a clearly worse policy until it was decided to take it away, and why."""
    with tempfile.TemporaryDirectory() as folder:
        policy = replace(load_library().policies["fifo"], name="hogging", source=str(SOURCES / "hogging.bpf.c"))
        machine = Timed()
        try:
            info = machine.open(quiet)
            for load in ("hogs", "frames"):
                machine.start_workload(load)
            time.sleep(3)
            reverted: list[float] = []
            deployer = Deployer(
                machine,
                Store(Path(folder) / "history.sqlite"),
                listen=lambda each: reverted.append(time.monotonic()) if each.state == "reverted" else None,
            )
            obj = compile_bpf(Path(policy.source))
            report = Report(
                name=policy.name,
                verdict="pass",
                digest=hashlib.sha256(obj).hexdigest(),
                settings={},
                kernel=info.kernel_id,
                stages=(),
                quick=False,
                made_at=time.time(),
                rules=rules_version(),
            )
            wish = Proposal(policy=policy, settings={}, preset=None, reason="")
            proposed = deployer.verified(deployer.propose(wish, asked_by="person"), report, obj)
            metric = Metric(name="wakeup_p99_us", focus=("load-frames",))
            ended = deployer.canary(proposed, metric, stop=threading.Event(), unattended=True)
            took = reverted[-1] - machine.first_ran if machine.first_ran and reverted else float("nan")
            return took, ended.reason
        finally:
            machine.close()


def main(runs: int = 3) -> None:
    """Print them."""
    kept = {name: os.environ.get(name) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    try:
        _words(runs)
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    values = []
    for _ in range(runs):
        seconds, reason = worse_gone()
        values.append(seconds)
        click.echo(f"  {reason}")
    _line("a clearly worse policy, from the switch until it is gone", values, "≤ 2")
    tokens()


def tokens() -> None:
    """Calls and tokens of the stories' real prompts, as the stories themselves print them."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-m", "lab", "tests/agent/test_http_stories.py"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    for line in re.findall(r"^\w+: \d+ calls, \d+ tokens$", told, re.MULTILINE):
        mode, _, figures = line.partition(": ")
        click.echo(f"{'a request that ends in “' + mode + '”':<62} {figures}  {_GOALS.get(mode, '')}")
    click.echo(f"  {told.strip().rpartition(chr(10))[2]}")


def _words(runs: int) -> None:
    anew, known, whole = [], [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            for values in (anew, known):
                ran, ended, told = words_to_running(Path(home))
                values.append(ran)
                whole.append(ended)
                click.echo(f"  {told}")
    _line("offline adviser, words to a scheduler that runs, proven anew", anew, "≤ 25")
    _line("offline adviser, words to a scheduler that runs, proven before", known, "≤ 10")
    _line("offline adviser, words to the end of the request", whole, "")


def _line(label: str, values: list[float], goal: str) -> None:
    spread = f"{min(values):.1f} to {max(values):.1f}, n={len(values)}"
    click.echo(f"{label:<62} {statistics.median(values):.1f} s  ({spread}){'  goal ' + goal if goal else ''}")


if __name__ == "__main__":
    main()
