"""Trust: earned by what a person agreed to and kept, lost by reverts, kept for each mind, never by a damaged file."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from schedtui.agent.trust import (
    FIRST,
    PERSON,
    Allowed,
    AskPerson,
    Refused,
    Trust,
    TrustFile,
    TrustLevel,
    needed_for,
)
from schedtui.backend.errors import BadFile
from schedtui.backend.model import Origin, Policy, Tunable

PROPOSE, TUNE, LIBRARY, GENERATED = TrustLevel


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where this test's trust is kept."""
    return tmp_path / "trust.json"


def trusted(file: Path, level: TrustLevel, mind: str = "gpt") -> Trust:
    """A mind that has earned this level."""
    trust = Trust(mind, path=file)
    while trust.level < level:
        trust.note(level, "kept", asked=True)
    return trust


def test_a_stranger_only_proposes(file: Path) -> None:
    trust = Trust("gpt", path=file)
    assert isinstance(trust.may(PROPOSE), Allowed)
    assert all(isinstance(trust.may(each), AskPerson) for each in (TUNE, LIBRARY, GENERATED))
    assert "only propose" in trust.may(TUNE).reason


def test_the_first_three_of_a_kind_ask_and_the_fourth_does_not(file: Path) -> None:
    trust = Trust("gpt", path=file)
    for _ in range(FIRST):
        assert isinstance(trust.may(LIBRARY), AskPerson)
        trust.note(LIBRARY, "kept", asked=True)
    assert isinstance(trust.may(LIBRARY), Allowed)
    assert isinstance(trust.may(TUNE), Allowed)
    assert isinstance(trust.may(GENERATED), AskPerson)


def test_what_a_mind_wrote_is_trusted_only_after_its_choices_are(file: Path) -> None:
    trust = Trust("gpt", path=file)
    for _ in range(FIRST):
        trust.note(GENERATED, "kept", asked=True)
    assert trust.level == LIBRARY
    assert isinstance(trust.may(GENERATED), AskPerson)
    for _ in range(FIRST):
        trust.note(GENERATED, "kept", asked=True)
    assert isinstance(trust.may(GENERATED), Allowed)


def test_tuning_well_does_not_earn_the_choice_of_a_policy(file: Path) -> None:
    trust = Trust("gpt", path=file)
    for _ in range(10):
        trust.note(TUNE, "kept", asked=True)
    assert trust.level == TUNE


@pytest.mark.parametrize("level", [TUNE, LIBRARY, GENERATED], ids=["tune", "library", "generated"])
def test_a_revert_takes_a_level_and_the_count_begins_anew(file: Path, level: TrustLevel) -> None:
    trust = trusted(file, level)
    assert "may now" in trust.note(TUNE, "reverted", asked=False)
    assert trust.level == level - 1
    for _ in range(FIRST - 1):
        trust.note(level, "kept", asked=True)
        assert trust.level == level - 1
    trust.note(level, "kept", asked=True)
    assert trust.level == level


def test_a_revert_of_one_of_the_first_three_makes_it_three_again(file: Path) -> None:
    trust = Trust("gpt", path=file)
    trust.note(LIBRARY, "kept", asked=True)
    trust.note(LIBRARY, "kept", asked=True)
    trust.note(LIBRARY, "reverted", asked=True)
    trust.note(LIBRARY, "kept", asked=True)
    assert trust.level == PROPOSE


def test_no_difference_and_a_no_teach_nothing(file: Path) -> None:
    trust = trusted(file, LIBRARY)
    assert trust.note(LIBRARY, "unkept", asked=True) == ""
    assert trust.level == LIBRARY


def test_what_nobody_agreed_to_earns_nothing_and_costs_all_the_same(file: Path) -> None:
    trust = Trust("gpt", path=file, automatic=True)
    for _ in range(5):
        trust.note(LIBRARY, "kept", asked=False)
    assert trust.level == PROPOSE
    trusted(file, LIBRARY).note(LIBRARY, "reverted", asked=False)
    assert trust.level == TUNE


def test_who_wants_it_fully_automatic_is_not_asked(file: Path) -> None:
    assert isinstance(Trust("gpt", path=file, automatic=True).may(GENERATED, attended=False), Allowed)


def test_what_would_have_to_be_asked_is_refused_where_nobody_is_there(file: Path) -> None:
    refused = Trust("gpt", path=file).may(LIBRARY, attended=False)
    assert isinstance(refused, Refused) and "--yes" in refused.remedy
    assert isinstance(trusted(file, LIBRARY).may(LIBRARY, attended=False), Allowed)


def test_a_person_needs_no_trust(file: Path) -> None:
    person = Trust(PERSON, path=file)
    person.note(GENERATED, "reverted", asked=True)
    assert isinstance(person.may(GENERATED), Allowed)
    assert not file.exists()


def test_each_mind_has_its_own_and_it_lasts(file: Path) -> None:
    trusted(file, LIBRARY, "gpt")
    assert Trust("gpt", path=file).level == LIBRARY
    assert Trust("gpt-2", path=file).level == PROPOSE


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"minds": {"gpt": {"kept": {"tune": 3, "libra', id="half"),
        pytest.param(b'{"minds": {"gpt": {"kept": {"tune": -9}}}}', id="negative"),
        pytest.param(b'{"minds": {"gpt": {"kept": "all"}}}', id="wrong-type"),
        pytest.param(b"\xff\xfe\x00", id="no-text"),
        pytest.param(b'{"a":' * 50_000, id="deep"),
        pytest.param(b" " * (2 << 20), id="too-large"),
    ],
)
def test_a_damaged_file_trusts_nobody_and_is_told(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    trust = Trust("gpt", path=file)
    assert trust.level == PROPOSE
    assert "damaged" in trust.problems[0] and len(trust.problems) == 1
    assert [each.read_bytes() for each in file.parent.glob("trust.json.damaged-*")] == [content]
    trust.note(TUNE, "kept", asked=True)
    assert TrustFile(file).standing("gpt").kept["tune"] == 1


def test_a_level_that_skips_those_below_is_not_believed(file: Path) -> None:
    file.write_text('{"minds": {"gpt": {"kept": {"generated": 1000}}}}')
    assert Trust("gpt", path=file).level == PROPOSE


def test_a_revert_that_cannot_be_kept_is_told_and_counts_until_the_end(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "trust.json"
    trust = trusted(file, LIBRARY)
    file.with_suffix(".new").mkdir()
    with pytest.raises(BadFile, match="cannot be kept"):
        trust.note(LIBRARY, "reverted", asked=False)
    assert trust.level == PROPOSE


def _keep_some(file: Path, mind: str) -> None:
    for _ in range(FIRST):
        Trust(mind, path=file).note(LIBRARY, "kept", asked=True)


def test_several_programs_at_once_lose_nothing(file: Path) -> None:
    minds = [f"mind {number}" for number in range(3)]
    programs = [multiprocessing.get_context("fork").Process(target=_keep_some, args=(file, each)) for each in minds]
    for each in programs:
        each.start()
    for each in programs:
        each.join()
    assert {name: each.level for name, each in TrustFile(file).standings().items()} == dict.fromkeys(minds, LIBRARY)


def test_reset_forgets_one_or_all(file: Path) -> None:
    for mind in ("a", "b", "c"):
        trusted(file, TUNE, mind)
    assert TrustFile(file).reset("b") == ["b"]
    assert set(TrustFile(file).standings()) == {"a", "c"}
    assert TrustFile(file).reset() == ["a", "c"]
    assert TrustFile(file).standings() == {}


def policy(origin: Origin = "built-in") -> Policy:
    """One with a number, a zero, a switch and a text to set."""
    settings = {"slice_us": 1000, "bonus": 0, "greedy": True, "name": "x"}
    tunables = tuple(Tunable(name=name, description="", cost="", default=value) for name, value in settings.items())
    return Policy(
        name="smooth", title="", summary="", description="", for_whom=(), not_for=(), limits=(),
        tunables=tunables, statistics=(), folder="", source="smooth.bpf.c", origin=origin,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "needs"),
    [
        pytest.param({}, TUNE, id="defaults"),
        pytest.param({"slice_us": 1200}, TUNE, id="20-percent-more"),
        pytest.param({"slice_us": 800, "greedy": True, "name": "x"}, TUNE, id="20-percent-less"),
        pytest.param({"slice_us": 1201}, LIBRARY, id="more-than-20-percent"),
        pytest.param({"slice_us": 799}, LIBRARY, id="less-than-20-percent"),
        pytest.param({"bonus": 1}, LIBRARY, id="away-from-zero"),
        pytest.param({"greedy": False}, LIBRARY, id="a-switch"),
        pytest.param({"name": "y"}, LIBRARY, id="a-text"),
        pytest.param({"slice_us": "1000"}, LIBRARY, id="a-number-as-text"),
        pytest.param({"slice_us": True}, LIBRARY, id="a-switch-for-a-number"),
        pytest.param({"other": 1}, LIBRARY, id="no-such-setting"),
    ],
)
def test_tuning_is_near_the_defaults_of_what_runs(settings: dict[str, bool | int | str], needs: TrustLevel) -> None:
    assert needed_for(policy(), settings, running="smooth") == needs
    assert needed_for(policy(), settings, running="other") == LIBRARY
    assert needed_for(policy("generated"), settings, running="smooth") == GENERATED


def test_giving_the_machine_back_is_a_choice_too() -> None:
    assert needed_for(None, {}) == LIBRARY
