"""``schedtui library``: list, show and search policies; keep and manage those that were made for this user."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schedtui.commands.options import json_option
from schedtui.console import Console

if TYPE_CHECKING:
    from schedtui.backend.library.catalogue import Library
    from schedtui.backend.library.external import Fit
    from schedtui.backend.model import Policy, Report, Setting
    from schedtui.backend.store import Outcome

_WIDTH = 100


@click.group()
def library() -> None:
    """Policies and schedulers to choose from: what they are for, their limits, what they did here."""


@library.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Everything that there is, also what is not installed."""
    from schedtui.backend.library.external import find_binary

    known = _library()
    installed = {name: find_binary(policy) for name, policy in known.policies.items() if policy.binary}
    lines = []
    for name, policy in known.policies.items():
        mark = "  (draft)" if policy.title.endswith("(draft)") else ""
        if policy.binary:
            mark = "  (installed)" if installed[name] else "  (not installed)"
        lines.append(f"  {name:<18} {policy.summary}{mark}")
    entries = [
        {
            "name": policy.name,
            "title": policy.title,
            "summary": policy.summary,
            "origin": policy.origin,
            "available": bool(policy.source or installed.get(name)),
        }
        for name, policy in known.policies.items()
    ]
    lines += ["", *known.problems] if known.problems else []
    Console(as_json).result({"policies": entries, "problems": known.problems}, "\n".join(lines))


@library.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """All about one policy: what it is for and not for, its limits and tunables, what it did here."""
    from schedtui.backend.library import history
    from schedtui.backend.library.external import fit
    from schedtui.backend.store import Store
    from schedtui.backend.verifier import badges
    from schedtui.commands.verify import report_keys

    policy = _library().policy(name)
    found = fit(policy) if policy.binary else None
    store = Store()
    outcomes, learned = history.outcomes(name, store), store.learned(name)
    proven = badges.reports_of(policy)
    data = {
        "policy": policy,
        "installed": found,
        "reports": [report_keys(each) for each in badges.newest_by_kernel(proven)],
        "outcomes": outcomes,
        "learned": learned,
        "notes": store.notes,
    }
    lines = _shown(policy, found, outcomes, [each.text for each in learned], badges.lines(proven))
    Console(as_json).result(data, "\n".join(lines + _listed("About the history", store.notes)))


@library.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1, 100), default=5, show_default=True, help="How many at most.")
@json_option
def search(words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find policies by what they are for, in your own words."""
    from schedtui.backend.library.search import Search

    matches = Search(_library()).find(" ".join(words), limit)
    lines = []
    for each in matches:
        lines.append(f"  {each.policy.name:<18} {each.why}")
        lines += [f"  {'':<18} {each.measured}"] if each.measured else []
    found = [
        {"name": each.policy.name, "score": round(each.score, 3), "why": each.why, "measured": each.measured}
        for each in matches
    ]
    Console(as_json).result({"matches": found}, "\n".join(lines) or "The library is empty.")


@library.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--made-by", default="me", show_default=True, metavar="NAME", help="Who wrote it: a person or a model.")
@click.option("--parent", default="", metavar="POLICY", help="The policy that it was made from.")
@click.option("--message", "-m", default="", help="What is new in this version.")
@click.option("--no-verify", is_flag=True, help="Keep it unproven; “schedtui verify” can prove it later.")
@json_option
def add(folder: Path, made_by: str, parent: str, message: str, no_verify: bool, as_json: bool) -> None:
    """Keep the policy in FOLDER (policy.toml and source), or a new version of it, as a draft.

    It is verified first, as “schedtui verify” does, and kept with the report, whatever came out.
    """
    from schedtui.backend.errors import BadFile
    from schedtui.backend.library.catalogue import read_policy
    from schedtui.backend.library.generated import ENTRY, Generated, find_git

    find_git()  # before anything that takes its time
    entry = folder.resolve() / ENTRY
    known = _library()
    if parent:
        known.policy(parent)
    policy = read_policy(entry, "generated")
    name = policy.name
    taken = known.policies.get(name)
    if name in known.presets or (taken and taken.origin != "generated"):
        raise BadFile(f"“{name}” is already the name of another policy or preset.", "Give this one another name.")
    console = Console(as_json)
    report, why = (None, "it was not asked for.") if no_verify or not policy.source else _proof(policy, console)
    version = Generated().add(entry, made_by=made_by, parent=parent, report=report, message=message)
    console.result(
        {"name": name, "version": version, "verdict": report and report.verdict, "not_verified": why},
        f"{name} is kept as a draft ({version.commit[:10]}). {_proven(report, why)}",
    )


@library.command()
@click.argument("name")
@json_option
def promote(name: str, as_json: bool) -> None:
    """Make a draft a full member of the library; also brings back what was retired."""
    from schedtui.backend.library.generated import Generated

    Generated().promote(name)
    Console(as_json).result({"name": name, "state": "promoted"}, f"{name} is no draft any more.")


@library.command()
@click.argument("name")
@json_option
def retire(name: str, as_json: bool) -> None:
    """Offer a generated policy no longer; its versions stay."""
    from schedtui.backend.library.generated import Generated

    Generated().retire(name)
    words = f"{name} is no longer offered; “schedtui library promote {name}” brings it back."
    Console(as_json).result({"name": name, "state": "retired"}, words)


@library.command()
@click.argument("name")
@json_option
def versions(name: str, as_json: bool) -> None:
    """The versions of a generated policy, the newest first."""
    from schedtui.backend.library.generated import Generated

    kept = Generated()
    meta, found = kept.meta(name), kept.versions(name)
    lines = [f"{name}: {meta.state}, made by {meta.made_by}" + (f" from {meta.parent}" if meta.parent else "")]
    lines += [f"  {each.commit[:10]}  {_date(each.time)}  {each.message}" for each in found]
    Console(as_json).result({"name": name, "meta": meta, "versions": found}, "\n".join(lines))


@library.command()
@click.argument("name")
@click.argument("old", default="")
@click.argument("new", default="")
@json_option
def diff(name: str, old: str, new: str, as_json: bool) -> None:
    """What changed between two versions of a generated policy; without OLD and NEW, in its last change."""
    from schedtui.backend.library.generated import Generated

    changes = Generated().diff(name, old, new)
    Console(as_json).result({"name": name, "diff": changes}, changes.rstrip("\n") or "Nothing changed.")


@library.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--version", default="", metavar="VERSION", help="Which one. [default: the last]")
@json_option
def export(name: str, folder: Path, version: str, as_json: bool) -> None:
    """Write a generated policy to FOLDER/NAME."""
    from schedtui.backend.library.generated import Generated

    written = Generated().export(name, folder, version)
    Console(as_json).result({"name": name, "folder": str(written)}, f"Written to {written}.")


def _proof(policy: Policy, console: Console) -> tuple[Report | None, str]:
    """The report on it; or none, and why it could not be judged."""
    from schedtui.backend.errors import SchedtuiError
    from schedtui.backend.verifier.verify import verify

    try:
        (report,) = verify(Path(policy.source), progress=console.progress, policy=policy)
    except SchedtuiError as error:
        return None, f"{error.message} {error.remedy}".strip()
    return report, ""


def _proven(report: Report | None, why: str) -> str:
    if report is None:
        return f"It is not verified: {why}"
    rules = ", ".join(dict.fromkeys(each.rule for each in report.findings if each.severity == "error"))
    return {
        "pass": "It passed the verification.",
        "warn": "It passed the verification with warnings.",
        "fail": f"It failed the verification ({rules}): see “schedtui verify {report.name}”, and do not promote it.",
    }[report.verdict]


def _library() -> Library:
    from schedtui.backend.library.catalogue import load_library

    return load_library()


def _shown(
    policy: Policy, found: Fit | None, outcomes: list[Outcome], learned: list[str], proven: list[str]
) -> list[str]:
    from schedtui.backend.library import history

    lines = [f"{policy.title} ({policy.name}, {policy.origin})", "", policy.summary, ""]
    lines += textwrap.wrap(" ".join(policy.description.split()), _WIDTH)
    for label, texts in (("For", policy.for_whom), ("Not for", policy.not_for), ("Limits", policy.limits)):
        lines += _listed(label, texts)
    lines += ["", "Verified", *(f"  {each}" for each in proven)]
    lines += _program(policy, found)
    lines += _modes(found.modes if found else policy.modes)
    lines += _tunables(found.tunables if found else policy.tunables, external=bool(policy.binary))
    lines += _listed("On this computer", [f"{_date(each.time)}: {history.in_words(each)}" for each in outcomes[:10]])
    lines += _listed("What was learned", learned[:10])
    if policy.note:
        lines += ["", policy.note]
    return lines


def _listed(label: str, texts: Any) -> list[str]:
    lines = ["", label] if texts else []
    for text in texts:
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  · ", subsequent_indent="    ")
    return lines


def _program(policy: Policy, found: Fit | None) -> list[str]:
    if not policy.binary:
        return []
    if found is None:
        return ["", f"{policy.binary} is not installed: what follows is what its authors' version has."]
    installed = found.installed
    lines = ["", f"Installed: {installed.path} {installed.version}".rstrip()]
    if installed.problem:
        lines.append(f"  {installed.problem}")
    if installed.lab_only:
        lines.append("  Others than root can change this file: it is good for the lab only.")
    if found.lacking and not installed.problem:
        lines.append(f"  This version lacks {', '.join(found.lacking)}; that is not offered.")
    return lines


def _modes(modes: Any) -> list[str]:
    from schedtui.backend.library.catalogue import CLASSES

    return _listed(
        "Modes",
        [f"{CLASSES[each.goal]}: {' '.join(each.flags) or 'no flags'}. {each.reason}" for each in modes],
    )


def _tunables(tunables: Any, *, external: bool) -> list[str]:
    from schedtui.backend.programs import flag_of
    from schedtui.backend.tunables import range_of

    texts = []
    for each in tunables:
        name = flag_of(each.name) if external else each.name
        default = _plain(each.default)
        texts.append(f"{name}: {range_of(each)}, default {default}. {each.description} Cost: {each.cost}")
    return _listed("Tunables", texts)


def _plain(value: Setting) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value) or "none"


def _date(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix))
