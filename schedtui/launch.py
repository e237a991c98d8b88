"""Starts the terminal program: the machine first, the user interface while its first sample is being taken.

Importing this costs next to nothing, so that the sampling of the host can begin before Textual is imported.
Whatever happens, the machine is closed at the end.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from schedtui.backend.errors import SchedtuiError
from schedtui.feed import Feed


def run_app(
    machine: str = "host",
    theme: str | None = None,
    *,
    kernel: Path | None = None,
    cpus: int | None = None,
    compiler: bool = False,
    interval_s: float = 1.0,
) -> int:
    """Run the terminal program on ``machine`` until the user quits; returns the exit code.

    ``theme`` is a theme's name, for this run only. ``kernel``, ``cpus`` and ``compiler`` are for labs. Frames
    come every ``interval_s`` seconds. The code is 0 after quitting, 1 after a failure, 128 + N after signal N.
    """
    try:
        feed = Feed.named(machine, kernel=kernel, cpus=cpus, compiler=compiler, interval_s=interval_s)
    except SchedtuiError as error:
        print(f"schedtui: {error.message} {error.remedy}".rstrip(), file=sys.stderr)
        return 1
    feed.start()
    try:
        from schedtui.app import SchedtuiApp

        app = SchedtuiApp(
            feed, theme=theme, kernel=kernel, cpus=cpus, compiler=compiler, when_settled=spare_the_collector
        )
    except BaseException:
        feed.close()
        raise
    try:
        app.run()
    finally:
        app.close_machines()
    return app.return_code or 0


def spare_the_collector() -> None:
    """Take all that exists now out of the garbage collector's rounds, and make them rare.

    Most of it (modules, styles, widgets) lives as long as the process, and a round through it costs 1 to 2 ms in
    nearly every frame.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
