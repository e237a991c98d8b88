"""A desktop whose scheduler scx_loader runs: the real scx_loader, polkit and D-Bus, on a real kernel, one story."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DEFAULT, kernel_image, until
from tests.host.desktop import ROOT, DesktopGuest
from tests.schedulers import built

pytestmark = [pytest.mark.lab, pytest.mark.soak]

BUS = b"""\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow send_type="method_call"/>
    <allow receive_type="method_call"/> <allow receive_type="method_return"/>
    <allow receive_type="error"/> <allow receive_type="signal"/>
  </policy>
</busconfig>
"""
ACTION = b"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1.0/policyconfig.dtd">
<policyconfig>
  <action id="org.scx.loader.manage-schedulers">
    <description>Manage schedulers</description>
    <message>Who are you?</message>
    <defaults><allow_any>no</allow_any><allow_inactive>no</allow_inactive><allow_active>no</allow_active></defaults>
  </action>
</policyconfig>
"""
BEGIN = """
mkdir -p /var /run/dbus /usr/share/polkit-1/rules.d /etc/polkit-1/rules.d
ln -sfn /run /var/run
mkdir -m 700 -p /var/lib/polkit-1
echo 'polkitd:x:991:991:polkit:/nonexistent:/bin/false' >> /etc/passwd
echo 'polkitd:x:991:' >> /etc/group
"""
LOADER = "org.scx.Loader"
CALL = ("busctl", "--system", "--", "call", LOADER, "/org/scx/Loader", LOADER)


@pytest.fixture(scope="module")
def desktop() -> Iterator[DesktopGuest]:
    image = kernel_image(DEFAULT)
    with DesktopGuest(image) as guest:
        for program in (
            Path("/usr/bin/dbus-daemon"),
            Path("/usr/bin/busctl"),
            built("scx_loader"),
            built("scx_bpfland"),
        ):
            guest.install(program)
        guest.install(Path("/usr/lib/polkit-1/polkitd"), "/usr/lib/polkit-1")
        guest.run_as_root(["sh", "-c", BEGIN]).good()
        guest.write("/etc/bus.conf", BUS)
        guest.write("/usr/share/polkit-1/actions/org.scx.Loader.policy", ACTION)
        guest.write(f"/boot/config-{image.parent.name}", (image.parent / "config").read_bytes())
        guest.start(["dbus-daemon", "--config-file=/etc/bus.conf", "--nofork"], uid=ROOT)
        assert until(lambda: guest.exists("/run/dbus/system_bus_socket"))
        guest.start(["/usr/lib/polkit-1/polkitd", "--no-debug"], uid=ROOT)
        guest.start(["scx_loader"], uid=ROOT)
        assert until(lambda: LOADER in guest.run_as_root(["busctl", "--system", "list"]).output)
        yield guest


def test_it_says_that_scx_loader_runs_it_and_in_which_mode(desktop: DesktopGuest) -> None:
    desktop.run_as_root([*CALL, "SwitchScheduler", "su", "scx_bpfland", "1"]).good()
    assert until(lambda: desktop.ops.startswith("bpfland"), 60)
    told = desktop.schedtui("owner").good().output
    assert ", started by scx_loader in gaming mode (scx_bpfland -m all).\n" in told
    assert desktop.schedtui("status", "--json").good().data["owner"].startswith("scx_loader")


def test_without_the_helper_nothing_is_taken_over(desktop: DesktopGuest) -> None:
    refused = desktop.schedtui("owner", "take-over")
    assert refused.code == 1
    assert "needs schedtui's helper" in refused.errors
    assert desktop.ops.startswith("bpfland")


def test_with_the_helper_it_is_taken_over_and_given_back_as_it_was(desktop: DesktopGuest) -> None:
    desktop.start_helper("--allow", "1000")
    taken = desktop.schedtui("owner", "take-over", "--json").good().data
    assert taken["told"] == ["scx_loader was stopped; it ran scx_bpfland in gaming mode"]
    assert desktop.state == "disabled"
    desktop.kill_helper()
    desktop.start_helper("--allow", "1000")
    back = desktop.schedtui("owner", "give-back", "--json").good().data
    assert back["told"] == ["scx_loader runs scx_bpfland in gaming mode again"]
    assert until(lambda: desktop.ops.startswith("bpfland"), 60)


def test_panic_stops_scx_loader_which_would_start_it_again(desktop: DesktopGuest) -> None:
    desktop.schedtui("panic").good()
    assert desktop.state == "disabled"
    loader = desktop.schedtui("owner", "--json").good().data
    assert (loader["others"][0]["runs"], loader["taken_over"][0]["runs"]) == ("", "scx_bpfland")


def test_a_shell_is_named_as_the_owner(desktop: DesktopGuest) -> None:
    shell = desktop.start(["sh", "-c", "scx_bpfland -m performance; true"], uid=ROOT)
    assert until(lambda: desktop.ops.startswith("bpfland"), 60), shell.text
    told = desktop.schedtui("owner").good().output
    assert ", started by root, in a shell (scx_bpfland -m performance).\n" in told
