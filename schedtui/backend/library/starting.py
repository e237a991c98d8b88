"""An external scheduler of the library as something to start: whether it can be here, in which mode, as which bytes.

What an installed program knows is ``external``'s, what a host's helper trusts ``helper.program_trust``'s; starting it
is left to machines.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from msgspec.structs import replace

from schedtui.backend.errors import NotPermitted
from schedtui.backend.helper.program_trust import FOLDERS
from schedtui.backend.library.external import Installed, find_binary, fit
from schedtui.backend.model import MachineKind, Policy, Program, Setting
from schedtui.backend.programs import arguments_of


def why_not(policy: Policy, kind: MachineKind) -> str:
    """Why an external scheduler cannot be started on such a machine, in words after its name; empty when it can."""
    installed = find_binary(policy)
    if installed is None:
        return "is not installed here"
    if installed.problem:
        return f"is installed, but cannot be used: {installed.problem.rstrip('.')}"
    if kind == "host" and _for_host(policy) is None:
        return f"is installed as {installed.path}, which somebody else than root could change: it is for the lab only"
    return ""


def in_mode(policy: Policy, goal: str) -> tuple[Policy, str]:
    """The scheduler in its mode for a goal, and what a person should know of that, in a sentence; may be empty.

    A policy with a source stays as it is. Where it has no mode for the goal, it is in its default mode; where it has
    none either, or its installed version lacks a flag of it, it is as it is by itself.
    """
    if not any(each.goal == goal for each in policy.modes):
        goal = policy.default_mode
    if not goal:
        return replace(policy, goal=""), ""
    found = fit(policy)
    if found is not None and not any(each.goal == goal for each in found.modes):
        lacking = ", ".join(found.lacking)
        return replace(policy, goal=""), f"Its version lacks {lacking or 'what its mode needs'}: it runs as it is."
    return replace(policy, goal=goal), ""


def program_of(policy: Policy, settings: dict[str, Setting], kind: MachineKind = "lab") -> Program:
    """The program as it is to be started with these settings, in the mode that ``policy.goal`` names.

    Raises NotPermitted when it cannot be started here, BadTunable.
    """
    if why := why_not(policy, kind):
        raise NotPermitted(f"{policy.name} {why}.", "schedtui doctor says how to install it.")
    installed = _for_host(policy) if kind == "host" else find_binary(policy)
    assert installed is not None
    path = Path(installed.path)
    try:
        found = path.stat()
        sha256 = _sha256(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        raise NotPermitted(f"{path} cannot be read: {error.strerror}.", "Install it again.") from error
    arguments = arguments_of(policy.modes, policy.tunables, policy.goal, settings)
    return Program(name=policy.name, path=str(path), sha256=sha256, goal=policy.goal, arguments=arguments)


def command_line(policy: Policy, settings: dict[str, Setting]) -> str:
    """How it is started, as a person would type it."""
    return " ".join([policy.binary, *arguments_of(policy.modes, policy.tunables, policy.goal, settings)])


def _for_host(policy: Policy) -> Installed | None:
    """The one that a helper would find, if only root can change it."""
    found = find_binary(policy, FOLDERS)
    return None if found is None or found.lab_only else found


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, _changed_ns: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
