"""The tools of observe: what runs on the machine, what the project is, and the workload that ends the role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schedtui.agent import arguments as takes
from schedtui.agent import processes, project, summary
from schedtui.agent.bench import Bench, role_tool
from schedtui.agent.events import Observed
from schedtui.agent.tools import Result, Tool, shown
from schedtui.backend.errors import NotPermitted, UnknownName
from schedtui.backend.library.catalogue import CLASSES
from schedtui.backend.model import (
    Metric,
    Workload,
)
from schedtui.backend.project import carry_project
from schedtui.backend.workloads import KINDS

LOOK_S = 1.5
_MOST_TREES, _MORE_TREES = 8, 20


def tools() -> Iterator[Tool[Bench, Any]]:
    """All of them."""
    yield role_tool(
        "observe",
        "machine_summary",
        "Look at the machine again for a moment: CPU use, latency, pressure, who waits. more: more programs.",
        takes.MachineSummary,
        _machine_summary,
        lambda _: "Looks at the machine again",
        cost_s=LOOK_S,
    )
    yield role_tool(
        "observe",
        "processes",
        "Process trees by CPU use, with command lines; name: only those with a program of that name.",
        takes.Processes,
        _processes,
        lambda each: f"Looks at the processes{f' called {shown(each.name)}' if each.name else ''}",
        cost_s=1,
    )
    yield role_tool(
        "observe",
        "project_files",
        "The project folder the person named: build files, README, languages; path: more of one file.",
        takes.ProjectFiles,
        _project_files,
        lambda each: f"Reads {shown(each.path)} of the project" if each.path else "Looks at the project's files",
    )
    yield role_tool(
        "observe",
        "submit_workload",
        "End: what they run, its class, the evidence, and the metric that says better.",
        takes.SubmitWorkload,
        _submit_workload,
        lambda each: f"Takes it for {CLASSES.get(each.class_id, 'nothing that is known')}",
        ends=True,
    )


def _machine_summary(bench: Bench, given: takes.MachineSummary) -> Result:
    found = bench.look(LOOK_S)
    return Result(text=summary.in_words(found, more=given.more), facts={"summary": found})


def _processes(bench: Bench, given: takes.Processes) -> Result:
    found = processes.trees(processes.look_at(bench.machine, bench.info.kind))
    bench.check_stop()
    wanted = given.name.lower()
    if wanted:
        found = [each for each in found if any(wanted in name.lower() for name in (*each.names, each.root.name))]
    return Result(
        text=processes.in_words(found, most=_MORE_TREES if wanted else _MOST_TREES),
        summary=f"{len(found)} programs",
        facts={"trees": found},
    )


def _project_files(bench: Bench, given: takes.ProjectFiles) -> Result:
    folder = bench.request.folder
    if folder is None:
        raise NotPermitted("The person named no project folder.", "Judge by their words and the machine.")
    if given.path:
        return Result(text=project.read(folder, given.path).head, summary=f"Read {given.path}")
    found = project.look_at(folder)
    return Result(text=project.in_words(found), summary=f"{len(found.files)} files", facts={"project": found})


def _submit_workload(bench: Bench, given: takes.SubmitWorkload) -> Result:
    if given.class_id not in (*CLASSES, "unknown"):
        raise UnknownName(f"There is no class {shown(given.class_id)}.", f"Classes: {', '.join(CLASSES)}, unknown.")
    bench.workload = Workload(
        sentence=given.sentence,
        class_id=given.class_id,
        confidence=given.confidence,
        evidence=given.evidence,
        metric=_metric(bench, given),
    )
    bench.person.tell(Observed, workload=bench.workload)
    return Result(text="Taken.", summary=given.sentence, facts={"workload": bench.workload})


def _metric(bench: Bench, given: takes.SubmitWorkload) -> Metric:
    if given.metric == "command_s":
        if not bench.request.command:
            raise NotPermitted("The person gave no command that could be timed.", "Take another metric.")
        carry_project(bench.machine, bench.request.folder, bench.request.command)
        return Metric(name="command_s", command=bench.request.command)
    if given.metric == "work_per_s":
        if given.work not in KINDS:
            raise UnknownName(
                f"work_per_s counts the work of a load of schedtui's own, and {shown(given.work)} is none.",
                f"Loads: {', '.join(KINDS)}; for a person's own programs take a wakeup metric.",
            )
        return Metric(name="work_per_s", work=given.work)
    return Metric(name=given.metric, focus=given.focus)
