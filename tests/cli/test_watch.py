"""``schedtui watch``: what was kept last runs again without a trial, and is measured again when it was updated."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from schedtui.backend.deploy import compiled
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Deployment, digest_of
from schedtui.backend.store import Store
from schedtui.paths import shipped
from tests.cli.commands import schedtui
from tests.conftest import DEFAULT, kernel_image

FAIR = load_library(shipped("library")).policies["fair"]


def kept(folder: Path, digest: str, kernel: str) -> dict[str, str]:
    """A user's folders in whose history ``fair`` was kept in the lab."""
    now = time.time()
    before = Deployment(
        id=0,
        state="kept",
        reason="fair was kept.",
        policy="fair",
        settings={"slice_us": 2000},
        machine="lab",
        kernel=kernel,
        asked_by="person",
        digest=digest,
        created=now,
        changed=now,
    )
    Store(folder / "schedtui" / "history.sqlite").add_deployment(before)
    return {"XDG_DATA_HOME": str(folder)}


@pytest.mark.slow
def test_where_nothing_was_kept_there_is_nothing_to_watch(tmp_path: Path) -> None:
    ended = schedtui("watch", XDG_DATA_HOME=str(tmp_path))
    assert (ended.code, "Nothing is kept on this machine" in ended.err) == (2, True)


@pytest.mark.slow
def test_a_unit_that_runs_it_at_login_is_printed() -> None:
    unit = schedtui("watch", "--print-unit").out
    assert "schedtui watch\n" in unit
    assert "WantedBy=default.target" in unit


@pytest.mark.lab
def test_what_was_kept_runs_again_at_once_and_is_watched(tmp_path: Path) -> None:
    image = kernel_image(DEFAULT)
    home = kept(tmp_path, digest_of(compiled(FAIR)), image.parent.name)
    lab = ("--machine", "lab", "--kernel", str(image), "--cpus", "2")
    spoken = schedtui("watch", *lab, "--for", "6s", "--json", timeout=240, **home).spoken
    assert (spoken["how"], spoken["state"], spoken["settings"]) == ("loaded", "kept", {"slice_us": 2000})
    assert spoken["reason"].startswith("fair was kept before, and was loaded again as it was.")


@pytest.mark.lab
@pytest.mark.soak
def test_what_was_updated_is_measured_again_first(tmp_path: Path) -> None:
    image = kernel_image(DEFAULT)
    home = kept(tmp_path, "0" * 64, image.parent.name)
    lab = ("--machine", "lab", "--kernel", str(image), "--cpus", "2")
    ended = schedtui("watch", *lab, "--for", "1s", "--json", timeout=400, **home)
    assert (ended.spoken["how"], ended.spoken["state"]) == ("measured", "reverted")
    told = Store(tmp_path / "schedtui" / "history.sqlite").deployments()[0]
    assert told.comparison is not None
