"""Runs a program with what schedtui-verify@.service leaves it: no capabilities, and the system calls of its filter.

    python -m tests.verifier.confined PROGRAM ARGUMENTS

There is no systemd where the tests run, so its filter is built here, from the unit's own lines and the groups that
systemd-analyze knows.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

from schedtui.backend.setup.units import unit_files

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1
"""Of seccomp.h; refused with EPERM, as the unit says."""
_PR_CAPBSET_DROP, _LAST_CAPABILITY = 24, 63


def allowed() -> set[str]:
    """The system calls that the unit allows, by name."""
    found: set[str] = set()
    for line in unit_files("/usr/bin/python3", kvm=False)["schedtui-verify@.service"].splitlines():
        key, _, value = line.partition("=")
        if key != "SystemCallFilter":
            continue
        names = {name for each in value.removeprefix("~").split() for name in _members(each)}
        found = found - names if value.startswith("~") else found | names
    return found


def _members(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in listed.stdout.splitlines()[1:]]
    return {member for line in lines if line and not line.startswith("#") for member in _members(line)}


def confine() -> None:
    """This process, and all that it starts."""
    names = allowed()
    libc, seccomp = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("libseccomp.so.2", use_errno=True)
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # those that this kernel does not know are refused
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(_REFUSE))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # of this architecture
            assert seccomp.seccomp_rule_add(context, _ALLOW, number, 0) == 0, name
    assert seccomp.seccomp_load(context) == 0


if __name__ == "__main__":
    confine()
    os.execv(sys.argv[1], sys.argv[1:])
