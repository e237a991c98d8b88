"""The guest's image holds what its helper imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from schedtui.backend.microvm.image import SITE, plan_image


def test_the_helper_of_a_guest_can_be_imported_from_what_the_image_holds(tmp_path: Path) -> None:
    for target, source in plan_image(b"").copied.items():
        if target.startswith(f"{SITE}/"):
            place = tmp_path / target.removeprefix(f"{SITE}/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import schedtui.backend.helper.guest"
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
