"""What stands in the resources that a connected program reads: the machine now, the library, reports, history.

Read-only, as JSON, masked and cleaned as results of tools are; nothing is read outside the library's, the reports' and
the history's own places.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from schedtui.agent.tools import cleaned, shown
from schedtui.backend import history
from schedtui.backend.errors import SchedtuiError, UnknownName
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Policy
from schedtui.backend.store import Store
from schedtui.backend.verifier import reports

if TYPE_CHECKING:
    from schedtui.desk import Desk
    from schedtui.mcp.client import Client

_MOST_ENTRIES = 100
_LARGEST_SOURCE = 256 * 1024
"""Characters."""
_NAMED = re.compile(r"schedtui://(library|reports)/([A-Za-z0-9._-]{1,128})")
_DIGEST = re.compile(r"[0-9a-f]{32,64}")
_NAMES = frozenset(("digest", "uri", "build_id", "btf_hash"))


def read(client: Client, uri: str, stop: threading.Event) -> str:
    """The JSON text of a resource, for ``client``. Raises UnknownName and other SchedtuiErrors, masked as well."""
    try:
        plain = msgspec.to_builtins(_content(client, uri, stop), enc_hook=os.fspath)
    except SchedtuiError as error:
        raise type(error)(*(_plain(client, each) for each in (error.message, error.remedy))) from error
    return msgspec.json.encode(_masked(client, plain)).decode()


def _content(client: Client, uri: str, stop: threading.Event) -> Any:
    named = _NAMED.fullmatch(uri)
    if named:
        return _policy(named[2]) if named[1] == "library" else _reports_of(named[2])
    reader = _READERS.get(uri)
    if reader is None:
        known = ", ".join((*_READERS, "schedtui://library/{name}", "schedtui://reports/{digest}"))
        raise UnknownName(f"There is no resource {shown(uri)}.", f"There are: {known}.")
    return reader(client, stop)


def _masked(client: Client, value: Any, key: str = "") -> Any:
    """All texts masked, but what names a report or a kernel: that looks like a secret and is none."""
    if isinstance(value, str):
        return value if key in _NAMES and _DIGEST.fullmatch(value.rpartition("/")[2]) else _plain(client, value)
    if isinstance(value, dict):
        return {name: _masked(client, each, name) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(client, each, key) for each in value]
    return value


def _plain(client: Client, text: str) -> str:
    return cleaned(client.masked(text))


def _frame(client: Client, stop: threading.Event) -> Any:
    watch = _desk(client, stop).watch
    frames = watch.last(60.0)
    return frames[-1] if frames else watch.collect(0.1, stop)[-1]


def _machine(client: Client, stop: threading.Event) -> Any:
    return _desk(client, stop).info


def _desk(client: Client, stop: threading.Event) -> Desk:
    return client.place.desk(stop)


def _library(_client: Client, _stop: threading.Event) -> Any:
    library = load_library()
    return {
        "policies": [_in_short(each) for each in library.policies.values()],
        "presets": list(library.presets.values()),
        "problems": library.problems,
    }


def _in_short(policy: Policy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "title": policy.title,
        "summary": policy.summary,
        "origin": policy.origin,
        "for_whom": policy.for_whom,
        "uri": f"schedtui://library/{policy.name}",
    }


def _policy(name: str) -> Any:
    policy = load_library().policy(name)
    known = msgspec.to_builtins(policy)
    del known["folder"]
    known["source"] = ""
    if policy.source:
        try:
            with Path(policy.source).open(encoding="utf-8", errors="replace") as file:
                known["source"] = file.read(_LARGEST_SOURCE)
        except OSError as error:
            raise UnknownName(f"The source of {name} cannot be read.", error.strerror or str(error)) from error
    return known


def _reports(_client: Client, _stop: threading.Event) -> Any:
    return [
        {
            "name": each.name,
            "verdict": each.verdict,
            "digest": each.digest,
            "quick": each.quick,
            "kernel": each.kernel.release if each.kernel else "",
            "settings": each.settings,
            "made_at": each.made_at,
            "uri": f"schedtui://reports/{each.digest}",
        }
        for each in reports.newest(_MOST_ENTRIES)
        if each.digest
    ]


def _reports_of(digest: str) -> Any:
    found = reports.of(digest) if _DIGEST.fullmatch(digest) else []
    if not found:
        raise UnknownName(f"There is no report of {shown(digest)}.", "Those that there are: schedtui://reports")
    return found


def _history(_client: Client, _stop: threading.Event) -> Any:
    return [
        {
            "name": each.name,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(each.time)),
            "state": each.state,
            "title": each.title,
            "policy": each.policy,
            "result": each.result,
        }
        for each in history.entries(Store(), _MOST_ENTRIES)
    ]


_READERS: dict[str, Callable[[Client, threading.Event], Any]] = {
    "schedtui://frame": _frame,
    "schedtui://machine": _machine,
    "schedtui://library": _library,
    "schedtui://reports": _reports,
    "schedtui://history": _history,
}
