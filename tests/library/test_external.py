"""External schedulers: the entry says what they are for, the installed program says what it can do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from schedtui.backend.library import external
from schedtui.backend.library.catalogue import load_library, read_policy
from schedtui.backend.library.external import Fit, find_binary, fit, parse_help
from schedtui.backend.model import Policy
from schedtui.backend.programs import flag_of
from schedtui.paths import shipped
from tests import schedulers
from tests.conftest import until

ENTRY = """\
name = "scx_toy"
title = "toy"
summary = "A toy."
description = "A toy."
binary = "scx_toy"
for_whom = ["children"]

[[mode]]
goal = "gaming"
flags = ["-m", "performance", "--fast"]
reason = "Fast."

[[mode]]
goal = "battery"
flags = ["-m", "cold"]
reason = "Cold."

[[tunable]]
name = "slice-us"
description = "Length of a turn."
cost = "Others wait."
unit = "µs"
default = 1000
minimum = 100
maximum = 100000

[[tunable]]
name = "gone"
description = "An option of another version."
cost = "None."
default = false
"""
CLAP = """\
scx_toy: a toy.

Usage: scx_toy [OPTIONS]

Options:
  -s, --slice-us <SLICE_US>
          Maximum slice. See also
          --slice-min, which is no option here, and -x

          [default: 5000]

  -m, --mode <MODE>
          Where to run

          Possible values:
          - performance: fast
          - powersave:   slow

  -i, --idle <IDLE>  Idle time [default: -1] [possible values: -1, 0]
      --fast
          Be fast
  -v, --verbose...
          Say more
  -T, --disable-topology[=<DISABLE_TOPOLOGY>]
          Flat
  -V, --version
          Print version
"""
GETOPT = """\
A simple sched_ext scheduler.

Usage: scx_simple [-f] [-v]

  -f            Use FIFO scheduling instead of weighted vtime scheduling
  -s SLICE_US   Override slice duration in us (default 20000us / 20ms)
  -h            Display this help and exit
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, and a home without anything."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Policy:
    """An entry of the library."""
    folder = tmp_path / "scx_toy"
    folder.mkdir()
    (folder / "policy.toml").write_text(ENTRY)
    return read_policy(folder / "policy.toml", "built-in")


def install(folder: Path, script: str, name: str = "scx_toy") -> Path:
    """A program that is a shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def speaking(help_text: str, version: str = "scx_toy 1.2.3 x86_64") -> str:
    """A script that answers as schedulers do."""
    return f"case $1 in --version) echo '{version}';; --help) cat <<'END'\n{help_text}\nEND\n;; esac"


def fitted(policy: Policy) -> Fit:
    """What holds for the installed version."""
    found = fit(policy)
    assert found is not None
    return found


def test_options_are_read_from_the_help_of_programs_that_use_clap() -> None:
    flags = parse_help(CLAP)
    assert {flag.name for flag in flags.values()} == {
        *("slice-us", "mode", "idle", "fast", "verbose", "disable-topology", "version")
    }
    assert flags["s"] is flags["slice-us"]
    assert (flags["slice-us"].takes_value, flags["slice-us"].default) == (True, "5000")
    assert flags["mode"].values == ("performance", "powersave")
    assert (flags["idle"].default, flags["idle"].values) == ("-1", ("-1", "0"))
    assert not flags["fast"].takes_value
    assert "x" not in flags


def test_options_are_read_from_the_help_of_programs_that_use_getopt() -> None:
    flags = parse_help(GETOPT)
    assert set(flags) == {"f", "s", "h"}
    assert flags["s"].takes_value
    assert not flags["f"].takes_value


def test_what_is_not_installed_is_not_found(programs: Path, toy: Policy) -> None:
    assert find_binary(toy) is None
    assert fit(toy) is None


def test_flags_that_the_installed_version_lacks_are_named_and_not_offered(programs: Path, toy: Policy) -> None:
    install(programs, speaking(CLAP))
    found = fitted(toy)
    assert found.installed.version == "1.2.3"
    assert found.lacking == ("--gone",)
    assert [flag_of(each.name) for each in found.tunables] == ["--slice-us"]


def test_a_default_is_that_of_the_installed_version(programs: Path, toy: Policy) -> None:
    install(programs, speaking(CLAP))
    assert fitted(toy).tunables[0].default == 5000


def test_a_mode_with_a_value_that_this_version_does_not_know_is_not_offered(programs: Path, toy: Policy) -> None:
    install(programs, speaking(CLAP))
    assert [each.goal for each in fitted(toy).modes] == ["gaming"]


def test_another_version_in_its_place_is_asked_anew(programs: Path, toy: Policy) -> None:
    install(programs, speaking(CLAP))
    assert fitted(toy).lacking
    install(programs, speaking(CLAP + "      --gone\n          Back again\n", "scx_toy 2.0"))
    assert fitted(toy).lacking == ()
    assert fitted(toy).installed.version == "2.0"


def test_a_program_that_root_alone_cannot_change_is_for_the_lab_only(programs: Path, toy: Policy) -> None:
    install(programs, speaking(CLAP)).chmod(0o777)
    assert fitted(toy).installed.lab_only


def test_a_program_in_the_cargo_folder_is_found_though_it_is_not_on_path(
    programs: Path, toy: Policy, tmp_path: Path
) -> None:
    folder = tmp_path / "home" / ".cargo" / "bin"
    folder.mkdir(parents=True)
    assert find_binary(toy) is None
    assert install(folder, speaking(CLAP)).samefile(fitted(toy).installed.path)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("while :; do echo 0123456789012345678901234567890123456789; done", "more than"),
        ("echo nothing", "lists no options"),
    ],
)
def test_a_program_that_answers_with_nonsense_is_listed_with_the_reason(
    programs: Path, toy: Policy, script: str, problem: str
) -> None:
    install(programs, script)
    found = fitted(toy)
    assert problem in found.installed.problem
    assert found.tunables == ()


def test_a_program_that_hangs_is_ended_with_what_it_started(
    programs: Path, toy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "TIME_LIMIT_S", 0.3)
    mark = f"{time.time_ns()}"
    install(programs, f"/bin/sleep {mark} & /bin/sleep {mark}")
    assert "did not answer" in fitted(toy).installed.problem
    assert until(lambda: not any(mark in _command(each) for each in Path("/proc").glob("[0-9]*")))


def test_a_file_that_is_no_program_is_listed_with_the_reason(programs: Path, toy: Policy) -> None:
    path = programs / "scx_toy"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    assert "cannot be run" in fitted(toy).installed.problem


def test_a_program_is_asked_with_an_empty_environment_and_never_as_root(
    programs: Path, toy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "told")
    install(programs, f'[ -z "$SECRET" ] && [ "$(id -u)" != 0 ] || exit 1\n{speaking(CLAP)}')
    assert fitted(toy).installed.problem == ""


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def is_built(name: str) -> bool:
    return (schedulers.FOLDER / name).is_file()


# `make test` builds the first, `make soak` all of them, `make check` none.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(not is_built(name), reason="make scx builds it"))
        if name == "scx_bpfland"
        else pytest.param(name, marks=pytest.mark.soak)
        for name in schedulers.NAMES
    ],
)
def test_the_entry_fits_a_scheduler_that_was_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{schedulers.built(name).parent}{os.pathsep}{os.environ['PATH']}")
    policy = load_library(shipped("library")).policy(name)
    found = fitted(policy)
    assert found.installed.version
    assert found.lacking == ()
    assert len(found.modes) == len(policy.modes)
    assert found.tunables == policy.tunables


def test_the_library_describes_the_schedulers_in_common_use() -> None:
    library = load_library(shipped("library"))
    names = {policy.name for policy in library.policies.values() if policy.origin == "external"}
    wanted = ("bpfland", "lavd", "rusty", "layered", "flash", "p2dq", "cosmos", "beerland", "rustland", "tickless")
    assert names >= {f"scx_{each}" for each in wanted}
    for name in names:
        policy = library.policies[name]
        assert policy.note
        assert policy.limits
        assert policy.not_for
