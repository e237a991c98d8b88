"""``schedtui helper``: what the privileged helper is, and what the one that runs says of itself."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click

from schedtui.backend.errors import NotPermitted
from schedtui.commands.options import json_option
from schedtui.console import Console

WHAT = """\
The helper is the small part of schedtui that runs as root: it loads schedulers that its own verification has passed,
and takes them away again. It runs no command of yours, opens no network connection, and serves only the users that
/etc/schedtui/helper.toml names. You need not start it:

  sudo schedtui setup            installs it; systemd starts it when schedtui wants it
  sudo schedtui setup --remove   takes all of it away
  schedtui doctor                says whether it works
"""


@click.command(hidden=True)
@json_option
def helper(as_json: bool) -> None:
    """What the privileged helper is, and how the one that runs here does."""
    from schedtui.backend.helper import protocol
    from schedtui.backend.helper.client import connect
    from schedtui.backend.helper_link import SOCKET

    console = Console(as_json)
    try:
        with contextlib.closing(connect(Path("/", SOCKET))) as client:
            client.hello()
            status = client.call(protocol.GetStatus()).status
    except FileNotFoundError:
        console.result({"running": False}, f"{WHAT}\nNone runs here now.")
        return
    except NotPermitted as error:
        console.result({"running": True, "serves_you": False}, f"{WHAT}\nOne runs here. {error.message} {error.remedy}")
        return
    assert status is not None
    minutes = (time.time() - status.since) / 60
    users = ", ".join(map(str, status.allowed)) or "root alone"
    lines = [
        f"One runs here (process {status.pid}) since {minutes:.0f} minutes, for users {users}.",
        f"Of root's rights it kept: {', '.join(status.rights)}.",
        *status.notes,
    ]
    console.result({"running": True, "serves_you": True, "status": status}, "\n".join([WHAT, *lines]))
