"""What is said of the helper, and the one command that makes it right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui import __version__
from schedtui.backend.setup.state import state
from schedtui.backend.setup.sudo import program
from schedtui.backend.setup.targets import UNITS, Targets
from tests.setup.places import fresh_root, installed, needs_root

pytestmark = [needs_root, pytest.mark.slow]


@pytest.fixture(scope="module")
def there() -> Iterator[Targets]:
    """A computer with the helper."""
    with fresh_root() as made:
        installed(made)
        yield made


def test_without_it_this_computer_can_be_watched_and_the_command_says_what_it_changes() -> None:
    with fresh_root() as targets:
        found = state(targets)
    assert not found.installed
    assert "watched only" in found.text
    assert "setup" in found.command
    assert found.changes


def test_an_installed_one_that_nobody_started_has_its_command(there: Targets) -> None:
    found = state(there)
    assert (found.installed, found.same_version, found.running) == (True, True, False)
    assert "restart" in found.command


def test_one_of_another_version_is_to_be_updated(there: Targets) -> None:
    name = str(there.current.readlink())
    other = name.replace(__version__, "0.0.1")
    (there.home / name).rename(there.home / other)
    there.current.unlink()
    there.current.symlink_to(other)
    try:
        found = state(there)
        assert not found.same_version
        assert "0.0.1" in found.text
        assert found.command == "sudo schedtui setup"
    finally:
        (there.home / other).rename(there.home / name)
        there.current.unlink()
        there.current.symlink_to(name)


def test_when_an_update_took_its_python_away_setup_is_to_run_again(there: Targets) -> None:
    unit = there.units / UNITS[1]
    text = unit.read_text()
    unit.write_text(text.replace("ExecStart=/usr/bin/python3", "ExecStart=/usr/bin/python2"))
    try:
        found = state(there)
        assert not found.installed
        assert "gone" in found.text
        assert found.command == "sudo schedtui setup"
    finally:
        unit.write_text(text)


@pytest.mark.parametrize("given", ["schedtui", "{}/schedtui"])
def test_the_command_for_sudo_is_whole_where_sudo_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    own = tmp_path / "schedtui"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sys.argv", [given.format(tmp_path), "status"])
    assert program() == str(own)
    monkeypatch.setattr("sys.argv", ["/usr/lib/python3/pytest", "status"])
    assert program() == "schedtui"
