"""The lab guest's keyboard: the driver that hands its keys to programs, and keys that are really pressed."""

from __future__ import annotations

import base64
import lzma

from schedtui.backend.lab import LabMachine
from schedtui.backend.microvm.kernels import fetch_kernel
from tests.conftest import DEFAULT, kernel_image, quiet

MODULE = "evdev.ko.xz"
_INSERT = """
import base64, ctypes, lzma, os, sys, time
open("/tmp/evdev.ko", "wb").write(lzma.decompress(base64.b64decode(sys.argv[1])))
module = os.open("/tmp/evdev.ko", os.O_RDONLY)
assert ctypes.CDLL(None, use_errno=True).syscall(313, module, b"", 0) == 0, ctypes.get_errno()
while not os.path.exists("/dev/input/event0"):
    time.sleep(0.05)
"""


def plug_in(lab: LabMachine) -> None:
    """Debian's cloud kernels have the driver of event devices as a module; the kernel's package brings it."""
    module = kernel_image(DEFAULT).parent / MODULE
    if not module.exists():
        fetch_kernel(DEFAULT, quiet, renew=True)
    driver = base64.b64encode(lzma.compress(lzma.decompress(module.read_bytes()))).decode()
    ended = lab.run(["python3", "-c", _INSERT, driver], 60)
    assert ended.exit_code == 0, ended.output


def press(lab: LabMachine, *keys: str) -> None:
    """Hold these keys of the guest's keyboard down together for a tenth of a second; QEMU's names of them."""
    lab.guest.qemu.command("send-key", keys=[{"type": "qcode", "data": each} for each in keys])
