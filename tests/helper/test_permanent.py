"""“Make it permanent”: what is written for scx_loader or scx.service, shown before, and put back exactly."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile, BadTunable, MissingTool, NotPermitted
from schedtui.backend.helper.permanent import Permanent, edit_loader_config, edit_service_config
from schedtui.backend.probes.scx_loader import Bus
from tests.probes.trees import write

EXAMPLE = """# This field specifies the scheduler that will be started automatically
#default_sched = "scx_cosmos"

# … and its mode
default_mode = "Auto"  # as it came

[scheds.scx_bpfland]
auto_mode = ["-m", "auto"]
server_mode = ["-s", "20000"]

[scheds.'scx_lavd']
gaming_mode = ["--performance"]
"""
SERVICE = """# List of scx_schedulers: scx_bpfland scx_lavd
SCX_SCHEDULER=scx_cosmos

# Set custom flags for each scheduler
#SCX_FLAGS='-s 700 -S'
"""
UNIT = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"


@pytest.fixture
def permanent(tmp_path: Path) -> Permanent:
    """A computer without anything; its systemd can be asked, though it does not run."""
    (tmp_path / "state").mkdir()
    nobody = Bus(f"unix:path={tmp_path}/nothing")
    return Permanent(tmp_path / "state", root=tmp_path, bus=nobody, scope=(f"--root={tmp_path}",))


def install(root: Path, unit: str) -> None:
    write(root, {f"usr/lib/systemd/system/{unit}": UNIT})


def enabled(root: Path, unit: str) -> bool:
    return (root / "etc/systemd/system/multi-user.target.wants" / unit).is_symlink()


def test_the_default_of_scx_loader_is_set_and_every_comment_stays() -> None:
    edited = edit_loader_config(EXAMPLE, "scx_lavd", "gaming", None)
    assert edited == EXAMPLE.replace(
        '#default_sched = "scx_cosmos"\n', '#default_sched = "scx_cosmos"\ndefault_sched = "scx_lavd"\n'
    ).replace('default_mode = "Auto"  # as it came', 'default_mode = "Gaming"  # as it came')


def test_flags_of_a_mode_are_set_in_the_schedulers_own_table() -> None:
    edited = edit_loader_config(EXAMPLE, "scx_lavd", "gaming", ["--autopilot", "-s", "500"])
    assert '[scheds.\'scx_lavd\']\ngaming_mode = ["--autopilot", "-s", "500"]\n' in edited
    other = edit_loader_config(EXAMPLE, "scx_bpfland", "gaming", ["-m", "all"])
    assert '[scheds.scx_bpfland]\ngaming_mode = ["-m", "all"]\nauto_mode' in other
    new = edit_loader_config(EXAMPLE.rstrip(), "scx_flash", "auto", [])
    assert new.endswith('gaming_mode = ["--performance"]\n\n[scheds.scx_flash]\nauto_mode = []\n')


@pytest.mark.parametrize("text", ["", "# only a comment", 'scheds = {}\ndefault_mode = "Server"'])
def test_a_configuration_of_almost_nothing_gets_what_was_wanted(text: str) -> None:
    read = tomllib.loads(edit_loader_config(text, "scx_rusty", "lowlatency", None))
    assert (read["default_sched"], read["default_mode"]) == ("scx_rusty", "LowLatency")


@pytest.mark.parametrize(
    "text",
    [
        'default_sched = """\nscx_lavd"""\n',
        '[scheds]\nscx_lavd = { gaming_mode = ["-a"] }\n',
        '[scheds.scx_lavd]\ngaming_mode = [\n  "-a",\n]\n',
        "scheds = 3\n",
        '"default_sched" = "scx_rusty"\n',
    ],
    ids=["multi-line", "inline table", "array over lines", "no table", "quoted key"],
)
def test_what_a_change_by_lines_does_not_fit_is_left_alone(text: str) -> None:
    with pytest.raises(BadFile):
        edit_loader_config(text, "scx_lavd", "gaming", ["-b"])


def test_a_damaged_configuration_is_left_alone() -> None:
    with pytest.raises(BadFile, match="damaged"):
        edit_loader_config("default_sched = scx_lavd", "scx_lavd", "gaming", None)


def test_scx_services_file_gets_scheduler_and_flags_and_every_comment_stays() -> None:
    edited = edit_service_config(SERVICE, "scx_bpfland", ["-m", "all"])
    assert edited == SERVICE.replace("SCX_SCHEDULER=scx_cosmos", "SCX_SCHEDULER=scx_bpfland") + "SCX_FLAGS='-m all'\n"
    assert edit_service_config("", "scx_lavd", []) == "SCX_FLAGS=''\nSCX_SCHEDULER=scx_lavd\n"


@pytest.mark.slow
def test_it_is_shown_then_written_then_put_back_exactly(tmp_path: Path, permanent: Permanent) -> None:
    install(tmp_path, "scx_loader.service")
    write(tmp_path, {"etc/scx_loader.toml": EXAMPLE})
    file = tmp_path / "etc/scx_loader.toml"
    file.chmod(0o640)
    shown = permanent.preview("scx_lavd", "gaming")
    assert '+default_sched = "scx_lavd"\n' in shown.diff
    assert (
        shown.words
        == "scx_loader starts scx_lavd in gaming mode with the computer, once scx_loader.service is enabled."
    )
    assert file.read_text() == EXAMPLE
    assert permanent.write("scx_lavd", "gaming").done
    assert tomllib.loads(file.read_text())["default_sched"] == "scx_lavd"
    assert (enabled(tmp_path, "scx_loader.service"), file.stat().st_mode & 0o777) == (True, 0o640)
    assert permanent.preview("scx_lavd", "gaming").diff == ""
    assert permanent.undo().done
    assert (file.read_text(), file.stat().st_mode & 0o777) == (EXAMPLE, 0o640)
    assert not enabled(tmp_path, "scx_loader.service")


def test_a_new_file_begins_with_the_distributions_example_and_undo_takes_it_away(
    tmp_path: Path, permanent: Permanent
) -> None:
    install(tmp_path, "scx_loader.service")
    write(tmp_path, {"usr/share/scx_loader/config.toml": EXAMPLE})
    permanent.write("scx_bpfland", "server")
    file = tmp_path / "etc/scx_loader/config.toml"
    assert file.read_text().startswith(EXAMPLE.splitlines()[0])
    permanent.undo()
    assert not file.exists()


def test_without_scx_loader_scx_services_file_is_written(tmp_path: Path, permanent: Permanent) -> None:
    install(tmp_path, "scx.service")
    write(tmp_path, {"etc/default/scx": SERVICE})
    assert permanent.write("scx_bpfland", "gaming", ["-m", "all"]).path == "/etc/default/scx"
    said = subprocess.run(
        ["sh", "-c", f'. {tmp_path}/etc/default/scx; echo "$SCX_SCHEDULER $SCX_FLAGS"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "scx_bpfland -m all\n"


def test_what_somebody_changed_since_is_not_put_back(tmp_path: Path, permanent: Permanent) -> None:
    install(tmp_path, "scx.service")
    permanent.write("scx_bpfland", "auto", [])
    write(tmp_path, {"etc/default/scx": "SCX_SCHEDULER=scx_lavd\n"})
    with pytest.raises(NotPermitted, match="changed by somebody else"):
        permanent.undo()
    assert (tmp_path / "etc/default/scx").read_text() == "SCX_SCHEDULER=scx_lavd\n"


def test_where_nothing_starts_schedulers_it_says_what_else_there_is(permanent: Permanent) -> None:
    with pytest.raises(MissingTool) as raised:
        permanent.preview("scx_lavd", "gaming")
    assert "watch --print-unit" in raised.value.remedy
    with pytest.raises(NotPermitted, match="Nothing was made permanent"):
        permanent.undo()


@pytest.mark.parametrize("flag", ["; rm -rf /", "$(reboot)", 'a"', "x\ny", "", "a b", "`id`", "é"])
def test_no_flag_can_say_more_than_a_flag(tmp_path: Path, permanent: Permanent, flag: str) -> None:
    install(tmp_path, "scx.service")
    with pytest.raises(BadTunable):
        permanent.write("scx_lavd", "gaming", [flag])
    assert not (tmp_path / "etc/default/scx").exists()


@pytest.mark.parametrize("program", ["/bin/sh", "scx_lavd;id", "scx_", "lavd", "scx_../x", 'scx_a"'])
def test_no_name_can_be_more_than_a_schedulers(tmp_path: Path, permanent: Permanent, program: str) -> None:
    install(tmp_path, "scx.service")
    with pytest.raises(BadTunable):
        permanent.write(program, "gaming", [])


def test_a_scheduler_that_scx_loader_does_not_know_is_not_written(tmp_path: Path, permanent: Permanent) -> None:
    install(tmp_path, "scx_loader.service")
    with pytest.raises(BadTunable, match="does not know scx_layered"):
        permanent.write("scx_layered", "auto")


def test_a_link_is_somebody_elses_and_left_alone(tmp_path: Path, permanent: Permanent) -> None:
    install(tmp_path, "scx.service")
    write(tmp_path, {"store/scx": SERVICE})
    (tmp_path / "etc/default").mkdir(parents=True)
    (tmp_path / "etc/default/scx").symlink_to(tmp_path / "store/scx")
    with pytest.raises(BadFile, match="is a link"):
        permanent.write("scx_lavd", "auto", [])
    assert (tmp_path / "store/scx").read_text() == SERVICE


def test_when_the_copy_cannot_be_kept_nothing_is_changed(tmp_path: Path, permanent: Permanent) -> None:
    install(tmp_path, "scx.service")
    write(tmp_path, {"etc/default/scx": SERVICE})
    (tmp_path / "state").rmdir()
    (tmp_path / "state").write_text("")
    with pytest.raises(Exception, match="nothing was changed"):
        permanent.write("scx_lavd", "auto", [])
    assert (tmp_path / "etc/default/scx").read_text() == SERVICE
