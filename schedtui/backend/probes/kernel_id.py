"""Which kernel runs, by its build and its types and not by its version's name."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

from schedtui.backend.model import KernelId

_GNU_BUILD_ID = 3


def read_kernel_id(sys_kernel: Path = Path("/sys/kernel")) -> KernelId | None:
    """The running kernel; None when it does not tell its build ID or its types. Takes 10 to 200 ms.

    Source: elf(5), Nhdr; Documentation/ABI/testing/sysfs-kernel-notes and sysfs-kernel-btf.
    """
    try:
        build_id = _build_id((sys_kernel / "notes").read_bytes())
        btf = (sys_kernel / "btf" / "vmlinux").read_bytes()
    except OSError:
        return None
    if not build_id:
        return None
    return KernelId(release=os.uname().release, build_id=build_id, btf_hash=hashlib.sha256(btf).hexdigest())


def _build_id(notes: bytes) -> str:
    at = 0
    while at + 12 <= len(notes):
        name_bytes, content_bytes, kind = struct.unpack_from("=III", notes, at)
        name_at = at + 12
        content_at = name_at + (name_bytes + 3 & ~3)
        if kind == _GNU_BUILD_ID and notes[name_at : name_at + name_bytes] == b"GNU\0":
            return notes[content_at : content_at + content_bytes].hex()
        at = content_at + (content_bytes + 3 & ~3)
    return ""
