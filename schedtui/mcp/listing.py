"""The library as a client of the research system reads it: each scheduler with its uses, parameters and limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from schedtui.backend.library.catalogue import Library
from schedtui.backend.library.external import fit
from schedtui.backend.library.meta import state_of
from schedtui.backend.library.starting import why_not
from schedtui.backend.model import MachineKind, Policy, Tunable
from schedtui.mcp import creating, flags
from schedtui.mcp.bench import ClientBench

_SENTENCE = re.compile(r"(?<=[.!?])\s")
_TYPES = {bool: "boolean", int: "integer", str: "string"}


def entries(bench: ClientBench) -> list[dict[str, Any]]:
    """All policies, with what its installed version has of an external scheduler."""
    return [_entry(each, bench.library, bench.info.kind) for each in bench.library.policies.values()]


def _entry(policy: Policy, library: Library, kind: MachineKind) -> dict[str, Any]:
    said = creating.said_of(policy) if policy.origin == "generated" else {}
    not_here = why_not(policy, kind) if policy.binary else ""
    limits = [*policy.limits, *(f"Not for: {each}" for each in policy.not_for)]
    modes = [f"{each.goal}: {' '.join(each.flags)}" for each in policy.modes if each.flags]
    return {
        "name": policy.name,
        "production_ready": _is_ready(policy, not_here),
        "description": policy.description or policy.summary,
        "algorithm": said.get("Algorithm") or _SENTENCE.split(policy.description or policy.summary)[0],
        "use_cases": [*_goals(policy, library), *policy.for_whom],
        "characteristics": said.get("Characteristics")
        or " ".join([policy.summary, f"Modes: {'; '.join(modes)}." if modes else ""]).strip(),
        "tuning_parameters": {
            each.name.replace("-", "_"): _parameter(policy, each) for each in _tunables(policy, bool(not_here))
        },
        "limitations": "; ".join([*limits, f"It cannot run here now: it {not_here}"] if not_here else limits),
        "performance_profile": said.get("Performance") or f"For {'; '.join(policy.for_whom)}",
    }


def _is_ready(policy: Policy, not_here: str) -> bool:
    """Ships with schedtui, or is installed and can be started here; what was made here once it is no draft any more."""
    if policy.origin == "generated":
        return state_of(Path(policy.folder)) == "promoted"
    return not not_here


def _goals(policy: Policy, library: Library) -> list[str]:
    """The workload classes that it serves, by its modes and by the presets that choose it."""
    of_presets = [
        preset.goal or preset.id
        for preset in library.presets.values()
        if any(choice.policy == policy.name for choice in preset.choices)
    ]
    return list(dict.fromkeys([*(each.goal for each in policy.modes), *of_presets]))


def _tunables(policy: Policy, missing: bool) -> tuple[Tunable, ...]:
    found = fit(policy) if policy.binary and not missing else None
    return found.tunables if found is not None else policy.tunables


def _parameter(policy: Policy, tunable: Tunable) -> dict[str, Any]:
    unit = f" In {tunable.unit}." if tunable.unit else ""
    parameter: dict[str, Any] = {
        "type": _TYPES[type(tunable.default)],
        "description": f"{tunable.description}{unit} Cost: {tunable.cost}",
        "default": tunable.default,
        "flag": flags.written(policy, tunable),
        "setting": tunable.name,
    }
    if tunable.minimum is not None and tunable.maximum is not None:
        parameter["range"] = [tunable.minimum, tunable.maximum]
    return parameter
