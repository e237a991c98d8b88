"""A scheduler that a connected program wrote whole: put into the draft machinery, judged by all stages of the verifier,
and kept in the library as a draft when it passed.

What it says of its own scheduler is data for those who read the library later; only the verifier says what it is worth.
"""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from schedtui.agent import draft, trying
from schedtui.agent.bench import Subject
from schedtui.agent.draft import Draft
from schedtui.backend.errors import BadFile, NotPermitted, NotProven
from schedtui.backend.library.catalogue import read_policy
from schedtui.backend.library.generated import NOTE
from schedtui.backend.model import Policy, Report
from schedtui.mcp.bench import ClientBench
from schedtui.mcp.executions import CUSTOM, as_name, aside

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST_NAME = 60
_ABOUT = ("Algorithm", "Characteristics", "Performance")
_LONGEST_ABOUT = 1000
_MOST_USES = 20
_LONGEST_SOURCE = 200_000


class About(Struct, frozen=True, kw_only=True):
    """What its author says of it."""

    description: str
    algorithm: str
    use_cases: tuple[str, ...]
    characteristics: str
    limitations: str
    performance_profile: str


def create(bench: ClientBench, name: str, source: str, about: About) -> tuple[Policy, Report]:
    """Write it, prove it and keep it. Raises BadFile, NotPermitted, Stopped, and NotProven with what is to mend."""
    called = _name(bench, name)
    if not source.strip() or len(source) > _LONGEST_SOURCE:
        raise BadFile("source_code holds no policy of a sane length.", f"{_LONGEST_SOURCE} characters at most.")
    made = Draft(
        name=called,
        source=source,
        parent=None,
        summary=about.description,
        for_whom=", ".join(about.use_cases) or "whoever it was written for",
    )
    policy = _with_words(draft.write(made, bench.folder), about)
    with aside(bench, Subject(policy=policy, draft=made)):
        report = trying.prove(bench)
    if report.verdict == "fail":
        raise NotProven(f"{called} did not pass the verifier.", "Mend it and call again.", _told(report))
    if called not in bench.library.policies:
        raise BadFile(f"{called} passed the verifier, and could not be kept in the library.", "See schedtui doctor.")
    return bench.library.policies[called], report


def said_of(policy: Policy) -> dict[str, str]:
    """What its author wrote of it, by the words of _ABOUT; nothing for a policy that was not created so."""
    found = {}
    for line in policy.note.splitlines():
        word, colon, text = line.partition(": ")
        if colon and word in _ABOUT:
            found[word] = text
    return found


def passed(report: Report, policy: Policy, about: About) -> str:
    """That it was created, in words."""
    stages = "\n".join(
        f"- {each.name}: {each.verdict} in {each.seconds:.1f} s{f' ({each.summary})' if each.summary else ''}"
        for each in report.stages
    )
    warned = trying.decisive(report.findings)
    return "\n\n".join(
        filter(
            None,
            [
                f"Custom scheduler '{policy.name}' was created successfully, and verified successfully on Linux "
                f"{report.kernel.release if report.kernel else 'none'}.",
                f"Description: {about.description}\nAlgorithm: {about.algorithm}",
                f"Stages:\n{stages}",
                f"Warnings:\n{warned}" if warned else "",
                f"Run it: run_scheduler with the name {policy.name}, or {CUSTOM}{policy.name}.",
            ],
        )
    )


def _name(bench: ClientBench, name: str) -> str:
    called = as_name(name.strip().removeprefix(CUSTOM))
    if not _NAME.fullmatch(called) or len(called) > _LONGEST_NAME:
        raise BadFile(
            f"“{ascii(name)[1:-1][:60]}” cannot be the name of a scheduler.",
            f"Letters, digits, - and _ between them, {_LONGEST_NAME} at most; a letter first.",
        )
    if called in bench.generated.names():
        maker = bench.generated.meta(called).made_by
        if maker != bench.mind_name:
            raise NotPermitted(f"{called} was made by {maker}.", "Give yours another name.")
    elif called in bench.library.policies or called in bench.library.presets:
        raise NotPermitted(f"The library has a {called} already.", "Give yours another name.")
    return called


def _with_words(policy: Policy, about: About) -> Policy:
    """Its entry and its note with what its author says; read again as the library does."""
    import tomlkit

    entry = Path(policy.folder) / "policy.toml"
    document = tomlkit.parse(entry.read_text(encoding="utf-8"))
    uses = [_plain(each) for each in about.use_cases[:_MOST_USES] if each.strip()]
    if uses:
        document["for_whom"] = uses
    limits = [_plain(about.limitations)] if about.limitations.strip() else []
    document["limits"] = [*limits, "Written by a program, for one computer and one kind of work."]
    entry.write_text(tomlkit.dumps(document), encoding="utf-8")
    words = (about.algorithm, about.characteristics, about.performance_profile)
    note = "\n".join(f"{word}: {_plain(text)}" for word, text in zip(_ABOUT, words, strict=True) if text.strip())
    (entry.parent / NOTE).write_text(f"{note}\n", encoding="utf-8")
    return read_policy(entry, "generated")


def _told(report: Report) -> str:
    stages = ", ".join(f"{each.name}: {each.verdict}" for each in report.stages)
    return f"{stages}\n{trying.decisive(report.findings)}"


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))[:_LONGEST_ABOUT]
