"""A guest that is somebody's desktop: schedtui's host path runs inside it, as uid 1000, with the helper as root.

    with DesktopGuest() as desktop:
        desktop.start_helper("--allow", "1000")            # the daemon, as root
        done = desktop.schedtui("status", "--json")        # as uid 1000; done.code, .output, .errors, .data
        desktop.schedtui("status", uid=1001)               # as a user who is not allowed
        assert desktop.ops == ""                           # which scheduler runs: the kernel's word, not ours
        job = desktop.start(["schedtui", "apply", "fair"]) # goes on in the background; job.text, .running, .signal()
        desktop.user_python("from schedtui.backend.host import HostMachine; machine = HostMachine()")
        desktop.user_python("machine.open(print)")
        assert desktop.user_python("machine.scheduler().name") == "fair"

What is in it: root, user (1000), other (1001), schedtui-verify and nobody; this interpreter, busybox, libbpf; in /opt
schedtui with all that ships and what it imports, as users start it; in /usr/local/lib/schedtui/current the copy of the
helper as setup makes it, with its state in /var/lib/schedtui. clang, bubblewrap and QEMU are not: the objects of the
built-in policies come along in the user's cache.

The guest is restored from a snapshot of its own (half a second; built in half a minute when the kernel, the
interpreter, a dependency or inside.py changes). schedtui itself is carried in afterwards, so changing it costs nothing.

Costs, emulated: a restore 0.5 s and carrying in 1 s; ``schedtui(...)`` runs in a fork of an interpreter that has the
imports done, and costs 0.1 s and what it does; a real command (``run_as_user(["schedtui", …])``) 3 s more.
``user_python`` executes in one process that goes on, with one namespace; the value is its last line's.
Files, ``state`` and ``ops`` are read by a server of the real-time class: also while a scheduler starves everybody.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import marshal
import os
import shutil
import signal
import struct
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy

from schedtui import paths
from schedtui.backend.bpf.compiler import compile_bpf, find_clang, our_headers
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.microvm.guest import Guest
from schedtui.backend.microvm.image import PYTHON, ImagePlan, needed_libraries, plan_base
from schedtui.backend.microvm.snapshot import Shape, Snapshots
from schedtui.backend.provision import find_qemu
from schedtui.backend.setup import copying, launch
from schedtui.backend.setup.interpreter import Interpreter
from tests.conftest import DEFAULT, TRIALS_AT_MOST, kernel_image, quiet, until
from tests.host import inside
from tests.host.inside import LIBRARY, OTHER, PYTHON_PORT, ROOT_PORT, USER, USER_PORT, VERIFY_PORT
from tests.host.link import Link
from tests.host.verifying import Verifier
from tests.terminal import plain_text

ROOT = 0
MEMORY_MIB = 1024
HELPER_SOCKET = "/run/schedtui/helper.sock"
VERIFY_SOCKET = "/run/schedtui/verify.sock"

_DEPENDENCIES = (
    *("apsw", "click", "elftools", "linkify_it", "markdown_it", "mdit_py_plugins", "mdurl", "msgspec", "platformdirs"),
    *("numpy", "pygments", "rich", "textual", "tomlkit", "typing_extensions"),
)
_LEFT_OUT = frozenset({"__pycache__"})
_NOT_NEEDED = _LEFT_OUT | {"f2py", "include", "tests", "test"}
_PASSWD = f"""\
root:x:0:0:root:/root:/bin/sh
schedtui-verify:x:990:990:schedtui verifier:/nonexistent:/bin/false
user:x:{USER}:{USER}:A person:/home/user:/bin/sh
other:x:{OTHER}:{OTHER}:Another person:/home/other:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUP = f"""\
root:x:0:
schedtui-verify:x:990:
user:x:{USER}:
other:x:{OTHER}:
nogroup:x:65534:
"""
_INIT = f"""#!{PYTHON} -ISu
import sys
sys.path.insert(0, "{inside.HERE}")
from inside import main
main()
"""
_PROGRAM = f"""#!{PYTHON} -I
import sys
sys.path.insert(0, "{LIBRARY}")
from schedtui.__main__ import main
sys.exit(main())
"""
HELPER_COPY = "/usr/local/lib/schedtui/1"
HELPER = (str(PYTHON), "-ISBu", "/usr/local/lib/schedtui/current/launch.py", "helper")
"""How the helper is started, before its flags."""
STATE = "/var/lib/schedtui"
_AFTERWARDS = f"""\
chown -R {USER}:{USER} /home/user
ln -s 1 /usr/local/lib/schedtui/current
mkdir -m 700 {STATE}/tokens
"""
_PRELOADED = ["schedtui.cli", "schedtui.backend.host", "schedtui.backend.deploy", "schedtui.backend.library.catalogue"]


@dataclass(frozen=True)
class Done:
    """A command that ended. Texts are what it printed; ``seconds`` are the guest's, slower than here."""

    argv: tuple[str, ...]
    code: int
    output: str
    errors: str
    seconds: float
    timed_out: bool

    @property
    def data(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.output)

    def good(self) -> Done:
        """This, or a failed test that shows what was printed."""
        assert self.code == 0, f"{' '.join(self.argv)} ended with {self.code}:\n{self.output}\n{self.errors}"
        return self


class Job:
    """A command that goes on in the background."""

    def __init__(self, link: Link, argv: tuple[str, ...], pid: int) -> None:
        self._link, self._argv, self.pid = link, argv, pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.done is None

    @property
    def done(self) -> Done | None:
        """How it ended; None while it runs."""
        told, payload = self._link.call("look", pid=self.pid)
        return None if told["code"] is None else _done(self._argv, told, payload)

    @property
    def output(self) -> str:
        """What it printed on standard output, or in its terminal, so far."""
        told, payload = self._link.call("look", pid=self.pid)
        return payload[: told["out"]].decode(errors="replace")

    @property
    def errors(self) -> str:
        """What it printed on standard error so far."""
        told, payload = self._link.call("look", pid=self.pid)
        return payload[told["out"] :].decode(errors="replace")

    @property
    def printed(self) -> bytes:
        """Output and errors so far, as they came."""
        return self._link.call("look", pid=self.pid)[1]

    @property
    def text(self) -> str:
        """The same without a terminal's escape sequences: no screen, but enough to look for words."""
        return plain_text(self.printed)

    def shows(self, words: str, limit_s: float = 120) -> bool:
        """Wait until these words have been printed."""
        return until(lambda: words in self.text or not self.running, limit_s) and words in self.text

    def press(self, keys: bytes) -> None:
        """Type in its terminal."""
        self._link.call("type", keys, pid=self.pid)

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """To the process, or to it and all that it started in its session."""
        self._link.call("signal", pid=self.pid, signal=int(number), group=group)

    def wait(self, limit_s: float = 180) -> Done:
        """Until it ends."""
        ended: list[Done] = []

        def over() -> bool:
            done = self.done
            ended.extend([done] if done else [])
            return done is not None

        assert until(over, limit_s), f"{' '.join(self._argv)} still runs after {limit_s:g} s:\n{self.text}"
        return ended[0]


class DesktopGuest:
    """See the module. ``kernel`` is an image, the default kernel's when none is given."""

    def __init__(self, kernel: Path | None = None, *, cpus: int = 2, memory_mib: int = MEMORY_MIB) -> None:
        self.kernel = kernel or kernel_image(DEFAULT)
        self._cpus, self._memory_mib = cpus, memory_mib
        self._guest: Guest | None = None
        self._links: dict[str, Link] = {}
        self._helper: Job | None = None
        self._verifier: Verifier | None = None

    def __enter__(self) -> DesktopGuest:
        self.open()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def open(self) -> None:
        """Restore the guest, building it the first time, and carry schedtui in."""
        qemu = find_qemu()
        version = ".".join(map(str, qemu.version))
        shape = Shape(qemu.path, version, self.kernel, self._cpus, self._memory_mib, _plan(), ports=inside.PORTS)
        self._guest, _, _ = Snapshots(_snapshots()).open(shape, quiet)
        try:
            self._links = {name: Link(name, self._guest.qemu) for name in (ROOT_PORT, USER_PORT, PYTHON_PORT)}
            self._carry_in()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the guest; nothing of it is left."""
        guest, self._guest = self._guest, None
        verifier, self._verifier = self._verifier, None
        if verifier:
            verifier.close()
        if guest:
            guest.close()

    @property
    def console(self) -> str:
        """The last lines that the guest's kernel and first process printed."""
        assert self._guest is not None
        return self._guest.qemu.console

    # Commands

    def run_as_root(self, argv: Sequence[str], timeout_s: float = 60, **more: Any) -> Done:
        """Run a program to its end. ``more``: env (a dict), folder, given (bytes for its standard input)."""
        return self._run(ROOT_PORT, {}, argv, timeout_s, **more)

    def run_as_user(self, argv: Sequence[str], timeout_s: float = 60, *, uid: int = USER, **more: Any) -> Done:
        """Run a program to its end as uid 1000, or another's, in his home and with a clean environment."""
        return self._run(*_who(uid), argv, timeout_s, **more)

    def schedtui(self, *arguments: str, timeout_s: float = 120, uid: int = USER, **more: Any) -> Done:
        """The schedtui command with these arguments, in a fork of an interpreter that has its imports done."""
        return self._run(*_who(uid), arguments, timeout_s, loaded=True, **more)

    def start(
        self,
        argv: Sequence[str],
        *,
        uid: int = USER,
        terminal: tuple[int, int] | None = None,
        loaded: bool = False,
        **more: Any,
    ) -> Job:
        """Start a program and let it go on; in a ``terminal`` of so many columns and lines when that is given.

        ``loaded``: ``argv`` are arguments of the schedtui command, see ``schedtui``.
        """
        port, whom = _who(uid)
        more |= {"argv": list(argv), "terminal": terminal, "loaded": loaded, **whom}
        told, _ = self._links[port].call("start", **more)
        return Job(self._links[port], tuple(argv), told["pid"])

    def keep(self, preset: str) -> None:
        """Try it in a terminal as uid 1000, and keep it. What is measured may speak against any policy by chance."""
        for _ in range(TRIALS_AT_MOST):
            trying = self.start(["try", preset], loaded=True, terminal=(100, 30))
            if trying.shows("Keep it?", 300):
                trying.press(b"y\n")
                assert trying.wait(60).code == 0, trying.text
                return
            assert trying.wait(60).code == 0 and "It is worse" in trying.text, trying.text
        raise AssertionError(f"{preset} was measured as worse {TRIALS_AT_MOST} times")

    def user_python(self, code: str, timeout_s: float = 120) -> Any:
        """Execute it as uid 1000 in the process that goes on. Returns the last line's value, Structs as dicts."""
        told, _ = self._links[PYTHON_PORT].call("", code.encode(), timeout_s=timeout_s)
        return told["result"]

    # Files, and the kernel's word. These answer also under a scheduler that starves everybody.

    def read(self, path: str) -> bytes:
        """A file, as root. Raises FileNotFoundError and other OSErrors."""
        told, content = self._links[ROOT_PORT].call("read", path=path)
        if told.get("errno"):
            raise OSError(told["errno"], os.strerror(told["errno"]), path)
        return content

    def write(self, path: str, content: bytes, *, uid: int = ROOT, mode: int = 0o644) -> None:
        """Write a file that belongs to ``uid``; so do the folders that had to be made."""
        self._links[ROOT_PORT].call("write", content, path=path, uid=uid, mode=mode)

    def install(self, program: Path, folder: str = "/usr/bin") -> str:
        """Put a program of this computer there, root's, with the shared libraries that it lacks. Returns its path."""
        for each in needed_libraries([program]):
            if not self.exists(str(each)):
                self.write(str(each), each.read_bytes(), mode=0o755)
        target = f"{folder}/{program.name}"
        self.write(target, program.read_bytes(), mode=0o755)
        return target

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return self.run_as_root(["test", "-e", path]).code == 0

    @property
    def state(self) -> str:
        """The kernel's ``/sys/kernel/sched_ext/state``: enabled, disabled, enabling, …"""
        return self.read("/sys/kernel/sched_ext/state").decode().strip()

    @property
    def ops(self) -> str:
        """The name that the scheduler which runs gave to the kernel; empty on the kernel's own."""
        try:
            return self.read("/sys/kernel/sched_ext/root/ops").decode().strip()
        except OSError:
            return ""

    def stays(self, policy: str) -> bool:
        """Whether it still runs when the helper must have noticed that who loaded it is gone."""
        return not until(lambda: self.ops != policy, 2)

    # The helper

    def start_helper(self, *flags: str, limit_s: float = 120) -> Job:
        """Start the daemon as root, and wait for its socket."""
        self._helper = self.start([*HELPER, *flags], uid=ROOT)
        job = self._helper
        assert until(lambda: self._listens(HELPER_SOCKET) or not job.running, limit_s) and job.running, job.text
        return job

    def kill_helper(self, number: signal.Signals = signal.SIGKILL) -> None:
        """As a person or the kernel would, and wait until it has gone."""
        assert self._helper is not None
        self._helper.signal(number)
        self._helper.wait(20)

    def start_verifier(self) -> Verifier:
        """Let the verifier's socket be there, as systemd would, with the real service behind it; see verifying.py."""
        assert self._guest is not None
        self._verifier = Verifier(self._guest.qemu.ports[VERIFY_PORT], self.kernel)
        self._links[ROOT_PORT].call("relay", path=VERIFY_SOCKET)
        return self._verifier

    def _listens(self, path: str) -> bool:
        return any(line.endswith(path) for line in self.read("/proc/net/unix").decode().splitlines())

    def _run(
        self, port: str, whom: dict[str, int], argv: Sequence[str], timeout_s: float, *, given: bytes = b"", **more: Any
    ) -> Done:
        told, payload = self._links[port].call("run", given, argv=list(argv), timeout_s=timeout_s, **whom, **more)
        return _done(tuple(argv), told, payload)

    def _carry_in(self) -> None:
        root, user, python = (self._links[each] for each in (ROOT_PORT, USER_PORT, PYTHON_PORT))
        told, _ = root.call("unpack", _archive(), folder="/")
        assert told["code"] == 0
        self.run_as_root(["sh", "-c", _AFTERWARDS]).good()
        code = f"import {', '.join(_PRELOADED)}".encode()
        both = [user.ask("preload", modules=_PRELOADED), python.ask("", code)]
        for each in both:
            each.result(240)


def _who(uid: int) -> tuple[str, dict[str, int]]:
    return (USER_PORT, {}) if uid == USER else (ROOT_PORT, {"uid": uid})


def _done(argv: tuple[str, ...], told: dict[str, Any], payload: bytes) -> Done:
    output, errors = payload[: told["out"]].decode(errors="replace"), payload[told["out"] :].decode(errors="replace")
    return Done(argv, told["code"], output, errors, told["seconds"], told["timed_out"])


def _snapshots() -> Path:
    """A folder of their own, so that no other guest takes their place; what the lab found out of KVM is known there."""
    folder, known = paths.cache_dir() / "desktop" / "snapshots", paths.cache_dir() / "lab" / "kvm.json"
    folder.mkdir(parents=True, exist_ok=True)
    if known.exists() and not (folder / known.name).exists():
        shutil.copy(known, folder)
    return folder


def _plan() -> ImagePlan:
    base = plan_base()
    copied = {target: source for target, source in base.copied.items() if not target.endswith(".pyc")}
    copied |= _dependencies()
    for target, source in list(copied.items()):
        if target.endswith(".py"):
            copied[_cached_name(target)] = _bytecode(source, target)
    ours = Path(__file__).parents[2] / "schedtui/backend/helper/boot.py"
    copied[f"{inside.HERE}/boot.py"] = ours
    copied[f"{inside.HERE}/inside.py"] = Path(inside.__file__)
    homes = {f"{home}/.profile": b"" for uid, home in inside.HOMES.items() if uid}
    made = {
        "/init": _INIT.encode(),
        "/etc/passwd": _PASSWD.encode(),
        "/etc/group": _GROUP.encode(),
        "/etc/hosts": b"127.0.0.1 localhost\n",
        "/usr/local/bin/schedtui": _PROGRAM.encode(),
        **homes,
    }
    beside = Path(str(numpy.__file__)).parents[1] / "numpy.libs"  # where the linker finds what numpy needs
    copied |= {f"{LIBRARY}/{beside.name}/{each.name}": each for each in beside.iterdir()}
    return ImagePlan(copied, made, base.links)


def _dependencies() -> dict[str, Path]:
    copied = {}
    for name in _DEPENDENCIES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            continue
        origin = Path(found.origin)
        folders = [Path(each) for each in found.submodule_search_locations or ()]
        above = folders[0].parent if folders else origin.parent
        for each in _files(folders[0], _NOT_NEEDED) if folders else [origin]:
            copied[f"{LIBRARY}/{each.relative_to(above)}"] = each
    return copied


def _files(folder: Path, left_out: frozenset[str] = _LEFT_OUT) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in left_out)
        for name in sorted(names):
            if not name.endswith((".pyc", ".pyi")):
                yield Path(where, name)


def _cached_name(path: str) -> str:
    return importlib.util.cache_from_source(path, optimization="")


def _bytecode(source: Path, target: str) -> Path:
    """A file of the source's bytecode that no interpreter compares with it: in the guest its time is another."""
    found = source.stat()
    named = f"{source} {target} {found.st_size} {found.st_mtime_ns} {importlib.util.MAGIC_NUMBER!r}"
    entry = paths.cache_dir() / "desktop" / "bytecode" / hashlib.sha256(named.encode()).hexdigest()
    if not entry.exists():
        text = source.read_bytes()
        try:
            code = compile(text, target, "exec", dont_inherit=True, optimize=0)
        except SyntaxError:  # a template that only looks like Python
            code = compile("", target, "exec")
        header = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(text)
        entry.parent.mkdir(parents=True, exist_ok=True)
        part = entry.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        part.write_bytes(header + marshal.dumps(code))
        part.replace(entry)
    return entry


def _archive() -> bytes:
    """schedtui as users start it, the helper's copy and what setup puts beside it, and the user's cache of objects."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:

        def add(target: str, content: bytes, uid: int = ROOT) -> None:
            entry = tarfile.TarInfo(target.lstrip("/"))
            entry.size, entry.mtime, entry.uid, entry.gid = len(content), int(time.time()), uid, uid
            archive.addfile(entry, io.BytesIO(content))

        def link(target: str, known: str) -> None:
            entry = tarfile.TarInfo(target.lstrip("/"))
            entry.type, entry.linkname = tarfile.LNKTYPE, known.lstrip("/")
            archive.addfile(entry)

        shipped = {f"{LIBRARY}/{name}": source for name, source in shipped_files()}
        for target, source in shipped.items():
            add(target, source.read_bytes())
            if target.endswith(".py"):
                add(_cached_name(target), _bytecode(source, target).read_bytes())
        there = {source: target for target, source in (_dependencies() | shipped).items()}
        copy = copying.wanted_files(Interpreter(PYTHON, "3.11", Path(str(msgspec.__file__)).parent))
        for name, source in copy.items():
            if source not in there:
                add(f"{HELPER_COPY}/{name}", source.read_bytes())
                continue
            link(f"{HELPER_COPY}/{name}", there[source])
            if name.endswith(".py"):
                link(_cached_name(f"{HELPER_COPY}/{name}"), _cached_name(there[source]))
        add(f"{HELPER_COPY}/{launch.STATE}", f"{STATE}\n".encode())
        cache, known, probes = _objects()
        for name, content in cache.items():
            add(f"/home/user/.cache/schedtui/objects/{name}", content, USER)
        add(f"{STATE}/library.json", msgspec.json.encode(known))
        for name, content in probes.items():
            add(f"{STATE}/objects/{name}.bpf.o", content)
    return packed.getvalue()


def shipped_files() -> Iterator[tuple[str, Path]]:
    """schedtui as the wheel holds it: each file's name below the folder of packages, and where it lies here."""
    package = Path(__file__).parents[2] / "schedtui"
    for each in _files(package):
        yield f"schedtui/{each.relative_to(package)}", each
    for name in ("bpf", "library", "themes"):
        folder = paths.shipped(name)
        for each in _files(folder):
            yield f"schedtui/_shipped/{name}/{each.relative_to(folder)}", each


def _objects() -> tuple[dict[str, bytes], dict[str, str], dict[str, bytes]]:
    """What a compiler's cache holds of the built-in policies; their names by digest; the probes' objects by name."""
    policies = [Path(each.source) for each in load_library().policies.values() if each.source]
    probes = sorted((paths.shipped("bpf") / "probes").glob("*.bpf.c"))
    made_of = hashlib.sha256(find_clang().version.encode())
    for source in (*policies, *probes, *sorted(our_headers().rglob("*.h"))):
        made_of.update(source.name.encode() + b"\0" + source.read_bytes())
    folder = paths.cache_dir() / "desktop" / "objects" / made_of.hexdigest()[:24]
    known = {hashlib.sha256(compile_bpf(each, cache=folder)).hexdigest(): each.parent.name for each in policies}
    cache = {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.startswith(("clang", "."))}
    return cache, known, {each.name.removesuffix(".bpf.c"): compile_bpf(each, cache=folder) for each in probes}
