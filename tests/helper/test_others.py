"""scx.service and scx_loader: what they run, taking over, giving back, and stopping them for a panic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.errors import NotPermitted, SchedtuiError
from schedtui.backend.helper.others import Others
from schedtui.backend.probes.owner import find_owner
from schedtui.backend.probes.scx_loader import Bus, Loader, run_tool
from tests.conftest import until
from tests.helper.loader_on_a_bus import SUPPORTED, LoaderOnABus, put_programs


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[LoaderOnABus]:
    programs = put_programs(tmp_path / "bin", *SUPPORTED)
    with LoaderOnABus(tmp_path, programs) as bus:
        yield bus


@pytest.fixture
def others(tmp_path: Path, loader: LoaderOnABus) -> Others:
    return Others(tmp_path, bus=Bus(loader.address))


def test_scx_loader_says_what_it_runs(loader: LoaderOnABus) -> None:
    bus = Bus(loader.address)
    assert bus.loader() == Loader(supported=tuple(SUPPORTED))
    loader.start("scx_lavd", mode=1)
    assert bus.loader() == Loader(scheduler="scx_lavd", mode="gaming", supported=tuple(SUPPORTED))
    loader.start("scx_bpfland", arguments=["-m", "all"])
    assert (said := bus.loader())
    assert (said.scheduler, said.mode, said.arguments) == ("scx_bpfland", "", ("-m", "all"))


def test_without_a_bus_there_is_no_scx_loader(tmp_path: Path) -> None:
    assert Bus(f"unix:path={tmp_path}/nothing").loader() is None
    assert Others(tmp_path, bus=Bus(f"unix:path={tmp_path}/nothing")).look() == ()


def test_what_was_taken_over_is_given_back_with_its_arguments(loader: LoaderOnABus, others: Others) -> None:
    loader.start("scx_bpfland", arguments=["-m", "all"])
    running = loader.process
    assert running
    (taken,) = others.take_over()
    assert running.poll() is not None
    assert (loader.process, taken.what) == (None, "scx_bpfland -m all")
    assert others.give_back() == ("scx_loader runs scx_bpfland -m all again",)
    assert (loader.scheduler, loader.arguments) == ("scx_bpfland", ["-m", "all"])
    assert others.taken() == ()


def test_what_was_taken_over_is_given_back_in_its_mode(loader: LoaderOnABus, others: Others) -> None:
    loader.start("scx_lavd", mode=3)
    others.take_over()
    assert others.give_back() == ("scx_loader runs scx_lavd in lowlatency mode again",)
    assert (loader.scheduler, loader.mode) == ("scx_lavd", 3)


def test_a_helper_that_died_in_between_still_knows_what_to_give_back(loader: LoaderOnABus, tmp_path: Path) -> None:
    loader.start("scx_lavd")
    Others(tmp_path, bus=Bus(loader.address)).take_over()
    Others(tmp_path, bus=Bus(loader.address)).give_back()
    assert loader.scheduler == "scx_lavd"


def test_where_nothing_runs_nothing_is_taken_over_and_nothing_given_back(others: Others) -> None:
    with pytest.raises(NotPermitted, match="nothing to take over"):
        others.take_over()
    with pytest.raises(NotPermitted, match="Nothing was taken over"):
        others.give_back()


def test_nothing_is_stopped_that_cannot_be_written_down(loader: LoaderOnABus, tmp_path: Path) -> None:
    loader.start("scx_lavd")
    with pytest.raises(SchedtuiError, match="so it was not done"):
        Others(tmp_path / "gone", bus=Bus(loader.address)).take_over()
    assert loader.process
    assert loader.process.poll() is None


def test_a_damaged_memory_of_what_was_taken_over_is_none(others: Others, tmp_path: Path) -> None:
    (tmp_path / "taken-over.json").write_bytes(b"\xff{")
    assert others.taken() == ()


def test_for_a_panic_it_is_stopped_and_can_be_given_back_later(loader: LoaderOnABus, others: Others) -> None:
    loader.start("scx_lavd", mode=1)
    assert others.stop_restarters() == ["scx_loader was stopped"]
    assert loader.scheduler == ""
    others.give_back()
    assert (loader.scheduler, loader.mode) == ("scx_lavd", 1)


@pytest.mark.slow
def test_an_scx_loader_that_does_not_answer_holds_nobody_up(loader: LoaderOnABus, others: Others) -> None:
    loader.deaf = True
    began = time.monotonic()
    assert others.stop_restarters() == []
    assert time.monotonic() - began < 10


def test_what_scx_loader_started_is_known_as_its_own(loader: LoaderOnABus) -> None:
    loader.start("scx_lavd")
    process = loader.process
    assert process
    assert until(lambda: find_owner("lavd").pid == process.pid)  # a shell stands there until it has become the program


def test_a_tool_that_fails_is_quoted() -> None:
    with pytest.raises(SchedtuiError, match=r"[Uu]nknown"):
        run_tool("systemctl", ("no-such-verb",), 5)
