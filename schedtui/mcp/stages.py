"""The stages of a request, held against programs that call the tools in an order of their own.

The engine leads a mind from role to role; here each call is asked whether its turn has come, and what follows from it
is done: a plan becomes the subject, a trial is written down. What a round comes to is agent/rounds.py's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from schedtui.agent import rounds
from schedtui.agent.arguments import Tried
from schedtui.agent.trying import subject_of
from schedtui.backend.errors import NotPermitted, SchedtuiError

if TYPE_CHECKING:
    from schedtui.agent.tools import Result
    from schedtui.mcp.bench import ClientBench

_OF_A_PLAN = frozenset(("write_policy", "patch_policy", "set_settings", "verify", "canary", "give_up"))
_OF_A_ROUND = frozenset(("keep_note", "promote", "retire", "finish"))


def check(bench: ClientBench, tool: str) -> None:
    """Raises NotPermitted where something else comes first, and says what."""
    plan = bench.open_plan
    if tool in ("submit_workload", "submit_plan", "stop_here", "finish") and plan is not None:
        raise NotPermitted(f"The plan to {plan.mode} {plan.policy} is open.", "canary or give_up ends it.")
    if tool == "submit_plan":
        if bench.workload is None:
            raise NotPermitted("Nothing is known of what the person runs.", "submit_workload comes first.")
        if len(bench.rounds) >= bench.request.rounds:
            tried = "a plan was" if bench.request.rounds == 1 else f"{bench.request.rounds} plans were"
            raise NotPermitted(f"In this request {tried} tried, which is the limit.", "finish, or new_request.")
    if tool in _OF_A_PLAN and plan is None:
        raise NotPermitted("There is no plan.", "submit_plan comes first.")
    if tool == "canary":
        _check_verified(bench)
    if tool in _OF_A_ROUND and not bench.rounds:
        raise NotPermitted("Nothing was tried yet.", "submit_plan, verify and canary (or give_up) come first.")


def _check_verified(bench: ClientBench) -> None:
    if subject_of(bench).report is None:
        raise NotPermitted("This was not verified, or was changed since.", "verify comes first.")


def follow(bench: ClientBench, tool: str, result: Result) -> str:
    """What follows from a call that was answered; returns what the program should know of it, or nothing."""
    if not result.ok:
        return ""
    if tool == "submit_workload":
        bench.client.keep_request()
        rounds.try_to_keep(bench, lambda: bench.store.add_workload(rounds.workload_of(bench), request=bench.request_id))
        return "Now look into the library (search_library, show_policy, history), then submit_plan."
    if tool == "submit_plan":
        return _begun(bench)
    if tool in ("canary", "give_up"):
        ended(bench)
    return ""


def _begun(bench: ClientBench) -> str:
    plan = bench.plan
    assert plan is not None
    try:
        beginning = rounds.begin(bench, plan)
    except SchedtuiError:
        bench.plan = None
        raise
    bench.open_plan = plan
    if plan.mode == "configure":
        return "Now verify, then canary."
    if plan.mode == "modify":
        name = subject_of(bench).policy.name
        return f"A draft of it is there, {name}: policy_source shows it, patch_policy changes it. Then verify, canary."
    return f"Now write_policy; {beginning.name} is near: policy_source shows it. Then verify, then canary."


def ended(bench: ClientBench, problem: str = "") -> Tried | None:
    """The open round is over; ``problem`` is what cut it short. None where none is open."""
    plan = bench.open_plan
    if plan is None:
        return None
    bench.open_plan = None
    tried = rounds.write_down(bench, bench.client.trust, plan, problem)
    deployment = bench.deployment
    if tried.kept and deployment is not None:
        bench.kept.append(deployment)
        with contextlib.suppress(SchedtuiError):
            bench.client.watch_kept(deployment)
    return tried
