"""A home of its own for each test, apps on real machines, and a recording that was made on this computer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widget import Widget

from schedtui.app import SchedtuiApp
from schedtui.backend.host import HostMachine
from schedtui.backend.machine import Machine
from schedtui.backend.recording import Recorder
from schedtui.feed import Feed
from schedtui.paths import cache_dir

INTERVAL_S = 0.2
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The user's folders, empty; but labs keep their cache, because building a guest takes half a minute."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    if request.node.get_closest_marker("lab") is None:
        learned = tmp_path / "cache" / "schedtui" / "intents"  # from the example sentences, in seconds
        learned.parent.mkdir(parents=True)
        learned.symlink_to(cache_dir() / "intents")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def recording(home: Path) -> Path:
    """Two frames of this computer."""
    machine = HostMachine()
    path = home / "data" / "schedtui" / "two-frames.jsonl"
    path.parent.mkdir(parents=True)
    with Recorder(path, machine.open(lambda _text, _seconds: None)) as recorder:
        for _, frame in zip(range(2), machine.frames(0.1), strict=False):
            recorder.add(frame)
    machine.close()
    return path


@contextlib.asynccontextmanager
async def running(
    spec: str = "host", *, machine: Machine | None = None, theme: str | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[SchedtuiApp, Pilot[None]]]:
    """The program on a machine, closed at the end as run_app does it."""
    feed = Feed(spec, machine, INTERVAL_S) if machine else Feed.named(spec, interval_s=INTERVAL_S)
    feed.start()
    app = SchedtuiApp(feed, theme=theme)
    try:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            yield app, pilot
    finally:
        app.close_machines()


async def until(pilot: Pilot[None], condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until ``condition`` holds; fail after ``patience_s``, showing the screen."""
    began = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began
        if waited_s > patience_s:
            raise AssertionError("it did not happen; the screen says:\n" + screen_text(pilot.app))
        await pilot.pause(0.02 if waited_s < 1 else 0.1)  # looking takes time from what is waited for
    await pilot.pause()


async def live(app: SchedtuiApp, pilot: Pilot[None]) -> None:
    """Wait for the first frame."""
    await until(pilot, lambda: app.frame is not None)


def screen_text(app: object) -> str:
    """What the terminal shows, as lines of text."""
    from textual.app import App

    assert isinstance(app, App)
    width, _ = app.size
    return "\n".join(
        "".join(segment.text for segment in strip).ljust(width).rstrip()
        for strip in app.screen._compositor.render_strips()
    )


def text_of(widget: Widget) -> str:
    """What a widget shows, as one line of words."""
    return " ".join("".join(s.text for strip in widget.render_lines(widget.size.region) for s in strip).split())
