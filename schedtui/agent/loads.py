"""Which loads run in an idle lab in place of a person's programs: those that are like what their words name."""

from __future__ import annotations

from schedtui.backend.errors import SchedtuiError

_LOADS = {
    "gaming": ("hogs", "frames"),
    "streaming": ("hogs", "frames"),
    "audio": ("hogs", "frames"),
    "desktop": ("hogs", "frames"),
    "compile": ("forks",),
    "batch": ("hogs",),
    "server": ("hogs", "frames"),
    "data-ml": ("hogs",),
    "memory-io": ("hogs", "forks"),
    "battery": ("frames",),
}
"""By the classes of ``catalogue.CLASSES``."""
_ANY_LOADS = ("hogs", "frames")


def loads_for(words: str) -> tuple[str, ...]:
    """Kinds of ``workloads.KINDS`` that are like what the words name."""
    try:
        from schedtui.backend.library.intents import classify

        return _LOADS.get(classify(words).class_id, _ANY_LOADS)
    except SchedtuiError:
        return _ANY_LOADS
