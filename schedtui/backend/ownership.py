"""Who runs what on this computer, as a user's program asks for it: at the helper, or, to look only, without one.

What is done is the helper's (helper/ownership.py); commands and screens tell it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from schedtui.backend.errors import NotPermitted
from schedtui.backend.helper import protocol
from schedtui.backend.helper.client import HelperClient, connect
from schedtui.backend.helper.others import Others, in_its_mode
from schedtui.backend.helper.places import Places
from schedtui.backend.helper.protocol import Body, Reply
from schedtui.backend.model import Other, OthersStatus, PermanentChange, Policy, Setting
from schedtui.backend.probes.owner import OwnerProbe
from schedtui.backend.probes.scheduler import read_scheduler

_LIMIT_S = 60.0
_NOWHERE = Path("/nonexistent")


def look() -> OthersStatus:
    """As the helper sees it; without one, as anybody can: what was taken over is not known then."""
    try:
        return _status(protocol.GetOthers())
    except NotPermitted:
        others = Others(_NOWHERE).look()
        return OthersStatus(owner=in_its_mode(OwnerProbe().owner(read_scheduler()), others), others=others)


def take_over() -> OthersStatus:
    """Stop what scx.service and scx_loader run. Raises NotPermitted: no helper, or nothing to take over."""
    return _status(protocol.TakeOver())


def give_back() -> OthersStatus:
    """Start it again as it was. Raises NotPermitted: no helper, or nothing was taken over."""
    return _status(protocol.GiveBack())


def make_permanent(policy: Policy, goal: str, settings: dict[str, Setting], *, preview: bool) -> PermanentChange:
    """Have an external scheduler start with the computer. Raises NotPermitted for one that only schedtui can load."""
    if not policy.binary:
        raise NotPermitted(
            f"{policy.name} is no scheduler that scx_loader or scx.service can start.",
            "They start programs, as scx_bpfland. What you kept is loaded at login by: schedtui watch --print-unit",
        )
    return _change(protocol.MakePermanent(name=policy.name, goal=goal, settings=settings, preview=preview))


def undo_permanent(*, preview: bool) -> PermanentChange:
    """Put the file that was written last back as it was. Raises NotPermitted: none was, or others changed it since."""
    return _change(protocol.UndoPermanent(preview=preview))


def told(status: OthersStatus) -> list[str]:
    """Who runs what, in sentences: what was just done first."""
    scheduler = read_scheduler()
    command = f" ({status.owner.command})" if status.owner.command else ""
    by = "the kernel's own" if status.owner.kind == "kernel" else f"started by {status.owner.words}{command}"
    lines = [*[f"{each}." for each in status.told], f"{scheduler.name}, {by}."]
    for other in status.others:
        boot = ", and starts with the computer" if other.at_boot else ""
        lines.append(f"{other.name} {_doing(other)}{boot}.")
    return lines + [f"Taken over from {each.name}, to be given back: {each.what}." for each in status.taken]


def _doing(other: Other) -> str:
    if other.runs and other.pid:
        return f"runs {other.what}"
    return f"was to run {other.what}, which has ended" if other.runs else "is there, and runs nothing"


def told_change(change: PermanentChange) -> str:
    """What is written, or would be."""
    if not change.diff and not change.enables:
        return f"It is so already: {change.words}"
    enables = f"systemctl enable {change.enables}" if change.enables else ""
    then = change.words if change.done else f"Then: {change.words} Nothing was written yet."
    return "\n".join(filter(None, [change.diff.rstrip("\n"), enables, then]))


def _status(body: Body) -> OthersStatus:
    reply = _asked(body)
    assert reply.others is not None
    return reply.others


def _change(body: Body) -> PermanentChange:
    reply = _asked(body)
    assert reply.permanent is not None
    return reply.permanent


def _asked(body: Body) -> Reply:
    with _helper() as client:
        return client.call(body, _LIMIT_S)


@contextlib.contextmanager
def _helper() -> Iterator[HelperClient]:
    try:
        client = connect(Places().socket)
    except FileNotFoundError:
        raise NotPermitted(
            "This needs schedtui's helper, which is not installed or does not run.", "Set it up: sudo schedtui setup"
        ) from None
    try:
        client.hello()
        yield client
    finally:
        client.close()
