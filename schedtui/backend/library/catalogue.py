"""The library as it lies on disk: policies and presets, read from their TOML files and checked.

Built-in policies and external schedulers ship with the program; the user's own lie in ``policies`` of the data
directory, and those that were made for them in ``generated`` (see generated.py). A damaged entry is left out and
named in ``problems``; it never hides the others. What a policy does to a kernel, which settings a user wants, and
what an external scheduler's installed version can really do, is left to others.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from schedtui.backend.errors import BadFile, BadTunable, UnknownName
from schedtui.backend.library.meta import state_of
from schedtui.backend.model import Choice, Mode, Origin, Policy, Preset, Setting, Statistic, Tunable
from schedtui.backend.tunables import check_setting, check_settings, suggestion
from schedtui.paths import data_dir, shipped

CLASSES = {
    "gaming": "games",
    "streaming": "a game and its recording or stream",
    "audio": "sound with small buffers",
    "desktop": "a desktop in use",
    "compile": "builds",
    "batch": "many jobs of which only the end counts",
    "server": "a service whose slowest answers matter",
    "data-ml": "training and data processing",
    "memory-io": "work bound by memory or disk",
    "battery": "a battery that should last",
}
"""The workload classes: what people do with a computer, by the ids that presets, modes and intents share."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*\Z")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FLAG = re.compile(r"[A-Za-z0-9]|[a-z0-9]+(-[a-z0-9]+)*")
_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_LARGEST_BYTES = 1 << 20
_PATH_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")

_Entry = TypeVar("_Entry")


class Library(Struct, frozen=True):
    """Everything that could be read. Presets keep the order of their file."""

    policies: dict[str, Policy]
    presets: dict[str, Preset]
    problems: list[str]
    """``file:line: what is wrong``, one for each entry that was left out or cannot be used."""

    def policy(self, name: str) -> Policy:
        """Raises UnknownName, with the names that are near."""
        if name in self.policies:
            return self.policies[name]
        raise _unknown("policy", name, self.policies)

    def preset(self, id: str) -> Preset:
        """Raises UnknownName, with the names that are near."""
        if id in self.presets:
            return self.presets[id]
        raise _unknown("preset", id, self.presets)

    def find(self, name: str) -> Preset | Policy:
        """The preset or the policy of that name; raises UnknownName, with the names that are near."""
        if name in self.presets:
            return self.presets[name]
        if name in self.policies:
            return self.policies[name]
        raise _unknown("preset or policy", name, [*self.presets, *self.policies])

    def preset_for(self, goal: str) -> Preset | None:
        """The preset that serves a workload class; None when there is none."""
        return next((each for each in self.presets.values() if (each.goal or each.id) == goal), None)

    def loadable(self) -> dict[str, Policy]:
        """The policies that have a source of their own: all but the external schedulers."""
        return {name: policy for name, policy in self.policies.items() if policy.source}


class _PolicyFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    title: str
    summary: str
    description: str
    source: str = ""
    binary: str = ""
    for_whom: tuple[str, ...]
    not_for: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    mode: tuple[_ModeEntry, ...] = ()
    default_mode: str = ""
    tunable: tuple[_TunableEntry, ...] = ()
    statistic: tuple[_StatisticEntry, ...] = ()


class _ModeEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    goal: str
    flags: tuple[str, ...]
    reason: str


class _TunableEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str
    cost: str
    unit: str = ""
    default: Setting
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    live: bool = False


class _StatisticEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str


class _PresetEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    goal: str = ""
    title: str
    summary: str
    does: str
    costs: str
    choice: tuple[_ChoiceEntry, ...] = ()


class _ChoiceEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    policy: str
    reason: str
    settings: dict[str, Setting] = field(default_factory=dict)


class _Wrong(Exception):
    """Something in a file, and the line it stands on (0: the whole file)."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def load_library(folder: Path | None = None, data: Path | None = None) -> Library:
    """Read ``folder`` and the policies in the user's data directory ``data``.

    Without arguments: the library that ships, and the user's. With ``folder`` alone: that folder and nothing else.
    Never raises for what lies in them: see ``problems``.
    """
    if folder is None:
        folder, data = shipped("library"), data or data_dir()
    problems: list[str] = []
    policies: dict[str, Policy] = {}
    files = entries_in(folder)
    if not files:
        problems.append(f"{folder}: holds no policy (no folder with a policy.toml)")
    _add_policies(files, "built-in", policies, problems)
    presets = _read_presets(folder / "presets.toml", policies, problems)
    if data is not None:
        taken = {*policies, *presets}
        _add_policies(entries_in(data / "policies"), "user", policies, problems, taken)
        _add_policies(_in_use(data / "generated"), "generated", policies, problems, {*policies, *presets})
    return Library(policies, presets, problems)


def read_policy(path: Path, origin: Origin = "user") -> Policy:
    """The entry in the file ``path`` (a ``policy.toml``) by itself. Raises BadFile, which names file and line."""
    try:
        return _read_policy(path, origin)
    except _Wrong as wrong:
        raise BadFile(_located(path, wrong), "Mend that file.") from wrong


def entries_in(folder: Path) -> list[Path]:
    """The ``policy.toml`` of each folder in it; none where nothing may be read, as in a home of somebody else."""
    try:
        return sorted(folder.glob("*/policy.toml"))
    except OSError:
        return []


def _in_use(folder: Path) -> list[Path]:
    return [path for path in entries_in(folder) if state_of(path.parent) != "retired"]


def _add_policies(
    files: Iterable[Path],
    origin: Origin,
    policies: dict[str, Policy],
    problems: list[str],
    taken: Iterable[str] = (),
) -> None:
    for path in files:
        try:
            policy = _read_policy(path, origin)
            if policy.name in taken:
                what = f"“{policy.name}” is already the name of another policy or preset: give this one another"
                raise _Wrong(what, _line(path.read_text(encoding="utf-8"), "name"))
        except _Wrong as wrong:
            problems.append(_located(path, wrong))
        else:
            policies[policy.name] = policy


def _read_policy(path: Path, origin: Origin) -> Policy:
    data, text = _read_toml(path)
    entry = _converted(data, _PolicyFile, text, "")
    if not _NAME.match(entry.name) or entry.name != path.parent.name:
        raise _Wrong(f"name is “{entry.name}”, but the folder is called “{path.parent.name}”", _line(text, "name"))
    if bool(entry.source) == bool(entry.binary):
        raise _Wrong("needs either a source or, for an external scheduler, a binary", _line(text, "binary"))
    source = _source_of(path, entry, text)
    tunables = tuple(Tunable(**msgspec.structs.asdict(each)) for each in entry.tunable)
    for index, tunable in enumerate(tunables):
        where = _line(text, "name", f"[[tunable]]:{index}")
        _check_tunable(tunable, where, external=bool(entry.binary))
        if any(tunable.name == each.name for each in tunables[:index]):
            raise _Wrong(f"{tunable.name} is listed twice", where)
    if entry.binary and origin == "built-in":
        origin = "external"
    draft = origin == "generated" and state_of(path.parent) == "draft"
    return Policy(
        name=entry.name,
        title=f"{entry.title} (draft)" if draft else entry.title,
        summary=entry.summary,
        description=entry.description.strip(),
        for_whom=entry.for_whom,
        not_for=entry.not_for,
        limits=entry.limits,
        tunables=tunables,
        statistics=tuple(Statistic(name=each.name, description=each.description) for each in entry.statistic),
        folder=str(path.parent),
        source=source,
        origin=origin,
        binary=entry.binary,
        modes=_modes_of(entry, text),
        default_mode=entry.default_mode,
        goal=entry.default_mode,
        note=_read_note(path.parent / "NOTE.md"),
    )


def _source_of(path: Path, entry: _PolicyFile, text: str) -> str:
    if not entry.source:
        if not _PROGRAM.fullmatch(entry.binary):
            raise _Wrong(f"binary “{entry.binary}” is not the name of a program", _line(text, "binary"))
        return ""
    source = path.parent / entry.source
    if source.parent != path.parent or not source.is_file():
        raise _Wrong(f"source “{entry.source}” is not a file of this folder", _line(text, "source"))
    return str(source)


def _modes_of(entry: _PolicyFile, text: str) -> tuple[Mode, ...]:
    modes: list[Mode] = []
    for index, each in enumerate(entry.mode):
        table = f"[[mode]]:{index}"
        if not entry.binary:
            raise _Wrong("only an external scheduler has modes; a policy of ours has tunables", _line(text, "", table))
        if each.goal not in CLASSES:
            raise _Wrong(f"goal “{each.goal}” is none of {', '.join(CLASSES)}", _line(text, "goal", table))
        if any(each.goal == mode.goal for mode in modes):
            raise _Wrong(f"there are two modes for {each.goal}", _line(text, "goal", table))
        modes.append(Mode(goal=each.goal, flags=each.flags, reason=each.reason))
    if entry.default_mode and not any(each.goal == entry.default_mode for each in modes):
        raise _Wrong(f"default_mode is “{entry.default_mode}”, but no mode has that goal", _line(text, "default_mode"))
    return tuple(modes)


def _read_note(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        return _read_text(path).strip()
    except _Wrong as wrong:
        raise _Wrong(f"{path.name} {wrong.what}") from wrong


def _check_tunable(tunable: Tunable, line: int, *, external: bool) -> None:
    name = tunable.name
    if external and not _FLAG.fullmatch(name):
        raise _Wrong(f"“{name}” cannot be the name of a flag; leave out the dashes before it", line)
    if not external and not _IDENTIFIER.match(name):
        raise _Wrong(f"“{name}” cannot be the name of a C global", line)
    if isinstance(tunable.default, int) and not isinstance(tunable.default, bool):
        low, high = tunable.minimum, tunable.maximum
        if low is None or high is None:
            raise _Wrong(f"{name} is a number: it needs a minimum and a maximum", line)
        if low > high:
            raise _Wrong(f"{name}'s minimum {low} is above its maximum {high}", line)
    if isinstance(tunable.default, str) and tunable.max_length is None:
        raise _Wrong(f"{name} is text: it needs a max_length", line)
    try:
        check_setting(tunable, tunable.default)
    except BadTunable as bad:
        raise _Wrong(f"the default of {bad.message[:-1]}: {bad.remedy}", line) from None


def _read_presets(path: Path, policies: dict[str, Policy], problems: list[str]) -> dict[str, Preset]:
    presets: dict[str, Preset] = {}
    try:
        data, text = _read_toml(path)
        entries = data.pop("preset", [])
        if data or not isinstance(entries, list) or not entries:
            raise _Wrong("must hold [[preset]] entries and nothing else")
    except _Wrong as wrong:
        problems.append(_located(path, wrong))
        return presets
    for index, entry in enumerate(entries):
        table = f"[[preset]]:{index}"
        try:
            preset = _preset_of(_converted(entry, _PresetEntry, text, table))
            if preset.id in presets or preset.id in policies:
                raise _Wrong(f"“{preset.id}” is already the name of another preset or policy", _line(text, "id", table))
        except _Wrong as wrong:
            problems.append(_located(path, wrong))
            continue
        presets[preset.id] = preset
        for choice in preset.choices:
            what = _fault_of_choice(choice, policies)
            if what:
                problems.append(_located(path, _Wrong(f"{preset.id}: {what}", _line(text, "", table))))
    return presets


def _preset_of(entry: _PresetEntry) -> Preset:
    choices = tuple(Choice(policy=each.policy, reason=each.reason, settings=each.settings) for each in entry.choice)
    return Preset(
        id=entry.id,
        title=entry.title,
        summary=entry.summary,
        does=entry.does,
        costs=entry.costs,
        choices=choices,
        goal=entry.goal or entry.id,
    )


def _fault_of_choice(choice: Choice, policies: dict[str, Policy]) -> str:
    if choice.policy not in policies:
        return f"there is no usable policy called “{choice.policy}”"
    try:
        check_settings(policies[choice.policy], choice.settings)
    except BadTunable as bad:
        return f"{bad.message} {bad.remedy}"
    return ""


def _read_toml(path: Path) -> tuple[dict[str, Any], str]:
    text = _read_text(path)
    try:
        return tomllib.loads(text), text
    except RecursionError as error:
        raise _Wrong("is not TOML that can be read: its values are nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        what = re.sub(r" \(at .*\)", "", str(error))
        end = max(len(text.splitlines()), 1)
        raise _Wrong(f"is not TOML: {what}", int(place[1]) if place else end) from error


def _read_text(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _Wrong("is not a file")
        if found.st_size > _LARGEST_BYTES:
            raise _Wrong(f"is too large ({found.st_size >> 20} MiB; {_LARGEST_BYTES >> 20} MiB at most)")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _Wrong(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _Wrong("is not UTF-8 text") from error


def _converted(data: object, kind: type[_Entry], text: str, table: str) -> _Entry:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        what = re.sub("Object (missing) required field|Object contains (unknown) field", r"\1\2", what)
        key = ""
        for word, number in _PATH_STEP.findall(path):
            if number:
                table = table or f"[[{key}]]:{number}"
                key = ""
            else:
                key = word
        named = re.search(r"(?:missing|unknown) `(\w+)`", what)
        line = _line(text, key or (named[1] if named else ""), table)
        raise _Wrong(what.replace("`", "") + (f" in {key}" if key else ""), line) from None


def _line(text: str, key: str, table: str = "") -> int:
    """The line where ``key`` is set, in the n-th table ``[[name]]:n`` when one is named; else that table's own line."""
    header, _, number = table.partition(":")
    seen, here = -1, 1
    for line, content in enumerate(text.splitlines(), 1):
        stripped = content.strip()
        if header and stripped.startswith(header):
            seen += 1
            if seen == int(number):
                here = line
        elif key and re.match(rf"{re.escape(key)}\s*=", stripped) and (not header or seen == int(number)):
            return line
    return here


def _located(path: Path, wrong: _Wrong) -> str:
    return f"{path}:{wrong.line}: {wrong.what}" if wrong.line else f"{path}: {wrong.what}"


def _unknown(what: str, name: str, known: Iterable[str]) -> UnknownName:
    return UnknownName(f"There is no {what} called “{name}”.", suggestion(name, known))
