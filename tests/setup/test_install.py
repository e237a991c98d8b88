"""Installing: what is said is what is done, again changes nothing, and what fails leaves nothing."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.setup.remove import remove
from schedtui.backend.setup.state import state
from schedtui.backend.setup.targets import UNITS, Targets
from tests.conftest import until
from tests.setup.places import PEOPLE, command, everything, fresh_root, installed, needs_root, setup

pytestmark = [needs_root, pytest.mark.slow]
_RUN = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from schedtui.cli import main; main()"


@pytest.fixture
def targets() -> Iterator[Targets]:
    """A computer without the helper."""
    with fresh_root() as made:
        yield made


@pytest.fixture(scope="module")
def there() -> Iterator[Targets]:
    """A computer with the helper; for tests that only look."""
    with fresh_root() as made:
        installed(made)
        yield made


def test_a_dry_run_names_everything_and_changes_nothing(targets: Targets) -> None:
    before = everything(targets.root)
    told = setup(targets, "--dry-run")
    assert everything(targets.root) == before
    assert {each["state"] for each in told["changes"]} == {"new"}
    named = {each["target"] for each in told["changes"]}
    assert {"schedtui-verify", "/etc/schedtui/helper.toml", "/var/lib/schedtui/tokens"} <= named
    assert {f"/etc/systemd/system/{unit}" for unit in UNITS} <= named


def test_every_path_that_an_installation_brings_was_named_before(targets: Targets) -> None:
    before = everything(targets.root)
    told = installed(targets)
    named = [each["target"] for each in told["changes"] if each["kind"] != "copy" and each["target"][0] == "/"]
    (copy,) = [each for each in told["changes"] if each["kind"] == "copy"]
    named += [f"{copy['target']}/{each}" for each in copy["files"]]
    brought = set(everything(targets.root)) - set(before)
    users = {"etc/passwd", "etc/group", "etc/passwd.lock"}
    wants = "etc/systemd/system/sockets.target.wants"
    links = {wants, "usr/local/lib/schedtui/current", *(f"{wants}/{unit}" for unit in UNITS)}
    for path in brought - users - links:
        assert any(f"/{path}" == each or each.startswith(f"/{path}/") for each in named), path
    assert set(copy["files"]) <= {each.removeprefix(f"{copy['target'][1:]}/") for each in brought}


def test_the_user_who_called_sudo_may_use_it_and_nobody_else(there: Targets) -> None:
    assert tomllib.loads(there.config.read_text())["allow"] == [PEOPLE]


def test_everything_is_roots_but_the_folder_that_the_verifier_writes_in(there: Targets) -> None:
    for path in (there.home, there.config.parent, there.state, there.units):
        for each in (path, *path.rglob("*")):
            found = each.lstat()
            assert (found.st_uid == 0) == (each != there.verify), each
            assert stat.S_ISLNK(found.st_mode) or not found.st_mode & 0o022, each
    assert stat.S_IMODE(there.tokens.stat().st_mode) == 0o700
    assert stat.S_IMODE(there.verify.stat().st_mode) == 0o700


def test_the_copy_holds_the_backend_and_what_it_needs_and_no_screen_or_model(there: Targets) -> None:
    package = there.current / "lib" / "schedtui"
    assert {each.name for each in (there.current / "lib").iterdir()} == {"elftools", "msgspec", "schedtui"}
    assert (package / "_shipped" / "library" / "fair" / "policy.toml").is_file()
    assert not any((package / each).exists() for each in ("app.py", "screens", "agent", "widgets", "cli.py"))


def test_all_that_the_copy_imports_is_in_it(there: Targets) -> None:
    library = there.current / "lib"
    lacking = set()
    for path in (library / "schedtui" / "backend").rglob("*.py"):
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("schedtui"):
                module = library / str(each.module).replace(".", "/")
                lacking |= {str(each.module)} if not (module.is_dir() or module.with_suffix(".py").is_file()) else set()
    assert lacking == set()


def test_doing_it_again_changes_nothing(targets: Targets) -> None:
    installed(targets)
    before = everything(targets.root)
    told = installed(targets)
    assert {each["state"] for each in told["changes"]} == {"same"}
    assert everything(targets.root) == before


def test_what_an_administrator_wrote_into_the_configuration_stays(targets: Targets) -> None:
    targets.config.parent.mkdir(parents=True)
    targets.config.write_text("# mine\nallow = [1234]\n\n[panic]\nhotkey = true\n")
    installed(targets)
    text = targets.config.read_text()
    assert "# mine" in text
    assert tomllib.loads(text) == {"allow": [1234, PEOPLE], "panic": {"hotkey": True}}


@pytest.mark.soak
@pytest.mark.parametrize("text", ["allow = [", "allow = 'everybody'", "allow = ['alice']"])
def test_a_configuration_that_makes_no_sense_is_told_and_left_alone(targets: Targets, text: str) -> None:
    targets.config.parent.mkdir(parents=True)
    targets.config.write_text(text)
    before = everything(targets.root)
    assert setup(targets, code=1)["error"]["kind"] == "bad-file"
    assert everything(targets.root) == before


@pytest.mark.soak
def test_a_damaged_copy_is_made_again(targets: Targets) -> None:
    installed(targets)
    (targets.current / "lib" / "schedtui" / "paths.py").write_text("damaged")
    (targets.current / "lib" / "schedtui" / "added.py").write_text("more")
    told = installed(targets)
    assert [each["state"] for each in told["changes"] if each["kind"] == "copy"] == ["changed"]
    assert "damaged" not in (targets.current / "lib" / "schedtui" / "paths.py").read_text()
    assert not (targets.current / "lib" / "schedtui" / "added.py").exists()


def test_a_link_that_waits_at_a_destination_is_replaced_and_not_followed(targets: Targets) -> None:
    victim = targets.root / "victim"
    victim.write_text("untouched")
    unit = targets.units / UNITS[0]
    unit.symlink_to(victim)
    installed(targets)
    assert victim.read_text() == "untouched"
    assert not unit.is_symlink()


def test_a_configuration_that_is_a_link_is_not_read(targets: Targets) -> None:
    secret = targets.root / "secret"
    secret.write_text("allow = [4242]")
    targets.config.parent.mkdir(parents=True)
    targets.config.symlink_to(secret)
    assert setup(targets, code=1)["error"]["kind"] == "bad-file"


@pytest.mark.parametrize("folder", ["usr/local/lib", "etc/systemd/system", "var/lib"])
def test_nothing_is_installed_where_others_can_write(targets: Targets, folder: str) -> None:
    (targets.root / folder).chmod(0o777)
    before = everything(targets.root)
    error = setup(targets, code=1)["error"]
    assert error["kind"] == "not-permitted"
    assert folder in error["message"]
    assert everything(targets.root) == before


def test_a_full_disk_leaves_everything_as_it_was(targets: Targets) -> None:
    library = targets.root / "usr" / "local" / "lib"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", library], check=True)
    try:
        before = everything(targets.root)
        error = setup(targets, "--no-machine", code=1)["error"]
        assert "No space left" in error["message"] + error["details"]
        assert everything(targets.root) == before
    finally:
        subprocess.run(["umount", library], check=True)


@pytest.mark.soak
def test_an_update_that_fails_leaves_the_installation_that_was_there(targets: Targets) -> None:
    installed(targets)
    setup(targets, "--no-machine", "--user", "nobody")
    unit = targets.units / UNITS[1]
    unit.write_text("as it was")
    (targets.units / UNITS[3]).unlink()
    (targets.units / f".{UNITS[3]}.schedtui-new").mkdir()  # in the way of the last file
    before = everything(targets.root)
    assert "taken back" in setup(targets, "--no-machine", code=1)["error"]["message"]
    assert everything(targets.root) == before


def test_a_signal_takes_back_what_was_done(targets: Targets) -> None:
    before = everything(targets.root)
    process = subprocess.Popen(command(targets, "--no-machine"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: any(targets.home.glob(".new-*/lib")), 120)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 143
    assert b"Traceback" not in said
    assert everything(targets.root) == before


def test_after_kill_9_it_is_said_and_setup_finishes_it(targets: Targets) -> None:
    process = subprocess.Popen(command(targets, "--no-machine"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(lambda: any(targets.home.glob(".new-*/lib")), 120)
    process.kill()
    process.wait()
    assert state(targets).unfinished
    assert not state(targets).installed
    assert state(targets).command == "sudo schedtui setup"
    installed(targets)
    assert state(targets).installed
    assert not state(targets).unfinished
    assert not list(targets.home.glob(".new-*"))


def test_removing_takes_all_of_it_away(targets: Targets) -> None:
    before = everything(targets.root)
    installed(targets)
    (targets.tokens / "one.json").write_text("{}")
    (targets.state / "key").write_text("key")
    targets.run.mkdir()
    (targets.run / "latch").write_text("")
    told = setup(targets, "--remove")
    assert "user schedtui-verify" in told["removed"]
    left = everything(targets.root)
    assert {each: left[each] for each in before} == before
    assert set(left) - set(before) <= {"etc/systemd/system/sockets.target.wants"}


@pytest.mark.parametrize("used", [False, True])
def test_the_sockets_of_dead_schedulers_go_too_and_living_ones_stay(targets: Targets, used: bool) -> None:
    folder = targets.under("/run/scx") / "root"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(folder):  # a socket's path may not be long
        listening.bind("stats")
        if used:
            listening.listen()
            remove(targets)
    if not used:
        remove(targets)
    assert (folder / "stats").exists() == folder.parent.exists() == used


@pytest.mark.soak
def test_removing_what_was_killed_half_way_leaves_nothing(targets: Targets) -> None:
    before = everything(targets.root)
    process = subprocess.Popen(command(targets, "--no-machine"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(lambda: any(targets.home.glob(".new-*/lib")), 120)
    process.kill()
    process.wait()
    setup(targets, "--remove")
    assert everything(targets.root) == before
    assert setup(targets, "--remove")["removed"] == []


def test_what_would_be_removed_is_said_before(there: Targets) -> None:
    before = everything(there.root)
    told = setup(there, "--remove", "--dry-run")
    assert {"/etc/schedtui", "/usr/local/lib/schedtui", "/var/lib/schedtui", "user schedtui-verify"} <= set(
        told["removed"]
    )
    assert everything(there.root) == before


def test_only_root_installs_and_the_command_for_it_is_said(targets: Targets, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin")
    assert python
    done = subprocess.run(
        [python, "-c", _RUN, ":".join(map(str, _imports())), "setup"],
        capture_output=True,
        text=True,
        user=65534,
        group=65534,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        cwd="/",
    )
    assert "Only root can do this." in done.stderr, done.stderr
    assert "schedtui setup" in done.stderr


def _imports() -> list[Path]:
    import click
    import msgspec

    import schedtui

    return [Path(str(each.__file__)).parents[1] for each in (schedtui, click, msgspec)]
