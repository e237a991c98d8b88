"""What a person's words and a machine's figures say together: which work it is, what better means, what speaks for or
against a policy.

The same words over another machine can mean something else: where the CPUs idle and the disk is waited for, “it is
slow” is no scheduler's fault. Data in, data out, each conclusion with its evidence in plain words. Choosing among
policies is bandit.py's, saying it in calls offline.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct, field

from schedtui.agent.summary import Summary
from schedtui.backend.model import Metric, Policy, Setting, Tunable

SignName = Literal["disk", "memory", "forks", "hogs", "tail", "few", "idle"]
UNKNOWN = "unknown"
FRAMES = "load-frames"
"""The task of the lab's game-like load: in the lab, whoever waits is it."""

_DISK_PERCENT, _MEMORY_PERCENT, _FREE_PERCENT, _BUSY_PERCENT = 20.0, 10.0, 60.0, 75.0
_FORKS_PER_S = 20.0
_TAIL_US = 4000.0
_WAITING_PERCENT = 50.0
_PROMPT = frozenset({"gaming", "streaming", "audio", "desktop", "server"})
"""The classes in which somebody waits for an answer, and not for the end of all work."""
_WORK = frozenset({"compile", "batch", "data-ml", "memory-io"})
_OF_SIGN: dict[SignName, str] = {
    "disk": "memory-io",
    "memory": "memory-io",
    "forks": "compile",
    "tail": "desktop",
    "hogs": "desktop",
    "few": "batch",
}
"""What vague words mean on a machine that shows this; the first sign of a machine counts."""
_SAYS_NOTHING = re.compile(
    r"a|again|all|always|and|anything|are|at|be|been|better|bit|bad|bring|can|computer|could|desktop|device|"
    r"do|does|doing|everything|fast|faster|fix|for|get|gets|go|got|hardware|has|have|help|here|how|i|improve|"
    r"in|is|it|its|just|kind|laptop|like|linux|machine|make|me|more|much|my|need|notebook|now|of|often|on|"
    r"optimise|optimize|pc|perform|performance|please|poor|problem|quick|quicker|really|should|simply|slow|"
    r"slower|slowly|slowness|so|some|something|sometimes|speed|still|stuff|system|takes|than|that|the|thing|"
    r"things|this|time|to|today|too|tune|up|use|very|want|was|way|what|why|will|with|work|works|would|you|"
    r"your"
)
"""Words that a complaint of any kind is made of."""
_COMPLAINT = re.compile(
    r"bad|better|fast|faster|improve|optimise|optimize|performance|poor|quick|quicker|slow|slower|slowly|"
    r"slowness|speed|tune"
)
_MEANWHILE = re.compile(
    r"\b(while|but|meanwhile|and (still|keep|also)|without (the|my)|usable|responsive|smooth|browse|browser|desktop"
    r"|type|typing|music|call|video)\b"
)
_WORD = re.compile(r"[a-z0-9+#']+")
_LEAST_NAME = 3
_NAMES, _NAMES_LENGTH = 4, 127


class Sign(Struct, frozen=True, kw_only=True):
    """Something that stands out of a machine's figures."""

    name: SignName
    words: str
    """With the figures, in a sentence without its full stop."""


class Reading(Struct, frozen=True, kw_only=True):
    """What words are taken for by themselves: library.intents' judgement."""

    class_id: str
    confidence: float
    example: str
    """The nearest."""


class Judgement(Struct, frozen=True, kw_only=True):
    """What the words mean on this machine."""

    class_id: str
    """Of ``catalogue.CLASSES``, or ``unknown``."""
    confidence: float
    evidence: tuple[str, ...]


class Slant(Struct, frozen=True, kw_only=True):
    """What speaks for a policy (``times`` above 1) or against it on this machine."""

    policy: str
    times: float
    words: str
    settings: dict[str, Setting] = field(default_factory=dict)
    """What to set besides."""


def signs(seen: Summary) -> tuple[Sign, ...]:
    """What stands out, first what matters most."""
    return tuple(_signs(seen))


def judged(words: str, reading: Reading, seen: Summary) -> Judgement:
    """The class of ``words``; where they say no more than that something is slow, the machine tells."""
    found = signs(seen)
    told = tuple(each.words for each in found)
    if _vague(words, reading):
        sign = next((each for each in found if each.name in _OF_SIGN), None)
        if sign is None:
            why = "The words alone do not say what is meant, and nothing stands out on the machine"
            return Judgement(class_id=UNKNOWN, confidence=0.5, evidence=(why, *told))
        why = "The words leave open what is meant, so the machine decides"
        return Judgement(class_id=_OF_SIGN[sign.name], confidence=0.6, evidence=(why, *told))
    near = f"The words are like “{reading.example}”"
    return Judgement(class_id=reading.class_id, confidence=reading.confidence, evidence=(near, *told))


def metric_for(
    class_id: str, *, command: Sequence[str] = (), loads: Sequence[str] = (), focus: Sequence[str] = ()
) -> Metric:
    """The number that says better for a class: of a command that should end sooner, of loads in the lab, or waits."""
    if command and class_id not in _PROMPT:
        return Metric(name="command_s", command=tuple(command))
    if class_id in _WORK and loads:
        return Metric(name="work_per_s", work="forks" if "forks" in loads else loads[0])
    if class_id == "battery" and "frames" in loads:
        return Metric(name="work_per_s", work="frames")
    if not focus and "frames" in loads:
        focus = (FRAMES,)
    return Metric(name="wakeup_p99_us", focus=tuple(focus))


def focus_in(words: str, programs: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The programs that run and are named in the words. ``programs``: the names in each process tree."""
    said = set(_WORD.findall(words.lower()))
    found = [
        name
        for names in programs
        for name in names
        if any(_alike(part, each) for part in _WORD.findall(name.lower()) for each in said)
    ]
    return tuple(dict.fromkeys(found))[:_NAMES]


def slants(class_id: str, words: str, seen: Summary, focus: Sequence[str] = ()) -> tuple[Slant, ...]:
    """What the machine, and what else the words ask for, says of policies for a class."""
    return tuple(_slants(class_id, words.lower(), seen, focus))


def within(policy: Policy, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Those of ``settings`` that the policy has, numbers no further than their ranges."""
    tunables = {each.name: each for each in policy.tunables}
    return {name: _clipped(tunables[name], value) for name, value in settings.items() if name in tunables}


def expected(metric: Metric, seen: Summary) -> str:
    """What should get better, in plain words, with the figure that was seen."""
    if metric.name == "command_s":
        return "The command should come to its end sooner; how much is measured, not promised."
    if metric.name == "work_per_s":
        return f"More work of “{metric.work}” should be done each second; how much is measured, not promised."
    now = f", {_time(seen.latency_p99_us)} now" if seen.latency_p99_us else ""
    whose = f" of {', '.join(metric.focus)}" if metric.focus else ""
    text = f"The longest waits for a CPU{whose} (of a hundred the worst{now}) should get shorter."
    if any(each.name == "disk" for each in signs(seen)):
        text += " Do not expect much: programs wait for the disk, which no CPU scheduler makes faster."
    return text


def _signs(seen: Summary) -> Iterable[Sign]:
    pressure = seen.pressure_percent
    disk, memory = pressure.get("io", 0.0), pressure.get("memory", 0.0)
    used = f"the CPUs are {seen.used_percent:.0f} % used"
    if memory >= _MEMORY_PERCENT:
        yield Sign(
            name="memory", words=f"Memory is short: something stood still for want of it {memory:.0f} % of the time"
        )
    if disk >= _DISK_PERCENT and seen.used_percent < _FREE_PERCENT:
        yield Sign(name="disk", words=f"The disk is waited for {disk:.0f} % of the time, while {used}")
    forks = seen.forks_per_s or 0.0
    busy = seen.used_percent >= _BUSY_PERCENT
    if forks >= _FORKS_PER_S and busy:
        yield Sign(
            name="forks", words=f"{forks:.0f} new programs start each second, and {used}, as when something is built"
        )
    tail = seen.latency_p99_us or 0.0
    crowded = busy or (seen.waiting_percent or 0.0) >= _WAITING_PERCENT
    if tail >= _TAIL_US and crowded:
        yield Sign(
            name="tail",
            words=f"Of a hundred waits for a CPU the longest takes {_time(tail)}",
        )
    if crowded and forks < _FORKS_PER_S:
        yield Sign(name="hogs", words=f"Programs compute without a pause{_who(seen)}: {used}")
    if seen.shape == "a few busy CPUs":
        yield Sign(
            name="few",
            words=f"Few CPUs do all the work: the busiest is {seen.busiest_percent:.0f} % used, all together "
            f"{seen.used_percent:.0f} %",
        )
    if seen.shape == "idle" and disk < _DISK_PERCENT and memory < _MEMORY_PERCENT:
        yield Sign(name="idle", words=f"Hardly anything runs: {used}")


def _slants(class_id: str, words: str, seen: Summary, focus: Sequence[str]) -> Iterable[Slant]:
    shown = {each.name: each.words for each in signs(seen)}
    if "one shared cache" in seen.machine:
        yield Slant(
            policy="locality", times=0.7, words="all CPUs share one cache here, so staying near it gains little"
        )
    if class_id in _PROMPT and "forks" in shown:
        crowd = _crowd(seen, focus)
        if crowd:
            yield Slant(
                policy="layers",
                times=1.6,
                words=f"{shown['forks']}: many short programs look as brief as what you wait for, so they are named "
                f"and put behind ({crowd})",
                settings={"background_names": crowd},
            )
    elif class_id in _PROMPT and "tail" in shown:
        yield Slant(
            policy="interactive",
            times=1.1,
            words=f"{shown['tail']}: so turns are shorter than usual, and who wakes up interrupts at once",
            settings={"slice_us": 1500, "preempt_margin_us": 0},
        )
    if class_id in _PROMPT and focus:
        yield Slant(
            policy="focus",
            times=1.15,
            words=f"you named it, and it runs: {focus[0]} comes first",
            settings={"focus_name": focus[0][:15]},
        )
    if class_id in _WORK and _MEANWHILE.search(words):
        yield Slant(
            policy="interactive",
            times=1.6,
            words="you want to use the computer meanwhile",
        )
    if class_id == "batch" and "few" in shown:
        yield Slant(policy="longest-first", times=1.15, words=f"{shown['few']}: a long job runs while others are done")
    if class_id in _WORK and "few" in shown:
        yield Slant(
            policy="batch", times=1.15, words=f"{shown['few']}: what runs long keeps its CPU and its warm cache"
        )


def _vague(words: str, reading: Reading) -> bool:
    """Whether they only complain: nothing in them says of what."""
    said = _WORD.findall(words.lower())
    if not any(_COMPLAINT.fullmatch(each) for each in said):
        return False
    return all(_SAYS_NOTHING.fullmatch(each) for each in said) or (
        reading.class_id == UNKNOWN and reading.confidence < 0.5
    )


def _crowd(seen: Summary, focus: Sequence[str]) -> str:
    """The names of who waits most, but for whom it is done for: beginnings of names with spaces between."""
    names = [each.name.split()[0] for each in seen.groups if each.name.split()]
    wanted = dict.fromkeys(name[:15] for name in names if name not in focus)
    return " ".join(list(wanted)[:_NAMES])[:_NAMES_LENGTH]


def _who(seen: Summary) -> str:
    names = list(dict.fromkeys(each.name for each in seen.groups))[:2]
    return f" ({', '.join(names)})" if names else ""


def _alike(name: str, word: str) -> bool:
    return len(word) >= _LEAST_NAME and (name == word or (len(word) >= 5 and name.startswith(word)))


def _clipped(tunable: Tunable, value: Setting) -> Setting:
    if isinstance(value, bool | str) or tunable.minimum is None or tunable.maximum is None:
        return value
    return max(tunable.minimum, min(tunable.maximum, value))


def _time(us: float) -> str:
    return f"{us / 1000:.0f} ms" if us >= 10_000 else f"{us / 1000:.1f} ms" if us >= 1000 else f"{us:.0f} µs"
