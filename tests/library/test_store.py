"""What policies did here is kept, read back and summed up; a damaged file is no reason to fail."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from schedtui.backend.errors import BadFile, UnknownName
from schedtui.backend.library.history import in_words, outcomes, standing
from schedtui.backend.model import Comparison, Deployment, Metric, Workload
from schedtui.backend.store import AuditHead, NoteRow, Outcome, ProfileRow, ProfileRun, Store

BETTER = Outcome(policy="fair", metric="wakeup_p99_us", before=400.0, after=200.0, how="tested", time=10.0)
WORSE = Outcome(policy="fair", metric="wakeup_p99_us", before=200.0, after=400.0, how="tested", time=20.0)
FULL = Outcome(
    policy="interactive",
    metric="makespan_s",
    before=10.0,
    after=9.0,
    low_percent=-14.0,
    high_percent=-6.0,
    how="tested",
    preset="gaming",
    settings={"slice_us": 2000, "keep": True, "name": "game"},
    machine="lab",
    kernel="6.18.15",
    cpus=4,
    workload="gaming",
    seconds=30.0,
    time=30.0,
)
WAKEUP = Metric(name="wakeup_p99_us", focus=("game.exe",))
GAME = Workload(
    sentence="A game beside a recorder.",
    class_id="gaming",
    confidence=0.8,
    evidence=("stutters", "60 Hz"),
    metric=WAKEUP,
)
PROPOSED = Deployment(
    id=0,
    state="proposed",
    reason="Games want short waits.",
    policy="interactive",
    settings={"slice_us": 2000, "keep": True},
    machine="lab",
    kernel="6.18.15",
    asked_by="offline adviser",
    created=10.0,
    changed=10.0,
)
OF_VERSION_1 = """
CREATE TABLE outcome (id INTEGER PRIMARY KEY, time REAL NOT NULL, policy TEXT NOT NULL, preset TEXT NOT NULL,
    settings TEXT NOT NULL, machine TEXT NOT NULL, kernel TEXT NOT NULL, cpus INTEGER NOT NULL, workload TEXT NOT NULL,
    metric TEXT NOT NULL, better TEXT NOT NULL, before REAL NOT NULL, after REAL NOT NULL, low_percent REAL,
    high_percent REAL, how TEXT NOT NULL, seconds REAL NOT NULL);
CREATE INDEX outcome_of_policy ON outcome (policy, time);
INSERT INTO outcome VALUES (1, 10.0, 'fair', '', '{}', 'host', '', 0, '', 'wakeup_p99_us', 'lower', 400.0, 200.0, NULL,
    NULL, 'tested', 0.0);
PRAGMA user_version = 1;
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Of a user who has none yet."""
    return Store(tmp_path / "data" / "history.sqlite")


def test_nothing_is_known_at_first_and_looking_makes_no_file(store: Store) -> None:
    assert store.outcomes() == []
    assert not store.path.exists()


def test_an_outcome_comes_back_as_it_was_kept(store: Store) -> None:
    store.add_outcome(FULL)
    assert Store(store.path).outcomes() == [FULL]


def test_outcomes_of_a_policy_come_newest_first(store: Store) -> None:
    for each in (WORSE, FULL, BETTER):
        store.add_outcome(each)
    assert outcomes("fair", store) == [WORSE, BETTER]
    assert [each.time for each in store.outcomes()] == [30.0, 20.0, 10.0]


@pytest.mark.parametrize(
    "content",
    [b"this is no database at all, but a text" * 50, b"", b"SQLite format 3\0" + b"\xff" * 5000],
    ids=["text", "empty", "half"],
)
def test_a_damaged_file_is_moved_aside_and_told(store: Store, content: bytes) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    store.add_outcome(BETTER)
    assert store.outcomes() == [BETTER]
    if content:
        aside = next(store.path.parent.glob("history.sqlite.damaged-*"))
        assert aside.read_bytes() == content
        assert str(aside) in store.notes[0]


def test_a_file_with_another_table_is_moved_aside(store: Store) -> None:
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as connection:
        connection.execute("CREATE TABLE outcome (other TEXT)")
        connection.execute("PRAGMA user_version = 1")
    store.add_outcome(BETTER)
    assert store.outcomes() == [BETTER]
    assert store.notes


def test_a_file_of_a_newer_schedtui_is_left_alone(store: Store) -> None:
    store.add_outcome(BETTER)
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(BadFile, match="newer"):
        store.outcomes()
    assert not store.notes


def test_a_request_whose_program_died_is_ended_and_one_that_is_worked_on_is_not(store: Store) -> None:
    mine = store.add_request("my game stutters", mind="m")
    code = "import sys; from pathlib import Path; from schedtui.backend.store import Store; "
    code += "print(Store(Path(sys.argv[1])).add_request('a build'))"
    left = int(subprocess.run([sys.executable, "-c", code, str(store.path)], check=True, capture_output=True).stdout)
    assert store.end_left_requests() == [left]
    row = store.request(left)
    assert (row.state, row.text) == ("stopped", "Stopped: the program was ended while it was worked on.")
    assert row.finished is not None
    assert store.request(mine).state == "open"
    assert store.end_left_requests() == []


def test_a_file_of_the_version_before_keeps_its_outcomes(store: Store) -> None:
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as connection:
        connection.executescript(OF_VERSION_1)
    assert store.outcomes() == [BETTER]
    store.add_outcome(replace(FULL, request=3, deployment=4))
    assert store.outcomes("fair") == [BETTER]
    assert store.outcomes(deployment=4) == [replace(FULL, request=3, deployment=4)]
    assert not store.notes


def test_two_who_bring_a_file_up_to_date_at_once_both_may(store: Store) -> None:
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as connection:
        connection.executescript(OF_VERSION_1)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Store(store.path).outcomes(), range(16)))
    assert found == [[BETTER]] * 16


def test_a_request_is_open_until_it_is_finished(store: Store) -> None:
    assert store.requests() == []
    id = store.add_request("my game stutters", "", "offline adviser", "/home/me/1.json", machine="lab")
    (begun,) = store.requests()
    assert (begun.id, begun.words, begun.state, begun.machine) == (id, "my game stutters", "open", "lab")
    store.add_workload(GAME, request=id)
    store.finish_request(id, "kept", "It runs.", calls=6, input_tokens=900, output_tokens=80, dollars=None, seconds=4.5)
    ended = store.request(id)
    assert (ended.state, ended.text, ended.class_id, ended.workload) == ("kept", "It runs.", "gaming", GAME)
    assert (ended.calls, ended.input_tokens, ended.output_tokens, ended.dollars) == (6, 900, 80, None)
    assert ended.finished is not None
    assert store.workloads() == [GAME]


def test_requests_come_newest_first_and_an_unknown_one_is_told(store: Store) -> None:
    first, second = store.add_request("one", mind="m"), store.add_request("two", mind="m")
    assert [each.id for each in store.requests()] == [second, first]
    with pytest.raises(UnknownName, match="no request 99"):
        store.request(99)


def test_a_deployment_is_kept_in_each_of_its_states(store: Store) -> None:
    kept = store.add_deployment(PROPOSED)
    assert kept == replace(PROPOSED, id=kept.id)
    assert kept.id > 0
    assert store.deployments(open_only=True) == [kept]
    seen = Comparison(metric=WAKEUP, verdict="better", before=400.0, after=300.0, low_percent=-31.0, high_percent=-20.0)
    ended = replace(kept, state="kept", reason="It is better.", digest="ab" * 32, comparison=seen, changed=20.0)
    store.update_deployment(ended)
    assert store.deployment(kept.id) == ended
    assert store.deployments(open_only=True) == []


def test_a_deployment_is_kept_even_when_the_file_was_lost_meanwhile(store: Store) -> None:
    kept = store.add_deployment(PROPOSED)
    store.path.write_bytes(b"rubbish" * 1000)
    store.update_deployment(replace(kept, state="reverted"))
    assert [each.state for each in store.deployments()] == ["reverted"]
    assert store.notes


def test_deployments_and_outcomes_are_found_by_their_request(store: Store) -> None:
    kept = store.add_deployment(replace(PROPOSED, request=7))
    store.add_deployment(PROPOSED)
    store.add_outcome(replace(FULL, request=7, deployment=kept.id))
    store.add_outcome(FULL)
    assert store.deployments(request=7) == [kept]
    assert len(store.outcomes(request=7)) == 1


def test_what_was_learned_is_found_by_policy_and_class(store: Store) -> None:
    short = NoteRow(policy="interactive", class_id="gaming", text="Short slices help beside a recorder.", time=1.0)
    failed = NoteRow(
        policy="fair", class_id="gaming", text="No gain.", kind="failure", made_by="m", request=7, time=2.0
    )
    ids = [store.add_note(short), store.add_note(failed)]
    assert store.learned() == [replace(failed, id=ids[1]), replace(short, id=ids[0])]
    assert [each.text for each in store.learned(policy="interactive", class_id="gaming")] == [short.text]
    store.forget_note(ids[0])
    assert [each.text for each in store.learned(class_id="gaming")] == ["No gain."]


def test_a_program_sees_the_workloads_that_it_described_and_no_other_program_s(store: Store) -> None:
    build = ProfileRow(client="mcp:builder", description="A kernel build.", created=10.0, changed=10.0)
    game = ProfileRow(client="mcp:gamer", description="A game.")
    for each in (build, game):
        store.add_profile(each)
    assert store.profiles("mcp:builder") == [build]
    assert store.profiles("mcp:gamer", id=game.id) == [game]
    assert store.profiles("mcp:gamer", id=build.id) == []


def test_what_was_said_of_a_run_stays_with_its_workload(store: Store) -> None:
    build = ProfileRow(client="mcp:builder", description="A kernel build.", created=10.0, changed=10.0)
    store.add_profile(build)
    first, second = (
        ProfileRun(
            profile=build.id,
            execution=f"sched_{number}",
            scheduler="scx_rusty",
            arguments=("--slice-us-underutil", "20000"),
            result="36 s",
            created=number,
        )
        for number in (20.0, 30.0)
    )
    for each in (first, second):
        store.add_profile_run(each)
    assert store.profile_runs(build.id) == [second, first]
    assert store.profiles("mcp:builder") == [replace(build, changed=30.0)]


def test_the_audit_s_head_never_goes_back(store: Store) -> None:
    assert store.audit_head() is None
    for head in (AuditHead(2, "bb"), AuditHead(1, "aa")):
        store.keep_audit_head(head)
    assert store.audit_head() == AuditHead(2, "bb")


def test_words_that_are_no_unicode_are_kept_as_far_as_they_can_be(store: Store) -> None:
    id = store.add_request("caf\udce9", mind="m")
    store.add_workload(replace(GAME, evidence=("gam\udce9",)), request=id)
    kept = store.request(id)
    assert kept.words == "caf?"
    assert kept.workload is not None
    assert kept.workload.evidence == ("gam?",)


def test_a_row_that_makes_no_sense_is_told(store: Store) -> None:
    store.add_outcome(BETTER)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE outcome SET settings = 'x'")
    with pytest.raises(BadFile, match="row 1 of outcome is damaged"):
        store.outcomes()


def test_a_full_disk_is_told_and_leaves_what_was_kept(store: Store) -> None:
    store.add_outcome(BETTER)
    program = (
        "import sys; from pathlib import Path; from schedtui.backend.errors import BadFile\n"
        "from schedtui.backend.store import Outcome, Store\n"
        "try: Store(Path(sys.argv[1])).add_outcome(Outcome(policy='x' * 100000, metric='m', before=1, after=1))\n"
        "except BadFile as error: print(error.message, error.remedy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000)),
    )
    assert "cannot be used" in done.stdout, done.stderr
    assert store.outcomes() == [BETTER]


def test_many_writers_at_once_lose_nothing(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.add_outcome(BETTER), range(24)))
    assert len(store.outcomes()) == 24


def test_a_gain_stands_high_a_loss_low_and_nothing_in_between() -> None:
    assert standing([WORSE]) < standing([]) == 0.0 < standing([BETTER])
    assert standing([BETTER, WORSE]) == pytest.approx(0.0)


def test_more_results_count_for_more_and_an_observation_for_less_than_a_test() -> None:
    assert standing([BETTER] * 5) > standing([BETTER])
    assert 0 < standing([replace(BETTER, how="observed")]) < standing([BETTER])
    assert standing([replace(BETTER, better="higher")]) < 0


def test_a_test_that_chance_alone_can_have_made_counts_as_no_gain() -> None:
    unsure = replace(BETTER, low_percent=-80.0, high_percent=5.0)
    sure = replace(BETTER, low_percent=-80.0, high_percent=-5.0)
    assert standing([unsure]) == 0.0 < standing([sure])
    assert standing([sure, unsure]) < standing([sure])
    assert in_words(unsure).endswith("chance alone can make that")
    assert "chance" not in in_words(sure)


@pytest.mark.parametrize("odd", [{"before": 0.0}, {"after": 0.0}, {"before": -1.0}])
def test_what_cannot_be_compared_counts_for_nothing(odd: dict[str, float]) -> None:
    assert standing([replace(BETTER, **odd)]) == 0.0


def test_an_outcome_is_told_with_what_it_is_worth() -> None:
    assert in_words(FULL) == "time to the end −10 % (±4) in the lab, compared under the same load"
    assert in_words(WORSE).startswith("wake-up p99 +100 % here")
    seen = Outcome(policy="fair", metric="wakeup_p99_us", before=100, after=90)
    assert in_words(seen).endswith("as seen, not compared under the same load")
