"""What an external scheduler's installed version can really do, as its own ``--help`` says.

A library entry describes a program that changes from version to version; what the installed one lacks is
not offered, and its defaults are taken from itself. Running a scheduler is left to others: here it only
prints its help, without rights, with a limit on time and output.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadTunable
from schedtui.backend.model import Mode, Policy, Tunable
from schedtui.backend.programs import flag_of
from schedtui.backend.tunables import check_setting

TIME_LIMIT_S = 3.0
FOLDER_VARIABLE = "SCHEDTUI_SCX"
"""Names a folder of schedulers that comes before PATH, in the environment."""
_OUTPUT_LIMIT_BYTES = 256 << 10
_NOBODY = 65534
"""Whom root asks as."""
_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)*\S*)")
_OPTION = re.compile(
    r"^ {1,8}(?:-(?P<short>\w)(?=[\s,]|$),? ?)?(?:--(?P<long>[\w-]+))?(?P<value>(?:[ =]|\[=)<?[A-Z][A-Z0-9_-]*>?\]?)?"
    r"(?:\.\.\.)?(?P<rest>\s{2,}\S.*|\s*)$"
)
_DEFAULT = re.compile(r"[\[(]default:? +\"?([^\]\")]+)")
_VALUES = re.compile(r"\[possible values: ([^\]]+)\]")
_VALUE_LINE = re.compile(r"^\s+- ([\w-]+):", re.MULTILINE)


class Flag(Struct, frozen=True, kw_only=True):
    """One option of a program, as its help lists it."""

    name: str
    """Without dashes: the long form, or the short one of an option that has no other."""
    short: str = ""
    takes_value: bool = False
    default: str = ""
    values: tuple[str, ...] = ()
    """What may be given, when the help lists it."""


class Installed(Struct, frozen=True, kw_only=True):
    """An external scheduler's program on this computer."""

    path: str
    version: str
    """As it names itself; empty when it does not."""
    flags: dict[str, Flag]
    """By name; a long option also stands under its short form."""
    lab_only: bool
    """Somebody who is not root can change the file: it is good for the lab only."""
    problem: str = ""
    """Why it could not be asked, in a sentence; then ``flags`` is empty."""


class Fit(Struct, frozen=True, kw_only=True):
    """An entry of the library beside the program that is installed."""

    installed: Installed
    tunables: tuple[Tunable, ...]
    """Those that this version has, with its own defaults."""
    modes: tuple[Mode, ...]
    """Those whose flags this version has."""
    lacking: tuple[str, ...]
    """Flags of the entry that it lacks, with their dashes."""


def find_binary(policy: Policy, folders: Sequence[Path] | None = None) -> Installed | None:
    """The program of an external scheduler, in ``folders``, else in $SCHEDTUI_SCX, on PATH or in ~/.cargo/bin.

    None when there is none. It is run for its version and help, the first time and whenever the file has changed.
    """
    path = _which(policy.binary, folders) if policy.binary else None
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return _examined(path, found.st_mtime_ns, found.st_size)


def fit(policy: Policy) -> Fit | None:
    """What of the entry holds for the installed version; None when it is not installed."""
    installed = find_binary(policy)
    if installed is None:
        return None
    lacking = {flag_of(each.name): None for each in policy.tunables if each.name not in installed.flags}
    modes = []
    for mode in policy.modes:
        missing = [word for word in _flags_in(mode) if word.lstrip("-") not in installed.flags]
        lacking.update(dict.fromkeys(missing))
        if not missing and _values_known(mode, installed):
            modes.append(mode)
    tunables = tuple(_as_installed(each, installed) for each in policy.tunables if each.name in installed.flags)
    return Fit(installed=installed, tunables=tunables, modes=tuple(modes), lacking=tuple(lacking))


def parse_help(text: str) -> dict[str, Flag]:
    """The options that a help text lists, by name and by short form. Understands clap's and getopt programs' layout."""
    flags: dict[str, Flag] = {}
    for head, body in _options(text):
        name = head["long"] or head["short"]
        default = _DEFAULT.search(body)
        values = _VALUES.search(body)
        listed = tuple(each.strip() for each in values[1].split(",")) if values else tuple(_VALUE_LINE.findall(body))
        flag = Flag(
            name=name,
            short=head["short"] or "",
            takes_value=bool(head["value"]),
            default=default[1].strip() if default else "",
            values=listed,
        )
        flags.setdefault(name, flag)
        if flag.short:
            flags.setdefault(flag.short, flag)
    return flags


def _options(text: str) -> Iterator[tuple[re.Match[str], str]]:
    head: re.Match[str] | None = None
    body: list[str] = []
    for line in text.splitlines():
        match = _OPTION.match(line)
        if match and (match["short"] or match["long"]):
            if head:
                yield head, "\n".join(body)
            head, body = match, [match["rest"]]
        else:
            body.append(line)
    if head:
        yield head, "\n".join(body)


def _flags_in(mode: Mode) -> list[str]:
    return [word.partition("=")[0] for word in mode.flags if re.match(r"--?[A-Za-z]", word)]


def _values_known(mode: Mode, installed: Installed) -> bool:
    """Whether each value that follows a flag is one that this version lists, where it lists them."""
    for word, after in zip(mode.flags, (*mode.flags[1:], ""), strict=False):
        name, equals, value = word.lstrip("-").partition("=")
        flag = installed.flags.get(name) if word.startswith("-") else None
        if flag and flag.values and flag.takes_value and (value if equals else after) not in flag.values:
            return False
    return True


def _as_installed(tunable: Tunable, installed: Installed) -> Tunable:
    default = installed.flags[tunable.name].default
    if not default:
        return tunable
    try:
        return msgspec.structs.replace(tunable, default=check_setting(tunable, default))
    except BadTunable:
        return tunable


def _which(binary: str, folders: Sequence[Path] | None) -> Path | None:
    places = _places() if folders is None else list(map(str, folders))
    found = shutil.which(binary, path=os.pathsep.join(places))
    return Path(found).resolve() if found else None


def _places() -> list[str]:
    listed = [os.environ.get(FOLDER_VARIABLE, ""), *os.environ.get("PATH", "").split(os.pathsep)]
    places = [each for each in listed if each.startswith("/")]
    with contextlib.suppress(RuntimeError):
        places.append(str(Path.home() / ".cargo" / "bin"))
    return places


@functools.lru_cache(maxsize=256)
def _examined(path: Path, _changed_ns: int, _size: int) -> Installed:
    help_text, problem = _said_by(path, "--help")
    version_text, _ = _said_by(path, "--version") if not problem else ("", "")
    flags = parse_help(help_text)
    if not flags and not problem:
        problem = f"{path.name} --help lists no options."
    version = _VERSION.search(version_text.partition("\n")[0])
    return Installed(
        path=str(path),
        version=version[1] if version else "",
        flags=flags,
        lab_only=not _only_root_can_change(path),
        problem=problem,
    )


def _only_root_can_change(path: Path) -> bool:
    for each in (path, *path.parents):
        found = each.stat()
        if found.st_uid != 0 or found.st_mode & 0o022:
            return False
    return True


def _said_by(path: Path, argument: str) -> tuple[str, str]:
    """What the program prints, and why it could not be asked (empty when it could)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return "", f"{path} cannot be read: {error.strerror}."
    try:
        # By its descriptor, so that it also runs for “nobody”, who may not enter every folder that root may.
        process = subprocess.Popen(
            [path.name, argument],
            executable=f"/proc/self/fd/{descriptor}",
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb", "COLUMNS": "100"},
            start_new_session=True,
            user=_NOBODY if os.geteuid() == 0 else None,
            group=_NOBODY if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "", f"{path} cannot be run: {getattr(error, 'strerror', None) or error}."
    finally:
        os.close(descriptor)
    with process:
        output, problem = _read_in_time(process, path.name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return output.decode(errors="replace"), problem


def _read_in_time(process: subprocess.Popen[bytes], name: str) -> tuple[bytes, str]:
    assert process.stdout
    output = b""
    deadline = time.monotonic() + TIME_LIMIT_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) <= _OUTPUT_LIMIT_BYTES:
            if not selector.select(max(deadline - time.monotonic(), 0)):
                return b"", f"{name} did not answer within {TIME_LIMIT_S:g} s."
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                return output, ""
            output += piece
    return b"", f"{name} printed more than {_OUTPUT_LIMIT_BYTES >> 10} KiB."
