"""Trials that stand still: what pictures and tests of the trial screen are made from."""

from __future__ import annotations

from msgspec.structs import replace

from schedtui.act import Stage
from schedtui.backend.library.catalogue import Library
from schedtui.trying import COUNTDOWN_S, Trial
from tests.app.past import BETTER
from tests.app.shelf import PASSED

MEASURED = replace(BETTER, after=None, change_percent=None, low_percent=None, high_percent=None, seconds=2.0)
_STAGES = {
    "proving": (("Proof: stress: many short programs", 4.2),),
    "measuring": (("Proof: it passed the verifier", 9.1), ("Measuring: brisk runs now", 3.0)),
    "kept": (
        ("Proof: it passed the verifier", 9.1),
        ("Measuring: brisk runs now", 12.4),
        ("Your decision: keep it", 3.5),
    ),
}


def trial(library: Library, phase: str) -> Trial:
    """A trial of Brisk in this phase, twelve seconds before the countdown ends."""
    it = Trial(
        library.policies["brisk"], {"slice_us": 900}, title="Game and stream", class_id="streaming", clock=lambda: 0.0
    )
    it.phase = phase  # type: ignore[assignment]
    it._deadline = 0.6 * COUNTDOWN_S
    began = 0.0
    for text, seconds in _STAGES.get(phase, _STAGES["kept"]) if phase != "waiting" else ():
        it.act.stages.append(Stage(text, began, began + seconds))
        began += seconds
    if phase == "waiting":
        it.loads = ("frames", "hogs")
    if phase not in ("waiting", "proving"):
        it.report, it.side = PASSED, "after"
        it.comparison = MEASURED if phase == "measuring" else BETTER
    if it.is_over:
        it.act.finish("")
        it.reason = "It was not kept. EEVDF runs."
    return it
