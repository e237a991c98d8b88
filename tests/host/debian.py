"""A guest that is Debian with systemd, sudo and polkit, and schedtui as pipx installs it: what setup makes, at work.

    with DebianGuest() as debian:
        typed = debian.sudo("setup")                # in a terminal, with the password; typed.text
        debian.run_as_root(["systemctl", "is-active", "schedtui-helper.socket"])

It has what DesktopGuest has, but for ``user_python``, and ``schedtui`` starts the command anew each time. The image is
built once, by root and debootstrap, from the packages below, in three minutes; schedtui itself is carried in when it
has booted, which takes two. QEMU is left out of it, because QEMU in QEMU never comes up; clang is in it.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schedtui import paths
from schedtui.backend.apt import machine_sources, main_archive
from schedtui.backend.microvm.guest import Guest, wait_for_agent
from schedtui.backend.microvm.image import ImagePlan, write_image
from schedtui.backend.microvm.qemu import GuestConfig, Qemu
from schedtui.backend.provision import find_qemu
from tests.conftest import until
from tests.host import inside
from tests.host.desktop import DesktopGuest, Done, Job, shipped_files
from tests.host.inside import ROOT_PORT, USER_PORT
from tests.host.link import Link

SUITE, PYTHON_VERSION = "trixie", "3.13"
PACKAGES = (
    *("systemd", "systemd-sysv", "libpam-systemd", "dbus", "sudo", "polkitd", "pkexec", "procps", "busybox-static"),
    *("python3", "python3-venv", "libbpf1", "libbpf-dev", "clang-19", "bubblewrap", "git", "libelf1t64"),
    "python3-bpfcc",
)
PASSWORD = "pw"
MEMORY_MIB = 5120
BOOT_LIMIT_S = 600.0
VENV = "/home/user/.local/share/pipx/venvs/schedtui"
PYTHON = f"{VENV}/bin/python3"
COMMAND = "/home/user/.local/bin/schedtui"

_ROOT = Path(__file__).parents[2]
_INIT = b"""#!/bin/busybox sh
/bin/busybox mount -t tmpfs -o size=90%,mode=755 none /new
/bin/busybox tar x -C /new -f /root.tar
/bin/busybox rm /root.tar
exec /bin/busybox switch_root /new /sbin/init
"""
_SERVERS = b"""\
import sys, time
sys.path.insert(0, "/desktop")
import inside
for work in (inside._greet, lambda: inside.Server("root", 0).serve(), lambda: inside.Server("user", 1000).serve()):
    inside._fork(work)
time.sleep(2)
with open("/dev/console", "w") as console:
    console.write("\\nSCHEDTUI AGENT READY ON virtio\\n")
while True:
    time.sleep(3600)
"""
_UNIT = b"""\
[Unit]
Description=what the tests ask for
[Service]
ExecStart=/usr/bin/python3 /desktop/servers.py
StandardOutput=journal+console
[Install]
WantedBy=multi-user.target
"""
_FURNISH = f"""\
useradd -m -s /bin/bash -u 1000 -G sudo user
useradd -m -s /bin/bash -u 1001 other
echo user:{PASSWORD} | chpasswd
ln -s ../desktop.service /etc/systemd/system/multi-user.target.wants/desktop.service
echo desktop > /etc/hostname
echo 127.0.0.1 localhost desktop > /etc/hosts
apt-get clean
rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man /usr/share/locale
"""
_PIPX = f"""\
python3 -m venv {VENV}
{VENV}/bin/pip install --quiet --no-index --find-links /wheels $(cat /wheels/names)
mkdir -p ~/.local/bin
printf '#!{PYTHON}\\nimport sys\\nfrom schedtui.__main__ import main\\nsys.exit(main())\\n' > {VENV}/bin/schedtui
chmod 755 {VENV}/bin/schedtui
ln -s {VENV}/bin/schedtui {COMMAND}
"""


class DebianGuest(DesktopGuest):
    """See the module."""

    def open(self) -> None:
        """Boot it, building the image the first time, and carry schedtui in."""
        qemu = Qemu(
            GuestConfig(find_qemu().path, self.kernel, _image(self.kernel), 2, MEMORY_MIB, "tcg", ports=inside.PORTS)
        )
        try:
            self._guest = Guest(qemu, wait_for_agent(qemu, BOOT_LIMIT_S))
        except BaseException:
            qemu.quit()
            raise
        try:
            self._guest.greet(60)
            self._links = {name: Link(name, qemu) for name in (ROOT_PORT, USER_PORT)}
            told, _ = self._links[ROOT_PORT].call("unpack", _package(), folder="/")
            assert told["code"] == 0
            self.run_as_root(["chown", "-R", "user:user", VENV]).good()
        except BaseException:
            self.close()
            raise

    def schedtui(self, *arguments: str, timeout_s: float = 120, uid: int = inside.USER, **more: Any) -> Done:
        """The command as the user starts it."""
        return self.run_as_user([COMMAND, *arguments], timeout_s, uid=uid, **more)

    def start(
        self,
        argv: Sequence[str],
        *,
        uid: int = inside.USER,
        terminal: tuple[int, int] | None = None,
        loaded: bool = False,
        **more: Any,
    ) -> Job:
        """See DesktopGuest; nothing is loaded beforehand here."""
        command = [COMMAND, *argv] if loaded else argv
        return super().start(command, uid=uid, terminal=terminal, **more)

    def python(self, code: str, timeout_s: float = 120) -> Done:
        """Python of the user's, with schedtui to import."""
        return self.run_as_user([PYTHON, "-c", code], timeout_s)

    def sudo(self, *arguments: str, limit_s: float = 300) -> Job:
        """``sudo schedtui …`` in the user's terminal, with the password typed; returns when it has ended."""
        return self.authenticated(["sudo", f"{VENV}/bin/schedtui", *arguments], limit_s)

    def authenticated(self, argv: Sequence[str], limit_s: float = 300) -> Job:
        """A command of the user's that asks for the password in its terminal; returns when it has ended."""
        job = self.start(argv, terminal=(120, 40))
        assert job.shows("assword") or not job.running, job.text
        if job.running:
            job.press(f"{PASSWORD}\n".encode())
        assert until(lambda: not job.running, limit_s), job.text
        return job


def _image(kernel: Path) -> Path:
    """The guest's root as an archive in an initramfs, whose first process unpacks it and starts systemd."""
    named = f"{SUITE} {PACKAGES} {_FURNISH} {_PIPX} {kernel} {kernel.stat().st_mtime_ns}".encode()
    parts = [named, _INIT, _SERVERS, _UNIT, Path(inside.__file__).read_bytes(), "\n".join(_wheels_wanted()).encode()]
    parts.append((_ROOT / "constraints.txt").read_bytes())
    folder = paths.cache_dir() / "desktop" / "debian"
    image = folder / f"{hashlib.sha256(b'|'.join(parts)).hexdigest()[:24]}.cpio"
    if not image.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _build(folder, kernel)
        plan = ImagePlan(
            {"/bin/busybox": folder / "root/usr/bin/busybox", "/root.tar": folder / "root.tar"},
            {"/init": _INIT, "/new/empty": b""},
            {},
        )
        with (folder / "part").open("wb") as archive:
            write_image(plan, archive)
        (folder / "part").rename(image)
        (folder / "root.tar").unlink()
        shutil.rmtree(folder / "root")
    return image


def _build(folder: Path, kernel: Path) -> None:
    root = folder / "root"
    source = main_archive(machine_sources(), "bookworm") or main_archive(machine_sources(), SUITE)
    assert source is not None, "this computer's apt sources name no main archive of Debian's"
    _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), source.uris[0])
    files = {
        "desktop/inside.py": Path(inside.__file__).read_bytes(),
        "desktop/servers.py": _SERVERS,
        "etc/systemd/system/desktop.service": _UNIT,
        f"boot/vmlinuz-{kernel.parent.name}": kernel.read_bytes(),
        f"boot/config-{kernel.parent.name}": (kernel.parent / "config").read_bytes(),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    _run("chroot", str(root), "sh", "-ec", _FURNISH)
    wheels = root / "wheels"
    wheels.mkdir()
    (wheels / "names").write_text(" ".join(each.partition(">")[0] for each in _wheels_wanted()))
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(wheels)]
    fetch += ["--only-binary", ":all:", "--python-version", PYTHON_VERSION, "--constraint", "constraints.txt"]
    _run(*fetch, *_wheels_wanted())
    _run(
        "chroot", "--userspec=user:user", str(root), "env", "HOME=/home/user", "PATH=/usr/bin:/bin", "sh", "-ec", _PIPX
    )
    shutil.rmtree(wheels)
    with tarfile.open(folder / "root.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(root, ".", filter=lambda each: None if each.name in ("./proc/", "./sys/") else each)


def _wheels_wanted() -> list[str]:
    """What schedtui imports, as pyproject.toml names it."""
    names: list[str] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return names


def _package() -> bytes:
    """schedtui as the wheel holds it, where pipx puts it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, source in shipped_files():
            entry = tarfile.TarInfo(f"{VENV}/lib/python{PYTHON_VERSION}/site-packages/{name}".lstrip("/"))
            content = source.read_bytes()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{' '.join(command)[:200]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    )
