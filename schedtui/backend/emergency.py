"""Panic's settings on this computer, as its helper keeps them: the latch and the hot key. Panic itself is host.py's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from schedtui.backend.errors import NotPermitted
from schedtui.backend.helper import protocol
from schedtui.backend.helper.client import HelperClient, connect
from schedtui.backend.helper.hotkey import COMBINATION
from schedtui.backend.helper.places import Places
from schedtui.backend.helper.protocol import HelperStatus

_LIMIT_S = 10.0


def look() -> HelperStatus:
    """As it is now. Raises NotPermitted without a helper that serves this user, HelperGone."""
    with _helper() as client:
        return _status(client)


def set_hot_key(on: bool) -> HelperStatus:
    """Turn it on or off, also after a restart of the computer. Raises as ``look``, and BadFile (a full disk)."""
    with _helper() as client:
        client.call(protocol.SetHotKey(on), _LIMIT_S)
        return _status(client)


def release() -> HelperStatus:
    """Schedulers may be loaded again after a panic. Raises as ``look``."""
    with _helper() as client:
        client.call(protocol.Unlatch(), _LIMIT_S)
        return _status(client)


def told_latch(status: HelperStatus) -> str:
    """The latch, in a sentence."""
    if not status.latched:
        return "No panic holds: schedulers may be loaded."
    return f"{status.why_latched}: nothing is loaded until you release it (schedtui panic --release)."


def told_hot_key(status: HelperStatus) -> str:
    """The hot key, in a sentence."""
    if not status.hot_key:
        return f"The hot key is off: {COMBINATION} does nothing here. Turn it on: schedtui hotkey on"
    return (
        f"The hot key is on: {COMBINATION} on any keyboard of this computer gives it back to the kernel, and latches."
    )


def _status(client: HelperClient) -> HelperStatus:
    reply = client.call(protocol.GetStatus(), _LIMIT_S)
    assert reply.status is not None
    return reply.status


@contextlib.contextmanager
def _helper() -> Iterator[HelperClient]:
    try:
        client = connect(Places().socket)
    except FileNotFoundError:
        raise NotPermitted(
            "The hot key and the latch are the helper's, which is not installed or does not run.",
            "Set it up: sudo schedtui setup · without it, panic is: echo S | sudo tee /proc/sysrq-trigger",
        ) from None
    with contextlib.closing(client):
        client.hello()
        yield client
