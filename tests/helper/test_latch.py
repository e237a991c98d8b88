"""Panic's latch outlives the helper; when the newest panic was is known also after its release and a restart."""

from __future__ import annotations

import time
from pathlib import Path

from schedtui.backend.helper.latch import Latch


def test_what_is_released_stays_released_and_when_it_was_stays_known(tmp_path: Path) -> None:
    began = time.time()
    latch = Latch(tmp_path / "latch", tmp_path / "last")
    assert (latch.now, latch.last_s) == (None, 0.0)
    latch.set("Super+Shift+F12 was pressed")
    assert latch.keep() == ""

    taking_over = Latch(tmp_path / "latch", tmp_path / "last")
    assert taking_over.now == latch.now
    taking_over.release()

    (tmp_path / "latch").unlink(missing_ok=True)
    after_a_restart = Latch(tmp_path / "latch", tmp_path / "last")
    assert after_a_restart.now is None
    assert began <= after_a_restart.last_s <= time.time()


def test_a_second_panic_counts_from_then_on(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "latch", tmp_path / "last")
    latch.set("once")
    first = latch.last_s
    latch.set("twice")
    latch.keep()
    assert Latch(tmp_path / "latch", tmp_path / "last").now == latch.now
    latch.release()
    assert Latch(None, tmp_path / "last").last_s == latch.last_s >= first


def test_a_disk_that_takes_nothing_still_latches_and_says_so(tmp_path: Path) -> None:
    latch = Latch(tmp_path / "no folder" / "latch", tmp_path / "last")
    latch.set("Panic was pressed")
    assert "could not be written" in latch.keep()
    assert latch.now is not None
    assert Latch(None, tmp_path / "last").last_s == latch.last_s
