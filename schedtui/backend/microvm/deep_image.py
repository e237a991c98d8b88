"""The lab's guest with bcc in it: libbcc and LLVM, the package bcc, a kernel's headers, and our programs' text.

It is 250 MB larger than the lab's own, so it has a snapshot of its own, made when a deep dive is first asked for.
"""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.errors import MissingTool
from schedtui.backend.microvm.headers import Headers
from schedtui.backend.microvm.image import SITE, ImagePlan, library_path
from schedtui.backend.probes import deep

MEMORY_MIB = 2048
_BY_NAME = ("libbcc.so.0", "librt.so.1")
"""Libraries that bcc loads by name, so that nothing lists them as needed."""


def with_bcc(plan: ImagePlan, headers: Headers, release: str) -> ImagePlan:
    """The plan, and what a deep dive needs in a guest that runs ``release``. Raises MissingTool without bcc."""
    package = deep.find_package()
    if package is None:
        raise MissingTool("bcc is not installed; the lab's deep dives take it along.", deep.install_command())
    copied = dict(plan.copied)
    for each in package.glob("*.py"):
        copied[str(each)] = each
    for name in _BY_NAME:
        library = library_path(name)
        copied[str(library)] = library
    for each in sorted((Path(deep.__file__).parent / "bcc").iterdir()):
        copied[f"{SITE}/schedtui/backend/probes/bcc/{each.name}"] = each
    for below, file in headers.files():
        copied[f"/lib/modules/{release}/{below}"] = file
    return ImagePlan(copied, plan.made, plan.links)
