"""What a host's helper may do, and how everything else is given up before the first client comes.

Capabilities(7) that are not named here are dropped for good, from the bounding set too, so that nothing that is started
from here has them either; no program that is started gains any (no_new_privs); and the process leaves the network.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path

NEEDED: dict[str, str] = {
    "bpf": "loads the scheduler's programs and maps",
    "perfmon": "a scheduler reads the kernel's task structures, and so does the latency probe",
    "sys_admin": "puts a verifier that it starts itself out of the network; external schedulers want it",
    "sys_nice": "each thread puts itself into the real-time class, and what it starts back into the normal one",
    "sys_resource": "external schedulers raise their own limit of locked memory",
    "sys_ptrace": "reads in /proc which program of root's holds a scheduler",
    "syslog": "reads why the kernel threw a scheduler out, in /dev/kmsg",
    "ipc_lock": "keeps its memory in RAM, so that a page fault never makes panic wait",
    "setuid": "starts the verifier as its own user, where systemd does not",
    "setgid": "as setuid",
    "chown": "gives the verifier a folder of its own, where systemd does not",
    "kill": "ends that verifier, and the group of an external scheduler",
    "dac_override": "empties that folder, which is another user's",
}
"""By name, without CAP_: why it is kept. A unit may take away more of them."""

_NUMBERS = {
    "chown": 0,
    "dac_override": 1,
    "kill": 5,
    "setgid": 6,
    "setuid": 7,
    "setpcap": 8,
    "ipc_lock": 14,
    "sys_ptrace": 19,
    "sys_admin": 21,
    "sys_nice": 23,
    "sys_resource": 24,
    "syslog": 34,
    "perfmon": 38,
    "bpf": 39,
}
"""linux/capability.h"""
_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 38, 47, 4
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def give_up() -> list[str]:
    """Drop what is not needed, while this process has one thread. What could not be done, a sentence for each."""
    problems = []
    if os.geteuid() == 0 and not _leave_the_network():
        problems.append(f"The helper could not leave the network: {os.strerror(ctypes.get_errno())}.")
    kept = _bits(NEEDED) & _permitted()
    _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    for number in range(_last_capability() + 1):
        if not kept >> number & 1:
            _prctl(_PR_CAPBSET_DROP, number)  # only with CAP_SETPCAP; without it there is nothing to gain it from
    if not _set_capabilities(kept):
        problems.append(f"The helper could not drop its privileges: {os.strerror(ctypes.get_errno())}.")
    if not _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        problems.append("What the helper starts could gain privileges: the kernel does not forbid it.")
    return problems


def held() -> tuple[str, ...]:
    """The capabilities that this process has now, by name; a number for those that it should not have."""
    names = {number: name for name, number in _NUMBERS.items()}
    permitted = _permitted()
    return tuple(names.get(number, str(number)) for number in range(64) if permitted >> number & 1)


def _leave_the_network() -> bool:
    """Into a network namespace of its own, where there is nothing but a loopback device that is down.

    Unix sockets of the file system, and so D-Bus and systemd, are reached as before.
    """
    if _has_only_loopback():
        return True
    return bool(_libc.unshare(_CLONE_NEWNET) == 0)


def _has_only_loopback() -> bool:
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
        return all(line.split(":")[0].strip() == "lo" for line in lines)
    return False


def _set_capabilities(kept: int) -> bool:
    header = struct.pack("Ii", _VERSION_3, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = struct.pack("6I", low, low, 0, high, high, 0)
    return bool(_libc.capset(header, data) == 0)


def _permitted() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def _last_capability() -> int:
    try:
        return int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    except (OSError, ValueError):
        return 40


def _bits(names: dict[str, str]) -> int:
    return sum(1 << _NUMBERS[name] for name in names)


def _prctl(option: int, argument: int) -> bool:
    return bool(_libc.prctl(option, argument, 0, 0, 0) == 0)
