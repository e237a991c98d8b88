"""What policies did here is kept, read back and summed up; a damaged file is no reason to fail."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile
from schedtui.backend.library.history import in_words, outcomes, standing
from schedtui.backend.store import Outcome, Store

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


def test_a_row_that_makes_no_sense_is_told(store: Store) -> None:
    store.add_outcome(BETTER)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE outcome SET settings = 'x'")
    with pytest.raises(BadFile, match="row 1 is damaged"):
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
    from msgspec.structs import replace

    assert standing([BETTER] * 5) > standing([BETTER])
    assert 0 < standing([replace(BETTER, how="observed")]) < standing([BETTER])
    assert standing([replace(BETTER, better="higher")]) < 0


@pytest.mark.parametrize("odd", [{"before": 0.0}, {"after": 0.0}, {"before": -1.0}])
def test_what_cannot_be_compared_counts_for_nothing(odd: dict[str, float]) -> None:
    from msgspec.structs import replace

    assert standing([replace(BETTER, **odd)]) == 0.0


def test_an_outcome_is_told_with_what_it_is_worth() -> None:
    assert in_words(FULL) == "time to the end −10 % (±4) in the lab, compared under the same load"
    assert in_words(WORSE).startswith("wake-up p99 +100 % here")
    seen = Outcome(policy="fair", metric="wakeup_p99_us", before=100, after=90)
    assert in_words(seen).endswith("as seen, not compared under the same load")
