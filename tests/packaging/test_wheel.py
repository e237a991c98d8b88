"""The wheel holds everything: installed into an empty environment, it runs from there without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what is in the checkout, so that it cannot write there."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel alone; what it depends on is lent by the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    # A line of a .pth file adds a folder without reading the .pth files in it, such as the checkout's.
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(installed: Path, *arguments: str, home: Path) -> str:
    """Run the installed command far from the checkout; returns its standard output."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm"}
    command = [str(installed / "bin" / "schedtui"), *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_json(installed: Path, *arguments: str, home: Path) -> dict[str, Any]:
    """The same, for a command that speaks JSON."""
    spoken: dict[str, Any] = json.loads(run(installed, *arguments, "--json", home=home))
    return spoken


def test_the_wheel_holds_sources_library_themes_styles_and_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (("bpf", "**/*.[ch]"), ("library", "**/*.*"), ("themes", "*.toml")):
        files = [each.relative_to(ROOT) for each in (ROOT / folder).glob(pattern)]
        assert files
        assert {f"schedtui/_shipped/{each}" for each in files} <= names
    assert {str(each.relative_to(ROOT)) for each in (ROOT / "schedtui").rglob("*.tcss")} <= names
    assert any(each.endswith("licenses/LICENSE") for each in names)
    assert not any(each.startswith(("tests", "schedtui/tests")) for each in names)


def test_the_installed_program_runs_from_its_own_files(installed: Path, tmp_path: Path) -> None:
    where = run_python(installed, "import schedtui; print(schedtui.__file__)", home=tmp_path)
    assert Path(where.strip()).is_relative_to(installed)
    assert run(installed, "--version", home=tmp_path).startswith("schedtui ")


def test_the_installed_library_and_headers_are_its_own(installed: Path, tmp_path: Path) -> None:
    presets = run_json(installed, "presets", home=tmp_path)
    assert presets["problems"] == []
    assert {each["name"] for each in presets["policies"]} >= {"fair", "fifo", "interactive", "longest-first"}
    for policy in presets["policies"]:
        assert Path(policy["folder"]).is_relative_to(installed)


def test_the_installed_program_sees_this_machine(installed: Path, tmp_path: Path) -> None:
    status = run_json(installed, "status", "--machine", "host", home=tmp_path)
    assert status["machine"] == "host"
    assert status["kernel"] == os.uname().release
    names = {each["name"] for each in run_json(installed, "doctor", home=tmp_path)["findings"]}
    assert {"sched_ext", "library", "terminal"} <= names


@pytest.mark.lab
def test_an_installed_policy_compiles_with_the_installed_headers(installed: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from schedtui.backend.bpf.compiler import compile_bpf\n"
        "from schedtui.backend.library.catalogue import load_library\n"
        "print(len(compile_bpf(Path(load_library().policy('fair').source))))"
    )
    assert int(run_python(installed, program, home=tmp_path)) > 1000


def run_python(installed: Path, program: str, *, home: Path) -> str:
    """Run a program with the installed environment's own Python."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = [str(installed / "bin" / "python"), "-c", program]
    return subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
