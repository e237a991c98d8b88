"""What happened here, as a person asks for it: each request with what was deployed for it and what was measured.

Read from the store. What outcomes say of a policy is library/history.py's; a request's every step is its trajectory's.
"""

from __future__ import annotations

from msgspec import Struct

from schedtui.backend.library.history import in_words as outcome_in_words
from schedtui.backend.model import Comparison, Deployment
from schedtui.backend.store import Outcome, RequestRow, Store
from schedtui.units import count, duration

_SHORT = {"wakeup_p99_us": "p99", "wakeup_p50_us": "p50", "work_per_s": "work", "command_s": "time"}


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the history: a request, or what a person did or schedtui saw without one."""

    request: RequestRow | None = None
    deployments: tuple[Deployment, ...] = ()
    """Of the request, or the one without; newest first."""
    outcomes: tuple[Outcome, ...] = ()
    """Of the request or the deployment, or the one without; newest first."""

    @property
    def time(self) -> float:
        """When it began; Unix time."""
        if self.request is not None:
            return self.request.time
        return self.deployments[0].created if self.deployments else self.outcomes[0].time

    @property
    def name(self) -> str:
        """How commands call it: ``12`` a request, ``d7`` a deployment without one; empty for what was only seen."""
        if self.request is not None:
            return str(self.request.id)
        return f"d{self.deployments[0].id}" if self.deployments else ""

    @property
    def policy(self) -> str:
        """The policy that it came to in the end; empty when there is none."""
        last = self.deployments or self.outcomes
        return last[0].policy if last else ""

    @property
    def state(self) -> str:
        """Of the request or the deployment; ``seen`` for what was only seen."""
        if self.request is not None:
            return self.request.state
        return self.deployments[0].state if self.deployments else "seen"

    @property
    def title(self) -> str:
        """What was asked for."""
        return f"“{self.request.words}”" if self.request is not None else self.policy

    @property
    def result(self) -> str:
        """What came of it, in a line."""
        if self.request is not None and self.request.state == "open":
            return "It has no end yet: it is worked on, or the program was ended meanwhile."
        if self.request is not None and self.request.text:
            return self.request.text
        if self.deployments:
            return self.deployments[0].reason
        return outcome_in_words(self.outcomes[0]) if self.outcomes else ""


def entries(store: Store, limit: int = 200) -> list[Entry]:
    """The history, newest first. Raises BadFile."""
    deployments, outcomes = store.deployments(limit=4 * limit), store.outcomes(limit=4 * limit)
    requests = store.requests(limit)
    known = {each.id for each in requests}
    found = [_of_request(each, deployments, outcomes) for each in requests]
    found += [_of_deployment(each, outcomes) for each in deployments if each.request not in known]
    kept = {each.id for each in deployments}
    found += [Entry(outcomes=(each,)) for each in outcomes if each.request not in known and each.deployment not in kept]
    return sorted(found, key=lambda each: each.time, reverse=True)[:limit]


def entry(store: Store, name: str) -> Entry:
    """One of them by its name (``12``, ``d7``). Raises UnknownName and BadFile."""
    kind, number = ("d", name[1:]) if name[:1] in ("d", "D") else ("", name)
    id = int(number) if number.isascii() and number.isdigit() and len(number) < 18 else 0
    if kind:
        deployment = store.deployment(id)
        return _of_deployment(deployment, store.outcomes(deployment=deployment.id))
    request = store.request(id)
    return _of_request(request, store.deployments(request=request.id), store.outcomes(request=request.id))


def outcome_of(deployment: Deployment, *, cpus: int, workload: str) -> Outcome | None:
    """What its canary measured, to be kept; None when too little was seen. ``workload``: a class, or empty."""
    compared = deployment.comparison
    if compared is None or compared.before is None or compared.after is None:
        return None
    return Outcome(
        policy=deployment.policy,
        metric=compared.metric.name,
        before=compared.before,
        after=compared.after,
        better=compared.metric.better,
        low_percent=compared.low_percent,
        high_percent=compared.high_percent,
        how="tested",
        settings=deployment.settings,
        machine=deployment.machine,
        kernel=deployment.kernel,
        cpus=cpus,
        workload=workload,
        seconds=compared.seconds,
        request=deployment.request,
        deployment=deployment.id,
    )


def story(entry: Entry) -> list[str]:
    """An entry in plain words, line by line, as far as the store knows it."""
    lines = [entry.title]
    request = entry.request
    if request is not None:
        lines += [f"Answered by {request.mind}, {'on this computer' if request.machine == 'host' else 'in the lab'}."]
        if request.workload is not None:
            lines += ["", f"Understood as: {request.workload.sentence}"]
            lines += [f"  · {each}" for each in request.workload.evidence]
    for each in reversed(entry.deployments):
        settings = ", ".join(f"{name} = {value}" for name, value in each.settings.items())
        lines += ["", f"{each.policy}{f' ({settings})' if settings else ''}: {each.state}", f"  {each.reason}"]
        lines += [f"  {compared(each.comparison)}"] if each.comparison else []
    lines += ["", *(f"Measured: {outcome_in_words(each)}" for each in entry.outcomes)] if entry.outcomes else []
    if request is not None:
        money = "at a price that is not known" if request.dollars is None else f"for ${request.dollars:.3f}"
        tokens = request.input_tokens + request.output_tokens
        lines += ["", entry.result]
        lines += [f"It took {request.seconds:.0f} s, {request.calls} calls of the mind and {tokens} tokens, {money}."]
    return lines


def compared(comparison: Comparison) -> str:
    """A comparison in a line: ``1.2 ms before, 800 µs after (−33 %, between −40 % and −24 %)``."""
    if comparison.before is None or comparison.after is None:
        return comparison.reason
    change = "" if comparison.change_percent is None else f"{comparison.change_percent:+.0f} %"
    if comparison.low_percent is not None and comparison.high_percent is not None:
        change += f", between {comparison.low_percent:+.0f} % and {comparison.high_percent:+.0f} %"
    words = f"{measured(comparison, comparison.before)} before, {measured(comparison, comparison.after)} after"
    return f"{words} ({change.replace('-', '−')})" if change else words


def in_short(comparison: Comparison) -> str:
    """The change in a few words: ``p99 −18 % ±4 over 30 s``; empty while there is none to tell."""
    if comparison.change_percent is None:
        return ""
    change = f"{comparison.change_percent:+.0f} %".replace("-", "−")
    if comparison.low_percent is not None and comparison.high_percent is not None:
        change += f" ±{(comparison.high_percent - comparison.low_percent) / 2:.0f}"
    return f"{_SHORT[comparison.metric.name]} {change} over {comparison.seconds:.0f} s"


def measured(comparison: Comparison, value: float) -> str:
    """A value of the comparison's metric with its unit."""
    match comparison.metric.name:
        case "work_per_s":
            return f"{count(value)} per second"
        case "command_s":
            return duration(value * 1e6)
        case _:
            return duration(value)


def _of_request(request: RequestRow, deployments: list[Deployment], outcomes: list[Outcome]) -> Entry:
    return Entry(
        request=request,
        deployments=tuple(each for each in deployments if each.request == request.id),
        outcomes=tuple(each for each in outcomes if each.request == request.id),
    )


def _of_deployment(deployment: Deployment, outcomes: list[Outcome]) -> Entry:
    return Entry(
        deployments=(deployment,), outcomes=tuple(each for each in outcomes if each.deployment == deployment.id)
    )
