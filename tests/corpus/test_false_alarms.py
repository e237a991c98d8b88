"""What is sound raises no alarm: the library's policies, and the objects of schedulers that many people run.

The latter are built with cargo, once, into a cache outside of this repository, by ``make soak``. Their user-space parts
may put them out of scope, which the object stage says; about how they schedule there must be nothing to say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf, find_clang
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.verifier import child

LIBRARY = load_library()
BUILT_IN = sorted(name for name, policy in LIBRARY.policies.items() if policy.origin == "built-in")
REAL = ("scx_bpfland", "scx_rusty")
BUILDS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scx"


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_policy_raises_no_alarm(name: str) -> None:
    policy = LIBRARY.policy(name)
    stages = child.examine(compile_bpf(Path(policy.source)), policy.tunables)
    assert [(each.rule, each.place, each.meaning) for stage in stages for each in stage.findings] == []
    assert [stage.verdict for stage in stages] == ["pass", "pass"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", REAL)
def test_a_real_scheduler_raises_no_alarm_about_its_scheduling(name: str) -> None:
    built = built_object(name) or build(name)
    _, bytecode = child.examine(built.read_bytes())
    assert [each for each in bytecode.findings if each.severity != "note"] == []
    assert bytecode.verdict == "pass", bytecode.summary


def build(name: str) -> Path:
    """Build a scheduler with cargo; its object is left among what was built."""
    assert shutil.which("cargo"), f"{name} is built with cargo, which is not installed"
    clang = Path(find_clang().path)
    tools = {"BPF_CLANG": str(clang), "LIBCLANG_PATH": str(clang.resolve().parent.parent / "lib")}
    command = ["cargo", "install", "--locked", "--root", str(BUILDS), "--target-dir", str(BUILDS / "target"), name]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **tools})
    built = built_object(name)
    assert built, f"cargo left no object of {name}"
    return built


def built_object(name: str) -> Path | None:
    """The newest object that a build of the scheduler left, with all its parts linked."""
    found = sorted(BUILDS.glob(f"target/release/build/{name}-*/out/bpf.bpf.o"), key=lambda each: each.stat().st_mtime)
    return found[-1] if found else None
