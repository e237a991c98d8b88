"""What works here, what does not, and the one command that mends it. Reads only; no network, no root.

Installing anything is left to ``provision`` and to the user. The lines about this computer's own scheduler come from
``doctor_host``; the one about the model is added by ``schedtui.checkup``, because the backend knows no agent.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from schedtui.backend import doctor_host
from schedtui.backend.errors import MissingTool
from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.microvm.kernels import DEFAULT_SERIES, cached_kernels
from schedtui.backend.model import Check
from schedtui.backend.probes.pressure import PressureProbe
from schedtui.backend.provision import install_command, needs
from schedtui.backend.verifier.sandbox import ALLOW_NAMESPACES, find_bubblewrap, sandbox_refused
from schedtui.paths import cache_dir

SPACE_WANTED = 1 << 30
"""Room for a kernel, a guest image and a snapshot of the lab."""
_PROGRAMS_AT_ONCE = 4
_RICH_TERMINALS = ("truecolor", "24bit")


def examine() -> list[Check]:
    """Look at everything once; under 0.3 s where no external scheduler is slow to tell its version."""
    library = load_library()
    with ThreadPoolExecutor(_PROGRAMS_AT_ONCE) as pool:
        asked = doctor_host.ask_programs(library, pool)
        return [
            *doctor_host.kernel(),
            doctor_host.helper(),
            doctor_host.owner(),
            *doctor_host.programs(asked),
            _pressure(),
            _run_delay(),
            *_lab_tools(),
            *_sandbox(),
            _kvm(),
            _kernels(),
            doctor_host.bcc(),
            *_library(library),
            *_cache(),
            _terminal(),
        ]


def _pressure() -> Check:
    probe = PressureProbe()
    probe.close()
    why = next(iter(probe.missing.values()), "")
    remedy = "Start the kernel with psi=1 on its command line" if "psi=1" in why else ""
    return Check(name="pressure", ok=not why, state=why or "measured", remedy=remedy, needed_for="its panel")


def _run_delay() -> Check:
    try:
        words = Path("/proc/self/schedstat").read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        words = []
    counted = len(words) == 3 and words[0] != "0"
    return Check(
        name="run delay",
        ok=counted,
        state="counted for each task" if counted else "this kernel does not count it; a timer's lateness is shown",
        needed_for="who waits, and latency without privileges",
    )


def _lab_tools() -> Iterator[Check]:
    for need in needs():
        remedy = "" if need.ok else install_command([need])
        name = re.sub(r" \d+(\.\d+)? or newer$|, linked statically$", "", need.name)
        yield Check(name=name, ok=need.ok, state=need.found, remedy=remedy, needed_for=need.needed_for)


def _sandbox() -> Iterator[Check]:
    """That it is installed is said beside the lab's tools; here, whether it works."""
    with contextlib.suppress(MissingTool):
        find_bubblewrap()
        why = sandbox_refused()
        yield Check(
            name="sandbox",
            ok=not why,
            state=why or "works",
            remedy=ALLOW_NAMESPACES if why else "",
            needed_for="compiling policies that others wrote",
        )


def _kvm() -> Check:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        there = Path("/dev/kvm").exists()
        state = "this user may not open /dev/kvm" if there else "there is no /dev/kvm"
        remedy = f"sudo usermod -aG kvm {os.environ.get('USER', '$USER')}, then log in again" if there else ""
    else:
        answers = _kvm_answers()
        if any(answers):
            return Check(name="KVM", ok=True, state="works", needed_for="a faster lab")
        if not answers:
            return Check(name="KVM", ok=True, state="can be opened; the lab will try it", needed_for="a faster lab")
        state, remedy = "can be opened, but no kernel boots with it", ""
    return Check(name="KVM", ok=False, state=f"{state}; the lab is emulated", remedy=remedy, needed_for="a faster lab")


def _kvm_answers() -> list[bool]:
    """What the lab found when it tried, for each QEMU."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        content = (cache_dir() / "lab" / "kvm.json").read_bytes()
        return list(msgspec.json.decode(content, type=dict[str, bool]).values())
    return []


def _kernels() -> Check:
    kernels = cached_kernels()
    releases = ", ".join(each.release.partition("+")[0] for each in kernels)
    return Check(
        name="lab kernels",
        ok=bool(kernels),
        state=releases or "none fetched yet; the first lab does it",
        remedy="" if kernels else f"schedtui lab kernels --fetch {DEFAULT_SERIES}",
        needed_for="the lab",
    )


def _library(library: Library) -> Iterator[Check]:
    yield Check(
        name="library",
        ok=bool(library.policies),
        state=f"{len(library.policies)} policies, {len(library.presets)} presets",
        remedy="" if library.policies else "Install schedtui again",
        needed_for="presets",
    )
    for problem in library.problems:
        yield Check(name="library", ok=False, state=problem, remedy="Mend that file", needed_for="presets")


def _cache() -> Iterator[Check]:
    folder = cache_dir()
    existing = next(each for each in (folder, *folder.parents) if os.access(each, os.F_OK))
    writable = os.access(existing, os.W_OK | os.X_OK)
    yield Check(
        name="cache",
        ok=writable,
        state=str(folder) if writable else f"{folder} is not writable",
        remedy="" if writable else "Set XDG_CACHE_HOME to a folder of your own",
        needed_for="the lab",
    )
    free = shutil.disk_usage(existing).free
    enough = free >= SPACE_WANTED
    yield Check(
        name="free space",
        ok=enough,
        state=f"{free / (1 << 30):.1f} GB in {existing}",
        remedy="" if enough else f"Free {SPACE_WANTED >> 30} GB there, or set XDG_CACHE_HOME to another disk",
        needed_for="kernels, guest images and snapshots of the lab",
    )


def _terminal() -> Check:
    term = os.environ.get("TERM", "")
    rich = os.environ.get("COLORTERM", "") in _RICH_TERMINALS
    colours = "none" if "NO_COLOR" in os.environ else "24-bit" if rich else "256" if "256" in term else "16"
    unicode = (sys.__stdout__ is None) or sys.__stdout__.encoding.lower().replace("-", "") == "utf8"
    remedy = ""
    if term in ("", "dumb"):
        remedy = "Run schedtui in a terminal, with TERM set (for instance TERM=xterm-256color)"
    elif not unicode:
        remedy = "export LANG=C.UTF-8 (until then it draws in plain ASCII)"
    return Check(
        name="terminal",
        ok=not remedy,
        state=f"{term or 'unknown'}, {'UTF-8' if unicode else 'no UTF-8'}, {colours} colours",
        remedy=remedy,
        needed_for="the screens",
    )
