"""How long a verification takes, stage by stage. ``make bench`` prints it."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import click

from schedtui.backend.bpf.compiler import find_clang
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Policy
from schedtui.backend.verifier.verify import static_stages, verify


def main(runs: int = 5) -> None:
    """Print the verifier's numbers, over all built-in policies and for one of them on one kernel."""
    policies = [each for each in load_library().policies.values() if each.origin == "built-in" and each.source]
    took = _static_stages_s(policies)
    slowest = max(took, key=lambda name: took[name])
    click.echo(
        f"{'source, object and bytecode stages':<44} {statistics.median(took.values()):.2f} s  "
        f"({len(took)} policies, the slowest {took[slowest]:.2f} s: {slowest})  goal ≤ 0.3"
    )
    for label, quick, goal in (("full verdict on one kernel", False, 15), ("quick verdict on one kernel", True, 5)):
        times = []
        for _ in range(runs):
            began = time.monotonic()
            verify(
                Path(policies[0].source),
                quick=quick,
                policy=policies[0],
                progress=lambda _words, _seconds: None,
                again=True,
            )
            times.append(time.monotonic() - began)
        spread = f"{min(times):.1f} to {max(times):.1f}, n={len(times)}"
        click.echo(f"{label:<44} {statistics.median(times):.1f} s  ({spread})  goal ≤ {goal}")


def _static_stages_s(policies: list[Policy]) -> dict[str, float]:
    """Seconds for each policy, compiled anew: into a cache that knows the compiler and nothing else."""
    took = {}
    kept = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        try:
            find_clang()
            for policy in policies:
                began = time.monotonic()
                stages, _ = static_stages(Path(policy.source), policy, lambda _words, _seconds: None)
                assert [each.verdict for each in stages] == ["pass"] * 3, policy.name
                took[policy.name] = time.monotonic() - began
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if kept is not None:
                os.environ["XDG_CACHE_HOME"] = kept
    return took


if __name__ == "__main__":
    main()
