"""Start-up time is a budget, and privileged code is kept small: neither may draw in what it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("textual", "rich", "asyncio")


def imported_by(program: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running this."""
    listing = "\nimport sys\nprint('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program + listing], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", [["--help"], ["status"], ["doctor"], ["presets"], ["panic"]])
def test_a_command_draws_in_no_user_interface(command: list[str]) -> None:
    program = f"import sys; sys.argv = ['schedtui', *{command!r}]\nfrom schedtui.cli import main\nmain()"
    assert not imported_by(program) & set(HEAVY)


def test_the_bare_command_reads_no_command_line_before_it_opens_the_screens() -> None:
    assert "click" not in imported_by("from schedtui.__main__ import main\nimport schedtui.launch")


@pytest.mark.parametrize(
    "module",
    [
        "backend.helper.daemon",
        "backend.helper.handlers",
        "backend.helper.guest",
        "backend.bpf.loader",
        "backend.probes.sampler",
    ],
)
def test_privileged_code_imports_the_standard_library_and_msgspec_alone(module: str) -> None:
    ours = imported_by(f"import schedtui.{module}")
    outside = {name for name in ours if name not in sys.stdlib_module_names and not name.startswith("_")}
    # msgspec takes typing_extensions where it is installed, and does without it elsewhere.
    assert outside - imported_by("pass") <= {"schedtui", "msgspec", "typing_extensions"}
