"""What a mind may do without asking a person: earned step by step, kept for each mind by its name, lost by reverts.

Whether a policy is verified and its settings are in range is not a matter of trust: the deployer and the helper hold
that against whoever asks. How a person is asked is the engine's business. docs/AGENT.md says why it is earned so.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from schedtui.backend.errors import BadFile
from schedtui.backend.model import Policy, Setting, Tunable
from schedtui.paths import data_dir

PERSON = "person"
"""Who asks directly needs no trust."""
FIRST = 3
"""So many of each new kind ask a person."""
NEAR_PERCENT = 20
_LARGEST_BYTES = 1 << 20
Outcome = Literal["kept", "unkept", "reverted"]
"""Of a deployment: it stayed; it went without a fault (no difference, no decision, a no); it made things worse, or was
taken back."""


class TrustLevel(IntEnum):
    """How far a mind may go by itself; each level includes those below."""

    PROPOSE = 0
    """Only propose: a person decides each time."""
    TUNE = 1
    """Change settings of the policy that runs, within 20 % of their defaults."""
    LIBRARY = 2
    """Run any verified policy of the library, with any settings that are in range."""
    GENERATED = 3
    """Run a verified policy that a model wrote or changed."""

    @property
    def words(self) -> str:
        """What it allows: 'may …'."""
        return _WORDS[self]


_WORDS = {
    TrustLevel.PROPOSE: "only propose",
    TrustLevel.TUNE: f"change settings of the running policy, within {NEAR_PERCENT} % of their defaults",
    TrustLevel.LIBRARY: "run any verified policy of the library",
    TrustLevel.GENERATED: "run verified policies that a model wrote",
}
_EARNED = tuple(TrustLevel)[1:]


class Allowed(Struct, frozen=True):
    """It may be done without asking; why."""

    reason: str


class AskPerson(Struct, frozen=True):
    """A person has to be asked; why, in a sentence for them."""

    reason: str


class Refused(Struct, frozen=True):
    """It cannot be done now: there is nobody to ask."""

    reason: str
    remedy: str


class Standing(Struct, frozen=True, kw_only=True):
    """What is known of one mind."""

    kept: dict[str, Annotated[int, Meta(ge=0)]] = field(default_factory=dict)
    """By level: deployments that needed it or more, that a person agreed to, and that were kept."""
    reverts: int = 0
    """In all its time."""
    changed: float = 0.0
    """Unix time."""

    @property
    def level(self) -> TrustLevel:
        """The highest that is earned, with all below."""
        level = TrustLevel.PROPOSE
        for each in _EARNED:
            if self.kept.get(_key(each), 0) < FIRST:
                break
            level = each
        return level

    @property
    def missing(self) -> int:
        """How many more until the next level; 0 at the highest."""
        following = [each for each in _EARNED if each > self.level]
        return FIRST - self.kept.get(_key(following[0]), 0) if following else 0


class _Kept(Struct, kw_only=True):
    version: int = 1
    minds: dict[str, Standing] = field(default_factory=dict)


class Trust:
    """Of one mind, on this computer. May be used from any thread, and by several programs at once.

    ``automatic``: the user wants not to be asked (``--yes``, or ``automatic`` in config.toml).
    """

    def __init__(self, mind: str, *, automatic: bool = False, path: Path | None = None) -> None:
        self.mind = mind
        self.automatic = automatic
        self.problems: list[str] = []
        """What a person should know of the file: that it was damaged, and where it lies now."""
        self._file = TrustFile(path, self.problems)
        self._doubted = False

    @property
    def level(self) -> TrustLevel:
        """What it has earned."""
        return TrustLevel.PROPOSE if self._doubted else self._file.standing(self.mind).level

    def may(self, needs: TrustLevel, *, attended: bool = True) -> Allowed | AskPerson | Refused:
        """Whether something that needs this level may be done now. ``attended``: a person is there to be asked."""
        if needs == TrustLevel.PROPOSE:
            return Allowed("Proposing changes nothing.")
        if self.mind == PERSON:
            return Allowed("You asked for it yourself.")
        level = self.level
        if needs <= level:
            return Allowed(f"{self.mind} has earned it: it may {level.words}.")
        if self.automatic:
            return Allowed("You chose not to be asked.")
        reason = f"{self.mind} may {level.words} by itself; this is to {needs.words}."
        if attended:
            return AskPerson(reason)
        return Refused(f"{reason} There is nobody to ask.", "Run it where you can answer, or with --yes.")

    def note(self, needs: TrustLevel, outcome: Outcome, *, asked: bool) -> str:
        """Learn how something ended that needed this level; returns what it changes, for the user, or nothing.

        ``asked``: a person had agreed to it before. Raises BadFile when it cannot be kept; after a revert this mind
        is not trusted then until the program ends.
        """
        if self.mind == PERSON or needs == TrustLevel.PROPOSE or outcome == "unkept":
            return ""
        if outcome == "kept" and not asked:
            return ""
        self._doubted = self._doubted or outcome == "reverted"
        with self._file.changing() as minds:
            before = minds.get(self.mind, Standing())
            after = _after_keep(before, needs) if outcome == "kept" else _after_revert(before)
            minds[self.mind] = after
        self._doubted = False
        if after.level == before.level:
            return ""
        return f"{self.mind} may now {after.level.words}{' without asking' if after.level else ''}."


class TrustFile:
    """Where the standing of all minds is kept."""

    def __init__(self, path: Path | None = None, problems: list[str] | None = None) -> None:
        self.path = path or data_dir() / "trust.json"
        self.problems = problems if problems is not None else []

    def standing(self, mind: str) -> Standing:
        """Of one mind; that of a stranger when nothing is known, or nothing can be read."""
        return self.standings().get(mind, Standing())

    def standings(self) -> dict[str, Standing]:
        """Of all that are known."""
        return self._read().minds

    def reset(self, mind: str | None = None) -> list[str]:
        """Forget what one mind has earned, or all; returns their names. Raises BadFile."""
        with self.changing() as minds:
            gone = [name for name in minds if mind is None or name == mind]
            for name in gone:
                del minds[name]
        return gone

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, Standing]]:
        """The standings, written when the block ends well; no other program changes them meanwhile. Raises BadFile."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                kept = self._read()
                yield kept.minds
                fresh = self.path.with_suffix(".new")
                fresh.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2))
                fresh.replace(self.path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadFile(
                f"What models have earned cannot be kept in {self.path}: {reason}.", "They ask before they act."
            ) from error

    def _read(self) -> _Kept:
        try:
            if self.path.stat().st_size > _LARGEST_BYTES:
                raise msgspec.DecodeError("it is too large")
            return msgspec.json.decode(self.path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return _Kept()
        except OSError as error:
            self._tell(f"{self.path} cannot be read ({error.strerror or error}): no model is trusted.")
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            self._tell(f"{self.path} was damaged ({error}): no model is trusted any more.{self._moved_aside()}")
        return _Kept()

    def _moved_aside(self) -> str:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            self.path.replace(aside)
        except OSError:
            return ""
        return f" The old file is {aside}."

    def _tell(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def needed_for(policy: Policy | None, settings: Mapping[str, Setting], *, running: str = "") -> TrustLevel:
    """The trust that running ``policy`` with ``settings`` needs; ``running`` is the policy that runs now.

    None is the kernel's own scheduler: a choice as any other.
    """
    if policy is None:
        return TrustLevel.LIBRARY
    if policy.origin == "generated":
        return TrustLevel.GENERATED
    tunables = {each.name: each for each in policy.tunables}
    near = all(name in tunables and _is_near(tunables[name], value) for name, value in settings.items())
    return TrustLevel.TUNE if near and policy.name == running else TrustLevel.LIBRARY


def _is_near(tunable: Tunable, value: Setting) -> bool:
    """Within 20 % of its default; what is no number is near only when it is the default."""
    default = tunable.default
    if type(value) is int and type(default) is int:
        return abs(value - default) * 100 <= abs(default) * NEAR_PERCENT
    return type(value) is type(default) and value == default


def _after_keep(standing: Standing, needs: TrustLevel) -> Standing:
    """One more for this level and those below. What a mind wrote counts as chosen until its choices are trusted."""
    counts = needs if standing.level >= TrustLevel.LIBRARY else min(needs, TrustLevel.LIBRARY)
    kept = {_key(each): min(FIRST, standing.kept.get(_key(each), 0) + (each <= counts)) for each in _EARNED}
    return Standing(kept=kept, reverts=standing.reverts, changed=time.time())


def _after_revert(standing: Standing) -> Standing:
    """One level less, and the count for the next begins anew."""
    level = max(TrustLevel.PROPOSE, standing.level - 1)
    kept = {_key(each): FIRST if each <= level else 0 for each in _EARNED}
    return Standing(kept=kept, reverts=standing.reverts + 1, changed=time.time())


def _key(level: TrustLevel) -> str:
    return level.name.lower()
