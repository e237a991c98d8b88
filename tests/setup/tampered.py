"""A user's computer after somebody took over the account: every file that the user can write, and that Python or
schedtui might look at, does harm when it is run; and whoever opens one is seen."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

USER = 1000
_IN_ACCESS, _IN_OPEN, _IN_NONBLOCK = 0x1, 0x20, 0o4000
_EVENT = struct.Struct("iIII")
_MODULES = ("json", "socket", "struct", "os", "site", "typing", "msgspec", "schedtui", "elftools", "threading")
_PROGRAMS = (
    *("python3", "python3.11", "clang", "clang-19", "qemu-system-x86_64", "pkcheck", "systemctl", "busctl", "ldd"),
    *("busybox", "bwrap", "sh", "sudo", "sysctl", "scx_bpfland", "scx_lavd"),
)


class TamperedHome:
    """A home folder of traps; ``sprung`` are those that ran, ``opened()`` what anybody opened or read."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.loot = folder / "loot"
        self.loot.mkdir()
        self.loot.chmod(0o777)
        self.cwd = self.home / "work"
        self.temporary = self.home / "tmp"
        self._modules(self.home / "path")
        self._modules(self.cwd)
        self._modules(self.home / ".local/lib" / f"python3.{sys.version_info.minor}" / "site-packages")
        self._schedtui(self.home / "venv")
        for each in ("bin", ".local/bin", ".cargo/bin"):
            self._programs(self.home / each)
        self._own_files()
        self.temporary.mkdir()
        for each in (self.home, *self.home.rglob("*")):
            os.chown(each, USER, USER, follow_symlinks=False)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watch = self._libc.inotify_init1(_IN_NONBLOCK)
        self._folders: dict[int, Path] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What such an account starts programs with."""
        home = self.home
        return {
            "HOME": str(home),
            "PATH": ":".join(str(home / each) for each in ("bin", ".local/bin", ".cargo/bin")),
            "PYTHONPATH": str(home / "path"),
            "PYTHONSTARTUP": str(home / "startup.py"),
            "PYTHONUSERBASE": str(home / ".local"),
            "PYTHONPYCACHEPREFIX": str(home / "compiled"),
            "PYTHONHOME": str(home / "venv"),
            "PYTHONINSPECT": "1",
            "PYTHONBREAKPOINT": "schedtui.harm",
            "TMPDIR": str(self.temporary),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_DATA_HOME": str(home / ".local/share"),
            "SCHEDTUI_PREPARED": str(home / ".cache" / "schedtui" / "lab"),
            "VIRTUAL_ENV": str(home / "venv"),
        }

    def begin_to_watch(self) -> None:
        """From now on whoever opens or reads a trap is seen."""
        for each in (self.home, *self.home.rglob("*")):
            if each.is_dir():
                number = self._libc.inotify_add_watch(self._watch, os.fsencode(each), _IN_OPEN | _IN_ACCESS)
                assert number >= 0
                self._folders[number] = each

    def opened(self) -> set[str]:
        """What was opened or read since."""
        found = set[str]()
        try:
            data = os.read(self._watch, 1 << 20)
        except BlockingIOError:
            return found
        while data:
            number, _, _, length = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            found.add(str((self._folders[number] / os.fsdecode(name)).relative_to(self.home)))
            data = data[_EVENT.size + length :]
        return found

    @property
    def sprung(self) -> set[str]:
        """The traps that ran."""
        return {each.name for each in self.loot.iterdir()}

    def close(self) -> None:
        """Stop watching."""
        os.close(self._watch)

    def _trap(self, path: Path, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(self.loot / name)!r}, 'w').close()\n")

    def _modules(self, folder: Path) -> None:
        for name in (*_MODULES, "usercustomize", "sitecustomize"):
            self._trap(folder / f"{name}.py", f"{folder.name}-{name}")
        (folder / "trap.pth").write_text(f"import os; open({str(self.loot / 'pth')!r}, 'w').close()\n")

    def _schedtui(self, folder: Path) -> None:
        """The user's own copy, from which setup once copied: its modules are traps now."""
        site = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "schedtui"
        for name in ("__init__", "paths", "backend/__init__", "backend/helper/daemon", "backend/errors"):
            self._trap(site / f"{name}.py", f"venv-{name.replace('/', '-')}")
        self._modules(site.parent)

    def _programs(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _PROGRAMS:
            (folder / name).write_text(f"#!/bin/sh\n: > {self.loot / name}\n")
            (folder / name).chmod(0o755)

    def _own_files(self) -> None:
        """What schedtui keeps for a user."""
        home = self.home
        self._trap(home / "startup.py", "startup")
        for path, text in {
            ".config/schedtui/config.toml": "theme = 'x'\nallow = [4242]\n",
            ".config/schedtui/helper.toml": "allow = [4242]\n",
            ".local/share/schedtui/policies/fair/policy.toml": "name = 'fair'\n",
            ".local/share/schedtui/reports/report.json": "{}",
            ".local/share/schedtui/audit.jsonl": "{}\n",
            ".cache/schedtui/objects/object": "schedtui object 1\n",
            ".cache/schedtui/lab/kvm.json": "{}",
            ".cache/schedtui/kernels/99.0/vmlinuz": "kernel",
            ".config/systemd/user/schedtui-helper.service": "[Service]\nExecStart=/bin/false\n",
            ".profile": f": > {self.loot / 'profile'}\n",
        }.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        (home / "compiled").mkdir()
