"""The lab's guest with this computer's C compiler and make in it, so that a build can be run and timed there.

What goes in is what gcc itself says it uses, so it is the same on every distribution: make, gcc, its assembler and
linker, the C library's headers and what programs are linked with. Other languages and libraries are left out. It is
60 MB larger than the lab's own guest, so it has a snapshot of its own, made when one is first asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from schedtui.backend.errors import MissingTool
from schedtui.backend.microvm.image import ImagePlan, needed_libraries

MEMORY_MIB = 1024
INSTALL = "Debian, Ubuntu: the packages gcc and make (build-essential) · Fedora: gcc make · Arch: base-devel"
_PROGRAMS = ("gcc", "make", "as", "ld", "ar", "ranlib", "nm")
_PARTS = ("cc1", "collect2", "liblto_plugin.so")
"""What gcc and the linker start or load by themselves."""
_OBJECTS = ("crt1.o", "Scrt1.o", "crti.o", "crtn.o", "crtbegin.o", "crtbeginS.o", "crtend.o", "crtendS.o")
_LIBRARIES = (
    *("libc.so", "libc_nonshared.a", "libm.so", "libgcc.a", "libgcc_s.so", "libgcc_s.so.1"),
    *("libpthread.a", "libdl.a", "librt.a"),
)
_STANDARD = (
    *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math"),
    *("setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib"),
    *("stdnoreturn", "string", "tgmath", "threads", "time", "uchar", "wchar", "wctype"),
)
_SYSTEM = (
    *("alloca", "arpa/inet", "byteswap", "dirent", "dlfcn", "elf", "endian", "err", "error", "execinfo", "fcntl"),
    *("fnmatch", "ftw", "getopt", "glob", "grp", "iconv", "langinfo", "libgen", "libintl", "link", "malloc"),
    *("net/if", "netdb", "netinet/in", "netinet/tcp", "nl_types", "poll", "pthread", "pwd", "regex", "sched"),
    *("search", "semaphore", "spawn", "strings", "sysexits", "syslog", "termios", "ucontext", "unistd", "utime"),
    *("values", "wordexp", "linux/futex", "linux/types"),
    *(
        f"sys/{each}"
        for each in (
            *("auxv", "cdefs", "epoll", "eventfd", "file", "inotify", "ioctl", "ipc", "mman", "mount", "msg", "param"),
            *("poll", "prctl", "ptrace", "queue", "random", "resource", "select", "sem", "sendfile", "shm", "signalfd"),
            *("socket", "stat", "statfs", "statvfs", "syscall", "sysinfo", "sysmacros", "time", "timerfd", "times"),
            *("types", "ucontext", "uio", "un", "utsname", "wait", "xattr"),
        )
    ),
)
_WAYS = ((_STANDARD, ("-std=c99",)), ((*_STANDARD, *_SYSTEM), ("-O2", "-D_GNU_SOURCE", "-D_FORTIFY_SOURCE=2")))
"""Headers include others by how they are compiled."""


def is_installed() -> bool:
    """Whether this computer has a compiler that a guest could be given."""
    return all(map(shutil.which, _PROGRAMS))


def with_compiler(plan: ImagePlan) -> ImagePlan:
    """The plan, and what a C program is built with. Raises MissingTool where gcc or make is not installed."""
    programs = {name: _program(name) for name in _PROGRAMS}
    gcc = programs["gcc"]
    own, shared = _places(gcc)
    parts = [_found(name, own) for name in _PARTS]
    linked = [_found(name, shared) for name in _OBJECTS]
    linked += filter(None, (_first(name, shared) for name in _LIBRARIES))
    copied = dict(plan.copied)
    for name, program in programs.items():
        copied[f"/usr/bin/{name}"] = program.resolve()
    for each in (*parts, *linked, *_headers(gcc), *needed_libraries([*programs.values(), *parts])):
        copied[str(each)] = each
    for each in linked:
        copied |= {str(other): other for other in _named_in(each)}
    return ImagePlan(copied, plan.made, {**plan.links, "/usr/bin/cc": "gcc"})


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise MissingTool(f"{name} is not installed; a build in the lab needs it.", INSTALL)
    return Path(found)


def _places(gcc: Path) -> tuple[list[Path], list[Path]]:
    """The folders where gcc looks for its own programs, and for libraries."""
    listed = dict(line.split(": =", 1) for line in _said_by(gcc, "-print-search-dirs").splitlines() if ": =" in line)
    own, shared = (
        [Path(os.path.normpath(each)) for each in listed.get(kind, "").split(":") if each]
        for kind in ("programs", "libraries")
    )
    return own, shared


def _first(name: str, folders: Iterable[Path]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _found(name: str, folders: Iterable[Path]) -> Path:
    found = _first(name, folders)
    if found is None:
        raise MissingTool(f"The compiler of this computer has no {name}; a build in the lab needs GCC's.", INSTALL)
    return found


def _headers(gcc: Path) -> Iterator[Path]:
    """Every header that the standard's and the system's own include, however a program is compiled."""
    found: set[Path] = set()
    for names, options in _WAYS:
        lines = [f"#if __has_include(<{name}.h>)\n#include <{name}.h>\n#endif\n" for name in names]
        rule = _said_by(gcc, "-M", *options, "-x", "c", "-", given="".join(lines))
        found.update(Path(os.path.normpath(word)) for word in rule.split() if word.startswith("/"))
    if not found:
        raise MissingTool("The headers of the C library are not installed.", INSTALL)
    for folder in sorted({each.parent for each in found if each.parent.name == "bits"}):
        found.update(folder.rglob("*.h"))
    yield from sorted(found)


def _named_in(script: Path) -> Iterator[Path]:
    """The libraries that a linker script names: what is called libc.so is one on most systems."""
    content = script.read_bytes()
    if script.suffix == ".so" and not content.startswith(b"\x7fELF"):
        text = re.sub(r"/\*.*?\*/", "", content.decode(errors="replace"), flags=re.DOTALL)
        yield from (Path(word) for word in re.findall(r"/[^\s()]+", text) if Path(word).is_file())


def _said_by(gcc: Path, *arguments: str, given: str = "") -> str:
    return subprocess.run([gcc, *arguments], input=given, capture_output=True, text=True, check=False).stdout
