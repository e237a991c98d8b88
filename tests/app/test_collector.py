"""The garbage collector is kept out of the frames, once, and only by the program that owns the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from schedtui.app import SETTLED_FRAMES, SchedtuiApp
from schedtui.backend.replay import ReplayMachine
from schedtui.feed import Feed
from tests.app.conftest import until

IDLE = Path(__file__).parents[1] / "recordings" / "idle-4.jsonl.gz"


async def test_the_first_frames_settle_the_program_once() -> None:
    settled: list[int] = []
    feed = Feed("replay:idle", ReplayMachine(IDLE, until=SETTLED_FRAMES + 3))
    app = SchedtuiApp(feed, when_settled=lambda: settled.append(app.frame.sequence))
    feed.start()
    try:
        async with app.run_test() as pilot:
            await until(pilot, lambda: bool(settled) and app.frame.sequence > settled[0] + 2)
    finally:
        app.close_machines()
    assert len(settled) == 1


def test_what_exists_is_frozen_and_rounds_become_rare() -> None:
    code = (
        "import gc; from schedtui.launch import spare_the_collector; spare_the_collector();"
        "print(gc.get_threshold(), gc.get_freeze_count() > 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(10000, 20, 50) True"
