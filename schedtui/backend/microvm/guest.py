"""A guest that answers: QEMU plus the helper's client, booted cold or restored from a snapshot."""

from __future__ import annotations

import re
import time
from pathlib import Path

from schedtui.backend.errors import HelperGone, KernelUnsuitable, LabFailed, SchedtuiError
from schedtui.backend.helper.client import HelperClient
from schedtui.backend.helper.protocol import Reply
from schedtui.backend.microvm.qemu import GuestConfig, Qemu

_READY = "SCHEDTUI AGENT READY ON "
_FAILED = "SCHEDTUI AGENT FAILED: "
_CLOCK_WRONG = "SCHEDTUI CLOCK WRONG: "
_TIMER_LATE = "8254 timer not connected to IO-APIC"
"""What the kernel says, and often ends with, when the emulator came too seldom to run while it looked for its timer."""
EMULATORS_OOPS = "int3: 0000 ["
"""QEMU without KVM may run a stale breakpoint while the kernel patches its own code, as it does at each load."""
_PANIC = "Kernel panic"
LINES_TOLD = 100
"""Of a guest's console: a panic takes up to 45 lines, and an oops before it as many."""
_SINCE_BOOT = re.compile(r"^\[ *\d+\.\d+\] ")


class ClockWrong(LabFailed):
    """The guest's kernel measured its clock wrongly while it booted, because this computer was too busy."""


class Guest:
    """Owns a QEMU process and the connection to the helper in it; ``close`` ends both."""

    def __init__(self, qemu: Qemu, port: str) -> None:
        self.qemu = qemu
        self.port = port
        self.client = HelperClient(qemu.agent if port == "virtio" else qemu.serial)

    def greet(self, timeout_s: float = 15) -> Reply:
        """Wait for the helper's answer to a hello; gives the guest the time of day. Raises LabFailed, HelperGone."""
        return self.client.hello(timeout_s)

    def lost(self) -> LabFailed:
        """What is to be said of a guest that ended by itself; the last lines of its kernel are the details."""
        console = self.qemu.last_console()
        if EMULATORS_OOPS in console:
            why = "The emulator made the lab's kernel stop, as it does once in a great while; no scheduler is to blame."
        elif _PANIC in console:
            why = f"The lab's kernel stopped{_last_words(console)}."
        else:
            why = "The lab's machine ended unexpectedly."
        lines = [each.rstrip() for each in console.splitlines() if each.strip()]
        return LabFailed(why, "Press m to open a fresh one; it takes a second.", "\n".join(lines[-LINES_TOLD:]))

    def close(self) -> None:
        """End the guest; nothing of it is left."""
        self.client.close()
        self.qemu.quit()


def wait_for_agent(qemu: Qemu, limit_s: float) -> str:
    """Wait until a booting guest's helper listens; returns its port: 'virtio' or a serial device.

    Raises LabFailed with the guest's last words, ClockWrong when it is of no use, and KernelUnsuitable when the kernel
    cannot run the helper.
    """
    deadline = time.monotonic() + limit_s
    while True:
        console = qemu.console
        if (at := console.find(_READY)) >= 0 and "\n" in console[at:]:
            if _CLOCK_WRONG in console:
                raise _clock_wrong()
            return console[at + len(_READY) :].split()[0]
        if (at := console.find(_FAILED)) >= 0 and "\n" in console[at:]:
            reason = console[at + len(_FAILED) :].splitlines()[0].strip()
            raise KernelUnsuitable(
                f"The lab's helper cannot work on this kernel: {reason}.", "Choose another kernel image.", console
            )
        if _TIMER_LATE in console:
            raise _clock_wrong()
        if not qemu.alive() or _PANIC in console:
            raise LabFailed(
                f"The guest stopped while booting{_last_words(console)}.",
                "Choose another kernel: schedtui lab kernels",
                console,
            )
        if time.monotonic() > deadline:
            raise LabFailed(
                f"The guest did not come up within {limit_s:.0f} s{_last_words(console)}.",
                "Choose another kernel, or fewer CPUs: schedtui lab kernels",
                console,
            )
        time.sleep(0.03)


def _clock_wrong() -> ClockWrong:
    return ClockWrong(
        "This computer is so busy that the guest's kernel cannot measure its clock.", "Try again when less runs here."
    )


def restore(config: GuestConfig, snapshot: Path, port: str) -> tuple[Guest, Reply]:
    """A running guest from a saved one, and its helper's answer. Raises LabFailed when the snapshot is damaged."""
    qemu = Qemu(config, incoming=snapshot)
    try:
        qemu.resume()
        guest = Guest(qemu, port)
    except SchedtuiError:
        qemu.quit()
        raise
    try:
        return guest, guest.greet()
    except HelperGone as error:
        guest.close()
        raise LabFailed(f"The restored guest does not answer: {error.message}", "") from error
    except SchedtuiError:
        guest.close()
        raise


def _last_words(console: str) -> str:
    lines = [_SINCE_BOOT.sub("", line.strip()) for line in console.splitlines() if line.strip()]
    panic = [line for line in lines if _PANIC in line]
    last = (panic or lines)[-1:]
    return f" (it said: {last[0][:160]})" if last else ""
