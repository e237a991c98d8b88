"""What systemd and polkit are told: correct, pointing at nobody's home, and with a reason for each option left out."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from schedtui.backend.setup.targets import UNITS, WATCHED, Targets
from schedtui.backend.setup.units import (
    LEFT_OUT_OF_THE_HELPER,
    LEFT_OUT_OF_THE_VERIFIER,
    polkit_actions,
    unit_files,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "HOST.md"
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
HARDENING = (
    *(
        "NoNewPrivileges",
        "ProtectSystem",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateNetwork",
        "PrivateIPC",
    ),
    *("PrivateUsers", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups"),
    *("ProtectClock", "ProtectHostname", "ProtectProc", "ProcSubset", "RestrictAddressFamilies", "RestrictNamespaces"),
    *("RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute", "SystemCallFilter"),
    *("SystemCallArchitectures", "CapabilityBoundingSet", "UMask", "User", "RootDirectory", "KeyringMode"),
    *("IPAddressDeny", "DevicePolicy", "MemoryMax"),
)
"""What systemd.exec(5) and systemd.resource-control(5) offer to take from a service."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units as files."""
    for name, text in unit_files("/bin/sh", kvm=True).items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.slow
@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_fault_with_a_unit(folder: Path, name: str) -> None:
    done = subprocess.run(["systemd-analyze", "verify", folder / name], capture_output=True, text=True)
    ours = [each for each in (done.stdout + done.stderr).splitlines() if "schedtui" in each]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.slow
@needs_systemd
@pytest.mark.parametrize(("name", "most"), [("schedtui-helper.service", 4.0), ("schedtui-verify@.service", 1.5)])
def test_systemd_finds_a_service_little_exposed(folder: Path, name: str, most: float) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", folder / name], capture_output=True, text=True
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= most


@pytest.mark.parametrize("name", ["schedtui-helper.service", "schedtui-verify@.service"])
def test_every_way_to_harden_a_service_is_taken_or_has_its_reason(name: str) -> None:
    text = unit_files("/usr/bin/python3", kvm=True)[name]
    set_ones = set(re.findall(r"^(\w+)=", text, re.MULTILINE))
    reasons = "\n".join(re.findall(r"^#   (.*): ", text, re.MULTILINE))
    assert [each for each in HARDENING if each not in set_ones and each not in reasons] == []


@pytest.mark.parametrize("left_out", [LEFT_OUT_OF_THE_HELPER, LEFT_OUT_OF_THE_VERIFIER], ids=["helper", "verifier"])
def test_the_document_gives_the_same_reasons(left_out: tuple[tuple[str, str], ...]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name, why in left_out if f"| {name} | {why} |" not in text] == []


@pytest.mark.parametrize("name", UNITS)
def test_no_unit_points_into_a_home(name: str) -> None:
    text = unit_files("/usr/bin/python3", kvm=True)[name]
    assert not re.search(r"/home|/root|~/|%h|/tmp", text)


def test_the_verifier_can_write_its_own_folder_and_no_other() -> None:
    text = unit_files("/usr/bin/python3", kvm=True)["schedtui-verify@.service"]
    assert re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE) == [str(Targets().verify)]
    assert "ProtectSystem=strict" in text
    assert "StateDirectory" not in text


def test_the_helper_may_write_no_folder_but_its_own_and_what_others_start_schedulers_from() -> None:
    text = unit_files("/usr/bin/python3", kvm=True)["schedtui-helper.service"]
    (written,) = re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE)
    assert set(written.split()) <= {"-/etc/scx_loader", "-/etc/scx_loader.toml", "-/etc/default"}
    assert Targets().state == Path("/var/lib/schedtui")
    assert "StateDirectory=schedtui\n" in text


def test_only_root_reaches_the_verifier() -> None:
    text = unit_files("/usr/bin/python3", kvm=False)["schedtui-verify.socket"]
    assert "SocketMode=0600" in text
    assert "SocketUser=root" in text


def test_while_the_hot_key_is_on_the_helper_starts_with_the_computer() -> None:
    unit = unit_files("/usr/bin/python3", kvm=True)["schedtui-helper.path"]
    assert re.findall(r"^Path\w+=(.*)$", unit, re.MULTILINE) == [str(Targets().hot_key)]
    assert "schedtui-helper.path" in WATCHED


def test_without_a_group_for_kvm_none_is_asked_for() -> None:
    assert "kvm" not in re.findall(
        r"^SupplementaryGroups=(.*)$", unit_files("/bin/sh", kvm=False)["schedtui-verify@.service"], re.MULTILINE
    )


def test_polkit_asks_for_an_administrator_before_generated_code_runs() -> None:
    tree = xml.fromstring(polkit_actions())
    (action,) = tree.findall("action")
    assert action.get("id") == "org.schedtui.load-generated"
    assert {each.text for each in action.findall("defaults/*")} == {"auth_admin"}
