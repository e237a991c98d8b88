"""Who started the sched_ext scheduler that runs: a service, scx_loader, a person, or schedtui itself.

From /proc alone: which process holds the scheduler's link (root can see that of every process, others only by a
process's name), and what stands above it. Some milliseconds: look only when the kernel counted another scheduler.
What scx_loader itself says (its mode) is helper/others.py's.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path

from schedtui.backend.model import Owner, OwnerKind, Scheduler
from schedtui.backend.probes.files import read_small

ROOT = Path("/")
NOBODY = Owner(kind="unknown", words="another program")
_TRIES = 3
_LINK = "anon_inode:bpf_link"
_LONGEST_COMMAND = 120
_MOST_PARENTS = 64
_NAME_LENGTH = 15
"""Of a process, as /proc gives it."""
_NOBODY_LOGGED_IN = 4294967295
_SHELLS = ("bash", "zsh", "fish", "sh", "dash", "nu", "ksh", "tcsh", "sudo", "doas", "pkexec", "su", "run0")
_SERVICE = re.compile(r"/system\.slice/(?:[^/]+\.slice/)*([^/]+\.service)(?:/|$)")
_SESSION = re.compile(r"/user-(\d+)\.slice(?:/|$)")


class OwnerProbe:
    """The owner, looked up once for each scheduler that the kernel counted."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._enable_seq = -1
        self._tries = 0
        self._found = NOBODY

    def owner(self, scheduler: Scheduler) -> Owner:
        """Of what ``read_scheduler`` just found. Whom it does not find it looks for again, a few times."""
        if scheduler.owner == "kernel":
            return Owner(kind="kernel", words="the kernel")
        if scheduler.enable_seq != self._enable_seq:
            self._enable_seq, self._tries, self._found = scheduler.enable_seq, 0, NOBODY
        if not self._found.pid and self._tries < _TRIES:
            self._tries += 1
            self._found = find_owner(scheduler.name, self._root)
        return self._found


def find_owner(name: str, root: Path = ROOT) -> Owner:
    """Who started the loaded scheduler, which the kernel calls ``name``. Some milliseconds on a large machine."""
    processes = list(_processes(root / "proc"))
    named = [each for each in processes if each.name.startswith("scx_") and each.name != "scx_loader"]
    named = [each for each in named if each.command()]  # one that has ended and was not waited for has none
    holder = next(filter(_holds_scheduler, (*named, *processes)), None)
    holder = holder or _called(name, named) or next(filter(_is_helper, processes), None)
    if holder is None:
        return NOBODY
    return _described(holder, {each.pid: each for each in processes})


def program_of_loader(name: str, root: Path = ROOT) -> int:
    """The process of a program that scx_loader started, as far as can be told; 0 when there is none of that name."""
    processes = {each.pid: each for each in _processes(root / "proc")}
    named = [each for each in processes.values() if each.name == name[:_NAME_LENGTH] and each.command()]
    its_own = [each for each in named if any(above.name == "scx_loader" for above in _line(each, processes))]
    return next((each.pid for each in (*its_own, *named)), 0)


def command_of(pid: int, root: Path = ROOT) -> list[str]:
    """A process's command line; empty when it has ended."""
    return _Process(root / "proc" / str(pid)).command()


class _Process:
    """A process as its folder in /proc shows it; empty where it has just ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid = int(folder.name)
        self.name = _text(folder / "comm")

    def command(self) -> list[str]:
        return [word for word in _text(self.folder / "cmdline").split("\0") if word]

    def parent(self) -> int:
        after_name = _text(self.folder / "stat").rpartition(")")[2].split()
        return int(after_name[1]) if len(after_name) > 1 else 0

    def cgroups(self) -> str:
        return _text(self.folder / "cgroup")

    def uid(self) -> int:
        """Its real user: the folder itself is root's for whatever was started with root's rights."""
        found = re.search(r"^Uid:\s+(\d+)", _text(self.folder / "status"), re.MULTILINE)
        return int(found[1]) if found else -1


def _processes(folder: Path) -> Iterator[_Process]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - hundreds of entries, and only their names
    except OSError:
        return
    for name in names:
        if name.isdigit():
            yield _Process(folder / name)


def _holds_scheduler(process: _Process) -> bool:
    """Whether it holds the link of a struct_ops map (``link_type: struct_ops`` in its fdinfo; kernel/bpf/syscall.c)."""
    folder = process.folder / "fd"
    try:
        descriptors = os.listdir(folder)  # noqa: PTH208 - hundreds of entries, and only their names
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            is_link = os.readlink(folder / descriptor) == _LINK  # noqa: PTH115 - not a file's path
            if is_link and "struct_ops" in _text(process.folder / "fdinfo" / descriptor):
                return True
        except OSError:
            continue
    return False


def _called(name: str, named: list[_Process]) -> _Process | None:
    """Of the programs called scx_*, the one whose name the kernel's ``name`` begins with; else the only one."""
    fitting = [each for each in named if name.startswith(each.name.removeprefix("scx_"))]
    if fitting:
        return fitting[0]
    return named[0] if len(named) == 1 else None


def _is_helper(process: _Process) -> bool:
    """Our own helper, whose descriptors only root may look at."""
    command = process.command()
    return process.uid() == 0 and "helper" in command and any("schedtui" in word for word in command)


def _described(holder: _Process, processes: dict[int, _Process]) -> Owner:
    above = list(_line(holder, processes))
    command = _shortened(holder.command()) or holder.name
    service = _SERVICE.search(holder.cgroups())
    unit = service[1] if service else ""

    def owner(kind: OwnerKind, words: str, user: str = "") -> Owner:
        return Owner(kind=kind, words=words, pid=holder.pid, command=command, user=user)

    if unit.startswith("schedtui") or any(map(_is_helper, above)):
        return owner("schedtui", "schedtui")
    if unit == "scx_loader.service" or any(each.name == "scx_loader" for each in above):
        return owner("scx_loader", "scx_loader")
    if unit == "scx.service":
        return owner("scx.service", unit)
    if unit:
        return owner("service", unit)
    user = _user(above)
    if any(each.name in _SHELLS for each in above[1:]):
        return owner("person", f"{user}, in a shell", user)
    if user != "root":
        return owner("person", user, user)
    return owner("unknown", holder.name)


def _line(process: _Process, processes: dict[int, _Process]) -> Iterator[_Process]:
    """The process, its parent, and so on."""
    at: _Process | None = process
    for _ in range(_MOST_PARENTS):
        if at is None:
            return
        yield at
        at = processes.get(at.parent())


def _user(above: list[_Process]) -> str:
    """Whose session it is: as the cgroup says, as the login was recorded, or the first above that is not root."""
    session = _SESSION.search(above[0].cgroups())
    if session:
        return _user_name(int(session[1]))
    login = _text(above[0].folder / "loginuid")
    if login.isdigit() and int(login) != _NOBODY_LOGGED_IN:
        return _user_name(int(login))
    return _user_name(next((uid for each in above if (uid := each.uid()) > 0), 0))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _shortened(command: list[str]) -> str:
    if not command:
        return ""
    text = " ".join([Path(command[0]).name, *command[1:]])
    return text if len(text) <= _LONGEST_COMMAND else text[: _LONGEST_COMMAND - 1] + "…"


def _text(path: Path) -> str:
    try:
        return read_small(path).decode(errors="replace")
    except OSError:
        return ""
