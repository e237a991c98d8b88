"""The doctor's lines about this computer's own scheduler: kernel, BTF, helper, who put it there, scx programs, bcc.

Reads only; without root, without a network. What the lab needs is ``doctor``'s.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from schedtui.backend.apt import distribution
from schedtui.backend.errors import MissingTool
from schedtui.backend.library.catalogue import Library
from schedtui.backend.library.external import Installed, find_binary
from schedtui.backend.model import Check, Policy
from schedtui.backend.probes.deep import find_bcc
from schedtui.backend.probes.owner import find_owner
from schedtui.backend.probes.scheduler import read_scheduler
from schedtui.backend.setup.state import state
from schedtui.backend.setup.targets import Targets

FIRST_KERNEL = (6, 12)
"""The first Linux with sched_ext."""
_LAB = "Try everything in the lab: schedtui --machine lab"
_BTF = Path("/sys/kernel/btf/vmlinux")
_OTHERS = "other schedulers on this computer"

Asked = dict[str, "Future[Installed | None]"]
"""External schedulers by their program's name, and what each will have said of itself."""


def ask_programs(library: Library, pool: ThreadPoolExecutor) -> Asked:
    """Begin to ask every external scheduler that the library knows for its version; each takes some tens of ms."""
    policies: dict[str, Policy] = {each.binary: each for each in library.policies.values() if each.binary}
    return {binary: pool.submit(find_binary, policy) for binary, policy in policies.items()}


def kernel() -> Iterator[Check]:
    """Which Linux this is, and whether it can change its scheduler."""
    release = os.uname().release
    numbers = re.match(r"(\d+)\.(\d+)", release)
    young = numbers is not None and tuple(map(int, numbers.groups())) >= FIRST_KERNEL
    yield Check(
        name="kernel",
        ok=young,
        state=f"Linux {release}, {platform.machine()}",
        remedy="" if young else f"Install your distribution's Linux 6.12 or newer. {_LAB}",
        needed_for=_OTHERS,
    )
    supported = read_scheduler().sched_ext != "unsupported"
    yield Check(
        name="sched_ext",
        ok=supported,
        state="built in" if supported else "this kernel was built without it",
        remedy="" if supported else _LAB,
        needed_for=_OTHERS,
    )
    described = os.access(_BTF, os.R_OK)
    yield Check(
        name="BTF",
        ok=described,
        state=f"the kernel describes its types in {_BTF}" if described else f"{_BTF} is not there or not readable",
        remedy="" if described else f"Use a kernel built with CONFIG_DEBUG_INFO_BTF. {_LAB}",
        needed_for="loading one compiled policy on any kernel",
    )


def programs(asked: Asked) -> Iterator[Check]:
    """The external schedulers that are installed, with their versions; one line when there is none."""
    found = {binary: installed for binary, future in asked.items() if (installed := future.result())}
    if not found:
        yield Check(
            name="scx programs",
            ok=False,
            state="none is installed",
            remedy=_install_programs(),
            needed_for="presets that prefer scx_bpfland, scx_lavd and their kin",
        )
    for binary, installed in sorted(found.items()):
        yield _program(binary, installed)


def _install_programs() -> str:
    family = {distribution().id, *distribution().like}
    if "arch" in family:
        return "sudo pacman -S --needed scx-scheds"
    if family & {"fedora", "rhel"}:
        return "sudo dnf install scx-scheds"
    return "cargo install scx_bpfland (good for the lab)"


def _program(binary: str, installed: Installed) -> Check:
    version = installed.version or "of unknown version"
    where = f"{version}, {installed.path}"
    needed_for = "presets that prefer it"
    if installed.problem:
        remedy = "Install it again"
        return Check(name=binary, ok=False, state=f"{where}: {installed.problem}", remedy=remedy, needed_for=needed_for)
    if installed.lab_only:
        where += "; for the lab only, because others than root can change that file"
    return Check(name=binary, ok=True, state=where, needed_for=needed_for)


def bcc() -> Check:
    """Whether the deep dives work here."""
    needed_for = "deep dives: schedtui probe (without it nothing else suffers)"
    try:
        package = find_bcc()
    except MissingTool as error:
        return Check(name="bcc", ok=False, state=error.message, remedy=error.remedy, needed_for=needed_for)
    return Check(name="bcc", ok=True, state=f"{package}; it needs no kernel headers", needed_for=needed_for)


def helper(targets: Targets | None = None) -> Check:
    """Whether the privileged helper is there, answers, and is of this version; else the one command and its effect."""
    found = state(targets)
    version = f" ({found.version.rpartition('-')[0]})" if found.same_version else ""
    usable = read_scheduler().sched_ext != "unsupported"
    return Check(
        name="helper",
        ok=found.running and not found.command,
        state=f"{found.text}{version}",
        remedy=found.command if usable or not found.command else _LAB,
        changes=found.changes if usable else "",
        needed_for=_OTHERS,
    )


def owner() -> Check:
    """Which scheduler runs now, and who put it there."""
    scheduler = read_scheduler()
    if scheduler.owner == "kernel":
        words = f"{scheduler.name}, the kernel's own"
    else:
        words = f"{scheduler.name}, started by {find_owner(scheduler.name).words}"
    return Check(name="owner", ok=True, state=words, needed_for="knowing who decides")
