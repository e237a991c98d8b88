"""A history that never changes: what pictures and tests of the history screen are made from."""

from __future__ import annotations

from msgspec.structs import replace

from schedtui.backend.model import Comparison, Deployment, Metric, Workload
from schedtui.backend.store import Outcome, Store

NOON = 1_795_003_200.0
"""2026-11-18 12:00 UTC."""
DAY = 86400.0
P99 = Metric(name="wakeup_p99_us")
BETTER = Comparison(
    metric=P99,
    verdict="better",
    before=15900.0,
    after=6300.0,
    change_percent=-60.4,
    low_percent=-66.0,
    high_percent=-52.0,
    samples_before=60,
    samples_after=60,
    seconds=12.0,
    reason="Wake-up p99 fell from 15900 µs to 6300 µs.",
)
WORSE = replace(
    BETTER,
    verdict="worse",
    after=88000.0,
    change_percent=453.0,
    low_percent=390.0,
    high_percent=520.0,
    reason="Wake-up p99 rose from 15900 µs to 88000 µs.",
)
GAME = Workload(
    sentence="A game that stutters while something is recorded.",
    class_id="streaming",
    confidence=0.8,
    evidence=("“stutters”, “OBS”", "two programs run at 60 frames a second"),
    metric=P99,
)


def deployed(policy: str, hours: float, **rest: object) -> Deployment:
    """A deployment in the lab, so many hours before noon."""
    filling: dict[str, object] = {
        "state": "kept",
        "reason": "Kept by you after 12 s: wake-up p99 −60 %.",
        "settings": {},
        "kernel": "6.18.15",
        "asked_by": "person",
    }
    at = NOON - hours * 3600
    return Deployment(id=0, policy=policy, machine="lab", created=at, changed=at, **(filling | rest))  # type: ignore[arg-type]


def fill() -> Store:
    """A request that was kept, one that was taken back, a deployment by hand, and something that was only seen."""
    store = Store()
    stutters, builds = "my game stutters while OBS records", "builds should finish sooner"
    kept = store.add_request(stutters, "streaming", "offline adviser", machine="lab", began=NOON - 600)
    store.add_workload(GAME, request=kept)
    short = {"slice_us": 2000}
    store.add_deployment(
        deployed("brisk", 0.15, request=kept, asked_by="offline adviser", settings=short, comparison=BETTER)
    )
    text = "Brisk is kept: wake-up p99 fell by 60 %. brisk runs now."
    store.finish_request(kept, "kept", text, calls=7, seconds=31.0)
    back = store.add_request(builds, "compile", "openai/example", machine="lab", began=NOON - 1.2 * DAY)
    reason = "Taken back after 1.4 s: wake-up p99 rose by 453 %."
    model = {"request": back, "asked_by": "openai/example", "state": "reverted"}
    store.add_deployment(deployed("queue", 28.7, reason=reason, comparison=WORSE, **model))
    spent = {"calls": 9, "input_tokens": 15000, "output_tokens": 2200}
    store.finish_request(back, "reverted", f"{reason} EEVDF runs now.", dollars=0.031, seconds=62.0, **spent)
    store.add_deployment(deployed("queue", 30.0, reason="Kept by you, untried.", settings={"slice_us": 50000}))
    store.add_outcome(
        Outcome(policy="brisk", metric="wakeup_p99_us", before=9000, after=5000, machine="lab", time=NOON - 2 * DAY)
    )
    return store
