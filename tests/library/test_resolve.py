"""From a name to a proposal: presets, policies, and settings over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.deploy import resolve
from schedtui.backend.errors import BadTunable, NotPermitted, UnknownName
from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.library.starting import program_of
from tests.library.test_catalogue import POLICY, PRESETS, add_external, add_policy


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """One policy and two presets."""
    add_policy(tmp_path, "plain", POLICY)
    (tmp_path / "presets.toml").write_text(PRESETS)
    return load_library(tmp_path)


def test_a_policy_is_proposed_with_the_settings_given(library: Library) -> None:
    proposal = resolve(library, "plain", {"slice_us": "500"})
    assert proposal.policy == library.policy("plain")
    assert proposal.preset is None
    assert proposal.settings == {"slice_us": 500}


def test_a_preset_brings_its_policy_its_settings_and_its_reason(library: Library) -> None:
    proposal = resolve(library, "smooth")
    assert proposal.policy == library.policy("plain")
    assert proposal.preset == library.preset("smooth")
    assert proposal.settings == {"slice_us": 1000}
    assert proposal.reason == "It is there."


def test_settings_given_go_over_those_of_the_preset(library: Library) -> None:
    assert resolve(library, "smooth", {"slice_us": 700, "keep_cpu": "off"}).settings == {
        "slice_us": 700,
        "keep_cpu": False,
    }


def test_the_preset_without_choices_proposes_the_kernels_own_scheduler(library: Library) -> None:
    assert resolve(library, "default").policy is None


def test_the_kernels_own_scheduler_takes_no_settings(library: Library) -> None:
    with pytest.raises(BadTunable):
        resolve(library, "default", {"slice_us": 500})


def test_the_next_choice_serves_when_the_library_lacks_the_best(tmp_path: Path) -> None:
    add_policy(tmp_path, "plain", POLICY)
    better = '[[preset.choice]]\npolicy = "better"\nreason = "Best."\n\n[[preset.choice]]\npolicy = "plain"'
    (tmp_path / "presets.toml").write_text(PRESETS.replace('[[preset.choice]]\npolicy = "plain"', better))
    assert resolve(load_library(tmp_path), "smooth").reason == "It is there."


def test_a_preset_whose_policies_are_all_gone_says_which(tmp_path: Path) -> None:
    (tmp_path / "presets.toml").write_text(PRESETS)
    with pytest.raises(UnknownName, match="“plain”"):
        resolve(load_library(tmp_path), "smooth")


def test_a_name_that_is_neither_leads_to_the_near_one(library: Library) -> None:
    with pytest.raises(UnknownName) as caught:
        resolve(library, "smoth")
    assert "“smooth”" in caught.value.remedy


def external_first(tmp_path: Path) -> Library:
    """A preset whose best choice is a program of others."""
    add_policy(tmp_path, "plain", POLICY)
    add_external(tmp_path)
    better = '[[preset.choice]]\npolicy = "scx_toy"\nreason = "Best."\n\n[[preset.choice]]\npolicy = "plain"'
    (tmp_path / "presets.toml").write_text(PRESETS.replace('[[preset.choice]]\npolicy = "plain"', better))
    return load_library(tmp_path)


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, help_text: str = "      --fast") -> Path:
    """A program on PATH that tells of itself as schedulers do."""
    program = tmp_path / "bin" / "scx_toy"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{help_text}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


def test_an_external_scheduler_that_is_not_installed_is_passed_over_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    proposal = resolve(external_first(tmp_path), "smooth")
    assert proposal.policy is not None
    assert proposal.policy.name == "plain"
    assert proposal.reason == "It is there. scx_toy would come first; it is not installed here."


def test_an_external_scheduler_that_is_installed_is_taken_in_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch)
    proposal = resolve(external_first(tmp_path), "smooth")
    assert proposal.policy is not None
    assert proposal.policy.name == "scx_toy"
    assert proposal.reason == "Best."


def test_one_that_a_user_can_change_is_passed_over_on_a_host_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = installed(tmp_path, monkeypatch)
    proposal = resolve(external_first(tmp_path), "smooth", kind="host")
    assert proposal.policy is not None
    assert proposal.policy.name == "plain"
    words = f"it is installed as {program}, which somebody else than root could change: it is for the lab only."
    assert proposal.reason.endswith(words)


def test_one_that_does_not_answer_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "nothing that is an option")
    reason = resolve(external_first(tmp_path), "smooth").reason
    assert "scx_toy would come first; it is installed, but cannot be used: scx_toy --help lists no options." in reason


def with_mode(tmp_path: Path, flag: str) -> Library:
    """The preset's goal is one that the scheduler has a mode for."""
    external_first(tmp_path)
    entry = tmp_path / "scx_toy" / "policy.toml"
    entry.write_text(entry.read_text().replace("--fast", flag))
    presets = tmp_path / "presets.toml"
    presets.write_text(presets.read_text().replace('id = "smooth"', 'id = "smooth"\ngoal = "gaming"', 1))
    return load_library(tmp_path)


def test_it_is_started_in_its_mode_for_the_presets_goal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch)
    policy = resolve(with_mode(tmp_path, "--fast"), "smooth").policy
    assert policy is not None
    assert program_of(policy, {}).arguments == ("--fast",)


def test_a_mode_whose_flag_its_version_lacks_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch)
    proposal = resolve(with_mode(tmp_path, "--faster"), "smooth")
    assert proposal.policy is not None
    assert program_of(proposal.policy, {}).arguments == ()
    assert "--faster" in proposal.reason


def test_one_that_does_not_start_by_itself_is_started_in_its_default_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch)
    external_first(tmp_path)
    entry = tmp_path / "scx_toy" / "policy.toml"
    for name in ("scx_toy", "smooth"):
        policy = resolve(load_library(tmp_path), name).policy
        assert policy is not None
        assert program_of(policy, {}).arguments == ()
    entry.write_text(entry.read_text().replace("[[mode]]", 'default_mode = "gaming"\n\n[[mode]]', 1))
    for name in ("scx_toy", "smooth"):
        policy = resolve(load_library(tmp_path), name).policy
        assert policy is not None
        assert program_of(policy, {}).arguments == ("--fast",)


def test_a_preset_that_only_others_serve_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    add_external(tmp_path)
    (tmp_path / "presets.toml").write_text(PRESETS.replace('policy = "plain"', 'policy = "scx_toy"', 1))
    (tmp_path / "presets.toml").write_text((tmp_path / "presets.toml").read_text().replace("{ slice_us = 1000 }", "{}"))
    with pytest.raises(NotPermitted, match="scx_toy is not installed"):
        resolve(load_library(tmp_path), "smooth")
