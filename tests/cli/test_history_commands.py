"""The history and the audit from the command line: what happened here, and whether somebody changed its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schedtui.agent.masking import Masker
from schedtui.agent.trajectory import Trajectory
from schedtui.backend.audit import Audit
from schedtui.backend.model import Comparison, Deployment, Metric, Workload
from schedtui.backend.store import Outcome, Store
from tests.cli.commands import schedtui

WAKEUP = Metric(name="wakeup_p99_us")
BETTER = Comparison(
    metric=WAKEUP,
    verdict="better",
    before=400.0,
    after=200.0,
    change_percent=-50.0,
    low_percent=-60.0,
    high_percent=-38.0,
)
GAME = Workload(
    sentence="A game beside a recorder.", class_id="gaming", confidence=0.8, evidence=("stutters",), metric=WAKEUP
)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The variables of a user who has nothing yet."""
    return {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """That user's."""
    return Store(tmp_path / "data" / "schedtui" / "history.sqlite")


def deployed(store: Store, policy: str, request: int | None) -> Deployment:
    """One that was kept, with what was measured."""
    kept = store.add_deployment(
        Deployment(
            id=0,
            state="kept",
            reason=f"{policy} was kept.",
            policy=policy,
            settings={"slice_us": 2000},
            machine="lab",
            kernel="6.18.15",
            asked_by="person",
            request=request,
            comparison=BETTER,
            created=20.0,
            changed=30.0,
        )
    )
    outcome = Outcome(
        policy=policy,
        metric="wakeup_p99_us",
        before=400,
        after=200,
        how="tested",
        time=30.0,
        request=request,
        deployment=kept.id,
    )
    store.add_outcome(outcome)
    return kept


def request_of(store: Store, words: str, trajectory: Path | str = "") -> int:
    """One that ended well."""
    id = store.add_request(words, mind="offline adviser", trajectory_path=trajectory, machine="lab")
    store.add_workload(GAME, request=id)
    deployed(store, "interactive", id)
    store.finish_request(id, "kept", "interactive runs now.", calls=4, input_tokens=900, seconds=8.0)
    return id


def test_nothing_happened_at_first_and_looking_makes_no_file(home: dict[str, str], tmp_path: Path) -> None:
    assert "Nothing happened" in schedtui("history", **home).out
    assert "Nothing was done" in schedtui("audit", **home).out
    assert schedtui("audit", "--verify", "--json", **home).spoken["verified"]["entries"] == 0
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_the_history_holds_requests_deployments_and_what_was_seen(home: dict[str, str], store: Store) -> None:
    id = request_of(store, "my game stutters")
    alone = deployed(store, "fair", None)
    store.add_outcome(Outcome(policy="brisk", metric="wakeup_p99_us", before=100, after=90, time=5.0))
    entries = schedtui("history", "--json", **home).spoken["entries"]
    assert [each["name"] for each in entries] == [str(id), f"d{alone.id}", ""]
    assert [each["state"] for each in entries] == ["kept", "kept", "seen"]
    first = entries[0]
    assert first["request"]["words"] == "my game stutters"
    assert [each["policy"] for each in first["deployments"]] == ["interactive"]
    assert len(first["outcomes"]) == 1
    told = schedtui("history", **home).out
    assert told.index("“my game stutters”") < told.index("fair was kept") < told.index("as seen")
    assert len(schedtui("history", "--limit", "1", "--json", **home).spoken["entries"]) == 1


def test_a_request_is_shown_as_a_story(home: dict[str, str], store: Store) -> None:
    told = schedtui("history", "show", str(request_of(store, "my game stutters")), **home).out
    for words in (
        "Understood as: A game beside a recorder.",
        "interactive (slice_us = 2000): kept",
        "400 µs before, 200 µs after (−50 %, between −60 % and −38 %)",
        "interactive runs now.",
        "4 calls of the mind and 900 tokens",
    ):
        assert words in told


@pytest.mark.slow
def test_a_story_holds_every_step_while_its_file_is_there(home: dict[str, str], store: Store, tmp_path: Path) -> None:
    file = tmp_path / "steps.json"
    Trajectory("my game stutters", "offline adviser", Masker(identity=False), leaves_computer=False, path=file).save()
    id = str(request_of(store, "my game stutters", file))
    assert "What was said, word by word" in schedtui("history", "show", id, "--json", **home).spoken["story"]
    file.unlink()
    shown = schedtui("history", "show", id, **home)
    assert shown.code == 0
    assert "Its steps are not known any more" in shown.out


@pytest.mark.slow
def test_a_request_is_exported_with_all_its_steps(home: dict[str, str], store: Store, tmp_path: Path) -> None:
    file = tmp_path / "steps.json"
    Trajectory("my game stutters", "offline adviser", Masker(identity=False), leaves_computer=False, path=file).save()
    id = str(request_of(store, "my game stutters", file))
    target = tmp_path / "out.json"
    schedtui("history", "export", id, str(target), **home)
    written = json.loads(target.read_bytes())
    assert written["request"]["words"] == written["trajectory"]["request"] == "my game stutters"
    assert len(written["deployments"]) == len(written["outcomes"]) == 1
    again = schedtui("history", "export", id, str(target), **home)
    assert (again.code, "exists already" in again.err) == (1, True)
    assert schedtui("history", "export", id, str(target), "--overwrite", **home).code == 0
    assert "cannot be written" in schedtui("history", "export", id, str(tmp_path / "no" / "x"), **home).err
    file.unlink()
    without = schedtui("history", "export", id, str(target), "--overwrite", **home)
    assert (without.code, "without its steps" in without.err) == (0, True)
    assert json.loads(target.read_bytes())["trajectory"] is None


@pytest.mark.slow
def test_a_deployment_without_a_request_has_a_name_too(home: dict[str, str], store: Store) -> None:
    alone = deployed(store, "fair", None)
    spoken = schedtui("history", "show", f"d{alone.id}", "--json", **home).spoken
    assert spoken["deployments"][0]["policy"] == "fair"
    assert len(spoken["outcomes"]) == 1


@pytest.mark.parametrize("name", ["99", "d99", "x", "d", "9" * 40], ids=str)
@pytest.mark.slow
def test_a_name_that_is_none_is_told(home: dict[str, str], name: str) -> None:
    ended = schedtui("history", "show", name, **home)
    assert (ended.code, "has no" in ended.err) == (2, True)


@pytest.mark.slow
def test_a_damaged_history_is_told(home: dict[str, str], store: Store) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(b"rubbish" * 1000)
    ended = schedtui("history", **home)
    assert (ended.code, "was damaged" in ended.err) == (0, True)


@pytest.mark.slow
def test_the_audit_is_told_and_checked(home: dict[str, str], tmp_path: Path) -> None:
    log = Audit(tmp_path / "data" / "schedtui" / "audit.jsonl")
    for act in ("canary", "keep"):
        log.append("offline adviser", act, {"policy": "fair"})
    told = schedtui("audit", **home).out.splitlines()
    assert "offline adviser: keep (policy fair)" in told[0]
    assert schedtui("audit", "--json", **home).spoken["entries"][1]["act"] == "canary"
    assert "as it was written: 2 entries" in schedtui("audit", "--verify", **home).out
    log.path.write_bytes(log.path.read_bytes().replace(b"fair", b"evil", 1))
    broken = schedtui("audit", "--verify", **home)
    assert (broken.code, "Entry 1 was altered" in broken.out) == (1, True)
    assert schedtui("audit", "--verify", "--json", **home).spoken["verified"]["broken_at"] == 1


@pytest.mark.lab
def test_a_panic_stands_in_the_audit_and_a_log_that_cannot_be_written_does_not_stop_it(
    home: dict[str, str], tmp_path: Path
) -> None:
    """The lab's kernels and snapshots are those of the cache; only the data lie elsewhere."""
    data = {"XDG_DATA_HOME": home["XDG_DATA_HOME"]}
    assert schedtui("panic", "--machine", "lab", **data).code == 0
    log = Audit(tmp_path / "data" / "schedtui" / "audit.jsonl")
    assert [(each.actor, each.act) for each in log.entries()] == [("person", "panic")]
    log.path.unlink()
    log.path.mkdir()
    ended = schedtui("panic", "--machine", "lab", **data)
    assert (ended.code, "could not be written to the log" in ended.err) == (0, True)
