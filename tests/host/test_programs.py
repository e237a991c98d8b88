"""An external scheduler on a desktop: root's own program, proven by the helper, started and ended by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schedtui.backend.microvm.image import find_busybox
from tests.conftest import DEFAULT, kernel_image, until
from tests.host.desktop import DesktopGuest
from tests.schedulers import built

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.matrix]
NAME = "scx_bpfland"


@pytest.fixture(scope="module")
def desktop() -> Iterator[DesktopGuest]:
    with DesktopGuest() as guest:
        release = guest.run_as_root(["uname", "-r"]).good().output.strip()
        guest.write(f"/boot/config-{release}", kernel_image(DEFAULT).with_name("config").read_bytes())
        guest.start_verifier()
        guest.start_helper("--allow", "1000")
        yield guest


def test_one_in_a_folder_that_the_user_can_write_is_for_the_lab_only(desktop: DesktopGuest) -> None:
    desktop.run_as_root(["mkdir", "-p", "/home/bin"]).good()
    place = desktop.install(built(NAME), "/home/bin")
    desktop.run_as_root(["chown", "1000", "/home/bin", place]).good()
    refused = desktop.schedtui("apply", NAME, "--for", "1s", env={"SCHEDTUI_SCX": "/home/bin"})
    assert refused.code == 1
    assert "somebody else than root could change" in refused.errors
    assert desktop.ops == ""


def test_roots_own_is_proven_by_running_it_and_then_runs(desktop: DesktopGuest) -> None:
    desktop.install(built(NAME))
    done = desktop.schedtui("apply", NAME, "--for", "2s", "--json", timeout_s=400).good()
    assert done.data["policy"] == NAME
    assert desktop.ops == ""


def test_it_dies_with_the_helper(desktop: DesktopGuest) -> None:
    job = desktop.start(["apply", NAME, "--for", "60s"], loaded=True)
    assert until(lambda: desktop.ops.startswith("bpfland"), 90), job.errors
    desktop.kill_helper()
    assert until(lambda: desktop.ops == "", 20)
    assert until(lambda: not desktop.run_as_root(["pidof", NAME]).output.strip(), 10)
    job.wait(60)
    desktop.start_helper("--allow", "1000")


def test_another_file_in_its_place_is_proven_anew_and_not_believed(desktop: DesktopGuest) -> None:
    another = find_busybox()
    assert another is not None
    desktop.write(f"/usr/bin/{NAME}", another.read_bytes(), mode=0o755)
    refused = desktop.schedtui("apply", NAME, "--set", "slice-us=900", "--for", "1s", timeout_s=400)
    assert refused.code == 1
    assert desktop.ops == ""
