"""Five bad policies that were written without sight of the verifier's rules, from the header and the library alone.

Their flaws, what the verifier first said of them, and what it says now are in docs/VERIFIER.md. What it once could tell
it must go on to tell; what it cannot tell yet may only become better.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.model import Verdict
from schedtui.backend.verifier.verify import verify
from tests.conftest import DEFAULT, kernel_image, quiet

pytestmark = [pytest.mark.lab, pytest.mark.soak]

FOLDER = Path(__file__).parent
TOLD: dict[str, Verdict] = {
    "comeback": "fail",
    "handoff": "warn",
    "homebase": "fail",
    "ledger": "fail",
    "slots": "fail",
}
"""The mildest verdict that is still no step back."""
ORDER = ("pass", "warn", "fail")


def test_each_has_a_verdict() -> None:
    assert {each.name.removesuffix(".bpf.c") for each in FOLDER.glob("*.bpf.c")} == set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_the_verdict_is_no_milder_than_it_was(name: str) -> None:
    (report,) = verify(FOLDER / f"{name}.bpf.c", kernels=(kernel_image(DEFAULT),), progress=quiet, again=True)
    assert ORDER.index(report.verdict) >= ORDER.index(TOLD[name]), report.findings
