"""The lab's guest with bcc in it: libbcc and LLVM, the package bcc, and our programs' text.

It is 250 MB larger than the lab's own, so it has a snapshot of its own, made when a deep dive is first asked for.
"""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.microvm.image import SITE, ImagePlan, library_path
from schedtui.backend.probes import deep

MEMORY_MIB = 1280
_BY_NAME = ("libbcc.so.0", "librt.so.1")
"""Libraries that bcc loads by name, so that nothing lists them as needed."""


def with_bcc(plan: ImagePlan) -> ImagePlan:
    """The plan, and what a deep dive needs besides. Raises MissingTool where bcc is not installed."""
    package = deep.find_bcc()
    copied = dict(plan.copied)
    for each in package.glob("*.py"):
        copied[str(each)] = each
    for name in _BY_NAME:
        library = library_path(name)
        copied[str(library)] = library
    probes = Path(deep.__file__).parent
    for each in sorted((probes / "bcc").rglob("*.[ch]")):
        copied[f"{SITE}/schedtui/backend/probes/{each.relative_to(probes)}"] = each
    return ImagePlan(copied, plan.made, plan.links)
