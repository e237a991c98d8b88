"""What this computer starts by itself when it boots: the configuration of scx_loader, or of scx.service.

A change is worked out here, line by line, so that comments and everything else stay; it is shown before it is written,
and the file as it was is kept, so that it can be put back exactly. No text of a client gets into a file but names and
flags of plain characters. Runs as root: the standard library and msgspec only.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from schedtui.backend.errors import BadFile, BadTunable, MissingTool, NotPermitted, SchedtuiError
from schedtui.backend.helper.others import UNITS
from schedtui.backend.model import OtherName, PermanentChange
from schedtui.backend.probes.scx_loader import MODES, Bus, run_tool

ROOT = Path("/")
_UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_LOADER_FILES = ("etc/scx_loader/config.toml", "etc/scx_loader.toml")
_LOADER_EXAMPLES = ("usr/share/scx_loader/config.toml", "usr/share/scx_loader.toml")
_SERVICE_FILE = "etc/default/scx"
_LOADER_MODES = dict(zip(MODES, ("Auto", "Gaming", "PowerSave", "LowLatency", "Server"), strict=True))
_SYSTEMCTL_S = 20.0
LOADER_KNOWS = tuple(
    f"scx_{name}"
    for name in ("bpfland", "cosmos", "flash", "lavd", "p2dq", "rustland", "rusty", "tickless", "beerland", "cake")
)
"""By scx_loader 1.0.20; one that runs is asked."""
_MOST_KEPT = 20
_LARGEST_BYTES = 1 << 20
_PROGRAM = re.compile(r"scx_[a-z0-9_]{1,30}", re.ASCII)
_FLAG = re.compile(r"[A-Za-z0-9_.,=:+/-]{1,64}", re.ASCII)
"""Without a character that TOML, systemd or a shell (scx.service has one start it) would read as more than itself."""
_MOST_FLAGS = 32
_MAKE_FOLDER = "The helper's unit may write there once the folder exists: sudo mkdir -p {0}, then restart the helper."
_BY_HAND = "Change it by hand; schedtui leaves it as it is."


class _Backup(Struct, frozen=True, kw_only=True):
    path: str
    before: bytes | None
    """None: there was no such file."""
    after: bytes
    mode: int
    enabled: str = ""
    """The unit that was not started with the computer before."""
    at: float


class Permanent:
    """``state`` is a folder that only root writes and that outlives the helper; ``scope`` is given to systemctl."""

    def __init__(self, state: Path, *, root: Path = ROOT, bus: Bus | None = None, scope: Sequence[str] = ()) -> None:
        self._file = state / "permanent.json"
        self._root = root
        self._bus = bus or Bus()
        self._scope = tuple(scope)

    def preview(self, program: str, mode: str, arguments: Sequence[str] | None = None) -> PermanentChange:
        """What would be written so that ``program`` starts with the computer, in one of scx_loader's MODES.

        With ``arguments`` that mode gets these flags; scx.service always gets them. Raises MissingTool where neither
        is installed, BadTunable for names or flags that are none, BadFile for a file that cannot be changed safely.
        """
        return self._work_out(program, mode, arguments)[0]

    def write(self, program: str, mode: str, arguments: Sequence[str] | None = None) -> PermanentChange:
        """Do it. Nothing is written when it is so already."""
        change, before, after = self._work_out(program, mode, arguments)
        if not change.diff and not change.enables:
            return change
        path = self._root / change.path.lstrip("/")
        permissions = path.stat().st_mode & 0o7777 if before is not None else 0o644
        backup = _Backup(
            path=change.path, before=before, after=after, mode=permissions, enabled=change.enables, at=time.time()
        )
        self._keep((*self._kept(), backup)[-_MOST_KEPT:])
        try:
            _replace(path, after, permissions)
        except OSError as error:
            self._keep(self._kept()[:-1])
            remedy = _MAKE_FOLDER.format(path.parent) if error.errno == errno.EROFS else _BY_HAND
            raise BadFile(f"{change.path} could not be written: {error.strerror}.", remedy) from error
        if change.enables:
            self._systemctl("enable", change.enables)
        return msgspec.structs.replace(change, done=True)

    def preview_undo(self) -> PermanentChange:
        """What putting the last change back would write. Raises NotPermitted: there is none, or others changed it."""
        return self._work_out_undo()[0]

    def undo(self) -> PermanentChange:
        """Put the file back exactly as it was before the last change."""
        change, backup = self._work_out_undo()
        path = self._root / backup.path.lstrip("/")
        try:
            if backup.before is None:
                path.unlink(missing_ok=True)
            else:
                _replace(path, backup.before, backup.mode)
        except OSError as error:
            raise BadFile(f"{backup.path} could not be put back: {error.strerror}.", _BY_HAND) from error
        if backup.enabled:
            self._systemctl("disable", backup.enabled)
        self._keep(self._kept()[:-1])
        return msgspec.structs.replace(change, done=True)

    def undoable(self) -> bool:
        """Whether a change of ours is there to be put back."""
        return bool(self._kept())

    def _work_out(
        self, program: str, mode: str, arguments: Sequence[str] | None
    ) -> tuple[PermanentChange, bytes | None, bytes]:
        _check(program, mode, arguments)
        other, file, example = self._where()
        self._refuse_unknown(other, program)
        path = self._root / file
        before = self._read(path)
        start = before if before is not None else (self._read(self._root / example) or b"" if example else b"")
        text = _decoded(start, f"/{file}")
        if other == "scx_loader":
            after = edit_loader_config(text, program, mode, arguments).encode()
        else:
            after = edit_service_config(text, program, arguments or ()).encode()
        flags = " ".join(arguments) if arguments else ""
        what = f"{program} in {mode} mode" if other == "scx_loader" else f"{program} {flags}".rstrip()
        unit = UNITS[other]
        enables = "" if self._starts(unit) else unit
        words = f"{other} starts {what} with the computer{f', once {unit} is enabled' if enables else ''}."
        change = _change(other, f"/{file}", before, after, words)
        return msgspec.structs.replace(change, enables=enables), before, after

    def _work_out_undo(self) -> tuple[PermanentChange, _Backup]:
        kept = self._kept()
        if not kept:
            raise NotPermitted("Nothing was made permanent, so there is nothing to put back.")
        backup = kept[-1]
        now = self._read(self._root / backup.path.lstrip("/"))
        if now != backup.after:
            raise NotPermitted(
                f"{backup.path} was changed by somebody else since, so it is not put back.",
                f"Look at it, and change it by hand; schedtui's copy of {time.ctime(backup.at)} stays.",
                "".join(_diff(backup.path, now, backup.before or b"")),
            )
        other: OtherName = "scx.service" if backup.path.endswith(_SERVICE_FILE) else "scx_loader"
        words = f"{backup.path} is as it was before {time.ctime(backup.at)}."
        return _change(other, backup.path, now, backup.before, words), backup

    def _where(self) -> tuple[OtherName, str, str]:
        """Who starts schedulers here, its file, and the example that a new file begins with."""
        if self._has_unit("scx_loader.service"):
            file = next((each for each in _LOADER_FILES if (self._root / each).exists()), _LOADER_FILES[0])
            return "scx_loader", file, next((each for each in _LOADER_EXAMPLES if (self._root / each).exists()), "")
        if self._has_unit("scx.service"):
            return "scx.service", _SERVICE_FILE, ""
        raise MissingTool(
            "Neither scx_loader nor scx.service is installed here, which could start a scheduler with the computer.",
            "Install your distribution's scx-scheds, or let schedtui load it at login: schedtui watch --print-unit",
        )

    def _refuse_unknown(self, other: OtherName, program: str) -> None:
        """An scx_loader that reads a name which it does not know does not start at all."""
        said = self._bus.loader() if other == "scx_loader" else None
        known = said.supported if said and said.supported else LOADER_KNOWS
        if other == "scx_loader" and program not in known:
            raise BadTunable(
                f"The scx_loader of this computer does not know {program}.", f"It knows {', '.join(known)}."
            )

    def _starts(self, unit: str) -> bool:
        """Whether a unit starts with the computer; so it seems where systemd cannot be asked."""
        if not self._scope and not (self._root / "run/systemd/system").exists():
            return True
        try:
            return self._systemctl("is-enabled", unit).startswith(("enabled", "static", "alias", "indirect"))
        except SchedtuiError:  # it says “disabled” with an exit code
            return False

    def _systemctl(self, *arguments: str) -> str:
        return run_tool("systemctl", (*self._scope, "--no-ask-password", "--no-pager", *arguments), _SYSTEMCTL_S)

    def _has_unit(self, name: str) -> bool:
        return any((self._root / folder / name).exists() for folder in _UNIT_FOLDERS)

    def _read(self, path: Path) -> bytes | None:
        try:
            if path.is_symlink():
                raise BadFile(f"{path} is a link to {path.readlink()}: something else manages it.", _BY_HAND)
            if path.stat().st_size > _LARGEST_BYTES:
                raise BadFile(f"{path} is too large for a configuration.", _BY_HAND)
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadFile(f"{path} cannot be read: {error.strerror}.", _BY_HAND) from error

    def _kept(self) -> tuple[_Backup, ...]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=tuple[_Backup, ...])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return ()

    def _keep(self, backups: Sequence[_Backup]) -> None:
        try:
            _replace(self._file, msgspec.json.encode(backups), 0o600)
        except OSError as error:
            raise SchedtuiError(
                f"The file as it was cannot be kept ({error.strerror}), so nothing was changed.",
                f"Make room in {self._file.parent}.",
            ) from error


def edit_loader_config(text: str, program: str, mode: str, arguments: Sequence[str] | None) -> str:
    """scx_loader's TOML with this default, and with ``arguments`` for that mode of the program when they are given.

    Every other line stays as it is. Raises BadFile when the file is no TOML, or is written in a way that a line by line
    change does not fit: the result is read again, and must say exactly what was wanted.
    """
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadFile(f"The configuration of scx_loader is damaged: {error}.", "Mend it by hand first.") from error
    lines = text.splitlines(keepends=True)
    _set_default(lines, "default_mode", _LOADER_MODES[mode])
    _set_default(lines, "default_sched", program)
    wanted |= {"default_sched": program, "default_mode": _LOADER_MODES[mode]}
    if arguments is not None:
        key = f"{mode}_mode"
        _set_in_table(lines, program, key, f"[{', '.join(map(_quoted, arguments))}]")
        _table(wanted, program)[key] = list(arguments)
    edited = "".join(lines)
    try:
        same = tomllib.loads(edited) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise BadFile("The configuration of scx_loader is written in a way that schedtui cannot change.", _BY_HAND)
    return edited


def edit_service_config(text: str, program: str, arguments: Sequence[str]) -> str:
    """scx.service's shell-like file with this scheduler and these flags. Every other line stays. Raises BadFile."""
    if re.search(r"\\$", text, re.MULTILINE):
        raise BadFile("The configuration of scx.service has lines that go on in the next one.", _BY_HAND)
    lines = text.splitlines(keepends=True)
    _set_variable(lines, "SCX_FLAGS", f"'{' '.join(arguments)}'")
    _set_variable(lines, "SCX_SCHEDULER", program)
    return "".join(lines)


def _set_default(lines: list[str], key: str, value: str) -> None:
    """A key above all tables: in its place, below its commented example, or at the very top."""
    end = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    _put(lines, range(end), rf"{key}\s*=", f"{key} = {_quoted(value)}", 0)


def _set_in_table(lines: list[str], program: str, key: str, value: str) -> None:
    header = re.compile(rf"\s*\[\s*scheds\s*\.\s*(['\"]?){program}\1\s*\]")
    begin = next((at for at, line in enumerate(lines) if header.match(line)), None)
    if begin is None:
        _end_line(lines)
        lines += [*(["\n"] if lines else []), f"[scheds.{program}]\n", f"{key} = {value}\n"]
        return
    after = range(begin + 1, len(lines))
    end = next((at for at in after if lines[at].lstrip().startswith("[")), len(lines))
    _put(lines, range(begin + 1, end), rf"{key}\s*=", f"{key} = {value}", begin + 1)


def _set_variable(lines: list[str], name: str, value: str) -> None:
    _put(lines, range(len(lines)), rf"(?:export\s+)?{name}=", f"{name}={value}", len(lines))


def _put(lines: list[str], within: range, key: str, line: str, otherwise: int) -> None:
    """Replace the last line of that key, put it below its last commented example, or at ``otherwise``."""
    set_at = [at for at in within if re.match(rf"\s*{key}", lines[at])]
    if set_at:
        comment = re.search(r"\s+#[^'\"]*$", lines[set_at[-1]].rstrip("\n"))
        lines[set_at[-1]] = f"{line}{comment[0] if comment else ''}\n"
        return
    shown_at = [at for at in within if re.match(rf"\s*#\s*{key}", lines[at])]
    at = shown_at[-1] + 1 if shown_at else otherwise
    if at == len(lines):
        _end_line(lines)
    lines.insert(at, f"{line}\n")


def _end_line(lines: list[str]) -> None:
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"


def _table(config: dict[str, Any], program: str) -> dict[str, Any]:
    table = config.setdefault("scheds", {})
    found = table.setdefault(program, {}) if isinstance(table, dict) else None
    if not isinstance(found, dict):
        raise BadFile("The configuration of scx_loader has something else where schedulers should be.", _BY_HAND)
    return found


def _check(program: str, mode: str, arguments: Sequence[str] | None) -> None:
    if not _PROGRAM.fullmatch(program):
        raise BadTunable(f"“{program}” is no scheduler's program.", "Its name begins with scx_.")
    if mode not in MODES:
        raise BadTunable(f"scx_loader has no mode “{mode}”.", f"It has {', '.join(MODES)}.")
    if len(arguments or ()) > _MOST_FLAGS:
        raise BadTunable(f"More than {_MOST_FLAGS} flags are not written.")
    for each in arguments or ():
        if not _FLAG.fullmatch(each):
            raise BadTunable(f"“{each}” is no flag that can be written into a configuration.")


def _change(other: OtherName, path: str, before: bytes | None, after: bytes | None, words: str) -> PermanentChange:
    diff = "" if before == after else "".join(_diff(path, before, after))
    return PermanentChange(starter=other, path=path, diff=diff, words=words)


def _diff(path: str, before: bytes | None, after: bytes | None) -> Sequence[str]:
    old, new = ((each or b"").decode(errors="replace").splitlines(keepends=True) for each in (before, after))
    names = (path if before is not None else "/dev/null", path if after is not None else "/dev/null")
    return [line if line.endswith("\n") else f"{line}\n" for line in difflib.unified_diff(old, new, *names)]


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is no text.", _BY_HAND) from error


def _quoted(text: str) -> str:
    return f'"{text}"'


def _replace(path: Path, data: bytes, permissions: int) -> None:
    """As a whole, or not at all; in place where a hardened unit may write only the file itself. Raises OSError."""
    draft = path.with_name(f".{path.name}.schedtui")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS or not path.exists():
            raise
        path.write_bytes(data)
        return
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), permissions)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
