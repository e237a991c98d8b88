"""A policy that is being written: changed piece by piece, and described so that the library can offer it."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.agent import draft, patch
from schedtui.agent.arguments import Edit
from schedtui.agent.draft import Draft
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Metric, Workload

FIFO = load_library().policy("fifo")
SOURCE = Path(FIFO.source).read_text()
GAMES = Workload(
    sentence="A game.", class_id="gaming", confidence=1, evidence=("x",), metric=Metric(name="wakeup_p99_us")
)


def made(source: str, name: str = "fifo-gaming") -> Draft:
    return Draft(name=name, source=source, parent=FIFO, summary="Shorter\nturns.", for_whom="games")


def test_pieces_are_replaced_one_after_the_other() -> None:
    edits = [Edit(search="slice_us = 20000", replace="slice_us = 4000"), Edit(search="= 4000;", replace="= 3000;")]
    changed = patch.patched(SOURCE, edits)
    assert "slice_us = 3000;" in changed
    assert patch.difference(SOURCE, changed, "fifo").count("\n+") == 2


@pytest.mark.parametrize(
    ("search", "why"),
    [
        pytest.param("const volatile u64 slice_us = 20001;", "does not stand", id="not-there"),
        pytest.param("scx_bpf_dsq_insert", "stands there 3 times", id="several"),
        pytest.param("  \n", "no text to search", id="empty"),
    ],
)
def test_a_piece_that_is_not_there_once_changes_nothing(search: str, why: str) -> None:
    with pytest.raises(patch.NoSuchText, match=why):
        patch.patched(SOURCE, [Edit(search=search, replace="x")])


def test_a_slip_is_answered_with_the_nearest_lines() -> None:
    with pytest.raises(patch.NoSuchText) as refused:
        patch.patched(SOURCE, [Edit(search="const volatile u64 slice_us = 20001;", replace="x")])
    assert "slice_us = 20000;" in refused.value.details


def test_the_entry_takes_over_the_parents_tunables_with_the_defaults_of_the_source(tmp_path: Path) -> None:
    policy = draft.write(made(SOURCE.replace("slice_us = 20000", "slice_us = 3000")), tmp_path)
    parent = {each.name: each for each in FIFO.tunables}
    (slice_us,) = (each for each in policy.tunables if each.name == "slice_us")
    assert slice_us.default == 3000
    assert (slice_us.minimum, slice_us.description) == (parent["slice_us"].minimum, parent["slice_us"].description)
    assert policy.summary == "Shorter turns."
    assert {each.name for each in policy.statistics} == {each.name for each in FIFO.statistics}


def test_a_new_tunable_is_described_by_its_comment_and_ranges_around_its_default(tmp_path: Path) -> None:
    new = (
        "/* How eager it is. Cost: Others wait. */\nconst volatile u32 eagerness = 40;\n"
        "/* Do it. */\nconst volatile bool on = true;\n"
    )
    found = {each.name: each for each in draft.write(made(SOURCE + new), tmp_path).tunables}
    eager = found["eagerness"]
    assert (eager.default, eager.minimum, eager.maximum) == (40, 4, 400)
    assert (eager.description, eager.cost) == ("How eager it is.", "Others wait.")
    assert found["on"].default is True


def test_settings_of_what_the_draft_no_longer_has_are_dropped(tmp_path: Path) -> None:
    policy = draft.write(made(SOURCE.replace("max_round_ms", "longest_round_ms")), tmp_path)
    assert draft.kept_settings(policy, {"slice_us": 1, "max_round_ms": 2}) == {"slice_us": 1}


def test_a_changed_policy_gets_a_free_name() -> None:
    assert draft.name_for("fifo", GAMES, []) == "fifo-gaming"
    assert draft.name_for("fifo", GAMES, ["fifo-gaming", "fifo-gaming-2"]) == "fifo-gaming-3"
