"""A kernel is told from another by its build ID and its types."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from schedtui.backend.probes.kernel_id import read_kernel_id


def note(name: bytes, kind: int, content: bytes) -> bytes:
    padded = [each + b"\0" * (-len(each) % 4) for each in (name, content)]
    return struct.pack("=III", len(name), len(content), kind) + b"".join(padded)


def kernel(folder: Path, notes: bytes, btf: bytes = b"types") -> Path:
    (folder / "btf").mkdir()
    (folder / "notes").write_bytes(notes)
    (folder / "btf" / "vmlinux").write_bytes(btf)
    return folder


def test_the_build_id_is_found_among_other_notes(tmp_path: Path) -> None:
    notes = note(b"Xen\0", 6, b"linux") + note(b"GNU\0", 1, b"abc") + note(b"GNU\0", 3, bytes(range(20)))
    found = read_kernel_id(kernel(tmp_path, notes))
    assert found is not None
    assert found.build_id == bytes(range(20)).hex()
    assert found.btf_hash == hashlib.sha256(b"types").hexdigest()


def test_a_kernel_without_a_build_id_or_types_is_not_named(tmp_path: Path) -> None:
    assert read_kernel_id(tmp_path) is None
    assert read_kernel_id(kernel(tmp_path, note(b"GNU\0", 1, b"abc") + b"\xff" * 5)) is None
