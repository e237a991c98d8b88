"""What was kept last: it is loaded again as it was, or measured again when it is something else by now."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.deploy import compiled
from schedtui.backend.errors import NotPermitted, NotProven, PanicLatched, UnknownName
from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.model import Deployment, MachineInfo, Metric, digest_of
from schedtui.backend.resume import find_kept, last_kept, let_go, let_go_after_panic, what_changed
from schedtui.paths import shipped
from tests.deploy.computer import EEVDF
from tests.deploy.conftest import POLICY, Desk, report

OBJECT = compiled(POLICY)


@pytest.fixture
def library() -> Library:
    return load_library(shipped("library"))


def kept(desk: Desk) -> Deployment:
    """A policy was tried and kept."""
    passed = desk.deployer.verified(desk.propose(), report(digest=digest_of(OBJECT)), OBJECT)
    return desk.deployer.keep(desk.deployer.canary(passed, Metric(name="wakeup_p99_us"), seconds=0.2))


def restarted(desk: Desk, folder: Path) -> Desk:
    """The computer was started again: nothing runs, and what is known lies in the store."""
    desk.computer.end("The helper that held it ended")
    return Desk(folder, desk.computer)


def info_of(desk: Desk) -> MachineInfo:
    return desk.computer.open(lambda _text, _seconds: None)


@pytest.mark.parametrize("seen", [False, True], ids=["first", "after the terminal program"])
def test_what_was_kept_is_loaded_again_as_it_was(tmp_path: Path, desk: Desk, library: Library, seen: bool) -> None:
    before = kept(desk)
    desk = restarted(desk, tmp_path)
    if seen:
        assert "nothing is loaded again by itself" in desk.deployer.recover()[0].reason
    found = find_kept(desk.store, library, info_of(desk))
    assert (found.changed, found.deployment.digest) == ("", before.digest)
    again = desk.deployer.resume(found.deployment, found.obj)
    assert desk.computer.scheduler().digest == before.digest
    assert desk.computer.lease_s is None
    assert (again.state, desk.store.deployment(again.id).state) == ("kept", "kept")
    assert last_kept(desk.store, "host") == again


def test_what_was_updated_is_not_loaded(tmp_path: Path, desk: Desk, library: Library) -> None:
    kept(desk)
    desk = restarted(desk, tmp_path)
    left = last_kept(desk.store, "host")
    assert left
    desk.store.update_deployment(replace(left, digest="0" * 64))
    found = find_kept(desk.store, library, info_of(desk))
    assert found.changed == "fifo was updated: it is measured again before it is kept."
    assert what_changed(desk.store, library, info_of(desk)) == found.changed
    with pytest.raises(NotPermitted, match="not what was kept"):
        desk.deployer.resume(found.deployment, found.obj)
    assert desk.computer.scheduler() == replace(EEVDF, enable_seq=desk.computer.scheduler().enable_seq)


def test_another_kernel_is_a_reason_to_measure_again(tmp_path: Path, desk: Desk, library: Library) -> None:
    kept(desk)
    desk = restarted(desk, tmp_path)
    newer = replace(info_of(desk), kernel="6.19.1")
    assert find_kept(desk.store, library, newer).changed.startswith(
        "The kernel was updated to 6.19.1: fifo is measured"
    )


def test_what_a_person_took_back_stays_away(tmp_path: Path, desk: Desk, library: Library) -> None:
    desk.deployer.revert(kept(desk), "It was not liked.", by="person")
    assert last_kept(desk.store, "host") is None
    with pytest.raises(UnknownName, match="Nothing is kept"):
        find_kept(desk.store, library, info_of(desk))
    assert what_changed(desk.store, library, info_of(desk)) == ""


def test_what_is_kept_on_one_machine_is_not_on_another(desk: Desk) -> None:
    kept(desk)
    assert last_kept(desk.store, "lab") is None


def test_without_its_token_it_is_not_loaded(tmp_path: Path, desk: Desk, library: Library) -> None:
    kept(desk)
    desk = restarted(desk, tmp_path)
    found = find_kept(desk.store, library, info_of(desk))
    desk.computer.refusal = NotProven("Its token has expired.")
    with pytest.raises(NotProven):
        desk.deployer.resume(found.deployment, found.obj)
    left = desk.store.deployment(found.deployment.id)
    assert (left.state, desk.computer.scheduler().name) == ("kept", "EEVDF")


def test_a_latched_panic_is_not_passed_over(tmp_path: Path, desk: Desk, library: Library) -> None:
    kept(desk)
    desk = restarted(desk, tmp_path)
    desk.computer.panic()
    found = find_kept(desk.store, library, info_of(desk))
    with pytest.raises(PanicLatched):
        desk.deployer.resume(found.deployment, found.obj)


def test_what_somebody_else_runs_is_not_replaced(tmp_path: Path, desk: Desk, library: Library) -> None:
    kept(desk)
    desk = restarted(desk, tmp_path)
    desk.computer.put("lavd", "", {}, owner="scx.service")
    found = find_kept(desk.store, library, info_of(desk))
    with pytest.raises(NotPermitted, match=r"lavd runs, started by scx\.service"):
        desk.deployer.resume(found.deployment, found.obj)


@pytest.mark.parametrize("seen", [False, True], ids=["first", "after the terminal program"])
def test_what_a_person_gave_back_by_hand_is_not_loaded_again(tmp_path: Path, desk: Desk, seen: bool) -> None:
    kept(desk)
    desk = restarted(desk, tmp_path)
    if seen:
        desk.deployer.recover()
    let_go(desk.deployer, desk.store, "host", "You gave the machine back.")
    assert last_kept(desk.store, "host") is None
    assert desk.store.deployments()[0].reason.startswith("You gave the machine back.")


@pytest.mark.parametrize("seen", [False, True], ids=["first", "after the terminal program"])
def test_what_a_panic_ended_is_not_loaded_again_once_it_is_released(
    tmp_path: Path, desk: Desk, library: Library, seen: bool
) -> None:
    before = kept(desk)
    desk = restarted(desk, tmp_path)
    if seen:
        desk.deployer.recover()
    let_go_after_panic(desk.deployer, desk.store, "host", before.created - 1)
    assert find_kept(desk.store, library, info_of(desk)).deployment.id == before.id, "it was kept after that panic"
    let_go_after_panic(desk.deployer, desk.store, "host", before.created + 1)
    with pytest.raises(UnknownName, match="Nothing is kept"):
        find_kept(desk.store, library, info_of(desk))
