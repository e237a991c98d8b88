"""The BPF sources that ship: that they compile cleanly, and that the library describes what is in them."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf, find_clang
from schedtui.backend.bpf.loader import read_object
from schedtui.backend.errors import CompileFailed
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Policy
from schedtui.paths import shipped

HERE = Path(__file__).parent
LIBRARY = load_library(shipped("library"))
POLICIES = list(LIBRARY.loadable().values())
PROBES = sorted((shipped("bpf") / "probes").glob("*.bpf.c"))
PROBE_READ = {4, 45, 112, 113, 114, 115}
"""The numbers of bpf_probe_read and its variants; see enum bpf_func_id."""
EXAMPLES = [HERE / f"{name}.bpf.c" for name in ("old_style", "all_forms", "stall", "rejected", "hogging")]

each_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)


def warnings_of(source: Path) -> str:
    """What clang says of a source when it is asked to be strict."""
    target = "arm64" if platform.machine() == "aarch64" else "x86"
    command = [find_clang().path, "-fsyntax-only", "-target", "bpf", "-mcpu=v3", f"-D__TARGET_ARCH_{target}"]
    command += ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
    command += ["-Wno-sign-compare", "-O2", f"-I{shipped('bpf') / 'include'}", str(source)]
    return subprocess.run(command, capture_output=True, text=True).stderr


def test_the_library_holds_the_four_policies_and_has_no_problems() -> None:
    assert LIBRARY.problems == []
    assert set(LIBRARY.policies) >= {"fair", "fifo", "interactive", "longest-first"}


@pytest.mark.parametrize(
    "source", [*(Path(each.source) for each in POLICIES), *PROBES, *EXAMPLES], ids=lambda path: path.stem
)
def test_a_source_compiles_without_a_warning(source: Path) -> None:
    assert warnings_of(source) == ""


@each_policy
def test_the_tunables_of_a_policy_are_those_of_its_source_with_the_same_defaults(policy: Policy) -> None:
    facts = read_object(compile_bpf(Path(policy.source)))
    assert facts.tunables == {each.name: each.default for each in policy.tunables}


@each_policy
def test_the_statistics_of_a_policy_are_those_of_its_source(policy: Policy) -> None:
    facts = read_object(compile_bpf(Path(policy.source)))
    assert set(facts.statistics) == {each.name for each in policy.statistics}


@each_policy
def test_a_tunable_says_the_same_in_the_source_and_in_the_library(policy: Policy) -> None:
    comments = re.sub(r"\s+\*?\s*", " ", Path(policy.source).read_text())
    for tunable in policy.tunables:
        assert f"{tunable.description} Cost: {tunable.cost}" in comments, f"{tunable.name} is described differently"


@each_policy
def test_a_policy_bounds_the_wait_by_a_short_watchdog(policy: Policy) -> None:
    timeout = re.search(r"\.timeout_ms = (\d+)", Path(policy.source).read_text())
    assert timeout and 0 < int(timeout[1]) <= 5000
    for tunable in policy.tunables:
        if tunable.unit == "ms" and tunable.name != "long_after_ms":
            assert tunable.maximum is not None and tunable.maximum < int(timeout[1]), tunable.name


@pytest.mark.parametrize(
    "source", [*(Path(each.source) for each in POLICIES), *EXAMPLES[:1]], ids=lambda path: path.stem
)
def test_no_object_calls_the_helpers_that_read_arbitrary_kernel_memory(source: Path) -> None:
    listing = subprocess.run(
        [
            *(find_clang().path, "-S", "-emit-llvm", "-o", "-", "-target", "bpf", "-mcpu=v3", "-O2", "-g"),
            *("-D__TARGET_ARCH_x86", f"-I{shipped('bpf') / 'include'}", source),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "struct_ops/" in listing
    helpers = {int(number) for number in re.findall(r"inttoptr \(i64 (\d+) to ptr\)", listing)}
    assert not helpers & PROBE_READ


def test_a_source_that_does_not_compile_names_the_line() -> None:
    with pytest.raises(CompileFailed) as failure:
        compile_bpf(HERE / "broken.bpf.c")
    assert "broken.bpf.c:9" in failure.value.details
    assert "slice_that_is_nowhere" in failure.value.details
