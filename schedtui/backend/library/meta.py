"""What is known of a generated policy beside its entry: who made it, from what, and whether it is in use.

It lies in ``meta.json`` of the policy's folder. Versions and changes of state are generated.py's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

State = Literal["draft", "promoted", "retired"]
FILE = "meta.json"


class Meta(Struct, frozen=True, kw_only=True):
    """Of one version."""

    made_by: str
    """A person's or a model's name."""
    parent: str = ""
    """The policy that it was made from; empty when it was written anew."""
    state: State = "draft"


def read_meta(folder: Path) -> Meta:
    """What lies in ``folder``; for a file that is missing or damaged, a draft by nobody that is known."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Meta)
    except (OSError, msgspec.MsgspecError):
        return Meta(made_by="unknown")


def write_meta(folder: Path, meta: Meta) -> None:
    """Raises OSError."""
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n")


def state_of(folder: Path) -> State:
    """Whether the policy in ``folder`` is in use."""
    return read_meta(folder).state
