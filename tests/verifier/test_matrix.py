"""Every built-in policy passes the whole verification on every kernel that works.

``make matrix``, and so CI, takes the oldest, the default and the newest; ``make soak`` all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.library.catalogue import load_library
from schedtui.backend.verifier.reports import text
from schedtui.backend.verifier.verify import MATRIX, verify
from tests.conftest import DEFAULT, NEWEST, OLDEST, kernel_image, quiet

LIBRARY = load_library()
POLICIES = sorted(name for name, each in LIBRARY.policies.items() if each.origin == "built-in" and each.source)
ALWAYS = (OLDEST, DEFAULT, NEWEST)

pytestmark = pytest.mark.soak


@pytest.mark.matrix
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("series", ALWAYS)
def test_a_built_in_policy_passes(series: str, name: str) -> None:
    passes(series, name)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("series", [each for each in MATRIX if each not in ALWAYS])
def test_a_built_in_policy_passes_on_the_kernels_between(series: str, name: str) -> None:
    passes(series, name)


def passes(series: str, name: str) -> None:
    policy = LIBRARY.policy(name)
    (report,) = verify(Path(policy.source), kernels=(kernel_image(series),), policy=policy, progress=quiet, again=True)
    assert report.verdict == "pass", text(report)
