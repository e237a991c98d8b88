"""From a name to a running scheduler: what is asked for, checked (``resolve``), then done (``apply``).

How a machine loads an object, and how long a scheduler stays, is left to others.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from msgspec import Struct

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import BadTunable, NotPermitted, UnknownName
from schedtui.backend.library.catalogue import Library, check_settings
from schedtui.backend.library.external import find_binary
from schedtui.backend.machine import Machine, Progress
from schedtui.backend.model import Choice, Policy, Preset, Scheduler, Setting
from schedtui.backend.verifier.sandbox import compile_sandboxed


class Proposal(Struct, frozen=True, kw_only=True):
    """What is to run. Without a policy: the kernel's own scheduler."""

    policy: Policy | None
    settings: dict[str, Setting]
    """Only what differs from the policy's defaults."""
    preset: Preset | None
    reason: str
    """Why this policy, in a sentence for the user; may be empty."""


def resolve(library: Library, name: str, settings: dict[str, Setting] | None = None) -> Proposal:
    """The proposal for a preset or a policy called ``name``; ``settings`` go over the preset's own.

    Values may be text, as typed on a command line. Raises UnknownName and BadTunable, which name what is near.
    """
    wanted = settings or {}
    found = library.find(name)
    if isinstance(found, Policy):
        return Proposal(policy=found, settings=check_settings(found, wanted), preset=None, reason="")
    if not found.choices:
        if wanted:
            raise BadTunable("The kernel's own scheduler has no tunables here.", f"Leave out {', '.join(wanted)}.")
        return Proposal(policy=None, settings={}, preset=found, reason=found.summary)
    choice, passed_over = _first_available(library, found)
    policy = library.policies[choice.policy]
    return Proposal(
        policy=policy,
        settings=check_settings(policy, {**choice.settings, **wanted}),
        preset=found,
        reason=" ".join(filter(None, [choice.reason, passed_over])),
    )


def apply(machine: Machine, proposal: Proposal, progress: Progress) -> Scheduler:
    """Compile the policy and load it in place of what runs; returns what the kernel reports then.

    When it runs already and only live tunables differ, they are changed and nothing is loaded.

    ``progress`` gets stages and the seconds since the call. Raises NotPermitted where nothing can be loaded,
    and whatever the compiler (MissingTool, CompileFailed) and the machine (LoadRejected, PanicLatched, …) raise.
    """
    began = time.monotonic()

    def stage(words: str) -> None:
        progress(words, time.monotonic() - began)

    info = machine.open(progress)
    if proposal.policy is None:
        stage(f"Giving the machine back to {info.default_scheduler}")
        return machine.unload()
    if not info.can_load:
        raise NotPermitted(info.reason or "No scheduler can be loaded here.", "Try it in the lab: --machine lab.")
    policy = proposal.policy
    if not policy.source:
        raise NotPermitted(
            f"{policy.name} is a program of its own, which schedtui does not start.",
            f"Run it yourself, as root: {policy.binary}. schedtui shows what it does.",
        )
    stage(f"Compiling {policy.name}")
    obj = compiled(policy)
    change = _live_change(machine.scheduler(), policy, obj, proposal.settings)
    if change:
        stage(f"Changing {', '.join(change)} of {policy.name} while it runs")
        return machine.tune(change)
    stage(f"Loading {policy.name} into Linux {info.kernel}")
    return machine.load(policy.name, obj, proposal.settings)


def compiled(policy: Policy) -> bytes:
    """Only what ships with the program is compiled outside of the sandbox."""
    source = Path(policy.source)
    return compile_bpf(source) if policy.origin == "built-in" else compile_sandboxed(source)


def _live_change(running: Scheduler, policy: Policy, obj: bytes, wanted: dict[str, Setting]) -> dict[str, Setting]:
    """What to change of a running policy so that it runs as wanted; empty when it must be loaded."""
    if running.sched_ext != "enabled" or (running.policy, running.digest) != (policy.name, _digest(obj)):
        return {}
    change = {}
    for each in policy.tunables:
        now, then = (settings.get(each.name, each.default) for settings in (running.settings, wanted))
        if now != then:
            if not each.live:
                return {}
            change[each.name] = then
    return change


def _digest(obj: bytes) -> str:
    return hashlib.sha256(obj).hexdigest()


def _first_available(library: Library, preset: Preset) -> tuple[Choice, str]:
    """The first choice that can be loaded, and why those before it were passed over."""
    why: list[str] = []
    for choice in preset.choices:
        policy = library.policies.get(choice.policy)
        if policy is not None and policy.source:
            return choice, f"({'; '.join(why)}: so {choice.policy}.)" if why else ""
        if policy is not None:
            why.append(_why_not(policy))
    wanted = " or ".join(f"“{each.policy}”" for each in preset.choices)
    if why:
        raise NotPermitted(f"{preset.title}: {'; '.join(why)}.", "Take another preset: schedtui presets.")
    raise UnknownName(
        f"The preset “{preset.id}” wants the policy {wanted}, which the library does not have.",
        "See schedtui doctor for problems of the library.",
    )


def _why_not(policy: Policy) -> str:
    installed = find_binary(policy)
    if installed is None:
        return f"{policy.name} is not installed"
    return f"{policy.name} is installed, but schedtui does not start other programs"
