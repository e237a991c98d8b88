"""Becomes the verifying process: gives up everything of root's, and runs it with what is left.

Runs for a moment as root, in a process of its own with one thread, from the same files as the helper: the standard
library only. What cannot be given up ends it. Under systemd the verifier has a unit of its own instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

_CLONE_NEWNET, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x40000000, 0x08000000, 0x10000000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_KILLED_FIRST = 800
"""When memory runs out, this goes and not what a person works with. Source: proc(5), oom_score_adj."""
_LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 512,
    resource.RLIMIT_FSIZE: 2 << 30,
    resource.RLIMIT_AS: 16 << 30,
    resource.RLIMIT_CPU: 4 * 3600,
    resource.RLIMIT_MEMLOCK: 64 << 10,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_RTPRIO: 0,
}
CANNOT = 77
"""The exit code when it could not give up what it must, as in sysexits.h."""


def main() -> None:
    """``UID GID PARENT COMMAND…``: become that user, and then that command."""
    uid, gid, parent = (int(each) for each in sys.argv[1:4])
    command = sys.argv[4:]
    try:
        confine(uid, gid, parent)
        os.execve(command[0], command, {})
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        os._exit(CANNOT)


def confine(uid: int, gid: int, parent: int) -> None:
    """Keep nothing that ``uid`` does not have, and not even the network. Raises OSError when that is not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.umask(0o077)
    os.chdir("/")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # the helper's real-time class is not for this
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_KILLED_FIRST))
    for what, most in _LIMITS.items():
        _, allowed = resource.getrlimit(what)
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (most, most))
    alone = libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC) == 0
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for those that the kernel does not have
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if not alone:  # a helper without CAP_SYS_ADMIN: users may do it for themselves
        _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC), "a network namespace of its own")
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _check(libc.capset(header, nothing), "capabilities")
    # Last: a change of the user clears it.
    _check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "the parent-death signal")
    if os.getppid() != parent:
        os._exit(CANNOT)
    if uid != 0 and 0 in (*os.getresuid(), *os.getresgid()):
        raise PermissionError(1, "root could not be given up")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())} ({what})")


if __name__ == "__main__":
    main()
