"""A program that deploys, and stands still at the step that it is told, to be killed there: DATABASE STEP KIND."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import NoReturn

from schedtui.backend import canary_run
from schedtui.backend.model import Loadable, Metric, Sample, Scheduler, Setting
from tests.deploy.computer import Computer
from tests.deploy.conftest import Desk


def stand_still() -> NoReturn:
    """Say so, and never come back."""
    print("here", flush=True)
    while True:
        threading.Event().wait()


class Dying(Computer):
    """A computer that stands still in the middle of an act."""

    step = ""

    def load(
        self, name: str, obj: Loadable, settings: dict[str, Setting], *, lease_s: float | None = None
    ) -> Scheduler:
        if self.step == "before the load":
            stand_still()
        return super().load(name, obj, settings, lease_s=lease_s)

    def sample(self) -> Sample:
        if self.step == "while it is measured" and self.calls:
            stand_still()
        return super().sample()

    def keep(self) -> Scheduler:
        kept = super().keep()
        if self.step == "while it is kept":
            stand_still()
        return kept

    def unload(self) -> Scheduler:
        if self.step == "while it is reverted":
            stand_still()
        return super().unload()


def main() -> None:
    """Deploy, as far as it goes."""
    database, step, kind = sys.argv[1:]
    canary_run.SLICE_S, canary_run.SETTLE_S, canary_run.SHORTEST_TURN_S = 0.001, 0.0, 0.01
    desk = Desk(Path(database).parent, Dying(kind=kind))  # type: ignore[arg-type]
    assert isinstance(desk.computer, Dying)
    if step == "proposed":
        desk.propose()
        stand_still()
    deployment = desk.verified()
    if step == "verified":
        stand_still()
    desk.computer.put("other", "", {}, owner="another program")  # so that it is loaded once, and stays
    desk.computer.step = step
    waiting = desk.deployer.canary(deployment, Metric(name="wakeup_p99_us"), seconds=0.1)
    if step == "waiting":
        stand_still()
    if step == "while it is reverted":
        desk.deployer.revert(waiting, "Enough.")
    desk.deployer.keep(waiting)
    stand_still()


if __name__ == "__main__":
    main()
