"""The corpus of bad policies: its table, and the claims of it, measured in the lab.

What the verifier should say of each is in ``corpus.toml`` too; whether it does is for the tests.
"""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import LoadRejected, SchedtuiError
from schedtui.backend.lab import LabMachine
from schedtui.backend.model import StageName
from tests.conftest import DEFAULT, kernel_image, quiet, until

FOLDER = Path(__file__).parent
WATCH_S = 6.0
_OBSERVER = (FOLDER / "observer.py").read_text()
_READY = "/tmp/observer-ready"
_PINS = "/sys/fs/bpf"


class BadPolicy(Struct, frozen=True, kw_only=True):
    """A row of the table."""

    name: str
    stage: StageName
    rules: tuple[str, ...]
    load: tuple[str, ...]
    shows: str
    who: str = ""
    than: str = ""
    says: str = ""
    at_least: float = 0
    cpus: int = 2

    @property
    def source(self) -> Path:
        """Its ``.bpf.c`` file."""
        return FOLDER / self.stage / f"{self.name}.bpf.c"


class SeenTask(Struct, frozen=True):
    """What the observer saw of a task; ``says`` is its name at the end."""

    name: str
    says: str
    ran_s: float
    waited_s: float


class Seen(Struct, frozen=True, kw_only=True):
    """What the observer printed, and the policy's statistics at the end."""

    watched_s: float
    state: str
    idle_s: tuple[float, ...]
    taken_mib: int
    refused: int
    tasks: tuple[SeenTask, ...]
    log: tuple[str, ...]
    statistics: dict[str, int] = {}
    pins: tuple[str, ...] = ()

    def said_by(self, word: str) -> list[float]:
        """The numbers in the names of tasks that say ``word``."""
        return [float(each.says.split()[1]) for each in self.tasks if each.says.startswith(f"{word} ")]

    def ran_s(self, name: str) -> float:
        """How long the task of that first name ran."""
        return next(each.ran_s for each in self.tasks if each.name == name)


def corpus() -> list[BadPolicy]:
    """All rows of the table."""
    rows = tomllib.loads((FOLDER / "corpus.toml").read_text())["policy"]
    return msgspec.convert(rows, list[BadPolicy])


def observe(policy: BadPolicy, instead: Path | None = None) -> Seen | None:
    """Run it, or another source ``instead``, in a guest of its own under its load.

    None: the guest did not live through it, or we did not load it.

    Raises LoadRejected when the kernel's verifier does not accept it.
    """
    machine = LabMachine(kernel=kernel_image(DEFAULT), cpus=policy.cpus)
    machine.open(quiet)
    outputs: list[str] = []
    try:
        machine.run(["mount", "-t", "bpf", "bpf", _PINS], 10)
        command = ["python3", "-c", _OBSERVER, str(WATCH_S), *policy.load]
        observer = threading.Thread(target=lambda: outputs.append(_output(machine, command)))
        observer.start()
        assert until(lambda: machine.run(["test", "-e", _READY], 10).exit_code == 0, 60), outputs
        try:
            machine.load(policy.name.replace("-", "_"), compile_bpf(instead or policy.source), {})
        except LoadRejected as error:
            if "threw" not in str(error):  # thrown out at once is what the observer is to see
                raise
        observer.join()
        if not outputs or not outputs[0].startswith("{"):
            return None
        seen = msgspec.convert(json.loads(outputs[0]), Seen)
        running = next(machine.frames(0.3)).scheduler
        pins = machine.run(["ls", _PINS], 10).output.split() if policy.shows == "pinned" else []
        return msgspec.structs.replace(seen, statistics=running.statistics, pins=tuple(pins))
    except LoadRejected:
        raise
    except SchedtuiError:
        return None
    finally:
        machine.close()


def _output(machine: LabMachine, command: list[str]) -> str:
    try:
        return machine.run(command, WATCH_S + 20).output
    except SchedtuiError as error:
        return str(error)


def misbehaves(policy: BadPolicy, seen: Seen | None) -> bool:
    """Whether what was seen is what the table claims."""
    if seen is None:
        return policy.shows in ("hangs", "not-loaded")
    return CLAIMS[policy.shows](policy, seen)


def _thrown_out(policy: BadPolicy, seen: Seen) -> bool:
    return seen.state == "disabled" and policy.says in "\n".join(seen.log)


def _waits(policy: BadPolicy, seen: Seen) -> bool:
    return any(each.waited_s >= policy.at_least for each in seen.tasks if each.name == policy.who)


def _late(policy: BadPolicy, seen: Seen) -> bool:
    return max(seen.said_by("late"), default=0) >= policy.at_least


def _held_up(policy: BadPolicy, seen: Seen) -> bool:
    """Those that sleep and wake up get less done than that, in s of CPU time, because each time they wait for a CPU."""
    return max(each.ran_s for each in seen.tasks if each.name.startswith("sleeper")) < policy.at_least


def _idle(policy: BadPolicy, seen: Seen) -> bool:
    """A CPU has nothing to do for that share of the time, although there is enough to do for all."""
    return max(seen.idle_s) >= policy.at_least * seen.watched_s


def _unfair(policy: BadPolicy, seen: Seen) -> bool:
    return seen.ran_s(policy.who) > 1.5 * seen.ran_s(policy.than)


CLAIMS: dict[str, Callable[[BadPolicy, Seen], bool]] = {
    "thrown-out": _thrown_out,
    "waits": _waits,
    "late": _late,
    "held-up": _held_up,
    "idle": _idle,
    "unfair": _unfair,
    "refused": lambda policy, seen: seen.refused >= policy.at_least,
    "forks-fail": lambda policy, seen: bool(seen.said_by("refused")),
    "statistic": lambda policy, seen: seen.statistics.get(policy.who, 0) >= policy.at_least,
    "memory": lambda policy, seen: seen.taken_mib >= policy.at_least,
    "pinned": lambda policy, seen: policy.who in seen.pins,
    "hangs": _thrown_out,
    "not-loaded": lambda policy, seen: False,
}
